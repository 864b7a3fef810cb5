//! Who asks: the state of one connection, or of one HTTP request.
//!
//! All of it is plain data, so that the commands about it (`CLIENT`, `MULTI`, `SUBSCRIBE`, `WATCH`) are ordinary handlers.
//! Sockets and mailboxes belong to whoever owns the client.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use dormouse_proto::Blob;

use crate::command::Command;
use crate::hub::Hub;
use crate::table::full_name;
use crate::tracking::{Mode, Tracking};

/// Names a client within its process; never used twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ClientId(pub u64);

/// Names a user of a database for as long as the process runs; never used twice there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UserId(pub u64);

/// What a client may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Grant {
    /// Everything (user `default`).
    #[default]
    Full,
    /// Reads that do not sweep the keyspace (user `default_ro`).
    ReadOnly,
    /// What the rules of a user say; see [`Users`](crate::acl::Users).
    User(UserId),
}

impl Grant {
    /// The name of the user behind one of the database's own tokens.
    pub const fn built_in(self) -> Option<&'static str> {
        match self {
            Self::Full => Some(crate::acl::DEFAULT),
            Self::ReadOnly => Some(crate::acl::DEFAULT_RO),
            Self::User(_) => None,
        }
    }

    /// Whether it is a user's, and so may end or change while the client is there.
    pub const fn is_users(self) -> bool {
        matches!(self, Self::User(_))
    }
}

/// Which way a client came in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Door {
    /// A connection that stays, speaking RESP.
    #[default]
    Resp,
    /// One HTTP request: nothing that belongs to a connection can work.
    Rest,
}

/// What becomes of a command of its own that would wait for a key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Waiting {
    /// It waits.
    #[default]
    Parks,
    /// It answers as if its time were up, as inside `MULTI`.
    EndsAtOnce,
    /// It is an error.
    Refused,
}

/// Which of a connection's commands are answered, as `CLIENT REPLY` has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replies {
    /// All.
    #[default]
    On,
    /// None.
    Off,
    /// Not the next so many.
    Skip(u8),
}

/// Commands waiting for `EXEC`.
#[derive(Clone, Debug, Default)]
pub struct Transaction {
    /// The commands in order.
    pub queue: Vec<Queued>,
    /// Bytes the queue holds, against its limit.
    pub bytes: usize,
    /// Whether a command could not be queued, so `EXEC` will refuse.
    pub broken: bool,
}

/// A command that passed every check, to be run later.
#[derive(Clone, Debug)]
pub struct Queued {
    /// Its row.
    pub command: &'static Command,
    /// Its arguments, name first.
    pub args: Vec<Blob>,
}

/// What a connection carries, counted by its door alone and seen at once by whoever lists clients.
#[derive(Debug, Default)]
pub struct Traffic {
    received: AtomicU64,
    sent: AtomicU64,
    commands: AtomicU64,
    pending: AtomicUsize,
    room: AtomicUsize,
}

impl Traffic {
    /// The client has sent a command of so many bytes.
    pub fn received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The client is sent so many bytes.
    pub fn sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// One of its commands has run to an end, or one of its script's.
    pub fn ran(&self) {
        self.commands.fetch_add(1, Ordering::Relaxed);
    }

    /// How many commands that makes.
    pub fn commands(&self) -> u64 {
        self.commands.load(Ordering::Relaxed)
    }

    /// Takes back what was counted of commands, for tests that run each of them twice.
    #[cfg(any(test, feature = "testing"))]
    pub(crate) fn count_again_from(&self, commands: u64) {
        self.commands.store(commands, Ordering::Relaxed);
    }

    /// So many bytes have come that are no whole command yet, with so much room kept for more behind them.
    pub fn holds(&self, bytes: usize, room: usize) {
        self.pending.store(bytes, Ordering::Relaxed);
        self.room.store(room, Ordering::Relaxed);
    }

    /// Bytes that came and bytes that went so far.
    pub fn bytes(&self) -> (u64, u64) {
        (self.received.load(Ordering::Relaxed), self.sent.load(Ordering::Relaxed))
    }

    fn held(&self) -> (usize, usize) {
        (self.pending.load(Ordering::Relaxed), self.room.load(Ordering::Relaxed))
    }
}

/// One client; see the module's text.
#[derive(Clone, Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a client")]
pub struct Client {
    /// Its id.
    pub id: ClientId,
    /// Which way it came in.
    pub door: Door,
    /// What it may do.
    pub grant: Grant,
    /// What becomes of its commands that would wait.
    pub waiting: Waiting,
    /// The name of its user, as `ACL WHOAMI` and `CLIENT LIST` show it.
    pub user: Blob,
    /// 2 or 3: the RESP version it speaks.
    pub protocol: u8,
    /// The remote address, `host:port`; empty for an HTTP request, whose connection serves others too.
    pub address: String,
    /// The local address, `host:port`.
    pub local_address: String,
    /// Set by `CLIENT SETNAME`.
    pub name: Blob,
    /// Set by `CLIENT SETINFO LIB-NAME`.
    pub library_name: Blob,
    /// Set by `CLIENT SETINFO LIB-VER`.
    pub library_version: Blob,
    /// When it came, in milliseconds since the Unix epoch.
    pub since_ms: u64,
    /// When it last sent a command.
    pub active_ms: u64,
    /// The last command.
    pub last_command: Option<&'static Command>,
    /// The word `EXEC` as it was last sent, for clients that see every command.
    pub exec_word: Blob,
    /// What its connection carries; every copy of the client sees the same.
    pub traffic: Arc<Traffic>,
    /// Whether its command waits for a key.
    pub blocked: bool,
    /// Whether it has asked to be spared when clients go to make room, which none does.
    pub never_evicted: bool,
    /// Whether what it does counts as no use of a key.
    pub leaves_untouched: bool,
    /// Channels it listens to.
    pub channels: BTreeSet<Blob>,
    /// Patterns it listens to.
    pub patterns: BTreeSet<Blob>,
    /// Shard channels it listens to.
    pub shard_channels: BTreeSet<Blob>,
    /// What it caches, if it says so.
    pub tracking: Option<Box<Tracking>>,
    /// Commands after `MULTI`.
    pub transaction: Option<Transaction>,
    /// Keys it watches, and whether each was already dead when it began.
    pub watching: Vec<(Blob, bool)>,
    /// Whether it sees the commands of others.
    pub monitoring: bool,
    /// Which of its commands are answered.
    pub replies: Replies,
    /// Whether the connection ends after the reply.
    pub closing: bool,
    /// Whether it is to be let in anew after the reply, as if it had just come.
    pub resetting: bool,
}

impl Client {
    /// A client that came in through `door` with `grant`. An HTTP request does not wait unless it says so.
    pub fn new(id: ClientId, door: Door, grant: Grant) -> Self {
        let waiting = match door {
            Door::Resp => Waiting::Parks,
            Door::Rest => Waiting::Refused,
        };
        let user = Blob::from_static(grant.built_in().unwrap_or_default().as_bytes());
        Self { id, door, grant, user, waiting, protocol: 2, ..Self::default() }
    }

    /// How many channels, of either kind, and patterns it listens to.
    pub fn subscriptions(&self) -> usize {
        self.channels.len() + self.patterns.len() + self.shard_channels.len()
    }

    /// Whether RESP2 forbids it everything but the commands of a subscriber.
    pub fn is_subscriber_only(&self) -> bool {
        self.protocol == 2 && self.subscriptions() > 0
    }

    /// Letters for what is special about it, in Redis's order; the hub knows what became of what it tracks and watches.
    fn flags(&self, hub: &Hub) -> String {
        let tracking = self.tracking.as_deref();
        let letters = [
            (self.monitoring, 'O'),
            (self.subscriptions() > 0, 'P'),
            (self.transaction.is_some(), 'x'),
            (self.blocked, 'b'),
            (tracking.is_some(), 't'),
            (hub.tracking.is_broken(self.id), 'R'),
            (tracking.is_some_and(|tracking| tracking.mode == Mode::Broadcast), 'B'),
            (hub.is_broken(self.id), 'd'),
            (self.never_evicted, 'e'),
            (self.leaves_untouched, 'T'),
        ];
        let flags: String = letters.into_iter().filter_map(|(yes, letter)| yes.then_some(letter)).collect();
        if flags.is_empty() { "N".to_owned() } else { flags }
    }

    /// The client that is told in its place: 0 if there is none, -1 if it tracks nothing.
    fn redirects_to(&self) -> i64 {
        self.tracking.as_ref().map_or(-1, |tracking| tracking.redirect.map_or(0, |id| id.0 as i64))
    }

    /// The line `CLIENT LIST` and `CLIENT INFO` show.
    pub fn line(&self, now_ms: u64, hub: &Hub) -> String {
        let flags = self.flags(hub);
        let queued = self.transaction.as_ref().map_or(-1, |transaction| transaction.queue.len() as i64);
        let text = |blob: &Blob| String::from_utf8_lossy(blob).into_owned();
        let ((received, sent), (pending, room)) = (self.traffic.bytes(), self.traffic.held());
        format!(
            "id={} addr={} laddr={} fd=-1 name={} age={} idle={} flags={flags} db=0 sub={} psub={} ssub={} multi={queued} \
             watch={} qbuf={} qbuf-free={} argv-mem=0 multi-mem={} rbs=0 rbp=0 obl=0 oll=0 omem=0 tot-mem=0 events=r cmd={} \
             user={} redir={} resp={} lib-name={} lib-ver={} io-thread=0 tot-net-in={} tot-net-out={} tot-cmds={}",
            self.id.0,
            self.address,
            self.local_address,
            text(&self.name),
            now_ms.saturating_sub(self.since_ms) / 1_000,
            now_ms.saturating_sub(self.active_ms) / 1_000,
            self.channels.len(),
            self.patterns.len(),
            self.shard_channels.len(),
            self.watching.len(),
            pending,
            room,
            self.transaction.as_ref().map_or(0, |transaction| transaction.bytes),
            self.last_command.map_or("NULL".into(), full_name),
            text(&self.user),
            self.redirects_to(),
            self.protocol,
            text(&self.library_name),
            text(&self.library_version),
            received,
            sent,
            self.traffic.commands(),
        )
    }
}
