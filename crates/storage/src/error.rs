//! What can go wrong with files, named for what happened.
//!
//! These texts are for the operator's log, so they say which file, where in it, and what can be done. They never travel
//! to a client. Errors are cheap to clone because one failed sync is reported to every caller that waited for it.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;

/// The result of everything in this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The operating system refused.
    #[error("{context}: {source}")]
    Io {
        /// What was being done, and to which file.
        context: String,
        /// What the operating system said.
        source: Arc<io::Error>,
    },
    /// What is on disk cannot be what was written.
    #[error("{} is corrupt at byte {offset}: {what}", path.display())]
    Corrupt {
        /// The damaged file, or the directory when a whole file is missing.
        path: PathBuf,
        /// Where in the file the damage begins.
        offset: u64,
        /// What was found, and what the operator can do.
        what: String,
    },
    /// An earlier write or sync failed, so nothing more is accepted: what the failed one left on disk is not known until
    /// the log is opened again.
    #[error("the log refuses writes since an earlier one failed ({cause}); restart to recover what is on disk")]
    Poisoned {
        /// The failure that came first.
        cause: Arc<Error>,
    },
    /// The log was closed before this call.
    #[error("the log is closed")]
    Closed,
    /// Another process has the directory.
    #[error(
        "{} is in use by another process; stop it, or give this one a directory of its own", path.display()
    )]
    Locked {
        /// The directory.
        path: PathBuf,
    },
    /// A log record over the limit.
    #[error("a record of {bytes} bytes is over the limit of {bytes_max}")]
    RecordTooLarge {
        /// The record's size.
        bytes: usize,
        /// The limit.
        bytes_max: usize,
    },
    /// A store key outside its limits.
    #[error("a key of {bytes} bytes is outside the limits of {} to {}", crate::KEY_BYTES_MIN, crate::KEY_BYTES_MAX)]
    KeySize {
        /// The key's size.
        bytes: usize,
    },
    /// A store value over the limit.
    #[error("a value of {bytes} bytes is over the limit of {}", crate::VALUE_BYTES_MAX)]
    ValueTooLarge {
        /// The value's size.
        bytes: usize,
    },
    /// The embedded store failed in a way that is neither the operating system's nor damage it could name.
    #[error("{context}: {what}")]
    Store {
        /// What was being done.
        context: String,
        /// What the store said.
        what: String,
    },
    /// The caller's replay function could not make sense of a record.
    #[error("the log record at LSN {lsn} cannot be replayed: {what}")]
    Replay {
        /// Which record.
        lsn: u64,
        /// Why not.
        what: String,
    },
}

impl Error {
    /// An operating system error, with what was being done.
    pub(crate) fn io(context: impl Into<String>, source: io::Error) -> Self {
        Self::Io { context: context.into(), source: Arc::new(source) }
    }
}
