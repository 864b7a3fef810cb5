//! A run of entries packed into one string.
//!
//! A stream keeps its entries in nodes of up to 100 (`stream-node-max-entries`), as Redis does, and breaks where Redis breaks: approximate trimming
//! removes whole nodes, so with the same nodes it removes the same entries. For that a node counts what Redis's listpack
//! would take ([`Node::packed_bytes`]) and how many entries it ever held.
//!
//! An entry is packed as the distance of its id from the node's, the length of what follows, and its body: the number of
//! fields with all of them and their values or, where the fields are those of the node's first entry, a zero and the values
//! alone. Removing an entry closes the gap. All walks go through [`Node::iter`].

use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::rdb::listpack;
use crate::settings::Encodings;

use super::id::Id;

/// Most entries a node ever takes unless told otherwise, removed ones included: Redis's `stream-node-max-entries`.
pub(crate) const NODE_ENTRIES_MAX: u32 = Encodings::DEFAULT.node_entries_max;
/// What a node costs beside its bytes: itself and its place in the tree.
const OVERHEAD_BYTES: usize = size_of::<Node>() + 32;

/// When a node takes no more entries; 0 is never.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) entries_max: u32,
    pub(super) bytes_max: u32,
}

impl Bounds {
    pub(super) const fn of(encodings: &Encodings) -> Self {
        Self { entries_max: encodings.node_entries_max, bytes_max: encodings.node_bytes_max }
    }
}

impl Default for Bounds {
    fn default() -> Self {
        Self::of(&Encodings::DEFAULT)
    }
}

/// See the module's text. Never empty once it is in a stream. Its own id, that of its first entry ever, is its key there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Node {
    /// The fields of its first entry ever, as a count and the strings.
    fields: Box<[u8]>,
    entries: Vec<u8>,
    /// How many entries it holds, and how many it ever took.
    live: u32,
    total: u32,
    /// What Redis's listpack of the same entries takes.
    packed_bytes: usize,
    /// The last id it ever took.
    last: Id,
}

/// One entry where it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) id: Id,
    fields: &'a [u8],
    body: &'a [u8],
}

/// An entry on its own, as changes carry it: the number of fields, then each field and its value.
pub(crate) type Body = Box<[u8]>;

/// Packs fields and values, in turns.
pub(crate) fn pack<'a>(fields: impl ExactSizeIterator<Item = &'a [u8]>) -> Body {
    let mut out = Vec::new();
    put_int(&mut out, fields.len() as u64 / 2);
    fields.for_each(|word| put_bytes(&mut out, word));
    out.into_boxed_slice()
}

/// The words of a body after its count. Our own bytes: they were checked where they came in.
fn words<'a>(reader: &mut Reader<'a>, count: u64) -> Vec<&'a [u8]> {
    (0..count).map_while(|_| reader.bytes().ok()).collect()
}

fn body_words(body: &[u8]) -> Vec<&[u8]> {
    let mut reader = Reader::new(body);
    let count = reader.int().unwrap_or_default();
    words(&mut reader, count.saturating_mul(2))
}

/// Whether a body from outside is one.
pub(super) fn check_body(body: &[u8]) -> Result<(), Corrupt> {
    let mut reader = Reader::new(body);
    let fields = reader.int()?;
    // A zero says that the fields are the node's.
    if fields == 0 {
        return Err(Corrupt("an entry with fields"));
    }
    for _ in 0..fields.checked_mul(2).ok_or(Corrupt("a count of fields"))? {
        reader.bytes()?;
    }
    if reader.is_done() { Ok(()) } else { Err(Corrupt("the end of an entry")) }
}

impl<'a> Entry<'a> {
    /// Its fields and values, in turns.
    pub(crate) fn words(&self) -> Vec<&'a [u8]> {
        let mut body = Reader::new(self.body);
        match body.int() {
            Ok(0) => {
                let mut fields = Reader::new(self.fields);
                let count = fields.int().unwrap_or_default();
                let fields = words(&mut fields, count);
                let values = words(&mut body, count);
                fields.into_iter().zip(values).flat_map(|(field, value)| [field, value]).collect()
            }
            Ok(count) => words(&mut body, count.saturating_mul(2)),
            Err(_) => Vec::new(),
        }
    }

    /// Whether its fields are those of its node.
    fn has_same_fields(&self) -> bool {
        self.body.first() == Some(&0)
    }

    /// The entry on its own.
    pub(crate) fn body(&self) -> Body {
        pack(self.words().into_iter())
    }
}

impl Node {
    /// A node for an entry that is about to be added.
    pub(super) fn starting_with(body: &[u8]) -> Self {
        let words = body_words(body);
        let fields: Vec<&[u8]> = words.iter().step_by(2).copied().collect();
        Self::with_fields(fields.into_iter())
    }

    /// A node without entries.
    pub(crate) fn with_fields<'a>(fields: impl ExactSizeIterator<Item = &'a [u8]>) -> Self {
        let fields: Vec<&[u8]> = fields.collect();
        let mut packed = Vec::new();
        put_int(&mut packed, fields.len() as u64);
        for field in &fields {
            put_bytes(&mut packed, field);
        }
        // The counts of entries, of removed ones and of fields, the fields, and the zero that ends the first entry.
        let count = listpack::integer_bytes(fields.len() as i64);
        let names: usize = fields.iter().map(|field| listpack::string_bytes(field)).sum();
        let packed_bytes = listpack::EMPTY_BYTES + 3 * listpack::integer_bytes(0) + count + names;
        Self { fields: packed.into_boxed_slice(), packed_bytes, ..Self::default() }
    }

    pub(super) const fn live(&self) -> u32 {
        self.live
    }

    pub(crate) const fn last(&self) -> Id {
        self.last
    }

    /// Whether the next entry starts another node.
    pub(super) fn is_full_for(&self, body: &[u8], bounds: Bounds) -> bool {
        let more: usize = body_words(body).iter().map(|word| word.len()).sum();
        let full = bounds.entries_max > 0 && self.total >= bounds.entries_max;
        full || bounds.bytes_max > 0 && self.packed_bytes + more >= bounds.bytes_max as usize
    }

    /// Memory it takes.
    pub(super) fn memory_bytes(&self) -> usize {
        OVERHEAD_BYTES + self.fields.len() + self.entries.capacity()
    }

    /// Entries from the front. `own` is the node's id.
    pub(super) fn iter(&self, own: Id) -> impl Iterator<Item = Entry<'_>> {
        self.spans(own).map(|(_, entry)| entry)
    }

    /// Entries with where they begin.
    fn spans(&self, own: Id) -> impl Iterator<Item = (usize, Entry<'_>)> {
        let mut reader = Reader::new(&self.entries);
        std::iter::from_fn(move || {
            let at = self.entries.len() - reader.left();
            let ms = own.ms.wrapping_add(reader.int().ok()?);
            let seq = reader.int().ok()?;
            let id = Id { ms, seq: if ms == own.ms { own.seq.wrapping_add(seq) } else { seq } };
            Some((at, Entry { id, fields: &self.fields, body: reader.bytes().ok()? }))
        })
    }

    /// The first entry.
    pub(super) fn first(&self, own: Id) -> Option<Entry<'_>> {
        self.iter(own).next()
    }

    /// Whether an entry's fields are those of this node.
    fn has_fields_of(&self, words: &[&[u8]]) -> bool {
        let mut fields = Reader::new(&self.fields);
        let count = fields.int().unwrap_or_default();
        count > 0
            && words.len() as u64 == count * 2
            && words.iter().step_by(2).all(|field| fields.bytes() == Ok(*field))
    }

    fn packed(&self, own: Id, id: Id, body: &[u8], words: &[&[u8]]) -> Vec<u8> {
        let mut out = Vec::with_capacity(body.len() + 24);
        put_int(&mut out, id.ms.wrapping_sub(own.ms));
        put_int(&mut out, if id.ms == own.ms { id.seq.wrapping_sub(own.seq) } else { id.seq });
        if self.has_fields_of(words) {
            let mut short = vec![0];
            words.iter().skip(1).step_by(2).for_each(|value| put_bytes(&mut short, value));
            put_bytes(&mut out, &short);
        } else {
            put_bytes(&mut out, body);
        }
        out
    }

    /// Adds an entry behind all others.
    pub(crate) fn append(&mut self, own: Id, id: Id, body: &[u8]) {
        let words = body_words(body);
        let packed = self.packed(own, id, body, &words);
        self.entries.extend_from_slice(&packed);
        self.packed_bytes += listpack_bytes(own, id, &words, self.has_fields_of(&words));
        self.live += 1;
        self.total += 1;
        self.last = id;
    }

    /// Takes back [`Self::append`], the last change before; the entry.
    pub(super) fn unappend(&mut self, own: Id, last: Id) -> Option<(Id, Body)> {
        let (at, entry) = self.spans(own).last()?;
        let (id, body, words) = (entry.id, entry.body(), entry.words());
        let bytes = listpack_bytes(own, id, &words, self.has_fields_of(&words));
        self.entries.truncate(at);
        self.packed_bytes = self.packed_bytes.saturating_sub(bytes);
        self.live = self.live.saturating_sub(1);
        self.total = self.total.saturating_sub(1);
        self.last = last;
        Some((id, body))
    }

    /// Adds an entry where its id belongs; whether it was missing.
    pub(super) fn insert(&mut self, own: Id, id: Id, body: &[u8]) -> bool {
        let at = self.spans(own).find(|(_, entry)| entry.id >= id);
        if at.is_some_and(|(_, entry)| entry.id == id) {
            return false;
        }
        let at = at.map_or(self.entries.len(), |(at, _)| at);
        let packed = self.packed(own, id, body, &body_words(body));
        self.entries.splice(at..at, packed);
        self.live += 1;
        true
    }

    /// Removes an entry; what it was, if it was there.
    pub(super) fn remove(&mut self, own: Id, id: Id) -> Option<Body> {
        let mut from = self.spans(own).skip_while(|(_, entry)| entry.id < id);
        let (at, entry) = from.next().filter(|(_, entry)| entry.id == id)?;
        let end = from.next().map_or(self.entries.len(), |(at, _)| at);
        let body = entry.body();
        drop(from);
        self.entries.drain(at..end);
        self.live -= 1;
        Some(body)
    }

    /// Gives back room that was made for more entries.
    pub(super) fn close(&mut self) {
        self.entries.shrink_to_fit();
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, &self.fields);
        put_bytes(out, &self.entries);
        put_int(out, self.total.into());
        put_int(out, self.packed_bytes as u64);
        self.last.write(out);
    }

    /// Reads what [`Self::write`] wrote, and checks it. `own` is the node's id.
    pub(super) fn read(own: Id, input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let fields = input.bytes()?;
        let mut names = Reader::new(fields);
        let count = names.int()?;
        for _ in 0..count {
            names.bytes()?;
        }
        let entries = input.bytes()?.to_vec();
        let total = u32::try_from(input.int()?).map_err(|_| Corrupt("a count of entries"))?;
        let packed_bytes = input.int()? as usize;
        let last = Id::read(input)?;
        let mut node = Self { fields: fields.into(), entries, live: 0, total, packed_bytes, last };
        node.live = node.check(own, count)?;
        if node.live == 0 || node.live > total || !names.is_done() {
            return Err(Corrupt("a node of a stream"));
        }
        Ok(node)
    }

    /// Counts its entries; an error if something in it is not as we write it.
    fn check(&self, own: Id, fields: u64) -> Result<u32, Corrupt> {
        let mut reader = Reader::new(&self.entries);
        let mut before = None;
        let mut live = 0;
        while !reader.is_done() {
            let ms = own.ms.checked_add(reader.int()?).ok_or(Corrupt("an id"))?;
            let seq = reader.int()?;
            let seq = if ms == own.ms { own.seq.checked_add(seq).ok_or(Corrupt("an id"))? } else { seq };
            let id = Id { ms, seq };
            let body = reader.bytes()?;
            if body.first() == Some(&0) && fields > 0 {
                let mut values = Reader::new(&body[1..]);
                for _ in 0..fields {
                    values.bytes()?;
                }
                if !values.is_done() {
                    return Err(Corrupt("the end of an entry"));
                }
            } else {
                check_body(body)?;
            }
            if before.is_some_and(|before| before >= id) || id > self.last {
                return Err(Corrupt("entries in order"));
            }
            before = Some(id);
            live += 1;
        }
        Ok(live)
    }

    /// The node as Redis's listpack, without what was removed.
    pub(crate) fn listpack(&self, own: Id) -> Vec<u8> {
        let mut pack = listpack::Writer::default();
        pack.integer(self.live.into());
        pack.integer(0);
        let mut fields = Reader::new(&self.fields);
        let count = fields.int().unwrap_or_default();
        pack.integer(count as i64);
        for field in words(&mut fields, count) {
            pack.string(field);
        }
        pack.integer(0);
        self.iter(own).for_each(|entry| put_listpack_entry(&mut pack, own, &entry));
        pack.finish()
    }

    /// A node as it came in Redis's listpack: `removed` entries were among them, up to `last`.
    pub(crate) fn restored(mut self, removed: u32, last: Id, packed_bytes: usize) -> Self {
        self.total += removed;
        self.last = last;
        self.packed_bytes = packed_bytes;
        self.close();
        self
    }

    /// What it holds, for tests.
    pub(super) fn canonical(&self, own: Id) -> String {
        let entry = |entry: Entry<'_>| {
            let words: Vec<_> = entry.words().iter().map(|word| word.escape_ascii().to_string()).collect();
            format!("{}:{}", entry.id.text().escape_ascii(), words.join(","))
        };
        let entries: Vec<_> = self.iter(own).map(entry).collect();
        format!("[{} of {}, {} bytes, to {:?}]", entries.join(" "), self.total, self.packed_bytes, self.last)
    }
}

/// Redis's flag of an entry that has the fields of its node.
pub(crate) const SAME_FIELDS: i64 = 2;
/// Redis's flag of an entry that was removed.
pub(crate) const REMOVED: i64 = 1;

/// An entry as Redis lays it out: flags, distances, fields and values, and how many elements that were.
fn put_listpack_entry(pack: &mut listpack::Writer, own: Id, entry: &Entry<'_>) {
    let words = entry.words();
    let same = entry.has_same_fields() && !words.is_empty();
    pack.integer(if same { SAME_FIELDS } else { 0 });
    pack.integer(entry.id.ms.wrapping_sub(own.ms) as i64);
    pack.integer(entry.id.seq.wrapping_sub(own.seq) as i64);
    let elements = if same {
        words.iter().skip(1).step_by(2).for_each(|value| pack.string(value));
        words.len() / 2 + 3
    } else {
        pack.integer(words.len() as i64 / 2);
        for word in &words {
            pack.string(word);
        }
        words.len() + 4
    };
    pack.integer(elements as i64);
}

/// How long that is.
fn listpack_bytes(own: Id, id: Id, words: &[&[u8]], same: bool) -> usize {
    let (counted, elements) = if same { (0, words.len() / 2 + 3) } else { (words.len() / 2, words.len() + 4) };
    let count = if same { 0 } else { listpack::integer_bytes(counted as i64) };
    let strings = words.iter().enumerate().filter(|(at, _)| !same || at % 2 == 1);
    listpack::integer_bytes(0)
        + listpack::integer_bytes(id.ms.wrapping_sub(own.ms) as i64)
        + listpack::integer_bytes(id.seq.wrapping_sub(own.seq) as i64)
        + count
        + strings.map(|(_, word)| listpack::string_bytes(word)).sum::<usize>()
        + listpack::integer_bytes(elements as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    const OWN: Id = Id { ms: 10, seq: 5 };

    fn body(words: &[&str]) -> Body {
        pack(words.iter().map(|word| word.as_bytes()))
    }

    fn node(ids: &[(u64, u64)]) -> Node {
        let mut node = Node::starting_with(&body(&["f", "1"]));
        for &(ms, seq) in ids {
            node.append(OWN, Id { ms, seq }, &body(&["f", &seq.to_string()]));
        }
        node
    }

    #[test]
    fn entries_come_and_go_without_a_trace() {
        let whole = node(&[(10, 5), (10, 6), (11, 0), (11, 9)]);
        let mut changed = whole.clone();
        let taken = changed.remove(OWN, Id { ms: 11, seq: 0 }).unwrap();
        assert_eq!(changed.live(), 3);
        assert_eq!(changed.remove(OWN, Id { ms: 11, seq: 1 }), None);
        changed.insert(OWN, Id { ms: 11, seq: 0 }, &taken);
        assert_eq!(changed, whole);
        changed.append(OWN, Id { ms: 12, seq: 0 }, &body(&["other", "x", "f", "y"]));
        assert_eq!(changed.iter(OWN).last().unwrap().words(), [b"other", &b"x"[..], b"f", b"y"]);
        changed.unappend(OWN, whole.last());
        assert_eq!(changed, whole);
    }

    #[test]
    fn a_node_knows_how_long_its_listpack_is() {
        let mut node = node(&[(10, 5), (10, 6), (11, 0), (100_000, 9)]);
        node.append(OWN, Id { ms: 100_001, seq: 1 }, &body(&["f", "text", "g", "12345678901", "h", &"x".repeat(500)]));
        assert_eq!(node.listpack(OWN).len(), node.packed_bytes);
    }

    #[test]
    fn a_node_reads_back_and_forged_bytes_do_not() {
        let whole = node(&[(10, 5), (10, 6), (12, 0)]);
        let mut bytes = Vec::new();
        whole.write(&mut bytes);
        assert_eq!(Node::read(OWN, &mut Reader::new(&bytes)), Ok(whole));
        for cut in 0..bytes.len() {
            assert!(Node::read(OWN, &mut Reader::new(&bytes[..cut])).is_err());
        }
        for at in 0..bytes.len() {
            let mut damaged = bytes.clone();
            damaged[at] ^= 0x15;
            // Whatever it is then, walking it must not panic.
            if let Ok(node) = Node::read(OWN, &mut Reader::new(&damaged)) {
                node.canonical(OWN);
                node.listpack(OWN);
            }
        }
    }
}
