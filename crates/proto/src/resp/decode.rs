//! Replies as a client reads them, of either protocol version.
//!
//! For the client crate, the tests and the gateway. A reply that has not arrived whole is read again from its start when
//! more is there; claimed lengths are believed only as far as bytes have arrived, and nesting ends at [`DEPTH_MAX`].
//! What the other side adds as attributes is skipped; streamed strings and aggregates, which no server sends, are refused.

use crate::{Blob, CommandError, Reply, parse_integer};

/// How deep aggregates may nest.
pub const DEPTH_MAX: usize = 128;

/// The bytes are no reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ReplyError {
    /// The first byte names no type.
    #[error("unknown reply type, byte {0:#04x}")]
    UnknownType(u8),
    /// A length is not a number, or negative.
    #[error("invalid length in a reply")]
    InvalidLength,
    /// A number, boolean or null does not read as one.
    #[error("invalid value in a reply")]
    InvalidValue,
    /// A string or line is not followed by a line end.
    #[error("a reply lacks its line end")]
    MissingLineEnd,
    /// Aggregates nest beyond [`DEPTH_MAX`].
    #[error("a reply nests too deep")]
    TooDeep,
}

/// Why reading stopped.
enum Stop {
    Incomplete,
    Invalid(ReplyError),
}

impl From<ReplyError> for Stop {
    fn from(error: ReplyError) -> Self {
        Self::Invalid(error)
    }
}

/// Reads one reply from the front of `buf`, and how many bytes it took; `None` if it has not arrived whole.
///
/// ```
/// use dormouse_proto::{Reply, resp::decode_reply};
/// assert_eq!(decode_reply(b"$2\r\nhi\r\n+OK")?, Some((Reply::bulk("hi"), 8)));
/// assert_eq!(decode_reply(b"$2\r\nh")?, None);
/// # Ok::<(), dormouse_proto::resp::ReplyError>(())
/// ```
pub fn decode_reply(buf: &[u8]) -> Result<Option<(Reply, usize)>, ReplyError> {
    let mut reader = Reader { rest: buf };
    match reader.reply(0) {
        Ok(reply) => Ok(Some((reply, buf.len() - reader.rest.len()))),
        Err(Stop::Incomplete) => Ok(None),
        Err(Stop::Invalid(error)) => Err(error),
    }
}

struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn reply(&mut self, depth: usize) -> Result<Reply, Stop> {
        let (&kind, rest) = self.rest.split_first().ok_or(Stop::Incomplete)?;
        self.rest = rest;
        Ok(match kind {
            b'+' => Reply::Status(Blob::from(self.line()?)),
            b'-' => failure(self.line()?),
            b':' => Reply::Integer(parse_integer(self.line()?).ok_or(ReplyError::InvalidValue)?),
            b'$' => self.string()?.map_or(Reply::Null, Reply::bulk),
            b'*' => self.items(depth)?.map_or(Reply::NullArray, Reply::Array),
            b'~' => self.items(depth)?.map_or(Reply::NullArray, Reply::Set),
            b'>' => self.items(depth)?.map_or(Reply::NullArray, Reply::Push),
            b'%' => self.pairs(depth)?.map_or(Reply::NullArray, Reply::Map),
            b'_' => self.null()?,
            b'#' => self.boolean()?,
            b',' => self.double()?,
            b'(' => Reply::BigNumber(Blob::from(self.line()?)),
            b'!' => failure(self.present()?),
            b'=' => self.verbatim()?,
            b'|' => {
                self.pairs(depth)?;
                // An attribute precedes what it speaks of; a row of them counts as nesting, so that it ends.
                return self.reply(deeper(depth)?);
            }
            other => return Err(ReplyError::UnknownType(other).into()),
        })
    }

    fn line(&mut self) -> Result<&'a [u8], Stop> {
        let end = self.rest.iter().position(|&byte| byte == b'\r');
        let end = end.ok_or(Stop::Incomplete)?;
        let line = &self.rest[..end];
        self.rest = &self.rest[end..];
        self.line_end()?;
        Ok(line)
    }

    fn line_end(&mut self) -> Result<(), Stop> {
        match self.rest {
            [b'\r', b'\n', rest @ ..] => {
                self.rest = rest;
                Ok(())
            }
            [] | [b'\r'] => Err(Stop::Incomplete),
            _ => Err(ReplyError::MissingLineEnd.into()),
        }
    }

    /// A length; `None` stands for the -1 of RESP2's nulls.
    fn length(&mut self) -> Result<Option<usize>, Stop> {
        let length = parse_integer(self.line()?).ok_or(ReplyError::InvalidLength)?;
        if length == -1 {
            return Ok(None);
        }
        let length = usize::try_from(length).map_err(|_| ReplyError::InvalidLength)?;
        Ok(Some(length))
    }

    fn string(&mut self) -> Result<Option<&'a [u8]>, Stop> {
        let Some(length) = self.length()? else {
            return Ok(None);
        };
        let (bytes, rest) = self.rest.split_at_checked(length).ok_or(Stop::Incomplete)?;
        self.rest = rest;
        self.line_end()?;
        Ok(Some(bytes))
    }

    /// A string that may not be null.
    fn present(&mut self) -> Result<&'a [u8], Stop> {
        Ok(self.string()?.ok_or(ReplyError::InvalidLength)?)
    }

    fn verbatim(&mut self) -> Result<Reply, Stop> {
        match self.present()? {
            [_, _, _, b':', text @ ..] => Ok(Reply::Verbatim(Blob::from(text))),
            _ => Err(ReplyError::InvalidValue.into()),
        }
    }

    fn null(&mut self) -> Result<Reply, Stop> {
        match self.line()? {
            b"" => Ok(Reply::Null),
            _ => Err(ReplyError::InvalidValue.into()),
        }
    }

    fn boolean(&mut self) -> Result<Reply, Stop> {
        match self.line()? {
            b"t" => Ok(Reply::Bool(true)),
            b"f" => Ok(Reply::Bool(false)),
            _ => Err(ReplyError::InvalidValue.into()),
        }
    }

    fn double(&mut self) -> Result<Reply, Stop> {
        let text = std::str::from_utf8(self.line()?).map_err(|_| ReplyError::InvalidValue)?;
        let value = text.parse().map_err(|_| ReplyError::InvalidValue)?;
        Ok(Reply::Double(value))
    }

    fn items(&mut self, depth: usize) -> Result<Option<Vec<Reply>>, Stop> {
        let Some(count) = self.length()? else {
            return Ok(None);
        };
        let depth = deeper(depth)?;
        let mut items = Vec::with_capacity(self.believable(count));
        for _ in 0..count {
            items.push(self.reply(depth)?);
        }
        Ok(Some(items))
    }

    fn pairs(&mut self, depth: usize) -> Result<Option<Vec<(Reply, Reply)>>, Stop> {
        let Some(count) = self.length()? else {
            return Ok(None);
        };
        let depth = deeper(depth)?;
        let mut pairs = Vec::with_capacity(self.believable(count));
        for _ in 0..count {
            pairs.push((self.reply(depth)?, self.reply(depth)?));
        }
        Ok(Some(pairs))
    }

    /// How many elements to make room for: a sender's claim is worth a little, and no more than its bytes can hold.
    fn believable(&self, count: usize) -> usize {
        count.min(self.rest.len() / 3).min(1024)
    }
}

fn deeper(depth: usize) -> Result<usize, Stop> {
    if depth == DEPTH_MAX {
        return Err(ReplyError::TooDeep.into());
    }
    Ok(depth + 1)
}

fn failure(text: &[u8]) -> Reply {
    Reply::Error(CommandError::from(String::from_utf8_lossy(text).into_owned()))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::{Version, encode};

    fn decode(text: &[u8]) -> Result<Option<Reply>, ReplyError> {
        let decoded = decode_reply(text)?;
        Ok(decoded.map(|(reply, consumed)| {
            assert_eq!(consumed, text.len(), "{}", text.escape_ascii());
            reply
        }))
    }

    #[test]
    fn each_form_is_read() {
        let one = || Reply::Integer(1);
        let cases: Vec<(&[u8], Reply)> = vec![
            (b"+OK\r\n", Reply::OK),
            (b"+\r\n", Reply::status("")),
            (b"-ERR no\r\n", Reply::Error(CommandError::text("ERR no"))),
            (b"!6\r\nERR no\r\n", Reply::Error(CommandError::text("ERR no"))),
            (b":-7\r\n", Reply::Integer(-7)),
            (b"$3\r\na\r\n\r\n", Reply::bulk("a\r\n")),
            (b"$-1\r\n", Reply::Null),
            (b"*-1\r\n", Reply::NullArray),
            (b"_\r\n", Reply::Null),
            (b"#t\r\n", Reply::Bool(true)),
            (b",1.5e3\r\n", Reply::Double(1500.0)),
            (b",-inf\r\n", Reply::Double(f64::NEG_INFINITY)),
            (b"(12345678901234567890\r\n", Reply::BigNumber(Blob::from_static(b"12345678901234567890"))),
            (b"=6\r\ntxt:hi\r\n", Reply::Verbatim(Blob::from(b"hi"))),
            (b"*2\r\n:1\r\n*0\r\n", Reply::Array(vec![one(), Reply::Array(vec![])])),
            (b"~1\r\n:1\r\n", Reply::Set(vec![one()])),
            (b">1\r\n:1\r\n", Reply::Push(vec![one()])),
            (b"%1\r\n:1\r\n:1\r\n", Reply::Map(vec![(one(), one())])),
            (b"|1\r\n+ttl\r\n:9\r\n:1\r\n", one()),
        ];
        for (text, reply) in cases {
            assert_eq!(decode(text), Ok(Some(reply)), "{}", text.escape_ascii());
            for cut in 0..text.len() {
                assert_eq!(decode_reply(&text[..cut]), Ok(None), "{}", text[..cut].escape_ascii());
            }
        }
    }

    #[test]
    fn what_is_no_reply_is_refused() {
        for (text, error) in [
            (b"x\r\n".as_slice(), ReplyError::UnknownType(b'x')),
            (b":1x\r\n", ReplyError::InvalidValue),
            (b":\r\n", ReplyError::InvalidValue),
            (b"_x\r\n", ReplyError::InvalidValue),
            (b"#1\r\n", ReplyError::InvalidValue),
            (b",one\r\n", ReplyError::InvalidValue),
            (b"=2\r\nhi\r\n", ReplyError::InvalidValue),
            (b"=-1\r\n", ReplyError::InvalidLength),
            (b"$-2\r\n", ReplyError::InvalidLength),
            (b"$?\r\n", ReplyError::InvalidLength),
            (b"*9999999999999999999\r\n", ReplyError::InvalidLength),
            (b"$1\r\nab\r\n", ReplyError::MissingLineEnd),
            (b"+a\rb\r\n", ReplyError::MissingLineEnd),
        ] {
            assert_eq!(decode(text), Err(error), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn nesting_ends_at_its_limit() {
        let nested = |depth: usize| [b"*1\r\n".repeat(depth), b":1\r\n".to_vec()].concat();
        assert!(matches!(decode(&nested(DEPTH_MAX)), Ok(Some(_))));
        assert_eq!(decode(&nested(DEPTH_MAX + 1)), Err(ReplyError::TooDeep));
        let attributes = b"|0\r\n".repeat(DEPTH_MAX + 1);
        assert_eq!(decode(&attributes), Err(ReplyError::TooDeep));
    }

    #[test]
    fn a_claimed_length_is_not_believed() {
        assert_eq!(decode(b"*4611686018427387904\r\n"), Ok(None));
        assert_eq!(decode(b"$9223372036854775807\r\nabc"), Ok(None));
    }

    fn blob() -> impl Strategy<Value = Blob> {
        prop::collection::vec(any::<u8>(), 0..60).prop_map(Blob::from)
    }

    /// Replies that RESP3 carries without loss.
    fn reply() -> impl Strategy<Value = Reply> {
        let leaf = prop_oneof![
            "[^\r\n]{0,20}".prop_map(|text| Reply::Status(Blob::from(text.as_bytes()))),
            "[^\r\n]{0,20}".prop_map(|text| Reply::Error(text.into())),
            blob().prop_map(Reply::Bulk),
            blob().prop_map(Reply::Verbatim),
            any::<i64>().prop_map(Reply::Integer),
            any::<f64>().prop_filter("nan differs from itself", |value| !value.is_nan()).prop_map(Reply::Double),
            any::<bool>().prop_map(Reply::Bool),
            "-?[0-9]{1,40}".prop_map(|digits| Reply::BigNumber(Blob::from(digits.as_bytes()))),
            Just(Reply::Null),
        ];
        leaf.prop_recursive(4, 40, 6, |inner| {
            let items = prop::collection::vec(inner.clone(), 0..6);
            prop_oneof![
                items.clone().prop_map(Reply::Array),
                items.clone().prop_map(Reply::Set),
                items.prop_map(Reply::Push),
                prop::collection::vec((inner.clone(), inner), 0..4).prop_map(Reply::Map),
            ]
        })
    }

    proptest! {
        #[test]
        fn resp3_carries_replies_without_loss(reply in reply()) {
            let mut out = Vec::new();
            encode(&reply, Version::Resp3, &mut out);
            prop_assert_eq!(decode(&out), Ok(Some(reply)));
        }

        #[test]
        fn resp2_flattened_once_stays_the_same(reply in reply()) {
            let mut first = Vec::new();
            encode(&reply, Version::Resp2, &mut first);
            let flat = decode(&first).unwrap().unwrap();
            let mut second = Vec::new();
            encode(&flat, Version::Resp2, &mut second);
            prop_assert_eq!(first, second);
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = decode_reply(&bytes);
        }
    }
}
