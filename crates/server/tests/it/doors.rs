//! Two doors, one database: what one client does is there for every other, whichever way it came in.

use crate::support::{Http, READ_ONLY, Resp, Server, TOKEN, directory, encode, eventually};
use std::fmt::Write as _;

fn ok() -> Resp {
    Resp::ok()
}

fn result(http: &mut Http, body: &str) -> serde_json::Value {
    http.post("/", body).unwrap().json()["result"].clone()
}

#[test]
fn each_door_reads_what_the_other_has_written() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut wire) = (server.http(), server.resp());
    for n in 0..200 {
        assert_eq!(result(&mut http, &format!(r#"["SET","a","{n}"]"#)), "OK");
        assert_eq!(wire.say("GET a"), Resp::bulk(n.to_string()));
        assert_eq!(wire.say(&format!("SET b {n}")), ok());
        assert_eq!(result(&mut http, r#"["GET","b"]"#), n.to_string());
    }
    let bytes: Vec<u8> = (0..=255).collect();
    assert_eq!(wire.run(&[b"SET".as_slice(), b"bytes", &bytes]).unwrap(), ok());
    let reply = http.send("POST", "/", "Upstash-Encoding: base64\r\n", br#"["GET","bytes"]"#).unwrap();
    assert!(reply.json()["result"].as_str().unwrap().starts_with("AAECAwQF"));
    let mut path = String::from("/set/other/");
    for byte in &bytes {
        write!(path, "%{byte:02x}").unwrap();
    }
    assert_eq!(http.send("GET", &path, "", b"").unwrap().status, 200);
    assert_eq!(wire.say("GET other"), Resp::bulk(&bytes));
}

#[test]
fn every_write_moves_the_sync_token() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    let mut seen = std::collections::BTreeSet::new();
    for (path, body) in [
        ("/", r#"["SET","k","v"]"#),
        ("/", r#"["SET","k","v"]"#),
        ("/pipeline", r#"[["INCR","n"],["INCR","n"]]"#),
        ("/multi-exec", r#"[["INCR","n"],["INCR","n"]]"#),
        ("/", r#"["EVAL","return redis.call('INCR',KEYS[1])","1","n"]"#),
    ] {
        let response = http.post(path, body).unwrap();
        assert_eq!(response.status, 200, "{response:?}");
        assert!(seen.insert(response.header("upstash-sync-token").unwrap().to_owned()), "{path} {body}");
    }
    let response = http.send("POST", "/", "upstash-sync-token: my-own\r\n", br#"["GET","n"]"#).unwrap();
    assert_eq!(response.json()["result"], "5");
}

#[test]
fn a_watch_sees_writes_through_either_door() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut watcher, mut other) = (server.http(), server.resp(), server.resp());
    for (through, runs) in [("rest", false), ("resp", false), ("multi", false), ("nobody", true)] {
        assert_eq!(watcher.say("SET k v"), ok());
        assert_eq!(watcher.say("WATCH k"), ok());
        assert_eq!(watcher.say("MULTI"), ok());
        assert_eq!(watcher.say("SET done 1"), Resp::Simple("QUEUED".to_owned()));
        match through {
            "rest" => assert_eq!(result(&mut http, r#"["SET","k","other"]"#), "OK"),
            "resp" => assert_eq!(other.say("DEL k"), Resp::Int(1)),
            "multi" => assert_eq!(http.post("/multi-exec", r#"[["APPEND","k","x"]]"#).unwrap().status, 200),
            _ => assert_eq!(other.say("GET k"), Resp::bulk("v")),
        }
        assert_eq!(watcher.say("EXEC"), if runs { Resp::Array(vec![ok()]) } else { Resp::Nil }, "{through}");
    }
}

#[test]
fn a_transaction_with_errors_is_dropped_or_runs_on() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut wire, mut http) = (server.resp(), server.http());
    wire.say("MULTI");
    wire.say("SET k v");
    assert!(wire.say("NOSUCH x").is_error());
    assert_eq!(wire.say("EXEC").text(), "EXECABORT Transaction discarded because of previous errors.");
    wire.say("MULTI");
    assert_eq!(wire.say("GET").text(), "ERR wrong number of arguments for 'get' command");
    assert!(wire.say("EXEC").is_error());
    assert_eq!(wire.say("EXISTS k"), Resp::Int(0));
    wire.say("MULTI");
    wire.say("SET k v");
    wire.say("LPUSH k x");
    wire.say("SET l v");
    let replies = wire.say("EXEC");
    assert_eq!((&replies.items()[0], &replies.items()[2]), (&ok(), &ok()));
    assert!(replies.items()[1].text().starts_with("WRONGTYPE"));
    assert_eq!(wire.say("EXEC").text(), "ERR EXEC without MULTI");
    assert_eq!(wire.say("DISCARD").text(), "ERR DISCARD without MULTI");

    let response = http.post("/multi-exec", r#"[["SET","m","v"],["NOSUCH"]]"#).unwrap();
    assert_eq!(response.status, 400);
    assert!(response.error().starts_with("ERR unknown command 'NOSUCH'"));
    assert_eq!(wire.say("EXISTS m"), Resp::Int(0));
    let response = http.post("/multi-exec", r#"[["SET","m","v"],["LPUSH","m","x"],["GET","m"]]"#).unwrap();
    assert_eq!(response.status, 200);
    assert_eq!(response.json()[2], serde_json::json!({"result": "v"}));
    assert!(response.json()[1]["error"].as_str().unwrap().starts_with("WRONGTYPE"));
    assert_eq!(http.post("/multi-exec", "[]").unwrap().json(), serde_json::json!([]));
    assert_eq!(http.post("/pipeline", "[]").unwrap().json(), serde_json::json!([]));
}

#[test]
fn hello_speaks_both_versions() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.raw_resp();
    assert!(wire.say("HELLO").text().starts_with("NOAUTH HELLO must be called"));
    assert!(wire.say("HELLO 3").text().starts_with("NOAUTH HELLO must be called"));
    assert_eq!(wire.say("HELLO 4").text(), "NOPROTO unsupported protocol version");
    assert_eq!(wire.say("HELLO x").text(), "ERR Protocol version is not an integer or out of range");
    assert!(wire.say("HELLO 3 AUTH default wrong-password").text().starts_with("WRONGPASS"));
    let reply = wire.say(&format!("HELLO 3 AUTH default {TOKEN} SETNAME me"));
    let Resp::Map(fields) = &reply else { panic!("RESP3 answers with a map: {reply:?}") };
    assert_eq!(
        fields.iter().step_by(2).map(Resp::text).collect::<Vec<_>>(),
        ["server", "version", "proto", "id", "mode", "role", "modules"]
    );
    assert_eq!(fields[5], Resp::Int(3));
    assert_eq!(wire.say("CLIENT GETNAME"), Resp::bulk("me"));
    wire.say("HSET h f v");
    assert!(matches!(wire.say("HGETALL h"), Resp::Map(_)));
    assert_eq!(wire.say("GET nothing"), Resp::Nil);
    let reply = wire.say("HELLO 2");
    assert!(matches!(&reply, Resp::Array(items) if items.len() == 14), "{reply:?}");
    assert!(matches!(wire.say("HGETALL h"), Resp::Array(_)));
}

#[test]
fn auth_takes_a_token_as_password() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let wrong = "WRONGPASS invalid username-password pair or user is disabled.";
    for (line, expected) in [
        (format!("AUTH {TOKEN}"), "OK"),
        (format!("AUTH default {TOKEN}"), "OK"),
        (format!("AUTH {READ_ONLY}"), "OK"),
        (format!("AUTH default_ro {READ_ONLY}"), "OK"),
        (format!("AUTH default {READ_ONLY}"), wrong),
        (format!("AUTH default_ro {TOKEN}"), wrong),
        (format!("AUTH nobody {TOKEN}"), wrong),
        ("AUTH nonsense".to_owned(), wrong),
        ("AUTH".to_owned(), "ERR wrong number of arguments for 'auth' command"),
        ("AUTH a b c".to_owned(), "ERR syntax error"),
    ] {
        assert_eq!(server.raw_resp().say(&line).text(), expected, "{line}");
    }
    let mut wire = server.raw_resp();
    assert_eq!(wire.say("GET k").text(), "NOAUTH Authentication required.");
    wire.say(&format!("AUTH {READ_ONLY}"));
    assert_eq!(wire.say("GET k"), Resp::Nil);
    assert_eq!(wire.say("SET k v").text(), "NOPERM this user has no permissions to run the 'set' command");
    assert_eq!(wire.say("KEYS *").text(), "NOPERM this user has no permissions to run the 'keys' command");
    wire.say(&format!("AUTH {TOKEN}"));
    assert_eq!(wire.say("SET k v"), ok());
}

fn listen(http: &mut Http, path: &str) -> Vec<String> {
    let head =
        format!("POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 2\r\n\r\n[]");
    http.write(head.as_bytes()).unwrap();
    let response = http.head().unwrap();
    assert_eq!((response.status, response.header("content-type")), (200, Some("text/event-stream")));
    vec![http.event().unwrap()]
}

#[test]
fn messages_reach_subscribers_of_every_kind() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut events, mut patterns, mut two, mut three) = (server.http(), server.http(), server.resp(), server.resp());
    assert_eq!(listen(&mut events, "/subscribe/news"), ["subscribe,news,1"]);
    assert_eq!(listen(&mut patterns, "/psubscribe/n*"), ["psubscribe,n*,1"]);
    assert_eq!(two.say("SUBSCRIBE news"), Resp::Array(vec![Resp::bulk("subscribe"), Resp::bulk("news"), Resp::Int(1)]));
    three.say("HELLO 3");
    assert_eq!(
        three.say("SUBSCRIBE news"),
        Resp::Push(vec![Resp::bulk("subscribe"), Resp::bulk("news"), Resp::Int(1)])
    );
    let (mut http, mut publisher) = (server.http(), server.resp());
    for text in ["one", "two,with,commas"] {
        let count = if text == "one" {
            Resp::Int(result(&mut http, &format!(r#"["PUBLISH","news","{text}"]"#)).as_i64().unwrap())
        } else {
            publisher.say(&format!("PUBLISH news {text}"))
        };
        assert_eq!(count, Resp::Int(4));
        assert_eq!(events.event().unwrap(), format!("message,news,{text}"));
        assert_eq!(patterns.event().unwrap(), format!("pmessage,n*,news,{text}"));
        let message = vec![Resp::bulk("message"), Resp::bulk("news"), Resp::bulk(text)];
        assert_eq!(two.read().unwrap(), Resp::Array(message.clone()));
        assert_eq!(three.read().unwrap(), Resp::Push(message));
    }
    // RESP2 is only good for subscribing now; RESP3 for everything.
    assert!(two.say("GET k").text().starts_with("ERR Can't execute 'get'"));
    assert_eq!(three.say("SET k v"), ok());
    drop((events, patterns));
    eventually("those who left are not counted", || publisher.say("PUBLISH news x") == Resp::Int(2));
    assert_eq!(http.send("POST", "/subscribe/", "", b"").unwrap().status, 400);
}

#[test]
fn a_waiting_client_is_served_by_the_other_door() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut wire) = (server.http(), server.resp());
    wire.write(&[encode(&["BLPOP", "q", "10"]), encode(&["PING"])].concat()).unwrap();
    eventually("it waits", || {
        result(&mut http, r#"["RPUSH","q","a"]"#).as_i64() == Some(1) && {
            wire.read().unwrap() == Resp::Array(vec![Resp::bulk("q"), Resp::bulk("a")])
        }
    });
    assert_eq!(wire.read().unwrap(), Resp::Simple("PONG".to_owned()), "what was sent behind it comes next");
    assert_eq!(wire.say("BLPOP q 0.05"), Resp::Nil);
    assert!(http.post("/", r#"["BLPOP","q","1"]"#).unwrap().error().contains("'blpop' is not supported over REST"));
}

#[test]
fn a_waiting_client_that_goes_takes_nothing_along() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut stays = server.resp();
    for half in [false, true] {
        let mut gone = server.resp();
        gone.write(&encode(&["BLPOP", "q", "0"])).unwrap();
        std::thread::sleep(std::time::Duration::from_millis(50));
        if half {
            gone.socket().shutdown(std::net::Shutdown::Write).unwrap();
            assert!(gone.is_closed());
        } else {
            drop(gone);
        }
        std::thread::sleep(std::time::Duration::from_millis(50));
        stays.say("RPUSH q a");
        assert_eq!(stays.say("LRANGE q 0 -1"), Resp::Array(vec![Resp::bulk("a")]));
        stays.say("DEL q");
    }
}

#[test]
fn a_long_script_lets_others_wait_and_can_be_killed() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut runner = server.resp();
    let script = "redis.call('SET',KEYS[1],'half') while true do end";
    runner.write(&encode(&["EVAL", script, "1", "k"])).unwrap();
    let mut killer = server.resp();
    eventually("it can be killed", || killer.say("SCRIPT KILL") == ok());
    assert!(runner.read().unwrap().is_error());
    assert_eq!(killer.say("EXISTS k"), Resp::Int(0), "its changes were taken back");
    assert_eq!(runner.say("PING"), Resp::Simple("PONG".to_owned()));
}

/// A message that was on its way when the client unsubscribed is nobody's reply.
#[test]
fn late_messages_are_no_replies() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                let mut publisher = server.resp();
                while !done.load(std::sync::atomic::Ordering::Relaxed) {
                    publisher.say("PUBLISH c late");
                }
            });
        }
        let mut wire = server.resp();
        for round in 0..200 {
            wire.write(&encode(&["SUBSCRIBE", "c"])).unwrap();
            while wire.read().unwrap().items()[0].text() != "message" {}
            wire.write(&[encode(&["UNSUBSCRIBE", "c"]), encode(&["BLPOP", "q", "0.002"])].concat()).unwrap();
            while wire.read().unwrap().items()[0].text() != "unsubscribe" {}
            let reply = wire.read().unwrap();
            if reply != Resp::Nil {
                done.store(true, std::sync::atomic::Ordering::Relaxed);
            }
            assert_eq!(reply, Resp::Nil, "round {round}");
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

/// However many large values are asked for at once, no more is held than what the client has not read of one.
#[test]
fn replies_nobody_reads_are_not_made() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let big = "v".repeat(8 << 20);
    assert_eq!(server.resp().run(&["SET", "k", &big]).unwrap(), ok());
    let mut wire = server.resp();
    wire.write(&encode(&["GET", "k"]).repeat(100)).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert!(server.resident_bytes() < 200 << 20, "{}", server.resident_bytes());
    for _ in 0..100 {
        assert_eq!(wire.read().unwrap(), Resp::bulk(&big));
    }
}
