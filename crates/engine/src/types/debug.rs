//! `DEBUG`: what test suites and the curious ask of a server, where the operator allows it (`--debug-command`).
//!
//! Only what harms nobody is here: sleeping, reading values back from their bytes, digests of content, replies of each kind.
//! What sets Redis's inner machinery is accepted and means nothing. Nothing crashes the process or stops it, whatever is
//! allowed.

use dormouse_proto::{Args, Attributed, Blob, CommandError, Reply, parse_double, parse_integer};
use sha1::{Digest, Sha1};

use crate::args::{is, positive};
use crate::command::{Command, Group, command};
use crate::scan_map::Cursor;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::types::object;
use crate::value::Value;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    command("DEBUG", -2, debug).group(Group::Server).admin().no_script().doc("1.0.0", "Looks into the server and its values, if the operator allows it."),
];

/// Longest sleep, in seconds: everybody waits meanwhile.
const SLEEP_S_MAX: f64 = 600.0;
/// Keys looked at in one step of a digest.
const KEYS_PER_STEP: usize = 256;
/// Most keys that are made at once.
const POPULATE_MAX: u64 = 10_000_000;
/// Bytes of a digest.
const DIGEST_BYTES: usize = 20;

const NOT_ALLOWED: CommandError = CommandError::text(
    "ERR DEBUG command not allowed. If the enable-debug-command option is set to \"local\", you can run it from a local \
     connection, otherwise you need to set this option in the configuration file, and then restart the server.",
);

/// What is accepted and means nothing here.
const IGNORED: &[&str] = &[
    "AOF-FLUSH-SLEEP",
    "CHANGE-REPL-ID",
    "CLIENT-ENFORCE-REPLY-LIST",
    "CLIENT-EVICTION",
    "CONFIG-REWRITE-FORCE-ALL",
    "DELAY-RDB-CLIENT-FREE-SECOND",
    "DICT-RESIZING",
    "DROP-CLUSTER-PACKET-FILTER",
    "HEXPIRE-SKIP",
    "JMAP",
    "KEYSIZES-HIST-ASSERT",
    "LISTPACK",
    "LOG",
    "MARK-INTERNAL-CLIENT",
    "PAUSE-CRON",
    "QUICKLIST",
    "QUICKLIST-PACKED-THRESHOLD",
    "REPL-PAUSE",
    "REPLICATE",
    "REPLYBUFFER",
    "SCRIPT",
    "SET-SKIP-CHECKSUM-VALIDATION",
    "STRINGMATCH-LEN",
    "STRINGMATCH-TEST",
];

const HELP: &[&str] = &[
    "DEBUG <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "DIGEST",
    "    A digest of all keys, whatever their order.",
    "DIGEST-VALUE <key> [<key> ...]",
    "    Digests of values.",
    "ERROR <string>",
    "    An error with this text.",
    "LOADAOF",
    "    The same as RELOAD.",
    "OBJECT <key>",
    "    How a value is kept.",
    "POPULATE <count> [<prefix>] [<size>]",
    "    Makes keys that are missing: <prefix>:0 and on.",
    "PROTOCOL <type>",
    "    A reply of a kind: string, integer, double, bignum, null, array, set, map, attrib, push, verbatim, true, false.",
    "RELOAD",
    "    Reads every value in memory back from its bytes.",
    "SET-ACTIVE-EXPIRE <0|1>",
    "    Whether dead keys are removed that nobody asks for.",
    "SET-DISABLE-DENY-SCRIPTS <0|1>",
    "    Whether scripts may run commands that are kept from them.",
    "SLEEP <seconds>",
    "    Holds up everybody for so long.",
    "HELP",
    "    Print this help.",
];

fn debug(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if !txn.hub().facts.allows_debug {
        return Err(NOT_ALLOWED.into());
    }
    match (args[1].to_ascii_uppercase().as_slice(), &args[2..]) {
        (b"HELP", []) => Ok(Reply::Array(HELP.iter().map(|line| Reply::status(line)).collect())),
        (b"SLEEP", [seconds]) => sleep(txn, seconds),
        (b"SET-ACTIVE-EXPIRE", [on]) => {
            txn.hub().leaves_dead = parse_integer(on) == Some(0);
            Ok(Reply::OK)
        }
        (b"SET-DISABLE-DENY-SCRIPTS", [on]) => {
            txn.hub().scripts_run_all = parse_integer(on).is_some_and(|on| on != 0);
            Ok(Reply::OK)
        }
        (b"RELOAD" | b"LOADAOF", _) => {
            txn.sees_all();
            txn.reread()?;
            Ok(Reply::OK)
        }
        (b"OBJECT", [key]) => object::debug(txn, key),
        (b"DIGEST", []) => digest_all(txn),
        (b"DIGEST-VALUE", keys) => {
            let digests = keys.iter().map(|key| digest_of(txn, key)).collect::<Result<_, _>>()?;
            Ok(Reply::Array(digests))
        }
        (b"ERROR", [text]) => Err(CommandError::from(String::from_utf8_lossy(text).into_owned()).into()),
        (b"PROTOCOL", [kind]) => protocol(kind),
        (b"POPULATE", [count, rest @ ..]) if rest.len() <= 2 => populate(txn, count, rest),
        (b"STRUCTSIZE", []) => Ok(Reply::bulk(format!("bits:{}", usize::BITS))),
        (b"HTSTATS" | b"HTSTATS-KEY", _) => Ok(Reply::bulk("[Dictionary HT]\n")),
        (_, _) if IGNORED.iter().any(|word| is(args[1], word)) => Ok(Reply::OK),
        _ => {
            let name = String::from_utf8_lossy(&args[1][..args[1].len().min(128)]).into_owned();
            let text = format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try DEBUG HELP.");
            Err(CommandError::from(text).into())
        }
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn sleep(txn: &mut Txn<'_>, seconds: &[u8]) -> Outcome {
    let seconds = parse_double(seconds).filter(|seconds| *seconds >= 0.0).unwrap_or(0.0).min(SLEEP_S_MAX);
    let us = (seconds * 1e6) as u64;
    if let Some(sleep_us) = txn.hub().facts.sleep_us {
        sleep_us(us);
        txn.hub().slept_us += us;
    }
    Ok(Reply::OK)
}

/// What a value is, in an order of its own.
fn canonical(value: &Value) -> String {
    format!("{} {}", value.kind().name(), value.canonical())
}

fn hexadecimal(digest: &[u8]) -> Reply {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let halves = digest.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let text: Vec<u8> = halves.map(|half| DIGITS[usize::from(half)]).collect();
    Reply::Status(Blob::from(text))
}

fn digest_of(txn: &mut Txn<'_>, key: &[u8]) -> Result<Reply, Stop> {
    let text = txn.entry(key)?.and_then(|entry| entry.value.as_ref()).map(canonical);
    Ok(hexadecimal(&text.map_or([0; DIGEST_BYTES], |text| Sha1::digest(text).into())))
}

/// The digests of all keys, one over the other, so that their order does not matter.
fn digest_all(txn: &mut Txn<'_>) -> Outcome {
    let mut digest = [0_u8; DIGEST_BYTES];
    let mut cursor = Cursor(0);
    loop {
        let (next, keys) = txn.scan_keys(cursor, KEYS_PER_STEP)?;
        for key in keys {
            let Some(entry) = txn.entry(&key)? else { continue };
            let text = entry.value.as_ref().map(canonical).unwrap_or_default();
            let one = Sha1::digest(format!("{key:?} {} {text}", entry.expires_at));
            digest.iter_mut().zip(one).for_each(|(all, one)| *all ^= one);
        }
        cursor = next;
        if cursor == Cursor(0) {
            return Ok(hexadecimal(&digest));
        }
    }
}

/// A reply of each kind, as Redis has them.
#[expect(clippy::approx_constant, reason = "Redis's own double")]
fn protocol(kind: &[u8]) -> Outcome {
    let numbers = || (0..3).map(Reply::Integer).collect::<Vec<_>>();
    Ok(match kind.to_ascii_lowercase().as_slice() {
        b"string" => Reply::bulk("Hello World"),
        b"integer" => Reply::Integer(12_345),
        b"double" => Reply::Double(3.141),
        b"null" => Reply::Null,
        b"array" => Reply::Array(numbers()),
        b"set" => Reply::Set(numbers()),
        b"map" => Reply::Map((0..3).map(|at| (Reply::Integer(at), Reply::Bool(at == 1))).collect()),
        b"attrib" => {
            let popularity = Reply::Array(vec![Reply::bulk("key:123"), Reply::Integer(90)]);
            Reply::Attributed(Box::new(Attributed {
                attributes: vec![(Reply::bulk("key-popularity"), popularity)],
                reply: Reply::bulk("Some real reply following the attribute"),
            }))
        }
        b"push" => Reply::Push(vec![Reply::bulk("server-cpu-usage"), Reply::Integer(42)]),
        b"verbatim" => Reply::Verbatim(Blob::from(&b"This is a verbatim\nstring"[..])),
        b"bignum" => Reply::BigNumber(Blob::from_static(b"1234567999999999999999999999999999999")),
        b"true" => Reply::Bool(true),
        b"false" => Reply::Bool(false),
        _ => {
            let text = "ERR Wrong protocol type name. Please use one of the following: \
                        string|integer|double|null|array|set|map|attrib|push|verbatim|true|false";
            return Err(CommandError::text(text).into());
        }
    })
}

fn populate(txn: &mut Txn<'_>, count: &[u8], rest: Args<'_>) -> Outcome {
    const WRONG: CommandError = CommandError::text("ERR value is out of range, must be positive");
    let count = positive(count, "ERR value is out of range, must be positive")? as u64;
    if count > POPULATE_MAX {
        return Err(CommandError::OutOfRange.into());
    }
    let prefix = rest.first().map_or("key".into(), |prefix| String::from_utf8_lossy(prefix));
    let size = rest.get(1).map(|size| parse_integer(size).and_then(|size| usize::try_from(size).ok()).ok_or(WRONG));
    let size = size.transpose()?.unwrap_or(0);
    crate::types::string::check_length(txn, size)?;
    for at in 0..count {
        let key = format!("{prefix}:{at}");
        if txn.exists(key.as_bytes())? {
            continue;
        }
        let mut value = format!("value:{at}").into_bytes();
        if size > 0 {
            value.resize(size, 0);
        }
        txn.put(key.as_bytes(), Value::String(Blob::from(value)), Deadline::Clear)?;
    }
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn allowed() -> Bench {
        let mut bench = Bench::new();
        bench.hub.facts.allows_debug = true;
        bench
    }

    #[test]
    fn nothing_is_allowed_unless_the_operator_says_so() {
        let mut bench = Bench::new();
        assert!(bench.error("DEBUG SLEEP 0").starts_with("ERR DEBUG command not allowed."));
        bench.hub.facts.allows_debug = true;
        assert_eq!(bench.run("DEBUG SLEEP 0"), Reply::OK);
        assert_eq!(bench.run("DEBUG jmap"), Reply::OK);
        let unknown = "ERR unknown subcommand or wrong number of arguments for 'Segfault'. Try DEBUG HELP.";
        assert_eq!(bench.error("DEBUG Segfault"), unknown);
        assert_eq!(bench.error("DEBUG ERROR X"), "X");
    }

    #[test]
    fn digests_do_not_depend_on_how_a_value_came_to_be() {
        let mut bench = allowed();
        let zeros = Reply::status("0000000000000000000000000000000000000000");
        assert_eq!(bench.run("DEBUG DIGEST"), zeros);
        for line in ["SADD a 1 2", "SADD b 2 3 1", "SREM b 3", "RPUSH c 1 2"] {
            bench.run(line);
        }
        let Reply::Array(digests) = bench.run("DEBUG DIGEST-VALUE a b c nope") else { panic!() };
        assert!(digests[0] == digests[1] && digests[0] != digests[2] && digests[3] == zeros);
        let all = bench.run("DEBUG DIGEST");
        assert_eq!(bench.run("DEBUG RELOAD"), Reply::OK);
        assert_eq!(bench.run("DEBUG DIGEST"), all);
        bench.run("EXPIRE a 100");
        assert_ne!(bench.run("DEBUG DIGEST"), all);
    }

    #[test]
    fn values_read_back_have_the_form_they_would_be_read_in() {
        let mut bench = allowed();
        for line in ["SADD s 1 a", "SREM s a", "SET n 1", "APPEND n 2"] {
            bench.run(line);
        }
        let encodings = |bench: &mut Bench| [bench.run("OBJECT ENCODING s"), bench.run("OBJECT ENCODING n")];
        assert_eq!(encodings(&mut bench), [Reply::bulk("listpack"), Reply::bulk("raw")]);
        bench.run("DEBUG RELOAD");
        assert_eq!(encodings(&mut bench), [Reply::bulk("intset"), Reply::bulk("int")]);
    }

    #[test]
    fn replies_of_all_kinds_reach_scripts() {
        let mut bench = allowed();
        let eval = |bench: &mut Bench, source: &str| bench.run_args(&[b"EVAL", source.as_bytes(), b"0"]);
        let digits = "1234567999999999999999999999999999999";
        let whole = "redis.setresp(3) return redis.call('DEBUG', 'PROTOCOL', 'bignum')";
        assert!(matches!(eval(&mut bench, whole), Reply::Error(_)), "scripts may not");
        bench.run("DEBUG SET-DISABLE-DENY-SCRIPTS 1");
        assert_eq!(eval(&mut bench, whole), Reply::BigNumber(Blob::from(digits.as_bytes())));
        assert_eq!(eval(&mut bench, &format!("{whole}.big_number")), Reply::bulk(digits));
        assert_eq!(eval(&mut bench, "return redis.call('DEBUG', 'PROTOCOL', 'bignum')"), Reply::bulk(digits));
        bench.run("DEBUG SET-DISABLE-DENY-SCRIPTS 0");
        assert!(matches!(eval(&mut bench, whole), Reply::Error(_)));
    }

    #[test]
    fn keys_are_made_in_numbers() {
        let mut bench = allowed();
        bench.run("SET key:1 mine");
        assert_eq!(bench.run("DEBUG POPULATE 3 key 10"), Reply::OK);
        assert_eq!(bench.run("DBSIZE"), Reply::Integer(3));
        assert_eq!((bench.run("GET key:1"), bench.run("STRLEN key:2")), (Reply::bulk("mine"), Reply::Integer(10)));
    }
}
