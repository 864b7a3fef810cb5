//! Recovery: from a directory to databases, by reading the log's tail and nothing else.
//!
//! The store says up to which position it covers the log; the records after it are applied to the keys they name, which
//! are loaded one by one. Everything else stays cold. A torn tail was dropped by the log before we see it; a record that
//! does not parse, or names an effect we do not know, stops the start with an error that says where.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use dormouse_engine::{Keyspace, Reader, User, Users, replay};
use dormouse_storage::{Log, LogOptions, Lsn, Store};

use crate::DatabaseId;
use crate::database::Cold;
use crate::layout::{self, Meta};
use crate::once::{Note, Notes, StoredNotes};
use crate::record::{LogRecord, read_record};
use crate::service::Error;

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
    fn new(meta: Meta) -> Self {
        let space = Keyspace::with_cold(meta.records, meta.epoch, meta.flushed_seq);
        Self { meta, space, users: Users::default(), seq: meta.seq, notes: Notes::default() }
    }
}

/// Opens the log and replays its tail over the store.
pub(crate) fn run(
    dir: &Path,
    options: LogOptions,
    store: &Arc<dyn Store>,
) -> Result<(Log, BTreeMap<DatabaseId, Found>), Error> {
    let mut found = metas(store)?;
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

fn metas(store: &Arc<dyn Store>) -> Result<BTreeMap<DatabaseId, Found>, Error> {
    let (from, until) = layout::metas();
    let mut found = BTreeMap::new();
    for (key, value) in store.scan(&from, &until, usize::MAX)? {
        let what = |corrupt| Error::Corrupt { place: "the counts of a database in the store".to_owned(), corrupt };
        let id = layout::split_meta(&key).map_err(what)?;
        found.insert(id, Found::new(Meta::read(&value).map_err(what)?));
    }
    let (from, until) = layout::all_note_counts();
    for (key, value) in store.scan(&from, &until, usize::MAX)? {
        let what = |corrupt| Error::Corrupt { place: "the counts of notes in the store".to_owned(), corrupt };
        let id = layout::split_meta(&key).map_err(what)?;
        found.entry(id).or_default().notes = Notes::with_stored(StoredNotes::read(&value).map_err(what)?);
    }
    let (from, until) = layout::users();
    for (key, value) in store.scan(&from, &until, usize::MAX)? {
        let what = |corrupt| Error::Corrupt { place: "a user in the store".to_owned(), corrupt };
        let (id, name) = layout::split_user(&key).map_err(what)?;
        let user = User::read(name, &mut Reader::new(&value)).map_err(what)?;
        found.entry(id).or_default().users.admit(user);
    }
    Ok(found)
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
        read_record(record).ok_or_else(|| corrupt(dormouse_engine::Corrupt("a record's head")))?;
    let database = found.entry(id).or_default();
    let cold = Cold { store: &**store, id, epoch: database.space.epoch() };
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
