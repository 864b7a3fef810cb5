//! `INCREX`: a counter with bounds and an expiry, in one step (Redis 8.8).
//!
//! Integers and decimals do not mix within a call. A result out of bounds changes nothing at all, the expiry included, unless
//! the caller asked for the bound instead; the second half of the reply says by how much the counter really changed. Decimals
//! add as those of `INCRBYFLOAT` do.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_double, parse_integer};

use crate::args::{Options, Span, integer_text, is};
use crate::command::{Command, Group, command};
use crate::decimal;
use crate::hub::Event;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::value::Value;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    command("INCREX", -2, increx).group(Group::String).writes().key(1).fast().grows().doc("8.8.0", "Adds to a counter within bounds and sets its expiry; the new value and what was added."),
];

/// The words as they were sent.
#[derive(Default)]
struct Words<'a> {
    by: Option<(Number, &'a [u8])>,
    lower: Option<&'a [u8]>,
    upper: Option<&'a [u8]>,
    saturates: bool,
    expiry: Option<(Span, &'a [u8])>,
    persists: bool,
    only_if_none: bool,
}

/// What is counted in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Number {
    Integer,
    Decimal,
}

/// Sets what may be set once.
fn once<T>(place: &mut Option<T>, value: T) -> Result<(), CommandError> {
    if place.replace(value).is_none() { Ok(()) } else { Err(CommandError::Syntax) }
}

/// As [`once`], of a word that stands for itself.
fn raise(flag: &mut bool) -> Result<(), CommandError> {
    if std::mem::replace(flag, true) { Err(CommandError::Syntax) } else { Ok(()) }
}

impl<'a> Words<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let mut words = Self::default();
        let mut options = Options::new(args);
        while let Some(word) = options.next() {
            match () {
                () if is(word, "BYINT") => once(&mut words.by, (Number::Integer, options.value()?))?,
                () if is(word, "BYFLOAT") => once(&mut words.by, (Number::Decimal, options.value()?))?,
                () if is(word, "LBOUND") => once(&mut words.lower, options.value()?)?,
                () if is(word, "UBOUND") => once(&mut words.upper, options.value()?)?,
                () if is(word, "SATURATE") => raise(&mut words.saturates)?,
                () if is(word, "PERSIST") => raise(&mut words.persists)?,
                () if is(word, "ENX") => raise(&mut words.only_if_none)?,
                () => {
                    let span = Span::parse(word).ok_or(CommandError::Syntax)?;
                    once(&mut words.expiry, (span, options.value()?))?;
                }
            }
        }
        if words.persists && (words.expiry.is_some() || words.only_if_none) {
            return Err(CommandError::Syntax);
        }
        if words.only_if_none && words.expiry.is_none() {
            return Err(CommandError::text("ERR ENX flag requires an expiration option"));
        }
        Ok(words)
    }
}

/// What becomes of the counter.
struct Sum {
    text: Blob,
    /// The new value and what was added, as they are shown.
    reply: [Reply; 2],
    event: &'static str,
}

fn increx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, words) = (args[1], Words::parse(&args[2..])?);
    let deadline = match words.expiry {
        Some((span, amount)) => Some(span.positive_deadline(amount, txn.now_ms(), "increx")?),
        None => None,
    };
    let sum = match words.by.unwrap_or((Number::Integer, b"1")) {
        (Number::Integer, by) => integers(txn, key, by, &words)?,
        (Number::Decimal, by) => decimals(txn, key, by, &words)?,
    };
    let Sum { text, reply, event } = match sum {
        Ok(sum) => sum,
        Err(refusal) => return Ok(Reply::Array(refusal.into())),
    };
    store(txn, key, text, (event, words.persists), deadline, words.only_if_none)?;
    Ok(Reply::Array(reply.into()))
}

/// Stores the sum, and sets, takes away or leaves the deadline.
fn store(
    txn: &mut Txn<'_>,
    key: &[u8],
    text: Blob,
    (event, persists): (&'static str, bool),
    deadline: Option<Deadline>,
    only_if_none: bool,
) -> Result<(), Stop> {
    let had_deadline = txn.deadline(key)?.is_some_and(|at| at != 0);
    let deadline = deadline.filter(|_| !(only_if_none && had_deadline));
    if let Some(Deadline::At(at)) = deadline
        && at <= txn.now_ms()
    {
        if txn.delete(key)? {
            txn.notify(Event::Generic, "del", key);
        }
        return Ok(());
    }
    let new = deadline.unwrap_or(if persists { Deadline::Clear } else { Deadline::Keep });
    txn.put(key, Value::String(text), new)?;
    txn.notify(Event::String, event, key);
    if deadline.is_some() {
        txn.notify(Event::Generic, "expire", key);
    } else if persists && had_deadline {
        txn.notify(Event::Generic, "persist", key);
    }
    Ok(())
}

/// The sum, or the reply of a call that changes nothing.
type Summed = Result<Sum, [Reply; 2]>;

const NO_ORDER: CommandError = CommandError::text("ERR LBOUND can't be greater than UBOUND");

fn integers(txn: &mut Txn<'_>, key: &[u8], by: &[u8], words: &Words<'_>) -> Result<Summed, Stop> {
    let read = |text: &[u8], error: &'static str| parse_integer(text).ok_or(CommandError::text(error));
    let by = read(by, "ERR Increment is not an integer or out of range")?;
    let bound = |text: Option<&[u8]>, none: i64, error| text.map_or(Ok(none), |text| read(text, error));
    let lower = bound(words.lower, i64::MIN, "ERR LBOUND is not an integer or out of range")?;
    let upper = bound(words.upper, i64::MAX, "ERR UBOUND is not an integer or out of range")?;
    if lower > upper {
        return Err(NO_ORDER.into());
    }
    let old = match txn.get::<Blob>(key)? {
        Some(text) => parse_integer(text).ok_or(CommandError::NotAnInteger)?,
        None => 0,
    };
    let wanted = i128::from(old) + i128::from(by);
    let new = wanted.clamp(lower.into(), upper.into());
    if new != wanted && !words.saturates {
        return Ok(Err([Reply::Integer(old), Reply::Integer(0)]));
    }
    let added = i64::try_from(new - i128::from(old));
    let added = added.map_err(|_| CommandError::text("ERR applied increment would overflow"))?;
    let new = new as i64;
    Ok(Ok(Sum { text: integer_text(new), reply: [Reply::Integer(new), Reply::Integer(added)], event: "incrby" }))
}

fn decimals(txn: &mut Txn<'_>, key: &[u8], by: &[u8], words: &Words<'_>) -> Result<Summed, Stop> {
    let read = |text: &[u8], error: &'static str| parse_double(text).ok_or(CommandError::text(error));
    if read(by, "ERR Increment is not a valid float")?.is_infinite() {
        return Err(CommandError::text("ERR BYFLOAT increment cannot be Infinity").into());
    }
    let bound = |text: Option<&[u8]>, none: f64, error| text.map_or(Ok(none), |text| read(text, error));
    let lower = bound(words.lower, f64::NEG_INFINITY, "ERR LBOUND is not a valid float")?;
    let upper = bound(words.upper, f64::INFINITY, "ERR UBOUND is not a valid float")?;
    if lower > upper {
        return Err(NO_ORDER.into());
    }
    let old_text = txn.get::<Blob>(key)?.cloned().unwrap_or(Blob::from_static(b"0"));
    let old = parse_double(&old_text).ok_or(CommandError::NotAFloat)?;
    if old.is_infinite() {
        return Err(CommandError::text("ERR value cannot be Infinity").into());
    }
    let number = |text: &Blob| parse_double(text).unwrap_or_default();
    let wanted = decimal::add(&old_text, by).ok();
    let (text, added) = match &wanted {
        Some(sum) if (lower..=upper).contains(&number(sum)) => (sum.clone(), Blob::from(by)),
        _ if !words.saturates => return Ok(Err([Reply::Double(old), Reply::Double(0.0)])),
        _ => {
            // What is past all numbers is past the bound on its side; without one, the largest number there is.
            let rises = wanted.as_ref().map_or(by.first() != Some(&b'-'), |sum| number(sum) > upper);
            let bound = if rises { upper.min(f64::MAX) } else { lower.max(f64::MIN) };
            let text = decimal::add(b"0", bound.to_string().as_bytes())?;
            (text.clone(), decimal::add(&text, (-old).to_string().as_bytes())?)
        }
    };
    let reply = [Reply::Double(number(&text)), Reply::Double(number(&added))];
    Ok(Ok(Sum { text, reply, event: "incrbyfloat" }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn pair(new: i64, added: i64) -> Reply {
        Reply::Array(vec![Reply::Integer(new), Reply::Integer(added)])
    }

    fn doubles(new: f64, added: f64) -> Reply {
        Reply::Array(vec![Reply::Double(new), Reply::Double(added)])
    }

    #[test]
    fn integers_stay_within_their_bounds() {
        let mut bench = Bench::new();
        for (old, line, reply) in [
            ("10", "INCREX k", pair(11, 1)),
            ("10", "INCREX k BYINT -10 LBOUND 5", pair(10, 0)),
            ("10", "INCREX k BYINT -10 LBOUND 5 SATURATE", pair(5, -5)),
            ("50", "INCREX k BYINT 5 UBOUND 30 SATURATE", pair(30, -20)),
            ("50", "INCREX k BYINT -25 UBOUND 30", pair(25, -25)),
            ("9223372036854775800", "INCREX k BYINT 100", pair(9_223_372_036_854_775_800, 0)),
            ("9223372036854775800", "INCREX k BYINT 100 SATURATE", pair(i64::MAX, 7)),
        ] {
            bench.run(&format!("SET k {old}"));
            assert_eq!(bench.run(line), reply, "{line}");
        }
        let error = bench.error("INCREX k SATURATE UBOUND -9223372036854775808");
        assert_eq!(error, "ERR applied increment would overflow");
        assert_eq!(bench.run("INCREX none BYINT 15 UBOUND 10 EX 100"), pair(0, 0));
        assert_eq!(bench.run("EXISTS none"), Reply::Integer(0));
    }

    #[test]
    fn decimals_add_exactly() {
        let mut bench = Bench::new();
        for (old, line, reply) in [
            ("0.1", "INCREX k BYFLOAT 0.2", doubles(0.3, 0.2)),
            ("10", "INCREX k BYFLOAT 100 UBOUND 42.5 SATURATE", doubles(42.5, 32.5)),
            ("10.5", "INCREX k BYFLOAT 100 UBOUND 42.5", doubles(10.5, 0.0)),
            ("0", "INCREX k BYFLOAT -100 LBOUND -5.5 SATURATE", doubles(-5.5, -5.5)),
            ("1e308", "INCREX k BYFLOAT 1.7e308", doubles(1e308, 0.0)),
            ("1e308", "INCREX k BYFLOAT 1.7e308 UBOUND 2 SATURATE", doubles(2.0, 2.0 - 1e308)),
        ] {
            bench.run(&format!("SET k {old}"));
            assert_eq!(bench.run(line), reply, "{line}");
        }
        bench.run("SET k inf");
        assert_eq!(bench.error("INCREX k BYFLOAT 1"), "ERR value cannot be Infinity");
        assert_eq!(bench.error("INCREX k BYFLOAT -inf"), "ERR BYFLOAT increment cannot be Infinity");
    }

    #[test]
    fn deadlines_are_set_kept_or_taken_away() {
        let mut bench = Bench::new();
        for (line, ttl, events) in [
            ("INCREX k EX 100", 100, "incrby:k expire:k"),
            ("INCREX k EX 10 ENX", 100, "incrby:k"),
            ("INCREX k EXAT 1 ENX", 100, "incrby:k"),
            ("INCREX k UBOUND 0 EX 5", 100, ""),
            ("INCREX k PERSIST BYFLOAT 1", -1, "incrbyfloat:k persist:k"),
            ("INCREX k PERSIST", -1, "incrby:k"),
            ("INCREX k EXAT 1", -2, "del:k"),
            ("INCREX k PXAT 1", -2, ""),
        ] {
            assert_eq!(bench.announced(line), events, "{line}");
            assert_eq!(bench.run("TTL k"), Reply::Integer(ttl), "{line}");
        }
        for line in ["BYINT 1 BYFLOAT 1", "EX 1 PX 1", "EX 1 PERSIST", "PERSIST ENX", "SATURATE SATURATE", "SAT"] {
            assert_eq!(bench.error(&format!("INCREX k {line}")), "ERR syntax error");
        }
    }
}
