//! The socket under an HTTP connection, which keeps the end of the input to itself while an answer is on its way.
//!
//! A client may close its side once it has asked (`shutdown(SHUT_WR)`), and still wants the answer; hyper either drops the
//! answer then, or (with `half_close`) does not notice when the reader of a stream has gone. So the end is shown to hyper
//! when nothing is at work, and when a stream is; not while a request runs, nor before its answer has been written.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io::{IoSlice, Result};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// What a connection is doing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for a request, or streaming: the end of the input is the end.
    #[default]
    Open,
    /// A request arrives. If its last byte and the end come together, its handler must run first to know that it is whole.
    Reading,
    /// A whole request is being answered.
    Answering,
}

/// What the socket and the handlers of its requests share.
#[derive(Debug, Default)]
pub(super) struct Progress {
    phase: Cell<Phase>,
    /// Whether part of an answer waits for the client to read.
    unwritten: Cell<bool>,
    /// Whether the end was withheld once since the phase began.
    withheld: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

impl Progress {
    pub(super) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
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
            Phase::Open => false,
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

/// See the module's text.
pub(super) struct Socket {
    stream: TcpStream,
    progress: Rc<Progress>,
}

impl Socket {
    pub(super) const fn new(stream: TcpStream, progress: Rc<Progress>) -> Self {
        Self { stream, progress }
    }

    fn wrote(&self, written: Poll<Result<usize>>) -> Poll<Result<usize>> {
        self.progress.unwritten.set(written.is_pending());
        written
    }
}

impl AsyncRead for Socket {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, buf);
        let at_end = matches!(read, Poll::Ready(Ok(()))) && buf.filled().len() == before && buf.remaining() > 0;
        if at_end && self.progress.withholds(context) { Poll::Pending } else { read }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.wrote(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.wrote(written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        // Asked once everything has been written.
        self.progress.wake();
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
