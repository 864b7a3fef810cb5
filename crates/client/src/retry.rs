//! When a request is sent again, how long to wait before, and how often at most.
//!
//! What is safe is decided by the caller (reads, and writes under an idempotency key). The pause is random between nothing
//! and a bound that doubles ("full jitter"), so that many clients that failed together do not come back together. A budget
//! shared by all clones lets retries be a tenth of the requests, and a few: an endpoint in trouble is not sent three times
//! its load.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::Error;
use crate::rt;

/// Retries a client may make before any request has succeeded.
const BUDGET_FIRST: u32 = 10;
/// Most retries it may save up.
const BUDGET_MAX: u32 = 100;
/// Parts of a retry.
const PARTS: u32 = 10;

/// How requests are repeated.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::Retry;
///
/// let retry = Retry::default().attempts(5).pause(Duration::from_millis(20), Duration::from_secs(1));
/// # let _ = (retry, Retry::never());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retry {
    attempts_max: u32,
    pause_first: Duration,
    pause_max: Duration,
}

impl Default for Retry {
    /// Three attempts, with pauses of up to 50 ms and then 100 ms.
    fn default() -> Self {
        Self { attempts_max: 3, pause_first: Duration::from_millis(50), pause_max: Duration::from_secs(2) }
    }
}

impl Retry {
    /// Each request is sent once.
    pub fn never() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    /// How often a request is sent at most, the first time included.
    #[must_use]
    pub const fn attempts(mut self, attempts_max: u32) -> Self {
        self.attempts_max = attempts_max;
        self
    }

    /// The bound of the first pause, and of the longest: it doubles in between.
    #[must_use]
    pub const fn pause(mut self, first: Duration, max: Duration) -> Self {
        self.pause_first = first;
        self.pause_max = max;
        self
    }

    /// How long to wait after attempt number `attempt` (from 1) failed like this, if it may be repeated at all. `safe` says
    /// that it does no harm to run the command twice.
    pub(crate) fn after(&self, attempt: u32, error: &Error, safe: bool) -> Option<Duration> {
        let may = attempt < self.attempts_max && error.is_retryable() && (safe || !error.is_ambiguous());
        may.then(|| jitter(self.bound(attempt)).max(error.retry_after().unwrap_or_default()))
    }

    /// The longest pause after that many failures.
    pub(crate) fn bound(&self, failures: u32) -> Duration {
        let doubled = 1_u32.checked_shl(failures.saturating_sub(1)).filter(|factor| *factor > 0).unwrap_or(u32::MAX);
        self.pause_first.saturating_mul(doubled).min(self.pause_max)
    }
}

/// Anything from nothing to that.
pub(crate) fn jitter(bound: Duration) -> Duration {
    // 53 bits are what a double holds.
    bound.mul_f64((rt::random_u64() >> 11) as f64 / (1_u64 << 53) as f64)
}

/// The retries a client may still make.
#[derive(Debug)]
pub(crate) struct Budget(AtomicU32);

impl Budget {
    pub(crate) const fn new() -> Self {
        Self(AtomicU32::new(BUDGET_FIRST * PARTS))
    }

    /// A request succeeded: a part of a retry more.
    pub(crate) fn earn(&self) {
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| {
            (parts < BUDGET_MAX * PARTS).then(|| parts + 1)
        });
    }

    /// Whether there is one left; it is taken.
    pub(crate) fn spend(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |parts| parts.checked_sub(PARTS)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::TransportError;

    #[test]
    fn only_what_is_safe_is_repeated() {
        let retry = Retry::default();
        let (reset, refused) = (TransportError::new("reset").into(), TransportError::unsent("refused").into());
        let limited = Error::RateLimited { message: String::new(), retry_after: Some(Duration::from_secs(7)) };
        assert!(retry.after(1, &reset, true).is_some() && retry.after(1, &reset, false).is_none());
        assert!(retry.after(1, &refused, false).is_some() && retry.after(3, &refused, true).is_none());
        assert_eq!(retry.after(1, &limited, false), Some(Duration::from_secs(7)));
        assert!(Retry::never().after(1, &refused, true).is_none());
        assert!(retry.after(1, &Error::Configuration("no".into()), true).is_none());
    }

    #[test]
    fn pauses_double_up_to_a_bound() {
        let retry = Retry::default().pause(Duration::from_millis(10), Duration::from_millis(75));
        let bounds = [1, 2, 3, 4, 40, u32::MAX].map(|failures| retry.bound(failures).as_millis());
        assert_eq!(bounds, [10, 20, 40, 75, 75, 75]);
        assert!((0..1000).all(|_| jitter(Duration::from_millis(10)) < Duration::from_millis(10)));
    }

    #[test]
    fn the_budget_runs_out_and_comes_back() {
        let budget = Budget::new();
        assert_eq!((0..100).filter(|_| budget.spend()).count(), BUDGET_FIRST as usize);
        (0..PARTS).for_each(|_| budget.earn());
        assert!(budget.spend() && !budget.spend());
    }
}
