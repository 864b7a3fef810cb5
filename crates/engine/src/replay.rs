//! Effects of the log, applied to the keys again.
//!
//! The journal is `txn.rs`'s; here is the other end. Nothing here decides what a command means: an effect says what became of
//! a key, a library or a user, and it is applied if what is there has not seen it yet. What a record holds is believed as far
//! as it reads; one that does not read stops the recovery.

use std::cmp::Ordering;
use std::sync::Arc;

use dormouse_proto::Blob;

use crate::acl::{User, Users};
use crate::codec::{Corrupt, Reader};
use crate::journal::op;
use crate::keyspace::{Adopted, Keyspace, Source, SourceError};
use crate::libraries::{Change, Library};
use crate::scan_map::hash;
use crate::value::{AnyChange, Type, Value};

/// Applies the effects of one record of the log to the keys, skipping what a key already holds.
///
/// A checkpoint takes keys one by one while others change, so the store may be ahead of the log's start for some keys; the
/// sequence number of each key says which effects it has seen, and that of the last flush which effects are moot.
///
/// Users are set whatever the store has: each effect is a whole one, so the last one of the log stands in the end.
pub fn replay(
    space: &mut Keyspace,
    users: &mut Users,
    source: &dyn Source,
    seq: u64,
    journal: &[u8],
) -> Result<(), ReplayError> {
    let mut input = Reader::new(journal);
    replay_libraries(space, source, seq, &mut input)?;
    let mut moot = match seq.cmp(&space.flushed_seq()) {
        // Nothing of it is to be seen any more, but for users.
        Ordering::Less => usize::MAX,
        // The record of the last flush itself: what follows the flush in it still counts.
        Ordering::Equal => flushes(input.clone())?,
        Ordering::Greater => 0,
    };
    let mut key = Blob::new();
    let mut at = 0;
    // Several effects of one record reach the same key: it counts as new until the record ends.
    let mut ours: hashbrown::HashSet<Blob> = hashbrown::HashSet::new();
    while !input.is_done() {
        let op = input.byte()?;
        match op {
            op::KEY => {
                key = input.blob()?;
                at = hash(&key);
                if moot == 0 {
                    space.load(at, &key, source)?;
                }
                continue;
            }
            op::FLUSH => {
                match moot {
                    0 => drop(space.flush(seq)),
                    _ => moot -= 1,
                }
                ours.clear();
                continue;
            }
            op::ADOPT => {
                let adopted = Adopted::read(&mut input)?;
                // If the store was told of it, the keys are not what they were then.
                if moot == 0 && space.epoch() < adopted.epoch {
                    space.adopt(adopted);
                }
                continue;
            }
            op::USER => {
                let (name, user) = read_user(&mut input)?;
                users.put(&name, user.map(Arc::new));
                continue;
            }
            _ => {}
        }
        let newer = moot == 0 && (ours.contains(&key) || space.find(at, &key).is_none_or(|entry| entry.seq < seq));
        if newer {
            ours.insert(key.clone());
        }
        replay_one(space, at, &key, op, &mut input, newer.then_some(seq))?;
    }
    Ok(())
}

/// Applies what the front of a record says of libraries.
fn replay_libraries(
    space: &mut Keyspace,
    source: &dyn Source,
    seq: u64,
    input: &mut Reader<'_>,
) -> Result<(), ReplayError> {
    if !matches!(input.peek(), Some(op::LIBRARY | op::NO_LIBRARY)) {
        return Ok(());
    }
    space.load_libraries(source)?;
    let newer = space.shelf.seq() < seq;
    while let Some(op @ (op::LIBRARY | op::NO_LIBRARY)) = input.peek() {
        input.byte()?;
        let change = if op == op::LIBRARY {
            Change::Put(Arc::new(Library::read(input)?))
        } else {
            let name = str::from_utf8(input.bytes()?).map_err(|_| Corrupt("the name of a library"))?;
            Change::Remove(name.to_owned())
        };
        if newer {
            space.shelf.apply(change, seq);
        }
    }
    Ok(())
}

/// How many times a record flushes.
fn flushes(mut input: Reader<'_>) -> Result<usize, ReplayError> {
    let mut nowhere = Keyspace::default();
    let mut count = 0;
    while !input.is_done() {
        match input.byte()? {
            op::KEY => drop(input.bytes()?),
            op::FLUSH => count += 1,
            op::ADOPT => drop(Adopted::read(&mut input)?),
            op::USER => drop(read_user(&mut input)?),
            op => replay_one(&mut nowhere, 0, &Blob::new(), op, &mut input, None)?,
        }
    }
    Ok(count)
}

fn read_user(input: &mut Reader<'_>) -> Result<(Blob, Option<User>), Corrupt> {
    let name = input.blob()?;
    let user = if input.byte()? == 0 { None } else { Some(User::read(&name, input)?) };
    Ok((name, user))
}

fn replay_one(
    space: &mut Keyspace,
    at: u64,
    key: &Blob,
    op: u8,
    input: &mut Reader<'_>,
    seq: Option<u64>,
) -> Result<(), ReplayError> {
    match op {
        op::PUT => {
            let expires_at = input.int()?;
            let value = Value::read(input)?;
            if let Some(seq) = seq {
                space.replace(at, key, Some(value), expires_at, seq);
            }
        }
        op::DELETE => {
            if let Some(seq) = seq {
                space.replace(at, key, None, 0, seq);
            }
        }
        op::EXPIRE => {
            let expires_at = input.int()?;
            if let Some(mut loan) = seq.and_then(|seq| space.lend(at, key, seq)) {
                loan.set_deadline(expires_at);
            }
        }
        op::CREATE => {
            let kind = Type::from_tag(input.byte()?)?;
            if let Some(seq) = seq {
                space.replace(at, key, Some(Value::empty(kind)), 0, seq);
            }
        }
        op::CHANGE => {
            let change = AnyChange::read(input)?;
            if let Some(loan) = seq.and_then(|seq| space.lend(at, key, seq))
                && let Some(value) = &mut loan.entry.value
            {
                value.apply(change).ok_or(Corrupt("a change that fits the key's type"))?;
            }
        }
        _ => return Err(Corrupt("an effect this release knows").into()),
    }
    Ok(())
}

/// Why the log could not be replayed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReplayError {
    /// The record is not one of ours.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
    /// The store could not be read.
    #[error(transparent)]
    Source(#[from] SourceError),
}
