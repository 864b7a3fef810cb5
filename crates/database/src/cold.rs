//! Keys that only the store has, and how they come into memory without others having to wait for the disk.
//!
//! A command finds its keys under the lock of its database. When reads of the store are quick, out of the system's memory,
//! the cold ones among them are read right there: that takes less time than to ask somebody else. Once one was slow, and for
//! hundreds of reads after the last slow one, it is done as a [`Fetch`]: on a thread that may block, with the lock let go.
//! What comes in that way is taken only if the key has been cold all the while.

use std::sync::atomic::{AtomicU64, Ordering};

use dormouse_engine::{ClientId, Libraries, Record, Source, SourceError, hash};
use dormouse_proto::Blob;
use dormouse_storage::Store;

use crate::database::{Database, DatabaseId, State};
use crate::layout;
use crate::work::Work;

/// A read that takes longer is slow: that long others may be kept waiting, and no longer.
const SLOW_US: u64 = 200;
/// The slowest read counts for less with each one after it, by this part.
const FORGET_SHARE: u64 = 256;
/// Before anything is known, reads are as good as slow, but a few quick ones are enough to show otherwise.
const UNKNOWN_US: u64 = SLOW_US + SLOW_US / 16;
/// Most keys fetched for one command, and bytes of their records: what it needs beyond that is read as it runs.
const FETCH_KEYS_MAX: usize = 1024;
const FETCH_BYTES_MAX: usize = 64 << 20;

/// Tells how long something takes, in microseconds from anywhere.
type Clock = fn() -> u64;

/// How long reads of the store take lately: that of the slowest, little by little forgotten.
#[derive(Debug)]
pub(crate) struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(UNKNOWN_US))
    }
}

impl Pace {
    fn note(&self, took_us: u64) {
        let before = self.0.load(Ordering::Relaxed);
        // Of two notes at the same time one may be lost; the next slow read makes up for it.
        self.0.store(took_us.max(before - before.div_ceil(FORGET_SHARE)), Ordering::Relaxed);
    }

    fn is_slow(&self) -> bool {
        self.0.load(Ordering::Relaxed) > SLOW_US
    }
}

/// The store, seen as the source of one database's cold keys.
pub(crate) struct Cold<'a> {
    pub(crate) store: &'a dyn Store,
    pub(crate) id: DatabaseId,
    pub(crate) epoch: u32,
    /// Where to note how long it takes, and a clock for that.
    pub(crate) pace: Option<(&'a Pace, Clock)>,
}

impl Cold<'_> {
    fn failed(&self, error: &dyn std::fmt::Display) -> SourceError {
        tracing::error!(database = self.id.0, %error, "a stored key could not be read");
        SourceError
    }

    fn read(&self, hash: u64, key: &[u8]) -> Result<Option<Record>, SourceError> {
        let stored = self.store.get(&layout::record(self.id, self.epoch, hash, key));
        let Some(bytes) = stored.map_err(|error| self.failed(&error))? else { return Ok(None) };
        Record::read(&bytes).map(Some).map_err(|error| self.failed(&error))
    }
}

impl Source for Cold<'_> {
    fn load(&self, hash: u64, key: &[u8]) -> Result<Option<Record>, SourceError> {
        let Some((pace, clock_us)) = self.pace else { return self.read(hash, key) };
        let began_us = clock_us();
        let record = self.read(hash, key);
        pace.note(clock_us().saturating_sub(began_us));
        record
    }

    fn keys(&self, from: u64, count: usize) -> Result<Vec<(u64, Blob)>, SourceError> {
        let (start, end) = layout::records_from(self.id, self.epoch, from);
        let mut found = self.store.scan_keys(&start, &end, count).map_err(|error| self.failed(&error))?;
        if found.len() == count
            && let Some(last) = found.last()
        {
            // The rest of the last step, so that none of its keys is passed over.
            let (hash, _) = layout::split_record(last).map_err(|error| self.failed(&error))?;
            let after = [&last[..], &[0]].concat();
            let until = layout::records_of_step(self.id, self.epoch, hash);
            found.extend(self.store.scan_keys(&after, &until, usize::MAX).map_err(|error| self.failed(&error))?);
        }
        let split = |key: &bytes::Bytes| layout::split_record(key).map(|(hash, key)| (hash, Blob::from(key)));
        found.iter().map(split).collect::<Result<_, _>>().map_err(|error| self.failed(&error))
    }

    fn libraries(&self) -> Result<Option<(u64, Libraries)>, SourceError> {
        let stored = self.store.get(&layout::libraries(self.id)).map_err(|error| self.failed(&error))?;
        stored.map(|bytes| Libraries::read(&bytes)).transpose().map_err(|error| self.failed(&error))
    }
}

/// Cold keys that a command is going to need.
#[derive(Clone, Debug)]
pub(crate) struct Fetch {
    epoch: u32,
    clock_us: Clock,
    /// Whether the client can be told what comes later: then it has to be there still when its command runs.
    pub(crate) is_connected: bool,
    /// Each with what the database said of its going and coming.
    keys: Vec<(u64, Blob, u32)>,
}

/// What is to be done about keys that only the store has.
#[derive(Clone, Copy)]
pub(crate) enum Fetching<'a> {
    /// They are read as they are met.
    Never,
    /// If reads are slow, they are fetched first.
    IfNeeded,
    /// They have been.
    Done(&'a Fetch),
}

impl Database {
    /// What to fetch before this is run, if the store is slow and it names keys that only the store has.
    pub(crate) fn fetch_for(&self, state: &State, client: ClientId, work: &Work<'_>) -> Option<Fetch> {
        let clock_us = state.hub.facts.clock_us?;
        if state.space.cold() == 0 || !self.pace.is_slow() {
            return None;
        }
        let mut keys = Vec::new();
        let mut look = |key: &[u8]| {
            let hash = hash(key);
            if keys.len() < FETCH_KEYS_MAX && state.space.is_cold(hash, key) {
                keys.push((hash, Blob::from(key), state.space.leavings(hash)));
            }
        };
        match work {
            Work::One(command, args) => command.keys_of(args).for_each(&mut look),
            Work::All { queue, .. } => {
                for queued in *queue {
                    let args: Vec<&[u8]> = queued.args.iter().map(Blob::as_slice).collect();
                    queued.command.keys_of(&args).for_each(&mut look);
                }
            }
        }
        let is_connected = state.is_connected(client);
        (!keys.is_empty()).then(|| Fetch { epoch: state.space.epoch(), clock_us, is_connected, keys })
    }

    /// Brings keys into memory. May block.
    pub(crate) fn fetch(&self, fetch: &Fetch) {
        let pace = Some((&self.pace, fetch.clock_us));
        let cold = Cold { store: &*self.store, id: self.id(), epoch: fetch.epoch, pace };
        let mut found = Vec::new();
        let mut bytes = 0;
        for (hash, key, leavings) in &fetch.keys {
            // One that cannot be read is told to the command that asks for it.
            let Ok(record) = cold.load(*hash, key) else { break };
            bytes += record.as_ref().map_or(0, |record| record.value.memory_bytes());
            found.extend(record.map(|record| (*hash, key, *leavings, record)));
            if bytes > FETCH_BYTES_MAX {
                break;
            }
        }
        // A script that has the database may have it for long: then they are read again when they are asked for.
        let Some(mut state) = self.hold() else { return };
        for (hash, key, leavings, record) in found {
            let space = &mut state.space;
            // What has come and gone meanwhile may have been changed in between.
            if space.epoch() == fetch.epoch && space.leavings(hash) == leavings && space.is_cold(hash, key) {
                space.admit(hash, key, Some(record));
            }
        }
        self.tell_memory(state.space.memory_bytes());
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::sync::{Arc, mpsc};

    use bytes::Bytes;
    use dormouse_engine::{Client, ClientId, Door, Grant, Moment, Patient};
    use dormouse_proto::Reply;
    use dormouse_storage::{Batch, Durability, Log, LogOptions, Lsn, MemoryStore, Snapshot};
    use parking_lot::Mutex;

    use super::*;
    use crate::database::{Delivery, Outbox};
    use crate::work::{LongJob, Ran};
    use crate::{checkpoint, recovery};

    type Interruption = Box<dyn FnOnce() + Send>;

    /// A store that lets something happen behind the next read.
    #[derive(Default)]
    struct Slow {
        inside: MemoryStore,
        next: Mutex<Option<Interruption>>,
    }

    impl Store for Slow {
        fn get(&self, key: &[u8]) -> dormouse_storage::Result<Option<Bytes>> {
            let found = self.inside.get(key);
            let next = self.next.lock().take();
            if let Some(next) = next {
                next();
            }
            found
        }

        fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> dormouse_storage::Result<Vec<(Bytes, Bytes)>> {
            self.inside.scan(from, until, limit)
        }

        fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> dormouse_storage::Result<Vec<Bytes>> {
            self.inside.scan_keys(from, until, limit)
        }

        fn apply(&self, batch: &Batch, upto: Lsn) -> dormouse_storage::Result<()> {
            self.inside.apply(batch, upto)
        }

        fn applied(&self) -> Lsn {
            self.inside.applied()
        }

        fn snapshot(&self) -> Box<dyn Snapshot> {
            self.inside.snapshot()
        }

        fn disk_bytes(&self) -> dormouse_storage::Result<u64> {
            self.inside.disk_bytes()
        }
    }

    /// A database with a slow store.
    struct Bed {
        store: Arc<Slow>,
        log: Arc<Log>,
        database: Arc<Database>,
    }

    const MOMENT: Moment = Moment { now_us: 1, seed: 1 };

    impl Bed {
        fn open(dir: &Path) -> Self {
            let store = Arc::new(Slow::default());
            let shared: Arc<dyn Store> = Arc::<Slow>::clone(&store);
            let (log, _) = recovery::run(dir, LogOptions::default(), &shared).unwrap();
            let log = Arc::new(log);
            let found = recovery::load(&*store, DatabaseId(1)).unwrap();
            let database = Database::new(DatabaseId(1), Arc::clone(&log), shared, Durability::None, found);
            database.configure(|hub| hub.facts.clock_us = Some(|| 0));
            Self { store, log, database: Arc::new(database) }
        }

        /// Everything is in the store, and nothing in memory.
        fn cool(&self) {
            let databases = [Arc::clone(&self.database)];
            checkpoint::run(&databases, &self.log, self.log.last(), &*self.store, 1 << 20).unwrap();
            self.database.evict_idle();
            assert_eq!(self.database.resident(), 0);
        }

        fn ask(&self, line: &str) -> Ran {
            let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
            let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
            let command = dormouse_engine::find(&args).unwrap().command;
            self.database.run_once(&mut client, Work::One(command, &args), None, MOMENT, &Patient)
        }

        fn job(&self, line: &str) -> Box<LongJob> {
            match self.ask(line) {
                Ran::Long(job) => job,
                ran => panic!("{ran:?}"),
            }
        }

        fn finish(&self, mut job: Box<LongJob>) -> Reply {
            done(self.database.run_long(&mut job, MOMENT, &Patient))
        }

        /// Runs it wherever it has to.
        fn say(&self, line: &str) -> Reply {
            match self.ask(line) {
                Ran::Long(job) => self.finish(job),
                ran => done(ran),
            }
        }
    }

    fn done(ran: Ran) -> Reply {
        match ran {
            Ran::Done { reply, .. } => reply,
            ran => panic!("{ran:?}"),
        }
    }

    fn bulk(text: &'static str) -> Reply {
        Reply::Bulk(Blob::from_static(text.as_bytes()))
    }

    #[test]
    fn a_slow_read_holds_up_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let bed = Bed::open(dir.path());
        bed.say("SET cold value");
        bed.cool();
        bed.say("SET warm value");
        let (began, has_begun) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        *bed.store.next.lock() = Some(Box::new(move || {
            began.send(()).unwrap();
            may_go_on.recv().unwrap();
        }));
        let job = bed.job("GET cold");
        std::thread::scope(|scope| {
            let waiting = scope.spawn(|| bed.finish(job));
            has_begun.recv().unwrap();
            assert_eq!(done(bed.ask("GET warm")), bulk("value"));
            assert_eq!(done(bed.ask("APPEND warm s")), Reply::Integer(6));
            go_on.send(()).unwrap();
            assert_eq!(waiting.join().unwrap(), bulk("value"));
        });
        assert_eq!(done(bed.ask("GET cold")), bulk("value"));
    }

    #[test]
    fn what_was_read_is_not_taken_if_the_key_was_changed_and_left_again() {
        let dir = tempfile::tempdir().unwrap();
        let bed = Arc::new(Bed::open(dir.path()));
        for (change, expected) in [("SET k new", bulk("new")), ("DEL k", Reply::Null), ("FLUSHALL", Reply::Null)] {
            bed.say("SET k old");
            bed.cool();
            let job = bed.job("GET k");
            let theirs = Arc::clone(&bed);
            *bed.store.next.lock() = Some(Box::new(move || {
                theirs.say(change);
                theirs.cool();
            }));
            assert_eq!(bed.finish(job), expected, "{change}");
            assert_eq!(bed.say("GET k"), expected, "{change}");
        }
    }

    #[test]
    fn a_missing_key_and_many_keys_are_answered_too() {
        let dir = tempfile::tempdir().unwrap();
        let bed = Bed::open(dir.path());
        (0..2_000).for_each(|key| {
            bed.say(&format!("SET {key} v"));
        });
        bed.cool();
        assert_eq!(bed.say("GET nothing"), Reply::Null);
        let all: Vec<String> = (0..2_000).map(|key| key.to_string()).collect();
        assert_eq!(bed.say(&format!("EXISTS {}", all.join(" "))), Reply::Integer(2_000));
        assert_eq!(bed.database.resident(), 2_000);
    }

    struct Nowhere;

    impl Outbox for Nowhere {
        fn deliver(&self, _: Delivery) {}
    }

    #[test]
    fn who_goes_while_a_key_is_fetched_waits_for_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let bed = Bed::open(dir.path());
        bed.say("SET other v");
        bed.cool();
        let mut client = Client::new(ClientId(7), Door::Resp, Grant::Full);
        bed.database.join(&client, Arc::new(Nowhere));
        let args: [&[u8]; 3] = [b"BLPOP", b"q", b"0"];
        let work = Work::One(dormouse_engine::find(&args).unwrap().command, &args);
        let Ran::Long(mut job) = bed.database.run_once(&mut client, work, None, MOMENT, &Patient) else {
            panic!("its key is cold")
        };
        let theirs = Arc::clone(&bed.database);
        *bed.store.next.lock() = Some(Box::new(move || theirs.leave(&client)));
        assert!(matches!(bed.database.run_long(&mut job, MOMENT, &Patient), Ran::Done { .. }));
        assert_eq!(bed.say("RPUSH q a"), Reply::Integer(1));
        assert_eq!(bed.say("LLEN q"), Reply::Integer(1));
    }

    #[test]
    fn one_slow_read_counts_for_hundreds() {
        let pace = Pace::default();
        assert!(pace.is_slow(), "nothing is known yet");
        (0..30).for_each(|_| pace.note(5));
        assert!(!pace.is_slow());
        pace.note(2_000);
        (0..300).for_each(|_| pace.note(5));
        assert!(pace.is_slow());
        (0..300).for_each(|_| pace.note(5));
        assert!(!pace.is_slow());
        (0..10_000).for_each(|_| pace.note(0));
        assert_eq!(pace.0.load(Ordering::Relaxed), 0);
    }
}
