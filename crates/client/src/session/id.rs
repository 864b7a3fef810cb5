//! Ids of sessions: 256 random bits that only their owner knows, and the hash under which a session is stored.
//!
//! An id is a password: it is never logged, never stored, and never taken from a client unless the store knows it.

use std::fmt;
use std::fmt::Write as _;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::rt;

/// The secret that a client shows: 43 characters that fit into a cookie.
///
/// ```
/// use dormouse_client::session::SessionId;
///
/// let id = SessionId::random();
/// assert_eq!(id.secret().len(), 43);
/// assert_eq!(SessionId::read(&id.secret()), Some(id.clone()));
/// assert_eq!(SessionId::read("guess"), None);
/// assert_eq!(format!("{id:?}"), "SessionId(…)");
/// ```
#[derive(Clone)]
pub struct SessionId([u8; 32]);

impl SessionId {
    /// A new one, of the operating system's randomness.
    pub fn random() -> Self {
        let mut bytes = [0; 32];
        for eight in bytes.chunks_exact_mut(8) {
            eight.copy_from_slice(&rt::random_u64().to_le_bytes());
        }
        Self(bytes)
    }

    /// What a client has sent, if it is an id at all. Whether there is such a session the store knows alone.
    pub fn read(text: &str) -> Option<Self> {
        URL_SAFE_NO_PAD.decode(text).ok()?.try_into().ok().map(Self)
    }

    /// Reads it from a `Cookie` header.
    ///
    /// ```
    /// use dormouse_client::session::SessionId;
    ///
    /// let id = SessionId::random();
    /// let header = format!("theme=dark; __Host-id={}", id.secret());
    /// assert_eq!(SessionId::from_cookies(&header), Some(id));
    /// ```
    pub fn from_cookies(header: &str) -> Option<Self> {
        header.split(';').find_map(|cookie| Self::read(cookie.trim().strip_prefix(COOKIE)?.strip_prefix('=')?))
    }

    /// A `Set-Cookie` that gives it to the client: for this host alone, over TLS, out of reach of scripts, until the browser closes.
    ///
    /// Send `Cache-Control: no-store` with it.
    ///
    /// ```
    /// let cookie = dormouse_client::session::SessionId::random().cookie();
    /// assert!(cookie.starts_with("__Host-id=") && cookie.ends_with("; Path=/; Secure; HttpOnly; SameSite=Lax"));
    /// ```
    pub fn cookie(&self) -> String {
        format!("{COOKIE}={}; Path=/; Secure; HttpOnly; SameSite=Lax", self.secret())
    }

    /// A `Set-Cookie` that takes it from the client.
    ///
    /// ```
    /// assert!(dormouse_client::session::SessionId::no_cookie().contains("Max-Age=0"));
    /// ```
    pub fn no_cookie() -> String {
        format!("{COOKIE}=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    }

    /// The id itself. Whoever has it is the user.
    pub fn secret(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The SHA-256 under which the session is stored, by which logs and lists may name it.
    ///
    /// ```
    /// let id = dormouse_client::session::SessionId::random();
    /// assert_eq!(id.handle().len(), 64);
    /// ```
    pub fn handle(&self) -> String {
        let mut handle = String::with_capacity(64);
        for byte in Sha256::digest(self.0) {
            let _ = write!(handle, "{byte:02x}");
        }
        handle
    }
}

/// The prefix makes browsers insist on `Secure`, on this very host, and on the whole site.
const COOKIE: &str = "__Host-id";

/// Takes the same time wherever they differ.
impl PartialEq for SessionId {
    fn eq(&self, other: &Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |differs, (one, two)| differs | (one ^ two)) == 0
    }
}

impl Eq for SessionId {}

impl fmt::Debug for SessionId {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("SessionId(…)")
    }
}
