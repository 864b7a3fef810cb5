//! Whether a data directory is sound: everything in it is read, and must agree with itself.
//!
//! - Every file of the store that is in use has the checksum it was written with, and every record in it reads: keys, values,
//!   deadlines, counts, notes, libraries, users.
//! - The index of deadlines names each record that dies, when it does, and nothing else; the counts are those of what is there.
//! - The log has no gap, and each of its effects applies to what the store has.
//! - The catalogue, as store and log have it together, is one: names, databases and tokens belong to each other, and whatever
//!   the store has belongs to a database that there is.
//!
//! It is a start without the server: nothing is written, but for files that nothing refers to, which go as at any start. After
//! a crash two things cannot be told: damage to the very last write from that write cut short, and whether there was a later segment.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use dormouse_engine::{
    Client, ClientId, Corrupt, Door, Due, Grant, Hub, Keyspace, Libraries, Moment, Parts, Patient, Reader, Record,
    Stop, Stored, Txn, User, find, hash, set_hash_seed,
};
use dormouse_proto::Reply;
use dormouse_storage::{DirectoryLock, Store, check_store};

use crate::cold::Cold;
use crate::database::DatabaseId;
use crate::layout::{self, Meta, Place};
use crate::once::{Note, StoredNotes};
use crate::recovery::{self, Found};
use crate::service::{Error, SYSTEM};

/// Problems that are told in full; of more there is only the number.
const PROBLEMS_MAX: usize = 100;
/// Entries read from the store at once.
const PAGE: usize = 256;

/// What was found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Files of the store in use, and their bytes.
    pub files: (u64, u64),
    /// Databases in the catalogue.
    pub databases: u64,
    /// Keys in the store.
    pub keys: u64,
    /// Entries of the index of deadlines.
    pub deadlines: u64,
    /// Users, libraries of functions, and notes of requests that run once.
    pub others: u64,
    /// Records of the log that the store does not cover.
    pub log_records: u64,
    /// What is no damage, but worth knowing.
    pub notices: Vec<String>,
    /// Damage.
    pub problems: Vec<String>,
    /// Damage that is not told of in full.
    pub more_problems: u64,
}

impl Report {
    /// Whether there is no damage.
    pub fn is_sound(&self) -> bool {
        self.problems.is_empty()
    }

    fn problem(&mut self, what: impl Display) {
        if self.problems.len() < PROBLEMS_MAX {
            self.problems.push(what.to_string());
        } else {
            self.more_problems += 1;
        }
    }
}

/// Checks a data directory that no server uses.
pub fn check(dir: &Path) -> Result<Report, Error> {
    let _lock = DirectoryLock::acquire(dir)?;
    let mut report = Report::default();
    // Damage may be such that a library gives up in the middle.
    if catch_unwind(AssertUnwindSafe(|| Looking { report: &mut report }.all(dir))).is_err() {
        report.problem("something is so damaged that it could not be read to its end");
    }
    Ok(report)
}

/// What the store has of a database, counted.
#[derive(Default)]
struct Counts {
    meta: Option<Meta>,
    /// By epoch: records, and those among them that die.
    records: BTreeMap<u32, (u64, u64)>,
    /// By epoch.
    deadlines: BTreeMap<u32, u64>,
}

struct Looking<'a> {
    report: &'a mut Report,
}

impl Looking<'_> {
    fn all(&mut self, dir: &Path) {
        let (store_dir, log_dir) = (dir.join("store"), dir.join("log"));
        for dir in [&store_dir, &log_dir] {
            if !dir.is_dir() {
                self.report.problem(format!("{} is missing", dir.display()));
            }
        }
        if !self.report.is_sound() {
            return;
        }
        let checked = match check_store(&store_dir) {
            Ok(checked) => checked,
            Err(error) => return self.report.problem(error),
        };
        self.report.files = (checked.files, checked.bytes);
        checked.damaged.iter().for_each(|error| self.report.problem(error));
        let store = checked.store;
        if !self.seed(&*store) {
            return;
        }
        let counts = self.store(&*store);
        self.counts(&counts);
        let Some(mut found) = self.log(&log_dir, &store) else { return };
        let known = self.catalogue(&mut found, &*store);
        if let Some(known) = known {
            for id in counts.keys().chain(found.keys()).filter(|id| !known.contains(id)) {
                self.report.problem(format!("there is data of a database {} that the catalogue does not know", id.0));
            }
        }
    }

    /// The seed of the hash that orders everything. Without it nothing else can be judged.
    fn seed(&mut self, store: &dyn Store) -> bool {
        let seed = match store.get(layout::HASH_SEED) {
            Ok(Some(bytes)) => <[u8; 8]>::try_from(bytes.as_ref()).ok().map(u64::from_be_bytes),
            Ok(None) => None,
            Err(error) => {
                self.report.problem(error);
                return false;
            }
        };
        let usable = seed.is_some_and(|seed| set_hash_seed(seed) == seed);
        if !usable {
            self.report.problem("the hash seed in the store is missing or damaged");
        }
        usable
    }

    /// Everything in the store, once.
    fn store(&mut self, store: &dyn Store) -> BTreeMap<DatabaseId, Counts> {
        let mut counts = BTreeMap::new();
        let (mut from, until) = layout::all();
        loop {
            let page = match store.scan(&from, &until, PAGE) {
                Ok(page) => page,
                Err(error) => {
                    self.report.problem(error);
                    return counts;
                }
            };
            let Some((last, _)) = page.last() else { return counts };
            from = [last, &[0][..]].concat();
            for (key, value) in &page {
                if let Err(Corrupt(what)) = self.entry(store, &mut counts, key, value) {
                    self.report.problem(format!("what is stored under {} is not {what}", key.escape_ascii()));
                }
            }
        }
    }

    fn entry(
        &mut self,
        store: &dyn Store,
        counts: &mut BTreeMap<DatabaseId, Counts>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Corrupt> {
        match Place::of(key)? {
            Place::HashSeed => {}
            Place::Record(id, epoch, at, key) => {
                self.report.keys += 1;
                let counted = counts.entry(id).or_default().records.entry(epoch).or_default();
                counted.0 += 1;
                if hash(key) != at {
                    return Err(Corrupt("where its hash says"));
                }
                let Record { value, expires_at, .. } = Record::read(value)?;
                let Some(due) = Stored::of(&value, expires_at).due() else { return Ok(()) };
                counted.1 += 1;
                if !is_indexed(store, id, epoch, due, key) {
                    return Err(Corrupt("in the index of deadlines, though it dies"));
                }
            }
            Place::Deadline(id, epoch, at, key) => {
                self.report.deadlines += 1;
                *counts.entry(id).or_default().deadlines.entry(epoch).or_default() += 1;
                if hash(key) != at {
                    return Err(Corrupt("where its hash says"));
                }
            }
            Place::Meta(id) => counts.entry(id).or_default().meta = Some(Meta::read(value)?),
            Place::Note(id) => {
                self.report.others += 1;
                counts.entry(id).or_default();
                Note::read(value.get(8..).ok_or(Corrupt("the note of a request"))?)?;
            }
            Place::NoteOrder(id) => drop(counts.entry(id).or_default()),
            Place::NoteCounts(id) => {
                counts.entry(id).or_default();
                StoredNotes::read(value)?;
            }
            Place::Libraries(id) => {
                self.report.others += 1;
                counts.entry(id).or_default();
                Libraries::read(value)?;
            }
            Place::User(id, name) => {
                self.report.others += 1;
                counts.entry(id).or_default();
                User::read(name, &mut Reader::new(value))?;
            }
        }
        Ok(())
    }

    fn counts(&mut self, counts: &BTreeMap<DatabaseId, Counts>) {
        for (id, counts) in counts {
            let meta = counts.meta.unwrap_or_default();
            for (epoch, (_, dying)) in &counts.records {
                let indexed = counts.deadlines.get(epoch).copied().unwrap_or(0);
                if indexed != *dying {
                    self.report.problem(format!(
                        "the index of deadlines of database {} has {indexed} entries, but {dying} of its records die",
                        id.0
                    ));
                }
                if counts.meta.is_some() && *epoch != meta.epoch {
                    let what = format!("database {} has records of an epoch ({epoch}) that is not its own", id.0);
                    self.report.notices.push(what);
                }
            }
            let orphaned = |epoch: &&u32| !counts.records.contains_key(epoch);
            for epoch in counts.deadlines.keys().filter(orphaned) {
                self.report.problem(format!(
                    "the index of deadlines of database {} names records of epoch {epoch}, which has none",
                    id.0
                ));
            }
            let (records, _) = counts.records.get(&meta.epoch).copied().unwrap_or_default();
            if counts.meta.is_some() && records != meta.records {
                self.report.problem(format!(
                    "database {} is said to have {} records in the store, and has {records}",
                    id.0, meta.records
                ));
            }
        }
    }

    fn log(&mut self, dir: &Path, store: &Arc<dyn Store>) -> Option<BTreeMap<DatabaseId, Found>> {
        match recovery::look(dir, store) {
            Ok((recovery, found)) => {
                self.report.log_records = recovery.replayed;
                if let Some(dropped) = recovery.dropped {
                    let from = dropped.from.0;
                    self.report.notices.push(format!(
                        "the log ends with something unreadable where record {from} would be: nobody was told that it had \
                         been written, unless it is damage to the very last write"
                    ));
                } else if !recovery.closed {
                    self.report
                        .notices
                        .push("the log was not closed in order: the server was killed, or a crash".to_owned());
                }
                Some(found)
            }
            Err(error) => {
                self.report.problem(error);
                None
            }
        }
    }

    /// Whether the catalogue agrees with itself. Every database that may have data.
    fn catalogue(
        &mut self,
        found: &mut BTreeMap<DatabaseId, Found>,
        store: &dyn Store,
    ) -> Option<BTreeSet<DatabaseId>> {
        let mut system = match found.remove(&SYSTEM).map_or_else(|| recovery::load(store, SYSTEM), Ok) {
            Ok(system) => system,
            Err(error) => {
                self.report.problem(error);
                return None;
            }
        };
        let mut ask = |line: &[&str]| ask(&mut system.space, store, line);
        let mut known = BTreeSet::from([SYSTEM]);
        let mut tokens = 0;
        let names = ask(&["HGETALL", "names"]);
        for pair in names.chunks_exact(2) {
            let (name, id) = (&pair[0], &pair[1]);
            let Ok(number) = id.parse() else {
                self.report.problem(format!("the catalogue gives '{name}' the id '{id}', which is none"));
                continue;
            };
            known.insert(DatabaseId(number));
            self.report.databases += 1;
            let of = format!("database:{id}");
            let fields = ask(&["HMGET", &of, "name", "token", "read_only_token", "uuid"]);
            if fields.len() != 4 || fields[0] != *name || fields.iter().any(String::is_empty) {
                self.report.problem(format!("the catalogue's entry of '{name}' is missing or belongs to another name"));
                continue;
            }
            for (token, grant) in [(&fields[1], "full"), (&fields[2], "read-only")] {
                tokens += 1;
                if ask(&["GET", &format!("token:{token}")]) != [format!("{id} {grant}")] {
                    self.report.problem(format!("a token of '{name}' does not open it"));
                }
            }
        }
        let next: u32 = ask(&["GET", "next-id"]).first().and_then(|id| id.parse().ok()).unwrap_or(0);
        if known.last().is_some_and(|last| last.0 > next) {
            self.report.problem("the catalogue would give an id again that it has given");
        }
        for (kind, expected) in [("database:*", self.report.databases), ("token:*", tokens)] {
            let there = ask(&["KEYS", kind]).len() as u64;
            if there != expected {
                self.report.problem(format!("the catalogue has {there} entries {kind}, and its names need {expected}"));
            }
        }
        let doomed = ask(&["SMEMBERS", "doomed"]);
        if !doomed.is_empty() {
            self.report
                .notices
                .push(format!("{} databases are to be removed, or were not restored whole", doomed.len()));
        }
        known.extend(doomed.iter().filter_map(|id| id.parse().ok()).map(DatabaseId));
        Some(known)
    }
}

fn is_indexed(store: &dyn Store, id: DatabaseId, epoch: u32, due: Due, key: &[u8]) -> bool {
    let note = store.get(&layout::deadline(id, epoch, due, hash(key), key));
    note.is_ok_and(|note| note.is_some_and(|note| note == layout::deadline_note(due)))
}

/// What a command answers on the catalogue: its texts, in a row. What is not there, or fails, is empty.
fn ask(space: &mut Keyspace, store: &dyn Store, line: &[&str]) -> Vec<String> {
    let source = Cold { store, id: SYSTEM, epoch: space.epoch(), pace: None };
    let (mut hub, mut client) = (Hub::default(), Client::new(ClientId(0), Door::Resp, Grant::Full));
    let moment = Moment::default();
    let parts =
        Parts { space, source: &source, hub: &mut hub, client: &mut client, watchdog: &Patient, moment, seq: u64::MAX };
    let args: Vec<&[u8]> = line.iter().map(|word| word.as_bytes()).collect();
    let mut txn = Txn::begin(parts, false);
    let reply = find(&args).map_err(Stop::Error).and_then(|found| txn.run(found.command, &args));
    drop(txn.finish());
    reply.map_or_else(|_| Vec::new(), |reply| texts(&reply))
}

fn texts(reply: &Reply) -> Vec<String> {
    match reply {
        Reply::Bulk(text) => vec![String::from_utf8_lossy(text).into_owned()],
        Reply::Null => vec![String::new()],
        Reply::Array(items) | Reply::Set(items) => items.iter().flat_map(texts).collect(),
        Reply::Map(pairs) => pairs.iter().flat_map(|(name, value)| [texts(name), texts(value)].concat()).collect(),
        _ => Vec::new(),
    }
}
