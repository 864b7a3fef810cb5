//! A log that fails while clients are at work: writes are refused, what is durable is still read, and a restart finds it.
//!
//! The kernel refuses the server every further byte of a file, as a full disk would: a limit that is set while it runs.

use std::process::{Command, Stdio};

use rustix::process::{Pid, Resource, Rlimit, prlimit};

use crate::support::{Http, PATIENCE, Resp, Server, TOKEN, directory};

const REFUSED: &str =
    "MISCONF Errors writing to the commit log. Writes are refused until the server is restarted; see its log.";

/// A server that lives on when a file may not grow.
fn start(data: &std::path::Path) -> Server {
    let mut command = Command::new("sh");
    // What is ignored stays ignored in the program that takes the shell's place.
    command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\"", env!("CARGO_BIN_EXE_dormouse"), "--data"]).arg(data);
    command.args(["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--token", TOKEN]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    Server::run(&mut command)
}

#[test]
fn a_failed_log_refuses_writes_and_serves_reads() {
    let (_guard, data) = directory();
    let mut server = start(&data);
    let mut http = Http::connect(server.http, TOKEN);
    let ask = |http: &mut Http, path: &str, body: &str| {
        let response = http.post(path, body).unwrap();
        (response.status, response.json())
    };
    for key in ["k", "other"] {
        assert_eq!(ask(&mut http, "/", &format!(r#"["SET","{key}","v"]"#)).0, 200);
    }
    let pid = Pid::from_raw(i32::try_from(server.id()).unwrap()).unwrap();
    prlimit(Some(pid), Resource::Fsize, Rlimit { current: Some(0), maximum: None }).unwrap();

    for command in [r#"["SET","k","w"]"#, r#"["INCR","n"]"#] {
        let (status, body) = ask(&mut http, "/", command);
        assert_eq!((status, body["error"].as_str()), (503, Some(REFUSED)), "{command}");
    }
    // What the lost write has touched cannot be shown: a restart would take it back.
    assert_eq!(ask(&mut http, "/", r#"["GET","k"]"#).0, 503);
    let (status, body) = ask(&mut http, "/", r#"["GET","other"]"#);
    assert_eq!((status, body["result"].as_str()), (200, Some("v")));
    assert_eq!(ask(&mut http, "/pipeline", r#"[["GET","other"],["GET","none"]]"#).0, 200);
    assert_eq!(http.send("GET", "/health", "", b"").unwrap().status, 503);

    let mut resp = server.resp();
    assert_eq!(resp.say("GET other"), Resp::Bulk(b"v".to_vec()));
    assert_eq!(resp.say("SET other w"), Resp::Error(REFUSED.to_owned()));
    assert!(server.logged().contains("log"), "{}", server.logged());
    assert!(!server.stop("TERM").success(), "it says that something was lost; within {PATIENCE:?}");

    let server = start(&data);
    let mut http = Http::connect(server.http, TOKEN);
    for key in ["k", "other"] {
        assert_eq!(ask(&mut http, "/", &format!(r#"["GET","{key}"]"#)).1["result"], "v");
    }
    assert_eq!(http.send("GET", "/health", "", b"").unwrap().status, 200);
}
