//! Cache-aside, with what usually goes wrong with it seen to: stampedes, old values that overwrite an invalidation, outages of the
//! store, and "nothing" that is asked for again and again.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::cache::{Cache, Policy};
//!
//! # dormouse_client::example(async |client| {
//! let policy = Policy::new(Duration::from_secs(60)).negative(Duration::from_secs(5));
//! let users = Cache::new(&client, "users", policy);
//!
//! // The first loads; whoever else misses meanwhile, here or in another process, waits for it.
//! let load = || async { Ok::<_, std::io::Error>(Some("Ada".to_owned())) };
//! assert_eq!(users.get("7", load).await?.as_deref(), Some("Ada"));
//! // The next is served from the store.
//! let unreachable = || async { Err::<Option<String>, _>(std::io::Error::other("the database is not asked")) };
//! assert_eq!(users.get("7", unreachable).await?.as_deref(), Some("Ada"));
//!
//! users.invalidate("7").await?;
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - **An invalidation wins.** A miss hands out a lease; [`invalidate`](Cache::invalidate) voids it in the same step as it deletes, and so
//!   does [`invalidate_tag`](Cache::invalidate_tag). What was loaded under a lease that is void is given to who loaded it, and not kept.
//! - **One load at a time** for a key: in a process by single flight, in the fleet by the lease. Others wait, for
//!   [`Policy::wait`] at most, and then load for themselves without keeping what they get.
//! - **Failing is not missing.** An error of the loader is given to all who waited, and is never kept. When the store fails, values are
//!   loaded and not kept ([`Source::NotKept`]): a cache that is down is no outage. It is asked again after a second.
//! - **Nothing is a value** if the policy says for how long ([`Policy::negative`]): then `None` is kept, under a deadline of its own, and told
//!   from "not there".
//! - **Stale values** are served past their freshness only as the two windows of RFC 5861 allow, while *one* of the fleet loads anew
//!   ([`Policy::stale_while_revalidate`]), or when loading fails ([`Policy::stale_if_error`]). After a failure with a stale value at hand nobody
//!   tries for [`Policy::pause`]. What was invalidated is never served, stale or not.
//! - **One clock.** Freshness is judged by the server's time alone.
//! - **No key stays for ever**: each has a deadline.
//!
//! # Limits
//!
//! - `XFetch` (Vattani and others, VLDB 2015) makes it unlikely that an entry expires while it is asked for; it does not promise one load. The
//!   lease does, as long as loading takes less than [`Policy::lease`]: what comes later is not kept.
//! - A miss costs two requests and a fill; a hit one. A script runs for each, so a read-only token cannot use a cache.
//! - A refresh runs in a task of its own and outlives the answer. Where the platform stops everything after an answer (workers), give that
//!   task time: see the platform's `waitUntil`.
//! - Tags are named with each call for a key, always the same in the same order: others make a miss. Entries live 30 days at most.
//! - Who loaded when an invalidation came gets the older value, as without a cache. In this process whoever asks after
//!   [`invalidate`](Cache::invalidate) has returned never does.
//! - A cluster of Redis proper would want an entry, its lease and its tags in one slot: put a `{…}` into the cache's name.
//!
//! # What is stored
//!
//! `<name>:e:<key>` is a hash with `value`, `meta` and `tags`; `<name>:l:<key>` the lease, `<name>:t:<tag>` a tag's mark.

mod codec;
mod decide;
mod entry;
mod flight;
mod load;
mod store;
#[cfg(test)]
mod tests;

use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

#[cfg(feature = "compression")]
pub use self::codec::Compressed;
#[cfg(feature = "msgpack")]
pub use self::codec::MessagePack;
pub use self::codec::{Codec, CodecError, JsonCodec};
pub use self::decide::Policy;
pub use self::entry::Entry;
use self::flight::Flights;
use self::load::Core;
use self::store::{Names, Store};
use crate::client::Client;
use crate::error::{Error, Result};
use crate::rt::MaybeSend;

/// Why there is no value.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CacheError {
    /// It could not be loaded: the loader's own error.
    #[error("the value could not be loaded: {0}")]
    Load(Arc<dyn std::error::Error + Send + Sync>),
    /// What was loaded cannot be written, or not be read back.
    #[error("the value cannot be kept: {0}")]
    Codec(CodecError),
}

/// Where a value came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Source {
    /// The store, fresh.
    Fresh,
    /// The store, past its freshness: it is being loaded anew, or could not be.
    Stale,
    /// It was loaded, and is kept.
    Loaded,
    /// Another loaded it while this call waited.
    Another,
    /// It was loaded, and is not kept: it was invalidated meanwhile, or the store is down, or nobody gave up the lease in time, or the
    /// policy keeps no "nothing".
    NotKept,
}

/// A value, and where it came from.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Found<T> {
    /// The value; nothing if there is none, which may be known from the store as well.
    pub value: Option<T>,
    /// Where it came from.
    pub source: Source,
}

/// A cache of one kind of values. Clones share its single flight.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::cache::{Cache, Policy};
///
/// # dormouse_client::example(async |client| {
/// let cache = Cache::new(&client, "prices", Policy::new(Duration::from_secs(30)));
/// cache.put("tea", &4.5).await?;
/// assert_eq!(cache.peek::<f64>("tea").await?, Some(4.5));
/// # Ok(()) });
/// ```
pub struct Cache<C = JsonCodec> {
    core: Arc<Core>,
    name: Arc<str>,
    policy: Policy,
    codec: C,
}

impl Cache {
    /// A cache whose keys begin with a name, and whose values are JSON.
    pub fn new(client: &Client, name: impl Into<String>, policy: Policy) -> Self {
        let store = Store {
            client: client.clone(),
            patience: Duration::from_secs(1),
            down_for: Duration::from_secs(1),
            down_until: Mutex::new(None),
        };
        let core = Arc::new(Core { store, flights: Flights::default() });
        Self { core, name: Arc::from(name.into()), policy, codec: JsonCodec }
    }
}

impl<C: Codec> Cache<C> {
    /// The same with another codec. Values that were written by another one are loaded anew.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::cache::{Cache, JsonCodec, Policy};
    ///
    /// # dormouse_client::example(async |client| {
    /// let cache = Cache::new(&client, "prices", Policy::new(Duration::from_secs(30))).codec(JsonCodec);
    /// # drop(cache); Ok(()) });
    /// ```
    #[must_use]
    pub fn codec<D: Codec>(self, codec: D) -> Cache<D> {
        Cache { core: self.core, name: self.name, policy: self.policy, codec }
    }

    /// The value of a key: from the store, or loaded and kept.
    ///
    /// The loader says `Ok(None)` for "there is nothing". It may run in a task of its own, after the call has returned.
    pub async fn get<T, E, F>(
        &self,
        key: impl Into<String>,
        load: impl FnOnce() -> F + MaybeSend + 'static,
    ) -> Result<Option<T>, CacheError>
    where
        T: Serialize + DeserializeOwned + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
        F: Future<Output = Result<Option<T>, E>> + MaybeSend + 'static,
    {
        Ok(self.entry(key).get(load).await?.value)
    }

    /// One key, to be given tags or a policy of its own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::cache::{Cache, Policy, Source};
    ///
    /// # dormouse_client::example(async |client| {
    /// let pages = Cache::new(&client, "pages", Policy::new(Duration::from_secs(60)));
    /// let load = || async { Ok::<_, std::io::Error>(Some(1)) };
    /// let found = pages.entry("/tea").tags(["tea", "shop"]).get(load).await?;
    /// assert_eq!((found.value, found.source), (Some(1), Source::Loaded));
    /// assert_eq!(pages.entry("/tea").tags(["tea", "shop"]).get(load).await?.source, Source::Fresh);
    ///
    /// pages.invalidate_tag("tea").await?;
    /// assert_eq!(pages.entry("/tea").tags(["tea", "shop"]).get(load).await?.source, Source::Loaded);
    /// # Ok(()) });
    /// ```
    pub fn entry(&self, key: impl Into<String>) -> Entry<'_, C> {
        Entry::new(self, key.into())
    }

    /// Keeps a value that is known to be the newest, in place of what there is and of what is being loaded.
    pub async fn put<T: Serialize>(&self, key: impl Into<String>, value: &T) -> Result<()> {
        self.entry(key).put(value).await
    }

    /// The value of a key without tags if the store has it, as old as it may be; nothing is loaded.
    pub async fn peek<T: DeserializeOwned>(&self, key: impl Into<String>) -> Result<Option<T>> {
        self.entry(key).peek().await
    }

    /// Deletes a key, and voids what is being loaded for it.
    ///
    /// Call it *after* the change of what the value is made from is visible to loaders. An error means that it may not have happened.
    pub async fn invalidate(&self, key: impl AsRef<str>) -> Result<()> {
        let names = self.names(key.as_ref(), &[]);
        let done = self.core.store.forget(&names.entry, &names.lease).await;
        self.core.flights.part(Some(&names.entry));
        done
    }

    /// Has nobody see what was stored under a tag, and voids what is being loaded under it: one step, however many keys there are.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::cache::{Cache, Policy};
    ///
    /// # dormouse_client::example(async |client| {
    /// let cache = Cache::new(&client, "pages", Policy::new(Duration::from_secs(60)));
    /// cache.entry("/").tags(["shop"]).put(&1).await?;
    /// cache.invalidate_tag("shop").await?;
    /// assert_eq!(cache.entry("/").tags(["shop"]).peek::<i32>().await?, None);
    /// # Ok(()) });
    /// ```
    pub async fn invalidate_tag(&self, tag: impl AsRef<str>) -> Result<()> {
        let done = self.core.store.change(&self.tag(tag.as_ref())).await;
        self.core.flights.part(None);
        done
    }

    fn names(&self, key: &str, tags: &[String]) -> Names {
        let name = &self.name;
        let tags = tags.iter().map(|tag| self.tag(tag)).collect();
        Names { entry: format!("{name}:e:{key}"), lease: format!("{name}:l:{key}"), tags }
    }

    fn tag(&self, tag: &str) -> String {
        format!("{}:t:{tag}", self.name)
    }

    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>> {
        let cannot = |_| Error::Request { command: "HSET".into(), why: "the value cannot be encoded".into() };
        self.codec.encode(value).map_err(cannot)
    }
}

impl<C: Clone> Clone for Cache<C> {
    fn clone(&self) -> Self {
        Self {
            core: Arc::clone(&self.core),
            name: Arc::clone(&self.name),
            policy: self.policy.clone(),
            codec: self.codec.clone(),
        }
    }
}

impl<C> fmt::Debug for Cache<C> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Cache").field("name", &self.name).field("policy", &self.policy).finish_non_exhaustive()
    }
}
