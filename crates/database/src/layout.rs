//! Where everything lies in the store, which is one ordered map for all databases.
//!
//! ```text
//! 00 'hash-seed'                                           the seed of the hash that orders keys, 8 bytes
//! 01 database:4 epoch:4 hash:8 key                         a record (engine's `Record`)
//! 02 database:4 epoch:4 deadline:8 hash:8 part:1 key       the index of deadlines, of keys (0) or parts of values (1): nothing,
//!                                                          or 1 with a key of which a part would die later
//! 03 database:4                                            a database's counts (`Meta`)
//! 04 database:4 hash:8 key                                 transaction:8 and note of a request that runs once (`once.rs`)
//! 05 database:4 transaction:8                              the same note's age and size, oldest first
//! 06 database:4                                            counts of the notes
//! 07 database:4                                            its libraries of functions (engine's `Libraries`), if any
//! 08 database:4 name                                       a user (engine's `User`)
//! ```
//!
//! Numbers are big endian, so that byte order is number order: a database, an epoch of it, and a range of hashes are each
//! one range of keys. Emptying a database begins a new epoch; the old one is deleted at the next checkpoint.

use dormouse_engine::{Corrupt, Cursor, Due, Expiring};

use crate::DatabaseId;

const RECORD: u8 = 1;
const DEADLINE: u8 = 2;
const META: u8 = 3;
const NOTE: u8 = 4;
const NOTE_ORDER: u8 = 5;
const NOTE_COUNTS: u8 = 6;
const LIBRARIES: u8 = 7;
const USER: u8 = 8;
/// Counts with those of deadlines, and without them.
const META_VERSION: u8 = 2;
const META_VERSION_SHORT: u8 = 1;

/// Key of the hash seed.
pub(crate) const HASH_SEED: &[u8] = b"\x00hash-seed";

fn prefix(kind: u8, id: DatabaseId, epoch: u32) -> Vec<u8> {
    let mut key = Vec::with_capacity(48);
    key.push(kind);
    key.extend(id.0.to_be_bytes());
    key.extend(epoch.to_be_bytes());
    key
}

/// Key of a record.
pub(crate) fn record(id: DatabaseId, epoch: u32, hash: u64, key: &[u8]) -> Vec<u8> {
    let mut out = prefix(RECORD, id, epoch);
    out.extend(hash.to_be_bytes());
    out.extend(key);
    out
}

/// The records of a database from a hash on, as a range.
pub(crate) fn records_from(id: DatabaseId, epoch: u32, hash: u64) -> (Vec<u8>, Vec<u8>) {
    let mut from = prefix(RECORD, id, epoch);
    from.extend(hash.to_be_bytes());
    (from, next(prefix(RECORD, id, epoch)))
}

/// The last record that a step of a scan shares with `hash`, as the end of a range.
pub(crate) fn records_of_step(id: DatabaseId, epoch: u32, hash: u64) -> Vec<u8> {
    let mut until = prefix(RECORD, id, epoch);
    match Cursor::after(hash) {
        Cursor(0) => next(until),
        cursor => {
            until.extend(cursor.first_hash().to_be_bytes());
            until
        }
    }
}

/// Hash and key of a record's key.
pub(crate) fn split_record(key: &[u8]) -> Result<(u64, &[u8]), Corrupt> {
    let rest = key.get(9..).and_then(|rest| rest.split_first_chunk::<8>());
    let (hash, key) = rest.ok_or(Corrupt("the key of a record"))?;
    Ok((u64::from_be_bytes(*hash), key))
}

/// Key of a deadline.
pub(crate) fn deadline(id: DatabaseId, epoch: u32, due: Due, hash: u64, key: &[u8]) -> Vec<u8> {
    let mut out = prefix(DEADLINE, id, epoch);
    out.extend(due.at.to_be_bytes());
    out.extend(hash.to_be_bytes());
    out.push(u8::from(due.part));
    out.extend(key);
    out
}

/// The deadlines of a database up to and including `now_ms`, as a range.
pub(crate) fn deadlines_until(id: DatabaseId, epoch: u32, now_ms: u64) -> (Vec<u8>, Vec<u8>) {
    let from = prefix(DEADLINE, id, epoch);
    let mut until = from.clone();
    until.extend(now_ms.saturating_add(1).to_be_bytes());
    (from, until)
}

/// Every deadline of a database, as a range.
pub(crate) fn deadlines(id: DatabaseId, epoch: u32) -> (Vec<u8>, Vec<u8>) {
    let from = prefix(DEADLINE, id, epoch);
    (from.clone(), next(from))
}

/// What stands behind the key of a deadline.
pub(crate) fn deadline_note(due: Due) -> Vec<u8> {
    if due.parts_later { vec![1] } else { Vec::new() }
}

/// Deadline, hash and key of a deadline's key and note.
pub(crate) fn split_deadline<'a>(key: &'a [u8], note: &[u8]) -> Result<(Due, u64, &'a [u8]), Corrupt> {
    let rest = key.get(9..).and_then(|rest| rest.split_first_chunk::<8>());
    let (deadline, rest) = rest.ok_or(Corrupt("the key of a deadline"))?;
    let (hash, rest) = rest.split_first_chunk::<8>().ok_or(Corrupt("the key of a deadline"))?;
    let (part, key) = rest.split_first().ok_or(Corrupt("the key of a deadline"))?;
    let due = Due { at: u64::from_be_bytes(*deadline), part: *part != 0, parts_later: note == [1] };
    Ok((due, u64::from_be_bytes(*hash), key))
}

/// Key of a user.
pub(crate) fn user(id: DatabaseId, name: &[u8]) -> Vec<u8> {
    let mut key = vec![USER];
    key.extend(id.0.to_be_bytes());
    key.extend(name);
    key
}

/// The users of a database, as a range.
pub(crate) fn users(id: DatabaseId) -> (Vec<u8>, Vec<u8>) {
    let from = user(id, b"");
    (from.clone(), next(from))
}

/// Name of a user's key.
pub(crate) fn split_user(key: &[u8]) -> Result<&[u8], Corrupt> {
    key.get(5..).ok_or(Corrupt("the key of a user"))
}

/// Everything of one epoch, as ranges.
pub(crate) fn epoch(id: DatabaseId, epoch: u32) -> [(Vec<u8>, Vec<u8>); 2] {
    [RECORD, DEADLINE].map(|kind| (prefix(kind, id, epoch), next(prefix(kind, id, epoch))))
}

/// Key of a note.
pub(crate) fn note(id: DatabaseId, hash: u64, key: &[u8]) -> Vec<u8> {
    [&[NOTE], &id.0.to_be_bytes()[..], &hash.to_be_bytes(), key].concat()
}

/// Key of a note's place in their order.
pub(crate) fn note_order(id: DatabaseId, seq: u64) -> Vec<u8> {
    [&[NOTE_ORDER], &id.0.to_be_bytes()[..], &seq.to_be_bytes()].concat()
}

/// The places of a database's notes, as a range.
pub(crate) fn note_orders(id: DatabaseId) -> (Vec<u8>, Vec<u8>) {
    let from = [&[NOTE_ORDER], &id.0.to_be_bytes()[..]].concat();
    (from.clone(), next(from))
}

/// Key of the counts of a database's notes.
pub(crate) fn note_counts(id: DatabaseId) -> Vec<u8> {
    [&[NOTE_COUNTS], &id.0.to_be_bytes()[..]].concat()
}

/// Key of a database's counts.
pub(crate) fn meta(id: DatabaseId) -> Vec<u8> {
    let mut key = vec![META];
    key.extend(id.0.to_be_bytes());
    key
}

/// Key of a database's libraries of functions.
pub(crate) fn libraries(id: DatabaseId) -> Vec<u8> {
    let mut key = vec![LIBRARIES];
    key.extend(id.0.to_be_bytes());
    key
}

/// Everything there may be of a database, as ranges.
pub(crate) fn everything(id: DatabaseId) -> impl Iterator<Item = (Vec<u8>, Vec<u8>)> {
    let kinds = [RECORD, DEADLINE, META, NOTE, NOTE_ORDER, NOTE_COUNTS, LIBRARIES, USER];
    kinds.into_iter().map(move |kind| {
        let from = [&[kind], &id.0.to_be_bytes()[..]].concat();
        (from.clone(), next(from))
    })
}

/// What a key of the store is about, for whoever looks at all of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place<'a> {
    HashSeed,
    Record(DatabaseId, u32, u64, &'a [u8]),
    Deadline(DatabaseId, u32, u64, &'a [u8]),
    Meta(DatabaseId),
    Note(DatabaseId),
    NoteOrder(DatabaseId),
    NoteCounts(DatabaseId),
    Libraries(DatabaseId),
    User(DatabaseId, &'a [u8]),
}

impl<'a> Place<'a> {
    /// Reads a key.
    pub(crate) fn of(key: &'a [u8]) -> Result<Self, Corrupt> {
        if key == HASH_SEED {
            return Ok(Self::HashSeed);
        }
        let number = |at: usize| {
            let bytes = key.get(at..at + 4).ok_or(Corrupt("the key of something stored"))?;
            Ok(bytes.iter().fold(0, |number, byte| number << 8 | u32::from(*byte)))
        };
        let (kind, id) = (key.first().copied(), DatabaseId(number(1)?));
        let ends_at =
            |length: usize, place| if key.len() == length { Ok(place) } else { Err(Corrupt("a shorter key")) };
        match kind {
            Some(RECORD) => split_record(key).and_then(|(hash, key)| Ok(Self::Record(id, number(5)?, hash, key))),
            Some(DEADLINE) => {
                let (_, hash, key) = split_deadline(key, b"")?;
                Ok(Self::Deadline(id, number(5)?, hash, key))
            }
            Some(META) => ends_at(5, Self::Meta(id)),
            Some(NOTE) if key.len() >= 13 => Ok(Self::Note(id)),
            Some(NOTE_ORDER) => ends_at(13, Self::NoteOrder(id)),
            Some(NOTE_COUNTS) => ends_at(5, Self::NoteCounts(id)),
            Some(LIBRARIES) => ends_at(5, Self::Libraries(id)),
            Some(USER) => split_user(key).map(|name| Self::User(id, name)),
            _ => Err(Corrupt("a key of a kind this release knows")),
        }
    }
}

/// Everything there may be, as a range.
pub(crate) fn all() -> (Vec<u8>, Vec<u8>) {
    (Vec::new(), vec![u8::MAX; 8])
}

/// The first key after everything that starts with `prefix`.
fn next(mut prefix: Vec<u8>) -> Vec<u8> {
    while let Some(last) = prefix.pop() {
        if last < u8::MAX {
            prefix.push(last + 1);
            break;
        }
    }
    prefix
}

/// What the store knows of a database beside its records.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Meta {
    /// The newest transaction.
    pub(crate) seq: u64,
    /// The current epoch.
    pub(crate) epoch: u32,
    /// The transaction that began it.
    pub(crate) flushed_seq: u64,
    /// How many records the epoch has.
    pub(crate) records: u64,
    /// How many of them have deadlines. Nobody knows where they were counted by a release that did not.
    pub(crate) expiring: Option<Expiring>,
}

impl Meta {
    pub(crate) fn write(self) -> Vec<u8> {
        let mut out = vec![if self.expiring.is_some() { META_VERSION } else { META_VERSION_SHORT }];
        out.extend(self.seq.to_be_bytes());
        out.extend(self.epoch.to_be_bytes());
        out.extend(self.flushed_seq.to_be_bytes());
        out.extend(self.records.to_be_bytes());
        if let Some(Expiring { keys, with_parts, deadlines }) = self.expiring {
            out.extend(keys.to_be_bytes());
            out.extend(with_parts.to_be_bytes());
            out.extend(deadlines.to_be_bytes());
        }
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Corrupt> {
        let wrong = Corrupt("the counts of a database");
        let (&version, rest) = bytes.split_first().ok_or(wrong)?;
        if !matches!(version, META_VERSION | META_VERSION_SHORT) {
            return Err(Corrupt("counts of a version this release knows"));
        }
        let (fields, rest) = rest.split_first_chunk::<28>().ok_or(wrong)?;
        let number = |bytes: &[u8]| bytes.iter().fold(0_u128, |value, &byte| value << 8 | u128::from(byte));
        let long = |at: usize| number(&fields[at..at + 8]) as u64;
        let expiring = match (version, rest.len()) {
            (META_VERSION_SHORT, 0) => None,
            (META_VERSION, 32) => Some(Expiring {
                keys: number(&rest[..8]) as u64,
                with_parts: number(&rest[8..16]) as u64,
                deadlines: number(&rest[16..]),
            }),
            _ => return Err(wrong),
        };
        let epoch = fields[8..12].iter().fold(0, |value, &byte| value << 8 | u32::from(byte));
        Ok(Self { seq: long(0), epoch, flushed_seq: long(12), records: long(20), expiring })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_read_back_and_keep_their_order() {
        let (id, hash) = (DatabaseId(7), 0x0102_0304_0506_0708);
        assert_eq!(split_record(&record(id, 3, hash, b"k")), Ok((hash, &b"k"[..])));
        for part in [false, true] {
            let due = Due { at: 99, part, parts_later: !part };
            let note = deadline_note(due);
            assert_eq!(split_deadline(&deadline(id, 3, due, hash, b"k"), &note), Ok((due, hash, &b"k"[..])));
        }
        assert_eq!(split_user(&user(id, b"name")), Ok(&b"name"[..]));
        assert!((users(id).0..users(id).1).contains(&user(id, &[255; 9])));
        let within = |key: Vec<u8>| everything(id).filter(|(from, until)| (from..until).contains(&&key)).count();
        for key in [meta(id), libraries(id), note_counts(id), user(id, b"n"), note(id, hash, b"k"), note_order(id, 1)] {
            assert_eq!(within(key), 1);
        }
        assert_eq!(within(record(id, 3, hash, b"k")), 1);
        assert_eq!(within(record(DatabaseId(id.0 + 1), 3, hash, b"k")), 0);
        let (from, until) = records_from(id, 3, hash);
        assert!(from <= record(id, 3, hash, b"") && record(id, 3, u64::MAX, &[255; 40]) < until);
        assert!(record(id, 3, hash | 0xffff, &[255; 9]) < records_of_step(id, 3, hash));
        let (from, until) = deadlines_until(id, 3, 99);
        assert!((from..until).contains(&deadline(
            id,
            3,
            Due { at: 99, part: true, parts_later: false },
            u64::MAX,
            &[255; 9]
        )));
        let expiring = Expiring { keys: 5, with_parts: 6, deadlines: 1 << 70 };
        for expiring in [None, Some(expiring)] {
            let counts = Meta { seq: 1 << 40, epoch: 2, flushed_seq: 3, records: 1 << 33, expiring };
            let bytes = counts.write();
            assert_eq!(Meta::read(&bytes), Ok(counts));
            assert!((0..bytes.len()).all(|cut| Meta::read(&bytes[..cut]).is_err()));
        }
        assert!(Meta::read(&[9; 29]).is_err());
    }
}
