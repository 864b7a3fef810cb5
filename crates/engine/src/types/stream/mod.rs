//! Streams: logs of entries, each with fields and values under an id that rises for ever, and groups that share the reading.
//!
//! | file | what |
//! |---|---|
//! | `id.rs` | ids as numbers and as text |
//! | `node.rs` | entries packed in runs of up to 100, as Redis packs them |
//! | `group.rs` | consumer groups and what is pending in them |
//! | `value.rs` | the stream itself, its changes and its bytes |
//! | `producers.rs` | what producers have sent, XCFGSET |
//! | `write.rs` | XADD, XTRIM, XDEL, XDELEX, XSETID |
//! | `read.rs` | XLEN, XRANGE, XREVRANGE, XREAD, XREADGROUP |
//! | `groups.rs` | XGROUP, XACK, XACKDEL |
//! | `claim.rs` | XPENDING, XCLAIM, XAUTOCLAIM, XNACK |
//! | `info.rs` | XINFO |
//!
//! A command finds out what to change first, checks everything that can fail, and edits only then: a blocked read is run
//! again and again, and a write that changes nothing leaves no trace in the log.

mod claim;
mod group;
mod groups;
mod id;
mod info;
mod node;
mod producers;
mod read;
mod value;
mod write;

#[cfg(test)]
mod tests;

use dormouse_proto::{Args, CommandError, Reply};

pub(crate) use self::group::{Delivery, Group as ConsumerGroup, Times};
pub(crate) use self::id::Id;
use self::node::Entry;
pub(crate) use self::node::{Node, REMOVED, SAME_FIELDS, pack};
pub(crate) use self::producers::{DURATION_S_MAX, NAMES_MAX, Name, Producers, Totals};
pub(crate) use self::value::{Change, Position, Stream};
use crate::args::is;
use crate::command::{Command, Group, command, container};
use crate::hub::Event;
use crate::txn::{Outcome, Stop, Txn};
use crate::types::standalone::help_of;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    stream("XADD",       -5, write::xadd)     .writes().key(1).fast().grows().blind().doc("5.0.0", "Appends an entry to a stream, which it may trim."),
    stream("XLEN",        2, read::xlen)      .reads() .key(1).fast()        .peeks().doc("5.0.0", "The number of entries of a stream."),
    stream("XRANGE",     -4, read::xrange)    .reads() .key(1)               .doc("5.0.0", "The entries in a range of ids."),
    stream("XREVRANGE",  -4, read::xrevrange) .reads() .key(1)               .doc("5.0.0", "The entries in a range of ids, from the last."),
    stream("XDEL",       -3, write::xdel)     .writes().key(1).fast()        .blind().removes().doc("5.0.0", "Removes entries of a stream."),
    stream("XDELEX",     -5, write::xdelex)   .writes().key(1).fast()        .blind().removes().doc("8.2.0", "Removes entries of a stream, with or without regard to the groups in which they are pending."),
    stream("XTRIM",      -4, write::xtrim)    .writes().key(1)               .blind().removes().doc("5.0.0", "Removes entries from the front of a stream until it is short enough."),
    stream("XSETID",     -3, write::xsetid)   .writes().key(1).fast().grows().blind().doc("5.0.0", "Sets the last id of a stream, and what it remembers of entries that are gone."),
    stream("XREAD",      -4, read::xread)     .reads() .streams_from(1).blocks().if_asked().doc("5.0.0", "The entries of streams above given ids; waits for one if asked to."),
    stream("XREADGROUP", -7, read::xreadgroup).writes().streams_from(4).blocks().if_asked().shows().doc("5.0.0", "New entries for a consumer of a group, or those pending with it; waits for one if asked to."),
    container("XGROUP", XGROUP).group(Group::Stream).doc("5.0.0", "Commands that manage consumer groups."),
    stream("XACK",       -4, groups::xack)    .writes().key(1).fast()        .blind().doc("5.0.0", "Ends the being pending of entries in a group."),
    stream("XACKDEL",    -6, groups::xackdel) .writes().key(1).fast()        .blind().removes().doc("8.2.0", "Ends the being pending of entries in a group and removes them."),
    stream("XPENDING",   -3, claim::xpending) .reads() .key(1)               .doc("5.0.0", "What is pending in a group: in sum, or entry by entry."),
    stream("XCLAIM",     -6, claim::xclaim)   .writes().key(1).fast()        .blind().doc("5.0.0", "Gives entries that are pending for long to another consumer."),
    stream("XAUTOCLAIM", -6, claim::xautoclaim).writes().key(1).fast()       .blind().removes().doc("6.2.0", "Finds entries that are pending for long and gives them to another consumer."),
    stream("XNACK",      -7, claim::xnack)    .writes().key(1).fast()        .blind().doc("8.8.0", "Gives entries that are pending back to their group, for others to take at once."),
    stream("XCFGSET",    -2, producers::xcfgset).writes().key(1).fast()     .blind().doc("8.6.0", "Sets for how long a stream remembers what producers sent, and how much."),
    stream("XIDMPRECORD", 5, producers::xidmprecord).writes().key(1).fast().grows().blind().doc("8.8.0", "Remembers an entry by the name its producer gave it."),
    container("XINFO", XINFO).group(Group::Stream).doc("5.0.0", "Commands that tell about streams."),
];

#[rustfmt::skip]
const XGROUP: &[Command] = &[
    stream("CREATE",         -5, groups::create)         .writes().key(2).grows().blind().adds().doc("5.0.0", "Makes a consumer group."),
    stream("SETID",          -5, groups::setid)          .writes().key(2)        .blind().doc("5.0.0", "Sets the last entry that a group has read."),
    stream("DESTROY",         4, groups::destroy)        .writes().key(2)        .blind().removes().doc("5.0.0", "Removes a consumer group."),
    stream("CREATECONSUMER",  5, groups::create_consumer).writes().key(2).grows().blind().adds().doc("6.2.0", "Makes a consumer in a group."),
    stream("DELCONSUMER",     5, groups::delete_consumer).writes().key(2)        .blind().removes().doc("5.0.0", "Removes a consumer and what is pending with it; how much that was."),
    stream("HELP",            2, help)                   .for_all()                      .doc("5.0.0", "What the sub-commands are."),
];

#[rustfmt::skip]
const XINFO: &[Command] = &[
    stream("HELP",       2, help)           .for_all()     .doc("5.0.0", "What the sub-commands are."),
    stream("STREAM",    -3, info::stream)   .reads().key(2).doc("5.0.0", "What there is to know of a stream, in short or in full."),
    stream("GROUPS",     3, info::groups)   .reads().key(2).doc("5.0.0", "The consumer groups of a stream."),
    stream("CONSUMERS",  4, info::consumers).reads().key(2).doc("5.0.0", "The consumers of a group."),
];

const fn stream(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::Stream)
}

/// What happens to an entry's being pending when the entry is removed (Redis 8.2).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Policy {
    /// It stays pending, as a name for something gone.
    #[default]
    KeepReferences,
    /// It is pending no longer, in no group.
    DeleteReferences,
    /// Only entries go that every group has read and acknowledged.
    Acknowledged,
}

impl Policy {
    fn parse(word: &[u8]) -> Option<Self> {
        match () {
            () if is(word, "KEEPREF") => Some(Self::KeepReferences),
            () if is(word, "DELREF") => Some(Self::DeleteReferences),
            () if is(word, "ACKED") => Some(Self::Acknowledged),
            () => None,
        }
    }
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

/// `[KEEPREF | DELREF | ACKED] IDS numids id [id …]`, in any order.
struct Listed<'a> {
    policy: Policy,
    /// As they were sent: Redis does not look at them where there is nothing to find.
    ids: Args<'a>,
}

impl<'a> Listed<'a> {
    fn parse(mut rest: Args<'a>) -> Result<Self, CommandError> {
        let (mut policy, mut texts) = (None, None);
        while let Some((word, after)) = rest.split_first() {
            rest = after;
            if let Some(parsed) = Policy::parse(word).filter(|_| policy.is_none()) {
                policy = Some(parsed);
            } else if is(word, "IDS") && texts.is_none() && !rest.is_empty() {
                let count = crate::args::positive(rest[0], "ERR Number of IDs must be a positive integer")?;
                let split = rest[1..].split_at_checked(count);
                let (ids, after) =
                    split.ok_or(CommandError::text("ERR The `numids` parameter must match the number of arguments"))?;
                (texts, rest) = (Some(ids), after);
            } else {
                return Err(CommandError::Syntax);
            }
        }
        Ok(Self { policy: policy.unwrap_or_default(), ids: texts.ok_or(CommandError::Syntax)? })
    }

    fn ids(&self) -> Result<Vec<Id>, CommandError> {
        self.ids.iter().map(|text| Id::parse(text, 0)).collect()
    }
}

/// Whether an entry is still wanted: pending in a group, or not read by one.
fn is_referenced(stream: &Stream, id: Id) -> bool {
    stream.groups().any(|(_, group)| id > group.last_id || group.delivery(id).is_some())
}

/// The changes that end the being pending of entries in every group.
fn without_references(stream: &Stream, ids: &[Id]) -> Vec<Change> {
    let in_group = |(name, group): (&dormouse_proto::Blob, &ConsumerGroup)| {
        let pending: Vec<_> = ids.iter().filter(|id| group.delivery(**id).is_some()).map(|id| (*id, None)).collect();
        (!pending.is_empty()).then(|| Change::pending(name, pending))
    };
    stream.groups().filter_map(in_group).collect()
}

/// An entry as replies show it.
fn entry_reply(entry: &Entry<'_>) -> Reply {
    let words = entry.words().into_iter().map(Reply::bulk).collect();
    Reply::Array(vec![Reply::Bulk(entry.id.text()), Reply::Array(words)])
}

/// A count after `COUNT`: what is not positive is no bound.
fn count_or_all(count: i64) -> usize {
    if count > 0 { count as usize } else { usize::MAX }
}

/// What a group lacks for a command about it: the key or the group.
fn no_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::from(format!(
        "NOGROUP No such key '{}' or consumer group '{}'",
        String::from_utf8_lossy(key),
        String::from_utf8_lossy(group)
    ))
}

/// A group of a stream, both of which must be there.
fn group_of<'t>(txn: &'t mut Txn<'_>, key: &[u8], group: &[u8]) -> Result<(&'t Stream, &'t ConsumerGroup), Stop> {
    let stream = txn.get::<Stream>(key)?;
    let found = stream.and_then(|stream| Some((stream, stream.group(group)?)));
    found.ok_or_else(|| no_group(key, group).into())
}

/// Names of groups and consumers are as long as keys may be: each delivery repeats the one or the other.
fn check_name(txn: &mut Txn<'_>, name: &[u8]) -> Result<(), CommandError> {
    let most = txn.hub().limits.key_bytes_max;
    if name.len() > most {
        let actual = name.len();
        let text =
            format!("ERR max name size of groups and consumers exceeded. Limit: {most} bytes, Actual: {actual} bytes");
        return Err(CommandError::from(text));
    }
    Ok(())
}

/// Applies changes to a stream that is there.
fn apply(txn: &mut Txn<'_>, key: &[u8], changes: impl IntoIterator<Item = Change>) -> Result<(), Stop> {
    let mut changes = changes.into_iter().peekable();
    if changes.peek().is_some() {
        let mut edit = txn.edit::<Stream>(key)?;
        changes.for_each(|change| edit.apply(change));
    }
    Ok(())
}

/// Notes that a consumer asked, and perhaps that it got something: the change to make for that, and whether it makes the
/// consumer. That one who is known has asked is no change.
fn visit(group: &ConsumerGroup, group_name: &[u8], name: &[u8], now_ms: u64, active: bool) -> (Option<Change>, bool) {
    let known = group.consumer(name);
    if let Some(consumer) = known {
        consumer.polls(now_ms);
        if !active {
            return (None, false);
        }
    }
    let times = Times { seen_ms: now_ms, active_ms: active.then_some(now_ms) };
    (Some(Change::consumer(group_name, name, Some(times))), known.is_none())
}

/// Announces a consumer that came to be by asking.
fn announce_consumer(txn: &mut Txn<'_>, key: &[u8], made: bool) {
    if made {
        txn.notify(Event::Stream, "xgroup-createconsumer", key);
    }
}
