//! What came of a check, and how it is told over HTTP.
//!
//! Header fields are those of draft-ietf-httpapi-ratelimit-headers-11 (May 2026, still a draft) and the older `X-RateLimit-*`. Nothing of
//! the identifier gets into them.

use std::sync::Arc;
use std::time::Duration;

/// Why a decision is as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Reason {
    /// By the rule.
    Rule,
    /// This value is on the deny list.
    Denied(String),
    /// The store could not be asked; the policy for that decided.
    StoreDown,
}

/// Whether a request may pass, and what remains.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Decision {
    /// Whether it may pass.
    pub allowed: bool,
    /// Why.
    pub reason: Reason,
    /// The limit as it stands.
    pub limit: u64,
    /// What remains of it.
    pub remaining: u64,
    /// When there is more, in milliseconds since the Unix epoch: the same number as `@upstash/ratelimit`'s `reset`. 0 if nobody knows.
    pub reset_ms: u64,
    /// In how long there is more, on the clock that decided.
    pub reset_after: Duration,
    /// In how long the same request would pass if nobody else came; nothing if it may pass now, or never will.
    pub retry_after: Option<Duration>,
    pub(crate) policy: Arc<str>,
    pub(crate) window: Duration,
}

impl Decision {
    /// The status to answer with: 200, 429, or 503 if the store is down. A store that is down is not the client's fault.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(1, Duration::from_secs(3600)));
    /// assert_eq!(limiter.check("ada").await?.status(), 200);
    /// assert_eq!(limiter.check("ada").await?.status(), 429);
    /// # Ok(()) });
    /// ```
    pub const fn status(&self) -> u16 {
        match (self.allowed, &self.reason) {
            (true, _) => 200,
            (false, Reason::StoreDown) => 503,
            (false, _) => 429,
        }
    }

    /// Header fields: `RateLimit` and `RateLimit-Policy`, and `Retry-After` if it may not pass.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::token_bucket(1, Duration::from_secs(60), 1)).name("free");
    /// let headers = limiter.check("ada").await?.headers();
    /// assert_eq!(headers[0], ("RateLimit-Policy", "\"free\";q=1;w=60".to_owned()));
    /// assert_eq!(headers[1], ("RateLimit", "\"free\";r=0;t=60".to_owned()));
    /// assert_eq!(limiter.check("ada").await?.headers()[2].0, "Retry-After");
    /// # Ok(()) });
    /// ```
    pub fn headers(&self) -> Vec<(&'static str, String)> {
        let mut headers = Vec::with_capacity(3);
        if self.limit > 0 {
            let (name, window) = (&self.policy, seconds(self.window));
            headers.push(("RateLimit-Policy", format!("\"{name}\";q={};w={window}", self.limit)));
            headers.push(("RateLimit", format!("\"{name}\";r={};t={}", self.remaining, seconds(self.reset_after))));
        }
        headers.extend(self.retry());
        headers
    }

    /// The older header fields. `X-RateLimit-Reset` is an instant, in whole seconds since the Unix epoch.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(5, Duration::from_secs(3600)));
    /// let headers = limiter.check("ada").await?.legacy_headers();
    /// assert_eq!(headers[1], ("X-RateLimit-Remaining", "4".to_owned()));
    /// # Ok(()) });
    /// ```
    pub fn legacy_headers(&self) -> Vec<(&'static str, String)> {
        let mut headers =
            vec![("X-RateLimit-Limit", self.limit.to_string()), ("X-RateLimit-Remaining", self.remaining.to_string())];
        if self.reset_ms > 0 {
            headers.push(("X-RateLimit-Reset", self.reset_ms.div_ceil(1000).to_string()));
        }
        headers.extend(self.retry());
        headers
    }

    fn retry(&self) -> Option<(&'static str, String)> {
        let after = self.retry_after.filter(|_| !self.allowed)?;
        Some(("Retry-After", seconds(after).max(1).to_string()))
    }
}

/// Whole seconds, rounded up: who comes back too early is refused again.
fn seconds(duration: Duration) -> u64 {
    duration.as_secs() + u64::from(duration.subsec_nanos() > 0)
}

/// A name as a string of structured fields has it: what cannot be in one is left out.
pub(crate) fn quoted(name: &str) -> Arc<str> {
    name.chars().filter(|one| matches!(one, ' '..='~') && !matches!(one, '"' | '\\')).collect::<String>().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn decision(allowed: bool, reset: Duration, retry: Option<Duration>) -> Decision {
        Decision {
            allowed,
            reason: Reason::Rule,
            limit: 10,
            remaining: 0,
            reset_ms: 1_700_000_000_001,
            reset_after: reset,
            retry_after: retry,
            policy: quoted("a\"b\\c\u{e9}\n d"),
            window: Duration::from_millis(1_500),
        }
    }

    proptest! {
        #[test]
        fn to_come_back_is_never_too_early(millis in 0..100_000_u64) {
            let after = Duration::from_millis(millis);
            let told = decision(false, after, Some(after)).headers()[2].1.parse::<u64>().unwrap();
            prop_assert!(told >= 1 && Duration::from_secs(told) >= after && told <= millis / 1000 + 1);
        }
    }

    #[test]
    fn headers_are_structured_fields() {
        let decision = decision(true, Duration::from_millis(2_001), None);
        let expected = [("RateLimit-Policy", "\"abc d\";q=10;w=2"), ("RateLimit", "\"abc d\";r=0;t=3")];
        assert_eq!(decision.headers(), expected.map(|(name, value)| (name, value.to_owned())));
        assert_eq!(decision.legacy_headers()[2], ("X-RateLimit-Reset", "1700000001".to_owned()));
    }
}
