//! The rules as functions: what was used, what is asked for, what time it is; whether it is allowed, and what remains.
//!
//! The scripts beside this file say the same in Lua, next to the data; tests hold the two against each other. Here it serves the local
//! limiter, which stands in when the store is down. Nothing reads a clock: microseconds are handed in.

use std::time::Duration;

use crate::commands::millis;

/// How much is allowed.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::limit::Rule;
///
/// let minute = Duration::from_secs(60);
/// Rule::fixed_window(100, minute);          // 100 in each minute; up to 200 around the turn of one
/// Rule::sliding_window(100, minute);        // about 100 in any 60 seconds
/// Rule::token_bucket(10, minute, 50);       // 10 more each minute, up to 50
/// Rule::gcra(100, minute, 20);              // one each 600 ms, up to 20 at once
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rule {
    pub(crate) kind: Kind,
    /// How much in a window, or in the bucket.
    pub(crate) limit: u32,
    /// The window, or the interval between refills, in milliseconds.
    pub(crate) window: u64,
    /// What is refilled, or how much may come at once.
    pub(crate) extra: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Fixed,
    Sliding,
    Bucket,
    Gcra,
}

impl Rule {
    /// So many in each window of the clock.
    #[must_use]
    pub fn fixed_window(limit: u32, window: Duration) -> Self {
        Self::of(Kind::Fixed, limit, window, 1)
    }

    /// So many in a window that ends now, where the last window of the clock counts by the share of it that is left.
    #[must_use]
    pub fn sliding_window(limit: u32, window: Duration) -> Self {
        Self::of(Kind::Sliding, limit, window, 1)
    }

    /// A bucket that holds `max` tokens and gets `refill` more at each interval.
    #[must_use]
    pub fn token_bucket(refill: u32, interval: Duration, max: u32) -> Self {
        Self::of(Kind::Bucket, max, interval, refill.max(1))
    }

    /// So many in each period, evenly spread, of which `burst` may come at once.
    #[must_use]
    pub fn gcra(limit: u32, period: Duration, burst: u32) -> Self {
        Self::of(Kind::Gcra, limit, period, burst.max(1))
    }

    fn of(kind: Kind, limit: u32, window: Duration, extra: u32) -> Self {
        // Up to a hundred years, so that microseconds stay exact in Lua's numbers.
        Self { kind, limit, window: millis(window).clamp(1, 3_155_760_000_000), extra }
    }

    /// The most that one request may ever cost.
    pub(crate) const fn cost_max(&self) -> u32 {
        match self.kind {
            Kind::Gcra => self.extra,
            _ => self.limit,
        }
    }

    /// What the scripts take of it.
    pub(crate) const fn args(&self) -> [u64; 3] {
        let window = if matches!(self.kind, Kind::Gcra) { self.window * 1000 } else { self.window };
        [window, self.extra as u64, 0]
    }
}

/// What an identifier has used, in this process.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum State {
    #[default]
    New,
    /// The window's number, and what was used in it and in the one before.
    Windows { bucket: u64, current: i64, before: i64 },
    /// When it was refilled (ms), and what is in it.
    Bucket { at: u64, tokens: i64 },
    /// When the next request would be on time (µs).
    Tat(u64),
}

/// What came of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Verdict {
    pub(crate) allowed: bool,
    pub(crate) limit: i64,
    pub(crate) remaining: i64,
    /// Milliseconds.
    pub(crate) reset: u64,
    /// Microseconds; nothing to wait for if it is allowed.
    pub(crate) retry: u64,
}

/// Decides, and changes the state accordingly. `now` is in microseconds; a negative cost gives back.
pub(crate) fn decide(rule: &Rule, state: &mut State, now: u64, cost: i64) -> Verdict {
    match rule.kind {
        Kind::Fixed => fixed(rule, state, now, cost),
        Kind::Sliding => sliding(rule, state, now, cost),
        Kind::Bucket => bucket(rule, state, now, cost),
        Kind::Gcra => gcra(rule, state, now, cost),
    }
}

/// Whether a state says no more than a new one, so that it may be forgotten.
pub(crate) fn is_spent(rule: &Rule, state: &State, now: u64) -> bool {
    match *state {
        State::New => true,
        State::Windows { bucket, .. } => now / 1000 / rule.window > bucket + 1,
        State::Bucket { at, tokens } => {
            let missing = (i64::from(rule.limit) - tokens).max(0) as u64;
            now / 1000 >= at.saturating_add(missing.div_ceil(u64::from(rule.extra)) * rule.window)
        }
        State::Tat(tat) => tat <= now,
    }
}

fn verdict(rule: &Rule, allowed: bool, remaining: i64, reset: u64, retry: u64) -> Verdict {
    let retry = if allowed { 0 } else { retry };
    Verdict { allowed, limit: i64::from(rule.limit), remaining: remaining.max(0), reset, retry }
}

fn windows(rule: &Rule, state: &State, now: u64) -> (u64, i64, i64) {
    let bucket = now / 1000 / rule.window;
    match *state {
        State::Windows { bucket: seen, current, before } if seen == bucket => (bucket, current, before),
        State::Windows { bucket: seen, current, .. } if seen + 1 == bucket => (bucket, 0, current),
        _ => (bucket, 0, 0),
    }
}

fn fixed(rule: &Rule, state: &mut State, now: u64, cost: i64) -> Verdict {
    let (bucket, current, before) = windows(rule, state, now);
    let (limit, reset) = (i64::from(rule.limit), (bucket + 1) * rule.window);
    let current = current.saturating_add(cost);
    *state = State::Windows { bucket, current, before };
    verdict(rule, current <= limit, limit - current, reset, reset * 1000 - now)
}

fn sliding(rule: &Rule, state: &mut State, now: u64, cost: i64) -> Verdict {
    let (bucket, current, before) = windows(rule, state, now);
    let (limit, window, ms) = (i64::from(rule.limit), rule.window, now / 1000);
    let reset = (bucket + 1) * window;
    let weight = share(ms % window, window, before);
    let retry = |current: i64| {
        if limit == 0 {
            return reset * 1000 - now;
        }
        let at = if current < limit { first(bucket * window, before, limit - current, window) } else { reset };
        let at = if at >= reset { first(reset, current, limit, window) } else { at };
        (at.max(ms) * 1000).saturating_sub(now)
    };
    if cost > 0 && weight + current >= limit {
        return verdict(rule, false, 0, reset, retry(current));
    }
    let current = current.saturating_add(cost);
    *state = State::Windows { bucket, current, before };
    let left = limit - (current + weight);
    verdict(rule, left >= 0, left, reset, retry(current))
}

/// What is left of a window's requests when so much of the next one has passed; as Lua reckons: in doubles, and rounded down.
fn share(elapsed: u64, window: u64, before: i64) -> i64 {
    ((1.0 - elapsed as f64 / window as f64) * before as f64).floor() as i64
}

/// The first millisecond in which what a window has used weighs less than that.
fn first(from: u64, weighs: i64, least: i64, window: u64) -> u64 {
    if weighs < least {
        return from;
    }
    // A step before where it should be, as doubles may be a little off; then to where it is.
    let mut elapsed = ((window as f64 * (1.0 - least as f64 / weighs as f64)).floor() as u64).saturating_sub(1);
    while share(elapsed, window, weighs) >= least && elapsed < window {
        elapsed += 1;
    }
    from + elapsed
}

fn bucket(rule: &Rule, state: &mut State, now: u64, cost: i64) -> Verdict {
    let (limit, interval, refill, ms) = (i64::from(rule.limit), rule.window, i64::from(rule.extra), now / 1000);
    let (mut at, mut tokens) = match *state {
        State::Bucket { at, tokens } => (at, tokens),
        _ => (ms, limit),
    };
    if ms >= at + interval {
        let times = (ms - at) / interval;
        tokens = limit.min(tokens.saturating_add((times as i64).saturating_mul(refill)));
        at += times * interval;
    }
    let reset = at + interval;
    if cost > 0 && tokens < cost {
        let missing = ((cost - tokens) as u64).div_ceil(refill as u64);
        return verdict(rule, false, 0, reset, ((at + missing * interval) * 1000).saturating_sub(now));
    }
    *state = State::Bucket { at, tokens: tokens - cost };
    verdict(rule, true, tokens - cost, reset, 0)
}

fn gcra(rule: &Rule, state: &mut State, now: u64, cost: i64) -> Verdict {
    let period = rule.window * 1000;
    if rule.limit == 0 {
        return verdict(rule, false, 0, (now + period).div_ceil(1000), period);
    }
    let step = period.div_ceil(u64::from(rule.limit));
    let tolerance = step * u64::from(rule.extra);
    let tat = match *state {
        State::Tat(tat) => tat.max(now),
        _ => now,
    };
    let left = |tat: u64| ((now + tolerance).saturating_sub(tat) / step) as i64;
    let new = tat.saturating_add_signed((step as i64).saturating_mul(cost)).max(now);
    if cost > 0 && new > now + tolerance {
        return verdict(rule, false, left(tat), tat.div_ceil(1000), new - tolerance - now);
    }
    *state = State::Tat(new);
    verdict(rule, true, left(new), new.div_ceil(1000), 0)
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn rule() -> impl Strategy<Value = Rule> {
        let kind = prop_oneof![Just(Kind::Fixed), Just(Kind::Sliding), Just(Kind::Bucket), Just(Kind::Gcra)];
        (kind, 1..20_u32, 1..2_000_u64, 1..10_u32).prop_map(|(kind, limit, window, extra)| Rule {
            kind,
            limit,
            window,
            extra,
        })
    }

    /// Pauses in microseconds, and costs.
    pub(crate) fn history() -> impl Strategy<Value = Vec<(u64, i64)>> {
        prop::collection::vec(
            (prop_oneof![Just(0), 0..50_000_u64, 0..3_000_000_u64], prop_oneof![4 => Just(1), 1 => -1..6_i64]),
            1..60,
        )
    }

    fn allowed(rule: &Rule, history: &[(u64, i64)]) -> Vec<(u64, i64)> {
        let (mut state, mut now, mut passed) = (State::New, 1_700_000_000_000_000, Vec::new());
        for (pause, cost) in history {
            now += pause;
            let cost = (*cost).max(1);
            if decide(rule, &mut state, now, cost).allowed {
                passed.push((now, cost));
            }
        }
        passed
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(3_400))]

        /// A hundred thousand checks.
        #[test]
        fn no_limit_is_ever_exceeded(rule in rule(), history in history()) {
            let (window, limit) = (rule.window * 1000, i64::from(rule.limit));
            let passed = allowed(&rule, &history);
            for (at, (from, _)) in passed.iter().enumerate() {
                let within = |length: u64| passed[at..].iter().take_while(|(now, _)| *now < from + length).map(|(_, cost)| cost).sum::<i64>();
                match rule.kind {
                    Kind::Fixed | Kind::Sliding => {
                        let end = (from / window + 1) * window;
                        prop_assert!(within(end - from) <= limit);
                        prop_assert!(within(window) <= 2 * limit);
                    }
                    Kind::Bucket => prop_assert!(within(window) <= limit + i64::from(rule.extra)),
                    Kind::Gcra => {
                        let step = window.div_ceil(limit as u64);
                        for length in [1, step, window, 5 * window] {
                            prop_assert!(within(length) <= i64::from(rule.extra) + length.div_ceil(step) as i64);
                        }
                    }
                }
            }
        }

        /// Who comes back when it was told to is let in, and not a moment before.
        #[test]
        fn the_time_to_come_back_is_right(rule in rule(), history in history()) {
            let (mut state, mut now) = (State::New, 1_700_000_000_000_000);
            for (pause, _) in history {
                now += pause;
                let before = state;
                let verdict = decide(&rule, &mut state, now, 1);
                if !verdict.allowed {
                    prop_assert!(verdict.retry > 0 && verdict.remaining == 0);
                    prop_assert!(decide(&rule, &mut before.clone(), now + verdict.retry, 1).allowed);
                    let granule = if rule.kind == Kind::Gcra { 1 } else { 1_000 };
                    if verdict.retry > granule {
                        prop_assert!(!decide(&rule, &mut before.clone(), now + verdict.retry - granule, 1).allowed);
                    }
                }
            }
        }

        #[test]
        fn what_is_spent_is_as_good_as_new(rule in rule(), history in history(), later in 0..10_000_000_u64) {
            let (mut state, mut now) = (State::New, 1_700_000_000_000_000);
            for (pause, cost) in history {
                now += pause;
                decide(&rule, &mut state, now, cost.max(1));
            }
            now += later;
            if is_spent(&rule, &state, now) {
                let (old, new) = (decide(&rule, &mut state, now, 1), decide(&rule, &mut State::New, now, 1));
                prop_assert_eq!((old.allowed, old.remaining), (new.allowed, new.remaining));
            }
        }
    }

    /// A fifth of the window, in doubles, is a little less than that.
    #[test]
    fn doubles_send_nobody_too_early() {
        let rule = Rule { kind: Kind::Sliding, limit: 5, window: 1_795, extra: 1 };
        let mut state = State::Windows { bucket: 1_000, current: 1, before: 5 };
        let verdict = decide(&rule, &mut state, (1_000 * 1_795 + 100) * 1000, 1);
        assert_eq!((verdict.allowed, verdict.retry), (false, 260_000));
    }
}
