//! TLS for both doors, and the stream under a connection, with or without it.
//!
//! A certificate and its key are read when the server starts, where anything wrong with the files ends the start with words
//! that say what; and again when they have changed or the process gets SIGHUP, where the one before stays if the new one
//! cannot be used. Connections keep what they began with. HTTP/2 or HTTP/1.1 is agreed upon by ALPN; what then comes is
//! recognised by its first bytes, as without TLS.
//!
//! A handshake has a time limit, and its connection counts from the moment it was accepted. A plain connection costs one
//! comparison at each read and write. Nothing here may show a key, or let a connection on that has not finished its
//! handshake.

use std::io::{Error, ErrorKind, IoSlice, Result};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use anyhow::{Context as _, anyhow, bail};
use parking_lot::{Mutex, RwLock};
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{InconsistentKeys, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The first byte of every handshake.
const HANDSHAKE: u8 = 0x16;
/// How often the files are looked at.
pub(crate) const LOOK_EVERY: Duration = Duration::from_secs(10);
/// How long the end of a connection may take.
const FAREWELL: Duration = Duration::from_secs(1);
/// Bytes of a plain client that are read before it is hung up on, so that it sees why.
const DISCARD_BYTES_MAX: usize = 64 << 10;

/// Where certificate and key are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Files {
    pub(crate) cert: PathBuf,
    pub(crate) key: PathBuf,
}

/// See the module's text.
pub(crate) struct Tls {
    files: Files,
    seen: Mutex<[Option<Stamp>; 2]>,
    current: Arc<Current>,
    http: TlsAcceptor,
    resp: TlsAcceptor,
}

/// What changes when a file does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    modified: (i64, i64),
    inode: u64,
    bytes: u64,
}

/// The certificate in use.
#[derive(Debug)]
struct Current(RwLock<Arc<CertifiedKey>>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0.read()))
    }
}

impl Tls {
    pub(crate) fn open(files: &Files) -> anyhow::Result<Self> {
        let provider = Arc::new(ring::default_provider());
        let seen = Mutex::new(files.stamps());
        let current = Arc::new(Current(RwLock::new(Arc::new(files.read(&provider)?))));
        let acceptor = |protocols: &[&[u8]]| -> anyhow::Result<TlsAcceptor> {
            let versions =
                ServerConfig::builder_with_provider(Arc::clone(&provider)).with_safe_default_protocol_versions()?;
            let mut config = versions.with_no_client_auth().with_cert_resolver(Arc::clone(&current) as _);
            config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
            Ok(TlsAcceptor::from(Arc::new(config)))
        };
        let (http, resp) = (acceptor(&[b"h2", b"http/1.1"])?, acceptor(&[])?);
        Ok(Self { files: files.clone(), seen, current, http, resp })
    }

    /// Reads the files again. What is wrong with them is said, and changes nothing.
    pub(crate) fn reload(&self) {
        *self.seen.lock() = self.files.stamps();
        match self.files.read(&ring::default_provider()) {
            Ok(key) => {
                *self.current.0.write() = Arc::new(key);
                tracing::info!("the certificate was read again: new connections get it");
            }
            Err(error) => tracing::error!("the certificate stays as it was: {error:#}"),
        }
    }

    /// Reads them again if they have changed.
    pub(crate) fn look(&self) {
        let stamps = self.files.stamps();
        if *self.seen.lock() != stamps {
            self.reload();
        }
    }

    pub(crate) const fn http(&self) -> &TlsAcceptor {
        &self.http
    }

    pub(crate) const fn resp(&self) -> &TlsAcceptor {
        &self.resp
    }
}

impl Files {
    fn stamps(&self) -> [Option<Stamp>; 2] {
        [&self.cert, &self.key].map(|path| {
            let found = std::fs::metadata(path).ok()?;
            Some(Stamp { modified: (found.mtime(), found.mtime_nsec()), inode: found.ino(), bytes: found.len() })
        })
    }

    fn read(&self, provider: &CryptoProvider) -> anyhow::Result<CertifiedKey> {
        let (cert, key) = (self.cert.display(), self.key.display());
        let chain: std::result::Result<Vec<_>, _> =
            CertificateDer::pem_file_iter(&self.cert).and_then(Iterator::collect);
        let chain = chain.map_err(|error| unreadable(&self.cert, error))?;
        if chain.is_empty() {
            bail!("{cert}: no certificate in it (PEM, BEGIN CERTIFICATE; the server's own first, then those above it)");
        }
        let private = PrivateKeyDer::from_pem_file(&self.key).map_err(|error| match error {
            PemError::NoItemsFound => anyhow!(
                "{key}: no private key in it (PEM, BEGIN PRIVATE KEY; one with a passphrase must be decrypted first)"
            ),
            error => unreadable(&self.key, error),
        })?;
        let signing = provider.key_provider.load_private_key(private);
        let certified =
            CertifiedKey::new(chain, signing.with_context(|| format!("{key}: a private key that cannot be used"))?);
        match certified.keys_match() {
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => Ok(certified),
            Err(rustls::Error::InconsistentKeys(_)) => {
                bail!("{key} is not the key of the first certificate in {cert}")
            }
            Err(error) => Err(error).with_context(|| format!("{cert}: not a certificate that can be used")),
        }
    }
}

fn unreadable(path: &Path, error: PemError) -> anyhow::Error {
    let path = path.display();
    match error {
        PemError::Io(error) => anyhow!("cannot read {path}: {error}"),
        error => anyhow!("{path}: not a PEM file: {error}"),
    }
}

/// The stream under a connection.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// Makes a stream of a connection: at once, or by a handshake. None if that fails or takes too long; who speaks plainly where
/// TLS is spoken is told so.
pub(crate) async fn welcome(
    socket: TcpStream,
    acceptor: Option<&TlsAcceptor>,
    patience: Duration,
    plainly: &str,
) -> Option<Stream> {
    let Some(acceptor) = acceptor else { return Some(Stream::Plain(socket)) };
    let handshake = async {
        let mut first = [0];
        if socket.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            turn_away(socket, plainly).await?;
            return Err(Error::new(ErrorKind::InvalidData, "the client does not speak TLS"));
        }
        acceptor.accept(socket).await
    };
    match timeout(patience, handshake).await {
        Ok(Ok(stream)) => Some(Stream::Tls(Box::new(stream))),
        Ok(Err(error)) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
        Err(_) => {
            tracing::debug!("a handshake took too long");
            None
        }
    }
}

/// Answers a client and hangs up, once it has been read from: what is unread would cost it the answer.
async fn turn_away(mut socket: TcpStream, answer: &str) -> Result<()> {
    socket.write_all(answer.as_bytes()).await?;
    socket.shutdown().await?;
    let mut read = 0;
    let mut some = [0; 4096];
    while read < DISCARD_BYTES_MAX {
        match timeout(FAREWELL, socket.read(&mut some)).await {
            Ok(Ok(more)) if more > 0 => read += more,
            _ => break,
        }
    }
    Ok(())
}

impl Stream {
    /// The socket, to ask about and not to read or write.
    pub(crate) fn socket(&self) -> &TcpStream {
        match self {
            Self::Plain(socket) => socket,
            Self::Tls(stream) => stream.get_ref().0,
        }
    }

    /// Writes what can be written at once without waiting: nothing, where it must be encrypted.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> usize {
        match self {
            Self::Plain(socket) => socket.try_write(bytes).unwrap_or(0),
            Self::Tls(_) => 0,
        }
    }

    /// Whether what was written may still be on its way to the socket.
    pub(crate) const fn holds_back(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// Says that nothing more will come, where that has to be said.
    pub(crate) async fn finish(&mut self) {
        if let Self::Tls(stream) = self {
            let _said = timeout(FAREWELL, stream.shutdown()).await;
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_read(context, buf),
            Self::Tls(stream) => match Pin::new(stream).poll_read(context, buf) {
                // Many clients just close. Commands say how long they are, so that none is taken for whole.
                Poll::Ready(Err(error)) if error.kind() == ErrorKind::UnexpectedEof => Poll::Ready(Ok(())),
                read => read,
            },
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write(context, bytes),
            Self::Tls(stream) => Pin::new(stream).poll_write(context, bytes),
        }
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<Result<usize>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_write_vectored(context, slices),
            Self::Tls(stream) => Pin::new(stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Self::Plain(socket) => socket.is_write_vectored(),
            Self::Tls(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_flush(context),
            Self::Tls(stream) => Pin::new(stream).poll_flush(context),
        }
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Result<()>> {
        match self.get_mut() {
            Self::Plain(socket) => Pin::new(socket).poll_shutdown(context),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(context),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(cert: &str, key: &str) -> Files {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/tls");
        Files { cert: folder.join(cert), key: folder.join(key) }
    }

    #[test]
    fn what_is_wrong_with_the_files_is_said() {
        assert!(Tls::open(&files("one.pem", "one.key")).is_ok());
        for (cert, key, part) in [
            ("three.pem", "one.key", "cannot read "),
            ("one.pem", "three.key", "cannot read "),
            ("one.key", "one.key", "one.key: no certificate in it"),
            ("one.pem", "one.pem", "one.pem: no private key in it"),
            ("one.pem", "two.key", "two.key is not the key of the first certificate in "),
        ] {
            let error = format!("{:#}", Tls::open(&files(cert, key)).err().unwrap());
            assert!(error.contains(part), "{error}");
        }
    }

    #[test]
    fn a_certificate_that_cannot_be_used_does_not_replace_one_that_can() {
        let dir = tempfile::tempdir().unwrap();
        let ours = Files { cert: dir.path().join("cert"), key: dir.path().join("key") };
        let put = |from: &Files| {
            std::fs::copy(&from.cert, &ours.cert).unwrap();
            std::fs::copy(&from.key, &ours.key).unwrap();
        };
        put(&files("one.pem", "one.key"));
        let tls = Tls::open(&ours).unwrap();
        let leaf = || tls.current.0.read().cert[0].clone();
        let first = leaf();
        put(&files("one.pem", "two.key"));
        tls.reload();
        assert_eq!(leaf(), first);
        put(&files("two.pem", "two.key"));
        tls.look();
        assert_ne!(leaf(), first);
    }

    #[test]
    fn who_does_not_shake_hands_is_hung_up_on() {
        let tls = Tls::open(&files("one.pem", "one.key")).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
            for sent in [&b""[..], b"\x16\x03\x01\x02"] {
                let mut client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
                let (ours, _) = listener.accept().await.unwrap();
                client.write_all(sent).await.unwrap();
                assert!(welcome(ours, Some(tls.resp()), Duration::from_millis(50), "").await.is_none());
                let end = timeout(Duration::from_secs(30), client.read(&mut [0])).await.expect("it hangs up");
                assert!(end.is_err() || end.is_ok_and(|read| read == 0));
            }
        });
    }
}
