//! An RDB file as the keys of a database that is there: all of them at one moment, or none.
//!
//! What a file holds goes straight into the store, as keys of an epoch that the database has not come to and by flushes alone
//! never will ([`EPOCH_STEP`]), so nobody sees any of it. Only when the whole file was read, checked and stored does the database
//! take that epoch for its own, with one small record in the log: before it there are the old keys, behind it the new ones.
//! The catalogue knows of every epoch that is being filled; what became of none of them is removed at the next start or
//! checkpoint.

use std::io::Read;

use dormouse_engine::rdb::{FileError, FileLimits, FileReader, Found, Item, dump_libraries};
use dormouse_engine::{
    Adopted, Client, ClientId, Door, Expiring, Grant, Limits, Moment, Patient, Record, Stop, Stored, Txn, find, hash,
};
use dormouse_proto::{Blob, CommandError};
use dormouse_storage::{Batch, Store};

use crate::database::{Database, DatabaseId};
use crate::layout;

/// How far ahead the epoch is that a file is read into: so often may the database be emptied meanwhile.
const EPOCH_STEP: u32 = 1 << 16;
/// Bytes put into the store at once.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Keys counted at once.
const PAGE: usize = 4_096;
/// Modules that are told of by name.
const MODULES_TOLD_MAX: usize = 32;

/// What to do with a file.
#[derive(Clone, Copy, Debug, Default)]
pub struct ImportOptions {
    /// Which of the numbered databases in the file is meant; without it the only one that has keys.
    pub index: Option<u64>,
    /// The database may have keys: they go, and so do its libraries of functions.
    pub replace: bool,
    /// Values of modules that are not known are left out.
    pub skip_modules: bool,
}

/// What a file held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Imported {
    /// Keys that are there now.
    pub keys: u64,
    /// Keys left out, as they were dead.
    pub expired: u64,
    /// Keys left out, as they were collections without elements.
    pub empty: u64,
    /// Keys left out, as they were values of unknown modules.
    pub skipped: u64,
    /// Libraries of functions.
    pub libraries: u64,
    /// Modules of which something was passed over.
    pub modules: Vec<String>,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a file was not imported.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImportError {
    /// The service.
    #[error(transparent)]
    Service(#[from] crate::Error),
    /// The file.
    #[error("this file cannot be imported: {0}. Nothing was imported.")]
    File(#[from] FileError),
    /// What it holds does not fit.
    #[error("{0}. Nothing was imported.")]
    Refused(String),
}

impl From<dormouse_storage::Error> for ImportError {
    fn from(error: dormouse_storage::Error) -> Self {
        Self::Service(error.into())
    }
}

fn refused(why: impl Into<String>) -> ImportError {
    ImportError::Refused(why.into())
}

/// What is in the store, for a database to adopt.
pub(crate) struct Staged {
    pub(crate) imported: Imported,
    /// How many keys have deadlines.
    expiring: Expiring,
    /// A payload of libraries of functions.
    libraries: Option<Vec<u8>>,
}

/// The epoch that a file may be read into.
pub(crate) fn epoch_ahead(database: &Database) -> Result<u32, ImportError> {
    let epoch = database.hold_patiently().space.epoch();
    epoch.checked_add(EPOCH_STEP).ok_or_else(|| refused("there are no epochs left"))
}

/// Reads a file.
struct Stager<'a, A> {
    id: DatabaseId,
    epoch: u32,
    options: ImportOptions,
    limits: &'a Limits,
    now_ms: u64,
    apply: A,
    batch: Batch,
    imported: Imported,
    expiring: Expiring,
    libraries: Vec<Vec<u8>>,
}

/// Puts what a file holds into the store, as keys of an epoch. `apply` puts a batch there.
pub(crate) fn stage(
    (id, epoch): (DatabaseId, u32),
    input: &mut dyn Read,
    (options, limits, now_ms): (ImportOptions, &Limits, u64),
    store: &dyn Store,
    apply: impl FnMut(&Batch) -> Result<(), ImportError>,
) -> Result<Staged, ImportError> {
    let stager = Stager {
        id,
        epoch,
        options,
        limits,
        now_ms,
        apply,
        batch: Batch::default(),
        imported: Imported::default(),
        expiring: Expiring::default(),
        libraries: Vec::new(),
    };
    let staged = stager.read(input)?;
    // In the store a key that came twice is there once.
    if stored_keys(store, id, epoch)? != staged.imported.keys {
        return Err(refused("a key comes more than once in the file"));
    }
    Ok(staged)
}

/// How many keys the store has of an epoch.
fn stored_keys(store: &dyn Store, id: DatabaseId, epoch: u32) -> Result<u64, ImportError> {
    let (mut from, until) = layout::records_from(id, epoch, 0);
    let mut count = 0;
    loop {
        let page = store.scan_keys(&from, &until, PAGE)?;
        let Some(last) = page.last() else { return Ok(count) };
        count += page.len() as u64;
        from = [last, &[0][..]].concat();
    }
}

impl<A: FnMut(&Batch) -> Result<(), ImportError>> Stager<'_, A> {
    fn read(mut self, input: &mut dyn Read) -> Result<Staged, ImportError> {
        let limits = FileLimits {
            key_bytes_max: self.limits.key_bytes_max,
            value_bytes_max: self.limits.record_bytes_max,
            library_bytes_max: self.limits.libraries_bytes_max,
        };
        let mut file = FileReader::new(input, limits)?;
        // The number that is being read, and the one whose keys are wanted.
        let (mut index, mut wanted) = (0, self.options.index);
        loop {
            match file.next_item()? {
                Item::End => break,
                Item::Index(next) => index = next,
                Item::Library(text) => self.library(text)?,
                Item::ModuleAux(module) => self.module(module),
                Item::Key { key, expires_at, value } => {
                    let wanted = *wanted.get_or_insert(index);
                    if wanted == index {
                        let value = value.decode(limits.value_bytes_max)?;
                        self.key(&key, expires_at, value)?;
                    } else if self.options.index.is_none() {
                        return Err(refused(format!(
                            "the file has keys of the databases {wanted} and {index}, if not of more: say which one is meant \
                             with --index"
                        )));
                    }
                }
            }
        }
        self.imported.bytes = file.at();
        (self.apply)(&std::mem::take(&mut self.batch))?;
        let libraries = (!self.libraries.is_empty()).then(|| dump_libraries(self.libraries.iter().map(Vec::as_slice)));
        Ok(Staged { imported: self.imported, expiring: self.expiring, libraries })
    }

    fn library(&mut self, text: Vec<u8>) -> Result<(), ImportError> {
        let bytes = self.libraries.iter().map(Vec::len).sum::<usize>() + text.len();
        if bytes > self.limits.libraries_bytes_max || self.libraries.len() >= self.limits.libraries_max {
            return Err(refused("its libraries of functions take too much room"));
        }
        self.libraries.push(text);
        self.imported.libraries += 1;
        Ok(())
    }

    fn module(&mut self, module: String) {
        let modules = &mut self.imported.modules;
        if modules.len() < MODULES_TOLD_MAX && !modules.contains(&module) {
            modules.push(module);
        }
    }

    fn key(&mut self, key: &[u8], expires_at: u64, value: Found) -> Result<(), ImportError> {
        let value = match value {
            Found::Value(value) => value,
            Found::Empty => {
                self.imported.empty += 1;
                return Ok(());
            }
            Found::Module(module) if self.options.skip_modules => {
                self.imported.skipped += 1;
                self.module(module);
                return Ok(());
            }
            Found::Module(module) => {
                return Err(refused(format!(
                    "the key \"{}\" is a value of the module {module}, which is not known; --skip-modules leaves such keys out",
                    key.escape_ascii()
                )));
            }
        };
        if expires_at != 0 && expires_at <= self.now_ms {
            self.imported.expired += 1;
            return Ok(());
        }
        if value.memory_bytes() > self.limits.record_bytes_max {
            return Err(refused(format!("the value of the key \"{}\" takes too much memory", key.escape_ascii())));
        }
        let hash = hash(key);
        let stored = Stored::of(&value, expires_at);
        self.expiring.add(stored);
        if let Some(due) = stored.due() {
            self.batch.put(layout::deadline(self.id, self.epoch, due, hash, key), layout::deadline_note(due));
        }
        let mut record = Vec::new();
        // No transaction made it: whoever reads it depends on the one that adopts it.
        Record::write(&value, expires_at, 0, &mut record);
        self.batch.put(layout::record(self.id, self.epoch, hash, key), record);
        self.imported.keys += 1;
        if self.batch.bytes() > BATCH_BYTES_MAX {
            (self.apply)(&std::mem::take(&mut self.batch))?;
        }
        Ok(())
    }
}

impl Database {
    /// Takes the keys that were put into the store for an epoch, in place of its own.
    pub(crate) fn adopt(
        &self,
        epoch: u32,
        staged: &Staged,
        options: ImportOptions,
        moment: Moment,
    ) -> Result<(), ImportError> {
        let mut state = self.hold_patiently();
        if self.log.has_failed() {
            return Err(refused(CommandError::LogFailed.to_string()));
        }
        if !options.replace && !state.space.is_empty() {
            return Err(refused("the database has come to have keys meanwhile"));
        }
        if state.space.epoch() >= epoch {
            return Err(refused("the database was emptied too often meanwhile"));
        }
        let mut client = Client::new(ClientId(0), Door::Resp, Grant::Full);
        let cold = self.cold(&state);
        let mut txn = Txn::begin(state.parts(&cold, &mut client, &Patient, moment), true);
        if let Err(error) = adopt_libraries(&mut txn, staged.libraries.as_deref(), options.replace) {
            txn.rollback();
            state.skip_seq();
            return Err(refused(format!("its libraries of functions cannot be loaded: {error}")));
        }
        txn.adopt(Adopted { epoch, records: staged.imported.keys, expiring: staged.expiring });
        let done = txn.finish();
        let awaited: Vec<Blob> = state.hub.awaited_keys().collect();
        let cold = self.cold(&state);
        for key in &awaited {
            // Who waits for it finds it in memory. One that cannot be read is found by who asks for it.
            let _ = state.space.load(hash(key), key, &cold);
        }
        self.commit(&mut state, &done, None, moment);
        Ok(())
    }
}

/// Loads libraries as `FUNCTION RESTORE` does.
fn adopt_libraries(txn: &mut Txn<'_>, payload: Option<&[u8]>, replace: bool) -> Result<(), CommandError> {
    let mut run = |args: &[&[u8]]| match txn.run(find(args)?.command, args) {
        Ok(_) => Ok(()),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::Block(_) | Stop::Aborted | Stop::Unfinished(_)) => Err(CommandError::Busy),
    };
    if replace {
        run(&[b"FUNCTION", b"FLUSH"])?;
    }
    payload.map_or(Ok(()), |payload| run(&[b"FUNCTION", b"RESTORE", payload]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::service::{Options, Service};
    use crate::work::{Ran, Work};
    use dormouse_engine::Facts;
    use dormouse_engine::rdb::{FileVersion, FileWriter};
    use dormouse_proto::Reply;
    use dormouse_storage::Durability;
    use std::sync::Arc;

    fn open(dir: &std::path::Path) -> Service {
        let options = Options {
            dir: dir.to_owned(),
            durability: Durability::None,
            memory_bytes_max: 1 << 30,
            entropy: |bytes| bytes.iter_mut().zip(7..).for_each(|(byte, n)| *byte = n),
            token: Some("a-token-for-tests".to_owned()),
            read_only_token: Some("another-token".to_owned()),
            limits: Limits::default(),
            facts: Facts::default(),
        };
        let lock = Service::lock(dir).unwrap();
        Service::open(&options, lock, Moment::default()).unwrap()
    }

    fn ask(service: &Service, line: &str) -> Reply {
        let args: Vec<&[u8]> = line.split(' ').map(str::as_bytes).collect();
        let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
        let work = Work::One(find(&args).unwrap().command, &args);
        match service.default_account().database.run(&mut client, work, Moment::default(), &Patient) {
            Ran::Done { reply, .. } => reply,
            ran => panic!("{ran:?}"),
        }
    }

    /// Puts keys into the store and adopts them, as an import does, but without the checkpoint behind it.
    fn adopt(service: &Service, store: &Arc<dyn Store>, keys: &[&str]) {
        let mut file = FileWriter::new(Vec::new(), FileVersion::Redis(10), &[]).unwrap();
        for key in keys {
            file.key(key.as_bytes(), 0, b"\x00\x03new").unwrap();
        }
        let bytes = file.finish().unwrap().1;
        let database = service.default_account().database;
        let epoch = epoch_ahead(&database).unwrap();
        let options = ImportOptions { replace: true, ..ImportOptions::default() };
        let apply = |batch: &Batch| Ok(store.apply(batch, store.applied())?);
        let how = (options, service.limits(), 0);
        let staged = stage((database.id(), epoch), &mut &bytes[..], how, &**store, apply).unwrap();
        database.adopt(epoch, &staged, options, Moment::default()).unwrap();
    }

    #[test]
    fn what_was_adopted_is_found_by_the_log_alone() {
        let dir = tempfile::tempdir().unwrap();
        let steps: [&[&str]; 6] = [
            &[],
            &["SET k1 changed", "DEL k2", "SET other 1"],
            &["FLUSHALL", "SET other 1"],
            &["FLUSHALL"],
            &["SET k1 changed", "FLUSHALL", "ADOPT", "SET k2 changed"],
            &["SET k1 changed", "FLUSHALL", "SET k1 late", "APPEND k1 r"],
        ];
        for (round, lines) in steps.iter().enumerate() {
            for checkpoint in [false, true] {
                let service = open(dir.path());
                let store = Arc::clone(&service.default_account().database.store);
                ask(&service, "SET before 1");
                adopt(&service, &store, &["k1", "k2", "k3"]);
                for line in *lines {
                    match *line {
                        "ADOPT" => adopt(&service, &store, &["k2", "other"]),
                        line => drop(ask(&service, line)),
                    }
                }
                if checkpoint {
                    service.checkpoint().unwrap();
                }
                let all = |service: &Service| {
                    ["DBSIZE", "GET k1", "GET k2", "GET k3", "GET other", "GET before"].map(|line| ask(service, line))
                };
                let expected = all(&service);
                assert_eq!(expected[5], Reply::Null, "what was there is gone");
                service.log().sync().unwrap();
                drop((store, service));
                for start in 0..3 {
                    // As after a crash: nothing is written at the end but what the log has.
                    let service = open(dir.path());
                    assert_eq!(all(&service), expected, "step {round}, checkpoint {checkpoint}, start {start}");
                    if start == 1 {
                        service.checkpoint().unwrap();
                    }
                }
                let report = crate::check(dir.path()).unwrap();
                let is_left = report.notices.iter().any(|notice| notice.contains("epoch"));
                assert!(report.is_sound() && !is_left, "{report:?}");
            }
        }
    }
}
