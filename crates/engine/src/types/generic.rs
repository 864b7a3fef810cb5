//! Keys of any type: removing, moving and finding them, and when they die.
//!
//! A deadline is a moment, in milliseconds since the Unix epoch. A key is dead from that moment on, removed or not, and
//! one that is given a deadline in the past is removed at once. The commands that walk all keys (`KEYS`, `SCAN`,
//! `RANDOMKEY`) see memory and store as one, in the order of the keys' hashes; there may be far more keys than memory
//! holds, so they load no value unless they were asked for its type.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::{Options, Span, integer, is};
use crate::client::Door;
use crate::command::{Command, Group, Handler, Needs, command};
use crate::glob;
use crate::hub::Event;
use crate::moment::Random;
use crate::scan_map::Cursor;
use crate::sweep::Sweep;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::types::collection::{ONLY_FIELDS, parse_cursor, scan_reply};
use crate::value::{Type, Value};

// UNLINK without keys is no error, unlike in Redis: clients of the REST protocol pass on an empty list.
#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    generic("DEL",         -2, del)        .writes().keys(1, -1, 1)       .blind().removes().overwrites().doc("1.0.0", "Removes keys; counts those that were there."),
    generic("UNLINK",      -1, unlink)     .writes().keys(1, -1, 1).fast().blind().removes().overwrites().doc("4.0.0", "Removes keys; counts those that were there."),
    generic("EXISTS",      -2, exists)     .reads() .keys(1, -1, 1).fast().peeks().aside().doc("1.0.0", "How many of the keys are there, repeats counted."),
    generic("TOUCH",       -2, touch)      .reads() .keys(1, -1, 1).fast().peeks().doc("3.2.1", "How many of the keys are there; marks them as used."),
    generic("TYPE",         2, kind)       .reads() .key(1).fast()        .peeks().aside().doc("1.0.0", "The type of a key's value."),
    generic("EXPIRE",      -3, expire)     .writes().key(1).fast()        .blind().doc("1.0.0", "Sets the expiry of a key in seconds from now, under a condition if asked."),
    generic("PEXPIRE",     -3, pexpire)    .writes().key(1).fast()        .blind().doc("2.6.0", "Sets the expiry of a key in milliseconds from now, under a condition if asked."),
    generic("EXPIREAT",    -3, expireat)   .writes().key(1).fast()        .blind().doc("1.2.0", "Sets the expiry of a key as a Unix time in seconds, under a condition if asked."),
    generic("PEXPIREAT",   -3, pexpireat)  .writes().key(1).fast()        .blind().doc("2.6.0", "Sets the expiry of a key as a Unix time in milliseconds, under a condition if asked."),
    generic("TTL",          2, ttl)        .reads() .key(1).fast()        .aside().doc("1.0.0", "The seconds a key has left: -1 without an expiry, -2 without the key."),
    generic("PTTL",         2, pttl)       .reads() .key(1).fast()        .aside().doc("2.6.0", "The milliseconds a key has left: -1 without an expiry, -2 without the key."),
    generic("EXPIRETIME",   2, expiretime) .reads() .key(1).fast()        .aside().doc("7.0.0", "When a key dies, as a Unix time in seconds: -1 without an expiry, -2 without the key."),
    generic("PEXPIRETIME",  2, pexpiretime).reads() .key(1).fast()        .aside().doc("7.0.0", "When a key dies, as a Unix time in milliseconds: -1 without an expiry, -2 without the key."),
    generic("PERSIST",      2, persist)    .writes().key(1).fast()        .blind().doc("2.2.0", "Removes the expiry of a key."),
    generic("RENAME",       3, rename)     .writes().keys(1, 2, 1)        .needs(Needs::ReadWrite, Needs::Write).removes().overwrites().doc("1.0.0", "Renames a key, over whatever has the new name."),
    generic("RENAMENX",     3, renamenx)   .writes().keys(1, 2, 1).fast() .needs(Needs::ReadWrite, Needs::Write).adds().removes().overwrites().doc("1.0.0", "Renames a key if nothing has the new name."),
    generic("COPY",        -3, copy)       .writes().keys(1, 2, 1).grows().needs(Needs::Read, Needs::Write).overwrites().doc("6.2.0", "Copies the value and expiry of a key to another key."),
    generic("KEYS",         2, keys)       .reads().sweeps().dangerous()  .doc("1.0.0", "Every key that matches a pattern."),
    generic("SCAN",        -2, scan)       .reads().sweeps()              .doc("2.8.0", "A part of all keys, and the cursor to ask for the next part."),
    generic("RANDOMKEY",    1, randomkey)  .reads()                       .doc("1.0.0", "Any one key."),
    generic("WAIT",         3, wait)       .within(&["blocking", "connection"]).doc("3.0.0", "Waits until all earlier writes are on replicas; counts the replicas."),
    generic("WAITAOF",      4, wait)       .within(&["blocking", "connection"]).doc("7.2.0", "Waits until all earlier writes are in the log, here and on replicas."),
];

const fn generic(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Generic)
}

/// A value in more pieces than this is freed by a thread of its own in Redis.
pub(super) const LAZY_PIECES: usize = 64;
/// Bytes that a piece of a list holds there.
const LIST_PIECE_BYTES: usize = 8 << 10;
/// Keys that `KEYS` looks at in one step.
const KEYS_STEP: usize = 1_000;
/// Keys that a walk over all of them looks at before others get their turn; fewer where each may have to come from disk.
const KEYS_PER_HOLD: usize = 2_000;
const TYPES_PER_HOLD: usize = 250;
/// Keys that `SCAN` looks at unless told.
const SCAN_COUNT: usize = 10;
/// Keys after which a `SCAN` over REST with `MATCH` or `TYPE` ends that was not told how many to look at, and has found
/// fewer than it looks at elsewhere: clients there take a small database to be done in one step, as it is with Upstash.
const SCAN_LOOKS_MAX: usize = 1_000;
/// Most keys that `SCAN` looks at, whatever it is told.
const SCAN_COUNT_MAX: usize = 1_000_000;
/// How often `RANDOMKEY` draws before it looks for a live key in order.
const DRAWS_MAX: usize = 32;
/// Neighbours among which `RANDOMKEY` draws when it must look in order.
const NEIGHBOURS: usize = 64;

fn del(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut removed = 0;
    for key in &args[1..] {
        if txn.delete(key)? {
            txn.notify(Event::Generic, "del", key);
            removed += 1;
        }
    }
    Ok(Reply::count(removed))
}

/// As [`del`]; counts what Redis would free behind the reply.
fn unlink(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut many = 0;
    for key in &args[1..] {
        many += u64::from(txn.value(key)?.is_some_and(|value| pieces(value) > LAZY_PIECES));
    }
    txn.hub().facts.freed_lazily += many;
    del(txn, args)
}

/// In how many pieces Redis keeps a value, near enough.
fn pieces(value: &Value) -> usize {
    match value {
        Value::Hash(hash) if hash.encoding() == "hashtable" => hash.len(),
        Value::Set(set) if set.encoding() == "hashtable" => set.len(),
        Value::ZSet(zset) if zset.encoding() == "skiplist" => zset.len(),
        Value::List(list) => list.iter().map(Blob::len).sum::<usize>() / LIST_PIECE_BYTES,
        Value::Stream(stream) => {
            let pending: usize = stream.groups().map(|(_, group)| 1 + group.pending_count()).sum();
            stream.nodes().len() + pending
        }
        _ => 1,
    }
}

/// Counts as use even where the client has asked that nothing does.
fn touch(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.uses = true;
    exists(txn, args)
}

fn exists(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut found = 0;
    for key in &args[1..] {
        found += usize::from(txn.exists(key)?);
    }
    Ok(Reply::count(found))
}

fn kind(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::status(txn.value(args[1])?.map_or("none", |value| value.kind().name())))
}

fn expire(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_deadline(txn, args, Span::Seconds, "expire")
}

fn pexpire(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_deadline(txn, args, Span::Millis, "pexpire")
}

fn expireat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_deadline(txn, args, Span::UnixSeconds, "expireat")
}

fn pexpireat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_deadline(txn, args, Span::UnixMillis, "pexpireat")
}

fn set_deadline(txn: &mut Txn<'_>, args: Args<'_>, span: Span, command: &'static str) -> Outcome {
    let (key, now_ms) = (args[1], txn.now_ms());
    let conditions = Condition::parse_all(&args[3..])?;
    let at = span.deadline(integer(args[2])?, now_ms).ok_or(CommandError::InvalidExpire(command))?;
    let Some(old) = txn.deadline(key)? else {
        return Ok(Reply::flag(false));
    };
    if !conditions.iter().all(|condition| condition.holds(old, at)) {
        return Ok(Reply::flag(false));
    }
    if at <= now_ms as i64 {
        txn.delete(key)?;
        txn.notify(Event::Generic, "del", key);
    } else {
        txn.expire_at(key, at as u64)?;
        txn.notify(Event::Generic, "expire", key);
    }
    Ok(Reply::flag(true))
}

/// When a deadline is replaced by another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Condition {
    /// There is none yet.
    Nx,
    /// There is one.
    Xx,
    /// The new one is later; no deadline is later than any.
    Gt,
    /// The new one is earlier.
    Lt,
}

impl Condition {
    fn parse_all(args: Args<'_>) -> Result<Vec<Self>, CommandError> {
        let conditions = args.iter().map(|word| Self::parse(word)).collect::<Result<Vec<_>, _>>()?;
        let has = |condition| conditions.contains(&condition);
        if has(Self::Nx) && (has(Self::Xx) || has(Self::Gt) || has(Self::Lt)) {
            return Err(CommandError::text("ERR NX and XX, GT or LT options at the same time are not compatible"));
        }
        if has(Self::Gt) && has(Self::Lt) {
            return Err(CommandError::text("ERR GT and LT options at the same time are not compatible"));
        }
        Ok(conditions)
    }

    pub(crate) fn parse(word: &[u8]) -> Result<Self, CommandError> {
        let known = [("NX", Self::Nx), ("XX", Self::Xx), ("GT", Self::Gt), ("LT", Self::Lt)];
        let found = known.into_iter().find_map(|(name, condition)| is(word, name).then_some(condition));
        found.ok_or_else(|| format!("ERR Unsupported option {}", String::from_utf8_lossy(word)).into())
    }

    /// Whether a deadline (0 is none) may be replaced by `new`.
    pub(crate) const fn holds(self, old: u64, new: i64) -> bool {
        match self {
            Self::Nx => old == 0,
            Self::Xx => old != 0,
            Self::Gt => old != 0 && new > old as i64,
            Self::Lt => old == 0 || new < old as i64,
        }
    }
}

fn ttl(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show_deadline(txn, args, |at, now_ms| to_seconds(at.saturating_sub(now_ms)))
}

fn pttl(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show_deadline(txn, args, u64::saturating_sub)
}

fn expiretime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show_deadline(txn, args, |at, _| to_seconds(at))
}

fn pexpiretime(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    show_deadline(txn, args, |at, _| at)
}

/// To the nearest second, as Redis does: a key set for 30 seconds has 30 left.
const fn to_seconds(millis: u64) -> u64 {
    millis.saturating_add(500) / 1_000
}

fn show_deadline(txn: &mut Txn<'_>, args: Args<'_>, show: fn(u64, u64) -> u64) -> Outcome {
    let now_ms = txn.now_ms();
    Ok(Reply::Integer(match txn.deadline(args[1])? {
        None => -2,
        Some(0) => -1,
        Some(at) => show(at, now_ms) as i64,
    }))
}

fn persist(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let expires = txn.deadline(args[1])?.is_some_and(|at| at != 0);
    if expires {
        txn.expire_at(args[1], 0)?;
        txn.notify(Event::Generic, "persist", args[1]);
    }
    Ok(Reply::flag(expires))
}

fn rename(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if !txn.exists(args[1])? {
        return Err(CommandError::NoSuchKey.into());
    }
    if args[1] != args[2] {
        move_key(txn, args[1], args[2])?;
    }
    Ok(Reply::OK)
}

fn renamenx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if !txn.exists(args[1])? {
        return Err(CommandError::NoSuchKey.into());
    }
    let free = !txn.exists(args[2])?;
    if free {
        move_key(txn, args[1], args[2])?;
    }
    Ok(Reply::flag(free))
}

fn move_key(txn: &mut Txn<'_>, from: &[u8], to: &[u8]) -> Result<(), Stop> {
    txn.rename(from, to)?;
    txn.notify(Event::Generic, "rename_from", from);
    txn.notify(Event::Generic, "rename_to", to);
    Ok(())
}

fn copy(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let [source, target] = [args[1], args[2]];
    let mut options = Options::new(&args[3..]);
    let mut replace = false;
    while let Some(word) = options.next() {
        match () {
            () if is(word, "REPLACE") => replace = true,
            () if is(word, "DB") => {
                if options.integer()? != 0 {
                    return Err(CommandError::text("ERR DB index is out of range").into());
                }
            }
            () => return Err(CommandError::Syntax.into()),
        }
    }
    // A copy onto itself is an error in Redis, but nothing to do for Upstash and its clients.
    if source == target || (!replace && txn.exists(target)?) {
        return Ok(Reply::flag(false));
    }
    let deadline = txn.deadline(source)?.filter(|&at| at != 0).map_or(Deadline::Clear, Deadline::At);
    let Some(value) = txn.value(source)?.cloned() else {
        return Ok(Reply::flag(false));
    };
    txn.put(target, value, deadline)?;
    txn.notify(Event::Generic, "copy_to", target);
    Ok(Reply::flag(true))
}

fn keys(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let limit = txn.hub().limits.reply_bytes_max;
    let mut sweep = txn.take_sweep().unwrap_or_default();
    let mut looks = 0;
    loop {
        let (next, keys) = txn.scan_keys(sweep.cursor, KEYS_STEP)?;
        let matching = keys.into_iter().filter(|key| glob::matches(args[1], key)).map(Reply::Bulk);
        for key in matching {
            sweep.bytes += key.bytes();
            sweep.found.push(key);
        }
        if sweep.bytes > limit {
            return Err(CommandError::ReplyTooLarge(limit).into());
        }
        if next == Cursor(0) {
            return Ok(Reply::Array(sweep.found));
        }
        sweep.cursor = next;
        looks += KEYS_STEP;
        if looks >= KEYS_PER_HOLD && txn.pauses() {
            return Err(Stop::Unfinished(sweep));
        }
    }
}

/// The options of `SCAN`.
struct Scan<'a> {
    pattern: Option<&'a [u8]>,
    count: usize,
    /// Whether the count was given.
    counts: bool,
    kind: Option<&'a [u8]>,
    with_type: bool,
}

impl<'a> Scan<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut scan = Self { pattern: None, count: SCAN_COUNT, counts: false, kind: None, with_type: false };
        while let Some(word) = options.next() {
            match () {
                () if is(word, "MATCH") => scan.pattern = Some(options.value()?),
                () if is(word, "COUNT") => {
                    let count = options.integer()?;
                    if count < 1 {
                        return Err(CommandError::Syntax);
                    }
                    scan.count = (count as usize).min(SCAN_COUNT_MAX);
                    scan.counts = true;
                }
                () if is(word, "TYPE") => scan.kind = Some(options.value()?),
                () if is(word, "WITHTYPE") => scan.with_type = true,
                () if is(word, "NOVALUES") => return Err(ONLY_FIELDS),
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(scan)
    }

    fn wants(&self, key: &[u8]) -> bool {
        self.pattern.is_none_or(|pattern| glob::matches(pattern, key))
    }

    /// Whether a step that finds little may go on where `door` leads to clients that count on it.
    fn goes_on(&self, door: Door) -> bool {
        door == Door::Rest && !self.counts && (self.pattern.is_some() || self.kind.is_some())
    }

    const fn asks_for_types(&self) -> bool {
        self.kind.is_some() || self.with_type
    }

    fn wants_type(&self, kind: Type) -> bool {
        self.kind.is_none_or(|name| is(name, kind.name()))
    }
}

fn scan(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let cursor = Cursor(parse_cursor(args[1])?);
    let scan = Scan::parse(&args[2..])?;
    let goes_on = scan.goes_on(txn.client().door);
    let per_hold = if scan.asks_for_types() { TYPES_PER_HOLD } else { KEYS_PER_HOLD };
    let mut sweep = txn.take_sweep().unwrap_or_else(|| Box::new(Sweep::from(cursor)));
    let mut looks = 0;
    // A cursor that is none of ours is past the end.
    while sweep.cursor.is_valid() {
        let step = if goes_on { scan.count } else { scan.count - sweep.looks }.min(per_hold);
        let (next, keys) = txn.scan_keys(sweep.cursor, step)?;
        sweep.looks += step;
        looks += step;
        for key in keys.into_iter().filter(|key| scan.wants(key)) {
            scan_key(txn, &scan, key, &mut sweep.found)?;
        }
        let enough = if goes_on {
            sweep.found.len() >= SCAN_COUNT || sweep.looks >= SCAN_LOOKS_MAX
        } else {
            sweep.looks >= scan.count
        };
        if next == Cursor(0) || enough {
            return Ok(scan_reply(next, sweep.found));
        }
        sweep.cursor = next;
        if looks >= per_hold && txn.pauses() {
            return Err(Stop::Unfinished(sweep));
        }
    }
    Ok(scan_reply(Cursor(0), Vec::new()))
}

/// Adds a key to what a scan has found, if it is of the right type.
fn scan_key(txn: &mut Txn<'_>, scan: &Scan<'_>, key: Blob, found: &mut Vec<Reply>) -> Result<(), Stop> {
    if !scan.asks_for_types() {
        found.push(Reply::Bulk(key));
        return Ok(());
    }
    txn.touch(&key)?;
    if let Some(kind) = txn.peek(&key).map(Value::kind).filter(|&kind| scan.wants_type(kind)) {
        found.push(Reply::Bulk(key));
        if scan.with_type {
            found.push(Reply::bulk(kind.name()));
        }
    }
    Ok(())
}

fn randomkey(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    let mut random = txn.random();
    if txn.space().cold() == 0
        && let Some(key) = draw_resident(txn, &mut random)
    {
        return Ok(Reply::Bulk(key));
    }
    Ok(Reply::maybe(draw_in_order(txn, &mut random)?))
}

/// A live key among those in memory, unless it takes too many draws to hit one.
fn draw_resident(txn: &Txn<'_>, random: &mut Random) -> Option<Blob> {
    (0..DRAWS_MAX).find_map(|_| {
        let (key, entry) = txn.space().random(random)?;
        entry.alive_at(txn.now_ms()).map(|_| key.clone())
    })
}

/// A live key near a random place in the order of hashes, in memory or in the store.
fn draw_in_order(txn: &mut Txn<'_>, random: &mut Random) -> Result<Option<Blob>, Stop> {
    let few = txn.space().len() <= NEIGHBOURS as u64;
    let mut cursor = if few { Cursor(0) } else { Cursor::after(random.next_u64()) };
    // From there to the end, and once more from the start.
    let mut ends = 0;
    while ends < 2 {
        let (next, mut keys) = txn.scan_keys(cursor, NEIGHBOURS)?;
        while !keys.is_empty() {
            let key = keys.swap_remove(random.below(keys.len() as u64) as usize);
            // The store may name a key that is past its deadline.
            txn.touch(&key)?;
            if txn.peek(&key).is_some() {
                return Ok(Some(key));
            }
        }
        ends += usize::from(next == Cursor(0));
        cursor = next;
    }
    Ok(None)
}

/// `WAIT` and `WAITAOF`: every write before it is on disk, so the reply waits for the newest record. There are no replicas.
fn wait(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let local = args[0].eq_ignore_ascii_case(b"WAITAOF");
    let (timeout, counts) = args[1..].split_last().expect("the table counted the arguments");
    for (at, count) in counts.iter().enumerate() {
        let count = parse_integer(count).ok_or(CommandError::NotAnInteger)?;
        if local && at == 0 && !(0..=1).contains(&count) {
            return Err(CommandError::text("ERR value is out of range, value must between 0 and 1").into());
        }
    }
    let timeout = parse_integer(timeout);
    let timeout = timeout.ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    if timeout < 0 {
        return Err(CommandError::text("ERR timeout is negative").into());
    }
    txn.sees_all();
    Ok(if local { Reply::Array(vec![Reply::Integer(1), Reply::Integer(0)]) } else { Reply::Integer(0) })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::client::Client;
    use crate::hub::Hub;
    use crate::keyspace::{Keyspace, Record, Source, SourceError};
    use crate::moment::Moment;
    use crate::testing::Bench;
    use crate::txn::Parts;
    use crate::watchdog::Patient;

    fn array(reply: Reply) -> Vec<Reply> {
        match reply {
            Reply::Array(items) => items,
            other => panic!("{other:?} is no array"),
        }
    }

    fn names(reply: Reply) -> BTreeSet<Blob> {
        let names = array(reply).into_iter().map(|item| match item {
            Reply::Bulk(name) => name,
            other => panic!("{other:?} is no name"),
        });
        names.collect()
    }

    #[test]
    fn conditions_of_expire_hold_or_not() {
        for (old, words, kept) in [
            (0, "NX", false),
            (100, "NX", true),
            (0, "XX", true),
            (100, "XX", false),
            (0, "GT", true),
            (100, "GT", true),
            (10, "GT", false),
            (0, "LT", false),
            (100, "LT", false),
            (10, "LT", true),
            (10, "XX LT", true),
            (10, "XX GT", false),
            (0, "XX LT", true),
        ] {
            let mut bench = Bench::new();
            bench.run("SET k v");
            if old > 0 {
                bench.run(&format!("EXPIRE k {old}"));
            }
            assert_eq!(bench.run(&format!("EXPIRE k 50 {words}")), Reply::flag(!kept), "{old} {words}");
            let left = if kept { if old == 0 { -1 } else { old } } else { 50 };
            assert_eq!(bench.run("TTL k"), Reply::Integer(left), "{old} {words}");
        }
    }

    #[test]
    fn a_key_dies_at_its_deadline_and_not_before() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        assert_eq!(bench.run("PEXPIRE k 1600"), Reply::Integer(1));
        assert_eq!(bench.run("TTL k"), Reply::Integer(2));
        assert_eq!(bench.run("EXPIRETIME k"), Reply::Integer(1_700_000_002));
        bench.pass_ms(1_101);
        assert_eq!(bench.run("TTL k"), Reply::Integer(0));
        assert_eq!(bench.run("PTTL k"), Reply::Integer(499));
        bench.pass_ms(498);
        assert_eq!(bench.run("EXISTS k"), Reply::Integer(1));
        bench.pass_ms(1);
        assert_eq!(bench.run("EXISTS k"), Reply::Integer(0));
        assert_eq!(bench.run("TTL k"), Reply::Integer(-2));
        assert_eq!(bench.run("PERSIST k"), Reply::Integer(0));
        assert_eq!(bench.run("DEL k"), Reply::Integer(0));
        assert_eq!(bench.error("RENAME k l"), "ERR no such key");
    }

    #[test]
    fn a_deadline_in_the_past_removes_at_once() {
        for line in
            ["EXPIRE k 0", "EXPIRE k -1", "PEXPIREAT k 1", "EXPIREAT k 1700000000", "PEXPIRE k -9223372036854775808"]
        {
            let mut bench = Bench::new();
            bench.run("RPUSH k v");
            assert_eq!(bench.run(line), Reply::Integer(1), "{line}");
            assert_eq!(bench.size(), (0, Bench::new().size().1 + bench.size().1), "{line}");
            assert_eq!(bench.run("TYPE k"), Reply::status("none"), "{line}");
        }
    }

    #[test]
    fn deadlines_past_64_bits_are_refused() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        for (line, command) in [
            ("EXPIRE k 9223372036854775807", "expire"),
            ("EXPIRE k -9223372036854775808", "expire"),
            ("PEXPIRE k 9223372036854775807", "pexpire"),
            ("EXPIREAT k 9223372036854775807", "expireat"),
        ] {
            assert_eq!(bench.error(line), format!("ERR invalid expire time in '{command}' command"));
        }
        assert_eq!(bench.run("PEXPIREAT k 9223372036854775807"), Reply::Integer(1));
        assert_eq!(bench.run("EXPIRETIME k"), Reply::Integer(9_223_372_036_854_776));
    }

    #[test]
    fn a_renamed_key_takes_its_deadline_along() {
        let mut bench = Bench::new();
        for line in ["RPUSH a x y", "PEXPIRE a 100", "SET b old"] {
            bench.run(line);
        }
        assert_eq!(bench.run("RENAMENX a b"), Reply::Integer(0));
        assert_eq!(bench.run("RENAME a b"), Reply::OK);
        assert_eq!(bench.run("PTTL b"), Reply::Integer(100));
        assert_eq!(bench.run("LLEN b"), Reply::Integer(2));
        assert_eq!(bench.run("RENAME b b"), Reply::OK);
        assert_eq!(bench.run("RENAMENX b a"), Reply::Integer(1));
        assert_eq!(bench.size().0, 1);
        bench.pass_ms(100);
        assert_eq!(bench.run("EXISTS a b"), Reply::Integer(0));
    }

    #[test]
    fn a_copy_has_a_life_of_its_own() {
        let mut bench = Bench::new();
        for line in ["RPUSH a x", "PEXPIRE a 100", "SET b old"] {
            bench.run(line);
        }
        assert_eq!(bench.run("COPY a b"), Reply::Integer(0));
        assert_eq!(bench.run("COPY a b DB 0 REPLACE"), Reply::Integer(1));
        assert_eq!(bench.run("PTTL b"), Reply::Integer(100));
        bench.run("RPUSH b y");
        assert_eq!(bench.run("LLEN a"), Reply::Integer(1));
        assert_eq!(bench.run("COPY a a REPLACE"), Reply::Integer(0));
        assert_eq!(bench.error("COPY a b DB 1"), "ERR DB index is out of range");
    }

    #[test]
    fn a_scan_filters_by_pattern_and_type() {
        let mut bench = Bench::new();
        for n in 0..50 {
            bench.run(&format!("SET s:{n} v"));
            bench.run(&format!("RPUSH l:{n} v"));
        }
        let (mut cursor, mut found) = ("0".to_owned(), BTreeSet::new());
        loop {
            let mut reply = array(bench.run(&format!("SCAN {cursor} MATCH *1* TYPE LIST COUNT 7")));
            found.extend(names(reply.remove(1)));
            cursor = match reply.remove(0) {
                Reply::Bulk(next) => String::from_utf8(next.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            };
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(found.len(), 14);
        assert!(found.iter().all(|key| key.starts_with(b"l:")));
        let typed = array(bench.run("SCAN 0 COUNT 9223372036854775807 WITHTYPE")).remove(1);
        assert_eq!(array(typed).len(), 200);
    }

    /// Keys that only a store has.
    #[derive(Default)]
    struct Cold(BTreeMap<(u64, Blob), Record>);

    impl Source for Cold {
        fn load(&self, hash: u64, key: &[u8]) -> Result<Option<Record>, SourceError> {
            Ok(self.0.get(&(hash, Blob::from(key))).cloned())
        }

        fn keys(&self, from: u64, count: usize) -> Result<Vec<(u64, Blob)>, SourceError> {
            Ok(self.0.range((from, Blob::new())..).take(count).map(|(at, _)| at.clone()).collect())
        }

        fn libraries(&self) -> Result<Option<(u64, crate::Libraries)>, SourceError> {
            Ok(None)
        }
    }

    impl Cold {
        fn put(&mut self, key: &str, expires_at: u64) {
            let key = Blob::from(key.as_bytes());
            let record = Record { value: Value::String(key.clone()), expires_at, seq: 1 };
            self.0.insert((crate::scan_map::hash(&key), key), record);
        }
    }

    struct Sleeper {
        cold: Cold,
        space: Keyspace,
        hub: Hub,
        client: Client,
        seq: u64,
    }

    impl Sleeper {
        fn new(cold: Cold) -> Self {
            let space = Keyspace::with_cold(cold.0.len() as u64, crate::keyspace::Expiring::default(), 0, 0);
            Self { cold, space, hub: Hub::default(), client: Client::default(), seq: 2 }
        }

        fn run(&mut self, line: &str) -> Reply {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let parts = Parts {
                space: &mut self.space,
                source: &self.cold,
                hub: &mut self.hub,
                client: &mut self.client,
                watchdog: &Patient,
                moment: Moment { now_us: 1_700_000_000_000_000, seed: self.seq },
                seq: self.seq,
            };
            self.seq += 1;
            let mut txn = Txn::begin(parts, false);
            let reply = txn.run(crate::table::find(&args).unwrap().command, &args).unwrap();
            txn.finish();
            reply
        }
    }

    #[test]
    fn walks_over_all_keys_see_cold_ones_without_loading_them() {
        let mut cold = Cold::default();
        for n in 0..3_000 {
            cold.put(&format!("cold:{n}"), 0);
        }
        let mut sleeper = Sleeper::new(cold);
        for line in ["SET warm 1", "DEL cold:7", "RENAME cold:8 renamed"] {
            sleeper.run(line);
        }
        let resident = sleeper.space.resident();
        let all = names(sleeper.run("KEYS *"));
        assert_eq!(all.len(), 3_000);
        assert!(all.contains(&b"warm"[..]) && all.contains(&b"renamed"[..]) && !all.contains(&b"cold:8"[..]));
        let drawn: BTreeSet<_> = (0..200).map(|_| format!("{:?}", sleeper.run("RANDOMKEY"))).collect();
        assert!(drawn.len() > 150, "{}", drawn.len());
        assert!(sleeper.space.resident() < resident + 220);
        assert_eq!(array(array(sleeper.run("SCAN 0 COUNT 5000 TYPE string")).remove(1)).len(), 3_000);
    }

    #[test]
    fn a_random_key_is_a_live_one() {
        let mut cold = Cold::default();
        for n in 0..500 {
            cold.put(&format!("dead:{n}"), 1_000);
        }
        assert_eq!(Sleeper::new(Cold(cold.0.clone())).run("RANDOMKEY"), Reply::Null);
        cold.put("alive", 0);
        let mut sleeper = Sleeper::new(cold);
        for _ in 0..20 {
            assert_eq!(sleeper.run("RANDOMKEY"), Reply::bulk("alive"));
        }

        let mut bench = Bench::new();
        assert_eq!(bench.run("RANDOMKEY"), Reply::Null);
        for n in 0..300 {
            bench.run(&format!("SET k:{n} v PX 10"));
        }
        bench.pass_ms(10);
        assert_eq!(bench.run("RANDOMKEY"), Reply::Null);
        bench.run("SET alive v");
        assert_eq!(bench.run("RANDOMKEY"), Reply::bulk("alive"));
        assert_eq!(names(bench.run("KEYS *")).len(), 1);
    }

    #[test]
    fn events_name_what_happened_to_a_key() {
        let mut bench = Bench::new();
        bench.hub.events = crate::hub::Notifications::parse(b"Eg").unwrap();
        bench.hub.subscribe_pattern(crate::client::ClientId(9), &Blob::from(b"*".as_slice()));
        bench.run("SET a v");
        for (line, events) in [
            ("EXPIRE a 100", "expire a"),
            ("PERSIST a", "persist a"),
            ("PERSIST a", ""),
            ("COPY a b", "copy_to b"),
            ("RENAME a a", ""),
            ("RENAME a b", "rename_from a rename_to b"),
            ("RENAMENX b a", "rename_from b rename_to a"),
            ("EXPIRE a -1", "del a"),
            ("DEL a", ""),
        ] {
            bench.published.clear();
            bench.run(line);
            let text = |bytes: &Blob| String::from_utf8_lossy(bytes).into_owned();
            let told = bench
                .published
                .iter()
                .map(|(channel, key)| format!("{} {}", text(channel).rsplit(':').next().unwrap(), text(key)));
            assert_eq!(told.collect::<Vec<_>>().join(" "), events, "{line}");
        }
    }
}
