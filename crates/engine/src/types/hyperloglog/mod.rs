//! HyperLogLogs: how many distinct elements were added, within a percent or so, in 12 KB at most.
//!
//! There is no type of its own: a HyperLogLog is a string, byte for byte the one Redis keeps, so that `GET`, `SET`, `DUMP`
//! and `RESTORE` carry it from one to the other. The layout is in `sketch.rs`, the estimator in `estimate.rs`. Changes are
//! worked out on a copy and logged as the bytes that differ: one element moves a register, not twelve kilobytes.
//!
//! `PFCOUNT` of one key keeps its answer in the value, as Redis does, which makes it a read that may leave an effect.

mod estimate;
mod sketch;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use self::sketch::{HEADER, Registers, Sketch};
use crate::args::is;
use crate::command::{Command, Group, Handler, Needs, command};
use crate::hub::Event;
use crate::txn::{Outcome, Stop, Txn};
use crate::types::string::Splice;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    hyperloglog("PFADD",   -2, pfadd)  .writes().key(1).fast().grows()   .blind().adds().doc("2.8.9", "Adds elements; whether the estimate may have changed."),
    hyperloglog("PFCOUNT", -2, pfcount).reads() .keys(1, -1, 1)          .doc("2.8.9", "The estimated number of distinct elements in any of the keys."),
    hyperloglog("PFMERGE", -2, pfmerge).writes().keys(1, -1, 1).grows()  .needs(Needs::ReadWrite, Needs::Read).doc("2.8.9", "Merges HyperLogLogs into the first."),
    hyperloglog("PFDEBUG", 3, pfdebug).writes().key(2).grows().admin()   .doc("2.8.9", "Looks into a HyperLogLog: ENCODING, GETREG, DECODE, TODENSE."),
    hyperloglog("PFSELFTEST", 1, pfselftest).admin()                     .doc("2.8.9", "Whether counts are as exact as they should be."),
];

const fn hyperloglog(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::HyperLogLog)
}

/// Equal bytes between two differences that are cheaper to write again than to step over.
const GAP_MAX: usize = 8;

/// The HyperLogLog of a key, if there is one.
fn load(txn: &mut Txn<'_>, key: &[u8]) -> Result<Option<Sketch>, Stop> {
    Ok(txn.get::<Blob>(key)?.map(|value| Sketch::open(value)).transpose()?)
}

/// Makes a key hold this, through the bytes that differ.
fn save(txn: &mut Txn<'_>, key: &[u8], sketch: &Sketch) -> Result<(), Stop> {
    let mut edit = txn.edit::<Blob>(key)?;
    let mut splices = differences(&edit, sketch.bytes());
    if splices.is_empty() {
        // The same bytes again are a write, too: who watches the key hears of it.
        splices.push(Splice::overwrite(0, &sketch.bytes()[..HEADER]));
    }
    for splice in splices {
        edit.apply(splice);
    }
    Ok(())
}

/// Splices that turn the first into the second.
fn differences(old: &[u8], new: &[u8]) -> Vec<Splice> {
    let mut splices = Vec::new();
    let same = old.iter().zip(new).take(HEADER).all(|(a, b)| a == b);
    let (old, new, at) = match (old.split_at_checked(HEADER), new.split_at_checked(HEADER)) {
        (Some((_, old)), Some((header, new))) => {
            if !same {
                splices.push(Splice::overwrite(0, header));
            }
            (old, new, HEADER)
        }
        _ => (old, new, 0),
    };
    if old.len() == new.len() {
        splices.extend(runs(old, new).into_iter().map(|run| Splice::overwrite(at + run.start, &new[run])));
    } else {
        let front = old.iter().zip(new).take_while(|(a, b)| a == b).count();
        let back = old[front..].iter().rev().zip(new[front..].iter().rev()).take_while(|(a, b)| a == b).count();
        splices.push(Splice::replace(at + front, old.len() - front - back, &new[front..new.len() - back]));
    }
    splices
}

/// Where two strings of one length differ.
fn runs(old: &[u8], new: &[u8]) -> Vec<std::ops::Range<usize>> {
    let mut runs: Vec<std::ops::Range<usize>> = Vec::new();
    for (chunk, (a, b)) in old.chunks(GAP_MAX).zip(new.chunks(GAP_MAX)).enumerate() {
        if a == b {
            continue;
        }
        let differs = |at: &usize| a[*at] != b[*at];
        let (first, last) = ((0..a.len()).find(differs).unwrap_or(0), (0..a.len()).rfind(differs).unwrap_or(0));
        let (start, end) = (chunk * GAP_MAX + first, chunk * GAP_MAX + last + 1);
        match runs.last_mut() {
            Some(run) if start - run.end <= GAP_MAX => run.end = end,
            _ => runs.push(start..end),
        }
    }
    runs
}

fn pfadd(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let known = load(txn, args[1])?;
    let mut changed = known.is_none();
    let mut sketch = known.unwrap_or_default();
    sketch.keep_sparse_to(txn.hub().settings.encodings.sparse_bytes_max as usize);
    for element in &args[2..] {
        changed |= sketch.add(element)?;
    }
    if changed {
        sketch.forget_count();
        save(txn, args[1], &sketch)?;
        txn.notify(Event::String, "pfadd", args[1]);
    }
    Ok(Reply::flag(changed))
}

fn pfcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if let [key] = args[1..] {
        return count_one(txn, key);
    }
    let mut union = Registers::default();
    for key in &args[1..] {
        if let Some(sketch) = load(txn, key)? {
            sketch.merge_into(&mut union)?;
        }
    }
    Ok(Reply::Integer(union.estimate() as i64))
}

fn count_one(txn: &mut Txn<'_>, key: &[u8]) -> Outcome {
    let Some(mut sketch) = load(txn, key)? else {
        return Ok(Reply::Integer(0));
    };
    if let Some(count) = sketch.count() {
        return Ok(Reply::Integer(count as i64));
    }
    let mut registers = Registers::default();
    sketch.merge_into(&mut registers)?;
    let count = registers.estimate();
    sketch.keep_count(count);
    save(txn, key, &sketch)?;
    Ok(Reply::Integer(count as i64))
}

fn pfmerge(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut union = Registers::default();
    let mut dense = false;
    for key in &args[1..] {
        if let Some(sketch) = load(txn, key)? {
            dense |= sketch.is_dense();
            sketch.merge_into(&mut union)?;
        }
    }
    let mut target = load(txn, args[1])?.unwrap_or_default();
    target.keep_sparse_to(txn.hub().settings.encodings.sparse_bytes_max as usize);
    if dense {
        target.densify()?;
    }
    for (register, value) in union.iter().filter(|&(_, value)| value > 0) {
        target.raise(register, value)?;
    }
    target.forget_count();
    save(txn, args[1], &target)?;
    txn.notify(Event::String, "pfadd", args[1]);
    Ok(Reply::OK)
}

fn pfdebug(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if is(args[1], "SIMD") {
        let on = is(args[2], "ON");
        let known = on || is(args[2], "OFF");
        return if known {
            Ok(Reply::status(if on { "enabled" } else { "disabled" }))
        } else {
            Err(CommandError::Syntax.into())
        };
    }
    let key = args[2];
    let Some(mut sketch) = load(txn, key)? else {
        return Err(CommandError::text("ERR The specified key does not exist").into());
    };
    match args[1] {
        word if is(word, "ENCODING") => Ok(Reply::status(if sketch.is_dense() { "dense" } else { "sparse" })),
        word if is(word, "TODENSE") => {
            let was_sparse = !sketch.is_dense();
            if was_sparse {
                sketch.densify()?;
                save(txn, key, &sketch)?;
            }
            Ok(Reply::flag(was_sparse))
        }
        word if is(word, "GETREG") => {
            let mut registers = Registers::default();
            sketch.merge_into(&mut registers)?;
            if !sketch.is_dense() {
                sketch.densify()?;
                save(txn, key, &sketch)?;
            }
            Ok(Reply::Array(registers.iter().map(|(_, value)| Reply::Integer(value.into())).collect()))
        }
        word if is(word, "DECODE") => {
            if sketch.is_dense() {
                return Err(CommandError::text("ERR HLL encoding is not sparse").into());
            }
            Ok(Reply::bulk(sketch.decode()?))
        }
        word => {
            let name = String::from_utf8_lossy(&word[..word.len().min(64)]).into_owned();
            Err(CommandError::from(format!("ERR Unknown PFDEBUG subcommand '{name}'")).into())
        }
    }
}

/// Elements that the test counts, and the error it allows, in parts of a thousand: four times what is usual.
const TESTED: u64 = 20_000;
const ERROR_MAX: u64 = 33;

fn pfselftest(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let mut sketch = Sketch::default();
    for element in 0..TESTED {
        sketch.add(&element.to_le_bytes())?;
    }
    let mut registers = Registers::default();
    sketch.merge_into(&mut registers)?;
    let count = registers.estimate();
    if count.abs_diff(TESTED) * 1_000 > TESTED * ERROR_MAX {
        let text = format!("TESTFAILED Too big error. card:{TESTED} abserr:{}", count.abs_diff(TESTED));
        return Err(CommandError::from(text).into());
    }
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;
    use crate::value::Kind;

    fn count(bench: &mut Bench, keys: &str) -> i64 {
        match bench.run(&format!("PFCOUNT {keys}")) {
            Reply::Integer(count) => count,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_element_is_a_small_effect() {
        let mut bench = Bench::new();
        for n in 0..3_000 {
            bench.run(&format!("PFADD p e{n}"));
            assert!(bench.journal_bytes < 100 || n == 0 || n > 100, "{n}: {}", bench.journal_bytes);
        }
        assert_eq!(bench.run("STRLEN p"), Reply::Integer(12_304));
        bench.run("PFADD p one-more");
        assert!(bench.journal_bytes < 100, "{}", bench.journal_bytes);
        assert!((2_900..3_100).contains(&count(&mut bench, "p")));
        assert!((1..100).contains(&bench.journal_bytes), "the count was kept");
        count(&mut bench, "p");
        assert_eq!(bench.journal_bytes, 0);
    }

    #[test]
    fn a_union_counts_what_is_in_any() {
        let mut bench = Bench::new();
        bench.run("PFADD a 1 2 3");
        bench.run("PFADD b 3 4 5");
        assert_eq!(count(&mut bench, "a b missing"), 5);
        assert_eq!(bench.run("PFMERGE c a b"), Reply::OK);
        assert_eq!(count(&mut bench, "c"), 5);
        assert_eq!(bench.run("PFADD c 1"), Reply::Integer(0));
        assert_eq!(bench.run("PFADD new"), Reply::Integer(1));
        assert_eq!(bench.run("PFADD new"), Reply::Integer(0));
        assert_eq!(count(&mut bench, "new"), 0);
        bench.run("SET s text");
        assert_eq!(bench.error("PFADD s a"), "WRONGTYPE Key is not a valid HyperLogLog string value.");
    }

    #[test]
    fn differences_make_the_new_out_of_the_old() {
        let header = [b'h'; HEADER];
        for (old, new) in [
            ("", "abc"),
            ("abc", ""),
            ("abcdef", "abcdef"),
            ("aXcdefghijklmnopqrstuvwxyZ", "abcdefghijklmnopqrstuvwxyz"),
            ("abcdef", "abXYcdef"),
            ("aaaa", "aa"),
            ("abcabc", "abc"),
        ] {
            let (old, new) = ([&header, old.as_bytes()].concat(), [&[b'H'; HEADER], new.as_bytes()].concat());
            let mut value = Blob::from(old.as_slice());
            for splice in differences(&old, &new) {
                value.apply(splice);
            }
            assert_eq!(value.as_slice(), new);
        }
        let mut value = Blob::new();
        for splice in differences(&[], b"HYLL and the rest of it") {
            value.apply(splice);
        }
        assert_eq!(value.as_slice(), b"HYLL and the rest of it");
    }
}
