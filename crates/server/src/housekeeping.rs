//! What nobody asks for: checkpoints, removal of dead keys, and memory kept within its bound.
//!
//! One thread for the whole process. It looks around a few times a second; each look is a handful of comparisons, and it
//! only touches the disk when there is something to write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use dormouse_database::Service;
use parking_lot::{Condvar, Mutex};

use crate::clock::moment;

/// Pause between looks.
const EVERY: Duration = Duration::from_millis(100);
/// Batches of dead keys removed from one database in one look, so that one full of them does not starve the others.
const REAP_ROUNDS_MAX: usize = 64;

/// The running thread.
pub(crate) struct Housekeeper {
    thread: JoinHandle<()>,
    signal: Arc<(Mutex<bool>, Condvar)>,
}

impl Housekeeper {
    /// Starts it. A checkpoint is due after `tail_bytes_max` bytes of log.
    pub(crate) fn start(service: &Arc<Service>, tail_bytes_max: u64) -> std::io::Result<Self> {
        let signal = Arc::new((Mutex::new(false), Condvar::new()));
        let (service, theirs) = (Arc::clone(service), Arc::clone(&signal));
        let thread = std::thread::Builder::new().name("housekeeper".to_owned()).spawn(move || {
            let failed = AtomicBool::new(false);
            let (stop, wake) = &*theirs;
            let mut stopped = stop.lock();
            while !*stopped {
                parking_lot::MutexGuard::unlocked(&mut stopped, || look(&service, tail_bytes_max, &failed));
                if !*stopped {
                    wake.wait_for(&mut stopped, EVERY);
                }
            }
        })?;
        Ok(Self { thread, signal })
    }

    /// Ends it, after what it is doing.
    pub(crate) fn stop(self) {
        *self.signal.0.lock() = true;
        self.signal.1.notify_one();
        if self.thread.join().is_err() {
            tracing::error!("the housekeeping thread had failed");
        }
    }
}

fn look(service: &Service, tail_bytes_max: u64, failed: &AtomicBool) {
    for database in service.databases() {
        let mut rounds = 0;
        while rounds < REAP_ROUNDS_MAX && database.reap(moment()) {
            rounds += 1;
        }
    }
    // What was reaped has no client that waits for it.
    service.log().write_out();
    let due = service.log().tail_bytes() > tail_bytes_max;
    let outcome = if due { service.checkpoint().map(|_| ()) } else { service.relieve() };
    match outcome {
        Ok(()) => failed.store(false, Ordering::Relaxed),
        // Said once, not ten times a second: it is tried again until it works or the operator steps in.
        Err(error) if !failed.swap(true, Ordering::Relaxed) => tracing::error!(%error, "a checkpoint failed"),
        Err(_) => {}
    }
}
