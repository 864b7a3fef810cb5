//! A store that keeps the contract of [`Store`], and no more than that.
//!
//! What the contract leaves open is decided against whoever relies on it: an `apply` that fails may turn out to have happened,
//! which the next opening finds out, and nothing more can be applied until then. A [`Mutant`] breaks the contract.

use std::collections::BTreeMap;
use std::io;
use std::ops::Bound;
use std::sync::Arc;

use bytes::Bytes;
use dormouse_engine::Random;
use dormouse_storage::{Batch, Error, Lsn, Result, Snapshot, Store, check_batch};
use parking_lot::Mutex;

use crate::Mutant;

type Entries = BTreeMap<Bytes, Bytes>;

/// The kinds of keys that `database/src/layout.rs` knows, as far as mutants do.
const RECORD: u8 = 1;
const DEADLINE: u8 = 2;
const NOTE: u8 = 4;
const LIBRARIES: u8 = 7;
/// The key of the hash seed: all directories that one process opens have the same.
const HASH_SEED: &[u8] = b"\x00hash-seed";

/// See the module's text.
#[derive(Debug, Default)]
pub struct SimStore {
    state: Mutex<State>,
}

#[derive(Clone, Debug, Default)]
struct State {
    entries: Arc<Entries>,
    applied: Lsn,
    /// What was there before the last batch.
    before: Arc<Entries>,
    /// An apply that failed.
    in_doubt: Option<(Batch, Lsn)>,
    applies: u64,
    fail_apply_at: Option<u64>,
    reads: u64,
    fail_read_at: Option<u64>,
    reads_fail: bool,
    mutant: Option<Mutant>,
}

impl SimStore {
    /// An empty store, but for the hash seed.
    pub fn new(mutant: Option<Mutant>) -> Self {
        let entries = Entries::from([(Bytes::from_static(HASH_SEED), Bytes::from_static(b"hashseed"))]);
        let entries = Arc::new(entries);
        let state = State { before: Arc::clone(&entries), entries, mutant, ..State::default() };
        Self { state: Mutex::new(state) }
    }

    /// How many batches have been applied, or were to be.
    pub fn applies(&self) -> u64 {
        self.state.lock().applies
    }

    /// The apply with this number (from 1) fails, and so do all after it.
    pub fn fail_apply_at(&self, apply: u64) {
        self.state.lock().fail_apply_at = Some(apply);
    }

    /// How many reads there have been so far.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// The read with this number (from 1) fails, once.
    pub fn fail_read_at(&self, read: u64) {
        self.state.lock().fail_read_at = Some(read);
    }

    /// From now on reads fail, or no longer.
    pub fn fail_reads(&self, fail: bool) {
        self.state.lock().reads_fail = fail;
    }

    /// The store as the next process finds it; chance decides what became of an apply that failed.
    #[must_use]
    pub fn reopened(&self, random: &mut Random) -> Self {
        let mut state = self.state.lock().clone();
        let happened = random.below(2) == 0;
        if let Some((batch, upto)) = state.in_doubt.take() {
            if state.mutant == Some(Mutant::HalfCheckpoint) {
                state.entries = Arc::new(halfway(&state.entries, &batch));
            } else if happened {
                state.entries = Arc::new(changed(&state.entries, &batch, state.mutant));
                state.applied = upto;
            }
        } else if state.mutant == Some(Mutant::LosesCheckpoint) {
            state.entries = Arc::clone(&state.before);
        }
        let State { entries, applied, before, mutant, .. } = state;
        Self { state: Mutex::new(State { entries, applied, before, mutant, ..State::default() }) }
    }

    /// A digest of what is there.
    pub fn digest(&self) -> String {
        let state = self.state.lock();
        format!("{:?} {:?}", state.applied, state.entries)
    }

    fn reading(&self, context: &str) -> Result<Arc<Entries>> {
        let mut state = self.state.lock();
        state.reads += 1;
        if state.reads_fail || state.fail_read_at == Some(state.reads) {
            Err(injected(context))
        } else {
            Ok(Arc::clone(&state.entries))
        }
    }
}

fn injected(context: &str) -> Error {
    Error::Io { context: context.to_owned(), source: Arc::new(io::Error::other("injected fault")) }
}

/// Whether a mutant keeps a change out of the store.
fn is_lost(mutant: Option<Mutant>, key: &[u8], value: Option<&Bytes>) -> bool {
    let kind = key.first().copied().unwrap_or_default();
    match mutant {
        Some(Mutant::ForgetsDeletions) => value.is_none() && kind == RECORD,
        Some(Mutant::LosesKey) => kind == RECORD && key.last().is_some_and(|last| last % 16 == 1),
        Some(Mutant::LosesNotes) => kind == NOTE,
        Some(Mutant::LosesDeadlines) => kind == DEADLINE,
        Some(Mutant::LosesLibraries) => kind == LIBRARIES,
        _ => false,
    }
}

fn changed(entries: &Entries, batch: &Batch, mutant: Option<Mutant>) -> Entries {
    let mut entries = entries.clone();
    for (from, until) in batch.ranges() {
        entries.retain(|key, _| !(from <= key && key < until));
    }
    for (key, value) in batch.entries().filter(|(key, value)| !is_lost(mutant, key, *value)) {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
    entries
}

fn halfway(entries: &Entries, batch: &Batch) -> Entries {
    let mut entries = entries.clone();
    for (key, value) in batch.entries().take(batch.len() / 2) {
        match value {
            Some(value) => entries.insert(key.clone(), value.clone()),
            None => entries.remove(key),
        };
    }
    entries
}

fn scan(entries: &Entries, from: &[u8], until: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
    if from >= until {
        return Vec::new();
    }
    let range = entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)));
    range.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

struct Frozen(Arc<Entries>);

impl Snapshot for Frozen {
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(scan(&self.0, from, until, limit))
    }
}

impl Store for SimStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        let entries = self.reading("reading the store")?;
        let state = self.state.lock();
        if state.mutant == Some(Mutant::ReadsStale)
            && key.first() == Some(&RECORD)
            && let Some(stale) = state.before.get(key)
        {
            return Ok(Some(stale.clone()));
        }
        Ok(entries.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(scan(&*self.reading("scanning the store")?, from, until, limit))
    }

    fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Bytes>> {
        Ok(self.scan(from, until, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    fn apply(&self, batch: &Batch, upto: Lsn) -> Result<()> {
        let mut state = self.state.lock();
        check_batch(batch, state.applied, upto)?;
        state.applies += 1;
        if state.in_doubt.is_some() {
            return Err(injected("applying a checkpoint after one that failed"));
        }
        if state.fail_apply_at.is_some_and(|at| state.applies >= at) {
            state.in_doubt = Some((batch.clone(), upto));
            return Err(injected("applying a checkpoint"));
        }
        if !batch.is_empty() {
            state.before = Arc::clone(&state.entries);
            state.entries = Arc::new(changed(&state.entries, batch, state.mutant));
        }
        state.applied = upto;
        Ok(())
    }

    fn applied(&self) -> Lsn {
        let state = self.state.lock();
        let more = u64::from(state.mutant == Some(Mutant::SkipsRecord) && state.applied > Lsn(0));
        Lsn(state.applied.0 + more)
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(Frozen(Arc::clone(&self.state.lock().entries)))
    }

    fn disk_bytes(&self) -> Result<u64> {
        Ok(self.state.lock().entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    dormouse_storage::store_contract!(sim_store, |_: &std::path::Path| Box::new(crate::SimStore::default()));

    #[test]
    fn a_failed_apply_happened_wholly_or_not_at_all() {
        let mut outcomes = [0; 2];
        for seed in 0..20 {
            let store = SimStore::default();
            let mut batch = Batch::default();
            batch.put("one", "1");
            batch.put("two", "2");
            store.fail_apply_at(1);
            assert!(store.apply(&batch, Lsn(3)).is_err());
            assert_eq!((store.get(b"one").unwrap(), store.applied()), (None, Lsn(0)), "nobody sees it yet");
            assert!(store.apply(&Batch::default(), Lsn(3)).is_err(), "nothing more until it is opened again");
            let again = store.reopened(&mut Random::new(seed));
            let happened = again.applied() == Lsn(3);
            assert_eq!(again.get(b"one").unwrap().is_some(), happened);
            assert_eq!(again.get(b"two").unwrap().is_some(), happened);
            outcomes[usize::from(happened)] += 1;
        }
        assert!(outcomes.iter().all(|&times| times > 0), "{outcomes:?}");
    }
}
