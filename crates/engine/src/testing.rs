//! A database in a struct, for tests: a clock that moves when told, and three checks on every command.
//!
//! Each command runs twice. First as undoable work that is rolled back, which must leave everything as it was; then for
//! good, and its journal is replayed on a second keyspace, which must end up the same. So every test of a command is also
//! a test of its effects and of their inverses.

use std::cell::Cell;

use dormouse_proto::{Blob, Reply};

use crate::acl::Users;
use crate::client::{Client, ClientId, Door, Grant};
use crate::command::Group;
use crate::hub::{Hub, Notifications};
use crate::keyspace::{Entry, Keyspace, Nothing, Record};
use crate::moment::Moment;
use crate::replay::replay;
use crate::txn::{Done, Outcome, Parts, Stop, Touched, Txn};
use crate::watchdog::Watchdog;

/// See the module's text.
#[derive(Debug, Default)]
pub struct Bench {
    space: Keyspace,
    replica: Keyspace,
    replica_users: Users,
    /// Channels, scripts, settings.
    pub hub: Hub,
    /// Who asks.
    pub client: Client,
    /// Microseconds since the Unix epoch.
    pub now_us: u64,
    /// Bytes of effects that the last command left.
    pub journal_bytes: usize,
    /// Those effects.
    pub journal: Vec<u8>,
    /// Ends scripts that run too long.
    pub watchdog: Bounded,
    /// Messages published so far.
    pub published: Vec<(Blob, Blob)>,
    /// What the last command did to keys, if anyone watches, waits for or tracks keys.
    pub touched: Vec<Touched>,
    seq: u64,
}

impl Bench {
    /// An empty database, at a fixed moment.
    pub fn new() -> Self {
        let client = Client::new(ClientId(1), Door::Resp, Grant::Full);
        let mut bench = Self { client, now_us: 1_700_000_000_000_000, ..Self::default() };
        bench.hub.entropy = Some(not_entropy);
        bench
    }

    /// Moves the clock.
    pub const fn pass_ms(&mut self, ms: u64) {
        self.now_us += ms * 1_000;
    }

    /// Runs a command written as words; errors come back as [`Reply::Error`].
    ///
    /// # Panics
    /// If the command would block, or breaks one of the checks.
    pub fn run(&mut self, line: &str) -> Reply {
        let args: Vec<&[u8]> = line.split_whitespace().map(str::as_bytes).collect();
        self.run_args(&args)
    }

    /// As [`Self::run`], with arguments of any bytes.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn run_args(&mut self, args: &[&[u8]]) -> Reply {
        match self.attempt(args) {
            Ok(reply) => reply,
            Err(Stop::Error(error)) => Reply::Error(error),
            Err(stop) => panic!("{stop:?}"),
        }
    }

    /// Runs a command, whatever comes of it.
    ///
    /// # Panics
    /// If one of the checks fails.
    pub fn attempt(&mut self, args: &[&[u8]]) -> Outcome {
        let command = match crate::table::find(args) {
            Ok(found) => found.command,
            Err(error) => return Err(error.into()),
        };
        let (before, users_before) = (dump(&self.space), users(&self.hub.users));
        let facts = self.hub.facts.clone();
        // What is counted of commands shows in replies of this group alone.
        let stats = (command.group == Group::Server).then(|| self.hub.stats.clone());
        let (client, commands) = (self.client.clone(), self.client.traffic.commands());
        let mut txn = self.begin(true);
        let first = txn.run(command, args);
        txn.rollback();
        assert_eq!(dump(&self.space), before, "a rollback of {args:?} left something behind");
        assert_eq!(users(&self.hub.users), users_before, "a rollback of {args:?} left a user behind");
        self.hub.facts = facts;
        self.hub.stats = stats.unwrap_or_else(|| std::mem::take(&mut self.hub.stats));
        self.client = client;
        self.client.traffic.count_again_from(commands);

        let mut txn = self.begin(false);
        let outcome = txn.run(command, args);
        let Done { journal, publications, touched, .. } = txn.finish();
        self.touched = touched;
        assert_eq!(format!("{outcome:?}"), format!("{first:?}"), "{args:?} is not a function of its moment");
        self.published.extend(publications.into_iter().map(|sent| (sent.channel, sent.message)));
        self.journal_bytes = journal.len();
        if !journal.is_empty() {
            self.seq += 1;
            replay(&mut self.replica, &mut self.replica_users, &Nothing, self.seq, &journal)
                .expect("our own journal replays");
        }
        assert_eq!(dump(&self.replica), dump(&self.space), "the replay of {args:?} ended elsewhere");
        assert_eq!(users(&self.replica_users), users(&self.hub.users), "the replay of {args:?} made other users");
        self.journal = journal;
        outcome
    }

    fn begin(&mut self, undoable: bool) -> Txn<'_> {
        self.watchdog.asked.set(0);
        let parts = Parts {
            space: &mut self.space,
            source: &Nothing,
            hub: &mut self.hub,
            client: &mut self.client,
            watchdog: &self.watchdog,
            moment: Moment { now_us: self.now_us, seed: self.seq },
            seq: self.seq + 1,
        };
        Txn::begin(parts, undoable)
    }

    /// The error a command answers, as text.
    ///
    /// # Panics
    /// If it succeeds.
    pub fn error(&mut self, line: &str) -> String {
        match self.run(line) {
            Reply::Error(error) => error.to_string(),
            reply => panic!("{line} answered {reply:?}"),
        }
    }

    /// Runs a command; the events it announces, as `hset:h del:h`.
    ///
    /// # Panics
    /// As [`Self::run`].
    pub fn announced(&mut self, line: &str) -> String {
        self.hub.events = Notifications::parse(b"EA").expect("letters that are known");
        self.hub.subscribe_pattern(self.client.id, &Blob::from_static(b"*"));
        self.published.clear();
        self.run(line);
        let event = |(channel, key): &(Blob, Blob)| {
            let name = channel.strip_prefix(b"__keyevent@0__:").unwrap_or(channel);
            format!("{}:{}", name.escape_ascii(), key.escape_ascii())
        };
        self.published.iter().map(event).collect::<Vec<_>>().join(" ")
    }

    /// Every key's record, as the store would have it.
    pub fn records(&self) -> Vec<Vec<u8>> {
        let record = |entry: &Entry| {
            let mut bytes = Vec::new();
            Record::write(entry.value.as_ref()?, entry.expires_at, entry.seq, &mut bytes);
            Some(bytes)
        };
        self.space.iter().filter_map(|(_, entry)| record(entry)).collect()
    }

    /// How many keys there are, and how much memory they are said to take.
    pub fn size(&self) -> (u64, usize) {
        (self.space.len(), self.space.memory_bytes())
    }
}

/// A watchdog that bites after so many questions, so that a command stays a function of its moment; without a number, never.
#[derive(Debug, Default)]
pub struct Bounded {
    asks_max: Option<u32>,
    asked: Cell<u32>,
}

impl Bounded {
    /// One that bites after `asks_max` questions.
    pub const fn new(asks_max: u32) -> Self {
        Self { asks_max: Some(asks_max), asked: Cell::new(0) }
    }
}

impl Watchdog for Bounded {
    fn expired(&self) -> bool {
        self.asked.update(|asked| asked.saturating_add(1));
        self.asks_max.is_some_and(|asks_max| self.asked.get() > asks_max)
    }
}

/// What passes for chance here: the same each time.
fn not_entropy(bytes: &mut [u8]) {
    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8);
}

/// Every user, as it is kept.
fn users(users: &Users) -> Vec<(Blob, Vec<u8>)> {
    let all = users.all().into_iter().map(|user| {
        let mut bytes = Vec::new();
        user.write(&mut bytes);
        (user.name().clone(), bytes)
    });
    all.collect()
}

/// Every live key with its deadline and value, in an order of its own, and the libraries of functions.
fn dump(space: &Keyspace) -> Vec<(Vec<u8>, u64, String)> {
    let live = space.iter().filter_map(|(key, entry)| Some((key, entry, entry.value.as_ref()?)));
    let mut keys: Vec<_> =
        live.map(|(key, entry, value)| (key.to_vec(), entry.expires_at, value.canonical())).collect();
    keys.push((b"libraries".to_vec(), 0, space.shelf.canonical()));
    keys.sort();
    keys
}
