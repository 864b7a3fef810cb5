//! What a blocked command waits for.
//!
//! A handler with nothing to take stops with a [`Block`]; whoever ran it parks the command, runs it again when one of the keys
//! has been written or when it says, and answers for it when the time is up. Nothing here waits.

use std::num::NonZeroU64;

use dormouse_proto::{Args, Blob, Reply};

/// What a blocked command waits for.
#[derive(Clone, Debug, PartialEq)]
pub struct Block {
    /// Keys whose change may unblock it.
    pub keys: Vec<Blob>,
    /// How long it waits, in milliseconds; `None` is for ever.
    pub timeout_ms: Option<u64>,
    /// The reply when the time is up.
    pub on_timeout: Reply,
    /// The command to run again, if not as it came: what it meant by "now" is fixed then.
    pub again: Option<Box<[Blob]>>,
    /// When to run it again even if no key was written, in milliseconds since the Unix epoch.
    pub retry_ms: Option<NonZeroU64>,
    /// Whether it wants to know that a key went, too.
    pub even_if_gone: bool,
}

impl Block {
    /// Waits for keys to have something to take.
    pub fn on(keys: Args<'_>, timeout_ms: Option<u64>, on_timeout: Reply) -> Self {
        let keys = keys.iter().map(|key| Blob::from(*key)).collect();
        Self { keys, timeout_ms, on_timeout, again: None, retry_ms: None, even_if_gone: false }
    }
}
