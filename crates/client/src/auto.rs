//! Commands that are under way at the same time, gathered into pipelines.
//!
//! The first command opens a batch and a task that sends it; whatever comes before that task's turn joins. There are at most
//! a few requests on their way at a time, and while there are, batches grow: the busier, the fewer requests. A full batch is
//! closed, and the next command opens another. Nobody's patience matters to anybody else: a caller that goes away
//! before the batch is sent takes its command along, and one that goes away later is not missed.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};

use crate::client::{Client, Options};
use crate::command::{Effect, Part};
use crate::error::{Error, Result};
use crate::pipeline;
use crate::rt;
use crate::wire::Answer;

/// How commands are gathered: see [`Client::auto_pipeline`].
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::AutoPipeline;
///
/// # dormouse_client::example(async |client| {
/// let settings = AutoPipeline::default().commands_max(100).window(Duration::from_millis(1));
/// let client = client.auto_pipeline_with(settings);
/// # client.ping().await?;
/// # Ok(()) });
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AutoPipeline {
    commands_max: usize,
    bytes_max: usize,
    requests_max: usize,
    window: Duration,
}

impl Default for AutoPipeline {
    /// Up to 500 commands or 1 MiB a request, four requests at a time, and no wait for more to come.
    fn default() -> Self {
        Self { commands_max: 500, bytes_max: 1 << 20, requests_max: 4, window: Duration::ZERO }
    }
}

impl AutoPipeline {
    /// Most commands of one request; at least one.
    #[must_use]
    pub const fn commands_max(mut self, commands: usize) -> Self {
        self.commands_max = commands;
        self
    }

    /// Most bytes of arguments of one request. A larger command goes alone.
    #[must_use]
    pub const fn bytes_max(mut self, bytes: usize) -> Self {
        self.bytes_max = bytes;
        self
    }

    /// Most requests on their way at a time; at least one. While there are so many, commands gather.
    #[must_use]
    pub const fn requests_max(mut self, requests: usize) -> Self {
        self.requests_max = requests;
        self
    }

    /// How long to wait for more to come. Nothing by default: what is there when the task has its turn goes.
    #[must_use]
    pub const fn window(mut self, window: Duration) -> Self {
        self.window = window;
        self
    }
}

struct Waiting {
    part: Part,
    caller: oneshot::Sender<Result<Answer>>,
}

/// Commands that go together.
#[derive(Default)]
struct Batch {
    bytes: usize,
    waiting: Vec<Waiting>,
}

/// Batches that have not been sent, and which of them take more.
#[derive(Default)]
struct Batches {
    next_id: u64,
    open: [Option<u64>; 2],
    unsent: HashMap<u64, Batch>,
}

/// See the module's text.
pub(crate) struct Auto {
    settings: AutoPipeline,
    batches: Mutex<Batches>,
    room: Semaphore,
}

impl Auto {
    pub(crate) fn new(settings: AutoPipeline) -> Self {
        let room = Semaphore::new(settings.requests_max.clamp(1, Semaphore::MAX_PERMITS));
        Self { settings, batches: Mutex::default(), room }
    }

    /// Has a command sent with others, and waits for its answer, for as long as the client waits for one.
    pub(crate) async fn run(self: &Arc<Self>, client: &Client, part: Part) -> Result<Answer> {
        let (caller, answer) = oneshot::channel();
        if let Some(opened) = self.join(Waiting { part, caller }) {
            // It is made before the task, which may be dropped before it has begun.
            let opened = Opened { auto: Arc::clone(self), id: opened };
            if rt::spawn(opened.send(Client { auto: None, ..client.clone() })).is_err() {
                return Err(Error::Configuration("automatic pipelines need a tokio runtime".into()));
            }
        }
        let limit = client.inner.timeout;
        let gone = || Err(Error::Transport(crate::error::TransportError::new("the task that sends has ended")));
        rt::within(limit, answer).await.map_or(Err(Error::Timeout(limit)), |answer| answer.unwrap_or_else(|_| gone()))
    }

    /// Joins the open batch; says which one had to be opened.
    fn join(&self, waiting: Waiting) -> Option<u64> {
        let lane = usize::from(waiting.part.effect == Effect::Reads);
        let bytes = waiting.part.args.bytes();
        let mut batches = self.batches.lock().unwrap_or_else(PoisonError::into_inner);
        let batches = &mut *batches;
        let open = batches.open[lane].and_then(|id| batches.unsent.get_mut(&id));
        if let Some(batch) = open.filter(|batch| self.has_room(batch, bytes)) {
            batch.bytes += bytes;
            batch.waiting.push(waiting);
            return None;
        }
        let id = batches.next_id;
        batches.next_id += 1;
        batches.open[lane] = Some(id);
        batches.unsent.insert(id, Batch { bytes, waiting: vec![waiting] });
        Some(id)
    }

    fn has_room(&self, batch: &Batch, bytes: usize) -> bool {
        batch.waiting.len() < self.settings.commands_max && batch.bytes + bytes <= self.settings.bytes_max
    }

    fn take(&self, id: u64) -> Option<Batch> {
        self.batches.lock().unwrap_or_else(PoisonError::into_inner).unsent.remove(&id)
    }
}

/// A batch that somebody is to send. If its task ends without doing so (its runtime has stopped) the batch goes, too: nobody
/// must join it any more.
struct Opened {
    auto: Arc<Auto>,
    id: u64,
}

impl Opened {
    async fn send(self, client: Client) {
        let Auto { settings, room, .. } = &*self.auto;
        if settings.window.is_zero() {
            rt::give_way().await;
        } else {
            rt::sleep(settings.window).await;
        }
        let Ok(_room) = room.acquire().await else { return };
        let Some(batch) = self.auto.take(self.id) else { return };
        let waiting = batch.waiting.into_iter().filter(|waiting| !waiting.caller.is_closed());
        let (parts, callers): (Vec<_>, Vec<_>) = waiting.map(|Waiting { part, caller }| (part, caller)).unzip();
        match pipeline::send(&client, "/pipeline", parts, Options::default()).await {
            Ok(answers) => callers.into_iter().zip(answers).for_each(|(caller, answer)| {
                let _ = caller.send(Ok(answer));
            }),
            Err(error) => callers.into_iter().for_each(|caller| {
                let _ = caller.send(Err(error.clone()));
            }),
        }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        drop(self.auto.take(self.id));
    }
}
