//! Sessions after the rules of OWASP: ids that cannot be guessed and are not stored, two timeouts at once, no lost updates, an end for all.
//!
//! ```
//! use std::time::Duration;
//! use dormouse_client::session::{SessionId, Sessions};
//!
//! #[derive(Default, serde::Serialize, serde::Deserialize)]
//! struct Cart { items: Vec<String> }
//!
//! # dormouse_client::example(async |client| {
//! let sessions = Sessions::new(&client, "shop").idle(Duration::from_secs(30 * 60)).absolute(Duration::from_secs(12 * 3600));
//!
//! let visitor = sessions.create(None, Cart::default()).await?;
//! let cookie = visitor.id().cookie();
//! # let cookie = cookie.split(';').next().unwrap();
//!
//! // The next request: an id that the store does not know is nobody's.
//! let id = SessionId::from_cookies(cookie).expect("it has one");
//! let mut session = sessions.load::<Cart>(&id).await?.expect("it has not ended");
//! session.data.items.push("tea".into());
//! sessions.save(&mut session).await?;
//!
//! // A login gives it another id; the old one is worth nothing from then on.
//! let session = sessions.login(session, "ada").await?;
//! assert!(sessions.load::<Cart>(&id).await?.is_none());
//! assert_eq!(sessions.list("ada").await?.len(), 1);
//! assert_eq!(sessions.revoke_all("ada", Some(session.id())).await?, 0);
//! # Ok(()) });
//! ```
//!
//! # Guarantees
//!
//! - **Ids** have 256 bits of the operating system's randomness and mean nothing. The store has their SHA-256 only: neither a backup nor
//!   `MONITOR` shows one. Logs never do.
//! - **Strict**: an id that the store does not know is never taken over; [`create`](Sessions::create) always mints one.
//! - **Rotation**: [`login`](Sessions::login) and [`rotate`](Sessions::rotate) store the session under another id and delete the old one in one step.
//!   A login begins the absolute timeout anew, a rotation does not.
//! - **Both timeouts** hold together, by the server's clock: each use begins the idle one anew, nothing moves the absolute one.
//! - **No lost updates**: a save takes effect only on the version that was loaded ([`SessionError::Changed`] otherwise), and only while the
//!   session is there ([`SessionError::Gone`]): a late save brings no session back that was logged out. [`update`](Sessions::update) loads and tries
//!   again.
//! - **The end of all sessions** of a user is one step, and no rotation under way escapes it.
//!
//! # Limits
//!
//! - What is in `data` and the user's name are stored as they are, not encrypted.
//! - A save whose answer was lost may have been made: it is [`SessionError::Store`] with an ambiguous error, and the next is `Changed`.
//! - Loading writes (the deadline), so it takes a token that may write, and a script each time.
//! - [`list`](Sessions::list) and [`revoke_all`](Sessions::revoke_all) take time that grows with the user's sessions.
//! - Keys of other sessions are named by scripts, not among their `KEYS`: a cluster of Redis proper wants a `{…}` in the prefix.
//!
//! # What is stored
//!
//! `<prefix>:s:<sha-256>` is a hash (`data`, `user`, `created`, `until`, `version`), `<prefix>:u:<user>` a sorted set of a user's sessions. Both
//! have deadlines.

mod id;
#[cfg(test)]
mod tests;

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;

pub use self::id::SessionId;
use crate::client::Client;
use crate::commands::millis;
use crate::error::Error;
use crate::script::Script;
use crate::value::Json;

static CREATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("create.lua")));
static LOAD: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("load.lua")));
static SAVE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("save.lua")));
static ROTATE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("rotate.lua")));
static DESTROY: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("destroy.lua")));
static LIST: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("list.lua")));
static REVOKE: LazyLock<Script> = LazyLock::new(|| Script::new(include_str!("revoke.lua")));

/// How often an update is tried again after somebody else's.
const UPDATES_MAX: u32 = 32;

/// Why a session was not changed.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SessionError {
    /// Somebody else has changed it since it was loaded.
    #[error("the session was changed by another request")]
    Changed,
    /// It has ended: by a logout, a rotation or a timeout.
    #[error("the session has ended")]
    Gone,
    /// The store could not be asked.
    #[error(transparent)]
    Store(#[from] Error),
}

/// A session as it was loaded.
///
/// ```
/// use dormouse_client::session::Sessions;
///
/// # dormouse_client::example(async |client| {
/// let session = Sessions::new(&client, "shop").create(Some("ada"), 7).await?;
/// assert_eq!((session.user(), session.data), (Some("ada"), 7));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug)]
pub struct Session<T> {
    id: SessionId,
    user: Option<String>,
    created_ms: u64,
    ends_ms: u64,
    version: u64,
    /// What it is for. Changes are kept by [`Sessions::save`].
    pub data: T,
}

impl<T> Session<T> {
    /// Its id.
    pub const fn id(&self) -> &SessionId {
        &self.id
    }

    /// Who is logged in.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// When it began, or its user logged in, in milliseconds since the Unix epoch.
    pub const fn created_ms(&self) -> u64 {
        self.created_ms
    }

    /// When it ends whatever happens, in milliseconds since the Unix epoch.
    pub const fn ends_ms(&self) -> u64 {
        self.ends_ms
    }
}

/// One of a user's sessions, as a list of them shows it. No id can be made of it.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Listed {
    /// What names it: see [`SessionId::handle`].
    pub handle: String,
    /// When it began, in milliseconds since the Unix epoch.
    pub created_ms: u64,
    /// When it ends whatever happens.
    pub ends_ms: u64,
    /// In how long it ends if it is not used.
    pub idle_left: Duration,
}

/// The sessions of an application.
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::session::Sessions;
///
/// # dormouse_client::example(async |client| {
/// let sessions = Sessions::new(&client, "bank").idle(Duration::from_secs(120)).absolute(Duration::from_secs(3600));
/// # drop(sessions); Ok(()) });
/// ```
#[derive(Clone, Debug)]
#[must_use]
pub struct Sessions {
    client: Client,
    prefix: Arc<str>,
    idle: Duration,
    absolute: Duration,
}

impl Sessions {
    /// Sessions whose keys begin with a prefix. They end after 30 minutes without use, and after 12 hours.
    pub fn new(client: &Client, prefix: impl AsRef<str>) -> Self {
        Self {
            client: client.clone(),
            prefix: prefix.as_ref().into(),
            idle: Duration::from_mins(30),
            absolute: Duration::from_hours(12),
        }
    }

    /// After how long without use they end.
    pub const fn idle(mut self, timeout: Duration) -> Self {
        self.idle = timeout;
        self
    }

    /// After how long they end, used or not.
    pub const fn absolute(mut self, timeout: Duration) -> Self {
        self.absolute = timeout;
        self
    }

    /// Begins a session, under an id that nobody has had.
    pub async fn create<T: Serialize>(&self, user: Option<&str>, data: T) -> Result<Session<T>, SessionError> {
        let id = SessionId::random();
        let call = CREATE
            .key((self.key(&id), self.index(user)))
            .arg((id.handle(), Json(&data), user.unwrap_or_default()))
            .arg((millis(self.idle), millis(self.absolute)));
        let (created, now): (bool, u64) = call.run(&self.client).await?;
        if !created {
            return Err(SessionError::Changed);
        }
        let ends_ms = now.saturating_add(millis(self.absolute));
        Ok(Session { id, user: user.map(str::to_owned), created_ms: now, ends_ms, version: 1, data })
    }

    /// The session of an id, if it has not ended; its idle timeout begins anew.
    pub async fn load<T: DeserializeOwned + 'static>(
        &self,
        id: &SessionId,
    ) -> Result<Option<Session<T>>, SessionError> {
        type Kept<T> = (Json<T>, String, u64, u64, u64);
        let found: Option<Kept<T>> = LOAD.key(self.key(id)).arg(millis(self.idle)).run(&self.client).await?;
        Ok(found.map(|(Json(data), user, created_ms, ends_ms, version)| Session {
            id: id.clone(),
            user: (!user.is_empty()).then_some(user),
            created_ms,
            ends_ms,
            version,
            data,
        }))
    }

    /// Keeps the changes of a session's data, if nobody else has changed it meanwhile.
    ///
    /// ```
    /// use dormouse_client::session::{SessionError, Sessions};
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let mut one = sessions.create(None, 1).await?;
    /// let mut two = sessions.load::<i32>(one.id()).await?.unwrap();
    /// one.data = 10;
    /// sessions.save(&mut one).await?;
    /// two.data = 20;
    /// assert!(matches!(sessions.save(&mut two).await, Err(SessionError::Changed)));
    /// # Ok(()) });
    /// ```
    pub async fn save<T: Serialize>(&self, session: &mut Session<T>) -> Result<(), SessionError> {
        let call = SAVE.key(self.key(&session.id)).arg((session.version, Json(&session.data), millis(self.idle)));
        session.version = checked(call.run(&self.client).await?)?;
        Ok(())
    }

    /// Changes a session's data, as often as it takes until nobody else comes between.
    ///
    /// ```
    /// use dormouse_client::session::Sessions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let id = sessions.create(None, 1).await?.id().clone();
    /// let session = sessions.update(&id, |count: &mut i32| *count += 1).await?;
    /// assert_eq!(session.data, 2);
    /// # Ok(()) });
    /// ```
    pub async fn update<T>(&self, id: &SessionId, mut change: impl FnMut(&mut T)) -> Result<Session<T>, SessionError>
    where
        T: Serialize + DeserializeOwned + 'static,
    {
        for _ in 0..UPDATES_MAX {
            let mut session = self.load::<T>(id).await?.ok_or(SessionError::Gone)?;
            change(&mut session.data);
            match self.save(&mut session).await {
                Ok(()) => return Ok(session),
                Err(SessionError::Changed) => {}
                Err(error) => return Err(error),
            }
        }
        Err(SessionError::Changed)
    }

    /// Logs a user in: another id, an absolute timeout that begins now, and the data as they are in the session.
    pub async fn login<T: Serialize>(&self, session: Session<T>, user: &str) -> Result<Session<T>, SessionError> {
        self.replace(session, Some(user), true).await
    }

    /// Gives a session another id, as after a change of what its user may do. Its absolute timeout goes on.
    ///
    /// ```
    /// use dormouse_client::session::Sessions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let old = sessions.create(Some("ada"), 1).await?;
    /// let new = sessions.rotate(old.clone()).await?;
    /// assert_ne!(old.id(), new.id());
    /// assert_eq!(old.ends_ms(), new.ends_ms());
    /// # Ok(()) });
    /// ```
    pub async fn rotate<T: Serialize>(&self, session: Session<T>) -> Result<Session<T>, SessionError> {
        let user = session.user.clone();
        self.replace(session, user.as_deref(), false).await
    }

    /// Ends a session; whether there was one.
    ///
    /// ```
    /// use dormouse_client::session::Sessions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let session = sessions.create(Some("ada"), ()).await?;
    /// assert!(sessions.destroy(session.id()).await?);
    /// assert!(sessions.load::<()>(session.id()).await?.is_none());
    /// # Ok(()) });
    /// ```
    pub async fn destroy(&self, id: &SessionId) -> Result<bool, SessionError> {
        let call = DESTROY.key(self.key(id)).arg((id.handle(), self.index(Some(""))));
        Ok(call.run(&self.client).await?)
    }

    /// The sessions of a user that have not ended.
    ///
    /// ```
    /// use dormouse_client::session::Sessions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let session = sessions.create(Some("ada"), ()).await?;
    /// assert_eq!(sessions.list("ada").await?[0].handle, session.id().handle());
    /// # Ok(()) });
    /// ```
    pub async fn list(&self, user: &str) -> Result<Vec<Listed>, SessionError> {
        let call = LIST.key(self.index(Some(user))).arg(self.sessions());
        let found: Vec<(String, u64, u64, u64)> = call.run(&self.client).await?;
        let listed = found.into_iter().map(|(handle, created_ms, ends_ms, left)| Listed {
            handle,
            created_ms,
            ends_ms,
            idle_left: Duration::from_millis(left),
        });
        Ok(listed.collect())
    }

    /// Ends one of a user's sessions, by the handle that a list of them showed; whether there was one.
    ///
    /// ```
    /// use dormouse_client::session::Sessions;
    ///
    /// # dormouse_client::example(async |client| {
    /// let sessions = Sessions::new(&client, "shop");
    /// let session = sessions.create(Some("ada"), ()).await?;
    /// assert!(!sessions.revoke("eve", &session.id().handle()).await?);
    /// assert!(sessions.revoke("ada", &session.id().handle()).await?);
    /// # Ok(()) });
    /// ```
    pub async fn revoke(&self, user: &str, handle: &str) -> Result<bool, SessionError> {
        let call = REVOKE.key(self.index(Some(user))).arg((self.sessions(), handle, ""));
        Ok(!handle.is_empty() && call.run::<u64>(&self.client).await? > 0)
    }

    /// Ends all sessions of a user, but for one; how many there were.
    pub async fn revoke_all(&self, user: &str, except: Option<&SessionId>) -> Result<u64, SessionError> {
        let except = except.map(SessionId::handle).unwrap_or_default();
        let call = REVOKE.key(self.index(Some(user))).arg((self.sessions(), "", except));
        Ok(call.run(&self.client).await?)
    }

    async fn replace<T: Serialize>(
        &self,
        session: Session<T>,
        user: Option<&str>,
        anew: bool,
    ) -> Result<Session<T>, SessionError> {
        let id = SessionId::random();
        let absolute = if anew { millis(self.absolute).to_string() } else { String::new() };
        let call = ROTATE
            .key((self.key(&session.id), self.key(&id), self.index(session.user()), self.index(user)))
            .arg((session.version, Json(&session.data), user.unwrap_or_default(), millis(self.idle)))
            .arg((absolute, session.id.handle(), id.handle()));
        let (version, created_ms, ends_ms): (i64, u64, u64) = call.run(&self.client).await?;
        let version = checked(version)?;
        Ok(Session { id, user: user.map(str::to_owned), created_ms, ends_ms, version, data: session.data })
    }

    fn sessions(&self) -> String {
        format!("{}:s:", self.prefix)
    }

    fn key(&self, id: &SessionId) -> String {
        format!("{}:s:{}", self.prefix, id.handle())
    }

    /// The index of a user; without one there is none.
    fn index(&self, user: Option<&str>) -> String {
        user.map(|user| format!("{}:u:{user}", self.prefix)).unwrap_or_default()
    }
}

/// The version that a script answered, or why there is none.
fn checked(version: i64) -> Result<u64, SessionError> {
    match version {
        ..0 => Err(SessionError::Gone),
        0 => Err(SessionError::Changed),
        version => Ok(version.unsigned_abs()),
    }
}
