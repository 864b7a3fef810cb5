//! The client against a real server, and against endpoints that lie, break off, stall and redirect.
#![expect(clippy::unwrap_used, reason = "a test that fails says so best where it fails")]

mod auto;
mod fake;
mod hostile;
mod quiet;
mod real;
mod subscriptions;
mod surface;
