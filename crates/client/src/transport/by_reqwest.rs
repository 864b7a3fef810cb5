//! HTTP by reqwest: over hyper, and with WebAssembly by the platform's fetch.
//!
//! Connections are kept and shared by all clones. TLS is rustls with *ring*: it builds without further tools, and the
//! process needs no provider installed.

use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use super::{Body, BoxFuture, Transport, TransportError};
use crate::error::{Error, Result};

/// Sends by [`reqwest`].
#[derive(Clone)]
pub struct Reqwest {
    client: reqwest::Client,
}

/// What a transport of ours can be told.
#[derive(Clone, Default)]
pub(crate) struct Settings {
    pub(crate) connect_timeout: Option<Duration>,
    pub(crate) root_certificates: Vec<Vec<u8>>,
}

impl Reqwest {
    /// As a client has it that is not given a transport; for wrapping it in one of one's own.
    ///
    /// ```
    /// use bytes::Bytes;
    /// use dormouse_client::transport::{Reqwest, Transport};
    /// use dormouse_client::Client;
    ///
    /// # fn main() -> Result<(), dormouse_client::Error> {
    /// let http = Reqwest::standard()?;
    /// let counted = move |request: http::Request<Bytes>| {
    ///     println!("one more");
    ///     http.send(request)
    /// };
    /// let client = Client::builder("http://127.0.0.1:8079", "token").transport(counted).build()?;
    /// # drop(client); Ok(()) }
    /// ```
    pub fn standard() -> Result<Self> {
        Self::build(&Settings::default())
    }

    /// By a client of one's own, with its proxies, certificates and limits. It should follow no redirects. Unless reqwest
    /// has TLS by a feature of its own, the client must be told of a provider.
    ///
    /// ```no_run
    /// use dormouse_client::{Client, transport::Reqwest};
    ///
    /// # fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build()?;
    /// let client = Client::builder("http://127.0.0.1:8079", "token").transport(Reqwest::new(http)).build()?;
    /// # Ok(()) }
    /// ```
    pub const fn new(client: reqwest::Client) -> Self {
        Self { client }
    }

    #[cfg(not(target_family = "wasm"))]
    pub(crate) fn build(settings: &Settings) -> Result<Self> {
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .tcp_nodelay(true)
            .pool_idle_timeout(Duration::from_mins(1));
        if let Some(timeout) = settings.connect_timeout {
            builder = builder.connect_timeout(timeout);
        }
        #[cfg(feature = "rustls")]
        let builder = builder.tls_backend_preconfigured(tls(settings)?);
        #[cfg(not(feature = "rustls"))]
        if !settings.root_certificates.is_empty() {
            return Err(Error::Configuration("certificates need the feature rustls".into()));
        }
        let client = builder.build();
        client.map(Self::new).map_err(|_| Error::Configuration("HTTP could not be set up".into()))
    }

    #[cfg(target_family = "wasm")]
    pub(crate) fn build(settings: &Settings) -> Result<Self> {
        if !settings.root_certificates.is_empty() || settings.connect_timeout.is_some() {
            return Err(Error::Configuration("with WebAssembly the platform sees to connections".into()));
        }
        let client = reqwest::Client::builder().build();
        client.map(Self::new).map_err(|_| Error::Configuration("HTTP could not be set up".into()))
    }
}

/// TLS with the certificates of the system, and those that were given.
#[cfg(all(feature = "rustls", not(target_family = "wasm")))]
fn tls(settings: &Settings) -> Result<rustls::ClientConfig> {
    use std::sync::Arc;

    use rustls::pki_types::CertificateDer;
    use rustls::pki_types::pem::PemObject;
    use rustls_platform_verifier::Verifier;

    let wrong = |what: &'static str| move |_| Error::Configuration(what.into());
    let mut roots = Vec::new();
    for pem in &settings.root_certificates {
        let before = roots.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            roots.push(certificate.map_err(|_| Error::Configuration("a root certificate is not PEM".into()))?);
        }
        if roots.len() == before {
            return Err(Error::Configuration("a root certificate is not PEM".into()));
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = Verifier::new_with_extra_roots(roots, Arc::clone(&provider))
        .map_err(wrong("the certificates to trust could not be read"))?;
    let mut config = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(wrong("TLS could not be set up"))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier))
        .with_no_client_auth();
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    Ok(config)
}

impl Transport for Reqwest {
    fn send(&self, request: http::Request<Bytes>) -> BoxFuture<'static, Result<http::Response<Body>, TransportError>> {
        let client = self.client.clone();
        Box::pin(async move {
            let (parts, body) = request.into_parts();
            // The URL was looked at when the client was built.
            let url = parts.uri.to_string().parse().map_err(|_| TransportError::unsent("the URL is not one"))?;
            let mut request = reqwest::Request::new(parts.method, url);
            *request.headers_mut() = parts.headers;
            *request.body_mut() = Some(body.into());
            let response = client.execute(request).await.map_err(failed)?;
            let mut head = http::Response::new(());
            *head.status_mut() = response.status();
            *head.headers_mut() = response.headers().clone();
            Ok(head.map(|()| pieces(response)))
        })
    }
}

#[cfg(not(target_family = "wasm"))]
fn pieces(response: reqwest::Response) -> Body {
    let next = |mut response: reqwest::Response| async move {
        response.chunk().await.map_err(failed).transpose().map(|piece| (piece, response))
    };
    Body::new(Box::pin(futures_util::stream::unfold(response, next)))
}

#[cfg(target_family = "wasm")]
fn pieces(response: reqwest::Response) -> Body {
    use futures_util::TryStreamExt;
    Body::new(Box::pin(response.bytes_stream().map_err(failed)))
}

/// What of a failure is ours to tell: its URL may hold keys.
fn failed(error: reqwest::Error) -> TransportError {
    let error = error.without_url();
    #[cfg(not(target_family = "wasm"))]
    if error.is_connect() {
        return TransportError::unsent("the endpoint could not be reached").because(error);
    }
    TransportError::new("the connection failed").because(error)
}

impl fmt::Debug for Reqwest {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("Reqwest")
    }
}
