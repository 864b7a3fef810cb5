//! Replies that nobody asked for just now: messages of subscriptions, answers to parked commands.
//!
//! Filled under a database's lock by any thread, emptied by the one task that owns the client. It is bounded: a client that
//! reads slower than others publish is cut off rather than remembered.

use std::collections::VecDeque;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use dormouse_database::{Delivery, Outbox};
use dormouse_proto::Reply;
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

/// Bytes that may wait for one client, as Redis's `client-output-buffer-limit pubsub`.
const MAILBOX_BYTES_MAX: usize = 32 << 20;

/// See the module's text.
#[derive(Debug, Default)]
pub(crate) struct Mailbox {
    inside: Mutex<Inside>,
    /// Whether there is something to take, for who asks before each command.
    is_waiting: AtomicBool,
    arrived: Notify,
    /// Ends the task of a connection, which may be asleep in its socket.
    task: OnceLock<AbortHandle>,
}

#[derive(Debug, Default)]
struct Inside {
    queue: VecDeque<Delivery>,
    bytes: usize,
    /// Or closed by somebody else.
    overflowed: bool,
}

/// The client reads too slowly to be kept, or another has ended it.
#[derive(Debug)]
pub(crate) struct Overflowed;

impl Mailbox {
    /// Of a connection whose task can be ended.
    pub(crate) fn belongs_to(&self, task: AbortHandle) {
        let _ = self.task.set(task);
    }

    /// The oldest delivery, if there is one.
    pub(crate) fn take(&self) -> Result<Option<Delivery>, Overflowed> {
        if !self.is_waiting.load(Ordering::Acquire) {
            return Ok(None);
        }
        let mut inside = self.inside.lock();
        if inside.overflowed {
            return Err(Overflowed);
        }
        let delivery = inside.queue.pop_front();
        self.is_waiting.store(!inside.queue.is_empty(), Ordering::Release);
        if let Some(delivery) = &delivery {
            inside.bytes = inside.bytes.saturating_sub(weight(delivery));
        }
        Ok(delivery)
    }

    /// Waits for a delivery.
    pub(crate) async fn receive(&self) -> Result<Delivery, Overflowed> {
        loop {
            let arrived = self.arrived.notified();
            if let Some(delivery) = self.take()? {
                return Ok(delivery);
            }
            arrived.await;
        }
    }
}

impl Outbox for Mailbox {
    fn deliver(&self, delivery: Delivery) {
        let mut inside = self.inside.lock();
        self.is_waiting.store(true, Ordering::Release);
        inside.bytes += weight(&delivery);
        if inside.bytes > MAILBOX_BYTES_MAX {
            let already = std::mem::replace(&mut inside.overflowed, true);
            inside.queue.clear();
            // It may be waiting for its client to read, which would take a minute to give up.
            if let (false, Some(task)) = (already, self.task.get()) {
                tracing::warn!("a subscriber or monitor read too slowly and was cut off");
                task.abort();
            }
        } else {
            inside.queue.push_back(delivery);
        }
        drop(inside);
        self.arrived.notify_one();
    }

    fn close(&self) {
        let mut inside = self.inside.lock();
        self.is_waiting.store(true, Ordering::Release);
        inside.overflowed = true;
        inside.queue.clear();
        drop(inside);
        self.arrived.notify_one();
        if let Some(task) = self.task.get() {
            task.abort();
        }
    }
}

fn weight(delivery: &Delivery) -> usize {
    fn bytes(reply: &Reply) -> usize {
        match reply {
            Reply::Bulk(blob) | Reply::Status(blob) => 64 + blob.len(),
            Reply::Array(items) | Reply::Push(items) => 64 + items.iter().map(bytes).sum::<usize>(),
            _ => 64,
        }
    }
    match delivery {
        // A parked command has one answer, and its client asked for it.
        Delivery::Unparked { .. } => 0,
        Delivery::Push { reply, .. } => bytes(reply),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dormouse_storage::Lsn;

    #[test]
    fn a_full_mailbox_cuts_its_client_off() {
        let mailbox = Mailbox::default();
        for _ in 0..40 {
            let message = Reply::Push(vec![Reply::bulk(vec![0; 1 << 20])]);
            mailbox.deliver(Delivery::Push { reply: message, after: Lsn(0) });
        }
        assert!(mailbox.take().is_err());
        assert!(mailbox.inside.lock().queue.is_empty());
    }
}
