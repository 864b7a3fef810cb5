//! The only crate that knows files. It stores bytes and never learns what Redis is.
//!
//! Two halves, each with its own promise:
//!
//! - [`Log`]: one commit log per process. A record is acknowledged once [`Log::durable`] has passed it; every write
//!   waiting at that moment shares one sync.
//! - [`Store`]: ordered keys and values on disk. A checkpoint is one [`Store::apply`]: it happens wholly or not at all
//!   and carries the [`Lsn`] it covers, which is where replay of the log starts after a restart.
//!
//! [`DirectoryLock`] keeps a second process out of the directory that holds both. [`Disk`] is the door to the file
//! system, so that [`FaultyDisk`] can stand in its place and stop at every write and sync in turn.
//!
//! Nothing here knows commands, databases, expiry or sockets, and nothing here is async: callers that must not block
//! append, return, and hear of the outcome through [`Log::on_durable`].
#![forbid(unsafe_code)]

mod disk;
mod error;
mod faulty;
mod lock;
mod log;
mod store;

#[cfg(feature = "testing")]
pub use store::contract;

pub use disk::{Disk, DiskFile, RealDisk};
pub use error::{Error, Result};
pub use faulty::{Fault, FaultyDisk};
pub use lock::DirectoryLock;
pub use log::{DroppedTail, Log, LogOptions, Recovery, check_log};
pub use store::{
    Batch, CheckedStore, FaultyStore, KEY_BYTES_MAX, KEY_BYTES_MIN, MemoryStore, Snapshot, Store, StoreOptions,
    VALUE_BYTES_MAX, check_batch, check_store, open_store,
};

/// The position of a record in the log. The first record is 1 and each record adds one; 0 is "nothing yet".
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The position of the record after this one.
    ///
    /// ```
    /// use dormouse_storage::Lsn;
    /// assert_eq!(Lsn::default().next(), Lsn(1));
    /// ```
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// What one record asks of the disk before it may be acknowledged.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default)]
pub enum Durability {
    /// On disk first: survives loss of power.
    #[default]
    Always,
    /// Handed to the operating system first, and on disk within the sync interval: survives the death of the process.
    EverySec,
    /// Handed to the operating system first, which writes it when it likes: survives the death of the process.
    None,
}
