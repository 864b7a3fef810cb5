//! One database at work: who may touch its keys when, and what becomes of what they did.
//!
//! Everything in memory is behind one lock, held for microseconds: a command runs under it, appends its effects to the
//! log, and lets go; waiting for the disk happens outside. Scripts are the exception. They run under the lock too, but as
//! undoable work with a short leash: one that takes too long is taken back and run again on a thread of its own
//! ([`LongJob`]), while everyone else is told that the database is [busy](Ran::Busy).
//!
//! Each transaction that writes gets the next sequence number, and each key remembers the last one that changed it. Until
//! its record is on disk, the pair (sequence number, log position) is kept, so that a reply that saw the change knows what
//! to wait for.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::time::Duration;

use dormouse_engine::{
    Client, ClientId, Command, Done, Due, Effect, Hub, Keyspace, Moment, NO_REPLICAS, OUT_OF_MEMORY, Outcome, Parts,
    Patient, Publication, Queued, Source, Stop, Sweep, Ticket, Txn, Users, Waiting, Watchdog, by_name, hash,
    monitor_line,
};
use dormouse_proto::{Blob, CommandError, Reply};
use dormouse_storage::{Durability, Log, Lsn, Store};
use parking_lot::{Mutex, MutexGuard, RwLock};

use crate::cold::{Cold, Fetching, Pace};
use crate::layout;
use crate::memory::Memory;
use crate::once::{Note, Notes, Once, Repeat};
use crate::quiet::Quiet;
use crate::record::write_record;
use crate::recovery::Found;
use crate::script_control::{Leash, ScriptControl};
use crate::work::{LongJob, Ran, Work, args_of_job, of_job};

mod clients;
mod parked;

pub(crate) use clients::refused;

use parked::Parked;

/// Keys removed in one go because their deadlines have passed.
const REAP_KEYS_MAX: usize = 128;
/// Batches of such keys that are removed before a walk over all keys. If there are more (the process was away for long), the
/// walk shows some that are dead already.
const SWEEP_ROUNDS_MAX: usize = 64;
/// Keys that are asked to leave memory under one hold of the lock.
const EVICT_KEYS_PER_HOLD: usize = 256;
/// Each key's turn comes at most so often in one eviction: what is used most stays three times.
const EVICT_ROUNDS: usize = 4;
/// How long a thread waits for the lock before it looks again whether a long script holds it.
const LOCK_PATIENCE: Duration = Duration::from_micros(200);

/// Nothing can leave memory as long as the store takes nothing.
const MEMORY_FULL: CommandError = CommandError::text(
    "OOM memory is full, and what has changed cannot leave it: the last checkpoint failed. The server's log says why.",
);
/// Memory holds more than `maxmemory`, so commands that make it grow are refused.
const FULL: u8 = 1;
/// Writes want replicas, and there are none.
const WANTS_REPLICAS: u8 = 2;

/// The row of `EXEC`, which is counted where its queue runs.
fn exec() -> &'static Command {
    by_name(b"EXEC").expect("the table has EXEC")
}

/// Names a database within its process. 0 is the process's own, which holds the accounts.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DatabaseId(pub u32);

/// Where a client's out-of-band replies go.
pub trait Outbox: Send + Sync {
    /// Takes a reply. Must not block: the database is held meanwhile.
    fn deliver(&self, delivery: Delivery);

    /// Ends the client's connection: another has asked for that.
    fn close(&self) {}
}

/// A reply nobody is waiting for in a call.
#[derive(Debug)]
pub enum Delivery {
    /// A message from a subscription, to be shown once `after` is durable.
    Push {
        /// The message.
        reply: Reply,
        /// What it depends on.
        after: Lsn,
    },
    /// The answer to a parked command.
    Unparked {
        /// The command's reply.
        reply: Reply,
        /// What it depends on.
        after: Lsn,
    },
}

/// What the lock guards.
pub(crate) struct State {
    pub(crate) space: Keyspace,
    pub(crate) hub: Hub,
    /// The newest transaction that wrote.
    pub(crate) seq: u64,
    /// Transactions whose records may not be on disk yet, oldest first.
    commits: VecDeque<(u64, Lsn)>,
    parked: BTreeMap<Ticket, Parked>,
    next_ticket: Ticket,
    outboxes: HashMap<ClientId, Arc<dyn Outbox>>,
    /// What the store was last told.
    pub(crate) meta: layout::Meta,
    /// Where in the store's index of deadlines the search for dead keys stands. What lies before is dealt with: such keys
    /// are in memory, or were removed and leave the index at the next checkpoint, which sends the search back.
    pub(crate) reaped_until: Vec<u8>,
    /// Messages to clients that track keys, to be sent after the reply of whoever changed them.
    invalidations: Vec<(ClientId, Reply, Lsn)>,
    /// Requests that must not run twice.
    pub(crate) notes: Notes,
    record: Vec<u8>,
}

type PutOff = Box<dyn FnOnce(&mut State) + Send>;

/// See the module's text.
pub struct Database {
    id: DatabaseId,
    pub(crate) log: Arc<Log>,
    pub(crate) store: Arc<dyn Store>,
    durability: Durability,
    state: Mutex<State>,
    /// Whether a long script holds, or is about to take, the lock.
    long: AtomicBool,
    long_turn: Mutex<()>,
    /// Held by a walk over all keys that takes several steps.
    sweep_turn: Mutex<()>,
    pub(crate) script: ScriptControl,
    /// Changes put off while a long script held the lock; see [`Self::soon`].
    put_off: Mutex<Vec<PutOff>>,
    has_put_off: AtomicBool,
    /// Its users as the last commit left them, and what that depends on: for checks without the lock.
    users: RwLock<(Arc<Users>, Lsn)>,
    /// Bytes its keys take in memory, for whoever adds them up without the lock.
    memory_bytes: AtomicU64,
    memory: Arc<Memory>,
    /// What [`Memory`] was told of them.
    told_bytes: AtomicU64,
    /// When a command last ran, in milliseconds since the Unix epoch.
    used_ms: AtomicU64,
    /// Whether it was deleted while somebody held it.
    ended: AtomicBool,
    quiet: Arc<Quiet>,
    /// How quick the store is.
    pub(crate) pace: Pace,
    /// Which commands are refused, for who looks without the lock: [`FULL`], [`WANTS_REPLICAS`].
    restricted: AtomicU8,
    /// `busy-reply-threshold`, for who waits for the lock.
    busy_after_ms: AtomicU64,
}

impl Drop for Database {
    fn drop(&mut self) {
        self.memory.forget(&self.told_bytes);
    }
}

impl std::fmt::Debug for Database {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Database").field("id", &self.id).finish_non_exhaustive()
    }
}

impl Database {
    pub(crate) fn new(
        id: DatabaseId,
        log: Arc<Log>,
        store: Arc<dyn Store>,
        durability: Durability,
        found: Found,
    ) -> Self {
        let Found { meta, space, users, seq, notes } = found;
        let mut hub = Hub::default();
        (hub.database, hub.users) = (id.0, Arc::new(users));
        let users = RwLock::new((Arc::clone(&hub.users), Lsn(0)));
        let memory_bytes = AtomicU64::new(space.memory_bytes() as u64);
        let busy_after_ms = AtomicU64::new(hub.settings.busy_after_ms);
        Self {
            id,
            log,
            store,
            durability,
            state: Mutex::new(State {
                space,
                hub,
                seq,
                commits: VecDeque::new(),
                parked: BTreeMap::new(),
                next_ticket: 1,
                outboxes: HashMap::new(),
                meta,
                reaped_until: Vec::new(),
                invalidations: Vec::new(),
                notes,
                record: Vec::new(),
            }),
            long: AtomicBool::new(false),
            long_turn: Mutex::new(()),
            sweep_turn: Mutex::new(()),
            script: ScriptControl::default(),
            put_off: Mutex::default(),
            has_put_off: AtomicBool::new(false),
            users,
            memory_bytes,
            memory: Arc::new(Memory::new(0)),
            told_bytes: AtomicU64::new(0),
            used_ms: AtomicU64::new(0),
            ended: AtomicBool::new(false),
            quiet: Arc::default(),
            pace: Pace::default(),
            restricted: AtomicU8::new(0),
            busy_after_ms,
        }
    }

    /// Whatever happens here ends a quiet.
    #[must_use]
    pub(crate) fn disturbing(mut self, quiet: &Arc<Quiet>) -> Self {
        self.quiet = Arc::clone(quiet);
        self
    }

    /// Its data shares a bound with that of others.
    #[must_use]
    pub(crate) fn bounded(mut self, memory: &Arc<Memory>) -> Self {
        self.memory = Arc::clone(memory);
        self
    }

    /// Its id.
    pub const fn id(&self) -> DatabaseId {
        self.id
    }

    /// Bytes its keys take in memory, near enough.
    pub fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// When a command last ran, in milliseconds since the Unix epoch; 0 if none has since it woke.
    pub fn used_ms(&self) -> u64 {
        self.used_ms.load(Ordering::Relaxed)
    }

    /// When the next of its keys, or a part of one, dies, or a parked command is to be run again: in milliseconds since the
    /// Unix epoch.
    pub(crate) fn next_due_ms(&self) -> Option<u64> {
        let mut state = self.hold()?;
        let here = [state.space.next_deadline(), state.space.next_part(), state.next_retry_ms()];
        let (start, until) = layout::deadlines_until(self.id, state.space.epoch(), u64::MAX - 1);
        let from = start.max(std::mem::take(&mut state.reaped_until));
        let first = if state.space.cold() == 0 { Ok(Vec::new()) } else { self.store.scan(&from, &until, 1) };
        state.reaped_until = from;
        let at = |(key, note): &(bytes::Bytes, bytes::Bytes)| Some(layout::split_deadline(key, note).ok()?.0.at);
        let cold = first.ok().and_then(|found| found.first().and_then(at));
        here.into_iter().flatten().chain(cold).min()
    }

    /// Whether somebody waits here for something to come: a message, an element, a command to watch.
    pub(crate) fn is_waited_on(&self) -> bool {
        self.hold().is_none_or(|state| !state.parked.is_empty() || state.hub.is_listened_to())
    }

    /// Whether memory has nothing that the store has not.
    pub fn is_clean(&self) -> bool {
        let Some(mut state) = self.hold() else { return false };
        let State { space, hub, seq, meta, notes, .. } = &mut *state;
        space.dirty_keys() == 0
            && space.shelf().to_store().is_none()
            && !hub.users.are_dirty()
            && notes.are_stored()
            && (meta.seq, meta.epoch) == (*seq, space.epoch())
    }

    /// Holds the database, or learns that a long script does. Whatever was put off comes first.
    pub(crate) fn hold(&self) -> Option<MutexGuard<'_, State>> {
        let mut state = loop {
            if self.long.load(Ordering::Acquire) {
                return None;
            }
            if let Some(state) = self.state.try_lock_for(LOCK_PATIENCE) {
                break state;
            }
        };
        if self.has_put_off.load(Ordering::Acquire) {
            self.catch_up(&mut state);
        }
        Some(state)
    }

    fn catch_up(&self, state: &mut State) {
        let put_off = {
            let mut put_off = self.put_off.lock();
            self.has_put_off.store(false, Ordering::Release);
            std::mem::take(&mut *put_off)
        };
        for change in put_off {
            change(state);
        }
    }

    /// Makes a change that nobody waits for: at once, or as soon as a long script lets go of the database.
    fn soon(&self, change: impl FnOnce(&mut State) + Send + 'static) {
        if let Some(mut state) = self.hold() {
            change(&mut state);
            return;
        }
        let mut put_off = self.put_off.lock();
        put_off.push(Box::new(change));
        self.has_put_off.store(true, Ordering::Release);
    }

    /// Holds the database however long that takes. For housekeeping and for threads that may block.
    pub(crate) fn hold_patiently(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    /// Runs work that has passed every check, right here: keys that only the store has are read meanwhile. `leash` ends scripts that should move to a thread of their own.
    pub fn run(&self, client: &mut Client, work: Work<'_>, moment: Moment, leash: &dyn Watchdog) -> Ran {
        self.run_here(client, work, None, moment, leash, Fetching::Never)
    }

    /// As [`Self::run`], for work that may have to wait for its keys elsewhere ([`Ran::Long`]), and is not to run again if it
    /// was sent before under the same key.
    pub fn run_once(
        &self,
        client: &mut Client,
        work: Work<'_>,
        once: Option<&Arc<Once>>,
        moment: Moment,
        leash: &dyn Watchdog,
    ) -> Ran {
        self.run_here(client, work, once, moment, leash, Fetching::IfNeeded)
    }

    /// Runs work where it was asked for, if nothing keeps it from that.
    fn run_here(
        &self,
        client: &mut Client,
        work: Work<'_>,
        once: Option<&Arc<Once>>,
        moment: Moment,
        leash: &dyn Watchdog,
        fetching: Fetching<'_>,
    ) -> Ran {
        if work.writes() && self.log.has_failed() {
            return Ran::Done { reply: CommandError::LogFailed.into(), after: Lsn(0) };
        }
        if self.ended.load(Ordering::Acquire) {
            client.closing = true;
            return Ran::Done { reply: CommandError::NoAuth.into(), after: Lsn(0) };
        }
        self.used_ms.store(moment.now_ms(), Ordering::Relaxed);
        if self.memory.is_at_wall() && work.may_grow() {
            // Whoever makes room must see that there is something to do.
            self.quiet.end();
            return if self.memory.is_failing() {
                Ran::Done { reply: MEMORY_FULL.into(), after: Lsn(0) }
            } else {
                Ran::Paused
            };
        }
        let Some(mut state) = self.hold() else { return Ran::Busy };
        self.quiet.end();
        if let Some(pause) = state.hub.pause
            && pause.until_ms > moment.now_ms()
            && work.waits_for(pause)
        {
            return Ran::Paused;
        }
        if matches!(fetching, Fetching::Done(fetch) if fetch.is_connected && !state.is_connected(client.id)) {
            // Its client went meanwhile: nobody would be there for what it waits for or watches.
            return Ran::Done { reply: Reply::Null, after: Lsn(0) };
        }
        let once = once.filter(|_| work.matters_twice());
        if let Some(ran) = once.and_then(|once| self.repeated(&mut state, once, moment)) {
            return ran;
        }
        if matches!(fetching, Fetching::IfNeeded)
            && let Some(fetch) = self.fetch_for(&state, client.id, &work)
        {
            let job = work.to_job(client.clone(), once.cloned());
            return Ran::Long(Box::new(LongJob { fetch: Some(fetch), ..job }));
        }
        if work.sweeps() {
            // The store does not know which of its keys are dead, so a walk over them must not meet any.
            let mut rounds = 0;
            while rounds < SWEEP_ROUNDS_MAX && self.reap_held(&mut state, moment) {
                rounds += 1;
            }
        }
        let how = How { moment, watchdog: leash, undoable: work.is_undoable(), once };
        match self.execute(&mut state, client, work, &how) {
            Some(ran) => ran,
            None => Ran::Long(Box::new(work.to_job(client.clone(), once.cloned()))),
        }
    }

    /// What work is told that was sent before.
    fn repeated(&self, state: &mut State, once: &Once, moment: Moment) -> Option<Ran> {
        match state.notes.look(once, moment.now_ms(), &*self.store, self.id) {
            Ok(None) => None,
            Ok(Some((Repeat::Answer { answer, .. }, seq))) => {
                let after = state.position_of(seq, &self.log);
                Some(Ran::Repeat(Repeat::Answer { answer, after }))
            }
            Ok(Some((repeat, _))) => Some(Ran::Repeat(repeat)),
            Err(error) => Some(Ran::Done { reply: error.into(), after: Lsn(0) }),
        }
    }

    /// Runs a long job to its end. A walk over all keys lets others have the database between its steps. `limit` ends a script
    /// when its time is up; so does [`Self::kill_script`].
    pub fn run_long(&self, job: &mut LongJob, moment: Moment, limit: &dyn Watchdog) -> Ran {
        if let Some(sweep) = job.sweep.take() {
            return self.run_in_steps(job, sweep, moment);
        }
        let fetched = job.fetch.take().inspect(|fetch| self.fetch(fetch));
        let LongJob { queue, all, client, once, .. } = job;
        let args = args_of_job(queue);
        let work = of_job(queue, *all, &args);
        let once = once.as_ref();
        if let Some(fetch) = &fetched {
            // If it finds the database held by a script, or paused, whoever asked tries again, with its keys in memory.
            if self.long.load(Ordering::Acquire) {
                return Ran::Busy;
            }
            if !work.has_script() {
                return self.run_here(client, work, once, moment, limit, Fetching::Done(fetch));
            }
        }
        let _turn = self.long_turn.lock();
        self.long.store(true, Ordering::Release);
        self.script.killed.store(false, Ordering::Release);
        let leash = Leash { control: &self.script, limit };
        let mut state = self.state.lock();
        self.note_long_script(&mut state, moment);
        self.script.running.store(true, Ordering::Release);
        let how = How { moment, watchdog: &leash, undoable: true, once };
        // Another one of the same key may have come before.
        let repeated = once.and_then(|once| self.repeated(&mut state, once, moment));
        let ran = repeated.or_else(|| self.execute(&mut state, client, work, &how));
        let killed = self.script.killed.load(Ordering::Acquire);
        self.script.running.store(false, Ordering::Release);
        self.long.store(false, Ordering::Release);
        self.catch_up(&mut state);
        drop(state);
        ran.unwrap_or_else(|| {
            let error = match (killed, self.is_function_running()) {
                (false, _) => "ERR Error running script: it ran past the time limit. Its changes were taken back.",
                (true, false) => {
                    "ERR Error running script: script killed by user with SCRIPT KILL. Its changes were taken back."
                }
                (true, true) => {
                    "ERR Error running script: script killed by user with FUNCTION KILL. Its changes were taken back."
                }
            };
            Ran::Done { reply: CommandError::text(error).into(), after: Lsn(0) }
        })
    }

    /// Goes on with a walk over all keys until it is done, held up by whoever else wants the database. One at a time.
    fn run_in_steps(&self, job: &mut LongJob, mut sweep: Box<Sweep>, moment: Moment) -> Ran {
        let _turn = self.sweep_turn.lock();
        let Some(Queued { command, args }) = job.queue.first() else {
            return Ran::Done { reply: Reply::Null, after: Lsn(0) };
        };
        let args: Vec<&[u8]> = args.iter().map(Blob::as_slice).collect();
        loop {
            let mut state = self.hold_patiently();
            self.reap_held(&mut state, moment);
            let cold = self.cold(&state);
            let mut txn = Txn::begin(state.parts(&cold, &mut job.client, &Patient, moment), false);
            txn.may_pause(Some(sweep));
            let outcome = txn.run_timed(command, &args);
            let done = txn.finish();
            let after = self.commit(&mut state, &done, None, moment);
            let reply = match outcome {
                Err(Stop::Unfinished(rest)) => {
                    sweep = rest;
                    MutexGuard::unlock_fair(state);
                    continue;
                }
                Ok(reply) => reply,
                Err(Stop::Error(error)) => error.into(),
                Err(Stop::Block(_) | Stop::Aborted) => CommandError::NotBusy.into(),
            };
            return Ran::Done { reply, after };
        }
    }

    /// Whether a long script holds the database.
    pub fn is_busy(&self) -> bool {
        self.long.load(Ordering::Acquire)
    }

    /// Runs work under the lock. `None` if it was ended by its watchdog, and taken back.
    fn execute(&self, state: &mut State, client: &mut Client, work: Work<'_>, how: &How<'_>) -> Option<Ran> {
        let &How { moment, watchdog, undoable, once } = how;
        if let Work::All { watching: true, .. } = work
            && state.watches_broken(client, moment, &self.cold(state))
        {
            state.hub.count_elsewhere(exec(), None);
            if state.hub.is_monitored() {
                state.show(&[monitor_line(moment, client, &[&client.exec_word])], Lsn(0));
            }
            return Some(Ran::Done { reply: Reply::NullArray, after: state.newest(&self.log) });
        }
        state.hub.facts.commands += 1;
        if let Some(known) = state.hub.clients.get_mut(&client.id) {
            (known.active_ms, known.last_command) = (client.active_ms, client.last_command);
        }
        let cold = self.cold(state);
        let mut txn = Txn::begin(state.parts(&cold, client, watchdog, moment), undoable);
        if txn.client().waiting == Waiting::EndsAtOnce {
            txn.forbid_blocking();
        }
        if !undoable {
            txn.may_pause(None);
        }
        let outcome = match work {
            // Checked before, but the user may have changed since.
            Work::One(command, args) => match txn.check(command, args) {
                Ok(()) => txn.run_timed(command, args),
                Err(denial) => Err(refused(&denial, command, txn.client()).into()),
            },
            Work::All { queue, .. } => run_all(&mut txn, queue),
        };
        if matches!(work, Work::All { watching: true, .. }) {
            let word = txn.client().exec_word.clone();
            txn.show(&[&word]);
        }
        if outcome == Err(Stop::Aborted) {
            txn.rollback();
            state.skip_seq();
            return None;
        }
        if let (Work::All { .. }, Err(Stop::Error(error))) = (work, &outcome) {
            txn.rollback();
            state.skip_seq();
            return Some(Ran::Done { reply: error.clone().into(), after: state.newest(&self.log) });
        }
        let done = txn.finish();
        if matches!(work, Work::All { watching: true, .. }) {
            state.hub.count_elsewhere(exec(), None);
        }
        let changed_users = done.users;
        let note = once.and_then(|once| state.note(once, &outcome, work.is_secret(), moment));
        let after = self.commit(state, &done, note, moment);
        if changed_users {
            self.review_clients(state, client, after);
        }
        if !state.hub.killed.is_empty() {
            state.close_killed();
        }
        Some(match outcome {
            Ok(reply) => Ran::Done { reply, after },
            Err(Stop::Error(error)) => Ran::Done { reply: error.into(), after },
            Err(Stop::Block(block)) => state.park(client, work, block, once),
            Err(Stop::Aborted) => Ran::Done { reply: CommandError::NotBusy.into(), after },
            Err(Stop::Unfinished(sweep)) => {
                let job = work.to_job(client.clone(), once.cloned());
                Ran::Long(Box::new(LongJob { sweep: Some(sweep), ..job }))
            }
        })
    }

    pub(crate) fn cold(&self, state: &State) -> Cold<'_> {
        let pace = state.hub.facts.clock_us.map(|clock_us| (&self.pace, clock_us));
        Cold { store: &*self.store, id: self.id, epoch: state.space.epoch(), pace }
    }

    /// Logs what a transaction did, tells whoever listens, and serves whoever waited for its keys. Returns what its reply
    /// depends on.
    pub(crate) fn commit(&self, state: &mut State, done: &Done, note: Option<Note>, moment: Moment) -> Lsn {
        let mut written = VecDeque::new();
        let after = self.record(state, done, note, &mut written);
        state.send_invalidations();
        self.wake(state, written, moment);
        self.note_memory(state);
        after
    }

    /// Notes what others look at without holding the database.
    fn note_memory(&self, state: &State) {
        let bytes = state.space.memory_bytes();
        self.tell_memory(bytes);
        let wants_replicas = state.hub.settings.replicas_min > 0;
        let restricted = (u8::from(state.hub.is_full(bytes)) * FULL) | (u8::from(wants_replicas) * WANTS_REPLICAS);
        if self.restricted.load(Ordering::Relaxed) != restricted {
            self.restricted.store(restricted, Ordering::Relaxed);
        }
        self.note_busy_after(state);
    }

    /// Says exactly how many bytes it takes, where a commit may be a little off.
    pub(crate) fn tell_exactly(&self) {
        self.memory.tell_exactly(&self.told_bytes, self.memory_bytes());
    }

    pub(crate) fn tell_memory(&self, bytes: usize) {
        self.memory_bytes.store(bytes as u64, Ordering::Relaxed);
        self.memory.tell(&self.told_bytes, bytes as u64);
    }

    pub(crate) fn note_busy_after(&self, state: &State) {
        self.busy_after_ms.store(state.hub.settings.busy_after_ms, Ordering::Relaxed);
    }

    /// How long a script may hold the database before others are told so: Redis's `busy-reply-threshold`.
    pub(crate) fn busy_after(&self) -> Duration {
        match self.busy_after_ms.load(Ordering::Relaxed) {
            0 => Duration::MAX,
            limit_ms => Duration::from_millis(limit_ms),
        }
    }

    /// Why a command is refused for what was set with `CONFIG SET`, if it is; what a script runs is checked as it runs.
    pub(crate) fn refusal(&self, command: &Command) -> Option<CommandError> {
        let restricted = self.restricted.load(Ordering::Relaxed);
        match restricted {
            0 => None,
            _ if command.is_script() => None,
            _ if restricted & FULL != 0 && command.may_grow() => Some(OUT_OF_MEMORY),
            _ if restricted & WANTS_REPLICAS != 0 && command.effect == Effect::Writes => Some(NO_REPLICAS),
            _ => None,
        }
    }

    /// The part of a commit that concerns the transaction alone.
    fn record(&self, state: &mut State, done: &Done, note: Option<Note>, written: &mut VecDeque<Blob>) -> Lsn {
        let after = if done.journal.is_empty() && note.is_none() {
            state.position_of(done.seen, &self.log)
        } else if done.only_read && self.log.has_failed() {
            // Memory may go ahead of a log that takes nothing more by what any reader would do to it again.
            state.seq += 1;
            // Whoever sees several transactions asks for the newest, so none may stand behind one before it.
            let newest = state.commits.back().map_or(Lsn(0), |&(_, lsn)| lsn);
            let lsn = if done.seen < state.seq { state.position_of(done.seen, &self.log) } else { newest };
            state.commits.push_back((state.seq, lsn.max(newest)));
            lsn
        } else {
            state.seq += 1;
            state.record.clear();
            write_record(self.id, state.seq, note.as_ref(), &done.journal, &mut state.record);
            let lsn = self.log.append(self.durability, &state.record).unwrap_or_else(|error| {
                tracing::error!(database = self.id.0, %error, "a write could not be logged");
                if !self.log.has_failed() {
                    // Memory is ahead of a log that goes on: later records would build on what no restart can find.
                    std::process::abort();
                }
                // Never durable: whoever sees it is told that the log has failed.
                Lsn(u64::MAX)
            });
            state.forget_durable(&self.log);
            state.commits.push_back((state.seq, lsn));
            if let Some(note) = note {
                state.notes.keep(state.seq, note);
            }
            lsn
        };
        for publication in &done.publications {
            state.publish(publication, after);
        }
        if !done.shown.is_empty() {
            state.show(&done.shown, after);
        }
        for touched in &done.touched {
            state.hub.break_watches(touched);
            written.extend(touched.change().map(|(key, _)| key.clone()));
        }
        let told = state.hub.invalidations(&done.touched, done.client);
        state.invalidations.extend(told.into_iter().map(|(client, reply)| (client, reply, after)));
        after
    }

    /// Shows a command that needs no keys to clients that see every one.
    pub fn show(&self, line: impl FnOnce() -> Blob + Send + 'static) {
        self.soon(move |state| {
            if state.hub.is_monitored() {
                state.show(&[line()], Lsn(0));
            }
        });
    }

    /// Removes some of the keys whose deadlines have passed, in memory and in the store, and runs parked commands again whose
    /// time has come. Whether there is more to do.
    pub fn reap(&self, moment: Moment) -> bool {
        self.hold().is_some_and(|mut state| {
            self.retry(&mut state, moment);
            self.reap_held(&mut state, moment)
        })
    }

    fn reap_held(&self, state: &mut State, moment: Moment) -> bool {
        // After the log has failed memory goes ahead of it by this, too: no reader may meet a dead key even then.
        if state.hub.leaves_dead {
            return false;
        }
        let began_us = state.hub.facts.clock_us.filter(|_| state.hub.settings.spike_ms > 0).map(|clock_us| clock_us());
        let due = self.cold_due(state, moment.now_ms());
        let mut nobody = Client::default();
        let cold = self.cold(state);
        let mut txn = Txn::begin(state.parts(&cold, &mut nobody, &Patient, moment), false);
        let reaped_cold = txn.reap_cold(&due.keys);
        let reaped = txn.reap(REAP_KEYS_MAX);
        let done = txn.finish();
        // Those in memory count themselves.
        state.hub.facts.expired += reaped_cold.keys as u64;
        let left = due.places.get(reaped_cold.dealt_with);
        if let Some(next) = left {
            state.reaped_until.clone_from(next);
        }
        if let Some(error) = reaped_cold.failure {
            tracing::error!(database = self.id.0, %error, "a value with dead parts could not be read");
        }
        let more = due.more || left.is_some() || reaped.more;
        self.commit(state, &done, None, moment);
        if let Some((began_us, clock_us)) = began_us.zip(state.hub.facts.clock_us) {
            let took_us = clock_us().saturating_sub(began_us);
            state.hub.note_spike("expire-cycle", took_us, moment.now_ms() / 1_000);
        }
        more
    }

    /// The next cold keys past their deadlines, or with parts that are.
    fn cold_due(&self, state: &mut State, now_ms: u64) -> ColdDue {
        let mut found = ColdDue::default();
        if state.space.cold() == 0 {
            return found;
        }
        let (start, until) = layout::deadlines_until(self.id, state.space.epoch(), now_ms);
        let from = start.max(std::mem::take(&mut state.reaped_until));
        let due = self.store.scan(&from, &until, REAP_KEYS_MAX).unwrap_or_else(|error| {
            tracing::error!(database = self.id.0, %error, "deadlines could not be read");
            Vec::new()
        });
        state.reaped_until = due.last().map_or(from, |(last, _)| [last, &[0][..]].concat());
        found.more = due.len() >= REAP_KEYS_MAX;
        for (place, note) in due {
            if let Ok((due, hash, key)) = layout::split_deadline(&place, &note)
                && state.space.is_cold(hash, key)
            {
                found.keys.push((hash, Blob::from(key), due));
                found.places.push(place.to_vec());
            }
        }
        found
    }

    /// Lets clean keys leave memory, those first that are used least, until about `bytes` are free. Returns how many were
    /// freed.
    pub fn evict(&self, bytes: u64) -> u64 {
        let (mut freed, mut steps) = (0, None);
        let mut is_of_use = true;
        while freed < bytes && steps != Some(0) && is_of_use {
            let shrink = |state: &mut State| {
                is_of_use = state.space.can_shrink();
                if is_of_use {
                    state.space.shrink(EVICT_KEYS_PER_HOLD);
                }
            };
            let Some((resident, freed_now)) = self.free(shrink) else { break };
            // As many rounds as a key may have uses to its credit, and one.
            let left = steps.unwrap_or_else(|| EVICT_ROUNDS * (resident / EVICT_KEYS_PER_HOLD + 1));
            steps = Some(left - 1);
            freed += freed_now;
        }
        freed
    }

    /// Lets every clean key leave memory: nobody has asked for any of them for long.
    pub fn evict_idle(&self) {
        let mut from = 0;
        while self.memory_bytes() > 0 {
            let release = |state: &mut State| from = state.space.release(from, EVICT_KEYS_PER_HOLD);
            if self.free(release).is_none() || from == 0 {
                break;
            }
        }
    }

    /// Lets some keys leave memory, under the lock for once: commands come in between. Returns how many keys there were and
    /// the bytes that came free; `None` if a long script has the database.
    fn free(&self, some: impl FnOnce(&mut State)) -> Option<(usize, u64)> {
        let mut state = self.hold()?;
        let (resident, before) = (state.space.resident(), state.space.memory_bytes() as u64);
        some(&mut state);
        // What was in memory when the search for dead keys went past it may be cold now.
        state.reaped_until.clear();
        let after = state.space.memory_bytes() as u64;
        self.tell_memory(state.space.memory_bytes());
        MutexGuard::unlock_fair(state);
        Some((resident, before.saturating_sub(after)))
    }

    /// Changes what the database says of the server, or its limits.
    pub fn configure(&self, change: impl FnOnce(&mut Hub)) {
        let mut state = self.hold_patiently();
        change(&mut state.hub);
        self.note_busy_after(&state);
    }

    /// How many keys are in memory.
    pub fn resident(&self) -> usize {
        self.hold_patiently().space.resident()
    }

    /// How many keys came from the store since it woke.
    pub fn loads(&self) -> u64 {
        self.hold_patiently().space.loads()
    }

    /// How many keys it has.
    pub fn keys(&self) -> u64 {
        self.hold_patiently().space.len()
    }
}

/// What [`Database::cold_due`] found.
#[derive(Default)]
struct ColdDue {
    keys: Vec<(u64, Blob, Due)>,
    /// Where in the store's index each of them stands.
    places: Vec<Vec<u8>>,
    /// There may be others behind them.
    more: bool,
}

/// Runs a transaction's commands: each has its own reply, and one that fails does not stop the others. An error if the
/// replies would take too much room: the transaction must be taken back then.
fn run_all(txn: &mut Txn<'_>, queue: &[Queued]) -> Outcome {
    txn.forbid_blocking();
    let limit = txn.hub().limits.replies_bytes_max;
    let mut bytes = 0;
    let mut replies = Vec::with_capacity(queue.len());
    for queued in queue {
        if bytes > limit {
            return Err(CommandError::TransactionTooLarge(limit).into());
        }
        let args: Vec<&[u8]> = queued.args.iter().map(Blob::as_slice).collect();
        if let Err(denial) = txn.check(queued.command, &args) {
            let error = txn.refuse_queued(&denial, queued.command);
            replies.push(error.into());
            continue;
        }
        let reply = match txn.run_timed(queued.command, &args) {
            Ok(reply) => reply,
            Err(Stop::Error(error)) => error.into(),
            Err(stop) => return Err(stop),
        };
        bytes += reply.bytes();
        replies.push(reply);
    }
    Ok(Reply::Array(replies))
}

/// How work is to be run.
struct How<'a> {
    moment: Moment,
    watchdog: &'a dyn Watchdog,
    undoable: bool,
    /// If it must not run twice.
    once: Option<&'a Arc<Once>>,
}

impl State {
    /// The note of work that has run to an answer; that is left out if it is secret.
    fn note(&self, once: &Once, outcome: &Outcome, is_secret: bool, moment: Moment) -> Option<Note> {
        let (now_ms, mut limits) = (moment.now_ms(), self.notes.limits);
        if is_secret {
            limits.answer_bytes_max = 0;
        }
        match outcome {
            Ok(reply) => Note::of(once, reply, now_ms, &limits),
            Err(Stop::Error(error)) => Note::of(once, &error.clone().into(), now_ms, &limits),
            Err(Stop::Block(_) | Stop::Aborted | Stop::Unfinished(_)) => None,
        }
    }

    pub(crate) fn parts<'a>(
        &'a mut self,
        source: &'a dyn Source,
        client: &'a mut Client,
        watchdog: &'a dyn Watchdog,
        moment: Moment,
    ) -> Parts<'a> {
        let seq = self.seq + 1;
        Parts { space: &mut self.space, source, hub: &mut self.hub, client, watchdog, moment, seq }
    }

    /// Uses up a sequence number without a record. Who sees it depends on what was there before.
    pub(crate) fn skip_seq(&mut self) {
        self.seq += 1;
        let newest = self.commits.back().map_or(Lsn(0), |&(_, lsn)| lsn);
        self.commits.push_back((self.seq, newest));
    }

    fn forget_durable(&mut self, log: &Log) {
        let durable = log.durable();
        while self.commits.front().is_some_and(|&(_, lsn)| lsn <= durable) {
            self.commits.pop_front();
        }
    }

    /// Where in the log a transaction is, if it may not be on disk yet.
    fn position_of(&mut self, seq: u64, log: &Log) -> Lsn {
        let Some(&(oldest, _)) = self.commits.front() else { return Lsn(0) };
        if seq < oldest {
            return Lsn(0);
        }
        self.forget_durable(log);
        let Some(&(oldest, _)) = self.commits.front() else { return Lsn(0) };
        let at = seq.checked_sub(oldest).and_then(|at| self.commits.get(at as usize));
        at.map_or(Lsn(0), |&(_, lsn)| lsn)
    }

    /// Whether a client is there that can be told what comes later.
    pub(crate) fn is_connected(&self, client: ClientId) -> bool {
        self.outboxes.contains_key(&client)
    }

    fn newest(&mut self, log: &Log) -> Lsn {
        self.position_of(self.seq, log)
    }

    /// Whether a key the client watches has changed, or has died since. It may have left memory meanwhile.
    fn watches_broken(&mut self, client: &Client, moment: Moment, cold: &Cold<'_>) -> bool {
        let space = &mut self.space;
        let mut died = |(key, was_dead): &(Blob, bool)| {
            let hash = hash(key);
            // A key that cannot be read cannot be vouched for.
            let lost = space.load(hash, key, cold).is_err();
            let dead =
                |entry: &dormouse_engine::Entry| entry.value.is_some() && entry.alive_at(moment.now_ms()).is_none();
            !was_dead && (lost || space.find(hash, key).is_some_and(dead))
        };
        self.hub.is_broken(client.id) || client.watching.iter().any(&mut died)
    }

    /// Sends lines to clients that see every command.
    fn show(&self, lines: &[Blob], after: Lsn) {
        for outbox in self.hub.monitors.iter().filter_map(|id| self.outboxes.get(id)) {
            for line in lines {
                outbox.deliver(Delivery::Push { reply: Reply::Status(line.clone()), after });
            }
        }
    }

    /// Ends the connections that somebody has asked to end.
    fn close_killed(&mut self) {
        for outbox in std::mem::take(&mut self.hub.killed).iter().filter_map(|id| self.outboxes.get(id)) {
            outbox.close();
        }
    }

    fn publish(&self, publication: &Publication, after: Lsn) {
        let Publication { channel, message, sharded } = publication;
        let bulk = |blob: &Blob| Reply::Bulk(blob.clone());
        if *sharded {
            for outbox in self.hub.shard_recipients(channel).filter_map(|id| self.outboxes.get(&id)) {
                let reply = Reply::Push(vec![Reply::bulk("smessage"), bulk(channel), bulk(message)]);
                outbox.deliver(Delivery::Push { reply, after });
            }
            return;
        }
        for (id, pattern) in self.hub.recipients(channel) {
            let Some(outbox) = self.outboxes.get(&id) else { continue };
            let reply = match &pattern {
                Some(pattern) => vec![Reply::bulk("pmessage"), bulk(pattern), bulk(channel), bulk(message)],
                None => vec![Reply::bulk("message"), bulk(channel), bulk(message)],
            };
            outbox.deliver(Delivery::Push { reply: Reply::Push(reply), after });
        }
    }

    /// Tells clients what they must no longer believe. Whoever did it has its reply first.
    fn send_invalidations(&mut self) {
        for (client, reply, after) in self.invalidations.drain(..) {
            if let Some(outbox) = self.outboxes.get(&client) {
                outbox.deliver(Delivery::Push { reply, after });
            }
        }
    }
}
