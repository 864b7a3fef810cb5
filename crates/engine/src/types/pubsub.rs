//! pubsub
use crate::command::Command;
/// Rows.
pub(crate) const ROWS: &[Command] = &[];
