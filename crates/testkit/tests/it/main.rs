//! The pages hold: on the engine, and on a real Redis. `cargo test -- --skip redis` does without one.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use dormouse_engine::{Run, all};
use dormouse_testkit::differential::{Pair, sequence};
use dormouse_testkit::door::{Door, EngineDoor, RealServer, SessionDoor};
use dormouse_testkit::page::Page;
use dormouse_testkit::run;

/// How many random sequences each run draws; the program `differential` draws as many as one likes.
const SEEDS: u64 = 15;
/// The length of each.
const COMMANDS: usize = 300;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn pages() -> Vec<Page> {
    Page::load_all(&root().join("conformance")).expect("the pages can be read")
}

/// The server to compare with. Without one nothing was tested, so its absence is a failure.
fn redis() -> RealServer {
    let binary = RealServer::installed().expect("redis-server is installed, or the tests named `redis` are left out");
    RealServer::start(&binary).expect("an installed server starts")
}

#[test]
fn pages_hold_on_the_engine() {
    let report = run::pages(&mut EngineDoor::default(), &pages()).unwrap();
    assert!(report.failures.is_empty(), "\n{report}");
}

#[test]
fn pages_hold_on_sessions() {
    let report = run::pages(&mut SessionDoor::open().unwrap(), &pages()).unwrap();
    assert!(report.failures.is_empty(), "\n{report}");
}

#[test]
fn pages_hold_on_redis() {
    let server = redis();
    let report = run::pages(&mut server.door().unwrap(), &pages()).unwrap();
    assert!(report.failures.is_empty(), "\n{report}");
}

#[test]
fn random_commands_agree_with_redis() {
    let server = redis();
    let mut theirs = server.door().unwrap();
    let version = theirs.abilities().version;
    // The engine alone rolls every command back and replays it; sessions have clients and transactions.
    let (mut engine, mut sessions) = (EngineDoor::default(), SessionDoor::open().unwrap());
    let ours: [(&mut dyn Door, bool); 2] = [(&mut engine, false), (&mut sessions, true)];
    for (ours, connected) in ours {
        for seed in 1..=SEEDS {
            let steps = sequence(seed, COMMANDS, version, connected);
            let found = Pair { ours: &mut *ours, theirs: &mut theirs }.run_and_shrink(&steps).unwrap();
            assert!(found.is_none(), "seed {seed}:\n{}", found.unwrap());
        }
    }
}

#[test]
fn every_row_has_a_page() {
    let mut used: BTreeSet<String> = BTreeSet::new();
    for page in &pages() {
        for args in page.commands() {
            let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
            let word = |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
            let name = word(0).unwrap_or_default();
            used.extend(word(1).map(|sub| format!("{name} {sub}")));
            used.insert(name);
        }
    }
    let mut missing = Vec::new();
    for row in all() {
        if !matches!(row.run, Run::Container) && !used.contains(row.name) {
            missing.push(row.name.to_owned());
        }
        let inner = row.subcommands.iter().map(|inner| format!("{} {}", row.name, inner.name));
        missing.extend(inner.filter(|name| !used.contains(name)));
    }
    assert!(missing.is_empty(), "rows that no page shows: {}", missing.join(", "));
}
