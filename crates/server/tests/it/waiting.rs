//! Long-polls: commands that wait for a key, over REST.

use std::time::{Duration, Instant};

use crate::support::{Http, Resp, Server, directory};

const BLOCK: &str = "Dormouse-Block: true\r\n";

fn send(http: &mut Http, path: &str, headers: &str, body: &str) -> String {
    let response = http.send("POST", path, headers, body.as_bytes()).unwrap();
    String::from_utf8(response.body).unwrap()
}

/// Asks, lets somebody else act, and gives the answer.
fn wait_for(server: &Server, body: &str, act: impl FnOnce()) -> String {
    let mut http = server.http();
    let length = body.len();
    let token = crate::support::TOKEN;
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{BLOCK}");
    http.write(format!("{head}Content-Length: {length}\r\n\r\n{body}").as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    act();
    String::from_utf8(http.receive(false).unwrap().body).unwrap()
}

#[test]
fn every_command_that_waits_is_answered_when_something_comes() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    assert!(!wire.say("XGROUP CREATE s g $ MKSTREAM").is_error());
    for (asks, comes, answer) in [
        (r#"["BLPOP","a","b","0"]"#, "RPUSH b x", r#"{"result":["b","x"]}"#),
        (r#"["BRPOP","a","5"]"#, "RPUSH a x", r#"{"result":["a","x"]}"#),
        (r#"["BLMOVE","a","c","LEFT","RIGHT","0"]"#, "RPUSH a y", r#"{"result":"y"}"#),
        (r#"["BRPOPLPUSH","a","c","0"]"#, "RPUSH a z", r#"{"result":"z"}"#),
        (r#"["BLMPOP","0","2","a","b","LEFT","COUNT","9"]"#, "RPUSH b 1 2", r#"{"result":["b",["1","2"]]}"#),
        (r#"["BZPOPMIN","z","0"]"#, "ZADD z 1.5 m", r#"{"result":["z","m","1.5"]}"#),
        (r#"["BZPOPMAX","z","0"]"#, "ZADD z 2 m", r#"{"result":["z","m","2"]}"#),
        (r#"["BZMPOP","0","1","z","MIN"]"#, "ZADD z 3 m", r#"{"result":["z",[["m","3"]]]}"#),
        (r#"["XREAD","BLOCK","0","STREAMS","s","$"]"#, "XADD s 5-1 f v", r#"{"result":[["s",[["5-1",["f","v"]]]]]}"#),
        (
            r#"["XREADGROUP","GROUP","g","c","BLOCK","0","COUNT","1","STREAMS","s","t",">",">"]"#,
            "PING",
            r#"{"error":"NOGROUP No such key 't' or consumer group 'g' in XREADGROUP with GROUP option"}"#,
        ),
    ] {
        let act = || drop(wire.say(comes));
        assert_eq!(wait_for(&server, asks, act), answer, "{asks}");
    }
    assert_eq!(wire.say("LRANGE c 0 -1"), Resp::Array(vec![Resp::bulk("z"), Resp::bulk("y")]));
    assert!(!wire.say("XREADGROUP GROUP g c STREAMS s >").is_error());
    let group = r#"["XREADGROUP","GROUP","g","c","BLOCK","0","STREAMS","s",">"]"#;
    let answer = wait_for(&server, group, || drop(wire.say("XADD s 6-1 f v")));
    assert_eq!(answer, r#"{"result":[["s",[["6-1",["f","v"]]]]]}"#);
    // The path form waits, too, and what is there is taken at once.
    wire.say("RPUSH a 1");
    let since = Instant::now();
    assert_eq!(send(&mut server.http(), "/blpop/a/0", BLOCK, ""), r#"{"result":["a","1"]}"#);
    assert!(since.elapsed() < Duration::from_secs(10));
}

#[test]
fn nothing_waits_unless_it_is_asked_to() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut http = server.http();
    let refused = r#"{"error":"ERR command 'blpop' is not supported over REST"}"#;
    for headers in ["", "Dormouse-Block: false\r\n"] {
        assert_eq!(send(&mut http, "/", headers, r#"["BLPOP","a","0"]"#), refused);
    }
    assert!(
        send(&mut http, "/", "", r#"["XREAD","BLOCK","0","STREAMS","s","$"]"#).contains("is not supported over REST")
    );
    assert!(send(&mut http, "/", "Dormouse-Block: maybe\r\n", r#"["PING"]"#).contains("true or false"));
    // Inside a pipeline or a transaction they answer at once.
    let commands = r#"[["BLPOP","a","0"],["XREAD","BLOCK","0","STREAMS","s","$"],["RPUSH","a","x"],["BLPOP","a","0"]]"#;
    let answers = r#"[{"result":null},{"result":null},{"result":1},{"result":["a","x"]}]"#;
    for path in ["/pipeline", "/multi-exec"] {
        assert_eq!(send(&mut http, path, BLOCK, commands), answers, "{path}");
    }
    assert_eq!(send(&mut http, "/pipeline", "", r#"[["BLPOP","a","0"]]"#), format!("[{refused}]"));
    // A browser may ask for it.
    let preflight = http.send("OPTIONS", "/", "Origin: http://a\r\n", b"").unwrap();
    assert!(preflight.header("access-control-allow-headers").unwrap().contains("dormouse-block"));
}

#[test]
fn the_operator_may_let_every_request_wait() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &["--block-over-rest"]);
    let mut http = server.http();
    assert_eq!(send(&mut http, "/", "", r#"["BLPOP","a","0.05"]"#), r#"{"result":null}"#);
    let refused = r#"{"error":"ERR command 'blpop' is not supported over REST"}"#;
    assert_eq!(send(&mut http, "/", "Dormouse-Block: false\r\n", r#"["BLPOP","a","0"]"#), refused);
    assert_eq!(send(&mut http, "/pipeline", "", r#"[["BLPOP","a","0"]]"#), r#"[{"result":null}]"#);
}

/// A server that stops lets nobody wait for the end of its patience.
#[test]
fn a_server_that_stops_answers_who_waits() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let mut http = server.http();
    let body = r#"["BLPOP","a","0"]"#;
    let token = crate::support::TOKEN;
    let head = format!("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\n{BLOCK}");
    http.write(format!("{head}Content-Length: {}\r\n\r\n{body}", body.len()).as_bytes()).unwrap();
    std::thread::sleep(Duration::from_millis(60));
    let since = Instant::now();
    assert!(server.stop("TERM").success());
    assert!(since.elapsed() < Duration::from_secs(4), "{:?}", since.elapsed());
    assert_eq!(http.receive(false).unwrap().body, br#"{"result":null}"#);
}
