//! A data directory that was written once, and that every later release must open as it is.
//!
//! `tests/fixtures/format-1` has something of every type, in the store and in the log, as a server left it that was killed; and
//! what it answered. It is never written again. When the format changes, it has to be opened all the same, and one of the new
//! format comes beside it: `DORMOUSE_FIXTURE=DIR cargo test -p dormouse --test it format::make -- --ignored`.

use std::path::{Path, PathBuf};

use crate::support::{Resp, Server, directory, dormouse, refused};

/// What a server writes today.
const VERSION: u32 = 1;
/// Nothing that happens by itself may change what is there.
const QUIET: &[&str] = &["--checkpoint-bytes", "1GiB"];

/// Goes into the store with a stop, the rest stays in the log.
const STORED: &[&str] = &[
    "SET string value",
    "SET mortal value EXAT 4000000000",
    "INCR number",
    "SETBIT bits 77 1",
    "PFADD hll a b c",
    "RPUSH list a b c",
    "HSET hash a 1 b 2 c 3",
    "HEXPIREAT hash 4000000001 FIELDS 1 b",
    "SADD set a b c",
    "SADD numbers 1 2 3",
    "ZADD zset 1.5 a -inf b 1e300 c",
    "GEOADD geo 13.361389 38.115556 Palermo",
    "XADD stream 1-1 f v g w",
    "XGROUP CREATE stream group 0",
    "XREADGROUP GROUP group consumer COUNT 1 STREAMS stream >",
    "JSON.SET json $ {\"a\":[1,2.5,null,{\"b\":\"c\"}]}",
    "ARSET array 3 three four",
    "ACL SETUSER ann on >secret ~k* +@read",
    "SET removed later",
    "SET changed before",
];
const LOGGED: &[&str] = &[
    "DEL removed",
    "SET changed after",
    "RPUSH list d",
    "HDEL hash a",
    "ZINCRBY zset 2 a",
    "XADD stream 2-1 h x",
    "JSON.NUMINCRBY json $.a[0] 41",
    "ARDEL array 4",
    "PEXPIREAT number 4000000002000",
    "RENAME string renamed",
    "ACL DELUSER bob",
];
const LIBRARY: &str = "#!lua name=lib\nredis.register_function('f', function() return 'found' end)";
const ASKED: &[&str] = &[
    "DBSIZE",
    "GET string",
    "GET renamed",
    "GET mortal",
    "EXPIRETIME mortal",
    "GET number",
    "PEXPIRETIME number",
    "BITPOS bits 1",
    "PFCOUNT hll",
    "LRANGE list 0 -1",
    "HGET hash a",
    "HGET hash b",
    "HEXPIRETIME hash FIELDS 2 b c",
    "SORT set ALPHA",
    "SORT numbers",
    "ZRANGE zset 0 -1 WITHSCORES",
    "GEOHASH geo Palermo",
    "XRANGE stream - +",
    "XPENDING stream group",
    "JSON.GET json",
    "ARGET array 3",
    "ARGET array 4",
    "ACL GETUSER ann",
    "FCALL f 0",
    "GET removed",
    "GET changed",
];

fn fixture() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/format-1")
}

fn copy(from: &Path, to: &Path, change: &dyn Fn(&Path, Vec<u8>) -> Vec<u8>) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let (path, to) = (entry.as_ref().unwrap().path(), to.join(entry.unwrap().file_name()));
        if path.is_dir() {
            copy(&path, &to, change);
        } else {
            std::fs::write(to, change(&path, std::fs::read(&path).unwrap())).unwrap();
        }
    }
}

fn as_is(_: &Path, bytes: Vec<u8>) -> Vec<u8> {
    bytes
}

fn is_segment(path: &Path) -> bool {
    path.extension().is_some_and(|ending| ending == "log")
}

/// The version in the header of a segment.
fn version(segment: &Path) -> u32 {
    u32::from_le_bytes(std::fs::read(segment).unwrap()[8..12].try_into().unwrap())
}

fn segments(data: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(data.join("log")).unwrap().map(|entry| entry.unwrap().path());
    entries.filter(|path| is_segment(path)).collect()
}

/// CRC-32C, as in the header.
fn checksum(bytes: &[u8]) -> u32 {
    let step = |crc: u32| if crc & 1 == 1 { crc >> 1 ^ 0x82f6_3b78 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc: u32, byte| (0..8).fold(crc ^ u32::from(*byte), |crc, _| step(crc)))
}

fn answers(server: &Server) -> String {
    let mut wire = server.resp();
    let answer = |line: &&str| format!("{line}\n    {}\n", wire.say(line).text().replace('\n', " "));
    ASKED.iter().map(answer).collect()
}

#[test]
fn a_directory_of_the_first_format_opens() {
    let (_guard, data) = directory();
    copy(&fixture().join("data"), &data, &as_is);
    let expected = std::fs::read_to_string(fixture().join("answers.txt")).unwrap();
    let mut server = Server::start(&data, QUIET);
    assert_eq!(answers(&server), expected);
    // Written and read again as today's.
    assert!(server.stop("TERM").success());
    assert_eq!(answers(&Server::start(&data, QUIET)), expected);
}

#[test]
fn what_is_written_today_has_a_fixture() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, QUIET);
    assert_eq!(server.resp().say("SET k v"), Resp::ok());
    server.kill();
    for segment in segments(&data).into_iter().chain(segments(&fixture().join("data"))) {
        assert_eq!(
            version(&segment),
            VERSION,
            "the log's format has changed: format-1 must open all the same; make a fixture of the new one, as the top of \
             this file says, test both, and say in CHANGELOG.md and docs/operations.md that there is no way back"
        );
    }
}

#[test]
fn a_directory_of_a_later_version_is_refused_and_left_alone() {
    let (_guard, data) = directory();
    let later = |path: &Path, mut bytes: Vec<u8>| {
        if is_segment(path) {
            bytes[8..12].copy_from_slice(&(VERSION + 1).to_le_bytes());
            let checksum = checksum(&bytes[..40]);
            bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        }
        bytes
    };
    copy(&fixture().join("data"), &data, &later);
    let before: Vec<_> = segments(&data).iter().map(|path| std::fs::read(path).unwrap()).collect();
    let said = refused(dormouse().arg("--data").arg(&data).args(["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"]));
    assert!(said.contains("it was written by a newer version, which is the one to open it with"), "{said}");
    let after: Vec<_> = segments(&data).iter().map(|path| std::fs::read(path).unwrap()).collect();
    assert!(before == after);
}

/// See the module's text.
#[test]
#[ignore = "writes a fixture"]
fn make() {
    let to = PathBuf::from(std::env::var_os("DORMOUSE_FIXTURE").unwrap());
    let (_guard, data) = directory();
    let run = |server: &Server, lines: &[&str]| {
        let mut wire = server.resp();
        for line in lines {
            let reply = wire.say(line);
            assert!(!reply.is_error(), "{line}: {reply:?}");
        }
    };
    let mut server = Server::start(&data, QUIET);
    run(&server, STORED);
    assert_eq!(server.resp().run(&["FUNCTION", "LOAD", LIBRARY]).unwrap(), Resp::bulk("lib"));
    assert_eq!(server.resp().run(&["SET", "long", &"x".repeat(3_000)]).unwrap(), Resp::ok());
    assert!(server.stop("TERM").success());
    let mut server = Server::start(&data, QUIET);
    run(&server, LOGGED);
    std::fs::create_dir_all(&to).unwrap();
    std::fs::write(to.join("answers.txt"), answers(&server)).unwrap();
    server.kill();
    for part in ["log", "store"] {
        // What is not in use yet is left out.
        let used = |path: &Path, mut bytes: Vec<u8>| {
            if is_segment(path) {
                bytes.truncate(bytes.iter().rposition(|byte| *byte != 0).unwrap() + 1);
            }
            bytes
        };
        copy(&data.join(part), &to.join("data").join(part), &used);
    }
    for entry in std::fs::read_dir(to.join("data/log")).unwrap() {
        let path = entry.unwrap().path();
        if !is_segment(&path) {
            std::fs::remove_file(path).unwrap();
        }
    }
}
