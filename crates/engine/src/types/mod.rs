//! One file per data type, and one for each group of commands without a type of its own.
//!
//! Each file reads in the same order: what it is, its rows, the type, its handlers in the rows' order, helpers, tests.

pub(crate) mod acl;
pub(crate) mod array;
pub(crate) mod bitmap;
pub(crate) mod client_control;
mod client_tracking;
pub(crate) mod collection;
pub(crate) mod config;
pub(crate) mod connection;
pub(crate) mod debug;
pub(crate) mod dump;
pub(crate) mod function;
pub(crate) mod generic;
pub(crate) mod geo;
pub(crate) mod hash;
pub(crate) mod hyperloglog;
pub(crate) mod increx;
pub(crate) mod info;
pub(crate) mod json;
pub(crate) mod lcs;
pub(crate) mod list;
pub(crate) mod monitor;
pub(crate) mod object;
pub(crate) mod pubsub;
pub(crate) mod scripting;
pub(crate) mod server;
pub(crate) mod set;
pub(crate) mod slow;
pub(crate) mod sort;
pub(crate) mod standalone;
pub(crate) mod stream;
pub(crate) mod string;
pub(crate) mod transaction;
pub(crate) mod zset;
