//! What operators do with clients: watch, end, pause, unblock and silence them.

use std::time::{Duration, Instant};

use crate::support::{Http, READ_ONLY, Resp, Server, TOKEN, directory, eventually};

fn id(wire: &mut crate::support::Wire) -> String {
    wire.say("CLIENT ID").text()
}

#[test]
fn a_monitor_sees_both_doors_and_no_password() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut monitor, mut wire, mut http) = (server.resp(), server.resp(), server.http());
    let mut sse = server.http();
    sse.write(
        format!("POST /monitor HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 0\r\n\r\n")
            .as_bytes(),
    )
    .unwrap();
    assert_eq!(sse.head().unwrap().header("content-type"), Some("text/event-stream"));
    assert_eq!(sse.event().unwrap(), r#""OK""#);
    assert_eq!(monitor.say("MONITOR"), Resp::ok());
    let address = wire.socket().local_addr().unwrap().to_string();
    wire.say("SET k v");
    http.post("/", r#"["GET","k"]"#).unwrap();
    http.post("/pipeline", r#"[["INCR","n"],["NOPE"],["GET"]]"#).unwrap();
    http.post("/multi-exec", r#"[["INCR","n"],["LPUSH","k","x"]]"#).unwrap();
    wire.say(&format!("AUTH {TOKEN}"));
    wire.say(&format!("AUTH default {TOKEN}"));
    wire.say(&format!("HELLO 2 AUTH default {TOKEN}"));
    wire.say("CONFIG GET port");
    wire.say("BLPOP q 0.05");
    let lines = [
        format!("[0 {address}] \"SET\" \"k\" \"v\""),
        "[0 0.0.0.0:0] \"GET\" \"k\"".to_owned(),
        "[0 0.0.0.0:0] \"INCR\" \"n\"".to_owned(),
        "[0 0.0.0.0:0] \"INCR\" \"n\"".to_owned(),
        "[0 0.0.0.0:0] \"LPUSH\" \"k\" \"x\"".to_owned(),
        format!("[0 {address}] \"AUTH\" \"(redacted)\""),
        format!("[0 {address}] \"AUTH\" \"(redacted)\" \"(redacted)\""),
        format!("[0 {address}] \"HELLO\" \"2\" \"AUTH\" \"(redacted)\" \"(redacted)\""),
        format!("[0 {address}] \"BLPOP\" \"q\" \"0.05\""),
    ];
    for line in lines {
        let (seen, event) = (monitor.read().unwrap().text(), sse.event().unwrap());
        let (time, rest) = seen.split_once(' ').unwrap();
        assert_eq!(rest, line);
        assert!(time.split_once('.').is_some_and(|(s, us)| s.len() == 10 && us.len() == 6), "{time}");
        assert_eq!(event, seen);
    }
    // It still may run commands of its own, and stops when told.
    monitor.write(b"*1\r\n$4\r\nPING\r\n").unwrap();
    let both = [monitor.read().unwrap().text(), monitor.read().unwrap().text()];
    assert!(both[0] == "PONG" && both[1].ends_with("\"PING\""), "{both:?}");
    assert_eq!(monitor.say("RESET").text(), "RESET");
    let refused = Http::connect(server.http, READ_ONLY).post("/monitor", "").unwrap();
    assert_eq!(refused.status, 400);
    assert_eq!(server.http().post("/", r#"["MONITOR"]"#).unwrap().status, 400);
}

#[test]
fn a_monitor_that_does_not_read_is_cut_off() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut monitor, mut wire) = (server.resp(), server.resp());
    let theirs = id(&mut monitor);
    monitor.write(b"*1\r\n$7\r\nMONITOR\r\n").unwrap();
    let big = "x".repeat(900_000);
    let mut sent = 0;
    eventually("it is cut off", || {
        for _ in 0..10 {
            wire.run(&["ECHO", &big]).unwrap();
            sent += 1;
        }
        !wire.say("CLIENT LIST").text().contains(&format!("id={theirs} "))
    });
    assert!(sent >= 30, "{sent}");
}

#[test]
fn connections_are_ended_by_others() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut operator = server.resp();
    for way in ["id", "address", "subscriber", "waiting", "monitor"] {
        let mut victim = server.resp();
        let (their_id, address) = (id(&mut victim), victim.socket().local_addr().unwrap());
        match way {
            "subscriber" => drop(victim.say("SUBSCRIBE c")),
            "waiting" => victim.write(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n").unwrap(),
            "monitor" => drop(victim.say("MONITOR")),
            _ => {}
        }
        std::thread::sleep(Duration::from_millis(20));
        let killed = if way == "address" {
            operator.say(&format!("CLIENT KILL {address}"))
        } else {
            operator.say(&format!("CLIENT KILL ID {their_id}"))
        };
        assert!(killed == Resp::ok() || killed == Resp::Int(1), "{way}: {killed:?}");
        assert!(victim.is_closed() || victim.is_closed(), "{way}");
        eventually(way, || operator.say("CLIENT LIST").text().lines().count() == 1);
    }
    // What a killed client waited for goes to nobody.
    assert_eq!(operator.say("RPUSH q a"), Resp::Int(1));
    assert_eq!(operator.say("LPOP q"), Resp::bulk("a"));
    let own = id(&mut operator);
    assert_eq!(operator.say(&format!("CLIENT KILL ID {own}")), Resp::Int(0));
    assert_eq!(operator.say(&format!("CLIENT KILL ID {own} SKIPME no")), Resp::Int(1));
    assert!(operator.is_closed());
}

#[test]
fn a_wait_is_ended_by_another() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut waits, mut operator) = (server.resp(), server.resp());
    let theirs = id(&mut waits);
    for (reason, answer) in [
        ("", Resp::Nil),
        ("TIMEOUT", Resp::Nil),
        ("ERROR", Resp::Error("UNBLOCKED client unblocked via CLIENT UNBLOCK".to_owned())),
    ] {
        waits.write(b"*3\r\n$5\r\nBLPOP\r\n$1\r\nq\r\n$1\r\n0\r\n").unwrap();
        let line = format!("CLIENT UNBLOCK {theirs} {reason}");
        eventually("it waits", || operator.say(line.trim_end()) == Resp::Int(1));
        assert_eq!(waits.read().unwrap(), answer, "{reason}");
    }
    assert_eq!(operator.say(&format!("CLIENT UNBLOCK {theirs}")), Resp::Int(0));
    assert_eq!(operator.say("RPUSH q a"), Resp::Int(1));
    assert_eq!(waits.say("LPOP q"), Resp::bulk("a"));
}

#[test]
fn a_pause_holds_commands_up() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut operator, mut wire, mut http) = (server.resp(), server.resp(), server.http());
    assert_eq!(operator.say("CLIENT PAUSE 300 WRITE"), Resp::ok());
    let since = Instant::now();
    assert_eq!(wire.say("GET k"), Resp::Nil);
    assert!(since.elapsed() < Duration::from_millis(250), "reads go on");
    assert_eq!(http.post("/", r#"["SET","k","v"]"#).unwrap().status, 200);
    assert!(since.elapsed() >= Duration::from_millis(250), "{:?}", since.elapsed());
    // A pause of everything ends when it is told to.
    assert_eq!(operator.say("CLIENT PAUSE 60000"), Resp::ok());
    wire.write(b"*2\r\n$3\r\nGET\r\n$1\r\nk\r\n").unwrap();
    std::thread::sleep(Duration::from_millis(50));
    let since = Instant::now();
    assert_eq!(operator.say("CLIENT UNPAUSE"), Resp::ok());
    assert_eq!(wire.read().unwrap(), Resp::bulk("v"));
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_connection_can_be_silent() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    wire.write(b"CLIENT REPLY OFF\r\nSET k 1\r\nPING\r\nCLIENT REPLY SKIP\r\nPING\r\nCLIENT REPLY ON\r\nGET k\r\n")
        .unwrap();
    assert_eq!(wire.read().unwrap(), Resp::ok());
    assert_eq!(wire.read().unwrap(), Resp::bulk("1"));
    wire.write(b"CLIENT REPLY SKIP\r\nINCR k\r\nGET k\r\n").unwrap();
    assert_eq!(wire.read().unwrap(), Resp::bulk("2"));
}

#[test]
fn what_takes_long_is_in_the_slow_log() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut wire, mut http) = (server.resp(), server.http());
    wire.say("CLIENT SETNAME me");
    wire.say("SET k v");
    assert_eq!(wire.say("SLOWLOG LEN"), Resp::Int(0));
    let script = "for i = 1, 3e7 do end return 1";
    assert_eq!(wire.run(&["EVAL", script, "0"]).unwrap(), Resp::Int(1));
    let log = wire.say("SLOWLOG GET");
    let entry = log.items()[0].items();
    assert!(entry[2].number().unwrap() >= 10_000, "{entry:?}");
    assert_eq!(entry[3], Resp::Array([Resp::bulk("EVAL"), Resp::bulk(script), Resp::bulk("0")].into()));
    assert_eq!(entry[4].text(), wire.socket().local_addr().unwrap().to_string());
    assert_eq!(entry[5], Resp::bulk("me"));
    wire.say("CONFIG SET slowlog-log-slower-than 0");
    http.post("/multi-exec", r#"[["INCR","n"],["GET","n"]]"#).unwrap();
    // The `CONFIG SET` itself is there, too.
    assert_eq!(wire.say("SLOWLOG LEN"), Resp::Int(4));
    // The newest is the `SLOWLOG LEN`.
    assert_eq!(wire.say("SLOWLOG GET 2").items()[1].items()[4], Resp::bulk("0.0.0.0:0"));
}
