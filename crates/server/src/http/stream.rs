//! Subscriptions over HTTP: `/subscribe/…`, `/psubscribe/…` and `/monitor` answer with server-sent events.
//!
//! The events are what the SDKs parse: one `data:` line each, with kind, channel and payload set apart by commas; and one line for each command of a monitor. The
//! subscription lives as long as the response's body; when the client goes, the body is dropped and with it the session.

use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dormouse_database::{Account, Delivery, Session, Step};
use dormouse_proto::rest::parse_path;
use dormouse_proto::{CommandError, Reply};
use http::{HeaderValue, Response, StatusCode};
use tokio::time::{Instant, Sleep};

use super::body::Body;
use super::{Refusal, respond, uncached};
use crate::clock::moment;
use crate::mailbox::Mailbox;
use crate::perform::leash;
use crate::worker::Worker;

/// Channels or patterns of one request.
const CHANNELS_MAX: usize = 1_000;
/// Silence after which a comment is sent, so that nobody on the way gives up.
const PING_EVERY: Duration = Duration::from_secs(15);

/// The command a path's first segment stands for, if it opens a stream.
pub(super) fn kind(path: &str) -> Option<&'static str> {
    match path.split('/').next() {
        Some("subscribe") => Some("SUBSCRIBE"),
        Some("psubscribe") => Some("PSUBSCRIBE"),
        Some("monitor") => Some("MONITOR"),
        _ => None,
    }
}

/// Subscribes and answers with the stream, or with an ordinary error.
pub(super) fn open(
    worker: &Rc<Worker>,
    account: Account,
    command: &'static str,
    path: &str,
) -> Result<Response<Body>, Refusal> {
    let path = parse_path(path.as_bytes(), None, CHANNELS_MAX + 1).map_err(CommandError::from)?;
    let mut args: Vec<&[u8]> = path.segments.iter().map(|segment| &**segment).collect();
    args[0] = command.as_bytes();
    let mailbox = Arc::new(Mailbox::default());
    let mut session = Session::request(&worker.shared.service, account, Some(Arc::clone(&mailbox) as _));
    // A stream is a connection: what belongs to one works here.
    session.client.door = dormouse_engine::Door::Resp;
    session.client.protocol = 3;
    let replies = match session.command(&args, moment(), &leash()) {
        Step::Reply { reply: Reply::Error(error), .. } => return Err(error.into()),
        Step::Reply { reply: Reply::Many(replies), .. } => replies,
        Step::Reply { reply, .. } => vec![reply],
        Step::Parked { .. } | Step::Busy | Step::Long(_) | Step::Repeat(_) | Step::Paused => {
            return Err(CommandError::Busy.into());
        }
    };
    let mut first = Vec::new();
    for reply in &replies {
        match reply {
            // Upstash quotes the first line of a monitor.
            Reply::Status(word) => write_lines(&format!("\"{}\"", String::from_utf8_lossy(word)), &mut first),
            reply => write_event(reply, &mut first),
        }
    }
    let events = Events {
        worker: Rc::clone(worker),
        first: Some(first.into()),
        waiting: None,
        ping: Box::pin(tokio::time::sleep(PING_EVERY)),
        mailbox,
        _session: session,
    };
    let mut response = respond(StatusCode::OK, "text/event-stream", Vec::new());
    uncached(&mut response);
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    *response.body_mut() = Body::Events(Box::new(events));
    Ok(response)
}

type Next = Pin<Box<dyn Future<Output = Option<Bytes>>>>;

/// A stream of events; see the module's text.
pub(crate) struct Events {
    worker: Rc<Worker>,
    first: Option<Bytes>,
    waiting: Option<Next>,
    ping: Pin<Box<Sleep>>,
    mailbox: Arc<Mailbox>,
    /// Holds the subscriptions.
    _session: Session,
}

impl Events {
    /// The next piece of the stream; `None` ends it.
    pub(super) fn poll(&mut self, context: &mut Context<'_>) -> Poll<Option<Bytes>> {
        if let Some(first) = self.first.take() {
            return Poll::Ready(Some(first));
        }
        let (worker, mailbox) = (&self.worker, &self.mailbox);
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(next(Rc::clone(worker), Arc::clone(mailbox))));
        if let Poll::Ready(chunk) = waiting.as_mut().poll(context) {
            self.waiting = None;
            self.ping.as_mut().reset(Instant::now() + PING_EVERY);
            return Poll::Ready(chunk);
        }
        if self.ping.as_mut().poll(context).is_ready() {
            self.ping.as_mut().reset(Instant::now() + PING_EVERY);
            return Poll::Ready(Some(Bytes::from_static(b": ping\n\n")));
        }
        Poll::Pending
    }
}

/// Waits for messages and writes what has come. `None` when the server stops, or the client was too slow.
async fn next(worker: Rc<Worker>, mailbox: Arc<Mailbox>) -> Option<Bytes> {
    let mut stopping = worker.stopping.clone();
    let first = tokio::select! {
        delivery = mailbox.receive() => delivery.ok()?,
        _ = stopping.wait_for(|stop| *stop) => return None,
    };
    let mut out = Vec::new();
    let mut delivery = Some(first);
    while let Some(Delivery::Push { reply, after } | Delivery::Unparked { reply, after }) = delivery {
        worker.gate.pass(after).await.ok()?;
        write_event(&reply, &mut out);
        delivery = mailbox.take().ok()?;
    }
    Some(out.into())
}

/// One event: its parts joined by commas. A payload of several lines becomes several `data:` lines, as the standard has
/// it; what is not UTF-8 becomes U+FFFD.
fn write_event(reply: &Reply, out: &mut Vec<u8>) {
    let parts = match reply {
        Reply::Push(parts) => parts,
        // A line of a monitor.
        Reply::Status(line) => return write_lines(&String::from_utf8_lossy(line), out),
        _ => return,
    };
    let mut text = String::new();
    for (at, part) in parts.iter().enumerate() {
        if at > 0 {
            text.push(',');
        }
        match part {
            Reply::Bulk(blob) | Reply::Status(blob) => text.push_str(&String::from_utf8_lossy(blob)),
            Reply::Integer(number) => text.push_str(&number.to_string()),
            _ => {}
        }
    }
    write_lines(&text, out);
}

fn write_lines(text: &str, out: &mut Vec<u8>) {
    // All three ends of a line that the standard knows: none may pass for the end of an event.
    for line in text.replace("\r\n", "\n").split(['\n', '\r']) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(line.as_bytes());
        out.push(b'\n');
    }
    out.push(b'\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_what_the_sdks_parse() {
        let mut out = Vec::new();
        write_event(&Reply::Push(vec![Reply::bulk("subscribe"), Reply::bulk("c"), Reply::Integer(1)]), &mut out);
        write_event(
            &Reply::Push(vec![Reply::bulk("message"), Reply::bulk("c"), Reply::bulk("{\"a\":1,\"b\":2}")]),
            &mut out,
        );
        write_event(&Reply::Push(vec![Reply::bulk("message"), Reply::bulk("c"), Reply::bulk("x\ny")]), &mut out);
        write_event(
            &Reply::Push(vec![Reply::bulk("message"), Reply::bulk("c"), Reply::bulk("x\r\rdata: y")]),
            &mut out,
        );
        let text = String::from_utf8(out).unwrap();
        assert_eq!(
            text,
            "data: subscribe,c,1\n\ndata: message,c,{\"a\":1,\"b\":2}\n\ndata: message,c,x\ndata: y\n\ndata: message,c,x\ndata: \ndata: data: y\n\n"
        );
    }
}
