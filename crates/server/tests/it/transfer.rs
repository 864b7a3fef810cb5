//! Keys from real servers and back: files that Redis and Valkey write, and files that Redis loads.
//!
//! `redis-server` is looked for on the path; `REAL_REDIS_SERVER` names another one, or a Valkey. Without any of them there is
//! nothing to compare with, and the tests say so.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

use crate::support::{Resp, Server, Wire, directory, dormouse, eventually};

/// Random keys of each test.
const KEYS: usize = 600;
/// Commands sent before their replies are read.
const PIPELINE: usize = 200;

/// A real server. Dropping it ends it.
struct Real {
    child: Child,
    address: SocketAddr,
    /// Goes away with it.
    own: Option<tempfile::TempDir>,
    dir: PathBuf,
}

impl Drop for Real {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The server that was asked for, or the one on the path.
fn program() -> String {
    std::env::var("REAL_REDIS_SERVER").unwrap_or_else(|_| "redis-server".to_owned())
}

/// How often another port is taken.
const PORTS_TRIED: usize = 5;

impl Real {
    /// Starts one on a directory of its own, or on one that is there with a file in it.
    fn start(program: &str, dir: Option<&Path>, more: &[&str]) -> Option<Self> {
        let own = dir.is_none().then(|| tempfile::tempdir().unwrap());
        let dir = dir.map_or_else(|| own.as_ref().unwrap().path().to_owned(), Path::to_owned);
        // Between our letting go of a port and its taking it somebody else may be there first; then it ends.
        for _ in 0..PORTS_TRIED {
            let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
            let mut command = Command::new(program);
            command.arg("--port").arg(address.port().to_string()).arg("--dir").arg(&dir);
            command.args(["--save", "", "--appendonly", "no", "--enable-debug-command", "yes"]).args(more);
            let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
            let mut real = Self { child, address, own: None, dir: dir.clone() };
            let mut has_ended = false;
            eventually("a real server", || {
                has_ended = real.child.try_wait().unwrap().is_some();
                has_ended || real.is_up()
            });
            if !has_ended {
                real.own = own;
                return Some(real);
            }
        }
        panic!("{program} ends whenever it is started");
    }

    /// Whether it answers at its address, itself, with all its data.
    fn is_up(&self) -> bool {
        let Ok(stream) = std::net::TcpStream::connect(self.address) else { return false };
        let info = Wire::over(stream).run(&["INFO"]).map(|reply| reply.text()).unwrap_or_default();
        let says = |line: &str| info.lines().any(|other| other == line);
        says(&format!("process_id:{}", self.child.id())) && says("loading:0")
    }

    /// One as the environment says; `None`, and a word, if there is none.
    fn any() -> Option<Self> {
        let real = Self::start(&program(), None, &[]);
        if real.is_none() {
            println!("skipped: there is no {}", program());
        }
        real
    }

    fn wire(&self) -> Wire {
        Wire::connect(self.address)
    }

    /// Writes its file, and says where that is.
    fn save(&self) -> PathBuf {
        assert_eq!(self.wire().say("SAVE"), Resp::ok());
        self.dir.join("dump.rdb")
    }
}

/// Numbers by lot, the same in each run.
struct Lot(u64);

impl Lot {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % bound
    }

    /// An integer, a short text, bytes that are no text, or something long that packs well.
    fn word(&mut self) -> Vec<u8> {
        match self.below(6) {
            0 => (self.below(100_000) as i64 - 50_000).to_string().into_bytes(),
            1 => (self.below(u64::MAX >> 33) << 20).to_string().into_bytes(),
            2 => (0..self.below(40)).map(|_| self.below(256) as u8).collect(),
            3 => vec![b'a' + self.below(26) as u8; self.below(5_000) as usize],
            _ => format!("word:{}", self.below(1_000)).into_bytes(),
        }
    }

    /// The commands that make a key.
    fn key(&mut self, key: &str) -> Vec<Vec<Vec<u8>>> {
        let key = key.as_bytes().to_vec();
        // Small ones are packed by a real server, large ones are not.
        let count = if self.below(8) == 0 { 200 + self.below(500) } else { 1 + self.below(12) };
        let with = |name: &str, words: Vec<Vec<u8>>| [vec![name.as_bytes().to_vec(), key.clone()], words].concat();
        let mut commands = Vec::new();
        match self.below(8) {
            0 => commands.push(with("SET", vec![self.word()])),
            1 => commands.push(with("RPUSH", (0..count).map(|_| self.word()).collect())),
            2 => commands.push(with("SADD", (0..count).map(|_| self.word()).collect())),
            3 => {
                commands.push(with("SADD", (0..count).map(|_| self.below(1 << 20).to_string().into_bytes()).collect()));
            }
            4 => commands.push(with("HSET", (0..2 * count).map(|_| self.word()).collect())),
            5 => {
                let score = |lot: &mut Self| match lot.below(9) {
                    0 => "-inf".to_owned(),
                    1 => "inf".to_owned(),
                    n => format!("{}.{}", lot.below(1_000), 5 * (n % 2)),
                };
                let pair = |lot: &mut Self| [score(lot).into_bytes(), lot.word()];
                commands.push(with("ZADD", (0..count).flat_map(|_| pair(self)).collect()));
            }
            6 => {
                for at in 1..=count {
                    let id = format!("{at}-{}", self.below(9)).into_bytes();
                    commands.push(with("XADD", vec![id, b"f".to_vec(), self.word(), b"g".to_vec(), self.word()]));
                }
                let text = |words: &str| words.split(' ').map(|word| word.as_bytes().to_vec()).collect::<Vec<_>>();
                let name = String::from_utf8(key.clone()).unwrap();
                commands.push(text(&format!("XGROUP CREATE {name} group 0")));
                commands.push(text(&format!("XREADGROUP GROUP group ann COUNT 4 STREAMS {name} >")));
                commands.push(text(&format!("XREADGROUP GROUP group bob COUNT 2 STREAMS {name} >")));
                commands.push(text(&format!("XTRIM {name} MAXLEN {}", 1 + count / 2)));
            }
            _ => commands.push(with("SETBIT", vec![self.below(9_000).to_string().into_bytes(), b"1".to_vec()])),
        }
        if self.below(3) == 0 {
            commands.push(with("PEXPIREAT", vec![(4_000_000_000_000 + self.below(1 << 40)).to_string().into_bytes()]));
        }
        commands
    }
}

/// Runs commands that all work.
fn fill(wire: &mut Wire, commands: &[Vec<Vec<u8>>]) {
    for some in commands.chunks(PIPELINE) {
        let bytes: Vec<u8> = some.iter().flat_map(|args| crate::support::encode(args)).collect();
        wire.write(&bytes).unwrap();
        for args in some {
            let reply = wire.read().unwrap();
            assert!(!reply.is_error(), "{reply:?} to {}", args.join(&b' ').escape_ascii());
        }
    }
}

/// Keys by lot, of every type there is everywhere, and functions.
fn by_lot(seed: u64) -> Vec<Vec<Vec<u8>>> {
    let mut lot = Lot(seed);
    (0..KEYS).flat_map(|n| lot.key(&format!("key:{n}"))).collect()
}

const LIBRARY: &str = "#!lua name=lib\nredis.register_function('answer', function() return 42 end)";

/// All that a key holds, as two servers must agree.
fn content(wire: &mut Wire, key: &str, deadlines: bool) -> Vec<String> {
    let kind = wire.say(&format!("TYPE {key}")).text();
    let mut shown = vec![kind.clone(), wire.say(&format!("PEXPIRETIME {key}")).text()];
    let mut of = |line: &str| wire.say(line);
    let reply = match kind.as_str() {
        "string" => of(&format!("GET {key}")),
        "list" => of(&format!("LRANGE {key} 0 -1")),
        "set" => of(&format!("SMEMBERS {key}")),
        "hash" => of(&format!("HGETALL {key}")),
        "zset" => of(&format!("ZRANGE {key} 0 -1 WITHSCORES")),
        "stream" => {
            shown.push(of(&format!("XPENDING {key} group")).text());
            let rows = of(&format!("XPENDING {key} group - + 1000"));
            let row = |row: &Resp| [0, 1, 3].map(|at| row.items()[at].text()).join(" ");
            shown.extend(rows.items().iter().map(row));
            let info = of(&format!("XINFO STREAM {key}"));
            let after = |name: &str| info.items().iter().position(|item| item.text() == name).unwrap() + 1;
            for name in ["length", "last-generated-id", "max-deleted-entry-id", "entries-added"] {
                shown.push(info.items()[after(name)].text());
            }
            of(&format!("XRANGE {key} - +"))
        }
        "ReJSON-RL" => of(&format!("JSON.GET {key}")),
        other => panic!("{key} is a {other}"),
    };
    let mut parts: Vec<String> = match (&reply, kind.as_str()) {
        (reply, "hash") => {
            let pairs = reply.items().chunks(2).map(|pair| format!("{pair:?}"));
            let mut pairs: Vec<String> = pairs.collect();
            if deadlines {
                for field in reply.items().iter().step_by(2) {
                    let Resp::Bulk(field) = field else { panic!() };
                    let args = [b"HPEXPIRETIME", key.as_bytes(), b"FIELDS", b"1", field];
                    pairs.push(format!("{field:?} dies at {}", wire.run(&args).unwrap().text()));
                }
            }
            pairs
        }
        (Resp::Array(items) | Resp::Push(items), _) => items.iter().map(|item| format!("{item:?}")).collect(),
        (other, _) => vec![format!("{other:?}")],
    };
    if matches!(kind.as_str(), "set" | "hash") {
        parts.sort();
    }
    shown.extend(parts);
    shown
}

fn keys(wire: &mut Wire) -> Vec<String> {
    let mut keys: Vec<String> = wire.say("KEYS *").items().iter().map(Resp::text).collect();
    keys.sort();
    keys
}

/// Both hold the same.
fn same(left: &mut Wire, right: &mut Wire, deadlines: bool) {
    let names = keys(left);
    assert_eq!(names, keys(right));
    for key in &names {
        assert_eq!(content(left, key, deadlines), content(right, key, deadlines), "{key}");
    }
}

fn on(data: &Path, args: &[&str]) -> Output {
    dormouse().arg(args[0]).arg("--data").arg(data).args(&args[1..]).output().unwrap()
}

/// A command that works; what it prints.
fn done(data: &Path, args: &[&str]) -> String {
    let output = on(data, args);
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// What a command that does not work says.
fn complaint(data: &Path, args: &[&str]) -> String {
    let output = on(data, args);
    assert!(!output.status.success(), "{args:?}");
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Settings under which a real server packs as it likes, and under which it packs nothing and compresses nothing.
const SETTINGS: [&[&str]; 2] = [
    &[],
    &[
        "--rdbcompression",
        "no",
        "--list-max-listpack-size",
        "2",
        "--set-max-intset-entries",
        "0",
        "--hash-max-listpack-entries",
        "0",
        "--zset-max-listpack-entries",
        "0",
    ],
];

#[test]
fn a_file_of_a_real_server_becomes_a_database_and_its_export_that_server_again() {
    for (seed, settings) in SETTINGS.iter().enumerate() {
        let Some(real) = Real::start(&program(), None, settings) else {
            println!("skipped: there is no {}", program());
            return;
        };
        let mut theirs = real.wire();
        let deadlines = !theirs.say("COMMAND INFO HPEXPIRE").items()[0].text().is_empty();
        println!("seed {seed}, deadlines of fields: {deadlines}");
        fill(&mut theirs, &by_lot(seed as u64));
        if deadlines {
            theirs.say("HSET fields a 1 b 2 c 3");
            assert!(!theirs.say("HPEXPIRE fields 900000000 FIELDS 1 b").is_error());
            theirs.say("DEL large");
            for n in 0..600 {
                theirs.say(&format!("HSET large f{n} v"));
            }
            theirs.say("HPEXPIREAT large 4000000000123 FIELDS 2 f7 f8");
        }
        assert!(!theirs.run(&["FUNCTION", "LOAD", LIBRARY]).unwrap().is_error());
        let file = real.save();
        let (_guard, data) = directory();
        let server = Server::start(&data, &[]);
        let printed = done(&data, &["import", file.to_str().unwrap()]);
        assert!(printed.contains("keys are in default now") && printed.contains("1 libraries"), "{printed}");
        let mut ours = server.resp();
        same(&mut theirs, &mut ours, deadlines);
        assert_eq!(ours.say("FCALL answer 0"), Resp::Int(42));
        // And back.
        let back = tempfile::tempdir().unwrap();
        let out = back.path().join("dump.rdb");
        if deadlines {
            let refusal = complaint(&data, &["export", "--rdb", out.to_str().unwrap()]);
            assert!(refusal.contains("\"fields\" (a hash whose fields have deadlines)"), "{refusal}");
            assert!(refusal.contains("--rdb-version 12") && !out.exists(), "{refusal}");
        }
        let is_valkey = theirs.say("INFO server").text().contains("valkey_version");
        if is_valkey && deadlines {
            // Version 12 is Redis's alone.
            ours.say("DEL fields large");
            theirs.say("DEL fields large");
        }
        let version = if deadlines && !is_valkey { "12" } else { "10" };
        done(&data, &["export", "--rdb", out.to_str().unwrap(), "--rdb-version", version]);
        let again = Real::start(&program(), Some(back.path()), &[]).unwrap();
        let mut copied = again.wire();
        same(&mut theirs, &mut copied, deadlines);
        assert_eq!(theirs.say("DEBUG DIGEST"), copied.say("DEBUG DIGEST"));
        assert_eq!(copied.say("FCALL answer 0"), Resp::Int(42));
    }
}

#[test]
fn what_cannot_be_imported_changes_nothing_and_says_why() {
    let Some(real) = Real::any() else { return };
    let mut theirs = real.wire();
    fill(&mut theirs, &by_lot(7));
    let file = real.save();
    let (guard, data) = directory();
    let error = complaint(&data, &["import", file.to_str().unwrap()]);
    assert!(error.contains("no server runs on"), "{error}");
    let server = Server::start(&data, &[]);
    let mut ours = server.resp();
    ours.say("SET mine 1");
    let path = file.to_str().unwrap();
    let error = complaint(&data, &["import", path]);
    assert!(error.contains("the database has keys; --replace removes them"), "{error}");
    let bytes = std::fs::read(&file).unwrap();
    let bad = guard.path().join("bad.rdb");
    let half = bytes.len() / 2;
    let mut flipped = bytes.clone();
    flipped[half] ^= 4;
    for (content, part) in [
        (bytes[..half].to_vec(), format!("it ends too early, at byte {half}")),
        (flipped, "at byte ".to_owned()),
        (b"SELECT 0\r\n".to_vec(), "it does not begin like an RDB file".to_owned()),
        (
            [&bytes[..], b"more"].concat(),
            format!("something follows its end, as in an append-only file, at byte {}", bytes.len()),
        ),
    ] {
        std::fs::write(&bad, content).unwrap();
        let error = complaint(&data, &["import", bad.to_str().unwrap(), "--replace"]);
        assert!(error.contains(&part) && error.contains("Nothing was imported"), "{error}");
    }
    assert_eq!(keys(&mut ours), ["mine"]);
    // Another number, through a pipe, into another database.
    theirs.say("SELECT 3");
    theirs.say("SET third 3");
    let path = real.save();
    let path = path.to_str().unwrap();
    let error = complaint(&data, &["import", path, "--replace"]);
    assert!(error.contains("databases 0 and 3") && error.contains("--index"), "{error}");
    done(&data, &["db", "create", "shop"]);
    let mut command = dormouse();
    command.args(["import", "-", "--into", "shop", "--index", "3", "--data"]).arg(&data);
    let output = command.stdin(std::fs::File::open(path).unwrap()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 keys are in shop now\n");
    assert_eq!(keys(&mut ours), ["mine"]);
    // What was there is gone, and what has come survives a kill.
    done(&data, &["import", path, "--index", "0", "--replace"]);
    let expected = ours.say("DBSIZE");
    drop(server);
    let server = Server::start(&data, &[]);
    let mut ours = server.resp();
    assert_eq!(ours.say("DBSIZE"), expected);
    theirs.say("SELECT 0");
    same(&mut theirs, &mut ours, false);
}

#[test]
fn what_an_rdb_file_has_no_place_for_is_told_before_a_byte_is_written() {
    let (guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut ours = server.resp();
    ours.say("ARSET array 5 a");
    for n in 0..30 {
        ours.say(&format!("JSON.SET json:{n} $ {{}}"));
    }
    let out = guard.path().join("out.rdb");
    let refusal = complaint(&data, &["export", "--rdb", out.to_str().unwrap()]);
    assert!(refusal.contains("(JSON)") && refusal.contains(" and 11 others") && !out.exists(), "{refusal}");
    let refusal = complaint(&data, &["export", "--rdb-version", "12", "--rdb", out.to_str().unwrap()]);
    assert!(refusal.contains("no place for \"array\" (an array)\n"), "{refusal}");
    ours.say("DEL array");
    // A stream with what 8.8 added goes into a file of 8.8 alone, and comes back.
    assert!(!ours.say("XADD stream IDMP ann first * f v").is_error());
    let refusal = complaint(&data, &["export", "--rdb-version", "12", "--rdb", out.to_str().unwrap()]);
    assert!(refusal.contains("\"stream\" (a stream of Redis 8.8); --rdb-version 14"), "{refusal}");
    done(&data, &["export", "--rdb-version", "14", "--rdb", out.to_str().unwrap()]);
    done(&data, &["import", out.to_str().unwrap(), "--replace"]);
    assert_eq!(ours.say("XLEN stream"), Resp::Int(1));
    ours.say("DEL stream");
    done(&data, &["export", "--rdb-version", "12", "--rdb", out.to_str().unwrap()]);
    ours.say("FLUSHALL");
    done(&data, &["import", out.to_str().unwrap()]);
    assert_eq!(ours.say("JSON.GET json:3").text(), "{}");
    let refusal = complaint(&data, &["export", "nope", "--rdb", out.to_str().unwrap()]);
    assert!(refusal.contains("there is no database 'nope'"), "{refusal}");
    let refusal = complaint(&data, &["export", "--rdb-version", "9", "--rdb", out.to_str().unwrap()]);
    assert!(refusal.contains("only 10, 12 and 14"), "{refusal}");
    // An empty one is a file, too.
    ours.say("FLUSHALL");
    done(&data, &["export", "--rdb", out.to_str().unwrap()]);
    assert_eq!(done(&data, &["import", out.to_str().unwrap()]), "0 keys are in default now\n");
}

#[test]
fn a_running_server_moves_here() {
    let Some(real) = Real::any() else { return };
    let mut theirs = real.wire();
    fill(&mut theirs, &by_lot(11));
    let deadlines = !theirs.say("COMMAND INFO HPEXPIRE").items()[0].text().is_empty();
    if deadlines {
        theirs.say("HSET fields a 1 b 2 c 3");
        theirs.say("HPEXPIRE fields 900000000 FIELDS 1 b");
    }
    theirs.say("SET long-lived v PX 4000000000");
    assert!(!theirs.run(&["FUNCTION", "LOAD", LIBRARY]).unwrap().is_error());
    theirs.say("ACL SETUSER ann on >s@cret ~* &* +@all");
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut ours = server.resp();
    let address = |secrets: &str, rest: &str| format!("redis://{secrets}{}{rest}", real.address);
    let printed = done(&data, &["import", &address("ann:s%40cret@", "")]);
    assert!(printed.contains("keys are in default now") && printed.contains("1 libraries"), "{printed}");
    // How long a key lives is told, not when it dies: a round trip lies between.
    let (left, right) =
        [&mut theirs, &mut ours].map(|wire| wire.say("PEXPIRETIME long-lived").number().unwrap()).into();
    assert!(left.abs_diff(right) < 5_000, "{left} {right}");
    for wire in [&mut theirs, &mut ours] {
        for key in keys(wire) {
            // So that the rest can be compared.
            wire.say(&format!("PERSIST {key}"));
        }
    }
    same(&mut theirs, &mut ours, deadlines);
    assert_eq!(ours.say("FCALL answer 0"), Resp::Int(42));
    // What does not work leaves everything as it is.
    let before = ours.say("DBSIZE");
    for (source, part) in [
        (address("", ""), "the database has keys"),
        (address("ann:wrong@", ""), "WRONGPASS"),
        (address("", "/99"), "refuses SELECT"),
        ("redis://127.0.0.1:1".to_owned(), "cannot connect to 127.0.0.1:1"),
        (format!("rediss://{}", real.address), "TLS is not spoken here"),
    ] {
        let error = complaint(&data, &["import", &source]);
        assert!(error.contains(part), "{source}: {error}");
    }
    theirs.say("ACL SETUSER ben on >x ~* &* +@all -dump");
    let error = complaint(&data, &["import", "--replace", &address("ben:x@", "")]);
    assert!(error.contains("does not give") && error.contains("Nothing was imported"), "{error}");
    assert_eq!(ours.say("DBSIZE"), before);
    // Another number, in place of what is there.
    theirs.say("SELECT 5");
    theirs.say("SET fifth 5");
    assert!(done(&data, &["import", "--replace", &address("", "/5")]).contains("1 keys are in default now"));
    assert_eq!(keys(&mut ours), ["fifth"]);
}

#[test]
fn a_check_says_whether_a_directory_is_sound() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let mut ours = server.resp();
    for n in 0..100 {
        ours.say(&format!("SET key:{n} {n}"));
    }
    let checked = || {
        let output = dormouse().arg("check").arg(&data).output().unwrap();
        (
            output.status.code(),
            String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr),
        )
    };
    let (code, text) = checked();
    assert_eq!(code, Some(1), "{text}");
    assert!(text.contains("in use by another process"), "{text}");
    server.stop("TERM");
    let (code, text) = checked();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.ends_with("catalogue: 1 databases\nsound\n"), "{text}");
    let tables = data.join("store").join("tables");
    let table = std::fs::read_dir(tables).unwrap().next().unwrap().unwrap().path();
    let mut bytes = std::fs::read(&table).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&table, bytes).unwrap();
    let (code, text) = checked();
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("damage: ") && text.contains("\nDAMAGED\n"), "{text}");
    let output = dormouse().args(["check", "/nowhere/at/all"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
}
