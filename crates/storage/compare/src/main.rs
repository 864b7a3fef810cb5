//! Embedded stores, measured as a store under a commit log is used: sorted batches of 100,000 keys that carry a log
//! position, each durable on return, then random and ordered reads. The figures of `docs/decisions/0001-embedded-store.md`.
//!
//! ```text
//! store-compare heed|redb|fjall|lsm DIR load|open|get|scan|checkpoint|storm [KEYS]
//! ```
//!
//! One store and one phase per process, so that caches can be dropped and processes killed in between; `measure.sh` does.
//! This is a workspace of its own: the rivals never come near the product's build.

use std::time::Instant;

type Pairs = Vec<([u8; 16], Vec<u8>)>;
const BATCH: u64 = 100_000;

trait Rival {
    fn apply(&self, pairs: &Pairs, upto: u64);
    fn get(&self, key: &[u8]) -> Option<usize>;
    fn scan(&self) -> (u64, u64);
    fn applied(&self) -> u64;
    /// Work a background thread would do.
    fn tend(&self) {}
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let (name, dir, phase) = (&args[1], std::path::Path::new(&args[2]), &args[3]);
    let keys: u64 = args.get(4).map_or(5_000_000, |text| text.parse().unwrap());
    std::fs::create_dir_all(dir).unwrap();
    let started = Instant::now();
    let store: Box<dyn Rival> = match name.as_str() {
        "heed" => Box::new(Heed::open(dir)),
        "redb" => Box::new(Redb::open(dir)),
        "fjall" => Box::new(Fjall::open(dir)),
        "lsm" => Box::new(Lsm::open(dir)),
        other => panic!("{other}"),
    };
    let opened = started.elapsed();
    let mut dice = Dice(started.elapsed().as_nanos() as u64 ^ u64::from(std::process::id()));
    match phase.as_str() {
        "load" => {
            let mut upto = 0;
            let mut tend = 0.0;
            for batch in 0..keys.div_ceil(BATCH) {
                let mut pairs: Pairs = (batch * BATCH..(batch + 1) * BATCH).map(|i| pair(i)).collect();
                pairs.sort();
                upto += BATCH;
                store.apply(&pairs, upto);
                let at = Instant::now();
                store.tend();
                tend += at.elapsed().as_secs_f64();
            }
            println!("load {:.1} s (of it tending {tend:.1} s)", started.elapsed().as_secs_f64());
        }
        "open" => {
            let found = store.get(&key(dice.below(keys)));
            println!(
                "open {:.2} ms, with first get {:.2} ms, found {found:?}, applied {}",
                ms(opened),
                ms(started.elapsed()),
                store.applied()
            );
        }
        "get" => {
            for round in ["first 2000", "next 100000", "last 100000"] {
                let count = if round.starts_with("first") { 2000 } else { 100_000 };
                let at = Instant::now();
                for _ in 0..count {
                    assert_eq!(store.get(&key(dice.below(keys))), Some(100));
                }
                println!("get {round}: {:.1} us mean", at.elapsed().as_secs_f64() * 1e6 / f64::from(count));
            }
        }
        "scan" => {
            let at = Instant::now();
            let (count, bytes) = store.scan();
            println!("scan {count} keys, {:.0} MB/s", bytes as f64 / 1e6 / at.elapsed().as_secs_f64());
        }
        "checkpoint" | "storm" => {
            let rounds = if phase == "storm" { u64::MAX } else { 10 };
            for round in 0..rounds {
                let mut pairs: Pairs = (0..BATCH).map(|_| pair(dice.below(keys))).collect();
                pairs.sort();
                pairs.dedup_by(|a, b| a.0 == b.0);
                let (at, cpu) = (Instant::now(), cpu_ms());
                store.apply(&pairs, store.applied() + 1);
                let (apply, apply_cpu) = (ms(at.elapsed()), cpu_ms() - cpu);
                let (at, cpu) = (Instant::now(), cpu_ms());
                store.tend();
                if phase == "checkpoint" {
                    println!(
                        "checkpoint {round}: {apply:.0} ms, cpu {apply_cpu}; tend {:.0} ms, cpu {}",
                        ms(at.elapsed()),
                        cpu_ms() - cpu
                    );
                }
            }
        }
        other => panic!("{other}"),
    }
    println!("rss {} anon {} KiB cpu {} ms", status("VmRSS"), status("RssAnon"), cpu_ms());
    if phase == "open" {
        std::process::exit(0)
    }
}

fn ms(duration: std::time::Duration) -> f64 {
    duration.as_secs_f64() * 1e3
}
fn key(index: u64) -> [u8; 16] {
    let mut key = [0; 16];
    let mixed = Dice(index).below(u64::MAX);
    key[..8].copy_from_slice(&[0, 0, 0, 1, 0, 0, 0, 0]);
    key[8..].copy_from_slice(&mixed.to_be_bytes());
    key
}
fn pair(index: u64) -> ([u8; 16], Vec<u8>) {
    // Half of a value compresses, as text does.
    let mut value = vec![b'x'; 100];
    let mut dice = Dice(index ^ 0xabcdef);
    for chunk in value[..48].chunks_mut(8) {
        chunk.copy_from_slice(&dice.below(u64::MAX).to_le_bytes());
    }
    (key(index), value)
}
struct Dice(u64);
impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % limit
    }
}
fn status(field: &str) -> String {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    text.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":")).unwrap_or("?").trim().replace(" kB", "")
}
fn cpu_ms() -> u64 {
    let text = std::fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = text.rsplit(')').next().unwrap().split_whitespace().collect();
    10 * (fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap())
}

struct Heed {
    env: heed::Env,
    db: heed::Database<heed::types::Bytes, heed::types::Bytes>,
}
impl Heed {
    fn open(dir: &std::path::Path) -> Self {
        let mut options = heed::EnvOpenOptions::new();
        options.map_size(64 << 30);
        unsafe {
            options.flags(
                heed::EnvFlags::NO_READ_AHEAD | heed::EnvFlags::NO_META_SYNC.difference(heed::EnvFlags::NO_META_SYNC),
            );
        }
        let env = unsafe { options.open(dir).unwrap() };
        let mut txn = env.write_txn().unwrap();
        let db = env.create_database(&mut txn, None).unwrap();
        txn.commit().unwrap();
        Self { env, db }
    }
}
impl Rival for Heed {
    fn apply(&self, pairs: &Pairs, upto: u64) {
        let mut txn = self.env.write_txn().unwrap();
        for (key, value) in pairs {
            self.db.put(&mut txn, key, value).unwrap();
        }
        self.db.put(&mut txn, b"\0", &upto.to_le_bytes()).unwrap();
        txn.commit().unwrap();
    }
    fn get(&self, key: &[u8]) -> Option<usize> {
        let txn = self.env.read_txn().unwrap();
        self.db.get(&txn, key).unwrap().map(|value| value.to_vec().len())
    }
    fn scan(&self) -> (u64, u64) {
        let txn = self.env.read_txn().unwrap();
        self.db
            .iter(&txn)
            .unwrap()
            .map(Result::unwrap)
            .fold((0, 0), |(n, b), (k, v)| (n + 1, b + (k.len() + v.len()) as u64))
    }
    fn applied(&self) -> u64 {
        let txn = self.env.read_txn().unwrap();
        self.db.get(&txn, b"\0").unwrap().map_or(0, |v| u64::from_le_bytes(v.try_into().unwrap()))
    }
}

const TABLE: redb::TableDefinition<&[u8], &[u8]> = redb::TableDefinition::new("t");
struct Redb {
    db: redb::Database,
}
impl Redb {
    fn open(dir: &std::path::Path) -> Self {
        let db = redb::Database::builder().set_cache_size(64 << 20).create(dir.join("db")).unwrap();
        Self { db }
    }
}
impl Rival for Redb {
    fn apply(&self, pairs: &Pairs, upto: u64) {
        let mut txn = self.db.begin_write().unwrap();
        txn.set_quick_repair(true);
        {
            let mut table = txn.open_table(TABLE).unwrap();
            for (key, value) in pairs {
                table.insert(&key[..], &value[..]).unwrap();
            }
            table.insert(&b"\0"[..], &upto.to_le_bytes()[..]).unwrap();
        }
        txn.commit().unwrap();
    }
    fn get(&self, key: &[u8]) -> Option<usize> {
        use redb::ReadableDatabase;
        let txn = self.db.begin_read().unwrap();
        txn.open_table(TABLE).unwrap().get(key).unwrap().map(|value| value.value().to_vec().len())
    }
    fn scan(&self) -> (u64, u64) {
        use redb::{ReadableDatabase, ReadableTable};
        let txn = self.db.begin_read().unwrap();
        let table = txn.open_table(TABLE).unwrap();
        table
            .iter()
            .unwrap()
            .map(Result::unwrap)
            .fold((0, 0), |(n, b), (k, v)| (n + 1, b + (k.value().len() + v.value().len()) as u64))
    }
    fn applied(&self) -> u64 {
        use redb::ReadableDatabase;
        let txn = self.db.begin_read().unwrap();
        let Ok(table) = txn.open_table(TABLE) else { return 0 };
        table.get(&b"\0"[..]).unwrap().map_or(0, |v| u64::from_le_bytes(v.value().try_into().unwrap()))
    }
}

struct Fjall {
    db: fjall::Database,
    data: fjall::Keyspace,
}
impl Fjall {
    fn open(dir: &std::path::Path) -> Self {
        let db = fjall::Database::builder(dir).cache_size(64 << 20).open().unwrap();
        let data = db.keyspace("data", fjall::KeyspaceCreateOptions::default).unwrap();
        Self { db, data }
    }
}
impl Rival for Fjall {
    fn apply(&self, pairs: &Pairs, upto: u64) {
        let mut batch = self.db.batch().durability(Some(fjall::PersistMode::SyncAll));
        for (key, value) in pairs {
            batch.insert(&self.data, &key[..], &value[..]);
        }
        batch.insert(&self.data, "\0", upto.to_le_bytes());
        batch.commit().unwrap();
    }
    fn get(&self, key: &[u8]) -> Option<usize> {
        self.data.get(key).unwrap().map(|value| value.len())
    }
    fn scan(&self) -> (u64, u64) {
        self.data
            .iter()
            .map(|guard| guard.into_inner().unwrap())
            .fold((0, 0), |(n, b), (k, v)| (n + 1, b + (k.len() + v.len()) as u64))
    }
    fn applied(&self) -> u64 {
        self.data.get("\0").unwrap().map_or(0, |v| u64::from_le_bytes(v[..].try_into().unwrap()))
    }
}

struct Lsm {
    tree: lsm_tree::AnyTree,
    visible: lsm_tree::SequenceNumberCounter,
}
impl Lsm {
    fn open(dir: &std::path::Path) -> Self {
        use lsm_tree::AbstractTree;
        let (seqno, visible) = (lsm_tree::SequenceNumberCounter::default(), lsm_tree::SequenceNumberCounter::default());
        let config = lsm_tree::Config::new(dir, seqno.clone(), visible.clone())
            .use_cache(std::sync::Arc::new(lsm_tree::Cache::with_capacity_bytes(64 << 20)))
            .with_kv_separation(Some(lsm_tree::KvSeparationOptions::default()))
            .index_block_partitioning_policy(lsm_tree::config::PinningPolicy::all(true))
            .filter_block_partitioning_policy(lsm_tree::config::PinningPolicy::all(true))
            .index_block_pinning_policy(lsm_tree::config::PinningPolicy::all(false))
            .filter_block_pinning_policy(lsm_tree::config::PinningPolicy::all(false));
        let tree = config.open().unwrap();
        let next = tree.get_highest_persisted_seqno().map_or(0, |seqno| seqno + 1);
        seqno.set(next);
        visible.set(next);
        Self { tree, visible }
    }
}
impl Rival for Lsm {
    fn apply(&self, pairs: &Pairs, upto: u64) {
        let mut ingestion = self.tree.ingestion().unwrap();
        ingestion.write(&b"\0"[..], &upto.to_le_bytes()[..]).unwrap();
        for (key, value) in pairs {
            ingestion.write(&key[..], &value[..]).unwrap();
        }
        ingestion.finish().unwrap();
    }
    fn tend(&self) {
        use lsm_tree::AbstractTree;
        let strategy = lsm_tree::compaction::Leveled::default()
            .with_table_target_size(std::env::var("TABLE_MIB").map_or(64, |t| t.parse().unwrap()) << 20);
        self.tree.compact(std::sync::Arc::new(strategy), self.visible.get()).unwrap();
    }
    fn get(&self, key: &[u8]) -> Option<usize> {
        use lsm_tree::AbstractTree;
        self.tree.get(key, lsm_tree::SeqNo::MAX).unwrap().map(|value| value.len())
    }
    fn scan(&self) -> (u64, u64) {
        use lsm_tree::{AbstractTree, Guard};
        self.tree
            .iter(lsm_tree::SeqNo::MAX, None)
            .map(|guard| guard.into_inner().unwrap())
            .fold((0, 0), |(n, b), (k, v)| (n + 1, b + (k.len() + v.len()) as u64))
    }
    fn applied(&self) -> u64 {
        use lsm_tree::AbstractTree;
        self.tree.get("\0", lsm_tree::SeqNo::MAX).unwrap().map_or(0, |v| u64::from_le_bytes(v[..].try_into().unwrap()))
    }
}
