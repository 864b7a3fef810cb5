//! Waiting for the log, once per worker instead of once per client.
//!
//! Whoever waits first in a turn of the worker's loop rings the worker's own [`Gate`], which gets its turn after every task
//! that is ready to run now: it hands the log what all of them appended, as one batch. The log's own thread cannot know
//! tasks, and waking each of a hundred of them from another thread would cost more than the disk write they waited for; so
//! it rings the gate too, and the gate wakes its own tasks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use dormouse_proto::CommandError;
use dormouse_storage::{Log, Lsn};
use tokio::sync::Notify;

/// What the threads that write the log and a gate share.
#[derive(Debug, Default)]
struct Bell {
    /// Tasks that wait, so that a worker nobody waits on is left alone.
    waiting: AtomicUsize,
    /// The gate is writing, and will look for itself.
    looking: AtomicBool,
    rung: Notify,
}

/// See the module's text.
pub(crate) struct Gate {
    log: Arc<Log>,
    bell: Arc<Bell>,
    waiting: RefCell<BTreeMap<Lsn, Vec<Waker>>>,
}

impl Gate {
    /// The gate of the current worker; its task runs on the current local set.
    pub(crate) fn open(log: &Arc<Log>) -> Rc<Self> {
        let bell = Arc::new(Bell::default());
        let theirs = Arc::clone(&bell);
        log.on_durable(Box::new(move || {
            if theirs.waiting.load(Ordering::SeqCst) > 0 && !theirs.looking.load(Ordering::SeqCst) {
                theirs.rung.notify_one();
            }
        }));
        let gate = Rc::new(Self { log: Arc::clone(log), bell, waiting: RefCell::default() });
        let keeper = Rc::clone(&gate);
        tokio::task::spawn_local(async move {
            loop {
                keeper.bell.rung.notified().await;
                keeper.bell.looking.store(true, Ordering::SeqCst);
                keeper.log.write_out();
                keeper.bell.looking.store(false, Ordering::SeqCst);
                keeper.let_through();
            }
        });
        gate
    }

    fn let_through(&self) {
        let upto = if self.log.has_failed() { Lsn(u64::MAX) } else { self.log.durable() };
        let mut waiting = self.waiting.borrow_mut();
        let later = waiting.split_off(&Lsn(upto.0.saturating_add(1)));
        let mut ready = std::mem::replace(&mut *waiting, later);
        if upto == Lsn(u64::MAX) {
            ready.append(&mut waiting);
        }
        drop(waiting);
        for waker in ready.into_values().flatten() {
            self.bell.waiting.fetch_sub(1, Ordering::SeqCst);
            waker.wake();
        }
    }

    /// Waits until everything up to `after` is durable. An error if it never will be.
    pub(crate) async fn pass(&self, after: Lsn) -> Result<(), CommandError> {
        poll_fn(|context| {
            if let Some(outcome) = self.outcome(after) {
                return Poll::Ready(outcome);
            }
            self.bell.waiting.fetch_add(1, Ordering::SeqCst);
            self.waiting.borrow_mut().entry(after).or_default().push(context.waker().clone());
            // The gate looks again after this, so what ended in between is seen.
            self.bell.rung.notify_one();
            Poll::Pending
        })
        .await
    }

    fn outcome(&self, after: Lsn) -> Option<Result<(), CommandError>> {
        if after <= self.log.durable() {
            Some(Ok(()))
        } else if self.log.has_failed() {
            Some(Err(CommandError::LogFailed))
        } else {
            None
        }
    }
}
