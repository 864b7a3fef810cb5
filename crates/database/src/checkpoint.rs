//! Checkpoints: what memory is ahead by goes into the store, and the log before it goes away.
//!
//! A checkpoint notes the log's end, then takes the dirty keys of every database, a few at a time under the lock, while
//! commands go on. So the store may end up ahead of that note for some keys; their sequence numbers tell replay (see
//! `dormouse_engine::replay`). Before the store is touched, the log is synced: a store must never hold half of a
//! transaction whose other half could be lost.

use std::sync::Arc;

use dormouse_engine::{Record, Stored};
use dormouse_proto::Blob;
use dormouse_storage::{Batch, Log, Store};

use crate::database::Database;
use crate::layout::{self, Meta};

/// Dirty keys taken under one hold of a database's lock.
const KEYS_PER_HOLD: usize = 64;
/// Bytes of records after which a batch is applied; a checkpoint may take several.
const BATCH_BYTES_MAX: usize = 64 << 20;

/// A key on its way into the store.
struct Staged {
    hash: u64,
    key: Blob,
    seq: u64,
    epoch: u32,
    before: Stored,
    after: Stored,
    record: Vec<u8>,
}

/// Writes what is dirty into the store and trims the log. Returns how many keys were written.
pub(crate) fn run(databases: &[Arc<Database>], log: &Log, store: &dyn Store) -> Result<usize, dormouse_storage::Error> {
    let upto = log.last();
    let mut written = 0;
    for database in databases {
        // Taken once: what is changed from now on comes after `upto`, and is the next checkpoint's.
        let (epoch, mut waiting) = {
            let mut state = database.hold_patiently();
            (state.space.epoch(), state.space.take_dirty())
        };
        loop {
            let staged = collect(database, epoch, &mut waiting);
            written += staged.len();
            // Only the last batch of all may say that the log is covered.
            if let Err(error) = apply(database, log, store, &staged) {
                waiting.extend(staged.into_iter().map(|staged| (staged.hash, staged.key)));
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
    log.sync()?;
    store.apply(&Batch::default(), upto)?;
    log.trim(upto)?;
    Ok(written)
}

/// Takes some of the keys that were dirty, a few per hold, until none are left or the batch is full. If the database is
/// emptied meanwhile, they are nobody's any more.
fn collect(database: &Database, epoch: u32, waiting: &mut Vec<(u64, Blob)>) -> Vec<Staged> {
    let mut staged = Vec::new();
    let mut bytes = 0;
    while !waiting.is_empty() && bytes <= BATCH_BYTES_MAX {
        let state = database.hold_patiently();
        if state.space.epoch() != epoch {
            waiting.clear();
            break;
        }
        for _ in 0..KEYS_PER_HOLD {
            if bytes > BATCH_BYTES_MAX {
                break;
            }
            let Some((hash, key)) = waiting.pop() else { break };
            let Some(entry) = state.space.find(hash, &key).filter(|entry| entry.dirty) else { continue };
            let mut record = Vec::new();
            let mut after = Stored::NO;
            if let Some(value) = &entry.value {
                Record::write(value, entry.expires_at, entry.seq, &mut record);
                after = Stored::with_deadline(entry.expires_at);
            }
            bytes += record.len() + key.len();
            staged.push(Staged { hash, key, seq: entry.seq, epoch, before: entry.stored, after, record });
        }
    }
    staged
}

fn apply(database: &Database, log: &Log, store: &dyn Store, staged: &[Staged]) -> Result<(), dormouse_storage::Error> {
    let (mut meta, old) = {
        let state = database.hold_patiently();
        let (old, epoch) = (state.meta, state.space.epoch());
        let records = if epoch == old.epoch { old.records } else { 0 };
        (Meta { seq: state.seq, epoch, flushed_seq: state.space.flushed_seq(), records }, old)
    };
    let epoch = meta.epoch;
    let id = database.id();
    let mut batch = Batch::default();
    if meta.epoch != old.epoch {
        for (from, until) in layout::epoch(id, old.epoch) {
            batch.delete_range(from, until);
        }
    }
    for key in staged.iter().filter(|staged| staged.epoch == epoch) {
        stage(&mut batch, &mut meta, id, key);
    }
    if batch.is_empty() && meta == old {
        return Ok(());
    }
    batch.put(layout::meta(id), meta.write());
    log.sync()?;
    store.apply(&batch, store.applied())?;
    let mut state = database.hold_patiently();
    state.meta = meta;
    state.reaped_until.clear();
    if state.space.epoch() == meta.epoch {
        for key in staged.iter().filter(|staged| staged.epoch == meta.epoch) {
            state.space.settle(key.hash, &key.key, key.seq, key.after);
        }
    }
    Ok(())
}

/// Puts one key into the batch, with its place in the index of deadlines.
fn stage(batch: &mut Batch, meta: &mut Meta, id: crate::DatabaseId, staged: &Staged) {
    let Staged { hash, key, epoch, before, after, record, .. } = staged;
    let place = layout::record(id, *epoch, *hash, key);
    let index = |stored: Stored| match stored.deadline() {
        None | Some(0) => None,
        Some(deadline) => Some(layout::deadline(id, *epoch, deadline, *hash, key)),
    };
    if let Some(old) = index(*before)
        && before != after
    {
        batch.delete(old);
    }
    if let Some(new) = index(*after) {
        batch.put(new, Vec::new());
    }
    meta.records += u64::from(before.deadline().is_none() && after.deadline().is_some());
    meta.records = meta.records.saturating_sub(u64::from(before.deadline().is_some() && after.deadline().is_none()));
    if after.deadline().is_none() {
        if before.deadline().is_some() {
            batch.delete(place);
        }
    } else {
        batch.put(place, record.clone());
    }
}
