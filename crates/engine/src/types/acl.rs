//! Users: `ACL` makes, shows and removes them, and hands out their passwords and tokens.
//!
//! What a user is, and how a command is checked against one, is in `acl/`; here are the commands about them. A user is
//! changed as a whole or not at all, as an effect like any other. Who is connected as one is the business of the layer
//! above, which looks at its clients after each such change. Secrets come from the entropy that is handed in, never from
//! the seed, and are shown once: what is kept is their hash.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::collections::BTreeSet;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::acl::{Denial, Hash, Issued, RuleError, Selector, Token, User, hex, is_built_in, is_strong, merge, sha256};
use crate::args::{integer, is};
use crate::command::{Command, Group, Handler, command, container};
use crate::table::{find, full_name, places};
use crate::txn::{Outcome, Txn};
use crate::types::standalone::help_of;

/// Longest name of a user, in bytes.
const NAME_BYTES_MAX: usize = 256;
/// Most bearer tokens of one user that were issued for passwords.
const ISSUED_MAX: usize = 100;
/// Bits of a password that `GENPASS` makes, unless it is told otherwise; and the most it makes.
const PASSWORD_BITS: i64 = 256;
const PASSWORD_BITS_MAX: i64 = 4_096;
/// Entries that `ACL LOG` shows unless it is told otherwise.
const LOG_SHOWN: usize = 10;
/// How much of a rule an error repeats, in bytes.
const ECHO_BYTES_MAX: usize = 128;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    container("ACL", ACL).group(Group::Server).doc("6.0.0", "Commands about users and what they may do."),
];

#[rustfmt::skip]
const ACL: &[Command] = &[
    acl("CAT",       -2, cat)                  .doc("6.0.0", "The categories of commands, or the commands of one."),
    acl("DELUSER",   -3, deluser)  .admin()    .doc("6.0.0", "Removes users, and closes their connections."),
    acl("DRYRUN",    -4, dryrun)   .admin()    .doc("7.0.0", "Whether a user may run a command, without running it."),
    acl("GENPASS",   -2, genpass).tells_secret().doc("6.0.0", "Makes a password that nobody can guess."),
    acl("GENTOKEN",  -3, gentoken) .admin().tells_secret().takes_secret().doc("Upstash", "Makes a token for a user to be, which serves as password and over REST."),
    acl("GETUSER",    3, getuser)  .admin()    .doc("6.0.0", "What a user may do."),
    acl("LIST",       2, list)     .admin()    .doc("6.0.0", "Every user as the rules that make it."),
    acl("LOAD",       2, load)     .admin()    .doc("6.0.0", "Answers OK: users are always as they were last set."),
    acl("LOG",       -2, log)      .admin()    .doc("6.0.0", "What was refused lately, and to whom."),
    acl("RESTTOKEN",  4, resttoken).admin().tells_secret().takes_secret().doc("Upstash", "Makes a bearer token for a user, whose password must be given."),
    acl("SAVE",       2, save)     .admin()    .doc("6.0.0", "Answers OK: users are on disk once they are set."),
    acl("SETUSER",   -3, setuser)  .admin().takes_secret().doc("6.0.0", "Makes a user or changes what one may do, rule by rule."),
    acl("USERS",      2, users)    .admin()    .doc("6.0.0", "The names of all users."),
    acl("WHOAMI",     2, whoami)               .doc("6.0.0", "The name of the user one is."),
    command("HELP",   2, help).group(Group::Server).doc("6.0.0", "The commands about users."),
];

const fn acl(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server).no_script()
}

fn wrong_arguments(name: &str) -> CommandError {
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try ACL HELP.").into()
}

fn shown(text: &[u8]) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(&text[..text.len().min(ECHO_BYTES_MAX)])
}

// --- the table -------------------------------------------------------------------------------------------------------

fn cat(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let names: Vec<String> = match args {
        [_, _] => {
            let all: BTreeSet<&str> = places().iter().flat_map(|place| place.command.categories()).collect();
            all.into_iter().map(str::to_owned).collect()
        }
        [_, _, category] => {
            let name = String::from_utf8_lossy(category).to_ascii_lowercase();
            let inside = places().iter().filter(|place| place.command.is_in(&name));
            let names: Vec<String> = inside.map(crate::table::Place::name).collect();
            if names.is_empty() {
                return Err(CommandError::from(format!("ERR Unknown category '{}'", shown(category))).into());
            }
            names
        }
        _ => return Err(wrong_arguments("CAT").into()),
    };
    Ok(Reply::Array(names.into_iter().map(Reply::bulk).collect()))
}

// --- users -----------------------------------------------------------------------------------------------------------

/// Refuses to touch the two users that stand for the database's own tokens.
fn check_name(name: &[u8]) -> Result<(), CommandError> {
    if name.iter().any(|byte| byte.is_ascii_whitespace() || matches!(byte, 0 | 0x0b)) {
        return Err(CommandError::text("ERR Usernames can't contain spaces or null characters"));
    }
    if name.len() > NAME_BYTES_MAX {
        return Err(format!("ERR Usernames can't be longer than {NAME_BYTES_MAX} bytes").into());
    }
    if is_built_in(name) {
        return Err(format!("ERR The '{}' user cannot be changed", String::from_utf8_lossy(name)).into());
    }
    Ok(())
}

fn setuser(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let name = args[2];
    check_name(name)?;
    let rules = merge(&args[3..]).map_err(|at| {
        CommandError::from(format!("ERR Unmatched parenthesis in acl selector starting at '{}'.", shown(&at)))
    })?;
    txn.sees_all();
    let hub = txn.hub();
    let (database, limits) = (hub.database, hub.limits);
    let known = hub.users.get(name).cloned();
    if known.is_none() && hub.users.len() >= limits.users_max {
        return Err(CommandError::from(format!("ERR max number of users exceeded. Limit: {}", limits.users_max)).into());
    }
    let mut user = known.as_deref().cloned().unwrap_or_else(|| User::new(name));
    for rule in rules {
        let refused = |error: RuleError| {
            CommandError::from(format!("ERR Error in ACL SETUSER modifier '{}': {error}", shown(&rule)))
        };
        user.apply(&rule, Some(database)).map_err(refused)?;
    }
    check_size(&user, limits.user_bytes_max)?;
    if known.as_deref() != Some(&user) {
        txn.set_user(name, Some(user));
    }
    Ok(Reply::OK)
}

fn check_size(user: &User, limit: usize) -> Result<(), CommandError> {
    if user.bytes() > limit {
        return Err(format!("ERR max size of a user's rules exceeded. Limit: {limit} bytes").into());
    }
    Ok(())
}

fn deluser(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let names = &args[2..];
    if let Some(name) = names.iter().find(|name| is_built_in(name)) {
        let error = format!("ERR The '{}' user cannot be removed", String::from_utf8_lossy(name));
        return Err(CommandError::from(error).into());
    }
    txn.sees_all();
    let mut count = 0;
    for name in names {
        if txn.hub().users.get(name).is_some() {
            txn.set_user(name, None);
            count += 1;
        }
    }
    Ok(Reply::Integer(count))
}

/// Rules in one text, as Redis shows them.
fn joined(rules: impl IntoIterator<Item = impl AsRef<[u8]>>) -> Reply {
    let rules: Vec<_> = rules.into_iter().collect();
    let rules: Vec<&[u8]> = rules.iter().map(AsRef::as_ref).collect();
    Reply::bulk(rules.join(&b' '))
}

fn scopes(selector: &Selector) -> [(Reply, Reply); 3] {
    [
        (Reply::bulk("commands"), joined(selector.commands.rules())),
        (Reply::bulk("keys"), joined(selector.keys.rules("~"))),
        (Reply::bulk("channels"), joined(selector.channels.rules("&"))),
    ]
}

fn getuser(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.sees_all();
    let Some(user) = txn.hub().users.find(args[2]) else { return Ok(Reply::Null) };
    let flags = [if user.enabled { "on" } else { "off" }, user.sanitize_flag()];
    let mut fields = vec![
        (Reply::bulk("flags"), Reply::Set(flags.map(Reply::bulk).into())),
        (Reply::bulk("passwords"), Reply::Array(user.passwords.iter().map(|hash| Reply::bulk(hex(hash))).collect())),
    ];
    fields.extend(scopes(&user.root));
    let selectors = user.selectors.iter().map(|selector| Reply::Map(scopes(selector).into()));
    fields.push((Reply::bulk("selectors"), Reply::Array(selectors.collect())));
    Ok(Reply::Map(fields))
}

fn list(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    let line = |user: &User| [b"user ", user.name().as_slice(), b" ", &user.rules().join(&b' ')].concat();
    Ok(Reply::Array(txn.hub().users.all().iter().map(|user| Reply::bulk(line(user))).collect()))
}

fn users(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    Ok(Reply::bulks(txn.hub().users.all().iter().map(|user| user.name().clone())))
}

fn whoami(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Bulk(txn.client().user.clone()))
}

fn load(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::OK)
}

fn save(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::OK)
}

fn dryrun(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    txn.sees_all();
    let (name, wanted) = (args[2], &args[3..]);
    let user = txn.hub().users.find(name);
    let user = user.ok_or_else(|| CommandError::from(format!("ERR User '{}' not found", shown(name))))?;
    let command = match find(wanted) {
        Ok(found) => found.command,
        Err(error @ CommandError::Arity(_)) => return Err(error.into()),
        Err(_) => return Err(CommandError::from(format!("ERR Command '{}' not found", shown(wanted[0]))).into()),
    };
    Ok(match user.check(command, wanted) {
        Ok(()) => Reply::OK,
        Err(denial) => {
            let (before, what, after): (&[u8], Blob, &[u8]) = match denial {
                Denial::Command => (b"run the '", Blob::from(full_name(command).as_bytes()), b"' command"),
                Denial::Key(key) => (b"access the '", key, b"' key"),
                Denial::Channel(channel) => (b"access the '", channel, b"' channel"),
            };
            Reply::bulk([b"User ", name, b" has no permissions to ", before, &what, after].concat())
        }
    })
}

fn log(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let now_ms = txn.now_ms();
    let count = match args {
        [_, _] => LOG_SHOWN,
        [_, _, word] if is(word, "RESET") => {
            txn.hub().acl_log.clear();
            return Ok(Reply::OK);
        }
        // Less than none is none, as in Redis.
        [_, _, count] => usize::try_from(integer(count)?).unwrap_or(0),
        _ => return Err(wrong_arguments("LOG").into()),
    };
    Ok(txn.hub().acl_log.latest(count, now_ms))
}

// --- secrets ---------------------------------------------------------------------------------------------------------

/// Bytes nobody can guess.
fn secret(txn: &mut Txn<'_>, bytes: usize) -> Result<Vec<u8>, CommandError> {
    let fill = txn.hub().entropy.ok_or(CommandError::text("ERR there is no source of random bytes"))?;
    let mut secret = vec![0; bytes];
    fill(&mut secret);
    Ok(secret)
}

fn genpass(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let bits = match args {
        [_, _] => PASSWORD_BITS,
        [_, _, bits] => parse_integer(bits).ok_or(CommandError::NotAnInteger)?,
        _ => return Err(wrong_arguments("GENPASS").into()),
    };
    if !(1..=PASSWORD_BITS_MAX).contains(&bits) {
        let error = "ERR ACL GENPASS argument must be the number of bits for the output password, a positive number up to \
                     4096";
        return Err(CommandError::text(error).into());
    }
    let digits = (bits as usize).div_ceil(4);
    let mut text = hex(&secret(txn, digits.div_ceil(2))?);
    text.truncate(digits);
    Ok(Reply::bulk(text))
}

fn gentoken(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let name = args[2];
    check_name(name)?;
    let secret = match args {
        [_, _, _] => hex(&secret(txn, (PASSWORD_BITS / 8) as usize)?).into_bytes(),
        [_, _, _, password] if is_strong(password) => password.to_vec(),
        [_, _, _, _] => {
            let error = "ERR weak password: a token needs one that is longer or has more kinds of characters";
            return Err(CommandError::text(error).into());
        }
        _ => return Err(wrong_arguments("GENTOKEN").into()),
    };
    let database = txn.hub().database;
    Ok(Reply::bulk(Token { database, user: Blob::from(name), secret }.text()))
}

fn resttoken(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (name, given) = (args[2], args[3]);
    txn.sees_all();
    let hub = txn.hub();
    let (database, limits) = (hub.database, hub.limits);
    let user = hub.users.get(name).filter(|user| user.opens(database, given)).cloned();
    let user = user
        .ok_or_else(|| CommandError::from(format!("ERR Wrong password or user \"{}\" does not exist", shown(name))))?;
    let wrapped = Token::read(given).filter(|token| token.is_for(database, name));
    if wrapped.as_ref().is_some_and(|token| user.opens_with(token)) {
        return Ok(Reply::bulk(given));
    }
    if user.issued.len() >= ISSUED_MAX {
        let error = format!(
            "ERR max number of tokens exceeded. Limit: {ISSUED_MAX}. Those of a password go when it is removed from the user."
        );
        return Err(CommandError::from(error).into());
    }
    let secret = secret(txn, size_of::<Hash>())?;
    let password = sha256(wrapped.as_ref().map_or(given, |token| &token.secret));
    let mut user = User::clone(&user);
    user.issued.push(Issued { token: sha256(&secret), password });
    check_size(&user, limits.user_bytes_max)?;
    txn.set_user(name, Some(user));
    Ok(Reply::bulk(Token { database, user: Blob::from(name), secret }.text()))
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}
