//! One key of a cache: from the decision to the value.
//!
//! Types end here: below are bytes. What cannot be read back is passed over as if it were not there.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::cache::decide::{Policy, Verdict, decide};
use crate::cache::load::{Loader, Task, failed};
use crate::cache::store::{self, Names, Stored};
use crate::cache::{Cache, CacheError, Codec, Found, Source};
use crate::error::{Error, Result};
use crate::rt::{self, MaybeSend};

/// One key, with its tags and its policy.
#[derive(Debug)]
#[must_use = "it does nothing until it is asked"]
pub struct Entry<'a, C> {
    cache: &'a Cache<C>,
    key: String,
    tags: Vec<String>,
    policy: Policy,
}

impl<'a, C: Codec> Entry<'a, C> {
    pub(crate) fn new(cache: &'a Cache<C>, key: String) -> Self {
        Self { cache, key, tags: Vec::new(), policy: cache.policy.clone() }
    }

    /// What the value depends on: [`Cache::invalidate_tag`] for any of them invalidates it.
    pub fn tags<T: Into<String>>(mut self, tags: impl IntoIterator<Item = T>) -> Self {
        self.tags.extend(tags.into_iter().map(Into::into));
        self
    }

    /// A policy of its own.
    pub fn policy(mut self, policy: Policy) -> Self {
        self.policy = policy;
        self
    }

    /// The value, and where it came from: see [`Cache::get`].
    pub async fn get<T, E, F>(self, load: impl FnOnce() -> F + MaybeSend + 'static) -> Result<Found<T>, CacheError>
    where
        T: Serialize + DeserializeOwned + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Result<Option<T>, E>> + MaybeSend + 'static,
    {
        let codec = self.cache.codec.clone();
        let loader: Loader = Box::pin(async move {
            let Some(value) = load().await.map_err(failed)? else { return Ok(None) };
            codec.encode(&value).map(|bytes| Some(Bytes::from(bytes))).map_err(CacheError::Codec)
        });
        let names = self.cache.names(&self.key, &self.tags);
        let core = &self.cache.core;
        let readable = |stored: &Stored| self.decode::<T>(stored).is_ok();
        let mut task =
            Task { names: &names, policy: &self.policy, passed: String::new(), has_stale: false, readable: &readable };
        let mut stale = None;
        if let Some(seen) = self.look(&names, &mut task.passed).await
            && let Ok(value) = self.decode::<T>(&seen.stored)
        {
            match seen.verdict {
                Verdict::Serve => return Ok(Found { value, source: Source::Fresh }),
                Verdict::ServeAndRefresh => {
                    let source = if seen.is_fresh { Source::Fresh } else { Source::Stale };
                    let (core, policy) = (Arc::clone(core), self.policy.clone());
                    // Without a runtime nobody could have come here.
                    let _ = rt::spawn(core.refresh(names, policy, seen.stored.mark, loader));
                    return Ok(Found { value, source });
                }
                Verdict::LoadOrServe => stale = Some(value),
                Verdict::Load => {}
            }
        }
        task.has_stale = stale.is_some();
        match (core.load(task, loader).await, stale) {
            (Ok(Some(loaded)), _) => {
                let value = loaded.value.map(|bytes| self.cache.codec.decode(&bytes)).transpose();
                Ok(Found { value: value.map_err(CacheError::Codec)?, source: loaded.source })
            }
            (Ok(None) | Err(_), Some(value)) => Ok(Found { value, source: Source::Stale }),
            (Ok(None), None) => unreachable!("only those who have something stale are told to serve it"),
            (Err(error), None) => Err(error),
        }
    }

    /// Keeps a value: see [`Cache::put`].
    pub async fn put<T: Serialize>(self, value: &T) -> Result<()> {
        let names = self.cache.names(&self.key, &self.tags);
        let bytes = self.cache.encode(value)?;
        let Some(spans) = self.policy.spans(false, std::time::Duration::ZERO, rt::random_unit()) else { return Ok(()) };
        let done = self.cache.core.store.fill(&names, "", b"", &bytes, spans).await;
        self.cache.core.flights.part(Some(&names.entry));
        done.map(drop)
    }

    /// The value if the store has it: see [`Cache::peek`].
    pub async fn peek<T: DeserializeOwned>(self) -> Result<Option<T>> {
        let names = self.cache.names(&self.key, &self.tags);
        match self.cache.core.store.look(&names).await?.found {
            store::Found::Entry(stored) => self
                .decode(&stored)
                .map_err(|_| Error::Request { command: "HMGET".into(), why: "the value cannot be decoded".into() }),
            _ => Ok(None),
        }
    }

    fn decode<T: DeserializeOwned>(&self, stored: &Stored) -> Result<Option<T>, CacheError> {
        if stored.meta.nothing {
            return Ok(None);
        }
        self.cache.codec.decode(&stored.value).map(Some).map_err(CacheError::Codec)
    }

    /// What the store has, with the verdict on it; nothing if it has nothing or cannot be asked.
    async fn look(&self, names: &Names, passed: &mut String) -> Option<Seen> {
        let store = &self.cache.core.store;
        if store.is_down() {
            return None;
        }
        let look = store.look(names).await.ok()?;
        match look.found {
            store::Found::Entry(stored) => {
                passed.clone_from(&stored.mark);
                let verdict = decide(&stored.meta, look.now, self.policy.beta, rt::random_unit());
                Some(Seen { verdict, is_fresh: look.now < stored.meta.fresh_until, stored })
            }
            store::Found::Strange(mark) => {
                *passed = mark;
                None
            }
            _ => None,
        }
    }
}

struct Seen {
    stored: Stored,
    verdict: Verdict,
    is_fresh: bool,
}
