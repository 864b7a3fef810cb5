//! The keys of one database that are in memory, in front of the ones that are not.
//!
//! An [`Entry`] is what memory knows about a key: its value, or that it is gone while the store still has it (a
//! tombstone). A key without an entry is *cold*: the store is the truth, and [`Keyspace::cold`] counts how many such keys
//! there are, so that nobody asks the store when there is nothing to find; how many of those have deadlines is counted beside it,
//! for `INFO`. Everything that moves a key between these
//! states goes through this file, which keeps the counts, the expiry index and the list of dirty keys true.
//!
//! Nothing here reads a clock: a dead key (past its deadline) stays until someone removes it, and readers ask
//! [`Entry::alive_at`]. Nothing here does I/O: cold keys come through [`Source`].

use std::collections::BTreeSet;

use dormouse_proto::Blob;

use crate::codec::{Corrupt, Reader, put_int};
use crate::libraries::{Libraries, Shelf};
use crate::moment::Random;
use crate::residency::{Heat, Order};
use crate::scan_map::ScanMap;
use crate::settings::Encodings;
use crate::usage::{Frequency, Usage};
use crate::value::{Type, Value};

/// Version of the layout of a stored record.
const RECORD_VERSION: u8 = 1;
/// What an entry costs in memory beside its key's and value's bytes: its slot, its hash, the slack of a page.
pub(crate) const ENTRY_BYTES: usize = 120;
/// Kinds of hashes that are told apart when keys leave memory.
const LEAVINGS: usize = 1024;

/// What the store has of a key in memory: no record, or one that its index of deadlines may name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stored(u64);

/// Where the store's index of deadlines names a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Due {
    /// Milliseconds since the Unix epoch.
    pub at: u64,
    /// Only a part of the value dies then, or several.
    pub part: bool,
    /// The whole value dies then, and a part of it would have died later.
    pub parts_later: bool,
}

impl From<Due> for Stored {
    /// A record of which nothing but its place in the index is known.
    fn from(due: Due) -> Self {
        if due.part { Self(Self::PARTS | due.at.min(Self::AT_MAX)) } else { Self::named(due) }
    }
}

/// How many records have deadlines.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expiring {
    /// Those that die as a whole.
    pub keys: u64,
    /// Those of which parts die.
    pub with_parts: u64,
    /// The sum of the deadlines of the former, in milliseconds since the Unix epoch. Of a value of which a part dies before, the
    /// part's counts.
    pub deadlines: u128,
}

impl Expiring {
    /// Counts a record.
    pub fn add(&mut self, stored: Stored) {
        self.keys += u64::from(stored.expires());
        self.with_parts += u64::from(stored.has_parts());
        if stored.expires() {
            self.deadlines += u128::from(stored.at());
        }
    }

    /// A record is no longer among them.
    pub fn take(&mut self, stored: Stored) {
        self.keys = self.keys.saturating_sub(stored.expires().into());
        self.with_parts = self.with_parts.saturating_sub(stored.has_parts().into());
        if stored.expires() {
            self.deadlines = self.deadlines.saturating_sub(stored.at().into());
        }
    }
}

/// Keys of a later epoch that were put into the store for a database to take as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Adopted {
    /// The epoch.
    pub epoch: u32,
    /// How many keys.
    pub records: u64,
    /// How many of them have deadlines.
    pub expiring: Expiring,
}

impl Adopted {
    /// Writes it as the log has it.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        let Expiring { keys, with_parts, deadlines } = self.expiring;
        for int in [u64::from(self.epoch), self.records, keys, with_parts, (deadlines >> 64) as u64, deadlines as u64] {
            put_int(out, int);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let epoch = u32::try_from(input.int()?).map_err(|_| Corrupt("an epoch"))?;
        let (records, keys, with_parts) = (input.int()?, input.int()?, input.int()?);
        let deadlines = u128::from(input.int()?) << 64 | u128::from(input.int()?);
        Ok(Self { epoch, records, expiring: Expiring { keys, with_parts, deadlines } })
    }
}

impl Stored {
    /// The store has no record.
    pub const NO: Self = Self(u64::MAX);
    /// Deadlines have 63 bits; the last one says that parts of the value die. Deadlines of parts are far shorter, so that two more
    /// bits are free beside them: whether the whole value dies, too, and whether that comes first.
    const PARTS: u64 = 1 << 63;
    const WHOLE: u64 = 1 << 62;
    const WHOLE_FIRST: u64 = 1 << 61;
    /// The latest deadline beside parts.
    const AT_MAX: u64 = Self::WHOLE_FIRST - 2;

    /// The store has this value with this deadline, 0 for none.
    pub fn of(value: &Value, expires_at: u64) -> Self {
        Self::with_parts(value.next_due(), expires_at)
    }

    fn with_parts(part: Option<u64>, expires_at: u64) -> Self {
        match part {
            None => Self(expires_at),
            Some(part) if expires_at == 0 => Self(Self::PARTS | part.min(Self::AT_MAX)),
            Some(part) if part < expires_at => Self(Self::PARTS | Self::WHOLE | part.min(Self::AT_MAX)),
            Some(_) => Self(Self::PARTS | Self::WHOLE | Self::WHOLE_FIRST | expires_at.min(Self::AT_MAX)),
        }
    }

    /// What the index said of a record that is gone now.
    const fn named(due: Due) -> Self {
        let marks = if due.parts_later { Self::PARTS | Self::WHOLE | Self::WHOLE_FIRST } else { 0 };
        Self(due.at | marks)
    }

    const fn has_parts(self) -> bool {
        self.exists() && self.0 & Self::PARTS != 0
    }

    /// Whether the whole value dies.
    const fn expires(self) -> bool {
        self.exists() && if self.0 & Self::PARTS == 0 { self.0 != 0 } else { self.0 & Self::WHOLE != 0 }
    }

    /// What dies first dies then.
    const fn at(self) -> u64 {
        if self.0 & Self::PARTS == 0 { self.0 } else { self.0 & (Self::WHOLE_FIRST - 1) }
    }

    /// Whether there is a record.
    pub const fn exists(self) -> bool {
        self.0 != Self::NO.0
    }

    /// What the index says of it.
    pub const fn due(self) -> Option<Due> {
        match self {
            Self::NO | Self(0) => None,
            Self(bits) => {
                let whole_first = bits & Self::PARTS == 0 || bits & Self::WHOLE_FIRST != 0;
                Some(Due { at: self.at(), part: !whole_first, parts_later: whole_first && self.has_parts() })
            }
        }
    }
}

/// What memory knows about a key.
#[derive(Clone, Debug)]
pub struct Entry {
    /// The value; `None` is a tombstone.
    pub value: Option<Value>,
    /// Milliseconds since the Unix epoch at which the key dies; 0 is never.
    pub expires_at: u64,
    /// Sequence number of the transaction that last changed the key.
    pub seq: u64,
    /// Whether memory is ahead of the store.
    pub dirty: bool,
    /// What the store has of this key.
    pub stored: Stored,
    /// How much it is used.
    pub heat: Heat,
    /// Whether it is a string that was changed in place, which Redis keeps in another form.
    pub raw: bool,
    /// When it was last used, or how often it is; what was not in memory was used when it came there.
    pub(crate) usage: Usage,
}

impl Entry {
    /// The value, unless the key is gone or dead at `now_ms`.
    pub const fn alive_at(&self, now_ms: u64) -> Option<&Value> {
        if self.expires_at != 0 && self.expires_at <= now_ms { None } else { self.value.as_ref() }
    }
}

/// A key as the store has it.
#[derive(Clone, Debug)]
pub struct Record {
    /// The value.
    pub value: Value,
    /// As in [`Entry`].
    pub expires_at: u64,
    /// As in [`Entry`].
    pub seq: u64,
}

impl Record {
    /// Writes the record of an entry that has a value.
    pub fn write(value: &Value, expires_at: u64, seq: u64, out: &mut Vec<u8>) {
        out.push(RECORD_VERSION);
        put_int(out, expires_at);
        put_int(out, seq);
        value.write(out);
    }

    fn head(input: &mut Reader<'_>) -> Result<(u64, u64), Corrupt> {
        if input.byte()? != RECORD_VERSION {
            return Err(Corrupt("a record version this release knows"));
        }
        Ok((input.int()?, input.int()?))
    }

    /// Type and deadline of what [`Self::write`] wrote, without the value.
    pub fn look(bytes: &[u8]) -> Result<(Type, u64), Corrupt> {
        let mut input = Reader::new(bytes);
        let (expires_at, _) = Self::head(&mut input)?;
        Ok((Type::from_tag(input.byte()?)?, expires_at))
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(bytes: &[u8]) -> Result<Self, Corrupt> {
        let mut input = Reader::new(bytes);
        let (expires_at, seq) = Self::head(&mut input)?;
        let value = Value::read(&mut input)?;
        if !input.is_done() {
            return Err(Corrupt("the end of the record"));
        }
        Ok(Self { value, expires_at, seq })
    }
}

/// The store could not be read. The words for the operator are logged where the error happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the store could not be read")]
pub struct SourceError;

/// Where cold keys come from.
pub trait Source {
    /// The record of a key.
    fn load(&self, hash: u64, key: &[u8]) -> Result<Option<Record>, SourceError>;

    /// Stored keys with a hash of at least `from`, by rising hash, at least `count` of them if there are as many; all
    /// keys of the last hash are included.
    fn keys(&self, from: u64, count: usize) -> Result<Vec<(u64, Blob)>, SourceError>;

    /// The libraries of functions, and the transaction that last changed them.
    fn libraries(&self) -> Result<Option<(u64, Libraries)>, SourceError>;
}

/// A source without keys, for databases that live in memory alone (tests, simulation).
#[derive(Clone, Copy, Debug, Default)]
pub struct Nothing;

impl Source for Nothing {
    fn load(&self, _: u64, _: &[u8]) -> Result<Option<Record>, SourceError> {
        Ok(None)
    }

    fn keys(&self, _: u64, _: usize) -> Result<Vec<(u64, Blob)>, SourceError> {
        Ok(Vec::new())
    }

    fn libraries(&self) -> Result<Option<(u64, Libraries)>, SourceError> {
        Ok(None)
    }
}

/// Deadlines with the hashes of their keys, and their sum.
#[derive(Clone, Debug, Default)]
pub(crate) struct Deadlines {
    set: BTreeSet<(u64, u64)>,
    sum: u128,
}

impl Deadlines {
    fn insert(&mut self, at: (u64, u64)) {
        if self.set.insert(at) {
            self.sum += u128::from(at.0);
        }
    }

    fn remove(&mut self, at: &(u64, u64)) {
        if self.set.remove(at) {
            self.sum = self.sum.saturating_sub(u128::from(at.0));
        }
    }
}

/// Chance for counters that nothing depends on, so it is the same in every run.
#[derive(Clone, Debug)]
struct Dice(Random);

impl Default for Dice {
    fn default() -> Self {
        Self(Random::new(0))
    }
}

/// How many values of each type are how long, by powers of two: for `INFO keysizes`.
#[derive(Clone, Debug, Default)]
pub(crate) struct Sizes(Vec<[u64; SIZES]>);

/// Lengths that are told apart: none, and as many as a length has bits.
const SIZES: usize = 1 + usize::BITS as usize;

impl Sizes {
    /// Where a value is counted, if it is.
    fn place(value: &Value) -> Option<(usize, usize)> {
        let (kind, len) = value.size()?;
        Some((kind, (usize::BITS - len.leading_zeros()) as usize))
    }

    fn add(&mut self, value: Option<&Value>) {
        let Some((kind, at)) = value.and_then(Self::place) else { return };
        if kind >= self.0.len() {
            self.0.resize(kind + 1, [0; SIZES]);
        }
        self.0[kind][at] += 1;
    }

    fn take(&mut self, place: Option<(usize, usize)>) {
        if let Some(count) = place.and_then(|(kind, at)| self.0.get_mut(kind)?.get_mut(at)) {
            *count = count.saturating_sub(1);
        }
    }

    /// Of a type: the least length that is counted together, and how many values have such a length.
    pub(crate) fn of(&self, kind: usize) -> impl Iterator<Item = (u64, u64)> {
        let counts = self.0.get(kind).into_iter().flatten().enumerate().filter(|(_, count)| **count > 0);
        counts.map(|(at, count)| (if at == 0 { 0 } else { 1 << (at - 1) }, *count))
    }
}

/// The keys of one database; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Keyspace {
    map: ScanMap<Entry>,
    /// (deadline, hash) of every entry that has both a value and a deadline.
    expiry: Deadlines,
    /// (deadline, hash) of every value a part of which dies, by the first that does.
    parts: BTreeSet<(u64, u64)>,
    dirty: Vec<(u64, Blob)>,
    /// How many keys of each of [`LEAVINGS`] kinds of hashes have left the map, so that who read a cold key from the store
    /// learns whether it has been cold all the while. Made when the first one leaves.
    leavings: Vec<u32>,
    /// Entries that memory is ahead of the store by, tombstones included.
    ahead: usize,
    live: u64,
    cold: u64,
    /// How many of the cold keys have deadlines.
    cold_expiring: Expiring,
    bytes: usize,
    epoch: u32,
    flushed_seq: u64,
    /// What was adopted since the store was told of it.
    adopted: Vec<Adopted>,
    /// How long values in memory are.
    sizes: Sizes,
    /// Now, for [`Entry::usage`].
    now_s: u32,
    /// Tells one transaction's uses of a key from those of the next.
    turn: u8,
    /// Which keys leave memory first.
    order: Order,
    /// Steps of the eviction since libraries were last asked to leave.
    steps: usize,
    /// Keys that came from the store.
    loads: u64,
    /// How use is counted, and the dice for that.
    frequency: Option<Frequency>,
    dice: Dice,
    /// Libraries of functions, which are no keys and stay when the keys go.
    pub(crate) shelf: Shelf,
}

impl Keyspace {
    /// A database whose store holds `cold` keys of an epoch that began with transaction `flushed_seq`, so many of them with
    /// deadlines.
    pub fn with_cold(cold: u64, cold_expiring: Expiring, epoch: u32, flushed_seq: u64) -> Self {
        Self { cold, cold_expiring, epoch, flushed_seq, ..Self::default() }
    }

    /// The transaction that last emptied the database.
    pub const fn flushed_seq(&self) -> u64 {
        self.flushed_seq
    }

    /// How many keys there are, dead ones that nobody removed yet included.
    pub const fn len(&self) -> u64 {
        self.live + self.cold
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many keys only the store has.
    pub const fn cold(&self) -> u64 {
        self.cold
    }

    /// How many keys came from the store so far.
    pub const fn loads(&self) -> u64 {
        self.loads
    }

    /// Keys in memory, tombstones included.
    pub const fn resident(&self) -> usize {
        self.map.len()
    }

    /// How many keys have a deadline.
    pub fn with_deadline(&self) -> u64 {
        self.expiry.set.len() as u64 + self.cold_expiring.keys
    }

    /// How many values have parts with deadlines of their own.
    pub fn with_parts_deadline(&self) -> u64 {
        self.parts.len() as u64 + self.cold_expiring.with_parts
    }

    /// How long keys that have a deadline live on average, in milliseconds.
    pub fn mean_life_ms(&self, now_ms: u64) -> u64 {
        let sum = self.expiry.sum + self.cold_expiring.deadlines;
        let mean = sum.checked_div(self.with_deadline().into());
        mean.map_or(0, |mean| u64::try_from(mean).unwrap_or(u64::MAX).saturating_sub(now_ms))
    }

    /// How long values in memory are.
    pub(crate) const fn sizes(&self) -> &Sizes {
        &self.sizes
    }

    /// A transaction begins: what it uses is used now, and once. Also says how use is counted.
    pub const fn set_now(&mut self, now_ms: u64, frequency: Option<Frequency>) {
        self.now_s = (now_ms / 1_000) as u32;
        self.turn = self.turn.wrapping_add(1);
        self.frequency = frequency;
    }

    const fn new_usage(&self) -> Usage {
        Usage::new(self.frequency, self.now_s)
    }

    /// How many keys memory is ahead of the store by.
    pub const fn dirty_keys(&self) -> usize {
        self.dirty.len()
    }

    /// Bytes of memory its keys take, near enough.
    pub fn memory_bytes(&self) -> usize {
        let dirty = self.dirty.capacity() * size_of::<(u64, Blob)>();
        self.bytes + dirty + self.shelf.memory_bytes() + self.order.memory_bytes()
    }

    /// The libraries of functions, between memory and the store.
    pub const fn shelf(&mut self) -> &mut Shelf {
        &mut self.shelf
    }

    /// Brings the libraries of functions into memory.
    pub fn load_libraries(&mut self, source: &dyn Source) -> Result<(), SourceError> {
        if self.shelf.here().is_none() {
            self.shelf.admit(source.libraries()?);
        }
        Ok(())
    }

    /// Counts the times the database was emptied; part of the store's keys, so that emptying is instant.
    pub const fn epoch(&self) -> u32 {
        self.epoch
    }

    /// What memory knows of a key.
    pub fn find(&self, hash: u64, key: &[u8]) -> Option<&Entry> {
        self.map.get_hashed(hash, key)
    }

    /// Whether a key must be looked up in the store before anything can be said of it.
    pub fn is_cold(&self, hash: u64, key: &[u8]) -> bool {
        self.cold > 0 && self.map.get_hashed(hash, key).is_none()
    }

    /// Takes in what the store said of a cold key.
    pub fn admit(&mut self, hash: u64, key: &[u8], record: Option<Record>) {
        let Some(record) = record else { return };
        self.loads += 1;
        if self.map.get_hashed(hash, key).is_some() {
            return;
        }
        let Record { value, expires_at, seq } = record;
        let stored = Stored::of(&value, expires_at);
        let (heat, raw, usage) = (self.enter(hash), false, self.new_usage());
        let entry = Entry { value: Some(value), expires_at, seq, dirty: false, stored, heat, raw, usage };
        self.count_in(hash, key, &entry);
        self.cold = self.cold.saturating_sub(1);
        self.cold_expiring.take(stored);
        self.map.insert_hashed(hash, Blob::from(key), entry);
    }

    /// Reads every value in memory back from its bytes, as if it came from the store.
    pub(crate) fn reread(&mut self, encodings: &Encodings) -> Result<(), Corrupt> {
        let keys: Vec<(u64, Blob)> =
            self.map.starting_at(0, usize::MAX).into_iter().map(|(h, key, _)| (h, key.clone())).collect();
        let mut bytes = Vec::new();
        for (hash, key) in keys {
            let Some(entry) = self.map.get_mut_hashed(hash, &key) else { continue };
            let Some(value) = &mut entry.value else { continue };
            bytes.clear();
            value.write(&mut bytes);
            let before = value.memory_bytes();
            let mut read = Value::read(&mut Reader::new(&bytes))?;
            read.adapt(encodings);
            *value = read;
            entry.raw = false;
            self.bytes = (self.bytes + value.memory_bytes()).saturating_sub(before);
        }
        Ok(())
    }

    /// How many keys with such a hash have left memory.
    pub fn leavings(&self, hash: u64) -> u32 {
        self.leavings.get(hash as usize % LEAVINGS).copied().unwrap_or(0)
    }

    fn note_leaving(&mut self, hash: u64) {
        if self.leavings.is_empty() {
            self.leavings = vec![0; LEAVINGS];
        }
        let count = &mut self.leavings[hash as usize % LEAVINGS];
        *count = count.wrapping_add(1);
    }

    /// Looks a cold key up in the store.
    pub fn load(&mut self, hash: u64, key: &[u8], source: &dyn Source) -> Result<(), SourceError> {
        if self.is_cold(hash, key) {
            self.admit(hash, key, source.load(hash, key)?);
        }
        Ok(())
    }

    fn count_in(&mut self, hash: u64, key: &[u8], entry: &Entry) {
        self.bytes += ENTRY_BYTES + heap_bytes(key);
        self.ahead += usize::from(entry.dirty);
        let Some(value) = &entry.value else { return };
        self.live += 1;
        self.bytes += value.memory_bytes();
        self.sizes.add(Some(value));
        if entry.expires_at != 0 {
            self.expiry.insert((entry.expires_at, hash));
        }
        self.parts.extend(value.next_due().map(|at| (at, hash)));
    }

    fn count_out(&mut self, hash: u64, key: &[u8], entry: &Entry) {
        self.bytes = self.bytes.saturating_sub(ENTRY_BYTES + heap_bytes(key));
        self.ahead -= usize::from(entry.dirty);
        let Some(value) = &entry.value else { return };
        self.live -= 1;
        self.bytes = self.bytes.saturating_sub(value.memory_bytes());
        self.sizes.take(Sizes::place(value));
        if entry.expires_at != 0 {
            self.expiry.remove(&(entry.expires_at, hash));
        }
        if let Some(at) = value.next_due() {
            self.parts.remove(&(at, hash));
        }
    }

    /// Replaces value, deadline and sequence number of a key that is not cold. Returns the old value and deadline.
    pub(crate) fn replace(
        &mut self,
        hash: u64,
        key: &[u8],
        value: Option<Value>,
        expires_at: u64,
        seq: u64,
    ) -> Option<(Option<Value>, u64)> {
        self.bytes += value.as_ref().map_or(0, Value::memory_bytes);
        self.live += u64::from(value.is_some());
        self.sizes.add(value.as_ref());
        if value.is_some() && expires_at != 0 {
            self.expiry.insert((expires_at, hash));
        }
        let part = value.as_ref().and_then(Value::next_due);
        self.parts.extend(part.map(|at| (at, hash)));
        let Some(entry) = self.map.get_mut_hashed(hash, key) else {
            self.bytes += ENTRY_BYTES + heap_bytes(key);
            let key = Blob::from(key);
            self.ahead += 1;
            self.dirty.push((hash, key.clone()));
            let (stored, raw, usage) = (Stored::NO, false, self.new_usage());
            let heat = self.enter(hash);
            let entry = Entry { value, expires_at, seq, dirty: true, stored, heat, raw, usage };
            self.map.insert_hashed(hash, key, entry);
            return None;
        };
        let old = (std::mem::replace(&mut entry.value, value), entry.expires_at);
        entry.expires_at = expires_at;
        entry.seq = seq;
        entry.heat.warm(self.turn);
        entry.raw = false;
        entry.usage = match old.0 {
            Some(_) => entry.usage.used(self.frequency, self.now_s, &mut self.dice.0),
            None => Usage::new(self.frequency, self.now_s),
        };
        if !std::mem::replace(&mut entry.dirty, true) {
            self.ahead += 1;
            self.dirty.push((hash, Blob::from(key)));
        }
        if let Some(value) = &old.0 {
            self.bytes = self.bytes.saturating_sub(value.memory_bytes());
            self.sizes.take(Sizes::place(value));
            self.live -= 1;
            // The same deadline may have been put in above; only a different one goes.
            if old.1 != 0 && (old.1 != expires_at || entry.value.is_none()) {
                self.expiry.remove(&(old.1, hash));
            }
            if let Some(at) = value.next_due().filter(|&at| part != Some(at)) {
                self.parts.remove(&(at, hash));
            }
        }
        Some(old)
    }

    /// Lends a key's entry for a change in place, with what must be kept true meanwhile.
    pub(crate) fn lend(&mut self, hash: u64, key: &[u8], seq: u64) -> Option<Loan<'_>> {
        let entry = self.map.get_mut_hashed(hash, key)?;
        entry.value.as_ref()?;
        if !std::mem::replace(&mut entry.dirty, true) {
            self.ahead += 1;
            self.dirty.push((hash, Blob::from(key)));
        }
        let seq_before = std::mem::replace(&mut entry.seq, seq);
        entry.heat.warm(self.turn);
        entry.usage = entry.usage.used(self.frequency, self.now_s, &mut self.dice.0);
        let size_before = entry.value.as_ref().and_then(Sizes::place);
        let before = entry.value.as_ref().map_or(0, Value::memory_bytes);
        let part_before = entry.value.as_ref().and_then(Value::next_due);
        Some(Loan {
            entry,
            hash,
            seq_before,
            before,
            part_before,
            bytes: &mut self.bytes,
            live: &mut self.live,
            expiry: &mut self.expiry,
            parts: &mut self.parts,
            size_before,
            sizes: &mut self.sizes,
        })
    }

    /// Says when a key was used last, or how often it is.
    pub(crate) fn set_usage(&mut self, hash: u64, key: &[u8], usage: Usage) {
        if let Some(entry) = self.map.get_mut_hashed(hash, key) {
            entry.usage = usage;
        }
    }

    /// Marks a key as wanted in memory, and as used if it is.
    pub(crate) fn find_hot(&mut self, hash: u64, key: &[u8], used: bool) -> Option<&Entry> {
        let entry = self.map.get_mut_hashed(hash, key)?;
        entry.heat.warm(self.turn);
        if used {
            entry.usage = entry.usage.used(self.frequency, self.now_s, &mut self.dice.0);
        }
        Some(entry)
    }

    /// Empties the database; what the store has belongs to an epoch that is over. Returns the old content.
    pub(crate) fn flush(&mut self, seq: u64) -> Self {
        let epoch = self.epoch.wrapping_add(1);
        let shelf = std::mem::take(&mut self.shelf);
        let adopted = self.adopted.clone();
        // The transaction goes on, at its moment.
        let (now_s, turn, loads, frequency) = (self.now_s, self.turn, self.loads, self.frequency);
        let fresh = Self { now_s, turn, loads, frequency, ..Self::default() };
        std::mem::replace(self, Self { epoch, flushed_seq: seq, adopted, shelf, ..fresh })
    }

    /// Takes the keys that the store has of a later epoch, put there for that. The database was just emptied.
    pub(crate) fn adopt(&mut self, adopted: Adopted) {
        debug_assert!(self.is_empty() && self.resident() == 0, "only an empty database adopts keys");
        (self.epoch, self.cold, self.cold_expiring) = (adopted.epoch, adopted.records, adopted.expiring);
        self.adopted.push(adopted);
    }

    /// What was adopted and the store may not have been told of.
    pub fn adopted(&self) -> &[Adopted] {
        &self.adopted
    }

    /// The store was told of everything up to an epoch.
    pub fn forget_adopted(&mut self, upto: u32) {
        self.adopted.retain(|adopted| adopted.epoch > upto);
    }

    /// Takes a flush back: the old content returns, under the libraries there are now.
    pub(crate) fn unflush(&mut self, old: Self) {
        let shelf = std::mem::take(&mut self.shelf);
        *self = Self { shelf, ..old };
    }

    /// Removes a cold key without looking at its value: the store said that it is past this deadline.
    pub(crate) fn bury_cold(&mut self, hash: u64, key: &[u8], due: Due, seq: u64) {
        self.cold = self.cold.saturating_sub(1);
        self.bytes += ENTRY_BYTES + heap_bytes(key);
        let key = Blob::from(key);
        self.ahead += 1;
        self.dirty.push((hash, key.clone()));
        let stored = Stored::named(due);
        self.cold_expiring.take(stored);
        let (heat, raw, usage) = (self.enter(hash), false, self.new_usage());
        let entry = Entry { value: None, expires_at: 0, seq, dirty: true, stored, heat, raw, usage };
        self.map.insert_hashed(hash, key, entry);
    }

    /// Hashes of keys whose deadline is at or before `now_ms`, earliest first, at most `count`.
    pub fn due(&self, now_ms: u64, count: usize) -> Vec<u64> {
        self.expiry.set.range(..=(now_ms, u64::MAX)).take(count).map(|&(_, hash)| hash).collect()
    }

    /// Hashes of keys a part of whose value dies at or before `now_ms`, earliest first, at most `count`.
    pub fn parts_due(&self, now_ms: u64, count: usize) -> Vec<u64> {
        self.parts.range(..=(now_ms, u64::MAX)).take(count).map(|&(_, hash)| hash).collect()
    }

    /// Whether there is any such key.
    pub fn has_parts_due(&self, now_ms: u64) -> bool {
        self.parts.first().is_some_and(|&(at, _)| at <= now_ms)
    }

    /// The earliest deadline of a key in memory.
    pub fn next_deadline(&self) -> Option<u64> {
        self.expiry.set.first().map(|&(deadline, _)| deadline)
    }

    /// When the first part of a value in memory dies.
    pub fn next_part(&self) -> Option<u64> {
        self.parts.first().map(|&(at, _)| at)
    }

    /// Keys in memory with this very hash.
    pub fn with_hash(&self, hash: u64) -> Vec<Blob> {
        self.map.with_hash(hash).map(|(key, _)| key.clone()).collect()
    }

    /// Entries with a hash of at least `from`; see [`ScanMap::starting_at`].
    pub fn starting_at(&self, from: u64, count: usize) -> Vec<(u64, &Blob, &Entry)> {
        self.map.starting_at(from, count)
    }

    /// Everything in memory.
    pub fn iter(&self) -> impl Iterator<Item = (&Blob, &Entry)> {
        self.map.iter()
    }

    /// One key in memory, tombstones included.
    pub fn random(&self, random: &mut crate::moment::Random) -> Option<(&Blob, &Entry)> {
        self.map.random(random)
    }

    /// Keys that memory may be ahead of the store by; all of them, unless a checkpoint is under way.
    pub fn dirty_list(&self) -> &[(u64, Blob)] {
        &self.dirty
    }

    /// Takes the list of dirty keys for a checkpoint. Entries stay dirty until [`Self::settle`].
    pub fn take_dirty(&mut self) -> Vec<(u64, Blob)> {
        std::mem::take(&mut self.dirty)
    }

    /// Puts dirty keys back on the list, after a checkpoint that failed.
    pub fn restore_dirty(&mut self, keys: Vec<(u64, Blob)>) {
        self.dirty.extend(keys);
    }

    /// A checkpoint has made the store agree with what the key was at `seq`: a record with a deadline, or none.
    pub fn settle(&mut self, hash: u64, key: &Blob, seq: u64, stored: Stored) {
        let Some(entry) = self.map.get_mut_hashed(hash, key) else { return };
        entry.stored = stored;
        if entry.seq != seq {
            self.dirty.push((hash, key.clone()));
            return;
        }
        self.ahead -= usize::from(std::mem::take(&mut entry.dirty));
        if entry.value.is_none()
            && let Some((key, entry)) = self.map.remove_hashed(hash, key)
        {
            self.count_out(hash, &key, &entry);
            self.note_leaving(hash);
        }
    }

    /// Lets go of a clean key: from now on it is cold. False if memory is ahead of the store, or the key is not here.
    pub fn evict(&mut self, hash: u64, key: &[u8]) -> bool {
        let clean = self.map.get_hashed(hash, key).is_some_and(|entry| !entry.dirty && entry.stored != Stored::NO);
        if !clean {
            return false;
        }
        if let Some((key, entry)) = self.map.remove_hashed(hash, key) {
            self.count_out(hash, &key, &entry);
            self.note_leaving(hash);
            if entry.value.is_some() {
                self.cold += 1;
                self.cold_expiring.add(entry.stored);
            }
        }
        if self.map.len() == 0 {
            self.order = Order::default();
        }
        true
    }

    /// Whether there is a key in memory that could leave it.
    pub const fn can_shrink(&self) -> bool {
        self.map.len() > self.ahead
    }

    /// Up to `count` steps of the eviction: clean keys whose turn has come leave memory.
    pub fn shrink(&mut self, count: usize) {
        for _ in 0..count {
            let Some((hash, main)) = self.order.next() else { break };
            let keys = self.map.len();
            let mut found = self.map.with_hash_mut(hash).filter(|(_, entry)| entry.heat.is_main() == main);
            let Some((key, entry)) = found.next() else { continue };
            let may_leave = !entry.dirty && entry.stored != Stored::NO;
            if !self.order.stays(hash, &mut entry.heat, may_leave, keys) {
                let key = key.clone();
                drop(found);
                self.evict(hash, &key);
            }
        }
        self.order.fit(self.map.len());
        self.steps += count;
        if self.steps > self.resident() {
            self.steps = 0;
            self.shelf.cool();
        }
    }

    /// Lets clean keys leave memory, however much they are used: at least `count` of those with a hash of at least `from`
    /// are looked at. Returns where to go on, 0 at the end.
    pub fn release(&mut self, from: u64, count: usize) -> u64 {
        let seen = self.map.starting_at(from, count);
        let last = seen.last().filter(|_| seen.len() >= count).map(|&(last, ..)| last);
        let keys: Vec<(u64, Blob)> = seen.into_iter().map(|(hash, key, _)| (hash, key.clone())).collect();
        for (hash, key) in keys {
            self.evict(hash, &key);
        }
        let next = last.map_or(0, |last| last.wrapping_add(1));
        if next == 0 {
            self.shelf.release();
            self.clean_order();
            if self.map.len() == 0 {
                self.order = Order::default();
            }
        }
        next
    }

    /// A key comes into memory.
    fn enter(&mut self, hash: u64) -> Heat {
        self.clean_order();
        self.order.enter(hash, self.turn)
    }

    fn clean_order(&mut self) {
        let map = &self.map;
        self.order.clean(map.len(), |hash, main| map.with_hash(hash).any(|(_, entry)| entry.heat.is_main() == main));
    }
}

/// Heap bytes behind a byte string: short ones live inside their slot.
pub(crate) const fn heap_bytes(bytes: &[u8]) -> usize {
    if bytes.len() <= 23 { 0 } else { bytes.len() + 48 }
}

/// A live entry lent for changes in place. On return the counts and the expiry index are brought up to date, and a value
/// that became void leaves a tombstone.
pub(crate) struct Loan<'a> {
    pub(crate) entry: &'a mut Entry,
    hash: u64,
    seq_before: u64,
    before: usize,
    part_before: Option<u64>,
    bytes: &'a mut usize,
    live: &'a mut u64,
    expiry: &'a mut Deadlines,
    parts: &'a mut BTreeSet<(u64, u64)>,
    size_before: Option<(usize, usize)>,
    sizes: &'a mut Sizes,
}

impl Loan<'_> {
    /// Sets the deadline.
    pub(crate) fn set_deadline(&mut self, expires_at: u64) {
        if self.entry.expires_at != 0 {
            self.expiry.remove(&(self.entry.expires_at, self.hash));
        }
        if expires_at != 0 {
            self.expiry.insert((expires_at, self.hash));
        }
        self.entry.expires_at = expires_at;
    }

    /// Nothing was changed after all: the key still is what its last transaction made it.
    pub(crate) const fn unchanged(&mut self) {
        self.entry.seq = self.seq_before;
    }

    /// Removes the value if it became void. Returns it, with its deadline.
    pub(crate) fn bury(&mut self) -> Option<(Value, u64)> {
        if !self.entry.value.as_ref().is_some_and(Value::is_void) {
            return None;
        }
        let deadline = self.entry.expires_at;
        self.set_deadline(0);
        let value = self.entry.value.take()?;
        *self.live -= 1;
        Some((value, deadline))
    }
}

impl Drop for Loan<'_> {
    fn drop(&mut self) {
        let after = self.entry.value.as_ref().map_or(0, Value::memory_bytes);
        *self.bytes = (*self.bytes + after).saturating_sub(self.before);
        if self.entry.value.as_ref().and_then(Sizes::place) != self.size_before {
            self.sizes.take(self.size_before);
            self.sizes.add(self.entry.value.as_ref());
        }
        let part = self.entry.value.as_ref().and_then(Value::next_due);
        if part != self.part_before {
            if let Some(at) = self.part_before {
                self.parts.remove(&(at, self.hash));
            }
            self.parts.extend(part.map(|at| (at, self.hash)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_store_has_says_what_dies_and_when() {
        let due = |at, part, parts_later| Some(Due { at, part, parts_later });
        for (part, expires_at, expected, expires) in [
            (None, 0, None, false),
            (None, 9, due(9, false, false), true),
            (None, (1 << 63) - 1, due((1 << 63) - 1, false, false), true),
            (Some(5), 0, due(5, true, false), false),
            (Some(5), 9, due(5, true, false), true),
            (Some(9), 5, due(5, false, true), true),
            (Some(5), 5, due(5, false, true), true),
        ] {
            let stored = Stored::with_parts(part, expires_at);
            assert!(stored.exists());
            assert_eq!((stored.due(), stored.expires(), stored.has_parts()), (expected, expires, part.is_some()));
            if let Some(due) = expected.filter(|due| !due.part) {
                assert_eq!(Stored::named(due), stored, "told from the index alone");
            }
            let mut counts = Expiring::default();
            counts.add(stored);
            assert_eq!((counts.keys, counts.with_parts), (u64::from(expires), u64::from(part.is_some())));
            counts.take(stored);
            assert_eq!(counts, Expiring::default());
        }
        assert_eq!((Stored::NO.due(), Stored::NO.expires(), Stored::NO.has_parts()), (None, false, false));
    }
}
