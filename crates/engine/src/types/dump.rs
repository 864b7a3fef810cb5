//! Values as payloads (`DUMP`, `RESTORE`), and what they take of memory (`MEMORY USAGE`).
//!
//! The payloads are Redis's own, so that keys can move from one server to the other in both directions; the format is in
//! `rdb/`. `RESTORE` checks in Redis's order: options, then whether the key is free, then the deadline, then the payload.
//! `IDLETIME` and `FREQ` are for `OBJECT` to show and no more: what leaves memory here is still in the store. Nothing of a payload is
//! kept unless all of it is right.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::{Options, Span, integer, is};
use crate::command::{Command, Group, Handler, command, container};
use crate::hub::Event;
use crate::rdb::{self, RestoreError};
use crate::txn::{Deadline, Outcome, Txn};
use crate::types::standalone::help_of;
use crate::usage::Usage;
use crate::value::Value;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    generic("DUMP",     2, dump)   .reads() .key(1).doc("2.6.0", "The value of a key as a payload that RESTORE takes, here and in Redis."),
    generic("RESTORE", -4, restore).writes().key(1).grows().dangerous().blind().overwrites().doc("2.6.0", "Makes a key from a payload of DUMP, with an expiry in milliseconds or, as 0, without."),
    container("MEMORY", MEMORY).group(Group::Server).doc("4.0.0", "Commands about memory."),
];

#[rustfmt::skip]
const MEMORY: &[Command] = &[
    command("USAGE", -3, memory_usage).group(Group::Server).reads().key(2).peeks().doc("4.0.0", "The bytes of memory that a key and its value take, near enough."),
    command("DOCTOR",       2, memory_doctor).group(Group::Server).doc("4.0.0", "Says that there is nothing to say."),
    command("STATS",        2, memory_stats) .group(Group::Server).doc("4.0.0", "The memory that keys take, and how many there are."),
    command("MALLOC-STATS", 2, malloc_stats) .group(Group::Server).doc("4.0.0", "Says that the allocator tells nothing."),
    command("PURGE",        2, memory_purge) .group(Group::Server).doc("4.0.0", "Accepted for compatibility: the allocator gives back what it can by itself."),
    command("HELP",         2, memory_help)  .group(Group::Server).for_all().doc("4.0.0", "What the sub-commands are."),
];

const fn generic(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Generic)
}

/// Bytes that Redis keeps of a key and a string beside their own.
const KEY_BYTES: usize = 24;

const BUSY_KEY: CommandError = CommandError::text("BUSYKEY Target key name already exists.");
const INVALID_TTL: CommandError = CommandError::text("ERR Invalid TTL value, must be >= 0");
const INVALID_IDLETIME: CommandError = CommandError::text("ERR Invalid IDLETIME value, must be >= 0");
const INVALID_FREQ: CommandError = CommandError::text("ERR Invalid FREQ value, must be >= 0 and <= 255");
const WRONG_FOOTER: CommandError = CommandError::text("ERR DUMP payload version or checksum are wrong");
const NO_PAYLOAD: CommandError = CommandError::text("ERR DUMP of an array is not supported");
const BAD_FORMAT: CommandError = CommandError::text("ERR Bad data format");

impl From<RestoreError> for CommandError {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Footer => WRONG_FOOTER,
            RestoreError::Format => BAD_FORMAT,
            RestoreError::TooLarge => Self::RecordTooLarge,
        }
    }
}

fn dump(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let Some(value) = txn.value(args[1])? else { return Ok(Reply::Null) };
    Ok(Reply::Bulk(rdb::dump(value).map(Blob::from).ok_or(NO_PAYLOAD)?))
}

/// The options of `RESTORE`.
#[derive(Default)]
struct RestoreOptions {
    replace: bool,
    absolute: bool,
    /// For how long nobody has used the key, in seconds.
    idle_s: Option<u32>,
    /// How often the key is used, as a counter.
    counter: Option<u8>,
}

impl RestoreOptions {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut restore = Self::default();
        while let Some(word) = options.next() {
            match () {
                () if is(word, "REPLACE") => restore.replace = true,
                () if is(word, "ABSTTL") => restore.absolute = true,
                () if is(word, "IDLETIME") && restore.counter.is_none() => {
                    let idle_s = options.integer()?;
                    check(idle_s >= 0, INVALID_IDLETIME)?;
                    restore.idle_s = Some(u32::try_from(idle_s).unwrap_or(u32::MAX));
                }
                () if is(word, "FREQ") && restore.idle_s.is_none() => {
                    restore.counter = Some(u8::try_from(options.integer()?).map_err(|_| INVALID_FREQ)?);
                }
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(restore)
    }

    /// The deadline that `ttl` stands for.
    fn deadline(&self, ttl: &[u8], now_ms: u64) -> Result<Deadline, CommandError> {
        let ttl = integer(ttl)?;
        check(ttl >= 0, INVALID_TTL)?;
        if ttl == 0 {
            return Ok(Deadline::Clear);
        }
        let span = if self.absolute { Span::UnixMillis } else { Span::Millis };
        let deadline = span.deadline(ttl, now_ms).ok_or(CommandError::InvalidExpire("restore"))?;
        Ok(Deadline::At(deadline as u64))
    }
}

fn check(right: bool, error: CommandError) -> Result<(), CommandError> {
    if right { Ok(()) } else { Err(error) }
}

fn restore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, now_ms) = (args[1], txn.now_ms());
    let options = RestoreOptions::parse(&args[4..])?;
    if !options.replace && txn.exists(key)? {
        return Err(BUSY_KEY.into());
    }
    let deadline = options.deadline(args[2], now_ms)?;
    let bytes_max = txn.hub().limits.record_bytes_max;
    let value = rdb::restore(args[3], bytes_max).map_err(CommandError::from)?;
    if matches!(deadline, Deadline::At(at) if at <= now_ms) {
        // The key would be dead at once: it is not made, and what it should replace is gone.
        if txn.delete(key)? {
            txn.notify(Event::Generic, "del", key);
        }
        return Ok(Reply::OK);
    }
    txn.put(key, value, deadline)?;
    let now_s = (now_ms / 1_000) as u32;
    match (txn.hub().settings.frequency, options.counter, options.idle_s) {
        (Some(_), Some(counter), _) => txn.set_usage(key, Usage::often(counter, now_s)),
        (None, _, Some(idle_s)) => txn.set_usage(key, Usage::at(now_s.saturating_sub(idle_s))),
        _ => {}
    }
    txn.notify(Event::Generic, "restore", key);
    Ok(Reply::OK)
}

fn memory_usage(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[2];
    let mut options = Options::new(&args[3..]);
    while let Some(word) = options.next() {
        // How many elements to look at: we know without looking.
        if !is(word, "SAMPLES") || options.integer()? < 0 {
            return Err(CommandError::Syntax.into());
        }
    }
    // Not a read for the statistics, as in Redis.
    txn.touch(key)?;
    let bytes = txn.peek(key).map(|value| match value {
        // As Redis rounds it: key and value, each with a little before it.
        Value::String(value) => (KEY_BYTES + key.len() + value.len()).next_multiple_of(8),
        value => (KEY_BYTES + key.len()).next_multiple_of(8) + value.memory_bytes(),
    });
    Ok(bytes.map_or(Reply::Null, Reply::count))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn memory_doctor(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Verbatim(Blob::from(&b"Memory is a cache here: what is not in use lives on disk alone.\n"[..])))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn memory_stats(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let (bytes, keys) = (txn.space().memory_bytes() as i64, txn.space().len() as i64);
    let fields = [
        ("total.allocated", bytes),
        ("dataset.bytes", bytes),
        ("keys.count", keys),
        ("keys.bytes-per-key", if keys > 0 { bytes / keys } else { 0 }),
    ];
    Ok(Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), Reply::Integer(value))).collect()))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn malloc_stats(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::bulk("Stats not supported for the current allocator"))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn memory_purge(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::OK)
}

fn memory_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn dumped(bench: &mut Bench, key: &str) -> Vec<u8> {
        match bench.run(&format!("DUMP {key}")) {
            Reply::Bulk(payload) => payload.to_vec(),
            reply => panic!("DUMP answered {reply:?}"),
        }
    }

    /// What RESTORE answers; `options` follow the payload.
    fn restored(bench: &mut Bench, key: &str, ttl: &str, payload: &[u8], options: &str) -> String {
        let mut args = vec![&b"RESTORE"[..], key.as_bytes(), ttl.as_bytes(), payload];
        args.extend(options.split_whitespace().map(str::as_bytes));
        match bench.run_args(&args) {
            Reply::Status(text) => String::from_utf8_lossy(&text).into_owned(),
            Reply::Error(error) => error.to_string(),
            reply => panic!("RESTORE answered {reply:?}"),
        }
    }

    #[test]
    fn options_are_checked_before_anything_else() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        let answer = |options: &str| restored(&mut Bench::new(), "k", "-1", b"nonsense", options);
        assert_eq!(answer("IDLETIME -1"), "ERR Invalid IDLETIME value, must be >= 0");
        assert_eq!(answer("FREQ -1"), "ERR Invalid FREQ value, must be >= 0 and <= 255");
        assert_eq!(answer("FREQ 256"), "ERR Invalid FREQ value, must be >= 0 and <= 255");
        assert_eq!(answer("FREQ x"), "ERR value is not an integer or out of range");
        for wrong in ["IDLETIME 1 FREQ 1", "FREQ 1 IDLETIME 1", "IDLETIME", "FREQ", "NOPE"] {
            assert_eq!(answer(wrong), "ERR syntax error", "{wrong}");
        }
        assert_eq!(answer("replace absttl freq 255 freq 0"), "ERR Invalid TTL value, must be >= 0");
        assert_eq!(restored(&mut bench, "k", "-1", b"", ""), "BUSYKEY Target key name already exists.");
        assert_eq!(restored(&mut bench, "k", "x", b"", "REPLACE"), "ERR value is not an integer or out of range");
        assert_eq!(restored(&mut bench, "k", "0", b"", "REPLACE"), "ERR DUMP payload version or checksum are wrong");
        assert_eq!(bench.run("GET k"), Reply::bulk("v"));
    }

    #[test]
    fn deadlines_count_from_now_or_from_the_epoch() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        let payload = dumped(&mut bench, "k");
        assert_eq!(restored(&mut bench, "none", "0", &payload, ""), "OK");
        assert_eq!(bench.run("PTTL none"), Reply::Integer(-1));
        assert_eq!(restored(&mut bench, "relative", "1500", &payload, ""), "OK");
        assert_eq!(bench.run("PTTL relative"), Reply::Integer(1_500));
        let at = (bench.now_us / 1_000 + 2_500).to_string();
        assert_eq!(restored(&mut bench, "absolute", &at, &payload, "ABSTTL IDLETIME 7"), "OK");
        assert_eq!(bench.run("PTTL absolute"), Reply::Integer(2_500));
        let never = i64::MAX.to_string();
        assert_eq!(restored(&mut bench, "far", &never, &payload, ""), "ERR invalid expire time in 'restore' command");
        assert_eq!(restored(&mut bench, "far", &never, &payload, "ABSTTL"), "OK");
        assert_eq!(bench.run("PEXPIRETIME far"), Reply::Integer(i64::MAX));
    }

    #[test]
    fn a_deadline_in_the_past_makes_no_key_and_replaces_the_old_one_by_none() {
        let mut bench = Bench::new();
        bench.run("CONFIG SET notify-keyspace-events Kg");
        bench.run("PSUBSCRIBE *");
        bench.run("SET k v");
        let payload = dumped(&mut bench, "k");
        bench.published.clear();
        assert_eq!(restored(&mut bench, "new", "1", &payload, "ABSTTL"), "OK");
        assert_eq!(bench.run("EXISTS new"), Reply::Integer(0));
        assert_eq!(restored(&mut bench, "k", "1", &payload, "ABSTTL REPLACE"), "OK");
        assert_eq!(bench.run("EXISTS k"), Reply::Integer(0));
        assert_eq!(restored(&mut bench, "k", "0", &payload, "REPLACE"), "OK");
        assert_eq!(restored(&mut bench, "k", "5", &payload, "REPLACE"), "OK");
        let events: Vec<_> = bench.published.iter().map(|(_, event)| event.to_vec()).collect();
        assert_eq!(events, [&b"del"[..], b"restore", b"restore"]);
    }

    #[test]
    fn a_payload_may_not_expand_beyond_the_limit_of_a_record() {
        let mut bench = Bench::new();
        bench.hub.limits.record_bytes_max = 10_000;
        // The letter a, and 37 times 264 of it repeated.
        let mut body = vec![0, 0xc3, 0x40, 2 + 3 * 37, 0x40 | (9_769 >> 8) as u8, (9_769 % 256) as u8, 0, b'a'];
        body.extend([0xe0, 0xff, 0x00].repeat(37));
        let fits = rdb::seal(body);
        assert_eq!(restored(&mut bench, "k", "0", &fits, ""), "OK");
        assert_eq!(bench.run("STRLEN k"), Reply::Integer(9_769));
        bench.hub.limits.record_bytes_max = 9_768;
        let refused = restored(&mut bench, "k2", "0", &fits, "");
        assert_eq!(refused, CommandError::RecordTooLarge.to_string());
    }

    #[test]
    fn memory_usage_grows_with_key_and_value() {
        let mut bench = Bench::new();
        let mut usage = |setup: &str, key: &str| {
            bench.run(setup);
            match bench.run(&format!("MEMORY USAGE {key} SAMPLES 0")) {
                Reply::Integer(bytes) => bytes,
                reply => panic!("{reply:?}"),
            }
        };
        let small = usage("SET k v", "k");
        assert_eq!(small, 32);
        assert!(usage(&format!("SET k {}", "v".repeat(1_000)), "k") >= 1_000 + 24);
        let long_key = "k".repeat(500);
        assert!(usage(&format!("SET {long_key} v"), &long_key) >= 500 + 24);
        assert!(usage("RPUSH l a b c", "l") > small);
    }

    #[test]
    fn memory_usage_checks_its_options_and_counts_no_read() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("MEMORY USAGE k"), Reply::Null);
        assert_eq!((bench.hub.facts.hits, bench.hub.facts.misses), (0, 0));
        for wrong in ["SAMPLES", "SAMPLES -1", "NOPE 1"] {
            assert_eq!(bench.error(&format!("MEMORY USAGE k {wrong}")), "ERR syntax error");
        }
        assert_eq!(bench.error("MEMORY USAGE k SAMPLES x"), "ERR value is not an integer or out of range");
        assert_eq!(bench.error("MEMORY NOPE"), "ERR unknown subcommand 'NOPE'. Try MEMORY HELP.");
    }

    #[test]
    fn streams_keep_what_was_given_back_and_who_sent_what() {
        let mut bench = Bench::new();
        for line in [
            "XADD s 1-0 f a",
            "XADD s 2-0 f b",
            "XADD s 3-0 f c",
            "XGROUP CREATE s g 0",
            "XREADGROUP GROUP g alice STREAMS s >",
            "XNACK s g FATAL IDS 1 3-0",
            "XNACK s g FAIL IDS 1 1-0",
            "XCFGSET s IDMP-MAXSIZE 7",
            "XADD s IDMP p one * f v",
            "XADD s IDMP p one * f v",
        ] {
            assert!(!matches!(bench.run(line), Reply::Error(_)), "{line}");
        }
        let sent = bench.run("XADD s IDMP p one * f v");
        let before = bench.run("XINFO STREAM s FULL");
        let Reply::Bulk(payload) = bench.run("DUMP s") else { panic!("no payload") };
        bench.run("DEL s");
        assert_eq!(bench.run_args(&[b"RESTORE", b"s", b"0", &payload]), Reply::OK);
        assert_eq!(bench.run("XINFO STREAM s FULL"), before);
        assert_eq!(bench.run("XADD s IDMP p one * f v"), sent);
        bench.run("XREADGROUP GROUP g bob COUNT 1 CLAIM 99999 STREAMS s >");
        let Reply::Array(pending) = bench.run("XPENDING s g - + 9 bob") else { panic!("no list") };
        let Reply::Array(first) = &pending[0] else { panic!("no entry") };
        assert_eq!(first[0], Reply::bulk("3-0"), "what was given back first comes first");
        for cut in 0..payload.len() {
            let part = crate::rdb::seal(payload[..cut.saturating_sub(10)].to_vec());
            assert!(matches!(bench.run_args(&[b"RESTORE", b"t", b"0", &part]), Reply::Error(_)), "{cut}");
        }
    }

    #[test]
    fn frequencies_are_restored_where_they_count() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        let Reply::Bulk(payload) = bench.run("DUMP k") else { panic!("no payload") };
        let restore =
            |bench: &mut Bench| bench.run_args(&[b"RESTORE", b"r", b"0", &payload, b"REPLACE", b"FREQ", b"100"]);
        restore(&mut bench);
        assert!(bench.error("OBJECT FREQ r").starts_with("ERR An LFU"));
        bench.run("CONFIG SET maxmemory-policy volatile-lfu");
        assert_eq!(bench.run("OBJECT FREQ r"), Reply::Integer(0), "nobody counted");
        restore(&mut bench);
        assert_eq!(bench.run("OBJECT FREQ r"), Reply::Integer(100));
        bench.now_us += 60_000_000 * 40;
        assert_eq!(bench.run("OBJECT FREQ r"), Reply::Integer(60));
    }
}
