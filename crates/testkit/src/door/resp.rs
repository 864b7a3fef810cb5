//! A server that speaks RESP over TCP: Dormouse, Redis, or a relative.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use dormouse_proto::Reply;
use dormouse_proto::resp::{decode_reply, encode_command};

use super::{Abilities, Door, PATIENCE, as_resp2};
use crate::page::Version;
use crate::reply_text;
use crate::server::{self, Server};

/// Slack when real time passes: what must have died by then, has.
const SLACK_MS: u64 = 3;

/// See the module's text.
#[derive(Debug)]
pub struct RespDoor {
    address: String,
    token: Option<String>,
    name: String,
    server: Server,
    version: Version,
    json: bool,
    connections: BTreeMap<String, Connection>,
}

impl RespDoor {
    /// A Dormouse at `host:port`, with its token if it wants one.
    pub fn dormouse(address: &str, token: Option<&str>) -> Result<Self> {
        let mut door = Self {
            address: address.to_owned(),
            token: token.map(str::to_owned),
            name: format!("RESP at {address}"),
            server: Server::Dormouse,
            version: Version::NEWEST,
            json: true,
            connections: BTreeMap::new(),
        };
        door.reset()?;
        Ok(door)
    }

    /// A Redis or a relative at `host:port`, asked what it is.
    pub fn redis(address: &str) -> Result<Self> {
        let mut door = Self::dormouse(address, None)?;
        let info = door.run("", &[b"INFO".to_vec(), b"server".to_vec()])?;
        let Some(Reply::Bulk(text)) = info.first() else { bail!("INFO answered {info:?}") };
        let text = String::from_utf8_lossy(text).into_owned();
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name));
        let version = field("redis_version:").context("no version in INFO")?;
        door.version = Version::parse(version).context("an odd version in INFO")?;
        (door.server, door.name) = match field("valkey_version:") {
            Some(own) => (Server::Valkey, format!("Valkey {own}")),
            None => (Server::Redis, format!("Redis {version}")),
        };
        let modules = door.run("", &[b"MODULE".to_vec(), b"LIST".to_vec()])?;
        door.json = modules.iter().any(|reply| reply_text::text(reply).contains("ReJSON"));
        Ok(door)
    }

    /// A reply as ours would say it.
    fn heard(&self, reply: Reply) -> Reply {
        if self.json && self.server != Server::Dormouse { server::with_codes(reply) } else { reply }
    }

    fn connection(&mut self, client: &str) -> Result<&mut Connection> {
        if !self.connections.contains_key(client) {
            let mut connection = Connection::open(&self.address)?;
            if let Some(token) = &self.token {
                let reply = connection.ask(&[b"AUTH".to_vec(), token.clone().into_bytes()])?;
                if reply != Reply::OK {
                    bail!("AUTH answered {reply:?}");
                }
            }
            self.connections.insert(client.to_owned(), connection);
        }
        self.connections.get_mut(client).context("it was just made")
    }
}

impl Door for RespDoor {
    fn name(&self) -> &str {
        &self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { server: self.server, connection: true, clients: true, version: self.version, json: self.json }
    }

    fn reset(&mut self) -> Result<()> {
        self.connections.clear();
        for line in ["FLUSHALL", "CONFIG SET notify-keyspace-events", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
            let mut args: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            if args[0] == b"CONFIG" {
                args.push(Vec::new());
            }
            let reply = self.connection("")?.ask(&args)?;
            if args.len() == 1 && reply != Reply::OK {
                bail!("{line} answered {reply:?}");
            }
        }
        Ok(())
    }

    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> Result<()> {
        self.connection(client)?.send(args)
    }

    fn receive(&mut self, client: &str, patience: Duration) -> Result<Option<Reply>> {
        let reply = self.connection(client)?.receive(patience)?;
        Ok(reply.map(|reply| self.heard(reply)))
    }

    fn leave(&mut self, client: &str) {
        self.connections.remove(client);
    }

    fn pass(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms + SLACK_MS));
    }

    fn run(&mut self, client: &str, args: &[Vec<u8>]) -> Result<Vec<Reply>> {
        let connection = self.connection(client)?;
        let count = connection.replies_of(args);
        let mut replies = vec![connection.ask(args)?];
        let confirms = |reply: &Reply| matches!(reply, Reply::Array(items) if items.len() == 3);
        while replies.len() < count && replies.last().is_some_and(confirms) {
            replies.push(connection.receive(PATIENCE)?.context("a reply is missing")?);
        }
        for reply in &replies {
            connection.note(reply);
        }
        Ok(replies.into_iter().map(|reply| self.heard(reply)).collect())
    }
}

/// One client's connection.
#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    unread: Vec<u8>,
    /// What it listens to, with the kind of confirmation that ends it: how else to know how many replies will come?
    listening: BTreeSet<(&'static str, Vec<u8>)>,
}

impl Connection {
    fn open(address: &str) -> Result<Self> {
        let stream = TcpStream::connect(address).with_context(|| format!("connecting to {address}"))?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, unread: Vec::new(), listening: BTreeSet::new() })
    }

    fn ask(&mut self, args: &[Vec<u8>]) -> Result<Reply> {
        self.send(args)?;
        self.receive(PATIENCE)?.context("no reply")
    }

    fn send(&mut self, args: &[Vec<u8>]) -> Result<()> {
        let mut bytes = Vec::new();
        encode_command(args.iter().map(Vec::as_slice), &mut bytes);
        Ok(self.stream.write_all(&bytes)?)
    }

    fn receive(&mut self, patience: Duration) -> Result<Option<Reply>> {
        let until = Instant::now() + patience;
        loop {
            if let Some((reply, used)) = decode_reply(&self.unread)? {
                self.unread.drain(..used);
                return Ok(as_resp2(&reply).into_iter().next());
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(None);
            }
            self.stream.set_read_timeout(Some(left))?;
            let mut piece = [0; 16 * 1024];
            match self.stream.read(&mut piece) {
                Ok(0) => bail!("the connection was closed"),
                Ok(read) => self.unread.extend_from_slice(&piece[..read]),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// How many replies a command gets, unless the first is an error.
    fn replies_of(&self, args: &[Vec<u8>]) -> usize {
        let name = args.first().map(|name| name.to_ascii_lowercase()).unwrap_or_default();
        match name.as_slice() {
            b"subscribe" | b"psubscribe" | b"ssubscribe" => args.len() - 1,
            b"unsubscribe" | b"punsubscribe" | b"sunsubscribe" if args.len() > 1 => args.len() - 1,
            b"unsubscribe" | b"punsubscribe" | b"sunsubscribe" => {
                self.listening.iter().filter(|(ends, _)| ends.as_bytes() == name).count().max(1)
            }
            _ => 1,
        }
    }

    /// Follows what the connection listens to.
    fn note(&mut self, reply: &Reply) {
        let Reply::Array(items) = reply else { return };
        let [Reply::Bulk(kind), Reply::Bulk(name), Reply::Integer(_)] = items.as_slice() else { return };
        let name = name.to_vec();
        match kind.as_slice() {
            b"subscribe" => drop(self.listening.insert(("unsubscribe", name))),
            b"psubscribe" => drop(self.listening.insert(("punsubscribe", name))),
            b"ssubscribe" => drop(self.listening.insert(("sunsubscribe", name))),
            b"unsubscribe" => drop(self.listening.remove(&("unsubscribe", name))),
            b"punsubscribe" => drop(self.listening.remove(&("punsubscribe", name))),
            b"sunsubscribe" => drop(self.listening.remove(&("sunsubscribe", name))),
            _ => {}
        }
    }
}
