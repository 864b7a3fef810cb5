//! What hashes and sets have in common: a map from short names to payloads that is a list while it is small.
//!
//! Most hashes and sets are a handful of short entries. Those are kept in a vector, in the order of insertion, which takes
//! less memory than any map, reads back in the order it was written (as Redis's listpacks do) and is scanned in one step.
//! Past so many entries, or with an entry that is too long, a collection becomes a [`ScanMap`], and stays one until it is read
//! from disk again. Where that is are Redis's parameters (`hash-max-listpack-entries` and kin): each collection carries the
//! bounds it was given last, because what alters it knows nothing of settings.
//!
//! Everything that alters a collection is a [`Change`], whose inverse is exact: taking back a removal puts the entry where
//! it was. The sum of heap bytes is kept as entries come and go, so [`Collection::memory_bytes`] never walks.
//!
//! A large collection is read in the order of its hashes, and random draws depend on nothing but its content and the
//! generator: a map's inner layout, which remembers what came and went, must never show, or a command that was taken back
//! would change what the next one draws. The one exception: a collection that grew large stays so when that is taken back,
//! so its order, its encoding and its draws may be other ones until it is read from disk.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};
use hashbrown::HashSet;

use crate::args::{Options, integer, integer_text, is};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::glob;
use crate::keyspace::heap_bytes;
use crate::moment::Random;
use crate::scan_map::{Cursor, ScanMap};
use crate::settings::Small;

/// Most entries one command may draw with repetition: a count is a few bytes to send, and the reply is not.
pub(crate) const REPEATED_DRAWS_MAX: usize = 1 << 20;
/// Single draws are used below one in so many entries; beyond, a list of everything is cheaper.
const FEW_DRAWS_RATIO: usize = 256;
/// A random draw from a large collection picks a span of hashes that holds 8 to 16 entries on average, and in it a place
/// below this, which is more than any such span holds: so every entry has the same chance.
const SPAN_PLACES: usize = 48;
/// Draws that found nothing at their place before the collection is walked instead.
const SPAN_TRIES_MAX: usize = 1024;
/// Entries a scan step returns unless told otherwise.
const SCAN_COUNT: usize = 10;
/// What a slot of a [`ScanMap`] costs beside the entry itself: its hash, its share of the directory, the page's slack.
const LARGE_SLOT_BYTES: usize = 32;

/// What a collection keeps beside each name.
pub trait Payload: Clone + std::fmt::Debug {
    /// Length in bytes, which decides the encoding.
    fn len(&self) -> usize;
    /// Heap bytes behind it.
    fn heap_bytes(&self) -> usize;
    /// Writes it as bytes.
    fn write(&self, out: &mut Vec<u8>);
    /// Reads what [`Self::write`] wrote.
    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt>;
}

/// The value of a hash's field.
impl Payload for Blob {
    fn len(&self) -> usize {
        self.as_slice().len()
    }

    fn heap_bytes(&self) -> usize {
        heap_bytes(self)
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.blob()
    }
}

/// A set's members stand for themselves.
impl Payload for () {
    fn len(&self) -> usize {
        0
    }

    fn heap_bytes(&self) -> usize {
        0
    }

    fn write(&self, _: &mut Vec<u8>) {}

    fn read(_: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(())
    }
}

/// One effect on a collection. Tags from 3 on are free for types that need more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change<V> {
    /// Sets the payload of a name; a new one goes to the end.
    Set {
        /// The field or member.
        name: Blob,
        /// Its value.
        payload: V,
    },
    /// Removes a name.
    Remove {
        /// The field or member.
        name: Blob,
    },
    /// Puts an entry back where it was removed.
    Restore {
        /// Its place in a small collection.
        at: usize,
        /// The field or member.
        name: Blob,
        /// Its value.
        payload: V,
    },
}

impl<V: Payload> Change<V> {
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        match self {
            Self::Set { name, payload } => {
                out.push(0);
                put_bytes(out, name);
                payload.write(out);
            }
            Self::Remove { name } => {
                out.push(1);
                put_bytes(out, name);
            }
            Self::Restore { at, name, payload } => {
                out.push(2);
                put_int(out, *at as u64);
                put_bytes(out, name);
                payload.write(out);
            }
        }
    }

    pub(crate) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(match input.byte()? {
            0 => Self::Set { name: input.blob()?, payload: V::read(input)? },
            1 => Self::Remove { name: input.blob()? },
            2 => Self::Restore { at: input.int()? as usize, name: input.blob()?, payload: V::read(input)? },
            _ => return Err(Corrupt("a change to a collection that this release knows")),
        })
    }
}

/// See the module's text.
#[derive(Clone, Debug)]
pub(crate) struct Collection<V> {
    entries: Entries<V>,
    /// Heap bytes behind names and payloads.
    heap: usize,
    /// When it becomes large.
    small: Small,
}

#[derive(Clone, Debug)]
enum Entries<V> {
    Small(Vec<(Blob, V)>),
    Large(ScanMap<V>),
}

impl<V: Payload> Collection<V> {
    /// An empty one with such bounds.
    pub(crate) const fn new(small: Small) -> Self {
        Self { entries: Entries::Small(Vec::new()), heap: 0, small }
    }

    /// A collection about to get `count` entries: one that will be large starts so.
    pub(crate) fn with_expected(count: usize, small: Small) -> Self {
        let mut collection = Self::new(small);
        if count > small.len_max as usize {
            collection.entries = Entries::Large(ScanMap::default());
        }
        collection
    }

    /// Takes other bounds. A small collection that they have no room for becomes large.
    pub(crate) fn adapt(&mut self, small: Small) {
        if self.small == small {
            return;
        }
        self.small = small;
        if let Entries::Small(list) = &self.entries {
            let long = |bytes: usize| bytes > small.bytes_max as usize;
            let any_long = || list.iter().any(|(name, payload)| long(name.len()) || long(payload.len()));
            if list.len() > small.len_max as usize || any_long() {
                self.grow_large();
            }
        }
    }

    pub(crate) fn len(&self) -> usize {
        match &self.entries {
            Entries::Small(list) => list.len(),
            Entries::Large(map) => map.len(),
        }
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether it is a list, in the order of insertion.
    pub(crate) const fn is_small(&self) -> bool {
        matches!(self.entries, Entries::Small(_))
    }

    pub(crate) fn memory_bytes(&self) -> usize {
        let (slots, slot_bytes) = match &self.entries {
            Entries::Small(list) => (list.capacity(), size_of::<(Blob, V)>()),
            Entries::Large(map) => (map.len(), size_of::<(Blob, V)>() + LARGE_SLOT_BYTES),
        };
        size_of::<Self>() + slots * slot_bytes + self.heap
    }

    pub(crate) fn get(&self, name: &[u8]) -> Option<&V> {
        match &self.entries {
            Entries::Small(list) => position(list, name).map(|at| &list[at].1),
            Entries::Large(map) => map.get(name),
        }
    }

    /// Every entry: in the order of insertion while small, in the order of hashes when large.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&Blob, &V)> {
        let (list, map) = match &self.entries {
            Entries::Small(list) => (list.as_slice(), None),
            Entries::Large(map) => (&[][..], Some(map)),
        };
        list.iter()
            .map(|(name, payload)| (name, payload))
            .chain(map.into_iter().flat_map(|map| hash_order(map, 0)).map(|(_, name, payload)| (name, payload)))
    }

    /// Applies a change and returns its inverse.
    pub(crate) fn apply(&mut self, change: Change<V>) -> Change<V> {
        match change {
            Change::Set { name, payload } => self.set(usize::MAX, name, payload),
            Change::Restore { at, name, payload } => self.set(at, name, payload),
            Change::Remove { name } => match self.remove(&name) {
                Some((at, payload)) => Change::Restore { at, name, payload },
                None => Change::Remove { name },
            },
        }
    }

    /// Sets a payload; a new entry of a small collection goes to `at`, or to the end if that is nearer.
    fn set(&mut self, at: usize, name: Blob, payload: V) -> Change<V> {
        self.make_room(&name, &payload);
        self.heap += payload.heap_bytes();
        let old = match &mut self.entries {
            Entries::Small(list) => {
                if let Some(at) = position(list, &name) {
                    Some(std::mem::replace(&mut list[at].1, payload))
                } else {
                    list.insert(at.min(list.len()), (name.clone(), payload));
                    None
                }
            }
            Entries::Large(map) => map.insert(name.clone(), payload),
        };
        if let Some(old) = old {
            self.heap -= old.heap_bytes();
            return Change::Set { name, payload: old };
        }
        self.heap += heap_bytes(&name);
        Change::Remove { name }
    }

    /// Becomes large if one more such entry does not fit the small encoding.
    fn make_room(&mut self, name: &[u8], payload: &V) {
        let Entries::Small(list) = &self.entries else { return };
        let (len_max, bytes_max) = (self.small.len_max as usize, self.small.bytes_max as usize);
        let long = name.len() > bytes_max || payload.len() > bytes_max;
        let full = list.len() > len_max || list.len() == len_max && position(list, name).is_none();
        if long || full {
            self.grow_large();
        }
    }

    pub(crate) fn grow_large(&mut self) {
        let Entries::Small(list) = &mut self.entries else { return };
        let mut map = ScanMap::default();
        for (name, payload) in std::mem::take(list) {
            map.insert(name, payload);
        }
        self.entries = Entries::Large(map);
    }

    fn remove(&mut self, name: &[u8]) -> Option<(usize, V)> {
        let (at, (name, payload)) = match &mut self.entries {
            Entries::Small(list) => {
                let at = position(list, name)?;
                (at, list.remove(at))
            }
            Entries::Large(map) => (0, map.remove(name)?),
        };
        self.heap -= heap_bytes(&name) + payload.heap_bytes();
        Some((at, payload))
    }

    /// Writes a count and the entries.
    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        put_int(out, self.len() as u64);
        for (name, payload) in self.iter() {
            put_bytes(out, name);
            payload.write(out);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub(crate) fn read(input: &mut Reader<'_>, small: Small) -> Result<Self, Corrupt> {
        let count = input.count()?;
        let mut collection = Self::with_expected(count, small);
        for _ in 0..count {
            let (name, payload) = (input.blob()?, V::read(input)?);
            collection.set(usize::MAX, name, payload);
        }
        Ok(collection)
    }

    /// One step of a scan. A small collection is returned whole, wherever the cursor stands: it may have been large, or
    /// lain on disk, since the last step.
    pub(crate) fn scan(&self, cursor: u64, count: usize) -> (Cursor, Vec<(&Blob, &V)>) {
        match &self.entries {
            Entries::Small(_) => (Cursor(0), self.iter().collect()),
            // We never gave out such a cursor; whatever it meant, nothing lies beyond.
            Entries::Large(_) if !Cursor(cursor).is_valid() => (Cursor(0), Vec::new()),
            Entries::Large(map) => map.scan(Cursor(cursor), count.min(map.len())),
        }
    }

    /// One entry, each with the same chance.
    pub(crate) fn random(&self, random: &mut Random) -> Option<(&Blob, &V)> {
        match &self.entries {
            Entries::Small(list) => {
                list.get(random.below(list.len() as u64) as usize).map(|(name, payload)| (name, payload))
            }
            Entries::Large(map) => random_of(map, random),
        }
    }

    /// Several entries: distinct ones, each selection with the same chance, or independent draws.
    pub(crate) fn draw(&self, draw: Draw, random: &mut Random) -> Vec<(&Blob, &V)> {
        match draw {
            Draw::Distinct(count) if count >= self.len() => self.iter().collect(),
            Draw::Distinct(count) if self.is_few(count) => self.draw_few(count, random),
            Draw::Distinct(count) => {
                let mut all: Vec<_> = self.iter().collect();
                for at in 0..count {
                    let ahead = random.below((all.len() - at) as u64) as usize;
                    all.swap(at, at + ahead);
                }
                all.truncate(count);
                all
            }
            Draw::Repeated(count) if self.is_few(count) => (0..count).filter_map(|_| self.random(random)).collect(),
            Draw::Repeated(count) => {
                let all: Vec<_> = self.iter().collect();
                let draws = (0..count).map(|_| random.below(all.len() as u64) as usize);
                draws.filter_map(|at| all.get(at).copied()).collect()
            }
        }
    }

    /// Whether single draws are cheaper than a list of everything.
    fn is_few(&self, count: usize) -> bool {
        count < self.len() / FEW_DRAWS_RATIO
    }

    fn draw_few(&self, count: usize, random: &mut Random) -> Vec<(&Blob, &V)> {
        let mut seen = HashSet::with_capacity(count);
        let mut drawn = Vec::with_capacity(count);
        while drawn.len() < count {
            let Some(entry) = self.random(random) else { break };
            if seen.insert(entry.0.as_slice()) {
                drawn.push(entry);
            }
        }
        drawn
    }
}

fn position<V>(list: &[(Blob, V)], name: &[u8]) -> Option<usize> {
    list.iter().position(|(other, _)| other.as_slice() == name)
}

/// The entries with a hash of at least `from`, by hash, page by page.
fn hash_order<V>(map: &ScanMap<V>, from: u64) -> impl Iterator<Item = (u64, &Blob, &V)> {
    let mut from = Some(from);
    std::iter::from_fn(move || {
        let page = map.starting_at(from?, 1);
        from = page.last().and_then(|(hash, ..)| hash.checked_add(1));
        (!page.is_empty()).then_some(page)
    })
    .flatten()
}

/// One entry of a large collection, each with the same chance; see [`SPAN_PLACES`].
fn random_of<'a, V>(map: &'a ScanMap<V>, random: &mut Random) -> Option<(&'a Blob, &'a V)> {
    let bits = map.len().checked_ilog2()?.saturating_sub(3);
    for _ in 0..if bits == 0 { 0 } else { SPAN_TRIES_MAX } {
        let span = u64::MAX >> bits;
        let start = random.next_u64() & !span;
        let within = hash_order(map, start).take_while(|(hash, ..)| *hash <= start | span);
        let entries: Vec<_> = within.map(|(_, name, payload)| (name, payload)).collect();
        let place = random.below(SPAN_PLACES.max(entries.len()) as u64) as usize;
        if let Some(&entry) = entries.get(place) {
            return Some(entry);
        }
    }
    // Very few entries, or hashes that somebody chose.
    hash_order(map, 0).nth(random.below(map.len() as u64) as usize).map(|(_, name, payload)| (name, payload))
}

/// How many random entries a command asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Draw {
    /// So many distinct ones, or all there are.
    Distinct(usize),
    /// So many, any of them as often as it comes.
    Repeated(usize),
}

impl Draw {
    /// The count of `SRANDMEMBER` and `HRANDFIELD`: negative allows repetition.
    pub(crate) fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let count = integer(arg)?;
        if count >= 0 {
            return Ok(Self::Distinct(count as usize));
        }
        if count == i64::MIN {
            const TEXT: &str =
                "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807";
            return Err(CommandError::text(TEXT));
        }
        let count = count.unsigned_abs() as usize;
        if count > REPEATED_DRAWS_MAX { Err(CommandError::OutOfRange) } else { Ok(Self::Repeated(count)) }
    }
}

/// Only fields of a hash have values that a scan could leave out.
pub(crate) const ONLY_FIELDS: CommandError = CommandError::text("ERR NOVALUES option can only be used in HSCAN");

/// The options of a scan within a key.
#[derive(Clone, Copy, Debug)]
pub(crate) struct ScanOptions<'a> {
    pub(crate) count: usize,
    pub(crate) no_values: bool,
    pattern: Option<&'a [u8]>,
}

impl<'a> ScanOptions<'a> {
    /// Reads `MATCH`, `COUNT` and, where there are values to leave out, `NOVALUES`.
    pub(crate) fn parse(args: Args<'a>, has_values: bool) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut scan = Self { count: SCAN_COUNT, no_values: false, pattern: None };
        while let Some(word) = options.next() {
            if is(word, "MATCH") {
                scan.pattern = Some(options.value()?).filter(|&pattern| pattern != b"*");
            } else if is(word, "COUNT") {
                let count = options.integer()?;
                scan.count = usize::try_from(count).ok().filter(|&count| count > 0).ok_or(CommandError::Syntax)?;
            } else if is(word, "NOVALUES") {
                scan.no_values = has_values;
                if !has_values {
                    return Err(ONLY_FIELDS);
                }
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(scan)
    }

    pub(crate) fn wants(&self, name: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, name))
    }
}

/// A cursor as a client sends it.
pub(crate) fn parse_cursor(arg: &[u8]) -> Result<u64, CommandError> {
    let digits = std::str::from_utf8(arg).ok().and_then(|text| text.parse().ok());
    digits.ok_or(CommandError::text("ERR invalid cursor"))
}

/// The reply of a scan step.
pub(crate) fn scan_reply(next: Cursor, items: Vec<Reply>) -> Reply {
    Reply::Array(vec![Reply::Bulk(integer_text(next.0 as i64)), Reply::Array(items)])
}

/// `FIELDS` with a count that is none.
pub(crate) const NOT_A_COUNT: CommandError = CommandError::text("ERR Number of fields must be a positive integer");

/// The field names after `FIELDS count`, where they must be all that is left.
pub(crate) fn counted_fields(args: Args<'_>) -> Result<Args<'_>, CommandError> {
    let (word, rest) = args.split_first().ok_or(CommandError::Syntax)?;
    if !is(word, "FIELDS") {
        return Err(CommandError::text("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let (count, fields) = rest.split_first().ok_or(CommandError::Syntax)?;
    let count = parse_integer(count).filter(|&count| count > 0);
    let count = count.ok_or(NOT_A_COUNT)?;
    if count as u64 != fields.len() as u64 {
        return Err(CommandError::text("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(fields)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    const SMALL: Small = Small { len_max: 128, bytes_max: 64 };

    fn name(n: u64) -> Blob {
        Blob::from(format!("field:{n}").into_bytes())
    }

    fn filled(count: u64) -> Collection<Blob> {
        let mut collection = Collection::new(SMALL);
        for n in 0..count {
            collection.apply(Change::Set { name: name(n), payload: name(n * 2) });
        }
        collection
    }

    fn content(collection: &Collection<Blob>) -> Vec<(Blob, Blob)> {
        collection.iter().map(|(name, value)| (name.clone(), value.clone())).collect()
    }

    fn reloaded(collection: &Collection<Blob>) -> Collection<Blob> {
        let mut bytes = Vec::new();
        collection.write(&mut bytes);
        let mut input = Reader::new(&bytes);
        let read = Collection::read(&mut input, SMALL).unwrap();
        assert!(input.is_done());
        read
    }

    /// What [`Collection::memory_bytes`] keeps as a running sum, counted afresh.
    fn heap_counted(collection: &Collection<Blob>) -> usize {
        collection.iter().map(|(name, value)| heap_bytes(name) + heap_bytes(value)).sum()
    }

    #[test]
    fn encoding_changes_at_its_limits_and_one_past_them() {
        let mut collection = filled((SMALL.len_max as usize) as u64);
        assert!(collection.is_small() && reloaded(&collection).is_small());
        collection.apply(Change::Set { name: name(0), payload: Blob::new() });
        assert!(collection.is_small(), "an overwrite needs no room");
        collection.apply(Change::Set { name: name(999), payload: Blob::new() });
        assert!(!collection.is_small() && !reloaded(&collection).is_small());
        assert_eq!(collection.len(), (SMALL.len_max as usize) + 1);
        for (length, small) in [((SMALL.bytes_max as usize), true), ((SMALL.bytes_max as usize) + 1, false)] {
            let long = Blob::from(vec![b'x'; length]);
            let mut by_value = filled(3);
            by_value.apply(Change::Set { name: name(1), payload: long.clone() });
            assert_eq!(by_value.is_small(), small);
            let mut by_name = filled(3);
            by_name.apply(Change::Set { name: long, payload: Blob::new() });
            assert_eq!(by_name.is_small(), small);
        }
    }

    #[test]
    fn a_removal_taken_back_restores_the_order() {
        let mut collection = filled(9);
        let before = content(&collection);
        let inverse = collection.apply(Change::Remove { name: name(4) });
        assert_eq!(collection.len(), 8);
        collection.apply(inverse);
        assert_eq!(content(&collection), before);
    }

    /// Random changes, with the encoding's limit crossed in both directions: each is undone and redone, and the value is
    /// read back from its bytes now and then, as an eviction or a restart would.
    #[test]
    fn random_changes_agree_with_a_model() {
        for seed in 0..4 {
            let mut random = Random::new(seed);
            let mut collection = Collection::<Blob>::new(SMALL);
            let mut model = BTreeMap::<Blob, Blob>::new();
            for round in 0..6_000_u64 {
                let growing = round / 1_500 % 2 == 0;
                let key = name(random.below(400));
                let change = if random.below(100) < if growing { 75 } else { 30 } {
                    let length = if random.below(2_000) == 0 { 70 } else { random.below(40) };
                    let payload = Blob::from(vec![b'v'; length as usize]);
                    model.insert(key.clone(), payload.clone());
                    Change::Set { name: key, payload }
                } else {
                    model.remove(&key);
                    Change::Remove { name: key }
                };
                let mut bytes = Vec::new();
                change.write(&mut bytes);
                assert_eq!(Change::read(&mut Reader::new(&bytes)).unwrap(), change);
                if round % 16 == 0 {
                    let before: BTreeSet<_> = content(&collection).into_iter().collect();
                    let inverse = collection.apply(change.clone());
                    collection.apply(inverse);
                    assert_eq!(content(&collection).into_iter().collect::<BTreeSet<_>>(), before);
                }
                collection.apply(change);
                assert_eq!(collection.len(), model.len());
                assert_eq!(collection.heap, heap_counted(&collection));
                if random.below(100) == 0 {
                    collection = reloaded(&collection);
                }
            }
            assert!(model.iter().all(|(name, value)| collection.get(name) == Some(value)));
            for key in model.into_keys() {
                collection.apply(Change::Remove { name: key });
            }
            assert!(collection.is_empty() && collection.heap == 0);
        }
    }

    #[test]
    fn draws_are_uniform_in_both_encodings() {
        for count in [100, 400, 2_000] {
            let collection = filled(count);
            let mut random = Random::new(3);
            for draw in [Draw::Distinct(6), Draw::Distinct(60), Draw::Repeated(6), Draw::Repeated(60)] {
                let mut hits = BTreeMap::<Blob, u64>::new();
                let (Draw::Distinct(size) | Draw::Repeated(size)) = draw;
                let rounds = 100 * count / size as u64;
                let mut total = 0;
                for _ in 0..rounds {
                    let drawn = collection.draw(draw, &mut random);
                    total += drawn.len() as u64;
                    if matches!(draw, Draw::Distinct(_)) {
                        assert_eq!(drawn.iter().map(|(name, _)| name).collect::<BTreeSet<_>>().len(), drawn.len());
                    }
                    for (name, _) in drawn {
                        *hits.entry(name.clone()).or_default() += 1;
                    }
                }
                let expected = total / count;
                assert_eq!(hits.len() as u64, count);
                // Six standard deviations of a draw with repetition.
                let slack = 6 * (expected as f64).sqrt() as u64;
                assert!(hits.values().all(|hits| hits.abs_diff(expected) < slack), "{draw:?} {expected} {hits:?}");
            }
        }
    }

    #[test]
    fn a_scan_returns_what_stays_while_the_encoding_changes() {
        let mut collection = filled(300);
        let (mut cursor, mut seen) = (0, BTreeSet::new());
        for step in 0.. {
            let (next, page) = collection.scan(cursor, 10);
            seen.extend(page.into_iter().map(|(name, _)| name.clone()));
            cursor = next.0;
            if cursor == 0 {
                break;
            }
            for n in step * 20..(step + 1) * 20 {
                collection.apply(Change::Remove { name: name(100 + n % 200) });
            }
            if collection.len() <= (SMALL.len_max as usize) {
                collection = reloaded(&collection);
            }
        }
        assert!((0..100).all(|n| seen.contains(&name(n))));
        assert_eq!(filled(300).scan(u64::MAX, usize::MAX).1.len(), 0);
        assert_eq!(filled(300).scan(0, usize::MAX).1.len(), 300);
        assert_eq!(filled(30).scan(u64::MAX, 1).1.len(), 30);
    }

    #[test]
    fn a_draw_depends_on_content_alone() {
        let (mut lived, young) = (filled(900), filled(300));
        (300..900).for_each(|n| drop(lived.apply(Change::Remove { name: name(n) })));
        assert_eq!(content(&lived), content(&young));
        for seed in 0..50 {
            for draw in [Draw::Distinct(1), Draw::Repeated(1), Draw::Distinct(100), Draw::Repeated(100)] {
                let drawn = |from: &Collection<Blob>| {
                    let drawn = from.draw(draw, &mut Random::new(seed));
                    drawn.into_iter().map(|(name, _)| name.clone()).collect::<Vec<_>>()
                };
                assert_eq!(drawn(&lived), drawn(&young));
            }
        }
    }

    #[test]
    fn forged_bytes_are_refused() {
        let mut bytes = Vec::new();
        filled(5).write(&mut bytes);
        for length in 0..bytes.len() {
            assert!(Collection::<Blob>::read(&mut Reader::new(&bytes[..length]), SMALL).is_err());
        }
        assert!(Change::<()>::read(&mut Reader::new(&[9, 1, 2])).is_err());
        assert!(Collection::<()>::read(&mut Reader::new(&[0xff, 0xff, 0xff, 0x7f]), SMALL).is_err());
    }
}
