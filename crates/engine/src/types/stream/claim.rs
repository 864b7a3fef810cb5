//! XPENDING, XCLAIM, XAUTOCLAIM, XNACK: what was delivered and not acknowledged, who takes it over, and who gives it back.
//!
//! An entry that is gone cannot be taken over: whoever meets it here ends its being pending. What was given back stays pending
//! in its group, with nobody, until somebody takes it: however long that one would have it left, as it is nobody's.

use std::collections::BTreeMap;

use dormouse_proto::{Args, CommandError, Reply};

use super::{Change, ConsumerGroup, Delivery, Id, Stream, announce_consumer, entry_reply, group_of, visit};
use crate::args::{Options, integer, is};
use crate::txn::{Outcome, Txn};

/// How many pending entries XAUTOCLAIM looks at for each that it may take over.
const LOOKS_PER_CLAIM: usize = 10;
/// Entries XAUTOCLAIM takes over unless told otherwise.
const CLAIMS: usize = 100;
/// The most it may be told to.
const CLAIMS_MAX: i64 = i64::MAX / 16;

/// The highest number of deliveries.
pub(super) const DELIVERIES_MAX: u64 = i64::MAX as u64;

/// Most words that XPENDING takes behind the group; what is none of them it overlooks, as in Redis.
const WORDS_MAX: usize = 6;

/// `start end count [consumer]`, after `[IDLE min-idle]`.
struct Listing<'a> {
    idle_ms: u64,
    from: Id,
    to: Id,
    count: usize,
    consumer: Option<&'a [u8]>,
}

impl<'a> Listing<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        if !(3..=WORDS_MAX).contains(&args.len()) {
            return Err(CommandError::Syntax);
        }
        let (idle_ms, rest) = match args {
            [word, idle, rest @ ..] if is(word, "IDLE") => (integer(idle)?.max(0) as u64, rest),
            rest => (0, rest),
        };
        let [from, to, count, more @ ..] = rest else {
            return Err(CommandError::Syntax);
        };
        let count = integer(count)?.max(0) as usize;
        let (from, to) = (Id::parse_start(from)?, Id::parse_end(to)?);
        Ok(Self { idle_ms, from, to, count, consumer: more.first().copied() })
    }

    fn rows(&self, group: &ConsumerGroup, now_ms: u64) -> Vec<Reply> {
        let row = |(id, delivery): (Id, &Delivery)| {
            let idle_ms = delivery.idle_ms(now_ms);
            let row = || {
                Reply::Array(vec![
                    Reply::Bulk(id.text()),
                    Reply::Bulk(delivery.consumer.clone().unwrap_or_default()),
                    Reply::Integer(idle_ms.map_or(-1, |idle_ms| idle_ms as i64)),
                    Reply::Integer(delivery.count as i64),
                ])
            };
            delivery.is_left_for(self.idle_ms, now_ms).then(row)
        };
        let within = |id: &Id| *id <= self.to;
        if let Some(name) = self.consumer {
            let ids = group.consumer(name).into_iter().flat_map(|consumer| consumer.pending(self.from));
            let pending = ids.take_while(within).filter_map(|id| Some((id, group.delivery(id)?)));
            return pending.filter_map(row).take(self.count).collect();
        }
        group.pending(self.from).take_while(|(id, _)| within(id)).filter_map(row).take(self.count).collect()
    }
}

pub(super) fn xpending(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let now_ms = txn.now_ms();
    let listing = if args.len() == 3 { None } else { Some(Listing::parse(&args[3..])?) };
    let (_, group) = group_of(txn, args[1], args[2])?;
    let Some(listing) = listing else {
        return Ok(summary(group));
    };
    Ok(Reply::Array(listing.rows(group, now_ms)))
}

/// How many are pending, the first and the last, and how many with each consumer.
fn summary(group: &ConsumerGroup) -> Reply {
    let Some((first, last)) = group.pending(Id::MIN).next().map(|(id, _)| id).zip(group.last_pending()) else {
        return Reply::Array(vec![Reply::Integer(0), Reply::Null, Reply::Null, Reply::NullArray]);
    };
    let busy = group.consumers().filter(|(_, consumer)| consumer.pending_count() > 0);
    let consumers = busy.map(|(name, consumer)| {
        Reply::Array(vec![Reply::Bulk(name.clone()), Reply::bulk(consumer.pending_count().to_string())])
    });
    Reply::Array(vec![
        Reply::count(group.pending_count()),
        Reply::Bulk(first.text()),
        Reply::Bulk(last.text()),
        Reply::Array(consumers.collect()),
    ])
}

/// A minimum of idle time; below zero is zero.
fn min_idle(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    Ok(option_integer(text, error)?.max(0) as u64)
}

fn option_integer(text: &[u8], error: &'static str) -> Result<i64, CommandError> {
    integer(text).map_err(|_| CommandError::text(error))
}

/// What XCLAIM is told beside the ids.
#[derive(Default)]
struct ClaimOptions {
    /// When the entries count as delivered, instead of now.
    at_ms: Option<i64>,
    /// How often they count as delivered.
    count: Option<u64>,
    force: bool,
    just_ids: bool,
    last_id: Option<Id>,
}

impl ClaimOptions {
    fn parse(args: Args<'_>, now_ms: u64) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let mut parsed = Self::default();
        while let Some(word) = options.next() {
            let more = !options.rest().is_empty();
            match () {
                () if is(word, "FORCE") => parsed.force = true,
                () if is(word, "JUSTID") => parsed.just_ids = true,
                () if is(word, "IDLE") && more => {
                    let idle = option_integer(options.value()?, "ERR Invalid IDLE option argument for XCLAIM")?;
                    parsed.at_ms = Some((now_ms as i64).saturating_sub(idle));
                }
                () if is(word, "TIME") && more => {
                    let time = option_integer(options.value()?, "ERR Invalid TIME option argument for XCLAIM")?;
                    parsed.at_ms = Some(time);
                }
                () if is(word, "RETRYCOUNT") && more => {
                    let error = "ERR Invalid RETRYCOUNT option argument for XCLAIM";
                    parsed.count = u64::try_from(option_integer(options.value()?, error)?).ok();
                }
                () if is(word, "LASTID") && more => parsed.last_id = Some(Id::parse(options.value()?, 0)?),
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::from(format!("ERR Unrecognized XCLAIM option '{word}'")));
                }
            }
        }
        // A moment that is not yet, or never was, is now.
        parsed.at_ms = parsed.at_ms.filter(|at| (0..=now_ms as i64).contains(at));
        Ok(parsed)
    }
}

/// A number of deliveries and one more; the highest there is says that it shall not be delivered again.
pub(super) const fn once_more(count: u64) -> u64 {
    if count < DELIVERIES_MAX { count + 1 } else { count }
}

/// Entries as they pass to a consumer.
struct Claims<'a> {
    consumer: &'a [u8],
    now_ms: u64,
    at_ms: u64,
    count: Option<u64>,
    just_ids: bool,
    /// What becomes of pending entries, each id once.
    deliveries: BTreeMap<Id, Option<Delivery>>,
    replies: Vec<Reply>,
}

impl Claims<'_> {
    /// The delivery of an entry as it is by now.
    fn delivery(&self, group: &ConsumerGroup, id: Id) -> Option<Delivery> {
        match self.deliveries.get(&id) {
            Some(delivery) => delivery.clone(),
            None => group.delivery(id).cloned(),
        }
    }

    fn take(&mut self, stream: &Stream, id: Id, old: Option<&Delivery>) {
        // One that is made here counts as delivered once already, as in Redis.
        let before = old.map_or(1, |old| old.count);
        let count = self.count.unwrap_or(if self.just_ids { before } else { once_more(before) });
        let delivery = Delivery::to(self.consumer, self.at_ms, count);
        self.deliveries.insert(id, Some(delivery));
        self.replies.push(match stream.entry(id) {
            Some(entry) if !self.just_ids => entry_reply(&entry),
            _ => Reply::Bulk(id.text()),
        });
    }

    /// The changes that make it so, and whether they make the consumer. It comes to be even if there is nothing to take.
    fn finish(self, group: &ConsumerGroup, name: &[u8]) -> (Vec<Change>, Vec<Reply>, bool) {
        let (visit, new) = visit(group, name, self.consumer, self.now_ms, !self.replies.is_empty());
        let mut changes = Vec::from_iter(visit);
        if !self.deliveries.is_empty() {
            changes.push(Change::pending(name, self.deliveries));
        }
        (changes, self.replies, new)
    }
}

/// `key group consumer min-idle id … [IDLE ms] [TIME ms] [RETRYCOUNT count] [FORCE] [JUSTID] [LASTID id]`
pub(super) fn xclaim(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name, now_ms) = (args[1], args[2], txn.now_ms());
    super::check_name(txn, args[3])?;
    group_of(txn, key, name)?;
    let idle_ms = min_idle(args[4], "ERR Invalid min-idle-time argument for XCLAIM")?;
    // Ids go on up to the first word that is none.
    let ids: Vec<Id> = args[5..].iter().map_while(|text| Id::parse(text, 0).ok()).collect();
    let options = ClaimOptions::parse(&args[5 + ids.len()..], now_ms)?;
    let (stream, group) = group_of(txn, key, name)?;
    let mut claims = Claims {
        consumer: args[3],
        now_ms,
        at_ms: options.at_ms.map_or(now_ms, |at| at as u64),
        count: options.count,
        just_ids: options.just_ids,
        deliveries: BTreeMap::new(),
        replies: Vec::new(),
    };
    for id in ids {
        let old = claims.delivery(group, id);
        if stream.entry(id).is_none() {
            if old.is_some() {
                claims.deliveries.insert(id, None);
            }
            continue;
        }
        let ripe = match &old {
            Some(old) => old.is_left_for(idle_ms, now_ms),
            None => options.force,
        };
        if ripe {
            claims.take(stream, id, old.as_ref());
        }
    }
    let moved = options.last_id.filter(|id| *id > group.last_id).map(|id| Change::cursor(name, id, group.read));
    let (mut changes, replies, makes_consumer) = claims.finish(group, name);
    changes.extend(moved);
    super::apply(txn, key, changes)?;
    announce_consumer(txn, key, makes_consumer);
    Ok(Reply::Array(replies))
}

/// What becomes of the number of deliveries of an entry that is given back.
#[derive(Clone, Copy)]
enum Verdict {
    /// `SILENT`: one less.
    Undone,
    /// `FAIL`: it stays.
    Failed,
    /// `FATAL`: the highest there is.
    Hopeless,
}

impl Verdict {
    fn parse(word: &[u8]) -> Result<Self, CommandError> {
        match () {
            () if is(word, "SILENT") => Ok(Self::Undone),
            () if is(word, "FAIL") => Ok(Self::Failed),
            () if is(word, "FATAL") => Ok(Self::Hopeless),
            () => Err(CommandError::text("ERR mode must be SILENT, FAIL, or FATAL")),
        }
    }

    const fn count(self, before: u64) -> u64 {
        match self {
            Self::Undone => before.saturating_sub(1),
            Self::Failed => before,
            Self::Hopeless => DELIVERIES_MAX,
        }
    }
}

/// `SILENT | FAIL | FATAL`, then in any order `IDS numids id …`, `[RETRYCOUNT count]`, `[FORCE]`
struct GivingBack {
    verdict: Verdict,
    ids: Vec<Id>,
    count: Option<u64>,
    force: bool,
}

impl GivingBack {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        let verdict = Verdict::parse(options.value()?)?;
        let (mut ids, mut count, mut force) = (None, None, false);
        while let Some(word) = options.next() {
            let more = !options.rest().is_empty();
            match () {
                () if is(word, "FORCE") => force = true,
                () if is(word, "RETRYCOUNT") && more => {
                    let given = u64::try_from(options.integer()?);
                    count = Some(given.map_err(|_| CommandError::text("ERR Invalid RETRYCOUNT value, must be >= 0"))?);
                }
                () if is(word, "IDS") && more && ids.is_none() => {
                    let number = crate::args::positive(options.value()?, "ERR numids must be a positive integer")?;
                    if number > options.rest().len() {
                        return Err(CommandError::text("ERR number of IDs doesn't match numids"));
                    }
                    let texts = (0..number).map(|_| options.value()).collect::<Result<Vec<_>, _>>()?;
                    ids = Some(texts.into_iter().map(|text| Id::parse(text, 0)).collect::<Result<Vec<_>, _>>()?);
                }
                () => {
                    let word = String::from_utf8_lossy(word);
                    return Err(CommandError::from(format!("ERR Unrecognized XNACK option '{word}'")));
                }
            }
        }
        let ids = ids.ok_or(CommandError::text("ERR syntax error, expected IDS keyword"))?;
        Ok(Self { verdict, ids, count, force })
    }
}

/// Gives entries back to their group: pending still, with nobody.
pub(super) fn xnack(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args[1], args[2]);
    group_of(txn, key, name)?;
    let asked = GivingBack::parse(&args[3..])?;
    let (stream, group) = group_of(txn, key, name)?;
    let mut turn = group.next_turn();
    let mut given: BTreeMap<Id, Delivery> = BTreeMap::new();
    let mut done = 0;
    for id in asked.ids {
        let before = given.get(&id).or_else(|| group.delivery(id)).map(|delivery| delivery.count);
        if before.is_none() && !(asked.force && stream.entry(id).is_some()) {
            continue;
        }
        let count = asked.count.unwrap_or_else(|| asked.verdict.count(before.unwrap_or(0)));
        given.insert(id, Delivery { consumer: None, at_ms: turn, count });
        (turn, done) = (turn.saturating_add(1), done + 1);
    }
    if !given.is_empty() {
        let given = given.into_iter().map(|(id, delivery)| (id, Some(delivery)));
        super::apply(txn, key, [Change::pending(name, given)])?;
    }
    Ok(Reply::count(done))
}

/// `key group consumer min-idle start [COUNT count] [JUSTID]`
pub(super) fn xautoclaim(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name, now_ms) = (args[1], args[2], txn.now_ms());
    super::check_name(txn, args[3])?;
    let idle_ms = min_idle(args[4], "ERR Invalid min-idle-time argument for XAUTOCLAIM")?;
    let start = Id::parse_start(args[5])?;
    let (mut count, mut just_ids) = (CLAIMS, false);
    let mut options = Options::new(&args[6..]);
    while let Some(word) = options.next() {
        match () {
            () if is(word, "COUNT") && !options.rest().is_empty() => {
                let given = integer(options.value()?).ok().filter(|count| (1..=CLAIMS_MAX).contains(count));
                count = given.ok_or(CommandError::text("ERR COUNT must be > 0"))? as usize;
            }
            () if is(word, "JUSTID") => just_ids = true,
            () => return Err(CommandError::Syntax.into()),
        }
    }
    let (stream, group) = group_of(txn, key, name)?;
    let deliveries = BTreeMap::new();
    let mut claims =
        Claims { consumer: args[3], now_ms, at_ms: now_ms, count: None, just_ids, deliveries, replies: Vec::new() };
    let mut gone = Vec::new();
    let mut pending = group.pending(start);
    let mut looks = count.saturating_mul(LOOKS_PER_CLAIM);
    while looks > 0 && count > 0 {
        let Some((id, delivery)) = pending.next() else { break };
        looks -= 1;
        if stream.entry(id).is_none() {
            claims.deliveries.insert(id, None);
            gone.push(Reply::Bulk(id.text()));
            count -= 1;
        } else if delivery.is_left_for(idle_ms, now_ms) {
            claims.take(stream, id, Some(delivery));
            count -= 1;
        }
    }
    let next = pending.next().map_or(Id::MIN, |(id, _)| id);
    drop(pending);
    let (changes, replies, makes_consumer) = claims.finish(group, name);
    super::apply(txn, key, changes)?;
    announce_consumer(txn, key, makes_consumer);
    Ok(Reply::Array(vec![Reply::Bulk(next.text()), Reply::Array(replies), Reply::Array(gone)]))
}
