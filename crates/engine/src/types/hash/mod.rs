//! Hashes: fields and their values.
//!
//! A small hash is a list in the order its fields were first set; a large one is a map that can be scanned (see
//! `collection.rs`). A hash vanishes with its last field. Counters in fields are text, as in strings.
//!
//! Fields may have deadlines (`deadlines.rs`; the commands are in `expiry.rs`). A handler never meets a dead field: the
//! transaction removes those before it shows a hash to anyone. What sets a field's value clears its deadline, unless the
//! command says otherwise. A handler must not open an edit before it knows that it will change something: an edit alone
//! already counts as a change for `WATCH`.

mod deadlines;
mod expiry;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_double, parse_integer};

use crate::args::{double, integer, integer_text, is};
use crate::codec::{Corrupt, Reader};
use crate::command::{Command, Group, command};
use crate::decimal;
use crate::hub::Event;
use crate::scan_map::Cursor;
use crate::settings::Encodings;
use crate::txn::{Edit, Outcome, Stop, Txn};
use crate::types::collection::{Collection, Draw, ScanOptions, counted_fields, parse_cursor, scan_reply};
use crate::value::Kind;

pub use self::deadlines::Change;
use self::deadlines::Deadlines;
pub(crate) use self::expiry::{DEADLINE_MAX, ROWS as EXPIRY_ROWS};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    hash("HSET",        -4, hset)        .writes().key(1).fast().grows().blind().doc("2.0.0", "Sets fields; counts the new ones."),
    hash("HMSET",       -4, hmset)       .writes().key(1).fast().grows().blind().doc("2.0.0", "Sets fields; the old form of HSET."),
    hash("HSETNX",       4, hsetnx)      .writes().key(1).fast().grows().blind().adds().doc("2.0.0", "Sets a field that is missing."),
    hash("HGET",         3, hget)        .reads() .key(1).fast()        .doc("2.0.0", "The value of one field."),
    hash("HMGET",       -3, hmget)       .reads() .key(1).fast()        .doc("2.0.0", "The values of several fields."),
    hash("HGETALL",      2, hgetall)     .reads() .key(1)               .doc("2.0.0", "Every field with its value."),
    hash("HKEYS",        2, hkeys)       .reads() .key(1)               .doc("2.0.0", "Every field."),
    hash("HVALS",        2, hvals)       .reads() .key(1)               .doc("2.0.0", "Every value."),
    hash("HLEN",         2, hlen)        .reads() .key(1).fast()        .peeks().doc("2.0.0", "How many fields there are."),
    hash("HEXISTS",      3, hexists)     .reads() .key(1).fast()        .peeks().doc("2.0.0", "Whether a field is there."),
    hash("HSTRLEN",      3, hstrlen)     .reads() .key(1).fast()        .peeks().doc("3.2.0", "The length of a field's value."),
    hash("HDEL",        -3, hdel)        .writes().key(1).fast()        .blind().removes().doc("2.0.0", "Removes fields; counts those that were there."),
    hash("HGETDEL",     -5, hgetdel)     .writes().key(1).fast()        .removes().doc("8.0.0", "Returns the values of fields and removes them."),
    hash("HINCRBY",      4, hincrby)     .writes().key(1).fast().grows().doc("2.0.0", "Adds an integer to a field."),
    hash("HINCRBYFLOAT", 4, hincrbyfloat).writes().key(1).fast().grows().doc("2.6.0", "Adds a number to a field."),
    hash("HRANDFIELD",  -2, hrandfield)  .reads() .key(1)               .doc("6.2.0", "Random fields, with their values if asked."),
    hash("HSCAN",       -3, hscan)       .reads() .key(1)               .doc("2.8.0", "Walks the fields in steps."),
];

const fn hash(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::Hash)
}

/// Fields and values.
const LAYOUT_PLAIN: u8 = 0;
/// Fields and values, then fields and deadlines.
const LAYOUT_DEADLINES: u8 = 1;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Hash {
    fields: Collection<Blob>,
    /// Few hashes have any.
    deadlines: Option<Box<Deadlines>>,
    /// Whether some field had one since it was made or read from disk: Redis calls its form another for that.
    had_deadlines: bool,
}

impl Default for Hash {
    fn default() -> Self {
        Self { fields: Collection::new(Encodings::DEFAULT.hash), deadlines: None, had_deadlines: false }
    }
}

impl Hash {
    /// How many fields there are.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The value of a field.
    pub fn get(&self, field: &[u8]) -> Option<&Blob> {
        self.fields.get(field)
    }

    /// When a field dies, in milliseconds since the Unix epoch; 0 is never.
    pub fn deadline(&self, field: &[u8]) -> u64 {
        self.deadlines.as_ref().map_or(0, |deadlines| deadlines.get(field))
    }

    /// Whether some field has a deadline.
    pub const fn has_deadlines(&self) -> bool {
        self.deadlines.is_some()
    }

    /// Every field with its value; in the order they were first set while the hash is small.
    pub fn iter(&self) -> impl Iterator<Item = (&Blob, &Blob)> {
        self.fields.iter()
    }

    /// How many fields are dead at `now_ms`, counted up to `most`.
    pub fn due(&self, now_ms: u64, most: usize) -> usize {
        self.deadlines.as_ref().map_or(0, |deadlines| deadlines.due(now_ms, most))
    }

    /// The encoding as `OBJECT ENCODING` names it.
    pub const fn encoding(&self) -> &'static str {
        match (self.fields.is_small(), self.has_deadlines() || self.had_deadlines) {
            (true, false) => "listpack",
            (true, true) => "listpackex",
            (false, _) => "hashtable",
        }
    }
}

impl Kind for Hash {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Fields(change) => {
                let inverse = Change::Fields(self.fields.apply(change));
                debug_assert!(self.deadlines.as_ref().is_none_or(|deadlines| deadlines.len() <= self.len()));
                inverse
            }
            Change::Deadline { field, at } => {
                let at = if self.get(&field).is_some() { at } else { 0 };
                let deadlines = self.deadlines.get_or_insert_default();
                let old = deadlines.set(&field, at);
                self.had_deadlines |= at != 0;
                if deadlines.len() == 0 {
                    self.deadlines = None;
                }
                Change::Deadline { field, at: old }
            }
            Change::Bury { until, count } => {
                let mut inverse = Vec::new();
                for _ in 0..count {
                    let next = self.deadlines.as_ref().and_then(|deadlines| deadlines.next(until));
                    let Some(field) = next else { break };
                    inverse.push(self.apply(Change::Deadline { field: field.clone(), at: 0 }));
                    inverse.push(self.apply(Change::remove(field)));
                }
                inverse.reverse();
                Change::All(inverse)
            }
            Change::All(changes) => {
                let mut inverse: Vec<Change> = changes.into_iter().map(|change| self.apply(change)).collect();
                inverse.reverse();
                Change::All(inverse)
            }
        }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        change.write(out);
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        Change::read(input)
    }

    fn write(&self, out: &mut Vec<u8>) {
        out.push(if self.has_deadlines() { LAYOUT_DEADLINES } else { LAYOUT_PLAIN });
        self.fields.write(out);
        if let Some(deadlines) = &self.deadlines {
            deadlines.write(out);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let layout = input.byte()?;
        let fields = Collection::read(input, Encodings::DEFAULT.hash)?;
        let deadlines = match layout {
            LAYOUT_PLAIN => None,
            LAYOUT_DEADLINES => Some(Box::new(Deadlines::read(input)?)),
            _ => return Err(Corrupt("a layout of hashes that this release knows")),
        };
        Ok(Self { had_deadlines: deadlines.is_some(), fields, deadlines })
    }

    fn is_void(&self) -> bool {
        self.is_empty()
    }

    fn next_due(&self) -> Option<u64> {
        self.deadlines.as_ref().and_then(|deadlines| deadlines.first())
    }

    fn memory_bytes(&self) -> usize {
        size_of::<usize>()
            + self.fields.memory_bytes()
            + self.deadlines.as_ref().map_or(0, |deadlines| deadlines.memory_bytes())
    }

    fn adapt(&mut self, encodings: &Encodings) {
        self.fields.adapt(encodings.hash);
    }

    fn canonical(&self) -> String {
        let show = |(field, value): (&Blob, &Blob)| format!("{field:?}={value:?}@{}", self.deadline(field));
        let mut fields: Vec<_> = self.iter().map(show).collect();
        fields.sort();
        fields.join(" ")
    }
}

/// What fields are changed with: nobody leaves a deadline behind.
impl Edit<'_, Hash> {
    /// Sets a field, which then lives for ever.
    fn set(&mut self, field: &[u8], value: Blob) {
        self.set_keeping(field, value);
        self.set_deadline(field, 0);
    }

    /// Sets a field; if it has a deadline, that stays.
    fn set_keeping(&mut self, field: &[u8], value: Blob) {
        self.apply(Change::set(Blob::from(field), value));
    }

    /// Sets the deadline of a field, 0 for none.
    fn set_deadline(&mut self, field: &[u8], at: u64) {
        if self.deadline(field) != at {
            self.apply(Change::Deadline { field: Blob::from(field), at });
        }
    }

    /// Removes a field; whether it was there.
    fn remove(&mut self, field: &[u8]) -> bool {
        let there = self.get().get(field).is_some();
        if there {
            self.set_deadline(field, 0);
            self.apply(Change::remove(Blob::from(field)));
        }
        there
    }
}

fn hset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_fields(txn, args, "hset").map(Reply::count)
}

fn hmset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    set_fields(txn, args, "hmset").map(|_| Reply::OK)
}

/// Sets the fields of `name key field value [field value …]`; how many are new.
fn set_fields(txn: &mut Txn<'_>, args: Args<'_>, name: &'static str) -> Result<usize, Stop> {
    let (pairs, []) = args[2..].as_chunks::<2>() else {
        return Err(CommandError::Arity(name.into()).into());
    };
    let mut edit = txn.edit::<Hash>(args[1])?;
    let before = edit.len();
    for [field, value] in pairs {
        edit.set(field, Blob::from(*value));
    }
    let added = edit.len() - before;
    drop(edit);
    txn.notify(Event::Hash, "hset", args[1]);
    Ok(added)
}

/// Gives a counter its new value, and says so.
fn set_counter(txn: &mut Txn<'_>, args: Args<'_>, value: Blob, event: &'static str) -> Result<(), Stop> {
    txn.edit::<Hash>(args[1])?.set_keeping(args[2], value);
    txn.notify(Event::Hash, event, args[1]);
    Ok(())
}

fn hsetnx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if field(txn, args)?.is_some() {
        return Ok(Reply::flag(false));
    }
    txn.edit::<Hash>(args[1])?.set(args[2], Blob::from(args[3]));
    txn.notify(Event::Hash, "hset", args[1]);
    Ok(Reply::flag(true))
}

/// The value that `name key field …` is about.
fn field<'t>(txn: &'t mut Txn<'_>, args: Args<'_>) -> Result<Option<&'t Blob>, Stop> {
    Ok(txn.get::<Hash>(args[1])?.and_then(|hash| hash.get(args[2])))
}

fn hget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::maybe(field(txn, args)?.cloned()))
}

fn hmget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(values(txn.get::<Hash>(args[1])?, &args[2..]))
}

/// The values of several fields, null where there is none.
fn values(hash: Option<&Hash>, fields: Args<'_>) -> Reply {
    let value = |field: &&[u8]| Reply::maybe(hash.and_then(|hash| hash.get(field)).cloned());
    Reply::Array(fields.iter().map(value).collect())
}

/// The values of fields that are about to be removed: one that is named twice is gone the second time.
fn last_values(hash: Option<&Hash>, fields: Args<'_>) -> Reply {
    let mut named = hashbrown::HashSet::with_capacity(fields.len());
    let values = fields.iter().map(|field| {
        let value = hash.and_then(|hash| hash.get(field)).filter(|_| named.insert(*field));
        Reply::maybe(value.cloned())
    });
    Reply::Array(values.collect())
}

fn hgetall(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let hash = txn.get::<Hash>(args[1])?;
    Ok(Reply::Map(hash.map(|hash| pairs(hash.iter())).unwrap_or_default()))
}

fn pairs<'a>(entries: impl Iterator<Item = (&'a Blob, &'a Blob)>) -> Vec<(Reply, Reply)> {
    entries.map(|(field, value)| (Reply::Bulk(field.clone()), Reply::Bulk(value.clone()))).collect()
}

fn hkeys(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let hash = txn.get::<Hash>(args[1])?;
    Ok(Reply::bulks(hash.into_iter().flat_map(Hash::iter).map(|(field, _)| field.clone())))
}

fn hvals(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let hash = txn.get::<Hash>(args[1])?;
    Ok(Reply::bulks(hash.into_iter().flat_map(Hash::iter).map(|(_, value)| value.clone())))
}

fn hlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<Hash>(args[1])?.map_or(0, Hash::len)))
}

fn hexists(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::flag(field(txn, args)?.is_some()))
}

fn hstrlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(field(txn, args)?.map_or(0, Blob::len)))
}

fn hdel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    remove_fields(txn, args[1], &args[2..]).map(Reply::count)
}

/// Removes fields and says so; how many were there.
fn remove_fields(txn: &mut Txn<'_>, key: &[u8], fields: Args<'_>) -> Result<usize, Stop> {
    let hash = txn.get::<Hash>(key)?;
    if !hash.is_some_and(|hash| fields.iter().any(|field| hash.get(field).is_some())) {
        return Ok(0);
    }
    let mut edit = txn.edit::<Hash>(key)?;
    let removed = fields.iter().filter(|field| edit.remove(field)).count();
    let emptied = edit.is_empty();
    drop(edit);
    announce_removal(txn, key, emptied);
    Ok(removed)
}

fn announce_removal(txn: &mut Txn<'_>, key: &[u8], emptied: bool) {
    txn.notify(Event::Hash, "hdel", key);
    if emptied {
        txn.notify(Event::Generic, "del", key);
    }
}

fn hgetdel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // Redis looks at the key before it looks at the words.
    let hash = txn.get::<Hash>(args[1])?;
    let fields = counted_fields(&args[2..])?;
    let reply = last_values(hash, fields);
    remove_fields(txn, args[1], fields)?;
    Ok(reply)
}

fn hincrby(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let amount = integer(args[3])?;
    let old = match field(txn, args)? {
        Some(text) => parse_integer(text).ok_or(CommandError::text("ERR hash value is not an integer"))?,
        None => 0,
    };
    let sum = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    set_counter(txn, args, integer_text(sum), "hincrby")?;
    Ok(Reply::Integer(sum))
}

fn hincrbyfloat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let amount = double(args[3])?;
    if !amount.is_finite() {
        return Err(CommandError::text("ERR value is NaN or Infinity").into());
    }
    let old = field(txn, args)?.cloned().unwrap_or(Blob::from_static(b"0"));
    parse_double(&old).ok_or(CommandError::text("ERR hash value is not a float"))?;
    let sum = decimal::add(&old, args[3])?;
    set_counter(txn, args, sum.clone(), "hincrbyfloat")?;
    Ok(Reply::Bulk(sum))
}

fn hrandfield(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut random = txn.random();
    let Some(count) = args.get(2) else {
        let hash = txn.get::<Hash>(args[1])?;
        let drawn = hash.and_then(|hash| hash.fields.random(&mut random));
        return Ok(Reply::maybe(drawn.map(|(field, _)| field.clone())));
    };
    let draw = Draw::parse(count)?;
    let with_values = match &args[3..] {
        [] => false,
        [word] if is(word, "WITHVALUES") => true,
        _ => return Err(CommandError::Syntax.into()),
    };
    // Redis counts fields and values together here, in 64 bits.
    if with_values && matches!(draw, Draw::Distinct(count) if count as u64 > i64::MAX as u64 / 2) {
        return Err(CommandError::OutOfRange.into());
    }
    let hash = txn.get::<Hash>(args[1])?;
    let drawn = hash.map(|hash| hash.fields.draw(draw, &mut random)).unwrap_or_default().into_iter();
    Ok(if with_values { Reply::Pairs(pairs(drawn)) } else { Reply::bulks(drawn.map(|(field, _)| field.clone())) })
}

fn hscan(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args[2])?;
    // Redis does not look at the options of a scan of nothing.
    let Some(hash) = txn.get::<Hash>(args[1])? else {
        return Ok(scan_reply(Cursor(0), Vec::new()));
    };
    let options = ScanOptions::parse(&args[3..], true)?;
    let (next, page) = hash.fields.scan(cursor, options.count);
    let mut items = Vec::with_capacity(page.len() * 2);
    for (field, value) in page.into_iter().filter(|(field, _)| options.wants(field)) {
        items.push(Reply::Bulk(field.clone()));
        if !options.no_values {
            items.push(Reply::Bulk(value.clone()));
        }
    }
    Ok(scan_reply(next, items))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;
    use crate::types::collection::REPEATED_DRAWS_MAX;

    fn texts(words: &[&str]) -> Reply {
        Reply::bulks(words.iter().map(|word| Blob::from(word.as_bytes())))
    }

    #[test]
    fn fields_are_set_read_and_removed() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("HSET h a 1 b 2 a 3"), Reply::Integer(2));
        assert_eq!(bench.run("HMSET h c 4"), Reply::OK);
        assert_eq!(bench.run("HSETNX h c 5"), Reply::Integer(0));
        assert_eq!(bench.run("HSETNX h d 6"), Reply::Integer(1));
        assert_eq!(bench.run("HKEYS h"), texts(&["a", "b", "c", "d"]));
        assert_eq!(bench.run("HVALS h"), texts(&["3", "2", "4", "6"]));
        assert_eq!(bench.run("HGETALL missing"), Reply::Map(Vec::new()));
        assert_eq!(bench.run("HMGET h a nope"), Reply::Array(vec![Reply::bulk("3"), Reply::Null]));
        assert_eq!(bench.run("HDEL h a a nope"), Reply::Integer(1));
        assert_eq!(bench.run("HLEN h"), Reply::Integer(3));
        assert_eq!(bench.run("HDEL h b c d"), Reply::Integer(3));
        assert_eq!(bench.size().0, 0);
        assert_eq!(bench.error("HSET h a 1 b"), "ERR wrong number of arguments for 'hset' command");
    }

    #[test]
    fn a_field_taken_twice_is_gone_the_second_time() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 2");
        let taken = Reply::Array(vec![Reply::bulk("1"), Reply::Null, Reply::Null]);
        assert_eq!(bench.run("HGETDEL h FIELDS 3 a a nope"), taken);
        assert_eq!(bench.run("HGETDEL missing FIELDS 1 a"), Reply::Array(vec![Reply::Null]));
        assert_eq!(bench.run("HGETDEL h FIELDS 1 b"), texts(&["2"]));
        assert_eq!(bench.size().0, 0);
        for (line, error) in [
            ("HGETDEL h 1 a b", "ERR Mandatory argument FIELDS is missing or not at the right position"),
            ("HGETDEL h FIELDS x a", "ERR Number of fields must be a positive integer"),
            ("HGETDEL h FIELDS 0 a", "ERR Number of fields must be a positive integer"),
            ("HGETDEL h FIELDS 2 a", "ERR The `numfields` parameter must match the number of arguments"),
        ] {
            assert_eq!(bench.error(line), error);
        }
    }

    #[test]
    fn counters_refuse_what_they_cannot_add() {
        let mut bench = Bench::new();
        bench.run("HSET h text x big 9223372036854775807 inf inf n 10");
        assert_eq!(bench.run("HINCRBY h n -3"), Reply::Integer(7));
        assert_eq!(bench.run("HINCRBYFLOAT h n 0.5"), Reply::bulk("7.5"));
        assert_eq!(bench.run("HINCRBYFLOAT fresh n 1e3"), Reply::bulk("1000"));
        for (line, error) in [
            ("HINCRBY h n 1", "ERR hash value is not an integer"),
            ("HINCRBY h n x", "ERR value is not an integer or out of range"),
            ("HINCRBY h big 1", "ERR increment or decrement would overflow"),
            ("HINCRBYFLOAT h text 1", "ERR hash value is not a float"),
            ("HINCRBYFLOAT h n x", "ERR value is not a valid float"),
            ("HINCRBYFLOAT h n inf", "ERR value is NaN or Infinity"),
            ("HINCRBYFLOAT h inf 1", "ERR increment would produce NaN or Infinity"),
        ] {
            assert_eq!(bench.error(line), error);
        }
    }

    #[test]
    fn random_fields_are_bounded() {
        let mut bench = Bench::new();
        bench.run("HSET h a 1 b 2");
        let count = |reply| match reply {
            Reply::Array(items) => items.len(),
            Reply::Pairs(pairs) => pairs.len(),
            other => panic!("{other:?}"),
        };
        assert_eq!(count(bench.run("HRANDFIELD h 9 WITHVALUES")), 2);
        assert_eq!(count(bench.run("HRANDFIELD h -9")), 9);
        assert_eq!(count(bench.run(&format!("HRANDFIELD h -{REPEATED_DRAWS_MAX}"))), REPEATED_DRAWS_MAX);
        let past = format!("HRANDFIELD h -{}", REPEATED_DRAWS_MAX + 1);
        assert_eq!(bench.error(&past), "ERR value is out of range");
        assert_eq!(bench.error("HRANDFIELD h 4611686018427387904 WITHVALUES"), "ERR value is out of range");
        assert_eq!(bench.error("HRANDFIELD h 1 VALUES"), "ERR syntax error");
        assert_eq!(bench.run("HRANDFIELD missing"), Reply::Null);
        assert_eq!(bench.run("HRANDFIELD missing 2 WITHVALUES"), Reply::Pairs(Vec::new()));
    }

    #[test]
    fn scans_page_through_a_large_hash() {
        let mut bench = Bench::new();
        let fields: Vec<String> = (0..600).map(|n| format!("f{n} {n}")).collect();
        bench.run(&format!("HSET h {}", fields.join(" ")));
        let (mut cursor, mut seen, mut steps) = ("0".to_owned(), BTreeMap::new(), 0);
        loop {
            let Reply::Array(reply) = bench.run(&format!("HSCAN h {cursor} COUNT 20")) else { panic!() };
            let [Reply::Bulk(next), Reply::Array(page)] = reply.as_slice() else { panic!() };
            for [field, value] in page.as_chunks::<2>().0 {
                seen.insert(format!("{field:?}"), format!("{value:?}"));
            }
            (cursor, steps) = (String::from_utf8(next.to_vec()).unwrap(), steps + 1);
            if cursor == "0" {
                break;
            }
        }
        assert_eq!(seen.len(), 600);
        assert!(steps > 10);
        assert_eq!(bench.error("HSCAN h x"), "ERR invalid cursor");
        assert_eq!(bench.error("HSCAN h 0 COUNT 0"), "ERR syntax error");
        bench.run("HSET small a 1 b 2");
        let names = Reply::Array(vec![Reply::bulk("0"), texts(&["a", "b"])]);
        assert_eq!(bench.run("HSCAN small 7 NOVALUES"), names);
    }

    #[test]
    fn random_commands_agree_with_a_model() {
        let mut bench = Bench::new();
        let mut model = BTreeMap::<String, i64>::new();
        let mut random = Random::new(11);
        for round in 0..2_500_u64 {
            let field = format!("f{}", random.below(3 * u64::from(Encodings::DEFAULT.hash.len_max)));
            let number = random.below(1_000) as i64;
            let growing = round / 800 % 2 == 0;
            match random.below(if growing { 5 } else { 9 }) {
                0 | 1 => {
                    let new = model.insert(field.clone(), number).is_none();
                    assert_eq!(bench.run(&format!("HSET h {field} {number}")), Reply::flag(new));
                }
                2 => {
                    let sum = model.entry(field.clone()).or_default();
                    *sum += number;
                    assert_eq!(bench.run(&format!("HINCRBY h {field} {number}")), Reply::Integer(*sum));
                }
                3 => {
                    let new = !model.contains_key(&field);
                    model.entry(field.clone()).or_insert(number);
                    assert_eq!(bench.run(&format!("HSETNX h {field} {number}")), Reply::flag(new));
                }
                4 => {
                    let value = model.get(&field).map(|n| integer_text(*n));
                    assert_eq!(bench.run(&format!("HGET h {field}")), Reply::maybe(value));
                }
                _ => {
                    let there = model.remove(&field).is_some();
                    assert_eq!(bench.run(&format!("HDEL h {field}")), Reply::flag(there));
                }
            }
            assert_eq!(bench.run("HLEN h"), Reply::count(model.len()));
        }
        let Reply::Map(pairs) = bench.run("HGETALL h") else { panic!() };
        let content: BTreeMap<_, _> = pairs.into_iter().map(|(f, v)| (format!("{f:?}"), v)).collect();
        let bulk = |(field, n): (String, i64)| (format!("{:?}", Reply::bulk(field)), Reply::Bulk(integer_text(n)));
        assert_eq!(content, model.into_iter().map(bulk).collect());
    }

    /// The events are those redis-server 7.0.15 sends.
    #[test]
    fn events_are_announced_as_in_redis() {
        let mut bench = Bench::new();
        for (line, expected) in [
            ("HSET h a 1", "hset:h"),
            ("HSET h a 1", "hset:h"),
            ("HMSET h a 1 b 2", "hset:h"),
            ("HSETNX h a 2", ""),
            ("HSETNX h z 2", "hset:h"),
            ("HINCRBY h a 1", "hincrby:h"),
            ("HINCRBYFLOAT h a 1", "hincrbyfloat:h"),
            ("HDEL h nope", ""),
            ("HDEL h a nope", "hdel:h"),
            ("HGETDEL h FIELDS 1 nope", ""),
            ("HDEL h b z", "hdel:h del:h"),
        ] {
            assert_eq!(bench.announced(line), expected, "{line}");
        }
    }

    #[test]
    fn very_many_fields_at_once_are_fast_enough() {
        let mut bench = Bench::new();
        let texts: Vec<String> = (0..200_000).map(|n| format!("field:{n}")).collect();
        let mut args: Vec<&[u8]> = vec![b"HSET", b"h"];
        args.extend(texts.iter().map(String::as_bytes));
        assert_eq!(bench.run_args(&args), Reply::Integer(100_000));
    }

    #[test]
    fn a_stored_hash_reads_back_and_an_unknown_layout_does_not() {
        let mut hash = Hash::default();
        for n in 0..300_u32 {
            hash.apply(Change::set(Blob::from(n.to_string().as_bytes()), Blob::new()));
        }
        let mut bytes = Vec::new();
        hash.write(&mut bytes);
        assert_eq!(Hash::read(&mut Reader::new(&bytes)).unwrap().canonical(), hash.canonical());
        hash.apply(Change::Deadline { field: Blob::from(&b"7"[..]), at: 1_800_000_000_000 });
        bytes.clear();
        hash.write(&mut bytes);
        let read = Hash::read(&mut Reader::new(&bytes)).unwrap();
        assert_eq!((read.canonical(), read.next_due()), (hash.canonical(), Some(1_800_000_000_000)));
        bytes[0] = 99;
        assert!(Hash::read(&mut Reader::new(&bytes)).is_err());
    }
}
