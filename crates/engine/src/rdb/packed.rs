//! Collections packed into one string: listpacks, ziplists, zipmaps and intsets.
//!
//! Redis keeps small collections so in memory and writes them as they lie. Each form is walked from front to back and is
//! trusted in nothing: the sizes and counts in its header must be those of the walk, and the lengths with which one would
//! walk it backwards must be right, as Redis checks them when it is told to be careful. All numbers are little endian but
//! where said.
//!
//! - listpack: bytes in all (4), entries (2), the entries, `ff`. An entry: its encoding, its data, the length of these two in
//!   groups of seven bits, written to be read from the end.
//! - ziplist: bytes in all (4), where the last entry starts (4), entries (2), the entries, `ff`. An entry: the length of the
//!   one before (1, or `fe` and 4), its encoding, its data.
//! - zipmap: entries (1), the entries, `ff`. An entry: a length (1, or `fe` and 4) and a field, then a length, the number of
//!   unused bytes (1), a value and the unused bytes.
//! - intset: bytes of an integer (4), integers (4), the integers, rising.
//!
//! The highest count (in a zipmap 254, as 255 would end it) means that nobody counted.

use std::borrow::Cow;

use super::RestoreError;
use super::listpack::groups;
use super::read::Cursor;

type Result<T> = std::result::Result<T, RestoreError>;

/// Ends listpacks, ziplists and zipmaps.
const END: u8 = 0xff;
/// A count of 16 bits that says nothing.
const COUNT_UNKNOWN: u16 = u16::MAX;
/// A length from here on takes four more bytes.
const LONG: u8 = 0xfe;
/// The same, for the number of entries in a zipmap.
const ZIPMAP_COUNT_UNKNOWN: u8 = LONG;
/// Bytes before a ziplist's first entry.
const ZIPLIST_HEADER_BYTES: usize = 10;

/// One part of a value on its way in.
#[derive(Debug)]
pub(super) enum Part<'a> {
    Bytes(Cow<'a, [u8]>),
    Integer(i64),
    Score(f64),
}

/// A walk over the parts of a value.
pub(super) trait Walk<'a> {
    /// The next part; `None` behind the last, if all was as it should be.
    fn next(&mut self) -> Result<Option<Part<'a>>>;
}

const fn bytes(bytes: &[u8]) -> Part<'_> {
    Part::Bytes(Cow::Borrowed(bytes))
}

fn ensure(right: bool) -> Result<()> {
    if right { Ok(()) } else { Err(RestoreError::Format) }
}

/// An integer of three bytes.
fn int24([low, middle, high]: [u8; 3]) -> i64 {
    i64::from(i32::from_le_bytes([0, low, middle, high]) >> 8)
}

/// Checks the size with which listpacks and ziplists begin.
fn check_size(cursor: &mut Cursor<'_>, size: usize) -> Result<()> {
    ensure(cursor.u32()? as usize == size)
}

/// Checks a count that may be unknown.
fn check_count(declared: u16, seen: usize) -> Result<()> {
    ensure(declared == COUNT_UNKNOWN || usize::from(declared) == seen)
}

/// A walk over a listpack.
pub(super) struct Listpack<'a> {
    cursor: Cursor<'a>,
    count: u16,
    seen: usize,
}

impl<'a> Listpack<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packed);
        check_size(&mut cursor, packed.len())?;
        let count = cursor.u16()?;
        Ok(Self { cursor, count, seen: 0 })
    }

    fn data(&mut self, encoding: u8) -> Result<Part<'a>> {
        let cursor = &mut self.cursor;
        let low = usize::from(encoding);
        Ok(match encoding {
            0..0x80 => Part::Integer(encoding.into()),
            0x80..0xc0 => bytes(cursor.take(low & 0x3f)?),
            0xc0..0xe0 => {
                let bits = i32::from(encoding & 0x1f) << 8 | i32::from(cursor.byte()?);
                // The sign is the uppermost of 13 bits.
                Part::Integer(i64::from(bits << 19 >> 19))
            }
            0xe0..0xf0 => {
                let length = (low & 0x0f) << 8 | usize::from(cursor.byte()?);
                bytes(cursor.take(length)?)
            }
            0xf0 => {
                let length = cursor.u32()? as usize;
                bytes(cursor.take(length)?)
            }
            0xf1 => Part::Integer(i16::from_le_bytes(cursor.array()?).into()),
            0xf2 => Part::Integer(int24(cursor.array()?)),
            0xf3 => Part::Integer(i32::from_le_bytes(cursor.array()?).into()),
            0xf4 => Part::Integer(i64::from_le_bytes(cursor.array()?)),
            0xf5..=END => return Err(RestoreError::Format),
        })
    }

    /// The length of an entry, to be read from its end: the last byte holds the lowest bits.
    fn check_back_length(&mut self, length: usize) -> Result<()> {
        let groups = groups(length);
        for group in (0..groups).rev() {
            let more = if group + 1 < groups { 0x80 } else { 0 };
            ensure(self.cursor.byte()? == (length >> (7 * group)) as u8 & 0x7f | more)?;
        }
        Ok(())
    }
}

impl<'a> Walk<'a> for Listpack<'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        let start = self.cursor.left();
        let encoding = self.cursor.byte()?;
        if encoding == END {
            self.cursor.end()?;
            check_count(self.count, self.seen)?;
            return Ok(None);
        }
        let data = self.data(encoding)?;
        self.check_back_length(start - self.cursor.left())?;
        self.seen += 1;
        Ok(Some(data))
    }
}

/// A walk over a ziplist.
pub(super) struct Ziplist<'a> {
    cursor: Cursor<'a>,
    size: usize,
    tail: usize,
    count: u16,
    seen: usize,
    /// Where the last entry started, and how long it was.
    last: (usize, usize),
}

impl<'a> Ziplist<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packed);
        check_size(&mut cursor, packed.len())?;
        let (tail, count) = (cursor.u32()? as usize, cursor.u16()?);
        Ok(Self { cursor, size: packed.len(), tail, count, seen: 0, last: (ZIPLIST_HEADER_BYTES, 0) })
    }

    fn data(&mut self) -> Result<Part<'a>> {
        let cursor = &mut self.cursor;
        let encoding = cursor.byte()?;
        let low = usize::from(encoding & 0x3f);
        Ok(match encoding {
            0..0x40 => bytes(cursor.take(low)?),
            0x40..0x80 => {
                let length = low << 8 | usize::from(cursor.byte()?);
                bytes(cursor.take(length)?)
            }
            // The one length that is big endian.
            0x80..0xc0 => {
                let length = u32::from_be_bytes(cursor.array()?) as usize;
                bytes(cursor.take(length)?)
            }
            0xc0 => Part::Integer(i16::from_le_bytes(cursor.array()?).into()),
            0xd0 => Part::Integer(i32::from_le_bytes(cursor.array()?).into()),
            0xe0 => Part::Integer(i64::from_le_bytes(cursor.array()?)),
            0xf0 => Part::Integer(int24(cursor.array()?)),
            0xfe => Part::Integer(i8::from_le_bytes(cursor.array()?).into()),
            // Numbers from 0 to 12.
            0xf1..=0xfd => Part::Integer(i64::from(encoding & 0x0f) - 1),
            _ => return Err(RestoreError::Format),
        })
    }
}

impl<'a> Walk<'a> for Ziplist<'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        let left = self.cursor.left();
        let previous = match self.cursor.byte()? {
            END => {
                self.cursor.end()?;
                ensure(self.tail == self.last.0)?;
                check_count(self.count, self.seen)?;
                return Ok(None);
            }
            LONG => self.cursor.u32()? as usize,
            short => short.into(),
        };
        ensure(previous == self.last.1)?;
        let data = self.data()?;
        self.last = (self.size - left, left - self.cursor.left());
        self.seen += 1;
        Ok(Some(data))
    }
}

/// A walk over a zipmap: field, value, field, value.
pub(super) struct Zipmap<'a> {
    cursor: Cursor<'a>,
    count: u8,
    /// Fields and values.
    seen: usize,
}

impl<'a> Zipmap<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packed);
        let count = cursor.byte()?;
        Ok(Self { cursor, count, seen: 0 })
    }

    fn end(&self) -> Result<()> {
        self.cursor.end()?;
        ensure(self.count == ZIPMAP_COUNT_UNKNOWN || usize::from(self.count) * 2 == self.seen)
    }
}

impl<'a> Walk<'a> for Zipmap<'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        let is_field = self.seen.is_multiple_of(2);
        let length = match self.cursor.byte()? {
            END if is_field => return self.end().map(|()| None),
            END => return Err(RestoreError::Format),
            LONG => self.cursor.u32()? as usize,
            short => short.into(),
        };
        let unused = if is_field { 0 } else { self.cursor.byte()? };
        let data = self.cursor.take(length)?;
        self.cursor.take(unused.into())?;
        self.seen += 1;
        Ok(Some(bytes(data)))
    }
}

/// A walk over an intset.
pub(super) struct Intset<'a> {
    cursor: Cursor<'a>,
    width: u32,
    last: Option<i64>,
}

impl<'a> Intset<'a> {
    pub(super) fn new(packed: &'a [u8]) -> Result<Self> {
        let mut cursor = Cursor::new(packed);
        let (width, count) = (cursor.u32()?, cursor.u32()?);
        ensure(matches!(width, 2 | 4 | 8) && u64::from(count) * u64::from(width) == cursor.left() as u64)?;
        Ok(Self { cursor, width, last: None })
    }
}

impl<'a> Walk<'a> for Intset<'a> {
    fn next(&mut self) -> Result<Option<Part<'a>>> {
        if self.cursor.left() == 0 {
            return Ok(None);
        }
        let value = match self.width {
            2 => i16::from_le_bytes(self.cursor.array()?).into(),
            4 => i32::from_le_bytes(self.cursor.array()?).into(),
            _ => i64::from_le_bytes(self.cursor.array()?),
        };
        ensure(self.last.is_none_or(|last| last < value))?;
        self.last = Some(value);
        Ok(Some(Part::Integer(value)))
    }
}
