//! XGROUP, XACK, XACKDEL: groups and consumers come and go, and entries are done with.

use dormouse_proto::{Args, Blob, CommandError, Reply};
use hashbrown::HashSet;

use super::{Change, ConsumerGroup, Id, Listed, Policy, Stream, Times};
use crate::args::{Options, integer, is};
use crate::hub::Event;
use crate::txn::{Outcome, Stop, Txn};

const NO_STREAM: CommandError = CommandError::text(
    "ERR The XGROUP subcommand requires the key to exist. Note that for CREATE you may want to use the MKSTREAM option \
     to create an empty stream automatically.",
);

/// What a group lacks for a sub-command about it.
pub(super) fn no_such_group(key: &[u8], group: &[u8]) -> CommandError {
    CommandError::from(format!(
        "NOGROUP No such consumer group '{}' for key name '{}'",
        String::from_utf8_lossy(group),
        String::from_utf8_lossy(key)
    ))
}

/// What follows the id of `XGROUP CREATE` and `SETID`.
#[derive(Default)]
struct GroupOptions {
    make_stream: bool,
    read: Option<u64>,
}

impl GroupOptions {
    /// How much the group has read of a stream: no more than that ever took.
    fn read(&self, stream: Option<&Stream>) -> Option<u64> {
        self.read.map(|read| read.min(stream.map_or(0, |stream| stream.position().added)))
    }
}

impl GroupOptions {
    fn parse(args: Args<'_>, creating: bool) -> Result<Self, CommandError> {
        let mut options = Options::new(&args[5..]);
        let mut parsed = Self::default();
        while let Some(word) = options.next() {
            match () {
                () if creating && is(word, "MKSTREAM") => parsed.make_stream = true,
                () if is(word, "ENTRIESREAD") && !options.rest().is_empty() => {
                    let read = integer(options.value()?)?;
                    if read < -1 {
                        return Err(CommandError::text("ERR value for ENTRIESREAD must be positive or -1"));
                    }
                    parsed.read = u64::try_from(read).ok();
                }
                () => {
                    return Err(CommandError::from(format!(
                        "ERR unknown subcommand or wrong number of arguments for '{}'. Try XGROUP HELP.",
                        String::from_utf8_lossy(args[1])
                    )));
                }
            }
        }
        Ok(parsed)
    }
}

/// A group that must be there, of a stream that must be there.
fn group_of<'t>(txn: &'t mut Txn<'_>, args: Args<'_>) -> Result<(&'t Stream, &'t ConsumerGroup), Stop> {
    let stream = txn.get::<Stream>(args[2])?.ok_or(NO_STREAM)?;
    let group = stream.group(args[3]).ok_or_else(|| no_such_group(args[2], args[3]))?;
    Ok((stream, group))
}

pub(super) fn create(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args[2], args[3]);
    let options = GroupOptions::parse(args, true)?;
    super::check_name(txn, name)?;
    let stream = txn.get::<Stream>(key)?;
    if stream.is_none() && !options.make_stream {
        return Err(NO_STREAM.into());
    }
    let last = stream.map_or(Id::MIN, Stream::last_id);
    let last_id = if args[4] == b"$" { last } else { Id::parse(args[4], 0)? };
    if stream.is_some_and(|stream| stream.group(name).is_some()) {
        return Err(CommandError::text("BUSYGROUP Consumer Group name already exists").into());
    }
    let read = options.read(stream);
    super::apply(txn, key, [Change::group(name, Some(ConsumerGroup::new(last_id, read)))])?;
    txn.notify(Event::Stream, "xgroup-create", key);
    Ok(Reply::OK)
}

pub(super) fn setid(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let options = GroupOptions::parse(args, false)?;
    let (stream, _) = group_of(txn, args)?;
    let last_id = if args[4] == b"$" { stream.last_id() } else { Id::parse_bound(args[4], 0)? };
    let read = options.read(Some(stream));
    super::apply(txn, args[2], [Change::cursor(args[3], last_id, read)])?;
    txn.notify(Event::Stream, "xgroup-setid", args[2]);
    Ok(Reply::OK)
}

pub(super) fn destroy(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let stream = txn.get::<Stream>(args[2])?.ok_or(NO_STREAM)?;
    if stream.group(args[3]).is_none() {
        return Ok(Reply::Integer(0));
    }
    super::apply(txn, args[2], [Change::group(args[3], None)])?;
    txn.notify(Event::Stream, "xgroup-destroy", args[2]);
    Ok(Reply::Integer(1))
}

pub(super) fn create_consumer(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    super::check_name(txn, args[4])?;
    let seen_ms = txn.now_ms();
    if group_of(txn, args)?.1.consumer(args[4]).is_some() {
        return Ok(Reply::Integer(0));
    }
    let times = Times { seen_ms, active_ms: None };
    super::apply(txn, args[2], [Change::consumer(args[3], args[4], Some(times))])?;
    txn.notify(Event::Stream, "xgroup-createconsumer", args[2]);
    Ok(Reply::Integer(1))
}

pub(super) fn delete_consumer(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let Some(consumer) = group_of(txn, args)?.1.consumer(args[4]) else {
        return Ok(Reply::Integer(0));
    };
    let pending: Vec<_> = consumer.pending(Id::MIN).map(|id| (id, None)).collect();
    let count = pending.len();
    let released = (count > 0).then(|| Change::pending(args[3], pending));
    super::apply(txn, args[2], released.into_iter().chain([Change::consumer(args[3], args[4], None)]))?;
    txn.notify(Event::Stream, "xgroup-delconsumer", args[2]);
    Ok(Reply::count(count))
}

pub(super) fn xack(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args[1], args[2]);
    let Some(group) = txn.get::<Stream>(key)?.and_then(|stream| stream.group(name)) else {
        return Ok(Reply::Integer(0));
    };
    let mut ids: Vec<Id> = args[3..].iter().map(|text| Id::parse(text, 0)).collect::<Result<_, _>>()?;
    ids.retain(|id| group.delivery(*id).is_some());
    ids.sort_unstable();
    ids.dedup();
    let count = ids.len();
    if count > 0 {
        super::apply(txn, key, [Change::pending(name, ids.into_iter().map(|id| (id, None)))])?;
    }
    Ok(Reply::count(count))
}

/// An entry that the group has read and acknowledged before counts as pending here: whoever acknowledges first and then
/// asks for both wants it gone.
pub(super) fn xackdel(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (key, name) = (args[1], args[2]);
    // Redis looks at the key before it looks at the words.
    txn.get::<Stream>(key)?;
    let listed = Listed::parse(&args[3..])?;
    let Some((stream, group)) = txn.get::<Stream>(key)?.and_then(|stream| Some((stream, stream.group(name)?))) else {
        return Ok(Reply::Array(vec![Reply::Integer(-1); listed.ids.len()]));
    };
    let (policy, ids) = (listed.policy, listed.ids()?);
    let (mut done, mut going) = (Vec::new(), Vec::new());
    // Those that went, or are no longer pending. One that was not found is not found again.
    let mut handled = HashSet::with_capacity(ids.len());
    let mut replies = Vec::with_capacity(ids.len());
    for id in ids {
        let pending = group.delivery(id).is_some();
        let read = id <= group.last_id && stream.entry(id).is_some();
        if handled.contains(&id) || !(pending || read) {
            replies.push(Reply::Integer(-1));
            continue;
        }
        if pending {
            done.push(id);
            handled.insert(id);
        }
        let elsewhere = |(other, group): (&Blob, &ConsumerGroup)| {
            other.as_slice() != name && (id > group.last_id || group.delivery(id).is_some())
        };
        let kept = policy == Policy::Acknowledged && stream.groups().any(elsewhere);
        if !kept {
            going.push(id);
            handled.insert(id);
        }
        replies.push(Reply::Integer(if kept { 2 } else { 1 }));
    }
    if !done.is_empty() {
        super::apply(txn, key, [Change::pending(name, done.into_iter().map(|id| (id, None)))])?;
    }
    super::write::delete(txn, key, &going, policy)?;
    Ok(Reply::Array(replies))
}
