//! A server within somebody else's process: what tests of applications, and of clients, start.
//!
//! It is the whole server (doors, log, checkpoints) without what belongs to the process: no signals, no command line, no
//! output, no file of credentials, no admin socket, and no umask. So several fit into one process, each with its own data.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use dormouse_database::Service;
use dormouse_storage::Durability;
use tokio::sync::Notify;

use crate::config::{Config, Listen};
use crate::running::Running;
use crate::{Doors, clock, options, welcome};

/// Why a server could not start or stop.
pub type Error = Box<dyn std::error::Error + Send + Sync>;

/// Memory for the data of an embedded server.
const MEMORY_BYTES_MAX: u64 = 1 << 30;
/// Bytes of log between its checkpoints.
const CHECKPOINT_BYTES: u64 = 64 << 20;
/// How long its databases go unused before they leave memory.
const SLEEP_AFTER: Duration = Duration::from_mins(5);

/// What an embedded server is to be like.
#[derive(Clone)]
pub struct Settings {
    data: PathBuf,
    workers: usize,
    token: Option<String>,
    durable: bool,
    http: SocketAddr,
    resp: Option<SocketAddr>,
}

impl Settings {
    /// Data in this directory, REST and RESP on free ports of the loopback address, one worker, generated tokens, and
    /// writes that are on disk when the operating system likes.
    pub fn new(data: impl Into<PathBuf>) -> Self {
        let free = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        Self { data: data.into(), workers: 1, token: None, durable: false, http: free, resp: Some(free) }
    }

    /// The token of the default database: at least 8 printable characters.
    #[must_use]
    pub fn token(mut self, token: impl Into<String>) -> Self {
        self.token = Some(token.into());
        self
    }

    /// How many threads serve; at least one does.
    #[must_use]
    pub const fn workers(mut self, workers: usize) -> Self {
        self.workers = workers;
        self
    }

    /// Whether a write is on disk before it is answered.
    #[must_use]
    pub const fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Where REST listens; port 0 takes a free one.
    #[must_use]
    pub const fn http(mut self, address: SocketAddr) -> Self {
        self.http = address;
        self
    }

    /// Where RESP listens, if at all; port 0 takes a free one.
    #[must_use]
    pub const fn resp(mut self, address: Option<SocketAddr>) -> Self {
        self.resp = address;
        self
    }

    fn config(&self) -> Config {
        let listen = |address| Listen { address, chosen: true };
        Config {
            data: self.data.clone(),
            http: listen(self.http),
            resp: self.resp.map(listen),
            resp_open: false,
            block_over_rest: false,
            debug_command: false,
            token: self.token.clone(),
            read_only_token: None,
            memory_bytes_max: MEMORY_BYTES_MAX,
            sleep_after: SLEEP_AFTER,
            idle_exit: None,
            backups: None,
            durability: if self.durable { Durability::Always } else { Durability::None },
            checkpoint_bytes: CHECKPOINT_BYTES,
            tls: None,
        }
    }
}

impl fmt::Debug for Settings {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Settings").field("data", &self.data).field("workers", &self.workers).finish_non_exhaustive()
    }
}

/// A running server. Dropping it stops it, too, but cannot say whether that went well.
pub struct Server {
    running: Option<Running>,
    http: SocketAddr,
    resp: Option<SocketAddr>,
    token: String,
    read_only_token: String,
}

impl Server {
    /// Starts one. It answers when this returns.
    ///
    /// ```
    /// # fn main() -> Result<(), dormouse_server::Error> {
    /// let data = tempfile::tempdir()?;
    /// let server = dormouse_server::Server::start(&dormouse_server::Settings::new(data.path()))?;
    /// assert!(server.url().starts_with("http://127.0.0.1:"));
    /// server.shutdown()?;
    /// # Ok(()) }
    /// ```
    pub fn start(settings: &Settings) -> Result<Self, Error> {
        let config = settings.config();
        let workers = settings.workers.max(1);
        let http = Doors::open(config.http, workers)?;
        let resp = config.resp.map(|listen| Doors::open(listen, workers)).transpose()?;
        welcome::make_private(&config.data)?;
        let lock = Service::lock(&config.data)?;
        let service = Arc::new(Service::open(&options(&config, resp.as_ref()), lock, clock::moment())?);
        let credentials = service.default_credentials();
        let (token, read_only_token) = (credentials.token.clone(), credentials.read_only_token.clone());
        let (http_address, resp_address) = (http.address, resp.as_ref().map(|doors| doors.address));
        let running = Running::start(&config, &service, (http, resp), None, &Arc::new(Notify::new()))?;
        Ok(Self { running: Some(running), http: http_address, resp: resp_address, token, read_only_token })
    }

    /// Where REST is.
    pub fn url(&self) -> String {
        format!("http://{}", self.http)
    }

    /// Where RESP is, if anywhere.
    pub const fn resp_address(&self) -> Option<SocketAddr> {
        self.resp
    }

    /// The token that opens everything; over RESP the password of the user `default`.
    pub fn token(&self) -> &str {
        &self.token
    }

    /// The token that reads.
    pub fn read_only_token(&self) -> &str {
        &self.read_only_token
    }

    /// Lets requests that are under way finish, and writes the last checkpoint.
    pub fn shutdown(mut self) -> Result<(), Error> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), Error> {
        self.running.take().map_or(Ok(()), |running| running.stop(|| {}).map_err(Error::from))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Err(error) = self.stop() {
            tracing::error!("an embedded server did not stop well: {error:#}");
        }
    }
}

impl fmt::Debug for Server {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Server").field("http", &self.http).field("resp", &self.resp).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Line;

    #[test]
    fn two_servers_share_a_process_and_nothing_else() {
        let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
        let start =
            |dir: &tempfile::TempDir| Server::start(&Settings::new(dir.path()).token("a-token-of-mine")).unwrap();
        let [first, second] = dirs.each_ref().map(start);
        for (server, value) in [(&first, "1"), (&second, "2")] {
            let mut line = Line::connect(server.resp_address().unwrap());
            assert_eq!(line.say("AUTH a-token-of-mine"), "+OK\r\n");
            assert_eq!(line.say("GET k"), "$-1\r\n");
            assert_eq!(line.say(&format!("SET k {value}")), "+OK\r\n");
        }
        first.shutdown().unwrap();
        drop(second);
        let again = start(&dirs[0]);
        let mut line = Line::connect(again.resp_address().unwrap());
        assert_eq!(line.say("AUTH a-token-of-mine"), "+OK\r\n");
        line.send("GET k\r\n");
        assert_eq!(line.until("1\r\n"), "$1\r\n1\r\n");
    }
}
