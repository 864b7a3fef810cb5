//! Real files, a real process, `SIGKILL`. The other process is this binary again, running one of its tests.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;

use dormouse_storage::{Batch, Durability, Log, LogOptions, Lsn, Store, StoreOptions, open_store};

const DIR: &str = "DORMOUSE_TEST_KILLED_DIR";
const KEYS: u64 = 200;

fn victim_dir() -> Option<PathBuf> {
    std::env::var_os(DIR).map(PathBuf::from)
}

/// Starts the named test as another process, reads as many of its lines as given, and kills it.
fn run_and_kill(test: &str, dir: &Path, lines: usize) -> Vec<String> {
    let mut child: Child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", test])
        .env(DIR, dir)
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut output = BufReader::new(child.stdout.take().unwrap()).lines();
    let said = output.by_ref().map(Result::unwrap).filter(|line| line.starts_with("done "));
    let mut said: Vec<String> = said.take(lines).collect();
    child.kill().unwrap();
    // What it said before it died counts too.
    said.extend(output.map_while(Result::ok).filter(|line| line.starts_with("done ")));
    child.wait().unwrap();
    said
}

fn say_done(number: u64) {
    let line = format!("\ndone {number}\n");
    std::io::stdout().write_all(line.as_bytes()).unwrap();
}

fn newest(said: &[String]) -> u64 {
    said.last().unwrap().trim_start_matches("done ").parse().unwrap_or(0)
}

fn open_log(dir: &Path) -> (Log, u64) {
    let mut count = 0_u64;
    let log = Log::open(dir, LogOptions::default(), Lsn(0), |lsn, record| {
        count += 1;
        assert_eq!((lsn.0, record), (count, &count.to_le_bytes()[..]));
        Ok(())
    });
    (log.unwrap(), count)
}

#[test]
fn victim_appends_to_the_log() {
    let Some(dir) = victim_dir() else { return };
    let (log, count) = open_log(&dir);
    for index in count + 1.. {
        let durability = if index % 2 == 0 { Durability::Always } else { Durability::None };
        log.wait_durable(log.append(durability, &index.to_le_bytes()).unwrap()).unwrap();
        say_done(index);
    }
}

#[test]
fn acknowledged_records_survive_the_kill() {
    let dir = tempfile::tempdir().unwrap();
    for lines in [1, 30, 100] {
        let said = run_and_kill("process_killed::victim_appends_to_the_log", dir.path(), lines);
        let (_, count) = open_log(dir.path());
        assert!(count >= newest(&said), "{count} records of {said:?}");
    }
}

fn embedded(dir: &Path) -> Arc<dyn Store> {
    open_store(dir, &StoreOptions::default()).unwrap()
}

/// Large enough to live in a file of its own.
fn value(round: u64, index: u64) -> Vec<u8> {
    (round * 1000 + index).to_le_bytes().repeat(if index.is_multiple_of(10) { 500 } else { 5 })
}

#[test]
fn victim_applies_checkpoints() {
    let Some(dir) = victim_dir() else { return };
    let store = embedded(&dir);
    for round in store.applied().0 + 1.. {
        let mut batch = Batch::default();
        // Every checkpoint changes every key, and moves one key on.
        batch.delete_range("moving", "movinh");
        batch.put(format!("moving {round}"), "here");
        for index in 0..KEYS {
            batch.put(format!("key {index}"), value(round, index));
        }
        store.apply(&batch, Lsn(round)).unwrap();
        say_done(round);
    }
}

#[test]
fn checkpoint_is_whole_or_absent_after_the_kill() {
    let dir = tempfile::tempdir().unwrap();
    for lines in [1, 7, 20, 3, 40] {
        let said = run_and_kill("process_killed::victim_applies_checkpoints", dir.path(), lines);
        let store = embedded(dir.path());
        let applied = store.applied().0;
        assert!(applied >= newest(&said), "{applied} applied of {said:?}");
        for index in 0..KEYS {
            let found = store.get(format!("key {index}").as_bytes()).unwrap();
            assert!(
                found.is_some_and(|found| found == value(applied, index)),
                "key {index} is of checkpoint {applied}"
            );
        }
        let moving = store.scan_keys(b"moving", b"movinh", 10).unwrap();
        assert_eq!(moving, [format!("moving {applied}").into_bytes()]);
    }
}
