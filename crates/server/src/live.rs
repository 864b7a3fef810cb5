//! A running Redis or Valkey, read as if it were its RDB file.
//!
//! Its keys are walked with `SCAN`, and each batch is fetched with `DUMP` and `PTTL` in one pipeline; what comes is put into an RDB
//! file that exists only on its way to our server. Each key is as it was when it was read, not all of one moment: `SCAN` shows
//! every key that is there from beginning to end, and of those that come or go meanwhile some. Nothing is written to the
//! other server.

use std::collections::HashSet;
use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, anyhow, bail};
use dormouse_engine::rdb::{FileVersion, FileWriter, RestoreError, opened, restore_libraries};
use dormouse_proto::resp::{decode_reply, encode_command};
use dormouse_proto::{Blob, Reply};
use indicatif::ProgressBar;
use xxhash_rust::xxh3::xxh3_128;

/// Keys asked for at once: about so many replies may wait on the other server.
const KEYS_PER_BATCH: &[u8] = b"100";
/// How long a connection may take to come about.
const CONNECT_PATIENCE: Duration = Duration::from_secs(10);
/// How long the other server may say nothing.
const REPLY_PATIENCE: Duration = Duration::from_mins(1);
/// Bytes received at once.
const PIECE_BYTES: usize = 256 << 10;
/// Longest reply: the largest value Redis has, with room for its frame.
const REPLY_BYTES_MAX: usize = (512 << 20) + (1 << 20);
/// Most bytes that the texts of functions may take.
const FUNCTIONS_BYTES_MAX: usize = 8 << 20;
/// The port of a server whose address has none.
const PORT_DEFAULT: &str = "6379";
/// The version of a file without keys.
const VERSION_OF_NOTHING: u16 = 10;

/// Where a server is, and how to get in.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    host: String,
    user: Option<String>,
    password: Option<String>,
    index: u32,
}

/// Whether this names a server rather than a file.
pub(crate) fn is_address(source: &str) -> bool {
    ["redis://", "valkey://", "rediss://", "valkeys://"].iter().any(|scheme| source.starts_with(scheme))
}

/// Text in which `%40` stands for `@`.
fn decoded(text: &str) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        if first != b'%' {
            bytes.push(first);
            continue;
        }
        let digits = rest.split_at_checked(2).and_then(|(digits, after)| Some((str::from_utf8(digits).ok()?, after)));
        let byte = digits.and_then(|(digits, after)| Some((u8::from_str_radix(digits, 16).ok()?, after)));
        let (byte, after) = byte.context("a % in the address is not followed by two digits")?;
        bytes.push(byte);
        rest = after;
    }
    String::from_utf8(bytes).context("the address is not text")
}

impl Address {
    /// Reads `redis://[[user]:password@]host[:port][/index]`.
    pub(crate) fn parse(source: &str) -> anyhow::Result<Self> {
        let (scheme, rest) = source.split_once("://").context("this is no address")?;
        if matches!(scheme, "rediss" | "valkeys") {
            bail!("TLS is not spoken here: put stunnel or a tunnel of ssh in front of it, and name that with redis://");
        }
        let rest = rest.split_once('?').map_or(rest, |(rest, _)| rest);
        let (place, index) = rest.split_once('/').unwrap_or((rest, ""));
        let index = if index.is_empty() { Ok(0) } else { index.parse() };
        let index = index.map_err(|_| anyhow!("behind the / stands the number of a database"))?;
        let (secrets, host) = place.rsplit_once('@').map_or((None, place), |(secrets, host)| (Some(secrets), host));
        if host.is_empty() {
            bail!("the address names no host");
        }
        let bare = host.rsplit_once(':').is_none_or(|(_, port)| port.ends_with(']'));
        let host = if bare { format!("{host}:{PORT_DEFAULT}") } else { host.to_owned() };
        let (user, password) = match secrets.map(|secrets| secrets.split_once(':').unwrap_or(("", secrets))) {
            None => (None, None),
            Some((user, password)) => {
                let user = Some(decoded(user)?).filter(|user| !user.is_empty());
                (user, Some(decoded(password)?).filter(|password| !password.is_empty()))
            }
        };
        Ok(Self { host, user, password, index })
    }
}

/// A connection to the other server.
struct Wire {
    stream: TcpStream,
    received: Vec<u8>,
    /// How much of it was read.
    read: usize,
    to_send: Vec<u8>,
}

impl Wire {
    fn connect(address: &Address) -> anyhow::Result<Self> {
        let context = || format!("cannot connect to {}", address.host);
        let places = address.host.to_socket_addrs().with_context(context)?;
        let mut outcome = Err(anyhow!("its name has no address"));
        for place in places {
            outcome = TcpStream::connect_timeout(&place, CONNECT_PATIENCE).map_err(Into::into);
            if outcome.is_ok() {
                break;
            }
        }
        let stream = outcome.with_context(context)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(REPLY_PATIENCE))?;
        stream.set_write_timeout(Some(REPLY_PATIENCE))?;
        Ok(Self { stream, received: Vec::new(), read: 0, to_send: Vec::new() })
    }

    fn queue(&mut self, args: &[&[u8]]) {
        encode_command(args.iter().copied(), &mut self.to_send);
    }

    fn send(&mut self) -> anyhow::Result<()> {
        self.stream.write_all(&self.to_send).context("the other server does not listen")?;
        self.to_send.clear();
        Ok(())
    }

    fn reply(&mut self) -> anyhow::Result<Reply> {
        loop {
            if let Some((reply, bytes)) = decode_reply(&self.received[self.read..])? {
                self.read += bytes;
                if self.read == self.received.len() {
                    self.received.clear();
                    self.read = 0;
                }
                return Ok(reply);
            }
            self.received.drain(..std::mem::take(&mut self.read));
            let here = self.received.len();
            if here > REPLY_BYTES_MAX {
                bail!("the other server's reply is too long");
            }
            self.received.resize(here + PIECE_BYTES, 0);
            let count = self.stream.read(&mut self.received[here..]).context("the other server does not answer")?;
            self.received.truncate(here + count);
            if count == 0 {
                bail!("the other server has closed the connection");
            }
        }
    }

    /// Asks one thing. An error of the other server is one here.
    fn ask(&mut self, args: &[&[u8]]) -> anyhow::Result<Reply> {
        self.queue(args);
        self.send()?;
        match self.reply()? {
            Reply::Error(error) => {
                Err(anyhow!("the other server refuses {}: {error}", String::from_utf8_lossy(args[0])))
            }
            reply => Ok(reply),
        }
    }
}

/// Where a walk stands.
enum Walk {
    /// The cursor it goes on from.
    At(Vec<u8>),
    /// All was seen.
    Over,
    /// And the end was written.
    Closed,
}

/// See the module's text.
pub(crate) struct Live {
    wire: Wire,
    /// Written and not read yet.
    here: io::Cursor<Vec<u8>>,
    file: Option<FileWriter<Vec<u8>>>,
    libraries: Vec<Vec<u8>>,
    walk: Walk,
    /// What was read already, as a walk may show a key twice.
    seen: HashSet<u128>,
    keys: u64,
    bar: ProgressBar,
    about: u64,
}

impl Live {
    /// Gets in. `bar` shows how far it has got.
    pub(crate) fn connect(address: &Address, bar: ProgressBar) -> anyhow::Result<Self> {
        let mut wire = Wire::connect(address)?;
        if let Some(password) = &address.password {
            let user = address.user.as_ref().map(String::as_bytes);
            let args: Vec<&[u8]> = [b"AUTH".as_slice()].into_iter().chain(user).chain([password.as_bytes()]).collect();
            wire.ask(&args)?;
        }
        if address.index != 0 {
            wire.ask(&[b"SELECT", address.index.to_string().as_bytes()])?;
        }
        let about = match wire.ask(&[b"DBSIZE"])? {
            Reply::Integer(keys) => u64::try_from(keys).unwrap_or(0),
            _ => 0,
        };
        let libraries = libraries(&mut wire)?;
        let (here, walk) = (io::Cursor::default(), Walk::At(b"0".to_vec()));
        Ok(Self { wire, here, file: None, libraries, walk, seen: HashSet::new(), keys: 0, bar, about })
    }

    fn file(&mut self, version: u16) -> io::Result<&mut FileWriter<Vec<u8>>> {
        if self.file.is_none() {
            let version = FileVersion::of_payload(version.max(VERSION_OF_NOTHING));
            let mut file = FileWriter::new(Vec::new(), version, &[])?;
            self.libraries.drain(..).try_for_each(|library| file.library(&library))?;
            self.file = Some(file);
        }
        Ok(self.file.as_mut().expect("it was just made"))
    }

    /// Makes more to read; nothing when all was.
    fn go_on(&mut self) -> anyhow::Result<()> {
        let cursor = match &self.walk {
            Walk::At(cursor) => cursor.clone(),
            Walk::Over => {
                self.file(VERSION_OF_NOTHING)?;
                let file = self.file.take().expect("it was just there");
                self.here = io::Cursor::new(file.finish()?.1);
                self.walk = Walk::Closed;
                return Ok(());
            }
            Walk::Closed => return Ok(()),
        };
        let Reply::Array(parts) = self.wire.ask(&[b"SCAN", &cursor, b"COUNT", KEYS_PER_BATCH])? else {
            bail!("the other server's SCAN is not understood");
        };
        let [Reply::Bulk(cursor), Reply::Array(keys)] = parts.as_slice() else {
            bail!("the other server's SCAN is not understood");
        };
        self.walk = if cursor.as_slice() == b"0" { Walk::Over } else { Walk::At(cursor.to_vec()) };
        let key = |reply: &Reply| match reply {
            Reply::Bulk(key) => Some(key.clone()),
            _ => None,
        };
        let mut keys: Vec<Blob> = keys.iter().filter_map(key).collect();
        keys.retain(|key| self.seen.insert(xxh3_128(key)));
        for key in &keys {
            self.wire.queue(&[b"DUMP", key]);
            self.wire.queue(&[b"PTTL", key]);
        }
        self.wire.send()?;
        for key in &keys {
            self.key(key)?;
        }
        if let Some(file) = &mut self.file {
            self.here = io::Cursor::new(std::mem::take(file.get_mut()));
        }
        self.bar.set_message(format!("importing {} of about {} keys,", self.keys, self.about));
        Ok(())
    }

    fn key(&mut self, key: &Blob) -> anyhow::Result<()> {
        let shown = || key.escape_ascii();
        let (payload, left_ms) = (self.wire.reply()?, self.wire.reply()?);
        let payload = match payload {
            Reply::Bulk(payload) => payload,
            // It has gone since.
            Reply::Null => return Ok(()),
            Reply::Error(error) => bail!("the other server does not give \"{}\" away: {error}", shown()),
            _ => bail!("the other server's DUMP of \"{}\" is not understood", shown()),
        };
        let expires_at = match left_ms {
            Reply::Integer(-2) => return Ok(()),
            Reply::Integer(-1) => 0,
            Reply::Integer(left_ms) => now_ms().saturating_add(u64::try_from(left_ms).unwrap_or(0)).max(1),
            _ => bail!("the other server's PTTL of \"{}\" is not understood", shown()),
        };
        let (body, version) = opened(&payload).map_err(|error| match error {
            RestoreError::Footer => {
                anyhow!("the value of \"{}\" is damaged, or its format is newer than what is known", shown())
            }
            error => anyhow!("the value of \"{}\": {error}", shown()),
        })?;
        let body = body.to_vec();
        self.file(version)?.key(key, expires_at, &body)?;
        self.keys += 1;
        Ok(())
    }
}

/// The texts of its functions; a server that has none, or does not show them, has none for us.
fn libraries(wire: &mut Wire) -> anyhow::Result<Vec<Vec<u8>>> {
    wire.queue(&[b"FUNCTION", b"DUMP"]);
    wire.send()?;
    match wire.reply()? {
        Reply::Bulk(payload) => {
            let sources = restore_libraries(&payload, FUNCTIONS_BYTES_MAX);
            let sources =
                sources.map_err(|error| anyhow!("the other server's functions are not understood: {error}"))?;
            Ok(sources.into_iter().map(std::borrow::Cow::into_owned).collect())
        }
        Reply::Error(error) if error.to_string().starts_with("NOPERM") => {
            bail!("the other server refuses FUNCTION DUMP: {error}")
        }
        // Before 7.0 there are none.
        _ => Ok(Vec::new()),
    }
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Read for Live {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        loop {
            let count = self.here.read(into)?;
            if count > 0 || into.is_empty() || matches!(self.walk, Walk::Closed) {
                return Ok(count);
            }
            self.go_on().map_err(|error| io::Error::other(format!("{error:#}")))?;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_read_as_clients_read_them() {
        let parsed = |text: &str| {
            let Address { host, user, password, index } = Address::parse(text).unwrap();
            (host, user.unwrap_or_default(), password.unwrap_or_default(), index)
        };
        let of = |host: &str, user: &str, password: &str, index| (host.into(), user.into(), password.into(), index);
        assert_eq!(parsed("redis://localhost"), of("localhost:6379", "", "", 0));
        assert_eq!(parsed("redis://localhost:7000/3"), of("localhost:7000", "", "", 3));
        assert_eq!(parsed("valkey://:secret@host/"), of("host:6379", "", "secret", 0));
        assert_eq!(parsed("redis://secret@host"), of("host:6379", "", "secret", 0));
        assert_eq!(parsed("redis://ann:p%40s:s@[::1]:7000/1?x=y"), of("[::1]:7000", "ann", "p@s:s", 1));
        assert_eq!(parsed("redis://[::1]"), of("[::1]:6379", "", "", 0));
        for (text, part) in [
            ("rediss://host", "TLS is not spoken here"),
            ("redis://", "names no host"),
            ("redis://host/x", "the number of a database"),
            ("redis://%zz@host", "two digits"),
        ] {
            let error = Address::parse(text).err().unwrap().to_string();
            assert!(error.contains(part), "{text}: {error}");
        }
    }
}
