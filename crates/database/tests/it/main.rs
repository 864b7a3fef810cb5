//! Databases without a server: what moves between memory, log and store, and what a client sees of it (nothing).

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]

mod acl;
mod backup;
mod check;
mod functions;
mod import;
mod random;
mod residency;
mod sessions;
mod sleep;
mod support;
