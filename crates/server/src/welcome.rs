//! The first minute: where the tokens are kept, and the lines to paste.

use std::fs::{DirBuilder, OpenOptions, Permissions};
use std::io::{ErrorKind, Write};
use std::net::SocketAddr;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Context;
use dormouse_database::Credentials;

use crate::Doors;
use crate::config::Config;

/// The file with the lines to paste, inside the data directory.
const FILE: &str = "credentials.env";

/// Keeps the data directory out of version control: it may well lie in an application's repository.
const IGNORE_FILE: &str = ".gitignore";

/// Makes the data directory, for this user only: the log holds everybody's data and tokens.
pub(crate) fn make_private(dir: &Path) -> anyhow::Result<()> {
    if !dir.exists() {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.with_context(|| format!("cannot make the data directory {}", dir.display()))?;
    }
    let ignore = dir.join(IGNORE_FILE);
    match OpenOptions::new().write(true).create_new(true).open(&ignore).and_then(|mut file| file.write_all(b"*\n")) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            Err(error).with_context(|| format!("cannot write {}", ignore.display()))
        }
        _ => Ok(()),
    }
}

/// The lines an application needs, ready for `.env.local`.
pub(crate) fn lines(http: SocketAddr, resp: Option<SocketAddr>, tls: bool, credentials: &Credentials) -> String {
    let s = if tls { "s" } else { "" };
    let url = format!("http{s}://{}", reachable(http));
    let Credentials { token, read_only_token } = credentials;
    let mut lines = format!(
        "UPSTASH_REDIS_REST_URL=\"{url}\"\n\
         UPSTASH_REDIS_REST_TOKEN=\"{token}\"\n\
         KV_REST_API_URL=\"{url}\"\n\
         KV_REST_API_TOKEN=\"{token}\"\n\
         KV_REST_API_READ_ONLY_TOKEN=\"{read_only_token}\"\n"
    );
    if let Some(resp) = resp {
        lines = format!("{lines}REDIS_URL=redis{s}://default:{}@{}\n", escape(token), reachable(resp));
    }
    lines
}

/// An address a client on this machine can use.
fn reachable(mut address: SocketAddr) -> SocketAddr {
    if address.ip().is_unspecified() {
        address.set_ip(std::net::Ipv4Addr::LOCALHOST.into());
    }
    address
}

/// A token as the password of a URL.
fn escape(token: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    token.bytes().map(|byte| if plain(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") }).collect()
}

/// What a start finds of the starts before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lines {
    /// There were none.
    New,
    /// An address or a token is another one.
    Changed,
    /// They are as they were.
    Kept,
}

/// Keeps the lines in the data directory, readable by this user only.
pub(crate) fn keep_credentials(
    config: &Config,
    http: &Doors,
    resp: Option<&Doors>,
    credentials: &Credentials,
) -> anyhow::Result<Lines> {
    let path = config.data.join(FILE);
    let lines = lines(http.address, resp.map(|doors| doors.address), config.tls.is_some(), credentials);
    let kept = std::fs::read_to_string(&path).ok();
    if kept.as_ref() == Some(&lines) {
        return Ok(Lines::Kept);
    }
    // Whole or not at all: a full disk must not cost the lines there were.
    let next = path.with_extension("new");
    let keep = || -> std::io::Result<()> {
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&next)?;
        file.set_permissions(Permissions::from_mode(0o600))?;
        file.write_all(lines.as_bytes())?;
        std::fs::rename(&next, &path)
    };
    keep().with_context(|| format!("cannot write {}", path.display()))?;
    Ok(if kept.is_none() { Lines::New } else { Lines::Changed })
}

/// Says how to connect. Secrets are shown on the first start only; later ones say where they are kept.
pub(crate) fn print(
    config: &Config,
    found: Lines,
    http: SocketAddr,
    resp: Option<SocketAddr>,
    credentials: &Credentials,
) {
    let kept = config.data.join(FILE);
    let resp_line = match resp {
        Some(resp) => format!(
            "{resp}{}{}",
            if config.resp_open { " (open: no AUTH needed)" } else { "" },
            if config.tls.is_some() { " (TLS)" } else { "" }
        ),
        None => "off".to_owned(),
    };
    let tokens = match found {
        Lines::New => {
            let lines = lines(http, resp, config.tls.is_some(), credentials);
            format!("\nPaste into .env.local (also kept in {}):\n\n{lines}", kept.display())
        }
        Lines::Changed => format!("  tokens {} (addresses or tokens have changed: paste it again)", kept.display()),
        Lines::Kept => format!("  tokens {}", kept.display()),
    };
    let (version, data) = (env!("CARGO_PKG_VERSION"), config.data.display());
    let s = if config.tls.is_some() { "s" } else { "" };
    let text = format!(
        "Dormouse {version} is awake.\n  data   {data}\n  REST   http{s}://{http}\n  RESP   {resp_line}\n{tokens}\n"
    );
    // Nobody may be listening, which is no reason to stop.
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_can_be_pasted() {
        let credentials = Credentials { token: "to/ken=1".to_owned(), read_only_token: "read-only".to_owned() };
        let text = lines("0.0.0.0:8079".parse().unwrap(), Some("127.0.0.1:6379".parse().unwrap()), false, &credentials);
        assert!(text.contains("UPSTASH_REDIS_REST_URL=\"http://127.0.0.1:8079\"\n"));
        assert!(text.contains("UPSTASH_REDIS_REST_TOKEN=\"to/ken=1\"\n"));
        assert!(text.contains("REDIS_URL=redis://default:to%2Fken%3D1@127.0.0.1:6379\n"));
    }
}
