//! From a command to its reply, whatever has to be waited for in between: what both doors share.

use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use dormouse_database::{Session, Step};
use dormouse_proto::{CommandError, Reply};
use dormouse_storage::Lsn;
use tokio::time::Instant;

use crate::clock::{TimeLimit, moment};
use crate::patience::Patience;
use crate::worker::Worker;

/// How long a script may run where it was read, before it moves to a thread of its own.
pub(crate) const SCRIPT_INLINE: Duration = Duration::from_millis(2);
/// How long a script may run at all; then its changes are taken back.
const SCRIPT_MAX: Duration = Duration::from_mins(1);
/// How often a waiting command looks whether the database is free.
pub(crate) const BUSY_POLL: Duration = Duration::from_millis(1);

/// How often a command that a pause holds up looks whether it is over.
const PAUSE_POLL: Duration = Duration::from_millis(5);

/// How long a client that has sent many commands may keep its worker from the others.
const TURN_MS: u64 = 2;

/// A client's turn at its worker. The clock is the one its commands have read already.
#[derive(Debug, Default)]
pub(crate) struct Turn {
    since_ms: Option<u64>,
}

impl Turn {
    /// Lets others go first if the turn has lasted long enough. `now_ms` is when the last command began.
    pub(crate) async fn pass(&mut self, now_ms: u64) {
        let since_ms = *self.since_ms.get_or_insert(now_ms);
        if now_ms.abs_diff(since_ms) >= TURN_MS {
            tokio::task::yield_now().await;
            self.since_ms = None;
        }
    }
}

/// A reply, and what it depends on.
pub(crate) type Answer = (Reply, Lsn);

/// A leash for scripts that run where they were read.
pub(crate) const fn leash() -> TimeLimit {
    TimeLimit::new(SCRIPT_INLINE)
}

/// Sees a step through to its reply. `again` runs the same command once more, after the database was busy. A parked
/// command comes back as it is, how to wait for a key is the door's to say; and so does one that was sent before.
pub(crate) async fn settle(
    session: &mut Session,
    first: Step,
    mut again: impl FnMut(&mut Session) -> Step,
) -> Result<Answer, Step> {
    let mut step = first;
    let mut busy_since = None;
    loop {
        match step {
            Step::Reply { reply, after } => return Ok((reply, after)),
            Step::Parked { .. } | Step::Repeat(_) => return Err(step),
            Step::Long(job) => {
                let Some(account) = session.account().cloned() else {
                    return Ok((CommandError::NoAuth.into(), Lsn(0)));
                };
                let run = move || Session::run_long(&account, job, moment(), &TimeLimit::new(SCRIPT_MAX));
                step = match tokio::task::spawn_blocking(run).await {
                    Ok((job, ran)) => session.resume(job, ran),
                    Err(error) => {
                        tracing::error!(%error, "a script's thread failed");
                        return Ok((CommandError::text("ERR the script could not be run").into(), Lsn(0)));
                    }
                };
            }
            Step::Paused => {
                tokio::time::sleep(PAUSE_POLL).await;
                step = again(session);
            }
            Step::Busy => {
                let since = *busy_since.get_or_insert_with(Instant::now);
                if session.is_kept_too_long(since.elapsed(), moment()) {
                    return Ok((session.busy(), Lsn(0)));
                }
                tokio::time::sleep(BUSY_POLL).await;
                step = again(session);
            }
        }
    }
}

/// Waits until a reply may be shown; if it never may, says why instead.
pub(crate) async fn when_durable(worker: &Rc<Worker>, (reply, after): Answer) -> Reply {
    match worker.gate.pass(after).await {
        Ok(()) => reply,
        Err(error) => error.into(),
    }
}

/// What every door of the process shares.
pub(crate) struct Shared {
    pub(crate) service: Arc<dormouse_database::Service>,
    pub(crate) resp_open: bool,
    /// Whether commands over REST may wait for a key when the request does not say.
    pub(crate) block_over_rest: bool,
    pub(crate) patience: Patience,
    pub(crate) connections: std::sync::atomic::AtomicUsize,
    /// Most of them, of both doors together.
    pub(crate) connections_max: usize,
    /// What both doors speak TLS with, if they do.
    pub(crate) tls: Option<Arc<crate::tls::Tls>>,
}
