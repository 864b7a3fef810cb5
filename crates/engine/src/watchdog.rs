//! What the engine asks its caller about time: whether a script has run for too long, and how long something took.
//!
//! The engine reads no clock. What it asks here never gets into an effect or a reply to a command, only into what an operator
//! looks at.

use dormouse_proto::Args;

/// Ends scripts that run too long. Time is the caller's to measure.
pub trait Watchdog {
    /// Whether the script must stop now. Asked every few thousand instructions.
    fn expired(&self) -> bool;

    /// A script begins: the function's name, if it is one, and the command that runs it.
    fn begins(&self, _function: Option<&str>, _command: Args<'_>) {}

    /// A clock that only tells how long something takes, in microseconds from anywhere.
    fn clock_us(&self) -> u64 {
        0
    }
}

/// A watchdog that never bites.
#[derive(Clone, Copy, Debug, Default)]
pub struct Patient;

impl Watchdog for Patient {
    fn expired(&self) -> bool {
        false
    }
}
