//! `OBJECT`: how a value is kept.
//!
//! Encodings are called what Redis calls those of an equal value. What Redis knows of the use of a key (an access clock, a
//! counter of accesses) Dormouse does not keep: eviction goes by one bit, which `OBJECT` does not show.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::command::{Command, Group, Handler, command, container};
use crate::txn::{Outcome, Txn};
use crate::types::list::List;
use crate::value::Value;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    container("OBJECT", OBJECT).group(Group::Generic).doc("2.2.3", "Commands about how values are kept."),
];

#[rustfmt::skip]
const OBJECT: &[Command] = &[
    object("ENCODING", 3, encoding).reads().key(2)  .peeks().doc("2.2.3", "The form a value is kept in."),
    object("FREQ",     3, freq)    .reads().key(2)  .peeks().doc("4.0.0", "How often a key is used: not known."),
    object("IDLETIME", 3, idletime).reads().key(2)  .peeks().doc("2.2.3", "Seconds since a key was used: always 0, as it is not known."),
    object("REFCOUNT", 3, refcount).reads().key(2)  .peeks().doc("2.2.3", "References to a value: 1, or very many for a small integer."),
    object("HELP",     2, help)    .for_all()       .doc("6.2.0", "What the sub-commands are."),
];

const fn object(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Generic)
}

/// Longest string that Redis keeps together with its header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Longest text that Redis keeps as an integer.
const INTEGER_BYTES_MAX: usize = 20;
/// Integers below this are shared by all keys in Redis, whose references then count as very many.
const SHARED_INTEGERS: i64 = 10_000;
/// What Redis says of a shared value.
const REFERENCES_MAX: i64 = i32::MAX as i64;
/// Bytes of the elements of a list that Redis keeps in one piece.
const LIST_BYTES_MAX: usize = 8 * 1024;
/// Bytes that an element takes there beside its own, near enough.
const ELEMENT_BYTES: usize = 2;
/// Most members of a set of integers that Redis keeps as such.
const INTEGERS_MAX: usize = 512;

const HELP: &[&str] = &[
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Return the form in which the value of a <key> is kept.",
    "FREQ <key>",
    "    Not known here: always an error.",
    "IDLETIME <key>",
    "    Not known here: 0 for every <key>.",
    "REFCOUNT <key>",
    "    Return the number of references to the value of a <key>.",
    "HELP",
    "    Print this help.",
];

fn as_integer(value: &Blob) -> Option<i64> {
    parse_integer(value).filter(|_| value.len() <= INTEGER_BYTES_MAX)
}

fn encoding(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let name = |value: &Value| match value {
        Value::String(value) if as_integer(value).is_some() => "int",
        Value::String(value) if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        // Redis says so of every value that a module made.
        Value::String(_) | Value::Json(_) => "raw",
        Value::Array(_) => "sliced-array",
        Value::List(list) => list_encoding(list),
        Value::Hash(hash) => hash.encoding(),
        Value::Set(set) if set.len() <= INTEGERS_MAX && set.iter().all(|member| as_integer(member).is_some()) => {
            "intset"
        }
        Value::Set(set) => set.encoding(),
        Value::ZSet(zset) => zset.encoding(),
        Value::Stream(_) => "stream",
    };
    Ok(txn.value(args[2])?.map_or(Reply::Null, |value| Reply::bulk(name(value))))
}

fn list_encoding(list: &List) -> &'static str {
    let mut left = Some(LIST_BYTES_MAX);
    for element in list.iter() {
        left = left.and_then(|left| left.checked_sub(element.len() + ELEMENT_BYTES));
        if left.is_none() {
            return "quicklist";
        }
    }
    "listpack"
}

fn freq(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if !txn.exists(args[2])? {
        return Ok(Reply::Null);
    }
    let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                switching between policies at runtime LRU and LFU data will take some time to adjust.";
    Err(CommandError::text(text).into())
}

fn idletime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(if txn.exists(args[2])? { Reply::Integer(0) } else { Reply::Null })
}

fn refcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = |value: &Value| match value {
        Value::String(value) if as_integer(value).is_some_and(|n| (0..SHARED_INTEGERS).contains(&n)) => REFERENCES_MAX,
        _ => 1,
    };
    Ok(txn.value(args[2])?.map_or(Reply::Null, |value| Reply::Integer(count(value))))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn help(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(HELP.iter().map(|line| Reply::status(line)).collect()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn encodings_have_the_names_redis_gives_them() {
        let mut bench = Bench::new();
        let long = "x".repeat(45);
        for (line, encoding) in [
            ("SET k 12345".to_owned(), "int"),
            ("SET k 0123".to_owned(), "embstr"),
            (format!("SET k {}", &long[1..]), "embstr"),
            (format!("SET k {long}"), "raw"),
            ("RPUSH l a".to_owned(), "listpack"),
            (format!("RPUSH l {}", "y".repeat(9_000)), "quicklist"),
            ("SADD s 1 2".to_owned(), "intset"),
            ("SADD s a".to_owned(), "listpack"),
            ("HSET h f v".to_owned(), "listpack"),
            (format!("HSET h f {}", "z".repeat(65)), "hashtable"),
            ("ZADD z 1 a".to_owned(), "listpack"),
        ] {
            bench.run(&line);
            let key = line.split(' ').nth(1).unwrap();
            assert_eq!(bench.run(&format!("OBJECT ENCODING {key}")), Reply::bulk(encoding), "{key}");
        }
        assert_eq!(bench.run("OBJECT ENCODING missing"), Reply::Null);
        assert_eq!(bench.run("OBJECT REFCOUNT h"), Reply::Integer(1));
        assert_eq!(bench.run("OBJECT IDLETIME h"), Reply::Integer(0));
    }
}
