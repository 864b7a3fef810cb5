//! The socket under an HTTP connection, which knows what the connection is doing, and so what hyper does not.
//!
//! It keeps the end of the input to itself while an answer is on its way. A client may close its side once it has asked
//! (`shutdown(SHUT_WR)`), and still wants the answer; hyper either drops the answer then, or (with `half_close`) does not
//! notice when the reader of a stream has gone. So the end is shown to hyper when nothing is at work, and when a stream is;
//! not while a request runs, nor before its answer has been written.
//!
//! A request that waits for a key is the exception: a client that closes its side then is gone, and must not take an element
//! with it. Where another request stands behind it hyper does not read on, so the waiting one asks the socket itself.
//!
//! It ends the wait for a client that is silent, with one patience for the rest of a head and another between requests, and
//! for one that does not read. And it gives a body to the errors hyper writes by itself, as every other answer has one.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::io::{ErrorKind, IoSlice, Result};
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use dormouse_proto::rest::{Encoding, encode_json};
use dormouse_proto::{CommandError, Reply};
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep};

use super::head;
use crate::patience::Patience;
use crate::tls::Stream;

/// How often a waiting request with another behind it asks whether its client is still there.
const GONE_POLL: Duration = Duration::from_millis(200);

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request: the end of the input is the end.
    #[default]
    Open,
    /// A stream of events is going out: the end of the input is the end, and silence is what is expected.
    Streaming,
    /// A request arrives. If its last byte and the end come together, its handler must run first to know that it is whole.
    Reading,
    /// A whole request is being answered.
    Answering,
    /// A whole request waits for a key: the end of the input is the end.
    Waiting,
}

/// Whose bytes hyper writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Author {
    /// Nothing of ours is on its way: what comes is hyper's own.
    #[default]
    Hyper,
    /// A handler owes an answer, or hyper still holds its body.
    Handler,
    /// Hyper has all of an answer, and has not written the rest of it.
    Rest,
}

/// What the socket and the handlers of its requests share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    phase: Cell<Phase>,
    /// Whether part of an answer waits for the client to read.
    unwritten: Cell<bool>,
    author: Cell<Author>,
    /// Whether the end was withheld once since the phase began.
    withheld: Cell<bool>,
    /// Requests whose heads have arrived.
    heads: Cell<u64>,
    /// Whether hyper was left waiting for input when it last asked, so that it will see the end.
    reading: Cell<bool>,
    /// The connection, if requests come one after the other on it.
    stream: Option<Rc<RefCell<Stream>>>,
    waker: RefCell<Option<Waker>>,
}

impl Progress {
    /// Of a connection that carries one request after the other.
    pub(super) fn over(stream: &Rc<RefCell<Stream>>) -> Self {
        Self { stream: Some(Rc::clone(stream)), ..Self::default() }
    }

    /// Waits until the client of a request that waits for a key has closed its side, where nobody else would notice.
    pub(super) async fn is_gone(&self) {
        let Some(stream) = &self.stream else { return std::future::pending().await };
        loop {
            // Whatever changes this wakes the connection's task, which is ours.
            poll_fn(|_| if self.reading.get() { Poll::Pending } else { Poll::Ready(()) }).await;
            tokio::time::sleep(GONE_POLL).await;
            if !self.reading.get() && poll_fn(|context| Poll::Ready(is_closed(stream.borrow().socket(), context))).await
            {
                return;
            }
        }
    }

    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        if phase == Phase::Reading {
            self.heads.update(|heads| heads + 1);
            self.author.set(Author::Handler);
        }
        self.withheld.set(false);
        self.wake();
    }

    /// Waits until the client has read enough of the answers before: one that pipelines requests and reads nothing would
    /// have all of them answered into memory. (So hyper must write each answer as it comes: its `pipeline_flush` would not
    /// try while there are requests left in its buffer.)
    pub(super) async fn drained(&self) {
        poll_fn(|context| {
            if self.unwritten.get() {
                *self.waker.borrow_mut() = Some(context.waker().clone());
                return Poll::Pending;
            }
            Poll::Ready(())
        })
        .await;
    }

    /// Everything that hyper has was written.
    fn flushed(&self) {
        if self.author.get() == Author::Rest {
            self.author.set(Author::Hyper);
        }
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    /// Whether hyper must not see the end yet.
    fn withholds(&self, context: &Context<'_>) -> bool {
        let again = self.withheld.replace(true);
        let withholds = match self.phase.get() {
            _ if self.unwritten.get() => true,
            Phase::Open | Phase::Streaming | Phase::Waiting => false,
            Phase::Answering => true,
            Phase::Reading => {
                if !again {
                    context.waker().wake_by_ref();
                }
                !again
            }
        };
        if withholds {
            *self.waker.borrow_mut() = Some(context.waker().clone());
        }
        withholds
    }
}

/// Whether the other side has closed, behind what it sent and nobody has read yet.
fn is_closed(stream: &TcpStream, context: &mut Context<'_>) -> bool {
    match pin!(stream.ready(Interest::READABLE)).poll(context) {
        Poll::Ready(Ok(ready)) => ready.is_read_closed(),
        Poll::Ready(Err(_)) => true,
        Poll::Pending => false,
    }
}

/// Goes with the body of an answer: hyper drops a body once it has all of it.
pub(super) struct Owed(Rc<Progress>);

impl Owed {
    pub(super) fn new(progress: &Rc<Progress>) -> Self {
        Self(Rc::clone(progress))
    }
}

impl Drop for Owed {
    fn drop(&mut self) {
        self.0.author.set(Author::Rest);
    }
}

/// A moment by which something should have happened. Moving it costs no more than noting it: the timer below is only set
/// anew when it rings too early.
#[derive(Debug, Default)]
struct Deadline {
    at: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl Deadline {
    /// Whether it has passed. If not, the task is woken when it has.
    fn poll(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else { return Poll::Pending };
        let timer = self.timer.get_or_insert_with(|| Box::pin(tokio::time::sleep_until(at)));
        if timer.deadline() > at {
            timer.as_mut().reset(at);
        }
        while timer.as_mut().poll(context).is_ready() {
            if timer.deadline() >= at {
                return Poll::Ready(());
            }
            timer.as_mut().reset(at);
        }
        Poll::Pending
    }
}

/// An answer that goes out in place of one of hyper's.
struct Instead {
    bytes: Vec<u8>,
    written: usize,
    /// Bytes of hyper's own answer.
    stands_for: usize,
}

/// See the module's text.
pub(super) struct Socket {
    stream: Rc<RefCell<Stream>>,
    progress: Rc<Progress>,
    patience: Patience,
    /// For the next request, or the rest of its head.
    next: Deadline,
    /// Requests whose heads had arrived when `next` was set, and whether the one after them has begun.
    heads: u64,
    begun: bool,
    /// For the client to read.
    reading: Deadline,
    instead: Option<Instead>,
}

impl Socket {
    pub(super) fn new(stream: Rc<RefCell<Stream>>, progress: Rc<Progress>, patience: Patience) -> Self {
        let (next, reading) = (Deadline::default(), Deadline::default());
        Self { stream, progress, patience, next, heads: 0, begun: false, reading, instead: None }
    }

    /// Notes that some of the input has come.
    fn arrived(&mut self) {
        self.turn_page();
        if self.progress.phase.get() == Phase::Open && !self.begun {
            self.begun = true;
            self.next.at = Some(Instant::now() + self.patience.head);
        }
    }

    /// Whether a client that sends nothing has been waited for long enough.
    fn is_overdue(&mut self, context: &mut Context<'_>) -> bool {
        self.turn_page();
        if self.progress.phase.get() != Phase::Open || self.progress.unwritten.get() {
            return false;
        }
        let idle = self.patience.idle;
        self.next.at.get_or_insert_with(|| Instant::now() + idle);
        self.next.poll(context).is_ready()
    }

    /// Once a head is complete, a new wait begins.
    fn turn_page(&mut self) {
        let heads = self.progress.heads.get();
        if self.heads != heads {
            (self.heads, self.begun, self.next.at) = (heads, false, None);
        }
    }

    fn wrote(&mut self, context: &mut Context<'_>, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        self.progress.unwritten.set(written.is_pending());
        if written.is_ready() {
            self.reading.at = None;
            return written;
        }
        let patience = self.patience.reading;
        self.reading.at.get_or_insert_with(|| Instant::now() + patience);
        self.reading.poll(context).map(|()| Err(ErrorKind::TimedOut.into()))
    }

    /// Writes our own answer, if hyper is at one without a body. What the bytes look like says nothing while an answer of
    /// ours is on its way: after a partial write they begin in the middle of a body, which may hold anything.
    fn poll_instead(&mut self, context: &mut Context<'_>, theirs: &[u8]) -> Option<Poll<Result<usize>>> {
        if self.instead.is_none() && self.progress.author.get() == Author::Hyper && is_bare(theirs) {
            self.instead = Some(Instead { bytes: embody(theirs), written: 0, stands_for: theirs.len() });
        }
        let instead = self.instead.as_mut()?;
        while instead.written < instead.bytes.len() {
            match Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, &instead.bytes[instead.written..]) {
                Poll::Ready(Ok(written)) if written > 0 => instead.written += written,
                Poll::Ready(Ok(_)) => return Some(Poll::Ready(Err(ErrorKind::WriteZero.into()))),
                other => return Some(other),
            }
        }
        let stands_for = instead.stands_for;
        self.instead = None;
        Some(Poll::Ready(Ok(stands_for)))
    }
}

/// Whether bytes that hyper writes by itself are an answer, to a head that it cannot read.
fn is_bare(bytes: &[u8]) -> bool {
    bytes.starts_with(b"HTTP/1.1 4") && bytes.ends_with(b"\r\n\r\n")
}

/// The same answer with a body.
fn embody(bare: &[u8]) -> Vec<u8> {
    let line = bare.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let text = match line.get(9..12) {
        Some(b"414" | b"431") => head::TOO_LARGE,
        _ => "ERR the request is not HTTP that could be understood",
    };
    let mut body = Vec::new();
    encode_json(&Reply::Error(CommandError::text(text)), Encoding::Text, &mut body);
    let fields = format!(
        "\r\ncontent-type: application/json\r\ncontent-length: {}\r\naccess-control-allow-origin: *\r\n\
         connection: close\r\n\r\n",
        body.len()
    );
    [line, fields.as_bytes(), &body].concat()
}

impl AsyncRead for Socket {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let this = self.get_mut();
        let before = buf.filled().len();
        let read = Pin::new(&mut *this.stream.borrow_mut()).poll_read(context, buf);
        this.progress.reading.set(read.is_pending());
        match read {
            Poll::Ready(Ok(())) if buf.filled().len() > before => this.arrived(),
            Poll::Ready(Ok(())) if buf.remaining() > 0 && this.progress.withholds(context) => return Poll::Pending,
            // What hyper takes for the client's end.
            Poll::Pending if this.is_overdue(context) => return Poll::Ready(Ok(())),
            _ => {}
        }
        read
    }
}

impl AsyncWrite for Socket {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = match this.poll_instead(context, bytes) {
            Some(written) => written,
            None => Pin::new(&mut *this.stream.borrow_mut()).poll_write(context, bytes),
        };
        this.wrote(context, written)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let this = self.get_mut();
        let written = match this.poll_instead(context, slices.first().map_or(&[], |slice| slice)) {
            Some(written) => written,
            None => Pin::new(&mut *this.stream.borrow_mut()).poll_write_vectored(context, slices),
        };
        this.wrote(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.borrow().is_write_vectored()
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // Asked once everything has been written, which TLS may still hold.
        let this = self.get_mut();
        let flushed = Pin::new(&mut *this.stream.borrow_mut()).poll_flush(context);
        match flushed {
            Poll::Pending => this.wrote(context, Poll::Pending).map_ok(drop),
            Poll::Ready(flushed) => {
                this.reading.at = None;
                this.progress.unwritten.set(false);
                this.progress.flushed();
                Poll::Ready(flushed)
            }
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
