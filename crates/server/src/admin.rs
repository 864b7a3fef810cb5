//! The admin socket: databases made, listed, renamed and deleted while the server runs.
//!
//! A Unix socket in the data directory, for the user the server runs as and nobody else: whoever may open it may read the
//! data anyway, so it asks for no password. It speaks HTTP and JSON with the paths of Upstash's Developer API, as far as they
//! have a meaning here; a database is named by its UUID or its name. It has a thread of its own, because it waits for the
//! disk.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::UnixListener as StdListener;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context;
use bytes::Bytes;
use dormouse_database::{Error, Listing, Service};
use http::{Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::UnixListener;
use tokio::sync::watch;
use tokio::time::timeout;

use crate::clock::moment;

/// The socket's name within the data directory.
const NAME: &str = "admin.sock";
/// Longest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
/// How long a request may take: the next one waits for it.
const REQUEST_PATIENCE: Duration = Duration::from_secs(30);

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
}

impl Admin {
    /// Starts to listen. The caller holds the data directory, so a socket that is there is a dead process's.
    pub(crate) fn start(
        path: PathBuf,
        service: &Arc<Service>,
        (http, resp): (SocketAddr, Option<SocketAddr>),
        stopping: watch::Receiver<bool>,
    ) -> anyhow::Result<Self> {
        if std::fs::symlink_metadata(&path).is_ok_and(|found| found.file_type().is_socket()) {
            std::fs::remove_file(&path).with_context(|| format!("cannot remove {}", path.display()))?;
        }
        let listener = StdListener::bind(&path).with_context(|| format!("cannot listen on {}", path.display()))?;
        listener.set_nonblocking(true)?;
        let shared = Arc::new(Shared { service: Arc::clone(service), http, resp });
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

/// One request at a time: it is for people and their scripts.
async fn serve(listener: UnixListener, shared: &Arc<Shared>, mut stopping: watch::Receiver<bool>) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let Ok((stream, _)) = accepted.inspect_err(|error| tracing::warn!(%error, "the admin socket")) else { continue };
        let service = service_fn(|request| async { Ok::<_, Infallible>(answer(shared, request).await) });
        let connection = http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), service);
        tokio::select! {
            ended = timeout(REQUEST_PATIENCE, connection) => {
                if !matches!(ended, Ok(Ok(()))) {
                    tracing::debug!("a connection to the admin socket failed");
                }
            }
            _ = stopping.wait_for(|stop| *stop) => return,
        }
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

async fn answer(shared: &Shared, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (status, body) = match route(shared, request).await {
        Ok(body) => (StatusCode::OK, body),
        Err(Refusal(status, error)) => (status, json!({ "error": error })),
    };
    let mut response = Response::new(Full::new(Bytes::from(body.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static("application/json"));
    response
}

async fn route(shared: &Shared, request: Request<Incoming>) -> Result<Value, Refusal> {
    let (parts, body) = request.into_parts();
    let body = Limited::new(body, BODY_BYTES_MAX).collect().await;
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
