//! Sets: distinct members.
//!
//! A small set is a list in the order its members were first added, so it reads back as it was written; a large one is a
//! map that can be scanned (see `collection.rs`). A set vanishes with its last member.
//!
//! Commands over several sets look at every key's type before they compute anything, as Redis does, and compute the whole
//! result before they store it, so the destination may be one of the sources. What chance chose (`SPOP`) is recorded as the
//! members that left, never as the draw.

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};
use hashbrown::HashSet;

use crate::args::{Options, is, positive};
use crate::codec::{Corrupt, Reader};
use crate::command::{Command, Group, Needs, command};
use crate::hub::Event;
use crate::scan_map::Cursor;
use crate::settings::Encodings;
use crate::txn::{Deadline, Outcome, Stop, Txn};
use crate::types::collection::{self, Collection, Draw, ScanOptions, parse_cursor, scan_reply};
use crate::value::{Kind, Tagged};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    set("SADD",        -3, sadd)       .writes().key(1).fast().grows()    .blind().adds().doc("1.0.0", "Adds members; counts the new ones."),
    set("SREM",        -3, srem)       .writes().key(1).fast()            .blind().removes().doc("1.0.0", "Removes members; counts those that were there."),
    set("SCARD",        2, scard)      .reads() .key(1).fast()            .peeks().doc("1.0.0", "How many members there are."),
    set("SISMEMBER",    3, sismember)  .reads() .key(1).fast()            .peeks().doc("1.0.0", "Whether a member is there."),
    set("SMISMEMBER",  -3, smismember) .reads() .key(1).fast()            .doc("6.2.0", "Whether each of several members is there."),
    set("SMEMBERS",     2, smembers)   .reads() .key(1)                   .doc("1.0.0", "Every member."),
    set("SMOVE",        4, smove)      .writes().keys(1, 2, 1).fast()     .needs(Needs::ReadWrite, Needs::Write).adds().removes().doc("1.0.0", "Moves a member from one set to another."),
    set("SPOP",        -2, spop)       .writes().key(1).fast()            .removes().doc("1.0.0", "Removes random members and returns them."),
    set("SRANDMEMBER", -2, srandmember).reads() .key(1)                   .doc("1.0.0", "Random members."),
    set("SINTER",      -2, sinter)     .reads() .keys(1, -1, 1)           .doc("1.0.0", "The members that all of several sets have."),
    set("SUNIONCARD",  -3, sunioncard) .reads() .count_at(1)              .doc("8.10.0", "How many members several sets have together, counted up to a limit."),
    set("SINTERCARD",  -3, sintercard) .reads() .count_at(1)              .doc("7.0.0", "How many members all of several sets have, counted up to a limit."),
    set("SINTERSTORE", -3, sinterstore).writes().keys(1, -1, 1).grows()   .needs(Needs::Write, Needs::Read).overwrites().doc("1.0.0", "Stores the members that all of several sets have."),
    set("SUNION",      -2, sunion)     .reads() .keys(1, -1, 1)           .doc("1.0.0", "The members that any of several sets has."),
    set("SUNIONSTORE", -3, sunionstore).writes().keys(1, -1, 1).grows()   .needs(Needs::Write, Needs::Read).overwrites().doc("1.0.0", "Stores the members that any of several sets has."),
    set("SDIFF",       -2, sdiff)      .reads() .keys(1, -1, 1)           .doc("1.0.0", "The members of one set that none of the others has."),
    set("SDIFFSTORE",  -3, sdiffstore) .writes().keys(1, -1, 1).grows()   .needs(Needs::Write, Needs::Read).overwrites().doc("1.0.0", "Stores the members of one set that none of the others has."),
    set("SSCAN",       -3, sscan)      .reads() .key(1)                   .doc("2.8.0", "Walks the members in steps."),
];

const fn set(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::Set)
}

/// Longest text of an integer.
const INTEGER_BYTES_MAX: usize = 20;

/// See the module's text.
#[derive(Clone, Debug)]
pub struct Set {
    members: Collection<()>,
    /// Most members that Redis keeps as integers.
    integers_max: u32,
    /// Whether it has had a member that is none, or too many: then Redis keeps it in another form for good.
    mixed: bool,
}

impl Default for Set {
    fn default() -> Self {
        Self::with_expected(0)
    }
}

type Change = collection::Change<()>;

impl Set {
    fn with_expected(count: usize) -> Self {
        let Encodings { set, integers_max, .. } = Encodings::DEFAULT;
        Self { members: Collection::with_expected(count, set), integers_max, mixed: false }
    }

    /// How many members there are.
    pub fn len(&self) -> usize {
        self.members.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Whether a member is there.
    pub fn contains(&self, member: &[u8]) -> bool {
        self.members.get(member).is_some()
    }

    /// Every member; in the order they were first added while the set is small.
    pub fn iter(&self) -> impl Iterator<Item = &Blob> {
        self.members.iter().map(|(member, ())| member)
    }

    /// Redis makes a hash table of integers that are too many, whatever else would do.
    fn keep_integers_few(&mut self) {
        if !self.mixed && self.len() > self.integers_max as usize {
            self.mixed = true;
            self.members.grow_large();
        }
    }

    /// The encoding as `OBJECT ENCODING` names it.
    pub const fn encoding(&self) -> &'static str {
        match () {
            () if !self.mixed => "intset",
            () if self.members.is_small() => "listpack",
            () => "hashtable",
        }
    }
}

impl FromIterator<Blob> for Set {
    fn from_iter<I: IntoIterator<Item = Blob>>(members: I) -> Self {
        let members = members.into_iter();
        let mut set = Self::with_expected(members.size_hint().0);
        members.for_each(|member| drop(set.apply(add(member))));
        set
    }
}

/// Whether Redis would keep a member as an integer.
fn is_integer(member: &[u8]) -> bool {
    member.len() <= INTEGER_BYTES_MAX && parse_integer(member).is_some()
}

const fn add(member: Blob) -> Change {
    Change::Set { name: member, payload: () }
}

const fn remove(member: Blob) -> Change {
    Change::Remove { name: member }
}

impl Kind for Set {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        if let (false, Change::Set { name, .. } | Change::Restore { name, .. }) = (self.mixed, &change) {
            self.mixed = !is_integer(name);
        }
        // Adding what is there changes nothing, and so does its inverse.
        let inverse = self.members.apply(change);
        self.keep_integers_few();
        inverse
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        change.write(out);
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        Change::read(input)
    }

    fn write(&self, out: &mut Vec<u8>) {
        self.members.write(out);
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let members = Collection::read(input, Encodings::DEFAULT.set)?;
        let integers_max = Encodings::DEFAULT.integers_max;
        let mixed = members.len() > integers_max as usize || !members.iter().all(|(member, ())| is_integer(member));
        Ok(Self { members, integers_max, mixed })
    }

    fn is_void(&self) -> bool {
        self.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        self.members.memory_bytes()
    }

    fn adapt(&mut self, encodings: &Encodings) {
        self.members.adapt(encodings.set);
        self.integers_max = encodings.integers_max;
        self.keep_integers_few();
    }

    fn canonical(&self) -> String {
        let mut members: Vec<_> = self.iter().map(|member| format!("{member:?}")).collect();
        members.sort();
        members.join(" ")
    }
}

fn sadd(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    add_members(txn, args[1], &args[2..]).map(Reply::count)
}

/// Adds members and says so; how many are new.
fn add_members(txn: &mut Txn<'_>, key: &[u8], members: Args<'_>) -> Result<usize, Stop> {
    // An edit alone counts as a change, so there is none before something is known to be new.
    if let Some(set) = txn.get::<Set>(key)?
        && members.iter().all(|member| set.contains(member))
    {
        return Ok(0);
    }
    let mut edit = txn.edit::<Set>(key)?;
    let before = edit.len();
    for member in members {
        if !edit.contains(member) {
            edit.apply(add(Blob::from(*member)));
        }
    }
    let added = edit.len() - before;
    drop(edit);
    txn.notify(Event::Set, "sadd", key);
    Ok(added)
}

fn srem(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    remove_members(txn, args[1], args[2..].iter().copied(), "srem").map(Reply::count)
}

/// Removes members and says so; how many were there.
fn remove_members<'a>(
    txn: &mut Txn<'_>,
    key: &[u8],
    members: impl Iterator<Item = &'a [u8]> + Clone,
    event: &'static str,
) -> Result<usize, Stop> {
    let set = txn.get::<Set>(key)?;
    if !set.is_some_and(|set| members.clone().any(|member| set.contains(member))) {
        return Ok(0);
    }
    let mut edit = txn.edit::<Set>(key)?;
    let before = edit.len();
    for member in members {
        if edit.contains(member) {
            edit.apply(remove(Blob::from(member)));
        }
    }
    let (removed, emptied) = (before - edit.len(), edit.is_empty());
    drop(edit);
    txn.notify(Event::Set, event, key);
    if emptied {
        txn.notify(Event::Generic, "del", key);
    }
    Ok(removed)
}

fn scard(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<Set>(args[1])?.map_or(0, Set::len)))
}

fn sismember(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::flag(txn.get::<Set>(args[1])?.is_some_and(|set| set.contains(args[2]))))
}

fn smismember(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let set = txn.get::<Set>(args[1])?;
    let there = |member: &&[u8]| Reply::flag(set.is_some_and(|set| set.contains(member)));
    Ok(Reply::Array(args[2..].iter().map(there).collect()))
}

fn smembers(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let set = txn.get::<Set>(args[1])?;
    Ok(reply(set.into_iter().flat_map(Set::iter).cloned()))
}

/// Distinct members as a reply.
fn reply(members: impl IntoIterator<Item = Blob>) -> Reply {
    Reply::Set(members.into_iter().map(Reply::Bulk).collect())
}

fn smove(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (source, destination, member) = (args[1], args[2], args[3]);
    // Without a source, Redis does not look at the destination.
    let Some(set) = txn.get::<Set>(source)? else {
        return Ok(Reply::flag(false));
    };
    let there = set.contains(member);
    txn.get::<Set>(destination)?;
    if there && source != destination {
        remove_members(txn, source, std::iter::once(member), "srem")?;
        add_members(txn, destination, &[member])?;
    }
    Ok(Reply::flag(there))
}

fn spop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let key = args[1];
    let mut random = txn.random();
    let count = match &args[2..] {
        [] => None,
        [count] => Some(pop_count(count)?),
        _ => return Err(CommandError::Syntax.into()),
    };
    let Some(set) = txn.get::<Set>(key)? else {
        return Ok(if count.is_some() { reply([]) } else { Reply::Null });
    };
    let Some(count) = count else {
        let Some(member) = set.members.random(&mut random).map(|(member, ())| member.clone()) else {
            return Ok(Reply::Null);
        };
        remove_members(txn, key, std::iter::once(member.as_slice()), "spop")?;
        return Ok(Reply::Bulk(member));
    };
    let drains = count >= set.len();
    let drawn = set.members.draw(Draw::Distinct(count), &mut random);
    let drawn: Vec<Blob> = drawn.into_iter().map(|(member, ())| member.clone()).collect();
    if drains {
        // One effect says the same as one for each member.
        txn.delete(key)?;
        txn.notify(Event::Set, "spop", key);
        txn.notify(Event::Generic, "del", key);
    } else {
        remove_members(txn, key, drawn.iter().map(Blob::as_slice), "spop")?;
    }
    Ok(reply(drawn))
}

/// How many members `SPOP` removes; none is fine.
fn pop_count(arg: &[u8]) -> Result<usize, CommandError> {
    let count = parse_integer(arg).and_then(|count| usize::try_from(count).ok());
    count.ok_or(CommandError::MustBePositive)
}

fn srandmember(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut random = txn.random();
    let draw = match &args[2..] {
        [] => None,
        [count] => Some(Draw::parse(count)?),
        _ => return Err(CommandError::Syntax.into()),
    };
    let set = txn.get::<Set>(args[1])?;
    let Some(draw) = draw else {
        let drawn = set.and_then(|set| set.members.random(&mut random));
        return Ok(Reply::maybe(drawn.map(|(member, ())| member.clone())));
    };
    let drawn = set.map(|set| set.members.draw(draw, &mut random)).unwrap_or_default();
    Ok(Reply::bulks(drawn.into_iter().map(|(member, ())| member.clone())))
}

fn sinter(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(reply(inter(txn, &args[1..], usize::MAX)?))
}

/// `numkeys key … [LIMIT limit]`, and words that mean nothing here: the keys, and how far to count.
fn counted<'a>(args: Args<'a>, ignored: &[&str]) -> Result<(Args<'a>, usize), CommandError> {
    let count = positive(args[1], "ERR numkeys should be greater than 0")?;
    let Some((keys, rest)) = args[2..].split_at_checked(count) else {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    };
    let mut options = Options::new(rest);
    let mut limit = 0;
    while let Some(word) = options.next() {
        if is(word, "LIMIT") {
            let value = parse_integer(options.value()?).and_then(|limit| usize::try_from(limit).ok());
            limit = value.ok_or(CommandError::text("ERR LIMIT can't be negative"))?;
        } else if !ignored.iter().any(|known| is(word, known)) {
            return Err(CommandError::Syntax);
        }
    }
    Ok((keys, if limit == 0 { usize::MAX } else { limit }))
}

fn sintercard(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (keys, limit) = counted(args, &[])?;
    Ok(Reply::count(inter(txn, keys, limit)?.len()))
}

/// Exactly, also where an estimate would do.
fn sunioncard(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (keys, limit) = counted(args, &["APPROX"])?;
    let mut seen = HashSet::new();
    for member in sets(txn, keys)?.into_iter().flatten().flat_map(Set::iter) {
        if seen.len() >= limit {
            break;
        }
        seen.insert(member.as_slice());
    }
    Ok(Reply::count(seen.len()))
}

fn sinterstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let members = inter(txn, &args[2..], usize::MAX)?;
    store(txn, args[1], members, "sinterstore")
}

fn sunion(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(reply(union(txn, &args[1..])?))
}

fn sunionstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let members = union(txn, &args[2..])?;
    store(txn, args[1], members, "sunionstore")
}

fn sdiff(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(reply(diff(txn, &args[1..])?))
}

fn sdiffstore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let members = diff(txn, &args[2..])?;
    store(txn, args[1], members, "sdiffstore")
}

/// The sets at several keys, once all are known to be sets.
fn sets<'t>(txn: &'t mut Txn<'_>, keys: Args<'_>) -> Result<Vec<Option<&'t Set>>, Stop> {
    for key in keys {
        txn.get::<Set>(key)?;
    }
    let txn = &*txn;
    Ok(keys.iter().map(|key| txn.peek_as::<Set>(key)).collect::<Result<_, _>>()?)
}

/// At most `limit` members that all sets have.
fn inter(txn: &mut Txn<'_>, keys: Args<'_>, limit: usize) -> Result<Vec<Blob>, Stop> {
    // A missing key is an empty set, and so is any intersection with one.
    let Some(mut sets) = sets(txn, keys)?.into_iter().collect::<Option<Vec<_>>>() else {
        return Ok(Vec::new());
    };
    sets.sort_by_key(|set| set.len());
    let Some((smallest, others)) = sets.split_first() else {
        return Ok(Vec::new());
    };
    let common = smallest.iter().filter(|member| others.iter().all(|set| set.contains(member)));
    Ok(common.take(limit).cloned().collect())
}

/// The members that any set has, in the order they are met.
fn union(txn: &mut Txn<'_>, keys: Args<'_>) -> Result<Vec<Blob>, Stop> {
    let mut seen = HashSet::new();
    let members = sets(txn, keys)?.into_iter().flatten().flat_map(Set::iter);
    Ok(members.filter(|member| seen.insert(member.as_slice())).cloned().collect())
}

/// The members of the first set that no other has.
fn diff(txn: &mut Txn<'_>, keys: Args<'_>) -> Result<Vec<Blob>, Stop> {
    let sets = sets(txn, keys)?;
    let Some((Some(first), others)) = sets.split_first() else {
        return Ok(Vec::new());
    };
    let mut others: Vec<&Set> = others.iter().copied().flatten().collect();
    // The largest is the likeliest to have a member, which ends the search for it.
    others.sort_by_key(|set| std::cmp::Reverse(set.len()));
    let alone = first.iter().filter(|member| !others.iter().any(|set| set.contains(member)));
    Ok(alone.cloned().collect())
}

/// Stores distinct members at a key, whatever it held, and says so; how many they are.
fn store(txn: &mut Txn<'_>, key: &[u8], members: Vec<Blob>, event: &'static str) -> Outcome {
    if members.is_empty() {
        if txn.delete(key)? {
            txn.notify(Event::Generic, "del", key);
        }
        return Ok(Reply::count(0));
    }
    let set: Set = members.into_iter().collect();
    if set.memory_bytes() > txn.hub().limits.record_bytes_max {
        return Err(CommandError::RecordTooLarge.into());
    }
    let count = set.len();
    txn.put(key, set.into_value(), Deadline::Clear)?;
    txn.notify(Event::Set, event, key);
    Ok(Reply::count(count))
}

fn sscan(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let cursor = parse_cursor(args[2])?;
    // Redis does not look at the options of a scan of nothing.
    let Some(set) = txn.get::<Set>(args[1])? else {
        return Ok(scan_reply(Cursor(0), Vec::new()));
    };
    let options = ScanOptions::parse(&args[3..], false)?;
    let (next, page) = set.members.scan(cursor, options.count);
    let wanted = page.into_iter().filter(|(member, ())| options.wants(member));
    Ok(scan_reply(next, wanted.map(|(member, ())| Reply::Bulk(member.clone())).collect()))
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;
    use crate::types::collection::REPEATED_DRAWS_MAX;

    fn members(words: &[&str]) -> Reply {
        reply(words.iter().map(|word| Blob::from(word.as_bytes())))
    }

    /// The texts in a reply, sorted.
    fn texts(reply: Reply) -> Vec<String> {
        let (Reply::Set(items) | Reply::Array(items)) = reply else { panic!("{reply:?}") };
        let mut texts: Vec<_> = items
            .into_iter()
            .map(|item| match item {
                Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
                other => panic!("{other:?}"),
            })
            .collect();
        texts.sort();
        texts
    }

    #[test]
    fn small_sets_keep_their_order() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("SADD s c a b a"), Reply::Integer(3));
        assert_eq!(bench.run("SADD s b"), Reply::Integer(0));
        assert_eq!(bench.run("SMEMBERS s"), members(&["c", "a", "b"]));
        assert_eq!(bench.run("SREM s a nope a"), Reply::Integer(1));
        assert_eq!(bench.run("SMEMBERS s"), members(&["c", "b"]));
        assert_eq!(bench.run("SISMEMBER s b"), Reply::Integer(1));
        assert_eq!(bench.run("SREM s b c"), Reply::Integer(2));
        assert_eq!(bench.size().0, 0);
    }

    #[test]
    fn moves_check_both_keys_unless_there_is_nothing_to_move() {
        let mut bench = Bench::new();
        bench.run("SADD s a b");
        bench.run("SET text v");
        assert_eq!(bench.run("SMOVE s t a"), Reply::Integer(1));
        assert_eq!(bench.run("SMOVE s t nope"), Reply::Integer(0));
        assert_eq!(bench.run("SMOVE s s b"), Reply::Integer(1));
        assert_eq!(bench.run("SMOVE missing text b"), Reply::Integer(0));
        assert!(bench.error("SMOVE s text nope").starts_with("WRONGTYPE"));
        assert_eq!(bench.run("SMOVE s t b"), Reply::Integer(1));
        assert_eq!(bench.run("SMEMBERS t"), members(&["a", "b"]));
        assert_eq!(bench.run("SCARD s"), Reply::Integer(0));
    }

    #[test]
    fn pops_remove_what_they_return() {
        let mut bench = Bench::new();
        let words: Vec<String> = (0..300).map(|n| n.to_string()).collect();
        bench.run(&format!("SADD s {}", words.join(" ")));
        let mut popped = Vec::new();
        for count in [1, 10, 90, 0, 150] {
            let page = texts(bench.run(&format!("SPOP s {count}")));
            assert_eq!(page.len(), count);
            popped.extend(page);
        }
        assert!(matches!(bench.run("SPOP s"), Reply::Bulk(_)));
        assert_eq!(texts(bench.run("SPOP s 1000")).len(), 48);
        assert_eq!(bench.size().0, 0);
        assert_eq!(popped.iter().collect::<BTreeSet<_>>().len(), 251);
        assert_eq!(bench.run("SPOP s"), Reply::Null);
        assert_eq!(bench.run("SPOP s 2"), members(&[]));
        assert_eq!(bench.error("SPOP s -1"), "ERR value is out of range, must be positive");
    }

    #[test]
    fn random_members_are_bounded() {
        let mut bench = Bench::new();
        bench.run("SADD s a b");
        assert_eq!(texts(bench.run("SRANDMEMBER s 5")), ["a", "b"]);
        assert_eq!(texts(bench.run("SRANDMEMBER s -5")).len(), 5);
        assert_eq!(bench.run("SRANDMEMBER missing -5"), Reply::Array(Vec::new()));
        let past = format!("SRANDMEMBER s -{}", REPEATED_DRAWS_MAX + 1);
        assert_eq!(bench.error(&past), "ERR value is out of range");
        assert!(bench.error(&format!("SRANDMEMBER s {}", i64::MIN)).ends_with("and 9223372036854775807"));
    }

    #[test]
    fn algebra_holds_with_missing_keys_and_a_source_as_destination() {
        let mut bench = Bench::new();
        bench.run("SADD a 1 2 3 4");
        bench.run("SADD b 3 4 5");
        bench.run("SET text v");
        assert_eq!(texts(bench.run("SINTER a b")), ["3", "4"]);
        assert_eq!(texts(bench.run("SUNION a missing b")), ["1", "2", "3", "4", "5"]);
        assert_eq!(texts(bench.run("SDIFF a b missing")), ["1", "2"]);
        assert_eq!(bench.run("SINTER a missing"), members(&[]));
        assert_eq!(bench.run("SDIFF missing a"), members(&[]));
        for line in ["SINTER missing text", "SUNION a text", "SDIFF missing text", "SINTERSTORE d missing text"] {
            assert!(bench.error(line).starts_with("WRONGTYPE"), "{line}");
        }
        assert_eq!(bench.run("SINTERCARD 2 a b LIMIT 1"), Reply::Integer(1));
        assert_eq!(bench.run("SUNIONCARD 2 a b LIMIT 1"), Reply::Integer(1));
        assert_eq!(bench.run("SDIFFSTORE a a b"), Reply::Integer(2));
        assert_eq!(bench.run("SUNIONSTORE text a b"), Reply::Integer(5));
        assert_eq!(bench.run("SINTERSTORE text text missing"), Reply::Integer(0));
        assert_eq!(bench.run("SCARD text"), Reply::Integer(0));
    }

    #[test]
    fn random_commands_agree_with_a_model() {
        let mut bench = Bench::new();
        let mut models = [BTreeSet::<String>::new(), BTreeSet::new()];
        let mut random = Random::new(5);
        for round in 0..2_500_u64 {
            let which = random.below(2) as usize;
            let member = format!("m{}", random.below(3 * u64::from(Encodings::DEFAULT.set.len_max)));
            let growing = round / 800 % 2 == 0;
            match random.below(if growing { 6 } else { 10 }) {
                0..=3 => {
                    let new = models[which].insert(member.clone());
                    assert_eq!(bench.run(&format!("SADD {which} {member}")), Reply::flag(new));
                }
                4 => {
                    let there = models[which].remove(&member);
                    models[1 - which].extend(there.then(|| member.clone()));
                    assert_eq!(bench.run(&format!("SMOVE {which} {} {member}", 1 - which)), Reply::flag(there));
                }
                5 => {
                    let popped = texts(bench.run(&format!("SPOP {which} 2")));
                    assert_eq!(popped.len(), models[which].len().min(2));
                    assert!(popped.iter().all(|member| models[which].remove(member)));
                }
                _ => {
                    let there = models[which].remove(&member);
                    assert_eq!(bench.run(&format!("SREM {which} {member}")), Reply::flag(there));
                }
            }
            assert_eq!(bench.run(&format!("SCARD {which}")), Reply::count(models[which].len()));
            if round % 50 == 0 {
                let [a, b] = &models;
                let sorted = |members: BTreeSet<&String>| members.into_iter().cloned().collect::<Vec<_>>();
                assert_eq!(texts(bench.run("SINTER 0 1")), sorted(a.intersection(b).collect()));
                assert_eq!(texts(bench.run("SUNION 0 1")), sorted(a.union(b).collect()));
                assert_eq!(texts(bench.run("SDIFF 0 1")), sorted(a.difference(b).collect()));
            }
        }
    }

    #[test]
    fn random_changes_survive_storage() {
        let (mut set, mut model, mut random) = (Set::default(), BTreeSet::new(), Random::new(8));
        for round in 0..4_000 {
            let member = Blob::from(random.below(350).to_string().as_bytes());
            if random.below(100) < if round / 1_000 % 2 == 0 { 75 } else { 30 } {
                model.insert(member.clone());
                set.apply(add(member));
            } else {
                model.remove(&member);
                let inverse = set.apply(remove(member.clone()));
                set.apply(inverse);
                set.apply(remove(member));
            }
            if round % 100 == 0 {
                let mut bytes = Vec::new();
                set.write(&mut bytes);
                set = Set::read(&mut Reader::new(&bytes)).unwrap();
            }
            assert_eq!(set.len(), model.len());
        }
        assert_eq!(set.iter().cloned().collect::<BTreeSet<_>>(), model);
    }

    /// The events are those redis-server 7.0.15 sends.
    #[test]
    fn events_are_announced_as_in_redis() {
        let mut bench = Bench::new();
        for (line, expected) in [
            ("SADD s a b", "sadd:s"),
            ("SADD s a", ""),
            ("SREM s nope", ""),
            ("SREM s a", "srem:s"),
            ("SREM s b", "srem:s del:s"),
            ("SADD s a b c d", "sadd:s"),
            ("SPOP s", "spop:s"),
            ("SPOP s 0", ""),
            ("SPOP s 2", "spop:s"),
            ("SPOP s 1", "spop:s del:s"),
            ("SADD s a b c", "sadd:s"),
            ("SPOP s 100", "spop:s del:s"),
            ("SADD s a", "sadd:s"),
            ("SPOP s", "spop:s del:s"),
            ("SADD s a b", "sadd:s"),
            ("SADD t a", "sadd:t"),
            ("SMOVE s t a", "srem:s"),
            ("SMOVE s t b", "srem:s del:s sadd:t"),
            ("SMOVE t t a", ""),
            ("SMOVE t u a", "srem:t sadd:u"),
            ("SINTERSTORE d t missing", ""),
            ("SUNIONSTORE d t u", "sunionstore:d"),
            ("SINTERSTORE d t u", "del:d"),
            ("SDIFFSTORE d t t", ""),
            ("SET d x", "set:d"),
            ("SINTERSTORE d missing t", "del:d"),
        ] {
            assert_eq!(bench.announced(line), expected, "{line}");
        }
    }

    #[test]
    fn very_many_members_at_once_are_fast_enough() {
        let mut bench = Bench::new();
        let texts: Vec<String> = (0..100_000).map(|n| format!("member:{n}")).collect();
        let mut args: Vec<&[u8]> = vec![b"SADD", b"s"];
        args.extend(texts.iter().map(String::as_bytes));
        assert_eq!(bench.run_args(&args), Reply::Integer(100_000));
        assert_eq!(bench.run("SUNIONSTORE t s s"), Reply::Integer(100_000));
    }
}
