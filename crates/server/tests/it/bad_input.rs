//! What clients get wrong, by mistake or on purpose, and the error that says so. The server answers everybody else meanwhile.

use std::io::Read;
use std::net::Shutdown;
use std::time::Duration;

use crate::support::{Http, READ_ONLY, Resp, Server, TOKEN, connect, directory, encode};

#[test]
fn bodies_that_are_no_command_are_explained() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    for (path, body, error) in [
        ("/", "", "ERR empty request body, expected a JSON array"),
        ("/", "{", "ERR invalid command, expected a JSON array of a command and its arguments"),
        ("/", r#"{"a":1}"#, "ERR invalid command, expected a JSON array of a command and its arguments"),
        ("/", r#""PING""#, "ERR invalid command, expected a JSON array of a command and its arguments"),
        ("/", "[]", "ERR empty command"),
        ("/", "[1]", "ERR invalid command, the command name must be a string"),
        ("/", r#"["GET""#, "ERR invalid JSON in the request body at byte 6: it ends too early"),
        ("/", r#"["GET","k"] x"#, "ERR invalid JSON in the request body at byte 12: unexpected text behind the array"),
        ("/", r#"["GET",null]"#, "ERR argument 1 is null, arguments must be strings, numbers or booleans"),
        (
            "/",
            r#"["SET","k",["v"]]"#,
            "ERR argument 2 is an array or object, arguments must be strings, numbers or booleans",
        ),
        (
            "/",
            r#"["SET","k",{"v":1}]"#,
            "ERR argument 2 is an array or object, arguments must be strings, numbers or booleans",
        ),
        ("/pipeline", "{}", "ERR invalid pipeline, expected a JSON array of commands, each an array"),
        ("/pipeline", r#"["PING"]"#, "ERR invalid pipeline, expected a JSON array of commands, each an array"),
        ("/pipeline", r#"[["PING"],[]]"#, "ERR empty command (command 2 of the pipeline)"),
        (
            "/multi-exec",
            r#"[["GET",null]]"#,
            "ERR argument 1 is null, arguments must be strings, numbers or booleans (command 1 of the pipeline)",
        ),
        ("/", r#"["NOSUCH","a","b"]"#, "ERR unknown command 'NOSUCH', with args beginning with: 'a' 'b' "),
        ("/", r#"["GET"]"#, "ERR wrong number of arguments for 'get' command"),
        ("/", r#"["get","a","b"]"#, "ERR wrong number of arguments for 'get' command"),
        ("/nosuch/a", "", "ERR unknown command 'nosuch', with args beginning with: 'a' "),
        ("/", r#"["SUBSCRIBE","c"]"#, "ERR command 'subscribe' is not supported over REST"),
        ("/", r#"["MULTI"]"#, "ERR command 'multi' is not supported over REST"),
    ] {
        let response = http.post(path, body).unwrap();
        assert_eq!((response.status, response.error().as_str()), (400, error), "{path} {body}");
        assert_eq!(response.header("content-type"), Some("application/json"));
    }
    for body in [b"[\"SET\",\"k\",\"\xff\"]".as_slice(), b"\x1f\x8b\x08\x00", b"\xff\xfe"] {
        let response = http.post("/", body).unwrap();
        assert_eq!(response.error(), "ERR invalid JSON in the request body: not valid UTF-8");
    }
    // Nesting costs nothing: the second bracket is refused, however many follow.
    let deep = "[".repeat(1 << 20);
    assert_eq!(http.post("/", &deep).unwrap().error(), "ERR invalid command, the command name must be a string");
    let deep = format!(r#"["SET","k",{deep}"#);
    assert!(http.post("/", &deep).unwrap().error().starts_with("ERR argument 2 is an array or object"));
    assert_eq!(http.post("/", r#"["PING"]"#).unwrap().json()["result"], "PONG");
}

const TOO_LARGE: &str = "ERR max request size exceeded. Limit: 10485760 bytes";

#[test]
fn bodies_past_the_limit_are_refused_in_json() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for megabytes in [11, 40] {
        let body = format!(r#"["SET","k","{}"]"#, "v".repeat(megabytes << 20));
        let response = server.http().post("/", &body).unwrap();
        assert_eq!((response.status, response.error().as_str()), (413, TOO_LARGE), "{megabytes} MB");
    }
    let mut http = server.http();
    let head = "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n";
    http.write(format!("{head}Authorization: Bearer {TOKEN}\r\n\r\n").as_bytes()).unwrap();
    let chunk = [b"100000\r\n".as_slice(), &vec![b'['; 1 << 20], b"\r\n"].concat();
    for _ in 0..12 {
        http.write(&chunk).unwrap();
    }
    http.write(b"0\r\n\r\n").unwrap();
    let response = http.receive(false).unwrap();
    assert_eq!((response.status, response.error().as_str()), (413, TOO_LARGE));
    // Whoever asks first is told before sending anything.
    let mut http = server.http();
    let length = 500 << 20;
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nExpect: 100-continue\r\n");
    http.write(format!("{head}Content-Length: {length}\r\n\r\n").as_bytes()).unwrap();
    assert_eq!(http.receive(false).unwrap().status, 413);
    // A wrong token is told to those with large bodies, too.
    let body = "x".repeat(9 << 20);
    let response = Http::connect(server.http, "wrong").post("/", &body).unwrap();
    assert_eq!((response.status, response.error().as_str()), (401, "WRONGPASS invalid or missing auth token"));
}

#[test]
fn large_values_pass_and_large_keys_do_not() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut wire) = (server.http(), server.resp());
    let value = "v".repeat(9 << 20);
    assert_eq!(http.post("/set/k", &value).unwrap().status, 200);
    assert_eq!(wire.say("GET k"), Resp::bulk(&value));
    assert_eq!(wire.run(&["SET", "k2", &value]).unwrap(), Resp::ok());
    let response = http.send("GET", "/get/k2", "", b"").unwrap();
    assert_eq!(response.json()["result"].as_str().map(str::len), Some(9 << 20));
    for (length, fits) in [(32 << 10, true), ((32 << 10) + 1, false)] {
        let key = "k".repeat(length);
        let error = format!("ERR max key size exceeded. Limit: 32768 bytes, Actual: {length} bytes");
        let reply = wire.run(&["SET", &key, "v"]).unwrap();
        assert_eq!(reply.text(), if fits { "OK" } else { &error });
        let response = http.post("/", format!(r#"["SET","{key}","v"]"#)).unwrap();
        assert_eq!(response.status, if fits { 200 } else { 400 });
        assert!(fits || response.error() == error);
    }
}

#[test]
fn tokens_and_methods_are_checked() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for token in ["", "wrong", &TOKEN[1..], &format!("{TOKEN}x")] {
        for path in ["/", "/get/k", "/pipeline", "/multi-exec", "/subscribe/c", "/nosuch"] {
            let response = Http::connect(server.http, token).post(path, r#"["PING"]"#).unwrap();
            assert_eq!((response.status, response.error().as_str()), (401, "WRONGPASS invalid or missing auth token"));
        }
    }
    let mut anybody = Http::connect(server.http, "");
    assert_eq!(anybody.send("GET", &format!("/set/k/v?_token={TOKEN}"), "", b"").unwrap().status, 200);
    assert_eq!(anybody.send("GET", "/get/k?_token=wrong", "", b"").unwrap().status, 401);
    let mut reader = Http::connect(server.http, READ_ONLY);
    assert_eq!(reader.post("/", r#"["GET","k"]"#).unwrap().json()["result"], "v");
    for (body, name) in [
        (r#"["SET","k","w"]"#, "set"),
        (r#"["GETEX","k"]"#, "getex"),
        (r#"["KEYS","*"]"#, "keys"),
        (r#"["SCAN","0"]"#, "scan"),
        (r#"["FLUSHDB"]"#, "flushdb"),
        (r#"["EVAL","return 1","0"]"#, "eval"),
        (r#"["CONFIG","GET","*"]"#, "config|get"),
    ] {
        let response = reader.post("/", body).unwrap();
        let error = format!("NOPERM this user has no permissions to run the '{name}' command");
        assert_eq!((response.status, response.error()), (400, error));
    }
    let mut http = server.http();
    for method in ["DELETE", "PATCH", "BREW"] {
        let response = http.send(method, "/get/k", "", b"").unwrap();
        let error = format!("ERR method {method} is not allowed: use GET, HEAD, POST or PUT");
        assert_eq!((response.status, response.error()), (405, error));
        assert!(response.header("allow").is_some());
    }
    let response =
        http.send("OPTIONS", "/", "Origin: http://a\r\nAccess-Control-Request-Method: POST\r\n", b"").unwrap();
    assert_eq!((response.status, response.header("access-control-allow-origin")), (204, Some("*")));
    assert_eq!(http.send("HEAD", "/get/k", "", b"").unwrap().body, b"");
    assert_eq!(http.send("PUT", "/", "", br#"["GET","k"]"#).unwrap().json()["result"], "v");
    let response = http.send("POST", "/", "Upstash-Response-Format: xml\r\n", br#"["PING"]"#).unwrap();
    assert_eq!(response.error(), "ERR unknown response format: use json or resp2");
}

#[test]
fn a_flood_of_headers_is_refused() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for (count, length) in [(1_000, 10), (50, 1 << 20)] {
        let mut http = server.http();
        let header = format!("X-Flood: {}\r\n", "x".repeat(length));
        let _ = http.write(b"GET /get/k HTTP/1.1\r\nHost: h\r\n");
        for _ in 0..count {
            if http.write(header.as_bytes()).is_err() {
                break;
            }
        }
        let _ = http.write(b"\r\n");
        // It may have hung up before we had said everything; then the answer can be lost.
        if let Ok(response) = http.receive(false) {
            assert_eq!(response.status, 431);
        }
        assert!(server.resident_bytes() < 300 << 20);
    }
    let long = format!("/get/{}", "k".repeat(60_000));
    assert!(server.http().send("GET", &long, "", b"").unwrap().error().starts_with("ERR max key size exceeded"));
    for garbage in
        [b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03".as_slice(), b"PING\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n"]
    {
        let mut http = server.http();
        http.write(garbage).unwrap();
        http.socket().shutdown(Shutdown::Write).unwrap();
        let mut rest = Vec::new();
        let _ = http.socket().read_to_end(&mut rest);
        assert!(rest.is_empty() || rest.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&rest));
    }
    assert_eq!(server.http().post("/", r#"["PING"]"#).unwrap().status, 200);
}

#[test]
fn a_byte_at_a_time_is_fast_enough() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let (mut http, mut wire) = (server.http(), server.resp());
    let body = r#"["SET","slow","välue"]"#;
    let head = format!(
        "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    for byte in [head.as_bytes(), body.as_bytes()].concat() {
        http.write(&[byte]).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(http.receive(false).unwrap().json()["result"], "OK");
    for byte in [encode(&["GET", "slow"]), b"PING\r\n".to_vec()].concat() {
        wire.write(&[byte]).unwrap();
        std::thread::sleep(Duration::from_micros(300));
    }
    assert_eq!(wire.read().unwrap(), Resp::bulk("välue"));
    assert_eq!(wire.read().unwrap(), Resp::Simple("PONG".to_owned()));
}

/// A client may close its side once it has asked, and still wants the answer.
#[test]
fn half_closed_connections_get_their_answers() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let big = "v".repeat(8 << 20);
    assert_eq!(server.resp().run(&["SET", "big", &big]).unwrap(), Resp::ok());
    for round in 0..50 {
        let mut http = server.http();
        let body = format!(r#"["SET","k","{round}"]"#);
        let head = format!(
            "POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        http.write(&[head.as_bytes(), body.as_bytes()].concat()).unwrap();
        http.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(http.receive(false).unwrap().json()["result"], "OK");
        let mut wire = server.resp();
        wire.write(&[encode(&["INCR", "n"]), encode(&["GET", "k"])].concat()).unwrap();
        wire.socket().shutdown(Shutdown::Write).unwrap();
        assert_eq!(wire.read().unwrap(), Resp::Int(round + 1));
        assert_eq!(wire.read().unwrap(), Resp::bulk(round.to_string()));
        assert!(wire.is_closed());
    }
    let mut http = server.http();
    http.write(format!("GET /get/big?_token={TOKEN} HTTP/1.1\r\nHost: h\r\n\r\n").as_bytes()).unwrap();
    http.socket().shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(http.receive(false).unwrap().json()["result"].as_str().map(str::len), Some(8 << 20));
    let mut wire = server.resp();
    wire.write(&encode(&["GET", "big"])).unwrap();
    wire.socket().shutdown(Shutdown::Write).unwrap();
    std::thread::sleep(Duration::from_millis(100));
    assert_eq!(wire.read().unwrap(), Resp::bulk(&big));
}

#[test]
fn resp_that_is_no_resp_is_explained_and_ends() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for (bytes, error) in [
        (b"*x\r\n".as_slice(), "ERR Protocol error: invalid multibulk length"),
        (b"*1000001\r\n*", "ERR Protocol error: unauthenticated multibulk length"),
        (b"*1\r\n$x\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n$-1\r\n", "ERR Protocol error: invalid bulk length"),
        (b"*1\r\n:1\r\n", "ERR Protocol error: expected '$', got ':'"),
        (b"*1\r\n$20000\r\n", "ERR Protocol error: unauthenticated bulk length"),
        (b"*11\r\n", "ERR Protocol error: unauthenticated multibulk length"),
        (b"SET k \"v\r\n", "ERR Protocol error: unbalanced quotes in request"),
    ] {
        let mut wire = server.raw_resp();
        wire.write(bytes).unwrap();
        assert_eq!(wire.read().unwrap().text(), error, "{}", String::from_utf8_lossy(bytes));
        assert!(wire.is_closed());
    }
    let mut wire = server.raw_resp();
    wire.write(&vec![b'x'; 70 << 10]).unwrap();
    assert_eq!(wire.read().unwrap().text(), "ERR Protocol error: too big inline request");
    let mut wire = server.resp();
    wire.write(b"*1\r\n$600000000\r\n").unwrap();
    assert_eq!(wire.read().unwrap().text(), "ERR Protocol error: invalid bulk length");
    // What came before the mistake is answered.
    let mut wire = server.resp();
    wire.write(&[encode(&["SET", "k", "v"]), b"*x\r\n".to_vec()].concat()).unwrap();
    assert_eq!(wire.read().unwrap(), Resp::ok());
    assert!(wire.read().unwrap().is_error());
    // HTTP on the wrong port is told no secret, and ends.
    let mut wire = server.raw_resp();
    wire.write(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n").unwrap();
    assert!(wire.read().unwrap().is_error());
    assert_eq!(server.resp().say("GET k"), Resp::bulk("v"));
}

#[test]
fn a_pipeline_of_ten_thousand_is_answered_in_order() {
    const COUNT: i64 = 10_000;
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    let bytes = encode(&["INCR", "n"]).repeat(COUNT as usize);
    // Written by another thread: the replies must be read meanwhile, as with any server.
    let mut writer = wire.socket().try_clone().unwrap();
    let sending = std::thread::spawn(move || std::io::Write::write_all(&mut writer, &bytes).unwrap());
    for n in 1..=COUNT {
        assert_eq!(wire.read().unwrap(), Resp::Int(n));
    }
    sending.join().unwrap();
    let body = format!("[{}]", vec![r#"["INCR","n"]"#; COUNT as usize].join(","));
    let replies = server.http().post("/pipeline", &body).unwrap().json();
    assert_eq!(replies.as_array().unwrap().len() as i64, COUNT);
    assert_eq!(replies[9_999]["result"], 2 * COUNT);
    let body = format!("[{}]", vec![r#"["PING"]"#; 70_000].join(","));
    let error = server.http().post("/pipeline", &body).unwrap().error();
    assert_eq!(error, "ERR too many commands in one request, at most 65536 are allowed");
}

#[test]
fn a_connection_that_says_nothing_costs_nothing() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for _ in 0..200 {
        drop(connect(server.http));
        drop(connect(server.resp.unwrap()));
    }
    let mut wire = server.raw_resp();
    wire.write(b"*2\r\n$3\r\nGE").unwrap();
    drop(wire);
    let mut http = server.http();
    http.write(b"POST / HTTP/1.1\r\nContent-Length: 100\r\n\r\n[").unwrap();
    drop(http);
    assert_eq!(server.resp().say("PING"), Resp::Simple("PONG".to_owned()));
}
