//! Many databases, and a process that costs nothing while nobody uses it.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::support::{Http, Server, TOKEN, directory, dormouse, eventually, wait};

/// Runs `dormouse db`.
fn db(data: &Path, args: &[&str]) -> Output {
    dormouse().arg("db").arg("--data").arg(data).args(args).output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// The answer of a command that works, as JSON.
fn json(data: &Path, args: &[&str]) -> Value {
    let output = db(data, &[args, &["--json"]].concat());
    assert!(output.status.success(), "{args:?}: {}", text(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

/// What a command that does not work says.
fn complaint(data: &Path, args: &[&str]) -> String {
    let output = db(data, args);
    assert!(!output.status.success(), "{args:?}");
    text(&output.stderr)
}

fn token(database: &Value) -> &str {
    database["rest_token"].as_str().unwrap()
}

#[test]
fn databases_are_made_and_deleted_while_the_server_runs() {
    let (_guard, data) = directory();
    let error = complaint(&data, &["list"]);
    assert!(error.contains("no server runs on"), "{error}");
    let mut server = Server::start(&data, &[]);
    let printed = text(&db(&data, &["create", "shop"]).stdout);
    assert!(printed.contains(&format!("UPSTASH_REDIS_REST_URL=\"http://{}\"", server.http)), "{printed}");
    let shop = json(&data, &["show", "shop"]);
    assert!(printed.contains(&format!("UPSTASH_REDIS_REST_TOKEN=\"{}\"", token(&shop))), "{printed}");
    let mut http = Http::connect(server.http, token(&shop));
    assert_eq!(http.post("/", r#"["SET","k","v"]"#).unwrap().json()["result"], "OK");
    assert_eq!(server.http().post("/", r#"["EXISTS","k"]"#).unwrap().json()["result"], 0, "that is another database");
    let list = json(&data, &["list"]);
    let names: Vec<&str> = list.as_array().unwrap().iter().map(|row| row["database_name"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "shop"]);
    assert!(list[1].get("rest_token").is_none(), "a list tells no secrets");
    for (args, part) in [
        (&["create", "shop"][..], "already"),
        (&["create", "a b"], "cannot name a database"),
        (&["delete", "default"], "cannot be deleted"),
        (&["show", "nope"], "there is no database 'nope'"),
        (&["delete", "../x"], "there is no database '../x'"),
    ] {
        let error = complaint(&data, args);
        assert!(error.contains(part), "{args:?}: {error}");
    }
    // Also after a crash, and by what the database is called everywhere.
    server.kill();
    let server = Server::start(&data, &[]);
    let id = shop["database_id"].as_str().unwrap();
    let fresh = json(&data, &["rotate-tokens", id]);
    assert_eq!(Http::connect(server.http, token(&shop)).post("/", r#"["GET","k"]"#).unwrap().status, 401);
    let mut http = Http::connect(server.http, token(&fresh));
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
    assert_eq!(text(&db(&data, &["rename", "shop", "store"]).stdout), "renamed to store\n");
    assert_eq!(text(&db(&data, &["delete", "store"]).stdout), "deleted store\n");
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().status, 401);
    assert_eq!(json(&data, &["list"]).as_array().unwrap().len(), 1);
}

#[test]
fn a_database_nobody_uses_sleeps_until_somebody_calls() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &["--sleep-after", "200ms"]);
    let shop = json(&data, &["create", "shop"]);
    let state = || json(&data, &["show", "shop"])["state"].as_str().unwrap().to_owned();
    let mut http = Http::connect(server.http, token(&shop));
    assert_eq!(http.post("/", r#"["SET","k","v"]"#).unwrap().json()["result"], "OK");
    assert_eq!(state(), "active");
    eventually("sleep", || state() == "passive");
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
    assert_eq!(state(), "active");
}

/// How often the process has been on a processor.
fn turns(pid: u32) -> u64 {
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let status =
        |task: std::io::Result<std::fs::DirEntry>| std::fs::read_to_string(task.unwrap().path().join("status"));
    let count = |status: String| -> u64 {
        let lines = status.lines().filter(|line| line.contains("ctxt_switches"));
        lines.map(|line| line.rsplit(char::is_whitespace).next().unwrap().parse::<u64>().unwrap()).sum()
    };
    tasks.map(|task| count(status(task).unwrap_or_default())).sum()
}

#[test]
fn a_process_nobody_uses_does_nothing_at_all() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &["--sleep-after", "100ms"]);
    server.http().post("/", r#"["SET","k","v","PX","300"]"#).unwrap();
    eventually("silence", || {
        let before = turns(server.id());
        std::thread::sleep(Duration::from_millis(700));
        turns(server.id()) == before
    });
    // It still knows what time does.
    assert_eq!(server.http().post("/", r#"["DBSIZE"]"#).unwrap().json()["result"], 0);
}

/// Starts the server as systemd would: with a socket that somebody else listens on.
fn activated(data: &Path, listener: &TcpListener, more: &[&str]) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", r#"exec 3<&0 </dev/null; LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" "$@""#]);
    command.arg(env!("CARGO_BIN_EXE_dormouse")).arg("--data").arg(data).args(["--token", TOKEN, "--resp", "off"]);
    command.args(more).stdin(OwnedFd::from(listener.try_clone().unwrap()));
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

#[test]
fn the_process_ends_when_it_is_idle_and_the_socket_starts_it_again() {
    let (_guard, data) = directory();
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    for round in 0..3 {
        // The client is there before the server: it waits in the socket's queue.
        let mut http = Http::connect(address, TOKEN);
        let mut command = activated(&data, &listener, &["--idle-exit", "300ms"]);
        let mut child = command.spawn().unwrap();
        let counted = http.post("/", r#"["INCR","rounds"]"#).unwrap();
        assert_eq!(counted.json()["result"], round + 1);
        let ended = wait(&mut child).expect("nobody uses it, so it ends");
        assert!(ended.success());
    }
}

#[test]
fn a_client_that_waits_for_a_message_keeps_the_process_up() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &["--idle-exit", "300ms"]);
    let mut wire = server.resp();
    wire.say("SUBSCRIBE news");
    std::thread::sleep(Duration::from_millis(900));
    assert!(server.is_running());
    drop(wire);
    eventually("its end", || !server.is_running());
}

#[test]
fn a_backup_taken_while_the_server_runs_becomes_a_database_again() {
    let (guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    let value = "v".repeat(5_000);
    for n in 0..200 {
        http.post(&format!("/set/key:{n}"), &value).unwrap();
    }
    let file = guard.path().join("default.backup");
    let on =
        |command: &str, args: &[&str]| dormouse().arg(command).arg("--data").arg(&data).args(args).output().unwrap();
    let done = on("backup", &["default", "--to", file.to_str().unwrap()]);
    assert!(done.status.success(), "{}", text(&done.stderr));
    http.post("/", r#"["FLUSHALL"]"#).unwrap();
    let piped = on("backup", &["default"]);
    assert!(piped.status.success() && piped.stdout.starts_with(b"dormouse backup\n"));
    let done = on("restore", &["copy", "--from", file.to_str().unwrap()]);
    let printed = text(&done.stdout);
    assert!(printed.starts_with("# 200 keys\n"), "{printed}{}", text(&done.stderr));
    let token =
        printed.lines().find_map(|line| line.strip_prefix("UPSTASH_REDIS_REST_TOKEN=")).unwrap().trim_matches('"');
    let mut copy = Http::connect(server.http, token);
    assert_eq!(copy.post("/", r#"["GET","key:7"]"#).unwrap().json()["result"], value);
    assert_eq!(copy.post("/", r#"["DBSIZE"]"#).unwrap().json()["result"], 200);
    // What is no backup, or half of one, makes no database.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    for (command, args, part) in [
        ("restore", &["half", "--from", file.to_str().unwrap()][..], "it ends too early"),
        ("restore", &["copy", "--from", file.to_str().unwrap()], "already"),
        ("restore", &["x", "--from", "/nowhere"], "cannot read /nowhere"),
        ("backup", &["nope"], "there is no database 'nope'"),
        ("backup", &["default", "--to", "/nowhere/file"], "cannot write /nowhere/file.part"),
    ] {
        let output = on(command, args);
        let error = text(&output.stderr);
        assert!(!output.status.success() && error.contains(part), "{command} {args:?}: {error}");
    }
    assert_eq!(json(&data, &["list"]).as_array().unwrap().len(), 2);
}
