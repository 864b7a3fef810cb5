//! The admin socket: databases made, listed, renamed and deleted while the server runs.
//!
//! A Unix socket in the data directory, for the user the server runs as and nobody else: whoever may open it may read the
//! data anyway, so it asks for no password. It speaks HTTP and JSON with the paths of Upstash's Developer API, as far as they
//! have a meaning here; a database is named by its UUID or its name. Backups are streams: they never lie in memory as a
//! whole. It has threads of its own, because it waits for the disk.

use std::convert::Infallible;
use std::io::{self, BufWriter, Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context as Poller, Poll};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use dormouse_database::{
    BackupError, Error, ExportError, ImportError, ImportOptions, Imported, Listing, Service, Summary,
};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Limited};
use hyper::body::{Body, Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::{Semaphore, mpsc, watch};
use tokio::time::timeout;

use crate::clock::moment;

/// The socket's name within the data directory.
const NAME: &str = "admin.sock";
/// Longest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request's head and its body may take to come. A backup may take as long as it likes.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);
/// Requests at a time.
const REQUESTS_MAX: usize = 64;
/// Pieces of a backup on their way.
const PIECES_MAX: usize = 8;
/// Bytes of a piece.
const PIECE_BYTES: usize = 256 << 10;

/// Where the socket of a data directory is.
pub(crate) fn socket(data: &Path) -> PathBuf {
    data.join(NAME)
}

/// The running thread, and the socket it listens on.
pub(crate) struct Admin {
    thread: JoinHandle<()>,
    path: PathBuf,
}

/// What requests are answered from.
struct Shared {
    service: Arc<Service>,
    http: SocketAddr,
    resp: Option<SocketAddr>,
    tls: bool,
}

impl Admin {
    /// Starts to listen. The caller holds the data directory, so a socket that is there is a dead process's.
    pub(crate) fn start(
        path: PathBuf,
        service: &Arc<Service>,
        (http, resp, tls): (SocketAddr, Option<SocketAddr>, bool),
        stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let listener = StdListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { service: Arc::clone(service), http, resp, tls });
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new().name("admin".to_owned()).spawn(move || {
            runtime.block_on(async {
                match UnixListener::from_std(listener) {
                    Ok(listener) => serve(listener, &shared, stopping).await,
                    Err(error) => tracing::error!(%error, "the admin socket does not work"),
                }
            });
        })?;
        Ok(Self { thread, path })
    }

    /// Waits for its end, once the server is stopping.
    pub(crate) fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the admin socket's thread had failed");
        }
        if let Err(error) = std::fs::remove_file(&self.path) {
            tracing::debug!(%error, "the admin socket could not be removed");
        }
    }
}

async fn serve(listener: UnixListener, shared: &Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    let room = Arc::new(Semaphore::new(REQUESTS_MAX));
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted.inspect_err(|error| tracing::warn!(%error, "the admin socket")) else {
            continue;
        };
        let Ok(place) = Arc::clone(&room).acquire_owned().await else { return };
        let shared = Arc::clone(shared);
        tokio::spawn(async move {
            let service = service_fn(|request| async { Ok::<_, Infallible>(answer(&shared, request).await) });
            let mut builder = http1::Builder::new();
            builder.keep_alive(false).timer(TokioTimer::new()).header_read_timeout(REQUEST_PATIENCE);
            if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                tracing::debug!(%error, "a connection to the admin socket failed");
            }
            drop(place);
        });
    }
}

/// An answer: as it is, or as it comes.
enum Answer {
    Whole(Option<Bytes>),
    Stream(mpsc::Receiver<io::Result<Bytes>>),
}

impl Body for Answer {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(self: Pin<&mut Self>, poller: &mut Poller<'_>) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Self::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Self::Stream(pieces) => pieces.poll_recv(poller).map(|piece| piece.map(|piece| piece.map(Frame::data))),
        }
    }
}

/// Where a backup is written to: what the client takes from.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let gone = |_| io::Error::from(io::ErrorKind::BrokenPipe);
        self.0.blocking_send(Ok(Bytes::copy_from_slice(bytes))).map_err(gone)?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Where a backup is read from: what the client sends.
struct Sent {
    pieces: mpsc::Receiver<io::Result<Bytes>>,
    here: Bytes,
}

impl Read for Sent {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        while self.here.is_empty() {
            match self.pieces.blocking_recv() {
                None => return Ok(0),
                Some(piece) => self.here = piece?,
            }
        }
        let count = into.len().min(self.here.len());
        into[..count].copy_from_slice(&self.here.split_to(count));
        Ok(count)
    }
}

/// What went wrong, and with which status.
struct Refusal(StatusCode, String);

impl From<Error> for Refusal {
    fn from(error: Error) -> Self {
        let status = match error {
            Error::NoSuchDatabase(_) => StatusCode::NOT_FOUND,
            Error::Name(_) | Error::Token(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        Self(status, error.to_string())
    }
}

impl From<BackupError> for Refusal {
    fn from(error: BackupError) -> Self {
        match error {
            BackupError::Service(error) => error.into(),
            BackupError::Damaged(_) | BackupError::Choice(_) => Self(StatusCode::BAD_REQUEST, error.to_string()),
            _ => Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

impl From<ImportError> for Refusal {
    fn from(error: ImportError) -> Self {
        match error {
            ImportError::Service(error) => error.into(),
            error => Self(StatusCode::BAD_REQUEST, error.to_string()),
        }
    }
}

impl From<ExportError> for Refusal {
    fn from(error: ExportError) -> Self {
        match error {
            ExportError::Service(error) => error.into(),
            ExportError::Refused(text) => Self(StatusCode::BAD_REQUEST, text),
            error => Self(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()),
        }
    }
}

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Answer> {
    let path: Vec<&str> = request.uri().path().trim_matches('/').split('/').collect();
    let answer = match (request.method(), &path[..]) {
        (&Method::GET, ["v2", "dormouse", "backup", name]) => backup(shared, name),
        (&Method::GET, ["v2", "dormouse", "backups"]) => {
            let service = Arc::clone(&shared.service);
            Ok(streamed("a backup", move |out| service.backup_all(moment(), out)))
        }
        (&Method::GET, ["v2", "dormouse", "export", name]) => {
            export(shared, name, request.uri().query().unwrap_or_default()).await
        }
        (&Method::POST, ["v2", "dormouse", "restore", name]) => {
            let (name, query) = ((*name).to_owned(), request.uri().query().unwrap_or_default().to_owned());
            restore(shared, name, &query, request.into_body()).await.map(|value| whole(&value))
        }
        (&Method::POST, ["v2", "dormouse", "import", name]) => {
            let (name, query) = ((*name).to_owned(), request.uri().query().unwrap_or_default().to_owned());
            import(shared, &name, &query, request.into_body()).await.map(|value| whole(&value))
        }
        _ => route(shared, request).await.map(|value| whole(&value)),
    };
    answer.unwrap_or_else(|Refusal(status, error)| {
        let mut response = whole(&json!({ "error": error }));
        *response.status_mut() = status;
        response
    })
}

fn whole(value: &Value) -> Response<Answer> {
    let mut response = Response::new(Answer::Whole(Some(Bytes::from(value.to_string()))));
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

fn backup(shared: &Shared, name: &str) -> Result<Response<Answer>, Refusal> {
    let name = find(&shared.service, name)?.name;
    let service = Arc::clone(&shared.service);
    Ok(streamed("a backup", move |out| service.backup(&name, moment(), out)))
}

/// What somebody writes, as an answer.
fn streamed<T, E: std::fmt::Display>(
    what: &'static str,
    write: impl FnOnce(&mut dyn Write) -> Result<T, E> + Send + 'static,
) -> Response<Answer> {
    let (pieces, stream) = mpsc::channel(PIECES_MAX);
    tokio::task::spawn_blocking(move || {
        let mut out = BufWriter::with_capacity(PIECE_BYTES, Pieces(pieces.clone()));
        if let Err(error) = write(&mut out) {
            tracing::warn!(%error, "{what} was not finished");
            // The client must not take what it has for all there is.
            let _ = pieces.blocking_send(Err(io::Error::other(error.to_string())));
        }
    });
    let mut response = Response::new(Answer::Stream(stream));
    let kind = http::HeaderValue::from_static("application/octet-stream");
    response.headers_mut().insert(http::header::CONTENT_TYPE, kind);
    response
}

/// Writes an RDB file of a database. The query: `version=N`.
async fn export(shared: &Shared, name: &str, query: &str) -> Result<Response<Answer>, Refusal> {
    let name = find(&shared.service, name)?.name;
    let wrong = || Refusal(StatusCode::BAD_REQUEST, format!("'{query}' is not something an export can be told"));
    let version = query.strip_prefix("version=").and_then(|version| version.parse().ok()).ok_or_else(wrong)?;
    let service = Arc::clone(&shared.service);
    let looking = tokio::task::spawn_blocking(move || service.export(&name, version, moment()));
    let export = looking.await.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))??;
    Ok(streamed("an export", move |out| export.write(out)))
}

/// Hands what comes to who may wait for it, on another thread.
async fn with_body<T: Send + 'static>(
    mut body: Incoming,
    take: impl FnOnce(&mut Sent) -> T + Send + 'static,
) -> Result<T, Refusal> {
    let (sender, pieces) = mpsc::channel(PIECES_MAX);
    let taking = tokio::task::spawn_blocking(move || take(&mut Sent { pieces, here: Bytes::new() }));
    while let Some(frame) = body.frame().await {
        let piece = match frame {
            Ok(frame) => frame.into_data().map_or(Ok(Bytes::new()), Ok),
            Err(error) => Err(io::Error::other(error)),
        };
        // Who takes may have stopped at an error. The client learns of that once it has sent everything.
        let _ = sender.send(piece).await;
    }
    drop(sender);
    taking.await.map_err(|error| Refusal(StatusCode::INTERNAL_SERVER_ERROR, error.to_string()))
}

/// Reads an RDB file into a database. The query: `index=N`, `replace`, `skip-modules`.
async fn import(shared: &Shared, name: &str, query: &str, body: Incoming) -> Result<Value, Refusal> {
    let name = find(&shared.service, name)?.name;
    let mut options = ImportOptions::default();
    for word in query.split('&').filter(|word| !word.is_empty()) {
        let wrong = || Refusal(StatusCode::BAD_REQUEST, format!("'{word}' is not something an import can be told"));
        match word.split_once('=') {
            None if word == "replace" => options.replace = true,
            None if word == "skip-modules" => options.skip_modules = true,
            Some(("index", index)) => options.index = Some(index.parse().map_err(|_| wrong())?),
            _ => return Err(wrong()),
        }
    }
    let service = Arc::clone(&shared.service);
    let imported = with_body(body, move |sent| service.import(&name, options, &moment, sent)).await??;
    let Imported { keys, expired, empty, skipped, libraries, modules, bytes, .. } = imported;
    Ok(json!({
        "keys": keys, "expired": expired, "empty": empty, "skipped": skipped, "libraries": libraries, "modules": modules,
        "bytes": bytes,
    }))
}

/// Reads a backup into a new database. The query: `database=NAME`, of one that holds several.
async fn restore(shared: &Shared, name: String, query: &str, body: Incoming) -> Result<Value, Refusal> {
    let which = query.strip_prefix("database=").map(str::to_owned);
    let service = Arc::clone(&shared.service);
    let take = move |sent: &mut Sent| service.restore(&name, which.as_deref(), moment(), sent);
    let restored = with_body(body, take).await?;
    let (listing, Summary { name, taken_ms, records, users, bytes, .. }) = restored?;
    let mut shown = shared.describe(&listing, true);
    shown["backup"] = json!({
        "name": name, "creation_time": taken_ms / 1_000, "keys": records, "users": users, "backup_size": bytes,
    });
    Ok(shown)
}

async fn route(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let late = |_| Refusal(StatusCode::REQUEST_TIMEOUT, "the body did not come in time".to_owned());
    let body = timeout(REQUEST_PATIENCE, Limited::new(body, BODY_BYTES_MAX).collect()).await.map_err(late)?;
    let body = body.map_err(|error| Refusal(StatusCode::BAD_REQUEST, error.to_string()))?.to_bytes();
    let field = |name: &str| -> Result<String, Refusal> {
        let parsed: Value = serde_json::from_slice(&body)
            .map_err(|error| Refusal(StatusCode::BAD_REQUEST, format!("the body is not JSON: {error}")))?;
        let text = parsed.get(name).and_then(Value::as_str).map(str::to_owned);
        text.ok_or_else(|| Refusal(StatusCode::BAD_REQUEST, format!("the body has no text '{name}'")))
    };
    let service = &shared.service;
    let path: Vec<&str> = parts.uri.path().trim_matches('/').split('/').collect();
    let of = |name: &str| find(service, name);
    match (&parts.method, &path[..]) {
        (&Method::GET, ["v2", "redis", "databases"]) => {
            let names = service.names()?;
            let listings = names.into_iter().filter_map(|(_, id)| service.listing(id).transpose());
            listings.map(|listing| Ok(shared.describe(&listing?, false))).collect()
        }
        (&Method::POST, ["v2", "redis", "database"]) => {
            Ok(shared.describe(&service.create(&field("database_name")?, moment())?, true))
        }
        (&Method::GET, ["v2", "redis", "database", name]) => {
            let shown = parts.uri.query() != Some("credentials=hide");
            Ok(shared.describe(&of(name)?, shown))
        }
        (&Method::DELETE, ["v2", "redis", "database", name]) => {
            service.delete(&of(name)?.name)?;
            Ok(json!("OK"))
        }
        (&Method::POST, ["v2", "redis", "rename", name]) => {
            Ok(shared.describe(&service.rename(&of(name)?.name, &field("name")?)?, false))
        }
        (&Method::POST, ["v2", "redis", "reset-password", name]) => {
            Ok(shared.describe(&service.rotate_tokens(&of(name)?.name)?, true))
        }
        _ => Err(Refusal(StatusCode::NOT_FOUND, format!("there is nothing at {} {}", parts.method, parts.uri.path()))),
    }
}

/// A database by its UUID or its name.
fn find(service: &Service, name: &str) -> Result<Listing, Refusal> {
    match service.named(name) {
        Err(Error::NoSuchDatabase(_)) => {}
        found => return Ok(found?),
    }
    for (_, id) in service.names()? {
        if let Some(listing) = service.listing(id)?.filter(|listing| listing.uuid == name) {
            return Ok(listing);
        }
    }
    Err(Error::NoSuchDatabase(name.to_owned()).into())
}

impl Shared {
    fn describe(&self, listing: &Listing, with_secrets: bool) -> Value {
        let mut shown = json!({
            "database_id": listing.uuid,
            "database_name": listing.name,
            "creation_time": listing.created_ms / 1_000,
            "state": if self.service.is_awake(listing.id) { "active" } else { "passive" },
            "endpoint": self.http.to_string(),
            "tls": self.tls,
            "resp_endpoint": self.resp.map(|address| address.to_string()),
        });
        if with_secrets {
            shown["password"] = json!(listing.credentials.token);
            shown["rest_token"] = json!(listing.credentials.token);
            shown["read_only_rest_token"] = json!(listing.credentials.read_only_token);
        }
        shown
    }
}
