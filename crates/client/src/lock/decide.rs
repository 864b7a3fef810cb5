//! What the holder of a lock does next: a function of when it was granted, and of the time. It reads no clock.
//!
//! A lease is reckoned from the moment its request was *sent*: the server cannot have begun it earlier. A margin is taken off for clocks
//! that do not run alike.

use std::time::Duration;

/// What to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing, for so long.
    Wait(Duration),
    /// Renew it.
    Renew,
    /// Stop: somebody else may have the lock by now.
    Lost,
}

/// For how much of a lease its holder trusts it.
pub(crate) fn validity(lease: Duration) -> Duration {
    // Redlock's allowance: a hundredth, and two milliseconds.
    lease.saturating_sub(lease / 100 + Duration::from_millis(2))
}

/// Decides: `age` is how long ago the last request that was granted was sent, `tried` how long ago the last renewal began that was not.
pub(crate) fn next(lease: Duration, age: Duration, tried: Option<Duration>) -> Next {
    let Some(left) = validity(lease).checked_sub(age).filter(|left| !left.is_zero()) else { return Next::Lost };
    let due = match tried {
        // One that failed is repeated sooner, but not at once.
        Some(ago) => (lease / 10).saturating_sub(ago),
        None => (lease / 3).saturating_sub(age),
    };
    if due.is_zero() { Next::Renew } else { Next::Wait(due.min(left)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    proptest! {
        #[test]
        fn nobody_trusts_a_lease_that_may_be_over(lease in 1..100_000_u64, age in 0..200_000_u64, tried in prop::option::of(0..200_000_u64)) {
            let next = next(ms(lease), ms(age), tried.map(ms));
            prop_assert!(age < lease || next == Next::Lost);
            if let Next::Wait(pause) = next {
                prop_assert!(!pause.is_zero() && ms(age) + pause <= validity(ms(lease)));
            }
        }
    }

    /// One lock, several holders that stop and go on at any time, requests and answers that take any time or are lost.
    #[derive(Clone, Copy, Debug)]
    enum Step {
        Pass(u64),
        Acquire { who: usize, there: u64, back: u64 },
        Renew { who: usize, there: u64, back: u64, lost: bool },
        Release { who: usize, there: u64 },
        Write { who: usize },
    }

    fn step() -> impl Strategy<Value = Step> {
        let who = || 0..4_usize;
        let delay = || prop_oneof![3 => 0..5_u64, 1 => 0..150_u64];
        prop_oneof![
            4 => (0..60_u64).prop_map(Step::Pass),
            4 => (who(), delay(), delay()).prop_map(|(who, there, back)| Step::Acquire { who, there, back }),
            3 => (who(), delay(), delay(), any::<bool>()).prop_map(|(who, there, back, lost)| Step::Renew { who, there, back, lost }),
            1 => (who(), delay()).prop_map(|(who, there)| Step::Release { who, there }),
            4 => who().prop_map(|who| Step::Write { who }),
        ]
    }

    const LEASE: u64 = 100;

    #[derive(Default)]
    struct Store {
        holder: Option<(u64, u64)>,
        fences: u64,
    }

    impl Store {
        fn holder(&mut self, now: u64) -> Option<u64> {
            self.holder = self.holder.filter(|(_, until)| now < *until);
            self.holder.map(|(token, _)| token)
        }
    }

    #[derive(Clone, Copy, Default)]
    struct Holder {
        token: u64,
        fence: u64,
        granted: Option<u64>,
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2_000))]

        #[test]
        fn never_two_holders_and_never_an_older_fence(steps in prop::collection::vec(step(), 1..120)) {
            let (mut store, mut holders, mut now, mut tokens) = (Store::default(), [Holder::default(); 4], 1_000_u64, 0);
            let (mut accepted, mut written) = (0, 0);
            for step in steps {
                match step {
                    Step::Pass(millis) => now += millis,
                    Step::Acquire { who, there, back } => {
                        let sent = now;
                        now += there;
                        if store.holder(now).is_none() {
                            tokens += 1;
                            store.fences += 1;
                            store.holder = Some((tokens, now + LEASE));
                            // If it took too long it is no lock.
                            let in_time = there + back < validity(ms(LEASE)).as_millis() as u64;
                            holders[who] = Holder { token: tokens, fence: store.fences, granted: in_time.then_some(sent) };
                        }
                        now += back;
                    }
                    Step::Renew { who, there, back, lost } => {
                        let Some(granted) = holders[who].granted else { continue };
                        if next(ms(LEASE), ms(now - granted), None) == Next::Lost {
                            continue;
                        }
                        let sent = now;
                        now += there;
                        if store.holder(now) == Some(holders[who].token) {
                            store.holder = Some((holders[who].token, now + LEASE));
                            holders[who].granted = Some(if lost { granted } else { sent });
                        } else {
                            holders[who].granted = None;
                        }
                        now += back;
                    }
                    Step::Release { who, there } => {
                        holders[who].granted = None;
                        now += there;
                        if store.holder(now) == Some(holders[who].token) {
                            store.holder = None;
                        }
                    }
                    Step::Write { who } => {
                        // Even one who does not look at its clock: the resource refuses it.
                        if holders[who].fence > 0 && holders[who].fence >= accepted {
                            prop_assert!(holders[who].fence >= written);
                            (accepted, written) = (holders[who].fence, holders[who].fence);
                        }
                    }
                }
                let valid = holders.iter().filter(|one| {
                    one.granted.is_some_and(|granted| next(ms(LEASE), ms(now - granted), None) != Next::Lost)
                });
                prop_assert!(valid.count() <= 1, "two trust the same lock");
            }
        }
    }
}
