//! A hash map that can be scanned with a stateless cursor.
//!
//! Keys are kept in pages by the leading bits of their hash (extendible hashing), so walking the pages walks the keys in
//! hash order. `SCAN`, `HSCAN`, `SSCAN` and `ZSCAN` resume from "the first hash not yet returned": whatever is there all
//! along is returned once, whether the map grew, shrank, left memory or was reloaded in between. A page that fills up is
//! split alone, so no insert ever pays for rehashing the whole map.
//!
//! The keyspace uses the same order on disk; see [`hash`]. Nothing here depends on the order of insertion.

use std::sync::OnceLock;

use dormouse_proto::Blob;
use xxhash_rust::xxh3::xxh3_64_with_seed;

use crate::moment::Random;

/// A page is split beyond this many keys.
const PAGE_KEYS_MAX: usize = 32;
/// Buddies that together hold fewer keys than this become one page.
const PAGE_KEYS_MERGE: usize = 12;
/// Beyond this depth pages grow instead: only equal hashes can still be together there.
const DEPTH_MAX: u8 = 32;
/// Leading bits of the hash that a cursor carries; JSON numbers stay exact up to 53.
const CURSOR_BITS: u32 = 48;

static SEED: OnceLock<u64> = OnceLock::new();

/// Fixes the seed of [`hash`] for this process. The order of stored keys depends on it, so it is kept with the data.
/// Returns the seed in force, which is an earlier one if something was hashed or set before.
pub fn set_hash_seed(seed: u64) -> u64 {
    *SEED.get_or_init(|| seed)
}

/// The hash that orders keys, fields and members, in memory and on disk.
pub fn hash(key: &[u8]) -> u64 {
    xxh3_64_with_seed(key, *SEED.get_or_init(|| 0))
}

/// Where a scan goes on: hashes below it have been returned. Zero starts, and zero again means the end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Cursor(pub u64);

impl Cursor {
    /// The first hash still to be visited.
    pub const fn first_hash(self) -> u64 {
        self.0 << (64 - CURSOR_BITS)
    }

    /// Whether a client can have got this cursor from us.
    pub const fn is_valid(self) -> bool {
        self.0 < 1 << CURSOR_BITS
    }

    /// The cursor after everything that shares the leading bits of `hash`.
    pub const fn after(hash: u64) -> Self {
        Self(((hash >> (64 - CURSOR_BITS)) + 1) & ((1 << CURSOR_BITS) - 1))
    }

    /// Whether both hashes are returned by the same step of a scan.
    pub const fn same_step(a: u64, b: u64) -> bool {
        a >> (64 - CURSOR_BITS) == b >> (64 - CURSOR_BITS)
    }
}

/// A map from byte strings to `V`; see the module's text.
#[derive(Clone, Debug)]
pub struct ScanMap<V> {
    /// Page of each prefix of `depth` bits.
    directory: Vec<u32>,
    depth: u8,
    pages: Vec<Page<V>>,
    /// Pages that a merge left unused.
    free: Vec<u32>,
    len: usize,
}

#[derive(Clone, Debug)]
struct Page<V> {
    depth: u8,
    hashes: Vec<u64>,
    slots: Vec<(Blob, V)>,
}

impl<V> Page<V> {
    const fn new(depth: u8) -> Self {
        Self { depth, hashes: Vec::new(), slots: Vec::new() }
    }

    fn position(&self, hash: u64, key: &[u8]) -> Option<usize> {
        self.hashes
            .iter()
            .enumerate()
            .find_map(|(at, &other)| (other == hash && self.slots[at].0.as_slice() == key).then_some(at))
    }

    fn push(&mut self, hash: u64, slot: (Blob, V)) {
        self.hashes.push(hash);
        self.slots.push(slot);
    }
}

impl<V> Default for ScanMap<V> {
    fn default() -> Self {
        Self { directory: vec![0], depth: 0, pages: vec![Page::new(0)], free: Vec::new(), len: 0 }
    }
}

impl<V> ScanMap<V> {
    /// How many keys there are.
    pub const fn len(&self) -> usize {
        self.len
    }

    fn page_of(&self, hash: u64) -> usize {
        let prefix = if self.depth == 0 { 0 } else { (hash >> (64 - u32::from(self.depth))) as usize };
        self.directory[prefix] as usize
    }

    /// The value of `key`.
    pub fn get(&self, key: &[u8]) -> Option<&V> {
        self.get_hashed(hash(key), key)
    }

    /// As [`Self::get`], for a caller that has the hash already.
    pub fn get_hashed(&self, hash: u64, key: &[u8]) -> Option<&V> {
        let page = &self.pages[self.page_of(hash)];
        page.position(hash, key).map(|at| &page.slots[at].1)
    }

    /// The value of `key`, to change it.
    pub fn get_mut_hashed(&mut self, hash: u64, key: &[u8]) -> Option<&mut V> {
        let page = self.page_of(hash);
        let page = &mut self.pages[page];
        page.position(hash, key).map(|at| &mut page.slots[at].1)
    }

    /// Sets the value of `key`; returns the one it replaced.
    pub fn insert(&mut self, key: Blob, value: V) -> Option<V> {
        self.insert_hashed(hash(&key), key, value)
    }

    /// As [`Self::insert`], for a caller that has the hash already.
    pub fn insert_hashed(&mut self, hash: u64, key: Blob, value: V) -> Option<V> {
        let mut at = self.page_of(hash);
        if let Some(slot) = self.pages[at].position(hash, &key) {
            return Some(std::mem::replace(&mut self.pages[at].slots[slot].1, value));
        }
        while self.pages[at].slots.len() >= PAGE_KEYS_MAX && self.pages[at].depth < DEPTH_MAX {
            if !self.split(at, hash) {
                break;
            }
            at = self.page_of(hash);
        }
        self.pages[at].push(hash, (key, value));
        self.len += 1;
        None
    }

    /// Splits the page that `hash` belongs to. False if all its keys share their hash, which no split can part.
    fn split(&mut self, at: usize, hash: u64) -> bool {
        let first = self.pages[at].hashes[0];
        if self.pages[at].hashes.iter().all(|&other| other == first) && first == hash {
            return false;
        }
        if self.pages[at].depth == self.depth {
            self.directory = self.directory.iter().flat_map(|&page| [page, page]).collect();
            self.depth += 1;
        }
        let depth = self.pages[at].depth;
        let bit = 63 - u32::from(depth);
        let old = std::mem::replace(&mut self.pages[at], Page::new(depth + 1));
        let upper = self.new_page(depth + 1);
        for (hash, slot) in old.hashes.into_iter().zip(old.slots) {
            let page = if hash >> bit & 1 == 1 { upper as usize } else { at };
            self.pages[page].push(hash, slot);
        }
        let span = 1_usize << (self.depth - depth - 1);
        let prefix = (hash >> (64 - u32::from(self.depth))) as usize;
        let upper_start = (prefix & !(2 * span - 1)) + span;
        self.directory[upper_start..upper_start + span].fill(upper);
        true
    }

    fn new_page(&mut self, depth: u8) -> u32 {
        if let Some(page) = self.free.pop() {
            self.pages[page as usize] = Page::new(depth);
            return page;
        }
        self.pages.push(Page::new(depth));
        (self.pages.len() - 1) as u32
    }

    /// Removes `key`; returns it with its value.
    pub fn remove(&mut self, key: &[u8]) -> Option<(Blob, V)> {
        self.remove_hashed(hash(key), key)
    }

    /// As [`Self::remove`], for a caller that has the hash already.
    pub fn remove_hashed(&mut self, hash: u64, key: &[u8]) -> Option<(Blob, V)> {
        let at = self.page_of(hash);
        let page = &mut self.pages[at];
        let slot = page.position(hash, key)?;
        page.hashes.swap_remove(slot);
        let removed = page.slots.swap_remove(slot);
        self.len -= 1;
        if self.len == 0 {
            *self = Self::default();
        } else {
            self.merge(hash);
        }
        Some(removed)
    }

    /// Joins the page of `hash` with its buddy while both are nearly empty.
    fn merge(&mut self, hash: u64) {
        loop {
            let at = self.page_of(hash);
            let depth = self.pages[at].depth;
            if depth == 0 {
                return;
            }
            let buddy = self.page_of(hash ^ (1 << (64 - u32::from(depth))));
            let together = self.pages[at].slots.len() + self.pages[buddy].slots.len();
            if self.pages[buddy].depth != depth || together > PAGE_KEYS_MERGE {
                return;
            }
            let gone = std::mem::replace(&mut self.pages[buddy], Page::new(0));
            let page = &mut self.pages[at];
            page.depth -= 1;
            page.hashes.extend(gone.hashes);
            page.slots.extend(gone.slots);
            self.free.push(buddy as u32);
            let span = 1_usize << (self.depth - depth + 1);
            let prefix = (hash >> (64 - u32::from(self.depth))) as usize & !(span - 1);
            self.directory[prefix..prefix + span].fill(at as u32);
        }
    }

    /// Every key and value, in no order worth relying on.
    pub fn iter(&self) -> impl Iterator<Item = (&Blob, &V)> {
        self.pages.iter().flat_map(|page| page.slots.iter().map(|(key, value)| (key, value)))
    }

    /// The keys with a hash of at least `from`, by rising hash, at least `count` of them if there are as many.
    ///
    /// A page is returned whole, so this may be up to a page more.
    pub fn starting_at(&self, from: u64, count: usize) -> Vec<(u64, &Blob, &V)> {
        let mut found = Vec::new();
        let mut prefix = if self.depth == 0 { 0 } else { (from >> (64 - u32::from(self.depth))) as usize };
        while prefix < self.directory.len() && found.len() < count {
            let page = &self.pages[self.directory[prefix] as usize];
            let start = found.len();
            let slots = page.hashes.iter().zip(&page.slots);
            found.extend(slots.filter(|(hash, _)| **hash >= from).map(|(&hash, (key, value))| (hash, key, value)));
            found[start..].sort_unstable_by(|a, b| (a.0, a.1).cmp(&(b.0, b.1)));
            let span = 1_usize << (self.depth - page.depth);
            prefix = (prefix & !(span - 1)) + span;
        }
        found
    }

    /// One step of a scan: at least `count` entries unless the end is reached, and where to go on.
    pub fn scan(&self, cursor: Cursor, count: usize) -> (Cursor, Vec<(&Blob, &V)>) {
        let found = self.starting_at(cursor.first_hash(), count.saturating_add(1));
        let mut next = Cursor(0);
        let mut page = Vec::with_capacity(found.len());
        let mut last: Option<u64> = None;
        for (hash, key, value) in found {
            if let Some(last) = last
                && page.len() >= count
                && !Cursor::same_step(last, hash)
            {
                next = Cursor::after(last);
                break;
            }
            last = Some(hash);
            page.push((key, value));
        }
        (next, page)
    }

    /// Values whose keys have this very hash, with their keys.
    pub fn with_hash(&self, hash: u64) -> impl Iterator<Item = (&Blob, &V)> {
        let page = &self.pages[self.page_of(hash)];
        let slots = page.hashes.iter().zip(&page.slots).filter(move |(other, _)| **other == hash);
        slots.map(|(_, (key, value))| (key, value))
    }

    /// As [`Self::with_hash`], to change them.
    pub fn with_hash_mut(&mut self, hash: u64) -> impl Iterator<Item = (&Blob, &mut V)> {
        let page = self.page_of(hash);
        let page = &mut self.pages[page];
        let slots = page.hashes.iter().zip(&mut page.slots).filter(move |(other, _)| **other == hash);
        slots.map(|(_, (key, value))| (&*key, value))
    }

    /// One entry, each with the same chance.
    pub fn random(&self, random: &mut Random) -> Option<(&Blob, &V)> {
        if self.len == 0 {
            return None;
        }
        // Rejection sampling: a directory slot stands for its share of the page's keys.
        for _ in 0..4096 {
            let page = &self.pages[self.directory[random.below(self.directory.len() as u64) as usize] as usize];
            let share = 1_u64 << (self.depth - page.depth);
            let draw = random.below(share.saturating_mul(PAGE_KEYS_MAX.max(page.slots.len()) as u64));
            if draw < page.slots.len() as u64 {
                let (key, value) = &page.slots[draw as usize];
                return Some((key, value));
            }
        }
        // A nearly empty map with a large directory: walk to a random place instead.
        self.iter().nth(random.below(self.len as u64) as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::{BTreeMap, BTreeSet};

    fn key(n: u64) -> Blob {
        Blob::from(format!("key:{n}").into_bytes())
    }

    #[test]
    fn behaves_like_a_map_while_it_grows_and_shrinks() {
        let mut map = ScanMap::default();
        let mut model = BTreeMap::new();
        let mut random = Random::new(7);
        for round in 0..60_000 {
            // Grows for the first half, shrinks in the second.
            let n = random.below(8_000);
            let grow = random.below(100) < if round < 30_000 { 70 } else { 25 };
            if grow {
                assert_eq!(map.insert(key(n), round), model.insert(key(n), round));
            } else {
                assert_eq!(map.remove(&key(n)).map(|(_, value)| value), model.remove(&key(n)));
            }
            assert_eq!(map.len(), model.len());
        }
        for n in 0..8_000 {
            assert_eq!(map.get(&key(n)), model.get(&key(n)));
        }
        assert_eq!(map.iter().count(), model.len());
        for n in 0..8_000 {
            map.remove(&key(n));
        }
        assert_eq!(map.len(), 0);
        assert_eq!(map.directory.len(), 1);
    }

    #[test]
    fn a_scan_returns_what_is_there_all_along() {
        let mut map = ScanMap::default();
        for n in 0..2_000 {
            map.insert(key(n), n);
        }
        let mut seen = BTreeSet::new();
        let mut cursor = Cursor(0);
        let mut fresh = 10_000;
        loop {
            let (next, page) = map.scan(cursor, 10);
            seen.extend(page.into_iter().map(|(key, _)| key.clone()));
            cursor = next;
            if cursor == Cursor(0) {
                break;
            }
            // Odd keys come and go meanwhile; even ones stay.
            for _ in 0..40 {
                map.insert(key(fresh), 0);
                map.remove(&key((fresh * 7 % 1_000) * 2 + 1));
                fresh += 1;
            }
        }
        assert!((0..1_000).all(|n| seen.contains(&key(n * 2))));
    }

    #[test]
    fn a_scan_without_changes_returns_each_key_once() {
        let mut map = ScanMap::default();
        for n in 0..1_000 {
            map.insert(key(n), ());
        }
        let (mut cursor, mut seen, mut steps) = (Cursor(0), Vec::new(), 0);
        loop {
            let (next, page) = map.scan(cursor, 7);
            assert!(page.len() >= 7 || next == Cursor(0));
            seen.extend(page.into_iter().map(|(key, ())| key.clone()));
            (cursor, steps) = (next, steps + 1);
            if cursor == Cursor(0) {
                break;
            }
        }
        assert_eq!(seen.len(), 1_000);
        assert!(steps > 100);
    }

    #[test]
    fn random_draws_reach_every_key() {
        let mut map = ScanMap::default();
        for n in 0..100 {
            map.insert(key(n), n);
        }
        let mut random = Random::new(1);
        let mut hits = vec![0; 100];
        for _ in 0..20_000 {
            hits[*map.random(&mut random).unwrap().1 as usize] += 1;
        }
        assert!(hits.iter().all(|&n| n > 100 && n < 320), "{hits:?}");
    }
}
