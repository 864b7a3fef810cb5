//! HTTP/2 without TLS, for clients that know beforehand that we speak it (h2c by prior knowledge).
//!
//! A connection begins as HTTP/1.1; where its first bytes are the preface of HTTP/2, hyper says so and hands back what it has
//! read, so that HTTP/1.1 pays nothing for the choice. From there on requests take the same way as any other, several at a
//! time. A request whose stream is reset, or whose connection ends, is dropped with everything it waited for.
//!
//! What HTTP/1.1 has per connection must be bounded per stream here: how many there are, how large a head may be, how fast
//! they may be opened and reset. Answers go out piece by piece, as far as the client's windows allow; a client that lets one
//! stand for too long is cut off, and so is one without a request.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Buf, Bytes};
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::socket::Progress;
use super::{HEAD_BYTES_MAX, answer};
use crate::patience::Patience;
use crate::tls::Stream;
use crate::worker::Worker;

/// Requests of one connection that may be at work.
const STREAMS_MAX: u32 = 100;
/// Streams that may be reset before anybody has looked at them; a client that does more is cut off (rapid reset).
const RESETS_MAX: usize = 20;
/// Streams that may break the protocol before the connection is cut off.
const ERRORS_MAX: usize = 100;
/// Bytes of request bodies on their way: of one stream, and of all.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = 1 << 20;
/// Bytes of answers that may wait in a stream's buffer.
const SEND_BYTES_MAX: usize = 256 << 10;
/// Bytes of an answer handed over at once.
const PIECE_BYTES: usize = 64 << 10;

/// Serves a connection from its preface on. `ahead` is what has been read already.
pub(super) async fn serve(worker: Rc<Worker>, stream: Rc<RefCell<Stream>>, ahead: Bytes) {
    let patience = worker.shared.patience;
    let mut stopping = worker.stopping.clone();
    let flow = Rc::new(Flow::default());
    let theirs = Rc::clone(&flow);
    let service = service_fn(move |request| {
        let (worker, flow) = (Rc::clone(&worker), Rc::clone(&theirs));
        async move {
            let _open = Open::new(&flow.requests, &flow);
            // Nothing of a stream is the connection's business.
            let response = answer(&worker, &Progress::default(), request).await;
            Ok::<_, Infallible>(response.map(|body| body.flowing(&flow)))
        }
    });
    let mut builder = http2::Builder::new(Local);
    builder
        .max_concurrent_streams(STREAMS_MAX)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_pending_accept_reset_streams(RESETS_MAX)
        .max_local_error_reset_streams(ERRORS_MAX)
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_send_buf_size(SEND_BYTES_MAX);
    let mut connection = pin!(builder.serve_connection(TokioIo::new(Line { stream, ahead }), service));
    let mut look =
        tokio::time::interval(patience.reading.min(patience.idle).div_f32(2.0).max(Duration::from_millis(10)));
    let mut stop = pin!(stopping.wait_for(|stop| *stop));
    let mut stopped = false;
    loop {
        tokio::select! {
            ended = connection.as_mut() => {
                if let Err(error) = ended {
                    tracing::debug!(%error, "an HTTP/2 connection failed");
                }
                return;
            }
            _ = &mut stop, if !stopped => {
                stopped = true;
                connection.as_mut().graceful_shutdown();
            }
            _ = look.tick() => {
                if flow.is_overdue(&patience) {
                    return;
                }
            }
        }
    }
}

/// Runs hyper's tasks where the connection runs.
#[derive(Clone, Copy)]
struct Local;

impl<F: Future<Output = ()> + 'static> Executor<F> for Local {
    fn execute(&self, future: F) {
        tokio::task::spawn_local(future);
    }
}

/// What the streams of a connection are doing.
#[derive(Debug)]
pub(super) struct Flow {
    /// Requests at work.
    requests: Cell<usize>,
    /// Answers on their way, and when each moved last.
    answers: RefCell<BTreeMap<u64, Instant>>,
    next_answer: Cell<u64>,
    /// Streams of events.
    streams: Cell<usize>,
    /// When anything happened last.
    moved: Cell<Instant>,
}

impl Default for Flow {
    fn default() -> Self {
        Self {
            requests: Cell::new(0),
            answers: RefCell::default(),
            next_answer: Cell::new(0),
            streams: Cell::new(0),
            moved: Cell::new(Instant::now()),
        }
    }
}

impl Flow {
    fn is_overdue(&self, patience: &Patience) -> bool {
        let answers = self.answers.borrow();
        let stands = answers.values().any(|moved| moved.elapsed() > patience.reading);
        let idle = answers.is_empty() && self.requests.get() == 0 && self.streams.get() == 0;
        stands || (idle && self.moved.get().elapsed() > patience.idle)
    }

    fn moves(&self) {
        self.moved.set(Instant::now());
    }
}

/// Counts something for as long as it lives.
struct Open<'a>(&'a Cell<usize>, &'a Flow);

impl<'a> Open<'a> {
    fn new(count: &'a Cell<usize>, flow: &'a Flow) -> Self {
        count.update(|count| count + 1);
        flow.moves();
        Self(count, flow)
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.0.update(|count| count - 1);
        self.1.moves();
    }
}

/// An answer that goes out as far as the client's windows allow.
pub(crate) struct Flowing {
    rest: Bytes,
    flow: Rc<Flow>,
    id: u64,
}

impl Flowing {
    pub(super) fn new(rest: Bytes, flow: &Rc<Flow>) -> Self {
        let id = flow.next_answer.replace(flow.next_answer.get() + 1);
        flow.answers.borrow_mut().insert(id, Instant::now());
        Self { rest, flow: Rc::clone(flow), id }
    }

    /// The next piece.
    pub(super) fn take(&mut self) -> Option<Bytes> {
        self.flow.answers.borrow_mut().insert(self.id, Instant::now());
        let length = self.rest.len().min(PIECE_BYTES);
        (length > 0).then(|| self.rest.split_to(length))
    }

    pub(super) const fn left(&self) -> usize {
        self.rest.len()
    }
}

impl Drop for Flowing {
    fn drop(&mut self) {
        self.flow.answers.borrow_mut().remove(&self.id);
        self.flow.moves();
    }
}

/// A stream of events as part of a connection, which is not idle while it has one.
pub(crate) struct Streaming(Rc<Flow>);

impl Streaming {
    pub(super) fn new(flow: &Rc<Flow>) -> Self {
        flow.streams.update(|count| count + 1);
        Self(Rc::clone(flow))
    }
}

impl Drop for Streaming {
    fn drop(&mut self) {
        self.0.streams.update(|count| count - 1);
        self.0.moves();
    }
}

/// The connection, behind what was read of it before.
struct Line {
    stream: Rc<RefCell<Stream>>,
    ahead: Bytes,
}

impl AsyncRead for Line {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        if self.ahead.has_remaining() {
            let length = self.ahead.len().min(buf.remaining());
            buf.put_slice(&self.ahead.split_to(length));
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, buf)
    }
}

impl AsyncWrite for Line {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write(context, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[std::io::IoSlice<'_>],
    ) -> Poll<std::io::Result<usize>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_write_vectored(context, slices)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
