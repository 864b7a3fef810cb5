//! `OBJECT`: how a value is kept.
//!
//! Encodings are called what Redis calls those of an equal value with the same history. When a key was used last is kept while
//! it is in memory, for `OBJECT IDLETIME` alone; how often is not: eviction goes by one bit, which is not shown.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::command::{Command, Group, Handler, command, container};
use crate::rdb::listpack;
use crate::txn::{Outcome, Txn};
use crate::types::list::List;
use crate::types::standalone::help_of;
use crate::value::Value;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    container("OBJECT", OBJECT).group(Group::Generic).doc("2.2.3", "Commands about how values are kept."),
];

#[rustfmt::skip]
const OBJECT: &[Command] = &[
    object("ENCODING", 3, encoding).reads().key(2)  .peeks().doc("2.2.3", "The form a value is kept in."),
    object("FREQ",     3, freq)    .reads().key(2)  .peeks().doc("4.0.0", "How often a key is used, if `maxmemory-policy` goes by that."),
    object("IDLETIME", 3, idletime).reads().key(2)  .peeks().doc("2.2.3", "Seconds since a key was used, or came into memory."),
    object("REFCOUNT", 3, refcount).reads().key(2)  .peeks().doc("2.2.3", "References to a value: always 1."),
    object("HELP",     2, help)    .for_all()       .doc("6.2.0", "What the sub-commands are."),
];

const fn object(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Generic)
}

/// Longest string that Redis keeps together with its header.
const EMBEDDED_BYTES_MAX: usize = 44;
/// Longest text that Redis keeps as an integer.
const INTEGER_BYTES_MAX: usize = 20;
/// Bytes of a list that Redis keeps in one piece, by what `list-max-listpack-size` says below zero.
const LIST_BYTES_MAX: [usize; 5] = [4 << 10, 8 << 10, 16 << 10, 32 << 10, 64 << 10];
/// Bytes of a list that is bounded by the number of its elements.
const LIST_BYTES_SAFE: usize = 8 << 10;

fn as_integer(value: &Blob) -> Option<i64> {
    parse_integer(value).filter(|_| value.len() <= INTEGER_BYTES_MAX)
}

fn encoding(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let size = txn.hub().settings.encodings.list_size;
    let Some(entry) = txn.entry(args[2])? else { return Ok(Reply::Null) };
    let raw = entry.raw;
    let name = |value: &Value| match value {
        Value::String(_) if raw => "raw",
        Value::String(value) if as_integer(value).is_some() => "int",
        Value::String(value) if value.len() <= EMBEDDED_BYTES_MAX => "embstr",
        // Redis says so of every value that a module made.
        Value::String(_) | Value::Json(_) => "raw",
        Value::Array(_) => "sliced-array",
        Value::List(list) => list_encoding(list, size),
        Value::Hash(hash) => hash.encoding(),
        Value::Set(set) => set.encoding(),
        Value::ZSet(zset) => zset.encoding(),
        Value::Stream(_) => "stream",
    };
    Ok(entry.value.as_ref().map_or(Reply::Null, |value| Reply::bulk(name(value))))
}

/// Redis keeps a list in one piece up to a number of elements, or of bytes.
fn list_encoding(list: &List, size: i32) -> &'static str {
    let (len_max, bytes_max) = match usize::try_from(size) {
        Ok(len_max) => (len_max.max(1), LIST_BYTES_SAFE),
        Err(_) => (usize::MAX, LIST_BYTES_MAX[(size.unsigned_abs() as usize - 1).min(LIST_BYTES_MAX.len() - 1)]),
    };
    let mut left = (list.len() <= len_max).then(|| bytes_max - listpack::EMPTY_BYTES);
    for element in list.iter() {
        left = left.and_then(|left| left.checked_sub(listpack::string_bytes(element)));
        if left.is_none() {
            return "quicklist";
        }
    }
    "listpack"
}

/// What `DEBUG OBJECT` says of a key.
pub(super) fn debug(txn: &mut Txn<'_>, key: &[u8]) -> Outcome {
    let now_s = (txn.now_ms() / 1_000) as u32;
    let encoding = match encoding(txn, &[b"OBJECT", b"ENCODING", key])? {
        Reply::Bulk(name) => String::from_utf8_lossy(&name).into_owned(),
        _ => return Err(CommandError::text("ERR no such key").into()),
    };
    let Some(entry) = txn.entry(key)? else { return Ok(Reply::Null) };
    let idle = entry.usage.idle_s(now_s);
    let mut bytes = Vec::new();
    entry.value.iter().for_each(|value| value.write(&mut bytes));
    // An address as far as anybody can tell: of this key, and the same as long as it is there.
    let address = crate::scan_map::hash(key) >> 16;
    let text = format!(
        "Value at:{address:#x} refcount:1 encoding:{encoding} serializedlength:{} lru:{} lru_seconds_idle:{idle}",
        bytes.len(),
        entry.usage.shown(),
    );
    Ok(Reply::Status(Blob::from(text.into_bytes())))
}

fn freq(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (frequency, now_s) = (txn.hub().settings.frequency, (txn.now_ms() / 1_000) as u32);
    let Some(entry) = txn.entry(args[2])? else { return Ok(Reply::Null) };
    if let Some(frequency) = frequency {
        return Ok(Reply::Integer(entry.usage.counter(frequency, now_s).into()));
    }
    let text = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when \
                switching between policies at runtime LRU and LFU data will take some time to adjust.";
    Err(CommandError::text(text).into())
}

fn idletime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (frequency, now_s) = (txn.hub().settings.frequency, (txn.now_ms() / 1_000) as u32);
    let Some(entry) = txn.entry(args[2])? else { return Ok(Reply::Null) };
    if frequency.is_some() {
        let text = "ERR An LFU maxmemory policy is selected, idle time not tracked. Please note that when switching between \
                    policies at runtime LRU and LFU data will take some time to adjust.";
        return Err(CommandError::text(text).into());
    }
    Ok(Reply::Integer(entry.usage.idle_s(now_s).into()))
}

fn refcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(txn.entry(args[2])?.map_or(Reply::Null, |_| Reply::Integer(1)))
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
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

    #[test]
    fn what_is_written_behind_a_flush_was_used_then() {
        let mut bench = Bench::new();
        bench.run_args(&[b"EVAL", b"redis.call('FLUSHALL') redis.call('SET', 'k', 'v')", b"0"]);
        assert_eq!(bench.run("OBJECT IDLETIME k"), Reply::Integer(0));
    }
}
