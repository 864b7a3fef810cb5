//! Which keys leave memory first.
//!
//! S3-FIFO: a key that comes into memory goes through a small queue, a tenth of all keys, and only what was used again
//! meanwhile moves on to the main one. So a scan over many keys, each read once, pushes out other such keys, and not what
//! is used all the time. A key that comes back soon after it left goes straight into the main queue: a table of
//! fingerprints, the ghosts, remembers it.
//!
//! The queues hold hashes. Nobody searches them: a key that is gone, or stands in the other queue, is passed over when its
//! turn comes, and the rare pile-up of such places is cleared away. What is known of a key itself is in its entry, as
//! [`Heat`]. `docs/residency.md` has hit rates.

use std::collections::{HashSet, VecDeque};

/// One in so many keys belongs into the small queue.
const SMALL_SHARE: usize = 10;
/// Uses are counted up to here.
const USES_MAX: u8 = 3;
/// A key that was used so often again while it was in the small queue moves on.
const USES_TO_STAY: u8 = 1;
/// Most fingerprints kept of keys that have left, in 4 bytes each.
const GHOSTS_MAX: usize = 1 << 21;
const GHOSTS_MIN: usize = 1 << 6;

/// How much a key is used, and which queue it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heat {
    /// Uses, and whether it is the main queue.
    bits: u8,
    /// The transaction that used it last: it counts once, however often it looks.
    turn: u8,
}

impl Heat {
    const MAIN: u8 = 1 << 7;

    const fn new(main: bool, turn: u8) -> Self {
        Self { bits: if main { Self::MAIN } else { 0 }, turn }
    }

    /// Whether it stands in the main queue.
    pub(crate) const fn is_main(self) -> bool {
        self.bits & Self::MAIN != 0
    }

    const fn uses(self) -> u8 {
        self.bits & !Self::MAIN
    }

    /// A transaction uses it.
    pub(crate) const fn warm(&mut self, turn: u8) {
        if self.turn != turn && self.uses() < USES_MAX {
            self.bits += 1;
        }
        self.turn = turn;
    }
}

/// Fingerprints of keys that left memory a while ago, in a table where newer ones overwrite older ones.
#[derive(Clone, Debug, Default)]
struct Ghosts(Vec<u32>);

impl Ghosts {
    /// Where a key belongs, and its fingerprint, which is never 0.
    fn place(&self, hash: u64) -> Option<(usize, u32)> {
        // The leading bits order the keys; the trailing ones are as good as random.
        let at = (hash as usize) & self.0.len().checked_sub(1)?;
        Some((at, (hash >> 32) as u32 | 1))
    }

    /// Remembers a key; there is room for about `keys` of them.
    fn put(&mut self, hash: u64, keys: usize) {
        let room = Self::room(keys);
        if room > self.0.len() {
            self.0 = vec![0; room];
        }
        if let Some((at, fingerprint)) = self.place(hash) {
            self.0[at] = fingerprint;
        }
    }

    /// How large the table is for so many keys.
    fn room(keys: usize) -> usize {
        keys.clamp(GHOSTS_MIN, GHOSTS_MAX).next_power_of_two()
    }

    /// Becomes smaller if it was made for far more keys. Places are the trailing bits of hashes, so that what stood in both
    /// halves stands in one then, the newer half of it as good as any.
    fn fit(&mut self, keys: usize) {
        let room = Self::room(keys);
        if self.0.len() <= 2 * room {
            return;
        }
        let (kept, folded) = self.0.split_at_mut(room);
        for some in folded.chunks(room) {
            for (kept, folded) in kept.iter_mut().zip(some) {
                if *folded != 0 {
                    *kept = *folded;
                }
            }
        }
        self.0.truncate(room);
        self.0.shrink_to_fit();
    }

    /// Forgets a key; whether it was remembered.
    fn take(&mut self, hash: u64) -> bool {
        let Some((at, fingerprint)) = self.place(hash) else { return false };
        let found = self.0[at] == fingerprint;
        if found {
            self.0[at] = 0;
        }
        found
    }
}

/// The order in which keys leave; see the module's text.
#[derive(Clone, Debug, Default)]
pub(crate) struct Order {
    small: VecDeque<u64>,
    main: VecDeque<u64>,
    ghosts: Ghosts,
}

impl Order {
    /// A key has come into memory.
    pub(crate) fn enter(&mut self, hash: u64, turn: u8) -> Heat {
        let main = self.ghosts.take(hash);
        if main { &mut self.main } else { &mut self.small }.push_back(hash);
        Heat::new(main, turn)
    }

    /// The key whose turn it is, and whether that is in the main queue, if there is any.
    pub(crate) fn next(&mut self) -> Option<(u64, bool)> {
        let small_is_full = self.small.len() * SMALL_SHARE > self.small.len() + self.main.len();
        let main = !small_is_full && !self.main.is_empty() || self.small.is_empty();
        let hash = if main { self.main.pop_front() } else { self.small.pop_front() };
        Some((hash?, main))
    }

    /// Whether a key that [`Self::next`] named stays, and puts it back if so. `may_leave` is whether it can leave at all,
    /// `keys` how many there are in memory.
    pub(crate) fn stays(&mut self, hash: u64, heat: &mut Heat, may_leave: bool, keys: usize) -> bool {
        if !heat.is_main() && (heat.uses() >= USES_TO_STAY || !may_leave) {
            // What has to stay for now is not what the small queue is for.
            *heat = Heat::new(true, heat.turn);
        } else if heat.is_main() && heat.uses() > 0 {
            heat.bits -= 1;
        } else if may_leave {
            if !heat.is_main() {
                self.ghosts.put(hash, keys);
            }
            return false;
        }
        self.main.push_back(hash);
        true
    }

    /// Clears away the places of keys that are gone, if there are many. `is_in` says whether a key stands in the main
    /// queue, or in the small one.
    pub(crate) fn clean(&mut self, keys: usize, is_in: impl Fn(u64, bool) -> bool) {
        if self.small.len() + self.main.len() <= 2 * keys + GHOSTS_MIN {
            return;
        }
        for (queue, main) in [(&mut self.small, false), (&mut self.main, true)] {
            let mut seen = HashSet::new();
            queue.retain(|&hash| is_in(hash, main) && seen.insert(hash));
        }
        self.fit(keys);
    }

    /// Gives back room that is for far more keys than there are.
    pub(crate) fn fit(&mut self, keys: usize) {
        for queue in [&mut self.small, &mut self.main] {
            if queue.capacity() > 4 * queue.len().max(GHOSTS_MIN) {
                queue.shrink_to(queue.len() + queue.len() / 2);
            }
        }
        self.ghosts.fit(keys);
    }

    /// Bytes of memory it takes.
    pub(crate) fn memory_bytes(&self) -> usize {
        (self.small.capacity() + self.main.capacity()) * size_of::<u64>() + self.ghosts.0.len() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// A cache of so many keys.
    #[derive(Default)]
    struct Cache {
        order: Order,
        keys: HashMap<u64, Heat>,
        turn: u8,
    }

    impl Cache {
        /// Uses a key; whether it was there.
        fn get(&mut self, key: u64, room: usize) -> bool {
            self.turn = self.turn.wrapping_add(1);
            let hash = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            if let Some(heat) = self.keys.get_mut(&hash) {
                heat.warm(self.turn);
                return true;
            }
            let heat = self.order.enter(hash, self.turn);
            self.keys.insert(hash, heat);
            while self.keys.len() > room {
                self.step(true);
            }
            false
        }

        fn step(&mut self, may_leave: bool) {
            let (hash, main) = self.order.next().expect("every key stands in a queue");
            let keys = self.keys.len();
            let Some(heat) = self.keys.get_mut(&hash).filter(|heat| heat.is_main() == main) else { return };
            if !self.order.stays(hash, heat, may_leave, keys) {
                self.keys.remove(&hash);
            }
        }
    }

    #[test]
    fn a_scan_leaves_what_is_used_all_the_time() {
        let mut cache = Cache::default();
        for step in 0..20_000 {
            cache.get(step % 500, 1_000);
            cache.get(1_000_000 + step, 1_000);
        }
        // A scan alone, of many times what there is room for.
        for step in 0..900 {
            cache.get(2_000_000 + step, 1_000);
        }
        let hits = (0..500).filter(|&key| cache.get(key, 1_000)).count();
        assert!(hits > 490, "{hits} of 500 are still there");
    }

    #[test]
    fn one_transaction_counts_once() {
        let mut heat = Order::default().enter(7, 1);
        heat.warm(1);
        assert_eq!(heat.uses(), 0);
        heat.warm(2);
        heat.warm(2);
        assert_eq!(heat.uses(), 1);
        (3..20).for_each(|turn| heat.warm(turn));
        assert_eq!((heat.uses(), heat.is_main()), (USES_MAX, false));
    }

    #[test]
    fn what_comes_back_soon_stays_longer() {
        let mut cache = Cache::default();
        (0..200).for_each(|key| {
            cache.get(key, 100);
        });
        cache.get(99, 100);
        let heat = cache.keys[&99_u64.wrapping_mul(0x9e37_79b9_7f4a_7c15)];
        assert!(heat.is_main(), "it left a hundred keys ago");
    }

    #[test]
    fn what_may_not_leave_stays() {
        let mut cache = Cache::default();
        (0..100).for_each(|key| {
            cache.get(key, 100);
        });
        (0..1_000).for_each(|_| cache.step(false));
        assert_eq!(cache.keys.len(), 100);
        let steps = (0..400)
            .take_while(|_| {
                !cache.keys.is_empty() && {
                    cache.step(true);
                    true
                }
            })
            .count();
        assert!(cache.keys.is_empty(), "all of them can go afterwards, in {steps} steps");
    }

    #[test]
    fn with_fewer_keys_the_tables_are_smaller() {
        let mut cache = Cache::default();
        (0..100_000).for_each(|key| {
            cache.get(key, 60_000);
        });
        let before = cache.order.memory_bytes();
        (100_000..101_000).for_each(|key| {
            cache.get(key, 1_000);
        });
        cache.order.fit(cache.keys.len());
        assert!(cache.order.memory_bytes() < before / 10, "{} of {before}", cache.order.memory_bytes());
        (101_000..103_000).for_each(|key| {
            cache.get(key, 1_000);
        });
        let again = 101_990;
        assert!(!cache.get(again, 1_000), "it has left");
        let heat = cache.keys[&again.wrapping_mul(0x9e37_79b9_7f4a_7c15)];
        assert!(heat.is_main(), "it left ten keys ago");
    }

    #[test]
    fn keys_that_come_and_go_leave_no_pile() {
        let mut cache = Cache::default();
        for round in 0..100_000_u64 {
            cache.get(round % 10, 100);
            cache.keys.remove(&(round % 10).wrapping_mul(0x9e37_79b9_7f4a_7c15));
            let Cache { order, keys, .. } = &mut cache;
            order.clean(keys.len(), |hash, main| keys.get(&hash).is_some_and(|heat| heat.is_main() == main));
        }
        assert!(cache.order.memory_bytes() < 10_000, "{}", cache.order.memory_bytes());
    }
}
