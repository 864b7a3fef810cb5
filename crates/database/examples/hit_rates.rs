//! How often a key that is asked for is in memory, with memory for a part of the keys: the table of `docs/residency.md`.
//!
//! `cargo run --release -p dormouse-database --example hit_rates`. The first column is Dormouse itself: a service with
//! `--memory` set, asked over and over. The others are textbook policies with room for as many keys.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a tool for people")]

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};

use dormouse_database::{Options, Ran, Service, Work};
use dormouse_engine::{Client, ClientId, Door, Facts, Grant, Limits, Moment, Patient, Random};
use dormouse_storage::Durability;

const KEYS: u64 = 200_000;
const VALUE_BYTES: usize = 200;
const READS: usize = 1_000_000;
/// Reads before anything is counted.
const WARM_UP: usize = 200_000;
/// Reads between two scans, and keys one scan reads.
const SCAN_EVERY: usize = 50_000;
const SCAN_KEYS: u64 = 20_000;

/// Ranks by Zipf's law, by rejection (Hörmann and Derflinger's method needs no table; a table is simpler).
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(keys: u64, exponent: f64) -> Self {
        let mut sum = 0.0;
        let weights = (1..=keys).map(|rank| {
            sum += (rank as f64).powf(-exponent);
            sum
        });
        Self(weights.collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let total = self.0.last().copied().unwrap_or_default();
        let at = random.next_u64() as f64 / u64::MAX as f64 * total;
        self.0.partition_point(|&sum| sum < at) as u64
    }
}

/// Which keys are read, one after the other.
fn reads(exponent: f64, scans: bool) -> Vec<u64> {
    let (zipf, mut random, mut scanned) = (Zipf::new(KEYS, exponent), Random::new(1), 0);
    let mut reads = Vec::with_capacity(READS + WARM_UP);
    while reads.len() < READS + WARM_UP {
        reads.push(zipf.draw(&mut random));
        if scans && reads.len() % SCAN_EVERY == 0 {
            reads.extend((0..SCAN_KEYS).map(|key| (scanned + key) % KEYS));
            scanned += SCAN_KEYS;
        }
    }
    reads
}

/// The hit rate of a policy that says of each key whether it was there.
fn rate(reads: &[u64], mut hit: impl FnMut(u64) -> bool) -> f64 {
    let (warm_up, counted) = reads.split_at(WARM_UP);
    for &key in warm_up {
        hit(key);
    }
    let hits = counted.iter().filter(|&&key| hit(key)).count();
    100.0 * hits as f64 / counted.len() as f64
}

/// Least recently used.
fn lru(room: usize) -> impl FnMut(u64) -> bool {
    let (mut used, mut order, mut now) = (HashMap::new(), BTreeMap::new(), 0_u64);
    move |key| {
        now += 1;
        let before = used.insert(key, now);
        order.insert(now, key);
        if let Some(before) = before {
            order.remove(&before);
        } else if used.len() > room
            && let Some((_, oldest)) = order.pop_first()
        {
            used.remove(&oldest);
        }
        before.is_some()
    }
}

/// First in, first out, but a key that was used meanwhile gets another round.
fn clock(room: usize) -> impl FnMut(u64) -> bool {
    let (mut used, mut order) = (HashMap::new(), VecDeque::new());
    move |key| {
        if let Some(used) = used.get_mut(&key) {
            *used = true;
            return true;
        }
        while used.len() >= room {
            let Some(oldest) = order.pop_front() else { break };
            match used.get_mut(&oldest) {
                Some(again) if *again => {
                    *again = false;
                    order.push_back(oldest);
                }
                _ => drop(used.remove(&oldest)),
            }
        }
        used.insert(key, false);
        order.push_back(key);
        false
    }
}

/// The best that is possible when keys never change places: the keys that are read most.
fn most_read(reads: &[u64], room: usize) -> HashSet<u64> {
    let mut counts: HashMap<u64, usize> = HashMap::new();
    for &key in reads {
        *counts.entry(key).or_default() += 1;
    }
    let mut keys: Vec<(usize, u64)> = counts.into_iter().map(|(key, count)| (count, key)).collect();
    keys.sort_unstable_by(|a, b| b.cmp(a));
    keys.into_iter().take(room).map(|(_, key)| key).collect()
}

fn command(service: &Service, now: u64, args: &[&[u8]]) {
    let mut client = Client::new(ClientId(0), Door::Resp, Grant::Full);
    let command = dormouse_engine::find(args).unwrap().command;
    let moment = Moment { now_us: 1_700_000_000_000_000 + now, seed: now };
    let ran = service.default_account().database.run(&mut client, Work::One(command, args), moment, &Patient);
    assert!(matches!(ran, Ran::Done { .. }));
}

/// A service that may take so much memory, 0 being no bound.
fn open(dir: &std::path::Path, memory_bytes_max: u64) -> Service {
    let options = Options {
        dir: dir.to_owned(),
        durability: Durability::None,
        memory_bytes_max,
        entropy: |bytes| bytes.fill(7),
        token: Some("full-token".to_owned()),
        read_only_token: Some("read-only-token".to_owned()),
        limits: Limits::default(),
        facts: Facts::default(),
    };
    let lock = Service::lock(&options.dir).unwrap();
    Service::open(&options, lock, Moment { now_us: 0, seed: 0 }).unwrap()
}

/// Puts all keys into the store. Returns how much memory they take.
fn fill(dir: &std::path::Path) -> u64 {
    let service = open(dir, 0);
    for key in 0..KEYS {
        command(&service, key, &[b"SET", format!("key:{key}").as_bytes(), &[b'v'; VALUE_BYTES]]);
    }
    let all = service.memory_bytes();
    service.close().unwrap();
    all
}

fn main() {
    println!("| Reads | Memory for | Dormouse | LRU | Clock | Best fixed set |\n|---|---:|---:|---:|---:|---:|");
    for (name, exponent, scans) in [
        ("Zipf 0.99", 0.99, false),
        ("Zipf 0.99 and scans", 0.99, true),
        ("Zipf 0.8", 0.8, false),
        ("Zipf 0.8 and scans", 0.8, true),
    ] {
        let reads = reads(exponent, scans);
        for percent in [5, 10, 25] {
            let dir = tempfile::tempdir().unwrap();
            let all = fill(dir.path());
            // Three quarters of a small bound are for data.
            let service = open(dir.path(), all * percent / 100 * 4 / 3);
            let database = service.default_account().database;
            let (mut now, mut most) = (0, 0);
            let ours = rate(&reads, |key| {
                now += 1;
                let before = database.loads();
                command(&service, now, &[b"GET", format!("key:{key}").as_bytes()]);
                service.evict();
                if now > WARM_UP as u64 {
                    most = most.max(database.resident());
                }
                database.loads() == before
            });
            // The others get as much room as Dormouse has used at most.
            let (lru, clock) = (rate(&reads, lru(most)), rate(&reads, clock(most)));
            let best = most_read(&reads[WARM_UP..], most);
            let best = rate(&reads, |key| best.contains(&key));
            println!("| {name} | {percent} % | {ours:.1} % | {lru:.1} % | {clock:.1} % | {best:.1} % |");
        }
    }
}
