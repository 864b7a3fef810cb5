//! Which databases there are, and which tokens open them.
//!
//! The catalogue is kept in the process's own database by the same commands and under the same guarantees as everybody's
//! data, so it is durable, and it takes memory only while somebody asks. Its keys:
//!
//! ```text
//! database:<id>     hash     name, uuid, token, read_only_token, created_ms
//! token:<token>     string   "<id> full" or "<id> read-only"
//! names             hash     name -> id
//! next-id           string   the highest id so far; none is used twice
//! doomed            set      ids of deleted databases whose data the store still has
//! importing         set      "<id> <epoch>" of epochs that the store has keys of, and that may never be adopted
//! ```
//!
//! A change is one transaction, and one record of the log. Who changes takes turns; who reads need not. Nothing here opens a
//! database.

use std::sync::Arc;

use dormouse_engine::{Client, ClientId, Door, Grant, Moment, Patient, Queued};
use dormouse_proto::{Blob, CommandError, Reply};

use crate::database::{Database, DatabaseId};
use crate::service::{Credentials, Error};
use crate::work::{Ran, Work};

/// Longest name of a database, in bytes.
pub const NAME_BYTES_MAX: usize = 64;

/// A database as the catalogue knows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Listing {
    /// Its number within the process.
    pub id: DatabaseId,
    /// Its name everywhere, which never changes.
    pub uuid: String,
    /// Its name for people; no two have the same.
    pub name: String,
    /// What opens it.
    pub credentials: Credentials,
    /// When it was made, in milliseconds since the Unix epoch.
    pub created_ms: u64,
}

/// See the module's text.
#[derive(Debug)]
pub(crate) struct Catalogue {
    system: Arc<Database>,
}

/// Whether a database may have this name: it appears in paths, shells and tables.
fn check_name(name: &str) -> Result<(), Error> {
    let fits = (1..=NAME_BYTES_MAX).contains(&name.len());
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    // A name of digits alone could be taken for an id.
    if fits && name.bytes().all(plain) && !name.bytes().all(|byte| byte.is_ascii_digit()) && !name.starts_with('-') {
        return Ok(());
    }
    Err(Error::Name(format!(
        "'{name}' cannot name a database: 1 to {NAME_BYTES_MAX} letters, digits, '-', '_' and '.', not digits alone, not \
         beginning with '-'"
    )))
}

fn text(reply: &Reply) -> Option<&str> {
    match reply {
        Reply::Bulk(text) => str::from_utf8(text.as_slice()).ok(),
        _ => None,
    }
}

fn number<N: std::str::FromStr>(reply: &Reply) -> Option<N> {
    text(reply)?.parse().ok()
}

/// Commands that run as one.
#[derive(Default)]
struct Change(Vec<Queued>);

impl Change {
    fn then(mut self, args: &[&[u8]]) -> Result<Self, Error> {
        let command = dormouse_engine::find(args).map_err(Error::Catalogue)?.command;
        self.0.push(Queued { command, args: args.iter().map(|arg| Blob::from(*arg)).collect() });
        Ok(self)
    }
}

fn key(kind: &str, name: impl std::fmt::Display) -> Vec<u8> {
    format!("{kind}:{name}").into_bytes()
}

impl Catalogue {
    pub(crate) const fn of(system: Arc<Database>) -> Self {
        Self { system }
    }

    pub(crate) const fn system(&self) -> &Arc<Database> {
        &self.system
    }

    fn work(&self, work: Work<'_>) -> Result<Reply, Error> {
        let mut client = Client::new(ClientId(0), Door::Resp, Grant::Full);
        // Nothing in the catalogue dies or is drawn by lot.
        match self.system.run(&mut client, work, Moment::default(), &Patient) {
            Ran::Done { reply: Reply::Error(error), .. } => Err(Error::Catalogue(error)),
            Ran::Done { reply, .. } => Ok(reply),
            Ran::Parked { .. } | Ran::Busy | Ran::Long(_) | Ran::Repeat(_) | Ran::Paused => {
                Err(Error::Catalogue(CommandError::Busy))
            }
        }
    }

    fn ask(&self, args: &[&[u8]]) -> Result<Reply, Error> {
        let command = dormouse_engine::find(args).map_err(Error::Catalogue)?.command;
        self.work(Work::One(command, args))
    }

    fn apply(&self, change: &Change) -> Result<(), Error> {
        match self.work(Work::All { queue: &change.0, watching: false })? {
            Reply::Array(replies) => {
                let failed = replies.into_iter().find_map(|reply| match reply {
                    Reply::Error(error) => Some(Error::Catalogue(error)),
                    _ => None,
                });
                failed.map_or(Ok(()), Err)
            }
            _ => Err(Error::Catalogue(CommandError::StoreFailed)),
        }
    }

    /// What a token opens.
    pub(crate) fn by_token(&self, token: &[u8]) -> Result<Option<(DatabaseId, Grant)>, Error> {
        let found = self.ask(&[b"GET", &[b"token:", token].concat()])?;
        let opens = |text: &str| {
            let (id, grant) = text.split_once(' ')?;
            let grant = if grant == "full" { Grant::Full } else { Grant::ReadOnly };
            Some((DatabaseId(id.parse().ok()?), grant))
        };
        Ok(text(&found).and_then(opens))
    }

    /// The database of a name.
    pub(crate) fn by_name(&self, name: &str) -> Result<Option<DatabaseId>, Error> {
        Ok(number(&self.ask(&[b"HGET", b"names", name.as_bytes()])?).map(DatabaseId))
    }

    /// Whether there is such a database.
    pub(crate) fn has(&self, id: DatabaseId) -> Result<bool, Error> {
        Ok(self.ask(&[b"EXISTS", &key("database", id.0)])? == Reply::Integer(1))
    }

    /// What is known of a database.
    pub(crate) fn listing(&self, id: DatabaseId) -> Result<Option<Listing>, Error> {
        let fields: [&[u8]; 5] = [b"name", b"uuid", b"token", b"read_only_token", b"created_ms"];
        let of = key("database", id.0);
        let Reply::Array(values) = self.ask(&[&[b"HMGET", &of[..]], &fields[..]].concat())? else { return Ok(None) };
        let at = |at: usize| values.get(at).and_then(text).map(str::to_owned);
        let listing = || {
            let credentials = Credentials { token: at(2)?, read_only_token: at(3)? };
            Some(Listing { id, name: at(0)?, uuid: at(1)?, credentials, created_ms: at(4)?.parse().ok()? })
        };
        Ok(listing())
    }

    /// Names and ids of all databases, by name.
    pub(crate) fn names(&self) -> Result<Vec<(String, DatabaseId)>, Error> {
        let Reply::Map(pairs) = self.ask(&[b"HGETALL", b"names"])? else { return Ok(Vec::new()) };
        let pair = |(name, id): &(Reply, Reply)| Some((text(name)?.to_owned(), DatabaseId(number(id)?)));
        let mut names: Vec<_> = pairs.iter().filter_map(pair).collect();
        names.sort();
        Ok(names)
    }

    /// An id that no database has had.
    pub(crate) fn fresh_id(&self) -> Result<DatabaseId, Error> {
        match self.ask(&[b"INCR", b"next-id"])? {
            Reply::Integer(id) => {
                u32::try_from(id).map(DatabaseId).map_err(|_| Error::Name("there are no ids left".to_owned()))
            }
            _ => Err(Error::Catalogue(CommandError::NotAnInteger)),
        }
    }

    /// Refuses what is another database's: a name, a token.
    pub(crate) fn check(&self, listing: &Listing) -> Result<(), Error> {
        check_name(&listing.name)?;
        if self.by_name(&listing.name)?.is_some_and(|id| id != listing.id) {
            return Err(Error::Name(format!("there is a database '{}' already", listing.name)));
        }
        let Credentials { token, read_only_token } = &listing.credentials;
        if token == read_only_token {
            return Err(Error::Token("the token and the read-only token must differ"));
        }
        for token in [token, read_only_token] {
            if self.by_token(token.as_bytes())?.is_some_and(|(id, _)| id != listing.id) {
                return Err(Error::Token("a token opens another database already"));
            }
        }
        Ok(())
    }

    /// Puts a database into the catalogue, in place of what was said of it before.
    pub(crate) fn put(&self, listing: &Listing) -> Result<(), Error> {
        self.check(listing)?;
        let id = listing.id.0;
        let mut change = Change::default();
        if let Some(old) = self.listing(listing.id)? {
            change = change.then(&[
                b"DEL",
                &key("token", &old.credentials.token),
                &key("token", &old.credentials.read_only_token),
            ])?;
            change = change.then(&[b"HDEL", b"names", old.name.as_bytes()])?;
        }
        let (of, created) = (key("database", id), listing.created_ms.to_string());
        let Credentials { token, read_only_token } = &listing.credentials;
        let fields: [(&[u8], &str); 5] = [
            (b"name", &listing.name),
            (b"uuid", &listing.uuid),
            (b"token", token),
            (b"read_only_token", read_only_token),
            (b"created_ms", &created),
        ];
        let mut set: Vec<&[u8]> = vec![b"HSET", &of];
        set.extend(fields.iter().flat_map(|(name, value)| [*name, value.as_bytes()]));
        let change = change
            .then(&set)?
            .then(&[b"SET", &key("token", token), format!("{id} full").as_bytes()])?
            .then(&[b"SET", &key("token", read_only_token), format!("{id} read-only").as_bytes()])?
            .then(&[b"HSET", b"names", listing.name.as_bytes(), id.to_string().as_bytes()])?
            .then(&[b"SREM", b"doomed", id.to_string().as_bytes()])?;
        self.apply(&change)
    }

    /// Data of a database that is not in the catalogue yet: if it never gets there, it is to be removed.
    pub(crate) fn doom(&self, id: DatabaseId) -> Result<(), Error> {
        self.ask(&[b"SADD", b"doomed", id.0.to_string().as_bytes()]).map(drop)
    }

    /// Takes a database out of the catalogue. Its data is doomed from then on.
    pub(crate) fn remove(&self, listing: &Listing) -> Result<(), Error> {
        let id = listing.id.0;
        let Credentials { token, read_only_token } = &listing.credentials;
        let change = Change::default()
            .then(&[b"DEL", &key("token", token), &key("token", read_only_token), &key("database", id)])?
            .then(&[b"HDEL", b"names", listing.name.as_bytes()])?
            .then(&[b"SADD", b"doomed", id.to_string().as_bytes()])?;
        self.apply(&change)
    }

    /// Databases that are gone, but whose data may be there.
    pub(crate) fn doomed(&self) -> Result<Vec<DatabaseId>, Error> {
        let Reply::Set(ids) = self.ask(&[b"SMEMBERS", b"doomed"])? else { return Ok(Vec::new()) };
        Ok(ids.iter().filter_map(number).map(DatabaseId).collect())
    }

    /// The data of a database that was removed is gone, too.
    pub(crate) fn buried(&self, id: DatabaseId) -> Result<(), Error> {
        self.ask(&[b"SREM", b"doomed", id.0.to_string().as_bytes()]).map(drop)
    }

    /// Keys of an epoch that its database has not adopted yet: if it never does, they are to be removed.
    pub(crate) fn importing(&self, id: DatabaseId, epoch: u32) -> Result<(), Error> {
        self.ask(&[b"SADD", b"importing", format!("{} {epoch}", id.0).as_bytes()]).map(drop)
    }

    /// The epoch was adopted, or its keys are gone.
    pub(crate) fn imported(&self, id: DatabaseId, epoch: u32) -> Result<(), Error> {
        self.ask(&[b"SREM", b"importing", format!("{} {epoch}", id.0).as_bytes()]).map(drop)
    }

    /// Epochs that were being filled.
    pub(crate) fn imports(&self) -> Result<Vec<(DatabaseId, u32)>, Error> {
        let Reply::Set(names) = self.ask(&[b"SMEMBERS", b"importing"])? else { return Ok(Vec::new()) };
        let pair = |name: &Reply| {
            let (id, epoch) = text(name)?.split_once(' ')?;
            Some((DatabaseId(id.parse().ok()?), epoch.parse().ok()?))
        };
        Ok(names.iter().filter_map(pair).collect())
    }
}
