//! What to do with an entry: a function of its age, the policy, and one random number. It reads no clock and talks to nobody.
//!
//! All instants are the server's, in milliseconds: an entry says until when it is fresh, and for how long after that it may be served
//! while somebody loads it anew, or when loading it fails.

use std::time::Duration;

use crate::commands::millis;

/// Longest time an entry is kept, whatever the policy says: what invalidates a tag is remembered for as long.
pub(crate) const KEPT_MAX: Duration = Duration::from_hours(30 * 24);

/// For how long entries are good, and what happens then.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::cache::Policy;
///
/// let policy = Policy::new(Duration::from_secs(60))
///     .jitter(0.2)
///     .negative(Duration::from_secs(5))
///     .stale_while_revalidate(Duration::from_secs(30))
///     .stale_if_error(Duration::from_secs(600));
/// # drop(policy);
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use]
pub struct Policy {
    pub(crate) fresh: Duration,
    pub(crate) jitter: f64,
    pub(crate) negative: Option<Duration>,
    pub(crate) while_revalidate: Duration,
    pub(crate) if_error: Duration,
    pub(crate) beta: f64,
    pub(crate) lease: Duration,
    pub(crate) wait: Duration,
    pub(crate) pause: Duration,
}

impl Policy {
    /// Entries that are fresh for so long, a tenth of it less at random. They are loaded a little early with `XFetch`, are never served
    /// stale, and "nothing" is not kept.
    pub const fn new(fresh: Duration) -> Self {
        Self {
            fresh,
            jitter: 0.1,
            negative: None,
            while_revalidate: Duration::ZERO,
            if_error: Duration::ZERO,
            beta: 1.0,
            lease: Duration::from_secs(10),
            wait: Duration::from_secs(3),
            pause: Duration::from_secs(2),
        }
    }

    /// How much of the time an entry may lose at random, from 0 to 1, so that what was stored together does not expire together.
    pub const fn jitter(mut self, part: f64) -> Self {
        self.jitter = part.clamp(0.0, 1.0);
        self
    }

    /// For how long "there is nothing" is remembered.
    pub const fn negative(mut self, ttl: Duration) -> Self {
        self.negative = Some(ttl);
        self
    }

    /// For how long past its freshness an entry may be served while one of the fleet loads it anew (RFC 5861).
    pub const fn stale_while_revalidate(mut self, window: Duration) -> Self {
        self.while_revalidate = window;
        self
    }

    /// For how long past its freshness an entry may be served when loading it fails (RFC 5861). The two windows are independent.
    pub const fn stale_if_error(mut self, window: Duration) -> Self {
        self.if_error = window;
        self
    }

    /// `XFetch`'s beta: 1 is the paper's optimum, more loads earlier, 0 never early.
    pub const fn beta(mut self, beta: f64) -> Self {
        self.beta = beta.max(0.0);
        self
    }

    /// For how long one process may load alone: longer than loading takes. What comes later is not kept.
    pub const fn lease(mut self, lease: Duration) -> Self {
        self.lease = lease;
        self
    }

    /// For how long others wait for the one who loads, before they load for themselves.
    pub const fn wait(mut self, wait: Duration) -> Self {
        self.wait = wait;
        self
    }

    /// For how long nobody tries again after a load failed while there is a stale value to serve.
    pub const fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The spans of an entry that is stored now, which took so long to load.
    pub(crate) fn spans(&self, nothing: bool, delta: Duration, random: f64) -> Option<Spans> {
        let base = if nothing { self.negative? } else { self.fresh };
        let fresh = base.min(KEPT_MAX).mul_f64(1.0 - self.jitter * random);
        let stale = |window: Duration| if nothing { 0 } else { millis(window.min(KEPT_MAX.saturating_sub(fresh))) };
        let (fresh, stale, error) = (millis(fresh).max(1), stale(self.while_revalidate), stale(self.if_error));
        Some(Spans { fresh, stale, error, delta: millis(delta), nothing })
    }
}

/// How long an entry is good for what, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Spans {
    pub(crate) fresh: u64,
    pub(crate) stale: u64,
    pub(crate) error: u64,
    pub(crate) delta: u64,
    pub(crate) nothing: bool,
}

impl Spans {
    /// When the store may forget it.
    pub(crate) fn kept(&self) -> u64 {
        self.fresh.saturating_add(self.stale.max(self.error))
    }

    /// What is written behind the instant until which it is fresh.
    pub(crate) fn text(&self) -> String {
        format!("{} {} {} {}", self.stale, self.error, self.delta, u8::from(self.nothing))
    }
}

/// What is stored beside a value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Meta {
    pub(crate) fresh_until: u64,
    pub(crate) stale: u64,
    pub(crate) error: u64,
    pub(crate) delta: u64,
    pub(crate) nothing: bool,
}

impl Meta {
    /// Reads it; nothing if somebody else wrote it.
    pub(crate) fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(' ').map(|part| part.parse::<u64>().ok());
        let mut next = || parts.next().flatten();
        let (fresh_until, stale, error, delta, nothing) = (next()?, next()?, next()?, next()?, next()?);
        Some(Self { fresh_until, stale, error, delta, nothing: nothing == 1 })
    }
}

/// What to do with an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is good.
    Serve,
    /// It is good enough, and somebody should load it anew.
    ServeAndRefresh,
    /// It is good only if it cannot be loaded.
    LoadOrServe,
    /// It is not good.
    Load,
}

/// Decides. `random` is in (0, 1]: what is nearer to 0 loads earlier.
pub(crate) fn decide(meta: &Meta, now: u64, beta: f64, random: f64) -> Verdict {
    if now < meta.fresh_until {
        // XFetch: now - delta * beta * ln(random) >= expiry.
        let early = -(meta.delta as f64) * beta * random.ln();
        let is_early = early >= (meta.fresh_until - now) as f64;
        return if is_early { Verdict::ServeAndRefresh } else { Verdict::Serve };
    }
    let past = now - meta.fresh_until;
    if past < meta.stale {
        Verdict::ServeAndRefresh
    } else if past < meta.error {
        Verdict::LoadOrServe
    } else {
        Verdict::Load
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn meta() -> impl Strategy<Value = Meta> {
        let span = || prop_oneof![Just(0), 0..100_000_u64];
        (0..1_000_000_u64, span(), span(), span(), any::<bool>())
            .prop_map(|(fresh_until, stale, error, delta, nothing)| Meta { fresh_until, stale, error, delta, nothing })
    }

    proptest! {
        #[test]
        fn windows_hold(meta in meta(), now in 0..1_500_000_u64, beta in 0.0..4.0, random in 1e-12..=1.0) {
            let verdict = decide(&meta, now, beta, random);
            let past = now.checked_sub(meta.fresh_until);
            match verdict {
                Verdict::Serve => prop_assert!(past.is_none()),
                Verdict::ServeAndRefresh => prop_assert!(past.is_none_or(|past| past < meta.stale)),
                Verdict::LoadOrServe => prop_assert!(past.is_some_and(|past| past >= meta.stale && past < meta.error)),
                Verdict::Load => prop_assert!(past.is_some_and(|past| past >= meta.stale.max(meta.error))),
            }
        }

        #[test]
        fn what_is_fresh_is_loaded_early_as_xfetch_says(meta in meta(), left in 1..1_000_000_u64, beta in 0.0..4.0, random in 1e-12..=1.0_f64) {
            let meta = Meta { fresh_until: 2_000_000, ..meta };
            let now = meta.fresh_until - left;
            let early = now as f64 - meta.delta as f64 * beta * random.ln() >= meta.fresh_until as f64;
            prop_assert_eq!(decide(&meta, now, beta, random) == Verdict::ServeAndRefresh, early);
            prop_assert_eq!(decide(&meta, now, 0.0, random), Verdict::Serve);
            prop_assert_eq!(decide(&meta, now, beta, 1.0), Verdict::Serve, "the largest number is never early");
        }

        #[test]
        fn spans_stay_within_what_was_asked_for(fresh in 1..u64::MAX, stale in any::<u64>(), error in any::<u64>(), jitter in 0.0..=1.0, random in 0.0..=1.0) {
            let ms = Duration::from_millis;
            let policy = Policy::new(ms(fresh)).jitter(jitter).stale_while_revalidate(ms(stale)).stale_if_error(ms(error));
            let spans = policy.spans(false, Duration::ZERO, random).unwrap();
            prop_assert!(spans.fresh >= 1 && spans.fresh <= fresh);
            prop_assert!(spans.stale <= stale && spans.error <= error);
            prop_assert!(spans.kept() <= millis(KEPT_MAX) + 1);
            prop_assert_eq!(policy.spans(true, Duration::ZERO, random), None, "nothing is not kept unless asked for");
            let written = Meta::read(&format!("77 {}", spans.text())).unwrap();
            prop_assert_eq!(written, Meta { fresh_until: 77, stale: spans.stale, error: spans.error, delta: 0, nothing: false });
        }
    }

    #[test]
    fn early_loads_are_likelier_when_the_end_is_near() {
        let meta = Meta { fresh_until: 10_000, stale: 0, error: 0, delta: 100, nothing: false };
        let share = |now| {
            let early = (1..=1_000).filter(|at| decide(&meta, now, 1.0, f64::from(*at) / 1_000.0) != Verdict::Serve);
            early.count()
        };
        assert_eq!((share(9_000), share(9_900)), (0, 367), "exp(-10) and exp(-1) of a thousand");
        assert!(share(9_999) > 980);
    }

    #[test]
    fn what_is_no_meta_is_none() {
        for text in ["", "1", "1 2 3 4", "a b c d e", "1 2 3 4 -1"] {
            assert_eq!(Meta::read(text), None, "{text}");
        }
    }
}
