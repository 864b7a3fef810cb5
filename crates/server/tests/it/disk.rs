//! When the disk is in trouble: full, read-only, or not what was written. Each time the words say what to do, what can be
//! read is read, and doing as the words say brings everything back that was acknowledged.
//!
//! A full and a read-only disk are a small file system in memory, which takes root to mount; without, these tests say so.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::{Resp, Server, directory, dormouse, eventually, refused};

const REFUSED: &str =
    "MISCONF Errors writing to the commit log. Writes are refused until the server is restarted; see its log.";
const UNREADABLE: &str = "ERR stored data could not be read; see the server's log";
/// No checkpoint by itself.
const LOG_ONLY: &[&str] = &["--checkpoint-bytes", "1GiB"];
const BATCHES_AT: usize = 4096;

/// A small file system in memory, gone with its guard.
struct Small(PathBuf);

impl Small {
    fn mount(at: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(at).unwrap();
        let size = format!("size={megabytes}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).output();
        if mounted.is_ok_and(|output| output.status.success()) {
            return Some(Self(at.to_owned()));
        }
        println!("skipped: nothing can be mounted here");
        None
    }

    fn remount(&self, how: &str) {
        let remounted = Command::new("mount").args(["-o", &format!("remount,{how}")]).arg(&self.0).status();
        assert!(remounted.unwrap().success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

fn start_fails(data: &Path) -> String {
    refused(dormouse().arg("--data").arg(data).args(["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"]))
}

fn value(number: usize) -> String {
    format!("{number}.").repeat(8_000)
}

/// Writes until it is refused, or so often; how many were acknowledged.
fn fill(server: &Server, times: usize) -> usize {
    let mut wire = server.resp();
    for number in 0..times {
        match wire.run(&["SET", &format!("key:{number}"), &value(number)]).unwrap() {
            Resp::Simple(_) => {}
            Resp::Error(error) => {
                assert_eq!(error, REFUSED);
                return number;
            }
            other => panic!("{other:?}"),
        }
    }
    times
}

fn all_there(server: &Server, count: usize) {
    let mut wire = server.resp();
    for number in 0..count {
        assert_eq!(wire.say(&format!("GET key:{number}")), Resp::bulk(value(number)), "key:{number} of {count}");
    }
}

fn files(dir: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path());
    let mut found: Vec<PathBuf> = entries.filter(|path| path.to_string_lossy().ends_with(ending)).collect();
    found.sort();
    found
}

fn change(path: &Path, act: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = std::fs::read(path).unwrap();
    act(&mut bytes);
    std::fs::write(path, bytes).unwrap();
}

#[test]
fn a_full_disk_refuses_writes_and_loses_nothing() {
    let (guard, _) = directory();
    let Some(small) = Small::mount(&guard.path().join("small"), 32) else { return };
    let (data, ballast) = (small.0.join("data"), small.0.join("ballast"));
    std::fs::write(&ballast, vec![1; 8 << 20]).unwrap();
    let mut server = Server::start(&data, LOG_ONLY);
    let written = fill(&server, 5_000);
    assert!((100..5_000).contains(&written), "{written}");
    assert!(server.logged().contains("No space left on device"), "{}", server.logged());
    assert!(server.is_running());
    all_there(&server, written);
    assert_eq!(server.resp().say("SET small v"), Resp::Error(REFUSED.to_owned()));
    assert_eq!(server.http().send("GET", "/health", "", b"").unwrap().status, 503);
    assert!(!server.stop("TERM").success(), "it says that the last checkpoint is missing");
    // Room, and a start, are all it takes.
    std::fs::remove_file(&ballast).unwrap();
    let mut server = Server::start(&data, LOG_ONLY);
    all_there(&server, written);
    assert_eq!(server.resp().say("SET small v"), Resp::ok());
    assert_eq!(server.http().send("GET", "/health", "", b"").unwrap().status, 200);
    server.kill();
    let server = Server::start(&data, LOG_ONLY);
    all_there(&server, written);
}

/// The log is fine, but the store has no room for a checkpoint.
#[test]
fn a_disk_too_full_for_a_checkpoint_goes_on_until_there_is_room() {
    let (guard, _) = directory();
    let Some(small) = Small::mount(&guard.path().join("small"), 48) else { return };
    let (data, ballast) = (small.0.join("data"), small.0.join("ballast"));
    let mut server = Server::start(&data, LOG_ONLY);
    let written = fill(&server, 400);
    assert_eq!(written, 400);
    // What is left is less than what a checkpoint needs.
    let mut room = 64 << 20;
    while room > 64 << 10 {
        let before = std::fs::metadata(&ballast).map_or(0, |found| found.len());
        if std::fs::write(&ballast, vec![1; before as usize + room]).is_err() {
            std::fs::write(&ballast, vec![1; before as usize]).unwrap();
            room /= 2;
        }
    }
    server.signal("TERM");
    eventually("it has ended", || !server.is_running());
    assert!(server.logged().contains("the log still has everything"), "{}", server.logged());
    std::fs::remove_file(&ballast).unwrap();
    let mut server = Server::start(&data, LOG_ONLY);
    all_there(&server, written);
    assert!(server.stop("TERM").success(), "{}", server.logged());
    all_there(&Server::start(&data, LOG_ONLY), written);
}

#[test]
fn a_read_only_disk_is_named_and_left_alone() {
    let (guard, _) = directory();
    let Some(small) = Small::mount(&guard.path().join("small"), 32) else { return };
    let data = small.0.join("data");
    let mut server = Server::start(&data, LOG_ONLY);
    assert_eq!(fill(&server, 20), 20);
    server.kill();
    small.remount("ro");
    let said = start_fails(&data);
    assert!(said.contains("Read-only file system") && said.contains(data.to_str().unwrap()), "{said}");
    small.remount("rw");
    all_there(&Server::start(&data, LOG_ONLY), 20);
}

/// A directory with several segments of log, as a crash leaves it.
fn crashed(data: &Path, times: usize) -> Vec<PathBuf> {
    let mut server = Server::start(data, LOG_ONLY);
    assert_eq!(fill(&server, times), times);
    server.kill();
    files(&data.join("log"), ".log")
}

#[test]
fn a_missing_segment_is_not_passed_over() {
    let (guard, data) = directory();
    let segments = crashed(&data, 600);
    assert!(segments.len() > 2, "{segments:?}");
    let aside = guard.path().join("aside");
    for segment in &segments[..segments.len() - 1] {
        std::fs::rename(segment, &aside).unwrap();
        let said = start_fails(&data);
        assert!(said.contains("missing") && said.contains("restore the directory from a backup"), "{said}");
        std::fs::rename(&aside, segment).unwrap();
    }
    all_there(&Server::start(&data, LOG_ONLY), 600);
}

#[test]
fn damage_within_the_log_stops_the_start_and_following_the_words_saves_the_rest() {
    let (guard, data) = directory();
    let segments = crashed(&data, 600);
    let kept = std::fs::read(&segments[1]).unwrap();
    change(&segments[1], |bytes| bytes[BATCHES_AT + 100] ^= 1);
    let damaged = std::fs::read(&segments[1]).unwrap();
    for _ in 0..2 {
        let said = start_fails(&data);
        let place = format!("{} is corrupt at byte {BATCHES_AT}", segments[1].display());
        assert!(said.contains(&place) && said.contains("move this and all later segments away"), "{said}");
        assert_eq!(std::fs::read(&segments[1]).unwrap(), damaged, "nothing is changed");
    }
    let aside = guard.path().join("aside");
    std::fs::create_dir(&aside).unwrap();
    for segment in &segments[1..] {
        std::fs::rename(segment, aside.join(segment.file_name().unwrap())).unwrap();
    }
    let mut server = Server::start(&data, LOG_ONLY);
    let count = server.resp().say("DBSIZE").number().unwrap() as usize;
    assert!((1..600).contains(&count), "{count}");
    all_there(&server, count);
    server.kill();
    // What was moved away is good for another attempt, if the damage can be undone.
    for path in files(&data.join("log"), ".log") {
        if segments[1..].contains(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
    for segment in &segments[1..] {
        std::fs::rename(aside.join(segment.file_name().unwrap()), segment).unwrap();
    }
    std::fs::write(&segments[1], kept).unwrap();
    all_there(&Server::start(&data, LOG_ONLY), 600);
}

/// Nothing vouches for the last batch: it may not have been on disk when the power went.
#[test]
fn a_torn_tail_costs_nothing_but_itself() {
    let (_guard, data) = directory();
    let segments = crashed(&data, 50);
    let last = segments.last().unwrap();
    change(last, |bytes| {
        let end = bytes.iter().rposition(|byte| *byte != 0).unwrap();
        bytes[end - 10] ^= 1;
    });
    let server = Server::start(&data, LOG_ONLY);
    eventually("it says so", || server.logged().contains("torn tail"));
    all_there(&server, 49);
    assert_eq!(server.resp().say("GET key:49"), Resp::Nil);
}

#[test]
fn a_damaged_block_of_the_store_costs_what_is_in_it() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, LOG_ONLY);
    let mut wire = server.resp();
    let short = |number: usize| format!("{number}.").repeat(40);
    for number in 0..3_000 {
        assert_eq!(wire.say(&format!("SET key:{number} {}", short(number))), Resp::ok());
    }
    drop(wire);
    assert!(server.stop("TERM").success());
    let tables = files(&data.join("store/tables"), "");
    let largest = tables.iter().max_by_key(|path| std::fs::metadata(path).unwrap().len()).unwrap();
    change(largest, |bytes| {
        let middle = bytes.len() / 3;
        bytes[middle..middle + 16].iter_mut().for_each(|byte| *byte ^= 0x5a);
    });
    let said = refused(dormouse().arg("check").arg(&data));
    assert!(said.contains("checksum"), "{said}");
    let mut server = Server::start(&data, LOG_ONLY);
    let mut wire = server.resp();
    let mut lost = 0;
    for number in 0..3_000 {
        match wire.say(&format!("GET key:{number}")) {
            Resp::Bulk(found) => assert_eq!(found, short(number).into_bytes(), "never anything else than was written"),
            Resp::Error(error) => {
                assert_eq!(error, UNREADABLE);
                lost += 1;
            }
            other => panic!("key:{number} is {other:?}"),
        }
    }
    assert!((1..1_500).contains(&lost), "{lost} keys of a damaged block");
    assert!(server.logged().contains("restore the directory from a backup"), "{}", server.logged());
    assert_eq!(wire.say("SET another v"), Resp::ok());
    drop(wire);
    server.kill();
    assert_eq!(Server::start(&data, LOG_ONLY).resp().say("GET another"), Resp::bulk("v"));
}
