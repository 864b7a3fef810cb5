//! Arrays: strings at indexes, far apart if one likes, with a cursor for those who append (Redis 8.8).
//!
//! An index is unsigned and never counts from the end. Every index of a command is read before any is used, so that a wrong
//! one changes nothing. What a command answers, or how far it walks, follows from the slots that hold something; where empty
//! ones are part of the answer, their number is bounded.
//!
//! The value is in `value.rs`, `ARGREP` in `grep.rs`.

mod grep;
mod value;

use std::collections::BTreeMap;
use std::ops::RangeInclusive;

use dormouse_proto::{Args, Blob, CommandError, Double, Reply, parse_double, parse_integer};

pub use self::value::Array;
use self::value::{Change, INDEX_MAX};
use crate::args::{integer, is};
use crate::command::{Command, Group, Handler, command};
use crate::decimal;
use crate::hub::Event;
use crate::txn::{Edit, Outcome, Txn};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    array("ARSET",       -4, arset)      .writes().key(1).fast().grows().doc("8.8.0", "Puts strings into consecutive slots; counts those that were empty."),
    array("ARMSET",      -4, armset)     .writes().key(1).fast().grows().doc("8.8.0", "Puts strings into slots; counts those that were empty."),
    array("ARINSERT",    -3, arinsert)   .writes().key(1).fast().grows().doc("8.8.0", "Appends strings at the cursor; the index of the last."),
    array("ARRING",      -4, arring)     .writes().key(1).grows()       .doc("8.8.0", "Appends strings to a ring of so many slots; the index of the last."),
    array("ARSEEK",       3, arseek)     .writes().key(1).fast()        .doc("8.8.0", "Moves the cursor."),
    array("ARDEL",       -3, ardel)      .writes().key(1).fast()        .removes().doc("8.8.0", "Empties slots; counts those that were not."),
    array("ARDELRANGE",  -4, ardelrange) .writes().key(1)               .removes().doc("8.8.0", "Empties ranges of slots; counts those that were not."),
    array("ARGET",        3, arget)      .reads() .key(1).fast()        .doc("8.8.0", "The string of a slot."),
    array("ARMGET",      -3, armget)     .reads() .key(1).fast()        .doc("8.8.0", "The strings of slots."),
    array("ARGETRANGE",   4, argetrange) .reads() .key(1)               .doc("8.8.0", "The strings of a range of slots, empty ones included."),
    array("ARSCAN",      -4, arscan)     .reads() .key(1)               .doc("8.8.0", "The slots of a range that hold something, with their indexes."),
    array("ARGREP",      -6, grep::argrep).reads().key(1)               .doc("8.8.0", "The slots of a range whose strings match."),
    array("AROP",        -5, arop)       .reads() .key(1)               .doc("8.8.0", "A sum, a minimum or the like over a range of slots."),
    array("ARLEN",        2, arlen)      .reads() .key(1).fast()        .doc("8.8.0", "One more than the highest index that holds something."),
    array("ARCOUNT",      2, arcount)    .reads() .key(1).fast()        .doc("8.8.0", "How many slots hold something."),
    array("ARNEXT",       2, arnext)     .reads() .key(1).fast()        .doc("8.8.0", "Where the next append goes."),
    array("ARLASTITEMS", -3, arlastitems).reads() .key(1)               .doc("8.8.0", "The strings before the cursor, as a ring."),
    array("ARINFO",      -2, arinfo)     .reads() .key(1)               .doc("8.8.0", "Sizes of an array, and its cursor."),
];

/// Most slots that an answer may hold of which some are empty.
const SLOTS_MAX: u64 = 1_000_000;

const WRONG_INDEX: CommandError = CommandError::text("ERR invalid array index");
const INDEX_OVERFLOW: CommandError = CommandError::text("ERR array index overflow");
const INSERT_OVERFLOW: CommandError = CommandError::text("ERR insert index overflow");
const LIMIT_NOT_POSITIVE: CommandError = CommandError::text("ERR LIMIT must be positive");
const RANGE_TOO_LONG: CommandError = CommandError::text("ERR range exceeds maximum of 1000000 items");
const COUNT_TOO_LARGE: CommandError = CommandError::text("ERR count exceeds maximum of 1000000 items");

const fn array(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Array)
}

// --- arguments and replies -----------------------------------------------------------------------------------------

/// A number of 64 bits without sign, as it is printed.
fn parse_unsigned(arg: &[u8]) -> Option<u64> {
    let canonical = !arg.is_empty() && arg.iter().all(u8::is_ascii_digit) && (arg.len() == 1 || arg[0] != b'0');
    str::from_utf8(arg).ok().filter(|_| canonical)?.parse().ok()
}

fn parse_index(arg: &[u8]) -> Result<u64, CommandError> {
    parse_unsigned(arg).filter(|&index| index <= INDEX_MAX).ok_or(WRONG_INDEX)
}

fn parse_indexes(args: Args<'_>) -> Result<Vec<u64>, CommandError> {
    args.iter().map(|arg| parse_index(arg)).collect()
}

/// An index or a length: what passes 63 bits is a string.
fn unsigned(value: u64) -> Reply {
    i64::try_from(value).map_or_else(|_| Reply::bulk(value.to_string()), Reply::Integer)
}

fn string(value: Option<&Blob>) -> Reply {
    Reply::maybe(value.cloned())
}

/// Pairs after the key: an odd one out is a wrong number of arguments.
fn pairs<'a>(args: Args<'a>, name: &'static str) -> Result<impl Iterator<Item = (&'a [u8], &'a [u8])>, CommandError> {
    let rest = &args[2..];
    if !rest.len().is_multiple_of(2) {
        return Err(CommandError::Arity(name.into()));
    }
    Ok(rest.chunks_exact(2).map(|pair| (pair[0], pair[1])))
}

fn ordered(start: u64, end: u64) -> RangeInclusive<u64> {
    start.min(end)..=start.max(end)
}

// --- writing -------------------------------------------------------------------------------------------------------

fn set(edit: &mut Edit<'_, Array>, index: u64, value: &[u8]) {
    edit.apply(Change::Set { index, value: Some(Blob::from(value)) });
}

fn seek(edit: &mut Edit<'_, Array>, last: Option<u64>) {
    if edit.last() != last {
        edit.apply(Change::Seek(last));
    }
}

/// Puts strings into slots from `first` on.
fn fill(edit: &mut Edit<'_, Array>, first: u64, values: Args<'_>) {
    // This way round, no index is made that is not needed: behind the highest there is none.
    for (value, index) in values.iter().zip(first..) {
        set(edit, index, value);
    }
}

/// The last of `count` slots from `first` on, if they are all there.
fn last_of(first: u64, count: usize) -> Option<u64> {
    first.checked_add(count as u64 - 1).filter(|&last| last <= INDEX_MAX)
}

fn arset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (first, values) = (parse_index(args[2])?, &args[3..]);
    last_of(first, values.len()).ok_or(INDEX_OVERFLOW)?;
    let mut edit = txn.edit::<Array>(args[1])?;
    let before = edit.count();
    fill(&mut edit, first, values);
    let added = edit.count() - before;
    drop(edit);
    txn.notify(Event::Array, "arset", args[1]);
    Ok(Reply::count(added))
}

fn armset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let slots = pairs(args, "armset")?.map(|(index, value)| Ok((parse_index(index)?, value)));
    let slots = slots.collect::<Result<Vec<_>, CommandError>>()?;
    let mut edit = txn.edit::<Array>(args[1])?;
    let before = edit.count();
    for (index, value) in slots {
        set(&mut edit, index, value);
    }
    let added = edit.count() - before;
    drop(edit);
    txn.notify(Event::Array, "armset", args[1]);
    Ok(Reply::count(added))
}

fn arinsert(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let values = &args[2..];
    let first = txn.get::<Array>(args[1])?.map_or(Some(0), Array::next).ok_or(INSERT_OVERFLOW)?;
    let last = last_of(first, values.len()).ok_or(INSERT_OVERFLOW)?;
    let mut edit = txn.edit::<Array>(args[1])?;
    fill(&mut edit, first, values);
    seek(&mut edit, Some(last));
    drop(edit);
    txn.notify(Event::Array, "arinsert", args[1]);
    Ok(unsigned(last))
}

/// What a ring of another size keeps of the slots there are: the last ones before the cursor without a gap among them, from
/// the oldest to the newest. `None` if nothing has to move.
fn reshaped(array: &Array, size: u64) -> Option<Vec<Blob>> {
    let span = array.len();
    let keep = match size.cmp(&span) {
        std::cmp::Ordering::Less => size,
        std::cmp::Ordering::Equal => return None,
        // A ring that has wrapped must be laid out anew to grow; one whose cursor was set to 0 by hand goes on there.
        std::cmp::Ordering::Greater => array.last().filter(|&last| last.saturating_add(1) < span).map(|_| span)?,
    };
    let mut at = array.last().map_or(span - 1, |last| last % span);
    let mut kept = Vec::new();
    while (kept.len() as u64) < keep
        && let Some(value) = array.slot(at)
    {
        kept.push(value.clone());
        at = at.checked_sub(1).unwrap_or(span - 1);
    }
    kept.reverse();
    Some(kept)
}

/// Makes the array hold these strings and no others, with the cursor behind them.
fn relay(edit: &mut Edit<'_, Array>, values: Vec<Blob>) {
    let wanted: BTreeMap<u64, Blob> = (0..).zip(values).collect();
    let stale: Vec<u64> =
        edit.range(0..=INDEX_MAX).map(|(index, _)| index).filter(|index| !wanted.contains_key(index)).collect();
    let last = wanted.last_key_value().map(|(index, _)| *index);
    for (index, value) in wanted {
        if edit.slot(index) != Some(&value) {
            edit.apply(Change::Set { index, value: Some(value) });
        }
    }
    for index in stale {
        edit.apply(Change::Set { index, value: None });
    }
    seek(edit, last);
}

fn arring(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let size = parse_integer(args[2]).ok_or(CommandError::text("ERR invalid size"))?;
    let size = u64::try_from(size).ok().filter(|&size| size > 0);
    let size = size.ok_or(CommandError::text("ERR size must be positive"))?;
    let mut edit = txn.edit::<Array>(args[1])?;
    if edit.count() > 0
        && let Some(kept) = reshaped(&edit, size)
    {
        relay(&mut edit, kept);
    }
    let mut last = edit.last();
    for value in &args[3..] {
        let index = last.map_or(0, |last| (last + 1) % size);
        set(&mut edit, index, value);
        last = Some(index);
    }
    seek(&mut edit, last);
    drop(edit);
    txn.notify(Event::Array, "arring", args[1]);
    Ok(last.map_or(Reply::Null, unsigned))
}

fn arseek(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // One past the highest index is where no append has room.
    let next = parse_unsigned(args[2]).ok_or(WRONG_INDEX)?;
    let Some(mut edit) = txn.edit_existing::<Array>(args[1])? else { return Ok(Reply::Integer(0)) };
    seek(&mut edit, next.checked_sub(1));
    drop(edit);
    txn.notify(Event::Array, "arseek", args[1]);
    Ok(Reply::Integer(1))
}

/// Empties slots, announces it, and counts.
fn clear(txn: &mut Txn<'_>, key: &[u8], event: &'static str, indexes: Vec<u64>) -> Outcome {
    let Some(mut edit) = txn.edit_existing::<Array>(key)? else { return Ok(Reply::Integer(0)) };
    let before = edit.count();
    for index in indexes {
        if edit.slot(index).is_some() {
            edit.apply(Change::Set { index, value: None });
        }
    }
    let left = edit.count();
    drop(edit);
    if left < before {
        txn.notify(Event::Array, event, key);
    }
    if left == 0 {
        txn.notify(Event::Generic, "del", key);
    }
    Ok(Reply::count(before - left))
}

fn ardel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let indexes = parse_indexes(&args[2..])?;
    clear(txn, args[1], "ardel", indexes)
}

fn ardelrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let ranges = pairs(args, "ardelrange")?.map(|(start, end)| Ok(ordered(parse_index(start)?, parse_index(end)?)));
    let ranges = ranges.collect::<Result<Vec<_>, CommandError>>()?;
    let Some(array) = txn.get::<Array>(args[1])? else { return Ok(Reply::Integer(0)) };
    let mut indexes = Vec::new();
    for range in ranges {
        indexes.extend(array.range(range).map(|(index, _)| index));
        // Ranges may overlap, over and over: no slot is remembered more often than twice.
        if indexes.len() > 2 * array.count() {
            indexes.sort_unstable();
            indexes.dedup();
        }
    }
    clear(txn, args[1], "ardelrange", indexes)
}

// --- reading -------------------------------------------------------------------------------------------------------

fn arget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // As in Redis, the type of the key is looked at first here, and in `ARMGET`.
    txn.get::<Array>(args[1])?;
    let index = parse_index(args[2])?;
    Ok(string(txn.get::<Array>(args[1])?.and_then(|array| array.slot(index))))
}

fn armget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.get::<Array>(args[1])?;
    let indexes = parse_indexes(&args[2..])?;
    let array = txn.get::<Array>(args[1])?;
    let value = |index: u64| string(array.and_then(|array| array.slot(index)));
    Ok(Reply::Array(indexes.into_iter().map(value).collect()))
}

fn argetrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (parse_index(args[2])?, parse_index(args[3])?);
    let array = txn.get::<Array>(args[1])?;
    let range = ordered(start, end);
    if range.end() - range.start() >= SLOTS_MAX {
        return Err(RANGE_TOO_LONG.into());
    }
    let low = *range.start();
    let mut values = vec![Reply::Null; (range.end() - low) as usize + 1];
    for (index, value) in array.into_iter().flat_map(|array| array.range(range.clone())) {
        values[(index - low) as usize] = Reply::Bulk(value.clone());
    }
    if start > end {
        values.reverse();
    }
    Ok(Reply::Array(values))
}

fn arscan(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (parse_index(args[2])?, parse_index(args[3])?);
    let limit = match args[4..] {
        [] => usize::MAX,
        [word, limit] if is(word, "LIMIT") => {
            usize::try_from(integer(limit)?).ok().filter(|limit| *limit > 0).ok_or(LIMIT_NOT_POSITIVE)?
        }
        [_, _] => return Err(CommandError::Syntax.into()),
        _ => return Err(CommandError::Arity("arscan".into()).into()),
    };
    let Some(array) = txn.get::<Array>(args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let row = |(index, value): (u64, &Blob)| Reply::Array(vec![unsigned(index), Reply::Bulk(value.clone())]);
    let rows = array.range(ordered(start, end));
    Ok(Reply::Array(if start > end {
        rows.rev().take(limit).map(row).collect()
    } else {
        rows.take(limit).map(row).collect()
    }))
}

fn arlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(unsigned(txn.get::<Array>(args[1])?.map_or(0, Array::len)))
}

fn arcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<Array>(args[1])?.map_or(0, Array::count)))
}

fn arnext(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(txn.get::<Array>(args[1])?.map_or(Some(0), Array::next).map_or(Reply::Null, unsigned))
}

fn arlastitems(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = parse_integer(args[2]).ok_or(CommandError::text("ERR invalid COUNT"))?;
    let count = u64::try_from(count).unwrap_or(0);
    if count == 0 {
        return Ok(Reply::Array(Vec::new()));
    }
    let newest_first = match args[3..] {
        [] => false,
        [word] if is(word, "REV") => true,
        [_] => return Err(CommandError::Syntax.into()),
        _ => return Err(CommandError::Arity("arlastitems".into()).into()),
    };
    let Some(array) = txn.get::<Array>(args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let span = array.len();
    let count = count.min(span);
    if count > SLOTS_MAX && count > array.count() as u64 {
        return Err(COUNT_TOO_LARGE.into());
    }
    let mut at = array.last().filter(|&last| last < span).unwrap_or(span - 1);
    let mut values = Vec::with_capacity(count as usize);
    for _ in 0..count {
        values.push(string(array.slot(at)));
        at = at.checked_sub(1).unwrap_or(span - 1);
    }
    if !newest_first {
        values.reverse();
    }
    Ok(Reply::Array(values))
}

/// The smallest window of a dense slice.
const WINDOW_MIN: u64 = 8;

/// The layout that Redis describes is its own, but for what follows from the content: how many slices there are, which of them
/// hold enough to be dense, and how wide their windows would be. There is no directory.
fn arinfo(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let full = match args[2..] {
        [] => false,
        [word] if is(word, "FULL") => true,
        _ => return Err(CommandError::Syntax.into()),
    };
    let (slice_size, dense_from) = (txn.hub().settings.slice_size, txn.hub().settings.dense_from);
    let array = txn.get::<Array>(args[1])?.ok_or(CommandError::NoSuchKey)?;
    let slices = array.runs(slice_size);
    let name = |name: &'static str| Reply::bulk(name);
    let mut info = vec![
        (name("count"), Reply::count(array.count())),
        (name("len"), unsigned(array.len())),
        (name("next-insert-index"), unsigned(array.next().unwrap_or(0))),
        (name("slices"), Reply::count(slices)),
        (name("directory-size"), unsigned(array.len().div_ceil(slice_size))),
        (name("super-dir-entries"), Reply::Integer(0)),
        (name("slice-size"), unsigned(slice_size)),
    ];
    if full {
        let is_dense = |(count, _): &(u64, u64)| *count >= dense_from;
        let (dense, sparse): (Vec<_>, Vec<_>) = array.spans(slice_size).into_iter().partition(is_dense);
        let windows: Vec<(u64, u64)> =
            dense.into_iter().map(|(count, span)| (count, (span + 1).next_power_of_two().max(WINDOW_MIN))).collect();
        // The sum of nothing is below zero, as Rust has it.
        let mean = |sum: f64, count: usize| Reply::Double((sum + 0.0) / count.max(1) as f64);
        let fill = windows.iter().map(|(count, size)| *count as f64 / *size as f64).sum();
        info.extend([
            (name("dense-slices"), Reply::count(windows.len())),
            (name("sparse-slices"), Reply::count(sparse.len())),
            (name("avg-dense-size"), mean(windows.iter().map(|(_, size)| *size as f64).sum(), windows.len())),
            (name("avg-dense-fill"), mean(fill, windows.len())),
            (name("avg-sparse-size"), mean(sparse.iter().map(|(count, _)| *count as f64).sum(), sparse.len())),
        ]);
    }
    Ok(Reply::Map(info))
}

// --- AROP ----------------------------------------------------------------------------------------------------------

fn arop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (parse_index(args[2])?, parse_index(args[3])?);
    let known = ["SUM", "MIN", "MAX", "AND", "OR", "XOR", "MATCH", "USED"];
    let name = known.into_iter().find(|name| is(args[4], name)).ok_or(CommandError::text("ERR unknown operation"))?;
    match (name, args.len()) {
        ("MATCH", 6) => {}
        ("MATCH", _) => return Err(CommandError::text("ERR MATCH requires a value argument").into()),
        (_, 5) => {}
        _ => return Err(CommandError::Arity("arop".into()).into()),
    }
    let array = txn.get::<Array>(args[1])?;
    let values =
        array.into_iter().flat_map(|array| array.range(ordered(start, end))).map(|(_, value)| value.as_slice());
    Ok(match name {
        "USED" => Reply::count(values.count()),
        "MATCH" => Reply::count(values.filter(|value| *value == args[5]).count()),
        "SUM" => Reply::maybe(sum(values)),
        "MIN" => extreme(values, |value, best| value < best),
        "MAX" => extreme(values, |value, best| value > best),
        _ => {
            let fold: fn(i64, i64) -> i64 = match name {
                "AND" => |a, b| a & b,
                "OR" => |a, b| a | b,
                _ => |a, b| a ^ b,
            };
            values.filter_map(whole).reduce(fold).map_or(Reply::Null, Reply::Integer)
        }
    })
}

/// The sum of those strings that are numbers, exactly as long as they are decimals that fit.
fn sum<'a>(values: impl Iterator<Item = &'a [u8]>) -> Option<Blob> {
    // What is beyond decimals is summed apart; infinities end up here.
    let (mut exact, mut rest): (Option<Blob>, Option<f64>) = (None, None);
    for value in values {
        let Some(number) = parse_double(value) else { continue };
        let added = match &exact {
            _ if !number.is_finite() => None,
            None => decimal::add(b"0", value).ok(),
            Some(before) => decimal::add(before, value).ok(),
        };
        match added {
            Some(added) => exact = Some(added),
            None => rest = Some(rest.unwrap_or(0.0) + number),
        }
    }
    let Some(rest) = rest else { return exact };
    let exact = exact.and_then(|exact| parse_double(&exact)).unwrap_or(0.0);
    Some(Blob::from(Double(exact + rest).to_string().as_bytes()))
}

/// The string that is the least or the greatest number, printed as a number.
fn extreme<'a>(values: impl Iterator<Item = &'a [u8]>, beats: fn(f64, f64) -> bool) -> Reply {
    let numbers = values.filter_map(|value| Some((value, parse_double(value)?)));
    let best = numbers.reduce(|best, next| if beats(next.1, best.1) { next } else { best });
    best.map_or(Reply::Null, |(value, number)| {
        let exact = decimal::add(b"0", value).ok().filter(|_| number.is_finite());
        Reply::Bulk(exact.unwrap_or_else(|| Blob::from(Double(number).to_string().as_bytes())))
    })
}

/// A number without its fraction, if it fits 64 bits.
fn whole(value: &[u8]) -> Option<i64> {
    if let Some(value) = parse_integer(value) {
        return Some(value);
    }
    let value = parse_double(value)?.trunc();
    // The bounds themselves are exact; between them every whole double fits.
    (value >= i64::MIN as f64 && value < i64::MAX as f64).then_some(value as i64)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;

    /// What an array is, in the simplest words.
    #[derive(Default)]
    struct Model {
        slots: BTreeMap<u64, String>,
        next: u64,
    }

    impl Model {
        fn span(&self) -> u64 {
            self.slots.keys().next_back().map_or(0, |index| index + 1)
        }

        fn range(&self, start: u64, end: u64) -> Vec<(u64, String)> {
            let mut found: Vec<_> =
                self.slots.range(ordered(start, end)).map(|(at, value)| (*at, value.clone())).collect();
            if start > end {
                found.reverse();
            }
            found
        }

        fn forget(&mut self) {
            if self.slots.is_empty() {
                self.next = 0;
            }
        }
    }

    fn texts(reply: &Reply) -> Vec<String> {
        match reply {
            Reply::Array(items) => items.iter().flat_map(texts).collect(),
            Reply::Integer(number) => vec![number.to_string()],
            Reply::Bulk(blob) => vec![String::from_utf8_lossy(blob).into_owned()],
            Reply::Null => vec!["-".to_owned()],
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn random_commands_agree_with_the_model() {
        let mut random = Random::new(7);
        let (mut bench, mut model) = (Bench::new(), Model::default());
        for step in 0..3_000_u64 {
            let (a, b, value) = (random.below(20), random.below(20), format!("v{}", step % 50));
            match random.below(8) {
                0 => {
                    bench.run(&format!("ARSET k {a} {value} x"));
                    model.slots.extend([(a, value), (a + 1, "x".to_owned())]);
                }
                1 => {
                    bench.run(&format!("ARMSET k {a} {value} {b} y"));
                    model.slots.insert(a, value);
                    model.slots.insert(b, "y".to_owned());
                }
                2 => {
                    let reply = bench.run(&format!("ARINSERT k {value} z"));
                    model.slots.extend([(model.next, value), (model.next + 1, "z".to_owned())]);
                    model.next += 2;
                    assert_eq!(reply, Reply::count(model.next as usize - 1));
                }
                3 => {
                    if bench.run(&format!("ARSEEK k {a}")) == Reply::Integer(1) {
                        model.next = a;
                    }
                }
                4 => {
                    let there =
                        usize::from(model.slots.remove(&a).is_some()) + usize::from(model.slots.remove(&b).is_some());
                    assert_eq!(bench.run(&format!("ARDEL k {a} {b}")), Reply::count(there));
                    model.forget();
                }
                5 => {
                    let (before, range) = (model.slots.len(), ordered(a, a + b % 4));
                    model.slots.retain(|index, _| !range.contains(index));
                    let gone = Reply::count(before - model.slots.len());
                    assert_eq!(bench.run(&format!("ARDELRANGE k {} {a} {a} {a}", a + b % 4)), gone);
                    model.forget();
                }
                6 => {
                    let (reply, found) = (bench.run(&format!("ARSCAN k {a} {b}")), model.range(a, b));
                    let flat: Vec<String> = found.into_iter().flat_map(|(at, value)| [at.to_string(), value]).collect();
                    assert_eq!(texts(&reply), flat);
                }
                _ => {
                    let shown = |at: u64| model.slots.get(&at).cloned().unwrap_or_else(|| "-".to_owned());
                    let mut all: Vec<String> = ordered(a, b).map(shown).collect();
                    if a > b {
                        all.reverse();
                    }
                    assert_eq!(texts(&bench.run(&format!("ARGETRANGE k {a} {b}"))), all);
                }
            }
            assert_eq!(bench.run("ARLEN k"), Reply::count(model.span() as usize));
            assert_eq!(bench.run("ARCOUNT k"), Reply::count(model.slots.len()));
            assert_eq!(bench.run("ARNEXT k"), Reply::count(model.next as usize));
        }
    }

    #[test]
    fn a_ring_holds_the_newest_whatever_its_size_becomes() {
        let mut random = Random::new(3);
        let (mut bench, mut all, mut size) = (Bench::new(), Vec::new(), 5);
        let mut kept = 0;
        for step in 0..2_000 {
            if random.below(10) == 0 {
                size = 1 + random.below(12) as usize;
            }
            let count = 1 + random.below(4) as usize;
            let values: Vec<String> = (0..count).map(|n| format!("{step}.{n}")).collect();
            bench.run(&format!("ARRING r {size} {}", values.join(" ")));
            all.extend(values);
            kept = (kept.min(size) + count).min(size);
            let newest = &all[all.len() - kept..];
            assert_eq!(texts(&bench.run(&format!("ARLASTITEMS r {kept}"))), newest, "step {step}, size {size}");
            assert_eq!(bench.run("ARCOUNT r"), Reply::count(kept));
        }
    }

    #[test]
    fn memory_comes_back() {
        let mut bench = Bench::new();
        bench.run("SET other v");
        let before = bench.size();
        bench.run("ARSET k 5 a b a-string-too-long-to-live-inside-of-its-slot");
        assert!(bench.size().1 > before.1);
        bench.run("ARDELRANGE k 0 100");
        assert_eq!(bench.run("EXISTS k"), Reply::Integer(0));
        bench.run("ARRING k 2 a b c d");
        bench.run("ARRING k 1 e");
        assert_eq!(bench.run("ARDEL k 0"), Reply::Integer(1));
        assert_eq!(bench.size().0, before.0);
    }

    #[test]
    fn overlapping_ranges_are_counted_once() {
        let mut bench = Bench::new();
        bench.run("ARSET k 0 a b c d e f");
        assert_eq!(bench.run("ARDELRANGE k 1 3 3 1 2 4 0 0 0 0 1 3"), Reply::Integer(5));
        assert_eq!(bench.run("ARCOUNT k"), Reply::Integer(1));
    }
}
