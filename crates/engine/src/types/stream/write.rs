//! XADD, XTRIM, XDEL, XDELEX, XSETID: what makes entries come and go.
//!
//! Trimming decides by nodes, as Redis does: whole nodes go from the front, and what is left of the excess within the next
//! one only if the trimming is exact, or much is to go. [`Trim::plan`] finds out which entries that means; the change says so and no more.

use dormouse_proto::{Args, CommandError, Reply};
use hashbrown::HashSet;

use super::producers::{Sender, Sending};
use super::{Change, Id, Listed, Policy, Position, Stream, is_referenced, pack, without_references};
use crate::args::{Options, integer, is};
use crate::hub::Event;
use crate::txn::{Outcome, Stop, Txn};

/// An approximate trimming to a length cuts nodes, too, where so many entries are too many. Redis never does: it would leave
/// 100 of 1,000 entries where 30 are wanted. Upstash does, and its clients rely on it.
const NEAR_EXACT_FROM: u64 = 500;

/// Most nodes an approximate trimming removes unless told otherwise, as in Redis.
const NODES_MAX: u64 = 100;

/// Most entries an approximate trimming removes unless told otherwise: those of so many nodes.
fn approximate_limit(txn: &mut Txn<'_>) -> u64 {
    let entries_max = txn.hub().settings.encodings.node_entries_max;
    NODES_MAX * u64::from(if entries_max == 0 { super::node::NODE_ENTRIES_MAX } else { entries_max })
}

/// Up to where a stream is trimmed.
#[derive(Clone, Copy, Debug)]
enum Threshold {
    /// So many entries stay.
    MaxLen(u64),
    /// Entries from this id on stay.
    MinId(Id),
}

/// A trimming.
#[derive(Clone, Copy, Debug)]
struct Trim {
    threshold: Threshold,
    approximate: bool,
    /// Most entries to look at; none if it is exact.
    limit: Option<u64>,
    policy: Policy,
}

/// The options that XADD and XTRIM share.
#[derive(Default)]
struct Trimming {
    threshold: Option<Threshold>,
    approximate: bool,
    limit: Option<u64>,
    policy: Option<Policy>,
}

impl Trimming {
    /// Takes an option; whether it was one of ours.
    fn take(&mut self, word: &[u8], options: &mut Options<'_>) -> Result<bool, CommandError> {
        if options.rest().is_empty() {
            return Ok(self.take_policy(word));
        }
        let by_length = is(word, "MAXLEN");
        if by_length || is(word, "MINID") {
            if self.threshold.is_some() {
                return Err(CommandError::text(
                    "ERR syntax error, MAXLEN and MINID options at the same time are not compatible",
                ));
            }
            let mut value = options.value()?;
            self.approximate = false;
            if !options.rest().is_empty() && matches!(value, b"~" | b"=") {
                self.approximate = value == b"~";
                value = options.value()?;
            }
            self.threshold = Some(if by_length {
                Threshold::MaxLen(natural(value, "ERR The MAXLEN argument must be >= 0.")?)
            } else {
                Threshold::MinId(Id::parse(value, 0)?)
            });
        } else if is(word, "LIMIT") {
            self.limit = Some(natural(options.value()?, "ERR The LIMIT argument must be >= 0.")?);
        } else {
            return Ok(self.take_policy(word));
        }
        Ok(true)
    }

    fn take_policy(&mut self, word: &[u8]) -> bool {
        let policy = Policy::parse(word).filter(|_| self.policy.is_none());
        self.policy = self.policy.or(policy);
        policy.is_some()
    }

    /// What was asked for, if anything.
    fn trim(&self, usual_limit: u64) -> Result<Option<Trim>, CommandError> {
        let Some(threshold) = self.threshold else {
            return match self.limit {
                Some(1..) => Err(CommandError::text(
                    "ERR syntax error, LIMIT cannot be used without specifying a trimming strategy",
                )),
                _ => Ok(None),
            };
        };
        let limit = match (self.limit, self.approximate) {
            (Some(_), false) => {
                return Err(CommandError::text("ERR syntax error, LIMIT cannot be used without the special ~ option"));
            }
            (Some(0), true) | (None, false) => None,
            (Some(limit), true) => Some(limit),
            (None, true) => Some(usual_limit),
        };
        let policy = self.policy.unwrap_or_default();
        Ok(Some(Trim { threshold, approximate: self.approximate, limit, policy }))
    }
}

/// An integer that is not negative.
fn natural(text: &[u8], error: &'static str) -> Result<u64, CommandError> {
    u64::try_from(integer(text)?).map_err(|_| CommandError::text(error))
}

impl Trim {
    /// The changes that trim a stream, and how many entries they remove.
    fn plan(&self, stream: &Stream) -> (Vec<Change>, u64) {
        let max_deleted = stream.position().max_deleted;
        if self.policy == Policy::Acknowledged && stream.groups().len() > 0 {
            let ids = self.acknowledged(stream);
            let count = ids.len() as u64;
            return (if count > 0 { vec![Change::erase(ids, max_deleted)] } else { Vec::new() }, count);
        }
        let count = self.count(stream);
        let mut changes = Vec::new();
        if count > 0 {
            if self.policy == Policy::DeleteReferences {
                let ids: Vec<Id> = stream.range(Id::MIN, Id::MAX).take(count as usize).map(|entry| entry.id).collect();
                changes = without_references(stream, &ids);
            }
            changes.push(Change::Trim(count));
        }
        (changes, count)
    }

    /// Whether entries of a node may go where others of it stay.
    fn cuts_nodes(&self, stream: &Stream) -> bool {
        let excess = match self.threshold {
            Threshold::MaxLen(most) => stream.len().saturating_sub(most),
            Threshold::MinId(_) => 0,
        };
        !self.approximate || excess >= NEAR_EXACT_FROM
    }

    /// How many entries go from the front.
    fn count(&self, stream: &Stream) -> u64 {
        let mut gone = 0;
        for (live, last) in stream.node_ends() {
            let left = stream.len() - gone;
            if matches!(self.threshold, Threshold::MaxLen(most) if left <= most)
                || self.limit.is_some_and(|limit| gone + live > limit)
            {
                break;
            }
            let whole = match self.threshold {
                Threshold::MaxLen(most) => left - live >= most,
                Threshold::MinId(least) => last < least,
            };
            if whole {
                gone += live;
                continue;
            }
            if self.cuts_nodes(stream) {
                gone += match self.threshold {
                    Threshold::MaxLen(most) => left - most,
                    Threshold::MinId(least) => {
                        let rest = stream.range(Id::MIN, Id::MAX).skip(gone as usize).take(live as usize);
                        rest.take_while(|entry| entry.id < least).count() as u64
                    }
                };
            }
            break;
        }
        gone
    }

    /// The entries that go because no group wants them, where the others stay between them.
    fn acknowledged(&self, stream: &Stream) -> Vec<Id> {
        let mut ids = Vec::new();
        let mut entries = stream.range(Id::MIN, Id::MAX);
        for (live, last) in stream.node_ends() {
            let left = stream.len() - ids.len() as u64;
            if matches!(self.threshold, Threshold::MaxLen(most) if left <= most)
                || self.limit.is_some_and(|limit| ids.len() as u64 + live > limit)
            {
                break;
            }
            let whole = match self.threshold {
                Threshold::MaxLen(most) => left - live >= most,
                Threshold::MinId(least) => last < least,
            };
            if !whole && !self.cuts_nodes(stream) {
                break;
            }
            for entry in entries.by_ref().take(live as usize) {
                let stays = match self.threshold {
                    Threshold::MaxLen(most) => stream.len() - ids.len() as u64 <= most,
                    Threshold::MinId(least) => entry.id >= least,
                };
                if stays {
                    return ids;
                }
                if !is_referenced(stream, entry.id) {
                    ids.push(entry.id);
                }
            }
        }
        ids
    }
}

/// The id XADD was given.
enum NewId {
    /// `*`
    Now,
    /// `ms-*`
    Within(u64),
    /// All of it.
    Whole(Id),
}

impl NewId {
    fn parse(text: &[u8]) -> Result<Self, CommandError> {
        if text == b"*" {
            return Ok(Self::Now);
        }
        match text.strip_suffix(b"-*") {
            Some(ms) if !ms.contains(&b'-') => Ok(Self::Within(Id::parse(ms, 0)?.ms)),
            _ => Ok(Self::Whole(Id::parse(text, 0)?)),
        }
    }

    /// The id of the entry after `last`; none if this is not after it.
    fn after(&self, last: Id, now_ms: u64) -> Option<Id> {
        match *self {
            Self::Now if now_ms > last.ms => Some(Id { ms: now_ms, seq: 0 }),
            Self::Now => last.next(),
            Self::Within(ms) if ms == last.ms => Some(Id { ms, seq: last.seq.checked_add(1)? }),
            Self::Within(ms) => Some(Id { ms, seq: 0 }),
            Self::Whole(id) => Some(id),
        }
        .filter(|id| *id > last)
    }
}

/// `key [NOMKSTREAM] [KEEPREF | DELREF | ACKED] [IDMPAUTO pid | IDMP pid iid] [MAXLEN | MINID [= | ~] threshold [LIMIT count]]
/// id field value …`
struct Addition<'a> {
    make: bool,
    trim: Option<Trim>,
    sender: Option<Sender<'a>>,
    id: NewId,
    fields: Args<'a>,
}

impl<'a> Addition<'a> {
    fn parse(args: Args<'a>, usual_limit: u64) -> Result<Self, CommandError> {
        let mut options = Options::new(&args[2..]);
        let mut trimming = Trimming::default();
        let (mut make, mut id, mut sender) = (true, None, None);
        while let Some(word) = options.next() {
            if Sender::take(&mut sender, word, &mut options)? {
                continue;
            }
            if word == b"*" || !(is(word, "NOMKSTREAM") || trimming.take(word, &mut options)?) {
                id = Some(NewId::parse(word)?);
                break;
            }
            make &= !is(word, "NOMKSTREAM");
        }
        let trim = trimming.trim(usual_limit)?;
        let fields = options.rest();
        let id = id.filter(|_| fields.len() >= 2 && fields.len().is_multiple_of(2));
        let id = id.ok_or(CommandError::Arity("xadd".into()))?;
        if matches!(id, NewId::Whole(Id::MIN)) {
            return Err(CommandError::text("ERR The ID specified in XADD must be greater than 0-0"));
        }
        if sender.is_some() && !matches!(id, NewId::Now) {
            return Err(CommandError::text("ERR IDMP/IDMPAUTO can be used only with auto-generated IDs"));
        }
        Ok(Self { make, trim, sender, id, fields })
    }
}

pub(super) fn xadd(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, now_ms) = (args[1], txn.now_ms());
    let addition = Addition::parse(args, approximate_limit(txn))?;
    let rules = txn.hub().settings.idmp;
    let stream = txn.get::<Stream>(key)?;
    if stream.is_none() && !addition.make {
        return Ok(Reply::Null);
    }
    let last = stream.map_or(Id::MIN, Stream::last_id);
    let sending = addition.sender.map(|sender| sender.sends(stream, addition.fields, rules, now_ms));
    if let Some(Sending::Again(id, change)) = sending {
        super::apply(txn, key, [change])?;
        return Ok(Reply::Bulk(id.text()));
    }
    if last == Id::MAX {
        return Err(
            CommandError::text("ERR The stream has exhausted the last possible ID, unable to add more items").into()
        );
    }
    let id = addition.id.after(last, now_ms).ok_or(CommandError::text(
        "ERR The ID specified in XADD is equal or smaller than the target stream top item",
    ))?;
    let mut edit = txn.edit::<Stream>(key)?;
    edit.apply(Change::append(id, pack(addition.fields.iter().copied())));
    let (changes, trimmed) = addition.trim.map(|trim| trim.plan(&edit)).unwrap_or_default();
    for change in changes.into_iter().chain(sending.into_iter().flat_map(|sending| sending.remember(id))) {
        edit.apply(change);
    }
    drop(edit);
    txn.notify(Event::Stream, "xadd", key);
    if trimmed > 0 {
        txn.notify(Event::Stream, "xtrim", key);
    }
    Ok(Reply::Bulk(id.text()))
}

pub(super) fn xtrim(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let mut options = Options::new(&args[2..]);
    let mut trimming = Trimming::default();
    while let Some(word) = options.next() {
        if !trimming.take(word, &mut options)? {
            return Err(CommandError::Syntax.into());
        }
    }
    let trim = trimming
        .trim(approximate_limit(txn))?
        .ok_or(CommandError::text("ERR syntax error, XTRIM must be called with a trimming strategy"))?;
    let Some(stream) = txn.get::<Stream>(key)? else {
        return Ok(Reply::Integer(0));
    };
    let (changes, count) = trim.plan(stream);
    super::apply(txn, key, changes)?;
    if count > 0 {
        txn.notify(Event::Stream, "xtrim", key);
    }
    Ok(Reply::Integer(count as i64))
}

pub(super) fn xdel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    if txn.get::<Stream>(key)?.is_none() {
        return Ok(Reply::Integer(0));
    }
    let ids: Vec<Id> = args[2..].iter().map(|text| Id::parse(text, 0)).collect::<Result<_, _>>()?;
    let count = delete(txn, key, &ids, Policy::KeepReferences)?;
    Ok(Reply::count(count))
}

/// Removes entries, those that are there, and announces it; how many. References go even to entries that are gone.
pub(super) fn delete(txn: &mut Txn<'_>, key: &[u8], ids: &[Id], policy: Policy) -> Result<usize, Stop> {
    let Some(stream) = txn.get::<Stream>(key)? else {
        return Ok(0);
    };
    let mut there: Vec<Id> = ids.iter().copied().filter(|id| stream.entry(*id).is_some()).collect();
    there.sort_unstable();
    there.dedup();
    let count = there.len();
    let references = policy == Policy::DeleteReferences;
    let mut changes = if references { without_references(stream, ids) } else { Vec::new() };
    if let Some(&highest) = there.last() {
        let max_deleted = stream.position().max_deleted.max(highest);
        changes.push(Change::erase(there, max_deleted));
    }
    super::apply(txn, key, changes)?;
    if count > 0 {
        txn.notify(Event::Stream, "xdel", key);
    }
    Ok(count)
}

pub(super) fn xdelex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    // Redis looks at the key before it looks at the words.
    txn.get::<Stream>(key)?;
    let listed = Listed::parse(&args[2..])?;
    let Some(stream) = txn.get::<Stream>(key)? else {
        return Ok(Reply::Array(vec![Reply::Integer(-1); listed.ids.len()]));
    };
    let (policy, ids) = (listed.policy, listed.ids()?);
    let (mut going, mut seen) = (Vec::new(), HashSet::with_capacity(ids.len()));
    let mut replies = Vec::with_capacity(ids.len());
    for id in ids {
        if policy == Policy::Acknowledged && is_referenced(stream, id) {
            replies.push(Reply::Integer(2));
            continue;
        }
        let there = seen.insert(id) && stream.entry(id).is_some();
        going.push(id);
        replies.push(Reply::Integer(if there { 1 } else { -1 }));
    }
    delete(txn, key, &going, policy)?;
    Ok(Reply::Array(replies))
}

/// `key last-id [ENTRIESADDED count] [MAXDELETEDID id]`
pub(super) fn xsetid(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, last_id) = (args[1], Id::parse(args[2], 0)?);
    let (mut added, mut max_deleted) = (None, None);
    let mut options = Options::new(&args[3..]);
    while let Some(word) = options.next() {
        match () {
            () if is(word, "ENTRIESADDED") && !options.rest().is_empty() => {
                added = Some(natural(options.value()?, "ERR entries_added must be positive")?);
            }
            () if is(word, "MAXDELETEDID") && !options.rest().is_empty() => {
                let id = Id::parse(options.value()?, 0)?;
                if last_id < id {
                    return Err(CommandError::text(
                        "ERR The ID specified in XSETID is smaller than the provided max_deleted_entry_id",
                    )
                    .into());
                }
                max_deleted = Some(id);
            }
            () => return Err(CommandError::Syntax.into()),
        }
    }
    let stream = txn.get::<Stream>(key)?.ok_or(CommandError::NoSuchKey)?;
    let old = stream.position();
    let wrong = match () {
        () if last_id < old.max_deleted => {
            "ERR The ID specified in XSETID is smaller than current max_deleted_entry_id"
        }
        () if stream.last().is_some_and(|last| last_id < last.id) => {
            "ERR The ID specified in XSETID is smaller than the target stream top item"
        }
        () if stream.len() > 0 && added.is_some_and(|added| stream.len() > added) => {
            "ERR The entries_added specified in XSETID is smaller than the target stream length"
        }
        () => "",
    };
    if !wrong.is_empty() {
        return Err(CommandError::text(wrong).into());
    }
    let max_deleted = max_deleted.filter(|id| *id != Id::MIN).unwrap_or(old.max_deleted);
    let new = Position { last_id, max_deleted, added: added.unwrap_or(old.added) };
    super::apply(txn, key, [Change::position(new)])?;
    txn.notify(Event::Stream, "xsetid", key);
    Ok(Reply::OK)
}
