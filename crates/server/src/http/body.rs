//! Bodies: of requests, read whole within a limit; of responses, whole or as a stream of events.

use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use dormouse_proto::CommandError;
use http::header::EXPECT;
use http::{HeaderMap, StatusCode};
use http_body::{Body as _, Frame, SizeHint};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use tokio::time::timeout;

use super::Refusal;
use super::socket::Owed;
use super::stream::Events;
use super::two::{Flow, Flowing, Streaming};

/// How long a client may pause while it sends a body.
const BODY_PATIENCE: Duration = Duration::from_secs(30);

/// Bytes of a refused body that are read and thrown away: a client that is still sending would otherwise lose its
/// connection before it reads why.
const DISCARD_BYTES_MAX: usize = 64 << 20;

/// A response's body.
pub(crate) enum Body {
    /// All of it, once.
    Full(Option<Bytes>),
    /// Events, until somebody leaves.
    Events(Box<Events>),
    /// All of it, piece by piece: one stream of several.
    Flowing(Flowing),
    /// Events as one stream of several.
    Streaming { events: Box<Events>, _open: Streaming },
}

impl Body {
    pub(super) const fn empty() -> Self {
        Self::Full(None)
    }

    pub(super) fn full(bytes: Bytes) -> Self {
        Self::Full(Some(bytes))
    }

    /// The same body for one stream of a connection that carries several.
    pub(super) fn flowing(self, flow: &Rc<Flow>) -> Self {
        match self {
            Self::Full(Some(bytes)) if !bytes.is_empty() => Self::Flowing(Flowing::new(bytes, flow)),
            Self::Events(events) => Self::Streaming { events, _open: Streaming::new(flow) },
            other => other,
        }
    }
}

impl http_body::Body for Body {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        match self.get_mut() {
            Self::Full(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Events(events) | Self::Streaming { events, .. } => {
                events.poll(context).map(|chunk| chunk.map(|chunk| Ok(Frame::data(chunk))))
            }
            Self::Flowing(flowing) => Poll::Ready(flowing.take().map(|piece| Ok(Frame::data(piece)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Self::Full(bytes) => bytes.is_none(),
            Self::Flowing(flowing) => flowing.left() == 0,
            Self::Events(_) | Self::Streaming { .. } => false,
        }
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Self::Full(bytes) => SizeHint::with_exact(bytes.as_ref().map_or(0, Bytes::len) as u64),
            Self::Flowing(flowing) => SizeHint::with_exact(flowing.left() as u64),
            Self::Events(_) | Self::Streaming { .. } => SizeHint::default(),
        }
    }
}

/// A response's body, and the word to the socket once hyper has all of it.
pub(super) struct Tracked {
    pub(super) body: Body,
    pub(super) _owed: Owed,
}

impl http_body::Body for Tracked {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// Reads a whole request body, if it is not too large.
pub(super) async fn read(mut incoming: Incoming, headers: &HeaderMap, limit: usize) -> Result<Bytes, Refusal> {
    let too_large = || Refusal(StatusCode::PAYLOAD_TOO_LARGE, CommandError::RequestTooLarge(limit));
    let announced = incoming.size_hint();
    if announced.lower() > limit as u64 {
        discard(incoming, headers).await;
        return Err(too_large());
    }
    if incoming.is_end_stream() {
        return Ok(Bytes::new());
    }
    let mut first = Bytes::new();
    let mut all: Option<Vec<u8>> = None;
    while let Some(chunk) = next_chunk(&mut incoming).await? {
        // Most bodies come in one piece, which is used as it is.
        if first.is_empty() && all.is_none() {
            first = chunk;
            continue;
        }
        let all = all.get_or_insert_with(|| {
            let mut all = Vec::with_capacity((announced.lower() as usize).max(first.len() * 2));
            all.extend_from_slice(&first);
            all
        });
        if all.len() + chunk.len() > limit {
            discard(incoming, headers).await;
            return Err(too_large());
        }
        all.extend_from_slice(&chunk);
    }
    match all {
        Some(all) => Ok(all.into()),
        None if first.len() > limit => Err(too_large()),
        None => Ok(first),
    }
}

/// Reads what a client that is refused still sends, within bounds. One that asked first (`Expect: 100-continue`) sends
/// nothing.
pub(super) async fn discard(mut incoming: Incoming, headers: &HeaderMap) {
    if headers.contains_key(EXPECT) || incoming.size_hint().lower() > DISCARD_BYTES_MAX as u64 {
        return;
    }
    let mut discarded = 0;
    while discarded <= DISCARD_BYTES_MAX
        && let Ok(Some(chunk)) = next_chunk(&mut incoming).await
    {
        discarded += chunk.len();
    }
}

async fn next_chunk(incoming: &mut Incoming) -> Result<Option<Bytes>, Refusal> {
    loop {
        let frame = timeout(BODY_PATIENCE, incoming.frame()).await.map_err(|_| {
            Refusal(StatusCode::REQUEST_TIMEOUT, CommandError::text("ERR the request body did not arrive in time"))
        })?;
        match frame {
            None => return Ok(None),
            Some(Ok(frame)) => {
                if let Ok(chunk) = frame.into_data()
                    && !chunk.is_empty()
                {
                    return Ok(Some(chunk));
                }
            }
            Some(Err(_)) => return Err(CommandError::text("ERR the request body could not be read").into()),
        }
    }
}
