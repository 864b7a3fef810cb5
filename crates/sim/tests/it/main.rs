//! Simulated lives, and each fault in turn.
#![expect(clippy::unwrap_used, reason = "these are tests; an error is a failed one")]
#![expect(clippy::print_stdout, reason = "figures, for whoever looks")]

mod faults;
mod lives;
