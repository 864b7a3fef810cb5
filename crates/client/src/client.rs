//! The client: one endpoint, one token, and the way a request takes to its answer.
//!
//! A request is sent until it is answered, may not be repeated, or its time is up. What is retried is decided here and
//! nowhere else: see [`Retry`](crate::Retry). A span per request has the command's name and how it went, and never a key, a value or a token.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::{ACCEPT, CACHE_CONTROL, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue, RETRY_AFTER};
use http::{Method, StatusCode};
use tracing::Instrument;
use tracing::field::Empty;

use crate::args::{Args, ToArgs};
use crate::auto::{Auto, AutoPipeline};
use crate::builder::Builder;
use crate::command::{Command, Effect};
use crate::error::{Error, Result, ServerError, TransportError};
use crate::retry::{Budget, Retry};
use crate::rt;
use crate::transport::{Body, Transport};
use crate::value::{FromValue, Value};
use crate::wire::{self, Answer, Encoded, Strings};

const SYNC_TOKEN: HeaderName = HeaderName::from_static("upstash-sync-token");
const ENCODING: HeaderName = HeaderName::from_static("upstash-encoding");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
const BLOCK: HeaderName = HeaderName::from_static("dormouse-block");

/// A client of one database. Clones are cheap and share connections, read-your-writes and the retry budget.
///
/// ```
/// # dormouse_client::example(async |client| {
/// client.set("greeting", "hello").await?;
/// assert_eq!(client.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) });
/// ```
#[derive(Clone)]
pub struct Client {
    pub(crate) inner: Arc<Inner>,
    pub(crate) auto: Option<Arc<Auto>>,
}

pub(crate) struct Inner {
    pub(crate) endpoint: Endpoint,
    pub(crate) headers: HeaderMap,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) timeout: Duration,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) retry: Retry,
    pub(crate) budget: Budget,
    pub(crate) idempotent_writes: bool,
    pub(crate) strings: Strings,
    pub(crate) answer_bytes_max: usize,
    /// The last one there was; `None` where nobody asked for it.
    pub(crate) sync_token: Option<Mutex<Option<HeaderValue>>>,
}

/// Where requests go.
#[derive(Debug)]
pub(crate) struct Endpoint {
    /// Without a slash at its end.
    pub(crate) url: String,
    pub(crate) host: String,
}

/// What a call may have of its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) timeout: Option<Duration>,
    /// How long the server may wait before it answers.
    pub(crate) waits: Option<Duration>,
    pub(crate) idempotency_key: Option<String>,
    pub(crate) never_retry: bool,
    pub(crate) headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
}

impl Options {
    /// Whether it is as plain as can be.
    pub(crate) const fn is_default(&self) -> bool {
        self.timeout.is_none()
            && self.waits.is_none()
            && self.idempotency_key.is_none()
            && !self.never_retry
            && self.headers.is_empty()
    }
}

/// A request, and what may be done with it.
pub(crate) struct Outgoing {
    pub(crate) name: Cow<'static, str>,
    /// How many commands it has, if it is made for several.
    pub(crate) count: Option<usize>,
    pub(crate) effect: Effect,
    pub(crate) encoded: Encoded,
    pub(crate) options: Options,
}

/// Reads the body of an answer: what it holds, or the server's error; else what is wrong with it.
type Decode<R> = fn(&[u8], Strings) -> Result<Result<R, String>, &'static str>;

impl Client {
    /// A client with everything else as it is by default.
    ///
    /// ```
    /// let client = dormouse_client::Client::new("https://eu1-example.upstash.io", "token")?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn new(url: impl Into<String>, token: impl Into<String>) -> Result<Self> {
        Self::builder(url, token).build()
    }

    /// A client as one wants it.
    ///
    /// ```
    /// let client = dormouse_client::Client::builder("https://eu1-example.upstash.io", "token").build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn builder(url: impl Into<String>, token: impl Into<String>) -> Builder {
        Builder::new(url.into(), token.into())
    }

    /// A client for the endpoint that the environment names: `DORMOUSE_URL` and `DORMOUSE_TOKEN`, or
    /// `UPSTASH_REDIS_REST_URL` and `UPSTASH_REDIS_REST_TOKEN`, or `KV_REST_API_URL` and `KV_REST_API_TOKEN`.
    ///
    /// ```no_run
    /// let client = dormouse_client::Client::from_env()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        Builder::from_env()?.build()
    }

    pub(crate) fn of(inner: Inner) -> Self {
        Self { inner: Arc::new(inner), auto: None }
    }

    /// Any command there is, by its words.
    ///
    /// It counts as a write, which is not repeated when its answer was lost: see
    /// [`Command::read_only`](crate::Command::read_only).
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let length: i64 = client.command(["APPEND", "log", "line"]).await?;
    /// assert_eq!(length, 4);
    /// let now: (i64, i64) = client.command("TIME").read_only().await?;
    /// # assert!(now.0 > 0);
    /// # Ok(()) });
    /// ```
    pub fn command<T: FromValue>(&self, words: impl ToArgs) -> Command<T> {
        let mut args = Args::new();
        args.add(words);
        let name = if args.is_empty() { String::new() } else { String::from_utf8_lossy(args.get(0)).into_owned() };
        Command::new(self, name.into(), Effect::Writes, args)
    }

    /// The same, word by word.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.cmd::<()>("SET").arg("k").arg(b"\xff\x00").arg("EX").arg(60).await?;
    /// # Ok(()) });
    /// ```
    pub fn cmd<T: FromValue>(&self, name: &str) -> Command<T> {
        self.command(name)
    }

    /// A client that gathers commands which are under way at the same time into pipelines.
    ///
    /// Awaiting a command stays the same, and so does its answer: only requests become fewer. Reads and writes go apart, so
    /// that reads can be repeated. Commands with options of their own (a timeout, a header, an idempotency key), commands
    /// that wait, pipelines and transactions are sent by themselves.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let client = client.auto_pipeline();
    /// let (views, name) = tokio::join!(client.incr("views"), client.get::<String>("name"));
    /// assert_eq!((views?, name?), (1, None));
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn auto_pipeline(&self) -> Self {
        self.auto_pipeline_with(AutoPipeline::default())
    }

    /// The same, with limits of one's own.
    ///
    /// ```
    /// use dormouse_client::AutoPipeline;
    ///
    /// # dormouse_client::example(async |client| {
    /// let client = client.auto_pipeline_with(AutoPipeline::default().requests_max(1));
    /// # client.ping().await?;
    /// # Ok(()) });
    /// ```
    #[must_use]
    pub fn auto_pipeline_with(&self, settings: AutoPipeline) -> Self {
        Self { inner: Arc::clone(&self.inner), auto: Some(Arc::new(Auto::new(settings))) }
    }

    /// The token that stands for what this client has seen, for another client that should see as much.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set("k", "v").await?;
    /// let elsewhere = client.clone();
    /// elsewhere.set_sync_token(client.sync_token().as_deref());
    /// # Ok(()) });
    /// ```
    pub fn sync_token(&self) -> Option<String> {
        let kept = self.inner.sync_token.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner);
        kept.as_ref()?.to_str().ok().map(str::to_owned)
    }

    /// Has reads see at least what that token stands for.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// client.set_sync_token(None);
    /// # Ok(()) });
    /// ```
    pub fn set_sync_token(&self, token: Option<&str>) {
        if let Some(kept) = &self.inner.sync_token {
            let token = token.and_then(|token| HeaderValue::try_from(token).ok());
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = token;
        }
    }

    /// Sends one command.
    pub(crate) async fn one(&self, outgoing: Outgoing) -> Result<Value> {
        self.call(outgoing, |body, strings| {
            Ok(match wire::decode_one(body, strings)? {
                Answer::Result(value) => Ok(value),
                Answer::Error(error) => Err(error),
            })
        })
        .await
    }

    /// Sends several.
    pub(crate) async fn several(&self, outgoing: Outgoing) -> Result<Vec<Answer>> {
        let expected = outgoing.count.unwrap_or_default();
        let answers = self.call(outgoing, wire::decode_several).await?;
        if answers.len() == expected {
            return Ok(answers);
        }
        let what = format!("{} answers to {expected} commands", answers.len());
        Err(Error::Unexpected { status: StatusCode::OK, what: what.into(), retry_after: None })
    }

    async fn call<R>(&self, mut outgoing: Outgoing, decode: Decode<R>) -> Result<R> {
        let span = tracing::info_span!(
            "redis",
            otel.kind = "client",
            db.system.name = "redis",
            db.operation.name = %outgoing.name,
            db.operation.batch.size = outgoing.count,
            server.address = %self.inner.endpoint.host,
            http.response.status_code = Empty,
            retries = Empty,
            error.type = Empty,
        );
        if self.inner.idempotent_writes && outgoing.effect == Effect::Writes {
            let random = || format!("{:016x}{:016x}", rt::random_u64(), rt::random_u64());
            outgoing.options.idempotency_key.get_or_insert_with(random);
        }
        let limit = outgoing.options.timeout.unwrap_or(self.inner.timeout);
        let limit = limit.saturating_add(outgoing.options.waits.unwrap_or_default());
        let until = rt::Instant::now().checked_add(limit);
        let done = rt::within(limit, self.attempts(&outgoing, until, decode)).instrument(span.clone()).await;
        let result = done.unwrap_or(Err(Error::Timeout(limit)));
        if let Err(error) = &result {
            span.record("error.type", error.kind());
        }
        result
    }

    async fn attempts<R>(&self, outgoing: &Outgoing, until: Option<rt::Instant>, decode: Decode<R>) -> Result<R> {
        let safe = outgoing.effect == Effect::Reads || outgoing.options.idempotency_key.is_some();
        let retry = if outgoing.options.never_retry { Retry::never() } else { self.inner.retry };
        let mut attempt = 1;
        loop {
            let error = match self.attempt_in_time(outgoing, decode).await {
                Ok(answer) => {
                    self.inner.budget.earn();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let Some(pause) = retry.after(attempt, &error, safe) else { return Err(error) };
            // An error now is worth more than a timeout later.
            let in_time =
                until.is_none_or(|until| rt::Instant::now().checked_add(pause).is_some_and(|then| then < until));
            if !in_time || !self.inner.budget.spend() {
                return Err(error);
            }
            tracing::debug!(kind = error.kind(), attempt, ?pause, "a request is repeated");
            tracing::Span::current().record("retries", attempt);
            rt::sleep(pause).await;
            attempt += 1;
        }
    }

    async fn attempt_in_time<R>(&self, outgoing: &Outgoing, decode: Decode<R>) -> Result<R> {
        let Some(limit) = self.inner.attempt_timeout else { return self.attempt(outgoing, decode).await };
        let limit = limit.saturating_add(outgoing.options.waits.unwrap_or_default());
        rt::within(limit, self.attempt(outgoing, decode)).await.unwrap_or(Err(Error::Timeout(limit)))
    }

    async fn attempt<R>(&self, outgoing: &Outgoing, decode: Decode<R>) -> Result<R> {
        let Encoded { path, body } = &outgoing.encoded;
        let mut headers = self.headers(&outgoing.name, &outgoing.options)?;
        if self.inner.strings == Strings::Base64 {
            headers.insert(ENCODING, HeaderValue::from_static("base64"));
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type(path, body)));
        let response = self.inner.transport.send(self.request(path, headers, body.clone())?).await?;
        let (head, body) = response.into_parts();
        tracing::Span::current().record("http.response.status_code", head.status.as_u16());
        self.keep_sync_token(&head.headers);
        if head.status.is_redirection() {
            return Err(unexpected(&head, "the endpoint redirects elsewhere".into()));
        }
        let body = body.whole(self.inner.answer_bytes_max).await?;
        match decode(&body, self.inner.strings) {
            Ok(Ok(answer)) if head.status.is_success() => Ok(answer),
            Ok(Ok(_)) => Err(unexpected(&head, "a result with a status of failure".into())),
            Ok(Err(message)) => Err(refused(&head, message)),
            Err(what) if head.status.is_success() => Err(unexpected(&head, what.into())),
            Err(_) => Err(failed(&head)),
        }
    }

    /// Opens a stream of events.
    pub(crate) async fn stream(&self, name: &'static str, path: &str) -> Result<Body> {
        let mut headers = self.headers(name, &Options::default())?;
        headers.insert(ACCEPT, HeaderValue::from_static("text/event-stream"));
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let request = self.request(path, headers, Bytes::from_static(b"[]"))?;
        let sent = rt::within(self.inner.timeout, self.inner.transport.send(request)).await;
        let (head, body) = sent.unwrap_or_else(|| Err(TransportError::new("no answer in time")))?.into_parts();
        let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        if head.status == StatusCode::OK && kind.starts_with("text/event-stream") {
            return Ok(body);
        }
        if head.status.is_success() {
            return Err(unexpected(&head, "an answer that is no stream of events".into()));
        }
        let whole = rt::within(self.inner.timeout, body.whole(self.inner.answer_bytes_max)).await;
        let body = whole.unwrap_or_else(|| Err(TransportError::new("no answer in time")))?;
        match wire::decode_one(&body, Strings::Text) {
            Ok(Answer::Error(message)) => Err(refused(&head, message)),
            _ => Err(failed(&head)),
        }
    }

    fn request(&self, path: &str, headers: HeaderMap, body: Bytes) -> Result<http::Request<Bytes>> {
        let mut request = http::Request::new(body);
        *request.method_mut() = Method::POST;
        let url = format!("{}{path}", self.inner.endpoint.url);
        *request.uri_mut() = url.parse().map_err(|_| TransportError::unsent("the URL is not one"))?;
        *request.headers_mut() = headers;
        Ok(request)
    }

    fn headers(&self, command: &str, options: &Options) -> Result<HeaderMap> {
        let wrong = || Error::Request { command: command.to_owned().into(), why: "a header cannot be sent".into() };
        let mut headers = self.inner.headers.clone();
        for (name, value) in &options.headers {
            let name = HeaderName::try_from(&**name).map_err(|_| wrong())?;
            headers.insert(name, HeaderValue::try_from(&**value).map_err(|_| wrong())?);
        }
        if let Some(key) = &options.idempotency_key {
            headers.insert(IDEMPOTENCY_KEY, HeaderValue::try_from(key).map_err(|_| wrong())?);
        }
        if options.waits.is_some() {
            headers.insert(BLOCK, HeaderValue::from_static("true"));
        }
        if let Some(kept) = &self.inner.sync_token
            && let Some(token) = &*kept.lock().unwrap_or_else(PoisonError::into_inner)
        {
            headers.insert(SYNC_TOKEN, token.clone());
        }
        Ok(headers)
    }

    fn keep_sync_token(&self, headers: &HeaderMap) {
        if let Some(kept) = &self.inner.sync_token
            && let Some(token) = headers.get(SYNC_TOKEN)
        {
            *kept.lock().unwrap_or_else(PoisonError::into_inner) = Some(token.clone());
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Client").field("host", &self.inner.endpoint.host).finish_non_exhaustive()
    }
}

fn content_type(path: &str, body: &[u8]) -> &'static str {
    // The path alone decides how a body is read; this is for whoever looks on.
    let whole = matches!(path, "/" | "/pipeline" | "/multi-exec");
    if whole && body.first() == Some(&b'[') { "application/json" } else { "application/octet-stream" }
}

/// What the server said no with.
fn refused(head: &http::response::Parts, message: String) -> Error {
    let error = ServerError { status: head.status, message };
    match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Error::Auth(error),
        StatusCode::TOO_MANY_REQUESTS => {
            Error::RateLimited { message: error.message, retry_after: retry_after(&head.headers) }
        }
        _ if is_quota(&error.message) => Error::RateLimited { message: error.message, retry_after: None },
        _ => Error::Server(error),
    }
}

/// Upstash's words for the day's or the month's requests being used up.
fn is_quota(message: &str) -> bool {
    message.starts_with("ERR max requests limit exceeded")
        || message.starts_with("ERR max daily request limit exceeded")
}

/// A status of failure whose body says nothing that we could read.
fn failed(head: &http::response::Parts) -> Error {
    let reason = || head.status.canonical_reason().unwrap_or("failed").to_owned();
    match head.status {
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            Error::Auth(ServerError { status: head.status, message: reason() })
        }
        StatusCode::TOO_MANY_REQUESTS => {
            Error::RateLimited { message: reason(), retry_after: retry_after(&head.headers) }
        }
        _ => {
            let kind = head.headers.get(CONTENT_TYPE).and_then(|kind| kind.to_str().ok());
            let kind = kind.and_then(|kind| kind.split(';').next()).unwrap_or("something").trim().to_owned();
            unexpected(head, format!("{kind} that is no answer of this protocol").into())
        }
    }
}

fn unexpected(head: &http::response::Parts, what: Cow<'static, str>) -> Error {
    Error::Unexpected { status: head.status, what, retry_after: retry_after(&head.headers) }
}

/// Seconds; the form with a date is not worth a clock that may be wrong.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(RETRY_AFTER)?.to_str().ok()?.trim().parse::<u32>().ok()?;
    Some(Duration::from_secs(seconds.into()))
}
