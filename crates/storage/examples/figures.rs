//! The figures of `docs/decisions/0001` and `0002`, through the public API.
//!
//! ```text
//! cargo run --release -p dormouse-storage --example figures -- log DIR
//! cargo run --release -p dormouse-storage --example figures -- store DIR load|open|get|scan|checkpoint|storm [KEYS]
//! ```
//!
//! One phase per process, so that caches can be dropped and processes killed in between.
#![expect(clippy::print_stdout, reason = "figures are what this prints")]
#![expect(clippy::unwrap_used, reason = "a measurement that fails has no figure")]

use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use dormouse_storage::{Batch, Durability, Log, LogOptions, Lsn, Store, StoreOptions, open_store};

const BATCH_KEYS: u64 = 100_000;

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let dir = Path::new(&args[2]);
    match args[1].as_str() {
        "log" => log_figures(dir),
        _ => store_figures(dir, &args[3], args.get(4).map_or(5_000_000, |keys| keys.parse().unwrap())),
    }
    println!("rss {} KiB, anonymous {} KiB, cpu {} ms", status("VmRSS"), status("RssAnon"), cpu_ms());
}

fn log_figures(dir: &Path) {
    for durability in [Durability::Always, Durability::EverySec, Durability::None] {
        for clients in [1, 4, 16, 64] {
            let log = Log::open(&dir.join("log"), LogOptions::default(), Lsn(0), |_, _| Ok(())).unwrap();
            let started = cpu_ms();
            let mut waits = append_for(&log, durability, clients, Duration::from_secs(3));
            waits.sort_unstable();
            let at = |share: f64| waits[(waits.len() as f64 * share) as usize].as_secs_f64() * 1e6;
            println!(
                "{durability:?}, {clients} clients: {} appends/s, wait p50 {:.0} us, p99 {:.0} us, cpu {:.1} us each",
                waits.len() / 3,
                at(0.5),
                at(0.99),
                (cpu_ms() - started) as f64 * 1e3 / waits.len() as f64
            );
            log.trim(log.last()).unwrap();
            drop(log);
            std::fs::remove_dir_all(dir.join("log")).unwrap();
        }
    }
    reopen_figures(dir);
}

/// How long each append waited to be acknowledged.
fn append_for(log: &Log, durability: Durability, clients: usize, time: Duration) -> Vec<Duration> {
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let client = || {
            let mut waits = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                let started = Instant::now();
                let lsn = log.append(durability, &[7; 120]).unwrap();
                log.wait_durable(lsn).unwrap();
                waits.push(started.elapsed());
            }
            waits
        };
        let threads: Vec<_> = (0..clients).map(|_| scope.spawn(client)).collect();
        std::thread::sleep(time);
        stop.store(true, Ordering::Relaxed);
        threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

/// A tail of 64 MiB, replayed.
fn reopen_figures(dir: &Path) {
    let dir = dir.join("tail");
    let log = Log::open(&dir, LogOptions::default(), Lsn(0), |_, _| Ok(())).unwrap();
    while log.tail_bytes() < 64 << 20 {
        log.append(Durability::None, &[7; 120]).unwrap();
    }
    let last = log.last();
    drop(log);
    for after in [Lsn(0), last] {
        let (started, bytes) = (Instant::now(), AtomicU64::new(0));
        let log = Log::open(&dir, LogOptions::default(), after, |_, record| {
            bytes.fetch_add(record.len() as u64, Ordering::Relaxed);
            Ok(())
        });
        let (opened, recovery) = (started.elapsed(), log.unwrap().recovery());
        println!("open after {}: {:.2} ms, {} records", after.0, opened.as_secs_f64() * 1e3, recovery.replayed);
    }
    std::fs::remove_dir_all(dir).unwrap();
}

fn store_figures(dir: &Path, phase: &str, keys: u64) {
    let started = Instant::now();
    let store = open_store(dir, &StoreOptions::default()).unwrap();
    let opened = millis(started);
    let mut dice = Dice(started.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()));
    match phase {
        "load" => {
            for first in (0..keys).step_by(BATCH_KEYS as usize) {
                apply(&*store, first..keys.min(first + BATCH_KEYS));
            }
            drop(store);
            println!("load {:.1} s, merging included", started.elapsed().as_secs_f64());
        }
        "open" => {
            let found = store.get(&key(dice.below(keys))).unwrap().map(|value| value.len());
            let first = millis(started);
            println!("open {opened:.2} ms, with first get {first:.2} ms: {found:?}, applied {:?}", store.applied());
        }
        "get" => {
            for count in [2_000, 100_000, 100_000] {
                let started = Instant::now();
                for _ in 0..count {
                    assert!(store.get(&key(dice.below(keys))).unwrap().is_some());
                }
                println!("get: {:.1} us, mean of {count}", millis(started) * 1e3 / f64::from(count));
            }
        }
        "scan" => {
            let (started, mut from, mut count) = (Instant::now(), vec![0], 0);
            loop {
                let page = store.scan(&from, &[0xff; 17], 1000).unwrap();
                let Some((last, _)) = page.last() else { break };
                from = [&last[..], &[0]].concat();
                count += page.len();
            }
            println!("scan in pages of 1000: {count} keys, {:.2} us each", millis(started) * 1e3 / count as f64);
        }
        _ => {
            let rounds = if phase == "storm" { u64::MAX } else { 12 };
            for round in 0..rounds {
                let (started, cpu) = (Instant::now(), cpu_ms());
                apply(&*store, (0..BATCH_KEYS).map(|_| dice.below(keys)));
                println!("checkpoint {round}: {:.0} ms, cpu {} ms", millis(started), cpu_ms() - cpu);
            }
            let disk = store.disk_bytes().unwrap() >> 20;
            drop(store);
            println!("all, merging included: {:.1} s, {disk} MiB on disk", started.elapsed().as_secs_f64());
        }
    }
}

fn apply(store: &dyn Store, indexes: impl Iterator<Item = u64>) {
    let mut batch = Batch::default();
    for index in indexes {
        batch.put(key(index).to_vec(), value(index));
    }
    store.apply(&batch, store.applied().next()).unwrap();
}

fn key(index: u64) -> [u8; 16] {
    let mut key = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    key[8..].copy_from_slice(&Dice(index).below(u64::MAX).to_be_bytes());
    key
}

/// Half of it compresses, as text does.
fn value(index: u64) -> Vec<u8> {
    let mut value = vec![b'x'; 100];
    let mut dice = Dice(!index);
    for chunk in value[..48].chunks_mut(8) {
        chunk.copy_from_slice(&dice.below(u64::MAX).to_le_bytes());
    }
    value
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1e3
}

fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().trim().trim_end_matches(" kB").to_owned()
}

fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    // Ticks of 10 ms.
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

/// A small generator (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
