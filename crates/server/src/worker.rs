//! Workers: one thread per core, each with its own listeners, its own tasks and its own gate to the log.
//!
//! A connection stays on the core that accepted it, so a command is read, run and answered without a hop between threads.
//! The kernel spreads connections over the listeners (`SO_REUSEPORT`).

use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Context;
use socket2::{Domain, Protocol, SockRef, Socket, TcpKeepalive, Type};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::LocalSet;
use tokio_rustls::TlsAcceptor;

use crate::durable::Gate;
use crate::perform::Shared;
use crate::tls::{self, Stream};
use crate::{http, resp};

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;
/// Connections of both doors together.
pub(crate) const CONNECTIONS_MAX: usize = 20_000;
/// How long connections may take to finish what they are doing when the process stops.
const DRAIN: Duration = Duration::from_secs(5);
/// Silence after which TCP asks whether the client is still there, how often it asks, and how many answers may be missing:
/// a client whose network is gone is forgotten within ten minutes.
const KEEPALIVE_AFTER: Duration = Duration::from_mins(5);
const KEEPALIVE_EVERY: Duration = Duration::from_secs(100);
const KEEPALIVE_MISSING_MAX: u32 = 3;
/// Pause after a failed accept, which usually means that there are no file descriptors left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// What the tasks of one worker share.
pub(crate) struct Worker {
    pub(crate) shared: Arc<Shared>,
    pub(crate) gate: Rc<Gate>,
    pub(crate) stopping: watch::Receiver<bool>,
}

/// Opens a listener that others may open again for the same address.
pub(crate) fn bind(address: SocketAddr) -> std::io::Result<std::net::TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

/// Whether somebody else listens on an address. With `SO_REUSEPORT` a bind of ours would succeed beside another Dormouse.
pub(crate) fn is_taken(address: SocketAddr) -> bool {
    if address.port() == 0 {
        return false;
    }
    let attempt = || -> std::io::Result<()> {
        let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_reuse_address(true)?;
        socket.bind(&address.into())?;
        socket.listen(1)
    };
    attempt().is_err()
}

/// The listeners of one worker.
pub(crate) struct Listeners {
    pub(crate) http: std::net::TcpListener,
    pub(crate) resp: Option<std::net::TcpListener>,
}

/// Runs one worker until the process stops.
pub(crate) fn run(shared: Arc<Shared>, listeners: Listeners, stopping: watch::Receiver<bool>) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .max_blocking_threads(16)
        .build()
        .context("a worker could not start")?;
    let local = LocalSet::new();
    local.block_on(&runtime, async move {
        let gate = Gate::open(shared.service.log());
        let worker = Rc::new(Worker { shared, gate, stopping: stopping.clone() });
        let http = TcpListener::from_std(listeners.http)?;
        let resp = listeners.resp.map(TcpListener::from_std).transpose()?;
        let tls = worker.shared.tls.as_deref();
        let speaks = (http::NO_ROOM, http::NOT_PLAINLY, tls.map(|tls| tls.http().clone()));
        tokio::task::spawn_local(accept(http, Rc::clone(&worker), speaks, http::serve));
        if let Some(resp) = resp {
            let speaks = (resp::NO_ROOM, resp::NOT_PLAINLY, tls.map(|tls| tls.resp().clone()));
            tokio::task::spawn_local(accept(resp, Rc::clone(&worker), speaks, resp::serve));
        }
        let mut stopping = stopping;
        let _ = stopping.wait_for(|stop| *stop).await;
        let drained = async {
            while worker.shared.connections.load(Ordering::Acquire) > 0 {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(DRAIN, drained).await.is_err() {
            tracing::warn!("some connections were still busy and have been cut");
        }
        anyhow::Ok(())
    })
}

async fn accept<F>(
    listener: TcpListener,
    worker: Rc<Worker>,
    (no_room, not_plainly, tls): (&'static str, &'static str, Option<TlsAcceptor>),
    serve: fn(Rc<Worker>, Stream, SocketAddr) -> F,
) where
    F: Future<Output = ()> + 'static,
{
    let mut stopping = worker.stopping.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stopping.wait_for(|stop| *stop) => return,
        };
        let (stream, address) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        let connections = &worker.shared.connections;
        if connections.fetch_add(1, Ordering::AcqRel) >= worker.shared.connections_max {
            connections.fetch_sub(1, Ordering::AcqRel);
            refuse(&stream, if tls.is_some() { "" } else { no_room });
            continue;
        }
        // Replies are whole when they are written; waiting to fill a packet only delays them.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "no TCP_NODELAY");
        }
        let keepalive = TcpKeepalive::new()
            .with_time(KEEPALIVE_AFTER)
            .with_interval(KEEPALIVE_EVERY)
            .with_retries(KEEPALIVE_MISSING_MAX);
        if let Err(error) = SockRef::from(&stream).set_tcp_keepalive(&keepalive) {
            tracing::debug!(%error, "no SO_KEEPALIVE");
        }
        let (worker, tls) = (Rc::clone(&worker), tls.clone());
        tokio::task::spawn_local(async move {
            let _guard = Connected(Arc::clone(&worker.shared));
            let patience = worker.shared.patience.handshake;
            if let Some(stream) = tls::welcome(stream, tls.as_ref(), patience, not_plainly).await {
                serve(worker, stream, address).await;
            }
        });
    }
}

/// Counts a connection for as long as it lives, even if its task panics.
struct Connected(Arc<Shared>);

impl Drop for Connected {
    fn drop(&mut self) {
        self.0.connections.fetch_sub(1, Ordering::AcqRel);
    }
}

/// Tells a client that there is no room.
fn refuse(stream: &TcpStream, answer: &str) {
    tracing::warn!("too many connections: one was refused");
    let _ = stream.try_write(answer.as_bytes());
}

#[cfg(test)]
mod tests {
    use dormouse_engine::Limits;

    use crate::patience::Patience;
    use crate::testing::{Inside, Line, eventually};

    #[test]
    fn connections_beyond_the_limit_are_told_so_and_others_stay() {
        let server = Inside::with_room(2, Patience::default(), Limits::default());
        let (mut resp, http) = (server.resp(), server.http());
        eventually("both are there", || server.connections() == 2);
        let mut refused = Line::connect(server.resp);
        assert_eq!(refused.until("\r\n"), "-ERR max concurrent connections exceeded\r\n");
        refused.closed();
        let mut refused = Line::connect(server.http);
        let answer = refused.until("}\r\n");
        assert!(answer.starts_with("HTTP/1.1 503 ") && answer.contains("max concurrent connections"), "{answer}");
        refused.closed();
        assert_eq!(resp.say("PING"), "+PONG\r\n");
        drop(http);
        eventually("there is room", || server.connections() == 1);
        assert_eq!(server.resp().say("PING"), "+PONG\r\n");
    }
}
