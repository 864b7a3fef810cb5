//! Many databases over one commit log and one store.
//!
//! A [`Database`] is one tenant's keys: some in memory, all of them in the log and the store. A [`Service`] owns them all
//! and knows which token opens which. A [`Session`] is one client at work: it checks what the client may do, queues
//! transactions, and hands commands to its database.
//!
//! Nothing here knows sockets, protocols, async or the wall clock: every call is handed its moment, and whatever has to wait
//! comes back as a [`Step`] that says for what. So the whole of it runs in a simulator as it runs in a server.
//!
//! Invariants: what a reply shows is on disk once its `after` is durable; the effects of one command, transaction or script
//! are one record; memory is only ever ahead of the store by what the log holds.

mod backup;
mod catalogue;
mod check;
mod checkpoint;
mod cold;
mod database;
mod export;
mod import;
mod layout;
mod memory;
mod once;
mod quiet;
mod record;
mod recovery;
mod script_control;
mod service;
mod session;
mod work;

pub use backup::{BackupError, Summary};
pub use catalogue::{Listing, NAME_BYTES_MAX};
pub use check::{Report, check};
pub use database::{Database, DatabaseId, Delivery, Outbox};
pub use export::{Export, ExportError, Exported, RDB_VERSIONS};
pub use import::{ImportError, ImportOptions, Imported};
pub use once::{ONCE_KEY_BYTES_MAX, Once, Repeat, WriteAnswer};
pub use script_control::ScriptControl;
pub use service::{Account, Credentials, DEFAULT_NAME, Error, Options, Service};
pub use session::{Session, Step};
pub use work::{LongJob, Ran, Unparked, Work};
