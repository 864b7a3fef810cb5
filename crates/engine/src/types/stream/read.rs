//! XLEN, XRANGE, XREVRANGE, XREAD, XREADGROUP: what shows entries.
//!
//! A blocked XREAD waits for entries above ids that are fixed when it begins to wait: `$` and `+` are replaced by what they
//! meant then, and the command is run again in that form. It takes nothing, so every waiter gets every entry. A blocked
//! XREADGROUP takes; and it ends with an error when the key or the group goes, because nothing it waits for can come.
//!
//! With CLAIM, an XREADGROUP for what is new first takes over what others have left for long, and one that waits is run again
//! when the oldest of that is ripe.
//!
//! XREADGROUP checks all its streams before it changes one. Whoever reads becomes a consumer, even if there is nothing to
//! read; after that a read that finds nothing changes nothing: polling costs no write.

use std::collections::BTreeMap;
use std::num::NonZeroU64;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use super::claim::once_more;
use super::node::Entry;
use super::{Change, ConsumerGroup, Delivery, Id, Stream, announce_consumer, count_or_all, entry_reply, visit};
use crate::args::{Options, ends_in_time, is};
use crate::client::{Door, Waiting};
use crate::txn::{Block, Outcome, Stop, Txn};

pub(super) fn xlen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::Integer(txn.get::<Stream>(args[1])?.map_or(0, Stream::len) as i64))
}

pub(super) fn xrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    range(txn, args, Id::parse_start(args[2])?, Id::parse_end(args[3])?, false)
}

pub(super) fn xrevrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // Redis reads the lower end first.
    let from = Id::parse_start(args[3])?;
    range(txn, args, from, Id::parse_end(args[2])?, true)
}

fn range(txn: &mut Txn<'_>, args: Args<'_>, from: Id, to: Id, back: bool) -> Outcome {
    let mut count = None;
    let mut options = Options::new(&args[4..]);
    while let Some(word) = options.next() {
        if !is(word, "COUNT") || options.rest().is_empty() {
            return Err(CommandError::Syntax.into());
        }
        count = Some(options.integer()?.max(0) as usize);
    }
    let Some(stream) = txn.get::<Stream>(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    let most = count.unwrap_or(usize::MAX);
    Ok(match (count, back) {
        (Some(0), _) => Reply::NullArray,
        (_, false) => Reply::Array(stream.range(from, to).take(most).map(|entry| entry_reply(&entry)).collect()),
        (_, true) => Reply::Array(stream.range_back(from, to).take(most).map(|entry| entry_reply(&entry)).collect()),
    })
}

/// `[GROUP group consumer] [COUNT count] [MAXCOUNT count] [MAXSIZE bytes] [BLOCK milliseconds] [CLAIM min-idle] [NOACK] STREAMS
/// key … id …`
struct Request<'a> {
    args: Args<'a>,
    group: Option<(&'a [u8], &'a [u8])>,
    /// Most entries of one stream.
    count: usize,
    /// What all streams may show together.
    room: Room,
    /// How long to wait if at all; for ever is `Some(None)`.
    #[expect(clippy::option_option, reason = "not to wait, and to wait without end, are two things")]
    block: Option<Option<u64>>,
    /// How long others must have left an entry for this one to take it over; none is not asked for.
    claim_ms: Option<u64>,
    no_ack: bool,
    keys: Args<'a>,
    ids: Args<'a>,
}

impl<'a> Request<'a> {
    fn parse(args: Args<'a>, grouped: bool) -> Result<Self, CommandError> {
        let mut options = Options::new(&args[1..]);
        let mut request = Self {
            args,
            group: None,
            count: usize::MAX,
            room: Room { entries: usize::MAX, bytes: usize::MAX, is_untouched: true },
            block: None,
            claim_ms: None,
            no_ack: false,
            keys: &[],
            ids: &[],
        };
        while let Some(word) = options.next() {
            let more = options.rest().len();
            match () {
                () if is(word, "BLOCK") && more > 0 => request.block = Some(block_ms(options.value()?)?),
                () if is(word, "COUNT") && more > 0 => request.count = count_or_all(options.integer()?),
                () if is(word, "MAXCOUNT") && more > 0 => {
                    let error = CommandError::text("ERR MAXCOUNT must be a positive integer");
                    request.room.entries = at_least_one(options.integer()?, error)?;
                }
                () if is(word, "MAXSIZE") && more > 0 => {
                    let error = CommandError::text("ERR MAXSIZE must be a positive integer");
                    request.room.bytes = at_least_one(options.integer()?, error)?;
                }
                () if is(word, "STREAMS") && more > 0 => {
                    let rest = options.rest();
                    if !more.is_multiple_of(2) {
                        return Err(unbalanced(grouped));
                    }
                    (request.keys, request.ids) = rest.split_at(more / 2);
                    break;
                }
                () if is(word, "GROUP") && more > 1 => {
                    only_grouped(grouped, "GROUP")?;
                    request.group = Some((options.value()?, options.value()?));
                }
                () if is(word, "CLAIM") && more > 0 => {
                    only_grouped(grouped, "CLAIM")?;
                    request.claim_ms = Some(claim_ms(options.value()?)?);
                }
                () if is(word, "NOACK") => {
                    only_grouped(grouped, "NOACK")?;
                    request.no_ack = true;
                }
                () => return Err(CommandError::Syntax),
            }
        }
        if request.keys.is_empty() {
            return Err(CommandError::Syntax);
        }
        if grouped && request.group.is_none() {
            return Err(CommandError::text("ERR Missing GROUP option for XREADGROUP"));
        }
        if request.count != usize::MAX && request.room.entries < request.count {
            return Err(CommandError::text("ERR MAXCOUNT must be greater than or equal to COUNT"));
        }
        request.count = request.count.min(request.room.entries);
        Ok(request)
    }

    /// As [`Self::parse`], where the client may ask for it.
    fn of(txn: &mut Txn<'_>, args: Args<'a>, grouped: bool) -> Result<Self, CommandError> {
        let mut request = Self::parse(args, grouped)?;
        if let Some(timeout_ms) = &mut request.block {
            *timeout_ms = ends_in_time(*timeout_ms, txn.now_ms())?;
        }
        if let Some((_, consumer)) = request.group {
            super::check_name(txn, consumer)?;
        }
        if request.block.is_some() && txn.may_block() && txn.client().waiting == Waiting::Refused {
            let name = if grouped { "xreadgroup" } else { "xread" };
            return Err(CommandError::from(format!("ERR command '{name}' with BLOCK is not supported over REST")));
        }
        Ok(request)
    }

    /// When the first of the entries that others have will have been left for long enough.
    fn next_ripe_ms(&self, txn: &Txn<'_>) -> Option<NonZeroU64> {
        let (idle_ms, (name, _)) = self.claim_ms.zip(self.group)?;
        let streams = self.keys.iter().filter_map(|key| txn.peek_as::<Stream>(key).ok().flatten());
        let oldest_ms = streams.filter_map(|stream| stream.group(name)?.oldest_ms()).min()?;
        NonZeroU64::new(oldest_ms.saturating_add(idle_ms))
    }

    fn streams(&self) -> impl Iterator<Item = (&'a [u8], &'a [u8])> {
        self.keys.iter().copied().zip(self.ids.iter().copied())
    }

    /// The reply of a read that found nothing: now, or when something has come. Then it asks for what is above `ids`.
    fn nothing(&self, txn: &mut Txn<'_>, ids: Option<Vec<Id>>) -> Outcome {
        let Some(timeout_ms) = self.block.filter(|_| txn.may_block()) else {
            return Ok(Reply::NullArray);
        };
        let again = ids.map(|ids| {
            let fixed = self.args.len() - ids.len();
            let words = self.args[..fixed].iter().map(|word| Blob::from(*word));
            words.chain(ids.into_iter().map(Id::text)).collect()
        });
        let block = Block::on(self.keys, timeout_ms, Reply::NullArray);
        let retry_ms = self.next_ripe_ms(txn);
        Err(Stop::Block(Block { again, retry_ms, even_if_gone: self.group.is_some(), ..block }))
    }
}

fn at_least_one(count: i64, error: CommandError) -> Result<usize, CommandError> {
    usize::try_from(count).ok().filter(|&count| count > 0).ok_or(error)
}

/// What a read may still show.
#[derive(Clone, Copy, Debug)]
struct Room {
    entries: usize,
    /// Bytes as RESP2 writes entries.
    bytes: usize,
    /// The first entry is shown however large it is.
    is_untouched: bool,
}

impl Room {
    /// Whether an entry is to be shown; it has taken its room then. Once one is not, none is.
    fn takes(&mut self, entry: &Reply) -> bool {
        if self.entries == 0 {
            return false;
        }
        self.entries -= 1;
        if self.bytes != usize::MAX {
            let Some(left) = self.bytes.checked_sub(wire_bytes(entry)).or(self.is_untouched.then_some(0)) else {
                self.entries = 0;
                return false;
            };
            self.bytes = left;
        }
        self.is_untouched = false;
        true
    }
}

/// How long the reply that shows an entry is in RESP2.
fn wire_bytes(reply: &Reply) -> usize {
    let header = |count: usize| 3 + itoa::Buffer::new().format(count).len();
    match reply {
        Reply::Array(items) => header(items.len()) + items.iter().map(wire_bytes).sum::<usize>(),
        Reply::Bulk(text) => header(text.len()) + text.len() + 2,
        Reply::Integer(number) => 3 + itoa::Buffer::new().format(*number).len(),
        _ => header(0),
    }
}

fn claim_ms(text: &[u8]) -> Result<u64, CommandError> {
    let millis =
        dormouse_proto::parse_integer(text).ok_or(CommandError::text("ERR min-idle-time is not an integer"))?;
    u64::try_from(millis).map_err(|_| CommandError::text("ERR min-idle-time must be a positive integer"))
}

fn unbalanced(grouped: bool) -> CommandError {
    CommandError::text(if grouped {
        "ERR Unbalanced 'xreadgroup' list of streams: for each stream key an ID or '>' must be specified."
    } else {
        "ERR Unbalanced 'xread' list of streams: for each stream key an ID, '+', or '$' must be specified."
    })
}

fn only_grouped(grouped: bool, option: &str) -> Result<(), CommandError> {
    if grouped {
        return Ok(());
    }
    Err(CommandError::from(format!(
        "ERR The {option} option is only supported by XREADGROUP. You called XREAD instead."
    )))
}

fn block_ms(text: &[u8]) -> Result<Option<u64>, CommandError> {
    let millis = dormouse_proto::parse_integer(text)
        .ok_or(CommandError::text("ERR timeout is not an integer or out of range"))?;
    let millis = u64::try_from(millis).map_err(|_| CommandError::text("ERR timeout is negative"))?;
    Ok((millis > 0).then_some(millis))
}

pub(super) fn xread(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut request = Request::of(txn, args, false)?;
    let mut ids = Vec::with_capacity(request.ids.len());
    for (key, id) in request.streams() {
        let stream = txn.get_awaited::<Stream>(key)?;
        ids.push(match id {
            b"$" => stream.map_or(Id::MIN, Stream::last_id),
            b"+" => stream.and_then(Stream::last).and_then(|last| last.id.previous()).unwrap_or_default(),
            b">" => {
                return Err(CommandError::text(
                    "ERR The > ID can be specified only when calling XREADGROUP using the GROUP <group> <consumer> \
                     option.",
                )
                .into());
            }
            _ => Id::parse(id, 0)?,
        });
    }
    let mut found = Vec::new();
    for (key, id) in request.keys.iter().zip(&ids) {
        let Some((stream, from)) = txn.get_awaited::<Stream>(key)?.zip(id.next()) else { continue };
        let entries = stream.range(from, Id::MAX).take(request.count).map(|entry| entry_reply(&entry));
        let entries: Vec<_> = entries.take_while(|entry| request.room.takes(entry)).collect();
        if !entries.is_empty() {
            found.push((Reply::bulk(key), Reply::Array(entries)));
        }
    }
    if found.is_empty() { request.nothing(txn, Some(ids)) } else { Ok(Reply::Keyed(found)) }
}

/// What a read of a group will show and change in one stream.
struct Plan {
    /// None where there is nothing new.
    entries: Option<Vec<Reply>>,
    changes: Vec<Change>,
    /// Whether something passes from another consumer.
    claims: bool,
    makes_consumer: bool,
}

pub(super) fn xreadgroup(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut request = Request::of(txn, args, true)?;
    let ids = request.streams().map(|(key, id)| asked(txn, &request, key, id)).collect::<Result<Vec<_>, _>>()?;
    for (key, id) in request.keys.iter().zip(&ids) {
        if id.is_none() && !request.no_ack {
            check_pending(txn, &request, key)?;
        }
    }
    let mut found = Vec::new();
    // That something pending was shown once more is nothing that INFO counts.
    let mut slight = true;
    for (key, id) in request.keys.iter().zip(ids) {
        // One by one: whoever names a stream twice sees the second time what the first has left.
        let Plan { entries, changes, makes_consumer, .. } = plan(txn, &mut request, key, id)?;
        slight &= id.is_some() && !makes_consumer;
        super::apply(txn, key, changes)?;
        announce_consumer(txn, key, makes_consumer);
        found.extend(entries.map(|entries| (Reply::bulk(key), Reply::Array(entries))));
    }
    txn.slight = slight;
    if found.is_empty() { request.nothing(txn, None) } else { Ok(Reply::Keyed(found)) }
}

/// What is asked of one stream, whose group must be there: what is pending above an id, or, as none, what is new.
fn asked(txn: &mut Txn<'_>, request: &Request<'_>, key: &[u8], id: &[u8]) -> Result<Option<Id>, Stop> {
    let (group, _) = request.group.unwrap_or_default();
    if txn.get::<Stream>(key)?.and_then(|stream| stream.group(group)).is_none() {
        let missing = super::no_group(key, group);
        return Err(CommandError::from(format!("{missing} in XREADGROUP with GROUP option")).into());
    }
    match id {
        b">" => Ok(None),
        b"$" | b"+" => {
            let sign = char::from(id[0]);
            Err(CommandError::from(format!(
                "ERR The {sign} ID is meaningless in the context of XREADGROUP: you want to read the history of this \
                 consumer by specifying a proper ID, or use the > ID to get new messages. The {sign} ID would just return \
                 an empty result set."
            ))
            .into())
        }
        _ => Ok(Some(Id::parse(id, 0)?)),
    }
}

fn plan(txn: &mut Txn<'_>, request: &mut Request<'_>, key: &[u8], id: Option<Id>) -> Result<Plan, Stop> {
    let now_ms = txn.now_ms();
    // Clients of the REST protocol that never acknowledge expect to leave no consumer behind.
    let passes_by = request.no_ack && txn.client().door == Door::Rest;
    let (name, consumer) = request.group.unwrap_or_default();
    let (stream, group) = super::group_of(txn, key, name)?;
    let mut plan = match id {
        Some(id) => history(request, stream, group, id, now_ms),
        None => new_entries(request, stream, group, now_ms),
    };
    // What is passed on to it is pending with it, whatever it said.
    let takes = id.is_none() && (plan.claims || (plan.entries.is_some() && !request.no_ack));
    if plan.claims || !(passes_by && group.consumer(consumer).is_none()) {
        let (visit, new) = visit(group, name, consumer, now_ms, takes);
        plan.makes_consumer = new;
        plan.changes.splice(0..0, visit);
    }
    Ok(plan)
}

/// What is pending with a consumer above an id. Entries that are gone show as nothing.
fn history(request: &mut Request<'_>, stream: &Stream, group: &ConsumerGroup, id: Id, now_ms: u64) -> Plan {
    let (name, consumer) = request.group.unwrap_or_default();
    let (mut entries, mut deliveries) = (Vec::new(), Vec::new());
    let known = group.consumer(consumer).zip(id.next());
    let pending = known.into_iter().flat_map(|(consumer, from)| consumer.pending(from));
    for id in pending.take(request.count) {
        let entry = stream.entry(id);
        let gone = || Reply::Array(vec![Reply::Bulk(id.text()), Reply::NullArray]);
        let shown = entry.as_ref().map_or_else(gone, entry_reply);
        if !request.room.takes(&shown) {
            break;
        }
        entries.push(shown);
        if entry.is_some() {
            let count = once_more(group.delivery(id).map_or(0, |delivery| delivery.count));
            deliveries.push((id, Some(Delivery::to(consumer, now_ms, count))));
        }
    }
    let changes = if deliveries.is_empty() { Vec::new() } else { vec![Change::pending(name, deliveries)] };
    Plan { entries: Some(entries), changes, claims: false, makes_consumer: false }
}

/// An entry with for how long it was left, and how often it was delivered before.
fn claimed_reply(entry: &Entry<'_>, idle_ms: u64, count: u64) -> Reply {
    let Reply::Array(mut words) = entry_reply(entry) else { return Reply::Null };
    words.extend([idle_ms, count].map(|number| Reply::Integer(number as i64)));
    Reply::Array(words)
}

/// What others have left for long, the longest first, and nobody's before that: the entries to show, and what becomes of them.
/// Those that are gone are pending no longer.
fn claims(
    request: &mut Request<'_>,
    stream: &Stream,
    group: &ConsumerGroup,
    now_ms: u64,
) -> (Vec<Reply>, BTreeMap<Id, Option<Delivery>>) {
    let (mut entries, mut deliveries) = (Vec::new(), BTreeMap::new());
    let (Some(idle_ms), Some((_, consumer))) = (request.claim_ms, request.group) else { return (entries, deliveries) };
    for (id, delivery) in group.by_age().take_while(|(_, delivery)| delivery.is_left_for(idle_ms, now_ms)) {
        if entries.len() >= request.count {
            break;
        }
        let Some(entry) = stream.entry(id) else {
            deliveries.insert(id, None);
            continue;
        };
        let shown = claimed_reply(&entry, delivery.idle_ms(now_ms).unwrap_or(now_ms), delivery.count);
        if !request.room.takes(&shown) {
            break;
        }
        entries.push(shown);
        deliveries.insert(id, Some(Delivery::to(consumer, now_ms, once_more(delivery.count))));
    }
    (entries, deliveries)
}

/// What a group has not read yet, if there is anything, behind what others have left.
fn new_entries(request: &mut Request<'_>, stream: &Stream, group: &ConsumerGroup, now_ms: u64) -> Plan {
    let (name, consumer) = request.group.unwrap_or_default();
    let (mut entries, mut deliveries) = claims(request, stream, group, now_ms);
    let claims = deliveries.values().any(Option::is_some);
    let mut ids = Vec::new();
    let (mut last, mut read) = (group.last_id, group.read);
    let new = last.next().into_iter().flat_map(|from| stream.range(from, Id::MAX));
    for entry in new.take(request.count - entries.len()) {
        let claims = request.claim_ms.is_some();
        let shown = if claims { claimed_reply(&entry, 0, 0) } else { entry_reply(&entry) };
        if !request.room.takes(&shown) {
            break;
        }
        read = stream.read_on(read, last, entry.id);
        last = entry.id;
        ids.push(entry.id);
        entries.push(shown);
    }
    let moves = !ids.is_empty();
    if !request.no_ack {
        // An entry that a group reads anew is delivered anew.
        deliveries.extend(ids.into_iter().map(|id| (id, Some(Delivery::to(consumer, now_ms, 1)))));
    }
    let mut changes = Vec::new();
    if !deliveries.is_empty() {
        changes.push(Change::pending(name, deliveries));
    }
    if moves {
        changes.push(Change::cursor(name, last, read));
    }
    Plan { entries: (!entries.is_empty()).then_some(entries), changes, claims, makes_consumer: false }
}

/// Whoever only reads and never acknowledges is stopped some day.
fn check_pending(txn: &mut Txn<'_>, request: &Request<'_>, key: &[u8]) -> Result<(), Stop> {
    let limit = txn.hub().limits.pending_max;
    let (name, consumer) = request.group.unwrap_or_default();
    let (stream, group) = super::group_of(txn, key, name)?;
    let current = group.consumer(consumer).map_or(0, super::group::Consumer::pending_count);
    // Most often there is room for all there is, and nobody needs to count.
    if (current as u64).saturating_add(stream.len().min(request.count as u64)) <= limit as u64 {
        return Ok(());
    }
    let new = group.last_id.next().into_iter().flat_map(|from| stream.range(from, Id::MAX));
    let more = new.take(request.count).count();
    if current + more <= limit {
        return Ok(());
    }
    let text = String::from_utf8_lossy;
    Err(CommandError::from(format!(
        "ERR XReadGroup is cancelled. Pending Entries List limit per consumer is about to be reached. Limit: {limit}, \
         Current PEL size: {current}, Requested Read: {more}, Key: {}, Group: {}, Consumer: {}.",
        text(key),
        text(name),
        text(consumer)
    ))
    .into())
}
