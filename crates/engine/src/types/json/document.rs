//! A document as the value of a key, and the changes that commands make to it.
//!
//! A change names a place by positions, counted from the document down, and says what happens there: so that the log holds a
//! few bytes for `JSON.NUMINCRBY` on one field of a large document. Positions are safe because replay meets the document in
//! the very state in which the change was made, order of members included. Every act has an exact inverse. A change that
//! does not fit (which only a bug or a forged record can bring) changes nothing.
//!
//! Stored nodes are written in binary, a tag before each: text would have to be parsed whenever a key comes from the store.

use super::node::{Node, Object, member_bytes};
use super::select::Step;
use crate::codec::{Corrupt, Reader, put_bytes, put_double, put_int};
use crate::value::Kind;

/// How deep a stored document may be: a bound for our stack, far above what commands allow.
const STORED_DEPTH_MAX: usize = 1_024;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Json {
    root: Node,
    /// What [`Node::heap_bytes`] says of the root.
    bytes: usize,
}

/// The way to a place: positions among elements or members.
pub type Place = Vec<u32>;

/// What a command does at one place.
#[derive(Debug)]
pub struct Change {
    /// Where.
    pub at: Place,
    /// What.
    pub act: Act,
}

/// See [`Change`].
#[derive(Debug)]
pub enum Act {
    /// Another value in its place.
    Replace(Node),
    /// A new member; the one at its position becomes the last.
    Insert(u32, Box<str>, Node),
    /// No more member at a position, which the last takes.
    Remove(u32),
    /// Elements from a position on, so many, give way to others.
    Splice(u32, u32, Vec<Node>),
    /// More text.
    Append(Box<str>),
    /// Text cut to so many bytes.
    Truncate(u32),
}

impl Json {
    /// A document.
    pub fn new(root: Node) -> Self {
        Self { bytes: root.heap_bytes(), root }
    }

    /// The whole of it.
    pub const fn root(&self) -> &Node {
        &self.root
    }

    /// The place that steps lead to, if they lead anywhere.
    pub fn locate<K: AsRef<str>>(&self, steps: &[Step<K>]) -> Option<Place> {
        let mut node = &self.root;
        let mut place = Vec::with_capacity(steps.len());
        for step in steps {
            let position = match step {
                Step::Key(key) => node.as_object()?.position(key.as_ref())?,
                Step::Index(index) if node.as_array().is_some() => *index,
                Step::Index(_) => return None,
            };
            node = node.child(position)?;
            place.push(position as u32);
        }
        Some(place)
    }

    /// The value at a place.
    pub fn at(&self, place: &[u32]) -> Option<&Node> {
        place.iter().try_fold(&self.root, |node, &position| node.child(position as usize))
    }
}

impl Act {
    /// Does it to a node, whose inner bytes it tells before and after, without those of children that stay; the inverse, or
    /// itself if it does not fit.
    fn perform(self, node: &mut Node) -> Result<(Self, usize, usize), Self> {
        let shallow = node.shallow_bytes();
        match (self, node) {
            (Self::Replace(new), node) => {
                let before = node.heap_bytes();
                let old = std::mem::replace(node, new);
                Ok((Self::Replace(old), before, node.heap_bytes()))
            }
            (Self::Insert(position, key, new), node @ Node::Object(_)) => {
                let added = member_bytes(&key, &new);
                if let Node::Object(object) = node {
                    object.insert_at(position as usize, key, new);
                }
                Ok((Self::Remove(position), shallow, node.shallow_bytes() + added))
            }
            (Self::Remove(position), node @ Node::Object(_)) => {
                let removed = if let Node::Object(object) = node { object.remove_at(position as usize) } else { None };
                let (key, old) = removed.ok_or(Self::Remove(position))?;
                let gone = member_bytes(&key, &old);
                Ok((Self::Insert(position, key, old), shallow + gone, node.shallow_bytes()))
            }
            (Self::Splice(position, count, new), node @ Node::Array(_)) => {
                let added: usize = new.iter().map(Node::heap_bytes).sum();
                let (from, inserted) = (position as usize, new.len() as u32);
                let Node::Array(items) = node else { return Err(Self::Splice(position, count, new)) };
                let Some(until) = from.checked_add(count as usize).filter(|&until| until <= items.len()) else {
                    return Err(Self::Splice(position, count, new));
                };
                let old: Vec<Node> = items.splice(from..until, new).collect();
                let gone: usize = old.iter().map(Node::heap_bytes).sum();
                Ok((Self::Splice(position, inserted, old), shallow + gone, node.shallow_bytes() + added))
            }
            (Self::Append(more), Node::Text(text)) => {
                let length = text.len() as u32;
                *text = [&**text, &*more].concat().into();
                Ok((Self::Truncate(length), shallow, shallow_text(text)))
            }
            (Self::Truncate(length), Node::Text(text)) => {
                let Some((kept, cut)) = text.split_at_checked(length as usize) else {
                    return Err(Self::Truncate(length));
                };
                let inverse = Self::Append(cut.into());
                *text = kept.into();
                Ok((inverse, shallow, shallow_text(text)))
            }
            (act, _) => Err(act),
        }
    }
}

fn shallow_text(text: &str) -> usize {
    Node::Text(text.into()).shallow_bytes()
}

impl Kind for Json {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        let Change { at, act } = change;
        let node = at.iter().try_fold(&mut self.root, |node, &position| node.child_mut(position as usize));
        let act = match node.map(|node| act.perform(node)) {
            Some(Ok((inverse, before, after))) => {
                self.bytes = (self.bytes + after).saturating_sub(before);
                inverse
            }
            Some(Err(act)) => act,
            // The act is gone with a place that is not there; cutting nothing does nothing.
            None => Act::Truncate(u32::MAX),
        };
        Change { at, act }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        put_int(out, change.at.len() as u64);
        change.at.iter().for_each(|&position| put_int(out, position.into()));
        match &change.act {
            Act::Replace(node) => {
                out.push(act::REPLACE);
                write_node(node, out);
            }
            Act::Insert(position, key, node) => {
                out.push(act::INSERT);
                put_int(out, (*position).into());
                put_bytes(out, key.as_bytes());
                write_node(node, out);
            }
            Act::Remove(position) => {
                out.push(act::REMOVE);
                put_int(out, (*position).into());
            }
            Act::Splice(position, count, nodes) => {
                out.push(act::SPLICE);
                put_int(out, (*position).into());
                put_int(out, (*count).into());
                write_nodes(nodes, out);
            }
            Act::Append(text) => {
                out.push(act::APPEND);
                put_bytes(out, text.as_bytes());
            }
            Act::Truncate(length) => {
                out.push(act::TRUNCATE);
                put_int(out, (*length).into());
            }
        }
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        let count = input.count()?;
        let at = (0..count).map(|_| position(input)).collect::<Result<_, _>>()?;
        let act = match input.byte()? {
            act::REPLACE => Act::Replace(read_node(input, 0)?),
            act::INSERT => Act::Insert(position(input)?, text(input)?, read_node(input, 0)?),
            act::REMOVE => Act::Remove(position(input)?),
            act::SPLICE => {
                let (start, removed, count) = (position(input)?, position(input)?, input.count()?);
                Act::Splice(start, removed, (0..count).map(|_| read_node(input, 0)).collect::<Result<_, _>>()?)
            }
            act::APPEND => Act::Append(text(input)?),
            act::TRUNCATE => Act::Truncate(position(input)?),
            _ => return Err(Corrupt("an act on a document")),
        };
        Ok(Change { at, act })
    }

    fn write(&self, out: &mut Vec<u8>) {
        write_node(&self.root, out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        read_node(input, 0).map(Self::new)
    }

    fn is_void(&self) -> bool {
        // A document may be empty and still is one.
        false
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.bytes
    }

    fn canonical(&self) -> String {
        // The order of members counts: replay must meet it again.
        self.root.to_string()
    }
}

/// Tags of acts.
mod act {
    pub(super) const REPLACE: u8 = 0;
    pub(super) const INSERT: u8 = 1;
    pub(super) const REMOVE: u8 = 2;
    pub(super) const SPLICE: u8 = 3;
    pub(super) const APPEND: u8 = 4;
    pub(super) const TRUNCATE: u8 = 5;
}

/// Tags of nodes.
mod tag {
    pub(super) const NULL: u8 = 0;
    pub(super) const FALSE: u8 = 1;
    pub(super) const TRUE: u8 = 2;
    /// A varint whose lowest bit is the sign.
    pub(super) const INTEGER: u8 = 3;
    pub(super) const UNSIGNED: u8 = 4;
    pub(super) const DOUBLE: u8 = 5;
    pub(super) const TEXT: u8 = 6;
    pub(super) const ARRAY: u8 = 7;
    pub(super) const OBJECT: u8 = 8;
}

fn write_nodes(nodes: &[Node], out: &mut Vec<u8>) {
    put_int(out, nodes.len() as u64);
    for node in nodes {
        write_node(node, out);
    }
}

fn write_node(node: &Node, out: &mut Vec<u8>) {
    match node {
        Node::Null => out.push(tag::NULL),
        Node::Bool(value) => out.push(if *value { tag::TRUE } else { tag::FALSE }),
        Node::Integer(value) => {
            out.push(tag::INTEGER);
            put_int(out, ((value << 1) ^ (value >> 63)) as u64);
        }
        Node::Unsigned(value) => {
            out.push(tag::UNSIGNED);
            put_int(out, *value);
        }
        Node::Double(value) => {
            out.push(tag::DOUBLE);
            put_double(out, *value);
        }
        Node::Text(text) => {
            out.push(tag::TEXT);
            put_bytes(out, text.as_bytes());
        }
        Node::Array(items) => {
            out.push(tag::ARRAY);
            write_nodes(items, out);
        }
        Node::Object(object) => {
            out.push(tag::OBJECT);
            put_int(out, object.len() as u64);
            for (key, value) in object.iter() {
                put_bytes(out, key.as_bytes());
                write_node(value, out);
            }
        }
    }
}

fn read_node(input: &mut Reader<'_>, depth: usize) -> Result<Node, Corrupt> {
    if depth > STORED_DEPTH_MAX {
        return Err(Corrupt("a document that is not too deep"));
    }
    Ok(match input.byte()? {
        tag::NULL => Node::Null,
        tag::FALSE => Node::Bool(false),
        tag::TRUE => Node::Bool(true),
        tag::INTEGER => {
            let folded = input.int()?;
            Node::Integer((folded >> 1) as i64 ^ -((folded & 1) as i64))
        }
        tag::UNSIGNED => Node::Unsigned(input.int()?),
        tag::DOUBLE => Node::Double(input.double()?),
        tag::TEXT => Node::Text(text(input)?),
        tag::ARRAY => {
            let count = input.count()?;
            Node::Array((0..count).map(|_| read_node(input, depth + 1)).collect::<Result<_, _>>()?)
        }
        tag::OBJECT => {
            let mut object = Box::<Object>::default();
            for _ in 0..input.count()? {
                let key = text(input)?;
                object.set(key, read_node(input, depth + 1)?);
            }
            Node::Object(object)
        }
        _ => return Err(Corrupt("the tag of a JSON value")),
    })
}

fn text(input: &mut Reader<'_>) -> Result<Box<str>, Corrupt> {
    std::str::from_utf8(input.bytes()?).map(Box::from).map_err(|_| Corrupt("text in UTF-8"))
}

fn position(input: &mut Reader<'_>) -> Result<u32, Corrupt> {
    u32::try_from(input.int()?).map_err(|_| Corrupt("a position within a document"))
}

#[cfg(test)]
mod tests {
    use super::super::text::parse;
    use super::*;

    const DOCUMENT: &str =
        r#"{"a":[1,-2,18446744073709551615,1.5,"x",null,true,false],"b":{"c":{},"d":[]},"e":"text"}"#;

    fn document() -> Json {
        Json::new(parse(DOCUMENT.as_bytes(), 128, usize::MAX).unwrap())
    }

    fn node(text: &str) -> Node {
        parse(text.as_bytes(), 128, usize::MAX).unwrap()
    }

    #[test]
    fn a_document_reads_back_as_it_was_written() {
        let mut bytes = Vec::new();
        document().write(&mut bytes);
        let mut input = Reader::new(&bytes);
        assert_eq!(Json::read(&mut input).unwrap().canonical(), DOCUMENT);
        assert!(input.is_done());
        for end in 0..bytes.len() {
            assert!(Json::read(&mut Reader::new(&bytes[..end])).is_err());
        }
    }

    #[test]
    fn every_act_is_undone_by_its_inverse_and_survives_the_log() {
        for (at, act, after) in [
            (vec![0], Act::Replace(node("7")), r#"{"a":7,"b":{"c":{},"d":[]},"e":"text"}"#),
            (vec![], Act::Replace(node("[]")), "[]"),
            (vec![1], Act::Insert(0, "n".into(), node("1")), r#""b":{"n":1,"d":[],"c":{}}"#),
            (vec![], Act::Remove(0), r#"{"e":"text","b":{"c":{},"d":[]}}"#),
            (vec![0], Act::Splice(1, 6, vec![node("9")]), r#"{"a":[1,9,false]"#),
            (vec![0], Act::Splice(8, 0, vec![node("9"), node("{}")]), "true,false,9,{}]"),
            (vec![2], Act::Append("é".into()), "texté"),
            (vec![2], Act::Truncate(1), r#""e":"t""#),
        ] {
            let mut json = document();
            let mut bytes = Vec::new();
            Json::write_change(&Change { at, act }, &mut bytes);
            let change = Json::read_change(&mut Reader::new(&bytes)).unwrap();
            let inverse = json.apply(change);
            assert!(json.canonical().contains(after), "{} has no {after}", json.canonical());
            assert_eq!(json.bytes, json.root.heap_bytes());
            json.apply(inverse);
            assert_eq!(json.canonical(), DOCUMENT);
            assert_eq!(json.bytes, json.root.heap_bytes());
        }
    }

    #[test]
    fn what_does_not_fit_changes_nothing() {
        for (at, act) in [
            (vec![9], Act::Replace(Node::Null)),
            (vec![0, 1, 1], Act::Remove(0)),
            (vec![], Act::Remove(3)),
            (vec![0], Act::Remove(0)),
            (vec![0], Act::Insert(0, "a".into(), Node::Null)),
            (vec![0], Act::Splice(9, 0, vec![])),
            (vec![0], Act::Splice(u32::MAX, u32::MAX, vec![])),
            (vec![1], Act::Splice(0, 0, vec![])),
            (vec![0], Act::Append("x".into())),
            (vec![2], Act::Truncate(5)),
        ] {
            let mut json = document();
            let inverse = json.apply(Change { at, act });
            assert_eq!(json.canonical(), DOCUMENT);
            json.apply(inverse);
            assert_eq!(json.canonical(), DOCUMENT);
        }
    }

    #[test]
    fn a_forged_depth_is_refused() {
        let mut bytes = [tag::ARRAY, 1].repeat(100_000);
        bytes.push(tag::NULL);
        assert!(Json::read(&mut Reader::new(&bytes)).is_err());
    }
}
