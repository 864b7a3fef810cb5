//! HTTP/2 by prior knowledge, spoken by clients that others have written: curl, and Node's `http2`.

use std::io::{Read, Write};
use std::process::Command;

use crate::support::{Server, TOKEN, connect, directory};

/// What a program prints; nothing if it is not installed, which is no failure.
fn run(command: &mut Command) -> Option<String> {
    match command.output() {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            println!("skipped: {} is not installed", command.get_program().display());
            None
        }
        output => {
            let output = output.unwrap();
            let text = String::from_utf8_lossy(&output.stdout).into_owned() + &String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{text}");
            Some(text)
        }
    }
}

#[test]
fn curl_is_served() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    if run(Command::new("curl").arg("--version")).is_none_or(|text| !text.contains("HTTP2")) {
        return;
    }
    let auth = format!("Authorization: Bearer {TOKEN}");
    let curl = |args: &[&str]| {
        let mut command = Command::new("curl");
        command.args([
            "-sS",
            "--max-time",
            "20",
            "--http2-prior-knowledge",
            "-H",
            &auth,
            "-w",
            " %{http_version} %{http_code}",
        ]);
        run(command.args(args)).unwrap()
    };
    let url = format!("http://{}", server.http);
    assert_eq!(curl(&[&format!("{url}/set/k/v")]), r#"{"result":"OK"} 2 200"#);
    assert_eq!(curl(&[&url, "-d", r#"["GET","k"]"#]), r#"{"result":"v"} 2 200"#);
    assert_eq!(curl(&[&format!("{url}/nope")]).split_whitespace().last(), Some("400"));
    assert_eq!(curl(&["-I", &format!("{url}/get/k")]).split_whitespace().last(), Some("200"));
    assert!(curl(&["-X", "DELETE", &url]).ends_with("2 405"));
    assert!(curl(&[&format!("{url}/health")]).starts_with(r#"{"status":"ok"}"#));
}

#[test]
fn node_is_served() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/it/two.mjs");
    let mut command = Command::new("node");
    let url = format!("http://{}", server.http);
    if let Some(text) = run(command.arg(script).args([&url, TOKEN])) {
        println!("{text}");
        assert!(text.ends_with("done\n"), "{text}");
    }
}

#[test]
fn a_preface_and_then_nonsense_ends_the_connection_alone() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    for more in [&b""[..], &[0xff; 100], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut stream = connect(server.http);
        stream.write_all(&[b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", more].concat()).unwrap();
        stream.shutdown(std::net::Shutdown::Write).unwrap();
        let mut all = Vec::new();
        let _ = stream.read_to_end(&mut all);
        assert!(!all.starts_with(b"HTTP/1.1"), "{}", String::from_utf8_lossy(&all));
    }
    assert_eq!(server.http().post("/", r#"["PING"]"#).unwrap().status, 200);
}
