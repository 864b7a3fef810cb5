//! Who may do what in one database: users, their rules, and the check of a command against them.
//!
//! A [`User`] is a value: `ACL SETUSER` makes a new one from the old one's rules, and the whole of it is one effect of the
//! log. So users are durable, transactional and replayed like keys, though they are none: emptying the database leaves
//! them. The checks are pure functions of user, row and arguments; what a row touches (keys, how, channels, categories)
//! comes from the command table. `default` and `default_ro` stand for the database's own two tokens and never change;
//! their clients are told apart by [`Grant`] before anything here is asked.
//!
//! Nothing here holds a password or a token: only their SHA-256, compared in constant time.

mod commands;
mod log;
mod rules;
mod secret;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use dormouse_proto::{Args, Blob, CommandError};
use hashbrown::HashMap;

use crate::client::{Grant, UserId};
use crate::codec::{Corrupt, Reader, put_bytes, put_int};
use crate::command::{Command, Needs};
use crate::glob;
use crate::table::{self, full_name};
use crate::txn::Txn;

pub(crate) use commands::CommandSet;
pub(crate) use log::{AclLog, Context};
pub(crate) use rules::{RuleError, merge};
pub use secret::Token;
pub(crate) use secret::{Hash, Issued, equal, hex, is_strong, sha256};

/// The user of a database's full token.
pub const DEFAULT: &str = "default";
/// The user of its read-only token.
pub const DEFAULT_RO: &str = "default_ro";
/// Version of the layout of a user in the log and in the store.
const USER_VERSION: u8 = 1;

/// Keys or channels that a selector covers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Scope {
    all: bool,
    patterns: Vec<Pattern>,
}

/// One pattern; of channels, both ways are open.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Pattern {
    glob: Blob,
    read: bool,
    write: bool,
}

impl Pattern {
    const fn allows(&self, needs: Needs) -> bool {
        (self.read || !needs.read()) && (self.write || !needs.write())
    }
}

impl Scope {
    fn covers_key(&self, key: &[u8], needs: Needs) -> bool {
        self.all || self.patterns.iter().any(|pattern| pattern.allows(needs) && glob::matches(&pattern.glob, key))
    }

    fn covers_every_key(&self, needs: Needs) -> bool {
        self.all || self.patterns.iter().any(|pattern| pattern.allows(needs) && pattern.glob.as_slice() == b"*")
    }

    /// A pattern of channels is covered by the same pattern alone, letter for letter.
    fn covers_channel(&self, channel: &[u8], is_pattern: bool) -> bool {
        let covers = |pattern: &Pattern| {
            if is_pattern { pattern.glob.as_slice() == channel } else { glob::matches(&pattern.glob, channel) }
        };
        self.all || self.patterns.iter().any(covers)
    }
}

/// Commands, keys and channels that are granted together.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selector {
    pub(crate) commands: CommandSet,
    pub(crate) keys: Scope,
    pub(crate) channels: Scope,
}

/// Why a command is refused, from the least to the most telling.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Denial {
    /// Nothing lets the user run it.
    Command,
    /// One of its keys is out of reach.
    Key(Blob),
    /// One of its channels is.
    Channel(Blob),
}

impl Denial {
    /// What Redis says of it, without a code.
    pub fn words(&self, user: &[u8], command: &'static Command) -> String {
        match self {
            Self::Command => {
                let (user, command) = (String::from_utf8_lossy(user), full_name(command));
                format!("User {user} has no permissions to run the '{command}' command")
            }
            Self::Key(_) => "No permissions to access a key".to_owned(),
            Self::Channel(_) => "No permissions to access a channel".to_owned(),
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Command => 0,
            Self::Key(_) => 1,
            Self::Channel(_) => 2,
        }
    }
}

impl Selector {
    fn check(&self, command: &'static Command, args: Args<'_>) -> Result<(), (Denial, usize)> {
        if !command.is_no_auth() && !self.commands.permits(command, args) {
            return Err((Denial::Command, 0));
        }
        if !self.keys.all {
            for (at, (key, needs)) in command.keys_and_needs(args).enumerate() {
                if !self.keys.covers_key(key, needs) {
                    return Err((Denial::Key(Blob::from(key)), at));
                }
            }
        }
        if !self.channels.all {
            for (at, channel) in command.channels_of(args).iter().enumerate() {
                if !self.channels.covers_channel(channel, command.channels.patterns) {
                    return Err((Denial::Channel(Blob::from(*channel)), at));
                }
            }
        }
        Ok(())
    }
}

/// One user of a database; see the module's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    pub(crate) id: UserId,
    pub(crate) name: Blob,
    pub(crate) enabled: bool,
    pub(crate) skip_sanitize: bool,
    pub(crate) passwords: Vec<Hash>,
    pub(crate) issued: Vec<Issued>,
    pub(crate) root: Selector,
    pub(crate) selectors: Vec<Selector>,
}

impl User {
    /// A user who may do nothing and cannot come in.
    pub(crate) fn new(name: &[u8]) -> Self {
        Self {
            id: UserId(0),
            name: Blob::from(name),
            enabled: false,
            skip_sanitize: false,
            passwords: Vec::new(),
            issued: Vec::new(),
            root: Selector::default(),
            selectors: Vec::new(),
        }
    }

    /// Its id.
    pub const fn id(&self) -> UserId {
        self.id
    }

    /// Its name.
    pub const fn name(&self) -> &Blob {
        &self.name
    }

    fn selectors(&self) -> impl Iterator<Item = &Selector> {
        std::iter::once(&self.root).chain(&self.selectors)
    }

    /// Whether the user may run a command: one selector must grant all of it. Of several reasons against it the most
    /// telling is given, the one of the latest argument among equals, as Redis does.
    pub(crate) fn check(&self, command: &'static Command, args: Args<'_>) -> Result<(), Denial> {
        let mut worst: Option<(Denial, usize)> = None;
        for selector in self.selectors() {
            let Err((denial, at)) = selector.check(command, args) else { return Ok(()) };
            let worse = |(other, place): &(Denial, usize)| (denial.rank(), at) > (other.rank(), *place);
            if worst.as_ref().is_none_or(worse) {
                worst = Some((denial, at));
            }
        }
        Err(worst.map_or(Denial::Command, |(denial, _)| denial))
    }

    /// Whether one selector that grants the command lets it read every key there is.
    fn reads_every_key(&self, command: &'static Command, args: Args<'_>) -> bool {
        self.selectors()
            .any(|selector| selector.keys.covers_every_key(Needs::Read) && selector.check(command, args).is_ok())
    }

    /// Whether the user may listen to a channel, or to a pattern of them.
    pub fn may_hear(&self, channel: &[u8], is_pattern: bool) -> bool {
        self.selectors().any(|selector| selector.channels.covers_channel(channel, is_pattern))
    }

    /// Whether a password, or a token that wraps one, lets the user in. Every hash is looked at, whichever fits.
    pub fn opens(&self, database: u32, given: &[u8]) -> bool {
        let wrapped = Token::read(given).filter(|token| token.is_for(database, &self.name));
        let hash = sha256(wrapped.as_ref().map_or(given, |token| &token.secret));
        let password = self.passwords.iter().fold(false, |found, other| found | equal(other, &hash));
        let issued = self.issued.iter().fold(false, |found, issued| found | equal(&issued.token, &hash));
        self.enabled && (password || issued)
    }

    /// Whether a token serves as bearer token: it was issued as one, or wraps a password that nobody can guess.
    pub fn opens_with(&self, token: &Token) -> bool {
        let hash = sha256(&token.secret);
        let password = self.passwords.iter().fold(false, |found, other| found | equal(other, &hash));
        let issued = self.issued.iter().fold(false, |found, issued| found | equal(&issued.token, &hash));
        self.enabled && (issued || (password && is_strong(&token.secret)))
    }

    /// Bytes the user takes in a record of the log.
    pub(crate) fn bytes(&self) -> usize {
        let mut out = Vec::new();
        self.write(&mut out);
        out.len()
    }

    /// Writes all but the name: the rules that make it, and the tokens it was given.
    pub fn write(&self, out: &mut Vec<u8>) {
        out.push(USER_VERSION);
        let rules = self.rules();
        put_int(out, rules.len() as u64);
        for rule in rules {
            put_bytes(out, &rule);
        }
        put_int(out, self.issued.len() as u64);
        for issued in &self.issued {
            put_bytes(out, &issued.token);
            put_bytes(out, &issued.password);
        }
    }

    /// Reads what [`Self::write`] wrote.
    pub fn read(name: &[u8], input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        if input.byte()? != USER_VERSION {
            return Err(Corrupt("a user of a version this release knows"));
        }
        let mut user = Self::new(name);
        for _ in 0..input.count()? {
            // A password never gets here, only its hash: there is nothing to unwrap.
            let rule = input.bytes()?;
            user.apply(rule, None).map_err(|_| Corrupt("a user's rule that this release knows"))?;
        }
        for _ in 0..input.count()? {
            let mut hash = || input.bytes()?.try_into().map_err(|_| Corrupt("the hash of a token"));
            user.issued.push(Issued { token: hash()?, password: hash()? });
        }
        Ok(user)
    }
}

/// The users of one database, beside the two that every database has.
#[derive(Clone, Debug, Default)]
pub struct Users {
    by_name: BTreeMap<Blob, Arc<User>>,
    by_id: HashMap<UserId, Arc<User>>,
    newest: u64,
    /// Names whose users the store does not know as they are.
    changed: BTreeSet<Blob>,
}

impl Users {
    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_name.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.by_name.is_empty()
    }

    /// All of them, by name.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<User>> {
        self.by_name.values()
    }

    /// A user by name, the two of every database not among them.
    pub fn get(&self, name: &[u8]) -> Option<&Arc<User>> {
        self.by_name.get(name)
    }

    /// A user by id; none if it was deleted, even if there is one of that name again.
    pub fn of(&self, id: UserId) -> Option<&Arc<User>> {
        self.by_id.get(&id)
    }

    /// Any user by name.
    pub(crate) fn find(&self, name: &[u8]) -> Option<Arc<User>> {
        built_in(name).or_else(|| self.get(name).cloned())
    }

    /// Every user, by name.
    pub(crate) fn all(&self) -> Vec<Arc<User>> {
        let own = [DEFAULT, DEFAULT_RO].iter().filter_map(|name| built_in(name.as_bytes()));
        let mut all: Vec<_> = own.chain(self.by_name.values().cloned()).collect();
        all.sort_by(|a, b| a.name.cmp(&b.name));
        all
    }

    /// Puts a user in place of the one of that name, or takes that one out. Returns what was there.
    pub fn put(&mut self, name: &[u8], user: Option<Arc<User>>) -> Option<Arc<User>> {
        let name = Blob::from(name);
        let old = self.by_name.remove(&name);
        if let Some(old) = &old {
            self.by_id.remove(&old.id);
        }
        self.changed.insert(name.clone());
        if let Some(mut user) = user {
            if user.id == UserId(0) {
                self.newest += 1;
                Arc::make_mut(&mut user).id = UserId(self.newest);
            }
            self.by_id.insert(user.id, Arc::clone(&user));
            self.by_name.insert(name, user);
        }
        old
    }

    /// Takes in what the store has.
    pub fn admit(&mut self, user: User) {
        let name = user.name.clone();
        self.put(&name, Some(Arc::new(user)));
        self.changed.remove(&name);
    }

    /// Whether the store does not know all of them as they are.
    pub fn are_dirty(&self) -> bool {
        !self.changed.is_empty()
    }

    /// Names whose users the store must be told of; none are left.
    pub fn take_changed(&mut self) -> BTreeSet<Blob> {
        std::mem::take(&mut self.changed)
    }

    /// Names that the store was not told of after all.
    pub fn restore_changed(&mut self, names: BTreeSet<Blob>) {
        self.changed.extend(names);
    }

    /// Whether a client may run a command.
    pub fn check(&self, grant: Grant, command: &'static Command, args: Args<'_>) -> Result<(), Denial> {
        match grant {
            Grant::Full => Ok(()),
            Grant::ReadOnly if command.permits(grant) => Ok(()),
            Grant::ReadOnly => Err(Denial::Command),
            Grant::User(id) => self.of(id).ok_or(Denial::Command)?.check(command, args),
        }
    }

    /// Whether a client may read every key by a command that looks at keys it does not name.
    pub(crate) fn reads_every_key(&self, grant: Grant, command: &'static Command, args: Args<'_>) -> bool {
        match grant {
            Grant::Full | Grant::ReadOnly => true,
            Grant::User(id) => self.of(id).is_some_and(|user| user.reads_every_key(command, args)),
        }
    }
}

impl Txn<'_> {
    /// Notes for `ACL LOG` that the client was refused a command.
    pub(crate) fn note_denial(&mut self, denial: &Denial, command: &'static Command, context: Context) {
        let (now_ms, client) = (self.now_ms(), self.client().clone());
        self.hub().note_denial_in(denial, command, &client, context, now_ms);
    }

    /// Notes that a queued command may not run any more, and says why.
    pub fn refuse_queued(&mut self, denial: &Denial, command: &'static Command) -> CommandError {
        self.note_denial(denial, command, Context::Multi);
        let reason = match denial {
            Denial::Command => "no permission to execute the command or subcommand",
            Denial::Key(_) => "no permission to touch the specified keys",
            Denial::Channel(_) => "no permission to access one of the channels used as arguments to the command",
        };
        CommandError::from(format!(
            "NOPERM ACLs rules changed between the moment the transaction was accumulated and the EXEC call. This command is no \
             longer allowed for the following reason: {reason}"
        ))
    }

    /// Whether the client may read every key by the command at work, which looks at keys it does not name.
    pub(crate) fn reads_every_key(&mut self, args: Args<'_>) -> bool {
        let grant = self.client().grant;
        grant == Grant::Full
            || table::find(args).is_ok_and(|found| self.hub().users.reads_every_key(grant, found.command, args))
    }
}

/// Whether a name belongs to one of the two users of every database.
pub(crate) fn is_built_in(name: &[u8]) -> bool {
    name == DEFAULT.as_bytes() || name == DEFAULT_RO.as_bytes()
}

/// The users of the database's own tokens, as the commands about users show them.
fn built_in(name: &[u8]) -> Option<Arc<User>> {
    static FULL: LazyLock<Arc<User>> = LazyLock::new(|| Arc::new(make_built_in(DEFAULT, CommandSet::all())));
    static READ_ONLY: LazyLock<Arc<User>> = LazyLock::new(|| {
        let mut commands = CommandSet::default();
        commands.change("@read", true).expect("the table has reads");
        for place in table::places() {
            let (granted, wanted) = (commands.has(place), place.command.permits(Grant::ReadOnly));
            let subcommands = !place.command.subcommands.is_empty();
            if granted != wanted && !subcommands && !place.command.is_no_auth() {
                commands.change(&place.name(), wanted).expect("the table has its own rows");
            }
        }
        Arc::new(make_built_in(DEFAULT_RO, commands))
    });
    match name {
        name if name == DEFAULT.as_bytes() => Some(Arc::clone(&FULL)),
        name if name == DEFAULT_RO.as_bytes() => Some(Arc::clone(&READ_ONLY)),
        _ => None,
    }
}

fn make_built_in(name: &str, commands: CommandSet) -> User {
    let everything = || Scope { all: true, patterns: Vec::new() };
    let root = Selector { commands, keys: everything(), channels: everything() };
    User { enabled: true, root, ..User::new(name.as_bytes()) }
}

#[cfg(test)]
mod tests;
