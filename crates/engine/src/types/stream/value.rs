//! The value of a stream key, and how it changes.
//!
//! Entries lie in [nodes](super::node) ordered by id, groups by name. A stream remembers more than it holds: the last id it
//! ever gave, the highest id that was removed from within, and how many entries it ever took; from these follows how far
//! behind a group is ([`Stream::lag`]). It does not vanish when its last entry goes.
//!
//! Every [`Change`] says what comes to be, not how it was found out: which entries go, how many go at the front, how a
//! consumer's delivery looks now. So replay needs neither clock nor policy.

use std::collections::BTreeMap;

use dormouse_proto::Blob;

use super::group::{Delivery, Group, Times, put_option, read_option};
use super::id::Id;
use super::node::{Body, Bounds, Entry, Node, check_body};
use super::producers::{Name, Producers, Totals};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::keyspace::heap_bytes;
use crate::settings::Encodings;
use crate::value::Kind;

/// Version of the layout of a whole stream, and of one with producers behind that.
const LAYOUT: u8 = 1;
const LAYOUT_PRODUCERS: u8 = 2;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Stream {
    nodes: BTreeMap<Id, Node>,
    groups: BTreeMap<Blob, Group>,
    len: u64,
    position: Position,
    producers: Option<Box<Producers>>,
    node_bytes: usize,
    group_bytes: usize,
    bounds: Bounds,
}

/// What a stream remembers of entries it may no longer hold.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Position {
    /// The last id it gave.
    pub(crate) last_id: Id,
    /// The highest id that was removed, other than by trimming.
    pub(crate) max_deleted: Id,
    /// How many entries it ever took.
    pub(crate) added: u64,
}

/// One change of a stream. `Append` and `Unappend` undo each other, `Erase` and `Trim` are undone by `Restore` and that by
/// `Erase`; the others undo themselves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// An entry joins behind all others.
    Append(Arrival),
    /// The entry that joined last leaves as if it had never been.
    Unappend(Departure),
    /// Entries leave.
    Erase(Erasure),
    /// So many of the first entries leave.
    Trim(u64),
    /// Entries that left come back.
    Restore(Box<Restoration>),
    /// What the stream remembers changes.
    Position(Place),
    /// A group comes, goes or is replaced.
    Group(Blob, Option<Box<Members>>),
    /// A group has read on, or back.
    Cursor(Blob, Reading),
    /// A consumer of a group comes, does something, or goes.
    Consumer(Blob, Blob, Option<Clock>),
    /// Entries come to be pending in a group, pass to another consumer or to none, or are acknowledged.
    Pending(Blob, Vec<Handover>),
    /// Names that producers gave to entries, or that are forgotten.
    Names(Vec<Name>),
    /// What is remembered of producers changes.
    Totals(Totals),
}

/// See [`Change::Append`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    id: Id,
    body: Body,
}

/// See [`Change::Unappend`]: the last ids of the stream and of the node before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Departure {
    last_id: Id,
    node_last: Id,
}

/// See [`Change::Erase`]: rising ids, and the highest removed one then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Erasure {
    ids: Vec<Id>,
    max_deleted: Id,
}

/// See [`Change::Restore`]: whole nodes, then entries with the nodes they belong to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Restoration {
    nodes: Vec<(Id, Node)>,
    entries: Vec<(Id, Id, Body)>,
    max_deleted: Id,
}

/// See [`Change::Position`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place(Position);

/// See [`Change::Group`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Members(Group);

/// See [`Change::Cursor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    last_id: Id,
    read: Option<u64>,
}

/// See [`Change::Consumer`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock(Times);

/// See [`Change::Pending`]: an id, and who has it now.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Handover(Id, Option<Delivery>);

impl Change {
    pub(crate) const fn append(id: Id, body: Body) -> Self {
        Self::Append(Arrival { id, body })
    }

    /// The ids must rise.
    pub(crate) const fn erase(ids: Vec<Id>, max_deleted: Id) -> Self {
        Self::Erase(Erasure { ids, max_deleted })
    }

    pub(crate) const fn position(position: Position) -> Self {
        Self::Position(Place(position))
    }

    pub(crate) fn group(name: &[u8], group: Option<Group>) -> Self {
        Self::Group(Blob::from(name), group.map(|group| Box::new(Members(group))))
    }

    pub(crate) fn cursor(group: &[u8], last_id: Id, read: Option<u64>) -> Self {
        Self::Cursor(Blob::from(group), Reading { last_id, read })
    }

    pub(crate) fn consumer(group: &[u8], name: &[u8], times: Option<Times>) -> Self {
        Self::Consumer(Blob::from(group), Blob::from(name), times.map(Clock))
    }

    pub(crate) fn pending(group: &[u8], deliveries: impl IntoIterator<Item = (Id, Option<Delivery>)>) -> Self {
        let handovers = deliveries.into_iter().map(|(id, delivery)| Handover(id, delivery));
        Self::Pending(Blob::from(group), handovers.collect())
    }
}

impl Stream {
    // --- reading -----------------------------------------------------------------------------------------------------

    /// How many entries it holds.
    pub(crate) const fn len(&self) -> u64 {
        self.len
    }

    pub(crate) const fn position(&self) -> Position {
        self.position
    }

    pub(crate) const fn last_id(&self) -> Id {
        self.position.last_id
    }

    /// Entries from `from` to `to`, both included.
    pub(crate) fn range(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let start = self.node_of(from).map_or(from, |(own, _)| *own);
        // Whoever asks for an empty range gets none, and no panic.
        let nodes = (start <= to).then(|| self.nodes.range(start..=to)).into_iter().flatten();
        let entries = nodes.flat_map(|(own, node)| node.iter(*own));
        entries.skip_while(move |entry| entry.id < from).take_while(move |entry| entry.id <= to)
    }

    /// As [`Self::range`], from the end.
    pub(crate) fn range_back(&self, from: Id, to: Id) -> impl Iterator<Item = Entry<'_>> {
        let start = self.node_of(from).map_or(from, |(own, _)| *own);
        let nodes = (start <= to).then(|| self.nodes.range(start..=to).rev()).into_iter().flatten();
        let entries = nodes.flat_map(|(own, node)| {
            let mut entries: Vec<_> = node.iter(*own).collect();
            entries.reverse();
            entries
        });
        entries.skip_while(move |entry| entry.id > to).take_while(move |entry| entry.id >= from)
    }

    /// The node that holds an id if any does.
    fn node_of(&self, id: Id) -> Option<(&Id, &Node)> {
        self.nodes.range(..=id).next_back()
    }

    /// One entry.
    pub(crate) fn entry(&self, id: Id) -> Option<Entry<'_>> {
        self.range(id, id).next()
    }

    /// The first entry.
    pub(crate) fn first(&self) -> Option<Entry<'_>> {
        self.nodes.first_key_value().and_then(|(own, node)| node.first(*own))
    }

    /// The last entry.
    pub(crate) fn last(&self) -> Option<Entry<'_>> {
        self.nodes.last_key_value().and_then(|(own, node)| node.iter(*own).last())
    }

    /// The first entry's id; 0-0 if there is none.
    pub(crate) fn first_id(&self) -> Id {
        self.first().map_or(Id::MIN, |entry| entry.id)
    }

    /// Nodes with their ids.
    pub(crate) fn nodes(&self) -> impl ExactSizeIterator<Item = (&Id, &Node)> {
        self.nodes.iter()
    }

    /// For each node from the front: how many entries it holds, and the last id it ever took.
    pub(crate) fn node_ends(&self) -> impl Iterator<Item = (u64, Id)> {
        self.nodes.values().map(|node| (u64::from(node.live()), node.last()))
    }

    /// Groups by name.
    pub(crate) fn groups(&self) -> impl ExactSizeIterator<Item = (&Blob, &Group)> {
        self.groups.iter()
    }

    pub(crate) fn group(&self, name: &[u8]) -> Option<&Group> {
        self.groups.get(name)
    }

    /// What is remembered of producers, if anything.
    pub(crate) fn producers(&self) -> Option<&Producers> {
        self.producers.as_deref()
    }

    // --- how far behind a group is -----------------------------------------------------------------------------------

    /// Whether an entry from `from` on may have been removed from within. What was removed before the first entry is no gap.
    fn has_gaps_from(&self, from: Id) -> bool {
        let max_deleted = self.position.max_deleted;
        self.len > 0 && max_deleted != Id::MIN && self.first_id() <= max_deleted && from <= max_deleted
    }

    /// How many entries a group that stood at `before` with a count of `read` has read once it has read `id`, the next.
    pub(crate) fn read_on(&self, read: Option<u64>, before: Id, id: Id) -> Option<u64> {
        match read {
            // A count goes on where no gap may lie ahead; one that is not known may be found out here.
            Some(read) if before >= self.first_id() && !self.has_gaps_from(before) => Some(read + 1),
            _ => self.taken_up_to(id),
        }
    }

    /// How many entries the stream had taken when it took `id`, as far as that can be known.
    pub(crate) fn taken_up_to(&self, id: Id) -> Option<u64> {
        let Position { last_id, max_deleted, added } = self.position;
        if added == 0 || (self.len == 0 && id <= last_id) {
            return Some(added);
        }
        if id != Id::MIN && id < max_deleted {
            return None;
        }
        if id >= last_id {
            return (id == last_id).then_some(added);
        }
        let first = self.first_id();
        let whole = max_deleted == Id::MIN || max_deleted < first;
        match id.cmp(&first) {
            std::cmp::Ordering::Less if whole => Some(added.saturating_sub(self.len)),
            std::cmp::Ordering::Equal if whole => Some(added.saturating_sub(self.len) + 1),
            _ => None,
        }
    }

    /// How many entries a group has yet to read, if that can be known.
    pub(crate) fn lag(&self, group: &Group) -> Option<i64> {
        let added = self.position.added;
        let first = self.first_id();
        let read = match group.read {
            _ if added == 0 || self.len == 0 => return Some(0),
            _ if group.last_id < first && self.position.max_deleted < first => return Some(self.len as i64),
            Some(read) if !self.has_gaps_from(group.last_id) => Some(read),
            _ => self.taken_up_to(group.last_id),
        };
        read.map(|read| added.wrapping_sub(read) as i64)
    }

    // --- changing ----------------------------------------------------------------------------------------------------

    fn append(&mut self, id: Id, body: &[u8]) -> Change {
        let last = self.nodes.last_key_value();
        // It does not fit: nothing joins.
        if self.last().is_some_and(|last| last.id >= id) {
            return Change::Trim(0);
        }
        let departure =
            Departure { last_id: self.position.last_id, node_last: last.map_or(Id::MIN, |(_, node)| node.last()) };
        if last.is_none_or(|(_, node)| node.is_full_for(body, self.bounds)) {
            if let Some(mut full) = self.nodes.last_entry() {
                self.node_bytes -= full.get().memory_bytes();
                full.get_mut().close();
                self.node_bytes += full.get().memory_bytes();
            }
            let node = Node::starting_with(body);
            self.node_bytes += node.memory_bytes();
            self.nodes.insert(id, node);
        }
        self.in_node_of(id, |own, node| node.append(own, id, body));
        self.len += 1;
        self.position.last_id = id;
        self.position.added = self.position.added.wrapping_add(1);
        Change::Unappend(departure)
    }

    fn unappend(&mut self, departure: Departure) -> Change {
        let taken = self.in_node_of(Id::MAX, |own, node| node.unappend(own, departure.node_last)).flatten();
        let Some((id, body)) = taken else {
            return Change::Trim(0);
        };
        if let Some(emptied) = self.nodes.last_entry().filter(|last| last.get().live() == 0) {
            self.node_bytes -= emptied.remove().memory_bytes();
        }
        self.len -= 1;
        self.position.last_id = departure.last_id;
        self.position.added = self.position.added.wrapping_sub(1);
        Change::append(id, body)
    }

    /// Changes the node an id belongs to, and counts what it takes.
    fn in_node_of<R>(&mut self, id: Id, change: impl FnOnce(Id, &mut Node) -> R) -> Option<R> {
        let (own, node) = self.nodes.range_mut(..=id).next_back()?;
        let before = node.memory_bytes();
        let result = change(*own, node);
        self.node_bytes = (self.node_bytes + node.memory_bytes()).saturating_sub(before);
        Some(result)
    }

    /// Removes entries: nodes that hold nothing else go whole.
    fn erase(&mut self, ids: &[Id], max_deleted: Id) -> Change {
        let old = std::mem::replace(&mut self.position.max_deleted, max_deleted);
        let mut gone = Restoration { max_deleted: old, ..Restoration::default() };
        for &id in ids {
            let Some((&own, node)) = self.node_of(id) else { continue };
            if node.live() == 1 && node.first(own).is_some_and(|entry| entry.id == id) {
                self.take_node(own, &mut gone);
            } else if let Some(body) = self.in_node_of(id, |own, node| node.remove(own, id)).flatten() {
                gone.entries.push((own, id, body));
                self.len -= 1;
            }
        }
        Change::Restore(Box::new(gone))
    }

    fn put_node(&mut self, own: Id, node: Node) {
        self.len += u64::from(node.live());
        self.node_bytes += node.memory_bytes();
        if let Some(old) = self.nodes.insert(own, node) {
            self.len -= u64::from(old.live());
            self.node_bytes = self.node_bytes.saturating_sub(old.memory_bytes());
        }
    }

    fn take_node(&mut self, own: Id, gone: &mut Restoration) {
        if let Some(node) = self.nodes.remove(&own) {
            self.len -= u64::from(node.live());
            self.node_bytes = self.node_bytes.saturating_sub(node.memory_bytes());
            gone.nodes.push((own, node));
        }
    }

    fn trim(&mut self, mut count: u64) -> Change {
        let mut gone = Restoration { max_deleted: self.position.max_deleted, ..Restoration::default() };
        while let Some((&own, node)) = self.nodes.first_key_value() {
            if u64::from(node.live()) > count {
                let ids: Vec<Id> = node.iter(own).take(count as usize).map(|entry| entry.id).collect();
                if let Change::Restore(rest) = self.erase(&ids, gone.max_deleted) {
                    gone.entries = rest.entries;
                }
                break;
            }
            count -= u64::from(node.live());
            self.take_node(own, &mut gone);
        }
        Change::Restore(Box::new(gone))
    }

    fn restore(&mut self, gone: Restoration) -> Change {
        let mut ids: Vec<Id> = gone.entries.iter().map(|(_, id, _)| *id).collect();
        for (own, node) in gone.nodes {
            ids.extend(node.iter(own).map(|entry| entry.id));
            self.put_node(own, node);
        }
        for (own, id, body) in gone.entries.into_iter().rev() {
            let back = self.in_node_of(own, |own, node| node.insert(own, id, &body));
            self.len += u64::from(back == Some(true));
        }
        ids.sort_unstable();
        Change::erase(ids, std::mem::replace(&mut self.position.max_deleted, gone.max_deleted))
    }

    fn set_group(&mut self, name: Blob, group: Option<Group>) -> Change {
        let bytes = |group: &Group| heap_bytes(&name) + group.memory_bytes();
        self.group_bytes += group.as_ref().map_or(0, bytes);
        let old = match group {
            Some(group) => self.groups.insert(name.clone(), group),
            None => self.groups.remove(&name),
        };
        self.group_bytes = self.group_bytes.saturating_sub(old.as_ref().map_or(0, bytes));
        Change::Group(name, old.map(|group| Box::new(Members(group))))
    }

    /// Changes a group, and counts what it takes; one that is missing stays so.
    fn in_group<R>(&mut self, name: &[u8], change: impl FnOnce(&mut Group) -> R) -> Option<R> {
        let group = self.groups.get_mut(name)?;
        let before = group.memory_bytes();
        let result = change(group);
        self.group_bytes = (self.group_bytes + group.memory_bytes()).saturating_sub(before);
        Some(result)
    }

    fn set_pending(&mut self, name: &Blob, handovers: Vec<Handover>) -> Change {
        let mut old = Vec::with_capacity(handovers.len());
        self.in_group(name, |group| {
            for Handover(id, delivery) in handovers {
                old.push(Handover(id, group.set_pending(id, delivery)));
            }
        });
        old.reverse();
        Change::Pending(name.clone(), old)
    }

    fn set_names(&mut self, mut names: Vec<Name>) -> Change {
        let producers = self.producers.get_or_insert_default();
        for name in &mut names {
            name.id = producers.set(name);
        }
        names.reverse();
        self.tidy_producers();
        Change::Names(names)
    }

    fn set_totals(&mut self, totals: Totals) -> Change {
        let old = std::mem::replace(&mut self.producers.get_or_insert_default().totals, totals);
        self.tidy_producers();
        Change::Totals(old)
    }

    /// Most streams have no producers that give names, and pay nothing for them.
    fn tidy_producers(&mut self) {
        self.producers.take_if(|producers| producers.is_blank());
    }

    /// A stream as it came in a payload: its nodes in order.
    pub(crate) fn from_nodes(nodes: Vec<(Id, Node)>, position: Position) -> Self {
        let mut stream = Self { position, ..Self::default() };
        for (own, node) in nodes {
            stream.put_node(own, node);
        }
        stream
    }
}

mod tag {
    pub(super) const APPEND: u8 = 0;
    pub(super) const UNAPPEND: u8 = 1;
    pub(super) const ERASE: u8 = 2;
    pub(super) const TRIM: u8 = 3;
    pub(super) const RESTORE: u8 = 4;
    pub(super) const POSITION: u8 = 5;
    pub(super) const GROUP: u8 = 6;
    pub(super) const CURSOR: u8 = 7;
    pub(super) const CONSUMER: u8 = 8;
    pub(super) const PENDING: u8 = 9;
    pub(super) const NAMES: u8 = 10;
    pub(super) const TOTALS: u8 = 11;
}

/// What became of a pending entry, in the bytes of a change.
mod handover {
    /// It is no longer pending.
    pub(super) const NONE: u8 = 0;
    /// It is with the consumer that follows.
    pub(super) const NAMED: u8 = 1;
    /// It is with the consumer of the one before, since the same moment.
    pub(super) const AGAIN: u8 = 2;
    /// It is pending, and nobody has it.
    pub(super) const GIVEN_BACK: u8 = 3;
}

impl Kind for Stream {
    type Change = Change;

    fn adapt(&mut self, encodings: &Encodings) {
        self.bounds = Bounds::of(encodings);
    }

    fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Append(Arrival { id, body }) => self.append(id, &body),
            Change::Unappend(departure) => self.unappend(departure),
            Change::Erase(Erasure { ids, max_deleted }) => self.erase(&ids, max_deleted),
            Change::Trim(count) => self.trim(count),
            Change::Restore(gone) => self.restore(*gone),
            Change::Position(Place(position)) => {
                Change::Position(Place(std::mem::replace(&mut self.position, position)))
            }
            Change::Group(name, group) => self.set_group(name, group.map(|members| members.0)),
            Change::Cursor(name, Reading { last_id, read }) => {
                let swap = |group: &mut Group| Reading {
                    last_id: std::mem::replace(&mut group.last_id, last_id),
                    read: std::mem::replace(&mut group.read, read),
                };
                let old = self.in_group(&name, swap);
                Change::Cursor(name, old.unwrap_or(Reading { last_id, read }))
            }
            Change::Consumer(group, name, clock) => {
                let old = self.in_group(&group, |group| group.set_consumer(&name, clock.map(|clock| clock.0)));
                Change::Consumer(group, name, old.flatten().map(Clock))
            }
            Change::Pending(group, handovers) => self.set_pending(&group, handovers),
            Change::Names(names) => self.set_names(names),
            Change::Totals(totals) => self.set_totals(totals),
        }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        match change {
            Change::Append(Arrival { id, body }) => {
                out.push(tag::APPEND);
                id.write(out);
                put_bytes(out, body);
            }
            Change::Unappend(departure) => {
                out.push(tag::UNAPPEND);
                departure.last_id.write(out);
                departure.node_last.write(out);
            }
            Change::Erase(Erasure { ids, max_deleted }) => {
                out.push(tag::ERASE);
                max_deleted.write(out);
                put_int(out, ids.len() as u64);
                for id in ids {
                    id.write(out);
                }
            }
            Change::Trim(count) => {
                out.push(tag::TRIM);
                put_int(out, *count);
            }
            Change::Restore(gone) => {
                out.push(tag::RESTORE);
                gone.write(out);
            }
            Change::Position(Place(position)) => {
                out.push(tag::POSITION);
                position.write(out);
            }
            Change::Group(name, group) => {
                out.push(tag::GROUP);
                put_bytes(out, name);
                out.push(u8::from(group.is_some()));
                if let Some(members) = group {
                    members.0.write(out);
                }
            }
            Change::Cursor(group, Reading { last_id, read }) => {
                out.push(tag::CURSOR);
                put_bytes(out, group);
                last_id.write(out);
                put_option(out, *read);
            }
            Change::Consumer(group, name, clock) => {
                out.push(tag::CONSUMER);
                put_bytes(out, group);
                put_bytes(out, name);
                out.push(u8::from(clock.is_some()));
                if let Some(Clock(times)) = clock {
                    times.write(out);
                }
            }
            Change::Pending(group, handovers) => {
                out.push(tag::PENDING);
                put_bytes(out, group);
                write_handovers(handovers, out);
            }
            Change::Names(names) => {
                out.push(tag::NAMES);
                put_int(out, names.len() as u64);
                for name in names {
                    name.write(out);
                }
            }
            Change::Totals(totals) => {
                out.push(tag::TOTALS);
                totals.write(out);
            }
        }
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        Ok(match input.byte()? {
            tag::APPEND => Change::append(Id::read(input)?, read_body(input)?),
            tag::UNAPPEND => Change::Unappend(Departure { last_id: Id::read(input)?, node_last: Id::read(input)? }),
            tag::ERASE => {
                let max_deleted = Id::read(input)?;
                let ids = (0..input.count()?).map(|_| Id::read(input)).collect::<Result<_, _>>()?;
                Change::erase(ids, max_deleted)
            }
            tag::TRIM => Change::Trim(input.int()?),
            tag::RESTORE => Change::Restore(Box::new(Restoration::read(input)?)),
            tag::POSITION => Change::position(Position::read(input)?),
            tag::GROUP => {
                let name = input.blob()?;
                let members = read_optional(input, Group::read)?.map(|group| Box::new(Members(group)));
                Change::Group(name, members)
            }
            tag::CURSOR => {
                Change::Cursor(input.blob()?, Reading { last_id: Id::read(input)?, read: read_option(input)? })
            }
            tag::CONSUMER => {
                Change::Consumer(input.blob()?, input.blob()?, read_optional(input, Times::read)?.map(Clock))
            }
            tag::PENDING => Change::Pending(input.blob()?, read_handovers(input)?),
            tag::NAMES => Change::Names((0..input.count()?).map(|_| Name::read(input)).collect::<Result<_, _>>()?),
            tag::TOTALS => Change::Totals(Totals::read(input)?),
            _ => return Err(Corrupt("a change of a stream")),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.producers.is_some() { LAYOUT_PRODUCERS } else { LAYOUT });
        self.position.write(out);
        put_int(out, self.nodes.len() as u64);
        for (own, node) in &self.nodes {
            own.write(out);
            node.write(out);
        }
        put_int(out, self.groups.len() as u64);
        for (name, group) in &self.groups {
            put_bytes(out, name);
            group.write(out);
        }
        if let Some(producers) = &self.producers {
            producers.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let layout = input.byte()?;
        if !matches!(layout, LAYOUT | LAYOUT_PRODUCERS) {
            return Err(Corrupt("a layout of a stream"));
        }
        let position = Position::read(input)?;
        let mut nodes: Vec<(Id, Node)> = Vec::new();
        for _ in 0..input.count()? {
            let (own, node) = read_node(input)?;
            if nodes.last().is_some_and(|(before, node)| node.iter(*before).any(|entry| entry.id >= own)) {
                return Err(Corrupt("nodes in order"));
            }
            nodes.push((own, node));
        }
        let mut stream = Self::from_nodes(nodes, position);
        for _ in 0..input.count()? {
            let (name, group) = (input.blob()?, Group::read(input)?);
            stream.set_group(name, Some(group));
        }
        if layout == LAYOUT_PRODUCERS {
            stream.producers = Some(Box::new(Producers::read(input)?));
        }
        Ok(stream)
    }

    fn is_void(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> usize {
        let producers = |producers: &Producers| size_of::<Producers>() + producers.memory_bytes();
        size_of::<Self>() + self.node_bytes + self.group_bytes + self.producers.as_deref().map_or(0, producers)
    }

    fn canonical(&self) -> String {
        let nodes: Vec<_> = self.nodes.iter().map(|(own, node)| node.canonical(*own)).collect();
        let groups: Vec<_> =
            self.groups.iter().map(|(name, group)| format!("{}={}", name.escape_ascii(), group.canonical())).collect();
        let producers = self.producers.as_ref().map(|producers| format!(" {producers:?}")).unwrap_or_default();
        format!("{} {:?} {} {}{producers}", self.len, self.position, nodes.join(" "), groups.join("; "))
    }
}

impl Position {
    fn write(&self, out: &mut Vec<u8>) {
        self.last_id.write(out);
        self.max_deleted.write(out);
        put_int(out, self.added);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { last_id: Id::read(input)?, max_deleted: Id::read(input)?, added: input.int()? })
    }
}

impl Restoration {
    fn write(&self, out: &mut Vec<u8>) {
        self.max_deleted.write(out);
        put_int(out, self.nodes.len() as u64);
        for (own, node) in &self.nodes {
            own.write(out);
            node.write(out);
        }
        put_int(out, self.entries.len() as u64);
        for (own, id, body) in &self.entries {
            own.write(out);
            id.write(out);
            put_bytes(out, body);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let max_deleted = Id::read(input)?;
        let nodes = (0..input.count()?).map(|_| read_node(input)).collect::<Result<_, _>>()?;
        let count = input.count()?;
        let entry = |_| Ok((Id::read(input)?, Id::read(input)?, read_body(input)?));
        let entries = (0..count).map(entry).collect::<Result<_, Corrupt>>()?;
        Ok(Self { nodes, entries, max_deleted })
    }
}

fn read_node(input: &mut Reader<'_>) -> Result<(Id, Node), Corrupt> {
    let own = Id::read(input)?;
    Ok((own, Node::read(own, input)?))
}

fn read_body(input: &mut Reader<'_>) -> Result<Body, Corrupt> {
    let body = input.bytes()?;
    check_body(body)?;
    Ok(body.into())
}

fn read_optional<T>(
    input: &mut Reader<'_>,
    read: impl FnOnce(&mut Reader<'_>) -> Result<T, Corrupt>,
) -> Result<Option<T>, Corrupt> {
    match input.byte()? {
        0 => Ok(None),
        1 => read(input).map(Some),
        _ => Err(Corrupt("a value or none")),
    }
}

/// A read delivers many entries to one consumer at one moment: that is said once.
fn write_handovers(handovers: &[Handover], out: &mut Vec<u8>) {
    put_int(out, handovers.len() as u64);
    let mut before: Option<&Delivery> = None;
    for Handover(id, delivery) in handovers {
        id.write(out);
        match (delivery, before) {
            (None, _) => out.push(handover::NONE),
            (Some(new), _) if new.consumer.is_none() => {
                out.push(handover::GIVEN_BACK);
                new.write(out);
            }
            (Some(new), Some(old)) if new.consumer == old.consumer && new.at_ms == old.at_ms => {
                out.push(handover::AGAIN);
                put_int(out, new.count);
            }
            (Some(new), _) => {
                out.push(handover::NAMED);
                new.write(out);
            }
        }
        before = delivery.as_ref().or(before);
    }
}

fn read_handovers(input: &mut Reader<'_>) -> Result<Vec<Handover>, Corrupt> {
    let mut before: Option<Delivery> = None;
    let mut handovers = Vec::new();
    for _ in 0..input.count()? {
        let id = Id::read(input)?;
        let delivery = match (input.byte()?, &before) {
            (handover::NONE, _) => None,
            (handover::NAMED, _) => Some(Delivery::read(true, input)?),
            (handover::GIVEN_BACK, _) => Some(Delivery::read(false, input)?),
            (handover::AGAIN, Some(old)) => Some(Delivery { count: input.int()?, ..old.clone() }),
            _ => return Err(Corrupt("a pending entry")),
        };
        before = delivery.clone().or(before);
        handovers.push(Handover(id, delivery));
    }
    Ok(handovers)
}

#[cfg(test)]
mod tests {
    use super::super::node::pack;
    use super::*;
    use crate::moment::Random;

    fn id(random: &mut Random, below: u64) -> Id {
        Id { ms: random.below(below), seq: random.below(2) }
    }

    fn blob(text: &str) -> Blob {
        Blob::from(text.as_bytes())
    }

    /// A change that fits, most of the time.
    fn change(random: &mut Random, stream: &Stream) -> Change {
        let group = blob(["g", "h"][random.below(2) as usize]);
        let last = stream.last_id();
        let delivery = |random: &mut Random| Delivery {
            consumer: [Some("c"), Some("d"), Some("e"), None][random.below(4) as usize].map(blob),
            at_ms: random.below(3),
            count: random.below(300),
        };
        match random.below(18) {
            0..6 => {
                let next = Id { ms: last.ms + random.below(3), seq: last.seq + 1 };
                let words = ["f", "1", "g", "22"];
                let count = if random.below(5) == 0 { 4 } else { 2 };
                Change::append(next, pack(words[..count].iter().map(|word| word.as_bytes())))
            }
            6 => {
                let mut ids: Vec<Id> = (0..random.below(30)).map(|_| id(random, last.ms + 1)).collect();
                ids.sort_unstable();
                Change::erase(ids, id(random, last.ms + 1))
            }
            7 => Change::Trim(random.below(2) * random.below(stream.len() + 2)),
            8 => Change::position(Position { added: stream.position.added + 1, ..stream.position }),
            9 => Change::Group(group, (random.below(3) > 0).then(|| Box::new(Members(Group::new(last, Some(3)))))),
            10 => Change::cursor(&group, last, Some(random.below(9)).filter(|n| *n > 4)),
            11 => {
                let times = Times { seen_ms: random.below(9), active_ms: Some(1).filter(|_| random.below(2) > 0) };
                Change::consumer(&group, b"e", Some(times))
            }
            16 => {
                let names = (0..random.below(4)).map(|_| Name {
                    pid: blob(["p", "q"][random.below(2) as usize]),
                    iid: blob(["a", "b", "c"][random.below(3) as usize]),
                    id: None,
                });
                let mut names: Vec<_> = names.collect();
                // Entries have one name, given when they join.
                names.extend(
                    names
                        .last()
                        .cloned()
                        .map(|name| Name { id: Some(Id { ms: 1 << 40, seq: random.next_u64() }), ..name }),
                );
                Change::Names(names)
            }
            17 => {
                let [added, duplicates] = [random.below(300), random.below(3)];
                Change::Totals(Totals { duration_s: random.below(3) as u32, names_max: 0, added, duplicates })
            }
            _ => {
                let mut known: Vec<_> = (0..random.below(20)).map(|_| id(random, last.ms + 1)).collect();
                known.sort_unstable();
                known.dedup();
                // Consumers come first, as commands see to it.
                let there = stream
                    .group(&group)
                    .is_some_and(|group| ["c", "d", "e"].iter().all(|name| group.consumer(name.as_bytes()).is_some()));
                if !there {
                    return Change::consumer(
                        &group,
                        [b"c", b"d", b"e"][random.below(3) as usize],
                        Some(Times::default()),
                    );
                }
                let pending = known.into_iter().map(|id| (id, (random.below(3) > 0).then(|| delivery(random))));
                Change::pending(&group, pending.collect::<Vec<_>>())
            }
        }
    }

    fn written(change: &Change) -> Vec<u8> {
        let mut bytes = Vec::new();
        Stream::write_change(change, &mut bytes);
        bytes
    }

    #[test]
    fn changes_undo_themselves_and_survive_their_bytes() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut stream = Stream::default();
            for _ in 0..400 {
                let change = change(&mut random, &stream);
                assert_eq!(Stream::read_change(&mut Reader::new(&written(&change))), Ok(change.clone()));
                let before = (stream.canonical(), stream.memory_bytes());
                let inverse = stream.apply(change.clone());
                let after = stream.canonical();
                assert_eq!(Stream::read_change(&mut Reader::new(&written(&inverse))), Ok(inverse.clone()));
                let again = stream.apply(inverse);
                assert_eq!(stream.canonical(), before.0, "{change:?}");
                stream.apply(again);
                assert_eq!(stream.canonical(), after, "{change:?}");
            }
            let mut bytes = Vec::new();
            stream.write(&mut bytes);
            let read = Stream::read(&mut Reader::new(&bytes)).unwrap();
            assert_eq!(read.canonical(), stream.canonical());
            let memory = stream.node_bytes.abs_diff(read.node_bytes);
            assert!(memory < 8_192 && stream.group_bytes == read.group_bytes, "{memory}");
        }
    }

    #[test]
    fn changes_that_do_not_fit_do_no_harm() {
        for seed in 0..20 {
            let mut random = Random::new(seed);
            let mut source = Stream::default();
            let mut target = Stream::default();
            for _ in 0..300 {
                let change = change(&mut random, &source);
                let inverse = source.apply(change.clone());
                match random.below(3) {
                    0 => drop(target.apply(change)),
                    1 => drop(target.apply(inverse)),
                    _ => {}
                }
                target.canonical();
                let live: u64 = target.node_ends().map(|(live, _)| live).sum();
                assert_eq!(live, target.len());
            }
        }
    }

    #[test]
    fn forged_bytes_are_refused() {
        let mut random = Random::new(5);
        let mut stream = Stream::default();
        (0..200).for_each(|_| drop(change(&mut random, &stream)));
        for _ in 0..200 {
            let change = change(&mut random, &stream);
            let bytes = written(&change);
            for cut in 0..bytes.len() {
                assert!(Stream::read_change(&mut Reader::new(&bytes[..cut])).is_err());
            }
            stream.apply(change);
        }
        let mut bytes = Vec::new();
        stream.write(&mut bytes);
        for cut in (0..bytes.len()).step_by(7) {
            assert!(Stream::read(&mut Reader::new(&bytes[..cut])).is_err());
        }
    }

    #[test]
    fn ranges_of_many_nodes_are_found_from_both_ends() {
        let mut stream = Stream::default();
        for n in 1..=1_000 {
            stream.apply(Change::append(Id { ms: n, seq: n % 3 }, pack([&b"f"[..], b"v"].into_iter())));
        }
        assert_eq!(stream.nodes().len(), 10);
        for (from, to) in [(1, 1_000), (100, 101), (101, 101), (555, 999), (900, 2_000), (7, 3), (0, 0)] {
            let [from, to] = [Id { ms: from, seq: 0 }, Id { ms: to, seq: u64::MAX }];
            let expected: Vec<Id> =
                (1..=1_000).map(|n| Id { ms: n, seq: n % 3 }).filter(|id| (from..=to).contains(id)).collect();
            let forth: Vec<Id> = stream.range(from, to).map(|entry| entry.id).collect();
            let mut back: Vec<Id> = stream.range_back(from, to).map(|entry| entry.id).collect();
            back.reverse();
            assert_eq!((&forth, &back), (&expected, &expected), "{from:?} {to:?}");
        }
    }

    #[test]
    fn memory_follows_what_is_held() {
        let mut stream = Stream::default();
        let empty = stream.memory_bytes();
        for n in 1..=500 {
            stream.apply(Change::append(Id { ms: n, seq: 0 }, pack([&b"f"[..], &[b'v'; 100]].into_iter())));
        }
        let full = stream.memory_bytes();
        assert!((52_000..70_000).contains(&(full - empty)), "{full}");
        stream.apply(Change::Trim(500));
        assert_eq!(stream.memory_bytes(), empty);
    }
}
