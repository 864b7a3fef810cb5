//! A server inside the test's process, on one worker: for what depends on its patience, its limits, or on sharing a core.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use dormouse_database::{Options, Service};
use dormouse_engine::{Facts, Limits};
use dormouse_storage::Durability;
use tokio::sync::watch;

use crate::clock;
use crate::patience::Patience;
use crate::perform::Shared;
use crate::worker::{self, CONNECTIONS_MAX, Listeners, bind};

/// The token that opens everything.
pub(crate) const TOKEN: &str = "token-that-opens-everything";
/// How long anything may take.
const TEST_PATIENCE: Duration = Duration::from_secs(30);

/// A service in a directory of its own, which goes with the first part.
pub(crate) fn service(limits: Limits) -> (tempfile::TempDir, Arc<Service>) {
    let dir = tempfile::tempdir().unwrap();
    let options = Options {
        dir: dir.path().join("data"),
        durability: Durability::None,
        memory_bytes_max: 1 << 30,
        // All services of a process order their keys by one seed.
        entropy: |bytes| bytes.iter_mut().enumerate().for_each(|(at, byte)| *byte = (at * 37) as u8),
        token: Some(TOKEN.to_owned()),
        read_only_token: None,
        limits,
        facts: Facts::default(),
    };
    let service = Service::open(&options, Service::lock(&options.dir).unwrap(), clock::moment()).unwrap();
    (dir, Arc::new(service))
}

/// See the module's text.
pub(crate) struct Inside {
    pub(crate) http: SocketAddr,
    pub(crate) resp: SocketAddr,
    pub(crate) shared: Arc<Shared>,
    stop: watch::Sender<bool>,
    worker: Option<JoinHandle<anyhow::Result<()>>>,
    _dir: tempfile::TempDir,
}

impl Inside {
    pub(crate) fn start(patience: Patience, limits: Limits) -> Self {
        Self::with_room(CONNECTIONS_MAX, patience, limits)
    }

    /// With room for so many connections.
    pub(crate) fn with_room(connections_max: usize, patience: Patience, limits: Limits) -> Self {
        let (dir, service) = service(limits);
        let shared = Arc::new(Shared {
            service,
            resp_open: false,
            block_over_rest: false,
            patience,
            connections: AtomicUsize::new(0),
            connections_max,
            tls: None,
        });
        let free = "127.0.0.1:0".parse().unwrap();
        let (http, resp) = (bind(free).unwrap(), bind(free).unwrap());
        let (http_address, resp_address) = (http.local_addr().unwrap(), resp.local_addr().unwrap());
        let (stop, stopping) = watch::channel(false);
        let theirs = Arc::clone(&shared);
        let run = move || worker::run(theirs, Listeners { http, resp: Some(resp) }, stopping);
        let worker = Some(std::thread::spawn(run));
        Self { http: http_address, resp: resp_address, shared, stop, worker, _dir: dir }
    }

    /// An HTTP connection.
    pub(crate) fn http(&self) -> Line {
        Line::connect(self.http)
    }

    /// An authenticated RESP connection.
    pub(crate) fn resp(&self) -> Line {
        let mut line = Line::connect(self.resp);
        assert_eq!(line.say(&format!("AUTH {TOKEN}")), "+OK\r\n");
        line
    }

    /// Connections that are open.
    pub(crate) fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Acquire)
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        let ended = self.worker.take().map(JoinHandle::join);
        assert!(std::thread::panicking() || matches!(ended, Some(Ok(Ok(())))), "the worker has failed");
    }
}

/// A client that sends and reads bytes.
pub(crate) struct Line(pub(crate) TcpStream);

impl Line {
    pub(crate) fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).unwrap();
        stream.set_nodelay(true).unwrap();
        stream.set_read_timeout(Some(TEST_PATIENCE)).unwrap();
        Self(stream)
    }

    pub(crate) fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.0.write_all(bytes.as_ref()).unwrap();
    }

    /// What comes until it ends like this.
    pub(crate) fn until(&mut self, end: &str) -> String {
        let mut all = Vec::new();
        let mut some = [0; 4096];
        while !all.ends_with(end.as_bytes()) {
            let read = self.0.read(&mut some).unwrap();
            assert!(read > 0, "it ended after {:?}", String::from_utf8_lossy(&all));
            all.extend_from_slice(&some[..read]);
        }
        String::from_utf8(all).unwrap()
    }

    /// Says an inline command whose reply is one line.
    pub(crate) fn say(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n"));
        self.until("\r\n")
    }

    /// Posts to the REST door; the body of the answer, which must be JSON that ends like this.
    pub(crate) fn post(&mut self, path: &str, body: &str, end: &str) -> String {
        let length = body.len();
        self.send(format!(
            "POST {path} HTTP/1.1\r\nHost: h\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: {length}\r\n\r\n{body}"
        ));
        let answer = self.until(end);
        answer.split_once("\r\n\r\n").unwrap().1.to_owned()
    }

    /// Waits for the server to hang up; how long that took.
    pub(crate) fn closed(&mut self) -> Duration {
        let since = Instant::now();
        let mut some = [0; 4096];
        while !matches!(self.0.read(&mut some), Ok(0)) {
            assert!(since.elapsed() < TEST_PATIENCE, "it does not hang up");
        }
        since.elapsed()
    }
}

/// Waits until something is so.
pub(crate) fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let since = Instant::now();
    while !is_so() {
        assert!(since.elapsed() < TEST_PATIENCE, "not in time: {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}
