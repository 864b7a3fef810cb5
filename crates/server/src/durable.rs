//! Waiting for the log, once per worker instead of once per client.
//!
//! The log's writer thread cannot know tasks, and waking each of a hundred of them from another thread costs more than the
//! disk write they waited for. So each worker has one [`Gate`]: the writer wakes the gate, the gate wakes its own tasks.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Poll, Waker};

use dormouse_proto::CommandError;
use dormouse_storage::{Log, Lsn};
use tokio::sync::Notify;

/// What the writer thread and a gate share.
#[derive(Debug, Default)]
struct Bell {
    /// Tasks that wait, so that a worker nobody waits on is left alone.
    waiting: AtomicUsize,
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
            if theirs.waiting.load(Ordering::SeqCst) > 0 {
                theirs.rung.notify_one();
            }
        }));
        let gate = Rc::new(Self { log: Arc::clone(log), bell, waiting: RefCell::default() });
        let keeper = Rc::clone(&gate);
        tokio::task::spawn_local(async move {
            loop {
                keeper.bell.rung.notified().await;
                keeper.let_through();
            }
        });
        gate
    }

    fn let_through(&self) {
        let upto = if self.log.poisoned().is_some() { Lsn(u64::MAX) } else { self.log.durable() };
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
        if after <= self.log.durable() {
            return Ok(());
        }
        poll_fn(|context| {
            // Registered first, looked second: a sync that ends in between is seen one way or the other.
            self.bell.waiting.fetch_add(1, Ordering::SeqCst);
            self.waiting.borrow_mut().entry(after).or_default().push(context.waker().clone());
            if self.log.durable() >= after {
                Poll::Ready(Ok(()))
            } else if self.log.poisoned().is_some() {
                Poll::Ready(Err(CommandError::LogFailed))
            } else {
                Poll::Pending
            }
        })
        .await
    }
}
