//! Each change and each read of the disk and of the store fails in turn, with clients at work above.
//!
//! What is claimed each time: writes are refused with the error that the documentation names and reads go on, unless what
//! failed can be done without; nothing that was acknowledged is missing after the next start; and what failed once while
//! reading works when it is asked for again.

use std::path::PathBuf;
use std::sync::Arc;

use dormouse_database::{Delivery, Options, Outbox, Service, Session, Step, Unparked};
use dormouse_engine::{Client, Door, Facts, Grant, Limits, Moment, Patient, Random};
use dormouse_proto::{CommandError, Reply};
use dormouse_sim::SimStore;
use dormouse_storage::{Durability, Fault, FaultyDisk, LogOptions, Lsn};

const WRITES: u64 = 40;
const KEYS: u64 = 7;
/// So that the log has several segments.
const VALUE_BYTES: usize = 1_200;
const REFUSED: &str =
    "MISCONF Errors writing to the commit log. Writes are refused until the server is restarted; see its log.";
const UNREADABLE: &str = "ERR stored data could not be read; see the server's log";

struct Nowhere;

impl Outbox for Nowhere {
    fn deliver(&self, _: Delivery) {}
}

struct Bed {
    disk: FaultyDisk,
    store: Arc<SimStore>,
    service: Arc<Service>,
}

fn entropy(bytes: &mut [u8]) {
    bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8);
}

impl Bed {
    fn new() -> Self {
        Self::open(FaultyDisk::default(), Arc::new(SimStore::new(None))).unwrap()
    }

    fn open(disk: FaultyDisk, store: Arc<SimStore>) -> Result<Self, dormouse_database::Error> {
        let options = Options {
            dir: PathBuf::from("/data"),
            durability: Durability::Always,
            memory_bytes_max: 1 << 30,
            entropy,
            token: Some("a-token-for-tests".to_owned()),
            read_only_token: Some("another-token-for-tests".to_owned()),
            limits: Limits::default(),
            facts: Facts::default(),
        };
        let mut log = LogOptions::default();
        log.segment_bytes = 12 << 10;
        log.disk = Arc::new(disk.clone());
        log.own_threads = false;
        let moment = Moment { now_us: 1_700_000_000_000_000, seed: 1 };
        let service = Service::open_on(&options, Arc::clone(&store) as _, log, moment)?;
        Ok(Self { disk, store, service: Arc::new(service) })
    }

    /// A reply and what it depends on.
    fn run(&self, args: &[&[u8]]) -> (Reply, Lsn) {
        self.run_at(0, args)
    }

    /// As [`Self::run`], so many milliseconds after the beginning. What would wait gives up.
    fn run_at(&self, ms: u64, args: &[&[u8]]) -> (Reply, Lsn) {
        let client = Client::new(self.service.next_client(), Door::Resp, Grant::Full);
        let mut session = Session::connection(&self.service, client, Arc::new(Nowhere));
        session.enter(self.service.default_account());
        match session.command(args, Moment { now_us: 1_700_000_000_000_000 + ms * 1_000, seed: 2 }, &Patient) {
            Step::Reply { reply, after } => (reply, after),
            Step::Long(job) => {
                let account = session.account().cloned().unwrap();
                let moment = Moment { now_us: 1_700_000_000_000_000 + ms * 1_000, seed: 2 };
                let (job, ran) = Session::run_long(&account, job, moment, &Patient);
                match session.resume(job, ran) {
                    Step::Reply { reply, after } => (reply, after),
                    step => panic!("{step:?}"),
                }
            }
            Step::Parked { ticket, .. } => match session.unpark(ticket) {
                Unparked::Reply { reply, after } => (reply, after),
                unparked => panic!("{unparked:?}"),
            },
            step => panic!("{step:?}"),
        }
    }

    /// What a client is shown, as the doors do it.
    fn ask(&self, args: &[&[u8]]) -> Result<Reply, String> {
        let (reply, after) = self.run(args);
        match reply {
            Reply::Error(error) => Err(error.to_string()),
            _ if self.service.log().wait_durable(after).is_err() => Err(CommandError::LogFailed.to_string()),
            reply => Ok(reply),
        }
    }

    fn get(&self, key: u64) -> Result<Option<u64>, String> {
        self.ask(&[b"GET", name(key).as_bytes()]).map(|reply| match reply {
            Reply::Bulk(value) => String::from_utf8_lossy(&value).trim().parse().ok(),
            _ => None,
        })
    }

    fn after(&self, powerless: bool, seed: u64) -> (FaultyDisk, Arc<SimStore>) {
        let disk = if powerless { self.disk.power_cut(seed) } else { self.disk.process_killed() };
        (disk, Arc::new(self.store.reopened(&mut Random::new(seed))))
    }
}

fn name(key: u64) -> String {
    format!("key:{key}")
}

/// For each key what was acknowledged last, and what was sent last.
type Promised = Vec<(u64, u64)>;

/// Writes, with checkpoints and keys that leave memory in between; goes on whatever fails.
fn work(bed: &Bed) -> Promised {
    let mut promised = vec![(0, 0); KEYS as usize];
    for number in 1..=WRITES {
        let key = number % KEYS;
        let value = format!("{number:VALUE_BYTES$}");
        promised[key as usize].1 = number;
        match bed.ask(&[b"SET", name(key).as_bytes(), value.as_bytes()]) {
            Ok(_) => promised[key as usize].0 = number,
            Err(error) => assert_eq!(error, REFUSED),
        }
        if number % 9 == 0 {
            let _ = bed.service.checkpoint();
            bed.service.databases().iter().for_each(|database| database.evict_idle());
        }
    }
    promised
}

fn check_running(bed: &Bed, promised: &Promised, story: &str) {
    let failed = bed.service.log().has_failed();
    for (key, &(acked, sent)) in promised.iter().enumerate() {
        match bed.get(key as u64) {
            Ok(found) => assert_eq!(found.unwrap_or(0), acked, "{story}"),
            // Changed by what is not on disk.
            Err(error) => assert!(failed && sent > acked && error == REFUSED, "{story}: {error}"),
        }
    }
    let wrote = bed.ask(&[b"SET", b"other", b"v"]);
    assert_eq!(wrote.err().as_deref(), failed.then_some(REFUSED), "{story}");
    assert_eq!(bed.ask(&[b"GET", b"nothing"]), Ok(Reply::Null), "{story}");
}

fn check_again(bed: &Bed, promised: &Promised, story: &str) {
    for powerless in [false, true] {
        for seed in 0..2 {
            let (disk, store) = bed.after(powerless, seed);
            let again = Bed::open(disk, store).unwrap_or_else(|error| panic!("{story}: {error}"));
            for (key, &(acked, sent)) in promised.iter().enumerate() {
                let found = again.get(key as u64).unwrap().unwrap_or(0);
                assert!((acked..=sent).contains(&found), "{story}: key {key} is {found}, was acknowledged at {acked}");
            }
            again.ask(&[b"SET", b"life", b"goes on"]).unwrap();
        }
    }
}

#[test]
fn any_change_of_the_disk_may_fail() {
    let whole = Bed::new();
    let begun = whole.disk.operations();
    work(&whole);
    let (mut survived, mut refused) = (0, 0);
    for operation in begun + 1..=whole.disk.operations() {
        for (for_good, fault) in [(true, Fault::Refused), (true, Fault::Torn), (false, Fault::Refused)] {
            let bed = Bed::new();
            if for_good {
                bed.disk.fail_at(operation, fault);
            } else {
                bed.disk.fail_once_at(operation, fault);
            }
            let story = format!("{fault:?} at operation {operation}, for good: {for_good}");
            let promised = work(&bed);
            *(if bed.service.log().has_failed() { &mut refused } else { &mut survived }) += 1;
            check_running(&bed, &promised, &story);
            check_again(&bed, &promised, &story);
        }
    }
    // Segments made ready beforehand, and those that are retired, can be done without.
    assert!(survived > 10 && refused > 100, "{survived} {refused}");
}

/// What is not on disk is not shown, in whatever way it is met; and what is dead is dead.
#[test]
fn after_the_log_has_failed_readers_see_what_is_on_disk_and_no_dead_key() {
    let bed = Bed::new();
    let words = |line: &'static str| line.split(' ').map(str::as_bytes).collect::<Vec<_>>();
    for line in ["SET mortal v PX 100", "SET k v", "SET other v", "HSET h f 1 g 2", "RPUSH l a", "SET dies v PX 150"] {
        bed.ask(&words(line)).unwrap();
    }
    bed.service.checkpoint().unwrap();
    bed.service.databases().iter().for_each(|database| database.evict_idle());
    for line in ["HPEXPIRE h 50 FIELDS 1 f", "APPEND k x", "LPOP l"] {
        bed.run(&words(line));
    }
    bed.disk.fail_at(bed.disk.operations() + 1, Fault::Refused);
    bed.service.log().turn();
    assert!(bed.service.log().has_failed());
    let durable = bed.service.log().durable();
    let ask = |line| bed.run_at(200, &words(line));
    // Dead keys go first, as nobody may see them, and make nothing visible that was not.
    let (keys, after) = ask("KEYS *");
    let Reply::Array(keys) = keys else { panic!("{keys:?}") };
    assert!(!keys.contains(&Reply::bulk("mortal")) && !keys.contains(&Reply::bulk("dies")), "{keys:?}");
    assert!(after > durable);
    for line in ["EXISTS k h", "GET k", "HGETALL h", "EXISTS l", "EXISTS k mortal"] {
        let (reply, after) = ask(line);
        assert!(after > durable, "{line}: {reply:?}");
    }
    assert_eq!(ask("GET other"), (Reply::bulk("v"), Lsn(0)));
    let (disk, store) = bed.after(true, 1);
    let again = Bed::open(disk, store).unwrap();
    assert_eq!(again.run_at(200, &words("HLEN h")).0, Reply::Integer(2));
    assert_eq!(again.run_at(200, &words("LLEN l")).0, Reply::Integer(1));
    assert_eq!(again.run_at(200, &words("GET k")).0, Reply::bulk("v"));
}

#[test]
fn any_batch_of_the_store_may_fail() {
    let whole = Bed::new();
    work(&whole);
    for apply in 1..=whole.store.applies() {
        let bed = Bed::new();
        bed.store.fail_apply_at(apply);
        let story = format!("batch {apply}");
        let promised = work(&bed);
        assert!(promised.iter().all(|(acked, sent)| acked == sent), "{story}: the log is enough");
        check_running(&bed, &promised, &story);
        assert!(bed.service.has_checkpoint_failed() || apply > bed.store.applies(), "{story}");
        check_again(&bed, &promised, &story);
    }
}

#[test]
fn any_read_of_the_store_may_fail() {
    let ask = |bed: &Bed| {
        let mut failed = 0;
        for key in 0..KEYS {
            let (key, copy) = (name(key), format!("copy:{key}"));
            let (key, copy) = (key.as_bytes(), copy.as_bytes());
            let commands: [&[&[u8]]; 5] = [
                &[b"GET", key],
                &[b"COPY", key, copy, b"REPLACE"],
                &[b"APPEND", copy, b"0"],
                &[b"DEL", copy, key],
                &[b"MSET", key, b"7", copy, b"8"],
            ];
            for command in commands {
                bed.service.checkpoint().ok();
                bed.service.databases().iter().for_each(|database| database.evict_idle());
                if let Err(error) = bed.ask(command) {
                    assert_eq!(error, UNREADABLE);
                    failed += 1;
                    bed.ask(command).unwrap();
                }
            }
        }
        failed
    };
    let whole = Bed::new();
    work(&whole);
    whole.service.checkpoint().unwrap();
    let begun = whole.store.reads();
    assert_eq!(ask(&whole), 0);
    let reads = whole.store.reads();
    let found = |bed: &Bed| (0..KEYS).map(|key| bed.get(key)).collect::<Vec<_>>();
    let expected = found(&whole);
    assert!(expected.iter().all(|found| *found == Ok(Some(7))));
    let mut failed = 0;
    for read in begun + 1..=reads {
        let bed = Bed::new();
        work(&bed);
        bed.service.checkpoint().unwrap();
        bed.store.fail_read_at(read);
        failed += ask(&bed);
        assert_eq!(found(&bed), expected, "read {read}");
    }
    assert!(failed > 20, "{failed}");
}

#[test]
fn any_read_or_write_of_a_start_may_fail() {
    let bed = Bed::new();
    let promised = work(&bed);
    let whole = || bed.after(true, 3);
    let (disk, store) = whole();
    let started = Bed::open(disk, store).unwrap();
    let (reads, loads) = (started.disk.reads(), started.store.reads());
    assert!(reads > 3 && loads > 3 && started.disk.operations() > 1);
    let check = |disk: FaultyDisk, store: Arc<SimStore>, story: &str| {
        let (disk, store) = match Bed::open(disk.clone(), Arc::clone(&store)) {
            Ok(bed) => bed.after(true, 5),
            Err(_) => (disk.power_cut(5), Arc::new(store.reopened(&mut Random::new(5)))),
        };
        let again = Bed { ..Bed::open(disk, store).unwrap_or_else(|error| panic!("{story}: {error}")) };
        check_again(&again, &promised, story);
    };
    for read in 1..=reads {
        let (disk, store) = whole();
        disk.fail_read_at(read);
        check(disk, store, &format!("read {read} of the log"));
    }
    for read in 1..=loads {
        let (disk, store) = whole();
        store.fail_read_at(read);
        check(disk, store, &format!("read {read} of the store"));
    }
    for operation in 1..=started.disk.operations() {
        for fault in [Fault::Refused, Fault::Torn] {
            let (disk, store) = whole();
            disk.fail_at(operation, fault);
            check(disk, store, &format!("{fault:?} at operation {operation}"));
        }
    }
}
