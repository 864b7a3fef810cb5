//! What storage promises, from outside: one binary, so that it links once.
#![expect(clippy::unwrap_used, reason = "a test that cannot set up has failed")]

mod contract;
mod lock;
mod log_behaviour;
mod log_crash;
mod log_recovery;
mod process_killed;
mod support;
