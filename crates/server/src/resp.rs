//! The RESP door: Redis's own protocol over TCP.
//!
//! A connection reads what has arrived, runs every complete command of it, waits once until all of that is durable, and
//! writes the replies together. It knows no command by name. Parked commands and subscriptions are the two cases in which
//! it waits for its mailbox while it keeps an eye on the socket.

use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, BytesMut};
use dormouse_database::{Delivery, Session, Step, Unparked};
use dormouse_engine::{Client, Door, Grant, Replies};
use dormouse_proto::resp::{Limits, Parsed, Parser, Version, encode};
use dormouse_proto::{CommandError, Reply};
use dormouse_storage::Lsn;
use tokio::io::{AsyncReadExt, AsyncWriteExt, Interest};
use tokio::time::{Instant, timeout};

use crate::clock::moment;
use crate::mailbox::{Mailbox, Overflowed};
use crate::perform::{BUSY_POLL, Turn, leash, settle};
use crate::tls::Stream;
use crate::worker::Worker;

/// Room made in the read buffer before each read.
const READ_BYTES: usize = 16 << 10;
/// A buffer that grew beyond this is given back once it is empty.
const BUFFER_KEPT: usize = 64 << 10;
/// Replies are written out when this many bytes wait, even if more commands have arrived.
const FLUSH_BYTES: usize = 256 << 10;
/// Bytes a client may send ahead while one of its commands is parked.
const AHEAD_BYTES_MAX: usize = 1 << 20;
/// How often it is asked whether the sender of that much is still there.
const GONE_POLL: Duration = Duration::from_millis(200);

/// The connection is over.
struct Closed;

impl From<std::io::Error> for Closed {
    fn from(error: std::io::Error) -> Self {
        tracing::debug!(%error, "a RESP connection failed");
        Self
    }
}

impl From<Overflowed> for Closed {
    fn from(_: Overflowed) -> Self {
        tracing::debug!("a client was cut off by the server");
        Self
    }
}

struct Connection {
    worker: Rc<Worker>,
    stream: Stream,
    session: Session,
    mailbox: Arc<Mailbox>,
    parser: Parser,
    input: BytesMut,
    output: Vec<u8>,
    /// What the replies in `output` depend on.
    after: Lsn,
    /// Whether something has come since it was last looked.
    stirs: bool,
    /// Whether its room was given back, until something comes.
    rests: bool,
    /// Whether part of a command has had to wait in `input` since then.
    was_partial: bool,
}

/// Whether a reply looks like a message, as those to `SUBSCRIBE` do: they come whatever the client says of replies.
fn is_message(reply: &Reply) -> bool {
    match reply {
        Reply::Push(_) => true,
        Reply::Many(replies) => replies.iter().all(is_message),
        _ => false,
    }
}

/// Reads what comes next; a connection that rests makes room for it only when it is there.
async fn read_more(stream: &mut Stream, input: &mut BytesMut, rests: &mut bool) -> std::io::Result<usize> {
    if *rests {
        stream.socket().readable().await?;
        *rests = false;
    }
    input.reserve(READ_BYTES);
    stream.read_buf(input).await
}

/// What a client is told that speaks plainly where TLS is spoken.
pub(crate) const NOT_PLAINLY: &str = "-ERR this port speaks TLS: use rediss://\r\n";
/// What a client is told for whom there is no room.
pub(crate) const NO_ROOM: &str = "-ERR max concurrent connections exceeded\r\n";

/// Serves one connection to its end.
pub(crate) async fn serve(worker: Rc<Worker>, stream: Stream, address: SocketAddr) {
    let service = &worker.shared.service;
    let mailbox = Arc::new(Mailbox::default());
    let mut client = Client::new(service.next_client(), Door::Resp, Grant::Full);
    client.address = address.to_string();
    client.local_address = stream.socket().local_addr().map(|address| address.to_string()).unwrap_or_default();
    client.since_ms = moment().now_ms();
    let mut session = Session::connection(service, client, Arc::clone(&mailbox) as _);
    if worker.shared.resp_open {
        session.enter_freely();
    }
    let mut connection = Connection {
        stream,
        session,
        mailbox,
        parser: Parser::new(Limits::default()),
        input: BytesMut::new(),
        output: Vec::new(),
        after: Lsn(0),
        stirs: false,
        rests: false,
        was_partial: false,
        worker,
    };
    // A task of its own, so that another client can end it.
    let mailbox = Arc::clone(&connection.mailbox);
    let task = tokio::task::spawn_local(async move {
        let _closed = connection.run().await;
        connection.stream.finish().await;
    });
    mailbox.belongs_to(task.abort_handle());
    let _ended = task.await;
}

impl Connection {
    async fn run(&mut self) -> Result<(), Closed> {
        let mut stopping = self.worker.stopping.clone();
        // Made once and asked last: a connection at work only ever asks its socket.
        let stop = stopping.wait_for(|stop| *stop);
        tokio::pin!(stop);
        let patience = self.worker.shared.patience.login;
        let login = tokio::time::sleep(patience);
        tokio::pin!(login);
        let silence_max = self.worker.shared.patience.silence;
        let silence = tokio::time::sleep(silence_max);
        tokio::pin!(silence);
        loop {
            let was_let_in = self.session.is_authenticated();
            if !self.rests {
                self.commands().await?;
            }
            if was_let_in && !self.session.is_authenticated() {
                // It has reset itself.
                login.as_mut().reset(Instant::now() + patience);
            }
            if self.session.client.closing {
                return Ok(());
            }
            let subscribed = self.listens();
            tokio::select! {
                biased;
                read = read_more(&mut self.stream, &mut self.input, &mut self.rests) => {
                    if read? == 0 {
                        return Ok(());
                    }
                    self.stirs = true;
                }
                delivery = self.mailbox.receive(), if subscribed => {
                    self.take(delivery?);
                    self.take_all()?;
                    self.flush().await?;
                }
                () = &mut login, if !self.session.is_authenticated() => return Ok(()),
                _ = &mut stop => return Ok(()),
                () = &mut silence, if !self.rests => {
                    silence.as_mut().reset(Instant::now() + silence_max);
                    if !std::mem::take(&mut self.stirs) {
                        self.rest();
                    }
                }
            }
        }
    }

    /// Runs every complete command that has arrived, and answers them.
    async fn commands(&mut self) -> Result<(), Closed> {
        let mut turn = Turn::default();
        loop {
            self.parser.limits.authenticated = self.session.is_authenticated();
            match self.parser.parse(&self.input) {
                Ok(Parsed::Incomplete { more }) => {
                    self.input.reserve(more.min(AHEAD_BYTES_MAX));
                    self.was_partial |= !self.input.is_empty();
                    break;
                }
                Ok(Parsed::Skip { consumed }) => self.input.advance(consumed),
                Ok(Parsed::Complete { consumed }) => {
                    let traffic = &self.session.client.traffic;
                    traffic.received(consumed);
                    traffic.holds(self.input.len(), self.input.capacity() - self.input.len());
                    self.one().await?;
                    self.input.advance(consumed);
                    if self.session.client.closing {
                        break;
                    }
                }
                Err(error) => {
                    self.reply(&Reply::Error(error.into()), Lsn(0));
                    self.session.client.closing = true;
                    break;
                }
            }
            if self.output.len() > FLUSH_BYTES {
                self.flush().await?;
            }
            turn.pass(self.session.client.active_ms).await;
        }
        self.flush().await?;
        if self.input.is_empty() && self.input.capacity() > BUFFER_KEPT {
            self.input = BytesMut::new();
        }
        self.note_held();
        Ok(())
    }

    /// Notes what it keeps in memory for this client alone, for `CLIENT LIST`: room for what may come next does not count, as in
    /// Redis, until part of a command has had to wait in it.
    fn note_held(&self) {
        let room = self.input.capacity() - self.input.len();
        self.session.client.traffic.holds(self.input.len(), if self.was_partial { room } else { 0 });
    }

    /// Gives back the room of a connection that has been silent for a while.
    fn rest(&mut self) {
        if !self.stream.holds_back() {
            self.input = BytesMut::from(&self.input[..]);
            self.rests = true;
            self.was_partial = !self.input.is_empty();
            self.note_held();
        }
    }

    /// Whether others may send it something.
    fn listens(&self) -> bool {
        let client = &self.session.client;
        // Who speaks RESP3 may be told at any time what it must no longer believe.
        client.monitoring || client.protocol == 3 || client.subscriptions() > 0
    }

    /// Runs the command the parser has found.
    async fn one(&mut self) -> Result<(), Closed> {
        let subscribed = self.listens();
        if subscribed {
            // What was published before the command comes before its reply.
            self.take_all()?;
        }
        self.run_one().await?;
        if subscribed && !self.listens() {
            // Nobody may mistake a late message for the reply to something else.
            while self.mailbox.take()?.is_some() {}
        }
        Ok(())
    }

    async fn run_one(&mut self) -> Result<(), Closed> {
        let Self { session, parser, input, .. } = self;
        let run = |session: &mut Session| parser.with_args(input, |args| session.command(args, moment(), &leash()));
        let first = run(session);
        if let Step::Reply { reply, after } = first {
            self.reply(&reply, after);
            return Ok(());
        }
        // Whatever has to be waited for now: earlier replies must not wait with it.
        if matches!(first, Step::Parked { .. }) {
            return self.parked(first).await;
        }
        match settle(session, first, run).await {
            Ok((reply, after)) => {
                self.reply(&reply, after);
                Ok(())
            }
            Err(parked) => self.parked(parked).await,
        }
    }

    /// Waits for the answer to a parked command: a key, the time, or the client's end.
    async fn parked(&mut self, step: Step) -> Result<(), Closed> {
        let Step::Parked { ticket, timeout_ms } = step else { return Ok(()) };
        self.flush().await?;
        let deadline = tokio::time::sleep(timeout_ms.map_or(Duration::MAX, Duration::from_millis));
        tokio::pin!(deadline);
        let mut waits = timeout_ms.is_some();
        let mut stopping = self.worker.stopping.clone();
        loop {
            let room = self.input.len() < AHEAD_BYTES_MAX;
            if room {
                self.input.reserve(READ_BYTES);
            }
            tokio::select! {
                delivery = self.mailbox.receive() => {
                    let answered = matches!(delivery, Ok(Delivery::Unparked { .. }));
                    self.take(delivery?);
                    if answered {
                        return Ok(());
                    }
                    self.flush().await?;
                }
                () = &mut deadline, if waits => {
                    match self.session.unpark(ticket) {
                        Unparked::Reply { reply, after } => {
                            self.reply(&reply, after);
                            return Ok(());
                        }
                        Unparked::Answered => waits = false,
                        Unparked::Busy => deadline.as_mut().reset(Instant::now() + BUSY_POLL),
                    }
                }
                read = self.stream.read_buf(&mut self.input), if room => {
                    if read? == 0 {
                        self.session.abandon(ticket);
                        return Err(Closed);
                    }
                }
                () = tokio::time::sleep(GONE_POLL), if !room => {
                    if self.is_gone().await {
                        self.session.abandon(ticket);
                        return Err(Closed);
                    }
                }
                _ = stopping.wait_for(|stop| *stop) => {
                    self.session.abandon(ticket);
                    return Err(Closed);
                }
            }
        }
    }

    /// Whether the client has closed its side, behind what it sent and nobody has read yet.
    async fn is_gone(&self) -> bool {
        let ready = timeout(Duration::ZERO, self.stream.socket().ready(Interest::READABLE)).await;
        matches!(ready, Ok(Ok(ready)) if ready.is_read_closed()) || matches!(ready, Ok(Err(_)))
    }

    fn take_all(&mut self) -> Result<(), Closed> {
        while let Some(delivery) = self.mailbox.take()? {
            self.take(delivery);
        }
        Ok(())
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Push { reply, after } => self.push(&reply, after),
            Delivery::Unparked { reply, after } => self.reply(&reply, after),
        }
    }

    /// Answers a command, unless the client wants no answer.
    fn reply(&mut self, reply: &Reply, after: Lsn) {
        if self.session.client.replies != Replies::On && self.is_silent() && !is_message(reply) {
            return;
        }
        self.push(reply, after);
    }

    /// Whether the command at work is not answered; the next one may be.
    fn is_silent(&mut self) -> bool {
        let replies = &mut self.session.client.replies;
        match *replies {
            Replies::On => return false,
            Replies::Off => {}
            Replies::Skip(0 | 1) => *replies = Replies::On,
            Replies::Skip(left) => *replies = Replies::Skip(left - 1),
        }
        true
    }

    fn push(&mut self, reply: &Reply, after: Lsn) {
        let version = if self.session.client.protocol == 3 { Version::Resp3 } else { Version::Resp2 };
        let before = self.output.len();
        encode(reply, version, &mut self.output);
        self.session.client.traffic.sent(self.output.len() - before);
        self.after = self.after.max(after);
    }

    /// Waits until every reply may be shown, and shows them.
    async fn flush(&mut self) -> Result<(), Closed> {
        if self.output.is_empty() {
            return Ok(());
        }
        if self.worker.gate.pass(self.after).await.is_err() {
            // What these replies say may be lost: none of them can be shown.
            self.output.clear();
            encode(&CommandError::LogFailed.into(), Version::Resp2, &mut self.output);
            self.session.client.closing = true;
        }
        self.after = Lsn(0);
        // Nearly always the socket takes it all at once, and no clock is needed.
        let mut written = self.stream.try_write(&self.output);
        while written < self.output.len() {
            let more = self.stream.write(&self.output[written..]);
            written += timeout(self.worker.shared.patience.reading, more).await.map_err(|_| Closed)??;
        }
        if self.stream.holds_back() {
            timeout(self.worker.shared.patience.reading, self.stream.flush()).await.map_err(|_| Closed)??;
        }
        self.output.clear();
        if self.output.capacity() > BUFFER_KEPT {
            self.output = Vec::new();
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::patience::Patience;
    use crate::testing::{Inside, Line, eventually};

    #[test]
    fn a_stranger_must_authenticate_in_time() {
        let patience = Patience { login: Duration::from_millis(300), ..Patience::default() };
        let server = Inside::start(patience, dormouse_engine::Limits::default());
        let mut friend = server.resp();
        let mut stranger = Line::connect(server.resp);
        assert!(stranger.say("PING").starts_with("-NOAUTH"));
        stranger.closed();
        std::thread::sleep(Duration::from_millis(200));
        assert_eq!(friend.say("PING"), "+PONG\r\n");
    }

    #[test]
    fn a_waiting_client_that_sent_much_and_went_takes_nothing_along() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let mut gone = server.resp();
        gone.send("BLPOP q 0\r\n");
        gone.send("PING\r\n".repeat((AHEAD_BYTES_MAX + (40 << 10)) / 6));
        std::thread::sleep(Duration::from_millis(100));
        drop(gone);
        eventually("it is noticed", || server.connections() == 0);
        let mut stays = server.resp();
        assert_eq!(stays.say("RPUSH q a"), ":1\r\n");
        assert_eq!(stays.say("LLEN q"), ":1\r\n");
    }

    #[test]
    fn what_a_client_holds_shows_at_once_and_goes_when_it_is_silent() {
        let patience = Patience { silence: Duration::from_millis(300), ..Patience::default() };
        let server = Inside::start(patience, dormouse_engine::Limits::default());
        let (mut partial, mut other) = (server.resp(), server.resp());
        assert_eq!(partial.say("CLIENT SETNAME partial"), "+OK\r\n");
        let mut held = || {
            other.send("CLIENT LIST\r\n");
            let text = other.until("\n\r\n");
            let line = text.lines().find(|line| line.contains(" name=partial ")).unwrap().to_owned();
            let field = |name: &str| {
                let value = line.split(' ').find_map(|field| field.strip_prefix(name)).unwrap();
                value.parse::<usize>().unwrap()
            };
            (field("qbuf="), field("qbuf-free="))
        };
        assert_eq!(held(), (0, 0), "what is ready for anything is nobody's");
        partial.send("*3\r\n$3\r\nSET\r\n$1\r\nk\r\n$1000000\r\na");
        eventually("it has come", || held().0 > 0 && held().1 >= 999_999);
        eventually("room for what does not come is given back", || held().1 == 0);
        partial.send(format!("{}\r\n", "a".repeat(999_999)));
        assert_eq!(partial.until("+OK\r\n"), "+OK\r\n");
        eventually("nothing is left", || held() == (0, 0));
        assert_eq!(partial.say("STRLEN k"), ":1000000\r\n");
    }

    #[test]
    fn a_long_pipeline_lets_others_in() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let (mut busy, mut other) = (server.resp(), server.resp());
        for _ in 0..20 {
            let elements = "element ".repeat(2_000);
            busy.say(&format!("RPUSH list {elements}"));
        }
        let since = Instant::now();
        busy.send("LPOS list nothing\r\n".repeat(3_000));
        std::thread::sleep(Duration::from_millis(20));
        let asked = Instant::now();
        assert_eq!(other.say("PING"), "+PONG\r\n");
        let waited = asked.elapsed();
        busy.until(&"$-1\r\n".repeat(3_000));
        let all = since.elapsed();
        assert!(waited < all / 4, "waited {waited:?} of {all:?}");
    }

    /// The kernel shows which of its timers runs for a connection: 2 is keep-alive.
    #[cfg(target_os = "linux")]
    #[test]
    fn silent_connections_are_asked_whether_they_are_alive() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let lines = [server.http(), server.resp()];
        eventually("they are there", || server.connections() == lines.len());
        for (line, server) in lines.iter().zip([server.http, server.resp]) {
            let (ours, theirs) = (line.0.local_addr().unwrap().port(), server.port());
            let row = format!("0100007F:{theirs:04X} 0100007F:{ours:04X}");
            eventually("the timer runs", || {
                let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
                table.lines().any(|line| {
                    line.contains(&row) && line.split_whitespace().nth(5).is_some_and(|timer| timer.starts_with("02:"))
                })
            });
        }
    }

    #[test]
    fn messages_reach_a_client_that_waits_for_a_key() {
        let server = Inside::start(Patience::default(), dormouse_engine::Limits::default());
        let (mut waits, mut other) = (server.resp(), server.resp());
        waits.send("HELLO 3\r\nSUBSCRIBE c\r\n");
        waits.until("$1\r\nc\r\n:1\r\n");
        waits.send("BLPOP q 0\r\n");
        std::thread::sleep(Duration::from_millis(50));
        assert_eq!(other.say("PUBLISH c m"), ":1\r\n");
        assert_eq!(waits.until("$1\r\nm\r\n"), ">3\r\n$7\r\nmessage\r\n$1\r\nc\r\n$1\r\nm\r\n");
        assert_eq!(other.say("RPUSH q a"), ":1\r\n");
        assert_eq!(waits.until("$1\r\na\r\n"), "*2\r\n$1\r\nq\r\n$1\r\na\r\n");
    }
}
