//! All databases of one process: which of them are awake, and who may open which.
//!
//! A token names a database and a grant; nothing else does, and the catalogue knows which. A database that somebody uses is
//! *awake*: a [`Database`] in memory, with those of its keys that are in use. One that nobody has used for a while, and
//! that nobody is connected to, sleeps: it is some records in the store, and nothing in memory. Waking is a few look-ups.
//!
//! Two databases are always awake: the process's own, which holds the catalogue, and the one a first start makes.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dormouse_engine::{ClientId, Condition, Corrupt, Facts, Grant, Health, Hub, Limits, Moment, Token, set_hash_seed};
use dormouse_proto::{Blob, CommandError};
use dormouse_storage::{Batch, DirectoryLock, Durability, Log, LogOptions, Lsn, Store, StoreOptions, open_store};
use parking_lot::{Mutex, RwLock};

use crate::backup::{self, All, BackupError, Frozen, Summary};
use crate::catalogue::{Catalogue, Listing};
use crate::database::{Database, DatabaseId};
use crate::export::{Export, ExportError};
use crate::import::{self, ImportError, ImportOptions, Imported};
use crate::memory::Memory;
use crate::quiet::Quiet;
use crate::{checkpoint, layout, recovery};

/// The database that holds the catalogue.
pub(crate) const SYSTEM: DatabaseId = DatabaseId(0);
/// The database a first start makes.
const DEFAULT: DatabaseId = DatabaseId(1);
/// Its name.
pub const DEFAULT_NAME: &str = "default";
/// Characters of a generated token: about 238 bits.
const TOKEN_CHARS: usize = 40;
const TOKEN_ALPHABET: &[u8; 62] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789";
/// Shortest token an operator may choose.
pub const TOKEN_BYTES_MIN: usize = 8;

/// How to open a service.
pub struct Options {
    /// The data directory; made if it is missing.
    pub dir: PathBuf,
    /// What a write waits for.
    pub durability: Durability,
    /// Bytes of memory, over all databases: for data, for blocks of the store, for checkpoints. 0 is no bound.
    pub memory_bytes_max: u64,
    /// Fills a buffer with bytes nobody can guess.
    pub entropy: fn(&mut [u8]),
    /// The full token of the default database, if the operator chose one.
    pub token: Option<String>,
    /// Its read-only token, likewise.
    pub read_only_token: Option<String>,
    /// Bounds of each database.
    pub limits: Limits,
    /// What `INFO` says of the server.
    pub facts: Facts,
}

/// Why a service could not be opened, or not written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The disk, the log or the store.
    #[error(transparent)]
    Storage(#[from] dormouse_storage::Error),
    /// Something on disk is not what we write.
    #[error("{place} is damaged: {corrupt}. Restore the data directory from a backup, or move it away to start empty.")]
    Corrupt {
        /// Where.
        place: String,
        /// What was expected.
        corrupt: Corrupt,
    },
    /// The log could not be applied.
    #[error("{place} could not be applied: {what}")]
    Replay {
        /// Where.
        place: String,
        /// Why.
        what: String,
    },
    /// The catalogue could not be read or written.
    #[error("the catalogue of databases could not be read or written: {0}")]
    Catalogue(CommandError),
    /// No database can have this name.
    #[error("{0}")]
    Name(String),
    /// There is no such database.
    #[error("there is no database '{0}'")]
    NoSuchDatabase(String),
    /// A chosen token cannot be used.
    #[error("{0}")]
    Token(&'static str),
}

/// The tokens of a database.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// Opens everything.
    pub token: String,
    /// Opens reads.
    pub read_only_token: String,
}

impl std::fmt::Debug for Credentials {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.write_str("Credentials(..)")
    }
}

/// What a token opens.
#[derive(Clone, Debug)]
pub struct Account {
    /// The database.
    pub database: Arc<Database>,
    /// What may be done there.
    pub grant: Grant,
}

impl Account {
    /// The name of its user; none if that is gone.
    pub fn user(&self) -> Blob {
        match self.grant {
            Grant::User(id) => self.database.users().of(id).map(|user| user.name().clone()).unwrap_or_default(),
            grant => Blob::from_static(grant.built_in().unwrap_or_default().as_bytes()),
        }
    }
}

/// How checkpoints went, for `INFO`.
#[derive(Default)]
struct Checkpoints {
    failed: AtomicBool,
    done: AtomicU64,
    last_s: AtomicU64,
}

/// How scheduled backups went, likewise.
#[derive(Default)]
struct Backups {
    failed: AtomicBool,
    done: AtomicU64,
    last_s: AtomicU64,
}

/// What every database is made with.
struct Mould {
    durability: Durability,
    limits: Limits,
    facts: Facts,
    entropy: fn(&mut [u8]),
    quiet: Arc<Quiet>,
    memory: Arc<Memory>,
}

/// See the module's text.
pub struct Service {
    log: Arc<Log>,
    store: Arc<dyn Store>,
    catalogue: Catalogue,
    mould: Mould,
    awake: RwLock<BTreeMap<DatabaseId, Arc<Database>>>,
    /// One wakes at a time, so that none is made twice.
    waking: Mutex<()>,
    /// Tokens of databases that are awake, as far as they were used.
    tokens: RwLock<HashMap<Vec<u8>, Account>>,
    /// Whoever changes the catalogue takes turns.
    changing: Mutex<()>,
    /// Databases that are gone, and have data in the store.
    doomed: Mutex<BTreeSet<DatabaseId>>,
    /// Epochs that were filled for an import which came to nothing.
    stale: Mutex<BTreeSet<(DatabaseId, u32)>>,
    /// Databases that a file is being imported into.
    importing: Mutex<BTreeSet<DatabaseId>>,
    default: Listing,
    default_database: Arc<Database>,
    next_client: AtomicU64,
    /// When a command last ran on a database that sleeps now; when the service was opened, before there is any.
    used_ms: AtomicU64,
    checkpointing: Mutex<()>,
    checkpoints: Arc<Checkpoints>,
    backups: Arc<Backups>,
    clock_s: Option<fn() -> u64>,
    /// Held for as long as the process uses the directory, if there is one; last, so that it goes last.
    _lock: Option<DirectoryLock>,
}

impl std::fmt::Debug for Service {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Service").finish_non_exhaustive()
    }
}

impl Service {
    /// Takes a data directory, which no other process may use then.
    pub fn lock(dir: &Path) -> Result<DirectoryLock, Error> {
        Ok(DirectoryLock::acquire(dir)?)
    }

    /// Opens a data directory, recovers what is in it, and makes the default database if there is none.
    pub fn open(options: &Options, lock: DirectoryLock, moment: Moment) -> Result<Self, Error> {
        let mut store_options = StoreOptions::default();
        store_options.cache_bytes = Memory::new(options.memory_bytes_max).cache_bytes();
        let store = open_store(&options.dir.join("store"), &store_options)?;
        Self::recover(options, store, LogOptions::default(), Some(lock), moment)
    }

    /// As [`Self::open`], on a store and a log that may be anywhere: in a simulator, on a disk that fails.
    #[cfg(feature = "testing")]
    pub fn open_on(options: &Options, store: Arc<dyn Store>, log: LogOptions, moment: Moment) -> Result<Self, Error> {
        Self::recover(options, store, log, None, moment)
    }

    fn recover(
        options: &Options,
        store: Arc<dyn Store>,
        log: LogOptions,
        lock: Option<DirectoryLock>,
        moment: Moment,
    ) -> Result<Self, Error> {
        seed_hash(&*store, options.entropy)?;
        let (log, mut found) = recovery::run(&options.dir.join("log"), log, &store)?;
        let log = Arc::new(log);
        let checkpoints: Arc<Checkpoints> = Arc::default();
        let backups: Arc<Backups> = Arc::default();
        let (ours, theirs, kept) = (Arc::clone(&log), Arc::clone(&checkpoints), Arc::clone(&backups));
        let health = Health(Arc::new(move || Condition {
            log_failed: ours.has_failed(),
            checkpoint_failed: theirs.failed.load(Ordering::Relaxed),
            checkpoints: theirs.done.load(Ordering::Relaxed),
            checkpointed_s: theirs.last_s.load(Ordering::Relaxed),
            backup_failed: kept.failed.load(Ordering::Relaxed),
            backups: kept.done.load(Ordering::Relaxed),
            backed_up_s: kept.last_s.load(Ordering::Relaxed),
        }));
        let mould = Mould {
            durability: options.durability,
            limits: options.limits,
            facts: Facts { health: Some(health), ..options.facts.clone() },
            entropy: options.entropy,
            quiet: Arc::default(),
            memory: Arc::new(Memory::new(options.memory_bytes_max)),
        };
        let make = |id, found: Option<recovery::Found>, durability| -> Result<Arc<Database>, Error> {
            let found = found.map_or_else(|| recovery::load(&*store, id), Ok)?;
            Ok(mould.make(id, &log, &store, durability, found))
        };
        let catalogue = Catalogue::of(make(SYSTEM, found.remove(&SYSTEM), Durability::Always)?);
        let default_database = make(DEFAULT, found.remove(&DEFAULT), options.durability)?;
        let mut awake: BTreeMap<_, _> =
            [catalogue.system(), &default_database].map(|database| (database.id(), Arc::clone(database))).into();
        let mut doomed: BTreeSet<DatabaseId> = catalogue.doomed()?.into_iter().collect();
        for (id, found) in found {
            if catalogue.has(id)? {
                awake.insert(id, make(id, Some(found), options.durability)?);
            } else {
                // Somebody was writing while it was deleted.
                doomed.insert(id);
            }
        }
        let default = default_listing(&catalogue, options, moment)?;
        let mut stale = BTreeSet::new();
        for (id, epoch) in catalogue.imports()? {
            let now = match awake.get(&id) {
                Some(database) => database.hold_patiently().space.epoch(),
                None => recovery::load(&*store, id)?.meta.epoch,
            };
            if now < epoch && catalogue.has(id)? {
                stale.insert((id, epoch));
            } else {
                catalogue.imported(id, epoch)?;
            }
        }
        log.sync()?;
        let service = Self {
            log,
            store,
            catalogue,
            mould,
            awake: RwLock::new(awake),
            waking: Mutex::new(()),
            tokens: RwLock::default(),
            changing: Mutex::new(()),
            doomed: Mutex::new(doomed),
            stale: Mutex::new(stale),
            importing: Mutex::default(),
            default,
            default_database,
            next_client: AtomicU64::new(1),
            used_ms: AtomicU64::new(moment.now_ms()),
            checkpointing: Mutex::new(()),
            checkpoints,
            backups,
            clock_s: options.facts.clock_s,
            _lock: lock,
        };
        Ok(service)
    }

    // --- databases -----------------------------------------------------------------------------------------------

    /// Makes an empty database.
    pub fn create(&self, name: &str, moment: Moment) -> Result<Listing, Error> {
        let _turn = self.changing.lock();
        let listing = self.new_listing(name, moment)?;
        self.catalogue.put(&listing)?;
        self.log.sync()?;
        Ok(listing)
    }

    fn new_listing(&self, name: &str, moment: Moment) -> Result<Listing, Error> {
        let entropy = self.mould.entropy;
        let credentials = Credentials { token: new_token(entropy), read_only_token: new_token(entropy) };
        let (uuid, created_ms) = (new_uuid(entropy), moment.now_ms());
        let id = self.catalogue.fresh_id()?;
        Ok(Listing { id, uuid, name: name.to_owned(), credentials, created_ms })
    }

    /// Writes a database out as it is at this moment, while others use it.
    pub fn backup(&self, name: &str, moment: Moment, out: &mut dyn Write) -> Result<Summary, BackupError> {
        let listing = self.named(name)?;
        let gone = || Error::NoSuchDatabase(name.to_owned());
        let database = self.wake(listing.id)?.ok_or_else(gone)?;
        let frozen = {
            let _nobody_checkpoints = self.checkpointing.lock();
            self.checkpoint_now()?;
            Frozen::of(&database)?
        };
        drop(database);
        frozen.write(&listing.name, moment.now_ms(), out)
    }

    /// Writes every database out, each as it is at a moment of its own, while others use it. Returns how many there are.
    pub fn backup_all(&self, moment: Moment, out: &mut dyn Write) -> Result<u32, BackupError> {
        let now_ms = moment.now_ms();
        let mut all = All::begin(out, now_ms)?;
        self.checkpoint()?;
        let mut databases = 0;
        for (name, id) in self.names()? {
            // One may have gone meanwhile.
            let Some(database) = self.wake(id)? else { continue };
            let frozen = {
                let _nobody_checkpoints = self.checkpointing.lock();
                Frozen::of(&database)?
            };
            drop(database);
            all.database(&frozen, &name, now_ms)?;
            databases += 1;
        }
        all.end(databases)?;
        Ok(databases)
    }

    /// Says how a scheduled backup went, and when, in seconds since the Unix epoch, for `INFO`.
    pub fn note_backup(&self, done: bool, now_s: u64) {
        self.backups.failed.store(!done, Ordering::Relaxed);
        if done {
            self.backups.done.fetch_add(1, Ordering::Relaxed);
            self.backups.last_s.store(now_s, Ordering::Relaxed);
        }
    }

    /// A database as it is at this moment, to be written as an RDB file; an error if such a file has no place for all of it.
    pub fn export(&self, name: &str, version: u16, moment: Moment) -> Result<Export, ExportError> {
        let listing = self.named(name)?;
        let database = self.wake(listing.id)?.ok_or_else(|| Error::NoSuchDatabase(name.to_owned()))?;
        let export = {
            let _nobody_checkpoints = self.checkpointing.lock();
            self.checkpoint_now()?;
            Export::of(&database, version, moment.now_ms())?
        };
        export.check()
    }

    /// Makes a database of what [`Self::backup`] has written, or of the one of a name in what [`Self::backup_all`] has. It appears
    /// when all of it is there, or not at all.
    pub fn restore(
        &self,
        name: &str,
        which: Option<&str>,
        moment: Moment,
        input: &mut dyn Read,
    ) -> Result<(Listing, Summary), BackupError> {
        let _turn = self.changing.lock();
        let listing = self.new_listing(name, moment)?;
        self.catalogue.check(&listing)?;
        self.catalogue.doom(listing.id)?;
        self.log.sync()?;
        let restored = backup::restore(listing.id, which, input, |batch| {
            let _nobody_checkpoints = self.checkpointing.lock();
            Ok(self.store.apply(batch, self.store.applied())?)
        });
        let kept = restored.and_then(|summary| {
            self.catalogue.put(&listing)?;
            self.log.sync()?;
            Ok(summary)
        });
        match kept {
            Ok(summary) => Ok((listing, summary)),
            Err(error) => {
                // What is there of it goes with the next checkpoint.
                self.doomed.lock().insert(listing.id);
                Err(error)
            }
        }
    }

    /// Makes what an RDB file holds the keys of a database: all of them at one moment, or none.
    pub fn import(
        &self,
        name: &str,
        options: ImportOptions,
        now: &dyn Fn() -> Moment,
        input: &mut dyn Read,
    ) -> Result<Imported, ImportError> {
        let gone = || Error::NoSuchDatabase(name.to_owned());
        let id = self.named(name)?.id;
        // Held until the end, so that it does not fall asleep.
        let database = self.wake(id)?.ok_or_else(gone)?;
        if !self.importing.lock().insert(id) {
            return Err(ImportError::Refused(format!("a file is being imported into '{name}' already")));
        }
        let outcome = self.import_into(&database, options, now, input);
        self.importing.lock().remove(&id);
        outcome.map_err(|error| match error {
            ImportError::Service(Error::NoSuchDatabase(_)) => gone().into(),
            error => error,
        })
    }

    fn import_into(
        &self,
        database: &Database,
        options: ImportOptions,
        now: &dyn Fn() -> Moment,
        input: &mut dyn Read,
    ) -> Result<Imported, ImportError> {
        let id = database.id();
        while database.reap(now()) {}
        if !options.replace && database.keys() > 0 {
            return Err(ImportError::Refused("the database has keys; --replace removes them".to_owned()));
        }
        if self.stale.lock().iter().any(|(of, _)| *of == id) {
            // What one before has left would be taken for ours.
            self.checkpoint()?;
        }
        let epoch = import::epoch_ahead(database)?;
        self.catalogue.importing(id, epoch)?;
        self.log.sync()?;
        let apply = |batch: &Batch| {
            let _nobody_checkpoints = self.checkpointing.lock();
            Ok(self.store.apply(batch, self.store.applied())?)
        };
        let how = (options, self.limits(), now().now_ms());
        let staged = import::stage((id, epoch), input, how, &*self.store, apply);
        let adopted = staged.and_then(|staged| {
            let _turn = self.changing.lock();
            if !self.catalogue.has(id)? {
                return Err(Error::NoSuchDatabase(String::new()).into());
            }
            database.adopt(epoch, &staged, options, now())?;
            Ok(staged.imported)
        });
        match adopted {
            Ok(imported) => {
                // If the log has failed, the next start finds out whether it was adopted.
                self.log.sync()?;
                self.catalogue.imported(id, epoch)?;
                if let Err(error) = self.checkpoint() {
                    tracing::warn!(%error, "a file was imported, but what was there before takes room until the next checkpoint");
                }
                Ok(imported)
            }
            Err(error) => {
                // What is there of it goes with the next checkpoint.
                self.stale.lock().insert((id, epoch));
                Err(error)
            }
        }
    }

    /// Names and numbers of all databases, by name.
    pub fn names(&self) -> Result<Vec<(String, DatabaseId)>, Error> {
        self.catalogue.names()
    }

    /// What is known of a database.
    pub fn listing(&self, id: DatabaseId) -> Result<Option<Listing>, Error> {
        self.catalogue.listing(id)
    }

    /// A database by its name.
    pub fn named(&self, name: &str) -> Result<Listing, Error> {
        let id = self.catalogue.by_name(name)?;
        let listing = id.map(|id| self.catalogue.listing(id)).transpose()?.flatten();
        listing.ok_or_else(|| Error::NoSuchDatabase(name.to_owned()))
    }

    /// Gives a database another name.
    pub fn rename(&self, name: &str, new: &str) -> Result<Listing, Error> {
        let _turn = self.changing.lock();
        let listing = Listing { name: new.to_owned(), ..self.named(name)? };
        refuse_default(listing.id, "renamed")?;
        self.catalogue.put(&listing)?;
        self.log.sync()?;
        Ok(listing)
    }

    /// Gives a database new tokens. Whoever came in with the old ones goes.
    pub fn rotate_tokens(&self, name: &str) -> Result<Listing, Error> {
        let _turn = self.changing.lock();
        let mut listing = self.named(name)?;
        refuse_default(listing.id, "given other tokens while the server runs")?;
        let entropy = self.mould.entropy;
        listing.credentials = Credentials { token: new_token(entropy), read_only_token: new_token(entropy) };
        self.catalogue.put(&listing)?;
        self.log.sync()?;
        self.forget_tokens(listing.id);
        if let Some(database) = self.awake.read().get(&listing.id) {
            database.disconnect(|grant| grant.built_in().is_some());
        }
        Ok(listing)
    }

    /// Removes a database and all it has. Whoever is connected goes.
    pub fn delete(&self, name: &str) -> Result<(), Error> {
        let _turn = self.changing.lock();
        let listing = self.named(name)?;
        refuse_default(listing.id, "deleted")?;
        self.catalogue.remove(&listing)?;
        self.log.sync()?;
        self.forget_tokens(listing.id);
        // Nobody wakes it any more; who holds it finds it at its end.
        let _nobody_wakes = self.waking.lock();
        if let Some(database) = self.awake.write().remove(&listing.id) {
            database.end();
        }
        self.doomed.lock().insert(listing.id);
        Ok(())
    }

    fn forget_tokens(&self, id: DatabaseId) {
        self.tokens.write().retain(|_, account| account.database.id() != id);
    }

    // --- who may open them ---------------------------------------------------------------------------------------

    /// What a token opens: everything or reads, or what a user of the database it names may do.
    pub fn authenticate(&self, token: &[u8]) -> Result<Option<Account>, CommandError> {
        if let Some(account) = self.tokens.read().get(token) {
            return Ok(Some(account.clone()));
        }
        self.look_up(token).map_err(|error| {
            tracing::error!(%error, "a token could not be looked up");
            CommandError::StoreFailed
        })
    }

    fn look_up(&self, token: &[u8]) -> Result<Option<Account>, Error> {
        if let Some((id, grant)) = self.catalogue.by_token(token)? {
            let Some(database) = self.wake(id)? else { return Ok(None) };
            let account = Account { database, grant };
            let mut tokens = self.tokens.write();
            // It may have been taken back meanwhile; who takes it back removes it from here last.
            if self.catalogue.by_token(token)? == Some((id, grant)) {
                tokens.insert(token.to_vec(), account.clone());
            }
            return Ok(Some(account));
        }
        let Some(token) = Token::read(token) else { return Ok(None) };
        let Some(database) = self.wake(DatabaseId(token.database))? else { return Ok(None) };
        let user = database.users().get(&token.user).cloned().filter(|user| user.opens_with(&token));
        Ok(user.map(|user| Account { database, grant: Grant::User(user.id()) }))
    }

    /// What a user's password opens. Which database is meant follows from a token that wraps it; from where the client
    /// is already, `here`; or else it is the default one. An error names the database that was meant.
    pub fn log_in(&self, user: &[u8], password: &[u8], here: Option<&Account>) -> Result<Account, Arc<Database>> {
        if let Ok(Some(account)) = self.authenticate(password)
            && account.grant.built_in().is_some_and(|name| name.as_bytes() == user)
        {
            return Ok(account);
        }
        let named = Token::read(password).filter(|token| token.user.as_slice() == user);
        let named = named.and_then(|token| self.wake(DatabaseId(token.database)).ok().flatten());
        let here = || here.map(|account| Arc::clone(&account.database));
        let database = named.or_else(here).unwrap_or_else(|| self.default_account().database);
        let known = database.users().get(user).cloned();
        match known.filter(|user| user.opens(database.id().0, password)) {
            Some(user) => Ok(Account { database, grant: Grant::User(user.id()) }),
            None => Err(database),
        }
    }

    /// The database a first start makes, for doors that ask for no token.
    pub fn default_account(&self) -> Account {
        Account { database: Arc::clone(&self.default_database), grant: Grant::Full }
    }

    /// The tokens of that database.
    pub const fn default_credentials(&self) -> &Credentials {
        &self.default.credentials
    }

    /// Bounds of each database, and of what its clients may ask for at once.
    pub const fn limits(&self) -> &Limits {
        &self.mould.limits
    }

    /// A new client's id.
    pub fn next_client(&self) -> ClientId {
        ClientId(self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    /// The commit log, to wait for.
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    // --- sleep and memory ----------------------------------------------------------------------------------------

    /// Every database that is awake.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.awake.read().values().cloned().collect()
    }

    /// Whether a database is awake.
    pub fn is_awake(&self, id: DatabaseId) -> bool {
        self.awake.read().contains_key(&id)
    }

    /// A database, awake. `None` if there is none.
    fn wake(&self, id: DatabaseId) -> Result<Option<Arc<Database>>, Error> {
        if let Some(database) = self.awake.read().get(&id) {
            return Ok((id != SYSTEM).then(|| Arc::clone(database)));
        }
        let _one_at_a_time = self.waking.lock();
        if let Some(database) = self.awake.read().get(&id) {
            return Ok(Some(Arc::clone(database)));
        }
        if !self.catalogue.has(id)? {
            return Ok(None);
        }
        let found = recovery::load(&*self.store, id)?;
        let database = self.mould.make(id, &self.log, &self.store, self.mould.durability, found);
        self.awake.write().insert(id, Arc::clone(&database));
        Ok(Some(database))
    }

    /// Lets go of what nobody has used since `before_ms`: keys leave memory, and so do whole databases that nobody is
    /// connected to. What only memory has stays, until a checkpoint has moved it into the store.
    pub fn rest(&self, before_ms: u64) {
        let idle = |database: &Database| database.used_ms() < before_ms;
        let always_awake = |id: DatabaseId| matches!(id, SYSTEM | DEFAULT);
        let mut may_sleep = false;
        for database in self.databases().into_iter().filter(|database| idle(database)) {
            database.evict_idle();
            may_sleep |= !always_awake(database.id());
        }
        if !may_sleep {
            return;
        }
        let mut tokens = self.tokens.write();
        let mut awake = self.awake.write();
        let mut held: HashMap<DatabaseId, usize> = HashMap::new();
        for account in tokens.values() {
            *held.entry(account.database.id()).or_default() += 1;
        }
        awake.retain(|id, database| {
            let ours = 1 + held.get(id).copied().unwrap_or(0);
            let stays =
                always_awake(*id) || !idle(database) || Arc::strong_count(database) > ours || !database.is_clean();
            if !stays {
                self.used_ms.fetch_max(database.used_ms(), Ordering::Relaxed);
                held.insert(*id, usize::MAX);
            }
            stays
        });
        tokens.retain(|_, account| held.get(&account.database.id()) != Some(&usize::MAX));
    }

    /// When a command last ran on any database.
    pub fn used_ms(&self) -> u64 {
        let awake = self.awake.read().values().map(|database| database.used_ms()).max();
        awake.unwrap_or(0).max(self.used_ms.load(Ordering::Relaxed))
    }

    /// When a command last ran on the database that has waited longest to have all it has in the store.
    pub fn unsaved_since_ms(&self) -> Option<u64> {
        let databases = self.databases();
        databases.iter().filter(|database| !database.is_clean()).map(|database| database.used_ms()).min()
    }

    /// When the next key of a database that is awake dies.
    pub fn next_due_ms(&self) -> Option<u64> {
        self.databases().iter().filter_map(|database| database.next_due_ms()).min()
    }

    /// Whether a client waits for something to come.
    pub fn is_waited_on(&self) -> bool {
        self.databases().iter().any(|database| database.is_waited_on())
    }

    /// Calls once for the first command that runs after each [`Self::hush`].
    pub fn on_activity(&self, call: impl Fn() + Send + Sync + 'static) {
        self.mould.quiet.on_end(Box::new(call));
    }

    /// See [`Self::on_activity`].
    pub fn hush(&self) {
        self.mould.quiet.hush();
    }

    /// Whether no command has run since.
    pub fn is_quiet(&self) -> bool {
        self.mould.quiet.is_quiet()
    }

    /// Bytes of memory all data takes, near enough.
    pub fn memory_bytes(&self) -> u64 {
        self.awake.read().values().map(|database| database.memory_bytes()).sum()
    }

    /// Whether data takes more memory than it may.
    pub fn is_over_memory(&self) -> bool {
        self.mould.memory.line().is_some_and(|line| self.memory_bytes() > line)
    }

    /// How much log calls for a checkpoint, since what only it has cannot leave memory.
    pub fn tail_bytes_max(&self) -> u64 {
        self.mould.memory.tail_bytes()
    }

    /// Looks at how much memory the process takes, and lets data have less if that is too much.
    pub fn weigh(&self) {
        if let Some(resident_bytes) = self.mould.facts.resident_bytes {
            self.mould.memory.weigh(resident_bytes());
        }
    }

    /// Lets keys leave memory until data fits its bound again; dirty ones go to the store first.
    pub fn relieve(&self) -> Result<(), Error> {
        let memory = &self.mould.memory;
        let mut freed = self.evict();
        let mut is_stuck = false;
        if self.is_over_memory() {
            // Writers that fill at once what comes free are no reason to let more of them in.
            memory.note_stuck(false);
            let written = self.checkpoint()?;
            freed += self.evict();
            is_stuck = written == 0 && freed == 0 && self.is_over_memory();
        }
        memory.note_stuck(is_stuck);
        Ok(())
    }

    /// Lets keys that the store has leave memory, if data takes more than it may. Returns how many bytes that freed.
    pub fn evict(&self) -> u64 {
        self.databases().iter().for_each(|database| database.tell_exactly());
        let Some(line) = self.mould.memory.line().filter(|_| self.is_over_memory()) else { return 0 };
        let mut freed = 0;
        // Down to a little under it, so that this is not needed again at once.
        let target = line - line / 16;
        let mut databases = self.databases();
        databases.sort_by_cached_key(|database| std::cmp::Reverse(database.memory_bytes()));
        for database in databases {
            let over = self.memory_bytes().saturating_sub(target);
            if over == 0 {
                break;
            }
            freed += database.evict(over);
        }
        freed
    }

    /// Moves everything dirty into the store and trims the log. Returns how many keys that were.
    pub fn checkpoint(&self) -> Result<usize, Error> {
        let _one_at_a_time = self.checkpointing.lock();
        self.checkpoint_now()
    }

    /// For who holds `checkpointing`.
    fn checkpoint_now(&self) -> Result<usize, Error> {
        // In this order: a database that wakes in between writes behind it.
        let upto = self.log.last();
        let memory = &self.mould.memory;
        let batch_bytes = usize::try_from(memory.batch_bytes()).unwrap_or(usize::MAX);
        let outcome = checkpoint::run(&self.databases(), &self.log, upto, &*self.store, batch_bytes);
        self.checkpoints.failed.store(outcome.is_err(), Ordering::Relaxed);
        memory.note_failing(outcome.is_err());
        if outcome.is_ok() {
            self.checkpoints.done.fetch_add(1, Ordering::Relaxed);
            self.checkpoints.last_s.store(self.clock_s.map_or(0, |clock_s| clock_s()), Ordering::Relaxed);
        }
        let written = outcome?;
        self.bury()?;
        Ok(written)
    }

    /// Whether the last checkpoint failed: until one works, the log grows and what has changed cannot leave memory.
    pub fn has_checkpoint_failed(&self) -> bool {
        self.checkpoints.failed.load(Ordering::Relaxed)
    }

    /// Removes from the store what databases have left that are gone.
    fn bury(&self) -> Result<(), Error> {
        let doomed: Vec<DatabaseId> = self.doomed.lock().iter().copied().collect();
        for id in doomed {
            let mut batch = Batch::default();
            for (from, until) in layout::everything(id) {
                batch.delete_range(from, until);
            }
            self.store.apply(&batch, self.store.applied())?;
            self.catalogue.buried(id)?;
            self.doomed.lock().remove(&id);
        }
        let stale: Vec<(DatabaseId, u32)> = self.stale.lock().iter().copied().collect();
        for (id, epoch) in stale {
            let mut batch = Batch::default();
            for (from, until) in layout::epoch(id, epoch) {
                batch.delete_range(from, until);
            }
            self.store.apply(&batch, self.store.applied())?;
            self.catalogue.imported(id, epoch)?;
            self.stale.lock().remove(&(id, epoch));
        }
        Ok(())
    }

    /// Checkpoints and closes the log. Nothing can be written afterwards.
    pub fn close(&self) -> Result<(), Error> {
        self.checkpoint()?;
        Ok(self.log.close()?)
    }
}

/// The seed of the hash that orders stored keys: from the store, or a new one that is kept there.
fn seed_hash(store: &dyn Store, entropy: fn(&mut [u8])) -> Result<(), Error> {
    let corrupt = || Error::Corrupt { place: "the hash seed in the store".to_owned(), corrupt: Corrupt("eight bytes") };
    let seed = if let Some(bytes) = store.get(layout::HASH_SEED)? {
        u64::from_be_bytes(bytes.as_ref().try_into().map_err(|_| corrupt())?)
    } else {
        let mut fresh = [0; 8];
        entropy(&mut fresh);
        // A process that opened another directory before goes on with its seed: the order must not change under it.
        let seed = set_hash_seed(u64::from_be_bytes(fresh));
        let mut batch = Batch::default();
        batch.put(layout::HASH_SEED.to_vec(), seed.to_be_bytes().to_vec());
        store.apply(&batch, Lsn(0))?;
        seed
    };
    if set_hash_seed(seed) != seed {
        return Err(Error::Replay {
            place: "the store".to_owned(),
            what: "one process can only open directories with the same hash seed".to_owned(),
        });
    }
    Ok(())
}

impl Mould {
    fn make(
        &self,
        id: DatabaseId,
        log: &Arc<Log>,
        store: &Arc<dyn Store>,
        durability: Durability,
        found: recovery::Found,
    ) -> Arc<Database> {
        let database = Database::new(id, Arc::clone(log), Arc::clone(store), durability, found);
        // The catalogue waits for nobody.
        let database = if id == SYSTEM { database } else { database.bounded(&self.memory) };
        let database = database.disturbing(&self.quiet);
        database.configure(|hub: &mut Hub| {
            hub.limits = self.limits;
            hub.facts = self.facts.clone();
            hub.entropy = Some(self.entropy);
        });
        Arc::new(database)
    }
}

/// The default database in the catalogue, put there if need be. Its tokens are the operator's, else the kept ones, else new
/// ones.
fn default_listing(catalogue: &Catalogue, options: &Options, moment: Moment) -> Result<Listing, Error> {
    let kept = catalogue.listing(DEFAULT)?;
    let choose = |chosen: &Option<String>, kept: Option<&String>| match chosen {
        Some(token) if token.len() < TOKEN_BYTES_MIN => Err(Error::Token("a token needs at least 8 characters")),
        // It is pasted into shells and `.env` files between double quotes.
        Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'`$\\".contains(&byte)) => {
            Err(Error::Token("a token is made of printable ASCII characters, without spaces, quotes, $, ` or \\"))
        }
        Some(token) => Ok(token.clone()),
        None => Ok(kept.cloned().unwrap_or_else(|| new_token(options.entropy))),
    };
    let credentials = Credentials {
        token: choose(&options.token, kept.as_ref().map(|kept| &kept.credentials.token))?,
        read_only_token: choose(&options.read_only_token, kept.as_ref().map(|kept| &kept.credentials.read_only_token))?,
    };
    let (uuid, created_ms) = match &kept {
        Some(kept) => (kept.uuid.clone(), kept.created_ms),
        None => (new_uuid(options.entropy), moment.now_ms()),
    };
    let listing = Listing { id: DEFAULT, uuid, name: DEFAULT_NAME.to_owned(), credentials, created_ms };
    if kept.is_none() {
        // The first id that is given out is the one behind it.
        while catalogue.fresh_id()? < DEFAULT {}
    }
    if kept.as_ref() != Some(&listing) {
        catalogue.put(&listing)?;
    }
    Ok(listing)
}

fn refuse_default(id: DatabaseId, what: &str) -> Result<(), Error> {
    if id != DEFAULT {
        return Ok(());
    }
    Err(Error::Name(format!("the database '{DEFAULT_NAME}' cannot be {what}")))
}

/// A name nobody else has (a UUID of version 4).
fn new_uuid(entropy: fn(&mut [u8])) -> String {
    let mut bytes = [0; 16];
    entropy(&mut bytes);
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// A token nobody can guess.
fn new_token(entropy: fn(&mut [u8])) -> String {
    let mut token = String::with_capacity(TOKEN_CHARS);
    let mut bytes = [0; 64];
    while token.len() < TOKEN_CHARS {
        entropy(&mut bytes);
        // 248 is the largest multiple of 62 in a byte: what lies beyond would favour some characters.
        let chars =
            bytes.iter().filter(|&&byte| byte < 248).map(|&byte| char::from(TOKEN_ALPHABET[byte as usize % 62]));
        token.extend(chars.take(TOKEN_CHARS - token.len()));
    }
    token
}
