//! Users through every door: a bearer token or a password is worth what its user may do, from one request to the next.

use crate::support::{Http, Resp, Server, Wire, directory, encode, eventually};

const NO_KEY: &str = "NOPERM No permissions to access a key";
const NO_CHANNEL: &str = "NOPERM No permissions to access a channel";
const WRONG: &str = "WRONGPASS invalid username-password pair or user is disabled.";

fn result(http: &mut Http, body: &str) -> serde_json::Value {
    http.post("/", body).unwrap().json()["result"].clone()
}

/// A bearer token of a user whom the rules make.
fn token(owner: &mut Http, rules: &str) -> String {
    let words: Vec<String> = rules.split(' ').map(|word| format!(r#","{word}""#)).collect();
    let body = format!(r#"["ACL","SETUSER","alice","on",">secret"{}]"#, words.concat());
    assert_eq!(result(owner, &body), "OK");
    result(owner, r#"["ACL","RESTTOKEN","alice","secret"]"#).as_str().unwrap().to_owned()
}

#[test]
fn a_bearer_token_opens_what_its_user_may_do() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut owner = server.http();
    let token = token(&mut owner, "~app:* %R~shared &news +@all -@dangerous");
    let mut alice = Http::connect(server.http, &token);
    assert_eq!(result(&mut alice, r#"["SET","app:1","v"]"#), "OK");
    assert_eq!(result(&mut alice, r#"["ACL","WHOAMI"]"#), "alice");
    for (path, body, error) in [
        ("/", r#"["GET","other"]"#, NO_KEY),
        ("/", r#"["SET","shared","v"]"#, NO_KEY),
        ("/", r#"["FLUSHALL"]"#, "NOPERM User alice has no permissions to run the 'flushall' command"),
        (
            "/",
            r#"["ACL","SETUSER","alice","allkeys"]"#,
            "NOPERM User alice has no permissions to run the 'acl|setuser' command",
        ),
        ("/", r#"["PUBLISH","other","m"]"#, NO_CHANNEL),
        ("/get/other", "", NO_KEY),
        ("/set/shared", "v", NO_KEY),
        ("/multi-exec", r#"[["SET","app:1","new"],["GET","other"]]"#, NO_KEY),
        ("/subscribe/other", "[]", NO_CHANNEL),
        ("/psubscribe/n*", "[]", NO_CHANNEL),
    ] {
        let response = alice.post(path, body).unwrap();
        assert_eq!((response.status, response.error().as_str()), (400, error), "{path} {body}");
    }
    assert_eq!(result(&mut alice, r#"["GET","app:1"]"#), "v", "the transaction did not run");
    let replies = alice.post("/pipeline", r#"[["GET","app:1"],["GET","other"],["GET","shared"]]"#).unwrap().json();
    assert_eq!(replies, serde_json::json!([{"result": "v"}, {"error": NO_KEY}, {"result": null}]));
    let script = r#"["EVAL","return redis.call('GET','other')","0"]"#;
    assert!(alice.post("/", script).unwrap().error().contains("ACL failure in script: No permissions to access a key"));

    let mut in_query = Http::connect(server.http, "nonsense-nonsense");
    let path = format!("/get/app:1?_token={token}");
    assert_eq!(in_query.send("GET", &path, "", b"").unwrap().status, 401, "the header comes first");
    for wrong in ["", "A", &token[..token.len() - 1], &format!("{token}x"), "secret"] {
        assert_eq!(Http::connect(server.http, wrong).post("/", r#"["PING"]"#).unwrap().status, 401, "{wrong}");
    }

    assert_eq!(result(&mut owner, r#"["ACL","SETUSER","alice","-get"]"#), "OK");
    assert!(alice.post("/", r#"["GET","app:1"]"#).unwrap().error().starts_with("NOPERM"));
    for (change, back) in [(r#""off""#, r#""on""#), (r#""<secret""#, r#"">secret""#)] {
        assert_eq!(result(&mut owner, &format!(r#"["ACL","SETUSER","alice",{change}]"#)), "OK");
        assert_eq!(alice.post("/", r#"["PING"]"#).unwrap().status, 401, "{change}");
        assert_eq!(result(&mut owner, &format!(r#"["ACL","SETUSER","alice",{back}]"#)), "OK");
    }
    assert_eq!(alice.post("/", r#"["PING"]"#).unwrap().status, 401, "the token went with the password");
}

#[test]
fn users_outlive_the_process() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let token = token(&mut server.http(), "~k +@all");
    server.kill();
    let server = Server::start(&data, &[]);
    let mut alice = Http::connect(server.http, &token);
    assert_eq!(result(&mut alice, r#"["SET","k","v"]"#), "OK");
    let mut wire = server.raw_resp();
    assert_eq!(wire.say("AUTH alice wrong").text(), WRONG);
    assert_eq!(wire.say("AUTH alice secret"), Resp::ok());
    assert_eq!(wire.say("GET k"), Resp::bulk("v"));
    assert_eq!(wire.say("GET other").text(), NO_KEY);
    for line in [format!("AUTH alice {token}"), format!("AUTH {token}")] {
        assert_eq!(server.raw_resp().say(&line), Resp::ok(), "{line}");
    }
    assert_eq!(server.raw_resp().say(&format!("AUTH bob {token}")).text(), WRONG);
    assert!(matches!(server.raw_resp().say(&format!("HELLO 3 AUTH alice {token}")), Resp::Map(_)));
    assert!(matches!(server.raw_resp().say("HELLO 3 AUTH alice secret"), Resp::Map(_)));
}

#[test]
fn connections_of_a_deleted_user_end() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut owner = server.http();
    let token = token(&mut owner, "~* &* +@all");
    let join = || -> Wire {
        let mut wire = server.raw_resp();
        assert_eq!(wire.say("AUTH alice secret"), Resp::ok());
        wire
    };
    let (mut idle, mut waits, mut listens, mut others) = (join(), join(), join(), server.resp());
    waits.write(&encode(&["BLPOP", "q", "0"])).unwrap();
    listens.say("SUBSCRIBE c");
    let mut stream = Http::connect(server.http, &token);
    let head = format!(
        "POST /subscribe/c HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n[]"
    );
    stream.write(head.as_bytes()).unwrap();
    assert_eq!(stream.head().unwrap().status, 200);
    assert_eq!(stream.event().unwrap(), "subscribe,c,1");
    eventually("they all listen", || others.say("PUBLISH c m") == Resp::Int(2));
    assert_eq!(result(&mut owner, r#"["ACL","DELUSER","alice"]"#), 1);
    assert!(idle.is_closed() && waits.is_closed());
    eventually("nobody listens", || others.say("PUBLISH c m") == Resp::Int(0));
    assert_eq!(others.say("RPUSH q x"), Resp::Int(1));
    assert_eq!(others.say("LLEN q"), Resp::Int(1));
    assert_eq!(Http::connect(server.http, &token).post("/", r#"["PING"]"#).unwrap().status, 401);
}

/// Bytes of every file under a directory.
fn files(dir: &std::path::Path) -> Vec<Vec<u8>> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path));
        } else {
            found.push(std::fs::read(&path).unwrap());
        }
    }
    found
}

#[test]
fn no_password_and_no_token_of_a_user_is_on_disk() {
    let (_guard, data) = directory();
    let mut server = Server::start(&data, &[]);
    let mut owner = server.http();
    let plain = "a-password-that-is-easy-to-find";
    let wrapped = result(&mut owner, r#"["ACL","GENTOKEN","alice"]"#).as_str().unwrap().to_owned();
    let set = format!(r#"["ACL","SETUSER","alice","on",">{wrapped}",">{plain}","+@all","~kept"]"#);
    assert_eq!(result(&mut owner, &set), "OK");
    // An answer that is kept for whoever asks again must not hold a token either.
    let body = format!(r#"["ACL","RESTTOKEN","alice","{plain}"]"#);
    let first = owner.send("POST", "/", "Idempotency-Key: one\r\n", body.as_bytes()).unwrap();
    let issued = first.json()["result"].as_str().unwrap().to_owned();
    let again = owner.send("POST", "/", "Idempotency-Key: one\r\n", body.as_bytes()).unwrap();
    assert_ne!(again.json()["result"].as_str(), Some(issued.as_str()));
    server.kill();
    let mut server = Server::start(&data, &[]);
    assert!(server.stop("TERM").success());
    let files = files(&data);
    let is_there = |text: &str| files.iter().any(|file| file.windows(text.len()).any(|part| part == text.as_bytes()));
    assert!(is_there("~kept"), "its rules are");
    for secret in [plain, &wrapped, &issued] {
        assert!(!is_there(secret), "{secret}");
    }
}
