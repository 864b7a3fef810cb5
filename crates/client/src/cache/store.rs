//! The cache's side of the store: the one place where its scripts are run, so that commands of the server can take their place.
//!
//! An entry is a hash (`value`, `meta`, `tags`), a lease a string that holds a token, a tag a string that changes when the tag is
//! invalidated. Nothing here decides anything.

use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;

use crate::cache::decide::{KEPT_MAX, Meta, Spans};
use crate::client::Client;
use crate::commands::{SetOptions, millis};
use crate::error::{Error, Result};
use crate::rt;
use crate::script::{Call, Script};
use crate::value::{FromValue, Mismatch, Value};

static LOOK: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("look.lua")));
static FILL: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("fill.lua")));
static LET_GO: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("let_go.lua")));

/// The names of one entry.
#[derive(Clone, Debug)]
pub(crate) struct Names {
    pub(crate) entry: String,
    pub(crate) lease: String,
    pub(crate) tags: Vec<String>,
}

/// An entry as it is stored.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) value: Bytes,
    pub(crate) meta: Meta,
    /// The meta as it is written, by which this entry is told from a later one.
    pub(crate) mark: String,
}

/// What was found, at a time of the server's, with tags as they stood.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) now: u64,
    pub(crate) tags: Bytes,
    pub(crate) found: Found,
}

#[derive(Debug)]
pub(crate) enum Found {
    Entry(Stored),
    /// An entry that somebody else wrote, in a way that is not ours.
    Strange(String),
    Lease,
    Nothing,
    Held,
    Pausing,
}

impl FromValue for Look {
    fn from_value(value: Value) -> Result<Self, Mismatch> {
        let mut parts = Vec::<Value>::from_value(value)?.into_iter();
        let mut next = || parts.next().unwrap_or_default();
        let (kind, now, tags) = (next().to::<u64>()?, next().to()?, next().to()?);
        let found = match kind {
            1 => {
                let (mark, value) = (next().to::<String>()?, next().to()?);
                Meta::read(&mark).map_or_else(
                    || Found::Strange(mark.clone()),
                    |meta| Found::Entry(Stored { value, meta, mark: mark.clone() }),
                )
            }
            2 => Found::Lease,
            3 => Found::Nothing,
            4 => Found::Held,
            5 => Found::Pausing,
            _ => return Err(Mismatch::new("one of five kinds", &Value::Null)),
        };
        Ok(Self { now, tags, found })
    }
}

/// The store, and whether it is worth asking.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) client: Client,
    pub(crate) patience: Duration,
    pub(crate) down_for: Duration,
    pub(crate) down_until: Mutex<Option<rt::Instant>>,
}

impl Store {
    /// Looks for an entry, without taking its lease.
    pub(crate) async fn look(&self, names: &Names) -> Result<Look> {
        self.run(LOOK.key(keys(names)).arg(("", 0, ""))).await
    }

    /// Looks for an entry other than the one that will not do, or takes the lease.
    pub(crate) async fn take(&self, names: &Names, token: &str, lease: Duration, passed: &str) -> Result<Look> {
        self.run(LOOK.key(keys(names)).arg((token, millis(lease).max(1), passed))).await
    }

    /// Keeps a value under a lease; false if that is void.
    pub(crate) async fn fill(
        &self,
        names: &Names,
        token: &str,
        tags: &[u8],
        value: &[u8],
        spans: Spans,
    ) -> Result<bool> {
        let call = FILL.key(keys(names)).arg((token, tags, value, spans.fresh)).arg((spans.text(), spans.kept()));
        self.run(call).await
    }

    /// Gives a lease back, at once or after a pause.
    pub(crate) async fn let_go(&self, lease: &str, token: &str, pause: Duration) -> Result<bool> {
        self.run(LET_GO.key(lease).arg((token, millis(pause)))).await
    }

    /// Deletes an entry and voids its lease.
    pub(crate) async fn forget(&self, entry: &str, lease: &str) -> Result<()> {
        self.client.del([entry, lease]).await.map(drop)
    }

    /// Has a tag stand for something else.
    pub(crate) async fn change(&self, tag: &str) -> Result<()> {
        // Nothing lives longer than this mark, so that its end brings nothing back.
        let kept = SetOptions::new().expires_in(KEPT_MAX + Duration::from_hours(1));
        self.client.set_with(tag, rt::random_token(), kept).await.map(drop)
    }

    /// Whether the store failed a moment ago.
    pub(crate) fn is_down(&self) -> bool {
        let until = *self.down_until.lock().unwrap_or_else(PoisonError::into_inner);
        until.is_some_and(|until| rt::Instant::now() < until)
    }

    async fn run<T: FromValue>(&self, call: Call<'_>) -> Result<T> {
        let done = call.run(&self.client).timeout(self.patience).never_retry().await;
        if let Err(error) = &done {
            self.went_down(error);
        }
        done
    }

    fn went_down(&self, error: &Error) {
        tracing::warn!(kind = error.kind(), "the store of a cache fails: values are loaded and not kept");
        *self.down_until.lock().unwrap_or_else(PoisonError::into_inner) = rt::Instant::now().checked_add(self.down_for);
    }
}

fn keys(names: &Names) -> (&str, &str, &[String]) {
    (&names.entry, &names.lease, &names.tags)
}
