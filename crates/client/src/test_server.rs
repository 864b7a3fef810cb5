//! A Dormouse within the process, for tests: real HTTP, real commands, nothing to install.
//!
//! Its data is in a directory of its own, which goes with it. A dozen may run at once.

use std::fmt;
use std::net::SocketAddr;

use crate::client::Client;
use crate::error::{Error, Result};

/// A running server. It stops when it is dropped.
///
/// ```
/// use dormouse_client::TestServer;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), dormouse_client::Error> {
/// let server = TestServer::start()?;
/// let client = server.client();
/// client.set("greeting", "hello").await?;
/// assert_eq!(client.get::<String>("greeting").await?.as_deref(), Some("hello"));
/// # Ok(()) }
/// ```
pub struct TestServer {
    server: dormouse_server::Server,
    _data: tempfile::TempDir,
}

impl TestServer {
    /// Starts one on free ports of the loopback address. It answers when this returns.
    pub fn start() -> Result<Self> {
        let failed = |error: &dyn fmt::Display| Error::Configuration(format!("no test server: {error}").into());
        let data = tempfile::tempdir().map_err(|error| failed(&error))?;
        let settings = dormouse_server::Settings::new(data.path());
        let server = dormouse_server::Server::start(&settings).map_err(|error| failed(&error))?;
        Ok(Self { server, _data: data })
    }

    /// Its REST URL.
    ///
    /// ```
    /// # fn main() -> Result<(), dormouse_client::Error> {
    /// let server = dormouse_client::TestServer::start()?;
    /// assert!(server.url().starts_with("http://127.0.0.1:"));
    /// # Ok(()) }
    /// ```
    pub fn url(&self) -> String {
        self.server.url()
    }

    /// The token that opens everything; over RESP the password of the user `default`.
    pub fn token(&self) -> &str {
        self.server.token()
    }

    /// The token that reads.
    ///
    /// ```
    /// # fn main() -> Result<(), dormouse_client::Error> {
    /// let server = dormouse_client::TestServer::start()?;
    /// assert_ne!(server.token(), server.read_only_token());
    /// # Ok(()) }
    /// ```
    pub fn read_only_token(&self) -> &str {
        self.server.read_only_token()
    }

    /// Where it speaks RESP, for other clients.
    pub const fn resp_address(&self) -> Option<SocketAddr> {
        self.server.resp_address()
    }

    /// A client for it.
    pub fn client(&self) -> Client {
        Client::new(self.url(), self.token()).expect("the server's own address and token are well formed")
    }
}

impl fmt::Debug for TestServer {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("TestServer").field("url", &self.url()).finish_non_exhaustive()
    }
}

/// Runs an example of the documentation against a server of its own.
///
/// # Panics
/// If the example fails.
#[doc(hidden)]
pub fn example(run: impl AsyncFnOnce(Client) -> Result<(), Box<dyn std::error::Error>>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime can be made");
    let server = TestServer::start().expect("a server can be started");
    let outcome = runtime.block_on(run(server.client()));
    // Connections end with the runtime; the server would wait for them.
    drop(runtime);
    if let Err(error) = outcome {
        panic!("the example failed: {error:?}");
    }
}
