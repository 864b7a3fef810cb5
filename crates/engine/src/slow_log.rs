//! What took long: the log behind `SLOWLOG`.
//!
//! How long commands take is measured where they are counted (`stats.rs`): of those that Redis calls fast, and of `SET`, only
//! some, unless somebody has set a threshold of their own. Passwords are left out of what is kept.

use std::collections::VecDeque;

use dormouse_proto::{Args, Blob};

use crate::client::{Client, Door};
use crate::command::{Command, Run, Session};
use crate::txn::{Outcome, Txn};
use crate::types::monitor::NO_ADDRESS;
use crate::types::monitor::redacted;

/// How long a command takes before it is noted, in microseconds, as in Redis.
pub(crate) const SLOWER_THAN_US: i64 = 10_000;
/// Entries that are kept, as in Redis.
pub(crate) const ENTRIES: usize = 128;
/// Most entries that may be asked for.
pub(crate) const ENTRIES_MAX: usize = 1_000;
/// Arguments of an entry, the last one of which may say how many there were.
const ARGS_MAX: usize = 32;
/// Bytes of an argument; the rest is counted.
const ARG_BYTES_MAX: usize = 128;

/// See the module's text.
#[derive(Debug)]
pub struct SlowLog {
    /// Negative is never.
    pub(crate) slower_than_us: i64,
    pub(crate) entries_max: usize,
    /// Whether commands are timed that seldom take long.
    pub(crate) times_all: bool,
    next_id: i64,
    /// The newest first.
    pub(crate) entries: VecDeque<SlowEntry>,
}

/// A command that took long.
#[derive(Debug)]
pub(crate) struct SlowEntry {
    pub(crate) id: i64,
    pub(crate) at_s: u64,
    pub(crate) took_us: u64,
    pub(crate) args: Vec<Blob>,
    pub(crate) address: String,
    pub(crate) name: Blob,
}

impl Default for SlowLog {
    fn default() -> Self {
        Self {
            slower_than_us: SLOWER_THAN_US,
            entries_max: ENTRIES,
            times_all: false,
            next_id: 0,
            entries: VecDeque::new(),
        }
    }
}

impl SlowLog {
    /// Whether a command that took so long is noted. What carries nothing but a password is not.
    const fn wants(&self, command: &Command, took_us: u64) -> bool {
        let is_login = matches!(command.run, Run::Session(Session::Auth | Session::Hello));
        self.slower_than_us >= 0 && took_us >= self.slower_than_us.unsigned_abs() && !is_login
    }

    fn note(&mut self, at_s: u64, took_us: u64, client: &Client, args: Args<'_>) {
        let address = if client.door == Door::Rest { NO_ADDRESS.to_owned() } else { client.address.clone() };
        let (id, name) = (self.next_id, client.name.clone());
        self.next_id += 1;
        self.entries.push_front(SlowEntry { id, at_s, took_us, args: shorten(args), address, name });
        self.entries.truncate(self.entries_max);
    }
}

/// Arguments as an entry keeps them.
fn shorten(args: Args<'_>) -> Vec<Blob> {
    let shown = if args.len() > ARGS_MAX { ARGS_MAX - 1 } else { args.len() };
    let cut = |arg: &&[u8]| match arg.get(..ARG_BYTES_MAX) {
        Some(start) if arg.len() > ARG_BYTES_MAX => {
            let more = format!("... ({} more bytes)", arg.len() - ARG_BYTES_MAX);
            Blob::from([start, more.as_bytes()].concat())
        }
        _ => Blob::from(*arg),
    };
    let mut kept: Vec<Blob> = args[..shown].iter().map(cut).collect();
    if shown < args.len() {
        kept.push(Blob::from(format!("... ({} more arguments)", args.len() - shown).into_bytes()));
    }
    kept
}

impl Txn<'_> {
    /// As [`Txn::run`], noting the command if it takes long, without its passwords.
    pub fn run_timed(&mut self, command: &'static Command, args: Args<'_>) -> Outcome {
        let outcome = self.run(command, args);
        let Some(took_us) = self.took_us else { return outcome };
        let at_s = self.now_ms() / 1_000;
        if self.hub().slow_log.wants(command, took_us) {
            let client = self.client().clone();
            self.hub().slow_log.note(at_s, took_us, &client, &redacted(command, args));
        }
        let event = if command.is_fast() { "fast-command" } else { "command" };
        self.hub().note_spike(event, took_us, at_s);
        outcome
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_bounded_in_number_and_size() {
        let mut log = SlowLog { entries_max: 2, ..SlowLog::default() };
        let long = [b'x'; 130];
        let many: Vec<&[u8]> = std::iter::repeat_n(&b"a"[..], 40).collect();
        for args in [&[&b"GET"[..]][..], &[b"SET", &long], &many] {
            log.note(1, 2, &Client::default(), args);
        }
        let ids: Vec<i64> = log.entries.iter().map(|entry| entry.id).collect();
        assert_eq!(ids, [2, 1]);
        let last = |at: usize| String::from_utf8_lossy(log.entries[at].args.last().unwrap()).into_owned();
        assert_eq!(log.entries[0].args.len(), 32);
        assert_eq!(last(0), "... (9 more arguments)");
        assert_eq!(last(1), format!("{}... (2 more bytes)", "x".repeat(128)));
    }

    #[test]
    fn what_is_quick_is_not_noted() {
        let command = |name: &[u8]| crate::table::by_name(name).unwrap();
        let mut log = SlowLog::default();
        assert!(!log.wants(command(b"GET"), 9_999) && log.wants(command(b"GET"), 10_000));
        log.slower_than_us = 0;
        assert!(log.wants(command(b"GET"), 0) && !log.wants(command(b"AUTH"), 0));
        log.slower_than_us = -1;
        assert!(!log.wants(command(b"KEYS"), u64::MAX));
    }
}
