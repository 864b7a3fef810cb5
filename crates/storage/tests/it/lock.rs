//! One process per directory.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use dormouse_storage::{DirectoryLock, Error};

const DIR: &str = "DORMOUSE_TEST_LOCKED_DIR";

/// Not a test of its own: the other process of the next one.
#[test]
fn other_process_holds_the_lock_until_its_input_ends() {
    let Some(dir) = std::env::var_os(DIR) else {
        return;
    };
    let _lock = DirectoryLock::acquire(dir.as_ref()).unwrap();
    std::fs::write(std::path::Path::new(&dir).join("held"), b"").unwrap();
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

#[test]
fn second_process_is_refused_until_the_first_ends() {
    let dir = tempfile::tempdir().unwrap();
    let mut other = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "--nocapture", "lock::other_process_holds_the_lock_until_its_input_ends"])
        .env(DIR, dir.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    while !dir.path().join("held").exists() {
        std::thread::yield_now();
    }
    let refused = DirectoryLock::acquire(dir.path()).unwrap_err();
    assert!(matches!(refused, Error::Locked { .. }));
    assert!(refused.to_string().contains("in use by another process"), "{refused}");
    drop(other.stdin.take());
    BufReader::new(other.stdout.take().unwrap()).lines().for_each(drop);
    assert!(other.wait().unwrap().success());
    DirectoryLock::acquire(dir.path()).unwrap();
}
