//! The limiter that stands in when the store is down: the same rules, in this process's memory, on its own clock.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use crate::limit::decide::{Rule, State, Verdict, decide, is_spent};
use crate::rt;

/// Most identifiers that are remembered. One more has the spent ones forgotten; if there are none, it is refused.
pub(crate) const IDENTIFIERS_MAX: usize = 10_000;

#[derive(Debug)]
pub(crate) struct Local {
    rule: Rule,
    began: rt::Instant,
    states: Mutex<HashMap<String, State>>,
}

impl Local {
    pub(crate) fn new(rule: Rule) -> Self {
        Self { rule, began: rt::Instant::now(), states: Mutex::default() }
    }

    pub(crate) fn check(&self, identifier: &str, cost: i64) -> Verdict {
        // The first window begins with this limiter.
        let now = u64::try_from(self.began.elapsed().as_micros()).unwrap_or(u64::MAX) + self.rule.window * 1000;
        self.check_at(identifier, cost, now)
    }

    fn check_at(&self, identifier: &str, cost: i64, now: u64) -> Verdict {
        let mut states = self.states.lock().unwrap_or_else(PoisonError::into_inner);
        if !states.contains_key(identifier) && states.len() >= IDENTIFIERS_MAX {
            states.retain(|_, state| !is_spent(&self.rule, state, now));
            if states.len() >= IDENTIFIERS_MAX {
                let limit = i64::from(self.rule.limit);
                return Verdict { allowed: false, limit, remaining: 0, reset: now / 1000, retry: 1_000_000 };
            }
        }
        let state = states.entry(identifier.to_owned()).or_default();
        decide(&self.rule, state, now, cost)
    }

    /// What a verdict's reset is from now, in milliseconds.
    pub(crate) fn until(&self, verdict: &Verdict) -> u64 {
        let now = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX) + self.rule.window;
        verdict.reset.saturating_sub(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn its_memory_is_bounded() {
        let local = Local::new(Rule::fixed_window(1, Duration::from_secs(1)));
        for at in 0..IDENTIFIERS_MAX {
            assert!(local.check_at(&at.to_string(), 1, 1).allowed);
        }
        assert!(!local.check_at("one more", 1, 1).allowed && !local.check_at("0", 1, 1).allowed);
        assert!(local.check_at("one more", 1, 5_000_000).allowed, "the others are spent");
        assert_eq!(local.states.lock().expect("no panic").len(), 1);
    }
}
