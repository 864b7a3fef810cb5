//! Rate limits that all processes share: fixed and sliding windows, token buckets, GCRA; on the server's clock, one step each.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::limit::{Limiter, OnFailure, Rule};
//!
//! # dormouse_client::example(async |client| {
//! let minute = Duration::from_secs(60);
//! let limiter = Limiter::new(&client, "@upstash/ratelimit", Rule::sliding_window(100, minute))
//!     .on_failure(OnFailure::Local(Rule::fixed_window(20, minute)));
//!
//! let decision = limiter.check("user:7").await?;
//! assert!(decision.allowed);
//! assert_eq!((decision.limit, decision.remaining), (100, 99));
//! for (name, value) in decision.headers() {
//!     // RateLimit-Policy: "default";q=100;w=60, RateLimit: "default";r=99;t=…
//! #   assert!(name.starts_with("RateLimit") && value.starts_with("\"default\""));
//! }
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - A check is one request and one atomic step: reading, deciding, counting and the deadline of the key. No key is left without one.
//! - The **server's clock** decides: processes whose clocks differ share windows all the same.
//! - Fixed window, sliding window and token bucket have the **keys and numbers of `@upstash/ratelimit`** (2.x, one region): limit, remaining and
//!   reset are the same, and both can be used on the same keys. A request of weight *n* is counted as there: a sliding window that has
//!   anything left counts it, and refuses it if it is too heavy.
//! - The limit holds whatever the order of requests: fixed window, no more than the limit in a window of the clock; token bucket, no
//!   more than the bucket and what was refilled; GCRA, no more than the burst and one each `period / limit`.
//! - [`Decision::retry_after`] is exact: the earliest instant at which the same request would pass if nobody else came. `Retry-After` is rounded
//!   up to whole seconds, and never 0.
//! - When the store cannot be asked, [`OnFailure`] decides, after [`patience`](Limiter::patience) at most; the reason says so, and a refusal is 503, never 429.
//!
//! # Limits
//!
//! - A fixed window lets twice the limit pass around its end. A sliding window assumes that the last window's requests were evenly spread.
//!   Neither counts what it refused, except a fixed window, which counts everything.
//! - `@upstash/ratelimit` uses its process's clock: where that is wrong, the two disagree about which window it is.
//! - A check whose answer was lost may have been counted, and is not repeated.
//! - A window's keys are named by the script, which knows the time, and are not among its `KEYS`: a cluster of Redis proper wants a
//!   `{…}` in the prefix.
//! - A request that costs more than there can ever be is an error ([`Error::Request`](crate::Error::Request)), not a refusal.
//! - [`OnFailure::Local`] limits each process by itself, and remembers 10,000 identifiers; more are refused.

mod decide;
mod decision;
mod local;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

pub use self::decide::Rule;
use self::decide::{Kind, Verdict};
use self::decision::quoted;
pub use self::decision::{Decision, Reason};
use self::local::Local;
use crate::client::Client;
use crate::error::{Error, Result};
use crate::rt;
use crate::script::Script;

macro_rules! script {
    ($file:literal) => {
        LazyLock::new(|| Script::new(concat!(include_str!("prelude.lua"), include_str!($file))))
    };
}

static FIXED: LazyLock<Script> = script!("fixed.lua");
static SLIDING: LazyLock<Script> = script!("sliding.lua");
static BUCKET: LazyLock<Script> = script!("bucket.lua");
static GCRA: LazyLock<Script> = script!("gcra.lua");
static FORGET: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("forget.lua")));

/// What becomes of requests while the store cannot be asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFailure {
    /// They pass: for limits that are about fairness.
    #[default]
    Allow,
    /// They do not, with 503: for limits that are about safety.
    Deny,
    /// Another rule, in this process's memory: stricter, as each process has one of its own.
    Local(Rule),
}

/// A rule, and where its counters are. Clones are cheap and share the local limiter.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::limit::{Limiter, Rule};
///
/// # dormouse_client::example(async |client| {
/// let limiter = Limiter::new(&client, "login", Rule::gcra(10, Duration::from_secs(60), 2));
/// assert!(limiter.check("ada").await?.allowed && limiter.check("ada").await?.allowed);
/// let refused = limiter.check("ada").await?;
/// assert!(!refused.allowed && refused.retry_after.unwrap() <= Duration::from_secs(6));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Limiter {
    client: Client,
    prefix: Arc<str>,
    rule: Rule,
    name: Arc<str>,
    on_failure: OnFailure,
    local: Option<Arc<Local>>,
    patience: Duration,
    dynamic: bool,
    deny_list: bool,
}

/// A check that was made into numbers, on the server.
type Answer = (i64, i64, i64, u64, u64, u64);

impl Limiter {
    /// A limiter whose keys begin with a prefix. That of `@upstash/ratelimit` is its own name, unless it was given another.
    pub fn new(client: &Client, prefix: impl AsRef<str>, rule: Rule) -> Self {
        Self {
            client: client.clone(),
            prefix: prefix.as_ref().into(),
            rule,
            name: "default".into(),
            on_failure: OnFailure::default(),
            local: None,
            patience: Duration::from_secs(1),
            dynamic: false,
            deny_list: false,
        }
    }

    /// The policy's name in header fields; `default` if there is none. It is shown to everybody.
    pub fn name(mut self, name: &str) -> Self {
        self.name = quoted(name);
        self
    }

    /// What becomes of requests while the store cannot be asked. They pass if nothing is said.
    pub fn on_failure(mut self, policy: OnFailure) -> Self {
        self.on_failure = policy;
        self.local = match policy {
            OnFailure::Local(rule) => Some(Arc::new(Local::new(rule))),
            _ => None,
        };
        self
    }

    /// How long a check may take before the store counts as down. A second if nothing is said.
    pub const fn patience(mut self, patience: Duration) -> Self {
        self.patience = patience;
        self
    }

    /// Has the limit of [`set_limit`](Self::set_limit) take the place of the rule's, for all processes at once.
    pub const fn dynamic(mut self) -> Self {
        self.dynamic = true;
        self
    }

    /// Refuses whoever is on the deny list: the set `<prefix>:denyList:all`, as `@upstash/ratelimit` has it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Reason, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(5, Duration::from_secs(60))).deny_list();
    /// client.sadd("api:denyList:all", "203.0.113.7").await?;
    /// let decision = limiter.check_with("ada", 1, &["203.0.113.7"]).await?;
    /// assert_eq!(decision.reason, Reason::Denied("203.0.113.7".into()));
    /// # Ok(()) });
    /// ```
    pub const fn deny_list(mut self) -> Self {
        self.deny_list = true;
        self
    }

    /// Counts a request of somebody, if it may pass.
    pub async fn check(&self, identifier: &str) -> Result<Decision> {
        self.check_with(identifier, 1, &[]).await
    }

    /// The same with a weight, and with values beside the identifier that may be on the deny list (an address, a country).
    ///
    /// A negative weight gives back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(10, Duration::from_secs(3600)));
    /// assert_eq!(limiter.check_with("ada", 4, &[]).await?.remaining, 6);
    /// assert_eq!(limiter.check_with("ada", -3, &[]).await?.remaining, 9);
    /// assert!(limiter.check_with("ada", 11, &[]).await.is_err());
    /// # Ok(()) });
    /// ```
    pub async fn check_with(&self, identifier: &str, cost: i32, values: &[&str]) -> Result<Decision> {
        if !self.dynamic && i64::from(cost) > i64::from(self.rule.cost_max()) {
            let why = "it costs more than the rule ever allows".into();
            return Err(Error::Request { command: "EVALSHA".into(), why });
        }
        let asked = self.ask(identifier, i64::from(cost), false, None, values).await;
        Ok(asked.unwrap_or_else(|error| self.without_store(identifier, i64::from(cost), &error)))
    }

    /// How it stands with somebody: nothing is counted.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::sliding_window(10, Duration::from_secs(60)));
    /// assert_eq!(limiter.peek("ada").await?.remaining, 10);
    /// assert_eq!(limiter.peek("ada").await?.remaining, 10);
    /// # Ok(()) });
    /// ```
    pub async fn peek(&self, identifier: &str) -> Result<Decision> {
        self.ask(identifier, 0, true, None, &[]).await
    }

    /// Waits until a request may pass, for so long at most, and counts it; the last decision.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::gcra(1, Duration::from_millis(20), 1));
    /// for _ in 0..3 {
    ///     assert!(limiter.wait("ada", Duration::from_secs(5)).await?.allowed);
    /// }
    /// # Ok(()) });
    /// ```
    pub async fn wait(&self, identifier: &str, longest: Duration) -> Result<Decision> {
        let until = rt::Instant::now().checked_add(longest);
        loop {
            let decision = self.check(identifier).await?;
            let Some(pause) = decision.retry_after.filter(|_| !decision.allowed) else { return Ok(decision) };
            // Those who wait for the same instant do not come in the same one.
            let pause = pause + crate::retry::jitter(pause / 8 + Duration::from_millis(2));
            if until.is_some_and(|until| rt::Instant::now() + pause > until) {
                return Ok(decision);
            }
            rt::sleep(pause).await;
        }
    }

    /// Forgets what somebody has used.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(1, Duration::from_secs(3600)));
    /// limiter.check("ada").await?;
    /// limiter.forget("ada").await?;
    /// assert!(limiter.check("ada").await?.allowed);
    /// # Ok(()) });
    /// ```
    pub async fn forget(&self, identifier: &str) -> Result<()> {
        FORGET.key(self.base(identifier)).arg(self.rule.window).run(&self.client).await
    }

    /// Sets the limit of all who have [`dynamic`](Self::dynamic) limits under this prefix, or takes it back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::limit::{Limiter, Rule};
    ///
    /// # dormouse_client::example(async |client| {
    /// let limiter = Limiter::new(&client, "api", Rule::fixed_window(10, Duration::from_secs(60))).dynamic();
    /// limiter.set_limit(Some(2)).await?;
    /// assert_eq!(limiter.check("ada").await?.limit, 2);
    /// limiter.set_limit(None).await?;
    /// assert_eq!(limiter.check("ada").await?.limit, 10);
    /// # Ok(()) });
    /// ```
    pub async fn set_limit(&self, limit: Option<u32>) -> Result<()> {
        match limit {
            Some(limit) => self.client.set(self.dynamic_key(), limit).await,
            None => self.client.del(self.dynamic_key()).await.map(drop),
        }
    }

    fn base(&self, identifier: &str) -> String {
        format!("{}:{identifier}", self.prefix)
    }

    fn dynamic_key(&self) -> String {
        format!("{}:dynamic:global", self.prefix)
    }

    /// The one place where a rule's script is run. A time of one's own is for tests.
    async fn ask(
        &self,
        identifier: &str,
        cost: i64,
        looks: bool,
        now: Option<u64>,
        values: &[&str],
    ) -> Result<Decision> {
        let script = match self.rule.kind {
            Kind::Fixed => &FIXED,
            Kind::Sliding => &SLIDING,
            Kind::Bucket => &BUCKET,
            Kind::Gcra => &GCRA,
        };
        let dynamic = if self.dynamic { self.dynamic_key() } else { String::new() };
        let deny = if self.deny_list { format!("{}:denyList:all", self.prefix) } else { String::new() };
        let now = now.map(|now| now.to_string()).unwrap_or_default();
        let call = script
            .key((self.base(identifier), dynamic, deny))
            .arg((self.rule.limit, cost, u16::from(looks), now, self.rule.args()))
            .arg((identifier, values));
        let (kind, limit, remaining, reset, retry, now): Answer =
            call.run(&self.client).timeout(self.patience).never_retry().await?;
        if kind == 2 {
            let at = retry as usize;
            let value = if at == 0 { identifier } else { values.get(at - 1).copied().unwrap_or_default() };
            return Ok(self.decided(false, Reason::Denied(value.to_owned())));
        }
        let verdict = Verdict { allowed: kind == 1, limit, remaining, reset, retry };
        let never =
            i64::from(self.rule.cost_max()) < cost || limit < cost && self.rule.kind != Kind::Gcra || limit == 0;
        let reset_after = Duration::from_micros((reset * 1000).saturating_sub(now));
        let retry_after = (!verdict.allowed && !never).then_some(Duration::from_micros(retry));
        let decision = self.decided(verdict.allowed, Reason::Rule);
        Ok(Decision { reset_ms: reset, reset_after, retry_after, ..Self::counted(decision, &verdict) })
    }

    fn without_store(&self, identifier: &str, cost: i64, error: &Error) -> Decision {
        tracing::warn!(kind = error.kind(), "the store of a rate limit fails");
        let decision = self.decided(self.on_failure != OnFailure::Deny, Reason::StoreDown);
        let Some(local) = &self.local else {
            let retry_after = (!decision.allowed).then_some(Duration::from_secs(1));
            return Decision { retry_after, ..decision };
        };
        let verdict = local.check(identifier, cost);
        let reset_after = Duration::from_millis(local.until(&verdict));
        let retry_after = (!verdict.allowed).then_some(Duration::from_micros(verdict.retry));
        let decision = Decision { allowed: verdict.allowed, ..decision };
        Decision { reset_after, retry_after, ..Self::counted(decision, &verdict) }
    }

    fn decided(&self, allowed: bool, reason: Reason) -> Decision {
        Decision {
            allowed,
            reason,
            limit: 0,
            remaining: 0,
            reset_ms: 0,
            reset_after: Duration::ZERO,
            retry_after: None,
            policy: Arc::clone(&self.name),
            window: Duration::from_millis(self.rule.window),
        }
    }

    fn counted(decision: Decision, verdict: &Verdict) -> Decision {
        let positive = |number: i64| u64::try_from(number).unwrap_or_default();
        Decision { limit: positive(verdict.limit), remaining: positive(verdict.remaining), ..decision }
    }
}
