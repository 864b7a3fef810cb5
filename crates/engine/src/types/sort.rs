//! `SORT`: elements of a list, a set or a sorted set in order, by themselves or by what other keys say of them.
//!
//! A pattern names a key for each element (`weight_*`), or a field of a hash (`user_*->name`). Such keys may be cold, and
//! each costs a look into the store, so how many one command may look up is limited by name
//! ([`Limits`](crate::hub::Limits)); Redis has no such limit.

use std::cmp::Ordering;
use std::ops::Range;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_double};

use crate::args::{Options, is};
use crate::command::{Command, Group, Handler, command};
use crate::hub::Event;
use crate::partial_sort::partial_sort;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::types::hash::Hash;
use crate::types::list::{Change, List};
use crate::value::{Kind, Tagged, Value};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    generic("SORT",    -2, sort)   .writes().key(1).store_from(2).grows().dangerous().shows().within(&["list", "set", "sortedset"]).overwrites().doc("1.0.0", "The elements of a list, set or sorted set in order; stores them if asked."),
    generic("SORT_RO", -2, sort_ro).reads() .key(1).moves()       .dangerous().within(&["list", "set", "sortedset"]).doc("7.0.0", "The elements of a list, set or sorted set in order."),
];

const fn generic(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Generic)
}

/// Stands for the element in a pattern.
const PLACE: u8 = b'*';

/// Names something for each element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Pattern<'a> {
    /// `#`: the element itself.
    Element,
    /// The same for all, so nothing.
    Constant,
    /// A key: what comes before the element, and after it.
    Key(&'a [u8], &'a [u8]),
    /// A field of the hash at such a key.
    Field(&'a [u8], &'a [u8], &'a [u8]),
}

impl<'a> Pattern<'a> {
    fn parse(pattern: &'a [u8]) -> Self {
        if pattern == b"#" {
            return Self::Element;
        }
        let Some(at) = pattern.iter().position(|&byte| byte == PLACE) else {
            return Self::Constant;
        };
        let (before, after) = (&pattern[..at], &pattern[at + 1..]);
        match after.windows(2).position(|pair| pair == b"->") {
            // An arrow that points at nothing is part of the key's name.
            Some(arrow) if arrow + 2 < after.len() => Self::Field(before, &after[..arrow], &after[arrow + 2..]),
            _ => Self::Key(before, after),
        }
    }

    /// What it names for an element.
    fn look_up(self, txn: &mut Txn<'_>, element: &Blob) -> Result<Option<Blob>, Stop> {
        match self {
            Self::Element => Ok(Some(element.clone())),
            Self::Constant => Ok(None),
            Self::Key(before, after) => {
                let key = [before, element, after].concat();
                Ok(txn.value(&key)?.and_then(Blob::of).cloned())
            }
            Self::Field(before, after, field) => {
                let key = [before, element, after].concat();
                Ok(txn.value(&key)?.and_then(Hash::of).and_then(|hash| hash.get(field)).cloned())
            }
        }
    }

    /// Whether it costs a look at another key.
    const fn looks(self) -> bool {
        matches!(self, Self::Key(..) | Self::Field(..))
    }
}

/// What is asked for.
#[derive(Debug, Default)]
struct Query<'a> {
    descending: bool,
    alpha: bool,
    /// How many to skip, and how many to take at most; a negative number takes all.
    limit: Option<(i64, i64)>,
    by: Option<Pattern<'a>>,
    gets: Vec<Pattern<'a>>,
    store: Option<&'a [u8]>,
}

impl<'a> Query<'a> {
    fn parse(args: Args<'a>, may_store: bool) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut query = Self::default();
        while let Some(word) = options.next() {
            let left = options.rest().len();
            match () {
                () if is(word, "ASC") => query.descending = false,
                () if is(word, "DESC") => query.descending = true,
                () if is(word, "ALPHA") => query.alpha = true,
                () if is(word, "LIMIT") && left >= 2 => query.limit = Some((options.integer()?, options.integer()?)),
                () if is(word, "STORE") && left >= 1 && may_store => query.store = Some(options.value()?),
                () if is(word, "BY") && left >= 1 => query.by = Some(Pattern::parse(options.value()?)),
                () if is(word, "GET") && left >= 1 => query.gets.push(Pattern::parse(options.value()?)),
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(query)
    }

    /// Whether the elements keep the order they have: by something that is the same for all.
    const fn keeps_order(&self) -> bool {
        matches!(self.by, Some(Pattern::Constant | Pattern::Element))
    }

    /// The part of the result that is asked for.
    fn range(&self, length: usize) -> Range<usize> {
        let (skip, take) = self.limit.unwrap_or((0, -1));
        let start = usize::try_from(skip).unwrap_or(0).min(length);
        let end = usize::try_from(take).map_or(length, |take| start.saturating_add(take).min(length));
        start..end
    }

    /// Whether other keys would be looked up more often than one command may.
    fn check(&self, txn: &mut Txn<'_>, elements: usize, taken: usize) -> Result<(), CommandError> {
        let by = self.by.filter(|by| by.looks()).map_or(0, |_| elements);
        let gets = self.gets.iter().filter(|get| get.looks()).count();
        let max = txn.hub().limits.sort_lookups_max;
        if by.saturating_add(gets.saturating_mul(taken)) > max {
            return Err(format!("ERR SORT would look up more than {max} keys").into());
        }
        Ok(())
    }
}

/// What an element is compared by.
#[derive(Debug)]
enum Weight {
    Number(f64),
    /// Nothing comes before something.
    Text(Option<Blob>),
}

impl Weight {
    fn order(&self, other: &Self) -> Ordering {
        match (self, other) {
            (Self::Number(a), Self::Number(b)) => a.partial_cmp(b).unwrap_or(Ordering::Equal),
            (Self::Text(a), Self::Text(b)) => a.as_deref().cmp(&b.as_deref()),
            _ => Ordering::Equal,
        }
    }
}

/// A number. Nothing at all is zero.
fn number(text: &[u8]) -> Result<f64, CommandError> {
    if text.is_empty() {
        return Ok(0.0);
    }
    let error = CommandError::text("ERR One or more scores can't be converted into double");
    parse_double(text).ok_or(error)
}

pub(super) fn sort(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let query = Query::parse(&args[2..], true)?;
    check_patterns(txn, args, &query)?;
    run(txn, args[1], query)
}

pub(super) fn sort_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let query = Query::parse(&args[2..], false)?;
    check_patterns(txn, args, &query)?;
    run(txn, args[1], query)
}

/// Patterns may lead to any key, so they are for those who may read every one.
fn check_patterns(txn: &mut Txn<'_>, args: Args<'_>, query: &Query<'_>) -> Result<(), CommandError> {
    let by = query.by.is_some_and(Pattern::looks);
    if (!by && query.gets.is_empty()) || txn.reads_every_key(args) {
        return Ok(());
    }
    let option = if by { "BY" } else { "GET" };
    Err(format!("ERR {option} option of SORT denied due to insufficient ACL permissions.").into())
}

fn run(txn: &mut Txn<'_>, key: &[u8], mut query: Query<'_>) -> Outcome {
    let in_script = txn.script.is_some();
    let (mut elements, is_set) = match txn.value(key)? {
        None => (Vec::new(), false),
        Some(Value::List(list)) => (list.iter().cloned().collect(), false),
        Some(Value::Set(set)) => (set.iter().cloned().collect::<Vec<_>>(), true),
        Some(Value::ZSet(zset)) => (zset.iter().map(|(member, _)| member.clone()).collect(), false),
        Some(_) => return Err(CommandError::WrongType.into()),
    };
    // The order of a set is nobody's promise, and must not get into what is stored or a script goes by.
    if query.keeps_order() && is_set && (query.store.is_some() || in_script) {
        (query.by, query.alpha) = (None, true);
    }
    let range = query.range(elements.len());
    query.check(txn, elements.len(), range.len())?;
    if !query.keeps_order() {
        elements = sorted(txn, elements, &query, range.clone())?;
    } else if query.descending && !is_set {
        elements.reverse();
    }
    let taken = elements.drain(range).collect();
    match query.store {
        Some(target) => store(txn, target, taken, &query.gets),
        None => show(txn, taken, &query.gets),
    }
}

/// The elements with those in a range in order.
fn sorted(txn: &mut Txn<'_>, elements: Vec<Blob>, query: &Query<'_>, range: Range<usize>) -> Result<Vec<Blob>, Stop> {
    let mut weighed = Vec::with_capacity(elements.len());
    for element in elements {
        let by = match query.by {
            Some(by) => by.look_up(txn, &element)?,
            None => Some(element.clone()),
        };
        let weight = match by {
            by if query.alpha => Weight::Text(by),
            Some(text) => Weight::Number(number(&text)?),
            None => Weight::Number(0.0),
        };
        weighed.push((weight, element));
    }
    // Only what goes by other keys can be equal, so only that is worth sorting as Redis does.
    let range = if query.by.is_some() { range } else { 0..weighed.len() };
    partial_sort(&mut weighed, range, |(weight, element), (other_weight, other)| {
        let order = weight.order(other_weight);
        // Equal numbers go by the element, so that the order is one.
        let order = if query.alpha { order } else { order.then_with(|| element.cmp(other)) };
        if query.descending { order.reverse() } else { order }
    });
    Ok(weighed.into_iter().map(|(_, element)| element).collect())
}

fn show(txn: &mut Txn<'_>, elements: Vec<Blob>, gets: &[Pattern<'_>]) -> Outcome {
    let limit = txn.hub().limits.reply_bytes_max;
    let found = gather(txn, elements, gets, limit, &CommandError::ReplyTooLarge(limit))?;
    Ok(Reply::Array(found.into_iter().map(Reply::maybe).collect()))
}

/// What is got for each element: itself, if nothing else is asked for. One large value may be found for every element, so
/// the bytes of all are limited.
fn gather(
    txn: &mut Txn<'_>,
    elements: Vec<Blob>,
    gets: &[Pattern<'_>],
    bytes_max: usize,
    too_large: &CommandError,
) -> Result<Vec<Option<Blob>>, Stop> {
    if gets.is_empty() {
        return Ok(elements.into_iter().map(Some).collect());
    }
    let mut found = Vec::with_capacity(elements.len().saturating_mul(gets.len()));
    let mut bytes = 0_usize;
    for element in &elements {
        for get in gets {
            let value = get.look_up(txn, element)?;
            bytes = bytes.saturating_add(value.as_ref().map_or(0, Blob::len));
            if bytes > bytes_max {
                return Err(too_large.clone().into());
            }
            found.push(value);
        }
    }
    Ok(found)
}

fn store(txn: &mut Txn<'_>, target: &[u8], elements: Vec<Blob>, gets: &[Pattern<'_>]) -> Outcome {
    let limit = txn.hub().limits.record_bytes_max;
    let found = gather(txn, elements, gets, limit, &CommandError::RecordTooLarge)?;
    let kept: Vec<Blob> = found.into_iter().map(Option::unwrap_or_default).collect();
    let count = kept.len();
    if count > 0 {
        txn.put(target, list_of(kept), Deadline::Clear)?;
        txn.notify(Event::List, "sortstore", target);
    } else if txn.delete(target)? {
        txn.notify(Event::Generic, "del", target);
    }
    Ok(Reply::count(count))
}

fn list_of(elements: Vec<Blob>) -> Value {
    let mut list = List::default();
    list.apply(Change::Extend { front: [].into_iter().collect(), back: elements.into() });
    list.into_value()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn texts(reply: Reply) -> String {
        let text = |item: Reply| match item {
            Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
            Reply::Null => "-".to_owned(),
            other => panic!("{other:?}"),
        };
        match reply {
            Reply::Array(items) => items.into_iter().map(text).collect::<Vec<_>>().join(" "),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn elements_go_by_themselves_or_by_other_keys() {
        let mut bench = Bench::new();
        for line in ["RPUSH l 3 1 2 10", "MSET w_1 9 w_2 5 w_3 7", "HSET h_1 n one", "HSET h_3 n three", "SADD s b a c"]
        {
            bench.run(line);
        }
        for (line, expected) in [
            ("SORT l", "1 2 3 10"),
            ("SORT l DESC LIMIT 1 2", "3 2"),
            ("SORT l ALPHA", "1 10 2 3"),
            ("SORT l BY w_*", "10 2 3 1"),
            ("SORT l BY w_* GET # GET h_*->n", "10 - 2 - 3 three 1 one"),
            ("SORT l BY nosort LIMIT 1 -1", "1 2 10"),
            ("SORT l BY nosort DESC LIMIT 0 1", "10"),
            ("SORT_RO l LIMIT -5 2", "1 2"),
            ("SORT l LIMIT 9 2", ""),
            ("SORT missing", ""),
            ("SORT s ALPHA DESC", "c b a"),
        ] {
            assert_eq!(texts(bench.run(line)), expected, "{line}");
        }
        assert_eq!(bench.run("SORT s BY nosort STORE to"), Reply::Integer(3));
        assert_eq!(texts(bench.run("LRANGE to 0 -1")), "a b c");
        assert_eq!(bench.run("SORT missing STORE to"), Reply::Integer(0));
        assert_eq!(bench.run("EXISTS to"), Reply::Integer(0));
        assert_eq!(bench.error("SORT s"), "ERR One or more scores can't be converted into double");
        assert_eq!(bench.error("SORT_RO l STORE to"), "ERR syntax error");
        assert_eq!(bench.error("SORT w_1"), CommandError::WrongType.to_string());
    }

    #[test]
    fn other_keys_are_looked_up_so_often_and_no_more() {
        let mut bench = Bench::new();
        bench.run("RPUSH l 1 2 3");
        bench.hub.limits.sort_lookups_max = 6;
        assert_eq!(texts(bench.run("SORT l BY w_* GET w_*")), "- - -");
        assert_eq!(texts(bench.run("SORT l BY w_* LIMIT 0 1 GET w_* GET w_* GET w_*")), "- - -");
        assert_eq!(bench.error("SORT l BY w_* GET w_* GET w_*"), "ERR SORT would look up more than 6 keys");
        assert_eq!(texts(bench.run("SORT l GET # GET #")), "1 1 2 2 3 3");
    }
}
