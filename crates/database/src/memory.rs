//! How much memory data may take, and who waits when it takes more.
//!
//! The operator names a bound for the process. A part of it is for what works on data: blocks of the store, and the changes
//! of a checkpoint under way. The rest is the line for data: beyond it keys leave memory, and changed ones go into the store
//! first. Writers are faster than that, so there is a wall a little behind the line: commands that make data grow wait there
//! until it is less, or are refused if it cannot get less because checkpoints fail.
//!
//! What the allocator really holds for all this is more: holes where something was. While the process takes more than its
//! bound and [`SLACK`] allow, the line moves down.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// Part of the bound for blocks of the store, and the most that is of use.
const CACHE_SHARE: u64 = 8;
const CACHE_BYTES_MAX: u64 = 32 << 20;
/// Part of the bound for one batch of a checkpoint, and the most and least that is of use.
const BATCH_SHARE: u64 = 16;
const BATCH_BYTES_MAX: u64 = 64 << 20;
const BATCH_BYTES_MIN: u64 = 256 << 10;
/// A batch is there twice while the store writes it.
const BATCHES: u64 = 2;
/// How far behind the line the wall is, as a part of the room for data.
const WALL_SHARE: u64 = 16;
const WALL_BYTES_MIN: u64 = 1 << 20;
/// The log may grow to this part of the room for data before a checkpoint: what it has cannot leave memory.
const TAIL_SHARE: u64 = 4;
const TAIL_BYTES_MIN: u64 = 1 << 20;
/// A database tells of its bytes when they have changed by this part of the room for data.
const GRAIN_SHARE: u64 = 4096;
const GRAIN_BYTES_MAX: u64 = 16 << 10;
/// What the process may take beyond its bound: a part of it, and what it takes without any data.
const SLACK_SHARE: u64 = 20;
const SLACK_BYTES: u64 = 32 << 20;
/// The line never moves below this part of the room.
const LINE_SHARE_MIN: u64 = 2;

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The operator's bound; 0 is none.
    max: u64,
    /// Bytes of data, as all databases have told.
    taken: AtomicU64,
    /// By how much the line is lower than it should be.
    held_back: AtomicU64,
    /// What is there cannot get less: nobody waits for that.
    stuck: AtomicBool,
    /// Checkpoints fail, so it cannot get less until they work again.
    failing: AtomicBool,
}

impl Memory {
    pub(crate) const fn new(max: u64) -> Self {
        Self {
            max,
            taken: AtomicU64::new(0),
            held_back: AtomicU64::new(0),
            stuck: AtomicBool::new(false),
            failing: AtomicBool::new(false),
        }
    }

    /// For blocks of the store.
    pub(crate) const fn cache_bytes(&self) -> u64 {
        match self.max {
            0 => CACHE_BYTES_MAX,
            max => least(max / CACHE_SHARE, CACHE_BYTES_MAX),
        }
    }

    /// For one batch of a checkpoint.
    pub(crate) const fn batch_bytes(&self) -> u64 {
        match self.max {
            0 => BATCH_BYTES_MAX,
            max if max / BATCH_SHARE < BATCH_BYTES_MIN => BATCH_BYTES_MIN,
            max => least(max / BATCH_SHARE, BATCH_BYTES_MAX),
        }
    }

    /// For data.
    const fn room(&self) -> u64 {
        if self.max == 0 {
            return u64::MAX;
        }
        let batch = least(self.max / BATCH_SHARE, self.batch_bytes());
        self.max - self.cache_bytes() - BATCHES * batch
    }

    /// Where the line is. `None` if there is no bound.
    pub(crate) fn line(&self) -> Option<u64> {
        (self.max > 0).then(|| self.room() - self.held_back.load(Ordering::Relaxed))
    }

    /// How much log calls for a checkpoint, so that data can leave memory.
    pub(crate) const fn tail_bytes(&self) -> u64 {
        let share = self.room() / TAIL_SHARE;
        if share < TAIL_BYTES_MIN { TAIL_BYTES_MIN } else { share }
    }

    /// A database takes so many bytes; `told` is what it said last, and is for this to keep.
    pub(crate) fn tell(&self, told: &AtomicU64, bytes: u64) {
        let grain = least(self.room() / GRAIN_SHARE, GRAIN_BYTES_MAX);
        if self.max > 0 && told.load(Ordering::Relaxed).abs_diff(bytes) > grain {
            self.tell_exactly(told, bytes);
        }
    }

    /// As [`Self::tell`], to the byte: what many databases are off by adds up.
    pub(crate) fn tell_exactly(&self, told: &AtomicU64, bytes: u64) {
        let before = told.swap(bytes, Ordering::Relaxed);
        self.taken.fetch_add(bytes.wrapping_sub(before), Ordering::Relaxed);
    }

    /// A database leaves memory.
    pub(crate) fn forget(&self, told: &AtomicU64) {
        self.taken.fetch_sub(told.swap(0, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether what makes data grow has to wait.
    #[inline]
    pub(crate) fn is_at_wall(&self) -> bool {
        self.max > 0 && self.is_past_wall()
    }

    fn is_past_wall(&self) -> bool {
        let wall = self.line().unwrap_or(u64::MAX).saturating_add((self.room() / WALL_SHARE).max(WALL_BYTES_MIN));
        self.taken.load(Ordering::Relaxed) > wall && (self.is_failing() || !self.stuck.load(Ordering::Relaxed))
    }

    /// Whether all has left memory that could, and it is still too much.
    pub(crate) fn note_stuck(&self, stuck: bool) {
        self.stuck.store(stuck, Ordering::Relaxed);
    }

    pub(crate) fn note_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }

    /// Whether the last checkpoint failed.
    pub(crate) fn is_failing(&self) -> bool {
        self.failing.load(Ordering::Relaxed)
    }

    /// The process takes so many bytes of the machine's memory: moves the line.
    pub(crate) fn weigh(&self, process_bytes: u64) {
        if self.max == 0 {
            return;
        }
        let allowed = self.max.saturating_add(self.max / SLACK_SHARE + SLACK_BYTES);
        let held_back = self.held_back.load(Ordering::Relaxed);
        // Down in steps, since memory comes free a little after its data is gone, and up in smaller ones.
        let moved = if process_bytes > allowed {
            held_back + (process_bytes - allowed) / 8
        } else {
            held_back - least(held_back, 1 + (allowed - process_bytes) / 32)
        };
        self.held_back.store(least(moved, self.room() / LINE_SHARE_MIN), Ordering::Relaxed);
    }
}

const fn least(a: u64, b: u64) -> u64 {
    if a < b { a } else { b }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use dormouse_engine::{Client, ClientId, Door, Grant, Moment, Patient};
    use dormouse_proto::Reply;
    use dormouse_storage::{Durability, LogOptions, MemoryStore, Store};

    use super::*;
    use crate::database::{Database, DatabaseId};
    use crate::recovery;
    use crate::work::{Ran, Work};

    const MIB: u64 = 1 << 20;

    #[test]
    fn with_checkpoints_that_fail_nothing_grows_past_the_wall() {
        let dir = tempfile::tempdir().unwrap();
        let store: Arc<dyn Store> = Arc::new(MemoryStore::default());
        let (log, _) = recovery::run(dir.path(), LogOptions::default(), &store).unwrap();
        let found = recovery::load(&*store, DatabaseId(1)).unwrap();
        let memory = Arc::new(Memory::new(MIB));
        let database = Database::new(DatabaseId(1), Arc::new(log), store, Durability::None, found).bounded(&memory);
        let run = |args: &[&[u8]]| {
            let command = dormouse_engine::find(args).unwrap().command;
            let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
            let moment = Moment { now_us: 1, seed: 1 };
            match database.run(&mut client, Work::One(command, args), moment, &Patient) {
                Ran::Done { reply, .. } => Some(reply),
                _ => None,
            }
        };
        assert_eq!(run(&[b"SET", b"k", &vec![b'v'; 2 << 20]]), Some(Reply::OK));
        assert_eq!(run(&[b"SET", b"other", b"v"]), None, "it waits");
        memory.note_failing(true);
        assert!(
            matches!(run(&[b"SET", b"other", b"v"]), Some(Reply::Error(error)) if error.to_string().starts_with("OOM "))
        );
        assert_eq!(run(&[b"STRLEN", b"k"]), Some(Reply::Integer(2 << 20)));
        assert_eq!(run(&[b"DEL", b"k"]), Some(Reply::Integer(1)));
        assert_eq!(run(&[b"SET", b"other", b"v"]), Some(Reply::OK));
    }

    #[test]
    fn most_of_the_bound_is_for_data() {
        for max in [64 << 10, MIB, 64 * MIB, 256 * MIB, 1 << 30, 64 << 30] {
            let memory = Memory::new(max);
            let line = memory.line().unwrap();
            assert!(line >= max - max / 4, "{max}: {line}");
            assert!(line + memory.cache_bytes() <= max, "{max}: {line}");
        }
        assert_eq!(Memory::new(256 * MIB).line(), Some(192 * MIB));
        assert_eq!(Memory::new(0).line(), None);
    }

    #[test]
    fn writers_wait_behind_the_line() {
        let memory = Memory::new(256 * MIB);
        let (one, other) = (AtomicU64::new(0), AtomicU64::new(0));
        memory.tell(&one, 150 * MIB);
        memory.tell(&other, 50 * MIB);
        assert!(!memory.is_at_wall(), "a little more than there is room for: keys are leaving");
        memory.tell(&other, 60 * MIB);
        assert!(memory.is_at_wall());
        memory.note_stuck(true);
        assert!(!memory.is_at_wall(), "it would be for ever");
        memory.note_failing(true);
        assert!(memory.is_at_wall(), "it is refused");
        memory.note_failing(false);
        memory.note_stuck(false);
        memory.forget(&one);
        assert!(!memory.is_at_wall());
        memory.tell(&other, 0);
        assert_eq!(memory.taken.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn without_a_bound_nobody_waits() {
        let memory = Memory::new(0);
        memory.tell(&AtomicU64::new(0), u64::MAX);
        memory.weigh(u64::MAX);
        assert!(!memory.is_at_wall());
        assert!(memory.tail_bytes() > 1 << 60);
    }

    #[test]
    fn the_line_moves_down_while_the_process_takes_too_much_and_comes_back() {
        let memory = Memory::new(256 * MIB);
        let line = memory.line().unwrap();
        memory.weigh(400 * MIB);
        let lower = memory.line().unwrap();
        assert!(lower < line);
        (0..1_000).for_each(|_| memory.weigh(1 << 40));
        assert_eq!(memory.line(), Some(line / 2), "and no further");
        (0..1_000).for_each(|_| memory.weigh(200 * MIB));
        assert_eq!(memory.line(), Some(line));
    }
}
