//! Work that is done at least once, whatever crashes; and histories of events that can be read again.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::queue::Queue;
//!
//! # dormouse_client::example(async |client| {
//! let emails = Queue::new(&client, "emails").attempts(5).left_alone(Duration::from_secs(60));
//! emails.push(&"to ada").await?;
//!
//! for job in emails.take::<String>(10).await? {
//!     if job.payload.as_deref() == Ok("to ada") { job.done().await? } else { job.failed("to whom?").await? };
//! }
//! assert_eq!(emails.len().await?, 0);
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - **At least once**: a job that was pushed stays until somebody says [`Job::done`]. One that a worker took and did not finish in
//!   [`Queue::left_alone`], crashed or not, is taken by the next who asks, before new ones.
//! - **One at a time**: while it is left alone nobody else gets it; who works longer says [`Job::keep`].
//! - **Only its taker settles a job**: what another has taken over meanwhile is not settled by the first, who is told so (`false`).
//! - **Nothing fails for ever**: after [`Queue::attempts`] it goes to the dead, with its last error, in the step that takes it out of the
//!   queue. Dead jobs are read with [`Queue::dead`] and put back with [`Queue::revive`].
//! - **Pushed once**: [`Queue::push_once`] adds a job under a key a single time, so that it may be repeated when an answer was lost.
//! - A [`History`] numbers its events without holes, so that a reader knows how many it has missed.
//!
//! # Limits
//!
//! - A job may run twice: make what it does repeatable, or fence it. New jobs come in order, repeated ones do not.
//! - Nothing blocks, as Upstash's endpoint allows nothing that does: [`Queue::next`] asks again with growing pauses, up to a second.
//! - A payload that cannot be read is an `Err` in its job, so that one of them does not hold up the rest: bury it.
//! - Jobs and the dead have no deadline; a history keeps as many events as it is told, and its counter for ever.
//! - Each process of a queue becomes a consumer of the group, and stays one: see `XGROUP DELCONSUMER`. Queues of one name and another group
//!   would each delete what they have done: use one queue per purpose.

mod decide;
mod history;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::decide::{Fate, fate};
pub use self::history::{Event, History, Replay};
use crate::client::Client;
use crate::commands::{StreamId, millis};
use crate::error::Result;
use crate::retry::jitter;
use crate::rt;
use crate::script::Script;
use crate::value::{Json, Mismatch, Value};

static PUSH: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("push.lua")));
static TAKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("take.lua")));
static SETTLE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("settle.lua")));
static REVIVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("revive.lua")));

const GROUP: &str = "workers";
/// Pauses of who waits for a job: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// A queue of jobs, each a value that serde writes as JSON. Clones are the same worker.
///
/// ```
/// use dormouse_client::queue::Queue;
///
/// # dormouse_client::example(async |client| {
/// let queue = Queue::new(&client, "emails");
/// queue.push(&1).await?;
/// assert_eq!(queue.len().await?, 1);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Queue {
    client: Client,
    name: Arc<str>,
    dead: Arc<str>,
    consumer: Arc<str>,
    left_alone: Duration,
    attempts: u32,
    pause: Duration,
}

impl Queue {
    /// The queue of that name: `queue:<name>`, a stream. Jobs are left alone for a minute, and tried five times.
    pub fn new(client: &Client, name: impl AsRef<str>) -> Self {
        let name = format!("queue:{}", name.as_ref());
        Self {
            client: client.clone(),
            dead: format!("{name}:dead").into(),
            name: name.into(),
            consumer: rt::random_token().into(),
            left_alone: Duration::from_mins(1),
            attempts: 5,
            pause: Duration::from_secs(1),
        }
    }

    /// For how long a job that was taken is left to its worker.
    pub const fn left_alone(mut self, time: Duration) -> Self {
        self.left_alone = time;
        self
    }

    /// How often a job is tried before it goes to the dead.
    pub const fn attempts(mut self, attempts: u32) -> Self {
        self.attempts = attempts;
        self
    }

    /// The pause after a first failure; each next is twice as long, up to the time for which a job is left alone.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Adds a job; its id. A job whose answer was lost may be there: see [`push_once`](Self::push_once).
    pub async fn push(&self, job: &impl Serialize) -> Result<StreamId> {
        self.add(job, String::new(), Duration::ZERO).await
    }

    /// Adds a job under a key, unless that was done in the time given; the id of the one there is.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::queue::Queue;
    ///
    /// # dormouse_client::example(async |client| {
    /// let queue = Queue::new(&client, "emails");
    /// let hour = Duration::from_secs(3600);
    /// let first = queue.push_once("order:7", hour, &"to ada").await?;
    /// assert_eq!(queue.push_once("order:7", hour, &"to ada").await?, first);
    /// assert_eq!(queue.len().await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn push_once(&self, key: &str, window: Duration, job: &impl Serialize) -> Result<StreamId> {
        self.add(job, format!("{}:once:{key}", self.name), window).await
    }

    async fn add(&self, job: &impl Serialize, once: String, window: Duration) -> Result<StreamId> {
        PUSH.key((&*self.name, once)).arg((Json(job), millis(window).max(1))).run(&self.client).await
    }

    /// Takes up to so many jobs; none if there are none now.
    pub async fn take<T: DeserializeOwned + 'static>(&self, count: u32) -> Result<Vec<Job<T>>> {
        let call = TAKE
            .key([&*self.name, &*self.dead])
            .arg((GROUP, &*self.consumer, millis(self.left_alone)))
            .arg((count.max(1), self.attempts));
        let found: Vec<(StreamId, u32, Value)> = call.run(&self.client).await?;
        let job = |(id, attempt, value): (StreamId, u32, Value)| Job {
            queue: self.clone(),
            id,
            attempt,
            payload: value.to::<Json<T>>().map(|Json(payload)| payload),
        };
        Ok(found.into_iter().map(job).collect())
    }

    /// Takes one job, and waits for it that long at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::queue::Queue;
    ///
    /// # dormouse_client::example(async |client| {
    /// let queue = Queue::new(&client, "emails");
    /// assert!(queue.next::<String>(Duration::from_millis(10)).await?.is_none());
    /// queue.push(&"to ada").await?;
    /// let job = queue.next::<String>(Duration::from_secs(5)).await?.expect("there is one");
    /// assert_eq!((job.attempt(), job.payload.as_deref()), (1, Ok("to ada")));
    /// # Ok(()) });
    /// ```
    pub async fn next<T: DeserializeOwned + 'static>(&self, longest: Duration) -> Result<Option<Job<T>>> {
        let until = rt::Instant::now().checked_add(longest);
        let mut pause = PAUSES.0;
        loop {
            if let Some(job) = self.take(1).await?.pop() {
                return Ok(Some(job));
            }
            let rest = pause / 2 + jitter(pause);
            if until.is_some_and(|until| rt::Instant::now() + rest > until) {
                return Ok(None);
            }
            rt::sleep(rest).await;
            pause = (pause * 2).min(PAUSES.1);
        }
    }

    /// How many jobs there are, taken or not.
    pub async fn len(&self) -> Result<u64> {
        self.client.xlen(&*self.name).await
    }

    /// The oldest of the dead: what is left of a job, and its last error.
    ///
    /// ```
    /// use dormouse_client::queue::Queue;
    ///
    /// # dormouse_client::example(async |client| {
    /// let queue = Queue::new(&client, "emails").attempts(1);
    /// queue.push(&"to nobody").await?;
    /// queue.take::<String>(1).await?.pop().unwrap().failed("no such address").await?;
    /// assert_eq!(queue.dead::<String>(10).await?, [("to nobody".to_owned(), "no such address".to_owned())]);
    /// assert_eq!(queue.revive(10).await?, 1);
    /// assert_eq!(queue.len().await?, 1);
    /// # Ok(()) });
    /// ```
    pub async fn dead<T: DeserializeOwned + 'static>(&self, count: u64) -> Result<Vec<(T, String)>> {
        let entries = self.client.xrange(&*self.dead, "-", "+", Some(count)).await?;
        let read = |entry: crate::Entry| {
            let job = entry.get::<Json<T>>("job").ok()??;
            let error = entry.get::<String>("error").ok()?.unwrap_or_default();
            Some((job.0, error))
        };
        Ok(entries.into_iter().filter_map(read).collect())
    }

    /// Puts the oldest of the dead back, to be tried as if they were new; how many.
    pub async fn revive(&self, count: u64) -> Result<u64> {
        REVIVE.key([&*self.name, &*self.dead]).arg(count).run(&self.client).await
    }
}

/// A job that was taken.
///
/// Dropping it does nothing: it is tried again when its time is over.
#[derive(Debug)]
#[must_use = "a job that is not settled is tried again"]
pub struct Job<T> {
    queue: Queue,
    id: StreamId,
    attempt: u32,
    /// What is to be done, or why that cannot be read.
    pub payload: Result<T, Mismatch>,
}

impl<T> Job<T> {
    /// Its id.
    pub const fn id(&self) -> StreamId {
        self.id
    }

    /// The how-manieth attempt this is, from 1.
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// It is done; whether it was still this worker's.
    pub async fn done(self) -> Result<bool> {
        self.settle("done", "", Duration::ZERO).await
    }

    /// It failed: it is tried again after a pause, or goes to the dead if it was tried often enough. Whether it was still this worker's.
    pub async fn failed(self, error: &str) -> Result<bool> {
        let queue = &self.queue;
        match fate(self.attempt, queue.attempts, queue.pause, queue.left_alone) {
            Fate::Bury => self.settle("bury", error, Duration::ZERO).await,
            Fate::Retry(pause) => self.settle("retry", error, queue.left_alone.saturating_sub(pause)).await,
        }
    }

    /// It will never succeed: it goes to the dead at once. Whether it was still this worker's.
    ///
    /// ```
    /// use dormouse_client::queue::Queue;
    ///
    /// # dormouse_client::example(async |client| {
    /// let queue = Queue::new(&client, "emails");
    /// queue.push(&"text").await?;
    /// let job = queue.take::<u64>(1).await?.pop().unwrap();
    /// let why = job.payload.as_ref().unwrap_err().to_string();
    /// assert!(job.bury(&why).await?);
    /// assert_eq!(queue.dead::<String>(1).await?.len(), 1);
    /// # Ok(()) });
    /// ```
    pub async fn bury(self, error: &str) -> Result<bool> {
        self.settle("bury", error, Duration::ZERO).await
    }

    /// It takes longer: it is left alone anew. Whether it was still this worker's; if not, stop.
    ///
    /// ```
    /// use dormouse_client::queue::Queue;
    ///
    /// # dormouse_client::example(async |client| {
    /// let queue = Queue::new(&client, "emails");
    /// queue.push(&1).await?;
    /// let job = queue.take::<u64>(1).await?.pop().unwrap();
    /// assert!(job.keep().await?);
    /// # Ok(()) });
    /// ```
    pub async fn keep(&self) -> Result<bool> {
        self.settle("keep", "", Duration::ZERO).await
    }

    async fn settle(&self, verdict: &str, error: &str, idle: Duration) -> Result<bool> {
        let queue = &self.queue;
        let call = SETTLE.key([&*queue.name, &*queue.dead]).arg((GROUP, &*queue.consumer, self.id, verdict)).arg((
            error,
            millis(idle),
            self.attempt,
        ));
        call.run(&queue.client).await
    }
}
