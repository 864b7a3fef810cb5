//! XINFO: what there is to know of a stream, its groups and their consumers.

use dormouse_proto::{Args, Blob, CommandError, Reply};

use super::producers;
use super::{ConsumerGroup, Delivery, Id, Stream, entry_reply};
use crate::args::{Options, is};
use crate::client::Door;
use crate::txn::{Outcome, Txn};

/// Entries and pending entries that `FULL` shows unless told otherwise.
const FULL_COUNT: i64 = 10;

fn map(fields: Vec<(&'static str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

const fn number(value: u64) -> Reply {
    Reply::Integer(value as i64)
}

fn count_of(read: Option<u64>) -> Reply {
    read.map_or(Reply::Null, number)
}

pub(super) fn stream(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (now_ms, rules) = (txn.now_ms(), txn.hub().settings.idmp);
    let stream = txn.get::<Stream>(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let mut fields = basics(stream);
    fields.extend(producers::fields(stream, rules, now_ms));
    let Some(most) = full_count(args)? else {
        fields.extend(in_short(stream));
        return Ok(map(fields));
    };
    let entries = stream.range(Id::MIN, Id::MAX).take(most).map(|entry| entry_reply(&entry)).collect();
    let groups = stream.groups().map(|(name, group)| group_in_full(stream, name, group, most)).collect();
    fields.extend([("entries", Reply::Array(entries)), ("groups", Reply::Array(groups))]);
    Ok(map(fields))
}

/// How many entries to show in full; none for the short form.
fn full_count(args: Args<'_>) -> Result<Option<usize>, CommandError> {
    let mut options = Options::new(&args[3..]);
    let unknown = || {
        CommandError::from(format!(
            "ERR unknown subcommand or wrong number of arguments for '{}'. Try XINFO HELP.",
            String::from_utf8_lossy(args[1])
        ))
    };
    match options.rest() {
        [] => return Ok(None),
        [full] | [full, _, _] if is(full, "FULL") => drop(options.next()),
        _ => return Err(unknown()),
    }
    let mut count = FULL_COUNT;
    if let Some(word) = options.next() {
        if !is(word, "COUNT") {
            return Err(unknown());
        }
        count = options.integer()?;
        if count < 0 {
            count = FULL_COUNT;
        }
    }
    Ok(Some(super::count_or_all(count)))
}

fn basics(stream: &Stream) -> Vec<(&'static str, Reply)> {
    let position = stream.position();
    vec![
        ("length", number(stream.len())),
        ("radix-tree-keys", Reply::count(stream.nodes().len())),
        ("radix-tree-nodes", Reply::count(radix_nodes(stream))),
        ("last-generated-id", Reply::Bulk(position.last_id.text())),
        ("max-deleted-entry-id", Reply::Bulk(position.max_deleted.text())),
        ("entries-added", number(position.added)),
        ("recorded-first-entry-id", Reply::Bulk(stream.first_id().text())),
    ]
}

fn in_short(stream: &Stream) -> [(&'static str, Reply); 3] {
    [
        ("groups", Reply::count(stream.groups().len())),
        ("first-entry", stream.first().map_or(Reply::Null, |entry| entry_reply(&entry))),
        ("last-entry", stream.last().map_or(Reply::Null, |entry| entry_reply(&entry))),
    ]
}

/// How many nodes Redis's radix tree of the same keys has: one for each fork, each run without forks, and each end. The
/// keys are ids, most significant byte first.
fn radix_nodes(stream: &Stream) -> usize {
    let key = |id: &Id| (u128::from(id.ms) << 64 | u128::from(id.seq)).to_be_bytes();
    let keys: Vec<[u8; 16]> = stream.nodes().map(|(id, _)| key(id)).collect();
    if keys.is_empty() { 1 } else { radix_nodes_below(&keys, 0) }
}

/// The nodes for keys that are alike in their first `depth` bytes.
fn radix_nodes_below(keys: &[[u8; 16]], depth: usize) -> usize {
    let [first, .., last] = keys else {
        return if depth == 16 { 1 } else { 2 };
    };
    let alike = first.iter().zip(last).take_while(|(a, b)| a == b).count();
    let children = keys.chunk_by(|a, b| a[alike] == b[alike]);
    usize::from(alike > depth) + 1 + children.map(|keys| radix_nodes_below(keys, alike + 1)).sum::<usize>()
}

fn group_in_full(stream: &Stream, name: &Blob, group: &ConsumerGroup, most: usize) -> Reply {
    let pending = group.pending(Id::MIN).take(most).map(|(id, delivery)| {
        let [time, count] = delivered(delivery);
        Reply::Array(vec![
            Reply::Bulk(id.text()),
            Reply::Bulk(delivery.consumer.clone().unwrap_or_default()),
            time,
            count,
        ])
    });
    let consumers = group.consumers().map(|(name, consumer)| {
        let pending = consumer.pending(Id::MIN).take(most).filter_map(|id| {
            let [time, count] = delivered(group.delivery(id)?);
            Some(Reply::Array(vec![Reply::Bulk(id.text()), time, count]))
        });
        map(vec![
            ("name", Reply::Bulk(name.clone())),
            ("seen-time", number(consumer.times().seen_ms)),
            ("active-time", consumer.times().active_ms.map_or(Reply::Integer(-1), number)),
            ("pel-count", Reply::count(consumer.pending_count())),
            ("pending", Reply::Array(pending.collect())),
        ])
    });
    map(vec![
        ("name", Reply::Bulk(name.clone())),
        ("last-delivered-id", Reply::Bulk(group.last_id.text())),
        ("entries-read", count_of(group.read)),
        ("lag", stream.lag(group).map_or(Reply::Null, Reply::Integer)),
        ("pel-count", Reply::count(group.pending_count())),
        ("nacked-count", Reply::count(group.given_back().count())),
        ("pending", Reply::Array(pending.collect())),
        ("consumers", Reply::Array(consumers.collect())),
    ])
}

const fn delivered(delivery: &Delivery) -> [Reply; 2] {
    [number(if delivery.consumer.is_some() { delivery.at_ms } else { 0 }), number(delivery.count)]
}

pub(super) fn groups(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let stream = txn.get::<Stream>(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let groups = stream.groups().map(|(name, group)| {
        map(vec![
            ("name", Reply::Bulk(name.clone())),
            ("consumers", Reply::count(group.consumers().len())),
            ("pending", Reply::count(group.pending_count())),
            ("last-delivered-id", Reply::Bulk(group.last_id.text())),
            ("entries-read", count_of(group.read)),
            ("lag", stream.lag(group).map_or(Reply::Null, Reply::Integer)),
        ])
    });
    Ok(Reply::Array(groups.collect()))
}

/// A group that is missing has no consumers, as with Upstash; Redis has an error for it.
pub(super) fn consumers(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    // There a group that is missing has none.
    let over_rest = txn.client().door == Door::Rest;
    let now_ms = txn.now_ms();
    let stream = txn.get::<Stream>(args[2])?.ok_or(CommandError::NoSuchKey)?;
    let group = stream.group(args[3]);
    if group.is_none() && !over_rest {
        return Err(super::groups::no_such_group(args[2], args[3]).into());
    }
    let consumers = group.into_iter().flat_map(ConsumerGroup::consumers);
    let consumers = consumers.map(|(name, consumer)| {
        let since = |ms: u64| Reply::Integer(now_ms.saturating_sub(ms) as i64);
        map(vec![
            ("name", Reply::Bulk(name.clone())),
            ("pending", Reply::count(consumer.pending_count())),
            ("idle", since(consumer.times().seen_ms)),
            ("inactive", consumer.times().active_ms.map_or(Reply::Integer(-1), since)),
        ])
    });
    Ok(Reply::Array(consumers.collect()))
}
