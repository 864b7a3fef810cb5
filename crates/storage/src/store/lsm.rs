//! The embedded store: an LSM tree without a memtable and without a journal.
//!
//! A checkpoint is already what an LSM tree wants, many sorted changes at once, so it is written straight into new
//! tables, and one atomic change of the tree's version makes all of it visible or none. The log position travels as one
//! more key of the same tables. There is nothing to replay at opening: the tree's version names its tables, and their
//! indexes are read when a key asks for them. Values over a kilobyte live in files of their own, so that merging tables
//! does not copy them.
//!
//! One thread merges tables behind the checkpoints and sleeps when there is nothing to merge. When it falls far behind,
//! `apply` waits for it, so that reads stay cheap. After a failed apply nothing more is applied until the next opening.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

use bytes::Bytes;
use lsm_tree::compaction::Leveled;
use lsm_tree::config::{BlockSizePolicy, PinningPolicy};
use lsm_tree::{AbstractTree, AnyTree, Cache, Config, Guard, KvSeparationOptions, SeqNo, SequenceNumberCounter};
use parking_lot::{Condvar, Mutex, MutexGuard};

use super::{Batch, Snapshot, Store, StoreOptions, check_batch};
use crate::{Error, Lsn, Result};

/// Where the applied position is kept: before every key a caller can have, being shorter.
const APPLIED_KEY: &[u8] = &[0];

/// Values from here on live outside the tables.
const SEPARATE_VALUE_BYTES: u32 = 1024;

/// Past this many unmerged checkpoints, which every read has to look through, `apply` waits for the merging thread.
const UNMERGED_MAX: usize = 12;

/// The newest state: readers never ask for an older one.
const NEWEST: SeqNo = SeqNo::MAX;

pub(super) struct LsmStore {
    shared: Arc<Shared>,
    applied: AtomicU64,
    /// One apply at a time, and none after one failed.
    failed: Mutex<Option<Error>>,
    merging: Option<JoinHandle<()>>,
}

struct Shared {
    dir: PathBuf,
    tree: AnyTree,
    /// Everything before this is visible; older versions of a key below it may be merged away.
    visible: SequenceNumberCounter,
    /// Sequence numbers that snapshots are held at, and how many.
    held: Mutex<BTreeMap<SeqNo, usize>>,
    merge: Mutex<Merge>,
    /// The merging thread waits here for work, and those who apply wait here for it.
    changed: Condvar,
}

/// What the merging thread is told, and tells.
#[derive(Default)]
struct Merge {
    wanted: bool,
    closing: bool,
    /// Set when the thread is gone: waiting for it would be for ever.
    ended: bool,
    /// Why the last merge failed.
    failure: Option<Error>,
}

impl LsmStore {
    pub(super) fn open(dir: &Path, options: &StoreOptions) -> Result<Self> {
        let mut store = Self::open_idle(dir, options)?;
        let merger = Arc::clone(&store.shared);
        let merging = std::thread::Builder::new()
            .name("store-merge".into())
            .spawn(move || merger.merge_until_closed())
            .map_err(|error| Error::io("starting the store's merging thread", error))?;
        store.merging = Some(merging);
        Ok(store)
    }

    /// Without the thread that merges: for who only looks.
    pub(super) fn open_idle(dir: &Path, options: &StoreOptions) -> Result<Self> {
        let (next, visible) = (SequenceNumberCounter::default(), SequenceNumberCounter::default());
        let config = config(dir, options, &next, &visible);
        let tree = config.open().map_err(|error| translate("opening the store", dir, error))?;
        let after = tree.get_highest_persisted_seqno().map_or(0, |newest| newest + 1);
        next.set(after);
        visible.set(after);
        let merge = Mutex::new(Merge { wanted: true, ..Merge::default() });
        let held = Mutex::default();
        let shared = Arc::new(Shared { dir: dir.to_owned(), tree, visible, held, merge, changed: Condvar::new() });
        let applied = AtomicU64::new(shared.read_applied()?);
        Ok(Self { shared, applied, failed: Mutex::new(None), merging: None })
    }

    /// The files that hold what the store has, each with the checksum it had when it was written.
    pub(super) fn files(&self) -> Vec<(PathBuf, u128)> {
        let version = self.shared.tree.current_version();
        let tables = version.iter_tables().map(|table| (table.path.to_path_buf(), table.checksum().into_u128()));
        let blobs = version.blob_files.iter().map(|file| (file.path().to_owned(), file.checksum().into_u128()));
        tables.chain(blobs).collect()
    }
}

fn config(dir: &Path, options: &StoreOptions, next: &SequenceNumberCounter, visible: &SequenceNumberCounter) -> Config {
    let separation = KvSeparationOptions::default().separation_threshold(SEPARATE_VALUE_BYTES);
    // Indexes and filters in pieces, none held: opening reads none of them, and a lookup only those it needs.
    Config::new(dir, next.clone(), visible.clone())
        .use_cache(Arc::new(Cache::with_capacity_bytes(options.cache_bytes)))
        .data_block_size_policy(BlockSizePolicy::all(4096))
        .index_block_partitioning_policy(PinningPolicy::all(true))
        .filter_block_partitioning_policy(PinningPolicy::all(true))
        .index_block_pinning_policy(PinningPolicy::all(false))
        .filter_block_pinning_policy(PinningPolicy::all(false))
        .with_kv_separation(Some(separation))
}

impl Drop for LsmStore {
    fn drop(&mut self) {
        self.shared.merge.lock().closing = true;
        self.shared.changed.notify_all();
        if let Some(thread) = self.merging.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's merging thread panicked");
        }
    }
}

impl Store for LsmStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        if key.len() < super::KEY_BYTES_MIN {
            return Ok(None);
        }
        let value = self.shared.tree.get(key, NEWEST);
        let value = value.map_err(|error| self.shared.translate("reading a key", error))?;
        Ok(value.map(|value| unshared(value.into())))
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let entries = self.shared.range(from, until).take(limit).map(|guard| {
            let (key, value) = guard.into_inner().map_err(|error| self.shared.translate("scanning", error))?;
            Ok((key.into(), value.into()))
        });
        entries.collect()
    }

    fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Bytes>> {
        let keys = self.shared.range(from, until).take(limit).map(|guard| self.shared.key(guard));
        keys.collect()
    }

    fn apply(&self, batch: &Batch, upto: Lsn) -> Result<()> {
        let mut failed = self.failed.lock();
        if let Some(error) = &*failed {
            return Err(error.clone());
        }
        check_batch(batch, self.applied(), upto)?;
        self.shared.wait_for_merging()?;
        if let Err(error) = self.shared.ingest(batch, upto) {
            tracing::error!(%error, "a checkpoint failed; the store takes no more until it is opened again");
            *failed = Some(Error::Poisoned { cause: Arc::new(error.clone()) });
            return Err(error);
        }
        self.applied.store(upto.0, Ordering::Release);
        self.shared.merge.lock().wanted = true;
        self.shared.changed.notify_all();
        Ok(())
    }

    fn applied(&self) -> Lsn {
        Lsn(self.applied.load(Ordering::Acquire))
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        // Under the lock that a merge takes its own bound under: what is seen here stays until it is let go.
        let mut held = self.shared.held.lock();
        let seqno = self.shared.visible.get();
        *held.entry(seqno).or_default() += 1;
        Box::new(Frozen { shared: Arc::clone(&self.shared), seqno })
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(self.shared.tree.disk_space())
    }
}

/// The tree before a sequence number.
struct Frozen {
    shared: Arc<Shared>,
    seqno: SeqNo,
}

impl Snapshot for Frozen {
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        let entries = self.shared.range_before(from, until, self.seqno).take(limit).map(|guard| {
            let (key, value) = guard.into_inner().map_err(|error| self.shared.translate("scanning", error))?;
            Ok((key.into(), value.into()))
        });
        entries.collect()
    }
}

impl Drop for Frozen {
    fn drop(&mut self) {
        let mut held = self.shared.held.lock();
        if let Some(count) = held.get_mut(&self.seqno) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.seqno);
            }
        }
    }
}

impl Shared {
    fn read_applied(&self) -> Result<u64> {
        let value = self.tree.get(APPLIED_KEY, NEWEST);
        let Some(value) = value.map_err(|error| self.translate("reading the store's position", error))? else {
            return Ok(0);
        };
        let bytes = <[u8; 8]>::try_from(&*value).map_err(|_| Error::Corrupt {
            path: self.dir.clone(),
            offset: 0,
            what: "the store's position is not a number; restore the directory from a backup".into(),
        })?;
        Ok(u64::from_le_bytes(bytes))
    }

    /// Entries with `from <= key < until`, of the state as it is now. Never the store's own note.
    fn range(&self, from: &[u8], until: &[u8]) -> Box<dyn Iterator<Item = impl Guard + use<>> + Send> {
        self.range_before(from, until, NEWEST)
    }

    fn range_before(
        &self,
        from: &[u8],
        until: &[u8],
        seqno: SeqNo,
    ) -> Box<dyn Iterator<Item = impl Guard + use<>> + Send> {
        let from = if from <= APPLIED_KEY { Bound::Excluded(APPLIED_KEY) } else { Bound::Included(from) };
        let (Bound::Included(first) | Bound::Excluded(first)) = from else { unreachable!("both bounds are closed") };
        if first >= until {
            return Box::new(std::iter::empty());
        }
        Box::new(self.tree.range::<&[u8], _>((from, Bound::Excluded(until)), seqno, None))
    }

    fn key(&self, guard: impl Guard) -> Result<Bytes> {
        guard.key().map(Bytes::from).map_err(|error| self.translate("scanning", error))
    }

    /// Writes the batch into new tables in one ascending pass, and makes them part of the tree.
    fn ingest(&self, batch: &Batch, upto: Lsn) -> Result<()> {
        let translate = |error| self.translate("applying a checkpoint", error);
        let mut ingestion = self.tree.ingestion().map_err(translate)?;
        ingestion.write(APPLIED_KEY, &upto.0.to_le_bytes()[..]).map_err(translate)?;
        let mut entries = batch.entries().peekable();
        // A key put after its range was cleared counts as put, so on a tie the batch's own entry wins.
        for cleared in self.cleared(batch) {
            let cleared = cleared?;
            while let Some((key, value)) = entries.next_if(|(key, _)| **key < cleared) {
                write(&mut ingestion, key, value).map_err(translate)?;
            }
            if entries.peek().is_none_or(|(key, _)| **key != cleared) {
                write(&mut ingestion, &cleared, None).map_err(translate)?;
            }
        }
        for (key, value) in entries {
            write(&mut ingestion, key, value).map_err(translate)?;
        }
        ingestion.finish().map_err(translate)
    }

    /// The stored keys in the batch's ranges, ascending, each once.
    fn cleared(&self, batch: &Batch) -> impl Iterator<Item = Result<Bytes>> {
        let ranges = disjoint(batch.ranges());
        ranges.into_iter().flat_map(|(from, until)| self.range(&from, &until).map(|guard| self.key(guard)))
    }

    fn translate(&self, context: &str, error: lsm_tree::Error) -> Error {
        translate(context, &self.dir, error)
    }

    fn wait_for_merging(&self) -> Result<()> {
        let mut merge = self.merge.lock();
        while self.tree.l0_run_count() > UNMERGED_MAX {
            if let Some(error) = &merge.failure {
                return Err(error.clone());
            }
            if merge.ended {
                let what = "the merging thread has ended; restart".into();
                return Err(Error::Store { context: "applying a checkpoint".into(), what });
            }
            merge.wanted = true;
            self.changed.notify_all();
            self.changed.wait(&mut merge);
        }
        Ok(())
    }

    fn merge_until_closed(&self) {
        let _ended = SayEnded(self);
        let mut merge = self.merge.lock();
        while !merge.closing {
            if !std::mem::take(&mut merge.wanted) {
                self.changed.wait(&mut merge);
                continue;
            }
            let merged = MutexGuard::unlocked(&mut merge, || self.merge_once());
            match merged {
                // One merge often makes another due.
                Ok(true) => merge.wanted = true,
                Ok(false) => {}
                Err(error) => {
                    tracing::error!(%error, "merging tables failed; it is tried again after the next checkpoint");
                    merge.failure = Some(error);
                    self.changed.notify_all();
                    continue;
                }
            }
            merge.failure = None;
            self.changed.notify_all();
        }
    }

    /// One merge if one is due; whether there was.
    fn merge_once(&self) -> Result<bool> {
        let before = self.tree.current_version().id();
        let strategy = Arc::new(Leveled::default());
        let bound = {
            let held = self.held.lock();
            held.first_key_value().map_or_else(|| self.visible.get(), |(&seqno, _)| seqno)
        };
        let merged = self.tree.compact(strategy, bound);
        merged.map_err(|error| self.translate("merging tables", error))?;
        Ok(self.tree.current_version().id() != before)
    }
}

/// Says that the merging thread has ended, even if by a panic.
struct SayEnded<'a>(&'a Shared);

impl Drop for SayEnded<'_> {
    fn drop(&mut self) {
        // Its own guard of this lock is gone by now, in order or by unwinding.
        self.0.merge.lock().ended = true;
        self.0.changed.notify_all();
    }
}

/// A small value is a slice of its whole block; a caller that keeps it would keep the block in memory too.
fn unshared(value: Bytes) -> Bytes {
    if value.len() < SEPARATE_VALUE_BYTES as usize { Bytes::copy_from_slice(&value) } else { value }
}

fn write(ingestion: &mut lsm_tree::AnyIngestion<'_>, key: &Bytes, value: Option<&Bytes>) -> lsm_tree::Result<()> {
    match value {
        Some(value) => ingestion.write(key.clone(), value.clone()),
        None => ingestion.write_tombstone(key.clone()),
    }
}

/// The same keys in ascending ranges that do not overlap.
fn disjoint(ranges: &[(Bytes, Bytes)]) -> Vec<(Bytes, Bytes)> {
    let mut ends: BTreeMap<&Bytes, &Bytes> = BTreeMap::new();
    for (from, until) in ranges {
        let end = ends.entry(from).or_insert(until);
        *end = (*end).max(until);
    }
    let mut merged: Vec<(Bytes, Bytes)> = Vec::new();
    for (from, until) in ends {
        match merged.last_mut() {
            Some((_, end)) if from <= end => {
                if *end < *until {
                    end.clone_from(until);
                }
            }
            _ => merged.push((from.clone(), until.clone())),
        }
    }
    merged
}

fn translate(context: &str, dir: &Path, error: lsm_tree::Error) -> Error {
    match error {
        lsm_tree::Error::Io(error) => Error::io(format!("{context} in {}", dir.display()), error),
        lsm_tree::Error::InvalidVersion(version) => Error::Store {
            context: format!("{context} in {}", dir.display()),
            what: format!("it was written in format {version} by another version, which is the one to open it with"),
        },
        damage => Error::Corrupt {
            path: dir.to_owned(),
            offset: 0,
            what: format!("{context} met damage ({damage:?}); restore the directory from a backup"),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranges(pairs: &[(&'static str, &'static str)]) -> Vec<(Bytes, Bytes)> {
        pairs.iter().map(|(from, until)| (Bytes::from(*from), Bytes::from(*until))).collect()
    }

    #[test]
    fn overlapping_ranges_become_one() {
        let table: &[(&[_], &[_])] = &[
            (&[], &[]),
            (&[("b", "c"), ("a", "b")], &[("a", "c")]),
            (&[("a", "z"), ("b", "c")], &[("a", "z")]),
            (&[("a", "b"), ("c", "d"), ("a", "bb")], &[("a", "bb"), ("c", "d")]),
        ];
        for (given, expected) in table {
            assert_eq!(disjoint(&ranges(given)), ranges(expected));
        }
    }
}
