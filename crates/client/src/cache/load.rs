//! Loading what the cache does not have: one at a time in the process, one at a time in the fleet, and never in vain.
//!
//! Everything here is about bytes and instants; types and codecs are the caller's. It must never let trouble with the store become
//! trouble of the caller: without the store a value is loaded, and not kept.

use std::error::Error as StdError;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::cache::decide::Policy;
use crate::cache::flight::{Flights, Joined};
use crate::cache::store::{Found, Look, Names, Store, Stored};
use crate::cache::{CacheError, Source};
use crate::error::Result;
use crate::retry::jitter;
use crate::rt::{self, BoxFuture};

/// Pauses of those who wait for another's load: the first bound, and the last.
const PAUSES: (Duration, Duration) = (Duration::from_millis(20), Duration::from_millis(400));

/// What loads: it is polled only if it has to.
pub(crate) type Loader = BoxFuture<'static, Result<Option<Bytes>, CacheError>>;

/// What was loaded, or found after all; nothing is a value, too.
#[derive(Clone, Debug)]
pub(crate) struct Loaded {
    pub(crate) value: Option<Bytes>,
    pub(crate) source: Source,
}

/// Nothing at all if another is at it, or has failed just now; only those who have something stale are told so.
pub(crate) type Outcome = Result<Option<Loaded>, CacheError>;

/// What a load has to know.
pub(crate) struct Task<'a> {
    pub(crate) names: &'a Names,
    pub(crate) policy: &'a Policy,
    /// The mark of the entry that will not do; empty if there is none.
    pub(crate) passed: String,
    /// Whether the caller has a stale value to fall back on.
    pub(crate) has_stale: bool,
    /// Whether an entry of somebody else's can be read.
    pub(crate) readable: &'a (dyn Fn(&Stored) -> bool + Send + Sync),
}

/// How a turn at the lease ended.
enum Turn {
    Ends(Outcome),
    /// What was loaded was invalidated meanwhile: good for who loaded it, not for those who came later.
    Void(Outcome),
}

#[derive(Debug)]
pub(crate) struct Core {
    pub(crate) store: Store,
    pub(crate) flights: Flights<Outcome>,
}

impl Core {
    /// Loads in this process's only flight for the key.
    pub(crate) async fn load(self: &Arc<Self>, task: Task<'_>, loader: Loader) -> Outcome {
        let lead = loop {
            match self.flights.join(&task.names.entry).await {
                Joined::Follows(Ok(None)) if !task.has_stale => {}
                Joined::Follows(outcome) => return outcome,
                Joined::Leads(lead) => break lead,
            }
        };
        match self.turn(task, loader).await {
            Turn::Ends(outcome) => {
                lead.land(outcome.clone());
                outcome
            }
            Turn::Void(outcome) => outcome,
        }
    }

    /// Loads anew what is served meanwhile, unless somebody does already.
    pub(crate) async fn refresh(self: Arc<Self>, names: Names, policy: Policy, passed: String, loader: Loader) {
        let Some(lead) = self.flights.lead(&names.entry) else { return };
        let token = rt::random_token();
        let Ok(look) = self.store.take(&names, &token, policy.lease, &passed).await else { return };
        match look.found {
            Found::Lease => {
                if let Turn::Ends(outcome @ Ok(_)) = self.leased(&names, &policy, token, &look, true, loader).await {
                    lead.land(outcome);
                }
            }
            // Somebody else is at it. Those who read meanwhile need not ask for each read.
            Found::Held | Found::Pausing => rt::sleep(PAUSES.0).await,
            _ => {}
        }
    }

    async fn turn(self: &Arc<Self>, mut task: Task<'_>, loader: Loader) -> Turn {
        let until = rt::Instant::now().checked_add(task.policy.wait);
        let mut pause = PAUSES.0;
        while !self.store.is_down() {
            let token = rt::random_token();
            let Ok(look) = self.store.take(task.names, &token, task.policy.lease, &task.passed).await else { break };
            match look.found {
                Found::Lease => {
                    return self.leased(task.names, task.policy, token, &look, task.has_stale, loader).await;
                }
                Found::Entry(stored) if (task.readable)(&stored) => {
                    let value = (!stored.meta.nothing).then_some(stored.value);
                    return Turn::Ends(Ok(Some(Loaded { value, source: Source::Another })));
                }
                Found::Entry(Stored { mark, .. }) | Found::Strange(mark) => {
                    task.passed = mark;
                    continue;
                }
                Found::Pausing if task.has_stale => return Turn::Ends(Ok(None)),
                Found::Nothing | Found::Held | Found::Pausing => {}
            }
            let rest = jitter(pause) + pause / 2;
            if until.is_none_or(|until| rt::Instant::now() + rest >= until) {
                break;
            }
            rt::sleep(rest).await;
            pause = (pause * 2).min(PAUSES.1);
        }
        if task.has_stale && !self.store.is_down() {
            return Turn::Ends(Ok(None));
        }
        Turn::Ends(loader.await.map(|value| Some(Loaded { value, source: Source::NotKept })))
    }

    /// Loads under a lease, and keeps what was loaded.
    async fn leased(
        self: &Arc<Self>,
        names: &Names,
        policy: &Policy,
        token: String,
        look: &Look,
        has_stale: bool,
        loader: Loader,
    ) -> Turn {
        let mut held = Held { core: Arc::clone(self), lease: names.lease.clone(), token: Some(token) };
        let began = rt::Instant::now();
        let value = match loader.await {
            Ok(value) => value,
            Err(error) => {
                if let (true, Some(token)) = (has_stale, &held.token)
                    && self.store.let_go(&names.lease, token, policy.pause).await.is_ok()
                {
                    held.token = None;
                }
                return Turn::Ends(Err(error));
            }
        };
        let Some(spans) = policy.spans(value.is_none(), began.elapsed(), rt::random_unit()) else {
            return Turn::Ends(Ok(Some(Loaded { value, source: Source::NotKept })));
        };
        let bytes = value.as_deref().unwrap_or_default();
        let token = held.token.clone().unwrap_or_default();
        let loaded = |source| Ok(Some(Loaded { value: value.clone(), source }));
        match self.store.fill(names, &token, &look.tags, bytes, spans).await {
            Ok(true) => {
                held.token = None;
                Turn::Ends(loaded(Source::Loaded))
            }
            Ok(false) => {
                held.token = None;
                Turn::Void(loaded(Source::NotKept))
            }
            Err(_) => Turn::Ends(loaded(Source::NotKept)),
        }
    }
}

/// A lease that is given back when nothing came of it, also when the one who loads is dropped.
struct Held {
    core: Arc<Core>,
    lease: String,
    token: Option<String>,
}

impl Drop for Held {
    fn drop(&mut self) {
        let Some(token) = self.token.take() else { return };
        let (core, lease) = (Arc::clone(&self.core), std::mem::take(&mut self.lease));
        // Without a runtime its deadline ends it.
        let _ = rt::spawn(async move {
            let _ = core.store.let_go(&lease, &token, Duration::ZERO).await;
        });
    }
}

/// An error of the caller's own, to be told to all who waited.
pub(crate) fn failed(error: impl Into<Box<dyn StdError + Send + Sync>>) -> CacheError {
    CacheError::Load(Arc::from(error.into()))
}
