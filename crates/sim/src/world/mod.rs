//! One simulated life of a data directory: what happens, in an order that a seed decides, and whether it may have happened.
//!
//! Each step either lets a client run something, or time pass, or housekeeping be done, or the disk fail, or the process end.
//! Replies wait for the log here as they do at a door. See the crate's text for what the judge demands.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use dormouse_database::{Account, Delivery, Once, Options, Outbox, Repeat, Service, Session, Step, Unparked};
use dormouse_engine::{Client, Door, Effect, Facts, Grant, Limits, Moment, Patient, Random, find};
use dormouse_proto::{CommandError, Reply};
use dormouse_storage::{Durability, Fault, FaultyDisk, LogOptions, Lsn, Store};
use dormouse_testkit::differential::{Compare, alike, compare_of, same, subject};
use dormouse_testkit::door::as_resp2;
use dormouse_testkit::reply_text;

use crate::commands::Commands;
use crate::model::{Model, Words};
use crate::{Mutant, SimStore};

mod judge;

/// Microseconds since the Unix epoch at which every life begins.
const BEGINNING_US: u64 = 1_700_000_000_000_000;
/// Databases there may be at once.
const DATABASES_MAX: usize = 4;
/// How often a start is tried on a disk that goes on failing.
const STARTS_MAX: usize = 8;
/// The name of the first database.
const FIRST: &str = "default";
const TOKEN: &str = "a-token-for-tests";

/// A seed on which something was not as it must be.
#[derive(Debug)]
pub struct Failure {
    /// The seed.
    pub seed: u64,
    /// What happened, step by step.
    pub trace: Vec<String>,
    /// What was wrong.
    pub what: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        for line in &self.trace {
            writeln!(out, "{line}")?;
        }
        write!(out, "seed {}: {}", self.seed, self.what)
    }
}

/// What a life was like.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Commands and transactions that were answered.
    pub commands: u64,
    /// Ends of the process, and how many of them took the machine's power along.
    pub crashes: u64,
    /// Those that did.
    pub power_cuts: u64,
    /// Log records that were not there after a crash, none of which had been shown.
    pub records_lost: u64,
    /// Failed reads, writes, syncs, renames and checkpoints.
    pub faults: u64,
    /// Starts that failed because the disk did, and were made again.
    pub starts_failed: u64,
    /// Checkpoints that were made.
    pub checkpoints: u64,
    /// Databases that fell asleep.
    pub slept: u64,
    /// Requests that were sent again under their key and did not run again.
    pub repeats: u64,
    /// Databases that were made from backups.
    pub restored: u64,
    /// A digest of all that happened and of what the disk and the store held in the end.
    pub digest: u64,
}

thread_local! {
    /// What passes for chance where no generator can be handed on.
    static CHANCE: RefCell<Random> = const { RefCell::new(Random::new(0)) };
}

fn not_entropy(bytes: &mut [u8]) {
    for byte in bytes {
        *byte = drawn() as u8;
    }
}

fn drawn() -> u64 {
    CHANCE.with_borrow_mut(Random::next_u64)
}

/// The models' own, which is not asked for anything that shows.
fn no_entropy(bytes: &mut [u8]) {
    bytes.fill(7);
}

/// Commands that ran as one.
#[derive(Clone, Debug)]
struct Ran {
    commands: Vec<Words>,
    together: bool,
    moment: Moment,
    /// The newest record of the log when it was done.
    lsn: Lsn,
    /// Whether one of its own is among them.
    wrote: bool,
    shown: bool,
    replies: Vec<Reply>,
}

/// A request that runs once.
#[derive(Clone, Debug)]
struct Noted {
    key: Vec<u8>,
    command: Words,
    answer: Vec<u8>,
    lsn: Lsn,
}

/// A database, and what it should be.
struct Slot {
    name: String,
    /// The record that made it, and whether somebody was told.
    made: (Lsn, bool),
    /// The record that removed it, likewise.
    removed: Option<(Lsn, bool)>,
    /// The log failed while it was made or removed: nobody knows which it is until the next start.
    in_doubt: bool,
    model: Model,
    ran: Vec<Ran>,
    notes: Vec<Noted>,
    requests: u64,
}

impl Slot {
    fn new(name: &str, made: Lsn, shown: bool) -> Self {
        let (name, model) = (name.to_owned(), Model::new(no_entropy));
        let (ran, notes, requests) = (Vec::new(), Vec::new(), 0);
        Self { name, made: (made, shown), removed: None, in_doubt: !shown, model, ran, notes, requests }
    }

    fn is_there(&self) -> bool {
        self.removed.is_none() && !self.in_doubt
    }
}

/// A reply on its way: it is shown when `after` is durable.
struct Waiting {
    after: Lsn,
    slot: usize,
    /// Which of the slot's commands, if it was run now.
    ran: Option<usize>,
}

/// Where out-of-band replies go: nobody asks for any here.
struct Nowhere;

impl Outbox for Nowhere {
    fn deliver(&self, _: Delivery) {}
}

struct World {
    random: Random,
    commands: Commands,
    mutant: Option<Mutant>,
    durability: Durability,
    memory_bytes_max: u64,
    disk: FaultyDisk,
    store: Arc<SimStore>,
    service: Option<Arc<Service>>,
    slots: Vec<Slot>,
    waiting: VecDeque<Waiting>,
    now_us: u64,
    /// On disk whatever was asked for.
    synced: Lsn,
    reads_fail_for: u64,
    report: Report,
    trace: Vec<String>,
}

type Verdict<T = ()> = Result<T, String>;

/// Lives the life that a seed names, of about so many steps.
///
/// ```
/// let report = dormouse_sim::run(1, 100, None).unwrap();
/// assert_eq!(report, dormouse_sim::run(1, 100, None).unwrap(), "one seed, one life");
/// ```
pub fn run(seed: u64, steps: u64, mutant: Option<Mutant>) -> Result<Report, Failure> {
    CHANCE.set(Random::new(seed ^ 0x5eed));
    let mut world = World::new(seed, mutant);
    let lived = world.live(steps);
    let World { trace, mut report, disk, store, .. } = world;
    match lived {
        Ok(()) => {
            let all = (trace, disk.digest(), store.digest());
            report.digest = dormouse_engine::hash(format!("{all:?}").as_bytes());
            Ok(report)
        }
        Err(what) => Err(Failure { seed, trace, what }),
    }
}

impl World {
    fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let mut random = Random::new(seed);
        let durability = match random.below(8) {
            0 => Durability::EverySec,
            1 => Durability::None,
            _ => Durability::Always,
        };
        let disk = FaultyDisk::default();
        if mutant == Some(Mutant::SyncLies) {
            disk.lie();
        }
        Self {
            commands: Commands::new(seed),
            mutant,
            durability,
            memory_bytes_max: [4 << 10, 16 << 10, 1 << 30][random.below(3) as usize],
            random,
            disk,
            store: Arc::new(SimStore::new(mutant)),
            service: None,
            slots: Vec::new(),
            waiting: VecDeque::new(),
            now_us: BEGINNING_US,
            synced: Lsn(0),
            reads_fail_for: 0,
            report: Report::default(),
            trace: Vec::new(),
        }
    }

    fn live(&mut self, steps: u64) -> Verdict {
        self.note(&format!("durability {:?}, memory {}", self.durability, self.memory_bytes_max));
        self.service = Some(Arc::new(self.open().map_err(|error| format!("the first start failed: {error}"))?));
        self.slots.push(Slot::new(FIRST, Lsn(0), true));
        for _ in 0..steps {
            self.step()?;
            self.deliver();
        }
        self.end()
    }

    fn note(&mut self, line: &str) {
        self.trace.push(format!("{:>10.3} {line}", (self.now_us - BEGINNING_US) as f64 / 1e3));
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.random.below(bound)
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.random.below(n) == 0
    }

    fn service(&self) -> &Arc<Service> {
        self.service.as_ref().expect("it is open but within a crash")
    }

    fn moment(&mut self) -> Moment {
        Moment { now_us: self.now_us, seed: self.random.next_u64() }
    }

    fn open(&mut self) -> Result<Service, dormouse_database::Error> {
        let options = Options {
            dir: PathBuf::from("/data"),
            durability: self.durability,
            memory_bytes_max: self.memory_bytes_max,
            entropy: not_entropy,
            token: Some(TOKEN.to_owned()),
            read_only_token: None,
            limits: Limits::default(),
            facts: Facts::default(),
        };
        let mut log = LogOptions::default();
        log.segment_bytes = 16 << 10;
        log.pending_bytes_max = 8 << 10;
        log.disk = Arc::new(self.disk.clone());
        log.own_threads = false;
        log.random = drawn;
        let moment = self.moment();
        Service::open_on(&options, Arc::clone(&self.store) as Arc<dyn Store>, log, moment)
    }

    // --- what happens ----------------------------------------------------------------------------------------------

    fn step(&mut self) -> Verdict {
        self.reads_fail_for = self.reads_fail_for.saturating_sub(1);
        self.store.fail_reads(self.reads_fail_for > 0);
        match self.below(1_000) {
            0..600 => {
                let now_ms = self.now_us / 1_000;
                let command = self.commands.one(&mut self.random, now_ms);
                self.clients(vec![command], false)
            }
            600..650 => {
                let now_ms = self.now_us / 1_000;
                let commands = self.commands.several(&mut self.random, now_ms);
                self.clients(commands, true)
            }
            650..680 => self.once(),
            680..800 => {
                let did = self.service().log().turn();
                if did {
                    self.note("the log does a piece of its work");
                }
                Ok(())
            }
            800..860 => {
                self.pass();
                Ok(())
            }
            860..885 => {
                self.checkpoint();
                Ok(())
            }
            885..920 => {
                self.memory();
                Ok(())
            }
            920..940 => {
                self.reap();
                Ok(())
            }
            940..952 => self.databases(),
            952..960 => self.look(),
            960..975 => {
                self.break_something();
                Ok(())
            }
            975..980 => {
                if self.service().log().sync().is_ok() {
                    self.synced = self.service().log().last();
                }
                Ok(())
            }
            _ => self.crash(),
        }
    }

    fn pass(&mut self) {
        let ms = match self.below(12) {
            0 => 10_000 + self.below(100_000),
            1..4 => self.below(2_000),
            _ => self.below(50),
        };
        self.now_us += ms * 1_000 + self.below(1_000);
    }

    fn checkpoint(&mut self) {
        let last = self.service().log().last();
        let made = self.service().checkpoint();
        match &made {
            Ok(keys) => {
                self.synced = last;
                self.report.checkpoints += 1;
                self.note(&format!("a checkpoint of {keys} keys"));
            }
            Err(error) => self.note(&format!("a checkpoint fails: {error}")),
        }
    }

    fn memory(&mut self) {
        let before = self.service().databases().len();
        match self.below(4) {
            0 => self.service().databases().iter().for_each(|database| database.evict_idle()),
            1 => {
                let bytes = self.below(4_000);
                self.service().databases().iter().for_each(|database| {
                    database.evict(bytes);
                });
            }
            2 => drop(self.service().relieve()),
            _ => {
                // Mostly so that whatever is clean falls asleep.
                let idle_ms = self.below(3) * 20;
                self.service().rest((self.now_us / 1_000).saturating_sub(idle_ms) + 1);
            }
        }
        let asleep = before - self.service().databases().len();
        self.report.slept += asleep as u64;
        self.note(&format!("memory is freed; {asleep} databases fall asleep"));
    }

    fn reap(&mut self) {
        for database in self.service().databases() {
            let moment = self.moment();
            database.reap(moment);
        }
        self.note("dead keys are removed");
    }

    fn break_something(&mut self) {
        let (soon, fault) = (1 + self.below(12), if self.one_in(2) { Fault::Torn } else { Fault::Refused });
        let line = match self.below(5) {
            0 => {
                self.disk.fail_at(self.disk.operations() + soon, fault);
                format!("the disk will fail for good, {fault:?} at the {soon}. change from here")
            }
            1 => {
                self.disk.fail_once_at(self.disk.operations() + soon, fault);
                format!("the disk will fail once, {fault:?} at the {soon}. change from here")
            }
            2 => {
                let soon = 1 + soon % 3;
                self.store.fail_apply_at(self.store.applies() + soon);
                format!("the store will fail at the {soon}. batch from here")
            }
            _ => {
                self.reads_fail_for = soon;
                format!("reads of the store fail for {soon} steps")
            }
        };
        self.report.faults += 1;
        self.note(&line);
    }

    // --- clients -----------------------------------------------------------------------------------------------------

    /// One of the databases that are there.
    fn slot(&mut self) -> usize {
        let there: Vec<usize> = (0..self.slots.len()).filter(|&slot| self.slots[slot].is_there()).collect();
        there[self.random.below(there.len() as u64) as usize]
    }

    /// A client of a database; none if the catalogue cannot be read.
    fn session(&mut self, slot: usize) -> Verdict<Option<Session>> {
        let service = Arc::clone(self.service());
        let account = if slot == 0 {
            service.default_account()
        } else {
            match self.account(slot) {
                Ok(account) => account,
                Err(_) if self.reads_fail_for > 0 => return Ok(None),
                Err(what) => return Err(what),
            }
        };
        let client = Client::new(service.next_client(), Door::Resp, Grant::Full);
        let mut session = Session::connection(&service, client, Arc::new(Nowhere));
        session.enter(account);
        Ok(Some(session))
    }

    fn account(&self, slot: usize) -> Verdict<Account> {
        let (service, name) = (self.service(), &self.slots[slot].name);
        let listing = service.named(name).map_err(|error| format!("database '{name}' is not there: {error}"))?;
        let account = service.authenticate(listing.credentials.token.as_bytes());
        account.ok().flatten().ok_or_else(|| format!("the token of database '{name}' does not open it"))
    }

    fn clients(&mut self, commands: Vec<Words>, together: bool) -> Verdict {
        let slot = self.slot();
        self.client(slot, commands, together, None)
    }

    /// Somebody sends a request that must not run twice, or one of them again.
    fn once(&mut self) -> Verdict {
        let slot = self.slot();
        let kept = self.slots[slot].notes.len() as u64;
        let (key, command) = if kept > 0 && self.one_in(2) {
            let Noted { key, command, .. } = self.slots[slot].notes[self.random.below(kept) as usize].clone();
            (key, command)
        } else {
            let command = self.commands.one(&mut self.random, self.now_us / 1_000);
            self.slots[slot].requests += 1;
            (format!("{} {}", self.slots[slot].requests, self.report.crashes).into_bytes(), command)
        };
        self.client(slot, vec![command], false, Some(key))
    }

    fn client(&mut self, slot: usize, commands: Vec<Words>, together: bool, key: Option<Vec<u8>>) -> Verdict {
        if self.reads_fail_for > 0 && commands.iter().any(is_script) {
            // What it did before it met what cannot be read, stays, as in Redis; the model cannot know how far it came.
            return Ok(());
        }
        let Some(mut session) = self.session(slot)? else { return Ok(()) };
        let texts: Vec<String> = commands.iter().map(|command| reply_text::command(command)).collect();
        let once = if key.is_some() { "once " } else { "" };
        let joined = texts.join(if together { " ; " } else { "" });
        self.note(&format!("{} {once}> {joined}", self.slots[slot].name));
        let moment = self.moment();
        if let Some(key) = key.clone().filter(|_| runs_once(&commands[0])) {
            let answer = Box::new(|reply: &Reply| reply_text::text(reply).into_bytes());
            session.once = Some(Arc::new(Once { key, request: 1, answer }));
        }
        let before = self.service().log().last();
        let Some(step) = send(&mut session, &commands, together, moment)? else { return Ok(()) };
        let (reply, after) = match step {
            Step::Reply { reply, after } => (reply, after),
            Step::Repeat(repeat) => return self.repeated(slot, key.as_deref(), repeat),
            step => return Err(format!("neither a reply nor a repeat: {step:?}")),
        };
        let last = self.service().log().last();
        // A read may have removed dead keys first; or it writes what it counted (PFCOUNT).
        let writes = commands.iter().any(|command| effect(command) != Some(Effect::Reads));
        self.trace.push(format!("{:>12} {} [{} after {}]", "", reply_text::text(&reply), last.0, after.0));
        if matches!(reply, Reply::Error(CommandError::StoreFailed | CommandError::LogFailed)) {
            return self.refused(&reply, before, if writes { last } else { before });
        }
        if let Some(key) = &key
            && session.once.is_some()
            && let Some(noted) = self.slots[slot].notes.iter().find(|noted| noted.key == *key)
        {
            return Err(format!("it ran again, though it was answered with {}", noted.answer.escape_ascii()));
        }
        let mut commands = drawn_by_chance(commands, &reply);
        let mut replies: Vec<Reply> = match &reply {
            Reply::Array(items) if together => items.iter().flat_map(as_resp2).collect(),
            reply => as_resp2(reply),
        };
        if let (true, Reply::Array(items)) = (together && self.reads_fail_for > 0, &reply) {
            // Those that could not read what they needed did nothing.
            let failed = Reply::Error(CommandError::StoreFailed);
            let did: Vec<bool> = items.iter().map(|item| *item != failed).collect();
            commands.only(&did);
            replies = items.iter().filter(|item| **item != failed).flat_map(as_resp2).collect();
        }
        let expected = self.slots[slot].model.run(&commands.run, together, moment);
        compare(&commands.sent, &replies, &expected)?;
        // What a log that has failed did not take is in memory, and will not be there.
        let lost = after == Lsn(u64::MAX);
        let lsn = if lost { after } else { last };
        let wrote = lost || (last > before && (writes || after == last));
        if let (true, Some(key)) = (wrote && session.once.is_some(), key) {
            let (command, answer) = (commands.sent[0].clone(), reply_text::text(&reply).into_bytes());
            self.slots[slot].notes.push(Noted { key, command, answer, lsn });
        }
        let ran = Ran { commands: commands.run, together, moment, lsn, wrote, shown: false, replies };
        let ran = Ran { replies: if commands.by_chance { expected } else { ran.replies }, ..ran };
        self.slots[slot].ran.push(ran);
        let ran = Some(self.slots[slot].ran.len() - 1);
        self.report.commands += 1;
        self.waiting.push_back(Waiting { after, slot, ran });
        Ok(())
    }

    /// The disk did not do its part: then nothing was done.
    fn refused(&mut self, reply: &Reply, before: Lsn, last: Lsn) -> Verdict {
        let has_failed = self.service().log().has_failed();
        let may = match reply {
            Reply::Error(CommandError::LogFailed) => has_failed,
            _ => self.reads_fail_for > 0,
        };
        if !may {
            return Err("refused, though nothing has failed".to_owned());
        }
        // A dead key that it met on its way may have been removed; anything else shows when the database is looked at.
        if last.0 > before.0 + 1 && !has_failed {
            return Err(format!("refused, but records {} to {} were logged", before.0 + 1, last.0));
        }
        Ok(())
    }

    fn repeated(&mut self, slot: usize, key: Option<&[u8]>, repeat: Repeat) -> Verdict {
        let noted = self.slots[slot].notes.iter().find(|noted| Some(noted.key.as_slice()) == key);
        match (repeat, noted) {
            (Repeat::Answer { answer: Some(answer), after }, Some(noted)) if answer == noted.answer => {
                self.report.repeats += 1;
                self.waiting.push_back(Waiting { after, slot, ran: None });
                Ok(())
            }
            (repeat, noted) => Err(format!("a repeat {repeat:?} of {noted:?}")),
        }
    }

    /// Shows the replies whose time has come.
    fn deliver(&mut self) {
        let log = self.service().log();
        if self.durability != Durability::Always {
            log.write_out();
        }
        let durable = log.durable();
        let slots = &mut self.slots;
        let early = self.mutant == Some(Mutant::ShowsEarly);
        self.waiting.retain(|waiting| {
            let waits = waiting.after > durable && !early;
            if let (false, Some(ran)) = (waits, waiting.ran) {
                slots[waiting.slot].ran[ran].shown = true;
            }
            waits
        });
    }

    // --- databases ---------------------------------------------------------------------------------------------------

    /// Makes, removes or copies one.
    fn databases(&mut self) -> Verdict {
        if self.reads_fail_for > 0 || self.service().log().has_failed() {
            return Ok(());
        }
        let there = self.slots.iter().filter(|slot| slot.is_there()).count();
        let name = format!("db{}", self.slots.len());
        let moment = self.moment();
        match self.below(3) {
            0 if there < DATABASES_MAX => {
                let made = self.service().create(&name, moment).is_ok();
                self.note(&format!("database '{name}' is made: {made}"));
                let slot = Slot::new(&name, self.catalogued(made), made);
                self.add(slot);
            }
            1 if there < DATABASES_MAX => self.copy(&name, moment),
            2 if there > 1 => {
                let slot = self.slot();
                if slot > 0 {
                    let name = self.slots[slot].name.clone();
                    let removed = self.service().delete(&name).is_ok();
                    self.note(&format!("database '{name}' is removed: {removed}"));
                    if !removed && !self.service().log().has_failed() {
                        return Err("it is not removed, though nothing has failed".to_owned());
                    }
                    self.slots[slot].removed = Some((self.catalogued(removed), removed));
                    self.slots[slot].in_doubt = !removed;
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Where in the log a change of the catalogue is that was just made, or tried.
    fn catalogued(&mut self, done: bool) -> Lsn {
        let last = self.service().log().last();
        if done {
            self.synced = last;
        }
        last
    }

    /// A backup, and a database made of it.
    fn copy(&mut self, name: &str, moment: Moment) {
        let from = self.slot();
        let mut bytes = Vec::new();
        let source = self.slots[from].name.clone();
        if let Err(error) = self.service().backup(&source, moment, &mut bytes) {
            self.note(&format!("a backup of '{source}' fails: {error}"));
            return;
        }
        let restored = self.service().restore(name, None, moment, &mut bytes.as_slice());
        self.note(&format!("'{source}' is copied to '{name}' by a backup: {}", restored.is_ok()));
        let done = restored.is_ok();
        let lsn = self.catalogued(done);
        let mut slot = Slot::new(name, lsn, done);
        let kept = |ran: &&Ran| ran.wrote && ran.lsn <= lsn;
        slot.ran =
            self.slots[from].ran.iter().filter(kept).map(|ran| Ran { lsn, shown: done, ..ran.clone() }).collect();
        slot.ran.iter().for_each(|ran| drop(slot.model.run(&ran.commands, ran.together, ran.moment)));
        self.report.restored += u64::from(done);
        self.add(slot);
    }

    fn add(&mut self, slot: Slot) {
        // What could not be made for want of the store is not there; if the log failed, the next start knows.
        if !slot.in_doubt || self.service().log().has_failed() {
            self.slots.push(slot);
        }
    }

    // --- ends and beginnings -----------------------------------------------------------------------------------------

    /// The process ends here, and another begins; perhaps not at once.
    fn crash(&mut self) -> Verdict {
        let powerless = self.one_in(2);
        self.deliver();
        self.report.crashes += 1;
        self.report.power_cuts += u64::from(powerless);
        let last = self.service().log().last();
        self.note(&format!("the {} at record {}", if powerless { "power goes" } else { "process is killed" }, last.0));
        self.leave(powerless);
        let powerless = self.come_back()? || powerless;
        let cut = self.service().log().recovery().last;
        self.report.records_lost += last.0.saturating_sub(cut.0);
        self.note(&format!("it is back with records up to {}", cut.0));
        self.judge(cut, powerless)
    }

    /// What is left of disk and store is all that the next process has.
    fn leave(&mut self, powerless: bool) {
        self.waiting.clear();
        self.reads_fail_for = 0;
        let left = if powerless { self.disk.power_cut(self.random.next_u64()) } else { self.disk.process_killed() };
        self.store = Arc::new(self.store.reopened(&mut self.random));
        if self.mutant == Some(Mutant::SyncLies) {
            left.lie();
        }
        // What it still writes as it goes, nobody reads.
        drop(self.service.take());
        self.disk = left;
    }

    /// Starts until it comes up; whether the power went meanwhile.
    fn come_back(&mut self) -> Verdict<bool> {
        let mut went = false;
        for attempt in 0..STARTS_MAX {
            let troubled = attempt + 1 < STARTS_MAX && self.one_in(4);
            if troubled {
                self.trouble();
            }
            let opened = self.open();
            self.store.fail_reads(false);
            match opened {
                Ok(service) => {
                    self.service = Some(Arc::new(service));
                    return Ok(went);
                }
                Err(error) if troubled => {
                    self.note(&format!("a start fails: {error}"));
                    self.report.starts_failed += 1;
                    let powerless = self.one_in(2);
                    went |= powerless;
                    self.leave(powerless);
                }
                Err(error) => return Err(format!("it does not start: {error}")),
            }
        }
        Err("it does not start".to_owned())
    }

    /// Something fails while it starts.
    fn trouble(&mut self) {
        let soon = 1 + self.below(8);
        match self.below(4) {
            0 => self.disk.fail_read_at(self.disk.reads() + soon),
            1 => self.store.fail_reads(true),
            2 => self.store.fail_apply_at(self.store.applies() + 1),
            _ => self.disk.fail_at(self.disk.operations() + soon, Fault::Torn),
        }
    }

    /// A stop in order, a start, and a last look; counts, too.
    fn end(&mut self) -> Verdict {
        if self.service().log().has_failed() {
            return self.crash();
        }
        self.deliver();
        self.reads_fail_for = 0;
        self.store.fail_reads(false);
        let closed = self.service().close();
        self.note(&format!("it is stopped: {closed:?}"));
        let last = self.service().log().last();
        self.leave(false);
        self.service = Some(Arc::new(self.open().map_err(|error| format!("it does not start: {error}"))?));
        let cut = self.service().log().recovery().last;
        if closed.is_ok() && cut < last {
            return Err(format!("closed in order at record {}, and opened at {}", last.0, cut.0));
        }
        self.judge(cut, false)?;
        self.count()
    }
}

/// Sends commands, and waits for nothing. `None` if a transaction was not accepted.
fn send(session: &mut Session, commands: &[Words], together: bool, moment: Moment) -> Verdict<Option<Step>> {
    let say = |session: &mut Session, command: &[&[u8]]| match session.command(command, moment, &Patient) {
        Step::Parked { ticket, .. } => match session.unpark(ticket) {
            Unparked::Reply { reply, after } => Ok(Step::Reply { reply, after }),
            _ => Err("nobody else could have answered".to_owned()),
        },
        Step::Long(job) => {
            let account = session.account().cloned().ok_or("only a database has long work")?;
            let (job, ran) = Session::run_long(&account, job, moment, &Patient);
            Ok(session.resume(job, ran))
        }
        step => Ok(step),
    };
    if !together {
        let args: Vec<&[u8]> = commands[0].iter().map(Vec::as_slice).collect();
        return say(session, &args).map(Some);
    }
    say(session, &[b"MULTI"])?;
    let mut is_fine = true;
    for command in commands {
        let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
        let step = say(session, &args)?;
        is_fine &= matches!(step, Step::Reply { reply: Reply::Status(_), .. });
    }
    let step = say(session, &[b"EXEC"])?;
    if is_fine {
        return Ok(Some(step));
    }
    match step {
        Step::Reply { reply: Reply::Error(_), .. } => Ok(None),
        step => Err(format!("a transaction ran that had an error in it: {step:?}")),
    }
}

fn compare(commands: &[Words], replies: &[Reply], expected: &[Reply]) -> Verdict {
    if replies.len() != expected.len() {
        return Err(format!("{} replies, the model has {}", replies.len(), expected.len()));
    }
    for (at, (reply, expected)) in replies.iter().zip(expected).enumerate() {
        let command = commands.get(at).or(commands.last()).map_or(&[][..], Vec::as_slice);
        let fine = match compare_of(subject(command)) {
            Compare::Payload => matches!((reply, expected), (Reply::Bulk(_), Reply::Bulk(_))) || reply == expected,
            Compare::Chance if command[0] == b"SPOP" => true,
            Compare::Chance => alike(reply, expected),
            compare => same(compare, reply, expected),
        };
        if !fine {
            return Err(format!("the model says\n{}", reply_text::text(expected)));
        }
    }
    Ok(())
}

/// Whether a request is one that a key keeps from running twice here.
fn runs_once(command: &Words) -> bool {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    find(&args).is_ok_and(|found| found.command.effect != Effect::Reads && !found.command.may_block())
}

fn effect(command: &Words) -> Option<Effect> {
    let args: Vec<&[u8]> = command.iter().map(Vec::as_slice).collect();
    find(&args).ok().map(|found| found.command.effect)
}

/// What was sent, and what it comes to where members were drawn by chance: the model takes the same ones.
struct Drawn {
    sent: Vec<Words>,
    run: Vec<Words>,
    by_chance: bool,
}

impl Drawn {
    fn only(&mut self, which: &[bool]) {
        for commands in [&mut self.sent, &mut self.run] {
            let mut which = which.iter();
            commands.retain(|_| which.next() == Some(&true));
        }
    }
}

fn is_script(command: &Words) -> bool {
    [b"EVAL".as_slice(), b"FCALL", b"FCALL_RO"].contains(&command[0].as_slice())
}

fn drawn_by_chance(sent: Vec<Words>, reply: &Reply) -> Drawn {
    let is_drawn = sent.len() == 1 && sent[0][0] == b"SPOP" && !matches!(reply, Reply::Error(_));
    if !is_drawn {
        return Drawn { run: sent.clone(), sent, by_chance: is_drawn };
    }
    let members: Vec<Vec<u8>> = as_resp2(reply)
        .iter()
        .flat_map(|reply| match reply {
            Reply::Array(items) => items.clone(),
            reply => vec![reply.clone()],
        })
        .filter_map(|item| if let Reply::Bulk(member) = item { Some(member.to_vec()) } else { None })
        .collect();
    let mut command = vec![b"SREM".to_vec(), sent[0][1].clone()];
    command.extend(members);
    let run = if command.len() > 2 { command } else { vec![b"EXISTS".to_vec(), sent[0][1].clone()] };
    Drawn { sent, run: vec![run], by_chance: is_drawn }
}

impl std::ops::AddAssign for Report {
    fn add_assign(&mut self, other: Self) {
        self.commands += other.commands;
        self.crashes += other.crashes;
        self.power_cuts += other.power_cuts;
        self.records_lost += other.records_lost;
        self.faults += other.faults;
        self.starts_failed += other.starts_failed;
        self.checkpoints += other.checkpoints;
        self.slept += other.slept;
        self.repeats += other.repeats;
        self.restored += other.restored;
        self.digest ^= other.digest;
    }
}
