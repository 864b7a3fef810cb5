//! What nobody asks for: checkpoints, removal of dead keys, and memory kept within its bound.
//!
//! Two threads for the whole process: one for what waits for nobody, and one for checkpoints, which wait for a long script
//! to let go of its database. They look around a few times a second; each look is a handful of comparisons, and they only
//! touch the disk when there is something to write.

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

/// The running threads.
pub(crate) struct Housekeeper {
    threads: Vec<JoinHandle<()>>,
    signal: Arc<(Mutex<bool>, Condvar)>,
}

impl Housekeeper {
    /// Starts them. A checkpoint is due after `tail_bytes_max` bytes of log.
    pub(crate) fn start(service: &Arc<Service>, tail_bytes_max: u64) -> std::io::Result<Self> {
        let signal = Arc::new((Mutex::new(false), Condvar::new()));
        let start = |name: &str, look: fn(&Service, u64, &AtomicBool)| {
            let (service, theirs) = (Arc::clone(service), Arc::clone(&signal));
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                let failed = AtomicBool::new(false);
                let (stop, wake) = &*theirs;
                let mut stopped = stop.lock();
                while !*stopped {
                    parking_lot::MutexGuard::unlocked(&mut stopped, || look(&service, tail_bytes_max, &failed));
                    if !*stopped {
                        wake.wait_for(&mut stopped, EVERY);
                    }
                }
            })
        };
        let threads = vec![start("housekeeper", tidy)?, start("checkpointer", checkpoint)?];
        Ok(Self { threads, signal })
    }

    /// Ends them, after what they are doing.
    pub(crate) fn stop(self) {
        *self.signal.0.lock() = true;
        self.signal.1.notify_all();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a housekeeping thread had failed");
            }
        }
    }
}

/// Removes dead keys, and what memory need not hold. A database that a long script holds is passed over.
fn tidy(service: &Service, _: u64, _: &AtomicBool) {
    for database in service.databases() {
        let mut rounds = 0;
        while rounds < REAP_ROUNDS_MAX && database.reap(moment()) {
            rounds += 1;
        }
    }
    // What was reaped has no client that waits for it.
    service.log().write_out();
    service.evict();
}

/// Writes a checkpoint when the log has grown enough for one, or memory is needed that only one can free.
fn checkpoint(service: &Service, tail_bytes_max: u64, failed: &AtomicBool) {
    let due = service.log().tail_bytes() > tail_bytes_max;
    let outcome = if due { service.checkpoint().map(|_| ()) } else { service.relieve() };
    match outcome {
        Ok(()) => failed.store(false, Ordering::Relaxed),
        // Said once, not ten times a second: it is tried again until it works or the operator steps in.
        Err(error) if !failed.swap(true, Ordering::Relaxed) => tracing::error!(%error, "a checkpoint failed"),
        Err(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;
    use dormouse_database::{Database, Ran, Session, Work};
    use dormouse_engine::{Client, ClientId, Door, Grant, Limits, Patient, Watchdog};

    /// Ends scripts once it is told to.
    struct Until<'a>(&'a AtomicBool);

    impl Watchdog for Until<'_> {
        fn expired(&self) -> bool {
            self.0.load(Ordering::Relaxed)
        }
    }

    fn run(database: &Database, args: &[&[u8]], leash: &dyn Watchdog) -> Ran {
        let mut client = Client::new(ClientId(0), Door::Resp, Grant::Full);
        let command = dormouse_engine::find(args).unwrap().command;
        database.run(&mut client, Work::One(command, args), moment(), leash)
    }

    #[test]
    fn a_long_script_holds_up_nobody_elses_housekeeping() {
        let (_dir, service) = service(Limits::default());
        let account = service.default_account();
        let other = service.databases().into_iter().find(|other| other.id() != account.database.id()).unwrap();
        let endless = [b"EVAL".as_slice(), b"while true do end", b"0"];
        let Ran::Long(job) = run(&account.database, &endless, &Until(&AtomicBool::new(true))) else {
            panic!("it is taken off")
        };
        let (done, ours) = (AtomicBool::new(false), account.clone());
        std::thread::scope(|scope| {
            scope.spawn(|| Session::run_long(&ours, job, moment(), &Until(&done)));
            while !account.database.is_busy() {
                std::thread::yield_now();
            }
            // A checkpoint is due at once, and waits for the script.
            let housekeeper = Housekeeper::start(&service, 0).unwrap();
            std::thread::sleep(3 * EVERY);
            let before = other.keys();
            assert!(matches!(run(&other, &[b"SET", b"mortal", b"v", b"PX", b"50"], &Patient), Ran::Done { .. }));
            let tidied = (0..100).any(|_| {
                std::thread::sleep(EVERY / 2);
                other.keys() == before
            });
            done.store(true, Ordering::Relaxed);
            housekeeper.stop();
            assert!(tidied, "dead keys of another database are removed meanwhile");
        });
    }
}
