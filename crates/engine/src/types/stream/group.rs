//! Consumer groups: how far each has read, and what was delivered but not acknowledged.
//!
//! A pending entry stands three times: in the group by id, with who has it, since when and how often it was delivered; in the
//! group's order of age; and in its consumer, by id alone, if one has it: entries that were given back are nobody's.
//! [`Group::set_pending`] is the only way to all three, so they cannot disagree. Nothing here looks at entries: a pending id
//! may be of one that was removed long ago.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use dormouse_proto::Blob;

use super::id::Id;
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::keyspace::heap_bytes;

/// What a pending entry costs in memory, in all its places, with the slack of the trees.
const PENDING_BYTES: usize = 176;
/// What a consumer costs beside its name and its pending entries.
const CONSUMER_BYTES: usize = size_of::<Consumer>() + size_of::<Blob>() + 16;
/// What a group costs beside its name and what it holds.
const GROUP_BYTES: usize = size_of::<Group>() + size_of::<Blob>() + 16;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Group {
    /// The last entry that was delivered.
    pub(crate) last_id: Id,
    /// How many entries of the stream, from its very first, it has read; unknown after a leap.
    pub(crate) read: Option<u64>,
    pending: BTreeMap<Id, Delivery>,
    /// What is pending, by age.
    order: BTreeSet<Age>,
    consumers: BTreeMap<Blob, Consumer>,
    /// Bytes on the heap behind the consumers' names.
    name_bytes: usize,
}

/// Who has a pending entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Delivery {
    /// None has one that was given back.
    pub(crate) consumer: Option<Blob>,
    /// When it was delivered last, in milliseconds since the Unix epoch. Of one that was given back, its turn among those.
    pub(crate) at_ms: u64,
    /// How often it was delivered.
    pub(crate) count: u64,
}

/// What was given back, by turn, then what consumers have, the oldest first.
type Age = (bool, u64, Id);

/// One consumer.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Consumer {
    /// As its last change noted them.
    times: Times,
    polled: Polled,
    pending: BTreeSet<Id>,
}

/// When a consumer last asked and got nothing, in milliseconds since the Unix epoch. That is no change of the stream: polling
/// costs no write. So it is known until the stream is next read from disk.
#[derive(Debug, Default)]
struct Polled(AtomicU64);

impl Clone for Polled {
    fn clone(&self) -> Self {
        Self(AtomicU64::new(self.0.load(Ordering::Relaxed)))
    }
}

/// It is no part of what a consumer is.
impl PartialEq for Polled {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Eq for Polled {}

/// When a consumer last did something, in milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times {
    /// It asked.
    pub(crate) seen_ms: u64,
    /// It got something.
    pub(crate) active_ms: Option<u64>,
}

impl Times {
    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_int(out, self.seen_ms);
        put_option(out, self.active_ms);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { seen_ms: input.int()?, active_ms: read_option(input)? })
    }
}

pub(super) fn put_option(out: &mut Vec<u8>, value: Option<u64>) {
    out.push(u8::from(value.is_some()));
    if let Some(value) = value {
        put_int(out, value);
    }
}

pub(super) fn read_option(input: &mut Reader<'_>) -> Result<Option<u64>, Corrupt> {
    match input.byte()? {
        0 => Ok(None),
        1 => input.int().map(Some),
        _ => Err(Corrupt("a value or none")),
    }
}

impl Delivery {
    /// To a consumer.
    pub(crate) fn to(consumer: &[u8], at_ms: u64, count: u64) -> Self {
        Self { consumer: Some(Blob::from(consumer)), at_ms, count }
    }

    /// For how long it has been with its consumer; none if nobody has it.
    pub(crate) fn idle_ms(&self, now_ms: u64) -> Option<u64> {
        self.consumer.is_some().then(|| now_ms.saturating_sub(self.at_ms))
    }

    /// Whether another may take it that waits for it to be left for so long. What nobody has, anybody may.
    pub(crate) fn is_left_for(&self, idle_ms: u64, now_ms: u64) -> bool {
        self.idle_ms(now_ms).is_none_or(|idle| idle >= idle_ms)
    }

    const fn age(&self, id: Id) -> Age {
        (self.consumer.is_some(), self.at_ms, id)
    }

    /// Without its consumer, of which it only says whether there is one.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        if let Some(consumer) = &self.consumer {
            put_bytes(out, consumer);
        }
        put_int(out, self.at_ms);
        put_int(out, self.count);
    }

    pub(super) fn read(owned: bool, input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let consumer = if owned { Some(input.blob()?) } else { None };
        Ok(Self { consumer, at_ms: input.int()?, count: input.int()? })
    }
}

impl Consumer {
    /// The ids that are pending with it, from `from` on.
    pub(crate) fn pending(&self, from: Id) -> impl Iterator<Item = Id> {
        self.pending.range(from..).copied()
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    /// When it last did something.
    pub(crate) fn times(&self) -> Times {
        let seen_ms = self.times.seen_ms.max(self.polled.0.load(Ordering::Relaxed));
        Times { seen_ms, ..self.times }
    }

    /// Notes that it asked, and got nothing.
    pub(crate) fn polls(&self, now_ms: u64) {
        self.polled.0.fetch_max(now_ms, Ordering::Relaxed);
    }
}

impl Group {
    /// A group that has read up to `last_id`.
    pub(crate) fn new(last_id: Id, read: Option<u64>) -> Self {
        Self { last_id, read, ..Self::default() }
    }

    /// What is pending, from `from` on.
    pub(crate) fn pending(&self, from: Id) -> impl Iterator<Item = (Id, &Delivery)> {
        self.pending.range(from..).map(|(id, delivery)| (*id, delivery))
    }

    pub(crate) fn pending_count(&self) -> usize {
        self.pending.len()
    }

    pub(crate) fn last_pending(&self) -> Option<Id> {
        self.pending.last_key_value().map(|(id, _)| *id)
    }

    pub(crate) fn delivery(&self, id: Id) -> Option<&Delivery> {
        self.pending.get(&id)
    }

    /// What is pending, by age: what was given back in the order in which it was, then the oldest deliveries.
    pub(crate) fn by_age(&self) -> impl Iterator<Item = (Id, &Delivery)> {
        self.order.iter().filter_map(|(.., id)| Some((*id, self.pending.get(id)?)))
    }

    /// When the oldest delivery to a consumer was.
    pub(crate) fn oldest_ms(&self) -> Option<u64> {
        self.order.range((true, 0, Id::MIN)..).next().map(|(_, at_ms, _)| *at_ms)
    }

    /// Pending entries that were given back, in order.
    pub(crate) fn given_back(&self) -> impl Iterator<Item = Id> {
        self.order.range(..(true, 0, Id::MIN)).map(|(.., id)| *id)
    }

    /// The turn of what is given back next.
    pub(crate) fn next_turn(&self) -> u64 {
        self.order.range(..(true, 0, Id::MIN)).next_back().map_or(0, |(_, turn, _)| turn.saturating_add(1))
    }

    /// Consumers by name.
    pub(crate) fn consumers(&self) -> impl ExactSizeIterator<Item = (&Blob, &Consumer)> {
        self.consumers.iter()
    }

    pub(crate) fn consumer(&self, name: &[u8]) -> Option<&Consumer> {
        self.consumers.get(name)
    }

    /// Makes, changes or removes a consumer; its times before. What is pending with one that goes is no longer pending:
    /// commands take that away first.
    pub(crate) fn set_consumer(&mut self, name: &Blob, times: Option<Times>) -> Option<Times> {
        let Some(times) = times else {
            let consumer = self.consumers.remove(name)?;
            self.name_bytes = self.name_bytes.saturating_sub(heap_bytes(name));
            for id in &consumer.pending {
                if let Some(delivery) = self.pending.remove(id) {
                    self.order.remove(&delivery.age(*id));
                }
            }
            return Some(consumer.times);
        };
        if let Some(consumer) = self.consumers.get_mut(name) {
            return Some(std::mem::replace(&mut consumer.times, times));
        }
        self.name_bytes += heap_bytes(name);
        self.consumers.insert(name.clone(), Consumer { times, ..Consumer::default() });
        None
    }

    /// Makes an entry pending, gives it to another consumer, or ends its being pending; what was before.
    pub(crate) fn set_pending(&mut self, id: Id, delivery: Option<Delivery>) -> Option<Delivery> {
        let old = match &delivery {
            Some(delivery) => {
                if let Some(consumer) = delivery.consumer.as_ref().filter(|name| !self.consumers.contains_key(*name)) {
                    self.set_consumer(consumer, Some(Times::default()));
                }
                self.pending.insert(id, delivery.clone())
            }
            None => self.pending.remove(&id),
        };
        if let Some(old) = &old {
            self.order.remove(&old.age(id));
            if let Some(consumer) = old.consumer.as_ref().and_then(|name| self.consumers.get_mut(name)) {
                consumer.pending.remove(&id);
            }
        }
        if let Some(new) = delivery {
            self.order.insert(new.age(id));
            if let Some(consumer) = new.consumer.and_then(|name| self.consumers.get_mut(&name)) {
                consumer.pending.insert(id);
            }
        }
        old
    }

    /// Memory it takes, without its name.
    pub(super) fn memory_bytes(&self) -> usize {
        GROUP_BYTES + self.name_bytes + self.consumers.len() * CONSUMER_BYTES + self.pending.len() * PENDING_BYTES
    }

    /// Consumers are written by name, and named by their number after that; one number more is nobody's.
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        self.last_id.write(out);
        put_option(out, self.read);
        put_int(out, self.consumers.len() as u64);
        let mut numbers = hashbrown::HashMap::new();
        for (number, (name, consumer)) in self.consumers.iter().enumerate() {
            put_bytes(out, name);
            consumer.times().write(out);
            numbers.insert(name, number as u64);
        }
        put_int(out, self.pending.len() as u64);
        let mut before = 0;
        for (id, delivery) in &self.pending {
            put_int(out, id.ms - before);
            put_int(out, id.seq);
            before = id.ms;
            let number = delivery.consumer.as_ref().and_then(|name| numbers.get(name).copied());
            put_int(out, number.unwrap_or(self.consumers.len() as u64));
            put_int(out, delivery.at_ms);
            put_int(out, delivery.count);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut group = Self::new(Id::read(input)?, read_option(input)?);
        let mut names = Vec::new();
        for _ in 0..input.count()? {
            let name = input.blob()?;
            if group.set_consumer(&name, Some(Times::read(input)?)).is_some() {
                return Err(Corrupt("a consumer once"));
            }
            names.push(name);
        }
        let mut ms = 0_u64;
        for _ in 0..input.count()? {
            ms = ms.checked_add(input.int()?).ok_or(Corrupt("an id"))?;
            let id = Id { ms, seq: input.int()? };
            let number = usize::try_from(input.int()?).ok().filter(|number| *number <= names.len());
            let consumer = names.get(number.ok_or(Corrupt("a consumer"))?).cloned();
            let delivery = Delivery { consumer, at_ms: input.int()?, count: input.int()? };
            if group.set_pending(id, Some(delivery)).is_some() {
                return Err(Corrupt("a pending entry once"));
            }
        }
        Ok(group)
    }

    /// What it holds, for tests.
    pub(super) fn canonical(&self) -> String {
        let consumer = |(name, consumer): (&Blob, &Consumer)| {
            format!("{}:{:?}{:?}", name.escape_ascii(), consumer.times, consumer.pending)
        };
        let consumers: Vec<_> = self.consumers.iter().map(consumer).collect();
        format!("{:?} read {:?} {:?} {}", self.last_id, self.read, self.pending, consumers.join(" "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64) -> Id {
        Id { ms, seq: 0 }
    }

    fn delivery(consumer: &'static str, count: u64) -> Delivery {
        Delivery::to(consumer.as_bytes(), 7, count)
    }

    #[test]
    fn a_pending_entry_stands_with_one_consumer() {
        let mut group = Group::default();
        group.set_pending(id(1), Some(delivery("a", 1)));
        group.set_pending(id(2), Some(delivery("a", 1)));
        assert_eq!(group.set_pending(id(1), Some(delivery("b", 2))), Some(delivery("a", 1)));
        assert_eq!(group.consumer(b"a").unwrap().pending(Id::MIN).collect::<Vec<_>>(), [id(2)]);
        assert_eq!(group.consumer(b"b").unwrap().pending(Id::MIN).collect::<Vec<_>>(), [id(1)]);
        group.set_consumer(&Blob::from(b"a".as_slice()), None);
        assert_eq!(group.pending(Id::MIN).map(|(id, _)| id).collect::<Vec<_>>(), [id(1)]);
        assert_eq!(group.set_pending(id(1), None), Some(delivery("b", 2)));
        assert_eq!(group.set_pending(id(1), None), None);
    }

    #[test]
    fn what_was_given_back_comes_first_and_in_its_order() {
        let mut group = Group::default();
        for (ms, at_ms) in [(1, 30), (2, 10), (3, 20), (4, 10)] {
            group.set_pending(id(ms), Some(Delivery::to(b"a", at_ms, 1)));
        }
        let order = |group: &Group| group.by_age().map(|(id, _)| id.ms).collect::<Vec<_>>();
        assert_eq!((order(&group), group.oldest_ms()), (vec![2, 4, 3, 1], Some(10)));
        for ms in [3, 1, 3] {
            let turn = group.next_turn();
            group.set_pending(id(ms), Some(Delivery { consumer: None, at_ms: turn, count: 1 }));
        }
        assert_eq!((order(&group), group.oldest_ms()), (vec![1, 3, 2, 4], Some(10)));
        assert_eq!(group.given_back().collect::<Vec<_>>(), [id(1), id(3)]);
        group.set_consumer(&Blob::from(b"a".as_slice()), None);
        assert_eq!((order(&group), group.oldest_ms()), (vec![1, 3], None));
        group.set_pending(id(1), None);
        assert_eq!(order(&group), [3]);
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut group = Group::default();
        let empty = group.memory_bytes();
        let name = Blob::from([b'n'; 100].as_slice());
        group.set_pending(id(1), Some(Delivery::to(&name, 0, 1)));
        assert!(group.memory_bytes() >= empty + 100 + PENDING_BYTES);
        group.set_consumer(&name, None);
        assert_eq!(group.memory_bytes(), empty);
    }

    #[test]
    fn a_group_reads_back_and_forged_bytes_do_not() {
        let mut group = Group::new(id(9), Some(4));
        group.set_pending(id(3), Some(delivery("a", 1)));
        group.set_pending(id(5), Some(delivery("b", 300)));
        group.set_pending(id(6), Some(Delivery { consumer: None, at_ms: 4, count: 0 }));
        group.set_consumer(&Blob::from(b"c".as_slice()), Some(Times { seen_ms: 9, active_ms: Some(8) }));
        let mut bytes = Vec::new();
        group.write(&mut bytes);
        assert_eq!(Group::read(&mut Reader::new(&bytes)), Ok(group));
        for cut in 0..bytes.len() {
            assert!(Group::read(&mut Reader::new(&bytes[..cut])).is_err());
        }
    }
}
