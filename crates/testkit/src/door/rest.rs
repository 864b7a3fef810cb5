//! A Dormouse over HTTP/1.1, each command a request, with replies asked for in RESP2 so that nothing is lost on the way.
//!
//! Commands of text go as a JSON array in the body, as the SDKs send them; a command with other bytes goes in the path.

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use dormouse_proto::resp::decode_reply;
use dormouse_proto::{CommandError, Reply};

use super::{Abilities, Door, PATIENCE, row};
use crate::page::Version;
use crate::server::Server;

/// Longest body this client takes.
const BODY_BYTES_MAX: usize = 256 << 20;

/// See the module's text.
#[derive(Debug)]
pub struct RestDoor {
    address: String,
    token: String,
    name: String,
    stream: Option<BufReader<TcpStream>>,
    replies: VecDeque<Reply>,
}

impl RestDoor {
    /// A Dormouse at `host:port`.
    pub fn dormouse(address: &str, token: &str) -> Result<Self> {
        let mut door = Self {
            address: address.to_owned(),
            token: token.to_owned(),
            name: format!("REST at {address}"),
            stream: None,
            replies: VecDeque::new(),
        };
        door.reset()?;
        Ok(door)
    }

    fn request(&self, args: &[Vec<u8>]) -> Result<Vec<u8>> {
        let texts: Option<Vec<&str>> = args.iter().map(|arg| std::str::from_utf8(arg).ok()).collect();
        let (path, body) = match texts {
            Some(texts) => ("/".to_owned(), serde_json::to_vec(&texts)?),
            None => (path(args), Vec::new()),
        };
        let mut request = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
             Upstash-Response-Format: resp2\r\nContent-Length: {}\r\n\r\n",
            self.address,
            self.token,
            body.len()
        )
        .into_bytes();
        request.extend(body);
        Ok(request)
    }

    fn ask(&mut self, args: &[Vec<u8>]) -> Result<Reply> {
        let request = self.request(args)?;
        let mut stream = match self.stream.take() {
            Some(stream) => stream,
            None => BufReader::new(TcpStream::connect(&self.address).context("connecting")?),
        };
        stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        stream.get_mut().write_all(&request)?;
        let answer = Answer::read(&mut stream)?;
        if !answer.closing {
            self.stream = Some(stream);
        }
        answer.reply()
    }
}

/// A command as path segments, every byte that could mean something escaped.
fn path(args: &[Vec<u8>]) -> String {
    let mut path = String::new();
    for arg in args {
        path.push('/');
        for &byte in arg {
            if byte.is_ascii_alphanumeric() {
                path.push(char::from(byte));
            } else {
                let _ = write!(path, "%{byte:02X}");
            }
        }
    }
    // One trailing slash is not a segment, so an empty last argument needs another.
    if args.last().is_some_and(Vec::is_empty) {
        path.push('/');
    }
    path
}

struct Answer {
    status: u16,
    closing: bool,
    json: bool,
    body: Vec<u8>,
}

impl Answer {
    fn read(stream: &mut BufReader<TcpStream>) -> Result<Self> {
        let mut line = String::new();
        stream.read_line(&mut line)?;
        let status = line.split(' ').nth(1).and_then(|status| status.parse().ok());
        let status = status.with_context(|| format!("not a status line: {line:?}"))?;
        let mut answer = Self { status, closing: false, json: false, body: Vec::new() };
        let mut length = None;
        loop {
            line.clear();
            stream.read_line(&mut line)?;
            let Some((name, value)) = line.trim_end().split_once(':') else { break };
            let value = value.trim();
            match name.to_ascii_lowercase().as_str() {
                "content-length" => length = Some(value.parse::<usize>()?),
                "connection" => answer.closing = value.eq_ignore_ascii_case("close"),
                "content-type" => answer.json = value.starts_with("application/json"),
                "transfer-encoding" => bail!("an answer in chunks: {value}"),
                _ => {}
            }
        }
        let length = length.context("an answer without a length")?;
        if length > BODY_BYTES_MAX {
            bail!("an answer of {length} bytes");
        }
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body)?;
        Ok(answer)
    }

    fn reply(self) -> Result<Reply> {
        if self.json {
            let value: serde_json::Value = serde_json::from_slice(&self.body)?;
            let error = value.get("error").and_then(serde_json::Value::as_str);
            let error = error.with_context(|| format!("status {} with {value}", self.status))?;
            return Ok(Reply::Error(CommandError::from(error.to_owned())));
        }
        match decode_reply(&self.body)? {
            Some((reply, used)) if used == self.body.len() => Ok(reply),
            _ => bail!("not one RESP2 reply: {}", self.body.escape_ascii()),
        }
    }
}

impl Door for RestDoor {
    fn name(&self) -> &str {
        &self.name
    }

    fn abilities(&self) -> Abilities {
        Abilities { server: Server::Dormouse, connection: false, clients: false, version: Version::NEWEST, json: true }
    }

    /// Not what belongs to a connection, or waits.
    fn can_run(&self, args: &[Vec<u8>]) -> bool {
        row(args).is_none_or(|row| {
            let waits = args.iter().any(|word| word.eq_ignore_ascii_case(b"BLOCK"));
            !(row.is_no_rest() || row.must_block() || row.blocks_if_asked() && waits)
        })
    }

    fn reset(&mut self) -> Result<()> {
        self.ask(&[b"CONFIG".to_vec(), b"SET".to_vec(), b"notify-keyspace-events".to_vec(), Vec::new()])?;
        self.ask(&[b"SCRIPT".to_vec(), b"FLUSH".to_vec()])?;
        self.ask(&[b"FUNCTION".to_vec(), b"FLUSH".to_vec()])?;
        match self.ask(&[b"FLUSHALL".to_vec()])? {
            Reply::Status(_) => Ok(()),
            other => bail!("FLUSHALL answered {other:?}"),
        }
    }

    fn send(&mut self, _: &str, args: &[Vec<u8>]) -> Result<()> {
        let reply = self.ask(args)?;
        self.replies.push_back(reply);
        Ok(())
    }

    fn receive(&mut self, _: &str, _: Duration) -> Result<Option<Reply>> {
        Ok(self.replies.pop_front())
    }

    fn pass(&mut self, ms: u64) {
        std::thread::sleep(Duration::from_millis(ms + 3));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_bytes_fit_into_a_path() {
        let args = [b"SET".to_vec(), b"a/b%".to_vec(), vec![0xff, b' ']];
        assert_eq!(path(&args), "/SET/a%2Fb%25/%FF%20");
        assert_eq!(path(&[b"ECHO".to_vec(), Vec::new()]), "/ECHO//");
    }
}
