//! All databases of one process, and who may open which.
//!
//! Accounts (a database's name and tokens) are kept in a database of their own, number 0, by the same commands and under
//! the same guarantees as everybody's data. A token names a database and a grant; nothing else does.

use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use dormouse_engine::{
    Client, ClientId, Condition, Corrupt, Door, Facts, Grant, Health, Limits, Moment, Patient, Token, set_hash_seed,
};
use dormouse_proto::{Blob, CommandError, Reply};
use dormouse_storage::{Batch, DirectoryLock, Durability, Log, LogOptions, Lsn, Store, StoreOptions, open_store};
use parking_lot::{Mutex, RwLock};

use crate::database::{Database, DatabaseId};
use crate::work::{Ran, Work};
use crate::{checkpoint, layout, recovery};

/// The database that holds the accounts.
const SYSTEM: DatabaseId = DatabaseId(0);
/// The database a first start makes.
const DEFAULT: DatabaseId = DatabaseId(1);
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
    /// Bytes of memory for data, over all databases.
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
    /// The accounts could not be read or written.
    #[error("the accounts could not be kept: {0}")]
    Accounts(CommandError),
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

/// See the module's text.
pub struct Service {
    log: Arc<Log>,
    store: Arc<dyn Store>,
    databases: RwLock<BTreeMap<DatabaseId, Arc<Database>>>,
    tokens: RwLock<HashMap<Vec<u8>, Account>>,
    default: Credentials,
    memory_bytes_max: u64,
    limits: Limits,
    next_client: AtomicU64,
    checkpointing: Mutex<()>,
    checkpoints: Arc<Checkpoints>,
    clock_s: Option<fn() -> u64>,
    /// Held for as long as the process uses the directory; last, so that it goes last.
    _lock: DirectoryLock,
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
        let store = open_store(&options.dir.join("store"), &StoreOptions::default())?;
        seed_hash(&*store, options.entropy)?;
        let (log, found) = recovery::run(&options.dir.join("log"), LogOptions::default(), &store)?;
        let log = Arc::new(log);
        let mut databases = BTreeMap::new();
        for (id, found) in found {
            let (log, store) = (Arc::clone(&log), Arc::clone(&store));
            let durability = if id == SYSTEM { Durability::Always } else { options.durability };
            let database = Database::new(id, log, store, durability, found);
            databases.insert(id, Arc::new(database));
        }
        let mut service = Self {
            log,
            store,
            databases: RwLock::new(databases),
            tokens: RwLock::default(),
            default: Credentials { token: String::new(), read_only_token: String::new() },
            memory_bytes_max: options.memory_bytes_max,
            limits: options.limits,
            next_client: AtomicU64::new(1),
            checkpointing: Mutex::new(()),
            checkpoints: Arc::default(),
            clock_s: options.facts.clock_s,
            _lock: lock,
        };
        service.default = service.account(options, moment)?;
        let database = service.database(DEFAULT, options.durability);
        let (log, checkpoints) = (Arc::clone(&service.log), Arc::clone(&service.checkpoints));
        let health = Health(Arc::new(move || Condition {
            log_failed: log.has_failed(),
            checkpoint_failed: checkpoints.failed.load(Ordering::Relaxed),
            checkpoints: checkpoints.done.load(Ordering::Relaxed),
            checkpointed_s: checkpoints.last_s.load(Ordering::Relaxed),
        }));
        database.configure(|hub| {
            hub.limits = options.limits;
            hub.facts = options.facts.clone();
            hub.entropy = Some(options.entropy);
            hub.facts.health = Some(health);
        });
        service.admit(&database, &service.default);
        Ok(service)
    }

    /// The database with this id, made empty if there is none.
    fn database(&self, id: DatabaseId, durability: Durability) -> Arc<Database> {
        let mut databases = self.databases.write();
        let made = || {
            let (log, store) = (Arc::clone(&self.log), Arc::clone(&self.store));
            Arc::new(Database::new(id, log, store, durability, recovery::Found::default()))
        };
        Arc::clone(databases.entry(id).or_insert_with(made))
    }

    fn admit(&self, database: &Arc<Database>, credentials: &Credentials) {
        let mut tokens = self.tokens.write();
        for (token, grant) in [(&credentials.token, Grant::Full), (&credentials.read_only_token, Grant::ReadOnly)] {
            tokens.insert(token.clone().into_bytes(), Account { database: Arc::clone(database), grant });
        }
    }

    /// The default database's tokens: the operator's, else the kept ones, else new ones. Keeps them.
    fn account(&self, options: &Options, moment: Moment) -> Result<Credentials, Error> {
        let key = b"account:1".as_slice();
        let kept = self.system(&[b"MGET", b"account:1:token", b"account:1:read_only_token"], moment)?;
        let kept = match kept {
            Reply::Array(values) => values,
            _ => Vec::new(),
        };
        let kept = |at: usize| match kept.get(at) {
            Some(Reply::Bulk(token)) => String::from_utf8(token.to_vec()).ok(),
            _ => None,
        };
        let choose = |chosen: &Option<String>, kept: Option<String>| match chosen {
            Some(token) if token.len() < TOKEN_BYTES_MIN => Err(Error::Token("a token needs at least 8 characters")),
            // It is pasted into shells and `.env` files between double quotes.
            Some(token) if !token.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"'`$\\".contains(&byte)) => {
                Err(Error::Token("a token is made of printable ASCII characters, without spaces, quotes, $, ` or \\"))
            }
            Some(token) => Ok(token.clone()),
            None => Ok(kept.unwrap_or_else(|| new_token(options.entropy))),
        };
        let credentials = Credentials {
            token: choose(&options.token, kept(0))?,
            read_only_token: choose(&options.read_only_token, kept(1))?,
        };
        if credentials.token == credentials.read_only_token {
            return Err(Error::Token("the token and the read-only token must differ"));
        }
        let (token, read_only) = (credentials.token.as_bytes(), credentials.read_only_token.as_bytes());
        let names: [&[u8]; 2] = [&[key, b":token"].concat(), &[key, b":read_only_token"].concat()];
        if kept(0).as_deref() != Some(&credentials.token) || kept(1).as_deref() != Some(&credentials.read_only_token) {
            self.system(&[b"MSET", names[0], token, names[1], read_only], moment)?;
            self.log.sync()?;
        }
        Ok(credentials)
    }

    /// Runs a command on the database of accounts.
    fn system(&self, args: &[&[u8]], moment: Moment) -> Result<Reply, Error> {
        let mut client = Client::new(ClientId(0), Door::Resp, Grant::Full);
        let found = dormouse_engine::find(args).map_err(Error::Accounts)?;
        let system = self.database(SYSTEM, Durability::Always);
        match system.run(&mut client, Work::One(found.command, args), moment, &Patient) {
            Ran::Done { reply: Reply::Error(error), .. } => Err(Error::Accounts(error)),
            Ran::Done { reply, .. } => Ok(reply),
            Ran::Parked { .. } | Ran::Busy | Ran::Long(_) | Ran::Repeat(_) | Ran::Paused => {
                Err(Error::Accounts(CommandError::Busy))
            }
        }
    }

    /// What a token opens: everything or reads, or what a user of the database it names may do.
    pub fn authenticate(&self, token: &[u8]) -> Option<Account> {
        if let Some(account) = self.tokens.read().get(token) {
            return Some(account.clone());
        }
        let token = Token::read(token)?;
        let database = self.databases.read().get(&DatabaseId(token.database)).cloned()?;
        let user = database.users().get(&token.user).cloned().filter(|user| user.opens_with(&token))?;
        Some(Account { database, grant: Grant::User(user.id()) })
    }

    /// What a user's password opens. Which database is meant follows from a token that wraps it; from where the client
    /// is already, `here`; or else it is the default one. An error names the database that was meant.
    pub fn log_in(&self, user: &[u8], password: &[u8], here: Option<&Account>) -> Result<Account, Arc<Database>> {
        if let Some(account) = self.tokens.read().get(password)
            && account.grant.built_in().is_some_and(|name| name.as_bytes() == user)
        {
            return Ok(account.clone());
        }
        let named = Token::read(password).filter(|token| token.user.as_slice() == user);
        let named = named.and_then(|token| self.databases.read().get(&DatabaseId(token.database)).cloned());
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
        Account { database: self.database(DEFAULT, Durability::Always), grant: Grant::Full }
    }

    /// The tokens of that database.
    pub const fn default_credentials(&self) -> &Credentials {
        &self.default
    }

    /// Bounds of each database, and of what its clients may ask for at once.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// A new client's id.
    pub fn next_client(&self) -> ClientId {
        ClientId(self.next_client.fetch_add(1, Ordering::Relaxed))
    }

    /// The commit log, to wait for.
    pub const fn log(&self) -> &Arc<Log> {
        &self.log
    }

    /// Every database.
    pub fn databases(&self) -> Vec<Arc<Database>> {
        self.databases.read().values().cloned().collect()
    }

    /// Bytes of memory all data takes, near enough.
    pub fn memory_bytes(&self) -> u64 {
        self.databases.read().values().map(|database| database.memory_bytes()).sum()
    }

    /// Whether data takes more memory than it may.
    pub fn is_over_memory(&self) -> bool {
        self.memory_bytes_max > 0 && self.memory_bytes() > self.memory_bytes_max
    }

    /// Lets keys leave memory until data fits its bound again; dirty ones go to the store first.
    pub fn relieve(&self) -> Result<(), Error> {
        if !self.is_over_memory() {
            return Ok(());
        }
        self.evict();
        if self.is_over_memory() {
            self.checkpoint()?;
            self.evict();
        }
        Ok(())
    }

    /// Lets keys that the store has leave memory, if data takes more than it may.
    pub fn evict(&self) {
        if !self.is_over_memory() {
            return;
        }
        // Down to a little under the bound, so that this is not needed again at once.
        let target = self.memory_bytes_max - self.memory_bytes_max / 16;
        let mut databases = self.databases();
        databases.sort_by_key(|database| std::cmp::Reverse(database.memory_bytes()));
        for database in databases {
            let over = self.memory_bytes().saturating_sub(target);
            if over == 0 {
                return;
            }
            database.evict(over);
        }
    }

    /// Moves everything dirty into the store and trims the log. Returns how many keys that were.
    pub fn checkpoint(&self) -> Result<usize, Error> {
        let _one_at_a_time = self.checkpointing.lock();
        let outcome = checkpoint::run(&self.databases(), &self.log, &*self.store);
        self.checkpoints.failed.store(outcome.is_err(), Ordering::Relaxed);
        if outcome.is_ok() {
            self.checkpoints.done.fetch_add(1, Ordering::Relaxed);
            self.checkpoints.last_s.store(self.clock_s.map_or(0, |clock_s| clock_s()), Ordering::Relaxed);
        }
        Ok(outcome?)
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
