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
    // All of them at once, and one of those under another name.
    let all = guard.path().join("all.backup");
    assert!(on("backup", &["--all", "--to", all.to_str().unwrap()]).status.success());
    let args = ["third", "--from", all.to_str().unwrap(), "--database", "copy"];
    assert!(text(&on("restore", &args).stdout).starts_with("# 200 keys\n"));
    assert!(db(&data, &["delete", "third"]).status.success());
    // What is no backup, or half of one, makes no database.
    let bytes = std::fs::read(&file).unwrap();
    std::fs::write(&file, &bytes[..bytes.len() / 2]).unwrap();
    for (command, args, part) in [
        ("restore", &["half", "--from", file.to_str().unwrap()][..], "it ends too early"),
        ("restore", &["copy", "--from", file.to_str().unwrap()], "already"),
        ("restore", &["x", "--from", all.to_str().unwrap()], "say which one is meant with --database"),
        (
            "restore",
            &["x", "--from", all.to_str().unwrap(), "--database", "nope"],
            "no database 'nope', but copy, default",
        ),
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

fn backups(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries.map(|entry| entry.file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn backups_come_by_themselves_and_old_ones_go() {
    let (guard, data) = directory();
    let dir = guard.path().join("backups");
    let flags = ["--backup-dir", dir.to_str().unwrap(), "--backup-every", "1s", "--backup-keep", "2"];
    let mut server = Server::start(&data, &flags);
    server.http().post("/", r#"["SET","k","v"]"#).unwrap();
    json(&data, &["create", "shop"]);
    eventually("two backups", || backups(&dir).len() == 2);
    let first = backups(&dir);
    eventually("others", || {
        let names = backups(&dir);
        let whole = names.iter().filter(|name| name.ends_with(".backup")).count();
        whole == 2 && !names.iter().any(|name| first.contains(name))
    });
    let info = server.resp().say("INFO persistence").text();
    assert!(info.contains("dormouse_last_backup_status:ok"), "{info}");
    assert!(server.stop("TERM").success());
    let names = backups(&dir);
    assert!(names.iter().all(|name| name.ends_with(".backup")), "{names:?}");
    // The last one has what there was.
    let server = Server::start(&data, &[]);
    let file = dir.join(names.last().unwrap());
    let mut restore = dormouse();
    restore.args(["restore", "copy", "--database", "default", "--from"]).arg(&file).arg("--data").arg(&data);
    assert!(restore.output().unwrap().status.success());
    let copy = json(&data, &["show", "copy"]);
    let mut http = Http::connect(server.http, token(&copy));
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
}

#[test]
fn a_backup_that_fails_is_told_of_and_stops_nothing() {
    let (guard, data) = directory();
    let dir = guard.path().join("taken");
    std::fs::write(&dir, "a file").unwrap();
    let server = Server::start(&data, &["--backup-dir", dir.to_str().unwrap()]);
    eventually("a word", || server.logged().contains("a scheduled backup failed"));
    eventually("INFO", || server.resp().say("INFO persistence").text().contains("dormouse_last_backup_status:err"));
    let mut http = server.http();
    assert_eq!(http.post("/", r#"["SET","k","v"]"#).unwrap().json()["result"], "OK");
    assert_eq!(http.send("GET", "/health", "", b"").unwrap().status, 200);
}
