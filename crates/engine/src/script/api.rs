//! The table `redis`: how a script runs commands and makes replies.
//!
//! A command from a script passes the checks of any other (it exists, its arguments count, the client may run it), then
//! the script's own [`Scope`](super::Scope), and runs in the script's transaction.

use std::rc::Rc;

use dormouse_proto::{CommandError, Reply};
use mlua::{Lua, MultiValue, Table, Value};
use smallvec::SmallVec;

use super::convert;
use super::number::{WHOLE_MAX, shortest};
use super::sandbox::text_of;
use super::vm::{Fault, Shared};
use crate::acl::{Context, Denial};
use crate::command::Command;
use crate::table::{by_name, find};
use crate::txn::{Stop, Txn};
use crate::types::server::REDIS_VERSION;

/// One argument of a command, as Lua holds it.
enum Argument {
    Text(mlua::BorrowedBytes),
    Number(SmallVec<[u8; 32]>),
}

impl Argument {
    fn read(value: &Value) -> Option<Self> {
        match value {
            Value::String(text) => Some(Self::Text(text.as_bytes())),
            Value::Integer(value) if value.unsigned_abs() <= WHOLE_MAX => {
                Some(Self::Number(itoa::Buffer::new().format(*value).bytes().collect()))
            }
            Value::Integer(value) => Some(Self::Number(shortest(*value as f64).into_bytes().into())),
            Value::Number(value) => Some(Self::Number(shortest(*value).into_bytes().into())),
            _ => None,
        }
    }

    fn bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text,
            Self::Number(text) => text,
        }
    }
}

fn fail(text: &str) -> mlua::Error {
    Fault::Reply(text.to_owned()).into()
}

/// `redis.call`.
pub(super) fn call(lua: &Lua, txn: &mut Txn<'_>, shared: &Shared, args: &MultiValue) -> mlua::Result<Value> {
    // Commands may take long where no instruction is counted.
    if shared.ended.get() || txn.expired() {
        shared.ended.set(true);
        return Err(Fault::Ended.into());
    }
    let arguments = arguments(args)?;
    let words: SmallVec<[&[u8]; 8]> = arguments.iter().map(Argument::bytes).collect();
    let reply = execute(txn, shared, &words)?;
    shared.relaxed(lua, convert::is_small(&reply), || convert::value(lua, reply, shared.resp.get()))
}

fn arguments(args: &MultiValue) -> mlua::Result<SmallVec<[Argument; 8]>> {
    if args.is_empty() {
        return Err(fail("ERR Please specify at least one argument for this redis lib call"));
    }
    args.iter()
        .map(|arg| {
            Argument::read(arg).ok_or_else(|| fail("ERR Lua redis lib command arguments must be strings or integers"))
        })
        .collect()
}

fn execute(txn: &mut Txn<'_>, shared: &Shared, words: &[&[u8]]) -> mlua::Result<Reply> {
    let found = find(words).map_err(|error| match error {
        CommandError::Arity(_) => reject(
            txn,
            words.first().and_then(|name| by_name(name)),
            "ERR Wrong number of args calling Redis command from script",
        ),
        _ => reject(txn, None, "ERR Unknown Redis command called from script"),
    })?;
    let command = found.command;
    if let Some(error) = txn.script.as_ref().and_then(|scope| scope.refusal(command)) {
        return Err(reject(txn, Some(command), &error.to_string()));
    }
    if let Err(denial) = txn.check(command, words) {
        txn.note_denial(&denial, command, Context::Script);
        let error = denied(&denial, &txn.client().user.clone(), command);
        return Err(reject(txn, Some(command), &error));
    }
    if let Some(error) = txn.script.as_ref().and_then(|scope| scope.stranger(command, words)) {
        return Err(reject(txn, Some(command), &error.to_string()));
    }
    match txn.run(command, words) {
        Ok(Reply::Error(error)) | Err(Stop::Error(error)) => Err(fail(&error.to_string())),
        Ok(reply) => Ok(reply),
        Err(Stop::Block(block)) => Ok(block.on_timeout),
        // No walk of a script stops before it is done.
        Err(Stop::Aborted | Stop::Unfinished(_)) => {
            shared.ended.set(true);
            Err(Fault::Ended.into())
        }
    }
}

/// The error of a command that a script may not run, which is counted for `INFO`.
fn reject(txn: &mut Txn<'_>, command: Option<&'static Command>, text: &str) -> mlua::Error {
    txn.hub().count_rejected(command, &CommandError::from(text.to_owned()));
    fail(text)
}

/// Why the client may not run a command of its script.
fn denied(denial: &Denial, user: &[u8], command: &'static Command) -> String {
    format!("ERR ACL failure in script: {}", denial.words(user, command))
}

/// Fills the table `redis`, but for `call` and `pcall`, which belong to a run.
pub(super) fn build(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    put_common(lua, &redis)?;
    for (name, value) in [("REPL_NONE", 0), ("REPL_AOF", 1), ("REPL_SLAVE", 2), ("REPL_REPLICA", 2), ("REPL_ALL", 3)] {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("sha1hex", lua.create_function(|_, args| sha1hex(&args))?)?;
    redis.raw_set("error_reply", lua.create_function(|lua, args| error_reply(lua, &args))?)?;
    redis.raw_set("status_reply", lua.create_function(|lua, args| status_reply(lua, &args))?)?;
    let kept = Rc::clone(shared);
    redis.raw_set("setresp", lua.create_function(move |_, args| setresp(&kept, &args))?)?;
    let kept = Rc::clone(shared);
    redis.raw_set("acl_check_cmd", lua.create_function(move |_, args| kept.may_run(args))?)?;
    // Effects are what is logged, always, so there is nothing to switch.
    redis.raw_set("replicate_commands", lua.create_function(|_, _: MultiValue| Ok(true))?)?;
    redis.raw_set("set_repl", lua.create_function(|_, args| set_repl(&args))?)?;
    Ok(redis)
}

/// What `redis` has at work and while a library is loaded.
pub(super) fn put_common(lua: &Lua, redis: &Table) -> mlua::Result<()> {
    for (name, value) in [("LOG_DEBUG", 0), ("LOG_VERBOSE", 1), ("LOG_NOTICE", 2), ("LOG_WARNING", 3)] {
        redis.raw_set(name, value)?;
    }
    redis.raw_set("REDIS_VERSION", REDIS_VERSION)?;
    redis.raw_set("REDIS_VERSION_NUM", version_number(REDIS_VERSION))?;
    redis.raw_set("log", lua.create_function(|_, args| log(&args))?)
}

fn version_number(version: &str) -> i64 {
    version.split('.').filter_map(|part| part.parse::<i64>().ok()).fold(0, |number, part| number << 8 | part)
}

fn sha1hex(args: &MultiValue) -> mlua::Result<String> {
    if args.len() != 1 {
        return Err(fail("ERR wrong number of arguments"));
    }
    // What is not text counts as empty, as in Redis.
    Ok(super::sha(&args.iter().next().and_then(text_of).unwrap_or_default()))
}

/// Checks its arguments as Redis does; scripts have no log of their own to write to.
fn log(args: &MultiValue) -> mlua::Result<()> {
    if args.len() < 2 {
        return Err(fail("ERR redis.log() requires two arguments or more."));
    }
    match args.front() {
        Some(Value::Integer(0..=3)) => Ok(()),
        Some(Value::Number(level)) if (0.0..4.0).contains(level) => Ok(()),
        Some(Value::Integer(_) | Value::Number(_)) => Err(fail("ERR Invalid log level.")),
        _ => Err(fail("ERR First argument must be a number (log level).")),
    }
}

/// The one string a reply is made of.
fn single(args: &MultiValue) -> Option<Vec<u8>> {
    match args.iter().collect::<SmallVec<[&Value; 2]>>()[..] {
        [Value::String(text)] => Some(text.as_bytes().to_vec()),
        _ => None,
    }
}

fn one_field(lua: &Lua, name: &str, text: &[u8]) -> mlua::Result<Table> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, lua.create_string(text)?)?;
    Ok(table)
}

fn error_reply(lua: &Lua, args: &MultiValue) -> mlua::Result<Table> {
    let Some(text) = single(args) else {
        return one_field(lua, "err", b"ERR wrong number or type of arguments");
    };
    let text = text.strip_prefix(b"-").unwrap_or(&text);
    if text.contains(&b' ') { one_field(lua, "err", text) } else { one_field(lua, "err", &[b"ERR ", text].concat()) }
}

fn status_reply(lua: &Lua, args: &MultiValue) -> mlua::Result<Table> {
    match single(args) {
        Some(text) => one_field(lua, "ok", &text),
        None => one_field(lua, "err", b"ERR wrong number or type of arguments"),
    }
}

fn setresp(shared: &Shared, args: &MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(fail("ERR redis.setresp() requires one argument."));
    }
    match args.front().and_then(text_of).as_deref() {
        Some(b"2") => shared.resp.set(2),
        Some(b"3") => shared.resp.set(3),
        _ => return Err(fail("ERR RESP version must be 2 or 3.")),
    }
    Ok(())
}

fn set_repl(args: &MultiValue) -> mlua::Result<()> {
    if args.len() != 1 {
        return Err(fail("ERR redis.set_repl() requires two arguments."));
    }
    match args.front() {
        Some(Value::Integer(0..=3)) => Ok(()),
        _ => Err(fail("ERR Invalid replication flags. Use REPL_AOF, REPL_REPLICA, REPL_ALL or REPL_NONE.")),
    }
}

/// `redis.acl_check_cmd`, which needs to know the client: it goes through the run's door.
pub(super) fn check_command(txn: &mut Txn<'_>, args: &MultiValue) -> mlua::Result<Value> {
    let arguments = arguments(args)?;
    let words: SmallVec<[&[u8]; 8]> = arguments.iter().map(Argument::bytes).collect();
    match find(&words) {
        Ok(found) => Ok(Value::Boolean(txn.check(found.command, &words).is_ok())),
        // Redis looks only at the name.
        Err(CommandError::Arity(_)) => {
            let command = words.first().and_then(|name| crate::table::by_name(name));
            Ok(Value::Boolean(command.is_some_and(|command| txn.check(command, &words).is_ok())))
        }
        Err(_) => Err(fail("ERR Invalid command passed to redis.acl_check_cmd()")),
    }
}
