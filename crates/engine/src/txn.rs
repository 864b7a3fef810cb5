//! One command, one transaction or one script at work on the keys.
//!
//! A [`Txn`] is all a handler sees: keys to read and edit, the moment, the hub of channels and clients. What a handler
//! changes is applied at once and recorded twice: as effects in the [journal](Txn::finish), which become one atomic record
//! of the log, and (where the work may have to be taken back) as inverse changes for [`Txn::rollback`]. The caller holds
//! the database meanwhile, so nobody sees a half of it; and nothing is shown before it is on disk, because the caller
//! waits for the newest sequence number the work has [seen](Done::seen).

mod reap;

use std::sync::Arc;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::acl::{Denial, User};
pub use crate::block::Block;
use crate::client::{Client, ClientId, Grant};
use crate::codec::put_bytes;
use crate::command::{Command, Effect};
pub use crate::edit::Edit;
use crate::hub::{Event, Hub};
use crate::journal::{Journal, Undo, op};
use crate::keyspace::{Adopted, Keyspace, Source, SourceError};
use crate::libraries::{self, Libraries, Library};
use crate::moment::{Moment, Random};
use crate::scan_map::{Cursor, hash};
use crate::script_cache::Scripts;
use crate::settings::Settings;
use crate::sweep::Sweep;
pub use crate::told::{Publication, Touched};
use crate::tracking::Tracking;
use crate::types::hash::{Change, Hash};
use crate::types::monitor;
use crate::usage::Usage;
use crate::value::{Kind, Value};
use crate::watchdog::Watchdog;

pub use self::reap::{Reaped, ReapedCold};

/// Memory holds more than `maxmemory`.
pub const OUT_OF_MEMORY: CommandError = CommandError::text("OOM command not allowed when used memory > 'maxmemory'.");
/// There are fewer replicas than `min-replicas-to-write`.
pub const NO_REPLICAS: CommandError = CommandError::text("NOREPLICAS Not enough good replicas to write.");

/// Why a handler stopped without a reply.
#[derive(Clone, Debug, PartialEq)]
pub enum Stop {
    /// The command failed.
    Error(CommandError),
    /// Nothing to pop yet: run the command again when one of its keys has been written.
    Block(Block),
    /// The watchdog ended a script.
    Aborted,
    /// A walk over all keys lets others have their turn: run the command again with this.
    Unfinished(Box<Sweep>),
}

impl From<CommandError> for Stop {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}

impl From<SourceError> for Stop {
    fn from(_: SourceError) -> Self {
        Self::Error(CommandError::StoreFailed)
    }
}

/// What a handler returns.
pub type Outcome = Result<Reply, Stop>;

/// What becomes of a key's deadline when its value is replaced.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deadline {
    /// It goes.
    Clear,
    /// It stays.
    Keep,
    /// It becomes this, in milliseconds since the Unix epoch.
    At(u64),
}

/// What a transaction works with; see [`Txn::begin`].
pub struct Parts<'a> {
    /// The keys.
    pub space: &'a mut Keyspace,
    /// Where cold keys come from.
    pub source: &'a dyn Source,
    /// Channels, clients, scripts, settings.
    pub hub: &'a mut Hub,
    /// Who asks.
    pub client: &'a mut Client,
    /// Ends long scripts.
    pub watchdog: &'a dyn Watchdog,
    /// When it happens.
    pub moment: Moment,
    /// Number of this transaction: one more than the last that wrote.
    pub seq: u64,
}

/// The work of one command, transaction or script; see the module's text.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about the command at work")]
pub struct Txn<'a> {
    space: &'a mut Keyspace,
    source: &'a dyn Source,
    hub: &'a mut Hub,
    client: &'a mut Client,
    watchdog: &'a dyn Watchdog,
    moment: Moment,
    random: Random,
    seq: u64,
    seen: u64,
    journal: Journal,
    touched: Option<Vec<Touched>>,
    publications: Vec<Publication>,
    /// Lines for clients that see every command, if there are any.
    shown: Option<Vec<Blob>>,
    /// How many users it has set.
    users_set: usize,
    /// Whether the command at work only reads.
    reading: bool,
    /// See [`Done::only_read`].
    only_read: bool,
    /// Whether a command may wait: not inside MULTI or a script.
    pub(crate) may_block: bool,
    /// Whether a walk over all keys may stop to let others have their turn, and what it has so far.
    may_pause: bool,
    sweep: Option<Box<Sweep>>,
    /// Whether the command at work has waited for its keys.
    resumed: bool,
    /// Whether what the command at work changed is too slight to count as a change.
    pub(crate) slight: bool,
    /// Whether a key that the command at work looks at counts as used.
    pub(crate) uses: bool,
    /// How long the last command took, in microseconds, if it was timed.
    pub(crate) took_us: Option<u64>,
    /// Whether memory was full when the script at work began, and how many effects there were then.
    script_began: (bool, usize),
    /// The script at work may fill memory further.
    pub(crate) may_overfill: bool,
    /// Restrictions of the script at work, if any.
    pub(crate) script: Option<crate::script::Scope>,
}

/// What a finished transaction leaves to do.
#[derive(Debug)]
pub struct Done {
    /// The effects, for the log; empty if nothing changed.
    pub journal: Vec<u8>,
    /// No command that may write was run: the effects are what reading leaves behind, dead fields removed for example.
    pub only_read: bool,
    /// The newest sequence number among the keys it read or wrote: its reply waits until that is on disk.
    pub seen: u64,
    /// Who did it.
    pub client: ClientId,
    /// What it did to keys, if anyone watches, waits for or tracks keys.
    pub touched: Vec<Touched>,
    /// Messages to deliver, in order.
    pub publications: Vec<Publication>,
    /// Lines for clients that see every command.
    pub shown: Vec<Blob>,
    /// Whether it changed users, so that their clients must be looked at.
    pub users: bool,
}

impl<'a> Txn<'a> {
    /// Starts work. With `undoable`, [`Self::rollback`] can take all of it back.
    pub fn begin(parts: Parts<'a>, undoable: bool) -> Self {
        let Parts { space, source, hub, client, watchdog, moment, seq } = parts;
        let touched = hub.tracks_keys().then(Vec::new);
        let shown = hub.is_monitored().then(Vec::new);
        let flushed_seq = space.flushed_seq();
        space.set_now(moment.now_ms(), hub.settings.frequency);
        Self {
            space,
            source,
            hub,
            client,
            watchdog,
            moment,
            random: Random::new(moment.seed),
            seq,
            // What is missing may be missing because of a flush that is not on disk yet.
            seen: flushed_seq,
            journal: Journal { undo: undoable.then(Vec::new), ..Journal::default() },
            touched,
            publications: Vec::new(),
            shown,
            users_set: 0,
            reading: false,
            only_read: true,
            may_block: true,
            may_pause: false,
            sweep: None,
            resumed: false,
            slight: false,
            uses: true,
            took_us: None,
            script_began: (false, 0),
            may_overfill: false,
            script: None,
        }
    }

    /// Ends work that stands.
    pub fn finish(self) -> Done {
        Done {
            seen: self.seen,
            journal: self.journal.into_bytes(),
            only_read: self.only_read,
            client: self.client.id,
            touched: self.touched.unwrap_or_default(),
            publications: self.publications,
            shown: self.shown.unwrap_or_default(),
            users: self.users_set > 0,
        }
    }

    /// Takes back what it did to keys, scripts and settings. Keys it touched keep its sequence number, so that number must
    /// not be given to another transaction. What stays is a script it added to those kept for `EVALSHA`, what it set of its
    /// own connection (name, subscriptions), and what the server counts: none of it changes what a second run does.
    ///
    /// # Panics
    /// If the work was not begun as undoable, which is a bug of the caller.
    pub fn rollback(self) {
        let undo = self.journal.undo.expect("only undoable work is rolled back");
        for undo in undo.into_iter().rev() {
            match undo {
                Undo::Replace { hash, key, value, expires_at } => {
                    self.space.replace(hash, &key, value, expires_at, self.seq);
                }
                Undo::Deadline { hash, key, expires_at } => {
                    if let Some(mut loan) = self.space.lend(hash, &key, self.seq) {
                        loan.set_deadline(expires_at);
                    }
                }
                Undo::Change { hash, key, change } => {
                    if let Some(loan) = self.space.lend(hash, &key, self.seq)
                        && let Some(value) = &mut loan.entry.value
                    {
                        value.apply(change);
                    }
                }
                Undo::Rename { from, to } => {
                    let moved = self.space.replace(hash(&to), &to, None, 0, self.seq);
                    let (value, expires_at) = moved.unwrap_or_default();
                    self.space.replace(hash(&from), &from, value, expires_at, self.seq);
                }
                Undo::Flush(old) => self.space.unflush(*old),
                Undo::Scripts(old) => drop(self.hub.replace_scripts(old)),
                Undo::Settings(old) => drop(self.hub.obey(*old)),
                Undo::Library(change) => drop(self.space.shelf.apply(change, self.seq)),
                Undo::User { name, user } => drop(Arc::make_mut(&mut self.hub.users).put(&name, user)),
            }
        }
    }

    /// Runs one command that has passed every check, and counts it.
    pub fn run(&mut self, command: &'static Command, args: Args<'_>) -> Outcome {
        let begun_us = self.hub.is_timed(command).then(|| self.clock_us());
        let (errors, effects) = (self.hub.stats.error_replies, self.journal.len());
        if self.hub.settings.restrict()
            && let Err(error) = self.check_settings(command)
        {
            self.took_us = None;
            self.hub.count_rejected(Some(command), &error);
            return Err(error.into());
        }
        let outcome = self.run_uncounted(command, args);
        if matches!(outcome, Err(Stop::Block(_) | Stop::Aborted | Stop::Unfinished(_))) {
            // It is counted once it has run to an end.
            self.took_us = None;
            return outcome;
        }
        let error = match &outcome {
            Ok(Reply::Error(error)) | Err(Stop::Error(error)) => Some(error),
            _ => None,
        };
        self.took_us = begun_us.map(|begun_us| self.clock_us().saturating_sub(begun_us));
        self.client.traffic.ran();
        self.hub.count(command, self.took_us, error, errors);
        // What a script changes is counted with the commands that it runs.
        let counts = !std::mem::take(&mut self.slight) && !command.is_script();
        self.hub.facts.changes += u64::from(self.journal.len() > effects && counts);
        outcome
    }

    fn run_uncounted(&mut self, command: &'static Command, args: Args<'_>) -> Outcome {
        if self.shown.is_some() && !self.resumed && !command.is_admin() {
            self.show(args);
        }
        command.check_limits(self, args)?;
        if self.journal.len() > self.hub.limits.journal_bytes_max && command.effect == Effect::Writes {
            return Err(CommandError::RecordTooLarge.into());
        }
        self.reading = command.effect == Effect::Reads;
        self.uses = !(command.looks_aside() || self.client.leaves_untouched);
        self.only_read &= command.effect != Effect::Writes;
        if command.effect == Effect::Writes && self.space.cold() > 0 {
            self.bring(command, args)?;
        }
        let outcome = (command.handler())(self, args);
        if self.client.tracking.is_some() {
            self.note_reads(command, args);
        }
        let reply = outcome?;
        let limit = self.hub.limits.reply_bytes_max;
        if command.effect == Effect::Reads && reply.bytes() > limit {
            return Err(CommandError::ReplyTooLarge(limit).into());
        }
        Ok(reply)
    }

    /// Brings the keys that a write names into memory before it runs: if one of several cannot be read, nothing is done to the
    /// others.
    fn bring(&mut self, command: &'static Command, args: Args<'_>) -> Result<(), SourceError> {
        for key in command.keys_of(args) {
            self.space.load(hash(key), key, self.source)?;
        }
        Ok(())
    }

    /// Whether what was set with `CONFIG SET` refuses a command: memory is full, or a write wants replicas. A script that has
    /// begun to write before memory was full may go on.
    fn check_settings(&mut self, command: &Command) -> Result<(), CommandError> {
        let full = self.hub.is_full(self.space.memory_bytes());
        if command.is_script() {
            self.script_began = (full, self.journal.len());
            self.may_overfill = false;
            return Ok(());
        }
        let counts = match &self.script {
            Some(_) => self.script_began == (true, self.journal.len()) && !self.may_overfill,
            None => full,
        };
        if counts && command.may_grow() {
            return Err(OUT_OF_MEMORY);
        }
        if self.hub.settings.replicas_min > 0 && command.effect == Effect::Writes {
            return Err(NO_REPLICAS);
        }
        Ok(())
    }

    /// Whether what was set with `CONFIG SET` refuses a script before it begins. One that says nothing of itself may begin:
    /// what it runs is checked one by one.
    pub(crate) fn check_script(&mut self, says: bool, allows_oom: bool, no_writes: bool) -> Result<(), CommandError> {
        self.may_overfill = allows_oom;
        if !self.hub.settings.restrict() || !says || no_writes {
            return Ok(());
        }
        if self.hub.settings.replicas_min > 0 {
            return Err(NO_REPLICAS);
        }
        if self.script_began.0 && !allows_oom {
            return Err(OUT_OF_MEMORY);
        }
        Ok(())
    }

    /// Notes which keys a client has read that wants to be told of their changes.
    fn note_reads(&mut self, command: &'static Command, args: Args<'_>) {
        // Of a script its commands count.
        let reads = command.effect == Effect::Reads && !command.is_script();
        let Some(touched) = self.touched.as_mut().filter(|_| reads) else { return };
        if self.client.tracking.as_ref().is_some_and(|tracking| tracking.remembers()) {
            touched.extend(command.keys_of(args).map(|key| Touched::Read(Blob::from(key))));
        }
    }

    /// The client tracks keys from now on, in this way; or no longer.
    pub fn track(&mut self, tracking: Option<Tracking>) {
        let id = self.client.id;
        match &tracking {
            Some(tracking) => {
                self.hub.tracking.set(id, tracking);
                self.touched.get_or_insert_default();
            }
            None => self.hub.tracking.remove(id),
        }
        self.client.tracking = tracking.map(Box::new);
    }

    /// Shows a command to clients that see every one.
    pub fn show(&mut self, args: Args<'_>) {
        if let Some(shown) = &mut self.shown {
            shown.push(monitor::line(self.moment, self.client, self.script.is_some(), args));
        }
    }

    /// Forbids commands to wait, for MULTI and scripts.
    pub const fn forbid_blocking(&mut self) {
        self.may_block = false;
    }

    /// Whether a command with nothing to pop may wait.
    pub const fn may_block(&self) -> bool {
        self.may_block
    }

    /// Lets a walk over all keys stop before it is done, and go on with what it has so far, if it has stopped before.
    pub fn may_pause(&mut self, sweep: Option<Box<Sweep>>) {
        self.may_pause = true;
        self.sweep = sweep;
    }

    /// What the walk at work has so far, if it has stopped before.
    pub(crate) const fn take_sweep(&mut self) -> Option<Box<Sweep>> {
        self.sweep.take()
    }

    /// Whether a walk that has looked at enough keys stops here. A script's does not.
    pub(crate) const fn pauses(&self) -> bool {
        self.may_pause && self.script.is_none()
    }

    /// The command about to run was parked and is tried again; see [`Self::get_awaited`].
    pub const fn resume(&mut self) {
        self.resumed = true;
    }

    // --- what a handler may know -------------------------------------------------------------------------------

    /// The moment, in milliseconds since the Unix epoch.
    pub const fn now_ms(&self) -> u64 {
        self.moment.now_ms()
    }

    /// The moment, exactly.
    pub const fn moment(&self) -> Moment {
        self.moment
    }

    /// A generator for this command's draws.
    pub const fn random(&mut self) -> Random {
        Random::new(self.random.next_u64())
    }

    /// Channels, clients, scripts, settings.
    pub const fn hub(&mut self) -> &mut Hub {
        self.hub
    }

    /// Who asks.
    pub const fn client(&mut self) -> &mut Client {
        self.client
    }

    /// The keys, for commands about all of them.
    pub const fn space(&self) -> &Keyspace {
        self.space
    }

    /// A clock that only tells how long something takes, in microseconds.
    pub fn clock_us(&self) -> u64 {
        self.hub.facts.clock_us.map_or_else(|| self.watchdog.clock_us(), |clock_us| clock_us())
    }

    /// Whether the script at work must end.
    pub fn expired(&self) -> bool {
        self.watchdog.expired()
    }

    /// The reply depends on the whole database, so it waits for everything written so far.
    pub const fn sees_all(&mut self) {
        self.seen = self.seq.saturating_sub(1);
    }

    // --- reading -------------------------------------------------------------------------------------------------

    /// Brings a key into memory if it is cold. Nobody sees a part of a value that is past its deadline: it is removed here,
    /// as an effect like any other, by whoever comes first.
    fn load(&mut self, hash: u64, key: &[u8]) -> Result<(), SourceError> {
        self.space.load(hash, key, self.source)?;
        if self.space.has_parts_due(self.now_ms()) {
            self.purge(hash, key, usize::MAX);
        }
        Ok(())
    }

    /// Removes up to `most` fields of a hash that are past their deadlines; how many there were.
    fn purge(&mut self, hash: u64, key: &[u8], most: usize) -> usize {
        let now_ms = self.now_ms();
        let Some(entry) = self.space.find(hash, key) else { return 0 };
        let (seq, value) = (entry.seq, entry.alive_at(now_ms));
        let Some(Value::Hash(fields)) = value.filter(|value| value.next_due().is_some_and(|at| at <= now_ms)) else {
            return 0;
        };
        let (due, emptied) = (fields.due(now_ms, most), fields.due(now_ms, most) == fields.len());
        self.seen = self.seen.max(if seq == self.seq { 0 } else { seq });
        if emptied {
            self.remove(hash, key);
        } else {
            let mut edit = self.open::<Hash>(hash, key, false);
            edit.apply(Change::Bury { until: now_ms, count: due as u64 });
        }
        self.hub.facts.expired_fields += due as u64;
        self.notify(Event::Hash, "hexpired", key);
        if emptied {
            self.notify(Event::Generic, "del", key);
        }
        due
    }

    /// Loads a key if it is cold, and remembers that the reply depends on it. After this, [`Self::peek`] can see it.
    pub fn touch(&mut self, key: &[u8]) -> Result<(), Stop> {
        let hash = hash(key);
        self.load(hash, key)?;
        if let Some(entry) = self.space.find_hot(hash, key, self.uses) {
            // Its own number says nothing of what it found.
            self.seen = self.seen.max(if entry.seq == self.seq { 0 } else { entry.seq });
            if entry.alive_at(self.moment.now_ms()).is_none() {
                self.bury_dead(hash, key);
            }
        }
        Ok(())
    }

    /// The value of a key that was [touched](Self::touch).
    pub fn peek(&self, key: &[u8]) -> Option<&Value> {
        self.space.find(hash(key), key)?.alive_at(self.now_ms())
    }

    /// The value of a key that was [touched](Self::touch), if it has this type; an error if it has another.
    pub fn peek_as<T: Kind>(&self, key: &[u8]) -> Result<Option<&T>, CommandError> {
        self.peek(key).map(|value| T::of(value).ok_or(CommandError::WrongType)).transpose()
    }

    /// The value of a key.
    pub fn value(&mut self, key: &[u8]) -> Result<Option<&Value>, Stop> {
        let (hash, now_ms) = (hash(key), self.now_ms());
        self.load(hash, key)?;
        let hit = self.space.find_hot(hash, key, self.uses).map(|entry| (entry.seq, entry.alive_at(now_ms).is_some()));
        if let Some((seq, alive)) = hit {
            self.seen = self.seen.max(if seq == self.seq { 0 } else { seq });
            if !alive {
                self.bury_dead(hash, key);
            }
        }
        if self.reading {
            self.count_read(hit.is_some_and(|(_, alive)| alive), key);
        }
        Ok(self.space.find(hash, key).and_then(|entry| entry.alive_at(now_ms)))
    }

    /// Counts a read for `INFO`, and announces a miss to whoever asked for that.
    fn count_read(&mut self, hit: bool, key: &[u8]) {
        if hit {
            self.hub.facts.hits += 1;
        } else {
            self.hub.facts.misses += 1;
            self.notify(Event::Missed, "keymiss", key);
        }
    }

    /// The value of a key, if it has this type; an error if it has another.
    pub fn get<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, Stop> {
        let value = self.value(key)?;
        Ok(value.map(|value| T::of(value).ok_or(CommandError::WrongType)).transpose()?)
    }

    /// As [`Self::get`], for a key that a command may wait for: once it has waited, a key that came to hold another type
    /// is as good as missing, and the waiting goes on.
    pub fn get_awaited<T: Kind>(&mut self, key: &[u8]) -> Result<Option<&T>, Stop> {
        let resumed = self.resumed;
        match self.value(key)? {
            Some(value) if resumed => Ok(T::of(value)),
            Some(value) => Ok(Some(T::of(value).ok_or(CommandError::WrongType)?)),
            None => Ok(None),
        }
    }

    /// Whether a key is there.
    pub fn exists(&mut self, key: &[u8]) -> Result<bool, Stop> {
        Ok(self.value(key)?.is_some())
    }

    /// The deadline of a key that is there; `Some(0)` if it has none.
    pub fn deadline(&mut self, key: &[u8]) -> Result<Option<u64>, Stop> {
        if !self.exists(key)? {
            return Ok(None);
        }
        Ok(self.space.find(hash(key), key).map(|entry| entry.expires_at))
    }

    /// One step of a scan over all keys, in memory and in the store: live keys, and where to go on.
    pub fn scan_keys(&mut self, cursor: Cursor, count: usize) -> Result<(Cursor, Vec<Blob>), Stop> {
        self.sees_all();
        let from = cursor.first_hash();
        let now_ms = self.now_ms();
        let resident = self.space.starting_at(from, count.saturating_add(1));
        let mut keys: Vec<(u64, Blob, bool)> = Vec::with_capacity(resident.len());
        // Each side ends somewhere; what lies beyond the nearer end is left for the next step.
        let mut end = if resident.len() > count { resident.last().map(|(hash, ..)| *hash) } else { None };
        keys.extend(
            resident.iter().map(|(hash, key, entry)| (*hash, (*key).clone(), entry.alive_at(now_ms).is_some())),
        );
        if self.space.cold() > 0 {
            let stored = self.source.keys(from, count.saturating_add(1))?;
            if stored.len() > count
                && let Some(&(last, _)) = stored.last()
            {
                end = Some(end.map_or(last, |end| end.min(last)));
            }
            for (hash, key) in stored {
                if self.space.find(hash, &key).is_some() {
                    continue;
                }
                // Dead keys were removed before a command that walks over all keys, but nobody knew that a script would.
                let alive = self.script.is_none() || self.is_alive_in_store(hash, &key)?;
                keys.push((hash, key, alive));
            }
        }
        if self.hub.leaves_dead {
            keys.iter().filter(|(.., alive)| !alive).for_each(|(hash, key, _)| self.bury_dead(*hash, key));
        }
        keys.sort_unstable_by(|a, b| (a.0, &a.1).cmp(&(b.0, &b.1)));
        let mut page = Vec::with_capacity(count.min(keys.len()));
        let mut last = None;
        for (hash, key, alive) in keys {
            let past_end = end.is_some_and(|end| hash > end);
            let full = page.len() >= count && last.is_some_and(|last| !Cursor::same_step(last, hash));
            if past_end || full {
                return Ok((Cursor::after(last.unwrap_or(hash)), page));
            }
            last = Some(hash);
            if alive {
                page.push(key);
            }
        }
        Ok((end.map_or(Cursor(0), Cursor::after), page))
    }

    /// Whether a cold key has not passed its deadline, without bringing it into memory.
    fn is_alive_in_store(&self, hash: u64, key: &[u8]) -> Result<bool, Stop> {
        let record = self.source.load(hash, key)?;
        Ok(record.is_some_and(|record| record.expires_at == 0 || record.expires_at > self.now_ms()))
    }

    // --- writing -------------------------------------------------------------------------------------------------

    fn touched(&mut self, key: &[u8]) {
        if let Some(touched) = &mut self.touched {
            touched.push(Touched::Changed(Blob::from(key)));
        }
    }

    /// As [`Self::touched`], where a key went that was past its deadline: to whom it was dead already, nothing has changed.
    fn buried(&mut self, key: &[u8]) {
        if let Some(touched) = &mut self.touched {
            touched.push(Touched::Died(Blob::from(key)));
        }
    }

    /// Brings a key into memory for a change; a dead one is removed first.
    fn prepare(&mut self, hash: u64, key: &[u8]) -> Result<(), Stop> {
        self.load(hash, key)?;
        // A write that changes nothing depends on what it saw, as a read does.
        self.seen = self.seen.max(self.space.find(hash, key).map_or(0, |entry| entry.seq));
        self.bury_dead(hash, key);
        Ok(())
    }

    /// Removes a key if it is past its deadline: whoever comes first does.
    fn bury_dead(&mut self, hash: u64, key: &[u8]) {
        let now_ms = self.now_ms();
        let dead = |entry: &crate::keyspace::Entry| entry.value.is_some() && entry.alive_at(now_ms).is_none();
        if self.space.find(hash, key).is_some_and(dead) {
            self.bury(hash, key);
        }
    }

    fn remove(&mut self, hash: u64, key: &[u8]) {
        self.take_out(hash, key);
        self.touched(key);
    }

    /// Removes a key that is past its deadline.
    fn bury(&mut self, hash: u64, key: &[u8]) {
        self.take_out(hash, key);
        self.buried(key);
        self.hub.facts.expired += 1;
        self.notify(Event::Expired, "expired", key);
    }

    fn take_out(&mut self, hash: u64, key: &[u8]) {
        self.journal.delete(key);
        let old = self.space.replace(hash, key, None, 0, self.seq);
        let (value, expires_at) = old.unwrap_or_default();
        self.journal.undo(|| Undo::Replace { hash, key: Blob::from(key), value, expires_at });
    }

    /// Sets the whole value of a key.
    pub fn put(&mut self, key: &[u8], mut value: Value, deadline: Deadline) -> Result<(), Stop> {
        value.adapt(&self.hub.settings.encodings);
        if value.memory_bytes() > self.hub.limits.record_bytes_max {
            return Err(CommandError::RecordTooLarge.into());
        }
        let hash = hash(key);
        self.prepare(hash, key)?;
        if value.is_void() {
            self.delete(key)?;
            return Ok(());
        }
        let expires_at = match deadline {
            Deadline::Clear => 0,
            Deadline::At(at) => at,
            Deadline::Keep => self.space.find(hash, key).map_or(0, |entry| entry.expires_at),
        };
        self.journal.put(key, &value, expires_at);
        let old = self.space.replace(hash, key, Some(value), expires_at, self.seq);
        let (value, expires_at) = old.unwrap_or_default();
        let is_new = value.is_none();
        self.journal.undo(|| Undo::Replace { hash, key: Blob::from(key), value, expires_at });
        self.touched(key);
        if is_new {
            self.notify(Event::New, "new", key);
        }
        Ok(())
    }

    /// Removes a key; whether it was there.
    pub fn delete(&mut self, key: &[u8]) -> Result<bool, Stop> {
        let hash = hash(key);
        self.prepare(hash, key)?;
        self.touch(key)?;
        if self.peek(key).is_none() {
            return Ok(false);
        }
        self.remove(hash, key);
        Ok(true)
    }

    /// Moves a value and its deadline to another key, over what is there and without a copy; whether there was one.
    pub fn rename(&mut self, from: &[u8], to: &[u8]) -> Result<bool, Stop> {
        if from == to || !self.exists(from)? {
            return self.exists(from);
        }
        self.delete(to)?;
        let old = self.space.replace(hash(from), from, None, 0, self.seq);
        let Some((Some(value), expires_at)) = old else {
            return Ok(false);
        };
        self.journal.delete(from);
        self.journal.put(to, &value, expires_at);
        self.space.replace(hash(to), to, Some(value), expires_at, self.seq);
        self.journal.undo(|| Undo::Rename { from: Blob::from(from), to: Blob::from(to) });
        self.touched(from);
        self.touched(to);
        self.notify(Event::New, "new", to);
        Ok(true)
    }

    /// Sets the deadline of a key, 0 for none; whether it was there.
    pub fn expire_at(&mut self, key: &[u8], expires_at: u64) -> Result<bool, Stop> {
        let hash = hash(key);
        self.prepare(hash, key)?;
        let Some(mut loan) = self.space.lend(hash, key, self.seq) else {
            return Ok(false);
        };
        let old = loan.entry.expires_at;
        loan.set_deadline(expires_at);
        drop(loan);
        self.journal.expire(key, expires_at);
        self.journal.undo(|| Undo::Deadline { hash, key: Blob::from(key), expires_at: old });
        self.touched(key);
        Ok(true)
    }

    /// A key's value to be changed in place, made (empty) if the key is missing. An empty collection vanishes when the
    /// edit ends.
    pub fn edit<T: Kind>(&mut self, key: &[u8]) -> Result<Edit<'_, T>, Stop> {
        let hash = hash(key);
        self.prepare(hash, key)?;
        let made = match self.space.find(hash, key).and_then(|entry| entry.value.as_ref()) {
            Some(value) if T::of(value).is_none() => return Err(CommandError::WrongType.into()),
            Some(_) => false,
            None => {
                self.journal.about(key);
                self.journal.bytes.extend([op::CREATE, T::TYPE as u8]);
                self.space.replace(hash, key, Some(T::default().into_value()), 0, self.seq);
                let made = Blob::from(key);
                self.journal.undo(|| Undo::Replace { hash, key: made, value: None, expires_at: 0 });
                true
            }
        };
        if made {
            self.notify(Event::New, "new", key);
        }
        Ok(self.open(hash, key, made))
    }

    fn open<T: Kind>(&mut self, hash: u64, key: &[u8], made: bool) -> Edit<'_, T> {
        let loan = self.space.lend(hash, key, self.seq).expect("the entry has a value: it was just seen or made");
        if let Some(value) = loan.entry.value.as_mut().and_then(T::of_mut) {
            value.adapt(&self.hub.settings.encodings);
        }
        let (journal, touched) = (&mut self.journal, &mut self.touched);
        Edit { loan, hash, journal, touched, key: Blob::from(key), changed: made, made, kind: std::marker::PhantomData }
    }

    /// As [`Self::edit`], or nothing if the key is missing.
    pub fn edit_existing<T: Kind>(&mut self, key: &[u8]) -> Result<Option<Edit<'_, T>>, Stop> {
        if self.get::<T>(key)?.is_none() {
            return Ok(None);
        }
        self.edit(key).map(Some)
    }

    /// Whether the client may run a command, as users are now.
    #[inline]
    pub fn check(&self, command: &'static Command, args: Args<'_>) -> Result<(), Denial> {
        if self.client.grant == Grant::Full {
            return Ok(());
        }
        self.hub.users.check(self.client.grant, command, args)
    }

    /// Puts a user in place of the one of that name, or removes that one; whether there was one.
    pub fn set_user(&mut self, name: &[u8], user: Option<User>) -> bool {
        self.journal.user(name, user.as_ref());
        let user = Arc::make_mut(&mut self.hub.users).put(name, user.map(Arc::new));
        let was_there = user.is_some();
        self.journal.undo(|| Undo::User { name: Blob::from(name), user });
        self.users_set += 1;
        // Whatever the command is called.
        self.only_read = false;
        was_there
    }

    /// Removes every key.
    pub fn flush(&mut self) {
        self.journal.bytes.push(op::FLUSH);
        self.journal.key = None;
        if let Some(touched) = &mut self.touched {
            let known = self.hub.watched_keys().chain(self.hub.awaited_keys());
            touched.push(Touched::AllGone);
            touched.extend(known.map(Touched::Gone));
        }
        let old = self.space.flush(self.seq);
        self.journal.undo(|| Undo::Flush(Box::new(old)));
    }

    /// Removes every key, and takes those that the store has of a later epoch.
    pub fn adopt(&mut self, adopted: Adopted) {
        self.flush();
        self.only_read = false;
        if let Some(touched) = &mut self.touched {
            // Any of them may be there now.
            let known = self.hub.watched_keys().chain(self.hub.awaited_keys());
            touched.extend(known.map(Touched::Changed));
        }
        self.space.adopt(adopted);
        self.journal.bytes.push(op::ADOPT);
        adopted.write(&mut self.journal.bytes);
    }

    /// Forgets every script kept for `EVALSHA`.
    pub fn forget_scripts(&mut self) {
        let old = self.hub.replace_scripts(Scripts::default());
        self.journal.undo(|| Undo::Scripts(old));
    }

    /// Reads every value in memory back from its bytes.
    pub(crate) fn reread(&mut self) -> Result<(), Stop> {
        let encodings = self.hub.settings.encodings;
        self.space.reread(&encodings).map_err(|_| Stop::Error(CommandError::StoreFailed))
    }

    /// Says when a key that is there was used last, or how often it is.
    pub(crate) fn set_usage(&mut self, key: &[u8], usage: Usage) {
        self.space.set_usage(hash(key), key, usage);
    }

    /// What memory knows of a key; as after [`Self::touch`], without that counting as its use.
    pub(crate) fn entry(&mut self, key: &[u8]) -> Result<Option<&crate::keyspace::Entry>, Stop> {
        let (hash, now_ms) = (hash(key), self.now_ms());
        self.uses = false;
        self.touch(key)?;
        Ok(self.space.find(hash, key).filter(|entry| entry.alive_at(now_ms).is_some()))
    }

    /// Changes what `CONFIG SET` may change.
    pub(crate) fn put_settings(&mut self, settings: Settings) {
        let old = self.hub.obey(settings);
        self.journal.undo(|| Undo::Settings(Box::new(old)));
    }

    // --- libraries of functions ----------------------------------------------------------------------------------

    /// The libraries, as they are now.
    pub(crate) fn libraries(&mut self) -> Result<Arc<Libraries>, Stop> {
        self.space.load_libraries(self.source)?;
        let (seq, libraries) = self.space.shelf.lend();
        self.seen = self.seen.max(seq);
        Ok(libraries)
    }

    /// Adds a library, in the place of another of the same name.
    pub(crate) fn put_library(&mut self, library: Arc<Library>) -> Result<(), Stop> {
        self.space.load_libraries(self.source)?;
        self.journal.libraries.push(op::LIBRARY);
        library.write(&mut self.journal.libraries);
        self.change_libraries(libraries::Change::Put(library));
        Ok(())
    }

    /// Removes a library; whether it was there.
    pub(crate) fn remove_library(&mut self, name: &str) -> Result<bool, Stop> {
        if self.libraries()?.get(name).is_none() {
            return Ok(false);
        }
        self.journal.libraries.push(op::NO_LIBRARY);
        put_bytes(&mut self.journal.libraries, name.as_bytes());
        self.change_libraries(libraries::Change::Remove(name.to_owned()));
        Ok(true)
    }

    fn change_libraries(&mut self, change: libraries::Change) {
        let inverse = self.space.shelf.apply(change, self.seq);
        self.journal.undo(|| Undo::Library(inverse));
    }

    /// Tells the watchdog that a script begins.
    pub(crate) fn begins(&self, function: Option<&str>, command: Args<'_>) {
        self.watchdog.begins(function, command);
    }

    // --- telling others ------------------------------------------------------------------------------------------

    /// Publishes a message when the work is done; how many will get it.
    pub fn publish(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let receivers = self.hub.receivers(channel);
        if receivers > 0 {
            self.publish_to(channel, message, false);
        }
        receivers
    }

    /// As [`Self::publish`], to a shard channel.
    pub fn publish_to_shard(&mut self, channel: &[u8], message: &[u8]) -> usize {
        let receivers = self.hub.shard_recipients(channel).count();
        if receivers > 0 {
            self.publish_to(channel, message, true);
        }
        receivers
    }

    fn publish_to(&mut self, channel: &[u8], message: &[u8], sharded: bool) {
        let (channel, message) = (Blob::from(channel), Blob::from(message));
        self.publications.push(Publication { channel, message, sharded });
    }

    /// Announces what happened to a key, if the database's `notify-keyspace-events` asks for it.
    pub fn notify(&mut self, event: Event, name: &'static str, key: &[u8]) {
        for (channel, message) in self.hub.notifications(event, name, key) {
            self.publish(&channel, &message);
        }
    }
}
