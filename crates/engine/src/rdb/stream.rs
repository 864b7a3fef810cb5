//! Streams in payloads: what Redis 5 wrote, and what 7.0, 7.2, 8.6 and 8.8 added.
//!
//! - nodes: a count, and for each its id (16 bytes, most significant first, as a string) and a listpack;
//! - the number of entries, and the last id as two lengths;
//! - from the second version on: the first id, the highest removed id, and how many entries there ever were;
//! - groups: a count, and for each its name, its last id, (second version) how many entries it has read, then what is
//!   pending (id of 16 bytes, time of 8, deliveries), then its consumers (name, time last seen, (third version) time last
//!   active, the ids pending with it), then (fifth version) the ids of what was given back, in that order;
//! - from the fourth version on, what is remembered of producers: seconds, names, and for each producer its name and the names
//!   it gave (with the id of the entry, as two lengths); then how many entries were added with a name, and how many were not.
//!
//! Times are 8 bytes, little endian. In a node's listpack come first how many entries it holds and how many were removed,
//! its fields, and a zero; then the entries. An entry: flags, its distance from the node's id in both parts, the number of
//! fields with fields and values, or the values alone; then how many elements that were.
//!
//! We write the second version, without removed entries: every Redis from 7.0 on takes it. Only a stream that needs the fifth is
//! written in that.

use std::collections::BTreeSet;

use dormouse_proto::Blob;

use super::packed::{Listpack, Part, Walk};
use super::read::{Budget, Cursor};
use super::write::{put_length, put_string};
use super::{RestoreError, encoding};
use crate::args::integer_text;
use crate::settings::Settings;
use crate::types::stream::{
    Change, ConsumerGroup, DURATION_S_MAX, Delivery, Id, NAMES_MAX, Name, Node, Position, Producers, REMOVED,
    SAME_FIELDS, Stream, Times, Totals, pack,
};
use crate::value::{Kind, Tagged, Value};

type Result<T> = std::result::Result<T, RestoreError>;

/// A number of entries read that is not known, as a length.
const UNKNOWN: u64 = u64::MAX;
/// What a pending entry or a consumer takes of memory at least.
const PENDING_BYTES: usize = 176;

/// Which fields there are; later ones have more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Version {
    First,
    Second,
    Third,
    Fourth,
    Fifth,
}

fn ensure(right: bool) -> Result<()> {
    if right { Ok(()) } else { Err(RestoreError::Format) }
}

// --- writing -------------------------------------------------------------------------------------------------------------

/// Appends the encoding and the stream.
pub(super) fn write(stream: &Stream, out: &mut Vec<u8>) {
    let given_back = stream.groups().any(|(_, group)| group.given_back().next().is_some());
    let whole = given_back || stream.producers().is_some();
    out.push(if whole { encoding::STREAM_5 } else { encoding::STREAM_2 });
    put_length(out, stream.nodes().len());
    for (own, node) in stream.nodes() {
        let packed = node.listpack(*own);
        put_length(out, 16);
        out.extend(raw(*own));
        put_length(out, packed.len());
        out.extend(packed);
    }
    put_length(out, stream.len() as usize);
    let position = stream.position();
    put_id(out, position.last_id);
    put_id(out, stream.first_id());
    put_id(out, position.max_deleted);
    put_length(out, position.added as usize);
    put_length(out, stream.groups().len());
    for (name, group) in stream.groups() {
        put_string(out, name);
        write_group(group, whole, out);
    }
    if whole {
        write_producers(stream, out);
    }
}

fn write_producers(stream: &Stream, out: &mut Vec<u8>) {
    let nothing = Producers::default();
    let producers = stream.producers().unwrap_or(&nothing);
    let rules = producers.totals.ruled(Settings::default().idmp);
    put_length(out, rules.duration_s as usize);
    put_length(out, rules.names_max as usize);
    put_length(out, producers.len());
    for (pid, names) in producers.names() {
        put_string(out, pid);
        put_length(out, names.len());
        for (iid, id) in names {
            put_string(out, iid);
            put_id(out, id);
        }
    }
    put_length(out, rules.added as usize);
    put_length(out, rules.duplicates as usize);
}

fn write_group(group: &ConsumerGroup, whole: bool, out: &mut Vec<u8>) {
    put_id(out, group.last_id);
    put_length(out, group.read.unwrap_or(UNKNOWN) as usize);
    put_length(out, group.pending_count());
    for (id, delivery) in group.pending(Id::MIN) {
        out.extend(raw(id));
        // What was given back was delivered at no time.
        out.extend(delivery.consumer.as_ref().map_or(0, |_| delivery.at_ms).to_le_bytes());
        put_length(out, delivery.count as usize);
    }
    put_length(out, group.consumers().len());
    for (name, consumer) in group.consumers() {
        put_string(out, name);
        out.extend(consumer.times().seen_ms.to_le_bytes());
        if whole {
            out.extend(consumer.times().active_ms.map_or(-1, |at_ms| at_ms as i64).to_le_bytes());
        }
        put_length(out, consumer.pending_count());
        consumer.pending(Id::MIN).for_each(|id| out.extend(raw(id)));
    }
    if whole {
        put_length(out, group.given_back().count());
        group.given_back().for_each(|id| out.extend(raw(id)));
    }
}

fn put_id(out: &mut Vec<u8>, id: Id) {
    put_length(out, id.ms as usize);
    put_length(out, id.seq as usize);
}

const fn raw(id: Id) -> [u8; 16] {
    ((id.ms as u128) << 64 | id.seq as u128).to_be_bytes()
}

// --- reading -------------------------------------------------------------------------------------------------------------

/// The stream that follows its encoding.
pub(super) fn read(cursor: &mut Cursor<'_>, budget: &mut Budget, version: Version) -> Result<Value> {
    let mut nodes: Vec<(Id, Node)> = Vec::new();
    let mut last = None;
    for _ in 0..cursor.length()? {
        let own = id_of(&cursor.string()?)?;
        let packed = cursor.string()?;
        budget.spend(packed.len() + size_of::<Node>())?;
        let (node, first) = read_node(own, &packed)?;
        // Entries rise from node to node, or they could not be found.
        ensure(last.is_none_or(|last| last < first && last < own))?;
        last = Some(node.last());
        nodes.push((own, node));
    }
    let length = cursor.length()?;
    let last_id = read_id(cursor)?;
    ensure(last.is_none_or(|last| last <= last_id))?;
    let mut position = Position { last_id, max_deleted: Id::MIN, added: length };
    if version >= Version::Second {
        let first = read_id(cursor)?;
        position.max_deleted = read_id(cursor)?;
        position.added = cursor.length()?;
        ensure(nodes.is_empty() || first <= last_id)?;
    }
    let mut stream = Stream::from_nodes(nodes, position);
    ensure(stream.len() == length && position.added >= length)?;
    for _ in 0..cursor.length()? {
        let name = budget.blob(Part::Bytes(cursor.string()?))?;
        let group = read_group(cursor, budget, version, &stream)?;
        ensure(stream.group(&name).is_none())?;
        stream.apply(Change::group(&name, Some(group)));
    }
    if version >= Version::Fourth {
        read_producers(cursor, budget, &mut stream)?;
    }
    Ok(stream.into_value())
}

fn read_producers(cursor: &mut Cursor<'_>, budget: &mut Budget, stream: &mut Stream) -> Result<()> {
    let mut rule = |most: u32| {
        let rule = u32::try_from(cursor.length()?).ok().filter(|rule| *rule <= most);
        rule.ok_or(RestoreError::Format)
    };
    let (duration_s, names_max) = (rule(DURATION_S_MAX)?, rule(NAMES_MAX)?);
    let (mut names, mut entries) = (Vec::new(), BTreeSet::new());
    for _ in 0..cursor.length()? {
        let pid = budget.blob(Part::Bytes(cursor.string()?))?;
        for _ in 0..cursor.length()? {
            budget.spend(PENDING_BYTES)?;
            let iid = budget.blob(Part::Bytes(cursor.string()?))?;
            let id = read_id(cursor)?;
            // An entry has one name.
            ensure(entries.insert(id))?;
            names.push(Name { pid: pid.clone(), iid, id: Some(id) });
        }
    }
    let (added, duplicates) = (cursor.length()?, cursor.length()?);
    let default = Settings::default().idmp;
    let is_own = (duration_s, names_max) != (default.duration_s, default.names_max);
    let (duration_s, names_max) = if is_own { (duration_s, names_max) } else { (0, 0) };
    stream.apply(Change::Names(names));
    stream.apply(Change::Totals(Totals { duration_s, names_max, added, duplicates }));
    Ok(())
}

fn read_id(cursor: &mut Cursor<'_>) -> Result<Id> {
    Ok(Id { ms: cursor.length()?, seq: cursor.length()? })
}

fn id_of(raw: &[u8]) -> Result<Id> {
    let raw: [u8; 16] = raw.try_into().map_err(|_| RestoreError::Format)?;
    let id = u128::from_be_bytes(raw);
    Ok(Id { ms: (id >> 64) as u64, seq: id as u64 })
}

/// A node, and the first id that is in it, of a removed entry perhaps.
fn read_node(own: Id, packed: &[u8]) -> Result<(Node, Id)> {
    let mut walk = Elements(Listpack::new(packed)?);
    let (live, removed) = (walk.integer()?, walk.integer()?);
    let fields: Vec<Blob> = (0..walk.integer()?).map(|_| walk.blob()).collect::<Result<_>>()?;
    ensure(walk.integer()? == 0)?;
    let mut node: Option<Node> = None;
    let (mut first, mut last) = (None, None);
    let mut counts = [0, 0];
    while let Some(part) = walk.0.next()? {
        let Part::Integer(flags) = part else { return Err(RestoreError::Format) };
        ensure((0..=REMOVED | SAME_FIELDS).contains(&flags))?;
        let ms = own.ms.wrapping_add(walk.integer()? as u64);
        let id = Id { ms, seq: own.seq.wrapping_add(walk.integer()? as u64) };
        let words = if flags & SAME_FIELDS != 0 { walk.values(&fields)? } else { walk.pairs()? };
        let elements = if flags & SAME_FIELDS != 0 { fields.len() + 3 } else { words.len() + 4 };
        ensure(walk.integer()? == elements as i64 && !words.is_empty())?;
        ensure(id >= own && last.is_none_or(|last| last < id))?;
        (first, last) = (first.or(Some(id)), Some(id));
        counts[usize::from(flags & REMOVED != 0)] += 1;
        if flags & REMOVED == 0 {
            let body = pack(words.iter().map(Blob::as_slice));
            node.get_or_insert_with(|| Node::with_fields(fields.iter().map(Blob::as_slice))).append(own, id, &body);
        }
    }
    ensure(counts == [live, removed])?;
    let node = node.ok_or(RestoreError::Format)?;
    let (first, last) = first.zip(last).ok_or(RestoreError::Format)?;
    Ok((node.restored(removed as u32, last, packed.len()), first))
}

/// The elements of a listpack, one after the other.
struct Elements<'a>(Listpack<'a>);

impl Elements<'_> {
    fn integer(&mut self) -> Result<i64> {
        match self.0.next()? {
            Some(Part::Integer(value)) => Ok(value),
            _ => Err(RestoreError::Format),
        }
    }

    fn blob(&mut self) -> Result<Blob> {
        match self.0.next()? {
            Some(Part::Integer(value)) => Ok(integer_text(value)),
            Some(Part::Bytes(bytes)) => Ok(Blob::from(&*bytes)),
            _ => Err(RestoreError::Format),
        }
    }

    /// The values of known fields, each after its field.
    fn values(&mut self, fields: &[Blob]) -> Result<Vec<Blob>> {
        let mut words = Vec::new();
        for field in fields {
            words.extend([field.clone(), self.blob()?]);
        }
        Ok(words)
    }

    /// A count, and so many fields with their values.
    fn pairs(&mut self) -> Result<Vec<Blob>> {
        let count = self.integer()?.checked_mul(2).ok_or(RestoreError::Format)?;
        (0..count).map(|_| self.blob()).collect()
    }
}

fn read_group(
    cursor: &mut Cursor<'_>,
    budget: &mut Budget,
    version: Version,
    stream: &Stream,
) -> Result<ConsumerGroup> {
    let last_id = read_id(cursor)?;
    let read = match version {
        Version::First => stream.taken_up_to(last_id),
        _ => Some(cursor.length()?).filter(|read| *read != UNKNOWN),
    };
    let mut group = ConsumerGroup::new(last_id, read);
    let mut deliveries = std::collections::BTreeMap::new();
    for _ in 0..cursor.length()? {
        budget.spend(PENDING_BYTES)?;
        let id = id_of(cursor.take(16)?)?;
        let (at_ms, count) = (u64::from_le_bytes(cursor.array()?), cursor.length()?);
        ensure(deliveries.insert(id, (at_ms, count)).is_none())?;
    }
    for _ in 0..cursor.length()? {
        budget.spend(PENDING_BYTES)?;
        let name = budget.blob(Part::Bytes(cursor.string()?))?;
        let seen_ms = u64::from_le_bytes(cursor.array()?);
        let active_ms = match version {
            Version::First | Version::Second => Some(seen_ms),
            _ => u64::try_from(i64::from_le_bytes(cursor.array()?)).ok(),
        };
        ensure(group.set_consumer(&name, Some(Times { seen_ms, active_ms })).is_none())?;
        for _ in 0..cursor.length()? {
            let id = id_of(cursor.take(16)?)?;
            // What is pending with a consumer is pending in the group, and with nobody else.
            let (at_ms, count) = deliveries.remove(&id).ok_or(RestoreError::Format)?;
            group.set_pending(id, Some(Delivery { consumer: Some(name.clone()), at_ms, count }));
        }
    }
    if version == Version::Fifth {
        for turn in 0..cursor.length()? {
            let id = id_of(cursor.take(16)?)?;
            let (_, count) = deliveries.remove(&id).ok_or(RestoreError::Format)?;
            group.set_pending(id, Some(Delivery { consumer: None, at_ms: turn, count }));
        }
    }
    ensure(deliveries.is_empty())?;
    Ok(group)
}
