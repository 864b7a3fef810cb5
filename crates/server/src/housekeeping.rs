//! What nobody asks for: checkpoints, removal of dead keys, and memory kept within its bound.
//!
//! Two threads for the whole process: one for what waits for nobody, and one for checkpoints, which wait for a long script
//! to let go of its database. While commands run they look around a few times a second; each look is a handful of
//! comparisons. When none has run since the last look they wait for the next, or for the moment at which time alone makes
//! something due: a deadline, a database that falls asleep. So a process that nobody uses uses nothing.

use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dormouse_database::Service;
use parking_lot::{Condvar, Mutex};
use tokio::sync::Notify;

use crate::clock::moment;

/// Shortest pause between looks.
const EVERY: Duration = Duration::from_millis(100);
/// Batches of dead keys removed from one database in one look, so that one full of them does not starve the others.
const REAP_ROUNDS_MAX: usize = 64;
/// Databases that fall idle one after the other share a checkpoint at least this often, unless they are to sleep sooner.
const IDLE_CHECKPOINT_EVERY: Duration = Duration::from_mins(1);
/// How long after memory was freed the allocator is asked to give it back: it keeps it for a moment, in case of need.
const GIVE_BACK_AFTER: Duration = Duration::from_secs(1);
/// Freeing so much at once makes the allocator look for what it may give back.
const GIVE_BACK_BYTES: usize = 64 << 20;
/// What a thread waits for at most, so that a clock that was set is noticed.
const PAUSE_MAX: Duration = Duration::from_hours(1);

/// When to do what.
#[derive(Clone, Debug)]
pub(crate) struct Rules {
    /// A checkpoint is due after this many bytes of log.
    pub(crate) tail_bytes_max: u64,
    /// A database that nobody has used for so long leaves memory.
    pub(crate) sleep_after: Duration,
    /// A process that nobody has used for so long ends, if it may at all.
    pub(crate) idle_exit: Option<Duration>,
}

/// What the threads share.
struct Shared {
    service: Arc<Service>,
    rules: Rules,
    bell: Bell,
    /// Told when the process has been idle for long enough to end.
    idle: Arc<Notify>,
}

/// Wakes the threads.
#[derive(Default)]
struct Bell {
    rung: Mutex<Rung>,
    changed: Condvar,
}

#[derive(Default)]
struct Rung {
    stopped: bool,
    times: u64,
}

impl Bell {
    fn ring(&self) {
        self.rung.lock().times += 1;
        self.changed.notify_all();
    }

    fn stop(&self) {
        self.rung.lock().stopped = true;
        self.changed.notify_all();
    }

    fn times(&self) -> u64 {
        self.rung.lock().times
    }

    /// Waits for at least a moment, and then until it rings more often than `times`, or the time is up. Whether to go on.
    fn wait(&self, times: u64, pause: Duration) -> bool {
        let now = Instant::now();
        let mut rung = self.rung.lock();
        while !rung.stopped {
            let until = now + if rung.times > times { EVERY } else { pause.max(EVERY) };
            if self.changed.wait_until(&mut rung, until).timed_out() && Instant::now() >= until {
                break;
            }
        }
        !rung.stopped
    }
}

/// The running threads.
pub(crate) struct Housekeeper {
    threads: Vec<JoinHandle<()>>,
    shared: Arc<Shared>,
}

impl Housekeeper {
    /// Starts them. `idle` is told when the process may end.
    pub(crate) fn start(service: &Arc<Service>, rules: Rules, idle: Arc<Notify>) -> std::io::Result<Self> {
        let service = Arc::clone(service);
        let shared = Arc::new(Shared { service, rules, bell: Bell::default(), idle });
        let bell = Arc::downgrade(&shared);
        shared.service.on_activity(move || {
            if let Some(shared) = bell.upgrade() {
                shared.bell.ring();
            }
        });
        let start = |name: &str, look: fn(&Shared, &mut State) -> Duration| {
            let shared = Arc::clone(&shared);
            std::thread::Builder::new().name(name.to_owned()).spawn(move || {
                let mut state = State::default();
                loop {
                    let times = shared.bell.times();
                    // Whatever happens from here on rings.
                    shared.service.hush();
                    let pause = look(&shared, &mut state);
                    if !shared.bell.wait(times, pause) {
                        return;
                    }
                }
            })
        };
        let threads = vec![start("housekeeper", tidy)?, start("checkpointer", checkpoint)?];
        Ok(Self { threads, shared })
    }

    /// Ends them, after what they are doing.
    pub(crate) fn stop(self) {
        self.shared.bell.stop();
        for thread in self.threads {
            if thread.join().is_err() {
                tracing::error!("a housekeeping thread had failed");
            }
        }
    }
}

/// What a thread remembers from look to look.
#[derive(Default)]
struct State {
    /// Whether the last checkpoint failed.
    failed: bool,
    /// When the last checkpoint ended, in milliseconds since the Unix epoch.
    checkpointed_ms: u64,
    /// Bytes of data in memory when there was a look before.
    memory_bytes: u64,
    /// Whether some of it was freed, and the allocator may keep it.
    freed: bool,
}

/// The allocator gives memory back while it is used, and what fell asleep uses it no more.
fn give_back() {
    drop(std::hint::black_box(Vec::<u8>::with_capacity(GIVE_BACK_BYTES)));
}

/// From now to a moment.
fn until(at_ms: u64, now_ms: u64) -> Duration {
    Duration::from_millis(at_ms.saturating_sub(now_ms)).min(PAUSE_MAX)
}

/// Milliseconds of a setting.
fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// Removes dead keys, and what memory need not hold. A database that a long script holds is passed over. Returns how long
/// nothing of that will be needed unless something happens.
fn tidy(shared: &Shared, state: &mut State) -> Duration {
    let Shared { service, rules, .. } = shared;
    let mut more = false;
    for database in service.databases() {
        let mut rounds = 0;
        while rounds < REAP_ROUNDS_MAX && database.reap(moment()) {
            rounds += 1;
        }
        more |= rounds == REAP_ROUNDS_MAX;
    }
    // What was reaped has no client that waits for it.
    service.log().write_out();
    service.weigh();
    service.evict();
    let now_ms = moment().now_ms();
    let sleep_after_ms = ms(rules.sleep_after);
    service.rest(now_ms.saturating_sub(sleep_after_ms));
    if state.freed && service.is_quiet() {
        give_back();
    }
    let memory_bytes = service.memory_bytes();
    state.freed = memory_bytes < state.memory_bytes;
    state.memory_bytes = memory_bytes;
    let used_ms = service.used_ms();
    if more || !service.is_quiet() || now_ms < used_ms {
        return EVERY;
    }
    let mut pause = service.next_due_ms().map_or(PAUSE_MAX, |at_ms| until(at_ms, now_ms));
    if now_ms - used_ms <= sleep_after_ms {
        // A little later, so that nobody is idle for just not long enough then.
        pause = pause.min(until(used_ms.saturating_add(sleep_after_ms) + 1, now_ms));
    }
    if state.freed {
        pause = pause.min(GIVE_BACK_AFTER);
    }
    if let Some(idle_exit) = rules.idle_exit {
        let at_ms = used_ms.saturating_add(ms(idle_exit));
        if at_ms <= now_ms && !service.is_waited_on() {
            shared.idle.notify_one();
        }
        pause = pause.min(until(at_ms, now_ms).max(EVERY));
    }
    pause
}

/// Writes a checkpoint when the log has grown enough for one, when memory is needed that only one can free, or when a
/// database is to sleep. Returns how long none will be needed unless something happens.
fn checkpoint(shared: &Shared, state: &mut State) -> Duration {
    let Shared { service, rules, .. } = shared;
    let now_ms = moment().now_ms();
    let full = service.log().tail_bytes() > rules.tail_bytes_max.min(service.tail_bytes_max());
    let unsaved = service.unsaved_since_ms();
    // Databases that fall idle one after the other share one.
    let idle_at_ms = unsaved.map(|since_ms| {
        let shared_at_ms = state.checkpointed_ms + ms(rules.sleep_after.min(IDLE_CHECKPOINT_EVERY));
        since_ms.saturating_add(ms(rules.sleep_after)).max(shared_at_ms)
    });
    let is_idle = idle_at_ms.is_some_and(|at_ms| at_ms <= now_ms);
    let outcome = if full || is_idle { service.checkpoint().map(drop) } else { Ok(()) };
    // What is in the store now may leave memory.
    let outcome = outcome.and_then(|()| service.relieve());
    match outcome {
        Ok(()) => state.failed = false,
        // Said once, not ten times a second: it is tried again until it works or the operator steps in.
        Err(error) if !std::mem::replace(&mut state.failed, true) => tracing::error!(%error, "a checkpoint failed"),
        Err(_) => {}
    }
    if full || is_idle {
        state.checkpointed_ms = moment().now_ms();
        shared.bell.ring();
        return EVERY;
    }
    match idle_at_ms {
        Some(at_ms) => until(at_ms, now_ms),
        None if service.is_over_memory() => EVERY,
        None => PAUSE_MAX,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;
    use std::sync::atomic::{AtomicBool, Ordering};

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
            let rules = Rules { tail_bytes_max: 0, sleep_after: Duration::from_mins(5), idle_exit: None };
            let housekeeper = Housekeeper::start(&service, rules, Arc::default()).unwrap();
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
