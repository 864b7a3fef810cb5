//! Checkpoints: what memory is ahead by goes into the store, and the log before it goes away.
//!
//! A checkpoint notes the log's end, then takes the dirty keys of every database, a few at a time under the lock, while
//! commands go on. So the store may end up ahead of that note for some keys; their sequence numbers tell replay (see
//! `dormouse_engine::replay`). Before the store is touched, the log is synced: a store must never hold half of a
//! transaction whose other half could be lost.

use std::collections::BTreeSet;
use std::sync::Arc;

use dormouse_engine::{Adopted, Entry, Expiring, Record, Stored};
use dormouse_proto::Blob;
use dormouse_storage::{Batch, Log, Lsn, Store};
use parking_lot::MutexGuard;

use crate::database::{Database, DatabaseId};
use crate::layout::{self, Meta};
use crate::once::{self, StoredNotes};

/// Dirty keys taken under one hold of a database's lock.
const KEYS_PER_HOLD: usize = 64;
/// Bytes of their records after which the lock is let go even so.
const BYTES_PER_HOLD: usize = 4 << 20;
/// Keys told under one hold that the store has caught up with them.
const SETTLED_PER_HOLD: usize = 256;

/// A key on its way into the store.
struct Staged {
    hash: u64,
    key: Blob,
    seq: u64,
    after: Stored,
}

/// What a batch has of one database, to be told once the batch is in the store.
struct Part<'a> {
    database: &'a Arc<Database>,
    meta: Meta,
    staged: Vec<Staged>,
    libraries: Option<u64>,
    users: BTreeSet<Blob>,
    notes: Option<StoredNotes>,
}

/// Changes of one or several databases that go into the store together. A batch for each database would cost thousands of
/// idle ones thousands of syncs.
#[derive(Default)]
struct Round<'a> {
    batch: Batch,
    parts: Vec<Part<'a>>,
    /// Bytes of records after which it is applied; a checkpoint may take several.
    bytes_max: usize,
}

/// Writes what is dirty into the store and trims the log up to a position. No database may be missing that had something in
/// memory when the log stood there. After `batch_bytes` of records they are applied, so one checkpoint may be several batches.
/// Returns how many keys were written.
pub(crate) fn run(
    databases: &[Arc<Database>],
    log: &Log,
    upto: Lsn,
    store: &dyn Store,
    batch_bytes: usize,
) -> Result<usize, dormouse_storage::Error> {
    let mut written = 0;
    let mut left: Vec<&Arc<Database>> = databases.iter().collect();
    let mut round = Round { bytes_max: batch_bytes, ..Round::default() };
    while !left.is_empty() {
        // What a long script holds comes last: it must not keep the others from the store.
        let database = left.swap_remove(left.iter().position(|database| !database.is_busy()).unwrap_or(0));
        if database.is_busy() {
            round.apply(log, store)?;
        }
        // Taken once: what is changed from now on comes after `upto`, and is the next checkpoint's.
        let (epoch, mut waiting) = {
            let mut state = database.hold_patiently();
            (state.space.epoch(), state.space.take_dirty())
        };
        loop {
            let staged = round.add(database, epoch, &mut waiting, store);
            // Only the last batch of all may say that the log is covered.
            let done = staged.and_then(|staged| {
                written += staged;
                if round.batch.bytes() > round.bytes_max { round.apply(log, store) } else { Ok(()) }
            });
            if let Err(error) = done {
                round.give_up();
                let mut state = database.hold_patiently();
                if state.space.epoch() == epoch {
                    state.space.restore_dirty(waiting);
                }
                return Err(error);
            }
            if waiting.is_empty() {
                break;
            }
        }
    }
    round.apply(log, store)?;
    log.sync()?;
    store.apply(&Batch::default(), upto)?;
    log.trim(upto)?;
    Ok(written)
}

impl<'a> Round<'a> {
    /// Takes some of the keys that were dirty, a few per hold, until none are left or the batch is full. If the database is
    /// emptied meanwhile, they are nobody's any more. Returns how many were taken.
    fn add(
        &mut self,
        database: &'a Arc<Database>,
        epoch: u32,
        waiting: &mut Vec<(u64, Blob)>,
        store: &dyn Store,
    ) -> Result<usize, dormouse_storage::Error> {
        let id = database.id();
        let (old, adopted) = {
            let state = database.hold_patiently();
            (state.meta, state.space.adopted().to_vec())
        };
        let counts_then = (old.records, old.expiring.unwrap_or_default());
        let mut counts = if epoch == old.epoch { counts_then } else { counts_of(&adopted, epoch) };
        let mut staged = Vec::new();
        let mut changes = Batch::default();
        while !waiting.is_empty() && self.batch.bytes() + changes.bytes() <= self.bytes_max {
            let state = database.hold_patiently();
            if state.space.epoch() != epoch {
                break;
            }
            let held_from = changes.bytes();
            for _ in 0..KEYS_PER_HOLD {
                let bytes = changes.bytes();
                if self.batch.bytes() + bytes > self.bytes_max || bytes - held_from > BYTES_PER_HOLD {
                    break;
                }
                let Some((hash, key)) = waiting.pop() else { break };
                let Some(entry) = state.space.find(hash, &key).filter(|entry| entry.dirty) else { continue };
                let after = stage(&mut changes, &mut counts, (id, epoch), (hash, &key), entry);
                staged.push(Staged { hash, key, seq: entry.seq, after });
            }
            MutexGuard::unlock_fair(state);
        }
        let mut state = database.hold_patiently();
        if state.space.epoch() != epoch {
            waiting.clear();
            staged.clear();
            changes = Batch::default();
            counts = counts_of(state.space.adopted(), state.space.epoch());
        }
        let (records, expiring) = (counts.0, Some(counts.1));
        let (epoch_now, flushed_seq) = (state.space.epoch(), state.space.flushed_seq());
        let meta = Meta { seq: state.seq, epoch: epoch_now, flushed_seq, records, expiring };
        let libraries = state.space.shelf().to_store();
        let adopted: Vec<u32> = state.space.adopted().iter().map(|adopted| adopted.epoch).collect();
        let dirty = state.hub.users.are_dirty();
        let changed = if dirty { Arc::make_mut(&mut state.hub.users).take_changed() } else { BTreeSet::new() };
        let users = Arc::clone(&state.hub.users);
        drop(state);
        // What was adopted and removed again before the store knew of it is there all the same.
        let over = adopted.into_iter().chain([old.epoch]).filter(|epoch| *epoch != meta.epoch);
        for (from, until) in over.flat_map(|epoch| layout::epoch(id, epoch)) {
            self.batch.delete_range(from, until);
        }
        self.batch.append(changes);
        match &libraries {
            Some((_, Some(record))) => self.batch.put(layout::libraries(id), record.clone()),
            Some((_, None)) => self.batch.delete(layout::libraries(id)),
            None => {}
        }
        for name in &changed {
            let key = layout::user(id, name);
            match users.get(name) {
                Some(user) => {
                    let mut bytes = Vec::new();
                    user.write(&mut bytes);
                    self.batch.put(key, bytes);
                }
                None => self.batch.delete(key),
            }
        }
        if meta != old {
            self.batch.put(layout::meta(id), meta.write());
        }
        let written = staged.len();
        let libraries = libraries.map(|(seq, _)| seq);
        let part = Part { database, meta, staged, libraries, users: changed, notes: None };
        self.parts.push(part);
        let notes = once::stage(database, store, &mut self.batch)?;
        if let Some(part) = self.parts.last_mut() {
            part.notes = notes;
        }
        Ok(written)
    }

    /// Puts the batch into the store, and tells the databases.
    fn apply(&mut self, log: &Log, store: &dyn Store) -> Result<(), dormouse_storage::Error> {
        if !self.batch.is_empty() {
            let applied = log.sync().and_then(|()| store.apply(&self.batch, store.applied()));
            if let Err(error) = applied {
                self.give_up();
                return Err(error);
            }
        }
        self.batch = Batch::default();
        for part in std::mem::take(&mut self.parts) {
            part.settle();
        }
        Ok(())
    }

    /// Nothing of it is in the store: all of it is dirty again.
    fn give_up(&mut self) {
        self.batch = Batch::default();
        for part in std::mem::take(&mut self.parts) {
            let mut state = part.database.hold_patiently();
            if state.space.epoch() == part.meta.epoch {
                state.space.restore_dirty(part.staged.into_iter().map(|staged| (staged.hash, staged.key)).collect());
            }
            Arc::make_mut(&mut state.hub.users).restore_changed(part.users);
        }
    }
}

/// How many records an epoch had when it was adopted, if it was.
fn counts_of(adopted: &[Adopted], epoch: u32) -> Counts {
    let adopted = adopted.iter().find(|adopted| adopted.epoch == epoch);
    adopted.map_or_else(Counts::default, |adopted| (adopted.records, adopted.expiring))
}

impl Part<'_> {
    /// The store has it.
    fn settle(self) {
        {
            let mut state = self.database.hold_patiently();
            state.meta = self.meta;
            state.space.forget_adopted(self.meta.epoch);
            state.reaped_until.clear();
            if let Some(seq) = self.libraries {
                state.space.shelf().settle(seq);
            }
            if let Some(notes) = self.notes {
                state.notes.settle(notes);
            }
        }
        for some in self.staged.chunks(SETTLED_PER_HOLD) {
            let mut state = self.database.hold_patiently();
            if state.space.epoch() != self.meta.epoch {
                break;
            }
            for key in some {
                state.space.settle(key.hash, &key.key, key.seq, key.after);
            }
            MutexGuard::unlock_fair(state);
        }
    }
}

/// How many records there are, and how many with deadlines.
type Counts = (u64, Expiring);

/// Puts one key into the batch, with its place in the index of deadlines. Returns what the store has of it then.
fn stage(
    batch: &mut Batch,
    (records, expiring): &mut Counts,
    (id, epoch): (DatabaseId, u32),
    (hash, key): (u64, &[u8]),
    entry: &Entry,
) -> Stored {
    let place = layout::record(id, epoch, hash, key);
    let index = |stored: Stored| stored.due().map(|due| layout::deadline(id, epoch, due, hash, key));
    let before = entry.stored;
    let after = entry.value.as_ref().map_or(Stored::NO, |value| Stored::of(value, entry.expires_at));
    if let Some(old) = index(before)
        && before != after
    {
        batch.delete(old);
    }
    if let Some(new) = index(after) {
        batch.put(new, after.due().map(layout::deadline_note).unwrap_or_default());
    }
    if before.exists() {
        expiring.take(before);
    }
    if after.exists() {
        expiring.add(after);
    }
    *records += u64::from(!before.exists() && after.exists());
    *records = records.saturating_sub(u64::from(before.exists() && !after.exists()));
    if let Some(value) = &entry.value {
        let mut record = Vec::new();
        Record::write(value, entry.expires_at, entry.seq, &mut record);
        batch.put(place, record);
    } else if before.exists() {
        batch.delete(place);
    }
    after
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use bytes::Bytes;
    use dormouse_engine::{Client, ClientId, Door, Grant, Moment, Patient};
    use dormouse_proto::Reply;
    use dormouse_storage::{Durability, LogOptions, MemoryStore, Snapshot};
    use parking_lot::Mutex;

    use super::*;
    use crate::recovery;
    use crate::work::{Ran, Work};

    /// For one batch.
    const BATCH_BYTES: usize = 1 << 20;

    type Interruption = Box<dyn FnMut() + Send>;

    /// A store that lets something happen each time after it has been written, or just before: a batch is ready then.
    #[derive(Default)]
    struct Interrupted {
        inside: MemoryStore,
        applied: AtomicUsize,
        first: Mutex<Option<Interruption>>,
        then: Mutex<Option<Interruption>>,
    }

    impl Store for Interrupted {
        fn get(&self, key: &[u8]) -> dormouse_storage::Result<Option<Bytes>> {
            self.inside.get(key)
        }

        fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> dormouse_storage::Result<Vec<(Bytes, Bytes)>> {
            self.inside.scan(from, until, limit)
        }

        fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> dormouse_storage::Result<Vec<Bytes>> {
            self.inside.scan_keys(from, until, limit)
        }

        fn apply(&self, batch: &Batch, upto: Lsn) -> dormouse_storage::Result<()> {
            self.inside.apply(batch, upto)?;
            self.applied.fetch_add(1, Ordering::Relaxed);
            if let Some(then) = &mut *self.then.lock() {
                then();
            }
            Ok(())
        }

        fn applied(&self) -> Lsn {
            if let Some(first) = &mut *self.first.lock() {
                first();
            }
            self.inside.applied()
        }

        fn snapshot(&self) -> Box<dyn Snapshot> {
            self.inside.snapshot()
        }

        fn disk_bytes(&self) -> dormouse_storage::Result<u64> {
            self.inside.disk_bytes()
        }
    }

    fn run_on(database: &Database, line: &str) -> Reply {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
        let command = dormouse_engine::find(&args).unwrap().command;
        match database.run(&mut client, Work::One(command, &args), Moment { now_us: 1, seed: 1 }, &Patient) {
            Ran::Done { reply, .. } => reply,
            ran => panic!("{ran:?}"),
        }
    }

    fn open(dir: &Path, store: &Arc<Interrupted>) -> (Arc<Log>, Arc<Database>) {
        let id = DatabaseId(1);
        let as_store = || Arc::clone(store) as Arc<dyn Store>;
        let (log, mut found) = recovery::run(dir, LogOptions::default(), &as_store()).unwrap();
        let log = Arc::new(log);
        let found = found.remove(&id).unwrap_or_else(|| recovery::load(&**store, id).unwrap());
        let database = Database::new(id, Arc::clone(&log), as_store(), Durability::None, found);
        (log, Arc::new(database))
    }

    /// Checkpoints while something happens before or after each write to the store, and once more without; then what a
    /// start finds, and how often the store was written to during the first.
    fn interrupted(
        dir: &Path,
        lines: &[&str],
        before: bool,
        change: impl Fn(&Database) + Send + 'static,
    ) -> (usize, Arc<Database>) {
        let store = Arc::new(Interrupted::default());
        let (log, database) = open(dir, &store);
        for line in lines {
            run_on(&database, line);
        }
        let theirs = Arc::clone(&database);
        let interruption = if before { &store.first } else { &store.then };
        *interruption.lock() = Some(Box::new(move || change(&theirs)));
        run(&[Arc::clone(&database)], &log, log.last(), &*store, BATCH_BYTES).unwrap();
        *interruption.lock() = None;
        let applied = store.applied.load(Ordering::Relaxed);
        run(&[Arc::clone(&database)], &log, log.last(), &*store, BATCH_BYTES).unwrap();
        log.close().unwrap();
        drop((log, database));
        let (_, database) = open(dir, &store);
        (applied, database)
    }

    #[test]
    fn a_database_emptied_during_a_checkpoint_stays_empty() {
        let large = "v".repeat(BATCH_BYTES / 2 + 1);
        // More than one batch, so that some keys still wait when the database is emptied.
        let lines = ["a", "b", "c", "d", "e"].map(|key| format!("SET {key} {large}"));
        let lines: Vec<&str> = lines.iter().map(String::as_str).collect();
        for before in [true, false] {
            let dir = tempfile::tempdir().unwrap();
            let times = AtomicUsize::new(0);
            let (_, database) = interrupted(dir.path(), &lines, before, move |database| {
                if times.fetch_add(1, Ordering::Relaxed) == 0 {
                    run_on(database, "FLUSHDB");
                    run_on(database, "MSET b new d new e new");
                }
            });
            assert_eq!(run_on(&database, "DBSIZE"), Reply::Integer(3), "before: {before}");
            assert_eq!(run_on(&database, "EXISTS a b c d e"), Reply::Integer(3));
            let new = || Reply::bulk("new");
            assert_eq!(run_on(&database, "MGET b d e"), Reply::Array(vec![new(), new(), new()]));
        }
    }

    #[test]
    fn a_large_value_that_keeps_changing_does_not_keep_a_checkpoint_from_ending() {
        let dir = tempfile::tempdir().unwrap();
        let large = format!("SET hot {}", "v".repeat(BATCH_BYTES + 1));
        let changes = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&changes);
        let (applied, database) = interrupted(dir.path(), &[&large], false, move |database| {
            assert!(count.fetch_add(1, Ordering::Relaxed) < 10, "the checkpoint does not end");
            run_on(database, "APPEND hot x");
        });
        assert_eq!(applied, 2, "the value, and the end");
        let length = BATCH_BYTES + 1 + changes.load(Ordering::Relaxed);
        assert_eq!(run_on(&database, "STRLEN hot"), Reply::count(length));
    }

    /// Whoever asks all the while finds the database with some keys settled, not only with all or none.
    #[test]
    fn others_get_their_turn_while_a_checkpoint_settles() {
        let dir = tempfile::tempdir().unwrap();
        let store = Arc::new(Interrupted::default());
        let (log, database) = open(dir.path(), &store);
        for n in 0..200 {
            let pairs: Vec<String> = (0..1_000).map(|m| format!("key:{n}:{m} v")).collect();
            run_on(&database, &format!("MSET {}", pairs.join(" ")));
        }
        let is_dirty = |key: &[u8]| {
            let state = database.hold_patiently();
            state.space.find(dormouse_engine::hash(key), key).is_some_and(|entry| entry.dirty)
        };
        let turns = std::thread::scope(|scope| {
            let asking = scope.spawn(|| {
                let mut turns = 0;
                while is_dirty(b"key:0:0") {
                    // The newest go first.
                    turns += usize::from(!is_dirty(b"key:199:999") && is_dirty(b"key:0:0"));
                }
                turns
            });
            run(&[Arc::clone(&database)], &log, log.last(), &*store, BATCH_BYTES).unwrap();
            asking.join().unwrap()
        });
        assert!(turns > 0);
    }
}
