//! Both doors over TLS: what is agreed upon, what a plain client hears, and a certificate that changes.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::support::{PATIENCE, Server, TOKEN, directory, refused};

type Line = StreamOwned<ClientConnection, TcpStream>;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tls").join(name)
}

/// A server with the first certificate, in files of its own.
fn start() -> (tempfile::TempDir, Server, PathBuf) {
    let (guard, data) = directory();
    let (cert, key) = (guard.path().join("cert.pem"), guard.path().join("key.pem"));
    fs::copy(fixture("one.pem"), &cert).unwrap();
    fs::copy(fixture("one.key"), &key).unwrap();
    let server = Server::start(&data, &["--tls-cert", cert.to_str().unwrap(), "--tls-key", key.to_str().unwrap()]);
    (guard, server, cert)
}

/// A connection that trusts one certificate and offers these protocols.
fn connect(address: SocketAddr, trusted: &str, protocols: &[&[u8]]) -> std::io::Result<Line> {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(fixture(trusted)).unwrap()).unwrap();
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let versions = builder.with_safe_default_protocol_versions().unwrap();
    let mut config = versions.with_root_certificates(roots).with_no_client_auth();
    config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
    let name = ServerName::try_from("localhost").unwrap();
    let mut connection = ClientConnection::new(Arc::new(config), name).unwrap();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    connection.complete_io(&mut stream)?;
    Ok(StreamOwned::new(connection, stream))
}

/// What comes until it ends like this.
fn until(line: &mut impl Read, end: &str) -> String {
    let mut all = Vec::new();
    let mut some = [0; 4096];
    while !all.ends_with(end.as_bytes()) {
        let read = line.read(&mut some).unwrap();
        assert!(read > 0, "it ended after {:?}", String::from_utf8_lossy(&all));
        all.extend_from_slice(&some[..read]);
    }
    String::from_utf8(all).unwrap()
}

fn post(body: &str) -> String {
    let length = body.len();
    format!("POST / HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}")
}

#[test]
fn rest_over_tls_agrees_on_a_protocol() {
    let (_guard, server, _) = start();
    assert!(server.printed().contains("REST   https://"), "{}", server.printed());
    let mut line = connect(server.http, "one.pem", &[b"http/1.1"]).unwrap();
    assert_eq!(line.conn.alpn_protocol(), Some(&b"http/1.1"[..]));
    let value = "x".repeat(3 << 20);
    line.write_all(post(&format!(r#"["SET","k","{value}"]"#)).as_bytes()).unwrap();
    assert!(until(&mut line, "}").ends_with(r#"{"result":"OK"}"#));
    line.write_all(post(r#"["GET","k"]"#).as_bytes()).unwrap();
    assert!(until(&mut line, "}").ends_with(&format!(r#"{{"result":"{value}"}}"#)));

    let mut line = connect(server.http, "one.pem", &[b"h2", b"http/1.1"]).unwrap();
    assert_eq!(line.conn.alpn_protocol(), Some(&b"h2"[..]));
    line.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0").unwrap();
    let mut frame = [0; 9];
    line.read_exact(&mut frame).unwrap();
    assert_eq!(frame[3], 4, "the first frame holds settings");
    assert!(connect(server.http, "one.pem", &[b"spdy/1"]).is_err(), "nothing in common");
}

#[test]
fn resp_over_tls_is_resp() {
    let (_guard, server, cert) = start();
    let address = server.resp.unwrap();
    let mut line = connect(address, "one.pem", &[]).unwrap();
    let value = "y".repeat(3 << 20);
    line.write_all(format!("AUTH {TOKEN}\r\nPING\r\n").as_bytes()).unwrap();
    assert_eq!(until(&mut line, "+PONG\r\n"), "+OK\r\n+PONG\r\n");
    write!(line, "*3\r\n$3\r\nSET\r\n$1\r\nk\r\n${}\r\n{value}\r\nGET k\r\n", value.len()).unwrap();
    assert!(
        until(&mut line, "y\r\n").ends_with(&value[..100].to_owned().chars().chain("\r\n".chars()).collect::<String>())
    );
    // One that waits is served over TLS, too.
    line.write_all(b"BLPOP q 0\r\n").unwrap();
    let mut other = connect(address, "one.pem", &[]).unwrap();
    other.write_all(format!("AUTH {TOKEN}\r\nRPUSH q a\r\nQUIT\r\n").as_bytes()).unwrap();
    assert_eq!(until(&mut other, ":1\r\n+OK\r\n"), "+OK\r\n:1\r\n+OK\r\n");
    assert_eq!(other.read(&mut [0]).unwrap(), 0, "the end is said");
    assert_eq!(until(&mut line, "a\r\n"), "*2\r\n$1\r\nq\r\n$1\r\na\r\n");

    let port = address.port().to_string();
    let mut command = Command::new("redis-cli");
    command.args(["--tls", "-h", "localhost", "-p", &port, "--cacert"]).arg(&cert).args([
        "-a",
        TOKEN,
        "--no-auth-warning",
        "PING",
    ]);
    if let Ok(output) = command.output() {
        assert_eq!(String::from_utf8_lossy(&output.stdout), "PONG\n", "{}", String::from_utf8_lossy(&output.stderr));
    }
}

#[test]
fn a_plain_client_is_told() {
    let (_guard, server, _) = start();
    for (address, sent, said) in [
        (server.http, "GET / HTTP/1.1\r\nHost: h\r\n\r\n", "this port speaks TLS: use https://\"}\r\n"),
        (server.resp.unwrap(), "PING\r\n", "-ERR this port speaks TLS: use rediss://\r\n"),
    ] {
        let mut line = TcpStream::connect(address).unwrap();
        line.set_read_timeout(Some(PATIENCE)).unwrap();
        line.write_all(sent.as_bytes()).unwrap();
        until(&mut line, said);
        assert_eq!(line.read(&mut [0]).unwrap(), 0);
    }
}

#[test]
fn a_new_certificate_is_taken_on_sighup() {
    let (_guard, server, cert) = start();
    let mut before = connect(server.resp.unwrap(), "one.pem", &[]).unwrap();
    fs::copy(fixture("two.pem"), &cert).unwrap();
    fs::copy(fixture("two.key"), cert.with_file_name("key.pem")).unwrap();
    server.signal("HUP");
    let since = Instant::now();
    while connect(server.http, "two.pem", &[]).is_err() {
        assert!(since.elapsed() < PATIENCE, "{}", server.logged());
        std::thread::sleep(Duration::from_millis(10));
    }
    before.write_all(format!("AUTH {TOKEN}\r\n").as_bytes()).unwrap();
    assert_eq!(until(&mut before, "\r\n"), "+OK\r\n");
}

#[test]
fn a_start_without_its_key_says_so() {
    let (guard, data) = directory();
    let mut command = crate::support::dormouse();
    command.arg("--data").arg(&data).args(["--http", "127.0.0.1:0", "--resp", "off", "--tls-cert"]);
    command.arg(fixture("one.pem")).arg("--tls-key").arg(fixture("two.key"));
    let text = refused(&mut command);
    assert!(text.contains("is not the key of the first certificate in"), "{text}");
    assert!(!data.exists(), "nothing was begun");
    drop(guard);
}
