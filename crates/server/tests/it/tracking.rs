//! Client-side caching, shard channels and replies that nobody wants, as connections see them.
//!
//! What they say and hear is in `tracking.session`, which a Redis 8.2 answers line by line as Dormouse does.

use std::collections::HashMap;
use std::time::Duration;

use crate::support::{Resp, Server, TOKEN, directory};

/// A section of the session at work.
struct Play<'a> {
    server: &'a Server,
    clients: HashMap<char, Client>,
}

struct Client {
    wire: crate::support::Wire,
    id: String,
    /// What the last command answered, until somebody looks.
    answered: Option<Resp>,
}

impl Play<'_> {
    fn client(&mut self, name: char) -> &mut Client {
        let server = self.server;
        self.clients.entry(name).or_insert_with(|| {
            let mut wire = server.resp();
            wire.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            let id = wire.say("CLIENT ID").text();
            Client { wire, id, answered: None }
        })
    }

    /// A line with the ids it names.
    fn text(&mut self, text: &str) -> String {
        let mut parts = text.split('$');
        let mut result = parts.next().unwrap_or_default().to_owned();
        for part in parts {
            match part.chars().next().filter(char::is_ascii_lowercase) {
                Some(name) => result += &(self.client(name).id.clone() + &part[1..]),
                None => result.extend(["$", part]),
            }
        }
        result
    }

    fn line(&mut self, line: &str) {
        if let Some(ms) = line.strip_prefix("@ ") {
            std::thread::sleep(Duration::from_millis(ms.parse().unwrap()));
            return;
        }
        let (name, sign) = (line.chars().next().unwrap(), line.chars().nth(1).unwrap());
        let rest = self.text(line.get(3..).unwrap_or_default());
        let client = self.client(name);
        match sign {
            '>' | '-' | '*' => {
                let quoted: Vec<&str> = rest.split('"').collect();
                let words = quoted
                    .iter()
                    .enumerate()
                    .flat_map(|(at, part)| if at % 2 == 1 { vec![*part] } else { part.split_whitespace().collect() });
                client.wire.write(&crate::support::encode(&words.collect::<Vec<_>>())).unwrap();
                client.answered = (sign == '>').then(|| client.wire.read().unwrap());
                if sign == '*' {
                    std::thread::sleep(Duration::from_millis(200));
                }
            }
            '=' => {
                let reply = client.answered.take().unwrap_or_else(|| client.wire.read().unwrap());
                assert_eq!(reply.text(), rest, "{line}");
            }
            '<' => {
                let heard = client.wire.read().unwrap_or_else(|error| panic!("{line}: {error}"));
                assert_eq!(heard.text(), rest, "{line}");
            }
            '!' => {
                client.wire.socket().set_read_timeout(Some(Duration::from_millis(150))).unwrap();
                assert!(client.wire.read().is_err(), "{line}");
                client.wire.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
            }
            _ => panic!("{line}"),
        }
    }
}

#[test]
fn caching_clients_hear_what_redis_would_tell_them() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let session = include_str!("tracking.session");
    for section in session.split("\n## ").skip(1) {
        server.resp().say("FLUSHALL");
        let mut play = Play { server: &server, clients: HashMap::new() };
        for line in section.lines().skip(1).filter(|line| !line.is_empty()) {
            play.line(line);
        }
    }
}

#[test]
fn what_leaves_memory_has_not_changed() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &["--checkpoint-bytes", "256KiB", "--memory", "256KiB"]);
    let (mut reader, mut other) = (server.resp(), server.resp());
    reader.say("HELLO 3");
    other.say("SET kept v");
    reader.say("CLIENT TRACKING ON");
    reader.say("GET kept");
    let value = "x".repeat(10 << 10);
    for at in 0..300 {
        other.run(&["SET", &format!("big:{at}"), &value]).unwrap();
    }
    reader.socket().set_read_timeout(Some(Duration::from_millis(500))).unwrap();
    assert!(reader.read().is_err(), "it is on disk now, and the same");
    reader.socket().set_read_timeout(Some(Duration::from_secs(5))).unwrap();
    other.say("SET kept w");
    assert_eq!(reader.read().unwrap().text(), "invalidate kept");
}

#[test]
fn reset_lets_nobody_in() {
    let (_guard, data) = directory();
    let server = Server::start(&data, &[]);
    let mut wire = server.resp();
    assert_eq!(wire.say("RESET").text(), "RESET");
    assert_eq!(wire.say("GET k").text(), "NOAUTH Authentication required.");
    assert_eq!(wire.say(&format!("AUTH {TOKEN}")), Resp::ok());
    assert_eq!(wire.say("ACL SETUSER someone on >secret +@all ~*"), Resp::ok());
    assert_eq!(wire.say("AUTH someone secret"), Resp::ok());
    assert_eq!(wire.say("ACL WHOAMI").text(), "someone");
    assert_eq!(wire.say("RESET").text(), "RESET");
    assert_eq!(wire.say("ACL WHOAMI").text(), "NOAUTH Authentication required.");
    assert_eq!(wire.say(&format!("AUTH {TOKEN}")), Resp::ok());
    assert_eq!(wire.say("ACL WHOAMI").text(), "default");

    let (_guard, data) = directory();
    let open = Server::start(&data, &["--resp-open"]);
    let mut wire = open.raw_resp();
    assert_eq!(wire.say("ACL SETUSER someone on >secret +@all ~* &*"), Resp::ok());
    assert_eq!(wire.say("AUTH someone secret"), Resp::ok());
    assert_eq!(wire.say("SUBSCRIBE news").text(), "subscribe news 1");
    assert_eq!(wire.say("RESET").text(), "RESET");
    assert_eq!(wire.say("ACL WHOAMI").text(), "default");
    assert_eq!(wire.say("PUBLISH news hi"), Resp::Int(0));
}
