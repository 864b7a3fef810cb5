//! Messages as a stream, over server-sent events, for as long as one listens.
//!
//! A stream that breaks is opened again, with pauses that grow; what was sent in between is gone, which
//! [`Event::Gap`] says. What cannot be mended (a wrong token, no permission) ends it with an error. Where the endpoint sends
//! signs of life, as Dormouse does, silence means that the connection is dead; where it sends none, nobody can know.

use std::collections::VecDeque;
use std::fmt;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;

use crate::client::Client;
use crate::error::{Error, Result, TransportError};
use crate::retry::{Retry, jitter};
use crate::rt::{self, BoxStream};
use crate::transport::Body;
use crate::wire::percent;

/// Longest event that is taken, in bytes.
const EVENT_BYTES_MAX: usize = 64 << 20;
/// Silence after which a connection is dead, if it has shown signs of life before. Dormouse sends one each 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(45);
/// Pauses before a stream is opened again.
const PAUSES: (Duration, Duration) = (Duration::from_millis(100), Duration::from_secs(10));
/// A stream that broke after so long was a good one: the next try need not wait.
const HEALTHY_AFTER: Duration = Duration::from_secs(10);
/// Longest path of names.
const PATH_BYTES_MAX: usize = 32 << 10;
/// Most channels or patterns of one subscription.
const NAMES_MAX: usize = 1_000;

/// What a [`Subscription`] tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// From now on messages of this channel or pattern come. It comes again after each [`Gap`](Self::Gap).
    Subscribed {
        /// The channel, or the pattern.
        name: String,
    },
    /// A message.
    Message {
        /// Where it was sent to.
        channel: String,
        /// The pattern by which it came, if by one.
        pattern: Option<String>,
        /// What it says. Over HTTP messages are text: what is not UTF-8 comes as U+FFFD.
        payload: String,
    },
    /// The connection was lost and is made again: messages may have been missed.
    Gap,
}

impl Event {
    /// The message's payload, if it is one.
    ///
    /// ```
    /// assert_eq!(dormouse_client::Event::Gap.payload(), None);
    /// ```
    pub fn payload(&self) -> Option<&str> {
        match self {
            Self::Message { payload, .. } => Some(payload),
            _ => None,
        }
    }
}

impl Client {
    /// Listens to channels.
    ///
    /// ```
    /// use dormouse_client::Event;
    /// use futures_util::StreamExt;
    ///
    /// # dormouse_client::example(async |client| {
    /// let mut news = client.subscribe(["news"])?;
    /// assert_eq!(news.next().await.unwrap()?, Event::Subscribed { name: "news".into() });
    /// client.publish("news", "hello").await?;
    /// assert_eq!(news.next().await.unwrap()?.payload(), Some("hello"));
    /// # Ok(()) });
    /// ```
    pub fn subscribe<N: Into<String>>(&self, channels: impl IntoIterator<Item = N>) -> Result<Subscription> {
        Subscription::new(self, Kind::Channels, channels.into_iter().map(Into::into).collect())
    }

    /// Listens to channels whose names match patterns.
    ///
    /// ```
    /// use dormouse_client::Event;
    /// use futures_util::StreamExt;
    ///
    /// # dormouse_client::example(async |client| {
    /// let mut all = client.psubscribe(["room:*"])?;
    /// assert_eq!(all.next().await.unwrap()?, Event::Subscribed { name: "room:*".into() });
    /// client.publish("room:7", "hello").await?;
    /// let Event::Message { channel, .. } = all.next().await.unwrap()? else { panic!() };
    /// assert_eq!(channel, "room:7");
    /// # Ok(()) });
    /// ```
    pub fn psubscribe<N: Into<String>>(&self, patterns: impl IntoIterator<Item = N>) -> Result<Subscription> {
        Subscription::new(self, Kind::Patterns, patterns.into_iter().map(Into::into).collect())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Channels,
    Patterns,
}

/// Messages, as they come. Dropping it ends the subscription.
///
/// It is a `Stream` of [`Event`]s. It ends after an error that cannot be mended, and never otherwise.
#[must_use = "nothing is heard until the stream is polled"]
pub struct Subscription(BoxStream<'static, Result<Event>>);

impl Subscription {
    fn new(client: &Client, kind: Kind, names: Vec<String>) -> Result<Self> {
        let command = if kind == Kind::Channels { "SUBSCRIBE" } else { "PSUBSCRIBE" };
        let cannot = |why: &'static str| Err(Error::Request { command: command.into(), why: why.into() });
        if names.is_empty() || names.len() > NAMES_MAX {
            return cannot("it takes 1 to 1,000 names");
        }
        // An empty segment and dots would be understood as something else on the way.
        if names.iter().any(|name| matches!(name.as_str(), "" | "." | "..")) {
            return cannot("a name that is empty or dots cannot be in a URL");
        }
        let mut path = if kind == Kind::Channels { "/subscribe" } else { "/psubscribe" }.to_owned();
        for name in &names {
            path.push('/');
            percent(name.as_bytes(), &mut path);
        }
        if path.len() > PATH_BYTES_MAX {
            return cannot("its names are too long together");
        }
        let listening = Listening {
            client: client.clone(),
            command,
            path,
            parser: Parser::new(kind, names),
            open: None,
            opened_at: None,
            failures: 0,
            was_open: false,
            ready: VecDeque::new(),
        };
        let events = futures_util::stream::unfold(Some(listening), |listening| async move {
            let mut listening = listening?;
            match listening.next().await {
                Ok(event) => Some((Ok(event), Some(listening))),
                Err(error) => Some((Err(error), None)),
            }
        });
        Ok(Self(Box::pin(events)))
    }
}

impl Stream for Subscription {
    type Item = Result<Event>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Event>>> {
        self.0.as_mut().poll_next(context)
    }
}

impl fmt::Debug for Subscription {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Subscription")
    }
}

struct Listening {
    client: Client,
    command: &'static str,
    path: String,
    parser: Parser,
    open: Option<Body>,
    opened_at: Option<rt::Instant>,
    /// How often in a row it could not be opened, or broke soon.
    failures: u32,
    was_open: bool,
    ready: VecDeque<Event>,
}

impl Listening {
    async fn next(&mut self) -> Result<Event> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let Some(body) = &mut self.open else {
                self.reopen().await?;
                continue;
            };
            let piece = if self.parser.lives {
                rt::within(SILENCE_MAX, body.next()).await.unwrap_or(None)
            } else {
                body.next().await
            };
            match piece {
                Some(Ok(piece)) => match self.parser.feed(&piece, &mut self.ready) {
                    Ok(()) => {}
                    Err(error) => self.lose(&error),
                },
                Some(Err(error)) => self.lose(&error),
                None => self.lose(&TransportError::new("the stream has ended, or fallen silent")),
            }
        }
    }

    fn lose(&mut self, error: &TransportError) {
        tracing::debug!(%error, command = self.command, "a subscription was interrupted");
        self.open = None;
        if self.opened_at.is_some_and(|then| then.elapsed() >= HEALTHY_AFTER) {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
    }

    /// Opens the stream, as soon as it is time.
    async fn reopen(&mut self) -> Result<()> {
        if self.failures > 0 {
            rt::sleep(jitter(Retry::default().pause(PAUSES.0, PAUSES.1).bound(self.failures))).await;
        }
        match self.client.stream(self.command, &self.path).await {
            Ok(body) => {
                self.open = Some(body);
                self.opened_at = Some(rt::Instant::now());
                self.parser.begin();
                if std::mem::replace(&mut self.was_open, true) {
                    self.ready.push_back(Event::Gap);
                }
                Ok(())
            }
            // One that never was open fails as any other command does: after a few attempts.
            Err(error) if error.is_retryable() && (self.was_open || self.failures < 2) => {
                tracing::debug!(kind = error.kind(), command = self.command, "a subscription could not be opened");
                self.failures = self.failures.saturating_add(1);
                if let Some(pause) = error.retry_after() {
                    rt::sleep(pause).await;
                }
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// Takes events out of the bytes of a stream.
struct Parser {
    kind: Kind,
    /// The longest first: a name may be the beginning of another.
    names: Vec<String>,
    line: Vec<u8>,
    data: Option<Vec<u8>>,
    /// Whether a carriage return has just ended a line, so that a line feed ends none.
    after_return: bool,
    /// Whether this stream has shown signs of life that are no events.
    lives: bool,
}

impl Parser {
    fn new(kind: Kind, mut names: Vec<String>) -> Self {
        names.sort_by_key(|name| std::cmp::Reverse(name.len()));
        Self { kind, names, line: Vec::new(), data: None, after_return: false, lives: false }
    }

    /// Another stream begins.
    fn begin(&mut self) {
        (self.line, self.data, self.after_return, self.lives) = (Vec::new(), None, false, false);
    }

    fn feed(&mut self, piece: &Bytes, ready: &mut VecDeque<Event>) -> Result<(), TransportError> {
        for byte in piece {
            let after_return = std::mem::replace(&mut self.after_return, *byte == b'\r');
            match byte {
                b'\n' if after_return => {}
                b'\n' | b'\r' => {
                    let line = std::mem::take(&mut self.line);
                    self.line(&line, ready);
                    // Its room serves for the next.
                    self.line = line;
                    self.line.clear();
                }
                byte => self.line.push(*byte),
            }
            if self.line.len() + self.data.as_ref().map_or(0, Vec::len) > EVENT_BYTES_MAX {
                return Err(TransportError::new("an event is longer than this client takes"));
            }
        }
        Ok(())
    }

    fn line(&mut self, line: &[u8], ready: &mut VecDeque<Event>) {
        if line.is_empty() {
            if let Some(data) = self.data.take() {
                ready.extend(self.event(&String::from_utf8_lossy(&data)));
            }
        } else if line.first() == Some(&b':') {
            self.lives = true;
        } else if let Some(rest) = line.strip_prefix(b"data:") {
            let rest = rest.strip_prefix(b" ").unwrap_or(rest);
            match &mut self.data {
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(rest);
                }
                None => self.data = Some(rest.to_vec()),
            }
        }
    }

    /// What an event says; nothing if it is not for us.
    fn event(&self, data: &str) -> Option<Event> {
        let (word, rest) = data.split_once(',')?;
        let (name, rest) = self.name(rest)?;
        match (self.kind, word) {
            (Kind::Channels, "subscribe") | (Kind::Patterns, "psubscribe") => {
                Some(Event::Subscribed { name: name.to_owned() })
            }
            (Kind::Channels, "message") => {
                Some(Event::Message { channel: name.to_owned(), pattern: None, payload: rest.to_owned() })
            }
            (Kind::Patterns, "pmessage") => {
                let (channel, payload) = rest.split_once(',')?;
                let pattern = Some(name.to_owned());
                Some(Event::Message { channel: channel.to_owned(), pattern, payload: payload.to_owned() })
            }
            _ => None,
        }
    }

    /// A name and what is behind it. Names may have commas, so those that were asked for are looked for first.
    fn name<'a>(&self, text: &'a str) -> Option<(&'a str, &'a str)> {
        let known = self.names.iter().find_map(|name| {
            let rest = text.strip_prefix(name.as_str())?.strip_prefix(',')?;
            Some((&text[..name.len()], rest))
        });
        known.or_else(|| text.split_once(','))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn parse(kind: Kind, names: &[&str], pieces: &[&[u8]]) -> Vec<Event> {
        let mut parser = Parser::new(kind, names.iter().map(|name| (*name).to_owned()).collect());
        let mut ready = VecDeque::new();
        for piece in pieces {
            parser.feed(&Bytes::copy_from_slice(piece), &mut ready).unwrap();
        }
        ready.into()
    }

    fn message(channel: &str, payload: &str) -> Event {
        Event::Message { channel: channel.to_owned(), pattern: None, payload: payload.to_owned() }
    }

    #[test]
    fn events_are_read_wherever_they_are_cut() {
        let text =
            "data: subscribe,c,1\n\n: ping\n\ndata: message,c,{\"a\":1,\"b\":2}\n\ndata: message,c,\n\n".as_bytes();
        let events =
            vec![Event::Subscribed { name: "c".to_owned() }, message("c", "{\"a\":1,\"b\":2}"), message("c", "")];
        for cut in 0..text.len() {
            assert_eq!(parse(Kind::Channels, &["c"], &[&text[..cut], &text[cut..]]), events);
        }
    }

    #[test]
    fn payloads_may_have_several_lines() {
        let text = b"data: message,c,one\ndata: two\ndata: \n\n";
        assert_eq!(parse(Kind::Channels, &["c"], &[text]), [message("c", "one\ntwo\n")]);
        let text = b"data: message,c,one\r\n\r\ndata: message,c,two\r\r";
        assert_eq!(parse(Kind::Channels, &["c"], &[text]), [message("c", "one"), message("c", "two")]);
    }

    #[test]
    fn names_may_have_commas() {
        let text = b"data: message,a,b,c\n\ndata: message,a,x\n\ndata: message,a,b,c,d\n\n";
        let events = parse(Kind::Channels, &["a", "a,b", "a,b,c"], &[text]);
        assert_eq!(events, [message("a,b", "c"), message("a", "x"), message("a,b,c", "d")]);
        let text = b"data: pmessage,a,*,channel,hello, all\n\n";
        let event = Event::Message {
            channel: "channel".to_owned(),
            pattern: Some("a,*".to_owned()),
            payload: "hello, all".to_owned(),
        };
        assert_eq!(parse(Kind::Patterns, &["a,*"], &[text]), [event]);
    }

    #[test]
    fn what_is_no_event_is_passed_over() {
        let text = b"event: x\nid: 7\nretry: 1\ndata\n\ndata: nonsense\n\ndata: unsubscribe,c,0\n\ndata: message,c,x";
        assert_eq!(parse(Kind::Channels, &["c"], &[text]), []);
    }

    proptest! {
        #[test]
        fn any_bytes_are_taken(pieces in prop::collection::vec(any::<Vec<u8>>(), 0..8)) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            prop_assert_eq!(parse(Kind::Patterns, &["p"], &pieces), parse(Kind::Patterns, &["p"], &[&whole]));
        }
    }
}
