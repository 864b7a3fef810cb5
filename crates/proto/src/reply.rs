//! A reply, before anybody knows whether it leaves as RESP2, RESP3 or JSON.
//!
//! Handlers say what they mean (a map, a set, a double, scored pairs) and each codec flattens as far as its protocol
//! needs. So a handler never asks which protocol the client speaks.

use crate::{Blob, CommandError};

/// The answer to one command.
#[derive(Clone, Debug, PartialEq)]
pub enum Reply {
    /// A short text such as `OK`, `PONG` or `QUEUED`.
    Status(Blob),
    /// A byte string.
    Bulk(Blob),
    /// A whole number.
    Integer(i64),
    /// A double; text in RESP2 and JSON.
    Double(f64),
    /// A whole number that 64 bits need not hold, as digits; text in RESP2 and JSON.
    BigNumber(Blob),
    /// A truth value; 1 or 0 in RESP2 and JSON.
    Bool(bool),
    /// Nothing there, where one string was asked for.
    Null,
    /// Nothing there, where an array was asked for: `*-1` in RESP2, the same null elsewhere.
    NullArray,
    /// Elements in order.
    Array(Vec<Reply>),
    /// Distinct elements; an array in RESP2 and JSON.
    Set(Vec<Reply>),
    /// Keys and values; a flat array in RESP2 and JSON.
    Map(Vec<(Reply, Reply)>),
    /// Ordered pairs such as members with scores: flat in RESP2 and JSON, an array of pairs in RESP3.
    Pairs(Vec<(Reply, Reply)>),
    /// Values under keys, in order: an array of pairs in RESP2 and JSON, a map in RESP3 (`XREAD`).
    Keyed(Vec<(Reply, Reply)>),
    /// Text meant for people (`INFO`): verbatim in RESP3, a bulk string elsewhere.
    Verbatim(Blob),
    /// An out-of-band message, such as one from a subscription.
    Push(Vec<Reply>),
    /// Several replies to one command, one after the other (`SUBSCRIBE a b`).
    Many(Vec<Reply>),
    /// A reply with more said of it, which only RESP3 shows.
    Attributed(Box<Attributed>),
    /// The command failed.
    Error(CommandError),
}

/// See [`Reply::Attributed`].
#[derive(Clone, Debug, PartialEq)]
pub struct Attributed {
    /// What is said of the reply.
    pub attributes: Vec<(Reply, Reply)>,
    /// The reply itself.
    pub reply: Reply,
}

impl Reply {
    /// The usual answer of a command that has nothing else to say.
    pub const OK: Self = Self::Status(Blob::from_static(b"OK"));

    /// A status from a literal.
    pub const fn status(text: &'static str) -> Self {
        Self::Status(Blob::from_static(text.as_bytes()))
    }

    /// A bulk string, copied from `bytes`.
    pub fn bulk(bytes: impl AsRef<[u8]>) -> Self {
        Self::Bulk(Blob::from(bytes.as_ref()))
    }

    /// A count.
    pub const fn count(n: usize) -> Self {
        Self::Integer(n as i64)
    }

    /// 1 or 0.
    pub const fn flag(yes: bool) -> Self {
        Self::Integer(yes as i64)
    }

    /// A bulk string, or null.
    pub fn maybe(value: Option<Blob>) -> Self {
        value.map_or(Self::Null, Self::Bulk)
    }

    /// Bytes it takes once it is written, near enough.
    pub fn bytes(&self) -> usize {
        /// A little text around each part.
        const PART: usize = 32;
        let all = |replies: &[Self]| replies.iter().map(Self::bytes).sum::<usize>();
        PART + match self {
            Self::Status(text) | Self::Bulk(text) | Self::Verbatim(text) | Self::BigNumber(text) => text.len(),
            Self::Array(items) | Self::Set(items) | Self::Push(items) | Self::Many(items) => all(items),
            Self::Map(pairs) | Self::Pairs(pairs) | Self::Keyed(pairs) => {
                pairs.iter().map(|(left, right)| left.bytes() + right.bytes()).sum()
            }
            Self::Attributed(both) => {
                let said = both.attributes.iter().map(|(left, right)| left.bytes() + right.bytes()).sum::<usize>();
                said + both.reply.bytes()
            }
            Self::Integer(_) | Self::Double(_) | Self::Bool(_) | Self::Null | Self::NullArray | Self::Error(_) => 0,
        }
    }

    /// An array of bulk strings.
    pub fn bulks(values: impl IntoIterator<Item = Blob>) -> Self {
        Self::Array(values.into_iter().map(Self::Bulk).collect())
    }
}

impl From<CommandError> for Reply {
    fn from(error: CommandError) -> Self {
        Self::Error(error)
    }
}
