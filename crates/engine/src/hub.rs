//! What the clients of one database share beside its keys: channels, watched and awaited keys, scripts, settings.
//!
//! Only names and ids live here; mailboxes and sockets belong to the layers above, which ask the hub whom a message is for
//! and who waits for a key. None of it is durable, as in Redis.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use dormouse_proto::Blob;
use hashbrown::{HashMap, HashSet};

use crate::acl::{AclLog, Context, Denial, Users};
use crate::client::{Client, ClientId};
use crate::command::Command;
use crate::glob;
use crate::script_cache::{Came, Scripts};
use crate::settings::Settings;
use crate::slow_log::SlowLog;
use crate::stats::Stats;
use crate::tracking::TrackingTable;
use crate::txn::Touched;

/// Bounds on what commands may do to one database.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Longest key, in bytes.
    pub key_bytes_max: usize,
    /// Longest string value, in bytes.
    pub string_bytes_max: usize,
    /// Largest value of one key, in bytes of memory.
    pub record_bytes_max: usize,
    /// Effects of one transaction or script, in bytes, past which it may not write more: with the largest value on top
    /// they still fit a record of the log.
    pub journal_bytes_max: usize,
    /// Deepest nesting of arrays and objects in a JSON document: as deep as the parser goes, so that its text reads back.
    pub json_depth_max: usize,
    /// Most memory one script's interpreter may use, in bytes.
    pub script_bytes_max: usize,
    /// Most distinct scripts kept for `EVALSHA`; the oldest goes first.
    pub scripts_max: usize,
    /// Most of those among them that only ever came by `EVAL`; the least recently used goes first.
    pub eval_scripts_max: usize,
    /// Most bytes of text they may have together; the oldest go first, and a script longer than this is refused.
    pub scripts_bytes_max: usize,
    /// Most libraries of functions.
    pub libraries_max: usize,
    /// Most bytes of memory they may take together, their texts and what is known of each function.
    pub libraries_bytes_max: usize,
    /// Most Lua instructions a library may take to load, in thousands, however fast the machine is.
    pub library_load_kinstructions_max: u32,
    /// Most bytes a transaction may queue.
    pub transaction_bytes_max: usize,
    /// Most entries of a stream that may be pending with one consumer.
    pub pending_max: usize,
    /// Largest reply of a command that only reads, in bytes. (What others answer is bounded by the values they change.)
    pub reply_bytes_max: usize,
    /// Bytes of replies after which a pipeline or transaction runs no further command.
    pub replies_bytes_max: usize,
    /// Most keys one `SORT` may look up for its patterns.
    pub sort_lookups_max: usize,
    /// Most users a database may have beside its own two.
    pub users_max: usize,
    /// Most bytes that a user's name, rules, passwords and tokens may take together.
    pub user_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            key_bytes_max: 32 * 1024,
            string_bytes_max: 512 << 20,
            record_bytes_max: 600 << 20,
            journal_bytes_max: 256 << 20,
            json_depth_max: 127,
            script_bytes_max: 64 << 20,
            scripts_max: 10_000,
            eval_scripts_max: 500,
            scripts_bytes_max: 64 << 20,
            libraries_max: 1_000,
            libraries_bytes_max: 8 << 20,
            library_load_kinstructions_max: 20_000,
            transaction_bytes_max: 256 << 20,
            pending_max: 100_000,
            reply_bytes_max: 600 << 20,
            replies_bytes_max: 256 << 20,
            sort_lookups_max: 1_000_000,
            users_max: 1_000,
            user_bytes_max: 64 << 10,
        }
    }
}

/// Memory that an empty database is said to take, as the server itself takes some.
pub(crate) const MEMORY_BASE: u64 = 1 << 20;

/// A class of keyspace notifications, and its letter in `notify-keyspace-events`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[expect(missing_docs, reason = "the classes are Redis's own, by name")]
pub enum Event {
    Generic = b'g' as isize,
    String = b'$' as isize,
    List = b'l' as isize,
    Set = b's' as isize,
    Hash = b'h' as isize,
    ZSet = b'z' as isize,
    Expired = b'x' as isize,
    Evicted = b'e' as isize,
    Stream = b't' as isize,
    Array = b'a' as isize,
    Json = b'd' as isize,
    Missed = b'm' as isize,
    New = b'n' as isize,
}

/// Letters that `A` stands for.
const EVENTS_ALL: &[u8] = b"g$lshzxetd";
/// Every letter the setting may hold.
const EVENTS_KNOWN: &[u8] = b"KEAg$lshzxetdanm";
/// Arrays came after the others: whoever wants all of those wants them, too, and they are not printed beside an `A`.
const ARRAYS: u8 = b'a';

/// The setting `notify-keyspace-events`.
#[derive(Clone, Debug, Default)]
pub struct Notifications(BTreeSet<u8>);

impl Notifications {
    /// Parses the setting; `None` if it holds a letter that means nothing.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if !text.iter().all(|letter| EVENTS_KNOWN.contains(letter)) {
            return None;
        }
        let mut letters: BTreeSet<u8> = text.iter().copied().collect();
        if letters.remove(&b'A') {
            letters.extend(EVENTS_ALL);
        }
        if EVENTS_ALL.iter().all(|letter| letters.contains(letter)) {
            letters.insert(ARRAYS);
        }
        Some(Self(letters))
    }

    /// The setting as Redis prints it: `A` for all classes, then the rest.
    pub fn text(&self) -> String {
        let classes: &[u8] =
            if EVENTS_ALL.iter().all(|letter| self.0.contains(letter)) { b"A" } else { b"ag$lshzxetdn" };
        let shown = |letter: &&u8| **letter == b'A' || self.0.contains(*letter);
        classes.iter().chain(b"KEm").filter(shown).map(|&letter| char::from(letter)).collect()
    }

    fn wants(&self, event: Event) -> bool {
        !self.0.is_empty() && self.0.contains(&(event as u8))
    }
}

/// Names a parked command; tickets rise, so the oldest waiter is the smallest.
pub type Ticket = u64;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Hub {
    channels: HashMap<Blob, BTreeSet<ClientId>>,
    patterns: BTreeMap<Blob, BTreeSet<ClientId>>,
    /// Channels of their own, as `SSUBSCRIBE` has them.
    shard_channels: HashMap<Blob, BTreeSet<ClientId>>,
    /// Who caches what.
    pub tracking: TrackingTable,
    /// Who watches a key, and whether it was not there when that began.
    watched: HashMap<Blob, BTreeMap<ClientId, bool>>,
    broken: HashSet<ClientId>,
    waiting: HashMap<Blob, BTreeSet<Ticket>>,
    /// Who of them is told when the key goes, too.
    waiting_for_none: BTreeSet<Ticket>,
    /// How many wait for keys.
    blocked: usize,
    scripts: Scripts,
    /// Scripts that went because many others came by `EVAL`.
    pub evicted_scripts: u64,
    /// Clients that see every command.
    pub monitors: BTreeSet<ClientId>,
    /// What took long.
    pub slow_log: SlowLog,
    /// Until when commands wait.
    pub pause: Option<Pause>,
    /// Clients whose connections are to end, for the layer above to see to.
    pub killed: Vec<ClientId>,
    /// The script that holds the database, for who asks meanwhile.
    pub running: Option<Running>,
    /// Who may do what. Shared, so that whoever checks a client need not hold the database.
    pub users: Arc<Users>,
    /// What was refused lately.
    pub(crate) acl_log: AclLog,
    /// The database's number, for the tokens of its users.
    pub database: u32,
    /// Fills a buffer with bytes nobody can guess, for passwords and tokens. Nothing but their hashes gets into effects.
    pub entropy: Option<fn(&mut [u8])>,
    /// One line for each connected client, refreshed as it works.
    pub clients: BTreeMap<ClientId, crate::client::Client>,
    /// The setting `notify-keyspace-events`.
    pub events: Notifications,
    /// What `CONFIG SET` has changed.
    pub settings: Settings,
    /// Whether dead keys stay until somebody asks for them.
    pub leaves_dead: bool,
    /// How long `DEBUG SLEEP` has held up the work at hand: whoever is served behind it comes so much later.
    pub slept_us: u64,
    /// Whether scripts may run commands that are kept from them, as test suites ask with `DEBUG`.
    pub scripts_run_all: bool,
    /// The most memory that `INFO` has seen used, in bytes.
    pub(crate) peak_bytes: u64,
    /// Bytes that clients who have gone had sent, and were sent.
    pub(crate) gone_bytes: (u64, u64),
    /// What is counted of commands.
    pub(crate) stats: Stats,
    /// Bounds of this database.
    pub limits: Limits,
    /// What `INFO` and `CONFIG GET` say of the server.
    pub facts: Facts,
}

/// Commands wait for a while, as `CLIENT PAUSE` has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pause {
    /// Milliseconds since the Unix epoch.
    pub until_ms: u64,
    /// Whether commands that only read go on.
    pub writes_only: bool,
}

/// A script at work.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Running {
    /// One that `SCRIPT KILL` ends.
    #[default]
    Script,
    /// One that `FUNCTION KILL` ends, as `FUNCTION STATS` shows it.
    Function {
        /// Its name.
        name: String,
        /// The command that runs it.
        command: Vec<Blob>,
        /// When that began, in milliseconds since the Unix epoch.
        since_ms: u64,
    },
}

/// What the server says of itself; the engine only prints it.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Dormouse's own version.
    pub version: &'static str,
    /// Process id.
    pub process_id: u32,
    /// RESP port; 0 if there is none.
    pub tcp_port: u16,
    /// Random, new at each start.
    pub run_id: String,
    /// When the process started, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Memory bound of the whole process, in bytes; 0 is none.
    pub memory_bytes_max: u64,
    /// Tells how much memory the process takes as the system counts, in bytes.
    pub resident_bytes: Option<fn() -> u64>,
    /// Tells how long the process has worked, in microseconds: for itself, and in the system's name.
    pub cpu_us: Option<fn() -> (u64, u64)>,
    /// How much memory the machine has, in bytes.
    pub machine_bytes: u64,
    /// Tells the time, in seconds since the Unix epoch, to who is not handed a moment.
    pub clock_s: Option<fn() -> u64>,
    /// A clock that only tells how long something takes, in microseconds from anywhere.
    pub clock_us: Option<fn() -> u64>,
    /// Holds up the thread for so many microseconds.
    pub sleep_us: Option<fn(u64)>,
    /// Whether what is on disk is well.
    pub health: Option<Health>,
    /// Whether the operator allows `DEBUG`.
    pub allows_debug: bool,
    /// `always`, `everysec` or `no`, in the words of `appendfsync`.
    pub durability: &'static str,
    /// Commands executed on this database.
    pub commands: u64,
    /// Reads that found a key, and reads that did not.
    pub hits: u64,
    /// See `hits`.
    pub misses: u64,
    /// Keys removed because their deadline passed.
    pub expired: u64,
    /// Fields of hashes removed because their deadline passed.
    pub expired_fields: u64,
    /// Values that Redis would have freed behind the reply of the command that removed them.
    pub freed_lazily: u64,
    /// Connections accepted so far.
    pub connections: u64,
    /// Commands that changed something since somebody asked for a snapshot last.
    pub changes: u64,
    /// What users were refused.
    pub denied: Denied,
}

/// What users were refused, by what it was about.
#[derive(Clone, Copy, Debug, Default)]
#[expect(missing_docs, reason = "the names are those of INFO")]
pub struct Denied {
    pub auth: u64,
    pub command: u64,
    pub key: u64,
    pub channel: u64,
}

/// How what is on disk is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Condition {
    /// Nothing can be written any more.
    pub log_failed: bool,
    /// The last checkpoint did not work.
    pub checkpoint_failed: bool,
    /// Checkpoints that did.
    pub checkpoints: u64,
    /// When the last of them ended, in seconds since the Unix epoch; 0 if there was none.
    pub checkpointed_s: u64,
    /// The last scheduled backup did not work.
    pub backup_failed: bool,
    /// Scheduled backups that did.
    pub backups: u64,
    /// When the last of them ended, in seconds since the Unix epoch; 0 if there was none.
    pub backed_up_s: u64,
}

/// Asks how what is on disk is.
#[derive(Clone)]
pub struct Health(pub Arc<dyn Fn() -> Condition + Send + Sync>);

impl std::fmt::Debug for Health {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        (self.0)().fmt(out)
    }
}

impl Hub {
    // --- channels ------------------------------------------------------------------------------------------------

    /// A client listens to a channel.
    pub fn subscribe(&mut self, client: ClientId, channel: &Blob) {
        self.channels.entry(channel.clone()).or_default().insert(client);
    }

    /// A client no longer listens to a channel.
    pub fn unsubscribe(&mut self, client: ClientId, channel: &[u8]) {
        if let Some(clients) = self.channels.get_mut(channel) {
            clients.remove(&client);
            if clients.is_empty() {
                self.channels.remove(channel);
            }
        }
    }

    /// A client listens to a shard channel.
    pub fn subscribe_shard(&mut self, client: ClientId, channel: &Blob) {
        self.shard_channels.entry(channel.clone()).or_default().insert(client);
    }

    /// A client no longer listens to a shard channel.
    pub fn unsubscribe_shard(&mut self, client: ClientId, channel: &[u8]) {
        if let Some(clients) = self.shard_channels.get_mut(channel) {
            clients.remove(&client);
            if clients.is_empty() {
                self.shard_channels.remove(channel);
            }
        }
    }

    /// Who listens to a shard channel.
    pub fn shard_recipients(&self, channel: &[u8]) -> impl Iterator<Item = ClientId> {
        self.shard_channels.get(channel).into_iter().flatten().copied()
    }

    /// Shard channels somebody listens to.
    pub fn shard_channels(&self) -> impl Iterator<Item = &Blob> {
        self.shard_channels.keys()
    }

    /// A client listens to a pattern.
    pub fn subscribe_pattern(&mut self, client: ClientId, pattern: &Blob) {
        self.patterns.entry(pattern.clone()).or_default().insert(client);
    }

    /// A client no longer listens to a pattern.
    pub fn unsubscribe_pattern(&mut self, client: ClientId, pattern: &[u8]) {
        if let Some(clients) = self.patterns.get_mut(pattern) {
            clients.remove(&client);
            if clients.is_empty() {
                self.patterns.remove(pattern);
            }
        }
    }

    /// Who gets a message: clients of the channel, then of each matching pattern with that pattern.
    pub fn recipients(&self, channel: &[u8]) -> Vec<(ClientId, Option<Blob>)> {
        let mut found: Vec<_> = self.channels.get(channel).into_iter().flatten().map(|&id| (id, None)).collect();
        for (pattern, clients) in &self.patterns {
            if glob::matches(pattern, channel) {
                found.extend(clients.iter().map(|&id| (id, Some(pattern.clone()))));
            }
        }
        found
    }

    /// How many would get a message.
    pub fn receivers(&self, channel: &[u8]) -> usize {
        let matching = self.patterns.iter().filter(|(pattern, _)| glob::matches(pattern, channel));
        self.channels.get(channel).map_or(0, BTreeSet::len) + matching.map(|(_, clients)| clients.len()).sum::<usize>()
    }

    /// Channels somebody listens to, patterns not counted.
    pub fn channels(&self) -> impl Iterator<Item = (&Blob, usize)> {
        self.channels.iter().map(|(channel, clients)| (channel, clients.len()))
    }

    /// How many clients listen to a channel by name.
    pub fn listeners(&self, channel: &[u8]) -> usize {
        self.channels.get(channel).map_or(0, BTreeSet::len)
    }

    /// How many distinct patterns are listened to.
    pub fn patterns(&self) -> usize {
        self.patterns.len()
    }

    /// Messages that announce an event: channel and payload.
    pub(crate) fn notifications(&self, event: Event, name: &'static str, key: &[u8]) -> Vec<(Vec<u8>, Vec<u8>)> {
        if !self.events.wants(event) {
            return Vec::new();
        }
        let mut messages = Vec::new();
        if self.events.0.contains(&b'K') {
            messages.push(([b"__keyspace@0__:", key].concat(), name.as_bytes().to_vec()));
        }
        if self.events.0.contains(&b'E') {
            messages.push(([b"__keyevent@0__:", name.as_bytes()].concat(), key.to_vec()));
        }
        messages
    }

    /// Whether somebody sees every command.
    pub fn is_monitored(&self) -> bool {
        !self.monitors.is_empty()
    }

    /// Whether a client listens to something that its user may not hear.
    pub fn hears_too_much(&self, client: ClientId, user: &crate::acl::User) -> bool {
        let channels =
            self.channels.iter().chain(&self.shard_channels).filter(|(_, clients)| clients.contains(&client));
        let patterns = self.patterns.iter().filter(|(_, clients)| clients.contains(&client));
        channels
            .map(|(name, _)| (name, false))
            .chain(patterns.map(|(name, _)| (name, true)))
            .any(|(name, is_pattern)| !user.may_hear(name, is_pattern))
    }

    /// Whether anybody listens to anything.
    pub fn is_listened_to(&self) -> bool {
        !self.channels.is_empty() || !self.patterns.is_empty() || !self.monitors.is_empty()
    }

    // --- memory --------------------------------------------------------------------------------------------------

    /// Whether keys that take so many bytes are more than `maxmemory` allows.
    pub const fn is_full(&self, key_bytes: usize) -> bool {
        self.settings.maxmemory > 0 && MEMORY_BASE + key_bytes as u64 > self.settings.maxmemory
    }

    // --- what was refused ----------------------------------------------------------------------------------------

    /// Notes for `ACL LOG` that a client was refused a command, after `MULTI` or by itself.
    pub fn note_denial(
        &mut self,
        denial: &Denial,
        command: &'static Command,
        client: &Client,
        multi: bool,
        now_ms: u64,
    ) {
        let context = if multi { Context::Multi } else { Context::TopLevel };
        self.note_denial_in(denial, command, client, context, now_ms);
    }

    pub(crate) fn note_denial_in(
        &mut self,
        denial: &Denial,
        command: &'static Command,
        client: &Client,
        context: Context,
        now_ms: u64,
    ) {
        let name = crate::table::full_name(command);
        match denial {
            Denial::Command => self.facts.denied.command += 1,
            Denial::Key(_) => self.facts.denied.key += 1,
            Denial::Channel(_) => self.facts.denied.channel += 1,
        }
        let line = client.line(now_ms, self);
        self.acl_log.denied(denial, &name, context, &client.user, line, now_ms);
    }

    /// Notes that a client gave a wrong password for a user.
    pub fn note_wrong_password(&mut self, command: &str, user: &[u8], client: &Client, now_ms: u64) {
        self.facts.denied.auth += 1;
        let line = client.line(now_ms, self);
        self.acl_log.not_let_in(command, user, line, now_ms);
    }

    // --- keys somebody watches or waits for ----------------------------------------------------------------------

    /// Whether transactions must say which keys they touch.
    pub fn tracks_keys(&self) -> bool {
        !self.watched.is_empty() || !self.waiting.is_empty() || !self.tracking.is_idle()
    }

    /// A client's next `EXEC` depends on a key.
    pub fn watch(&mut self, client: ClientId, key: &Blob, was_dead: bool) {
        self.watched.entry(key.clone()).or_default().insert(client, was_dead);
    }

    /// A client's watches end.
    pub fn unwatch<'a>(&mut self, client: ClientId, keys: impl IntoIterator<Item = &'a Blob>) {
        for key in keys {
            if let Some(clients) = self.watched.get_mut(key) {
                clients.remove(&client);
                if clients.is_empty() {
                    self.watched.remove(key);
                }
            }
        }
        self.broken.remove(&client);
    }

    /// Keys somebody watches.
    pub fn watched_keys(&self) -> impl Iterator<Item = Blob> {
        self.watched.keys().cloned()
    }

    /// A key was changed: transactions that watch it will not run.
    pub fn break_watches(&mut self, touched: &Touched) {
        let Some((key, unseen)) = touched.change() else { return };
        if let Some(clients) = self.watched.get(key) {
            let sees = |&(_, was_dead): &(&ClientId, &bool)| !(unseen && *was_dead);
            self.broken.extend(clients.iter().filter(sees).map(|(client, _)| client));
        }
    }

    /// Whether a watched key was changed.
    pub fn is_broken(&self, client: ClientId) -> bool {
        self.broken.contains(&client)
    }

    /// A parked command of a client waits for keys; with `even_if_gone` it is told when one goes, too.
    pub fn wait(&mut self, ticket: Ticket, client: ClientId, keys: &[Blob], even_if_gone: bool) {
        self.blocked += 1;
        if even_if_gone {
            self.waiting_for_none.insert(ticket);
        }
        if let Some(client) = self.clients.get_mut(&client) {
            client.blocked = true;
        }
        for key in keys {
            self.waiting.entry(key.clone()).or_default().insert(ticket);
        }
    }

    /// A parked command no longer waits.
    pub fn stop_waiting(&mut self, ticket: Ticket, client: ClientId, keys: &[Blob]) {
        self.blocked = self.blocked.saturating_sub(1);
        self.waiting_for_none.remove(&ticket);
        if let Some(client) = self.clients.get_mut(&client) {
            client.blocked = false;
        }
        for key in keys {
            if let Some(tickets) = self.waiting.get_mut(key) {
                tickets.remove(&ticket);
                if tickets.is_empty() {
                    self.waiting.remove(key);
                }
            }
        }
    }

    /// How many commands wait for keys, how many keys that are, and how many of those somebody waits for who is told when
    /// the key goes, too.
    pub(crate) fn waits(&self) -> (usize, usize, usize) {
        let none = |tickets: &&BTreeSet<Ticket>| tickets.iter().any(|ticket| self.waiting_for_none.contains(ticket));
        let gone = if self.waiting_for_none.is_empty() { 0 } else { self.waiting.values().filter(none).count() };
        (self.blocked, self.waiting.len(), gone)
    }

    /// How many clients watch keys, and how many keys.
    pub(crate) fn watches(&self) -> (usize, usize) {
        let clients: BTreeSet<ClientId> = self.watched.values().flat_map(BTreeMap::keys).copied().collect();
        (clients.len(), self.watched.values().map(BTreeMap::len).sum())
    }

    /// Keys somebody waits for.
    pub fn awaited_keys(&self) -> impl Iterator<Item = Blob> {
        self.waiting.keys().cloned()
    }

    /// Who waits for a key, the oldest first.
    pub fn waiters(&self, key: &[u8]) -> Vec<Ticket> {
        self.waiting.get(key).into_iter().flatten().copied().collect()
    }

    // --- scripts -------------------------------------------------------------------------------------------------

    /// Keeps a script for `EVALSHA`.
    pub fn keep_script(&mut self, sha: &str, source: &[u8], came: Came) {
        self.evicted_scripts += self.scripts.keep(sha, source, came, &self.limits);
    }

    /// A kept script.
    pub fn script(&self, sha: &str) -> Option<Arc<[u8]>> {
        self.scripts.get(sha)
    }

    /// A kept script that is about to be run.
    pub fn use_script(&mut self, sha: &str, came: Came) -> Option<Arc<[u8]>> {
        self.scripts.used(sha, came)
    }

    /// Keeps these scripts instead of those there were, and returns those.
    pub(crate) fn replace_scripts(&mut self, scripts: Scripts) -> Scripts {
        std::mem::replace(&mut self.scripts, scripts)
    }

    /// How many scripts are kept.
    pub fn scripts(&self) -> usize {
        self.scripts.len()
    }

    /// A client tracks keys no longer.
    pub fn stop_tracking(&mut self, client: ClientId) {
        self.tracking.remove(client);
    }

    /// A client is gone: everything it held is free again.
    pub fn leave(&mut self, client: &crate::client::Client) {
        for channel in &client.channels {
            self.unsubscribe(client.id, channel);
        }
        for pattern in &client.patterns {
            self.unsubscribe_pattern(client.id, pattern);
        }
        for channel in &client.shard_channels {
            self.unsubscribe_shard(client.id, channel);
        }
        self.tracking.remove(client.id);
        self.unwatch(client.id, client.watching.iter().map(|(key, _)| key));
        self.monitors.remove(&client.id);
        self.clients.remove(&client.id);
        let (received, sent) = client.traffic.bytes();
        self.gone_bytes = (self.gone_bytes.0 + received, self.gone_bytes.1 + sent);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_events_setting_reads_back_as_redis_prints_it() {
        for (text, printed) in [
            ("", ""),
            ("KEA", "AKE"),
            ("Kg$", "g$K"),
            ("Ex", "xE"),
            ("KEg$lshzxetd", "AKE"),
            ("KEa", "aKE"),
            ("KEAa", "AKE"),
            ("KEm", "KEm"),
            ("KEAmn", "AKEm"),
            ("KEmn$", "$nKEm"),
        ] {
            assert_eq!(Notifications::parse(text.as_bytes()).unwrap().text(), printed, "{text}");
        }
        assert!(Notifications::parse(b"Kq").is_none());
    }
}
