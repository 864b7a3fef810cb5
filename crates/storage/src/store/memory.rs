//! A store in memory, for tests and simulation: what a store means, in the fewest words.

use std::collections::BTreeMap;
use std::ops::Bound;

use bytes::Bytes;
use parking_lot::RwLock;

use super::{Batch, Snapshot, Store, check_batch};
use crate::{Lsn, Result};

/// A [`Store`] that forgets everything when dropped.
#[derive(Debug, Default)]
pub struct MemoryStore {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    entries: BTreeMap<Bytes, Bytes>,
    applied: Lsn,
}

/// A copy.
struct Frozen(BTreeMap<Bytes, Bytes>);

impl Snapshot for Frozen {
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(scan(&self.0, from, until, limit))
    }
}

fn scan(entries: &BTreeMap<Bytes, Bytes>, from: &[u8], until: &[u8], limit: usize) -> Vec<(Bytes, Bytes)> {
    if from >= until {
        return Vec::new();
    }
    let entries = entries.range::<[u8], _>((Bound::Included(from), Bound::Excluded(until)));
    entries.take(limit).map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl Store for MemoryStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        Ok(self.state.read().entries.get(key).cloned())
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        Ok(scan(&self.state.read().entries, from, until, limit))
    }

    fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Bytes>> {
        Ok(self.scan(from, until, limit)?.into_iter().map(|(key, _)| key).collect())
    }

    fn apply(&self, batch: &Batch, upto: Lsn) -> Result<()> {
        let mut state = self.state.write();
        check_batch(batch, state.applied, upto)?;
        for (from, until) in batch.ranges() {
            let mut tail = state.entries.split_off(from);
            let mut rest = tail.split_off(until);
            state.entries.append(&mut rest);
        }
        for (key, value) in batch.entries() {
            match value {
                Some(value) => state.entries.insert(key.clone(), value.clone()),
                None => state.entries.remove(key),
            };
        }
        state.applied = upto;
        Ok(())
    }

    fn applied(&self) -> Lsn {
        self.state.read().applied
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        Box::new(Frozen(self.state.read().entries.clone()))
    }

    fn disk_bytes(&self) -> Result<u64> {
        let state = self.state.read();
        Ok(state.entries.iter().map(|(key, value)| (key.len() + value.len()) as u64).sum())
    }
}
