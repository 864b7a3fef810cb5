//! Simulated lives, and each fault in turn.
#![expect(clippy::unwrap_used, reason = "these are tests; an error is a failed one")]

mod faults;
mod lives;
