//! Removal of what is past its deadline, when nobody asks for it.
//!
//! Each call does a bounded part, so that the database's lock is held for a moment only; whoever calls again goes on where
//! the last call stopped. Keys in memory are found by their deadlines, cold ones by the store's index: they are not loaded.

use dormouse_proto::Blob;

use super::Txn;
use crate::hub::Event;
use crate::keyspace::{Due, SourceError};

/// Once so much was brought into memory, [`Txn::reap_cold`] leaves the rest for later.
const LOADED_BYTES_MAX: usize = 4 << 20;
/// Parts of values that [`Txn::reap`] removes at most: whoever comes next waits so long.
const REAPED_PARTS_MAX: usize = 1_000;

/// What [`Txn::reap`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reaped {
    /// How many keys have gone.
    pub keys: usize,
    /// There may be more to do.
    pub more: bool,
}

/// What [`Txn::reap_cold`] did.
#[derive(Debug, Default)]
pub struct ReapedCold {
    /// How many keys have gone.
    pub keys: usize,
    /// How many of those it was given were dealt with: not all if there was much to load.
    pub dealt_with: usize,
    /// Why one of them could not be read: it is found again after the next checkpoint, and the others need not wait for that.
    pub failure: Option<SourceError>,
}

impl Txn<'_> {
    /// Removes keys whose deadline has passed, and then parts of values, of at most `count` keys in memory and few enough
    /// parts to be done soon.
    pub fn reap(&mut self, count: usize) -> Reaped {
        let mut reaped = Reaped::default();
        for hash in self.space.due(self.now_ms(), count) {
            for key in self.space.with_hash(hash) {
                let now_ms = self.now_ms();
                let entry = self.space.find(hash, &key);
                if entry.is_some_and(|entry| entry.value.is_some() && entry.alive_at(now_ms).is_none()) {
                    self.bury(hash, &key);
                    reaped.keys += 1;
                }
            }
        }
        let mut parts = 0;
        for hash in self.space.parts_due(self.now_ms(), count.saturating_sub(reaped.keys)) {
            for key in self.space.with_hash(hash) {
                parts += self.purge(hash, &key, REAPED_PARTS_MAX - parts);
            }
            if parts == REAPED_PARTS_MAX {
                break;
            }
        }
        reaped.more = reaped.keys >= count || self.space.has_parts_due(self.now_ms());
        reaped
    }

    /// Removes cold keys that the store's index says are past their deadlines, without loading them, and brings those of
    /// which only parts are into memory, where [`Self::reap`] finds them.
    pub fn reap_cold(&mut self, keys: &[(u64, Blob, Due)]) -> ReapedCold {
        let mut reaped = ReapedCold::default();
        let enough = self.space.memory_bytes() + LOADED_BYTES_MAX;
        for (hash, key, due) in keys {
            if self.space.memory_bytes() > enough {
                break;
            }
            reaped.dealt_with += 1;
            if !self.space.is_cold(*hash, key) {
                continue;
            }
            if due.part {
                reaped.failure = self.space.load(*hash, key, self.source).err().or(reaped.failure);
                continue;
            }
            self.journal.delete(key);
            self.space.bury_cold(*hash, key, *due, self.seq);
            self.buried(key);
            self.notify(Event::Expired, "expired", key);
            reaped.keys += 1;
        }
        reaped
    }
}
