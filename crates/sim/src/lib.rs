//! Dormouse's databases on a disk that fails, from a seed, with a judge.
//!
//! The real engine, databases, recovery and commit log run in one thread, on a disk and a store in memory that fail as told
//! ([`dormouse_storage::FaultyDisk`], [`SimStore`]), with a clock that moves when told. One seed decides all: who acts on
//! which database, when the log is written and synced, when a checkpoint is made or a database falls asleep, which read,
//! write, sync or rename fails, and what a loss of power leaves of what was not synced. So a failure is a number to run again.
//!
//! The judge is a [`Model`]: the engine alone, in memory, without log, store or recovery. While a database runs, each of its
//! replies is the model's. After each crash it is what the model was after some number of log records, for all databases the
//! same number; nothing that was shown is missing, and whatever a reader was shown is still true.
//!
//! The embedded store does its own file access, so here its contract stands in for it: a batch happens wholly or not at all, is
//! durable when `apply` returns, and may be either if `apply` fails. That the real one keeps the contract is tested elsewhere.
//! Nothing here knows sockets, and nothing depends on this crate.

mod commands;
mod model;
mod store;
mod world;

pub use model::Model;
pub use store::SimStore;
pub use world::{Failure, Report, run};

/// A fault that is no fault of the disk, but a bug: the judge has to notice each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutant {
    /// A reply is shown before what it depends on is on disk.
    ShowsEarly,
    /// The disk says that it has synced, and has not.
    SyncLies,
    /// A checkpoint does not remove what was deleted.
    ForgetsDeletions,
    /// A crash within a checkpoint leaves half of it.
    HalfCheckpoint,
    /// The last checkpoint is not there after a crash, though its position is.
    LosesCheckpoint,
    /// The store says that it covers one record more than it does.
    SkipsRecord,
    /// A checkpoint leaves one key out.
    LosesKey,
    /// The notes of requests that run once do not get into the store.
    LosesNotes,
    /// The index of deadlines does not get into the store.
    LosesDeadlines,
    /// Libraries of functions do not get into the store.
    LosesLibraries,
    /// A key that was written to the store twice is read as it was the first time.
    ReadsStale,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::ShowsEarly,
        Self::SyncLies,
        Self::ForgetsDeletions,
        Self::HalfCheckpoint,
        Self::LosesCheckpoint,
        Self::SkipsRecord,
        Self::LosesKey,
        Self::LosesNotes,
        Self::LosesDeadlines,
        Self::LosesLibraries,
        Self::ReadsStale,
    ];
}
