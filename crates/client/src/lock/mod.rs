//! Locks: one holder at a time, given back by its owner only, renewed while it is held, with a fence for what it protects.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::lock::{Lock, fenced_set};
//!
//! # dormouse_client::example(async |client| {
//! let lock = Lock::new(&client, "reports").lease(Duration::from_secs(10));
//! let guard = lock.acquire(Duration::from_secs(30)).await?;
//! let done = guard.run(async {
//!     // … as long as it takes: the lock is renewed, and the work dropped if it is lost.
//!     fenced_set(&client, "report", "text", guard.fence()).await
//! });
//! assert!(done.await??);
//! guard.release().await?;
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - **One holder**: a holder trusts its lease from the moment it *asked*, less a hundredth and 2 ms, so that it stops before the server gives
//!   the lock to another. An acquisition that took as long as that is none, and is given back.
//! - **Fences** are minted in the step that takes the lock, and grow with every holder. One who was stopped and wakes up late has a smaller
//!   one, and whatever checks fences ([`fenced_set`], or a column of a database) refuses it. That alone makes a lock safe; the rest makes it
//!   efficient.
//! - **Only the owner** gives a lock back or renews it: comparing and deleting are one step.
//! - **Loss is noticed**: [`Guard::run`] drops the work when a renewal is refused or the lease ends, and never polls it later than that.
//! - An acquisition whose answer was lost is repeated with the same token, and gets the same fence.
//! - Waiting asks a few times a second at most, with jitter, and backs off to once a second.
//!
//! # Limits
//!
//! - One endpoint decides. On one Dormouse with `--durability always` a lock and its fence are on disk before they are granted, so a restart
//!   forgets neither. An endpoint that replicates asynchronously may forget both in a failover: use it for efficiency only there.
//! - Work that is dropped may have begun something that goes on (a request that was sent): that is what fences are for.
//! - Work that blocks its thread is not interrupted. Leases should be longer than the longest pause of the process.
//! - Nobody is served in order, and a lock is not reentrant.
//! - The counter of fences (`lock:<name>:fence`) must outlive the lock: it has no deadline, and must not be evicted. One key stays for each name.

mod decide;
mod guard;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use self::decide::validity;
pub use self::guard::Guard;
use crate::args::ToArg;
use crate::client::Client;
use crate::commands::millis;
use crate::error::{Error, Result};
use crate::retry::jitter;
use crate::rt;
use crate::script::Script;

static ACQUIRE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("acquire.lua")));
static RENEW: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("renew.lua")));
static RELEASE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("release.lua")));
static FENCED: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("fenced.lua")));

/// Pauses of those who wait: the first, and the longest.
const PAUSES: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// Why there is no lock, or no result.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LockError {
    /// Another holds it, and did so for as long as one would wait.
    #[error("another holds the lock")]
    Busy,
    /// It is no longer held for certain.
    #[error("the lock was lost")]
    Lost,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A lock by its name.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::lock::Lock;
///
/// # dormouse_client::example(async |client| {
/// let lock = Lock::new(&client, "reports");
/// let total = lock.run(Duration::from_secs(5), async |fence| fence + 1).await?;
/// assert_eq!(total, 2);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Lock {
    client: Client,
    key: Arc<str>,
    fence: Arc<str>,
    lease: Duration,
}

impl Lock {
    /// The lock of that name, with leases of ten seconds. Its key is `lock:<name>`.
    pub fn new(client: &Client, name: impl AsRef<str>) -> Self {
        let key = format!("lock:{}", name.as_ref());
        let fence = format!("{key}:fence").into();
        Self { client: client.clone(), key: key.into(), fence, lease: Duration::from_secs(10) }
    }

    /// For how long it stays taken when its holder is gone. It is renewed three times in that time; less than 50 ms counts as that.
    #[must_use]
    pub fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease.max(Duration::from_millis(50));
        self
    }

    /// Takes the lock if nobody has it.
    ///
    /// ```
    /// use dormouse_client::lock::Lock;
    ///
    /// # dormouse_client::example(async |client| {
    /// let lock = Lock::new(&client, "reports");
    /// let guard = lock.try_acquire().await?;
    /// assert!(guard.is_some() && lock.try_acquire().await?.is_none());
    /// # Ok(()) });
    /// ```
    pub async fn try_acquire(&self) -> Result<Option<Guard>> {
        self.attempt(&rt::random_token()).await.map(Result::ok)
    }

    /// Takes the lock as soon as nobody has it, if that is in time.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::lock::{Lock, LockError};
    ///
    /// # dormouse_client::example(async |client| {
    /// let lock = Lock::new(&client, "reports");
    /// let first = lock.acquire(Duration::from_secs(1)).await?;
    /// assert!(matches!(lock.acquire(Duration::from_millis(10)).await, Err(LockError::Busy)));
    /// first.release().await?;
    /// assert_eq!(lock.acquire(Duration::from_secs(1)).await?.fence(), 2);
    /// # Ok(()) });
    /// ```
    pub async fn acquire(&self, longest: Duration) -> Result<Guard, LockError> {
        let until = rt::Instant::now().checked_add(longest);
        // The same token throughout: an attempt whose answer was lost may have taken the lock.
        let (token, mut bound, mut is_doubtful) = (rt::random_token(), PAUSES.0, false);
        let error = loop {
            let held_for = match self.attempt(&token).await {
                Ok(Ok(guard)) => return Ok(guard),
                Ok(Err(held_for)) => held_for,
                Err(error) => {
                    is_doubtful |= error.is_ambiguous();
                    if !error.is_retryable() {
                        break error.into();
                    }
                    PAUSES.1
                }
            };
            let pause = (bound / 2 + jitter(bound)).min(held_for + jitter(PAUSES.0) + Duration::from_millis(1));
            if until.is_some_and(|until| rt::Instant::now() + pause > until) {
                break LockError::Busy;
            }
            rt::sleep(pause).await;
            bound = (bound * 2).min(PAUSES.1);
        };
        if is_doubtful {
            // If one of the attempts took it after all, nobody need wait for its deadline.
            let _ = self.give_back(&token).await;
        }
        Err(error)
    }

    /// Takes the lock, does something with its fence, and gives it back. If the lock is lost, the work is dropped.
    pub async fn run<T>(&self, longest: Duration, work: impl AsyncFnOnce(u64) -> T) -> Result<T, LockError> {
        let guard = self.acquire(longest).await?;
        let done = guard.run(work(guard.fence())).await?;
        // What was done is done, whether the lock could be given back or not.
        let _ = guard.release().await;
        Ok(done)
    }

    /// Takes the lock, or says for how long another may have it.
    async fn attempt(&self, token: &str) -> Result<Result<Guard, Duration>> {
        let sent = rt::Instant::now();
        let call = ACQUIRE.key([&*self.key, &*self.fence]).arg((token, millis(self.lease)));
        let (fence, held_for): (u64, u64) = call.run(&self.client).await?;
        if fence == 0 {
            return Ok(Err(Duration::from_millis(held_for)));
        }
        if sent.elapsed() >= validity(self.lease) {
            self.give_back(token).await?;
            return Ok(Err(Duration::ZERO));
        }
        Ok(Ok(Guard::new(self, token.to_owned(), fence, sent)))
    }

    pub(crate) async fn renew(&self, token: &str) -> Result<bool> {
        RENEW.key(&*self.key).arg((token, millis(self.lease))).run(&self.client).timeout(self.lease / 3).await
    }

    pub(crate) async fn give_back(&self, token: &str) -> Result<bool> {
        RELEASE.key(&*self.key).arg(token).run(&self.client).await
    }
}

/// Sets a key unless a later holder of the lock has done so: what a lock protects has to look at the fence. Whether it was set.
///
/// The latest fence is kept beside the key, at `<key>:fence`.
///
/// ```
/// use dormouse_client::lock::fenced_set;
///
/// # dormouse_client::example(async |client| {
/// assert!(fenced_set(&client, "report", "of the second", 2).await?);
/// assert!(!fenced_set(&client, "report", "of the first, who slept", 1).await?);
/// assert_eq!(client.get::<String>("report").await?.as_deref(), Some("of the second"));
/// # Ok(()) });
/// ```
pub async fn fenced_set(client: &Client, key: &str, value: impl ToArg, fence: u64) -> Result<bool> {
    FENCED.key([key, &format!("{key}:fence")]).arg((fence, value)).run(client).await
}
