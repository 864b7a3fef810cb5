//! Feature flags: on for a cohort and for so many of a hundred, decided here, and changed for everybody at once.
//!
//! ```
//! use dormouse_client::flags::{Flags, Rollout};
//!
//! # dormouse_client::example(async |client| {
//! let flags = Flags::open(&client, "flags").await?;
//! flags.set("new-cart", Rollout::percent(25.0)).await?;
//! flags.add("new-cart", ["ada"]).await?;
//!
//! assert!(flags.is_on("new-cart", "ada").await, "the cohort has it");
//! assert!(!flags.is_on("no-such-flag", "ada").await);
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - **The same answer everywhere**: who is among so many of a hundred follows from both names alone (SHA-1 of the flag, a zero byte and the
//!   subject; the first eight bytes, modulo 10,000), in every process and language. Raising the share takes a flag from nobody.
//! - **No request for a decision**: flags and cohorts are kept here. A cohort of more than 1,000 members is asked for by `SISMEMBER`.
//! - **Changes are heard of** over pub/sub, and what may have been missed is read again: when the subscription begins, when it was
//!   interrupted, and every [`AGE_MAX`] in any case.
//! - **The store may be down**: what was known stays, and nobody waits. A large cohort that cannot be asked counts as not having its subject.
//! - Who changes a flag sees the change with its own next question.
//!
//! # Limits
//!
//! - Other processes hear of a change a moment later, each at its own: for that moment they differ.
//! - A flag that does not exist is off for everybody. Names of flags and subjects are no secrets: they are stored as they are.
//! - A snapshot has all flags: this is for hundreds, not for millions.
//!
//! # What is stored
//!
//! `<prefix>` is a hash of rollouts in JSON (`{"on":true,"percent":25.0}`), `<prefix>:cohort:<flag>` a set, `<prefix>:changed` the channel.

mod decide;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::pin::pin;
use std::sync::{Arc, LazyLock, PoisonError, RwLock, Weak};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::future::{Either, select};
use tokio::sync::{Mutex as AsyncMutex, watch};

pub use self::decide::Rollout;
use self::decide::{Choice, decide};
use crate::client::Client;
use crate::error::Result;
use crate::rt;
use crate::script::Script;
use crate::subscribe::{Event, Subscription};
use crate::value::{Json, Value};

static SNAPSHOT: LazyLock<Script> = LazyLock::new(|| Script::read_only(include_str!("snapshot.lua")));

/// Most members of a cohort that is kept here.
const COHORT_MAX: u64 = 1_000;
/// How old a snapshot may become when nothing is heard.
pub const AGE_MAX: Duration = Duration::from_secs(30);

/// One flag as it is known.
#[derive(Debug)]
struct Flag {
    rollout: Rollout,
    /// The cohort, or nothing if it is too large.
    cohort: Option<HashSet<String>>,
}

type Snapshot = HashMap<String, Flag>;

/// The flags of an application. Clones share what they know.
///
/// ```
/// use dormouse_client::flags::{Flags, Rollout};
///
/// # dormouse_client::example(async |client| {
/// let flags = Flags::open(&client, "flags").await?;
/// flags.set("dark", Rollout::everybody()).await?;
/// assert!(flags.is_on("dark", "ada").await);
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Flags(Arc<Inner>);

struct Inner {
    client: Client,
    prefix: String,
    known: RwLock<Arc<Snapshot>>,
    /// One at a time: an answer that was overtaken would bring back what was.
    reading: AsyncMutex<()>,
    /// Ends the task that listens, when this is gone.
    _alive: watch::Sender<()>,
}

impl Flags {
    /// The flags under a prefix: read now, and again whenever they change.
    ///
    /// ```
    /// use dormouse_client::flags::Flags;
    ///
    /// # dormouse_client::example(async |client| {
    /// let flags = Flags::open(&client, "flags").await?;
    /// assert!(flags.all().is_empty());
    /// # Ok(()) });
    /// ```
    pub async fn open(client: &Client, prefix: impl Into<String>) -> Result<Self> {
        let (alive, ends) = watch::channel(());
        let prefix = prefix.into();
        let channel = format!("{prefix}:changed");
        let inner = Inner {
            client: client.clone(),
            prefix,
            known: RwLock::default(),
            reading: AsyncMutex::default(),
            _alive: alive,
        };
        let flags = Self(Arc::new(inner));
        flags.0.reload().await?;
        // Without a runtime it is as old as it is.
        let _ = rt::spawn(listen(Arc::downgrade(&flags.0), client.subscribe([channel])?, ends));
        Ok(flags)
    }

    /// Whether a flag is on for somebody.
    pub async fn is_on(&self, flag: &str, subject: &str) -> bool {
        let known = self.0.known();
        let Some(found) = known.get(flag) else { return false };
        match (decide(Some(&found.rollout), flag, subject), &found.cohort) {
            (Choice::On, _) => true,
            (Choice::Off, _) => false,
            (Choice::Cohort, Some(cohort)) => cohort.contains(subject),
            (Choice::Cohort, None) => {
                self.0.client.sismember(self.0.cohort(flag), subject).await.unwrap_or_else(|error| {
                    tracing::warn!(kind = error.kind(), "the cohort of a flag cannot be asked");
                    false
                })
            }
        }
    }

    /// All flags by name, as they are known here.
    pub fn all(&self) -> Vec<(String, Rollout)> {
        let mut all: Vec<_> = self.0.known().iter().map(|(name, flag)| (name.clone(), flag.rollout)).collect();
        all.sort_by(|one, two| one.0.cmp(&two.0));
        all
    }

    /// Sets a flag, for everybody.
    pub async fn set(&self, flag: &str, rollout: Rollout) -> Result<()> {
        let inner = &self.0;
        let set = inner.client.hset(&inner.prefix, (flag, Json(rollout)));
        inner.client.transaction((set, inner.announce(flag))).all().await?;
        inner.reload().await
    }

    /// Forgets a flag and its cohort; it is off then.
    ///
    /// ```
    /// use dormouse_client::flags::{Flags, Rollout};
    ///
    /// # dormouse_client::example(async |client| {
    /// let flags = Flags::open(&client, "flags").await?;
    /// flags.set("dark", Rollout::everybody()).await?;
    /// flags.forget("dark").await?;
    /// assert!(!flags.is_on("dark", "ada").await);
    /// # Ok(()) });
    /// ```
    pub async fn forget(&self, flag: &str) -> Result<()> {
        let inner = &self.0;
        let (rollout, cohort) = (inner.client.hdel(&inner.prefix, flag), inner.client.del(inner.cohort(flag)));
        inner.client.transaction((rollout, cohort, inner.announce(flag))).all().await?;
        inner.reload().await
    }

    /// Takes subjects into a flag's cohort.
    pub async fn add<S: AsRef<str>>(&self, flag: &str, subjects: impl IntoIterator<Item = S>) -> Result<()> {
        let inner = &self.0;
        let subjects: Vec<String> = subjects.into_iter().map(|one| one.as_ref().to_owned()).collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let added = inner.client.sadd(inner.cohort(flag), subjects);
        inner.client.transaction((added, inner.announce(flag))).all().await?;
        inner.reload().await
    }

    /// Takes subjects out of a flag's cohort.
    ///
    /// ```
    /// use dormouse_client::flags::{Flags, Rollout};
    ///
    /// # dormouse_client::example(async |client| {
    /// let flags = Flags::open(&client, "flags").await?;
    /// flags.set("dark", Rollout::cohort()).await?;
    /// flags.add("dark", ["ada", "eve"]).await?;
    /// flags.remove("dark", ["eve"]).await?;
    /// assert!(flags.is_on("dark", "ada").await && !flags.is_on("dark", "eve").await);
    /// # Ok(()) });
    /// ```
    pub async fn remove<S: AsRef<str>>(&self, flag: &str, subjects: impl IntoIterator<Item = S>) -> Result<()> {
        let inner = &self.0;
        let subjects: Vec<String> = subjects.into_iter().map(|one| one.as_ref().to_owned()).collect();
        if subjects.is_empty() {
            return Ok(());
        }
        let removed = inner.client.srem(inner.cohort(flag), subjects);
        inner.client.transaction((removed, inner.announce(flag))).all().await?;
        inner.reload().await
    }
}

impl fmt::Debug for Flags {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Flags").field("prefix", &self.0.prefix).finish_non_exhaustive()
    }
}

impl Inner {
    fn known(&self) -> Arc<Snapshot> {
        Arc::clone(&self.known.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn cohort(&self, flag: &str) -> String {
        format!("{}:cohort:{flag}", self.prefix)
    }

    fn announce(&self, flag: &str) -> crate::Command<u64> {
        self.client.publish(format!("{}:changed", self.prefix), flag)
    }

    /// The one place where all flags are read.
    async fn reload(&self) -> Result<()> {
        let _turn = self.reading.lock().await;
        let call = SNAPSHOT.key(&self.prefix).arg((self.cohort(""), COHORT_MAX));
        let found: Vec<(String, Value, u64, Vec<String>)> = call.run(&self.client).await?;
        let mut snapshot = Snapshot::new();
        for (name, rollout, size, members) in found {
            let Ok(Json(rollout)) = rollout.to::<Json<Rollout>>() else {
                tracing::warn!(flag = name, "a flag cannot be read, and is off");
                continue;
            };
            let cohort = (size <= COHORT_MAX).then(|| members.into_iter().collect());
            snapshot.insert(name, Flag { rollout, cohort });
        }
        *self.known.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(snapshot);
        Ok(())
    }
}

/// Reads again whenever something was heard, may have been missed, or is due, until the flags are gone.
async fn listen(flags: Weak<Inner>, mut heard: Subscription, mut ends: watch::Receiver<()>) {
    let mut silent = false;
    loop {
        let event = async {
            if silent {
                rt::sleep(AGE_MAX).await;
                return None;
            }
            rt::within(AGE_MAX, heard.next()).await
        };
        let event = match select(pin!(event), pin!(ends.changed())).await {
            Either::Left((event, _)) => event,
            Either::Right(_) => return,
        };
        // A subscription that cannot be mended has ended: what is left is to look now and then.
        silent |= matches!(event, Some(None | Some(Err(_))));
        let Some(inner) = flags.upgrade() else { return };
        if !matches!(event, Some(Some(Ok(Event::Gap))))
            && let Err(error) = inner.reload().await
        {
            tracing::warn!(kind = error.kind(), "flags could not be read: they stay as they are");
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;
    use crate::TestServer;
    use crate::transport::{Reqwest, Transport, TransportError};

    async fn comes_to(flags: &Flags, flag: &str, subject: &str, expected: bool) {
        let wanted = async {
            while flags.is_on(flag, subject).await != expected {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(15), wanted).await.expect("the change is heard of");
    }

    #[tokio::test]
    async fn a_change_is_heard_of_elsewhere() {
        let server = TestServer::start().expect("a server");
        let here = Flags::open(&server.client(), "f").await.expect("answers");
        let there = Flags::open(&server.client(), "f").await.expect("answers");
        here.set("a", Rollout::everybody()).await.expect("answers");
        assert!(here.is_on("a", "x").await);
        comes_to(&there, "a", "x", true).await;
        here.set("a", Rollout::cohort()).await.expect("answers");
        comes_to(&there, "a", "x", false).await;
        there.add("a", ["x"]).await.expect("answers");
        comes_to(&here, "a", "x", true).await;
        here.set("a", Rollout::off()).await.expect("answers");
        assert!(!here.is_on("a", "x").await, "off is off for the cohort, too");
        comes_to(&there, "a", "x", false).await;
    }

    #[tokio::test]
    async fn what_is_known_stays_when_the_store_is_down() {
        let server = TestServer::start().expect("a server");
        let (down, network) = (Arc::new(AtomicBool::new(false)), Arc::new(Reqwest::standard().expect("a transport")));
        let is_down = Arc::clone(&down);
        let transport = move |request: http::Request<bytes::Bytes>| {
            let (is_down, network) = (is_down.load(Ordering::SeqCst), Arc::clone(&network));
            async move {
                if is_down { Err(TransportError::unsent("the network is down")) } else { network.send(request).await }
            }
        };
        let client = Client::builder(server.url(), server.token()).transport(transport).build().expect("a client");
        let flags = Flags::open(&client, "f").await.expect("answers");
        flags.set("a", Rollout::cohort()).await.expect("answers");
        flags.add("a", ["x"]).await.expect("answers");
        flags.add("large", (0..=COHORT_MAX).map(|at| at.to_string())).await.expect("answers");
        flags.set("large", Rollout::cohort()).await.expect("answers");
        assert!(flags.is_on("large", "7").await && !flags.is_on("large", "x").await, "asked for");
        server.client().hset("f", ("odd", "not JSON")).await.expect("answers");
        flags.0.reload().await.expect("answers");
        assert_eq!(flags.all().len(), 2);
        down.store(true, Ordering::SeqCst);
        assert!(flags.0.reload().await.is_err());
        assert!(flags.is_on("a", "x").await && !flags.is_on("large", "7").await);
    }
}
