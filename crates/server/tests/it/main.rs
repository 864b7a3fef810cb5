//! The real binary, from outside: started, spoken to, abused and killed, as operators and clients would.

#![expect(clippy::unwrap_used, reason = "a test fails where it stands")]
#![expect(clippy::print_stdout, reason = "seeds and figures, for whoever looks")]

mod acl;
mod bad_input;
mod control;
mod crash;
mod db;
mod disk;
mod doors;
mod failed_log;
mod format;
mod many;
mod once;
mod start;
mod support;
mod tls;
mod tracking;
mod transfer;
mod two;
mod waiting;
