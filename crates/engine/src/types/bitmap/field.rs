//! `BITFIELD`: integers of 1 to 64 bits at any bit of a string.
//!
//! An integer is read and written through the nine bytes at most that it touches. Its arithmetic is done in 128 bits, where
//! nothing overflows, and then brought back into its width as the caller has asked: wrapped around, held at the limit, or
//! refused.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use super::{BAD_OFFSET, BYTE, within};
use crate::args::{Options, integer, is};
use crate::command::Needs;
use crate::hub::Event;
use crate::txn::{Outcome, Txn};
use crate::types::string::{Splice, check_length};

/// Bytes that an integer of 64 bits can touch.
const WINDOW: usize = 9;

/// The width of an integer, and whether it has a sign.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    signed: bool,
    bits: u32,
}

impl Shape {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let shape = match arg.split_first() {
            Some((b'i', bits)) => parse_integer(bits).filter(|bits| (1..=64).contains(bits)).map(|bits| (true, bits)),
            Some((b'u', bits)) => parse_integer(bits).filter(|bits| (1..=63).contains(bits)).map(|bits| (false, bits)),
            _ => None,
        };
        let text = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";
        let (signed, bits) = shape.ok_or(CommandError::text(text))?;
        Ok(Self { signed, bits: bits as u32 })
    }

    const fn min(self) -> i128 {
        if self.signed { -(1 << (self.bits - 1)) } else { 0 }
    }

    const fn max(self) -> i128 {
        (if self.signed { 1 << (self.bits - 1) } else { 1 << self.bits }) - 1
    }

    /// The integer that the lowest bits of a number are.
    const fn wrap(self, number: i128) -> i128 {
        let low = number & ((1 << self.bits) - 1);
        if low > self.max() { low - (1 << self.bits) } else { low }
    }
}

/// What becomes of a number that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Overflow {
    Wrap,
    Saturate,
    Fail,
}

impl Overflow {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        let known = [("WRAP", Self::Wrap), ("SAT", Self::Saturate), ("FAIL", Self::Fail)];
        let found = known.into_iter().find_map(|(name, overflow)| is(word, name).then_some(overflow));
        found.ok_or(CommandError::text("ERR Invalid OVERFLOW type specified"))
    }

    /// The number brought into a shape, unless that is refused.
    fn fit(self, number: i128, shape: Shape) -> Option<i128> {
        let (min, max) = (shape.min(), shape.max());
        match self {
            _ if (min..=max).contains(&number) => Some(number),
            Self::Wrap => Some(shape.wrap(number)),
            Self::Saturate => Some(number.clamp(min, max)),
            Self::Fail => None,
        }
    }
}

/// `BITFIELD` reads only if all it is asked for is to get.
pub(super) fn needs(args: Args<'_>) -> Needs {
    let acts = args.get(2..).unwrap_or_default();
    let reads = acts.chunks(3).all(|act| is(act[0], "GET"));
    if reads { Needs::Read } else { Needs::ReadWrite }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Get,
    Set(i64),
    Add(i64),
}

/// One sub-command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Step {
    act: Act,
    shape: Shape,
    /// Number of its first bit.
    offset: u64,
    overflow: Overflow,
}

impl Step {
    fn parse_all(txn: &mut Txn<'_>, args: Args<'_>) -> Result<Vec<Self>, CommandError> {
        let mut options = Options::new(args);
        let mut overflow = Overflow::Wrap;
        let mut steps = Vec::new();
        while let Some(word) = options.next() {
            let left = options.rest().len();
            if is(word, "OVERFLOW") && left >= 1 {
                overflow = Overflow::parse(options.value()?)?;
                continue;
            }
            let known: Option<fn(i64) -> Act> = match () {
                () if is(word, "GET") && left >= 2 => Some(|_| Act::Get),
                () if is(word, "SET") && left >= 3 => Some(Act::Set),
                () if is(word, "INCRBY") && left >= 3 => Some(Act::Add),
                () => None,
            };
            let act = known.ok_or(CommandError::Syntax)?;
            let shape = Shape::parse(options.value()?)?;
            let offset = offset(txn, options.value()?, shape)?;
            let amount = if act(0) == Act::Get { 0 } else { integer(options.value()?)? };
            steps.push(Self { act: act(amount), shape, offset, overflow });
        }
        Ok(steps)
    }

    const fn writes(&self) -> bool {
        !matches!(self.act, Act::Get)
    }

    /// Bytes a string must have for it to be written.
    const fn length(&self) -> usize {
        (self.offset + self.shape.bits as u64).div_ceil(BYTE) as usize
    }

    const fn first_byte(&self) -> usize {
        (self.offset / BYTE) as usize
    }

    /// The bytes it touches as one number, and how far its lowest bit is from that number's.
    fn window(&self, bytes: &[u8]) -> (u128, u32) {
        let first = self.first_byte();
        let number = (first..first + WINDOW)
            .fold(0_u128, |number, at| number << BYTE | u128::from(bytes.get(at).copied().unwrap_or(0)));
        (number, (WINDOW as u32 * BYTE as u32) - (self.offset % BYTE) as u32 - self.shape.bits)
    }

    fn read(&self, bytes: &[u8]) -> i128 {
        let (number, shift) = self.window(bytes);
        self.shape.wrap((number >> shift) as i128)
    }

    /// The bytes it touches once it holds a value.
    fn patch(&self, bytes: &[u8], value: i128) -> Splice {
        let (number, shift) = self.window(bytes);
        let mask = ((1_u128 << self.shape.bits) - 1) << shift;
        let number = number & !mask | (value as u128) << shift & mask;
        let all = number.to_be_bytes();
        let touched = &all[all.len() - WINDOW..][..self.length() - self.first_byte()];
        Splice::overwrite(self.first_byte(), touched)
    }

    /// What it writes, and its reply. Both are missing if the number does not fit and that is refused.
    fn outcome(&self, old: i128) -> Option<(i128, i128)> {
        match self.act {
            Act::Get => Some((old, old)),
            // Where there is no sign, Redis takes a negative number for a very large one.
            Act::Set(value) => {
                let value = if self.shape.signed { i128::from(value) } else { i128::from(value as u64) };
                let fitting = self.overflow.fit(value, self.shape)?;
                // Redis subtracts in 64 bits: a number that is too far below the range ends at its upper side.
                let far = fitting != value && self.shape.max() - value > i128::from(i64::MAX);
                let held_above = far && self.overflow == Overflow::Saturate;
                Some((if held_above { self.shape.max() } else { fitting }, old))
            }
            Act::Add(amount) => self.overflow.fit(old + i128::from(amount), self.shape).map(|new| (new, new)),
        }
    }
}

/// The number of a bit; `#3` is three times the width.
fn offset(txn: &mut Txn<'_>, arg: &[u8], shape: Shape) -> Result<u64, CommandError> {
    let (digits, unit) = match arg {
        [b'#', digits @ ..] => (digits, i64::from(shape.bits)),
        _ => (arg, 1),
    };
    let offset = parse_integer(digits).and_then(|offset| offset.checked_mul(unit));
    let offset = offset.and_then(|offset| u64::try_from(offset).ok()).ok_or(BAD_OFFSET)?;
    within(txn, offset)
}

pub(super) fn bitfield_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let steps = Step::parse_all(txn, &args[2..])?;
    if steps.iter().any(Step::writes) {
        return Err(CommandError::text("ERR BITFIELD_RO only supports the GET subcommand").into());
    }
    read_all(txn, args[1], &steps)
}

fn read_all(txn: &mut Txn<'_>, key: &[u8], steps: &[Step]) -> Outcome {
    let bytes = txn.get::<Blob>(key)?.map_or(&[][..], |value| value);
    Ok(Reply::Array(steps.iter().map(|step| Reply::Integer(step.read(bytes) as i64)).collect()))
}

pub(super) fn bitfield(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, steps) = (args[1], Step::parse_all(txn, &args[2..])?);
    let Some(needed) = steps.iter().filter(|step| step.writes()).map(Step::length).max() else {
        return read_all(txn, key, &steps);
    };
    let length = txn.get::<Blob>(key)?.map_or(0, Blob::len);
    check_length(txn, needed)?;
    let mut edit = txn.edit::<Blob>(key)?;
    // Room for every write is made first, as in Redis: a write that is refused leaves zeros behind.
    if needed > length {
        edit.apply(Splice::overwrite(needed, &[]));
    }
    let mut replies = Vec::with_capacity(steps.len());
    let (grown, mut changed) = (needed > length, false);
    for step in &steps {
        let old = step.read(&edit);
        let Some((new, reply)) = step.outcome(old) else {
            replies.push(Reply::Null);
            continue;
        };
        if new != old {
            let patch = step.patch(&edit, new);
            edit.apply(patch);
        }
        changed |= step.writes() && (grown || new != old);
        replies.push(Reply::Integer(reply as i64));
    }
    drop(edit);
    if changed {
        txn.notify(Event::String, "setbit", key);
    }
    Ok(Reply::Array(replies))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn numbers_that_do_not_fit_wrap_or_stop_or_fail() {
        let shape = |text: &[u8]| Shape::parse(text).unwrap();
        for (width, number, wrapped, held) in [
            ("u8", 256, 0, 255),
            ("u8", -1, 255, 0),
            ("i8", 128, -128, 127),
            ("i8", -129, 127, -128),
            ("i64", i128::from(i64::MAX) + 1, i128::from(i64::MIN), i128::from(i64::MAX)),
            ("u63", 1 << 63, 0, (1 << 63) - 1),
            ("u1", 3, 1, 1),
            ("i1", 1, -1, 0),
        ] {
            let shape = shape(width.as_bytes());
            assert_eq!(Overflow::Wrap.fit(number, shape), Some(wrapped), "{width}");
            assert_eq!(Overflow::Saturate.fit(number, shape), Some(held), "{width}");
            assert_eq!(Overflow::Fail.fit(number, shape), None, "{width}");
        }
        for wrong in ["u64", "i65", "u0", "i0", "x8", "u", "", "u08", "U8"] {
            assert!(Shape::parse(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_changes_a_string_is_announced() {
        let mut bench = Bench::new();
        for (line, expected) in [
            ("BITFIELD b SET u8 0 0", "setbit:b"),
            ("BITFIELD b SET u8 0 0", ""),
            ("BITFIELD b SET u8 0 5 SET u8 0 0", "setbit:b"),
            ("BITFIELD b INCRBY u8 0 0", ""),
            ("BITFIELD b SET u8 64 0", "setbit:b"),
            ("BITFIELD b OVERFLOW FAIL SET u8 128 256", ""),
            ("BITFIELD b GET u8 0", ""),
        ] {
            assert_eq!(bench.announced(line), expected, "{line}");
        }
    }

    #[test]
    fn integers_lie_across_bytes() {
        let mut bench = Bench::new();
        let integers = |numbers: &[i64]| Reply::Array(numbers.iter().map(|&number| Reply::Integer(number)).collect());
        let line = "BITFIELD b SET i64 3 -2 GET i64 3 GET u4 0 INCRBY u5 #1 9 GET u5 5";
        assert_eq!(bench.run(line), integers(&[0, -2, 1, 8, 8]));
        assert_eq!(bench.run("STRLEN b"), Reply::Integer(9));
        assert_eq!(bench.run("BITFIELD_RO b GET i64 3"), integers(&[-2 - (23 << 57)]));
        let refused = bench.run("BITFIELD c OVERFLOW FAIL INCRBY u2 100 4 SET u2 0 3");
        assert_eq!(refused, Reply::Array(vec![Reply::Null, Reply::Integer(0)]));
        assert_eq!(bench.run("STRLEN c"), Reply::Integer(13), "room was made for what was refused");
        assert!(bench.journal_bytes < 64);
    }
}
