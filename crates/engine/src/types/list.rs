//! Lists: sequences that are cheap at both ends.
//!
//! A list is a deque of byte strings with a running sum of the bytes behind them, so that pushing, popping, indexing and
//! accounting take constant time however long it is. It changes in five ways ([`Change`]): elements join or leave at the
//! ends, join or leave within, or one is replaced. What a command removes from within goes in one pass.
//!
//! A blocking command answers at once if there is something to pop. Otherwise it says what it waits for and is run again
//! as it was, so it must change nothing before it has found an element. An edit is begun only where a change follows:
//! a command that finds nothing to do leaves no trace in the log.

use std::collections::VecDeque;

use dormouse_proto::{Args, Blob, CommandError, Reply};
use smallvec::{SmallVec, smallvec};

use crate::args::{Options, integer, is, positive, timeout_ms};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::command::{Command, Group, Needs, command};
use crate::hub::Event;
use crate::keyspace::heap_bytes;
use crate::txn::{Block, Outcome, Stop, Txn};
use crate::value::Kind;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    list("LPUSH",      -3, lpush)     .writes().key(1).fast().grows().blind().adds().doc("1.0.0", "Puts elements at the front of a list."),
    list("RPUSH",      -3, rpush)     .writes().key(1).fast().grows().blind().adds().doc("1.0.0", "Puts elements at the back of a list."),
    list("LPUSHX",     -3, lpushx)    .writes().key(1).fast().grows().blind().adds().doc("2.2.0", "Puts elements at the front of a list that is there."),
    list("RPUSHX",     -3, rpushx)    .writes().key(1).fast().grows().blind().adds().doc("2.2.0", "Puts elements at the back of a list that is there."),
    list("LPOP",       -2, lpop)      .writes().key(1).fast()        .removes().doc("1.0.0", "Removes and returns elements from the front of a list."),
    list("RPOP",       -2, rpop)      .writes().key(1).fast()        .removes().doc("1.0.0", "Removes and returns elements from the back of a list."),
    list("LMPOP",      -4, lmpop)     .writes().count_at(1)          .removes().doc("7.0.0", "Removes and returns elements from the first list that is there."),
    list("LLEN",        2, llen)      .reads() .key(1).fast()        .peeks().doc("1.0.0", "The length of a list."),
    list("LINDEX",      3, lindex)    .reads() .key(1)               .doc("1.0.0", "The element at an index."),
    list("LRANGE",      4, lrange)    .reads() .key(1)               .doc("1.0.0", "The elements in a range of indexes."),
    list("LPOS",       -3, lpos)      .reads() .key(1)               .doc("6.0.6", "The indexes at which an element is found."),
    list("LSET",        4, lset)      .writes().key(1).grows()       .blind().doc("1.0.0", "Replaces the element at an index."),
    list("LINSERT",     5, linsert)   .writes().key(1).grows()       .blind().adds().doc("2.2.0", "Puts an element before or after another."),
    list("LREM",        4, lrem)      .writes().key(1)               .blind().removes().doc("1.0.0", "Removes elements that equal a value."),
    list("LTRIM",       4, ltrim)     .writes().key(1)               .blind().removes().doc("1.0.0", "Removes all elements outside a range of indexes."),
    list("LMOVE",       5, lmove)     .writes().keys(1, 2, 1).grows().needs(Needs::ReadWrite, Needs::Write).adds().removes().doc("6.2.0", "Moves an element from an end of one list to an end of another."),
    list("RPOPLPUSH",   3, rpoplpush) .writes().keys(1, 2, 1).grows().needs(Needs::ReadWrite, Needs::Write).adds().removes().doc("1.2.0", "Moves the last element of one list to the front of another."),
    list("BLPOP",      -3, blpop)     .writes().keys(1, -2, 1).blocks().removes().doc("2.0.0", "Removes and returns the first element of the first list that has one, or waits for one."),
    list("BRPOP",      -3, brpop)     .writes().keys(1, -2, 1).blocks().removes().doc("2.0.0", "Removes and returns the last element of the first list that has one, or waits for one."),
    list("BLMPOP",     -5, blmpop)    .writes().count_at(2).blocks() .removes().doc("7.0.0", "Removes and returns elements from the first list that has any, or waits for some."),
    list("BLMOVE",      6, blmove)    .writes().keys(1, 2, 1).grows().blocks().needs(Needs::ReadWrite, Needs::Write).adds().removes().doc("6.2.0", "Moves an element from an end of one list to an end of another, or waits for one."),
    list("BRPOPLPUSH",  4, brpoplpush).writes().keys(1, 2, 1).grows().blocks().needs(Needs::ReadWrite, Needs::Write).adds().removes().doc("2.2.0", "Moves the last element of one list to the front of another, or waits for one."),
];

const fn list(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::List)
}

/// A list gives room back when it fills less than one part in this many of it.
const SPARSE: usize = 4;
/// Room that is never worth giving back, in elements.
const ROOM_MIN: usize = 32;

/// The value of a list key; see the module's text.
#[derive(Clone, Debug, Default)]
pub struct List {
    items: VecDeque<Blob>,
    /// Bytes on the heap behind the elements.
    heap_bytes: usize,
}

/// Elements that join at one end, in the list's own order; most often one.
type Run = SmallVec<[Blob; 1]>;

/// One change of a list. `Extend` and `Trim` undo each other, `Insert` and `Remove` do, and `Set` undoes itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Elements join at the ends.
    Extend {
        /// Before the first element.
        front: Run,
        /// After the last.
        back: Run,
    },
    /// Elements leave at the ends.
    Trim {
        /// How many of the first.
        front: usize,
        /// How many of the last.
        back: usize,
    },
    /// An element is replaced.
    Set {
        /// Its index.
        index: usize,
        /// What stands there now.
        value: Blob,
    },
    /// Elements join, each with the index it will have when all of them have; rising.
    Insert(Vec<(usize, Blob)>),
    /// Elements leave; the indexes they have before any of them does, rising.
    Remove(Vec<usize>),
}

mod tag {
    pub(super) const EXTEND: u8 = 0;
    pub(super) const TRIM: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const INSERT: u8 = 3;
    pub(super) const REMOVE: u8 = 4;
}

impl List {
    /// How many elements there are.
    pub(crate) fn len(&self) -> usize {
        self.items.len()
    }

    /// Every element, from the front.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &Blob> {
        self.items.iter()
    }

    /// The element at Redis's index: negative ones count from the back.
    fn position(&self, index: i64) -> Option<usize> {
        let index = if index < 0 { index + self.len() as i64 } else { index };
        usize::try_from(index).ok().filter(|&at| at < self.len())
    }

    /// Redis's inclusive range with negative ends counted from the back, as a half-open range within the list.
    fn range(&self, start: i64, stop: i64) -> std::ops::Range<usize> {
        let length = self.len() as i64;
        let from_back = |at: i64| if at < 0 { (at + length).max(0) } else { at };
        let stop = if stop < 0 { stop + length } else { stop.min(length - 1) };
        let start = from_back(start);
        if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
    }

    /// Up to `count` elements in the order in which they are popped from an end.
    fn first(&self, end: End, count: usize) -> Vec<Blob> {
        match end {
            End::Left => self.items.iter().take(count).cloned().collect(),
            End::Right => self.items.iter().rev().take(count).cloned().collect(),
        }
    }

    fn count_in<'a>(&mut self, values: impl IntoIterator<Item = &'a Blob>) {
        self.heap_bytes += values.into_iter().map(|value| heap_bytes(value)).sum::<usize>();
    }

    fn count_out<'a>(&mut self, values: impl IntoIterator<Item = &'a Blob>) {
        let gone = values.into_iter().map(|value| heap_bytes(value)).sum();
        self.heap_bytes = self.heap_bytes.saturating_sub(gone);
    }

    fn extend(&mut self, front: Run, back: Run) -> Change {
        let inverse = Change::Trim { front: front.len(), back: back.len() };
        self.count_in(front.iter().chain(&back));
        for value in front.into_iter().rev() {
            self.items.push_front(value);
        }
        self.items.extend(back);
        inverse
    }

    fn trim(&mut self, front: usize, back: usize) -> Change {
        let front = front.min(self.len());
        let back = back.min(self.len() - front);
        let back: Run = self.items.drain(self.items.len() - back..).collect();
        let front: Run = self.items.drain(..front).collect();
        self.count_out(front.iter().chain(&back));
        self.give_back_room();
        Change::Extend { front, back }
    }

    fn set(&mut self, index: usize, value: Blob) -> Change {
        let Some(slot) = self.items.get_mut(index) else {
            return Change::Remove(Vec::new());
        };
        let (new, old) = (heap_bytes(&value), std::mem::replace(slot, value));
        self.heap_bytes = (self.heap_bytes + new).saturating_sub(heap_bytes(&old));
        Change::Set { index, value: old }
    }

    fn insert(&mut self, arrivals: Vec<(usize, Blob)>) -> Change {
        self.count_in(arrivals.iter().map(|(_, value)| value));
        let mut indexes = Vec::with_capacity(arrivals.len());
        if let [(index, value)] = &*arrivals {
            let index = (*index).min(self.len());
            self.items.insert(index, value.clone());
            return Change::Remove(vec![index]);
        }
        let mut items = VecDeque::with_capacity(self.len() + arrivals.len());
        let mut old = std::mem::take(&mut self.items).into_iter();
        for (index, value) in arrivals {
            items.extend(old.by_ref().take(index.saturating_sub(items.len())));
            indexes.push(items.len());
            items.push_back(value);
        }
        items.extend(old);
        self.items = items;
        Change::Remove(indexes)
    }

    fn remove(&mut self, indexes: &[usize]) -> Change {
        let mut gone = Vec::with_capacity(indexes.len());
        if let &[index] = indexes {
            gone.extend(self.items.remove(index).map(|value| (index, value)));
        } else if let Some(&first) = indexes.first() {
            let (mut at, mut wanted) = (0, indexes.iter().skip_while(|&&index| index < first).peekable());
            self.items.retain_mut(|value| {
                let leaves = wanted.next_if_eq(&&at).is_some();
                if leaves {
                    gone.push((at, std::mem::take(value)));
                }
                at += 1;
                !leaves
            });
        }
        self.count_out(gone.iter().map(|(_, value)| value));
        self.give_back_room();
        Change::Insert(gone)
    }

    /// A queue that was long once does not keep its room for ever.
    fn give_back_room(&mut self) {
        if self.items.capacity() > ROOM_MIN && self.items.len() < self.items.capacity() / SPARSE {
            self.items.shrink_to((self.items.len() * 2).max(ROOM_MIN));
        }
    }
}

impl Kind for List {
    type Change = Change;

    fn apply(&mut self, change: Change) -> Change {
        match change {
            Change::Extend { front, back } => self.extend(front, back),
            Change::Trim { front, back } => self.trim(front, back),
            Change::Set { index, value } => self.set(index, value),
            Change::Insert(arrivals) => self.insert(arrivals),
            Change::Remove(indexes) => self.remove(&indexes),
        }
    }

    fn write_change(change: &Change, out: &mut Vec<u8>) {
        // Rising indexes are written as the gaps between them.
        let put_gap = |out: &mut Vec<u8>, next: &mut usize, index: usize| {
            put_int(out, index.saturating_sub(*next) as u64);
            *next = index.saturating_add(1);
        };
        let mut next = 0;
        match change {
            Change::Extend { front, back } => {
                out.push(tag::EXTEND);
                for run in [front, back] {
                    put_int(out, run.len() as u64);
                    run.iter().for_each(|value| put_bytes(out, value));
                }
            }
            Change::Trim { front, back } => {
                out.push(tag::TRIM);
                put_int(out, *front as u64);
                put_int(out, *back as u64);
            }
            Change::Set { index, value } => {
                out.push(tag::SET);
                put_int(out, *index as u64);
                put_bytes(out, value);
            }
            Change::Insert(arrivals) => {
                out.push(tag::INSERT);
                put_int(out, arrivals.len() as u64);
                for (index, value) in arrivals {
                    put_gap(out, &mut next, *index);
                    put_bytes(out, value);
                }
            }
            Change::Remove(indexes) => {
                out.push(tag::REMOVE);
                put_int(out, indexes.len() as u64);
                for &index in indexes {
                    put_gap(out, &mut next, index);
                }
            }
        }
    }

    fn read_change(input: &mut Reader<'_>) -> Result<Change, Corrupt> {
        let gap = |input: &mut Reader<'_>, next: &mut usize| {
            let index = next.saturating_add(input.int()? as usize);
            *next = index.saturating_add(1);
            Ok(index)
        };
        let run = |input: &mut Reader<'_>| (0..input.count()?).map(|_| input.blob()).collect::<Result<Run, _>>();
        let mut next = 0;
        Ok(match input.byte()? {
            tag::EXTEND => Change::Extend { front: run(input)?, back: run(input)? },
            tag::TRIM => Change::Trim { front: input.int()? as usize, back: input.int()? as usize },
            tag::SET => Change::Set { index: input.int()? as usize, value: input.blob()? },
            tag::INSERT => {
                let count = input.count()?;
                let arrivals = (0..count).map(|_| Ok((gap(input, &mut next)?, input.blob()?)));
                Change::Insert(arrivals.collect::<Result<_, _>>()?)
            }
            tag::REMOVE => {
                let count = input.count()?;
                Change::Remove((0..count).map(|_| gap(input, &mut next)).collect::<Result<_, _>>()?)
            }
            _ => return Err(Corrupt("a change of a list")),
        })
    }

    fn write(&self, out: &mut Vec<u8>) {
        put_int(out, self.len() as u64);
        self.items.iter().for_each(|value| put_bytes(out, value));
    }

    fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        let count = input.count()?;
        let items = (0..count).map(|_| input.blob()).collect::<Result<VecDeque<_>, _>>()?;
        let heap_bytes = items.iter().map(|value| heap_bytes(value)).sum();
        Ok(Self { items, heap_bytes })
    }

    fn is_void(&self) -> bool {
        self.items.is_empty()
    }

    fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.len() * size_of::<Blob>() + self.heap_bytes
    }

    fn canonical(&self) -> String {
        let items: Vec<_> = self.items.iter().map(|value| value.as_slice().escape_ascii().to_string()).collect();
        items.join(", ")
    }
}

/// One of a list's two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Left,
    Right,
}

impl End {
    fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        match () {
            () if is(arg, "LEFT") => Ok(Self::Left),
            () if is(arg, "RIGHT") => Ok(Self::Right),
            () => Err(CommandError::Syntax),
        }
    }

    /// The change that pushes values here, one after the other.
    fn push(self, values: impl DoubleEndedIterator<Item = Blob>) -> Change {
        match self {
            Self::Left => Change::Extend { front: values.rev().collect(), back: smallvec![] },
            Self::Right => Change::Extend { front: smallvec![], back: values.collect() },
        }
    }

    /// The change that removes elements here.
    const fn trim(self, count: usize) -> Change {
        match self {
            Self::Left => Change::Trim { front: count, back: 0 },
            Self::Right => Change::Trim { front: 0, back: count },
        }
    }

    const fn push_event(self) -> &'static str {
        match self {
            Self::Left => "lpush",
            Self::Right => "rpush",
        }
    }

    const fn pop_event(self) -> &'static str {
        match self {
            Self::Left => "lpop",
            Self::Right => "rpop",
        }
    }
}

fn lpush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    push(txn, args, End::Left)
}

fn rpush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    push(txn, args, End::Right)
}

fn lpushx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    push_if_present(txn, args, End::Left)
}

fn rpushx(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    push_if_present(txn, args, End::Right)
}

fn push(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    let mut edit = txn.edit::<List>(args[1])?;
    edit.apply(end.push(args[2..].iter().map(|value| Blob::from(*value))));
    let length = edit.len();
    drop(edit);
    txn.notify(Event::List, end.push_event(), args[1]);
    Ok(Reply::count(length))
}

fn push_if_present(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    if txn.get::<List>(args[1])?.is_none() {
        return Ok(Reply::Integer(0));
    }
    push(txn, args, end)
}

fn lpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_command(txn, args, End::Left)
}

fn rpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_command(txn, args, End::Right)
}

fn pop_command(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    match args {
        [_, key] => Ok(Reply::maybe(pop(txn, key, end, 1)?.and_then(|mut values| values.pop()))),
        [_, key, count] => {
            let count = integer(count).ok().and_then(|count| usize::try_from(count).ok());
            let popped = pop(txn, key, end, count.ok_or(CommandError::MustBePositive)?)?;
            Ok(popped.map_or(Reply::NullArray, Reply::bulks))
        }
        _ => Err(CommandError::Arity(end.pop_event().into()).into()),
    }
}

/// Removes up to `count` elements from one end; nothing if the key is missing.
fn pop(txn: &mut Txn<'_>, key: &[u8], end: End, count: usize) -> Result<Option<Vec<Blob>>, Stop> {
    let Some(list) = txn.get_awaited::<List>(key)? else {
        return Ok(None);
    };
    let values = list.first(end, count);
    if !values.is_empty() {
        remove(txn, key, end.trim(values.len()), end.pop_event())?;
    }
    Ok(Some(values))
}

/// Applies a change that may leave nothing, and announces it.
fn remove(txn: &mut Txn<'_>, key: &[u8], change: Change, event: &'static str) -> Result<(), Stop> {
    let mut edit = txn.edit::<List>(key)?;
    edit.apply(change);
    let emptied = edit.is_void();
    drop(edit);
    txn.notify(Event::List, event, key);
    if emptied {
        txn.notify(Event::Generic, "del", key);
    }
    Ok(())
}

fn lmpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let request = MultiPop::parse(&args[1..])?;
    Ok(request.run(txn)?.unwrap_or(Reply::NullArray))
}

/// `numkeys key [key …] LEFT|RIGHT [COUNT count]`.
struct MultiPop<'a> {
    keys: Args<'a>,
    end: End,
    count: usize,
}

impl<'a> MultiPop<'a> {
    fn parse(args: Args<'a>) -> Result<Self, CommandError> {
        let numkeys = positive(args[0], "ERR numkeys should be greater than 0")?;
        let (keys, rest) = args[1..].split_at_checked(numkeys).ok_or(CommandError::Syntax)?;
        let mut options = Options::new(rest);
        let end = End::parse(options.value()?)?;
        let mut count = None;
        while let Some(word) = options.next() {
            if count.is_some() || !is(word, "COUNT") {
                return Err(CommandError::Syntax);
            }
            count = Some(positive(options.value()?, "ERR count should be greater than 0")?);
        }
        Ok(Self { keys, end, count: count.unwrap_or(1) })
    }

    /// Pops from the first key that holds a list.
    fn run(&self, txn: &mut Txn<'_>) -> Result<Option<Reply>, Stop> {
        for key in self.keys {
            if let Some(values) = pop(txn, key, self.end, self.count)? {
                return Ok(Some(Reply::Array(vec![Reply::bulk(key), Reply::bulks(values)])));
            }
        }
        Ok(None)
    }
}

fn llen(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.get::<List>(args[1])?.map_or(0, List::len)))
}

fn lindex(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let Some(list) = txn.get::<List>(args[1])? else {
        return Ok(Reply::Null);
    };
    let position = list.position(integer(args[2])?);
    Ok(Reply::maybe(position.and_then(|at| list.items.get(at).cloned())))
}

fn lrange(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = txn.get::<List>(args[1])? else {
        return Ok(Reply::Array(Vec::new()));
    };
    Ok(Reply::bulks(list.items.range(list.range(start, stop)).cloned()))
}

fn lpos(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut search = Search { value: args[2], rank: 1, count: None, compare_max: usize::MAX };
    let mut options = Options::new(&args[3..]);
    while let Some(word) = options.next() {
        match () {
            () if is(word, "RANK") => search.rank = rank(options.integer()?)?,
            () if is(word, "COUNT") => {
                search.count = Some(bound(options.value()?, "ERR COUNT can't be negative")?);
            }
            () if is(word, "MAXLEN") => {
                search.compare_max = bound(options.value()?, "ERR MAXLEN can't be negative")?;
            }
            () => return Err(CommandError::Syntax.into()),
        }
    }
    let found = txn.get::<List>(args[1])?.map(|list| search.run(list)).unwrap_or_default();
    let mut indexes = found.into_iter().map(Reply::count);
    Ok(match search.count {
        Some(_) => Reply::Array(indexes.collect()),
        None => indexes.next().unwrap_or(Reply::Null),
    })
}

fn rank(rank: i64) -> Result<i64, CommandError> {
    if rank == i64::MIN {
        return Err(CommandError::text(
            "ERR value is out of range, value must between -9223372036854775807 and 9223372036854775807",
        ));
    }
    if rank != 0 {
        return Ok(rank);
    }
    Err(CommandError::text(
        "ERR RANK can't be zero: use 1 to start from the first match, 2 from the second ... or use negative to start \
         from the end of the list",
    ))
}

/// A bound that may not be negative; zero is none.
fn bound(arg: &[u8], error: &'static str) -> Result<usize, CommandError> {
    match integer(arg) {
        Ok(0) => Ok(usize::MAX),
        Ok(bound) if bound > 0 => Ok(bound as usize),
        _ => Err(CommandError::text(error)),
    }
}

/// What `LPOS` and `LREM` look for.
struct Search<'a> {
    value: &'a [u8],
    /// The first match that counts: 1 is the first from the front, -1 the first from the back.
    rank: i64,
    /// How many matches are wanted; one if nothing was said.
    count: Option<usize>,
    /// How many elements to look at.
    compare_max: usize,
}

impl Search<'_> {
    /// Indexes of the matches, in the order in which they are met.
    fn run(&self, list: &List) -> Vec<usize> {
        let items = list.items.iter().enumerate();
        if self.rank > 0 { self.matches(items) } else { self.matches(items.rev()) }
    }

    fn matches<'l>(&self, items: impl Iterator<Item = (usize, &'l Blob)>) -> Vec<usize> {
        let hits = items.take(self.compare_max).filter(|(_, value)| value.as_slice() == self.value);
        let skipped = (self.rank.unsigned_abs() - 1) as usize;
        hits.skip(skipped).take(self.count.unwrap_or(1)).map(|(index, _)| index).collect()
    }
}

fn lset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let list = txn.get::<List>(args[1])?.ok_or(CommandError::NoSuchKey)?;
    let index = list.position(integer(args[2])?).ok_or(CommandError::IndexOutOfRange)?;
    let mut edit = txn.edit::<List>(args[1])?;
    edit.apply(Change::Set { index, value: Blob::from(args[3]) });
    drop(edit);
    txn.notify(Event::List, "lset", args[1]);
    Ok(Reply::OK)
}

fn linsert(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let after = match args[2] {
        word if is(word, "BEFORE") => 0,
        word if is(word, "AFTER") => 1,
        _ => return Err(CommandError::Syntax.into()),
    };
    let Some(list) = txn.get::<List>(args[1])? else {
        return Ok(Reply::Integer(0));
    };
    let Some(pivot) = list.items.iter().position(|value| value.as_slice() == args[3]) else {
        return Ok(Reply::Integer(-1));
    };
    let mut edit = txn.edit::<List>(args[1])?;
    edit.apply(Change::Insert(vec![(pivot + after, Blob::from(args[4]))]));
    let length = edit.len();
    drop(edit);
    txn.notify(Event::List, "linsert", args[1]);
    Ok(Reply::count(length))
}

fn lrem(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = integer(args[2])?;
    let Some(list) = txn.get::<List>(args[1])? else {
        return Ok(Reply::Integer(0));
    };
    let wanted = if count == 0 { usize::MAX } else { count.unsigned_abs() as usize };
    let rank = if count < 0 { -1 } else { 1 };
    let mut indexes = Search { value: args[3], rank, count: Some(wanted), compare_max: usize::MAX }.run(list);
    let removed = indexes.len();
    if removed > 0 {
        indexes.sort_unstable();
        remove(txn, args[1], Change::Remove(indexes), "lrem")?;
    }
    Ok(Reply::count(removed))
}

fn ltrim(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (start, stop) = (integer(args[2])?, integer(args[3])?);
    let Some(list) = txn.get::<List>(args[1])? else {
        return Ok(Reply::OK);
    };
    let kept = list.range(start, stop);
    // One that leaves all of it is a write, too: who watches the key hears of it.
    let change = Change::Trim { front: kept.start, back: list.len() - kept.end };
    remove(txn, args[1], change, "ltrim")?;
    Ok(Reply::OK)
}

fn lmove(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (End::parse(args[3])?, End::parse(args[4])?);
    Ok(Reply::maybe(move_element(txn, [args[1], args[2]], from, to)?))
}

fn rpoplpush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::maybe(move_element(txn, [args[1], args[2]], End::Right, End::Left)?))
}

/// Pushes first and pops then, so that a list moved onto itself never is empty in between.
fn move_element(txn: &mut Txn<'_>, [source, target]: [&[u8]; 2], from: End, to: End) -> Result<Option<Blob>, Stop> {
    let Some(value) = txn.get_awaited::<List>(source)?.and_then(|list| list.first(from, 1).pop()) else {
        return Ok(None);
    };
    // An element pushed onto the end it is popped from would be popped again; either way the list stays as it was.
    let mut edit = txn.edit::<List>(target)?;
    edit.apply(to.push(std::iter::once(value.clone())));
    drop(edit);
    txn.notify(Event::List, to.push_event(), target);
    remove(txn, source, from.trim(1), from.pop_event())?;
    Ok(Some(value))
}

fn blpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(txn, args, End::Left)
}

fn brpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    pop_or_wait(txn, args, End::Right)
}

fn pop_or_wait(txn: &mut Txn<'_>, args: Args<'_>, end: End) -> Outcome {
    let (timeout, keys) = args[1..].split_last().ok_or(CommandError::Syntax)?;
    let timeout = timeout_ms(timeout, txn.now_ms())?;
    for key in keys {
        if let Some(values) = pop(txn, key, end, 1)? {
            return Ok(Reply::bulks(std::iter::once(Blob::from(*key)).chain(values)));
        }
    }
    wait(txn, keys, timeout, Reply::NullArray)
}

/// Nothing to pop: waits for one of the keys, or answers `at_once` where a command may not wait.
fn wait(txn: &Txn<'_>, keys: Args<'_>, timeout_ms: Option<u64>, at_once: Reply) -> Outcome {
    if !txn.may_block() {
        return Ok(at_once);
    }
    Err(Stop::Block(Block::on(keys, timeout_ms, Reply::NullArray)))
}

fn blmpop(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let timeout = timeout_ms(args[1], txn.now_ms())?;
    let request = MultiPop::parse(&args[2..])?;
    match request.run(txn)? {
        Some(reply) => Ok(reply),
        None => wait(txn, request.keys, timeout, Reply::NullArray),
    }
}

fn blmove(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (from, to) = (End::parse(args[3])?, End::parse(args[4])?);
    move_or_wait(txn, args, from, to, args[5])
}

fn brpoplpush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    move_or_wait(txn, args, End::Right, End::Left, args[3])
}

fn move_or_wait(txn: &mut Txn<'_>, args: Args<'_>, from: End, to: End, timeout: &[u8]) -> Outcome {
    let timeout = timeout_ms(timeout, txn.now_ms())?;
    match move_element(txn, [args[1], args[2]], from, to)? {
        Some(value) => Ok(Reply::Bulk(value)),
        None => wait(txn, &args[1..2], timeout, Reply::Null),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;
    use crate::testing::Bench;

    fn blobs<'a>(values: impl IntoIterator<Item = &'a str>) -> Reply {
        Reply::bulks(values.into_iter().map(|value| Blob::from(value.as_bytes())))
    }

    fn list_of(values: &[&str]) -> List {
        let mut list = List::default();
        list.apply(End::Right.push(values.iter().map(|value| Blob::from(value.as_bytes()))));
        list
    }

    #[test]
    fn ranges_clip_as_in_redis() {
        let list = list_of(&["a", "b", "c", "d", "e"]);
        for (start, stop, expected) in [
            (0, -1, 0..5),
            (-3, -2, 2..4),
            (1, 2, 1..3),
            (3, 1, 0..0),
            (-1, -3, 0..0),
            (0, 100, 0..5),
            (5, 6, 0..0),
            (-100, 1, 0..2),
            (0, -100, 0..0),
            (i64::MIN, i64::MAX, 0..5),
            (i64::MAX, i64::MIN, 0..0),
        ] {
            assert_eq!(list.range(start, stop), expected, "{start} {stop}");
        }
    }

    #[test]
    fn positions_honour_rank_count_and_maxlen() {
        let mut bench = Bench::new();
        bench.run("RPUSH l a b c a b a");
        for (options, expected) in [
            ("", Reply::Integer(0)),
            ("RANK 2", Reply::Integer(3)),
            ("RANK -1", Reply::Integer(5)),
            ("RANK 4", Reply::Null),
            ("RANK -3 MAXLEN 3", Reply::Null),
            ("MAXLEN 1 RANK 1", Reply::Integer(0)),
        ] {
            assert_eq!(bench.run(&format!("LPOS l a {options}")), expected, "{options}");
        }
        for (options, expected) in [
            ("COUNT 0", vec![0, 3, 5]),
            ("COUNT 2 RANK -1", vec![5, 3]),
            ("COUNT 0 RANK 2", vec![3, 5]),
            ("COUNT 0 MAXLEN 4", vec![0, 3]),
            ("COUNT 0 RANK 9", vec![]),
        ] {
            let expected = Reply::Array(expected.into_iter().map(Reply::Integer).collect());
            assert_eq!(bench.run(&format!("LPOS l a {options}")), expected, "{options}");
        }
    }

    #[test]
    fn a_command_with_nothing_to_pop_waits_for_its_keys() {
        let mut bench = Bench::new();
        for (line, keys, timeout_ms) in [
            ("BLPOP a b 0", vec!["a", "b"], None),
            ("BRPOP a 1.5", vec!["a"], Some(1_500)),
            ("BLMPOP 0.0001 2 a b RIGHT COUNT 3", vec!["a", "b"], Some(1)),
            ("BLMOVE a b LEFT RIGHT 2", vec!["a"], Some(2_000)),
            ("BRPOPLPUSH a b 1e3", vec!["a"], Some(1_000_000)),
        ] {
            let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
            let keys: Vec<&[u8]> = keys.into_iter().map(str::as_bytes).collect();
            let block = Block::on(&keys, timeout_ms, Reply::NullArray);
            assert_eq!(bench.attempt(&args), Err(Stop::Block(block)), "{line}");
        }
        bench.run("RPUSH b x y z");
        assert_eq!(bench.run("BLPOP a b 0"), blobs(["b", "x"]));
        let popped = Reply::Array(vec![Reply::bulk("b"), blobs(["z", "y"])]);
        assert_eq!(bench.run("BLMPOP 0 2 a b RIGHT COUNT 3"), popped);
        assert_eq!(bench.run("LLEN b"), Reply::Integer(0));
    }

    #[test]
    fn events_name_what_happened_to_a_list() {
        let mut bench = Bench::new();
        bench.hub.events = crate::hub::Notifications::parse(b"EA").unwrap();
        bench.hub.subscribe_pattern(crate::client::ClientId(9), &Blob::from(b"*".as_slice()));
        for (line, events) in [
            ("RPUSH l a b", "rpush"),
            ("LMOVE l l LEFT RIGHT", "rpush lpop"),
            ("LTRIM l 0 -1", "ltrim"),
            ("LREM l 0 nope", ""),
            ("LREM l 0 a", "lrem"),
            ("LINSERT l BEFORE b c", "linsert"),
            ("LSET l 0 d", "lset"),
            ("LPOP l 0", ""),
            ("LPOP l 9", "lpop del"),
        ] {
            bench.published.clear();
            bench.run(line);
            let named = bench.published.iter().map(|(channel, _)| channel.rsplit(|&b| b == b':').next().unwrap());
            let named: Vec<_> = named.map(|name| String::from_utf8_lossy(name).into_owned()).collect();
            assert_eq!(named.join(" "), events, "{line}");
        }
    }

    fn random_change(random: &mut Random, length: usize) -> Change {
        let value = |random: &mut Random| Blob::from(vec![b'v'; random.below(60) as usize]);
        let rising =
            |random: &mut Random, below: usize| (0..below).filter(|_| random.below(3) == 0).collect::<Vec<_>>();
        match random.below(5) {
            0 => Change::Extend {
                front: (0..random.below(4)).map(|_| value(random)).collect(),
                back: (0..random.below(4)).map(|_| value(random)).collect(),
            },
            1 => Change::Trim { front: random.below(5) as usize, back: random.below(5) as usize },
            2 => Change::Set { index: random.below(length as u64 + 2) as usize, value: value(random) },
            3 => {
                let indexes = rising(random, length + 3);
                Change::Insert(indexes.into_iter().map(|index| (index, value(random))).collect())
            }
            _ => Change::Remove(rising(random, length + 2)),
        }
    }

    #[test]
    fn every_change_reads_back_and_is_undone_by_its_inverse() {
        let mut random = Random::new(3);
        let mut list = list_of(&["a", "b", "c"]);
        for _ in 0..20_000 {
            let change = random_change(&mut random, list.len());
            let mut bytes = Vec::new();
            List::write_change(&change, &mut bytes);
            let mut input = Reader::new(&bytes);
            assert_eq!(List::read_change(&mut input).as_ref(), Ok(&change));
            assert!(input.is_done());

            let (before, bytes) = (list.canonical(), list.memory_bytes());
            let inverse = list.apply(change.clone());
            let after = list.canonical();
            let again = list.apply(inverse);
            assert_eq!((list.canonical(), list.memory_bytes()), (before, bytes), "{change:?}");
            list.apply(again);
            assert_eq!(list.canonical(), after, "{change:?}");
            let mut whole = Vec::new();
            list.write(&mut whole);
            let read = List::read(&mut Reader::new(&whole)).unwrap();
            assert_eq!((read.canonical(), read.memory_bytes()), (after, list.memory_bytes()));
            if list.len() > 60 {
                list.apply(End::Left.trim(50));
            }
        }
    }

    #[test]
    fn changes_that_do_not_fit_are_clamped() {
        let mut list = list_of(&["a", "b"]);
        list.apply(Change::Set { index: 9, value: Blob::new() });
        list.apply(Change::Remove(vec![7, 9, usize::MAX]));
        assert_eq!(list.canonical(), "a, b");
        list.apply(Change::Insert(vec![(usize::MAX - 1, Blob::from(b"c".as_slice())), (usize::MAX, Blob::new())]));
        assert_eq!(list.canonical(), "a, b, c, ");
        list.apply(Change::Trim { front: usize::MAX, back: usize::MAX });
        assert!(list.is_void());
    }

    #[test]
    fn a_drained_queue_gives_its_room_back() {
        let mut list = List::default();
        list.apply(End::Right.push((0..10_000).map(|_| Blob::from(b"x".as_slice()))));
        for _ in 0..9_990 {
            list.apply(End::Left.trim(1));
        }
        assert!(list.items.capacity() <= 2 * ROOM_MIN, "{}", list.items.capacity());
    }

    /// The same commands on a plain vector.
    fn model(list: &mut Vec<String>, words: &[&str]) {
        let value = |at: usize| words[at].to_owned();
        let number = |at: usize| words[at].parse::<i64>().unwrap();
        let clip = |list: &[String]| {
            let length = list.len() as i64;
            let real = |at: i64| if at < 0 { at + length } else { at };
            let (start, stop) = (real(number(2)).max(0), real(number(3)).min(length - 1));
            if start > stop { 0..0 } else { start as usize..stop as usize + 1 }
        };
        match words[0] {
            "LPUSH" => words[2..].iter().for_each(|value| list.insert(0, (*value).to_owned())),
            "RPUSH" => list.extend(words[2..].iter().map(|value| (*value).to_owned())),
            "LPOP" => drop(list.drain(..(number(2) as usize).min(list.len()))),
            "RPOP" => list.truncate(list.len().saturating_sub(number(2) as usize)),
            "LTRIM" => *list = list[clip(list)].to_vec(),
            "LINSERT" => {
                if let Some(at) = list.iter().position(|other| *other == words[3]) {
                    list.insert(at + usize::from(words[2] == "AFTER"), value(4));
                }
            }
            "LSET" => {
                let at = if number(2) < 0 { number(2) + list.len() as i64 } else { number(2) };
                if let Some(slot) = usize::try_from(at).ok().and_then(|at| list.get_mut(at)) {
                    *slot = value(3);
                }
            }
            "LREM" => {
                let wanted = if number(2) == 0 { usize::MAX } else { number(2).unsigned_abs() as usize };
                for _ in 0..wanted {
                    let mut found = list.iter().enumerate().filter(|(_, other)| **other == words[3]);
                    let at = if number(2) < 0 { found.next_back() } else { found.next() };
                    let Some((at, _)) = at else { break };
                    list.remove(at);
                }
            }
            "LMOVE" if !list.is_empty() => {
                let value = list.remove(if words[3] == "LEFT" { 0 } else { list.len() - 1 });
                list.insert(if words[4] == "LEFT" { 0 } else { list.len() }, value);
            }
            _ => {}
        }
    }

    #[test]
    fn commands_do_to_a_list_what_they_do_to_a_vector() {
        let mut bench = Bench::new();
        let mut random = Random::new(11);
        let mut list = Vec::new();
        for _ in 0..6_000 {
            let index = |random: &mut Random| random.below(24) as i64 - 12;
            let letter = |random: &mut Random| char::from(b'a' + random.below(5) as u8);
            let side = |random: &mut Random| if random.below(2) == 0 { "LEFT" } else { "RIGHT" };
            let line = match random.below(10) {
                0 | 1 => format!("LPUSH l {} {}", letter(&mut random), letter(&mut random)),
                2 | 3 => format!("RPUSH l {} {}", letter(&mut random), letter(&mut random)),
                4 => format!("LPOP l {}", random.below(3)),
                5 => format!("RPOP l {}", random.below(3)),
                6 if random.below(4) == 0 => format!("LTRIM l {} {}", index(&mut random), index(&mut random)),
                6 => format!("LSET l {} {}", index(&mut random), letter(&mut random)),
                7 => format!("LREM l {} {}", random.below(5) as i64 - 2, letter(&mut random)),
                8 => format!("LMOVE l l {} {}", side(&mut random), side(&mut random)),
                _ => {
                    let place = if random.below(2) == 0 { "BEFORE" } else { "AFTER" };
                    format!("LINSERT l {place} {} {}", letter(&mut random), letter(&mut random))
                }
            };
            bench.run(&line);
            model(&mut list, &line.split(' ').collect::<Vec<_>>());
            assert_eq!(bench.run("LRANGE l 0 -1"), blobs(list.iter().map(String::as_str)), "{line}");
            assert_eq!(bench.size().0, u64::from(!list.is_empty()));
        }
    }
}
