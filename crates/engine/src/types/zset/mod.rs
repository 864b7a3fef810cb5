//! Sorted sets: members with scores, in order of score.
//!
//! The order of the members is an [`Order`]; beside it, a large set keeps a map from member to score. A small one does
//! without: looking through a hundred short members is as fast as hashing, and takes a third of the memory. A set that has
//! become large stays so until it is empty or reloaded. Which of the two it is shows in how `ZSCAN` takes its steps, and
//! nowhere else: random members are drawn by rank, so that draws do not depend on it.
//!
//! Scores are never NaN, and zero has no sign. The only changes are "this member has this score" and "this member is gone",
//! and each undoes the other. Ranges are in `range.rs`, unions and their kin in `combine.rs`, pops in `pop.rs`.

mod combine;
mod order;
mod pop;
mod range;

use dormouse_proto::{Args, Blob, CommandError, Double, Reply};
use hashbrown::HashSet;

use self::order::{Order, Scored};
use crate::args::{double, is};
use crate::codec::{Corrupt, Reader, put_bytes, put_double, put_int};
use crate::command::{Command, Group, Handler, Needs, command};
use crate::hub::Event;
use crate::keyspace::heap_bytes;
use crate::moment::Random;
use crate::scan_map::{Cursor, ScanMap};
use crate::settings::{Encodings, Small};
use crate::txn::{Deadline, Outcome, Txn};
use crate::types::collection::{Draw, ScanOptions, parse_cursor, scan_reply};
use crate::value::{Kind, Tagged};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    zset("ZADD",             -4, zadd)                    .writes().key(1).fast().grows()  .blind().doc("1.2.0", "Adds members with scores, or changes their scores, under a condition if asked."),
    zset("ZINCRBY",           4, zincrby)                 .writes().key(1).fast().grows()  .doc("1.2.0", "Adds a number to the score of a member."),
    zset("ZREM",             -3, zrem)                    .writes().key(1).fast()          .blind().removes().doc("1.2.0", "Removes members; counts those that were there."),
    zset("ZCARD",             2, zcard)                   .reads() .key(1).fast()          .peeks().doc("1.2.0", "The number of members."),
    zset("ZSCORE",            3, zscore)                  .reads() .key(1).fast()          .doc("1.2.0", "The score of a member."),
    zset("ZMSCORE",          -3, zmscore)                 .reads() .key(1).fast()          .doc("6.2.0", "The scores of several members."),
    zset("ZRANK",            -3, zrank)                   .reads() .key(1).fast()          .doc("2.0.0", "The number of members before a member, and its score if asked."),
    zset("ZREVRANK",         -3, zrevrank)                .reads() .key(1).fast()          .doc("2.0.0", "The number of members after a member, and its score if asked."),
    zset("ZRANDMEMBER",      -2, zrandmember)             .reads() .key(1)                 .doc("6.2.0", "One member or several, drawn at random."),
    zset("ZSCAN",            -3, zscan)                   .reads() .key(1)                 .doc("2.8.0", "Walks the members and scores, step by step."),
    zset("ZCOUNT",            4, range::zcount)           .reads() .key(1).fast()          .doc("2.0.0", "The number of members in a range of scores."),
    zset("ZLEXCOUNT",         4, range::zlexcount)        .reads() .key(1).fast()          .doc("2.8.9", "The number of members in a range of names."),
    zset("ZRANGE",           -4, range::zrange)           .reads() .key(1)                 .doc("1.2.0", "The members in a range of ranks, scores or names."),
    zset("ZRANGEBYSCORE",    -4, range::zrangebyscore)    .reads() .key(1)                 .doc("1.0.5", "The members in a range of scores."),
    zset("ZRANGEBYLEX",      -4, range::zrangebylex)      .reads() .key(1)                 .doc("2.8.9", "The members in a range of names."),
    zset("ZREVRANGE",        -4, range::zrevrange)        .reads() .key(1)                 .doc("1.2.0", "The members in a range of ranks, counted from the highest score."),
    zset("ZREVRANGEBYSCORE", -4, range::zrevrangebyscore) .reads() .key(1)                 .doc("2.2.0", "The members in a range of scores, from the highest."),
    zset("ZREVRANGEBYLEX",   -4, range::zrevrangebylex)   .reads() .key(1)                 .doc("2.8.9", "The members in a range of names, from the last."),
    zset("ZRANGESTORE",      -5, range::zrangestore)      .writes().keys(1, 2, 1).grows()  .needs(Needs::Write, Needs::Read).overwrites().doc("6.2.0", "Stores the members in a range in another key."),
    zset("ZREMRANGEBYRANK",   4, range::zremrangebyrank)  .writes().key(1)                 .blind().removes().doc("2.0.0", "Removes the members in a range of ranks."),
    zset("ZREMRANGEBYSCORE",  4, range::zremrangebyscore) .writes().key(1)                 .blind().removes().doc("1.2.0", "Removes the members in a range of scores."),
    zset("ZREMRANGEBYLEX",    4, range::zremrangebylex)   .writes().key(1)                 .blind().removes().doc("2.8.9", "Removes the members in a range of names."),
    zset("ZUNION",           -3, combine::zunion)         .reads() .count_at(1)            .doc("6.2.0", "The members of any of several sets, their scores combined."),
    zset("ZINTER",           -3, combine::zinter)         .reads() .count_at(1)            .doc("6.2.0", "The members of all of several sets, their scores combined."),
    zset("ZDIFF",            -3, combine::zdiff)          .reads() .count_at(1)            .doc("6.2.0", "The members of the first of several sets that are in no other."),
    zset("ZINTERCARD",       -3, combine::zintercard)     .reads() .count_at(1)            .doc("7.0.0", "The number of members that several sets share."),
    zset("ZUNIONSTORE",      -4, combine::zunionstore)    .writes().key(1).count_at(2).grows().needs(Needs::Write, Needs::Read).overwrites().doc("2.0.0", "Stores the members of any of several sets, their scores combined."),
    zset("ZINTERSTORE",      -4, combine::zinterstore)    .writes().key(1).count_at(2).grows().needs(Needs::Write, Needs::Read).overwrites().doc("2.0.0", "Stores the members of all of several sets, their scores combined."),
    zset("ZDIFFSTORE",       -4, combine::zdiffstore)     .writes().key(1).count_at(2).grows().needs(Needs::Write, Needs::Read).overwrites().doc("6.2.0", "Stores the members of the first of several sets that are in no other."),
    zset("ZPOPMIN",          -2, pop::zpopmin)            .writes().key(1).fast()          .removes().doc("5.0.0", "Removes and returns the members with the lowest scores."),
    zset("ZPOPMAX",          -2, pop::zpopmax)            .writes().key(1).fast()          .removes().doc("5.0.0", "Removes and returns the members with the highest scores."),
    zset("ZMPOP",            -4, pop::zmpop)              .writes().count_at(1)            .removes().doc("7.0.0", "Removes and returns members of the first of several sets that has any."),
    zset("BZPOPMIN",         -3, pop::bzpopmin)           .writes().keys(1, -2, 1).fast().blocks().removes().doc("5.0.0", "Removes and returns the member with the lowest score of the first set that has any, or waits for one."),
    zset("BZPOPMAX",         -3, pop::bzpopmax)           .writes().keys(1, -2, 1).fast().blocks().removes().doc("5.0.0", "Removes and returns the member with the highest score of the first set that has any, or waits for one."),
    zset("BZMPOP",           -5, pop::bzmpop)             .writes().count_at(2).blocks()   .removes().doc("7.0.0", "Removes and returns members of the first of several sets that has any, or waits for one."),
];

const fn zset(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::SortedSet)
}

/// Bytes an empty set takes.
const SET_BYTES: usize = size_of::<ZSet>();
/// Bytes a member takes in the order, with the room its chunk leaves free.
const ORDER_BYTES: usize = size_of::<Scored>() * 4 / 3;
/// Bytes a member takes in the map of a large set: key, score and hash, with the room its page leaves free.
const MAP_BYTES: usize = 64;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct ZSet {
    order: Order,
    /// Score of each member, once the set is large.
    scores: Option<ScanMap<f64>>,
    /// Bytes of the members outside the structures themselves.
    heap: usize,
    /// When it becomes large.
    small: Small,
}

impl Default for ZSet {
    fn default() -> Self {
        Self { order: Order::default(), scores: None, heap: 0, small: Encodings::DEFAULT.zset }
    }
}

/// One change of a sorted set.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// The member has this score now.
    Set {
        /// Who.
        member: Blob,
        /// Not NaN.
        score: f64,
    },
    /// The member is gone.
    Remove {
        /// Who.
        member: Blob,
    },
}

/// First byte of a change.
mod tag {
    pub(super) const SET: u8 = 0;
    pub(super) const REMOVE: u8 = 1;
}

impl ZSet {
    /// A set of distinct members.
    fn from_entries(entries: Vec<Scored>) -> Self {
        let heap = entries.iter().map(|entry| heap_bytes(&entry.member)).sum();
        let mut zset = Self { order: Order::from_entries(entries), heap, ..Self::default() };
        if !zset.fits_small() {
            zset.grow_large();
        }
        zset
    }

    /// A set of these members and scores, none of them NaN; `None` if a member is there twice.
    pub(crate) fn from_pairs(pairs: Vec<(Blob, f64)>) -> Option<Self> {
        let distinct = pairs.iter().map(|(member, _)| member.as_slice()).collect::<HashSet<_>>().len();
        let scored = |(member, score)| Scored::new(score, member);
        (distinct == pairs.len()).then(|| Self::from_entries(pairs.into_iter().map(scored).collect()))
    }

    /// The number of members.
    pub const fn len(&self) -> usize {
        self.order.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What `OBJECT ENCODING` calls the form it is kept in.
    pub const fn encoding(&self) -> &'static str {
        if self.is_small() { "listpack" } else { "skiplist" }
    }

    const fn is_small(&self) -> bool {
        self.scores.is_none()
    }

    /// The score of a member.
    pub fn score(&self, member: &[u8]) -> Option<f64> {
        match &self.scores {
            Some(scores) => scores.get(member).copied(),
            None => self.order.iter().find(|entry| entry.member.as_slice() == member).map(|entry| entry.score),
        }
    }

    /// Members and scores in order.
    pub fn iter(&self) -> impl DoubleEndedIterator<Item = (&Blob, f64)> {
        self.order.iter().map(|entry| (&entry.member, entry.score))
    }

    /// Members and scores from `min` up to, and without, `max`, in order.
    pub(crate) fn between(&self, min: f64, max: f64) -> impl Iterator<Item = (&Blob, f64)> {
        let start = self.order.count_while(|entry| entry.score < min);
        let end = self.order.count_while(|entry| entry.score < max);
        self.order.range(start..end.max(start)).map(|entry| (&entry.member, entry.score))
    }

    /// One step of a scan. A small set is returned whole, wherever the cursor stands: it may have been large before.
    fn scan(&self, cursor: Cursor, count: usize) -> (Cursor, Vec<(&Blob, f64)>) {
        match &self.scores {
            None => (Cursor(0), self.iter().collect()),
            // No cursor of ours: nothing lies beyond it.
            Some(_) if !cursor.is_valid() => (Cursor(0), Vec::new()),
            Some(scores) => {
                let (next, page) = scores.scan(cursor, count.min(self.len()));
                (next, page.into_iter().map(|(member, &score)| (member, score)).collect())
            }
        }
    }

    /// Whether its bounds allow it to be small.
    fn fits_small(&self) -> bool {
        let long = |entry: &Scored| entry.member.len() > self.small.bytes_max as usize;
        self.len() <= self.small.len_max as usize && !self.order.iter().any(long)
    }

    fn grow_large(&mut self) {
        let mut scores = ScanMap::default();
        for entry in self.order.iter() {
            scores.insert(entry.member.clone(), entry.score);
        }
        self.scores = Some(scores);
    }

    /// Sets the score of a member; returns the one it had.
    fn set(&mut self, member: Blob, score: f64) -> Option<f64> {
        let mut entry = Scored::new(score, member);
        let old = self.score(&entry.member);
        if let Some(old) = old {
            // The member as stored, which the map shares, moves to its new place.
            let stored = self.order.remove(old, &entry.member);
            entry.member = stored.map_or(entry.member, |stored| stored.member);
        } else {
            self.heap += heap_bytes(&entry.member);
            let Small { len_max, bytes_max } = self.small;
            if self.is_small() && (self.len() >= len_max as usize || entry.member.len() > bytes_max as usize) {
                self.grow_large();
            }
        }
        if let Some(scores) = &mut self.scores {
            scores.insert(entry.member.clone(), entry.score);
        }
        self.order.insert(entry);
        old
    }

    /// Removes a member; returns the score it had.
    fn remove(&mut self, member: &[u8]) -> Option<f64> {
        let score = match &mut self.scores {
            Some(scores) => scores.remove(member)?.1,
            None => self.score(member)?,
        };
        self.order.remove(score, member);
        self.heap = self.heap.saturating_sub(heap_bytes(member));
        if self.is_empty() {
            *self = Self { small: self.small, ..Self::default() };
        }
        Some(score)
    }
}

impl Kind for ZSet {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Set { member, score } => match self.set(member.clone(), score) {
                Some(score) => Change::Set { member, score },
                None => Change::Remove { member },
            },
            Change::Remove { member } => match self.remove(&member) {
                Some(score) => Change::Set { member, score },
                None => Change::Remove { member },
            },
        }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        match change {
            Change::Set { member, score } => {
                out.push(tag::SET);
                put_bytes(out, member);
                put_double(out, *score);
            }
            Change::Remove { member } => {
                out.push(tag::REMOVE);
                put_bytes(out, member);
            }
        }
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        match input.byte()? {
            tag::SET => Ok(Change::Set { member: input.blob()?, score: read_score(input)? }),
            tag::REMOVE => Ok(Change::Remove { member: input.blob()? }),
            _ => Err(Corrupt("a change of a sorted set")),
        }
    }

    /// The number of members, then each member and its score, in order.
    fn write(&self, out: &mut Vec<u8>) {
        put_int(out, self.len() as u64);
        for entry in self.order.iter() {
            put_bytes(out, &entry.member);
            put_double(out, entry.score);
        }
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let count = input.count()?;
        let mut zset = Self::default();
        for _ in 0..count {
            if zset.set(input.blob()?, read_score(input)?).is_some() {
                return Err(Corrupt("distinct members"));
            }
        }
        Ok(zset)
    }

    fn is_void(&self) -> bool {
        self.is_empty()
    }

    fn adapt(&mut self, encodings: &Encodings) {
        if self.small != encodings.zset {
            self.small = encodings.zset;
            if self.is_small() && !self.fits_small() {
                self.grow_large();
            }
        }
    }

    fn memory_bytes(&self) -> usize {
        let each = if self.is_small() { ORDER_BYTES } else { ORDER_BYTES + MAP_BYTES };
        SET_BYTES + self.len() * each + self.heap
    }

    fn canonical(&self) -> String {
        let entries = self.iter().map(|(member, score)| format!("{}={score:?}", member.escape_ascii()));
        entries.collect::<Vec<_>>().join(" ")
    }
}

fn read_score(input: &mut Reader<'_>) -> Result<f64, Corrupt> {
    Ok(input.double()?).and_then(|score| if score.is_nan() { Err(Corrupt("a score")) } else { Ok(score) })
}

/// When and how `ZADD` acts.
#[derive(Clone, Copy, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is an option of its own, which a client gives or not")]
struct Rule {
    /// Only new members.
    missing: bool,
    /// Only members that are there.
    present: bool,
    /// Only to a higher score.
    greater: bool,
    /// Only to a lower score.
    less: bool,
    /// Adds to the score, and replies with the sum.
    increments: bool,
    /// Counts changed scores too.
    counts_changed: bool,
}

impl Rule {
    /// Takes in an option; whether it is one.
    fn take(&mut self, word: &[u8]) -> bool {
        let flag = match () {
            () if is(word, "NX") => &mut self.missing,
            () if is(word, "XX") => &mut self.present,
            () if is(word, "GT") => &mut self.greater,
            () if is(word, "LT") => &mut self.less,
            () if is(word, "INCR") => &mut self.increments,
            () if is(word, "CH") => &mut self.counts_changed,
            () => return false,
        };
        *flag = true;
        true
    }

    const fn check(self, pairs: usize) -> Result<(), CommandError> {
        let error = if self.missing && self.present {
            "ERR XX and NX options at the same time are not compatible"
        } else if (self.greater && self.less) || (self.missing && (self.greater || self.less)) {
            "ERR GT, LT, and/or NX options at the same time are not compatible"
        } else if self.increments && pairs > 1 {
            "ERR INCR option supports a single increment-element pair"
        } else {
            return Ok(());
        };
        Err(CommandError::text(error))
    }

    /// The score a member gets, given the one it has; `None` if the rule forbids it one.
    fn score(self, old: Option<f64>, given: f64) -> Result<Option<f64>, CommandError> {
        let Some(old) = old else {
            return Ok((!self.present).then_some(given));
        };
        if self.missing {
            return Ok(None);
        }
        let new = if self.increments { old + given } else { given };
        if new.is_nan() {
            return Err(CommandError::text("ERR resulting score is not a number (NaN)"));
        }
        let refused = (self.less && new >= old) || (self.greater && new <= old);
        Ok((!refused).then_some(new))
    }
}

pub(crate) fn zadd(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut rule = Rule::default();
    let options = args[2..].iter().take_while(|word| rule.take(word)).count();
    add(txn, args[1], rule, &args[2 + options..])
}

fn zincrby(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut rule = Rule { increments: true, ..Rule::default() };
    // Redis reads options here, too, although that leaves no room for a score.
    if rule.take(args[2]) {
        return Err(CommandError::Syntax.into());
    }
    add(txn, args[1], rule, &args[2..])
}

fn add(txn: &mut Txn<'_>, key: &[u8], rule: Rule, pairs: Args<'_>) -> Outcome {
    let (pairs, []) = pairs.as_chunks::<2>() else {
        return Err(CommandError::Syntax.into());
    };
    if pairs.is_empty() {
        return Err(CommandError::Syntax.into());
    }
    rule.check(pairs.len())?;
    let scores = pairs.iter().map(|[score, _]| double(score)).collect::<Result<Vec<_>, _>>()?;
    let entries = || scores.iter().zip(pairs).map(|(&score, &[_, member])| (score, member));

    // A key is not touched before something really changes: whoever watches it would be woken for nothing.
    let zset = txn.get::<ZSet>(key)?;
    let mut outcome = None;
    let mut same = 0;
    for (score, member) in entries() {
        let old = zset.and_then(|zset| zset.score(member));
        outcome = rule.score(old, score)?;
        if outcome.is_some() && outcome != old {
            break;
        }
        same += 1;
    }
    let (mut added, mut changed) = (0, 0);
    if same < pairs.len() {
        let mut edit = txn.edit::<ZSet>(key)?;
        for (score, member) in entries().skip(same) {
            let old = edit.score(member);
            let new = rule.score(old, score)?;
            let Some(score) = new.filter(|_| new != old) else { continue };
            *(if old.is_some() { &mut changed } else { &mut added }) += 1;
            edit.apply(Change::Set { member: Blob::from(member), score });
        }
        drop(edit);
        txn.notify(Event::ZSet, if rule.increments { "zincr" } else { "zadd" }, key);
    }
    Ok(match () {
        () if rule.increments => outcome.map_or(Reply::Null, Reply::Double),
        () if rule.counts_changed => Reply::count(added + changed),
        () => Reply::count(added),
    })
}

fn zrem(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let Some(zset) = txn.get::<ZSet>(args[1])? else {
        return Ok(Reply::Integer(0));
    };
    let mut seen = HashSet::new();
    let there = args[2..].iter().filter(|member| zset.score(member).is_some() && seen.insert(**member));
    let members: Vec<_> = there.map(|member| Blob::from(*member)).collect();
    remove(txn, args[1], members, "zrem")
}

/// Removes members that are there, each named once, and says so to whoever listens. Replies with their number.
fn remove(txn: &mut Txn<'_>, key: &[u8], members: Vec<Blob>, event: &'static str) -> Outcome {
    let count = members.len();
    if count == 0 {
        return Ok(Reply::Integer(0));
    }
    let empties = txn.get::<ZSet>(key)?.is_some_and(|zset| zset.len() == count);
    if empties {
        // One effect instead of one for each member.
        txn.delete(key)?;
    } else {
        let mut edit = txn.edit::<ZSet>(key)?;
        for member in members {
            edit.apply(Change::Remove { member });
        }
    }
    txn.notify(Event::ZSet, event, key);
    if empties {
        txn.notify(Event::Generic, "del", key);
    }
    Ok(Reply::count(count))
}

/// Stores a set, or removes the key if there is nothing to store. Replies with the number of members.
fn store(txn: &mut Txn<'_>, key: &[u8], entries: Vec<Scored>, event: &'static str) -> Outcome {
    let count = entries.len();
    if count > 0 {
        txn.put(key, ZSet::from_entries(entries).into_value(), Deadline::Clear)?;
        txn.notify(Event::ZSet, event, key);
    } else if txn.delete(key)? {
        txn.notify(Event::Generic, "del", key);
    }
    Ok(Reply::count(count))
}

/// As [`store`], for distinct members in any order.
pub(crate) fn store_members(txn: &mut Txn<'_>, key: &[u8], members: Vec<(Blob, f64)>, event: &'static str) -> Outcome {
    let entries = members.into_iter().map(|(member, score)| Scored::new(score, member)).collect();
    store(txn, key, entries, event)
}

fn zcard(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<ZSet>(args[1])?.map_or(0, ZSet::len)))
}

fn zscore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let score = txn.get::<ZSet>(args[1])?.and_then(|zset| zset.score(args[2]));
    Ok(score.map_or(Reply::Null, Reply::Double))
}

fn zmscore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let zset = txn.get::<ZSet>(args[1])?;
    let score = |member: &&[u8]| zset.and_then(|zset| zset.score(member)).map_or(Reply::Null, Reply::Double);
    Ok(Reply::Array(args[2..].iter().map(score).collect()))
}

fn zrank(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    rank(txn, args, false)
}

fn zrevrank(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    rank(txn, args, true)
}

fn rank(txn: &mut Txn<'_>, args: Args<'_>, reverse: bool) -> Outcome {
    let with_score = match &args[3..] {
        [] => false,
        [word] if is(word, "WITHSCORE") => true,
        [_] => return Err(CommandError::Syntax.into()),
        _ => return Err(CommandError::Arity(if reverse { "zrevrank" } else { "zrank" }.into()).into()),
    };
    let zset = txn.get::<ZSet>(args[1])?;
    let Some((zset, score)) = zset.and_then(|zset| Some((zset, zset.score(args[2])?))) else {
        return Ok(if with_score { Reply::NullArray } else { Reply::Null });
    };
    let before = zset.order.rank(score, args[2]);
    let rank = Reply::count(if reverse { zset.len() - 1 - before } else { before });
    Ok(if with_score { Reply::Array(vec![rank, Reply::Double(score)]) } else { rank })
}

/// Members, with their scores if asked.
fn reply<'a>(entries: impl Iterator<Item = &'a Scored>, with_scores: bool) -> Reply {
    let member = |entry: &Scored| Reply::Bulk(entry.member.clone());
    if with_scores {
        Reply::Pairs(entries.map(|entry| (member(entry), Reply::Double(entry.score))).collect())
    } else {
        Reply::Array(entries.map(member).collect())
    }
}

fn zrandmember(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut random = txn.random();
    let Some(count) = args.get(2) else {
        let zset = txn.get::<ZSet>(args[1])?;
        let drawn = zset.and_then(|zset| zset.order.select(random.below(zset.len() as u64) as usize));
        return Ok(Reply::maybe(drawn.map(|entry| entry.member.clone())));
    };
    let count = Draw::parse(count)?;
    let with_scores = match &args[3..] {
        [] => false,
        [word] if is(word, "WITHSCORES") => true,
        _ => return Err(CommandError::Syntax.into()),
    };
    if with_scores && matches!(count, Draw::Distinct(count) if count > i64::MAX as usize / 2) {
        return Err(CommandError::OutOfRange.into());
    }
    let Some(zset) = txn.get::<ZSet>(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let ranks = draw(&mut random, zset.len() as u64, count);
    Ok(reply(ranks.into_iter().filter_map(|rank| zset.order.select(rank as usize)), with_scores))
}

/// Draws from the numbers below `len`.
fn draw(random: &mut Random, len: u64, count: Draw) -> Vec<u64> {
    let wanted = match count {
        Draw::Repeated(count) => return (0..count).map(|_| random.below(len)).collect(),
        Draw::Distinct(count) => count as u64,
    };
    if wanted >= len {
        return (0..len).collect();
    }
    // Floyd's way: one draw for each number, however many are wanted.
    let mut seen = HashSet::with_capacity(wanted as usize);
    let numbers = len - wanted..len;
    let draws = numbers.map(|top| {
        let drawn = random.below(top + 1);
        let number = if seen.contains(&drawn) { top } else { drawn };
        seen.insert(number);
        number
    });
    draws.collect()
}

fn zscan(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args[2])?;
    let Some(zset) = txn.get::<ZSet>(args[1])? else {
        return Ok(scan_reply(Cursor(0), Vec::new()));
    };
    let scan = ScanOptions::parse(&args[3..], false)?;
    let (next, page) = zset.scan(Cursor(cursor), scan.count);
    let wanted = page.into_iter().filter(|(member, _)| scan.wants(member));
    // Scores are strings here in every protocol, as in Redis.
    let items =
        wanted.flat_map(|(member, score)| [Reply::Bulk(member.clone()), Reply::bulk(Double(score).to_string())]);
    Ok(scan_reply(next, items.collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use super::*;
    use crate::testing::Bench;

    fn member(n: u64) -> Blob {
        // One in fifty is too long to be shared inline.
        let tail = if n.is_multiple_of(50) { "-and-some-more-bytes" } else { "" };
        Blob::from(format!("member:{n}{tail}").into_bytes())
    }

    fn filled(count: u64) -> ZSet {
        let mut zset = ZSet::default();
        for n in 0..count {
            zset.set(member(n), (n * 7 % 11) as f64);
        }
        zset
    }

    fn reloaded(zset: &ZSet) -> ZSet {
        let mut bytes = Vec::new();
        zset.write(&mut bytes);
        let mut input = Reader::new(&bytes);
        let read = ZSet::read(&mut input).unwrap();
        assert!(input.is_done());
        read
    }

    /// Members and scores in order, as the model sees them.
    fn ordered(model: &BTreeMap<Blob, f64>) -> Vec<(Blob, f64)> {
        let mut entries: Vec<_> = model.iter().map(|(member, &score)| (member.clone(), score)).collect();
        entries.sort_by(|a, b| a.1.partial_cmp(&b.1).unwrap().then_with(|| a.0.cmp(&b.0)));
        entries
    }

    fn check(zset: &ZSet, model: &BTreeMap<Blob, f64>) {
        let entries = ordered(model);
        assert!(zset.iter().map(|(member, score)| (member.clone(), score)).eq(entries.iter().cloned()));
        for (rank, (member, score)) in entries.iter().enumerate() {
            assert_eq!(zset.score(member), Some(*score));
            assert_eq!(zset.order.rank(*score, member), rank);
        }
        assert_eq!(zset.scores.as_ref().map_or(zset.len(), ScanMap::len), model.len());
        assert_eq!(zset.heap, model.keys().map(|member| heap_bytes(member)).sum::<usize>());
        assert_eq!(reloaded(zset).canonical(), zset.canonical());
    }

    /// Random changes while the set grows past the limit of small sets and shrinks again: each is written, read, undone
    /// and redone, and the set is reloaded now and then, as a restart would.
    #[test]
    fn random_changes_agree_with_a_model() {
        for seed in 0..4 {
            let mut random = Random::new(seed);
            let (mut zset, mut model) = (ZSet::default(), BTreeMap::new());
            for round in 0..4_000_u64 {
                let member = member(random.below(300));
                let growing = round / 1_000 % 2 == 0;
                let change = if random.below(100) < if growing { 75 } else { 25 } {
                    let score = [f64::INFINITY, f64::NEG_INFINITY, 0.0, -1.5, 1e300, random.below(20) as f64]
                        [random.below(6) as usize];
                    model.insert(member.clone(), score);
                    Change::Set { member, score }
                } else {
                    model.remove(&member);
                    Change::Remove { member }
                };
                let mut bytes = Vec::new();
                ZSet::write_change(&change, &mut bytes);
                assert_eq!(ZSet::read_change(&mut Reader::new(&bytes)).unwrap(), change);
                let before = zset.canonical();
                let inverse = zset.apply(change.clone());
                let redo = zset.apply(inverse.clone());
                assert_eq!(zset.canonical(), before);
                assert_eq!(redo, change);
                assert_eq!(zset.apply(redo), inverse);
                if round % 50 == 0 {
                    check(&zset, &model);
                }
                if random.below(200) == 0 {
                    zset = reloaded(&zset);
                }
            }
            check(&zset, &model);
        }
    }

    /// As above, through commands: every reply is compared with the model's.
    #[test]
    fn random_commands_agree_with_a_model() {
        for seed in 0..2 {
            let mut random = Random::new(seed);
            let (mut bench, mut model) = (Bench::new(), BTreeMap::<Blob, f64>::new());
            for round in 0..1_200_u64 {
                let growing = round / 400 % 2 == 0;
                let name = member(random.below(220));
                let text = String::from_utf8(name.to_vec()).unwrap();
                let score = random.below(30) as f64 / 2.0;
                match random.below(if growing { 14 } else { 20 }) {
                    0..=7 => {
                        let old = model.insert(name, score);
                        assert_eq!(bench.run(&format!("ZADD z {score} {text}")), Reply::flag(old.is_none()));
                    }
                    8 => {
                        let sum = model.entry(name).or_default();
                        *sum += score;
                        assert_eq!(bench.run(&format!("ZINCRBY z {score} {text}")), Reply::Double(*sum));
                    }
                    9 => {
                        // The sum must be higher than the old score.
                        let sum = model.get(&name).map_or(Some(score), |old| Some(old + score).filter(|sum| sum > old));
                        let reply = bench.run(&format!("ZADD z GT INCR {score} {text}"));
                        assert_eq!(reply, sum.map_or(Reply::Null, Reply::Double));
                        model.extend(sum.map(|sum| (name, sum)));
                    }
                    10 => {
                        let bound = random.below(30) as f64 / 2.0;
                        let (low, high) = (score.min(bound), score.max(bound));
                        let within = model.values().filter(|&&score| score > low && score <= high).count();
                        assert_eq!(bench.run(&format!("ZCOUNT z ({low} {high}")), Reply::count(within));
                    }
                    11 => {
                        let rank = ordered(&model).iter().rev().position(|(member, _)| *member == name);
                        let reply = rank.map_or(Reply::Null, Reply::count);
                        assert_eq!(bench.run(&format!("ZREVRANK z {text}")), reply);
                    }
                    12 => {
                        let (skip, take) = (random.below(20) as usize, random.below(20) as usize);
                        let page =
                            ordered(&model).into_iter().rev().filter(|entry| entry.1 <= score).skip(skip).take(take);
                        let pairs = page.map(|(member, score)| (Reply::Bulk(member), Reply::Double(score))).collect();
                        let reply =
                            bench.run(&format!("ZREVRANGEBYSCORE z {score} -inf LIMIT {skip} {take} WITHSCORES"));
                        assert!(reply == Reply::Pairs(pairs) || model.is_empty());
                    }
                    13..=16 => {
                        let there = model.remove(&name).is_some();
                        assert_eq!(bench.run(&format!("ZREM z {text}")), Reply::flag(there));
                    }
                    17 => {
                        let gone: Vec<_> = ordered(&model).into_iter().rev().take(3).collect();
                        let pairs =
                            gone.iter().map(|(member, score)| (Reply::Bulk(member.clone()), Reply::Double(*score)));
                        assert_eq!(bench.run("ZPOPMAX z 3"), Reply::Pairs(pairs.collect()));
                        model.retain(|member, _| gone.iter().all(|(gone, _)| gone != member));
                    }
                    18 => {
                        let gone: Vec<_> = ordered(&model).into_iter().skip(5).take(4).collect();
                        assert_eq!(bench.run("ZREMRANGEBYRANK z 5 8"), Reply::count(gone.len()));
                        model.retain(|member, _| gone.iter().all(|(gone, _)| gone != member));
                    }
                    _ => {
                        let all = ordered(&model).into_iter().map(|(member, _)| Reply::Bulk(member)).collect();
                        assert_eq!(bench.run("ZRANGE z 0 -1"), Reply::Array(all));
                    }
                }
                assert_eq!(bench.run("ZCARD z"), Reply::count(model.len()));
            }
        }
    }

    #[test]
    fn a_set_becomes_large_at_its_limits_and_one_past_them() {
        let zset = filled((Encodings::DEFAULT.zset.len_max as usize) as u64);
        assert!(zset.is_small() && reloaded(&zset).is_small());
        let mut grown = zset.clone();
        grown.set(member(0), 99.0);
        assert!(grown.is_small(), "a new score needs no room");
        grown.set(member(999), 99.0);
        assert!(!grown.is_small() && !reloaded(&grown).is_small());
        for (length, small) in [
            ((Encodings::DEFAULT.zset.bytes_max as usize), true),
            ((Encodings::DEFAULT.zset.bytes_max as usize) + 1, false),
        ] {
            let entry = Scored::new(1.0, Blob::from(vec![b'x'; length]));
            assert_eq!(ZSet::from_entries(vec![entry]).is_small(), small);
        }
        for n in 0..999 {
            grown.remove(&member(n));
        }
        assert_eq!((grown.len(), grown.encoding()), (1, "skiplist"));
        grown.remove(&member(999));
        assert_eq!((grown.len(), grown.encoding(), grown.memory_bytes()), (0, "listpack", SET_BYTES));
    }

    #[test]
    fn forged_bytes_are_refused() {
        let mut bytes = Vec::new();
        filled(5).write(&mut bytes);
        for length in 0..bytes.len() {
            assert!(ZSet::read(&mut Reader::new(&bytes[..length])).is_err());
        }
        let entry = |member: &[u8], score: f64| {
            let mut out = Vec::new();
            put_bytes(&mut out, member);
            put_double(&mut out, score);
            out
        };
        let twice = [&[2][..], &entry(b"m", 1.0), &entry(b"m", 2.0)].concat();
        assert!(ZSet::read(&mut Reader::new(&twice)).is_err());
        assert!(ZSet::read(&mut Reader::new(&[&[1][..], &entry(b"m", f64::NAN)].concat())).is_err());
        assert!(ZSet::read_change(&mut Reader::new(&[&[tag::SET][..], &entry(b"m", f64::NAN)].concat())).is_err());
        assert!(ZSet::read_change(&mut Reader::new(&[9, 1, b'm'])).is_err());
    }

    #[test]
    fn a_change_that_does_not_fit_changes_nothing() {
        let mut zset = filled(3);
        let before = zset.canonical();
        let gone = Change::Remove { member: Blob::from(b"nobody".as_slice()) };
        assert_eq!(zset.apply(gone.clone()), gone);
        assert_eq!(zset.canonical(), before);
    }

    #[test]
    fn zero_has_no_sign() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("ZADD z -0.0 a 0 b"), Reply::Integer(2));
        assert_eq!(bench.run("ZSCORE z a"), bench.run("ZSCORE z b"));
        let Reply::Double(score) = bench.run("ZSCORE z a") else { panic!("no score") };
        assert!(score.is_sign_positive());
        assert_eq!(bench.run("ZADD z CH -0.0 b"), Reply::Integer(0));
        let Reply::Pairs(pairs) = bench.run("ZUNION 1 z WEIGHTS -1 WITHSCORES") else { panic!("no scores") };
        assert!(pairs.iter().all(|(_, score)| matches!(score, Reply::Double(score) if score.is_sign_positive())));
    }

    #[test]
    fn a_command_that_changes_nothing_touches_nothing() {
        let mut bench = Bench::new();
        bench.hub.events = crate::hub::Notifications::parse(b"KEA").unwrap();
        bench.hub.subscribe_pattern(crate::ClientId(9), &Blob::from(b"__keyevent*".as_slice()));
        bench.run("ZADD z 1 a 2 b");
        let events = |bench: &mut Bench, line: &str| -> Vec<String> {
            bench.published.clear();
            bench.run(line);
            bench.published.iter().map(|(channel, _)| channel.escape_ascii().to_string()).collect()
        };
        for line in ["ZADD z 1 a", "ZADD z NX 5 a", "ZADD z XX 5 c", "ZADD none XX 1 a", "ZINCRBY z 0 a", "ZREM z c"] {
            assert_eq!(events(&mut bench, line), [""; 0], "{line}");
        }
        for (line, names) in [
            ("ZADD z 3 c", vec!["zadd"]),
            ("ZINCRBY z 1 c", vec!["zincr"]),
            ("ZREM z c c", vec!["zrem"]),
            ("ZRANGESTORE y z 0 -1", vec!["zrangestore"]),
            ("ZRANGESTORE y none 0 -1", vec!["del"]),
            ("ZUNIONSTORE y 1 z", vec!["zunionstore"]),
            ("ZREMRANGEBYRANK y 0 0", vec!["zremrangebyrank"]),
            ("ZPOPMIN y", vec!["zpopmin", "del"]),
            ("ZREM z a b", vec!["zrem", "del"]),
        ] {
            let channels: Vec<_> = names.iter().map(|name| format!("__keyevent@0__:{name}")).collect();
            assert_eq!(events(&mut bench, line), channels, "{line}");
        }
    }

    #[test]
    fn random_members_are_drawn_evenly() {
        let mut bench = Bench::new();
        for n in 0..200 {
            bench.run(&format!("ZADD z {n} m{n}"));
        }
        for (count, len) in [(10, 10), (150, 150), (200, 200), (900, 200), (-10, 10), (-900, 900)] {
            let Reply::Array(drawn) = bench.run(&format!("ZRANDMEMBER z {count}")) else { panic!("no array") };
            assert_eq!(drawn.len(), len);
            let distinct: BTreeSet<_> = drawn.iter().map(|reply| format!("{reply:?}")).collect();
            assert!(count < 0 || distinct.len() == len);
        }
        let mut random = Random::new(5);
        let mut hits = [0_u32; 50];
        for _ in 0..2_000 {
            for n in draw(&mut random, 50, Draw::Distinct(10)) {
                hits[n as usize] += 1;
            }
        }
        assert!(hits.iter().all(|&hits| (300..500).contains(&hits)), "{hits:?}");
        assert_eq!(bench.error("ZRANDMEMBER z -9000000000"), "ERR value is out of range");
    }

    #[test]
    fn a_scan_visits_every_member() {
        for count in [20, 1_000] {
            let mut bench = Bench::new();
            let pairs: Vec<_> = (0..count).map(|n| format!("{n} m{n}")).collect();
            bench.run(&format!("ZADD z {}", pairs.join(" ")));
            let (mut cursor, mut seen) = ("0".to_owned(), BTreeSet::new());
            loop {
                let Reply::Array(step) = bench.run(&format!("ZSCAN z {cursor} COUNT 50")) else { panic!("no array") };
                let [Reply::Bulk(next), Reply::Array(items)] = &step[..] else { panic!("{step:?}") };
                seen.extend(items.chunks(2).map(|pair| format!("{pair:?}")));
                cursor = String::from_utf8(next.to_vec()).unwrap();
                if cursor == "0" {
                    break;
                }
            }
            assert_eq!(seen.len(), count);
        }
    }
}
