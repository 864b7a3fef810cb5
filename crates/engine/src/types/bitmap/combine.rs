//! `BITOP`: bitmaps combined bit by bit, as if all were as long as the longest.
//!
//! Each operation is one or two passes of plain byte arithmetic over whole strings, which the compiler turns into vector
//! instructions; nothing looks at a single bit.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::is;
use crate::hub::Event;
use crate::txn::{Deadline, Outcome, Txn};
use crate::value::Value;

/// How bitmaps are combined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    /// In all of them.
    And,
    /// In any of them.
    Or,
    /// In an odd number of them.
    Xor,
    /// Not in the only one.
    Not,
    /// In the first and in none of the others.
    Diff,
    /// In some of the others, and not in the first.
    Diff1,
    /// In the first and in some of the others.
    AndOr,
    /// In exactly one of them.
    One,
}

const OPERATIONS: &[(&str, Operation)] = &[
    ("AND", Operation::And),
    ("OR", Operation::Or),
    ("XOR", Operation::Xor),
    ("NOT", Operation::Not),
    ("DIFF", Operation::Diff),
    ("DIFF1", Operation::Diff1),
    ("ANDOR", Operation::AndOr),
    ("ONE", Operation::One),
];

impl Operation {
    fn parse(word: &[u8], sources: usize) -> Result<Self, CommandError> {
        let known = OPERATIONS.iter().find(|(name, _)| is(word, name));
        let &(name, operation) = known.ok_or(CommandError::Syntax)?;
        match operation {
            Self::Not if sources != 1 => {
                Err(CommandError::text("ERR BITOP NOT must be called with a single source key."))
            }
            Self::Diff | Self::Diff1 | Self::AndOr if sources < 2 => {
                Err(format!("ERR BITOP {name} must be called with at least two source keys.").into())
            }
            _ => Ok(operation),
        }
    }

    /// The combination, as long as the longest source.
    fn apply(self, sources: &[Blob]) -> Vec<u8> {
        let length = sources.iter().map(Blob::len).max().unwrap_or(0);
        let (first, others) = sources.split_first().map_or((&[][..], &[][..]), |(first, rest)| (first, rest));
        match self {
            Self::And => fold(length, first, others, |a, b| a & b),
            Self::Or => fold(length, first, others, |a, b| a | b),
            Self::Xor => fold(length, first, others, |a, b| a ^ b),
            Self::Not => first.iter().map(|byte| !byte).collect(),
            Self::Diff => with_first(length, first, others, |first, any| first & !any),
            Self::Diff1 => with_first(length, first, others, |first, any| !first & any),
            Self::AndOr => with_first(length, first, others, |first, any| first & any),
            Self::One => one(length, sources),
        }
    }
}

/// Joins the others to the first, one after the other. Missing bytes are zeros.
fn fold(length: usize, first: &[u8], others: &[Blob], join: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut result = padded(first, length);
    for other in others {
        let (within, beyond) = result.split_at_mut(other.len());
        within.iter_mut().zip(other.iter()).for_each(|(a, &b)| *a = join(*a, b));
        for a in beyond {
            *a = join(*a, 0);
        }
    }
    result
}

/// Joins the first with the union of the others.
fn with_first(length: usize, first: &[u8], others: &[Blob], join: impl Fn(u8, u8) -> u8) -> Vec<u8> {
    let mut result = fold(length, &[], others, |a, b| a | b);
    let (within, beyond) = result.split_at_mut(first.len());
    within.iter_mut().zip(first).for_each(|(any, &first)| *any = join(first, *any));
    for any in beyond {
        *any = join(0, *any);
    }
    result
}

fn one(length: usize, sources: &[Blob]) -> Vec<u8> {
    let (mut once, mut twice) = (vec![0; length], vec![0; length]);
    for source in sources {
        for ((once, twice), &bits) in once.iter_mut().zip(&mut twice).zip(source.iter()) {
            *twice |= *once & bits;
            *once |= bits;
        }
    }
    once.iter().zip(&twice).map(|(once, twice)| once & !twice).collect()
}

fn padded(bytes: &[u8], length: usize) -> Vec<u8> {
    let mut result = Vec::with_capacity(length);
    result.extend_from_slice(bytes);
    result.resize(length, 0);
    result
}

pub(super) fn bitop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (target, names) = (args[2], &args[3..]);
    let operation = Operation::parse(args[1], names.len())?;
    let mut sources = Vec::with_capacity(names.len());
    for name in names {
        sources.push(txn.get::<Blob>(name)?.cloned().unwrap_or_default());
    }
    let result = operation.apply(&sources);
    let length = result.len();
    if length > 0 {
        txn.put(target, Value::String(Blob::from(result)), Deadline::Clear)?;
        txn.notify(Event::String, "set", target);
    } else if txn.delete(target)? {
        txn.notify(Event::Generic, "del", target);
    }
    Ok(Reply::count(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn operations_do_bit_by_bit_what_they_say() {
        let sources: Vec<Blob> =
            [&[0b1100_u8, 0xff, 1][..], &[0b1010, 0x0f], &[0b1001]].into_iter().map(Blob::from).collect();
        for (operation, expected) in [
            (Operation::And, vec![0b1000, 0, 0]),
            (Operation::Or, vec![0b1111, 0xff, 1]),
            (Operation::Xor, vec![0b1111, 0xf0, 1]),
            (Operation::Diff, vec![0b0100, 0xf0, 1]),
            (Operation::Diff1, vec![0b0011, 0, 0]),
            (Operation::AndOr, vec![0b1000, 0x0f, 0]),
            (Operation::One, vec![0b0111, 0xf0, 1]),
        ] {
            assert_eq!(operation.apply(&sources), expected, "{operation:?}");
        }
        assert_eq!(Operation::Not.apply(&sources[..1]), [!0b1100, 0, 0xfe]);
        assert!(Operation::Or.apply(&[Blob::new(), Blob::new()]).is_empty());
    }
}
