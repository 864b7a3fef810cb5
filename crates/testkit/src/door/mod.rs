//! Ways to a database: the engine or the whole service in this process, a server over RESP or REST, a real Redis.
//!
//! Whatever is behind a door, its replies come out in RESP2's shapes, so that one text fits all. A door has clients by name
//! (one alone has the empty name); what a door cannot do it says in its [`Abilities`], and whoever runs a text skips what
//! needs more.

mod engine;
mod redis;
mod resp;
mod rest;
mod session;

use std::time::Duration;

use anyhow::Result;
use dormouse_proto::Reply;
use dormouse_proto::resp::{Version as Protocol, decode_reply, encode};

pub use engine::EngineDoor;
pub use redis::RealServer;
pub use resp::RespDoor;
pub use rest::RestDoor;
pub use session::SessionDoor;

use crate::page::Version;
use crate::server::Server;

/// How long to wait for a reply that must come.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a door can do.
#[derive(Clone, Copy, Debug)]
pub struct Abilities {
    /// What is behind it.
    pub server: Server,
    /// A client stays connected between commands, and transactions run.
    pub connection: bool,
    /// There may be several clients.
    pub clients: bool,
    /// The Redis it claims to be.
    pub version: Version,
    /// There are JSON documents.
    pub json: bool,
}

/// See the module's text.
pub trait Door {
    /// What to call it in a report.
    fn name(&self) -> &str;

    /// What it can do.
    fn abilities(&self) -> Abilities;

    /// Whether this very command can run here.
    fn can_run(&self, _args: &[Vec<u8>]) -> bool {
        true
    }

    /// Back to an empty database and clients that have just connected.
    fn reset(&mut self) -> Result<()>;

    /// Sends a command.
    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> Result<()>;

    /// The next reply for a client, if one comes in time.
    fn receive(&mut self, client: &str, patience: Duration) -> Result<Option<Reply>>;

    /// A client goes.
    fn leave(&mut self, _client: &str) {}

    /// Lets time pass.
    fn pass(&mut self, ms: u64);

    /// Says what time it is, to a door whose clock stands still otherwise.
    fn follow_clock(&mut self, _now_ms: u64) {}

    /// Sends a command and reads all of its replies, nearly always one.
    fn run(&mut self, client: &str, args: &[Vec<u8>]) -> Result<Vec<Reply>> {
        self.send(client, args)?;
        match self.receive(client, PATIENCE)? {
            Some(reply) => Ok(vec![reply]),
            None => anyhow::bail!("no reply"),
        }
    }
}

/// The row of a command, if it is a whole one.
pub(crate) fn row(args: &[Vec<u8>]) -> Option<&'static dormouse_engine::Command> {
    let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
    dormouse_engine::find(&words).ok().map(|found| found.command)
}

/// A reply as a RESP2 client would see it; several, if it is several.
pub fn as_resp2(reply: &Reply) -> Vec<Reply> {
    let mut bytes = Vec::new();
    encode(reply, Protocol::Resp2, &mut bytes);
    let mut rest = bytes.as_slice();
    let mut replies = Vec::new();
    while let Ok(Some((reply, used))) = decode_reply(rest) {
        replies.push(reply);
        rest = &rest[used..];
    }
    replies
}
