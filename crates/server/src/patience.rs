//! How long the doors wait for a client that does nothing.
//!
//! Each wait is for a client's next step, never for all of its work: one that is slow but moves on is served. Commands that
//! wait for a key have timeouts of their own; an authenticated RESP connection may be silent for as long as it likes, as
//! in Redis, and TCP's keep-alive finds out whether there still is somebody.

use std::time::Duration;

/// See the module's text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    /// For the rest of an HTTP request's head, once it has begun.
    pub(crate) head: Duration,
    /// For another HTTP request on a connection. Longer than any proxy in front keeps an idle connection: the side that
    /// sends must be the one that hangs up, or it may send into a connection that is just closing.
    pub(crate) idle: Duration,
    /// For a TLS handshake.
    pub(crate) handshake: Duration,
    /// For a RESP connection to authenticate.
    pub(crate) login: Duration,
    /// For a client to read some more of what it was sent.
    pub(crate) reading: Duration,
    /// For a key that an HTTP request waits for; then it is answered that nothing came. Shorter than the minute after which
    /// proxies and serverless platforms commonly give up on a silent request.
    pub(crate) waiting: Duration,
    /// For a RESP connection to say something before the room for what it may say is given back; up to twice that.
    pub(crate) silence: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            head: Duration::from_secs(30),
            idle: Duration::from_secs(620),
            handshake: Duration::from_secs(10),
            login: Duration::from_mins(1),
            reading: Duration::from_mins(1),
            waiting: Duration::from_secs(55),
            silence: Duration::from_secs(2),
        }
    }
}
