//! A walk over all keys that stops now and then, so that others get their turn, and goes on where it was.
//!
//! `KEYS` and `SCAN` look at a bounded number of keys while they hold the database. Where the one who runs them [allows
//! it](crate::Txn::may_pause) they end with [`Stop::Unfinished`](crate::Stop) after that, and are run again with what they have so
//! far. What is there all along is found, as with a cursor; what comes or goes meanwhile may or may not be. Nothing here is done in
//! a transaction or a script, which see all keys of one moment.

use dormouse_proto::Reply;

use crate::scan_map::Cursor;

/// See the module's text.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sweep {
    /// Where it goes on.
    pub(crate) cursor: Cursor,
    /// How many keys it has looked at, near enough.
    pub(crate) looks: usize,
    /// What it has found, and how large that is, in bytes.
    pub(crate) found: Vec<Reply>,
    pub(crate) bytes: usize,
}

impl Sweep {
    /// One that begins at a cursor.
    pub(crate) fn from(cursor: Cursor) -> Self {
        Self { cursor, ..Self::default() }
    }
}
