//! What a database is asked to run, and what came of it.
//!
//! Everything that depends on which commands are in it (whether it writes, may have to be taken back, is held up by a pause)
//! is asked of the rows of the table; nothing here knows a command by name.

use std::sync::Arc;

use dormouse_engine::{Client, Command, Group, Pause, Queued, Sweep, Ticket};
use dormouse_proto::{Args, Blob, Reply};
use dormouse_storage::Lsn;

use crate::cold::Fetch;
use crate::once::{Once, Repeat};

/// What to run.
#[derive(Clone, Copy, Debug)]
pub enum Work<'a> {
    /// One command that has passed every check.
    One(&'static Command, Args<'a>),
    /// A transaction. With `watching`, only if none of the client's watched keys has changed.
    All {
        /// The commands.
        queue: &'a [Queued],
        /// Whether the client's watches count.
        watching: bool,
    },
}

impl Work<'_> {
    pub(crate) fn has_script(&self) -> bool {
        match self {
            Self::One(command, _) => command.is_script(),
            Self::All { queue, .. } => queue.iter().any(|queued| queued.command.is_script()),
        }
    }

    /// Whether it may have to be taken back: a script that takes long, a transaction whose replies take too much room.
    pub(crate) fn is_undoable(&self) -> bool {
        matches!(self, Self::All { .. }) || self.has_script()
    }

    /// Whether it walks over keys it does not name.
    pub(crate) fn sweeps(&self) -> bool {
        let sweeps = |command: &Command| command.does_sweep() && command.effect == dormouse_engine::Effect::Reads;
        match self {
            Self::One(command, _) => sweeps(command),
            Self::All { queue, .. } => queue.iter().any(|queued| sweeps(queued.command)),
        }
    }

    pub(crate) fn writes(&self) -> bool {
        let writes = |command: &Command| command.effect == dormouse_engine::Effect::Writes;
        match self {
            Self::One(command, _) => writes(command),
            Self::All { queue, .. } => queue.iter().any(|queued| writes(queued.command)),
        }
    }

    /// Whether memory may hold more after it.
    pub(crate) fn may_grow(&self) -> bool {
        let may_grow = |command: &Command| {
            command.may_grow() || command.is_script() && command.effect == dormouse_engine::Effect::Writes
        };
        match self {
            Self::One(command, _) => may_grow(command),
            Self::All { queue, .. } => queue.iter().any(|queued| may_grow(queued.command)),
        }
    }

    /// Whether a pause holds it up: what concerns a client alone goes on, so that somebody can end the pause.
    pub(crate) fn waits_for(&self, pause: Pause) -> bool {
        let waits = |command: &Command| command.group != Group::Connection;
        match self {
            _ if pause.writes_only => self.writes(),
            Self::One(command, _) => waits(command),
            Self::All { queue, .. } => queue.iter().any(|queued| waits(queued.command)),
        }
    }

    /// Whether running it twice may do something else than running it once.
    pub(crate) fn matters_twice(&self) -> bool {
        let matters = |command: &Command| command.effect != dormouse_engine::Effect::Reads;
        match self {
            Self::One(command, _) => matters(command),
            Self::All { queue, .. } => queue.iter().any(|queued| matters(queued.command)),
        }
    }

    /// Whether its answer may be told once only.
    pub(crate) fn is_secret(&self) -> bool {
        match self {
            Self::One(command, _) => command.tells_a_secret(),
            Self::All { queue, .. } => queue.iter().any(|queued| queued.command.tells_a_secret()),
        }
    }

    pub(crate) fn to_job(self, client: Client, once: Option<Arc<Once>>) -> LongJob {
        let copy = |args: Args<'_>| args.iter().map(|arg| Blob::from(*arg)).collect();
        match self {
            Self::One(command, args) => LongJob {
                queue: vec![Queued { command, args: copy(args) }],
                all: None,
                client,
                once,
                sweep: None,
                fetch: None,
            },
            Self::All { queue, watching } => {
                LongJob { queue: queue.to_vec(), all: Some(watching), client, once, sweep: None, fetch: None }
            }
        }
    }
}

/// The arguments of a job's only command, for [`of_job`].
pub(crate) fn args_of_job(queue: &[Queued]) -> Vec<&[u8]> {
    queue.first().map(|queued| queued.args.iter().map(Blob::as_slice).collect()).unwrap_or_default()
}

/// What a job is to run.
pub(crate) fn of_job<'a>(queue: &'a [Queued], all: Option<bool>, args: Args<'a>) -> Work<'a> {
    match (all, queue.first()) {
        (None, Some(queued)) => Work::One(queued.command, args),
        (watching, _) => Work::All { queue, watching: watching == Some(true) },
    }
}

/// What came of it.
#[derive(Debug)]
pub enum Ran {
    /// The reply, to be shown once `after` is durable.
    Done {
        /// The reply.
        reply: Reply,
        /// What it depends on.
        after: Lsn,
    },
    /// Nothing to pop yet. The answer comes through the client's outbox.
    Parked {
        /// Names the parked command.
        ticket: Ticket,
        /// When to give up, in milliseconds from now.
        timeout_ms: Option<u64>,
    },
    /// A long script holds the database: try again when it is free.
    Busy,
    /// Too long to run here, or its keys are to be read first: run it with [`Database::run_long`] on a thread that may block.
    Long(Box<LongJob>),
    /// It was sent before, and has not been run again.
    Repeat(Repeat),
    /// Commands are to wait for a while (`CLIENT PAUSE`, or memory is full): try again soon.
    Paused,
}

/// What became of a parked command that gave up.
#[derive(Debug)]
pub enum Unparked {
    /// It is forgotten.
    Reply {
        /// Its reply, to be shown once `after` is durable.
        reply: Reply,
        /// What it depends on: that there was nothing to wait for any more.
        after: Lsn,
    },
    /// Its answer is on the way.
    Answered,
    /// A long script holds the database: ask again soon.
    Busy,
}

/// Work that moved to a thread of its own.
#[derive(Debug)]
pub struct LongJob {
    pub(crate) queue: Vec<Queued>,
    /// `Some` for a transaction: whether the client's watches count.
    pub(crate) all: Option<bool>,
    /// The client, to be given back to its session.
    pub client: Client,
    pub(crate) once: Option<Arc<Once>>,
    /// What a walk over all keys has so far, which lets others have their turn.
    pub(crate) sweep: Option<Box<Sweep>>,
    /// Keys to be read before it runs.
    pub(crate) fetch: Option<Fetch>,
}

impl LongJob {
    /// Whether it is the queue of an `EXEC`.
    pub(crate) const fn is_transaction(&self) -> bool {
        self.all.is_some()
    }
}
