//! A payload as a value: the encodings, and what makes a value of their parts.
//!
//! Whatever the encoding, a collection comes as a walk over its parts (`packed.rs`, and [`Strings`] here), and each type is
//! built from such a walk in one place. What becomes part of the value is taken from a [`Budget`] first; what is only needed
//! on the way, a string compressed or a listpack, is never longer than the whole budget, and there is one at a time.

use std::borrow::Cow;

use dormouse_proto::{Blob, CommandError, parse_double};

use super::length::{self, Length};
use super::packed::{Intset, Listpack, Part, Walk, Ziplist, Zipmap};
use super::{RestoreError, encoding, form, lzf, module, stream, unseal};
use crate::args::integer_text;
use crate::keyspace::heap_bytes;
use crate::types::collection::Change;
use crate::types::hash::{self, Hash};
use crate::types::json::{self, Json};
use crate::types::list::{self, List};
use crate::types::set::Set;
use crate::types::zset::ZSet;
use crate::value::{Kind, Tagged, Value};

type Result<T> = std::result::Result<T, RestoreError>;

/// How a node of a quicklist holds its elements.
mod node {
    /// It is one long element.
    pub(super) const PLAIN: u64 = 1;
    /// A listpack.
    pub(super) const PACKED: u64 = 2;
}

/// The value in a payload, which may take up to `bytes_max` of memory, near enough.
pub fn restore(payload: &[u8], bytes_max: usize) -> Result<Value> {
    // Redis has no empty collections, and neither have we.
    value_of(unseal(payload)?, bytes_max)?.ok_or(RestoreError::Format)
}

/// The value in a payload without its footer; `None` for a collection without elements. As for [`restore`] otherwise.
pub fn value_of(body: &[u8], bytes_max: usize) -> Result<Option<Value>> {
    let mut cursor = Cursor::expanding(body, bytes_max);
    let value = value(&mut cursor, &mut Budget(bytes_max))?;
    cursor.end()?;
    Ok(Some(value).filter(|value| !value.is_void()))
}

fn value(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    const STRING: &[Shape] = &[Shape::String];
    const PAIR: &[Shape] = &[Shape::String, Shape::String];
    match cursor.byte()? {
        encoding::STRING => Ok(Value::String(budget.blob(Part::Bytes(cursor.string()?))?)),
        encoding::LIST => list(&mut Strings::new(cursor, STRING)?, budget),
        encoding::SET => set(&mut Strings::new(cursor, STRING)?, budget),
        encoding::HASH => hash(&mut Strings::new(cursor, PAIR)?, budget),
        encoding::ZSET => zset(&mut Strings::new(cursor, &[Shape::String, Shape::Score])?, budget),
        encoding::ZSET_TEXT => zset(&mut Strings::new(cursor, &[Shape::String, Shape::ScoreText])?, budget),
        encoding::LIST_ZIPLIST => list(&mut Ziplist::new(&cursor.string()?)?, budget),
        encoding::LIST_QUICKLIST => quicklist(cursor, budget),
        encoding::LIST_QUICKLIST_2 => quicklist_2(cursor, budget),
        encoding::SET_INTSET => set(&mut Intset::new(&cursor.string()?)?, budget),
        encoding::SET_LISTPACK => set(&mut Listpack::new(&cursor.string()?)?, budget),
        encoding::HASH_DEADLINES => hash_with_deadlines(cursor, budget),
        encoding::HASH_DEADLINES_VALKEY => valkey_hash_with_deadlines(cursor, budget),
        encoding::HASH_LISTPACK_DEADLINES => packed_hash_with_deadlines(cursor, budget),
        encoding::HASH_ZIPMAP => hash(&mut Zipmap::new(&cursor.string()?)?, budget),
        encoding::HASH_ZIPLIST => hash(&mut Ziplist::new(&cursor.string()?)?, budget),
        encoding::STREAM => stream::read(cursor, budget, stream::Version::First),
        encoding::STREAM_2 => stream::read(cursor, budget, stream::Version::Second),
        encoding::STREAM_3 => stream::read(cursor, budget, stream::Version::Third),
        encoding::STREAM_4 => stream::read(cursor, budget, stream::Version::Fourth),
        encoding::STREAM_5 => stream::read(cursor, budget, stream::Version::Fifth),
        encoding::HASH_LISTPACK => hash(&mut Listpack::new(&cursor.string()?)?, budget),
        encoding::ZSET_ZIPLIST => zset(&mut Ziplist::new(&cursor.string()?)?, budget),
        encoding::ZSET_LISTPACK => zset(&mut Listpack::new(&cursor.string()?)?, budget),
        encoding::MODULE => document(cursor, budget),
        _ => Err(RestoreError::Format),
    }
}

fn document(cursor: &mut Cursor<'_>, budget: &Budget) -> Result<Value> {
    if cursor.length()? != module::JSON || cursor.length()? != module::STRING {
        return Err(RestoreError::Format);
    }
    let root = json::parse(&cursor.string()?, usize::MAX, budget.0).map_err(|error| match error {
        CommandError::RecordTooLarge => RestoreError::TooLarge,
        _ => RestoreError::Format,
    })?;
    if cursor.length()? == module::END { Ok(Json::new(root).into_value()) } else { Err(RestoreError::Format) }
}

fn quicklist(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    let mut items = Vec::new();
    for _ in 0..cursor.length()? {
        gather(&mut Ziplist::new(&cursor.string()?)?, &mut items, budget)?;
    }
    Ok(list_of(items))
}

fn quicklist_2(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    let mut items = Vec::new();
    for _ in 0..cursor.length()? {
        let container = cursor.length()?;
        let node = cursor.string()?;
        match container {
            node::PLAIN if !node.is_empty() => items.push(budget.blob(Part::Bytes(node))?),
            node::PACKED => gather(&mut Listpack::new(&node)?, &mut items, budget)?,
            _ => return Err(RestoreError::Format),
        }
    }
    Ok(list_of(items))
}

fn list<'a>(walk: &mut impl Walk<'a>, budget: &mut Budget) -> Result<Value> {
    let mut items = Vec::new();
    gather(walk, &mut items, budget)?;
    Ok(list_of(items))
}

fn gather<'a>(walk: &mut impl Walk<'a>, items: &mut Vec<Blob>, budget: &mut Budget) -> Result<()> {
    while let Some(element) = walk.next()? {
        items.push(budget.blob(element)?);
    }
    Ok(())
}

fn list_of(items: Vec<Blob>) -> Value {
    let mut list = List::default();
    list.apply(list::Change::Extend { front: [].into_iter().collect(), back: items.into() });
    list.into_value()
}

fn set<'a>(walk: &mut impl Walk<'a>, budget: &mut Budget) -> Result<Value> {
    let mut set = Set::default();
    while let Some(member) = walk.next()? {
        let inverse = set.apply(Change::Set { name: budget.blob(member)?, payload: () });
        expect_new(&inverse)?;
    }
    Ok(set.into_value())
}

fn hash<'a>(walk: &mut impl Walk<'a>, budget: &mut Budget) -> Result<Value> {
    let mut hash = Hash::default();
    while let Some(field) = walk.next()? {
        let value = walk.next()?.ok_or(RestoreError::Format)?;
        add_field(&mut hash, budget.blob(field)?, budget.blob(value)?)?;
    }
    Ok(hash.into_value())
}

fn add_field(hash: &mut Hash, field: Blob, value: Blob) -> Result<()> {
    let inverse = hash.apply(hash::Change::set(field, value));
    if matches!(inverse, hash::Change::Fields(Change::Remove { .. })) { Ok(()) } else { Err(RestoreError::Format) }
}

/// Fields that may have deadlines: each comes after the distance of its own from the earliest, plus one; 0 is none.
fn hash_with_deadlines(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    let first = u64::from_le_bytes(cursor.array()?);
    let mut hash = Hash::default();
    for _ in 0..cursor.length()? {
        let distance = cursor.length()?;
        let field = budget.blob(Part::Bytes(cursor.string()?))?;
        let value = budget.blob(Part::Bytes(cursor.string()?))?;
        add_field(&mut hash, field.clone(), value)?;
        if distance != 0 {
            let at = first.checked_add(distance - 1).ok_or(RestoreError::Format)?;
            add_deadline(&mut hash, field, at)?;
        }
    }
    Ok(hash.into_value())
}

/// Valkey's form: each field and value before its deadline, of which -1 is none.
fn valkey_hash_with_deadlines(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    let mut hash = Hash::default();
    for _ in 0..cursor.length()? {
        let field = budget.blob(Part::Bytes(cursor.string()?))?;
        let value = budget.blob(Part::Bytes(cursor.string()?))?;
        add_field(&mut hash, field.clone(), value)?;
        match i64::from_le_bytes(cursor.array()?) {
            -1 => {}
            at => add_deadline(&mut hash, field, u64::try_from(at).map_err(|_| RestoreError::Format)?)?,
        }
    }
    Ok(hash.into_value())
}

/// The packed form of the same: after the earliest deadline, field, value and deadline in turn.
fn packed_hash_with_deadlines(cursor: &mut Cursor<'_>, budget: &mut Budget) -> Result<Value> {
    cursor.array::<8>()?;
    let packed = cursor.string()?;
    let mut walk = Listpack::new(&packed)?;
    let mut hash = Hash::default();
    while let Some(field) = walk.next()? {
        let (field, value) = (budget.blob(field)?, budget.blob(walk.next()?.ok_or(RestoreError::Format)?)?);
        let Some(Part::Integer(at)) = walk.next()? else { return Err(RestoreError::Format) };
        add_field(&mut hash, field.clone(), value)?;
        if at != 0 {
            add_deadline(&mut hash, field, u64::try_from(at).map_err(|_| RestoreError::Format)?)?;
        }
    }
    Ok(hash.into_value())
}

fn add_deadline(hash: &mut Hash, field: Blob, at: u64) -> Result<()> {
    if at == 0 || at > hash::DEADLINE_MAX as u64 {
        return Err(RestoreError::Format);
    }
    hash.apply(hash::Change::Deadline { field, at });
    Ok(())
}

/// What is taken back by removing it was not there before.
const fn expect_new<V>(inverse: &Change<V>) -> Result<()> {
    if matches!(inverse, Change::Remove { .. }) { Ok(()) } else { Err(RestoreError::Format) }
}

fn zset<'a>(walk: &mut impl Walk<'a>, budget: &mut Budget) -> Result<Value> {
    let mut pairs = Vec::new();
    while let Some(member) = walk.next()? {
        let score = match walk.next()?.ok_or(RestoreError::Format)? {
            Part::Score(score) => Some(score).filter(|score| !score.is_nan()),
            Part::Integer(score) => Some(score as f64),
            Part::Bytes(text) => parse_double(&text),
        };
        pairs.push((budget.blob(member)?, score.ok_or(RestoreError::Format)?));
    }
    ZSet::from_pairs(pairs).map(Tagged::into_value).ok_or(RestoreError::Format)
}

/// Memory that may still be reserved.
#[derive(Debug)]
pub(super) struct Budget(usize);

impl Budget {
    /// A part as a string of its own.
    pub(super) fn blob(&mut self, part: Part<'_>) -> Result<Blob> {
        let blob = match part {
            Part::Integer(value) => integer_text(value),
            Part::Bytes(bytes) => {
                self.spend(heap_bytes(&bytes))?;
                match bytes {
                    Cow::Borrowed(bytes) => Blob::from(bytes),
                    Cow::Owned(bytes) => Blob::from(bytes),
                }
            }
            // A score where a string should be: only our own mistake could bring it here.
            Part::Score(_) => return Err(RestoreError::Format),
        };
        // The least that an element takes in any type.
        self.spend(size_of::<Blob>())?;
        Ok(blob)
    }

    pub(super) fn spend(&mut self, bytes: usize) -> Result<()> {
        self.0 = self.0.checked_sub(bytes).ok_or(RestoreError::TooLarge)?;
        Ok(())
    }
}

/// What a part of a plain collection looks like.
#[derive(Clone, Copy)]
enum Shape {
    String,
    /// A double of eight bytes.
    Score,
    /// A length of one byte and so many of text; three lengths stand for what is not finite.
    ScoreText,
}

/// A walk over a plain collection: a count, and so many times the same parts.
struct Strings<'c, 'a> {
    cursor: &'c mut Cursor<'a>,
    shapes: &'static [Shape],
    /// Entries that have not begun.
    left: u64,
    /// The shape that comes next.
    at: usize,
}

impl<'c, 'a> Strings<'c, 'a> {
    fn new(cursor: &'c mut Cursor<'a>, shapes: &'static [Shape]) -> Result<Self> {
        let left = cursor.length()?;
        Ok(Self { cursor, shapes, left, at: 0 })
    }
}

impl<'a> Walk<'a> for Strings<'_, 'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        if self.at == 0 {
            let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
            self.left = left;
        }
        let shape = self.shapes[self.at];
        self.at = (self.at + 1) % self.shapes.len();
        Ok(Some(match shape {
            Shape::String => Part::Bytes(self.cursor.string()?),
            Shape::Score => Part::Score(f64::from_le_bytes(self.cursor.array()?)),
            Shape::ScoreText => match self.cursor.byte()? {
                255 => Part::Score(f64::NEG_INFINITY),
                254 => Part::Score(f64::INFINITY),
                253 => Part::Score(f64::NAN),
                length => Part::Bytes(Cow::Borrowed(self.cursor.take(length.into())?)),
            },
        }))
    }
}

/// Bytes that have not been read.
#[derive(Debug)]
pub(super) struct Cursor<'a> {
    rest: &'a [u8],
    /// Longest string that a compressed one may become.
    expanded_bytes_max: usize,
}

impl<'a> Cursor<'a> {
    /// For bytes without compressed strings in them.
    pub(super) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, expanded_bytes_max: 0 }
    }

    /// For bytes whose compressed strings may each become as long as this.
    pub(super) const fn expanding(bytes: &'a [u8], expanded_bytes_max: usize) -> Self {
        Self { rest: bytes, expanded_bytes_max }
    }

    /// How many bytes there are.
    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }

    /// An error unless all was read.
    pub(super) const fn end(&self) -> Result<()> {
        if self.rest.is_empty() { Ok(()) } else { Err(RestoreError::Format) }
    }

    pub(super) fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let (taken, rest) = self.rest.split_at_checked(count).ok_or(RestoreError::Format)?;
        self.rest = rest;
        Ok(taken)
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let (taken, rest) = self.rest.split_first_chunk().ok_or(RestoreError::Format)?;
        self.rest = rest;
        Ok(*taken)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    pub(super) fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    pub(super) fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// A length, or the form of a string that has none.
    fn length_or_form(&mut self) -> Result<Length> {
        let length = length::read(&mut || self.byte())?;
        length.ok_or(RestoreError::Format)
    }

    pub(super) fn length(&mut self) -> Result<u64> {
        self.length_or_form()?.map_err(|_| RestoreError::Format)
    }

    fn size(&mut self) -> Result<usize> {
        usize::try_from(self.length()?).map_err(|_| RestoreError::Format)
    }

    pub(super) fn string(&mut self) -> Result<Cow<'a, [u8]>> {
        let integer = match self.length_or_form()? {
            Ok(length) => {
                let length = usize::try_from(length).map_err(|_| RestoreError::Format)?;
                return self.take(length).map(Cow::Borrowed);
            }
            Err(form::INT8) => i8::from_le_bytes(self.array()?).into(),
            Err(form::INT16) => i16::from_le_bytes(self.array()?).into(),
            Err(form::INT32) => i32::from_le_bytes(self.array()?).into(),
            Err(form::COMPRESSED) => return self.compressed(),
            Err(_) => return Err(RestoreError::Format),
        };
        Ok(Cow::Owned(integer_text(integer).to_vec()))
    }

    fn compressed(&mut self) -> Result<Cow<'a, [u8]>> {
        let (size, length) = (self.size()?, self.size()?);
        let input = self.take(size)?;
        if length > self.expanded_bytes_max {
            return Err(RestoreError::TooLarge);
        }
        lzf::expand(input, length).map(Cow::Owned).ok_or(RestoreError::Format)
    }
}
