//! Events in order, kept to be read again: by those who were away, and by those who come later.
//!
//! Each event has a number, one more than the last; a reader that has seen number *n* asks for what came after it, and is told how many are
//! gone for ever. The number is the first half of the event's id in the stream.

use std::marker::PhantomData;
use std::sync::{Arc, LazyLock};

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::client::Client;
use crate::commands::Entry;
use crate::error::{Error, Result};
use crate::script::Script;
use crate::value::{Json, Mismatch, Value};

static APPEND: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("append.lua")));

/// A history of events of one type.
///
/// ```
/// use dormouse_client::queue::History;
///
/// # dormouse_client::example(async |client| {
/// let orders = History::<String>::new(&client, "orders", 3);
/// for event in ["placed", "paid", "packed", "sent"] {
///     orders.append(&event.to_owned()).await?;
/// }
/// let replay = orders.after(0, 10).await?;
/// assert_eq!((replay.missed, replay.events.len(), replay.seen), (1, 3, 4));
/// assert_eq!(replay.events[0].event, "paid");
/// assert!(orders.after(replay.seen, 10).await?.events.is_empty());
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct History<T> {
    client: Client,
    key: Arc<str>,
    counter: Arc<str>,
    kept: u64,
    events: PhantomData<fn(T) -> T>,
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Event<T> {
    /// Its number, from 1.
    pub number: u64,
    /// What happened.
    pub event: T,
}

/// What came after a number.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Replay<T> {
    /// How many events between are gone for ever.
    pub missed: u64,
    /// Those that are there, in order.
    pub events: Vec<Event<T>>,
    /// What to ask with next: the number of the last.
    pub seen: u64,
}

impl<T: Serialize + DeserializeOwned + 'static> History<T> {
    /// The history of that name, which keeps so many events: `history:<name>`, a stream.
    pub fn new(client: &Client, name: impl AsRef<str>, kept: u64) -> Self {
        let key = format!("history:{}", name.as_ref());
        let counter = format!("{key}:number").into();
        Self { client: client.clone(), key: key.into(), counter, kept, events: PhantomData }
    }

    /// Adds an event; its number.
    pub async fn append(&self, event: &T) -> Result<u64> {
        APPEND.key([&*self.key, &*self.counter]).arg((Json(event), self.kept)).run(&self.client).await
    }

    /// Up to so many of the events that came after a number; 0 is before the first.
    pub async fn after(&self, seen: u64, count: u64) -> Result<Replay<T>> {
        let from = format!("({seen}-{}", u64::MAX);
        let (entries, last) = self
            .client
            .transaction((
                self.client.xrange(&*self.key, from, "+", Some(count)),
                self.client.get::<u64>(&*self.counter),
            ))
            .all()
            .await?;
        let events: Vec<_> = entries.iter().map(read).collect::<Result<_>>()?;
        Ok(replay(seen, events, last.unwrap_or_default()))
    }
}

/// What a reader is told that had seen a number: the events it is given, of a history whose last number is that.
fn replay<T>(seen: u64, events: Vec<Event<T>>, last: u64) -> Replay<T> {
    let missed = match events.first() {
        Some(first) => first.number - seen - 1,
        None => last.saturating_sub(seen),
    };
    let seen = events.last().map_or(seen.max(last), |last| last.number);
    Replay { missed, events, seen }
}

fn read<T: DeserializeOwned + 'static>(entry: &Entry) -> Result<Event<T>> {
    let decode = |mismatch: Mismatch| Error::Decode { command: "XRANGE".into(), mismatch };
    let found = entry.get::<Json<T>>("event").map_err(decode)?;
    let Json(event) = found.ok_or_else(|| decode(Mismatch::new("an event", &Value::Null)))?;
    Ok(Event { number: entry.id.millis, event })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is trimmed and however it is read: what was seen and what was missed are all there was.
        #[test]
        fn no_event_is_passed_over_in_silence(steps in prop::collection::vec((0..6_u64, 1..5_usize, 1..8_u64), 1..30)) {
            let (mut last, mut seen, mut read, mut missed) = (0_u64, 0_u64, 0_u64, 0_u64);
            for (appended, count, kept) in steps {
                last += appended;
                let oldest = last.saturating_sub(kept) + 1;
                let events = (oldest.max(seen + 1)..=last).take(count).map(|number| Event { number, event: () }).collect();
                let told = replay(seen, events, last);
                read += told.events.len() as u64;
                missed += told.missed;
                prop_assert!(told.seen >= seen);
                seen = told.seen;
                prop_assert_eq!(read + missed, seen);
            }
        }
    }
}
