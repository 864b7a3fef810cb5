//! RESP, Redis's own protocol: commands in, replies out, and replies in again for clients and tests.
//!
//! [`Parser`] finds one command at the front of a read buffer and leaves its arguments where they are; [`encode`] appends
//! a reply in either version; [`decode_reply`] reads one back. The limits and the error texts are those of Redis, because
//! clients and tests know them. Nothing here reads a socket, and no length a client claims is ever allocated up front.

mod command;
mod decode;
mod encode;

pub use command::{
    ArgsIter, Limits, Parsed, Parser, ProtocolError, UNAUTHENTICATED_ARGS_MAX, UNAUTHENTICATED_BULK_BYTES_MAX,
};
pub use decode::{DEPTH_MAX, ReplyError, decode_reply};
pub use encode::{encode, encode_command};

/// Which version of the protocol a connection speaks; `HELLO` changes it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// The protocol every client knows: strings, integers, arrays, errors.
    #[default]
    Resp2,
    /// Adds maps, sets, doubles, booleans, verbatim text and push messages.
    Resp3,
}
