//! A JSON value as a tree in memory.
//!
//! A node takes 24 bytes. Integers and doubles are kept apart, because clients see the difference (`1` and `1.0`), and
//! integers beyond 63 bits have a form of their own. Members of an object stay in the order in which they came, with one
//! exception that RedisJSON makes as well: the last member takes the place of one that is removed, so that removing costs
//! the same wherever it happens. A large object has an index beside its members.
//!
//! What a node holds is said in bytes of memory here, so that a document knows its size without being walked.

use std::cmp::Ordering;

use hashbrown::HashTable;

use crate::scan_map::hash;

/// From this many members on, an object has an index.
const INDEX_FROM: usize = 24;
/// What an allocation costs beside its bytes, near enough.
const ALLOCATION_BYTES: usize = 16;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub enum Node {
    /// `null`.
    #[default]
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A whole number beyond `i64`.
    Unsigned(u64),
    /// Any other number.
    Double(f64),
    /// A string.
    Text(Box<str>),
    /// Elements.
    Array(Vec<Node>),
    /// Members.
    Object(Box<Object>),
}

impl Node {
    /// The name `JSON.TYPE` answers.
    pub const fn type_name(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Bool(_) => "boolean",
            Self::Integer(_) | Self::Unsigned(_) => "integer",
            Self::Double(_) => "number",
            Self::Text(_) => "string",
            Self::Array(_) => "array",
            Self::Object(_) => "object",
        }
    }

    /// The elements of an array.
    pub fn as_array(&self) -> Option<&[Self]> {
        match self {
            Self::Array(items) => Some(items),
            _ => None,
        }
    }

    /// The members of an object.
    pub fn as_object(&self) -> Option<&Object> {
        match self {
            Self::Object(object) => Some(object),
            _ => None,
        }
    }

    /// The text of a string.
    pub fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The element or the member's value at a position.
    pub fn child(&self, position: usize) -> Option<&Self> {
        match self {
            Self::Array(items) => items.get(position),
            Self::Object(object) => object.members.get(position).map(|(_, node)| node),
            _ => None,
        }
    }

    /// As [`Self::child`], to be changed.
    pub fn child_mut(&mut self, position: usize) -> Option<&mut Self> {
        match self {
            Self::Array(items) => items.get_mut(position),
            Self::Object(object) => object.members.get_mut(position).map(|(_, node)| node),
            _ => None,
        }
    }

    /// Every element or member's value, in order.
    pub fn children(&self) -> impl Iterator<Item = &Self> {
        let (items, members) = match self {
            Self::Array(items) => (items.as_slice(), [].as_slice()),
            Self::Object(object) => ([].as_slice(), object.members.as_slice()),
            _ => ([].as_slice(), [].as_slice()),
        };
        items.iter().chain(members.iter().map(|(_, node)| node))
    }

    /// How many arrays and objects lie around the innermost value.
    pub fn depth(&self) -> usize {
        match self {
            Self::Array(_) | Self::Object(_) => 1 + self.children().map(Self::depth).max().unwrap_or(0),
            _ => 0,
        }
    }

    /// Bytes of memory beyond the node itself, all children included.
    pub fn heap_bytes(&self) -> usize {
        let below: usize = match self {
            Self::Array(items) => items.iter().map(Self::heap_bytes).sum(),
            Self::Object(object) => object.members.iter().map(|(key, node)| member_bytes(key, node)).sum(),
            _ => 0,
        };
        below + self.shallow_bytes()
    }

    /// As [`Self::heap_bytes`], without what belongs to the children and the names of members.
    pub fn shallow_bytes(&self) -> usize {
        let (fixed, bytes) = match self {
            Self::Text(text) => (0, text.len()),
            Self::Array(items) => (0, items.capacity() * size_of::<Self>()),
            Self::Object(object) => (size_of::<Object>() + ALLOCATION_BYTES, object.shallow_bytes()),
            _ => (0, 0),
        };
        fixed + if bytes == 0 { 0 } else { bytes + ALLOCATION_BYTES }
    }

    /// The order of two numbers, whatever their kinds.
    pub fn compare_numbers(&self, other: &Self) -> Option<Ordering> {
        match (self.as_whole(), other.as_whole()) {
            (Some(a), Some(b)) => Some(a.cmp(&b)),
            _ => self.as_double()?.partial_cmp(&other.as_double()?),
        }
    }

    const fn as_whole(&self) -> Option<i128> {
        match self {
            Self::Integer(value) => Some(*value as i128),
            Self::Unsigned(value) => Some(*value as i128),
            _ => None,
        }
    }

    /// A number as a double.
    pub const fn as_double(&self) -> Option<f64> {
        match self {
            Self::Integer(value) => Some(*value as f64),
            Self::Unsigned(value) => Some(*value as f64),
            Self::Double(value) => Some(*value),
            _ => None,
        }
    }

    /// Whether two values are the same but for the order of members. Whole numbers equal doubles of the same value only
    /// if `numbers_alike`.
    pub fn equals(&self, other: &Self, numbers_alike: bool) -> bool {
        match (self, other) {
            (Self::Null, Self::Null) => true,
            (Self::Bool(a), Self::Bool(b)) => a == b,
            (Self::Text(a), Self::Text(b)) => a == b,
            (Self::Array(a), Self::Array(b)) => {
                a.len() == b.len() && a.iter().zip(b).all(|(a, b)| a.equals(b, numbers_alike))
            }
            (Self::Object(a), Self::Object(b)) => {
                let same =
                    |(key, node): (&str, &Self)| b.get(key).is_some_and(|other| node.equals(other, numbers_alike));
                a.len() == b.len() && a.iter().all(same)
            }
            (Self::Double(_), Self::Integer(_) | Self::Unsigned(_))
            | (Self::Integer(_) | Self::Unsigned(_), Self::Double(_))
                if !numbers_alike =>
            {
                false
            }
            _ => self.compare_numbers(other) == Some(Ordering::Equal),
        }
    }
}

/// What a member adds to its object's memory, beside its slot.
pub(super) fn member_bytes(key: &str, node: &Node) -> usize {
    let name = if key.is_empty() { 0 } else { key.len() + ALLOCATION_BYTES };
    name + node.heap_bytes()
}

/// The members of an object; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct Object {
    members: Vec<(Box<str>, Node)>,
    /// Positions by name, once there are many.
    index: Option<Box<HashTable<u32>>>,
}

impl Object {
    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Names and values, in order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Node)> {
        self.members.iter().map(|(key, node)| (&**key, node))
    }

    /// The value of a member.
    pub fn get(&self, key: &str) -> Option<&Node> {
        self.member(key).map(|(_, node)| node)
    }

    /// A member: its name as it is kept, and its value.
    pub fn member(&self, key: &str) -> Option<(&str, &Node)> {
        self.position(key).map(|position| &self.members[position]).map(|(key, node)| (&**key, node))
    }

    /// Names and values, in order, to keep.
    pub fn into_members(self) -> Vec<(Box<str>, Node)> {
        self.members
    }

    /// Where a member is.
    pub fn position(&self, key: &str) -> Option<usize> {
        match &self.index {
            None => self.members.iter().position(|(name, _)| &**name == key),
            Some(index) => {
                let same = |&position: &u32| &*self.members[position as usize].0 == key;
                index.find(hash(key.as_bytes()), same).map(|&position| position as usize)
            }
        }
    }

    /// Sets a member: in its place, or as the last.
    pub fn set(&mut self, key: Box<str>, node: Node) {
        match self.position(&key) {
            Some(position) => self.members[position].1 = node,
            None => self.insert_at(self.len(), key, node),
        }
    }

    /// Adds a member that is not there yet at a position; the one that was there becomes the last.
    pub fn insert_at(&mut self, position: usize, key: Box<str>, node: Node) {
        debug_assert!(self.position(&key).is_none(), "names are unique");
        let last = self.len();
        let position = position.min(last);
        self.members.push((key, node));
        if let Some(index) = &mut self.index {
            let members = &self.members;
            let hasher = |&position: &u32| hash(members[position as usize].0.as_bytes());
            index.insert_unique(hasher(&(last as u32)), last as u32, hasher);
        } else if self.len() >= INDEX_FROM {
            self.build_index();
        }
        if position < last {
            self.redirect(last, u32::MAX);
            self.redirect(position, last as u32);
            self.members.swap(position, last);
            self.redirect_to(position, u32::MAX, position as u32);
        }
    }

    /// Removes the member at a position; the last one takes its place.
    pub fn remove_at(&mut self, position: usize) -> Option<(Box<str>, Node)> {
        let last = self.len().checked_sub(1)?;
        if position > last {
            return None;
        }
        if let Some(index) = &mut self.index {
            let at = hash(self.members[position].0.as_bytes());
            if let Ok(entry) = index.find_entry(at, |&found| found as usize == position) {
                entry.remove();
            }
        }
        if position < last {
            self.redirect(last, position as u32);
        }
        let removed = self.members.swap_remove(position);
        if self.len() < INDEX_FROM / 2 {
            self.index = None;
        }
        Some(removed)
    }

    /// The member at `position` will be found at another.
    fn redirect(&mut self, position: usize, to: u32) {
        self.redirect_to(position, position as u32, to);
    }

    /// The member now at `position`, which the index still has at `from`, will be found at `to`.
    fn redirect_to(&mut self, position: usize, from: u32, to: u32) {
        if let Some(index) = &mut self.index {
            let at = hash(self.members[position].0.as_bytes());
            if let Some(found) = index.find_mut(at, |&found| found == from) {
                *found = to;
            }
        }
    }

    fn build_index(&mut self) {
        let members = &self.members;
        let hasher = |&position: &u32| hash(members[position as usize].0.as_bytes());
        let mut index = HashTable::with_capacity(members.len() * 2);
        for position in 0..members.len() as u32 {
            index.insert_unique(hasher(&position), position, hasher);
        }
        self.index = Some(Box::new(index));
    }

    fn shallow_bytes(&self) -> usize {
        let index = self.index.as_ref().map_or(0, |index| index.allocation_size() + size_of::<HashTable<u32>>());
        self.members.capacity() * size_of::<(Box<str>, Node)>() + index
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(object: &Object) -> Vec<String> {
        object.iter().map(|(key, _)| key.to_owned()).collect()
    }

    #[test]
    fn a_node_is_small() {
        assert_eq!(size_of::<Node>(), 24);
    }

    #[test]
    fn inserting_at_a_position_undoes_removing_there() {
        for size in [1_usize, 5, INDEX_FROM - 1, INDEX_FROM, 100] {
            let mut object = Object::default();
            (0..size).for_each(|n| object.set(n.to_string().into(), Node::Integer(n as i64)));
            let before = names(&object);
            for position in [0, size / 2, size - 1] {
                let (key, node) = object.remove_at(position).unwrap();
                assert!(object.get(&key).is_none());
                assert!(object.iter().enumerate().all(|(at, (key, _))| object.position(key) == Some(at)));
                object.insert_at(position, key, node);
                assert_eq!(names(&object), before);
                assert!(before.iter().enumerate().all(|(at, key)| object.position(key) == Some(at)));
            }
        }
    }

    #[test]
    fn an_object_shrinks_back_to_nothing() {
        let mut object = Object::default();
        (0..200).for_each(|n| object.set(n.to_string().into(), Node::Null));
        for n in 0..200 {
            let position = object.position(&n.to_string()).unwrap();
            object.remove_at(position).unwrap();
        }
        assert!(object.is_empty() && object.remove_at(0).is_none());
    }

    #[test]
    fn whole_numbers_equal_doubles_where_asked() {
        let (one, same) = (Node::Integer(1), Node::Double(1.0));
        assert!(one.equals(&same, true) && !one.equals(&same, false));
        assert!(Node::Unsigned(u64::MAX).equals(&Node::Unsigned(u64::MAX), false));
        assert!(!Node::Integer(-1).equals(&Node::Unsigned(u64::MAX), true));
        assert!(!Node::Null.equals(&Node::Bool(false), true));
    }
}
