//! Recovery: from a directory to databases, by reading the log's tail and nothing else.
//!
//! Only databases that the tail names are opened; the others sleep until somebody calls them. The store says up to which position it covers the log; the records after it are applied to the keys they name, which
//! are loaded one by one. Everything else stays cold. A torn tail was dropped by the log before we see it; a record that
//! does not parse, or names an effect we do not know, stops the start with an error that says where.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::path::Path;
use std::sync::Arc;

use dormouse_engine::{Corrupt, Expiring, Keyspace, Reader, User, Users, replay};
use dormouse_storage::{Log, LogOptions, Lsn, Store};

use crate::DatabaseId;
use crate::cold::Cold;
use crate::layout::{self, Meta};
use crate::once::{Note, Notes, StoredNotes};
use crate::record::{LogRecord, read_record};
use crate::service::Error;

/// Deadlines that are read at once when they are counted.
const DEADLINES_PER_PAGE: usize = 1_000;

/// A database as recovery found it.
pub(crate) struct Found {
    pub(crate) meta: Meta,
    pub(crate) space: Keyspace,
    pub(crate) users: Users,
    pub(crate) seq: u64,
    pub(crate) notes: Notes,
}

impl Default for Found {
    fn default() -> Self {
        Self::new(Meta::default())
    }
}

impl Found {
    fn new(mut meta: Meta) -> Self {
        let expiring = *meta.expiring.get_or_insert_default();
        let space = Keyspace::with_cold(meta.records, expiring, meta.epoch, meta.flushed_seq);
        Self { meta, space, users: Users::default(), seq: meta.seq, notes: Notes::default() }
    }
}

/// Opens the log and replays its tail over the store.
pub(crate) fn run(
    dir: &Path,
    options: LogOptions,
    store: &Arc<dyn Store>,
) -> Result<(Log, BTreeMap<DatabaseId, Found>), Error> {
    let mut found = BTreeMap::new();
    let mut stopped = None;
    let log = Log::open(dir, options, store.applied(), |lsn, record| {
        if stopped.is_none() {
            stopped = apply(&mut found, store, lsn, record).err();
        }
        Ok(())
    })?;
    match stopped {
        Some(error) => Err(error),
        None => Ok((log, found)),
    }
}

/// As [`run`], without opening the log for more: what is there and reads is handed over, and nothing is changed.
pub(crate) fn look(
    dir: &Path,
    store: &Arc<dyn Store>,
) -> Result<(dormouse_storage::Recovery, BTreeMap<DatabaseId, Found>), Error> {
    let mut found = BTreeMap::new();
    let mut stopped = None;
    let recovery = dormouse_storage::check_log(dir, store.applied(), |lsn, record| {
        if stopped.is_none() {
            stopped = apply(&mut found, store, lsn, record).err();
        }
        Ok(())
    })?;
    stopped.map_or(Ok((recovery, found)), Err)
}

/// A database as the store has it, without its keys: what waking it costs.
pub(crate) fn load(store: &dyn Store, id: DatabaseId) -> Result<Found, Error> {
    let what = |what: &str, corrupt| Error::Corrupt { place: format!("{what} in the store"), corrupt };
    let mut found = Found::default();
    if let Some(meta) = store.get(&layout::meta(id))? {
        let mut meta = Meta::read(&meta).map_err(|corrupt| what("the counts of a database", corrupt))?;
        if meta.expiring.is_none() {
            let counted = count_deadlines(store, id, meta.epoch)?;
            meta.expiring = Some(counted.map_err(|corrupt| what("a deadline", corrupt))?);
        }
        found = Found::new(meta);
    }
    if let Some(counts) = store.get(&layout::note_counts(id))? {
        let counts = StoredNotes::read(&counts).map_err(|corrupt| what("the counts of notes", corrupt))?;
        found.notes = Notes::with_stored(counts);
    }
    let (from, until) = layout::users(id);
    for (key, value) in store.scan(&from, &until, usize::MAX)? {
        let read = layout::split_user(&key).and_then(|name| User::read(name, &mut Reader::new(&value)));
        found.users.admit(read.map_err(|corrupt| what("a user", corrupt))?);
    }
    Ok(found)
}

/// Counts deadlines by their index, where a release wrote the counts that knew none of these: once, as the next checkpoint that
/// has something to say notes them.
fn count_deadlines(
    store: &dyn Store,
    id: DatabaseId,
    epoch: u32,
) -> Result<Result<Expiring, Corrupt>, dormouse_storage::Error> {
    let (mut from, until) = layout::deadlines(id, epoch);
    let mut expiring = Expiring::default();
    loop {
        let page = store.scan(&from, &until, DEADLINES_PER_PAGE)?;
        for (key, note) in &page {
            match layout::split_deadline(key, note) {
                Ok((due, ..)) => expiring.add(due.into()),
                Err(corrupt) => return Ok(Err(corrupt)),
            }
        }
        match page.last() {
            Some((last, _)) if page.len() == DEADLINES_PER_PAGE => from = [last, &[0][..]].concat(),
            _ => return Ok(Ok(expiring)),
        }
    }
}

fn apply(
    found: &mut BTreeMap<DatabaseId, Found>,
    store: &Arc<dyn Store>,
    lsn: Lsn,
    record: &[u8],
) -> Result<(), Error> {
    let place = || format!("record {} of the commit log", lsn.0);
    let corrupt = |corrupt| Error::Corrupt { place: place(), corrupt };
    let LogRecord { id, seq, note, journal } =
        read_record(record).ok_or_else(|| corrupt(Corrupt("a record's head")))?;
    let database = match found.entry(id) {
        Entry::Occupied(found) => found.into_mut(),
        Entry::Vacant(place) => place.insert(load(&**store, id)?),
    };
    let cold = Cold { store: &**store, id, epoch: database.space.epoch(), pace: None };
    replay(&mut database.space, &mut database.users, &cold, seq, journal).map_err(|error| match error {
        dormouse_engine::ReplayError::Corrupt(what) => corrupt(what),
        dormouse_engine::ReplayError::Source(error) => Error::Replay { place: place(), what: error.to_string() },
    })?;
    if let Some(note) = note {
        database.notes.keep(seq, Note::read(note).map_err(corrupt)?);
    }
    database.seq = database.seq.max(seq);
    Ok(())
}
