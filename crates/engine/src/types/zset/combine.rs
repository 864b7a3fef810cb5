//! Unions, intersections and differences of sorted sets and plain sets, read or stored.
//!
//! A plain set counts as one whose members all have score 1. Scores are weighted, then combined in order of the sets'
//! sizes, the smallest first, as Redis does it: sums of doubles depend on the order. Infinities that cancel out give 0.
//! The sources are read before anything is written, so the destination may be one of them.

use dormouse_proto::{Args, Blob, CommandError, Reply};
use hashbrown::HashMap;

use super::order::{Order, Scored};
use super::{ZSet, reply, store};
use crate::args::{Options, integer, is};
use crate::txn::{Outcome, Stop, Txn};
use crate::types::set::Set;
use crate::value::{Tagged, Value};

/// What becomes of the sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Operation {
    Union,
    Inter,
    Diff,
}

/// How the scores of one member combine.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Aggregate {
    #[default]
    Sum,
    Min,
    Max,
}

impl Aggregate {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match () {
            () if is(word, "SUM") => Ok(Self::Sum),
            () if is(word, "MIN") => Ok(Self::Min),
            () if is(word, "MAX") => Ok(Self::Max),
            () => Err(CommandError::Syntax),
        }
    }

    fn combine(self, a: f64, b: f64) -> f64 {
        match self {
            Self::Sum => number(a + b),
            Self::Min => a.min(b),
            Self::Max => a.max(b),
        }
    }
}

/// The score, or 0 where the arithmetic of infinities gives none.
const fn number(score: f64) -> f64 {
    if score.is_nan() { 0.0 } else { score }
}

/// A key to combine, of either type.
#[derive(Clone, Copy)]
enum Members<'a> {
    Missing,
    Plain(&'a Set),
    Scored(&'a ZSet),
}

impl<'a> Members<'a> {
    fn of(value: Option<&'a Value>) -> Result<Self, CommandError> {
        let Some(value) = value else { return Ok(Self::Missing) };
        let scored = ZSet::of(value).map(Self::Scored);
        scored.or_else(|| Set::of(value).map(Self::Plain)).ok_or(CommandError::WrongType)
    }

    fn len(self) -> usize {
        match self {
            Self::Missing => 0,
            Self::Plain(set) => set.len(),
            Self::Scored(zset) => zset.len(),
        }
    }

    fn score(self, member: &[u8]) -> Option<f64> {
        match self {
            Self::Missing => None,
            Self::Plain(set) => set.contains(member).then_some(1.0),
            Self::Scored(zset) => zset.score(member),
        }
    }

    fn iter(self) -> Box<dyn Iterator<Item = (&'a Blob, f64)> + 'a> {
        match self {
            Self::Missing => Box::new(std::iter::empty()),
            Self::Plain(set) => Box::new(set.iter().map(|member| (member, 1.0))),
            Self::Scored(zset) => Box::new(zset.iter()),
        }
    }
}

/// A source with its weight.
#[derive(Clone, Copy)]
struct Input<'a> {
    members: Members<'a>,
    weight: f64,
}

impl<'a> Input<'a> {
    fn iter(self) -> impl Iterator<Item = (&'a Blob, f64)> {
        self.members.iter().map(move |(member, score)| (member, number(score * self.weight)))
    }

    /// The weighted score of a member. 0 times infinity stays NaN here, and makes a sum 0, as in Redis.
    fn score(self, member: &[u8]) -> Option<f64> {
        Some(self.members.score(member)? * self.weight)
    }
}

fn union(inputs: &[Input<'_>], aggregate: Aggregate) -> Vec<Scored> {
    let mut scores: HashMap<&Blob, f64> = HashMap::new();
    for (member, score) in inputs.iter().flat_map(|input| input.iter()) {
        scores.entry(member).and_modify(|sum| *sum = aggregate.combine(*sum, score)).or_insert(score);
    }
    scores.into_iter().map(|(member, score)| Scored::new(score, member.clone())).collect()
}

/// Members that are in every input, the smallest coming first.
fn inter<'a>(inputs: &'a [Input<'a>], aggregate: Aggregate) -> impl Iterator<Item = Scored> + 'a {
    let (first, others) = inputs.split_first().map_or((None, inputs), |(first, others)| (Some(*first), others));
    first.into_iter().flat_map(Input::iter).filter_map(move |(member, score)| {
        let score = others.iter().try_fold(score, |sum, input| Some(aggregate.combine(sum, input.score(member)?)))?;
        Some(Scored::new(score, member.clone()))
    })
}

fn diff(inputs: &[Input<'_>]) -> Vec<Scored> {
    let Some((first, others)) = inputs.split_first() else { return Vec::new() };
    let alone = first.iter().filter(|(member, _)| others.iter().all(|input| input.score(member).is_none()));
    alone.map(|(member, score)| Scored::new(score, member.clone())).collect()
}

/// A request, read up to its options.
struct Request<'a> {
    operation: Operation,
    keys: Args<'a>,
    options: Args<'a>,
}

impl<'a> Request<'a> {
    /// Reads `numkeys key [key …]`; the name is for the error, lower case.
    fn parse(operation: Operation, name: &str, args: Args<'a>) -> Result<Self, CommandError> {
        let count = integer(args[0])?;
        if count < 1 {
            return Err(CommandError::from(format!("ERR at least 1 input key is needed for '{name}' command")));
        }
        if count as u64 > args.len() as u64 - 1 {
            return Err(CommandError::Syntax);
        }
        let (keys, options) = args[1..].split_at(count as usize);
        Ok(Self { operation, keys, options })
    }

    /// Brings the keys into memory, and finds out whether they are sets at all: Redis says so before it reads options.
    fn load(&self, txn: &mut Txn<'_>) -> Result<(), Stop> {
        for key in self.keys {
            txn.touch(key)?;
        }
        self.inputs(txn, &[])?;
        Ok(())
    }

    /// The sources in the order they are combined.
    fn inputs<'t>(&self, txn: &'t Txn<'_>, weights: &[f64]) -> Result<Vec<Input<'t>>, CommandError> {
        let weights = weights.iter().copied().chain(std::iter::repeat(1.0));
        let input = |(key, weight): (&&[u8], f64)| Ok(Input { members: Members::of(txn.peek(key))?, weight });
        let mut inputs = self.keys.iter().zip(weights).map(input).collect::<Result<Vec<_>, CommandError>>()?;
        if self.operation != Operation::Diff {
            inputs.sort_by_key(|input| input.members.len());
        }
        Ok(inputs)
    }

    /// Reads `WEIGHTS`, `AGGREGATE` and `WITHSCORES`, as far as the command has them.
    fn choices(&self, stores: bool) -> Result<Choices, CommandError> {
        let mut choices = Choices::default();
        let combines = self.operation != Operation::Diff;
        let mut options = Options::new(self.options);
        while let Some(word) = options.next() {
            match () {
                () if combines && is(word, "WEIGHTS") && options.rest().len() >= self.keys.len() => {
                    choices.weights =
                        (0..self.keys.len()).map(|_| weight(options.value()?)).collect::<Result<_, _>>()?;
                }
                () if combines && is(word, "AGGREGATE") => choices.aggregate = Aggregate::parse(options.value()?)?,
                () if !stores && is(word, "WITHSCORES") => choices.with_scores = true,
                () => return Err(CommandError::Syntax),
            }
        }
        Ok(choices)
    }

    fn run(&self, txn: &mut Txn<'_>, stores: bool) -> Result<(Vec<Scored>, bool), Stop> {
        self.load(txn)?;
        let choices = self.choices(stores)?;
        let inputs = self.inputs(txn, &choices.weights)?;
        let entries = match self.operation {
            Operation::Union => union(&inputs, choices.aggregate),
            Operation::Inter => inter(&inputs, choices.aggregate).collect(),
            Operation::Diff => diff(&inputs),
        };
        Ok((entries, choices.with_scores))
    }
}

#[derive(Debug, Default)]
struct Choices {
    /// Empty means 1 for all.
    weights: Vec<f64>,
    aggregate: Aggregate,
    with_scores: bool,
}

fn weight(arg: &[u8]) -> Result<f64, CommandError> {
    dormouse_proto::parse_double(arg).ok_or(CommandError::text("ERR weight value is not a float"))
}

fn read(txn: &mut Txn<'_>, args: Args<'_>, operation: Operation, name: &str) -> Outcome {
    let (entries, with_scores) = Request::parse(operation, name, &args[1..])?.run(txn, false)?;
    Ok(reply(Order::from_entries(entries).iter(), with_scores))
}

fn write(txn: &mut Txn<'_>, args: Args<'_>, operation: Operation, name: &'static str) -> Outcome {
    let (entries, _) = Request::parse(operation, name, &args[2..])?.run(txn, true)?;
    store(txn, args[1], entries, name)
}

pub(super) fn zunion(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    read(txn, args, Operation::Union, "zunion")
}

pub(super) fn zinter(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    read(txn, args, Operation::Inter, "zinter")
}

pub(super) fn zdiff(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    read(txn, args, Operation::Diff, "zdiff")
}

pub(super) fn zunionstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    write(txn, args, Operation::Union, "zunionstore")
}

pub(super) fn zinterstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    write(txn, args, Operation::Inter, "zinterstore")
}

pub(super) fn zdiffstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    write(txn, args, Operation::Diff, "zdiffstore")
}

pub(super) fn zintercard(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let request = Request::parse(Operation::Inter, "zintercard", &args[1..])?;
    request.load(txn)?;
    let mut limit = 0;
    let mut options = Options::new(request.options);
    while let Some(word) = options.next() {
        if !is(word, "LIMIT") {
            return Err(CommandError::Syntax.into());
        }
        let given = dormouse_proto::parse_integer(options.value()?).and_then(|limit| usize::try_from(limit).ok());
        limit = given.ok_or(CommandError::text("ERR LIMIT can't be negative"))?;
    }
    let inputs = request.inputs(txn, &[])?;
    let most = if limit == 0 { usize::MAX } else { limit };
    Ok(Reply::count(inter(&inputs, Aggregate::Sum).take(most).count()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;

    type Combine = fn(f64, f64) -> f64;

    /// The reply of a command that gives members with their scores.
    fn scores(bench: &mut Bench, line: &str) -> Vec<(String, f64)> {
        let Reply::Pairs(pairs) = bench.run(line) else { panic!("{line} did not answer with scores") };
        let text = |reply| match reply {
            Reply::Bulk(member) => member.escape_ascii().to_string(),
            other => panic!("{other:?} is no member"),
        };
        let score = |reply| match reply {
            Reply::Double(score) => score,
            other => panic!("{other:?} is no score"),
        };
        pairs.into_iter().map(|(member, value)| (text(member), score(value))).collect()
    }

    #[test]
    fn infinities_that_cancel_out_give_zero() {
        let mut bench = Bench::new();
        bench.run("ZADD a inf m 5 n");
        bench.run("ZADD b -inf m inf n");
        let found = |member: &str, score| (member.to_owned(), score);
        assert_eq!(scores(&mut bench, "ZUNION 2 a b WITHSCORES")[0], found("m", 0.0));
        assert_eq!(scores(&mut bench, "ZINTER 2 a b WITHSCORES")[0], found("m", 0.0));
        assert_eq!(scores(&mut bench, "ZUNION 2 a b WEIGHTS 1 0 WITHSCORES")[0], found("n", 5.0));
        // In an intersection, 0 times infinity spoils the whole sum.
        let spoilt = [found("m", 0.0), found("n", 0.0)];
        assert_eq!(scores(&mut bench, "ZINTER 2 a b WEIGHTS 1 0 WITHSCORES"), spoilt);
    }

    #[test]
    fn a_source_may_be_the_destination() {
        let mut bench = Bench::new();
        bench.run("ZADD a 1 x 2 y");
        bench.run("ZADD b 10 y 20 z");
        assert_eq!(bench.run("ZUNIONSTORE a 2 a b WEIGHTS 2 1"), Reply::Integer(3));
        let all = scores(&mut bench, "ZRANGE a 0 -1 WITHSCORES");
        assert_eq!(all, [("x", 2.0), ("y", 14.0), ("z", 20.0)].map(|(member, score)| (member.to_owned(), score)));
        assert_eq!(bench.run("ZDIFFSTORE a 2 a a"), Reply::Integer(0));
        assert_eq!(bench.run("ZCARD a"), Reply::Integer(0));
    }

    #[test]
    fn operations_agree_with_a_model() {
        let mut random = Random::new(11);
        for _ in 0..60 {
            let mut bench = Bench::new();
            let mut models = [vec![], vec![], vec![]];
            for (key, model) in models.iter_mut().enumerate() {
                // Key 2 is a plain set.
                for n in 0..40 {
                    if random.below(3) == 0 {
                        let score = if key == 2 { 1.0 } else { random.below(9) as f64 };
                        model.push((format!("m{n:02}"), score));
                        bench.run(&if key == 2 {
                            format!("SADD 2 m{n:02}")
                        } else {
                            format!("ZADD {key} {score} m{n:02}")
                        });
                    }
                }
            }
            let weights = [2.0, 3.0, 0.5];
            let found =
                |key: usize, member: &str| models[key].iter().find(|entry| entry.0 == member).map(|entry| entry.1);
            let expected = |all: bool, combine: Combine| {
                let mut entries = Vec::new();
                for member in (0..40).map(|n| format!("m{n:02}")) {
                    let parts: Vec<_> = (0..3).filter_map(|key| Some(found(key, &member)? * weights[key])).collect();
                    if parts.len() == 3 || (!all && !parts.is_empty()) {
                        entries.push((member, parts.into_iter().reduce(combine).unwrap_or_default()));
                    }
                }
                entries.sort_by(|a, b| a.1.total_cmp(&b.1).then_with(|| a.0.cmp(&b.0)));
                entries
            };
            let aggregates: [(&str, Combine); 3] = [("SUM", |a, b| a + b), ("MIN", f64::min), ("MAX", f64::max)];
            for (aggregate, combine) in aggregates {
                let options = format!("3 0 1 2 WEIGHTS 2 3 0.5 AGGREGATE {aggregate} WITHSCORES");
                assert_eq!(scores(&mut bench, &format!("ZUNION {options}")), expected(false, combine));
                assert_eq!(scores(&mut bench, &format!("ZINTER {options}")), expected(true, combine));
            }
            let shared = expected(true, f64::max).len();
            assert_eq!(bench.run("ZINTERCARD 3 0 1 2"), Reply::count(shared));
            assert_eq!(bench.run("ZINTERCARD 3 0 1 2 LIMIT 1"), Reply::count(shared.min(1)));
            let alone = models[0].iter().filter(|(member, _)| found(1, member).or(found(2, member)).is_none()).count();
            assert_eq!(scores(&mut bench, "ZDIFF 3 0 1 2 WITHSCORES").len(), alone);
        }
    }
}
