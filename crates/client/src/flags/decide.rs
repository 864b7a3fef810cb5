//! Whether a flag is on for somebody: a function of the rollout and of both names. It has no state, and the same answer everywhere.

use serde::{Deserialize, Serialize};
use sha1::{Digest, Sha1};

/// Buckets that subjects fall into: a hundredth of a percent each.
const BUCKETS: u64 = 10_000;

/// For whom a flag is on, beside those of its cohort.
///
/// ```
/// use dormouse_client::flags::Rollout;
///
/// let tenth = Rollout::percent(10.0);
/// assert!(Rollout::everybody().percent > tenth.percent);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rollout {
    /// Whether it is on at all: if not, it is for nobody, the cohort included.
    pub on: bool,
    /// For how many of a hundred, in steps of a hundredth.
    #[serde(default)]
    pub percent: f64,
}

impl Rollout {
    /// For nobody.
    pub const fn off() -> Self {
        Self { on: false, percent: 0.0 }
    }

    /// For the cohort alone.
    pub const fn cohort() -> Self {
        Self { on: true, percent: 0.0 }
    }

    /// For the cohort and so many of a hundred. Whoever has it keeps it when there are more.
    pub const fn percent(percent: f64) -> Self {
        Self { on: true, percent }
    }

    /// For everybody.
    pub const fn everybody() -> Self {
        Self { on: true, percent: 100.0 }
    }
}

/// What is known without the cohort.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Choice {
    On,
    Off,
    /// If it is in the cohort.
    Cohort,
}

/// Decides. A flag that nobody knows is off.
pub(crate) fn decide(rollout: Option<&Rollout>, flag: &str, subject: &str) -> Choice {
    let Some(rollout) = rollout.filter(|rollout| rollout.on) else { return Choice::Off };
    let reached = (rollout.percent.clamp(0.0, 100.0) * BUCKETS as f64 / 100.0).round() as u64;
    if bucket(flag, subject) < reached { Choice::On } else { Choice::Cohort }
}

/// The bucket of a subject: the first eight bytes of SHA-1 of `flag`, a zero byte and `subject`, modulo 10,000. Each flag has other ones, so
/// that it is not always the same who come first.
fn bucket(flag: &str, subject: &str) -> u64 {
    let digest = Sha1::new().chain_update(flag).chain_update([0]).chain_update(subject).finalize();
    let mut first = [0; 8];
    first.copy_from_slice(&digest[..8]);
    u64::from_be_bytes(first) % BUCKETS
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn who_has_it_keeps_it(flag in any::<String>(), subject in any::<String>(), few in 0.0..100.0, more in 0.0..100.0) {
            let (few, more) = if few < more { (few, more) } else { (more, few) };
            let decided = |percent| decide(Some(&Rollout::percent(percent)), &flag, &subject);
            prop_assert!(decided(few) != Choice::On || decided(more) == Choice::On);
            prop_assert_eq!(decided(100.0), Choice::On);
            prop_assert_eq!(decided(0.0), Choice::Cohort);
            prop_assert_eq!(decided(f64::NAN), Choice::Cohort);
            prop_assert_eq!(decide(Some(&Rollout::off()), &flag, &subject), Choice::Off);
            prop_assert_eq!(decide(None, &flag, &subject), Choice::Off);
        }
    }

    #[test]
    fn as_many_have_it_as_should() {
        for percent in [1.0, 10.0, 50.0] {
            let rollout = Rollout::percent(percent);
            let reached =
                (0..20_000).filter(|at| decide(Some(&rollout), "f", &format!("user:{at}")) == Choice::On).count();
            let expected = 200.0 * percent;
            assert!((reached as f64 - expected).abs() < 5.0 * expected.sqrt(), "{reached} for {percent} %");
        }
    }

    #[test]
    fn two_flags_choose_others() {
        let both = (0..10_000).filter(|at| ["f", "g"].iter().all(|flag| bucket(flag, &at.to_string()) < 1_000)).count();
        assert!((50..150).contains(&both), "{both} of about 100");
        // What other languages have to come to.
        assert_eq!(bucket("new-cart", "user:7"), 1_525);
    }
}
