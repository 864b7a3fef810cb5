//! What becomes of a job that failed: a function of how often it was tried. It reads no clock.

use std::time::Duration;

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It is tried again after so long.
    Retry(Duration),
    /// It was tried often enough.
    Bury,
}

/// Decides after so many attempts. Pauses double, up to the time for which a job is left alone.
pub(crate) fn fate(attempt: u32, attempts: u32, pause: Duration, longest: Duration) -> Fate {
    if attempt >= attempts {
        return Fate::Bury;
    }
    let doubled = pause.saturating_mul(1_u32.checked_shl(attempt.saturating_sub(1)).unwrap_or(u32::MAX));
    Fate::Retry(doubled.min(longest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn pauses_grow_and_end(attempts in 1..100_u32, pause in 1..10_000_u64, longest in 1..100_000_u64) {
            let (pause, longest) = (Duration::from_millis(pause), Duration::from_millis(longest));
            let mut last = Duration::ZERO;
            for attempt in 1..attempts {
                let Fate::Retry(next) = fate(attempt, attempts, pause, longest) else { panic!("too early") };
                prop_assert!(next >= last && next <= longest && next >= pause.min(longest));
                last = next;
            }
            prop_assert_eq!(fate(attempts, attempts, pause, longest), Fate::Bury);
            prop_assert_eq!(fate(u32::MAX, attempts, pause, longest), Fate::Bury);
        }
    }
}
