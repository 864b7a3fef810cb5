//! Many clients, and clients that do not read: memory stays bounded, and everybody else is served.

use std::io::Write;
use std::time::Duration;

use crate::support::{Http, Resp, Server, TOKEN, connect, directory, encode, eventually};

/// Connections held open at once.
const IDLE: usize = 10_000;
/// What one of them may cost.
const IDLE_BYTES_MAX: u64 = 40 << 10;
/// What clients that do not read may make the server hold, beside what there was. They ask for many times as much.
const UNREAD_BYTES_MAX: u64 = 100 << 20;

#[test]
fn ten_thousand_idle_clients_are_cheap() {
    let limit = rlimit::increase_nofile_limit(u64::MAX).unwrap() as usize;
    let idle = IDLE.min(limit.saturating_sub(1_000) / 2 * 2);
    if idle < IDLE {
        println!("only {idle} connections: the limit of open files is {limit}");
    }
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut wire) = (server.http(), server.resp());
    assert_eq!(wire.say("SET k v"), Resp::ok());
    let before = server.resident_bytes();
    let mut held = Vec::with_capacity(idle);
    for number in 0..idle {
        let address = if number % 2 == 0 { server.http } else { server.resp.unwrap() };
        held.push(connect(address));
    }
    // Every hundredth says something, and is kept alive afterwards.
    for (number, stream) in held.iter_mut().enumerate().skip(1).step_by(100) {
        stream.write_all(b"PING\r\n").unwrap();
        assert!(number % 2 == 1);
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("{idle} idle connections: {} bytes each", grown / idle as u64);
    assert!(grown < idle as u64 * IDLE_BYTES_MAX, "{grown}");
    assert_eq!(wire.say("GET k"), Resp::bulk("v"));
    assert_eq!(http.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
    assert_eq!(server.resp().say("GET k"), Resp::bulk("v"), "new ones are let in");
    drop(held);
    assert_eq!(server.resp().say("GET k"), Resp::bulk("v"));
}

/// Writes until the server takes no more, without reading anything.
fn push(stream: &mut std::net::TcpStream, bytes: &[u8], at_most: usize) -> usize {
    stream.set_write_timeout(Some(Duration::from_millis(700))).unwrap();
    let mut written = 0;
    while written < at_most {
        match stream.write(bytes) {
            Ok(count) => written += count,
            Err(_) => break,
        }
    }
    written
}

#[test]
fn a_client_that_never_reads_fills_no_memory() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    assert_eq!(wire.run(&["SET", "big", &"v".repeat(1 << 20)]).unwrap(), Resp::ok());
    let before = server.resident_bytes();
    let mut silent = server.resp();
    let gets = encode(&["GET", "big"]).repeat(1_000);
    let mut stream = silent.socket().try_clone().unwrap();
    push(&mut stream, &gets, 8 << 20);
    let request = format!("GET /get/big?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n").repeat(500);
    let mut other = connect(server.http);
    push(&mut other, request.as_bytes(), 8 << 20);
    let grown = server.resident_bytes().saturating_sub(before);
    println!("two clients that do not read: {} MB", grown >> 20);
    assert!(grown < UNREAD_BYTES_MAX, "{grown}");
    assert_eq!(wire.say("STRLEN big"), Resp::Int(1 << 20));
}

#[test]
fn a_subscriber_that_never_reads_is_cut_off() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut slow, mut events, mut publisher) = (server.resp(), server.http(), server.resp());
    slow.say("SUBSCRIBE c");
    events.write(format!("GET /subscribe/c?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(events.head().unwrap().status, 200);
    assert_eq!(publisher.say("PUBLISH c hello"), Resp::Int(2));
    let before = server.resident_bytes();
    let message = "m".repeat(1 << 20);
    for _ in 0..200 {
        publisher.run(&["PUBLISH", "c", &message]).unwrap();
    }
    let grown = server.resident_bytes().saturating_sub(before);
    println!("two subscribers that do not read: {} MB", grown >> 20);
    // Each mailbox may hold 32 MB, and what was taken from it to be written as much again.
    assert!(grown < 3 * UNREAD_BYTES_MAX, "{grown}");
    drop((slow, events));
    eventually("they are gone", || publisher.say("PUBLISH c x") == Resp::Int(0));
}

#[test]
fn clients_that_come_and_go_leave_nothing_behind() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    for _ in 0..300 {
        let mut passing = server.resp();
        passing.say("SUBSCRIBE a b c");
        let mut events = server.http();
        events.write(format!("GET /subscribe/a?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
        assert_eq!(events.head().unwrap().status, 200);
        let mut watching = server.resp();
        watching.say("WATCH k");
        watching.say("MULTI");
    }
    eventually("no channel is left", || wire.say("PUBSUB CHANNELS") == Resp::Array(vec![]));
    eventually("no client is left", || wire.say("CLIENT LIST").text().lines().count() == 1);
    assert_eq!(Http::connect(server.http, TOKEN).post("/", r#"["PING"]"#).unwrap().status, 200);
}
