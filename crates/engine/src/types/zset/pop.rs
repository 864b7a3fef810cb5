//! Pops from either end of a sorted set, at once or after a wait.
//!
//! A blocking command that finds nothing hands back what it waits for, and is run again from the start when one of its keys
//! has been written. Where nobody may wait (a transaction, a script) it answers as if its time were up.

use dormouse_proto::{Args, CommandError, Reply};

use super::order::Scored;
use super::{ZSet, remove, reply};
use crate::args::{Options, is, positive, timeout_ms};
use crate::txn::{Block, Outcome, Stop, Txn};

/// Which end gives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Min,
    Max,
}

impl End {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match () {
            () if is(word, "MIN") => Ok(Self::Min),
            () if is(word, "MAX") => Ok(Self::Max),
            () => Err(CommandError::Syntax),
        }
    }
}

/// Removes up to `count` members from one end; returns them, the outermost first.
fn pop(txn: &mut Txn<'_>, key: &[u8], end: End, count: usize) -> Result<Vec<Scored>, Stop> {
    let Some(zset) = txn.get_awaited::<ZSet>(key)? else {
        return Ok(Vec::new());
    };
    let count = count.min(zset.len());
    let (popped, event): (Vec<_>, _) = match end {
        End::Min => (zset.order.range(0..count).cloned().collect(), "zpopmin"),
        End::Max => (zset.order.range(zset.len() - count..zset.len()).rev().cloned().collect(), "zpopmax"),
    };
    remove(txn, key, popped.iter().map(|entry| entry.member.clone()).collect(), event)?;
    Ok(popped)
}

pub(super) fn zpopmin(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(txn, args, End::Min)
}

pub(super) fn zpopmax(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_one_key(txn, args, End::Max)
}

fn pop_one_key(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    match args[2..] {
        // Without a count, one member and its score: flat in every protocol.
        [] => Ok(Reply::Array(pop(txn, args[1], end, 1)?.into_iter().flat_map(member_and_score).collect())),
        [count] => {
            let count = dormouse_proto::parse_integer(count).and_then(|count| usize::try_from(count).ok());
            let popped = pop(txn, args[1], end, count.ok_or(CommandError::MustBePositive)?)?;
            Ok(reply(popped.iter(), true))
        }
        _ => Err(CommandError::Syntax.into()),
    }
}

fn member_and_score(entry: Scored) -> [Reply; 2] {
    [Reply::Bulk(entry.member), Reply::Double(entry.score)]
}

/// The first key that holds members.
fn first_filled<'a>(txn: &mut Txn<'_>, keys: Args<'a>) -> Result<Option<&'a [u8]>, Stop> {
    for key in keys {
        if txn.get_awaited::<ZSet>(key)?.is_some() {
            return Ok(Some(key));
        }
    }
    Ok(None)
}

/// Waits for one of the keys, or answers that there was nothing.
fn wait(txn: &Txn<'_>, keys: Args<'_>, timeout_ms: Option<u64>) -> Outcome {
    if !txn.may_block() {
        return Ok(Reply::NullArray);
    }
    Err(Stop::Block(Block::on(keys, timeout_ms, Reply::NullArray)))
}

pub(super) fn bzpopmin(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(txn, args, End::Min)
}

pub(super) fn bzpopmax(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(txn, args, End::Max)
}

fn pop_or_wait(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    let (keys, timeout) = (&args[1..args.len() - 1], args[args.len() - 1]);
    let timeout_ms = timeout_ms(timeout, txn.now_ms())?;
    let Some(key) = first_filled(txn, keys)? else {
        return wait(txn, keys, timeout_ms);
    };
    let mut replies = vec![Reply::bulk(key)];
    replies.extend(pop(txn, key, end, 1)?.into_iter().flat_map(member_and_score));
    Ok(Reply::Array(replies))
}

/// `numkeys key [key …] MIN|MAX [COUNT count]`
struct Several<'a> {
    keys: Args<'a>,
    end: End,
    count: usize,
}

impl<'a> Several<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let numkeys = positive(args[0], "ERR numkeys should be greater than 0")?;
        // One argument at least must follow the keys.
        if numkeys >= args.len() - 1 {
            return Err(CommandError::Syntax);
        }
        let (keys, rest) = args[1..].split_at(numkeys);
        let mut options = Options::new(rest);
        let end = End::parse(options.value()?)?;
        let count = match options.next() {
            None => 1,
            Some(word) if is(word, "COUNT") => positive(options.value()?, "ERR count should be greater than 0")?,
            Some(_) => return Err(CommandError::Syntax),
        };
        if options.rest().is_empty() { Ok(Self { keys, end, count }) } else { Err(CommandError::Syntax) }
    }

    /// The first key that has any, and its members with their scores, in pairs in every protocol.
    fn pop(&self, txn: &mut Txn<'_>) -> Result<Option<Reply>, Stop> {
        let Some(key) = first_filled(txn, self.keys)? else {
            return Ok(None);
        };
        let popped = pop(txn, key, self.end, self.count)?;
        let pairs = popped.into_iter().map(|entry| Reply::Array(member_and_score(entry).into())).collect();
        Ok(Some(Reply::Array(vec![Reply::bulk(key), Reply::Array(pairs)])))
    }
}

pub(super) fn zmpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Several::parse(&args[1..])?.pop(txn)?.unwrap_or(Reply::NullArray))
}

pub(super) fn bzmpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let timeout_ms = timeout_ms(args[1], txn.now_ms())?;
    let several = Several::parse(&args[2..])?;
    match several.pop(txn)? {
        Some(reply) => Ok(reply),
        None => wait(txn, several.keys, timeout_ms),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn attempt(bench: &mut Bench, line: &str) -> Outcome {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        bench.attempt(&args)
    }

    #[test]
    fn a_pop_waits_for_its_keys_when_there_is_nothing() {
        let mut bench = Bench::new();
        for (line, timeout_ms) in
            [("BZPOPMIN a b 0", None), ("BZPOPMAX a b 0.1", Some(100)), ("BZMPOP 0.0001 2 a b MIN", Some(1))]
        {
            let block = Block::on(&[b"a", b"b"], timeout_ms, Reply::NullArray);
            assert_eq!(attempt(&mut bench, line), Err(Stop::Block(block)), "{line}");
        }
        bench.run("ZADD b 1 x 2 y 3 z");
        let flat = |member: &str, score| vec![Reply::bulk("b"), Reply::bulk(member), Reply::Double(score)];
        assert_eq!(attempt(&mut bench, "BZPOPMIN a b 0"), Ok(Reply::Array(flat("x", 1.0))));
        assert_eq!(attempt(&mut bench, "BZPOPMAX a b 0"), Ok(Reply::Array(flat("z", 3.0))));
        let pair = Reply::Array(vec![Reply::bulk("y"), Reply::Double(2.0)]);
        let popped = Reply::Array(vec![Reply::bulk("b"), Reply::Array(vec![pair])]);
        assert_eq!(attempt(&mut bench, "BZMPOP 0 2 a b MAX COUNT 9"), Ok(popped));
        assert_eq!(bench.size().0, 0);
    }

    #[test]
    fn only_a_count_makes_pairs_of_what_is_popped() {
        let mut bench = Bench::new();
        bench.run("ZADD z 1 a 2 b");
        assert_eq!(bench.run("ZPOPMIN z"), Reply::Array(vec![Reply::bulk("a"), Reply::Double(1.0)]));
        assert_eq!(bench.run("ZPOPMIN z 1"), Reply::Pairs(vec![(Reply::bulk("b"), Reply::Double(2.0))]));
        assert_eq!(bench.run("ZPOPMIN z"), Reply::Array(vec![]));
    }
}
