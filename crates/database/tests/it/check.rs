//! The check of a data directory: it finds every damage, or the damage does no harm; and it never panics.

use std::path::{Path, PathBuf};

use dormouse_database::{Report, check};
use dormouse_engine::Random;
use dormouse_proto::Reply;

use crate::support::{Bed, texts};

/// Places in each file that are damaged.
const PLACES: u64 = 60;

const FILL: &[&str] = &[
    "SET string value",
    "SET mortal v PX 600000",
    "HSET hash a 1 b 2",
    "HPEXPIRE hash 300000 FIELDS 1 a",
    "RPUSH list a b c",
    "ZADD zset 1.5 a -inf b",
    "XADD stream 1-1 f v",
    "JSON.SET json $ {\"a\":[1,2.5,null]}",
    "ACL SETUSER ann on >secret ~* +@all",
];

const ASK: &[&str] = &[
    "DBSIZE",
    "GET string",
    "PTTL mortal",
    "HGETALL hash",
    "HPTTL hash FIELDS 1 a",
    "LRANGE list 0 -1",
    "ZRANGE zset 0 -1 WITHSCORES",
    "XRANGE stream - +",
    "JSON.GET json",
    "ACL GETUSER ann",
    "GET late",
    "STRLEN long",
    "STRLEN late-long",
    "GET key:77",
];

/// A directory with something of everything, some of it in the log alone.
fn filled(closed: bool) -> Bed {
    let mut bed = Bed::new();
    for line in FILL {
        let reply = bed.run(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
    for n in 0..300 {
        bed.run(&format!("SET key:{n} {n}"));
    }
    bed.run_args(&[b"SET", b"long", &[b'x'; 5_000]]);
    bed.run_args(&[b"FUNCTION", b"LOAD", b"#!lua name=l\nredis.register_function('f', function() return 1 end)"]);
    bed.service().create("shop", bed.moment()).unwrap();
    bed.checkpoint();
    bed.run("SET late 1");
    bed.run_args(&[b"SET", b"late-long", &[b'y'; 3_000]]);
    bed.run("DEL key:3");
    if closed {
        bed.close();
    } else {
        bed.cut();
    }
    bed
}

fn files(dir: &Path, all: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() { files(&path, all) } else { all.push(path) }
    }
}

fn answers(bed: &mut Bed) -> Vec<Vec<String>> {
    ASK.iter().map(|line| texts(&bed.run(line))).collect()
}

fn looked(bed: &Bed) -> Report {
    check(&bed.data()).unwrap()
}

#[test]
fn a_sound_directory_is_found_to_be_so() {
    for closed in [true, false] {
        let mut bed = filled(closed);
        let report = looked(&bed);
        assert!(report.is_sound() && report.more_problems == 0, "{report:#?}");
        assert_eq!(report.databases, 2);
        assert!(report.keys > 300 && report.files.0 > 0 && report.files.1 > 1_000, "{report:?}");
        assert_eq!((report.deadlines, report.notices.is_empty()), (2, closed), "{report:?}");
        assert_eq!(report.log_records > 0, !closed);
        bed.open();
        assert_eq!(bed.run("GET late"), Reply::bulk("1"));
    }
}

#[test]
fn damage_is_found_or_does_no_harm() {
    let mut random = Random::new(5);
    for closed in [true, false] {
        let mut bed = filled(closed);
        bed.open();
        let expected = answers(&mut bed);
        if closed {
            bed.close();
        } else {
            bed.cut();
        }
        // The first look removes what nothing refers to, as a start does.
        assert!(looked(&bed).is_sound());
        let mut all = Vec::new();
        files(&bed.data().join("store"), &mut all);
        files(&bed.data().join("log"), &mut all);
        let (mut found, mut harmless) = (0, Vec::new());
        for path in all {
            let bytes = std::fs::read(&path).unwrap();
            let mut damages: Vec<Vec<u8>> = Vec::new();
            // Most of a segment is room for later: what is in use is at its beginning.
            let used = bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1) as u64;
            for _ in 0..PLACES.min(used) {
                let mut damaged = bytes.clone();
                damaged[random.below(used) as usize] ^= 1 << random.below(8);
                damages.push(damaged);
            }
            for part in [0, 1, 2, 3] {
                damages.push(bytes[..(used * part / 4) as usize].to_vec());
            }
            for damaged in damages {
                std::fs::write(&path, &damaged).unwrap();
                if !looked(&bed).is_sound() {
                    found += 1;
                    std::fs::write(&path, &bytes).unwrap();
                    continue;
                }
                // Then it starts as if nothing had happened; looked at in a copy, as a start writes.
                let copy = bed.copied();
                let mut other = Bed::on(copy, bed.now_us);
                let same = answers(&mut other) == expected;
                let torn = !closed && path.extension().is_some_and(|kind| kind == "log");
                assert!(same || torn, "{} was damaged and nobody noticed", path.display());
                harmless.push(path.file_name().unwrap().to_owned());
                std::fs::write(&path, &bytes).unwrap();
            }
            // Gone altogether.
            std::fs::remove_file(&path).unwrap();
            let report = looked(&bed);
            let is_spare = path.extension().is_some_and(|kind| kind == "spare" || kind == "making");
            let is_current = !report.is_sound();
            if !is_current && !is_spare {
                let mut other = Bed::on(bed.copied(), bed.now_us);
                assert!(answers(&mut other) == expected, "{} is gone and nobody noticed", path.display());
            }
            std::fs::write(&path, &bytes).unwrap();
        }
        assert!(found > 50, "closed: {closed}, found {found}, harmless: {harmless:?}");
        assert!(looked(&bed).is_sound(), "what was mended is sound");
    }
}

#[test]
fn a_directory_in_use_or_without_its_parts_is_told_of() {
    let mut bed = filled(true);
    bed.open();
    assert!(check(&bed.data()).is_err(), "it is in use");
    bed.close();
    for part in ["log", "store"] {
        let (here, aside) = (bed.data().join(part), bed.data().join("aside"));
        std::fs::rename(&here, &aside).unwrap();
        assert!(!looked(&bed).is_sound(), "without {part}");
        std::fs::rename(&aside, &here).unwrap();
    }
    assert!(looked(&bed).is_sound());
}
