//! What a client can be told: where the endpoint is, who one is, and how long to wait.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue, USER_AGENT};

use crate::client::{Client, Endpoint, Inner};
use crate::error::{Error, Result};
use crate::retry::{Budget, Retry};
use crate::transport::Transport;
use crate::wire::Strings;

/// How long a call may take, retries included, unless told otherwise.
const TIMEOUT_DEFAULT: Duration = Duration::from_secs(10);
/// How long a connection may take to be made, unless told otherwise.
#[cfg(all(feature = "reqwest", not(target_family = "wasm")))]
const CONNECT_TIMEOUT_DEFAULT: Duration = Duration::from_secs(3);
/// Longest answer that is taken, unless told otherwise.
const ANSWER_BYTES_MAX_DEFAULT: usize = 256 << 20;

/// Pairs of variables that name an endpoint and its token, the first found first.
pub(crate) const VARIABLES: [(&str, &str); 3] = [
    ("DORMOUSE_URL", "DORMOUSE_TOKEN"),
    ("UPSTASH_REDIS_REST_URL", "UPSTASH_REDIS_REST_TOKEN"),
    ("KV_REST_API_URL", "KV_REST_API_TOKEN"),
];

/// Makes a [`Client`].
///
/// ```
/// use std::time::Duration;
/// use dormouse_client::{Client, Retry};
///
/// # fn main() -> Result<(), dormouse_client::Error> {
/// let client = Client::builder("https://eu1-example.upstash.io", "token")
///     .timeout(Duration::from_secs(2))
///     .retry(Retry::default().attempts(2))
///     .header("x-tenant", "shop")
///     .build()?;
/// # drop(client); Ok(()) }
/// ```
#[must_use = "it makes a client when it is built"]
pub struct Builder {
    url: String,
    token: String,
    timeout: Duration,
    attempt_timeout: Option<Duration>,
    retry: Retry,
    read_your_writes: bool,
    idempotent_writes: bool,
    strings: Strings,
    answer_bytes_max: usize,
    headers: Vec<(Cow<'static, str>, Cow<'static, str>)>,
    transport: Option<Arc<dyn Transport>>,
    #[cfg(feature = "reqwest")]
    settings: crate::transport::Settings,
}

impl Builder {
    pub(crate) fn new(url: String, token: String) -> Self {
        Self {
            url,
            token,
            timeout: TIMEOUT_DEFAULT,
            attempt_timeout: None,
            retry: Retry::default(),
            read_your_writes: true,
            idempotent_writes: false,
            strings: Strings::Base64,
            answer_bytes_max: ANSWER_BYTES_MAX_DEFAULT,
            headers: Vec::new(),
            transport: None,
            #[cfg(feature = "reqwest")]
            settings: crate::transport::Settings::default(),
        }
    }

    /// From variables of the environment: see [`Client::from_env`].
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use dormouse_client::Builder;
    ///
    /// let client = Builder::from_env()?.timeout(Duration::from_secs(2)).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn from_env() -> Result<Self> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    pub(crate) fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Self> {
        let given = |name| variable(name).filter(|value| !value.trim().is_empty());
        for (url, token) in VARIABLES {
            let missing = match (given(url), given(token)) {
                (Some(url), Some(token)) => return Ok(Self::new(url.trim().to_owned(), token.trim().to_owned())),
                (None, None) => continue,
                (Some(_), None) => token,
                (None, Some(_)) => url,
            };
            // Half a pair is a mistake; to take another pair would hide it.
            return Err(Error::Configuration(format!("{missing} is not set, though its counterpart is").into()));
        }
        let names = VARIABLES.map(|(url, token)| format!("{url} and {token}")).join(", or ");
        Err(Error::Configuration(format!("no endpoint: set {names}").into()))
    }

    /// How long a call may take as a whole, retries included; 10 seconds by default. A command can have
    /// [its own](crate::Command::timeout).
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").timeout(Duration::from_secs(2)).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How long one attempt may take, so that there is time for another; not bounded by default.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token")
    ///     .timeout(Duration::from_secs(3))
    ///     .attempt_timeout(Duration::from_secs(1))
    ///     .build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn attempt_timeout(mut self, timeout: Duration) -> Self {
        self.attempt_timeout = Some(timeout);
        self
    }

    /// How long a connection may take to be made, 3 seconds by default. It has no effect on a transport of one's own.
    ///
    /// ```
    /// use std::time::Duration;
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").connect_timeout(Duration::from_secs(1)).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    #[cfg(feature = "reqwest")]
    pub const fn connect_timeout(mut self, timeout: Duration) -> Self {
        self.settings.connect_timeout = Some(timeout);
        self
    }

    /// A certificate authority to trust besides the system's, in PEM. It has no effect on a transport of one's own.
    ///
    /// ```no_run
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let client = dormouse_client::Client::builder("https://redis.internal", "token")
    ///     .root_certificate(std::fs::read("ca.pem")?)
    ///     .build()?;
    /// # drop(client); Ok(()) }
    /// ```
    #[cfg(feature = "reqwest")]
    pub fn root_certificate(mut self, pem: impl Into<Vec<u8>>) -> Self {
        self.settings.root_certificates.push(pem.into());
        self
    }

    /// When and how often requests are repeated. Reads are, and writes only if nothing can have run, or under an
    /// idempotency key.
    ///
    /// ```
    /// use dormouse_client::{Client, Retry};
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").retry(Retry::never()).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn retry(mut self, retry: Retry) -> Self {
        self.retry = retry;
        self
    }

    /// Whether reads see this client's own writes even where replicas answer them; on by default. The endpoint's last
    /// `Upstash-Sync-Token` is sent back to it.
    ///
    /// ```
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").read_your_writes(false).build()?;
    /// assert_eq!(client.sync_token(), None);
    /// # Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn read_your_writes(mut self, on: bool) -> Self {
        self.read_your_writes = on;
        self
    }

    /// Whether every write has an idempotency key, and so is repeated when its answer was lost; off by default.
    ///
    /// **Only for Dormouse**, which runs a request once per key and gives the same answer again. Upstash ignores the key: a
    /// repeated `INCR` would count twice there. Each key takes room in the database for a day.
    ///
    /// ```
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").idempotent_writes(true).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn idempotent_writes(mut self, on: bool) -> Self {
        self.idempotent_writes = on;
        self
    }

    /// Asks for replies in plain text instead of base64, for endpoints that do not know the latter. Bytes that are not UTF-8
    /// are lost.
    ///
    /// ```
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").text_replies(true).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn text_replies(mut self, on: bool) -> Self {
        self.strings = if on { Strings::Text } else { Strings::Base64 };
        self
    }

    /// Longest answer that is taken, in bytes of JSON; 256 MiB by default.
    ///
    /// ```
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").answer_bytes_max(1 << 20).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub const fn answer_bytes_max(mut self, bytes: usize) -> Self {
        self.answer_bytes_max = bytes;
        self
    }

    /// A header of every request. It does not replace those of the protocol.
    ///
    /// ```
    /// use dormouse_client::Client;
    ///
    /// let client = Client::builder("http://127.0.0.1:8079", "token").header("x-tenant", "shop").build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn header(mut self, name: impl Into<Cow<'static, str>>, value: impl Into<Cow<'static, str>>) -> Self {
        self.headers.push((name.into(), value.into()));
        self
    }

    /// How requests are sent, in place of reqwest.
    ///
    /// ```
    /// use dormouse_client::transport::TransportError;
    /// use dormouse_client::Client;
    ///
    /// let nowhere = |_: http::Request<bytes::Bytes>| async { Err(TransportError::unsent("there is no network")) };
    /// let client = Client::builder("http://127.0.0.1:8079", "token").transport(nowhere).build()?;
    /// # drop(client); Ok::<(), dormouse_client::Error>(())
    /// ```
    pub fn transport(mut self, transport: impl Transport) -> Self {
        self.transport = Some(Arc::new(transport));
        self
    }

    /// The client. Nothing is sent before it is used.
    ///
    /// ```
    /// let error = dormouse_client::Client::builder("rediss://host:6379", "token").build().unwrap_err();
    /// assert!(error.to_string().contains("must begin with https:// or http://"));
    /// ```
    pub fn build(self) -> Result<Client> {
        let endpoint = endpoint(&self.url)?;
        let mut headers = HeaderMap::new();
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("dormouse-client/", env!("CARGO_PKG_VERSION"))));
        for (name, value) in &self.headers {
            let wrong = || Error::Configuration("a header cannot be sent".into());
            let name = HeaderName::try_from(&**name).map_err(|_| wrong())?;
            headers.append(name, HeaderValue::try_from(&**value).map_err(|_| wrong())?);
        }
        headers.insert(AUTHORIZATION, bearer(&self.token)?);
        let (timeout, attempt_timeout, retry) = (self.timeout, self.attempt_timeout, self.retry);
        let (idempotent_writes, strings, answer_bytes_max) =
            (self.idempotent_writes, self.strings, self.answer_bytes_max);
        let read_your_writes = self.read_your_writes;
        let transport = self.into_transport()?;
        Ok(Client::of(Inner {
            endpoint,
            headers,
            transport,
            timeout,
            attempt_timeout,
            retry,
            budget: Budget::new(),
            idempotent_writes,
            strings,
            answer_bytes_max,
            sync_token: read_your_writes.then(Default::default),
        }))
    }

    #[cfg(feature = "reqwest")]
    #[cfg_attr(target_family = "wasm", expect(unused_mut, reason = "there the platform sees to connections"))]
    fn into_transport(mut self) -> Result<Arc<dyn Transport>> {
        if let Some(transport) = self.transport {
            return Ok(transport);
        }
        #[cfg(not(target_family = "wasm"))]
        self.settings.connect_timeout.get_or_insert(CONNECT_TIMEOUT_DEFAULT);
        Ok(Arc::new(crate::transport::Reqwest::build(&self.settings)?))
    }

    #[cfg(not(feature = "reqwest"))]
    fn into_transport(self) -> Result<Arc<dyn Transport>> {
        self.transport
            .ok_or_else(|| Error::Configuration("without the feature reqwest a transport must be given".into()))
    }
}

impl fmt::Debug for Builder {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("Builder")
            .field("url", &Redacted(&self.url))
            .field("timeout", &self.timeout)
            .finish_non_exhaustive()
    }
}

/// A URL without what may stand in it beside the address.
struct Redacted<'a>(&'a str);

impl fmt::Debug for Redacted<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match endpoint(self.0) {
            Ok(endpoint) => write!(out, "{:?}", endpoint.host),
            Err(_) => out.write_str("(not a URL)"),
        }
    }
}

fn bearer(token: &str) -> Result<HeaderValue> {
    if token.is_empty() {
        return Err(Error::Configuration("the token is empty".into()));
    }
    let mut value = HeaderValue::try_from(format!("Bearer {token}"))
        .map_err(|_| Error::Configuration("the token has characters that no header can have".into()))?;
    value.set_sensitive(true);
    Ok(value)
}

/// Takes a URL apart, and says what is wrong with it without repeating it: people paste secrets into the wrong variable.
fn endpoint(url: &str) -> Result<Endpoint> {
    let wrong = |why: &'static str| Error::Configuration(why.into());
    let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
    let rest =
        rest.ok_or_else(|| wrong("the URL must begin with https:// or http:// (the REST URL, not that of RESP)"))?;
    let uri: http::Uri = url.parse().map_err(|_| wrong("the URL is not one"))?;
    let host = uri.host().filter(|host| !host.is_empty()).ok_or_else(|| wrong("the URL has no host"))?.to_owned();
    if uri.authority().is_some_and(|authority| authority.as_str().contains('@')) {
        return Err(wrong("the URL must have no user or password: the token is given by itself"));
    }
    if uri.query().is_some() || rest.contains('#') {
        return Err(wrong("the URL must have no query: the token is given by itself"));
    }
    Ok(Endpoint { url: url.trim_end_matches('/').to_owned(), host })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_environment_names_an_endpoint() {
        let from = |variables: &[(&str, &str)]| {
            let find =
                |name: &str| variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned());
            Builder::from_variables(find).map(|builder| (builder.url, builder.token)).map_err(|error| error.to_string())
        };
        for (url, token) in VARIABLES {
            let found = from(&[(url, " http://h:1\n"), (token, "t")]);
            assert_eq!(found, Ok(("http://h:1".to_owned(), "t".to_owned())));
        }
        assert!(from(&[]).unwrap_err().contains("UPSTASH_REDIS_REST_URL and UPSTASH_REDIS_REST_TOKEN"));
        let half = from(&[("KV_REST_API_URL", "http://h"), ("KV_REST_API_TOKEN", "")]);
        assert_eq!(half, Err("KV_REST_API_TOKEN is not set, though its counterpart is".to_owned()));
    }

    #[test]
    fn a_wrong_url_is_told_without_being_repeated() {
        for (url, part) in [
            ("rediss://default:hunter2@h", "must begin with"),
            ("https://default:hunter2@h", "no user or password"),
            ("https://h?_token=hunter2", "no query"),
            ("https://", "not one"),
        ] {
            let error = endpoint(url).unwrap_err().to_string();
            assert!(error.contains(part) && !error.contains("hunter2"), "{error}");
        }
        assert_eq!(endpoint("https://h/base//").unwrap().url, "https://h/base");
        assert!(bearer("a\nb").is_err() && bearer("").is_err());
    }

    #[test]
    fn nothing_secret_is_shown() {
        let builder = Builder::new("https://h".to_owned(), "hunter2".to_owned());
        assert!(!format!("{builder:?}").contains("hunter2"));
        let client = builder.build().unwrap();
        assert!(!format!("{client:?}").contains("hunter2"));
    }
}
