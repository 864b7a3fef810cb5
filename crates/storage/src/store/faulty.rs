//! A store that fails when told to, around any other store.
//!
//! A failed apply changes nothing, as the contract of [`Store::apply`] demands of real ones; what callers must show is
//! that they keep going, or stop, without having shown or forgotten anything.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;

use super::{Batch, Snapshot, Store};
use crate::{Error, Lsn, Result};

/// Passes everything on to another store, except what it was told to fail.
pub struct FaultyStore {
    inner: Arc<dyn Store>,
    reads_fail: AtomicBool,
    applies_fail: AtomicBool,
}

impl FaultyStore {
    /// Faultless until told otherwise.
    pub fn new(inner: Arc<dyn Store>) -> Self {
        Self { inner, reads_fail: AtomicBool::new(false), applies_fail: AtomicBool::new(false) }
    }

    /// From now on reads fail, or no longer.
    pub fn fail_reads(&self, fail: bool) {
        self.reads_fail.store(fail, Ordering::SeqCst);
    }

    /// From now on applies fail, or no longer.
    pub fn fail_applies(&self, fail: bool) {
        self.applies_fail.store(fail, Ordering::SeqCst);
    }

    fn reading(&self) -> Result<&dyn Store> {
        if self.reads_fail.load(Ordering::SeqCst) {
            return Err(injected("reading the store"));
        }
        Ok(&*self.inner)
    }
}

fn injected(context: &str) -> Error {
    Error::io(context, io::Error::other("injected fault"))
}

impl Store for FaultyStore {
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>> {
        self.reading()?.get(key)
    }

    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>> {
        self.reading()?.scan(from, until, limit)
    }

    fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Bytes>> {
        self.reading()?.scan_keys(from, until, limit)
    }

    fn apply(&self, batch: &Batch, upto: Lsn) -> Result<()> {
        if self.applies_fail.load(Ordering::SeqCst) {
            return Err(injected("applying a checkpoint"));
        }
        self.inner.apply(batch, upto)
    }

    fn applied(&self) -> Lsn {
        self.inner.applied()
    }

    fn snapshot(&self) -> Box<dyn Snapshot> {
        self.inner.snapshot()
    }

    fn disk_bytes(&self) -> Result<u64> {
        self.inner.disk_bytes()
    }
}
