//! Scripts: Lua 5.1, as Redis embeds it, over one [`Txn`].
//!
//! A script is a command that runs commands: everything it does goes through [`Txn::run`], so it reads, writes, journals
//! and rolls back like any other work, and the log never holds Lua. Each thread keeps one interpreter (`vm.rs`) between
//! scripts; `sandbox.rs` builds what a script may see, `api.rs` is the table `redis`, `convert.rs` is the border between
//! Lua values and replies, and each library of Redis's has a file of its own. `library.rs` is about users' own libraries.
//!
//! Two scripts must never see each other: globals and libraries cannot be changed, and settings start afresh each time.
//! A script must never outlive its time or its memory: long work asks the watchdog, whoever does it, and no `pcall`
//! survives the watchdog's answer. See `docs/decisions/0003-lua.md`.

mod api;
mod bit;
mod chunk;
mod cjson;
mod cmsgpack;
mod convert;
#[cfg(test)]
mod hostile;
mod library;
mod number;
mod pattern;
mod sandbox;
mod strings;
mod structs;
#[cfg(test)]
mod tests;
mod vm;

use dormouse_proto::{Args, Blob, CommandError};
use hashbrown::HashSet;
use sha1::{Digest, Sha1};

use crate::command::{Command, Effect, Run};
use crate::libraries;
use crate::txn::{Outcome, Txn};

pub(crate) use self::library::{load, name as library_name};

/// What a script is told that may not write, because it says so of itself or says nothing.
const READ_ONLY: &str = "ERR Write commands are not allowed from read-only scripts.";
/// What a script is told that says of itself that it writes, when it was called as one that does not. Redis does not even
/// begin to run it.
const SAYS_IT_WRITES: &str = "ERR Can not execute a script with write flag using *_ro command.";

/// Restrictions of the script at work.
#[derive(Clone, Debug, Default)]
pub(crate) struct Scope {
    /// Why it may not write, if it may not.
    read_only: Option<&'static str>,
    /// It may name these keys only.
    keys: Option<HashSet<Blob>>,
    /// It may run what scripts otherwise may not; see [`crate::hub::Hub::scripts_run_all`].
    runs_all: bool,
}

impl Scope {
    /// Why a script may not run a command, if so. The command has been found and its arguments counted.
    fn refusal(&self, command: &Command) -> Option<CommandError> {
        if (command.is_no_script() && !self.runs_all) || !matches!(command.run, Run::Handler(_)) {
            return Some(CommandError::text("ERR This Redis command is not allowed from script"));
        }
        if let Some(reason) = self.read_only
            && command.effect == Effect::Writes
        {
            return Some(CommandError::text(reason));
        }
        None
    }

    /// Why it may not touch the keys of a command that the client may run, if so.
    fn stranger(&self, command: &Command, args: Args<'_>) -> Option<CommandError> {
        let declared = self.keys.as_ref()?;
        // What reads or writes without naming keys is about all of them.
        let keyless = command.effect != Effect::None && !command.keys.are_named();
        if command.does_sweep() || keyless {
            return Some(CommandError::from(format!(
                "ERR '{}' is not allowed in Lua scripts when 'allow-key-locking' flag is set.",
                command.name.to_ascii_lowercase()
            )));
        }
        let stranger = command.keys_of(args).find(|key| !declared.contains(*key))?;
        Some(CommandError::from(format!(
            "ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set. Key was: {}",
            String::from_utf8_lossy(stranger)
        )))
    }
}

/// One run of a script.
#[derive(Clone, Copy)]
pub(crate) struct Call<'a> {
    /// Its text.
    pub(crate) source: &'a [u8],
    /// The text's [`sha`].
    pub(crate) sha: &'a str,
    /// What it finds as `KEYS`.
    pub(crate) keys: Args<'a>,
    /// What it finds as `ARGV`.
    pub(crate) args: Args<'a>,
    /// Whether writes are refused, whatever the script's own flags say.
    pub(crate) read_only: bool,
    /// The command that runs it.
    pub(crate) command: Args<'a>,
}

/// Compiles a script ahead of its run, or says why it cannot be.
pub(crate) fn compile(source: &[u8], sha: &str) -> Result<(), CommandError> {
    vm::compile(source, sha)
}

/// Runs a script.
pub(crate) fn run(txn: &mut Txn<'_>, call: Call<'_>) -> Outcome {
    txn.begins(None, call.command);
    let may_block = std::mem::replace(&mut txn.may_block, false);
    let outcome = vm::run(txn, call);
    txn.script = None;
    txn.may_block = may_block;
    outcome
}

/// Runs a function of a library, whose text and hash are in `call`.
pub(crate) fn run_function(txn: &mut Txn<'_>, function: &libraries::Function, call: Call<'_>) -> Outcome {
    txn.begins(Some(&function.name), call.command);
    let may_block = std::mem::replace(&mut txn.may_block, false);
    let outcome = vm::run_function(txn, function, call);
    txn.script = None;
    txn.may_block = may_block;
    outcome
}

/// The name a script is kept under: the SHA-1 of its bytes, in lower-case hexadecimal.
pub(crate) fn sha(source: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digest = Sha1::digest(source);
    digest.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}
