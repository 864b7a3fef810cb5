//! The value behind a key of type `array`: strings at indexes, most of which may be empty, and where the last append went.
//!
//! Indexes go from 0 to 2⁶⁴ − 2. A tree from index to string costs what there is, not what lies between; its order makes
//! ranges cheap in both directions. An array without strings is no array: its key goes, and the cursor with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use dormouse_proto::Blob;

use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::keyspace::heap_bytes;
use crate::value::Kind;

/// The highest index.
pub(crate) const INDEX_MAX: u64 = u64::MAX - 1;
/// What a slot costs in memory beside the bytes behind its string: its part of a node of the tree.
const SLOT_BYTES: usize = 48;

/// See the module's text.
#[derive(Clone, Debug, Default)]
pub struct Array {
    slots: BTreeMap<u64, Blob>,
    /// Where the last append went, if the next one is not to begin at 0.
    last: Option<u64>,
    bytes: usize,
}

/// One effect on an array.
#[derive(Debug)]
pub enum Change {
    /// A slot gets a string, or becomes empty.
    Set {
        /// The slot.
        index: u64,
        /// Its string.
        value: Option<Blob>,
    },
    /// The last append counts as having gone here, or as never having happened.
    Seek(Option<u64>),
}

mod tag {
    pub(super) const SET: u8 = 0;
    pub(super) const CLEAR: u8 = 1;
    pub(super) const SEEK: u8 = 2;
    pub(super) const UNSEEK: u8 = 3;
}

impl Array {
    /// How many slots hold a string.
    pub(crate) fn count(&self) -> usize {
        self.slots.len()
    }

    /// One more than the highest slot that holds a string.
    pub(crate) fn len(&self) -> u64 {
        self.slots.last_key_value().map_or(0, |(index, _)| index + 1)
    }

    /// The string of a slot.
    pub(crate) fn slot(&self, index: u64) -> Option<&Blob> {
        self.slots.get(&index)
    }

    /// Slots that hold a string, by rising index.
    pub(crate) fn range(&self, range: RangeInclusive<u64>) -> impl DoubleEndedIterator<Item = (u64, &Blob)> + use<'_> {
        self.slots.range(range).map(|(index, value)| (*index, value))
    }

    /// Where the last append went.
    pub(crate) const fn last(&self) -> Option<u64> {
        self.last
    }

    /// Where the next append goes, if there is room for one.
    pub(crate) const fn next(&self) -> Option<u64> {
        match self.last {
            None => Some(0),
            Some(last) if last >= INDEX_MAX => None,
            Some(last) => Some(last + 1),
        }
    }

    /// For each run of `size` indexes that holds something: how much, and how far the first and the last are apart.
    pub(crate) fn spans(&self, size: u64) -> Vec<(u64, u64)> {
        let mut spans: Vec<(u64, u64)> = Vec::new();
        let mut current = None;
        for index in self.slots.keys().copied() {
            match (&mut current, spans.last_mut()) {
                (Some((run, first)), Some(span)) if *run == index / size => *span = (span.0 + 1, index - *first),
                _ => {
                    current = Some((index / size, index));
                    spans.push((1, 0));
                }
            }
        }
        spans
    }

    /// How many runs of `size` indexes hold something.
    pub(crate) fn runs(&self, size: u64) -> usize {
        let (mut runs, mut from) = (0, 0);
        while let Some((index, _)) = self.slots.range(from..).next() {
            runs += 1;
            match (index / size + 1).checked_mul(size) {
                Some(next) => from = next,
                None => break,
            }
        }
        runs
    }

    fn set(&mut self, index: u64, value: Option<Blob>) -> Option<Blob> {
        self.bytes += value.as_ref().map_or(0, slot_bytes);
        let old = match value {
            Some(value) => self.slots.insert(index, value),
            None => self.slots.remove(&index),
        };
        self.bytes = self.bytes.saturating_sub(old.as_ref().map_or(0, slot_bytes));
        old
    }
}

fn slot_bytes(value: &Blob) -> usize {
    SLOT_BYTES + heap_bytes(value)
}

impl Kind for Array {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Set { index, value } => Change::Set { index, value: self.set(index, value) },
            Change::Seek(last) => Change::Seek(std::mem::replace(&mut self.last, last)),
        }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        match change {
            Change::Set { index, value: Some(value) } => {
                out.push(tag::SET);
                put_int(out, *index);
                put_bytes(out, value);
            }
            Change::Set { index, value: None } => {
                out.push(tag::CLEAR);
                put_int(out, *index);
            }
            Change::Seek(Some(last)) => {
                out.push(tag::SEEK);
                put_int(out, *last);
            }
            Change::Seek(None) => out.push(tag::UNSEEK),
        }
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        Ok(match input.byte()? {
            tag::SET => Change::Set { index: index(input.int()?)?, value: Some(input.blob()?) },
            tag::CLEAR => Change::Set { index: index(input.int()?)?, value: None },
            tag::SEEK => Change::Seek(Some(index(input.int()?)?)),
            tag::UNSEEK => Change::Seek(None),
            _ => return Err(Corrupt("a change of an array")),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        // One more than the last append's index, which leaves 0 for none.
        put_int(out, self.last.map_or(0, |last| last + 1));
        put_int(out, self.slots.len() as u64);
        let mut next = 0;
        for (index, value) in &self.slots {
            put_int(out, index - next);
            put_bytes(out, value);
            next = index + 1;
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let mut array = Self { last: input.int()?.checked_sub(1), ..Self::default() };
        let mut next = 0_u64;
        for _ in 0..input.count()? {
            let at = next.checked_add(input.int()?).ok_or(Corrupt("the index of a slot"))?;
            array.set(index(at)?, Some(input.blob()?));
            next = at + 1;
        }
        Ok(array)
    }

    fn is_void(&self) -> bool {
        self.slots.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        self.bytes
    }

    fn canonical(&self) -> String {
        format!("{self:?}")
    }
}

fn index(value: u64) -> Result<u64, Corrupt> {
    if value <= INDEX_MAX { Ok(value) } else { Err(Corrupt("the index of a slot")) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;

    fn written(array: &Array) -> Vec<u8> {
        let mut out = Vec::new();
        array.write(&mut out);
        out
    }

    fn change(random: &mut Random) -> Change {
        let near = random.below(12);
        let index = if random.below(4) == 0 { INDEX_MAX - near } else { near };
        match random.below(8) {
            0 => Change::Seek((index > 5).then_some(index)),
            1 | 2 => Change::Set { index, value: None },
            n => Change::Set { index, value: Some(Blob::from(vec![b'x'; (n * random.below(20)) as usize])) },
        }
    }

    #[test]
    fn every_change_is_written_read_and_undone_exactly() {
        let mut random = Random::new(1);
        let (mut array, mut inverses) = (Array::default(), Vec::new());
        for _ in 0..2_000 {
            let change = change(&mut random);
            let mut bytes = Vec::new();
            Array::write_change(&change, &mut bytes);
            let mut input = Reader::new(&bytes);
            let read = Array::read_change(&mut input).unwrap();
            assert!(input.is_done());
            assert_eq!(format!("{read:?}"), format!("{change:?}"));
            inverses.push((written(&array), array.bytes, array.apply(read)));
            let whole = written(&array);
            let copy = Array::read(&mut Reader::new(&whole)).unwrap();
            assert_eq!(copy.canonical(), array.canonical());
        }
        for (before, bytes, inverse) in inverses.into_iter().rev() {
            array.apply(inverse);
            assert_eq!((written(&array), array.bytes), (before, bytes));
        }
        assert!(array.is_void() && array.bytes == 0);
    }

    #[test]
    fn bytes_that_are_no_array_are_refused() {
        let mut array = Array::default();
        array.apply(Change::Set { index: INDEX_MAX, value: Some(Blob::from(b"v")) });
        array.apply(Change::Set { index: 3, value: Some(Blob::from(b"w")) });
        array.apply(Change::Seek(Some(INDEX_MAX)));
        let bytes = written(&array);
        for end in 0..bytes.len() {
            assert!(Array::read(&mut Reader::new(&bytes[..end])).is_err());
        }
        let mut past = vec![0, 1];
        put_int(&mut past, u64::MAX);
        put_bytes(&mut past, b"v");
        assert!(Array::read(&mut Reader::new(&past)).is_err());
        assert!(Array::read_change(&mut Reader::new(&[9])).is_err());
    }

    #[test]
    fn runs_are_counted_without_looking_at_every_slot() {
        let mut array = Array::default();
        for index in [0, 1, 4_095, 4_096, 1 << 40, INDEX_MAX] {
            array.apply(Change::Set { index, value: Some(Blob::from(b"v")) });
        }
        assert_eq!(array.runs(4_096), 4);
        assert_eq!(array.spans(4_096), [(3, 4_095), (1, 0), (1, 0), (1, 0)]);
        assert_eq!((array.len(), array.count()), (u64::MAX, 6));
    }
}
