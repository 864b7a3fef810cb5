//! The wall clock and chance, which everything below is handed.

use std::cell::{Cell, RefCell};
use std::sync::LazyLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dormouse_engine::{Moment, Random, Watchdog};

/// A tick of the system's accounts, in microseconds: `USER_HZ` is 100 on every Linux.
const TICK_US: u64 = 10_000;

/// Fills a buffer with bytes nobody can guess.
///
/// # Panics
/// If the operating system has no randomness to give, without which no token would be safe.
pub(crate) fn entropy(bytes: &mut [u8]) {
    getrandom::fill(bytes).expect("the operating system gives random bytes");
}

/// Now, with a fresh seed.
pub(crate) fn moment() -> Moment {
    thread_local! {
        static SEEDS: RefCell<Random> = RefCell::new({
            let mut seed = [0; 8];
            entropy(&mut seed);
            Random::new(u64::from_ne_bytes(seed))
        });
    }
    let now_us = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64);
    Moment { now_us, seed: SEEDS.with_borrow_mut(Random::next_u64) }
}

/// A clock that only tells how long something takes, in microseconds.
pub(crate) fn clock_us() -> u64 {
    static BEGINNING: LazyLock<Instant> = LazyLock::new(Instant::now);
    BEGINNING.elapsed().as_micros() as u64
}

/// How long the process has worked, in microseconds: for itself, and in the system's name.
pub(crate) fn cpu_us() -> (u64, u64) {
    // `user` and `system` of all threads, in ticks of a hundredth of a second, behind the name in parentheses.
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields = stat.rsplit(')').next().unwrap_or_default().split_ascii_whitespace();
    let mut ticks = fields.skip(11).map_while(|field| field.parse::<u64>().ok());
    let mut next_us = || ticks.next().unwrap_or(0) * TICK_US;
    (next_us(), next_us())
}

/// Ends a script some time after it first asked. Costs nothing for commands that never ask.
#[derive(Debug)]
pub(crate) struct TimeLimit {
    limit: Duration,
    since: Cell<Option<Instant>>,
}

impl TimeLimit {
    pub(crate) const fn new(limit: Duration) -> Self {
        Self { limit, since: Cell::new(None) }
    }
}

impl Watchdog for TimeLimit {
    fn expired(&self) -> bool {
        let now = Instant::now();
        let Some(since) = self.since.get() else {
            self.since.set(Some(now));
            return false;
        };
        now.duration_since(since) >= self.limit
    }

    fn clock_us(&self) -> u64 {
        clock_us()
    }
}
