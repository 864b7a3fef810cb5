//! What can go wrong, in kinds that a caller can act on.
//!
//! An error never shows a key, a value or a token of ours: it has the command's name, the server's own words, and the kind
//! of what was found where something else was expected. It can be cloned, since one failed request may be the answer to
//! many commands.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::StatusCode;

use crate::value::Mismatch;

/// The result of a command.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why there is no answer.
///
/// ```
/// use dormouse_client::Error;
///
/// # dormouse_client::example(async |client| {
/// client.lpush("list", "x").await?;
/// match client.incr("list").await {
///     Err(Error::Server(error)) if error.code() == "WRONGTYPE" => {}
///     other => panic!("{other:?}"),
/// }
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The server refused the command, or the command failed.
    #[error("{0}")]
    Server(ServerError),
    /// The token is missing, wrong, or may not do this at all.
    #[error("not authorised: {0}")]
    Auth(ServerError),
    /// The endpoint asks to come back later; nothing has run.
    #[error("rate limited: {message}")]
    RateLimited {
        /// The server's words.
        message: String,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// There was no answer in time; a write may have run.
    #[error("no answer within {0:?}")]
    Timeout(Duration),
    /// The request did not get through, or its answer did not get back.
    #[error("{0}")]
    Transport(#[from] TransportError),
    /// What answered is not an endpoint of this protocol, or one in trouble.
    #[error("{what} (status {})", status.as_u16())]
    Unexpected {
        /// The HTTP status.
        status: StatusCode,
        /// What is wrong with the answer; nothing of its body.
        what: Cow<'static, str>,
        /// When to come back, if it said so.
        retry_after: Option<Duration>,
    },
    /// The answer is well formed, and not what was asked for.
    #[error("{command} answered {mismatch}")]
    Decode {
        /// The command's name.
        command: Cow<'static, str>,
        /// What was expected, and what was found.
        mismatch: Mismatch,
    },
    /// The command cannot be sent.
    #[error("{command} cannot be sent: {why}")]
    Request {
        /// The command's name.
        command: Cow<'static, str>,
        /// Why not.
        why: Cow<'static, str>,
    },
    /// The client cannot be built as it was asked for.
    #[error("{0}")]
    Configuration(Cow<'static, str>),
}

impl Error {
    /// The first word of the server's error, such as `WRONGTYPE`, `NOSCRIPT` or `ERR`.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// let error = client.evalsha::<i64>("0000000000000000000000000000000000000000", (), ()).await.unwrap_err();
    /// assert_eq!(error.code(), Some("NOSCRIPT"));
    /// # Ok(()) });
    /// ```
    pub fn code(&self) -> Option<&str> {
        match self {
            Self::Server(error) | Self::Auth(error) => Some(error.code()),
            _ => None,
        }
    }

    /// Whether the same may succeed later without anybody doing anything about it. It says nothing about whether it is safe
    /// to repeat a write: see [`is_ambiguous`](Self::is_ambiguous).
    ///
    /// ```
    /// use std::time::Duration;
    /// assert!(dormouse_client::Error::Timeout(Duration::from_secs(1)).is_retryable());
    /// ```
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Server(error) => {
                error.status.is_server_error() || matches!(error.code(), "BUSY" | "LOADING" | "TRYAGAIN")
            }
            Self::RateLimited { .. } | Self::Timeout(_) | Self::Transport(_) => true,
            Self::Unexpected { status, .. } => {
                status.is_server_error() || matches!(*status, StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY)
            }
            _ => false,
        }
    }

    /// Whether the command may have run all the same. Then a write is repeated safely only with an idempotency key.
    ///
    /// ```
    /// use std::time::Duration;
    /// assert!(dormouse_client::Error::Timeout(Duration::from_secs(1)).is_ambiguous());
    /// ```
    pub fn is_ambiguous(&self) -> bool {
        match self {
            Self::Timeout(_) | Self::Decode { .. } => true,
            Self::Transport(error) => !error.is_unsent(),
            Self::Unexpected { status, .. } => status.is_server_error() || status.is_success(),
            Self::Server(error) => error.status.is_server_error(),
            _ => false,
        }
    }

    /// When the endpoint said to come back.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Error;
    ///
    /// let error = Error::RateLimited { message: "ERR slow down".into(), retry_after: Some(Duration::from_secs(2)) };
    /// assert_eq!(error.retry_after(), Some(Duration::from_secs(2)));
    /// ```
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::RateLimited { retry_after, .. } | Self::Unexpected { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// A word for logs and metrics that does not depend on the error's text.
    ///
    /// ```
    /// use std::time::Duration;
    /// assert_eq!(dormouse_client::Error::Timeout(Duration::from_secs(1)).kind(), "timeout");
    /// ```
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Server(_) => "server",
            Self::Auth(_) => "auth",
            Self::RateLimited { .. } => "rate_limited",
            Self::Timeout(_) => "timeout",
            Self::Transport(_) => "transport",
            Self::Unexpected { .. } => "unexpected",
            Self::Decode { .. } => "decode",
            Self::Request { .. } => "request",
            Self::Configuration(_) => "configuration",
        }
    }
}

/// An error that the server answered.
///
/// ```
/// # dormouse_client::example(async |client| {
/// let Err(dormouse_client::Error::Server(error)) = client.command::<()>(["GET"]).await else { panic!() };
/// assert_eq!((error.code(), error.status().as_u16()), ("ERR", 400));
/// assert!(error.message().starts_with("ERR wrong number of arguments"));
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ServerError {
    pub(crate) status: StatusCode,
    pub(crate) message: String,
}

impl ServerError {
    /// Its first word, if that is a code (in capitals), such as `WRONGTYPE`; else `ERR`.
    pub fn code(&self) -> &str {
        let word = self.message.split(' ').next().unwrap_or_default();
        let is_code = !word.is_empty() && word.bytes().all(|byte| byte.is_ascii_uppercase() || byte.is_ascii_digit());
        if is_code { word } else { "ERR" }
    }

    /// All of it, code included, as the server put it. A server may quote what it was sent.
    pub fn message(&self) -> &str {
        &self.message
    }

    /// The HTTP status it came with; an error within a pipeline comes with 200.
    pub const fn status(&self) -> StatusCode {
        self.status
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.message)
    }
}

impl std::error::Error for ServerError {}

/// A request that failed below HTTP.
#[derive(Clone, Debug)]
pub struct TransportError {
    what: Cow<'static, str>,
    unsent: bool,
    source: Option<Arc<dyn std::error::Error + Send + Sync>>,
}

impl TransportError {
    /// Something went wrong once the request may have been on its way.
    ///
    /// ```
    /// let error = dormouse_client::transport::TransportError::new("the connection was reset");
    /// assert!(!error.is_unsent());
    /// ```
    pub fn new(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), unsent: false, source: None }
    }

    /// Nothing of the request was sent, for certain.
    ///
    /// ```
    /// assert!(dormouse_client::transport::TransportError::unsent("connection refused").is_unsent());
    /// ```
    pub fn unsent(what: impl Into<Cow<'static, str>>) -> Self {
        Self { what: what.into(), unsent: true, source: None }
    }

    /// With what was behind it.
    ///
    /// ```
    /// use dormouse_client::transport::TransportError;
    ///
    /// let error = TransportError::new("it broke").because(std::io::Error::other("reset"));
    /// assert_eq!(error.to_string(), "it broke: reset");
    /// ```
    #[must_use]
    pub fn because(mut self, source: impl std::error::Error + Send + Sync + 'static) -> Self {
        self.source = Some(Arc::new(source));
        self
    }

    /// Whether nothing was sent, so that even a write may be tried again.
    pub const fn is_unsent(&self) -> bool {
        self.unsent
    }
}

impl fmt::Display for TransportError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&self.what)?;
        // The whole story, as many report an error without its sources.
        let mut source = std::error::Error::source(self);
        while let Some(error) = source {
            write!(out, ": {error}")?;
            source = error.source();
        }
        Ok(())
    }
}

impl std::error::Error for TransportError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_ref().map(|error| error.as_ref() as &(dyn std::error::Error + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_words_in_capitals() {
        for (message, code) in [
            ("WRONGTYPE Operation against", "WRONGTYPE"),
            ("ERR no such key", "ERR"),
            ("Unauthorized", "ERR"),
            ("", "ERR"),
            ("NOSCRIPT", "NOSCRIPT"),
        ] {
            assert_eq!(ServerError { status: StatusCode::BAD_REQUEST, message: message.to_owned() }.code(), code);
        }
    }

    #[test]
    fn what_is_unsent_is_not_ambiguous() {
        let unsent = Error::from(TransportError::unsent("refused"));
        assert!(unsent.is_retryable() && !unsent.is_ambiguous());
        let reset = Error::from(TransportError::new("reset").because(std::io::Error::other("by peer")));
        assert!(reset.is_retryable() && reset.is_ambiguous());
        assert_eq!(reset.to_string(), "reset: by peer");
    }
}
