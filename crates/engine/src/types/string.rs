//! Strings: bytes, counters, and the compare-and-set family.
//!
//! The value is one byte string, shared with replies on their way out. Counters are strings too: what `INCR` stores is
//! text, as in Redis. The only change in place is a [`Splice`], which is its own kind of inverse; whole values are replaced
//! by [`Txn::put`]. A string never vanishes by being empty.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};
use xxhash_rust::xxh3::xxh3_64;

use crate::args::{Options, Span, double, integer, integer_text, is, positive};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::command::{Command, Group, Needs, command};
use crate::decimal;
use crate::hub::Event;
use crate::keyspace::heap_bytes;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::types::lcs;
use crate::value::{Kind, Tagged, Value};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    string("GET",         2, get)        .reads() .key(1).fast()        .doc("1.0.0", "The value of a key."),
    string("SET",        -3, set)        .writes().key(1).grows()       .brief().needs_by(set_needs).overwrites().doc("1.0.0", "Sets the value of a key, under a condition and with an expiry if asked."),
    string("SETNX",       3, setnx)      .writes().key(1).fast().grows().blind().adds().overwrites().doc("1.0.0", "Sets the value of a key that is missing."),
    string("SETEX",       4, setex)      .writes().key(1).grows()       .blind().overwrites().doc("2.0.0", "Sets the value of a key and its expiry in seconds."),
    string("PSETEX",      4, psetex)     .writes().key(1).grows()       .blind().overwrites().doc("2.6.0", "Sets the value of a key and its expiry in milliseconds."),
    string("GETSET",      3, getset)     .writes().key(1).fast().grows().doc("1.0.0", "Sets the value of a key and returns the old one."),
    string("GETDEL",      2, getdel)     .writes().key(1).fast()        .removes().doc("6.2.0", "Returns the value of a key and removes it."),
    string("GETEX",      -2, getex)      .writes().key(1).fast()        .doc("6.2.0", "Returns the value of a key and sets or removes its expiry."),
    string("DELEX",      -2, delex)      .writes().key(1).fast()        .removes().doc("8.4.0", "Removes a key if its value or digest compares as asked."),
    string("DIGEST",      2, digest)     .reads() .key(1).fast()        .doc("8.4.0", "The XXH3 digest of a value, as 16 hexadecimal digits."),
    string("MGET",       -2, mget)       .reads() .keys(1, -1, 1).fast().doc("1.0.0", "The values of several keys."),
    string("MSET",       -3, mset)       .writes().keys(1, -1, 2).grows().blind().overwrites().doc("1.0.1", "Sets several keys at once."),
    string("MSETNX",     -3, msetnx)     .writes().keys(1, -1, 2).grows().blind().adds().overwrites().doc("1.0.1", "Sets several keys at once if none of them is there."),
    string("MSETEX",     -4, msetex)     .writes().keys(0, 0, 2).count_at(1).grows().blind().overwrites().doc("8.4.0", "Sets several keys at once, under a condition and with an expiry if asked."),
    string("LCS",        -3, lcs::lcs)   .reads() .keys(1, 2, 1)        .doc("7.0.0", "The longest common subsequence of two values."),
    string("STRLEN",      2, strlen)     .reads() .key(1).fast()        .peeks().doc("2.2.0", "The length of a value."),
    string("APPEND",      3, append)     .writes().key(1).fast().grows().blind().adds().doc("2.0.0", "Appends to a value, or sets it."),
    string("GETRANGE",    4, getrange)   .reads() .key(1)               .doc("2.4.0", "A part of a value."),
    string("SUBSTR",      4, getrange)   .reads() .key(1)               .doc("1.0.0", "A part of a value; the old name of GETRANGE."),
    string("SETRANGE",    4, setrange)   .writes().key(1).grows()       .blind().doc("2.2.0", "Overwrites a part of a value."),
    string("INCR",        2, incr)       .writes().key(1).fast().grows().doc("1.0.0", "Adds one to a counter."),
    string("DECR",        2, decr)       .writes().key(1).fast().grows().doc("1.0.0", "Takes one from a counter."),
    string("INCRBY",      3, incrby)     .writes().key(1).fast().grows().doc("1.0.0", "Adds an integer to a counter."),
    string("DECRBY",      3, decrby)     .writes().key(1).fast().grows().doc("1.0.0", "Takes an integer from a counter."),
    string("INCRBYFLOAT", 3, incrbyfloat).writes().key(1).fast().grows().doc("2.6.0", "Adds a number to a counter."),
];

const fn string(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::String)
}

/// The most bytes a splice makes a string grow to, wherever it says it begins.
const LENGTH_MAX: usize = 4 << 30;

/// Replaces `delete` bytes at `at` by `insert`. What lies between the end of the string and `at` reads as zeros.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Splice {
    at: usize,
    delete: usize,
    insert: Blob,
}

impl Splice {
    /// Writes over what is at `at`, or beyond the end.
    pub(crate) fn overwrite(at: usize, bytes: &[u8]) -> Self {
        Self { at, delete: bytes.len(), insert: Blob::from(bytes) }
    }

    /// Replaces `delete` bytes.
    pub(crate) fn replace(at: usize, delete: usize, bytes: &[u8]) -> Self {
        Self { at, delete, insert: Blob::from(bytes) }
    }
}

impl Kind for Blob {
    type Change = Splice;

    fn apply(&mut self, change: Splice) -> Splice {
        let length = self.len();
        if change.at > length {
            let at = change.at.min(LENGTH_MAX);
            self.mutate().resize(at, 0);
            self.push_slice(&change.insert);
            return Splice { at: length, delete: self.len() - length, insert: Self::new() };
        }
        let at = change.at;
        let end = at.saturating_add(change.delete).min(length);
        let deleted = Self::from(&self[at..end]);
        let inverse = Splice { at, delete: change.insert.len(), insert: deleted };
        if at == length {
            self.push_slice(&change.insert);
        } else if end == length && change.insert.is_empty() {
            self.truncate(at);
        } else if end - at == change.insert.len() {
            self.to_mut_slice()[at..end].copy_from_slice(&change.insert);
        } else {
            *self = Self::concat_slices(&[&self[..at], &change.insert, &self[end..]]);
        }
        inverse
    }

    fn write_change(change: &Splice, out: &mut Vec<u8>) {
        put_int(out, change.at as u64);
        put_int(out, change.delete as u64);
        put_bytes(out, &change.insert);
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Splice, Corrupt> {
        Ok(Splice { at: input.int()? as usize, delete: input.int()? as usize, insert: input.blob()? })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_bytes(out, self);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        input.blob()
    }

    fn is_void(&self) -> bool {
        false
    }

    fn memory_bytes(&self) -> usize {
        heap_bytes(self)
    }

    fn canonical(&self) -> String {
        self.as_slice().escape_ascii().to_string()
    }
}

fn get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::maybe(txn.get::<Blob>(args[1])?.cloned()))
}

/// `SET` tells what was there if it is asked to, or compares with it.
fn set_needs(args: Args<'_>) -> Needs {
    let tells = |word: &[u8]| ["GET", "IFEQ", "IFNE", "IFDEQ", "IFDNE"].iter().any(|option| is(word, option));
    if args.iter().skip(3).any(|word| tells(word)) { Needs::ReadWrite } else { Needs::Write }
}

/// Digits of a digest.
const DIGEST_DIGITS: usize = 16;

/// When `SET` and `DELEX` act.
enum Condition<'a> {
    Always,
    Missing,
    Present,
    Equals(&'a [u8]),
    Differs(&'a [u8]),
    DigestEquals(&'a [u8]),
    DigestDiffers(&'a [u8]),
}

impl Condition<'_> {
    fn holds(&self, value: Option<&Blob>) -> bool {
        let digest_is = |wanted: &[u8]| value.is_some_and(|value| digest_text(value).eq_ignore_ascii_case(wanted));
        match self {
            Self::Always => true,
            Self::Missing => value.is_none(),
            Self::Present => value.is_some(),
            Self::Equals(wanted) => value.is_some_and(|value| value.as_slice() == *wanted),
            Self::Differs(wanted) => value.is_none_or(|value| value.as_slice() != *wanted),
            Self::DigestEquals(wanted) => digest_is(wanted),
            Self::DigestDiffers(wanted) => !digest_is(wanted),
        }
    }

    /// As [`Self::holds`], once the length of a digest is checked. Redis looks at it only where there is a value to compare, and
    /// not at its digits.
    fn check(&self, value: Option<&Blob>) -> Result<bool, CommandError> {
        if let (Self::DigestEquals(digest) | Self::DigestDiffers(digest), Some(_)) = (self, value)
            && digest.len() != DIGEST_DIGITS
        {
            return Err(CommandError::text("ERR must be exactly 16 hexadecimal characters"));
        }
        Ok(self.holds(value))
    }

    /// Whether it looks at the value, which then must be a string.
    const fn compares(&self) -> bool {
        !matches!(self, Self::Always | Self::Missing | Self::Present)
    }
}

/// Reads `IFEQ v` and its kin, if `word` is one.
fn comparison<'a>(word: &[u8], options: &mut Options<'a>) -> Result<Option<Condition<'a>>, CommandError> {
    Ok(Some(match () {
        () if is(word, "IFEQ") => Condition::Equals(options.value()?),
        () if is(word, "IFNE") => Condition::Differs(options.value()?),
        () if is(word, "IFDEQ") => Condition::DigestEquals(options.value()?),
        () if is(word, "IFDNE") => Condition::DigestDiffers(options.value()?),
        () => return Ok(None),
    }))
}

struct SetOptions<'a> {
    condition: Condition<'a>,
    deadline: Deadline,
    get: bool,
}

fn set_options<'a>(args: Args<'a>, now_ms: u64, command: &'static str) -> Result<SetOptions<'a>, CommandError> {
    let mut options = Options::new(args);
    let mut set = SetOptions { condition: Condition::Always, deadline: Deadline::Clear, get: false };
    let mut expiry = None;
    while let Some(word) = options.next() {
        let condition = match () {
            () if is(word, "NX") => Some(Condition::Missing),
            () if is(word, "XX") => Some(Condition::Present),
            () => comparison(word, &mut options)?,
        };
        if let Some(condition) = condition {
            // Redis takes the same word twice, but never two different conditions.
            let repeated = std::mem::discriminant(&set.condition) == std::mem::discriminant(&condition);
            if !matches!(set.condition, Condition::Always) && !repeated {
                return Err(CommandError::Syntax);
            }
            set.condition = condition;
        } else if is(word, "GET") {
            set.get = true;
        } else if is(word, "KEEPTTL") && set.deadline == Deadline::Clear && expiry.is_none() {
            set.deadline = Deadline::Keep;
        } else if let Some(span) = Span::parse(word)
            && set.deadline == Deadline::Clear
            && expiry.is_none()
        {
            expiry = Some((span, options.value()?));
        } else {
            return Err(CommandError::Syntax);
        }
    }
    // The syntax comes first, as in Redis.
    if let Some((span, amount)) = expiry {
        set.deadline = span.positive_deadline(amount, now_ms, command)?;
    }
    Ok(set)
}

fn set(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let [key, value] = [args[1], args[2]];
    if args.len() == 3 {
        return store(txn, key, value, Deadline::Clear).map(|()| Reply::OK);
    }
    let options = set_options(&args[3..], txn.now_ms(), "set")?;
    let must_be_string = options.get || options.condition.compares();
    let old = match txn.value(key)? {
        Some(old) => match Blob::of(old) {
            None if must_be_string => return Err(CommandError::WrongType.into()),
            None => Some(Blob::new()),
            Some(old) => Some(old.clone()),
        },
        None => None,
    };
    let acts = options.condition.check(old.as_ref())?;
    if acts {
        store(txn, key, value, options.deadline)?;
    }
    Ok(match (options.get, acts) {
        (true, _) => Reply::maybe(old),
        (false, true) => Reply::OK,
        (false, false) => Reply::Null,
    })
}

/// Sets a key to a string and says so to whoever listens.
fn store(txn: &mut Txn<'_>, key: &[u8], value: &[u8], deadline: Deadline) -> Result<(), Stop> {
    if value.len() > txn.hub().limits.string_bytes_max {
        return Err(CommandError::StringTooLong.into());
    }
    if let Deadline::At(at) = deadline
        && at <= txn.now_ms()
    {
        // A moment that has passed: the key was set and died at once.
        txn.delete(key)?;
        txn.notify(Event::Generic, "del", key);
        return Ok(());
    }
    txn.put(key, Value::String(Blob::from(value)), deadline)?;
    txn.notify(Event::String, "set", key);
    if matches!(deadline, Deadline::At(_)) {
        txn.notify(Event::Generic, "expire", key);
    }
    Ok(())
}

fn setnx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if txn.exists(args[1])? {
        return Ok(Reply::flag(false));
    }
    store(txn, args[1], args[2], Deadline::Clear)?;
    Ok(Reply::flag(true))
}

fn setex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let deadline = Span::Seconds.positive_deadline(args[2], txn.now_ms(), "setex")?;
    store(txn, args[1], args[3], deadline)?;
    Ok(Reply::OK)
}

fn psetex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let deadline = Span::Millis.positive_deadline(args[2], txn.now_ms(), "psetex")?;
    store(txn, args[1], args[3], deadline)?;
    Ok(Reply::OK)
}

fn getset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let old = txn.get::<Blob>(args[1])?.cloned();
    store(txn, args[1], args[2], Deadline::Clear)?;
    Ok(Reply::maybe(old))
}

fn getdel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let old = txn.get::<Blob>(args[1])?.cloned();
    if old.is_some() {
        txn.delete(args[1])?;
        txn.notify(Event::Generic, "del", args[1]);
    }
    Ok(Reply::maybe(old))
}

fn getex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut options = Options::new(&args[2..]);
    let mut asked = None;
    while let Some(word) = options.next() {
        if asked.is_some() {
            return Err(CommandError::Syntax.into());
        }
        asked = Some(match Span::parse(word) {
            Some(span) => Some((span, options.value()?)),
            None if is(word, "PERSIST") => None,
            None => return Err(CommandError::Syntax.into()),
        });
    }
    let Some(value) = txn.get::<Blob>(args[1])?.cloned() else {
        return Ok(Reply::Null);
    };
    // Only now, as in Redis: whether the amount makes sense is not asked about a key that is missing.
    let deadline = match asked {
        Some(Some((span, amount))) => Some(span.positive_deadline(amount, txn.now_ms(), "getex")?),
        Some(None) => Some(Deadline::Clear),
        None => None,
    };
    match deadline {
        Some(Deadline::At(at)) if at <= txn.now_ms() => {
            txn.delete(args[1])?;
            txn.notify(Event::Generic, "del", args[1]);
        }
        Some(Deadline::At(at)) => {
            txn.expire_at(args[1], at)?;
            txn.notify(Event::Generic, "expire", args[1]);
        }
        Some(Deadline::Clear) if txn.deadline(args[1])? != Some(0) => {
            txn.expire_at(args[1], 0)?;
            txn.notify(Event::Generic, "persist", args[1]);
        }
        _ => {}
    }
    Ok(Reply::Bulk(value))
}

const DELEX_TYPE: CommandError = CommandError::text("ERR Key should be of string type if conditions are specified");
const DELEX_CONDITION: CommandError = CommandError::text("ERR Invalid condition. Use IFEQ, IFNE, IFDEQ, or IFDNE");

fn delex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let acts = match &args[2..] {
        [] => txn.exists(args[1])?,
        [word, wanted] => match txn.value(args[1])? {
            Some(value) => {
                let value = Blob::of(value).ok_or(DELEX_TYPE)?;
                comparison(word, &mut Options::new(&[wanted]))?.ok_or(DELEX_CONDITION)?.check(Some(value))?
            }
            None => false,
        },
        _ => return Err(CommandError::Arity("delex".into()).into()),
    };
    if acts {
        txn.delete(args[1])?;
        txn.notify(Event::Generic, "del", args[1]);
    }
    Ok(Reply::flag(acts))
}

fn digest(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::maybe(txn.get::<Blob>(args[1])?.map(|value| Blob::from(digest_text(value).as_slice()))))
}

fn digest_text(value: &[u8]) -> Vec<u8> {
    format!("{:016x}", xxh3_64(value)).into_bytes()
}

fn mget(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut values = Vec::with_capacity(args.len() - 1);
    for key in &args[1..] {
        values.push(Reply::maybe(txn.value(key)?.and_then(Blob::of).cloned()));
    }
    Ok(Reply::Array(values))
}

fn mset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    for pair in pairs(args, "mset")? {
        store(txn, pair[0], pair[1], Deadline::Clear)?;
    }
    Ok(Reply::OK)
}

fn msetnx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let pairs = pairs(args, "msetnx")?;
    for pair in pairs {
        if txn.exists(pair[0])? {
            return Ok(Reply::flag(false));
        }
    }
    for pair in pairs {
        store(txn, pair[0], pair[1], Deadline::Clear)?;
    }
    Ok(Reply::flag(true))
}

fn msetex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = positive(args[1], "ERR invalid numkeys value")?;
    if count > i32::MAX as usize {
        return Err(CommandError::text("ERR invalid numkeys value").into());
    }
    let (words, options) =
        args[2..].split_at_checked(2 * count).ok_or(CommandError::text("ERR wrong number of key-value pairs"))?;
    let options = set_options(options, txn.now_ms(), "msetex")?;
    if options.get || options.condition.compares() {
        return Err(CommandError::Syntax.into());
    }
    let (pairs, _) = words.as_chunks::<2>();
    for [key, _] in pairs {
        let acts = match options.condition {
            Condition::Missing => !txn.exists(key)?,
            Condition::Present => txn.exists(key)?,
            _ => true,
        };
        if !acts {
            return Ok(Reply::flag(false));
        }
    }
    for [key, value] in pairs {
        store(txn, key, value, options.deadline)?;
    }
    Ok(Reply::flag(true))
}

/// Keys and values after the command's name.
fn pairs<'a>(args: Args<'a>, command: &'static str) -> Result<&'a [[&'a [u8]; 2]], CommandError> {
    match args[1..].as_chunks::<2>() {
        (pairs, []) => Ok(pairs),
        _ => Err(CommandError::Arity(command.into())),
    }
}

fn strlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<Blob>(args[1])?.map_or(0, Blob::len)))
}

fn append(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let length = txn.get::<Blob>(args[1])?.map_or(0, Blob::len);
    check_length(txn, length + args[2].len())?;
    let mut edit = txn.edit::<Blob>(args[1])?;
    edit.apply(Splice { at: length, delete: 0, insert: Blob::from(args[2]) });
    drop(edit);
    txn.notify(Event::String, "append", args[1]);
    Ok(Reply::count(length + args[2].len()))
}

/// Whether a string may grow to a length.
pub(crate) fn check_length(txn: &mut Txn<'_>, length: usize) -> Result<(), CommandError> {
    let limits = txn.hub().limits;
    if length > limits.string_bytes_max {
        return Err(CommandError::StringTooLong);
    }
    if length > limits.record_bytes_max { Err(CommandError::RecordTooLarge) } else { Ok(()) }
}

fn getrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, end) = (integer(args[2])?, integer(args[3])?);
    let Some(value) = txn.get::<Blob>(args[1])? else {
        return Ok(Reply::Bulk(Blob::new()));
    };
    let range = byte_range(start, end, value.len());
    Ok(Reply::Bulk(value.slice(range)))
}

/// Redis's inclusive range with negative ends counted from the back, as a half-open range within `length`.
fn byte_range(start: i64, end: i64, length: usize) -> std::ops::Range<usize> {
    let length = length as i64;
    if start < 0 && end < 0 && start > end {
        return 0..0;
    }
    let from_back = |at: i64| if at < 0 { (length + at).max(0) } else { at };
    let (start, end) = (from_back(start), from_back(end).min(length - 1));
    if start > end || length == 0 { 0..0 } else { start as usize..end as usize + 1 }
}

fn setrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let offset = integer(args[2])?;
    if offset < 0 {
        return Err(CommandError::text("ERR offset is out of range").into());
    }
    let (offset, patch) = (offset as usize, args[3]);
    let length = txn.get::<Blob>(args[1])?.map_or(0, Blob::len);
    if patch.is_empty() {
        return Ok(Reply::count(length));
    }
    check_length(txn, offset.saturating_add(patch.len()))?;
    let mut edit = txn.edit::<Blob>(args[1])?;
    edit.apply(Splice::overwrite(offset, patch));
    let length = edit.len();
    drop(edit);
    txn.notify(Event::String, "setrange", args[1]);
    Ok(Reply::count(length))
}

fn incr(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    add(txn, args[1], 1, "incrby")
}

fn decr(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    add(txn, args[1], -1, "decrby")
}

fn incrby(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    add(txn, args[1], integer(args[2])?, "incrby")
}

fn decrby(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let amount = integer(args[2])?;
    let amount = amount.checked_neg().ok_or(CommandError::text("ERR decrement would overflow"))?;
    add(txn, args[1], amount, "decrby")
}

fn add(txn: &mut Txn<'_>, key: &[u8], amount: i64, event: &'static str) -> Outcome {
    let old = match txn.get::<Blob>(key)? {
        Some(text) => parse_integer(text).ok_or(CommandError::NotAnInteger)?,
        None => 0,
    };
    let new = old.checked_add(amount).ok_or(CommandError::Overflow)?;
    txn.put(key, Value::String(integer_text(new)), Deadline::Keep)?;
    txn.notify(Event::String, event, key);
    Ok(Reply::Integer(new))
}

fn incrbyfloat(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let old = txn.get::<Blob>(args[1])?.cloned().unwrap_or(Blob::from_static(b"0"));
    double(&old)?;
    if !double(args[2])?.is_finite() {
        return Err(CommandError::NanOrInfinity.into());
    }
    let sum = decimal::add(&old, args[2])?;
    txn.put(args[1], Value::String(sum.clone()), Deadline::Keep)?;
    txn.notify(Event::String, "incrbyfloat", args[1]);
    Ok(Reply::Bulk(sum))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn conditions_of_set_hold_or_not() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("SET k v"), Reply::OK);
        assert_eq!(bench.run("SET k w NX"), Reply::Null);
        assert_eq!(bench.run("SET k w IFEQ v"), Reply::OK);
        assert_eq!(bench.run("SET k x IFEQ v GET"), Reply::bulk("w"));
        assert_eq!(bench.run("SET missing x IFNE v"), Reply::OK);
        assert_eq!(bench.error("SET k v NX XX"), "ERR syntax error");
        assert_eq!(bench.error("SET k v EX 0"), "ERR invalid expire time in 'set' command");
        assert_eq!(bench.run("SETRANGE k 5 abc"), Reply::Integer(8));
        assert_eq!(bench.run("GET k"), Reply::bulk("w\0\0\0\0abc"));
        assert_eq!(bench.run("APPEND k d"), Reply::Integer(9));
        assert_eq!(bench.run("DELEX k IFEQ nope"), Reply::Integer(0));
        assert_eq!(bench.run("SET n 41 PX 100"), Reply::OK);
        assert_eq!(bench.run("INCR n"), Reply::Integer(42));
        bench.pass_ms(100);
        assert_eq!(bench.run("GET n"), Reply::Null);
    }

    #[test]
    fn several_keys_are_set_under_one_condition() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("MSETEX 2 a 1 b 2 PX 100"), Reply::Integer(1));
        assert_eq!(bench.run("MSETEX 2 b 3 c 3 NX"), Reply::Integer(0));
        assert_eq!(bench.run("MSETEX 2 b 3 c 3 XX"), Reply::Integer(0));
        assert_eq!(bench.run("MSETEX 1 b 3 KEEPTTL XX"), Reply::Integer(1));
        assert_eq!(bench.run("PTTL b"), Reply::Integer(100));
        assert_eq!(bench.error("MSETEX 2 a 1 b"), "ERR wrong number of key-value pairs");
        assert_eq!(bench.error("MSETEX 0 a 1"), "ERR invalid numkeys value");
        assert_eq!(bench.error("MSETEX 2147483648 a 1"), "ERR invalid numkeys value");
        assert_eq!(bench.error("MSETEX 1 a 1 IFEQ 1"), "ERR syntax error");
        assert_eq!(bench.error("MSETEX 1 a 1 EX 0"), "ERR invalid expire time in 'msetex' command");
        let args: [&[u8]; 7] = [b"MSETEX", b"2", b"a", b"1", b"b", b"2", b"NX"];
        let keys = crate::table::by_name(b"MSETEX").unwrap().keys_of(&args).collect::<Vec<_>>();
        assert_eq!(keys, [b"a", b"b"]);
    }

    #[test]
    fn ranges_clip_as_in_redis() {
        for (start, end, length, expected) in [
            (0, -1, 5, 0..5),
            (-3, -1, 5, 2..5),
            (1, 2, 5, 1..3),
            (3, 1, 5, 0..0),
            (-1, -3, 5, 0..0),
            (0, 100, 5, 0..5),
            (5, 6, 5, 0..0),
            (-100, 1, 5, 0..2),
            (0, -100, 5, 0..1),
            (0, 0, 0, 0..0),
        ] {
            assert_eq!(byte_range(start, end, length), expected, "{start} {end} {length}");
        }
    }

    #[test]
    fn a_splice_is_undone_by_its_inverse() {
        for (at, delete, insert) in [
            (0, 0, "x"),
            (2, 3, "abc"),
            (5, 0, "tail"),
            (1, 2, ""),
            (4, 9, "longer"),
            (9, 4, "far"),
            (7, 0, ""),
            (3, 2, ""),
        ] {
            let mut value = Blob::from(b"hello".as_slice());
            let inverse = value.apply(Splice { at, delete, insert: Blob::from(insert.as_bytes()) });
            value.apply(inverse);
            assert_eq!(value.as_slice(), b"hello");
        }
    }
}
