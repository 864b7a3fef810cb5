//! Bitmaps: strings seen as rows of bits, the highest bit of the first byte being bit 0.
//!
//! There is no type of its own: a bitmap is the string that `GET` returns, and bits beyond its end read as zeros. Writes
//! are [`Splice`]s of the bytes they touch, so that one bit of a large string is a small effect. Counting and searching go
//! by words of 64 bits. Combining bitmaps is in `combine.rs`, integers of any width in `field.rs`.

mod combine;
mod field;

use std::ops::Range;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::{integer, is};
use crate::command::{Command, Group, Handler, Needs, command};
use crate::hub::Event;
use crate::txn::{Outcome, Txn};
use crate::types::string::{Splice, check_length};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    bitmap("SETBIT",       4, setbit)             .writes().key(1).grows()       .doc("2.2.0", "Sets or clears one bit; returns what it was."),
    bitmap("GETBIT",       3, getbit)             .reads() .key(1).fast()        .doc("2.2.0", "The value of one bit."),
    bitmap("BITCOUNT",    -2, bitcount)           .reads() .key(1)               .doc("2.6.0", "The number of bits that are set, in a range if asked."),
    bitmap("BITPOS",      -3, bitpos)             .reads() .key(1)               .doc("2.8.7", "The position of the first bit that is set, or clear, in a range if asked."),
    bitmap("BITOP",       -4, combine::bitop)     .writes().keys(2, -1, 1).grows().needs(Needs::Write, Needs::Read).overwrites().doc("2.6.0", "Combines bitmaps bit by bit and stores the result."),
    bitmap("BITFIELD",    -2, field::bitfield)    .writes().key(1).grows()       .needs_by(field::needs).doc("3.2.0", "Reads, sets and increments integers of any width at any bit."),
    bitmap("BITFIELD_RO", -2, field::bitfield_ro) .reads() .key(1).fast()        .doc("6.0.0", "Reads integers of any width at any bit."),
];

const fn bitmap(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Bitmap)
}

/// Bits in a byte, as bits are counted.
const BYTE: u64 = 8;
/// Why an offset is refused.
const BAD_OFFSET: CommandError = CommandError::text("ERR bit offset is not an integer or out of range");

/// The number of a bit, within the longest string.
fn offset(txn: &mut Txn<'_>, arg: &[u8]) -> Result<u64, CommandError> {
    let offset = parse_integer(arg).and_then(|offset| u64::try_from(offset).ok()).ok_or(BAD_OFFSET)?;
    within(txn, offset)
}

fn within(txn: &mut Txn<'_>, offset: u64) -> Result<u64, CommandError> {
    if offset / BYTE >= txn.hub().limits.string_bytes_max as u64 { Err(BAD_OFFSET) } else { Ok(offset) }
}

/// The byte of a bit, and the bit within it.
const fn place(offset: u64) -> (usize, u8) {
    ((offset / BYTE) as usize, 0x80 >> (offset % BYTE))
}

fn setbit(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let offset = offset(txn, args[2])?;
    let set = match args[3] {
        b"0" => false,
        b"1" => true,
        _ => return Err(CommandError::text("ERR bit is not an integer or out of range").into()),
    };
    let (at, mask) = place(offset);
    let value = txn.get::<Blob>(args[1])?;
    let old = value.and_then(|value| value.get(at).copied());
    let byte = old.unwrap_or(0);
    let was_set = byte & mask != 0;
    if old.is_none() || was_set != set {
        check_length(txn, at + 1)?;
        let byte = if set { byte | mask } else { byte & !mask };
        txn.edit::<Blob>(args[1])?.apply(Splice::overwrite(at, &[byte]));
        txn.notify(Event::String, "setbit", args[1]);
    }
    Ok(Reply::flag(was_set))
}

fn getbit(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (at, mask) = place(offset(txn, args[2])?);
    let value = txn.get::<Blob>(args[1])?;
    Ok(Reply::flag(value.and_then(|value| value.get(at)).is_some_and(|byte| byte & mask != 0)))
}

/// What the ends of a range count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Unit {
    Byte,
    Bit,
}

impl Unit {
    fn parse(word: Option<&&[u8]>) -> Result<Self, CommandError> {
        match word {
            None => Ok(Self::Byte),
            Some(word) if is(word, "BYTE") => Ok(Self::Byte),
            Some(word) if is(word, "BIT") => Ok(Self::Bit),
            Some(_) => Err(CommandError::Syntax),
        }
    }

    /// The bits of an inclusive range whose negative ends count from the back of `length` bytes.
    fn bits(self, start: i64, end: i64, length: usize) -> Range<u64> {
        let (total, unit) = match self {
            Self::Byte => (length as i64, BYTE),
            Self::Bit => ((length as u64 * BYTE) as i64, 1),
        };
        let from_back = |at: i64| if at < 0 { at.saturating_add(total).max(0) } else { at };
        let (start, end) = (from_back(start), from_back(end).min(total - 1));
        if start > end { 0..0 } else { start as u64 * unit..(end as u64 + 1) * unit }
    }
}

fn bitcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, end, unit) = match &args[2..] {
        [] => (0, -1, Unit::Byte),
        [start, end, unit @ ..] if unit.len() <= 1 => (integer(start)?, integer(end)?, Unit::parse(unit.first())?),
        _ => return Err(CommandError::Syntax.into()),
    };
    let Some(value) = txn.get::<Blob>(args[1])? else {
        return Ok(Reply::Integer(0));
    };
    if start < 0 && end < 0 && start > end {
        return Ok(Reply::Integer(0));
    }
    Ok(Reply::Integer(count(value, unit.bits(start, end, value.len())) as i64))
}

/// How many of these bits are set.
fn count(bytes: &[u8], bits: Range<u64>) -> u64 {
    if bits.is_empty() {
        return 0;
    }
    let (first, last) = ((bits.start / BYTE) as usize, ((bits.end - 1) / BYTE) as usize);
    let head = 0xff_u8 >> (bits.start % BYTE);
    let tail = 0xff_u8 << (BYTE - 1 - (bits.end - 1) % BYTE);
    if first == last {
        return (bytes[first] & head & tail).count_ones().into();
    }
    let ends = (bytes[first] & head).count_ones() + (bytes[last] & tail).count_ones();
    let (words, rest) = bytes[first + 1..last].as_chunks::<8>();
    let words: u64 = words.iter().map(|word| u64::from(u64::from_ne_bytes(*word).count_ones())).sum();
    u64::from(ends) + words + rest.iter().map(|byte| u64::from(byte.count_ones())).sum::<u64>()
}

fn bitpos(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let set = match integer(args[2])? {
        0 => false,
        1 => true,
        _ => return Err(CommandError::text("ERR The bit argument must be 1 or 0.").into()),
    };
    let (start, end, unit, open) = match &args[3..] {
        [] => (0, -1, Unit::Byte, true),
        [start] => (integer(start)?, -1, Unit::Byte, true),
        [start, end, unit @ ..] if unit.len() <= 1 => {
            let start = integer(start)?;
            let unit = Unit::parse(unit.first())?;
            (start, integer(end)?, unit, false)
        }
        _ => return Err(CommandError::Syntax.into()),
    };
    let Some(value) = txn.get::<Blob>(args[1])? else {
        // A missing key is an endless row of zeros.
        return Ok(Reply::Integer(if set { -1 } else { 0 }));
    };
    let bits = unit.bits(start, end, value.len());
    let found = position(value, set, bits.clone());
    // Beyond the end of the string all bits are clear, unless the caller has said where to stop.
    let beyond = (open && !set && !bits.is_empty()).then_some(bits.end);
    Ok(Reply::Integer(found.or(beyond).map_or(-1, |at| at as i64)))
}

/// The first of these bits that is set, or clear.
fn position(bytes: &[u8], set: bool, bits: Range<u64>) -> Option<u64> {
    if bits.is_empty() {
        return None;
    }
    // Looking for a clear bit is looking for a set one in the complement.
    let (flip, flips) = if set { (0, 0) } else { (0xff, u64::MAX) };
    let (first, end) = ((bits.start / BYTE) as usize, bits.end.div_ceil(BYTE) as usize);
    let in_byte = |at: usize, byte: u8| at as u64 * BYTE + u64::from(byte.leading_zeros());
    let head = (bytes[first] ^ flip) & (0xff >> (bits.start % BYTE));
    let found = if head != 0 {
        Some(in_byte(first, head))
    } else {
        let (words, rest) = bytes[first + 1..end].as_chunks::<8>();
        let word = words.iter().position(|word| u64::from_ne_bytes(*word) ^ flips != 0);
        let from = word.unwrap_or(words.len()) * size_of::<u64>();
        let rest = if word.is_some() { &bytes[first + 1 + from..end] } else { rest };
        let byte = rest.iter().position(|byte| byte ^ flip != 0);
        byte.map(|at| in_byte(first + 1 + from + at, rest[at] ^ flip))
    };
    found.filter(|&at| at < bits.end)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;

    #[test]
    fn a_bit_of_a_large_string_is_a_small_effect() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("SETBIT b 7999999 1"), Reply::Integer(0));
        assert_eq!(bench.run("STRLEN b"), Reply::Integer(1_000_000));
        assert!(bench.journal_bytes < 64, "{}", bench.journal_bytes);
        assert_eq!(bench.run("SETBIT b 7 1"), Reply::Integer(0));
        assert!(bench.journal_bytes < 64, "{}", bench.journal_bytes);
        assert_eq!(bench.run("SETBIT b 7 1"), Reply::Integer(1));
        assert_eq!(bench.journal_bytes, 0, "nothing changed");
        assert_eq!(bench.run("BITCOUNT b"), Reply::Integer(2));
        assert_eq!(bench.run("BITPOS b 1 1"), Reply::Integer(7_999_999));
        assert_eq!(bench.error("SETBIT b 4294967296 1"), BAD_OFFSET.to_string());
    }

    #[test]
    fn words_find_what_bits_find() {
        let mut random = Random::new(7);
        for round in 0..2_000 {
            let length = random.below(40) as usize;
            let mut bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
            if round % 2 == 0 {
                bytes.fill(if round % 4 == 0 { 0 } else { 0xff });
                if length > 0 {
                    bytes[random.below(length as u64) as usize] ^= 1 << random.below(8);
                }
            }
            let total = length as u64 * BYTE;
            let (a, b) = (random.below(total + 1), random.below(total + 1));
            let bits = a.min(b)..a.max(b);
            let bit = |at: u64| bytes[place(at).0] & place(at).1 != 0;
            assert_eq!(count(&bytes, bits.clone()), bits.clone().filter(|&at| bit(at)).count() as u64);
            for set in [false, true] {
                assert_eq!(position(&bytes, set, bits.clone()), bits.clone().find(|&at| bit(at) == set), "{bits:?}");
            }
        }
    }
}
