//! Commands that run and keep scripts.
//!
//! The interpreter is in `script/`; here is what surrounds a run: which text, which keys, which arguments. `EVAL` keeps
//! what it runs, so that a client may send the hash next time. Kept scripts are as volatile as in Redis.

use dormouse_proto::{Args, CommandError, Reply};

use crate::args::{integer, is};
use crate::command::{Command, Group, Session, command, container, session};
use crate::script::{self, Call};
use crate::script_cache::Came;
use crate::txn::{Outcome, Txn};
use crate::types::standalone::help_of;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    scripting("EVAL",       -3, eval)      .writes().count_at(2).script().no_script().doc("2.6.0", "Runs a script."),
    scripting("EVALSHA",    -3, evalsha)   .writes().count_at(2).script().no_script().doc("2.6.0", "Runs a script that is kept under its SHA-1."),
    scripting("EVAL_RO",    -3, eval_ro)   .reads() .count_at(2).script().no_script().doc("7.0.0", "Runs a script that may not write."),
    scripting("EVALSHA_RO", -3, evalsha_ro).reads() .count_at(2).script().no_script().doc("7.0.0", "Runs a script that is kept under its SHA-1 and may not write."),
    container("SCRIPT", SCRIPT).group(Group::Scripting).doc("2.6.0", "Keeps scripts."),
];

#[rustfmt::skip]
const SCRIPT: &[Command] = &[
    scripting("LOAD",    3, load)  .no_script().doc("2.6.0", "Keeps a script and returns its SHA-1."),
    scripting("EXISTS", -3, exists).no_script().doc("2.6.0", "Whether scripts are kept under these SHA-1s."),
    scripting("FLUSH",  -2, flush) .no_script().doc("2.6.0", "Forgets every script."),
    scripting("DEBUG",   3, debug) .no_script().doc("3.2.0", "Ends debugging, which there is none of."),
    scripting("HELP",    2, help)  .no_script().for_all().doc("5.0.0", "What the sub-commands are."),
    session("KILL",      2, Session::ScriptKill).group(Group::Scripting).no_script().while_busy().doc("2.6.0", "Ends the script that holds the database."),
];

const fn scripting(name: &'static str, arity: i8, handler: crate::command::Handler) -> Command {
    command(name, arity, handler).group(Group::Scripting)
}

/// There is no debugger to begin with.
fn debug(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    match args[2] {
        word if is(word, "NO") => Ok(Reply::OK),
        word if is(word, "YES") || is(word, "SYNC") => {
            Err(CommandError::text("ERR SCRIPT DEBUG is not supported: this server has no debugger").into())
        }
        _ => Err(CommandError::text("ERR Use SCRIPT DEBUG YES/SYNC/NO").into()),
    }
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

fn eval(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run_text(txn, args, false)
}

fn evalsha(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run_kept(txn, args, false)
}

fn eval_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run_text(txn, args, true)
}

fn evalsha_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    run_kept(txn, args, true)
}

/// Keys and other arguments, after the script and the count.
fn split(args: Args<'_>) -> Result<(Args<'_>, Args<'_>), CommandError> {
    let count = integer(args[2])?;
    let rest = &args[3..];
    if count > rest.len() as i64 {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| CommandError::text("ERR Number of keys can't be negative"))?;
    Ok(rest.split_at(count))
}

/// A script that no bound on kept ones has room for.
fn check_length(txn: &mut Txn<'_>, source: &[u8]) -> Result<(), CommandError> {
    let limit = txn.hub().limits.scripts_bytes_max;
    if source.len() > limit { Err(CommandError::RequestTooLarge(limit)) } else { Ok(()) }
}

fn run_text(txn: &mut Txn<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let (keys, rest) = split(args)?;
    let source = args[1];
    check_length(txn, source)?;
    let sha = script::sha(source);
    if txn.hub().use_script(&sha, Came::AsText).is_none() {
        // Only what compiles is kept.
        script::compile(source, &sha)?;
        txn.hub().keep_script(&sha, source, Came::AsText);
    }
    script::run(txn, Call { source, sha: &sha, keys, args: rest, read_only, command: args })
}

fn run_kept(txn: &mut Txn<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let (keys, rest) = split(args)?;
    let sha = String::from_utf8_lossy(args[1]).to_ascii_lowercase();
    let source = txn.hub().use_script(&sha, Came::ToStay).ok_or(CommandError::NoScript)?;
    script::run(txn, Call { source: &source, sha: &sha, keys, args: rest, read_only, command: args })
}

fn load(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    check_length(txn, args[2])?;
    let sha = script::sha(args[2]);
    script::compile(args[2], &sha)?;
    txn.hub().keep_script(&sha, args[2], Came::ToStay);
    Ok(Reply::bulk(sha))
}

#[expect(clippy::unnecessary_wraps, reason = "every handler has this type")]
fn exists(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let kept = |sha: &&[u8]| txn.hub().script(&String::from_utf8_lossy(sha).to_ascii_lowercase()).is_some();
    Ok(Reply::Array(args[2..].iter().map(kept).map(Reply::flag).collect()))
}

fn flush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    match args[2..] {
        [] => {}
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => {}
        _ => return Err(CommandError::text("ERR SCRIPT FLUSH only support SYNC|ASYNC option").into()),
    }
    txn.forget_scripts();
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_script_too_long_to_be_kept_is_refused() {
        let mut bench = Bench::new();
        bench.hub.limits.scripts_bytes_max = 20;
        assert_eq!(bench.run_args(&[b"EVAL", b"return 12345678", b"0"]), Reply::Integer(12_345_678));
        let long = b"return 12345678901234".as_slice();
        assert_eq!(bench.run_args(&[b"EVAL", long, b"0"]), CommandError::RequestTooLarge(20).into());
        assert_eq!(bench.run_args(&[b"SCRIPT", b"LOAD", long]), CommandError::RequestTooLarge(20).into());
    }
}
