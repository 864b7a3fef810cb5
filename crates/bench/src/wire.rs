//! Requests and replies as bytes, and no more of either protocol than the load needs.
//!
//! Each server is asked in its ordinary form: Dormouse as the Upstash SDKs do it (a JSON array in a POST to `/`, many of
//! them to `/pipeline`), webdis by URL, and RESP as arrays of bulk strings. Replies are read to their end and checked for
//! errors: a benchmark of errors would be a fast one.

use std::io::Write;

use anyhow::{Context, bail};

use crate::contestant::TOKEN;

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wire {
    Upstash,
    Webdis,
    Resp,
    /// RESP with `AUTH` first.
    RespAuth,
}

/// What is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Op {
    Get,
    Set,
}

impl Op {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Get => "GET",
            Self::Set => "SET",
        }
    }
}

/// Keys in use: enough to be no single hot key, few enough to stay in memory.
pub(crate) const KEYS: u64 = 10_000;
/// Length of every value.
pub(crate) const VALUE_BYTES: usize = 100;
const VALUE: &str = match std::str::from_utf8(&[b'x'; VALUE_BYTES]) {
    Ok(value) => value,
    Err(_) => unreachable!(),
};

impl Wire {
    /// What is sent once, right after connecting.
    pub(crate) fn greeting(self) -> Option<String> {
        (self == Self::RespAuth).then(|| format!("*2\r\n$4\r\nAUTH\r\n${}\r\n{TOKEN}\r\n", TOKEN.len()))
    }

    /// How many exchanges a batch of `depth` commands takes: webdis has no way to send several in one.
    pub(crate) const fn exchanges(self, depth: usize) -> usize {
        match self {
            Self::Webdis => depth,
            Self::Upstash | Self::Resp | Self::RespAuth => 1,
        }
    }

    /// How many replies end an exchange.
    pub(crate) const fn replies(self, depth: usize) -> usize {
        match self {
            Self::Webdis | Self::Upstash => 1,
            Self::Resp | Self::RespAuth => depth,
        }
    }

    /// Writes what is sent in one exchange.
    pub(crate) fn request(self, op: Op, depth: usize, keys: &mut Keys, out: &mut Vec<u8>) {
        match self {
            Self::Webdis => webdis(op, keys.next(), out),
            Self::Upstash => upstash(op, depth, keys, out),
            Self::Resp | Self::RespAuth => (0..depth).for_each(|_| resp(op, keys.next(), out)),
        }
    }

    /// The length of the first whole reply, if there is one.
    pub(crate) fn reply(self, bytes: &[u8]) -> anyhow::Result<Option<usize>> {
        match self {
            Self::Upstash | Self::Webdis => http_reply(bytes),
            Self::Resp | Self::RespAuth => resp_reply(bytes),
        }
    }
}

/// Keys in an order that is neither sequential nor different from run to run.
pub(crate) struct Keys(u64);

impl Keys {
    pub(crate) const fn new(connection: u64) -> Self {
        Self(connection)
    }

    fn next(&mut self) -> u64 {
        // A full-period generator (Knuth's constants); the upper bits are the good ones.
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % KEYS
    }
}

fn put(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) {
    out.write_fmt(text).expect("memory can be written");
}

fn webdis(op: Op, key: u64, out: &mut Vec<u8>) {
    match op {
        Op::Get => put(out, format_args!("GET /GET/key:{key:05} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
        Op::Set => put(out, format_args!("GET /SET/key:{key:05}/{VALUE} HTTP/1.1\r\nHost: localhost\r\n\r\n")),
    }
}

fn upstash(op: Op, depth: usize, keys: &mut Keys, out: &mut Vec<u8>) {
    let mut body = Vec::with_capacity(depth * (VALUE_BYTES + 32));
    let command = |key: u64, body: &mut Vec<u8>| match op {
        Op::Get => put(body, format_args!(r#"["GET","key:{key:05}"]"#)),
        Op::Set => put(body, format_args!(r#"["SET","key:{key:05}","{VALUE}"]"#)),
    };
    if depth == 1 {
        command(keys.next(), &mut body);
    } else {
        for item in 0..depth {
            body.push(if item == 0 { b'[' } else { b',' });
            command(keys.next(), &mut body);
        }
        body.push(b']');
    }
    let path = if depth == 1 { "/" } else { "/pipeline" };
    let length = body.len();
    put(
        out,
        format_args!(
            "POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\
             Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        ),
    );
    out.extend_from_slice(&body);
}

fn resp(op: Op, key: u64, out: &mut Vec<u8>) {
    match op {
        Op::Get => put(out, format_args!("*2\r\n$3\r\nGET\r\n$9\r\nkey:{key:05}\r\n")),
        Op::Set => {
            put(out, format_args!("*3\r\n$3\r\nSET\r\n$9\r\nkey:{key:05}\r\n${VALUE_BYTES}\r\n{VALUE}\r\n"));
        }
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}

fn http_reply(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(head) = find(bytes, b"\r\n\r\n") else { return Ok(None) };
    let text = std::str::from_utf8(&bytes[..head])?;
    if !text.starts_with("HTTP/1.1 200 ") {
        bail!("an error came back: {}", String::from_utf8_lossy(bytes));
    }
    let length = text
        .split("\r\n")
        .filter_map(|line| line.split_once(':'))
        .find(|(name, _)| name.eq_ignore_ascii_case("content-length"))
        .and_then(|(_, value)| value.trim().parse::<usize>().ok())
        .context("a reply without its length")?;
    let end = head + 4 + length;
    let Some(body) = bytes.get(head + 4..end) else { return Ok(None) };
    if find(body, b"\"error\"").is_some() || find(body, b"[false").is_some() {
        bail!("an error came back: {}", String::from_utf8_lossy(body));
    }
    Ok(Some(end))
}

fn resp_reply(bytes: &[u8]) -> anyhow::Result<Option<usize>> {
    let Some(line) = find(bytes, b"\r\n") else { return Ok(None) };
    match bytes[0] {
        b'+' | b':' => Ok(Some(line + 2)),
        b'$' => {
            let length: i64 = std::str::from_utf8(&bytes[1..line])?.parse()?;
            let Ok(length) = usize::try_from(length) else { return Ok(Some(line + 2)) };
            let end = line + 2 + length + 2;
            Ok((bytes.len() >= end).then_some(end))
        }
        _ => bail!("an error came back: {}", String::from_utf8_lossy(&bytes[..line])),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_end_where_they_end() {
        let http = b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhelloHTTP";
        assert_eq!(http_reply(http).unwrap(), Some(http.len() - 4));
        assert_eq!(http_reply(&http[..http.len() - 6]).unwrap(), None);
        assert!(http_reply(b"HTTP/1.1 400 Bad\r\n\r\n").is_err());
        for (bytes, end) in
            [("+OK\r\n+", Some(5)), ("$3\r\nabc\r\n$", Some(9)), ("$-1\r\n", Some(5)), ("$3\r\nab", None), ("+O", None)]
        {
            assert_eq!(resp_reply(bytes.as_bytes()).unwrap(), end, "{bytes}");
        }
        assert!(resp_reply(b"-ERR no\r\n").is_err());
    }

    #[test]
    fn a_batch_is_what_the_server_understands() {
        let mut out = Vec::new();
        Wire::Upstash.request(Op::Get, 2, &mut Keys::new(1), &mut out);
        let text = String::from_utf8(out).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("POST /pipeline ") && head.contains(&format!("Content-Length: {}", body.len())));
        assert_eq!(body.matches("[\"GET\",\"key:").count(), 2);
        assert_eq!((Wire::Webdis.exchanges(50), Wire::Upstash.exchanges(50)), (50, 1));
        assert_eq!((Wire::Resp.replies(16), Wire::Webdis.replies(50)), (16, 1));
    }
}
