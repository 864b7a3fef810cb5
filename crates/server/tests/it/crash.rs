//! The promise of the product: what was acknowledged is there after `kill -9`, and nothing half done is ever seen.
//!
//! Each round writes from several threads over both doors, kills the process at some moment (or asks it to stop), starts it
//! again on the same directory, and compares what is there with what was sent and what was acknowledged. Every operation
//! carries a number that rises, so that "between the last acknowledged and the last sent" can be checked for each key.
//! A small `--checkpoint-bytes` makes checkpoints happen all the time, so that kills hit them, too; memory is small, so that keys
//! leave it; a database falls asleep between requests; and backups are made all the while.
//!
//! `DORMOUSE_CRASH_ROUNDS` sets the number of rounds (`cargo xtask torture --rounds 500`), `DORMOUSE_CRASH_SEED` what they do.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use dormouse_engine::Random;

use crate::support::{Either, Http, Resp, Server, TOKEN, Wire, directory, dormouse, encode};

/// Threads that write, half of them over each door.
const WRITERS: usize = 6;
/// Fields, members and variants of a name that a writer goes through.
const SPREAD: u64 = 8;
/// Far enough in the future that nothing expires during a test.
const FAR_S: u64 = 100_000;

fn setting(name: &str, default: u64) -> u64 {
    std::env::var(name).map_or(default, |value| value.parse().unwrap())
}

fn rounds() -> u64 {
    setting("DORMOUSE_CRASH_ROUNDS", 12)
}

fn seed() -> u64 {
    let seed = setting("DORMOUSE_CRASH_SEED", 42);
    println!("DORMOUSE_CRASH_SEED={seed}");
    seed
}

fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_millis() as u64
}

fn torture_rounds() -> u64 {
    setting("DORMOUSE_CRASH_ROUNDS", 30)
}

/// Settings that make checkpoints frequent and memory tight, different from round to round.
fn pressure(random: &mut Random) -> Vec<&'static str> {
    let checkpoint = ["16KiB", "128KiB", "64MiB"][random.below(3) as usize];
    let memory = ["64KiB", "1GiB"][random.below(2) as usize];
    vec!["--checkpoint-bytes", checkpoint, "--memory", memory]
}

/// What one place of the data went through: the number last acknowledged, and the number last sent.
#[derive(Clone, Copy, Debug, Default)]
struct Span {
    acked: u64,
    sent: u64,
}

impl Span {
    fn holds(self, found: u64) -> bool {
        (self.acked..=self.sent).contains(&found)
    }
}

/// One writer: what it has told the server so far.
struct Writer {
    name: String,
    /// What opens its database.
    token: String,
    /// Between operations, so that its database falls asleep.
    pause_ms_max: u64,
    random: Random,
    next: u64,
    spans: BTreeMap<String, Span>,
    /// Keys with a near deadline: when they were certainly dead, in milliseconds since the Unix epoch.
    dying: Vec<(String, u64)>,
}

/// One operation: the place it is about, the number it leaves there, and the commands, as one or as a transaction.
struct Operation {
    place: String,
    number: u64,
    commands: Vec<Vec<String>>,
}

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

const SCRIPT: &str =
    "redis.call('SET',KEYS[1],ARGV[1]) redis.call('SET',KEYS[2],ARGV[1]) return redis.status_reply('OK')";

impl Writer {
    fn new(number: usize, seed: u64) -> Self {
        let random = Random::new(seed ^ (number as u64) << 32);
        let (name, token) = (format!("w{number}"), TOKEN.to_owned());
        Self { name, token, pause_ms_max: 0, random, next: 1, spans: BTreeMap::new(), dying: Vec::new() }
    }

    /// Draws the next operation. Places that count (`log`, `incr`) rise by one; the others take any higher number.
    fn draw(&mut self) -> Operation {
        let (w, n) = (self.name.clone(), self.next);
        self.next += 1;
        let part = self.random.below(SPREAD);
        let counted = |place: &str| self.spans.get(place).map_or(1, |span| span.sent + 1);
        let (place, number, lines) = match self.random.below(14) {
            0 => ("counter".to_owned(), n, vec![format!("SET {w}:counter {n}")]),
            1 => {
                let at = counted("log");
                ("log".to_owned(), at, vec![format!("RPUSH {w}:log {at}")])
            }
            2 => {
                let at = counted("pile");
                ("pile".to_owned(), at, vec![format!("LPUSH {w}:pile {at}")])
            }
            3 => (format!("hash {part}"), n, vec![format!("HSET {w}:hash f{part} {n} same {n}")]),
            4 => ("incr".to_owned(), counted("incr"), vec![format!("INCR {w}:incr")]),
            5 => (format!("zset {part}"), n, vec![format!("ZADD {w}:zset {n} m{part}")]),
            6 | 7 => ("pair".to_owned(), n, vec![format!("SET {w}:a {n}"), format!("HSET {w}:b at {n}")]),
            8 => {
                let script = vec!["EVAL".to_owned(), SCRIPT.to_owned()];
                let args = words(&format!("2 {w}:x {w}:y {n}"));
                let commands = vec![[script, args].concat()];
                return Operation { place: "script".to_owned(), number: n, commands };
            }
            9 => {
                // Odd numbers set, even ones delete.
                let at = counted("toggle");
                let line = if at % 2 == 1 { format!("SET {w}:toggle {at}") } else { format!("DEL {w}:toggle") };
                ("toggle".to_owned(), at, vec![line])
            }
            10 => ("far".to_owned(), n, vec![format!("SET {w}:far {n}"), format!("EXPIREAT {w}:far {}", far(n))]),
            11 => {
                let (key, ms) = (format!("{w}:soon:{n}"), 1 + self.random.below(300));
                self.dying.push((key.clone(), u64::MAX));
                (format!("soon {ms}"), n, vec![format!("SET {key} v PX {ms}")])
            }
            12 => {
                let big = format!("{n}.").repeat(200 + self.random.below(4_000) as usize);
                (format!("big {part}"), n, vec![format!("SET {w}:big:{part} {big}")])
            }
            _ => ("set".to_owned(), n, vec![format!("SADD {w}:set {n}"), format!("SREM {w}:set {}", n / 2)]),
        };
        Operation { place, number, commands: lines.iter().map(|line| words(line)).collect() }
    }

    /// Writes until the server is gone.
    fn work(&mut self, mut client: Either, stop: &AtomicBool) {
        while !stop.load(Ordering::Relaxed) {
            if self.pause_ms_max > 0 {
                std::thread::sleep(Duration::from_millis(self.random.below(self.pause_ms_max)));
            }
            let operation = self.draw();
            let span = self.spans.entry(operation.place.clone()).or_default();
            span.sent = operation.number;
            let commands: Vec<Vec<&str>> =
                operation.commands.iter().map(|command| command.iter().map(String::as_str).collect()).collect();
            let reply = match &commands[..] {
                [command] => client.run(command),
                several => client.all(&several.iter().map(Vec::as_slice).collect::<Vec<_>>()),
            };
            // Nothing comes back from a server that was killed: this one operation is open.
            let Ok(reply) = reply else { return };
            assert!(!reply.is_error(), "{:?} answered {reply:?}", operation.commands);
            self.spans.entry(operation.place.clone()).or_default().acked = operation.number;
            if let (Some(ms), Some((_, dead_at))) = (operation.place.strip_prefix("soon "), self.dying.last_mut()) {
                *dead_at = now_ms() + ms.parse::<u64>().unwrap();
            }
        }
    }

    /// Compares what is there with what was sent, and starts the next round from it.
    fn check(&mut self, wire: &mut Wire) {
        for place in self.spans.keys().cloned().collect::<Vec<_>>() {
            let span = self.spans[&place];
            let (kind, part) = place.split_once(' ').unwrap_or((&place, ""));
            if kind == "soon" {
                continue;
            }
            let found = self.found(wire, kind, part, span);
            assert!(span.holds(found), "{} {place}: {found} is there, {span:?}", self.name);
            self.spans.insert(place, Span { acked: found, sent: found });
        }
        self.check_set(wire);
        let now = now_ms();
        for (key, _) in self.dying.extract_if(.., |(_, dead_at)| *dead_at < now) {
            assert_eq!(wire.say(&format!("GET {key}")), Resp::Nil, "{key} is past its deadline");
        }
        // Those never acknowledged have a deadline nobody knows, but a near one.
        self.dying.retain(|(_, dead_at)| *dead_at != u64::MAX);
    }

    /// The number a place holds; what must be true within it is checked on the way.
    fn found(&self, wire: &mut Wire, kind: &str, part: &str, span: Span) -> u64 {
        let w = &self.name;
        let mut get = |line: String| wire.say(&line);
        match kind {
            "counter" | "incr" => get(format!("GET {w}:{kind}")).number().unwrap_or(0),
            "log" | "pile" => {
                let mut items: Vec<u64> =
                    get(format!("LRANGE {w}:{kind} 0 -1")).items().iter().filter_map(Resp::number).collect();
                if kind == "pile" {
                    items.reverse();
                }
                assert!(items.iter().copied().eq(1..=items.len() as u64), "{w}:{kind} has gaps: {items:?}");
                items.len() as u64
            }
            "hash" => get(format!("HGET {w}:hash f{part}")).number().unwrap_or(0),
            "zset" => get(format!("ZSCORE {w}:zset m{part}")).number().unwrap_or(0),
            "pair" => {
                let both = (get(format!("GET {w}:a")), get(format!("HGET {w}:b at")));
                assert_eq!(both.0, both.1, "half of a transaction");
                both.0.number().unwrap_or(0)
            }
            "script" => {
                let both = (get(format!("GET {w}:x")), get(format!("GET {w}:y")));
                assert_eq!(both.0, both.1, "half of a script");
                both.0.number().unwrap_or(0)
            }
            "toggle" => match get(format!("GET {w}:toggle")).number() {
                Some(at) => at,
                // Deleted, by whichever of the deletions fits.
                None if span.acked.is_multiple_of(2) => span.acked,
                None => span.sent - span.sent % 2,
            },
            "far" => {
                let at = get(format!("GET {w}:far")).number();
                let deadline = get(format!("EXPIRETIME {w}:far"));
                assert_eq!(
                    deadline,
                    Resp::Int(at.map_or(-2, |at| far(at) as i64)),
                    "value and deadline are of one write"
                );
                at.unwrap_or(0)
            }
            "big" => {
                let text = get(format!("GET {w}:big:{part}")).text();
                let first = text.split('.').next().unwrap_or_default();
                assert!(text.split_terminator('.').all(|item| item == first), "a value of two writes");
                first.parse().unwrap_or(0)
            }
            "set" => span.acked,
            other => panic!("{other}"),
        }
    }

    /// The member added last is there.
    fn check_set(&self, wire: &mut Wire) {
        let Some(span) = self.spans.get("set") else { return };
        let is_there = wire.say(&format!("SISMEMBER {}:set {}", self.name, span.acked)) == Resp::Int(1);
        assert!(span.acked == 0 || is_there, "{}:set has lost {}", self.name, span.acked);
    }
}

const fn far(number: u64) -> u64 {
    4_000_000_000 + FAR_S + number
}

/// Over REST whose number is even, or who lets its database sleep.
fn client(server: &Server, number: usize, writer: &Writer) -> Either {
    if number.is_multiple_of(2) || writer.pause_ms_max > 0 {
        return Either::Rest(Http::connect(server.http, &writer.token));
    }
    Either::Resp(wire(server, writer))
}

fn wire(server: &Server, writer: &Writer) -> Wire {
    let mut wire = server.raw_resp();
    assert_eq!(wire.run(&["AUTH", &writer.token]).unwrap(), Resp::ok());
    wire
}

/// Writes on all writers for a while, and ends the server meanwhile.
fn round(server: &mut Server, writers: &mut [Writer], after: Duration, end: impl FnOnce(&mut Server)) {
    let stop = Arc::new(AtomicBool::new(false));
    let clients: Vec<Either> =
        writers.iter().enumerate().map(|(number, writer)| client(server, number, writer)).collect();
    std::thread::scope(|scope| {
        for (writer, client) in writers.iter_mut().zip(clients) {
            let stop = &stop;
            scope.spawn(move || writer.work(client, stop));
        }
        std::thread::sleep(after);
        end(server);
        stop.store(true, Ordering::Relaxed);
    });
}

fn check(server: &Server, writers: &mut [Writer]) {
    for writer in writers {
        writer.check(&mut wire(server, writer));
    }
}

fn writers(seed: u64) -> Vec<Writer> {
    (0..WRITERS).map(|number| Writer::new(number, seed)).collect()
}

fn acknowledged(writers: &[Writer]) -> u64 {
    writers.iter().map(|writer| writer.next).sum()
}

#[test]
fn what_was_acknowledged_survives_every_kill() {
    let (seed, (guard, data)) = (seed(), directory());
    let (mut random, mut writers) = (Random::new(seed), writers(seed));
    // One that never is in a hurry, on a database of its own.
    let mut sleeper = Writer { pause_ms_max: 400, ..Writer::new(WRITERS, seed) };
    sleeper.token = token_of_new(&data, "night");
    writers.push(sleeper);
    let backups = guard.path().join("backups");
    let backups = backups.to_str().unwrap();
    let more = ["--sleep-after", "100ms", "--backup-dir", backups, "--backup-every", "1s", "--backup-keep", "2"];
    for number in 0..torture_rounds() {
        let mut server = Server::start(&data, &[pressure(&mut random), more.to_vec()].concat());
        check(&server, &mut writers);
        let after = Duration::from_millis(20 + random.below(600));
        round(&mut server, &mut writers, after, Server::kill);
        println!("round {number}: {} operations so far", acknowledged(&writers));
    }
    let server = Server::start(&data, &[]);
    check(&server, &mut writers);
    let files: Vec<_> = std::fs::read_dir(backups).unwrap().map(|entry| entry.unwrap().path()).collect();
    let whole: Vec<_> = files.iter().filter(|path| path.extension().is_some_and(|ending| ending == "backup")).collect();
    assert!(!whole.is_empty() && whole.len() <= 3, "{files:?}");
    for (number, file) in whole.iter().enumerate() {
        for name in ["default", "night"] {
            let copy = format!("{name}-{number}");
            let mut restore = dormouse();
            restore.arg("restore").arg(&copy).arg("--data").arg(&data).arg("--from").arg(file);
            let output = restore.args(["--database", name]).output().unwrap();
            assert!(output.status.success(), "{file:?}: {}", String::from_utf8_lossy(&output.stderr));
        }
    }
}

/// Makes a database on a server that runs for it alone.
fn token_of_new(data: &std::path::Path, name: &str) -> String {
    let mut server = Server::start(data, &[]);
    let output = dormouse().args(["db", "create", name, "--json", "--data"]).arg(data).output().unwrap();
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    server.kill();
    made["rest_token"].as_str().unwrap().to_owned()
}

#[test]
fn what_was_acknowledged_survives_a_stop_under_load() {
    let (seed, (_guard, data)) = (seed(), directory());
    let (mut random, mut writers) = (Random::new(seed), writers(seed));
    for signal in ["TERM", "INT", "TERM"] {
        let mut server = Server::start(&data, &pressure(&mut random));
        check(&server, &mut writers);
        round(&mut server, &mut writers, Duration::from_millis(200), |server| {
            let status = server.stop(signal);
            assert!(status.success(), "{status}: {}", server.logged());
        });
    }
    check(&Server::start(&data, &[]), &mut writers);
}

/// Killed again and again while it recovers, it still comes up in the end with everything.
#[test]
fn a_kill_during_recovery_does_no_harm() {
    let (seed, (_guard, data)) = (seed(), directory());
    let (mut random, mut writers) = (Random::new(seed), writers(seed));
    round(
        &mut Server::start(&data, &["--checkpoint-bytes", "1GiB"]),
        &mut writers,
        Duration::from_millis(500),
        Server::kill,
    );
    for _ in 0..rounds().min(8) {
        let mut command = crate::support::dormouse();
        let ports = ["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0"];
        let mut child = command.arg("--data").arg(&data).args(ports).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(random.below(40)));
        child.kill().unwrap();
        child.wait().unwrap();
    }
    check(&Server::start(&data, &[]), &mut writers);
}

// --- one writer, compared exactly ----------------------------------------------------------------------------------

/// A database as a map; lists are their items joined.
type Model = BTreeMap<String, Held>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Held {
    Text(String, i64),
    List(Vec<String>),
}

/// Draws a command and does the same to the model.
fn step(random: &mut Random, number: u64, model: &mut Model) -> Vec<String> {
    let key = format!("k{}", random.below(12));
    let list = format!("l{}", random.below(4));
    match random.below(40) {
        0 => {
            model.clear();
            words("FLUSHDB")
        }
        1..=4 => {
            model.remove(&key);
            words(&format!("DEL {key}"))
        }
        5..=8 => {
            let Some(Held::Text(text, deadline)) = model.remove(&key) else { return words("PING") };
            let to = format!("k{}", random.below(12));
            model.insert(to.clone(), Held::Text(text, deadline));
            words(&format!("RENAME {key} {to}"))
        }
        9..=13 => {
            let deadline = 4_000_000_000 + number as i64;
            if let Some(Held::Text(_, at)) = model.get_mut(&key) {
                *at = deadline;
            }
            words(&format!("EXPIREAT {key} {deadline}"))
        }
        14..=20 => {
            let Held::List(items) = model.entry(list.clone()).or_insert_with(|| Held::List(Vec::new())) else {
                panic!("lists have names of their own")
            };
            items.push(number.to_string());
            words(&format!("RPUSH {list} {number}"))
        }
        21..=23 => {
            if let Some(Held::List(items)) = model.get_mut(&list) {
                items.remove(0);
                if items.is_empty() {
                    model.remove(&list);
                }
            }
            words(&format!("LPOP {list}"))
        }
        24..=29 => {
            if let Held::Text(text, _) = model.entry(key.clone()).or_insert(Held::Text(String::new(), -1)) {
                text.push('-');
                text.push_str(&number.to_string());
            }
            words(&format!("APPEND {key} -{number}"))
        }
        _ => {
            model.insert(key.clone(), Held::Text(number.to_string(), -1));
            words(&format!("SET {key} {number}"))
        }
    }
}

/// Everything a server holds, by walking it.
fn dump(wire: &mut Wire) -> Model {
    let mut model = Model::new();
    let mut cursor = "0".to_owned();
    loop {
        let page = wire.say(&format!("SCAN {cursor} COUNT 7"));
        for key in page.items()[1].items().iter().map(Resp::text) {
            let held = if wire.say(&format!("TYPE {key}")).text() == "list" {
                let items = wire.say(&format!("LRANGE {key} 0 -1"));
                Held::List(items.items().iter().map(Resp::text).collect())
            } else {
                let Resp::Int(deadline) = wire.say(&format!("EXPIRETIME {key}")) else {
                    panic!("a deadline is a number")
                };
                Held::Text(wire.say(&format!("GET {key}")).text(), deadline)
            };
            model.insert(key, held);
        }
        cursor = page.items()[0].text();
        if cursor == "0" {
            return model;
        }
    }
}

/// One connection, many commands under way: what is there after a kill is exactly what some number of them leave, not
/// fewer than were answered and not more than were sent. `FLUSHDB` is among them.
#[test]
fn a_pipeline_is_cut_at_one_place() {
    const UNDER_WAY: u64 = 32;
    let (seed, (_guard, data)) = (seed(), directory());
    let mut random = Random::new(seed);
    let mut model = Model::new();
    let mut number = 0;
    for _ in 0..rounds().div_ceil(2) {
        let mut server = Server::start(&data, &pressure(&mut random));
        let mut wire = server.resp();
        assert_eq!(dump(&mut wire), model);
        let until = Instant::now() + Duration::from_millis(50 + random.below(500));
        // The states after each command that was not answered yet.
        let mut open = std::collections::VecDeque::from([model.clone()]);
        while Instant::now() < until {
            while open.len() as u64 <= UNDER_WAY {
                number += 1;
                let command = step(&mut random, number, &mut model);
                wire.write(&encode(&command)).unwrap();
                open.push_back(model.clone());
            }
            for _ in 0..=random.below(UNDER_WAY) {
                let reply = wire.read().unwrap();
                assert!(!reply.is_error(), "{reply:?}");
                open.pop_front();
            }
        }
        server.kill();
        while wire.read().is_ok() {
            open.pop_front();
        }
        let server = Server::start(&data, &pressure(&mut random));
        let found = dump(&mut server.resp());
        assert!(open.contains(&found), "after {number} commands, {} open: {found:#?}", open.len() - 1);
        model = found;
    }
}

// --- deadlines ---------------------------------------------------------------------------------------------------------

#[test]
fn keys_that_died_while_it_was_away_stay_dead() {
    let (_guard, data) = directory();
    for (end, checkpoint) in [("kill", "64MiB"), ("kill", "1KiB"), ("stop", "64MiB")] {
        let mut server = Server::start(&data, &["--checkpoint-bytes", checkpoint]);
        let mut wire = server.resp();
        wire.say("FLUSHDB");
        for number in 0..100 {
            assert_eq!(wire.say(&format!("SET dying:{number} v PX 400")), Resp::ok());
            assert_eq!(wire.say(&format!("SET living:{number} v PX 60000")), Resp::ok());
        }
        wire.say("RPUSH list a b");
        wire.say("PEXPIRE list 400");
        let set = Instant::now();
        // Time for a checkpoint, where there is to be one.
        std::thread::sleep(Duration::from_millis(150));
        match end {
            "kill" => server.kill(),
            _ => assert!(server.stop("TERM").success()),
        }
        std::thread::sleep(Duration::from_millis(400).saturating_sub(set.elapsed()));
        let server = Server::start(&data, &[]);
        let mut wire = server.resp();
        for number in 0..100 {
            assert_eq!(wire.say(&format!("GET dying:{number}")), Resp::Nil);
            assert_eq!(wire.say(&format!("GET living:{number}")), Resp::bulk("v"));
        }
        assert_eq!(wire.say("EXISTS list"), Resp::Int(0));
        assert!(dump(&mut wire).keys().all(|key| key.starts_with("living:")));
        crate::support::eventually("dead keys are removed", || wire.say("DBSIZE") == Resp::Int(100));
    }
}

#[test]
fn an_emptied_database_stays_empty() {
    let (_guard, data) = directory();
    for checkpoint in ["1KiB", "64MiB"] {
        let mut server = Server::start(&data, &["--checkpoint-bytes", checkpoint]);
        let mut wire = server.resp();
        fill(&mut wire, 200);
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(wire.say("FLUSHDB"), Resp::ok());
        assert_eq!(wire.say("SET after flush"), Resp::ok());
        server.kill();
        let mut server = Server::start(&data, &["--checkpoint-bytes", checkpoint]);
        let mut wire = server.resp();
        assert_eq!(wire.say("DBSIZE"), Resp::Int(1));
        assert_eq!(dump(&mut wire).into_keys().collect::<Vec<_>>(), ["after"]);
        fill(&mut wire, 10);
        server.kill();
        let server = Server::start(&data, &[]);
        assert_eq!(server.resp().say("DBSIZE"), Resp::Int(11));
    }
}

fn fill(wire: &mut Wire, keys: u64) {
    for number in 0..keys {
        assert_eq!(wire.say(&format!("SET key:{number} {}", "v".repeat(100))), Resp::ok());
    }
}

/// Only what was written since the last checkpoint is read at the start.
#[test]
fn data_far_larger_than_memory_is_all_there() {
    let (_guard, data) = directory();
    let more = ["--checkpoint-bytes", "256KiB", "--memory", "256KiB"];
    let mut server = Server::start(&data, &more);
    let http = |server: &Server, from: u64, verb: &dyn Fn(u64) -> Vec<String>| {
        let commands: Vec<Vec<String>> = (from..from + 250).map(verb).collect();
        server.http().post("/pipeline", serde_json::to_vec(&commands).unwrap()).unwrap().json()
    };
    for from in (0..4_000).step_by(250) {
        let set = |n: u64| vec!["SET".to_owned(), format!("key:{n}"), format!("{n} ").repeat(100)];
        http(&server, from, &set);
    }
    let read = |server: &Server| {
        for from in (0..4_000).step_by(250) {
            let found = http(server, from, &|n| vec!["GET".to_owned(), format!("key:{n}")]);
            for (at, item) in found.as_array().unwrap().iter().enumerate() {
                let expected = format!("{} ", from + at as u64).repeat(100);
                assert_eq!(item["result"].as_str(), Some(expected.as_str()), "key:{}", from + at as u64);
            }
        }
        assert_eq!(server.resp().say("DBSIZE"), Resp::Int(4_000));
    };
    read(&server);
    server.kill();
    read(&Server::start(&data, &more));
}

/// What is written is nearly five times the bound, in values of all sizes, by clients that do not wait for each other.
#[cfg(target_os = "linux")]
#[test]
fn the_process_stays_near_its_bound_while_clients_write_more_than_that() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &["--memory", "32MiB", "--durability", "none"]);
    let value = "v".repeat(64 << 10);
    std::thread::scope(|scope| {
        for client in 0..4 {
            let (server, value) = (&server, &value);
            scope.spawn(move || {
                let mut wire = server.resp();
                for turn in 0..5_000_u64 {
                    // From one byte to 64 KiB, 8 KiB on average.
                    let length = 1 << (turn * 7 % 17);
                    let key = format!("{client}:{turn}");
                    assert_eq!(wire.run(&["SET", &key, &value[..length]]).unwrap(), Resp::ok());
                }
            });
        }
    });
    let most_mib = server.most_memory_kib() >> 10;
    // The bound, 15 % and 64 MiB are what is stated of a release; this build is slower at giving back what it has freed.
    assert!(most_mib < 170, "{most_mib} MiB");
    let mut wire = server.resp();
    for client in 0..4 {
        for turn in (0..5_000).step_by(101) {
            assert_eq!(wire.say(&format!("STRLEN {client}:{turn}")), Resp::Int(1 << (turn * 7 % 17)));
        }
    }
    assert_eq!(wire.say("DBSIZE"), Resp::Int(20_000));
}
