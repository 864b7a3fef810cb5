//! The engine: what commands mean.
//!
//! It holds the command table and the data types, and runs commands on keys in memory. It is pure: no I/O, no clock, no
//! chance, no async, no threads. Time and seeds come in as a [`Moment`], cold keys through a [`Source`], and what changed
//! goes out as effects ([`Done::journal`]) that [`replay`] turns into the same state again. Two runs from one seed are the
//! same bytes.
//!
//! Read `table.rs`, then `types/hash/mod.rs`, then `txn.rs`.

mod acl;
mod args;
mod block;
mod client;
mod codec;
mod command;
mod decimal;
mod edit;
mod glob;
mod hub;
mod journal;
mod keyspace;
mod libraries;
mod moment;
mod partial_sort;
pub mod rdb;
mod replay;
mod residency;
mod scan_map;
mod script;
mod script_cache;
mod settings;
mod slow_log;
mod stats;
mod sweep;
mod table;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod told;
mod tracking;
mod txn;
mod types;
mod usage;
mod value;
mod watchdog;

pub use acl::{DEFAULT, DEFAULT_RO, Denial, Token, User, Users};
pub use client::{Client, ClientId, Door, Grant, Queued, Replies, Traffic, Transaction, UserId, Waiting};
pub use codec::{Corrupt, Reader};
pub use command::{Channels, Command, Effect, Group, Keys, Needs, Run, Session};
pub use hub::{Condition, Denied, Event, Facts, Health, Hub, Limits, Notifications, Pause, Running, Ticket};
pub use keyspace::{Adopted, Due, Entry, Expiring, Keyspace, Nothing, Record, Source, SourceError, Stored};
pub use libraries::{Libraries, Shelf};
pub use moment::{Moment, Random};
pub use replay::{ReplayError, replay};
pub use scan_map::{Cursor, hash, set_hash_seed};
pub use script_cache::Came;
pub use settings::{Encodings, Idmp, Settings, Small};
pub use slow_log::SlowLog;
pub use sweep::Sweep;
pub use table::{Found, Place, all, by_name, find, full_name, places};
pub use tracking::{Mode, Tracking, TrackingTable};
pub use txn::{
    Block, Done, NO_REPLICAS, OUT_OF_MEMORY, Outcome, Parts, Publication, Reaped, ReapedCold, Stop, Touched, Txn,
};
pub use types::monitor::{monitor_line, redacted};
pub use usage::Frequency;
pub use value::{Type, Value};
pub use watchdog::{Patient, Watchdog};

/// The Redis release whose behaviour is followed, as clients ask for it.
pub const REDIS_VERSION: &str = "8.2.0";
