//! A row of the command table: what a command is called, takes, touches and does.
//!
//! Rows are written beside their handlers and joined in `table.rs`. Lookup, arity errors, permissions, the keys to load,
//! `COMMAND` and its sub-commands, and `docs/commands.md` all come from rows: a second list of command names anywhere is a
//! mistake.

use std::borrow::Cow;

use dormouse_proto::{Args, CommandError};

use crate::client::Grant;
use crate::txn::{Outcome, Stop, Txn};
use crate::value::Value;

/// Runs a command.
pub type Handler = fn(&mut Txn<'_>, Args<'_>) -> Outcome;

/// How a command runs.
#[derive(Clone, Copy, Debug)]
pub enum Run {
    /// A handler over keys, hub and client.
    Handler(Handler),
    /// The layer above runs it: it needs more than one database, or a lock that a script may hold.
    Session(Session),
    /// Nothing of its own: a sub-command must be named.
    Container,
}

/// Commands the layer above runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Session {
    /// `AUTH`: a password names another database.
    Auth,
    /// `HELLO`: may carry a password.
    Hello,
    /// `EXEC`: runs the queue.
    Exec,
    /// `SCRIPT KILL`: reaches a script that holds the database.
    ScriptKill,
    /// `FUNCTION KILL`: the same for a function.
    FunctionKill,
    /// `CLIENT UNBLOCK`: reaches a parked command.
    Unblock,
}

/// What a command does to the keys it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// Neither reads nor writes keys.
    None,
    /// Reads keys.
    Reads,
    /// Changes keys.
    Writes,
}

/// The group a command is documented under.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "the groups are Redis's own, by name")]
pub enum Group {
    String,
    Hash,
    List,
    Set,
    SortedSet,
    Stream,
    Array,
    Bitmap,
    Geo,
    HyperLogLog,
    Json,
    Generic,
    PubSub,
    Transactions,
    Scripting,
    Connection,
    Server,
}

impl Group {
    /// The name `COMMAND DOCS` gives.
    pub const fn name(self) -> &'static str {
        match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sorted-set",
            Self::Stream => "stream",
            Self::Array => "array",
            Self::Bitmap => "bitmap",
            Self::Geo => "geo",
            Self::HyperLogLog => "hyperloglog",
            Self::Json => "json",
            Self::Generic => "generic",
            Self::PubSub => "pubsub",
            Self::Transactions => "transactions",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => "server",
        }
    }

    /// The ACL category of its own, if it has one.
    pub const fn category(self) -> Option<&'static str> {
        Some(match self {
            Self::String => "string",
            Self::Hash => "hash",
            Self::List => "list",
            Self::Set => "set",
            Self::SortedSet => "sortedset",
            Self::Stream => "stream",
            Self::Array => "array",
            Self::Bitmap => "bitmap",
            Self::Geo => "geo",
            Self::HyperLogLog => "hyperloglog",
            Self::Json => "json",
            Self::Generic => "keyspace",
            Self::PubSub => "pubsub",
            Self::Transactions => "transaction",
            Self::Scripting => "scripting",
            Self::Connection => "connection",
            Self::Server => return None,
        })
    }
}

/// What somebody must be allowed to do with a key for a command to touch it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// To know that it is there, or how large it is.
    Nothing,
    /// To read what it holds.
    Read,
    /// To change it, without being told what it held.
    Write,
    /// Both.
    ReadWrite,
}

impl Needs {
    /// Whether what the key holds shows.
    pub const fn read(self) -> bool {
        matches!(self, Self::Read | Self::ReadWrite)
    }

    /// Whether the key may change.
    pub const fn write(self) -> bool {
        matches!(self, Self::Write | Self::ReadWrite)
    }
}

/// What a command needs of its first key and of the others, where that does not follow from its effect.
#[derive(Clone, Copy, Debug)]
enum Access {
    /// It reads, or reads and writes, as its effect says.
    ByEffect,
    /// As said.
    Said { first: Needs, others: Needs },
    /// Its arguments say.
    ByArgs(fn(Args<'_>) -> Needs),
}

/// Where in its arguments a command names channels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Channels {
    /// Position of the first; 0 if there is none.
    pub first: u8,
    /// Position of the last; negative counts from the end.
    pub last: i8,
    /// Whether they are patterns.
    pub patterns: bool,
}

/// Where in its arguments a command names keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Position of the first key; 0 if there is none at a fixed place.
    pub first: u8,
    /// Position of the last; negative counts from the end.
    pub last: i8,
    /// Distance between keys.
    pub step: u8,
    /// Position of a count that further keys follow; 0 if there is none.
    pub count_at: u8,
    /// Position from which the word `STREAMS` is looked for, whose other half of arguments are keys; 0 if there is none.
    pub streams_from: u8,
    /// Whether there may be others that nothing here finds.
    pub movable: bool,
    /// Position from which a word `STORE` or `STOREDIST` may name one more key; 0 if none may.
    pub store_from: u8,
}

impl Keys {
    /// Whether there are any.
    pub const fn are_named(self) -> bool {
        self.first > 0 || self.count_at > 0 || self.streams_from > 0
    }

    /// Whether they stand at other places from call to call.
    pub const fn are_movable(self) -> bool {
        self.movable || self.count_at > 0 || self.streams_from > 0 || self.store_from > 0
    }

    /// The key that options name after `STORE` or `STOREDIST`: the last one counts, as in Redis.
    fn stored(self, args: Args<'_>) -> Option<&[u8]> {
        if self.store_from == 0 {
            return None;
        }
        let mut at = usize::from(self.store_from);
        let mut stored = None;
        while let Some(word) = args.get(at) {
            let is = |name: &str| word.eq_ignore_ascii_case(name.as_bytes());
            // What follows these words is theirs, whatever it reads like.
            at += match () {
                () if is("STORE") || is("STOREDIST") => {
                    stored = args.get(at + 1).or(stored);
                    2
                }
                () if is("BY") || is("GET") => 2,
                () if is("LIMIT") => 3,
                () => 1,
            };
        }
        stored.copied()
    }
}

/// Properties a row may have; each has a builder of the same name.
mod flag {
    pub(super) const FAST: u32 = 1;
    pub(super) const GROWS: u32 = 1 << 1;
    pub(super) const BLOCKS: u32 = 1 << 2;
    pub(super) const ADMIN: u32 = 1 << 3;
    pub(super) const DANGEROUS: u32 = 1 << 4;
    pub(super) const SWEEPS: u32 = 1 << 5;
    pub(super) const NO_SCRIPT: u32 = 1 << 6;
    pub(super) const NO_REST: u32 = 1 << 7;
    pub(super) const NOT_QUEUED: u32 = 1 << 8;
    pub(super) const NO_AUTH: u32 = 1 << 9;
    pub(super) const WHILE_SUBSCRIBED: u32 = 1 << 10;
    pub(super) const NO_MULTI: u32 = 1 << 11;
    pub(super) const FOR_ALL: u32 = 1 << 12;
    pub(super) const SCRIPT: u32 = 1 << 13;
    pub(super) const WHILE_BUSY: u32 = 1 << 14;
    pub(super) const IF_ASKED: u32 = 1 << 15;
    pub(super) const BRIEF: u32 = 1 << 16;
    pub(super) const TELLS_SECRET: u32 = 1 << 17;
    pub(super) const TAKES_SECRET: u32 = 1 << 18;
    pub(super) const ASIDE: u32 = 1 << 19;
    pub(super) const ADDS: u32 = 1 << 20;
    pub(super) const REMOVES: u32 = 1 << 21;
    pub(super) const OVERWRITES: u32 = 1 << 22;
}

/// A row; see the module's text.
#[derive(Debug)]
pub struct Command {
    /// Upper case; of a sub-command its own word only.
    pub name: &'static str,
    /// Number of arguments with the name (and the sub-command's): exact, or at least, if negative.
    pub arity: i8,
    /// How it runs.
    pub run: Run,
    /// What it does to its keys.
    pub effect: Effect,
    /// Where its keys are.
    pub keys: Keys,
    /// What it does to them, one by one.
    access: Access,
    /// Where its channels are.
    pub channels: Channels,
    /// Its ACL categories beside those that follow from its flags, if they are not its group's.
    own_categories: Option<&'static [&'static str]>,
    /// Its group.
    pub group: Group,
    /// The first Redis version that had it, or the product that brought it.
    pub since: &'static str,
    /// One sentence.
    pub summary: &'static str,
    /// Its sub-commands.
    pub subcommands: &'static [Self],
    flags: u32,
}

/// A row that runs `handler`.
pub const fn command(name: &'static str, arity: i8, handler: Handler) -> Command {
    row(name, arity, Run::Handler(handler))
}

/// A row that the layer above runs.
pub const fn session(name: &'static str, arity: i8, session: Session) -> Command {
    row(name, arity, Run::Session(session))
}

/// A row that only holds sub-commands.
pub const fn container(name: &'static str, subcommands: &'static [Command]) -> Command {
    let mut command = row(name, -2, Run::Container);
    command.subcommands = subcommands;
    command
}

const fn row(name: &'static str, arity: i8, run: Run) -> Command {
    Command {
        name,
        arity,
        run,
        effect: Effect::None,
        keys: Keys { first: 0, last: 0, step: 0, count_at: 0, streams_from: 0, movable: false, store_from: 0 },
        access: Access::ByEffect,
        channels: Channels { first: 0, last: 0, patterns: false },
        own_categories: None,
        group: Group::Server,
        since: "",
        summary: "",
        subcommands: &[],
        flags: 0,
    }
}

macro_rules! flags {
    ($($(#[$doc:meta])* $set:ident, $is:ident = $bit:ident;)*) => {
        impl Command { $(
            $(#[$doc])*
            #[must_use]
            pub const fn $set(mut self) -> Self {
                self.flags |= flag::$bit;
                self
            }

            $(#[$doc])*
            pub const fn $is(&self) -> bool {
                self.flags & flag::$bit != 0
            }
        )* }
    };
}

flags! {
    /// Constant or logarithmic time (Redis's `fast`).
    fast, is_fast = FAST;
    /// May make a value larger (Redis's `denyoom`).
    grows, may_grow = GROWS;
    /// May wait for a key.
    blocks, may_block = BLOCKS;
    /// For the operator.
    admin, is_admin = ADMIN;
    /// Can do harm in careless hands (Redis's category `dangerous`).
    dangerous, is_dangerous = DANGEROUS;
    /// A read that walks the whole keyspace: refused to read-only tokens.
    sweeps, does_sweep = SWEEPS;
    /// Not from scripts.
    no_script, is_no_script = NO_SCRIPT;
    /// Belongs to a connection: not over REST.
    no_rest, is_no_rest = NO_REST;
    /// Runs at once even after `MULTI`.
    not_queued, is_not_queued = NOT_QUEUED;
    /// Not after `MULTI`.
    no_multi, is_no_multi = NO_MULTI;
    /// Before `AUTH`, too.
    no_auth, is_no_auth = NO_AUTH;
    /// While subscribed over RESP2, too.
    while_subscribed, is_while_subscribed = WHILE_SUBSCRIBED;
    /// Read-only tokens may run it although it reads no keys.
    for_all, is_for_all = FOR_ALL;
    /// Runs a script: what that may do is checked command by command.
    script, is_script = SCRIPT;
    /// Answers even while a script holds the database.
    while_busy, is_while_busy = WHILE_BUSY;
    /// Waits for a key only if its options say so.
    if_asked, blocks_if_asked = IF_ASKED;
    /// Takes no longer than its arguments are long: not worth a look at the clock.
    brief, is_brief = BRIEF;
    /// Its answer is told once and kept nowhere.
    tells_secret, tells_a_secret = TELLS_SECRET;
    /// That it looks at a key is no use of it.
    aside, looks_aside = ASIDE;
    /// Its arguments are not shown in any log.
    takes_secret, takes_a_secret = TAKES_SECRET;
    /// What it writes without reading is added to what is there.
    adds, does_add = ADDS;
    /// What it reads, or all it touches if it reads nothing, is taken away.
    removes, does_remove = REMOVES;
    /// What it writes without reading takes the place of what was there.
    overwrites, does_overwrite = OVERWRITES;
}

impl Command {
    /// It reads keys.
    #[must_use]
    pub const fn reads(mut self) -> Self {
        self.effect = Effect::Reads;
        self
    }

    /// It changes keys.
    #[must_use]
    pub const fn writes(mut self) -> Self {
        self.effect = Effect::Writes;
        self
    }

    /// Its one key is at `position`.
    #[must_use]
    pub const fn key(self, position: u8) -> Self {
        self.keys(position, position as i8, 1)
    }

    /// Its keys are at `first`, `first + step` … up to `last`.
    #[must_use]
    pub const fn keys(mut self, first: u8, last: i8, step: u8) -> Self {
        self.keys.first = first;
        self.keys.last = last;
        self.keys.step = step;
        self
    }

    /// The argument at `position` counts the keys after it.
    #[must_use]
    pub const fn count_at(mut self, position: u8) -> Self {
        self.keys.count_at = position;
        self
    }

    /// The first half of what follows the word `STREAMS`, looked for from `position` on, are keys.
    #[must_use]
    pub const fn streams_from(mut self, position: u8) -> Self {
        self.keys.streams_from = position;
        self
    }

    /// What it touches may depend on more than the places of its keys.
    #[must_use]
    pub const fn moves(mut self) -> Self {
        self.keys.movable = true;
        self
    }

    /// Its options may name one more key to store in, from `position` on.
    #[must_use]
    pub const fn store_from(mut self, position: u8) -> Self {
        self.keys.store_from = position;
        self
    }

    /// It tells no more of its keys than that they are there, or how large they are.
    #[must_use]
    pub const fn peeks(self) -> Self {
        self.needs(Needs::Nothing, Needs::Nothing)
    }

    /// It writes without telling what was there.
    #[must_use]
    pub const fn blind(self) -> Self {
        self.needs(Needs::Write, Needs::Write)
    }

    /// It reads its keys, whatever else it does.
    #[must_use]
    pub const fn shows(self) -> Self {
        self.needs(Needs::Read, Needs::Read)
    }

    /// What it does to its first key, and to the others.
    #[must_use]
    pub const fn needs(mut self, first: Needs, others: Needs) -> Self {
        self.access = Access::Said { first, others };
        self
    }

    /// What it does to its keys depends on its arguments.
    #[must_use]
    pub const fn needs_by(mut self, access: fn(Args<'_>) -> Needs) -> Self {
        self.access = Access::ByArgs(access);
        self
    }

    /// Its ACL categories, in place of its group's.
    #[must_use]
    pub const fn within(mut self, categories: &'static [&'static str]) -> Self {
        self.own_categories = Some(categories);
        self
    }

    /// Its channels are at `first` … `last`.
    #[must_use]
    pub const fn channels(mut self, first: u8, last: i8) -> Self {
        self.channels.first = first;
        self.channels.last = last;
        self
    }

    /// Its channels are patterns of channels.
    #[must_use]
    pub const fn patterns(mut self) -> Self {
        self.channels.patterns = true;
        self
    }

    /// Its group.
    #[must_use]
    pub const fn group(mut self, group: Group) -> Self {
        self.group = group;
        self
    }

    /// Since when, and what it does.
    #[must_use]
    pub const fn doc(mut self, since: &'static str, summary: &'static str) -> Self {
        self.since = since;
        self.summary = summary;
        self
    }

    /// What runs it, where keys and hub are enough.
    pub(crate) const fn handler(&self) -> Handler {
        match self.run {
            Run::Handler(handler) => handler,
            Run::Session(_) | Run::Container => elsewhere,
        }
    }

    /// Whether it may wait without being asked to.
    pub const fn must_block(&self) -> bool {
        self.may_block() && !self.blocks_if_asked()
    }

    /// Whether `count` arguments, name included, are right.
    pub const fn takes(&self, count: usize) -> bool {
        if self.arity < 0 { count >= self.arity.unsigned_abs() as usize } else { count == self.arity as usize }
    }

    /// Whether it reads one of its keys and writes others.
    pub(crate) const fn reads_and_writes(&self) -> bool {
        matches!(self.access, Access::Said { first: Needs::ReadWrite, .. })
    }

    /// Whether as many keys follow as its count says, where it has one.
    pub(crate) fn counts_its_keys(&self, args: Args<'_>) -> bool {
        let at = usize::from(self.keys.count_at);
        let Some(count) = args.get(at).filter(|_| at > 0) else { return true };
        let room = args.len() - at - 1;
        let step = usize::from(self.keys.step.max(1));
        dormouse_proto::parse_integer(count).is_some_and(|count| {
            usize::try_from(count).is_ok_and(|count| count.checked_mul(step).is_some_and(|needed| needed <= room))
        })
    }

    /// The keys among its arguments, in order. Nonsense in the arguments (a forged count) yields fewer; the handler's own
    /// parsing reports it.
    pub fn keys_of<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> {
        self.named_keys(args).chain(self.keys.stored(args))
    }

    /// The keys among its arguments, each with what it needs of it.
    pub fn keys_and_needs<'a>(&self, args: Args<'a>) -> impl Iterator<Item = (&'a [u8], Needs)> {
        let (first, others) = match self.access {
            Access::Said { first, others } => (first, others),
            Access::ByArgs(access) => (access(args), access(args)),
            Access::ByEffect => match self.effect {
                Effect::None => (Needs::Nothing, Needs::Nothing),
                Effect::Reads => (Needs::Read, Needs::Read),
                Effect::Writes => (Needs::ReadWrite, Needs::ReadWrite),
            },
        };
        let named = self.named_keys(args).enumerate();
        let named = named.map(move |(at, key)| (key, if at == 0 { first } else { others }));
        named.chain(self.keys.stored(args).map(|key| (key, Needs::Write)))
    }

    /// The channels among its arguments.
    pub fn channels_of<'a>(&self, args: Args<'a>) -> Args<'a> {
        let Channels { first, last, .. } = self.channels;
        if first == 0 {
            return &[];
        }
        let end = if last < 0 { (args.len() as i64 + i64::from(last)).max(0) as usize } else { last as usize };
        args.get(usize::from(first)..=end.min(args.len().saturating_sub(1))).unwrap_or_default()
    }

    /// The keys it names, but for one that options may.
    fn named_keys<'a>(&self, args: Args<'a>) -> impl Iterator<Item = &'a [u8]> + use<'a> {
        let end = if self.keys.last < 0 {
            (args.len() as i64 + i64::from(self.keys.last)).max(0) as usize
        } else {
            self.keys.last as usize
        };
        let first = usize::from(self.keys.first);
        let step = usize::from(self.keys.step.max(1));
        let fixed = if first == 0 { 0..0 } else { first..(end + 1).min(args.len()).max(first) };
        let at = usize::from(self.keys.count_at);
        let counted = if at == 0 {
            0
        } else {
            args.get(at).and_then(|arg| dormouse_proto::parse_integer(arg)).unwrap_or(0).clamp(0, args.len() as i64)
                as usize
        };
        let counted = args.iter().skip(at + 1).step_by(step).take(counted);
        let streams = match usize::from(self.keys.streams_from) {
            0 => &[],
            from => after_streams(args.get(from..).unwrap_or_default()),
        };
        let counted = counted.chain(streams);
        let fixed = args[fixed.start.min(args.len())..fixed.end.min(args.len())].iter().step_by(step);
        fixed.chain(counted).copied()
    }

    /// Whether a grant covers it.
    pub const fn permits(&self, grant: Grant) -> bool {
        match grant {
            Grant::Full => true,
            // What a user may do depends on more than the row: see `acl::Users::check`.
            Grant::User(_) => false,
            Grant::ReadOnly => match self.effect {
                Effect::Reads => !self.does_sweep(),
                Effect::None => self.is_for_all() || self.is_no_auth(),
                Effect::Writes => false,
            },
        }
    }

    /// Named limits that every command keeps: the length of keys, and the size of a value it makes grow.
    pub(crate) fn check_limits(&self, txn: &mut Txn<'_>, args: Args<'_>) -> Result<(), Stop> {
        let limits = txn.hub().limits;
        for key in self.keys_of(args) {
            if key.len() > limits.key_bytes_max {
                return Err(CommandError::KeyTooLong { limit: limits.key_bytes_max, actual: key.len() }.into());
            }
        }
        if self.effect != Effect::Writes {
            return Ok(());
        }
        let more = args.iter().map(|arg| arg.len()).sum::<usize>();
        if more > limits.record_bytes_max {
            return Err(CommandError::RecordTooLarge.into());
        }
        // No value can pass the limit unless all of them together do, which spares nearly every command the look.
        if !self.may_grow() {
            return Ok(());
        }
        if txn.space().memory_bytes() + more <= limits.record_bytes_max && txn.space().cold() == 0 {
            return Ok(());
        }
        for key in self.keys_of(args) {
            if txn.value(key)?.map_or(0, Value::memory_bytes) + more > limits.record_bytes_max {
                return Err(CommandError::RecordTooLarge.into());
            }
        }
        Ok(())
    }

    /// The ACL categories that follow from its flags, and its group's own.
    pub fn categories(&self) -> Vec<&'static str> {
        if matches!(self.run, Run::Container) {
            return vec!["slow"];
        }
        let mut names = Vec::new();
        let mut add = |yes: bool, name| {
            if yes {
                names.push(name);
            }
        };
        // What a script does to keys is for the commands it runs to say.
        let runs_commands = self.is_script() && self.keys.are_named();
        add(self.effect == Effect::Writes && !runs_commands, "write");
        add(self.effect == Effect::Reads && !runs_commands, "read");
        add(self.is_admin(), "admin");
        add(self.is_dangerous() || self.is_admin(), "dangerous");
        match self.own_categories {
            Some(own) => own.iter().for_each(|name| add(true, name)),
            None => self.group.category().into_iter().for_each(|name| add(true, name)),
        }
        add(self.is_fast(), "fast");
        add(!self.is_fast(), "slow");
        add(self.may_block(), "blocking");
        names
    }

    /// Whether it is in an ACL category.
    pub fn is_in(&self, category: &str) -> bool {
        self.categories().contains(&category)
    }

    /// The flags `COMMAND INFO` shows.
    pub fn flag_names(&self) -> Vec<&'static str> {
        [
            (self.effect == Effect::Writes, "write"),
            (self.effect == Effect::Reads, "readonly"),
            (self.may_grow(), "denyoom"),
            (self.is_admin(), "admin"),
            (self.group == Group::PubSub, "pubsub"),
            (self.is_no_script(), "noscript"),
            (self.may_block(), "blocking"),
            (self.is_no_auth(), "no_auth"),
            (self.is_no_multi(), "no_multi"),
            (self.is_fast(), "fast"),
            (self.is_while_busy(), "allow_busy"),
            (self.keys.are_movable(), "movablekeys"),
        ]
        .into_iter()
        .filter_map(|(yes, name)| yes.then_some(name))
        .collect()
    }

    /// The error for a wrong number of arguments; `container` is the command it is a sub-command of.
    pub fn arity_error(&self, container: Option<&Self>) -> CommandError {
        CommandError::Arity(self.full_name(container))
    }

    /// Lower case, with its container's name: `client|setname`.
    pub fn full_name(&self, container: Option<&Self>) -> Cow<'static, str> {
        let name = self.name.to_ascii_lowercase();
        Cow::Owned(match container {
            Some(container) => format!("{}|{name}", container.name.to_ascii_lowercase()),
            None => name,
        })
    }
}

/// The keys of `… STREAMS key … id …`.
fn after_streams(args: Args<'_>) -> Args<'_> {
    let at = args.iter().position(|word| word.eq_ignore_ascii_case(b"STREAMS"));
    let rest = at.map_or(&[][..], |at| &args[at + 1..]);
    &rest[..rest.len() / 2]
}

fn elsewhere(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let name = args.first().map(|name| String::from_utf8_lossy(name).to_ascii_lowercase()).unwrap_or_default();
    Err(CommandError::from(format!("ERR '{name}' is not allowed in this context")).into())
}
