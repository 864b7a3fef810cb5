//! How a request gets to the endpoint and its answer back: one trait, and what comes with the crate.
//!
//! A transport moves bytes and knows nothing of commands, tokens or retries. It follows no redirects (a POST would turn into
//! a GET, and the token would go to another host), sets no deadline of its own for a whole answer (streams have none), and
//! says of a failure whether anything was sent.

#[cfg(feature = "reqwest")]
pub(crate) mod by_reqwest;

use std::fmt;
use std::future::Future;

use bytes::Bytes;
use futures_util::StreamExt;

#[cfg(feature = "reqwest")]
pub use self::by_reqwest::Reqwest;
#[cfg(feature = "reqwest")]
pub(crate) use self::by_reqwest::Settings;
pub use crate::error::TransportError;
pub use crate::rt::{BoxFuture, BoxStream, MaybeSend};

/// Sends requests.
///
/// A function is a transport, which is what a test needs:
///
/// ```
/// use bytes::Bytes;
/// use dormouse_client::transport::Body;
/// use dormouse_client::Client;
///
/// # dormouse_client::example(async |_| {
/// let client = Client::builder("https://example.com", "token")
///     .transport(|request: http::Request<Bytes>| async move {
///         assert_eq!(&request.body()[..], br#"["GET","k"]"#);
///         Ok(http::Response::new(Body::from(r#"{"result":"aGVsbG8="}"#)))
///     })
///     .build()?;
/// assert_eq!(client.get::<String>("k").await?.as_deref(), Some("hello"));
/// # Ok(()) });
/// ```
pub trait Transport: Send + Sync + 'static {
    /// Sends one, and waits for the head of its answer.
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>>;
}

#[cfg(not(target_family = "wasm"))]
impl<F, R> Transport for F
where
    F: Fn(http::Request<Bytes>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<http::Response<Body>, TransportError>> + Send + 'static,
{
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        Box::pin(self(request))
    }
}

#[cfg(target_family = "wasm")]
impl<F, R> Transport for F
where
    F: Fn(http::Request<Bytes>) -> R + Send + Sync + 'static,
    R: Future<Output = Result<http::Response<Body>, TransportError>> + 'static,
{
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        Box::pin(self(request))
    }
}

/// The body of an answer, as it comes in.
pub struct Body(BoxStream<'static, Result<Bytes, TransportError>>);

impl Body {
    /// One that comes piece by piece.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use dormouse_client::transport::Body;
    ///
    /// let body = Body::new(Box::pin(futures_util::stream::iter([Ok(Bytes::from("{}"))])));
    /// # drop(body);
    /// ```
    pub fn new(pieces: BoxStream<'static, Result<Bytes, TransportError>>) -> Self {
        Self(pieces)
    }

    /// The next piece.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), dormouse_client::transport::TransportError> {
    /// let mut body = dormouse_client::transport::Body::from("{}");
    /// assert_eq!(body.next().await.transpose()?.as_deref(), Some(&b"{}"[..]));
    /// # Ok(()) }
    /// ```
    pub async fn next(&mut self) -> Option<Result<Bytes, TransportError>> {
        self.0.next().await
    }

    /// All of it, unless it is longer than that.
    pub(crate) async fn whole(mut self, bytes_max: usize) -> Result<Bytes, TransportError> {
        let Some(first) = self.next().await.transpose()? else { return Ok(Bytes::new()) };
        let mut all: Option<Vec<u8>> = None;
        // Most bodies come in one piece, which is used as it is.
        while let Some(piece) = self.next().await.transpose()? {
            let all = all.get_or_insert_with(|| first.to_vec());
            if all.len() + piece.len() > bytes_max {
                return Err(TransportError::new("the answer is longer than this client takes"));
            }
            all.extend_from_slice(&piece);
        }
        match all {
            Some(all) => Ok(all.into()),
            None if first.len() > bytes_max => Err(TransportError::new("the answer is longer than this client takes")),
            None => Ok(first),
        }
    }
}

impl<T: Into<Bytes>> From<T> for Body {
    fn from(bytes: T) -> Self {
        let bytes = bytes.into();
        Self(Box::pin(futures_util::stream::once(async move { Ok(bytes) })))
    }
}

impl fmt::Debug for Body {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Body")
    }
}
