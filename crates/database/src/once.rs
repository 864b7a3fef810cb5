//! Requests that run once, however often they are sent: what was answered is kept under a key that the client has chosen.
//!
//! A write over HTTP may have run although its answer was lost on the way. A client that sends it again under the same key
//! gets the answer of the first time. The note of it is in the same record of the log as the effects, so there is never one
//! without the other; a checkpoint moves notes into the store, as it moves keys. Notes are no keys: no command sees them,
//! and emptying the database leaves them, as the request that emptied it may be sent again, too.
//!
//! A note is found by its key; nothing is loaded at start-up. Notes are bounded in age, number and bytes, the oldest go
//! first. An answer is bytes here: what they mean is the door's to know.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use dormouse_engine::{Corrupt, hash};
use dormouse_proto::{CommandError, Reply};
use dormouse_storage::{Batch, Lsn, Store};

use crate::DatabaseId;
use crate::database::Database;
use crate::layout;

/// Longest key that a client may choose, in bytes.
pub const ONCE_KEY_BYTES_MAX: usize = 255;
/// What a note costs beside its key and its answer.
const NOTE_BYTES: usize = 120;
/// Notes looked at in one go when old ones are removed from the store.
const SWEEP: usize = 256;
const VERSION: u8 = 1;

/// Bounds on the notes of one database: in memory until the next checkpoint, and in the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NoteLimits {
    /// How long a note is good, in milliseconds.
    pub(crate) kept_ms: u64,
    /// How many there may be.
    pub(crate) count_max: usize,
    /// Bytes they may take together.
    pub(crate) bytes_max: usize,
    /// Longest answer that is kept. A longer one leaves a note without it.
    pub(crate) answer_bytes_max: usize,
}

impl Default for NoteLimits {
    fn default() -> Self {
        Self { kept_ms: 24 * 60 * 60 * 1_000, count_max: 100_000, bytes_max: 16 << 20, answer_bytes_max: 1 << 20 }
    }
}

/// Writes a reply as the bytes that are kept of it.
pub type WriteAnswer = dyn Fn(&Reply) -> Vec<u8> + Send + Sync;

/// A request that must not run twice.
pub struct Once {
    /// What the client calls it, and who the client is.
    pub key: Vec<u8>,
    /// A digest of what it asks for.
    pub request: u128,
    /// Writes the answer as it will be given again.
    pub answer: Box<WriteAnswer>,
}

impl std::fmt::Debug for Once {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Once").field("request", &self.request).finish_non_exhaustive()
    }
}

/// What a request that was sent before is told.
#[derive(Debug)]
pub enum Repeat {
    /// The answer of the first time, to be shown once `after` is durable.
    Answer {
        /// As [`Once::answer`] wrote it; `None` if it was too long to be kept.
        answer: Option<Vec<u8>>,
        /// What it depends on.
        after: Lsn,
    },
    /// The key belongs to another request.
    Other,
    /// The first still waits for a key of the database.
    Running,
}

/// What is kept of a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Note {
    pub(crate) key: Vec<u8>,
    request: u128,
    at_ms: u64,
    answer: Option<Vec<u8>>,
}

impl Note {
    /// The note of a request that has run; none if the server could not do its part, since that may go better next time.
    pub(crate) fn of(once: &Once, reply: &Reply, now_ms: u64, limits: &NoteLimits) -> Option<Self> {
        if matches!(reply, Reply::Error(CommandError::StoreFailed | CommandError::LogFailed)) {
            return None;
        }
        let answer = Some((once.answer)(reply)).filter(|answer| answer.len() <= limits.answer_bytes_max);
        Some(Self { key: once.key.clone(), request: once.request, at_ms: now_ms, answer })
    }

    fn bytes(&self) -> usize {
        NOTE_BYTES + self.key.len() + self.answer.as_ref().map_or(0, Vec::len)
    }

    pub(crate) fn write(&self, out: &mut Vec<u8>) {
        out.push(VERSION);
        out.extend(self.at_ms.to_be_bytes());
        out.extend(self.request.to_be_bytes());
        out.extend((self.key.len() as u16).to_be_bytes());
        out.extend(&self.key);
        if let Some(answer) = &self.answer {
            out.push(1);
            out.extend(answer);
        }
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Corrupt> {
        let wrong = Corrupt("the note of a request");
        let (&version, rest) = bytes.split_first().ok_or(wrong)?;
        if version != VERSION {
            return Err(Corrupt("a note of a version this release knows"));
        }
        let (at_ms, rest) = rest.split_first_chunk().ok_or(wrong)?;
        let (request, rest) = rest.split_first_chunk().ok_or(wrong)?;
        let (length, rest) = rest.split_first_chunk().ok_or(wrong)?;
        let (key, rest) = rest.split_at_checked(u16::from_be_bytes(*length).into()).ok_or(wrong)?;
        let answer = match rest.split_first() {
            None => None,
            Some((1, answer)) => Some(answer.to_vec()),
            Some(_) => return Err(wrong),
        };
        let (at_ms, request) = (u64::from_be_bytes(*at_ms), u128::from_be_bytes(*request));
        Ok(Self { key: key.to_vec(), request, at_ms, answer })
    }
}

/// What the store has of a database's notes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StoredNotes {
    /// The newest transaction whose note it has; older ones in the log are there as well, or were removed.
    pub(crate) upto: u64,
    count: u64,
    bytes: u64,
}

impl StoredNotes {
    fn write(self) -> Vec<u8> {
        let mut out = vec![VERSION];
        for number in [self.upto, self.count, self.bytes] {
            out.extend(number.to_be_bytes());
        }
        out
    }

    pub(crate) fn read(bytes: &[u8]) -> Result<Self, Corrupt> {
        let wrong = Corrupt("the counts of notes");
        let fields: [u8; 24] = match bytes.split_first() {
            Some((&VERSION, rest)) => rest.try_into().map_err(|_| wrong)?,
            _ => return Err(wrong),
        };
        let long = |at: usize| fields[at..at + 8].iter().fold(0, |value, &byte| value << 8 | u64::from(byte));
        Ok(Self { upto: long(0), count: long(8), bytes: long(16) })
    }
}

/// The notes of one database; see the module's text.
#[derive(Debug, Default)]
pub(crate) struct Notes {
    pub(crate) limits: NoteLimits,
    /// Those the store does not have yet, by the transaction that made them.
    recent: BTreeMap<u64, Arc<Note>>,
    by_key: HashMap<Vec<u8>, u64>,
    bytes: usize,
    stored: StoredNotes,
    /// Keys of requests that wait.
    running: HashSet<Vec<u8>>,
    /// When the last request came that runs once: what is too old by then goes at the next checkpoint.
    now_ms: u64,
}

impl Notes {
    /// What the store has, and nothing in memory.
    pub(crate) fn with_stored(stored: StoredNotes) -> Self {
        Self { stored, ..Self::default() }
    }

    /// Whether the store has all of them.
    pub(crate) fn are_stored(&self) -> bool {
        self.recent.is_empty()
    }

    /// Keeps a note.
    pub(crate) fn keep(&mut self, seq: u64, note: Note) {
        if seq <= self.stored.upto {
            return;
        }
        self.bytes += note.bytes();
        self.by_key.insert(note.key.clone(), seq);
        self.recent.insert(seq, Arc::new(note));
        while self.bytes > self.limits.bytes_max || self.recent.len() > self.limits.count_max {
            self.drop_oldest();
        }
    }

    fn drop_oldest(&mut self) {
        let Some((seq, note)) = self.recent.pop_first() else { return };
        self.bytes -= note.bytes();
        if self.by_key.get(&note.key) == Some(&seq) {
            self.by_key.remove(&note.key);
        }
    }

    /// A request waits.
    pub(crate) fn begin(&mut self, once: &Once) {
        self.running.insert(once.key.clone());
    }

    /// It does not wait any more.
    pub(crate) fn end(&mut self, once: &Once) {
        self.running.remove(&once.key);
    }

    /// What a request is told that was sent before; with the transaction of the first time if the log may not have it yet.
    /// Nothing for a new one.
    pub(crate) fn look(
        &mut self,
        once: &Once,
        now_ms: u64,
        store: &dyn Store,
        id: DatabaseId,
    ) -> Result<Option<(Repeat, u64)>, CommandError> {
        self.now_ms = self.now_ms.max(now_ms);
        if self.running.contains(&once.key) {
            return Ok(Some((Repeat::Running, 0)));
        }
        let recent = self.by_key.get(&once.key).and_then(|seq| Some((self.recent.get(seq)?.as_ref().clone(), *seq)));
        let found = match recent {
            None if self.stored.count > 0 => stored_note(store, id, &once.key)?.map(|(_, note)| (note, 0)),
            other => other,
        };
        let good = |(note, _): &(Note, u64)| now_ms < note.at_ms.saturating_add(self.limits.kept_ms);
        Ok(found.filter(good).map(|(note, seq)| {
            let same = note.request == once.request;
            (if same { Repeat::Answer { answer: note.answer, after: Lsn(0) } } else { Repeat::Other }, seq)
        }))
    }

    pub(crate) fn settle(&mut self, stored: StoredNotes) {
        while self.recent.first_key_value().is_some_and(|(&seq, _)| seq <= stored.upto) {
            self.drop_oldest();
        }
        self.stored = stored;
    }
}

/// The note that the store has under a key, and its transaction.
fn stored_note(store: &dyn Store, id: DatabaseId, key: &[u8]) -> Result<Option<(u64, Note)>, CommandError> {
    let failed = |error: &dyn std::fmt::Display| {
        tracing::error!(database = id.0, %error, "the note of a request could not be read");
        CommandError::StoreFailed
    };
    let Some(bytes) = store.get(&layout::note(id, hash(key), key)).map_err(|error| failed(&error))? else {
        return Ok(None);
    };
    let (seq, note) = bytes.split_first_chunk().ok_or_else(|| failed(&"it is too short"))?;
    Ok(Some((u64::from_be_bytes(*seq), Note::read(note).map_err(|error| failed(&error))?)))
}

/// Adds to a batch what moves the notes of a database into the store, and removes from there what is old or too much.
/// Returns what the store has of them then, if that changes.
pub(crate) fn stage(
    database: &Database,
    store: &dyn Store,
    batch: &mut Batch,
) -> Result<Option<StoredNotes>, dormouse_storage::Error> {
    let id = database.id();
    let (notes, old, limits, now_ms) = {
        let state = database.hold_patiently();
        let notes = &state.notes;
        (notes.recent.clone(), notes.stored, notes.limits, notes.now_ms)
    };
    if notes.is_empty() && old.count == 0 {
        return Ok(None);
    }
    let mut stored = old;
    for (&seq, note) in &notes {
        (stored.upto, stored.count) = (seq, stored.count + 1);
        stored.bytes += note.bytes() as u64;
    }
    sweep(batch, &mut stored, store, id, |at_ms, stored| {
        stored.count > limits.count_max as u64
            || stored.bytes > limits.bytes_max as u64
            || at_ms.saturating_add(limits.kept_ms) <= now_ms
    })?;
    for (seq, note) in &notes {
        let mut bytes = seq.to_be_bytes().to_vec();
        note.write(&mut bytes);
        batch.put(layout::note(id, hash(&note.key), &note.key), bytes);
        let mut place = note.at_ms.to_be_bytes().to_vec();
        place.extend((note.bytes() as u64).to_be_bytes());
        place.extend(&note.key);
        batch.put(layout::note_order(id, *seq), place);
    }
    if stored == old {
        return Ok(None);
    }
    batch.put(layout::note_counts(id), stored.write());
    Ok(Some(stored))
}

/// Removes the oldest notes from the store for as long as they must go.
fn sweep(
    batch: &mut Batch,
    stored: &mut StoredNotes,
    store: &dyn Store,
    id: DatabaseId,
    must_go: impl Fn(u64, &StoredNotes) -> bool,
) -> Result<(), dormouse_storage::Error> {
    let (mut from, until) = layout::note_orders(id);
    loop {
        let oldest = store.scan(&from, &until, SWEEP)?;
        for (place, entry) in &oldest {
            let seq = place.last_chunk().map_or(0, |seq| u64::from_be_bytes(*seq));
            let Some((at_ms, rest)) = entry.split_first_chunk() else { return Ok(()) };
            let Some((bytes, key)) = rest.split_first_chunk() else { return Ok(()) };
            if !must_go(u64::from_be_bytes(*at_ms), stored) {
                return Ok(());
            }
            batch.delete(place.clone());
            stored.count = stored.count.saturating_sub(1);
            stored.bytes = stored.bytes.saturating_sub(u64::from_be_bytes(*bytes));
            // A key that was used again has a newer note in its place.
            let place = layout::note(id, hash(key), key);
            let current = store.get(&place)?;
            if current.is_some_and(|bytes| bytes.starts_with(&seq.to_be_bytes())) {
                batch.delete(place);
            }
        }
        let Some((last, _)) = oldest.last().filter(|_| oldest.len() == SWEEP) else { return Ok(()) };
        from = [last, &[0][..]].concat();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn once(key: &str, request: u128) -> Once {
        Once { key: key.as_bytes().to_vec(), request, answer: Box::new(|_| b"answer".to_vec()) }
    }

    fn note(key: &str, at_ms: u64) -> Note {
        Note::of(&once(key, 7), &Reply::OK, at_ms, &NoteLimits::default()).unwrap()
    }

    #[test]
    fn notes_read_back() {
        for answer in [None, Some(Vec::new()), Some(b"x".to_vec())] {
            let note = Note { answer, ..note("key", 5) };
            let mut bytes = Vec::new();
            note.write(&mut bytes);
            assert_eq!(Note::read(&bytes), Ok(note));
        }
        assert!(Note::read(b"").is_err() && Note::read(&[9; 40]).is_err() && Note::read(&[1; 30]).is_err());
        let counts = StoredNotes { upto: 1, count: 2, bytes: 3 };
        assert_eq!(StoredNotes::read(&counts.write()), Ok(counts));
        assert!(StoredNotes::read(b"").is_err());
    }

    #[test]
    fn what_the_server_could_not_do_leaves_no_note() {
        let limits = NoteLimits { answer_bytes_max: 3, ..NoteLimits::default() };
        assert!(Note::of(&once("a", 1), &CommandError::StoreFailed.into(), 0, &limits).is_none());
        let wrong_type = Note::of(&once("a", 1), &CommandError::WrongType.into(), 0, &limits).unwrap();
        assert_eq!(wrong_type.answer, None, "it is too long to be kept");
    }

    #[test]
    fn notes_are_bounded_in_number_bytes_and_age() {
        let store = dormouse_storage::MemoryStore::default();
        let mut notes = Notes::default();
        let look = |notes: &mut Notes, key: &str, request: u128, now_ms: u64| {
            notes.look(&once(key, request), now_ms, &store, DatabaseId(1)).unwrap().map(|(repeat, _)| repeat)
        };
        notes.limits = NoteLimits { count_max: 2, bytes_max: 400, kept_ms: 100, ..NoteLimits::default() };
        for (seq, key) in ["a", "b", "c"].iter().enumerate() {
            notes.keep(seq as u64 + 1, note(key, 0));
        }
        assert!(look(&mut notes, "a", 7, 1).is_none(), "the oldest goes");
        assert!(matches!(look(&mut notes, "b", 7, 99), Some(Repeat::Answer { answer: Some(_), .. })));
        assert!(matches!(look(&mut notes, "b", 8, 99), Some(Repeat::Other)));
        assert!(look(&mut notes, "b", 8, 100).is_none(), "it is too old");
        notes.keep(9, Note { answer: Some(vec![0; 200]), ..note("d", 0) });
        assert!(look(&mut notes, "b", 7, 1).is_none() && look(&mut notes, "d", 7, 1).is_some());
        notes.begin(&once("e", 7));
        assert!(matches!(look(&mut notes, "e", 7, 1), Some(Repeat::Running)));
        notes.end(&once("e", 7));
        assert!(look(&mut notes, "e", 7, 1).is_none());
    }
}
