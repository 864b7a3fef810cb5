//! A service in this process, on a folder that is thrown away, with several clients and a clock that moves when told.
//!
//! It is all of Dormouse but the sockets: clients are sessions, as those behind the RESP door. So transactions, messages and
//! blocked commands can be tested without a server and without waiting. Time passes only here: where someone waits for a
//! reply, the clock moves on to the next blocked command that gives up.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dormouse_database::{Delivery, Options, Outbox, Service, Session, Step, Unparked};
use dormouse_engine::{Client, Door as Way, Facts, Grant, Limits, Moment, Patient, Ticket};
use dormouse_proto::Reply;
use dormouse_storage::Durability;
use tempfile::TempDir;

use super::{Abilities, Door, PATIENCE, as_resp2};
use crate::page::Version;
use crate::server::Server;

/// Where the clock begins, in microseconds since the Unix epoch.
const BEGINNING_US: u64 = 1_700_000_000_000_000;
/// Opens the only database.
const TOKEN: &str = "a-token-for-tests";
const MEMORY_BYTES: u64 = 1 << 30;

/// See the module's text.
pub struct SessionDoor {
    clients: BTreeMap<String, Talk>,
    service: Arc<Service>,
    now_us: u64,
    seed: u64,
    _folder: TempDir,
}

/// One client.
struct Talk {
    session: Session,
    mailbox: Arc<Mailbox>,
    unread: VecDeque<Reply>,
    parked: Option<Parked>,
}

/// A command that waits for a key.
#[derive(Clone, Copy)]
struct Parked {
    ticket: Ticket,
    until_us: Option<u64>,
}

/// Keeps what is delivered to a client until it looks.
#[derive(Default)]
struct Mailbox(Mutex<Vec<Delivery>>);

impl Outbox for Mailbox {
    fn deliver(&self, delivery: Delivery) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(delivery);
    }
}

impl std::fmt::Debug for SessionDoor {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("SessionDoor").field("now_us", &self.now_us).finish_non_exhaustive()
    }
}

impl SessionDoor {
    /// An empty database.
    pub fn open() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let options = Options {
            dir: folder.path().join("data"),
            // Nobody looks at the folder afterwards.
            durability: Durability::None,
            memory_bytes_max: MEMORY_BYTES,
            // Every run is the same.
            entropy: |bytes| bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8),
            token: Some(TOKEN.to_owned()),
            read_only_token: None,
            limits: Limits::default(),
            facts: Facts::default(),
        };
        let service =
            Arc::new(Service::open(&options, Service::lock(&options.dir)?, Moment { now_us: BEGINNING_US, seed: 0 })?);
        Ok(Self { clients: BTreeMap::new(), service, now_us: BEGINNING_US, seed: 0, _folder: folder })
    }

    fn talk(&mut self, client: &str) -> Result<&mut Talk> {
        if !self.clients.contains_key(client) {
            let mailbox = Arc::new(Mailbox::default());
            let state = Client::new(self.service.next_client(), Way::Resp, Grant::Full);
            let mut session = Session::connection(&self.service, state, Arc::clone(&mailbox) as _);
            session.enter(self.service.authenticate(TOKEN.as_bytes())?.context("the token is known")?);
            let talk = Talk { session, mailbox, unread: VecDeque::new(), parked: None };
            self.clients.insert(client.to_owned(), talk);
        }
        self.clients.get_mut(client).context("it was just made")
    }

    /// Moves the clock on; commands whose time is up on the way give up, the first one first.
    fn advance_to(&mut self, to_us: u64) {
        loop {
            let due = |talk: &&mut Talk| talk.parked.and_then(|parked| parked.until_us).filter(|&until| until <= to_us);
            for talk in self.clients.values_mut() {
                talk.collect();
            }
            let Some(talk) = self.clients.values_mut().filter(|talk| due(talk).is_some()).min_by_key(due) else {
                break;
            };
            self.now_us = due(&talk).unwrap_or(to_us).max(self.now_us);
            talk.give_up();
        }
        self.now_us = self.now_us.max(to_us);
    }
}

impl Talk {
    /// Takes what was delivered.
    fn collect(&mut self) {
        let deliveries = std::mem::take(&mut *self.mailbox.0.lock().unwrap_or_else(PoisonError::into_inner));
        for delivery in deliveries {
            let (Delivery::Push { reply, .. } | Delivery::Unparked { reply, .. }) = &delivery;
            self.unread.extend(as_resp2(reply));
            if matches!(delivery, Delivery::Unparked { .. }) {
                self.parked = None;
            }
        }
    }

    fn give_up(&mut self) {
        if let Some(parked) = self.parked.take()
            && let Unparked::Reply { reply, .. } = self.session.unpark(parked.ticket)
        {
            self.unread.extend(as_resp2(&reply));
        }
    }
}

impl Door for SessionDoor {
    fn name(&self) -> &'static str {
        "sessions"
    }

    fn abilities(&self) -> Abilities {
        Abilities { server: Server::Dormouse, connection: true, clients: true, version: Version::NEWEST, json: true }
    }

    fn reset(&mut self) -> Result<()> {
        self.clients.clear();
        for line in ["FLUSHALL", "CONFIG SET notify-keyspace-events", "SCRIPT FLUSH", "FUNCTION FLUSH"] {
            let mut args: Vec<Vec<u8>> = line.split(' ').map(|word| word.as_bytes().to_vec()).collect();
            if args[0] == b"CONFIG" {
                args.push(Vec::new());
            }
            let reply = self.run("", &args)?;
            if reply != [Reply::OK] {
                bail!("{line} answered {reply:?}");
            }
        }
        self.clients.clear();
        Ok(())
    }

    fn send(&mut self, client: &str, args: &[Vec<u8>]) -> Result<()> {
        let words: Vec<&[u8]> = args.iter().map(Vec::as_slice).collect();
        self.seed += 1;
        let moment = Moment { now_us: self.now_us, seed: self.seed };
        let talk = self.talk(client)?;
        if talk.parked.is_some() {
            bail!("a command after one that is blocked");
        }
        // What was delivered before comes before the reply.
        talk.collect();
        let step = match talk.session.command(&words, moment, &Patient) {
            Step::Long(job) => {
                let account = talk.session.account().cloned().context("only a database has long work")?;
                let (job, ran) = Session::run_long(&account, job, moment, &Patient);
                talk.session.resume(job, ran)
            }
            step => step,
        };
        match step {
            Step::Reply { reply, .. } => talk.unread.extend(as_resp2(&reply)),
            Step::Parked { ticket, timeout_ms } => {
                let until_us = timeout_ms.map(|ms| moment.now_us.saturating_add(ms.saturating_mul(1_000)));
                talk.parked = Some(Parked { ticket, until_us });
            }
            Step::Busy | Step::Long(_) | Step::Repeat(_) | Step::Paused => {
                bail!("the database is busy, and nobody else is there")
            }
        }
        talk.collect();
        Ok(())
    }

    fn receive(&mut self, client: &str, patience: Duration) -> Result<Option<Reply>> {
        let until_us = self.now_us + patience.as_micros() as u64;
        let talk = self.talk(client)?;
        talk.collect();
        if talk.unread.is_empty() {
            let given_up_us = talk.parked.and_then(|parked| parked.until_us);
            self.advance_to(given_up_us.unwrap_or(until_us).min(until_us));
        }
        Ok(self.talk(client)?.unread.pop_front())
    }

    fn leave(&mut self, client: &str) {
        self.clients.remove(client);
    }

    fn pass(&mut self, ms: u64) {
        self.advance_to(self.now_us + ms * 1_000);
    }

    fn follow_clock(&mut self, now_ms: u64) {
        self.advance_to(now_ms * 1_000);
    }

    fn run(&mut self, client: &str, args: &[Vec<u8>]) -> Result<Vec<Reply>> {
        self.send(client, args)?;
        let first = self.receive(client, PATIENCE)?.context("no reply")?;
        let talk = self.talk(client)?;
        Ok(std::iter::once(first).chain(talk.unread.drain(..)).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::expect::split_command;
    use crate::reply_text;

    #[test]
    fn clients_wait_for_each_other_and_for_the_clock() {
        let mut door = SessionDoor::open().unwrap();
        let args = |line: &str| split_command(line).unwrap();
        let quick = Duration::from_millis(100);
        door.reset().unwrap();
        door.send("a", &args("BLPOP l 0")).unwrap();
        door.send("b", &args("BLPOP l 0.3")).unwrap();
        assert_eq!(door.receive("a", quick).unwrap(), None);
        assert_eq!(door.run("c", &args("RPUSH l 1")).unwrap(), [Reply::Integer(1)]);
        assert_eq!(reply_text::text(&door.receive("a", quick).unwrap().unwrap()), "1) \"l\"\n2) \"1\"");
        assert_eq!(door.receive("b", quick).unwrap(), None);
        door.pass(100);
        assert_eq!(door.receive("b", quick).unwrap(), Some(Reply::NullArray));
    }
}
