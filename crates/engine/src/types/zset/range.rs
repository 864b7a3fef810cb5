//! Ranges of a sorted set, by rank, score or name, and the commands that read, count, store and remove them.
//!
//! Whatever a range is given by, it becomes a range of ranks first: scores and names are looked up in the order, and the
//! rest (direction, limit, reply) is arithmetic on ranks. Ranges by name assume that all scores are equal, as in Redis;
//! where they are not, the answer is some range, and never a failure.

use std::ops::Range;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_double};

use super::order::{Entries, Scored};
use super::{ZSet, remove, reply, store};
use crate::args::{Options, integer, is};
use crate::client::Door;
use crate::txn::{Outcome, Txn};

/// What a range is given by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Rank,
    Score,
    Lex,
}

/// One end of a range of scores.
#[derive(Clone, Copy, Debug, PartialEq)]
struct ScoreBound {
    score: f64,
    excluded: bool,
}

impl ScoreBound {
    /// Reads a bound as Redis does: nothing is 0, too much is infinite.
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let (excluded, text) = match arg {
            [b'(', rest @ ..] => (true, rest),
            _ => (false, arg),
        };
        let text = if text.is_empty() { b"0" } else { text };
        let huge = || std::str::from_utf8(text).ok()?.parse::<f64>().ok().filter(|score| !score.is_nan());
        let score = parse_double(text).or_else(huge).ok_or(CommandError::text("ERR min or max is not a float"))?;
        Ok(Self { score, excluded })
    }
}

/// One end of a range of names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LexBound<'a> {
    /// `-`
    First,
    /// `+`
    Last,
    /// `[name`
    Included(&'a [u8]),
    /// `(name`
    Excluded(&'a [u8]),
}

impl<'a> LexBound<'a> {
    fn parse(arg: &'a [u8]) -> Result<Self, CommandError> {
        match arg {
            b"-" => Ok(Self::First),
            b"+" => Ok(Self::Last),
            [b'[', name @ ..] => Ok(Self::Included(name)),
            [b'(', name @ ..] => Ok(Self::Excluded(name)),
            _ => Err(CommandError::text("ERR min or max not valid string range item")),
        }
    }
}

/// Both ends of a range. Ranks count from the end when negative.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Span<'a> {
    Rank(i64, i64),
    Score(ScoreBound, ScoreBound),
    Lex(LexBound<'a>, LexBound<'a>),
}

impl<'a> Span<'a> {
    fn parse(by: By, min: &'a [u8], max: &'a [u8]) -> Result<Self, CommandError> {
        Ok(match by {
            By::Rank => Self::Rank(integer(min)?, integer(max)?),
            By::Score => Self::Score(ScoreBound::parse(min)?, ScoreBound::parse(max)?),
            By::Lex => Self::Lex(LexBound::parse(min)?, LexBound::parse(max)?),
        })
    }

    /// The ranks it covers. Ranks in it count from the other end if `reverse`.
    fn ranks(&self, zset: &ZSet, reverse: bool) -> Range<usize> {
        let len = zset.len();
        match *self {
            Self::Rank(start, stop) => {
                let ranks = clip(start, stop, len);
                if reverse { len - ranks.end..len - ranks.start } else { ranks }
            }
            Self::Score(min, max) => {
                let before = |entry: &Scored| entry.score < min.score || (min.excluded && entry.score <= min.score);
                let within = |entry: &Scored| entry.score < max.score || (!max.excluded && entry.score <= max.score);
                span(zset.order.count_while(before), zset.order.count_while(within))
            }
            Self::Lex(min, max) => {
                let before = |entry: &Scored| match min {
                    LexBound::First => false,
                    LexBound::Last => true,
                    LexBound::Included(name) => entry.member.as_slice() < name,
                    LexBound::Excluded(name) => entry.member.as_slice() <= name,
                };
                let within = |entry: &Scored| match max {
                    LexBound::First => false,
                    LexBound::Last => true,
                    LexBound::Included(name) => entry.member.as_slice() <= name,
                    LexBound::Excluded(name) => entry.member.as_slice() < name,
                };
                span(zset.order.count_while(before), zset.order.count_while(within))
            }
        }
    }
}

/// A range that is empty if its ends crossed.
fn span(start: usize, end: usize) -> Range<usize> {
    start..end.max(start)
}

/// An inclusive range whose negative ends count from the back, as a range within `len`.
fn clip(start: i64, stop: i64, len: usize) -> Range<usize> {
    let len = len as i64;
    let from_back = |at: i64| if at < 0 { at.saturating_add(len) } else { at };
    let (start, stop) = (from_back(start).max(0), from_back(stop).min(len - 1));
    if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
}

/// What `ZRANGE` and its kin were asked for.
#[derive(Clone, Copy, Debug)]
struct Query<'a> {
    span: Span<'a>,
    reverse: bool,
    /// How many to skip, and how many to take at most; a negative number takes all.
    limit: (i64, i64),
    with_scores: bool,
}

/// What a command's name already says of its query.
#[derive(Clone, Copy, Debug, Default)]
struct Form {
    by: Option<By>,
    reverse: Option<bool>,
    /// Whether the result is stored, so that nobody can ask for scores.
    stores: bool,
}

impl Form {
    const fn fixed(by: By, reverse: bool) -> Self {
        Self { by: Some(by), reverse: Some(reverse), stores: false }
    }

    /// Reads the two ends and the options.
    fn parse(self, args: Args<'_>, door: Door) -> Result<Query<'_>, CommandError> {
        let (mut by, mut reverse, mut limit, mut with_scores) = (self.by, self.reverse, (0, -1), false);
        let mut options = Options::new(&args[2..]);
        while let Some(word) = options.next() {
            match () {
                () if is(word, "WITHSCORES") && !self.stores => with_scores = true,
                () if is(word, "LIMIT") && options.rest().len() >= 2 => {
                    limit = (options.integer()?, options.integer()?);
                }
                () if is(word, "REV") && reverse.is_none() => reverse = Some(true),
                () if is(word, "BYSCORE") && by.is_none() => by = Some(By::Score),
                () if is(word, "BYLEX") && by.is_none() => by = Some(By::Lex),
                () => return Err(CommandError::Syntax),
            }
        }
        let (by, reverse) = (by.unwrap_or(By::Rank), reverse.unwrap_or(false));
        // The service we match takes a limit on ranks, but Redis does not: only the commands of today take it, over REST.
        if by == By::Rank && (self.by.is_some() || door == Door::Resp) {
            if limit.1 != -1 {
                let text = "ERR syntax error, LIMIT is only supported in combination with either BYSCORE or BYLEX";
                return Err(CommandError::text(text));
            }
            // A limit that is none is not looked at, as in Redis.
            limit = (0, -1);
        }
        if with_scores && by == By::Lex {
            return Err(CommandError::text("ERR syntax error, WITHSCORES not supported in combination with BYLEX"));
        }
        let [min, max] = if reverse && by != By::Rank { [args[1], args[0]] } else { [args[0], args[1]] };
        Ok(Query { span: Span::parse(by, min, max)?, reverse, limit, with_scores })
    }
}

impl Query<'_> {
    /// The entries it covers, from the lower ranks to the higher.
    fn entries<'z>(&self, zset: &'z ZSet) -> Entries<'z> {
        let ranks = self.span.ranks(zset, self.reverse);
        let (offset, count) = self.limit;
        // A negative offset skips everything, a negative count takes everything, as in Redis.
        let skip = usize::try_from(offset).unwrap_or(usize::MAX).min(ranks.len());
        let take = usize::try_from(count).unwrap_or(usize::MAX).min(ranks.len() - skip);
        zset.order.range(if self.reverse {
            ranks.end - skip - take..ranks.end - skip
        } else {
            ranks.start + skip..ranks.start + skip + take
        })
    }
}

fn query(txn: &mut Txn<'_>, args: Args<'_>, form: Form) -> Outcome {
    let query = form.parse(&args[2..], txn.client().door)?;
    let Some(zset) = txn.get::<ZSet>(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let entries = query.entries(zset);
    Ok(if query.reverse { reply(entries.rev(), query.with_scores) } else { reply(entries, query.with_scores) })
}

pub(super) fn zrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::default())
}

pub(super) fn zrangebyscore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::fixed(By::Score, false))
}

pub(super) fn zrangebylex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::fixed(By::Lex, false))
}

pub(super) fn zrevrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::fixed(By::Rank, true))
}

pub(super) fn zrevrangebyscore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::fixed(By::Score, true))
}

pub(super) fn zrevrangebylex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    query(txn, args, Form::fixed(By::Lex, true))
}

pub(super) fn zrangestore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let query = Form { stores: true, ..Form::default() }.parse(&args[3..], txn.client().door)?;
    let entries = match txn.get::<ZSet>(args[2])? {
        Some(zset) => query.entries(zset).cloned().collect(),
        None => Vec::new(),
    };
    store(txn, args[1], entries, "zrangestore")
}

pub(super) fn zcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    count(txn, args, By::Score)
}

pub(super) fn zlexcount(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    count(txn, args, By::Lex)
}

fn count(txn: &mut Txn<'_>, args: Args<'_>, by: By) -> Outcome {
    let span = Span::parse(by, args[2], args[3])?;
    Ok(Reply::count(txn.get::<ZSet>(args[1])?.map_or(0, |zset| span.ranks(zset, false).len())))
}

pub(super) fn zremrangebyrank(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    remove_range(txn, args, By::Rank, "zremrangebyrank")
}

pub(super) fn zremrangebyscore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    remove_range(txn, args, By::Score, "zremrangebyscore")
}

pub(super) fn zremrangebylex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    remove_range(txn, args, By::Lex, "zremrangebylex")
}

fn remove_range(txn: &mut Txn<'_>, args: Args<'_>, by: By, event: &'static str) -> Outcome {
    let span = Span::parse(by, args[2], args[3])?;
    let members: Vec<Blob> = match txn.get::<ZSet>(args[1])? {
        Some(zset) => zset.order.range(span.ranks(zset, false)).map(|entry| entry.member.clone()).collect(),
        None => Vec::new(),
    };
    remove(txn, args[1], members, event)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranks_clip_as_in_redis() {
        for (start, stop, len, expected) in [
            (0, -1, 5, 0..5),
            (-3, -2, 5, 2..4),
            (1, 100, 5, 1..5),
            (-100, 0, 5, 0..1),
            (3, 1, 5, 0..0),
            (5, 9, 5, 0..0),
            (0, -6, 5, 0..0),
            (i64::MIN, i64::MAX, 5, 0..5),
            (0, 0, 0, 0..0),
        ] {
            assert_eq!(clip(start, stop, len), expected, "{start} {stop} {len}");
        }
    }

    #[test]
    fn bounds_of_scores_may_be_nothing_or_too_much() {
        for (text, expected) in [
            ("1.5", Some((1.5, false))),
            ("(1.5", Some((1.5, true))),
            ("-inf", Some((f64::NEG_INFINITY, false))),
            ("(+inf", Some((f64::INFINITY, true))),
            ("", Some((0.0, false))),
            ("(", Some((0.0, true))),
            (" 1", None),
            ("1e400", Some((f64::INFINITY, false))),
            ("-1e400", Some((f64::NEG_INFINITY, false))),
            ("1 ", None),
            ("nan", None),
            ("[1", None),
            ("((1", None),
        ] {
            let bound = ScoreBound::parse(text.as_bytes()).ok().map(|bound| (bound.score, bound.excluded));
            assert_eq!(bound, expected, "{text:?}");
        }
    }

    #[test]
    fn bounds_of_names_need_a_bracket_or_a_sign() {
        for (text, expected) in [
            ("-", Some(LexBound::First)),
            ("+", Some(LexBound::Last)),
            ("[a", Some(LexBound::Included(b"a"))),
            ("(", Some(LexBound::Excluded(b""))),
            ("a", None),
            ("-a", None),
            ("", None),
        ] {
            assert_eq!(LexBound::parse(text.as_bytes()).ok(), expected, "{text:?}");
        }
    }
}
