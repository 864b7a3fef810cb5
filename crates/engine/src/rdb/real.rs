//! Payloads to a real Redis and back, where one is installed: it must read ours, and we must read what it makes of them.

#![expect(clippy::print_stderr, reason = "a test that did nothing should say so")]

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use dormouse_proto::Reply;
use dormouse_proto::resp::{decode_reply, encode_command};

use super::tests::{check_restores, content, dumped, fixtures, random_value, run};
use crate::moment::Random;
use crate::testing::Bench;

/// Settings under which Redis packs nothing, or little; the first are its own.
const SETTINGS: &[&[(&str, &str)]] = &[
    &[],
    &[
        ("rdbcompression", "no"),
        ("list-max-listpack-size", "2"),
        ("set-max-intset-entries", "0"),
        ("hash-max-listpack-entries", "0"),
        ("zset-max-listpack-entries", "0"),
    ],
];

/// A server of our own, on a socket of its own.
struct Redis {
    process: Child,
    socket: PathBuf,
    stream: UnixStream,
}

impl Redis {
    /// `None` if there is none to be started.
    fn start() -> Option<Self> {
        let socket = std::env::temp_dir().join(format!("dormouse-rdb-{}.sock", std::process::id()));
        let mut command = Command::new("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--unixsocket"]).arg(&socket);
        let mut process = command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        for _ in 0..100 {
            if let Ok(stream) = UnixStream::connect(&socket) {
                return Some(Self { process, socket, stream });
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        process.kill().unwrap();
        process.wait().unwrap();
        None
    }

    fn run<T: AsRef<[u8]>>(&mut self, args: &[T]) -> Reply {
        let mut request = Vec::new();
        encode_command(args.iter().map(AsRef::as_ref), &mut request);
        self.stream.write_all(&request).unwrap();
        let (mut received, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        loop {
            let count = self.stream.read(&mut chunk).unwrap();
            assert!(count > 0, "the server left");
            received.extend_from_slice(&chunk[..count]);
            if let Some((reply, _)) = decode_reply(&received).unwrap() {
                return reply;
            }
        }
    }

    /// The checks for what `commands` build as `k`.
    fn exchange(&mut self, mut bench: Bench, commands: &[Vec<Vec<u8>>], what: &str) {
        self.run(&["FLUSHALL"]);
        for command in commands {
            self.run(command);
        }
        let ours = dumped(&mut bench, "k");
        assert_eq!(self.run(&[&b"RESTORE"[..], b"copy", b"0", &ours]), Reply::OK, "{what}");
        assert_eq!(content(|args| self.run(args), "copy"), content(|args| self.run(args), "k"), "{what}");
        let Reply::Bulk(theirs) = self.run(&["DUMP", "copy"]) else { panic!("{what} was not dumped") };
        check_restores(&mut bench, &theirs, what);
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // A server that is gone already is as good.
        drop(self.process.kill());
        drop(self.process.wait());
        drop(std::fs::remove_file(&self.socket));
    }
}

#[test]
fn a_real_redis_reads_our_payloads_and_we_read_its_own() {
    let Some(mut redis) = Redis::start() else {
        eprintln!("skipped: no redis-server on this machine");
        return;
    };
    for settings in SETTINGS {
        for (name, value) in *settings {
            assert_eq!(redis.run(&["CONFIG", "SET", name, value]), Reply::OK, "{name}");
        }
        for fixture in fixtures() {
            redis.exchange(fixture.built(), &fixture.commands, fixture.name);
        }
        let mut random = Random::new(29);
        for round in 0..60 {
            let command = random_value(&mut random);
            let mut bench = Bench::new();
            run(&mut bench, &command);
            redis.exchange(bench, &[command], &format!("round {round}"));
        }
    }
}
