//! What crosses the wire: requests, replies, errors, and their encodings in RESP and in REST's JSON.
//!
//! Both the server and its clients speak through this crate, so it knows no command by name, holds no state and does no
//! I/O: codecs turn bytes into slices of those bytes, and replies into bytes. A codec never trusts a length it was sent.

mod error;
mod number;
mod reply;
pub mod resp;
pub mod rest;

pub use error::CommandError;
pub use number::{Double, parse_double, parse_integer};
pub use reply::{Attributed, Reply};

/// A byte string as Dormouse keeps it: inline up to 23 bytes, shared (and cheap to clone) beyond.
pub type Blob = hipstr::HipByt<'static>;

/// The arguments of one command, its name first, borrowed from wherever they were read.
pub type Args<'a> = &'a [&'a [u8]];
