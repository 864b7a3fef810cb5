//! `Idempotency-Key`: a write that is sent again runs once, whatever happens in between.

use std::sync::{Arc, Barrier};

use crate::support::{Http, READ_ONLY, Resp, Response, Server, directory};

fn send(http: &mut Http, key: &str, path: &str, body: &str) -> Response {
    http.send("POST", path, &format!("Idempotency-Key: {key}\r\n"), body.as_bytes()).unwrap()
}

fn text(response: &Response) -> (u16, String, bool) {
    let replayed = response.header("idempotency-replayed") == Some("true");
    (response.status, String::from_utf8(response.body.clone()).unwrap(), replayed)
}

fn ask(http: &mut Http, key: &str, path: &str, body: &str) -> (u16, String, bool) {
    text(&send(http, key, path, body))
}

const FORMS: &[(&str, &str, u16, &str)] = &[
    ("/", r#"["INCR","a"]"#, 200, r#"{"result":1}"#),
    ("/incrby/b/5", "", 200, r#"{"result":5}"#),
    ("/pipeline", r#"[["INCR","c"],["NOPE"],["INCR","c"],["GET","c","x"]]"#, 200, ""),
    ("/multi-exec", r#"[["INCR","d"],["RPUSH","l","x"]]"#, 200, r#"[{"result":1},{"result":1}]"#),
    ("/", r#"["EVAL","return redis.call('INCR',KEYS[1])","1","e"]"#, 200, r#"{"result":1}"#),
    ("/", r#"["SETNX","a","never"]"#, 200, r#"{"result":0}"#),
    ("/", r#"["LPUSH","a","wrong type"]"#, 400, ""),
];

#[test]
fn a_write_that_is_sent_again_runs_once() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let mut first = Vec::new();
    for (at, (path, body, status, answer)) in FORMS.iter().enumerate() {
        let got = ask(&mut server.http(), &format!("key-{at}"), path, body);
        assert_eq!((got.0, got.2), (*status, false), "{path} {body}: {got:?}");
        assert!(answer.is_empty() || got.1 == *answer, "{got:?}");
        first.push(got.1);
    }
    // The same again, after a kill, after a checkpoint and a start, and after a FLUSHDB.
    for round in ["again", "killed", "stopped", "flushed", "stopped"] {
        match round {
            "killed" => server.kill(),
            "stopped" => assert!(server.stop("TERM").success()),
            "flushed" => assert_eq!(server.resp().say("FLUSHDB"), Resp::ok()),
            _ => {}
        }
        if round == "killed" || round == "stopped" {
            server = Server::start(&data, &[]);
        }
        for (at, (path, body, status, _)) in FORMS.iter().enumerate() {
            let got = ask(&mut server.http(), &format!("key-{at}"), path, body);
            assert_eq!(got, (*status, first[at].clone(), true), "{round}: {path} {body}");
        }
        if round == "again" {
            let keys = server.resp().say("KEYS *");
            assert_eq!(keys.items().len(), 6, "keys of requests are no keys: {keys:?}");
            assert_eq!(server.resp().say("DBSIZE"), Resp::Int(6));
            assert_eq!(
                server.resp().say("MGET a b c d e"),
                Resp::Array(["1", "5", "2", "1", "1"].map(Resp::bulk).into())
            );
        }
    }
    assert_eq!(server.resp().say("DBSIZE"), Resp::Int(0));
}

#[test]
fn a_key_belongs_to_one_request_and_one_user() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    assert_eq!(ask(&mut http, "k", "/", r#"["INCR","n"]"#).0, 200);
    for (path, body) in [("/", r#"["INCR","m"]"#), ("/pipeline", r#"[["INCR","n"]]"#), ("/incr/n/", "x")] {
        let (status, body, _) = ask(&mut http, "k", path, body);
        assert!(status == 422 || body.contains("wrong number"), "{path}: {status} {body}");
    }
    // White space is not part of a command; a reply format is.
    assert!(ask(&mut http, "k", "/", r#" [ "INCR" , "n" ] "#).2);
    let resp2 = http.send("POST", "/", "Idempotency-Key: k\r\nUpstash-Response-Format: resp2\r\n", br#"["INCR","n"]"#);
    assert_eq!(resp2.unwrap().status, 422);
    // Reads ignore it, refused requests leave no note.
    for _ in 0..2 {
        assert_eq!(ask(&mut http, "r", "/", r#"["GET","n"]"#), (200, r#"{"result":"1"}"#.to_owned(), false));
        assert!(!ask(&mut http, "u", "/", r#"["NOPE"]"#).2);
    }
    assert_eq!(ask(&mut Http::connect(server.http, READ_ONLY), "k", "/", r#"["INCR","n"]"#).0, 400);
    assert_eq!(ask(&mut http, "", "/", r#"["INCR","n"]"#).0, 400);
    assert_eq!(ask(&mut http, &"x".repeat(256), "/", r#"["INCR","n"]"#).0, 400);
    assert_eq!(ask(&mut http, &"x".repeat(255), "/", r#"["INCR","n"]"#).0, 200);
}

#[test]
fn an_answer_that_is_too_large_is_not_given_again_and_nothing_runs() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    let big = "x".repeat(2 << 20);
    http.post("/set/big", &big).unwrap();
    let body = r#"["GETDEL","big"]"#;
    assert_eq!(ask(&mut http, "k", "/", body).1.len(), big.len() + r#"{"result":""}"#.len());
    http.post("/set/big", &big).unwrap();
    let (status, text, _) = ask(&mut http, "k", "/", body);
    assert!(status == 409 && text.contains("its answer was not kept"), "{status} {text}");
    assert_eq!(server.resp().say("EXISTS big"), Resp::Int(1));
}

#[test]
fn many_at_once_are_one() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let barrier = Arc::new(Barrier::new(8));
    for (key, body) in [
        ("fast", r#"["INCR","n"]"#),
        ("slow", r#"["EVAL","for i = 1, 3e6 do end return redis.call('INCR', 'n')","0"]"#),
    ] {
        let mut threads = Vec::new();
        for _ in 0..8 {
            let (mut http, barrier) = (server.http(), Arc::clone(&barrier));
            threads.push(std::thread::spawn(move || {
                barrier.wait();
                ask(&mut http, key, "/", body)
            }));
        }
        let answers: Vec<_> = threads.into_iter().map(|thread| thread.join().unwrap()).collect();
        assert_eq!(answers.iter().filter(|answer| !answer.2).count(), 1, "{answers:?}");
        assert!(answers.iter().all(|answer| answer.1 == answers[0].1), "{answers:?}");
    }
    assert_eq!(server.resp().say("GET n"), Resp::bulk("2"));
}

#[test]
fn a_popped_element_is_given_again_to_who_waited_for_it() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut other, mut wire) = (server.http(), server.http(), server.resp());
    let headers = "Dormouse-Block: true\r\nIdempotency-Key: pop\r\n";
    let body = br#"["BLPOP","q","0"]"#;
    let token = crate::support::TOKEN;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{headers}Content-Length: {}\r\n\r\n",
        body.len()
    );
    http.write(&[head.as_bytes(), body].concat()).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(60));
    assert_eq!(other.send("POST", "/", headers, body).unwrap().status, 409);
    assert_eq!(wire.say("RPUSH q one two"), Resp::Int(2));
    assert_eq!(http.receive(false).unwrap().body, br#"{"result":["q","one"]}"#);
    let again = other.send("POST", "/", headers, body).unwrap();
    assert_eq!(text(&again), (200, r#"{"result":["q","one"]}"#.to_owned(), true));
    // A wait whose time was up has not run.
    let headers = "Dormouse-Block: true\r\nIdempotency-Key: none\r\n";
    let body = br#"["BLPOP","empty","0.05"]"#;
    assert_eq!(other.send("POST", "/", headers, body).unwrap().body, br#"{"result":null}"#);
    assert_eq!(wire.say("RPUSH empty x"), Resp::Int(1));
    assert_eq!(other.send("POST", "/", headers, body).unwrap().body, br#"{"result":["empty","x"]}"#);
}

/// Kills at any moment, checkpoints all the time: each request counts once, however often it had to be sent.
#[test]
fn no_crash_makes_a_request_run_twice() {
    let (_guard, data) = directory();
    let mut sent = 0_u32;
    for round in 0..6_u32 {
        let mut server = Server::start(&data, &["--checkpoint-bytes", if round % 2 == 0 { "4KiB" } else { "64MiB" }]);
        let address = server.http;
        let worker = std::thread::spawn(move || {
            let mut http = Http::connect(address, crate::support::TOKEN);
            let mut done = sent;
            // The first may have run before the kill.
            while http
                .send("POST", "/", &format!("Idempotency-Key: n{done}\r\n"), br#"["INCR","n"]"#)
                .is_ok_and(|response| response.json()["result"] == done + 1)
            {
                done += 1;
            }
            done
        });
        std::thread::sleep(std::time::Duration::from_millis(250));
        server.kill();
        sent = worker.join().unwrap();
    }
    let mut server = Server::start(&data, &[]);
    let found = server.resp().say("GET n").number().unwrap();
    assert!(found == u64::from(sent) || found == u64::from(sent) + 1, "{found} of {sent}");
    assert!(sent > 6, "something has run");
    assert!(server.stop("TERM").success());
}
