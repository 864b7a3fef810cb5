//! What clients and tools ask of any Redis: its role, its replicas, its cluster, its snapshots.
//!
//! Dormouse answers as one server without replicas, cluster or modules would, and where a command would have to do
//! something that has no meaning here (stop the process, follow a master) it refuses and says why. Every acknowledged write is
//! on disk, so asking for a snapshot succeeds without doing anything.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::{Options, integer, is};
use crate::command::{Command, Group, Handler, command, container};
use crate::table::by_name;
use crate::txn::{Outcome, Txn};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    server("ROLE",          1, role)      .fast().admin().no_script()      .doc("2.8.12", "The role of the server: a master without replicas."),
    server("REPLICAOF",     3, replica_of).admin().no_script()             .doc("5.0.0",  "Accepts NO ONE, which changes nothing; there are no replicas."),
    server("SLAVEOF",       3, replica_of).admin().no_script()             .doc("1.0.0",  "The same as REPLICAOF."),
    server("FAILOVER",     -1, failover)  .admin().no_script()             .doc("6.2.0",  "An error, as there are no replicas."),
    server("SAVE",          1, save)      .admin().no_script().no_multi()  .doc("1.0.0",  "Succeeds: every acknowledged write is on disk."),
    server("BGSAVE",       -1, bgsave)    .admin().no_script()             .doc("1.0.0",  "Succeeds: every acknowledged write is on disk."),
    server("BGREWRITEAOF",  1, rewrite)   .admin().no_script()             .doc("1.0.0",  "Succeeds: the log is trimmed by itself."),
    server("LASTSAVE",      1, last_save) .fast().admin()                  .doc("1.0.0",  "When everything was on disk last: now, in seconds since the Unix epoch."),
    server("SHUTDOWN",     -1, shutdown)  .admin().no_script().no_multi()  .doc("1.0.0",  "Refused: the operator stops the server."),
    server("SWAPDB",        3, swap)      .fast().dangerous()              .doc("4.0.0",  "Swaps database 0 with itself; there is no other."),
    server("LOLWUT",       -1, lolwut)    .reads().fast()                  .doc("5.0.0",  "The version, and what a dormouse does."),
    command("MOVE", 3, move_key).group(Group::Generic).writes().key(1).fast().doc("1.0.0",  "Moves a key to another database; there is no other."),
    command("MIGRATE", -6, migrate).group(Group::Generic).writes().key(3).moves().dangerous().doc("2.6.0", "An error, unless the keys are missing: there is nowhere to move them to."),
    container("CLUSTER", CLUSTER).group(Group::Server)                     .doc("3.0.0",  "Commands about a cluster."),
    server("READONLY",      1, no_cluster).fast().for_all().no_rest()      .doc("3.0.0",  "An error, as there is no cluster."),
    server("READWRITE",     1, no_cluster).fast().for_all().no_rest()      .doc("3.0.0",  "An error, as there is no cluster."),
    server("ASKING",        1, no_cluster).fast().for_all().no_rest()      .doc("3.0.0",  "An error, as there is no cluster."),
    container("MODULE", MODULE).group(Group::Server)                       .doc("4.0.0",  "Commands about modules."),
];

#[rustfmt::skip]
const CLUSTER: &[Command] = &[
    cluster("INFO",     2).doc("3.0.0", "An error, as there is no cluster."),
    cluster("MYID",     2).doc("3.0.0", "An error, as there is no cluster."),
    cluster("NODES",    2).doc("3.0.0", "An error, as there is no cluster."),
    cluster("SLOTS",    2).doc("3.0.0", "An error, as there is no cluster."),
    cluster("SHARDS",   2).doc("7.0.0", "An error, as there is no cluster."),
    cluster("KEYSLOT",  3).doc("3.0.0", "An error, as there is no cluster."),
    cluster("RESET",   -2).admin().no_script().doc("3.0.0", "An error, as there is no cluster."),
    cluster("HELP",     2).doc("5.0.0", "An error, as there is no cluster."),
];

#[rustfmt::skip]
const MODULE: &[Command] = &[
    server("LIST", 2, modules).admin().no_script().doc("4.0.0", "The modules: there are none."),
    server("HELP", 2, help).for_all().doc("5.0.0", "What the sub-commands are."),
];

const fn server(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server)
}

const fn cluster(name: &'static str, arity: i8) -> Command {
    server(name, arity, no_cluster).for_all()
}

/// The reply of a sub-command `HELP`: the sub-commands beside it, from their rows.
pub(crate) fn help_of(args: Args<'_>) -> Outcome {
    let Some(container) = by_name(args[0]) else { return Err(CommandError::Syntax.into()) };
    let mut lines = vec![format!("{} <subcommand> [<arg> [value] [opt] ...]. Subcommands are:", container.name)];
    for row in container.subcommands {
        lines.extend([row.name.to_owned(), format!("    {}", row.summary)]);
    }
    Ok(Reply::Array(lines.into_iter().map(|line| Reply::Status(Blob::from(line.into_bytes()))).collect()))
}

/// The error of a sub-command with too many arguments, where rows do not count them.
pub(crate) fn wrong_subcommand(args: Args<'_>) -> CommandError {
    let name = String::from_utf8_lossy(&args[1][..args[1].len().min(128)]).into_owned();
    let container = args[0].to_ascii_uppercase();
    let container = String::from_utf8_lossy(&container);
    format!("ERR unknown subcommand or wrong number of arguments for '{name}'. Try {container} HELP.").into()
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

/// A key that is missing need not be moved; others cannot.
fn migrate(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let keys = migrated(args)?;
    for index in [4, 5] {
        integer(args[index])?;
    }
    for key in keys {
        if txn.exists(key)? {
            return Err(CommandError::text("ERR MIGRATE is not supported: keys move with DUMP and RESTORE").into());
        }
    }
    Ok(Reply::status("NOKEY"))
}

/// The keys that `MIGRATE` is about.
fn migrated(args: Args<'_>) -> Result<Args<'_>, CommandError> {
    let mut options = Options::new(&args[6..]);
    while let Some(word) = options.next() {
        match () {
            () if is(word, "COPY") || is(word, "REPLACE") => {}
            () if is(word, "AUTH") => drop(options.value()?),
            () if is(word, "AUTH2") => {
                options.value()?;
                options.value()?;
            }
            () if is(word, "KEYS") && !args[3].is_empty() => {
                return Err(CommandError::text(
                    "ERR When using MIGRATE KEYS option, the key argument must be set to the empty string",
                ));
            }
            () if is(word, "KEYS") => return Ok(options.rest()),
            () => return Err(CommandError::Syntax),
        }
    }
    Ok(&args[3..4])
}

fn role(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(vec![Reply::bulk("master"), Reply::Integer(0), Reply::Array(Vec::new())]))
}

fn replica_of(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if is(args[1], "NO") && is(args[2], "ONE") {
        return Ok(Reply::OK);
    }
    if !parse_integer(args[2]).is_some_and(|port| (0..=65_535).contains(&port)) {
        return Err(CommandError::text("ERR Invalid master port").into());
    }
    Err(CommandError::text("ERR REPLICAOF is not supported: this server has no replication").into())
}

fn failover(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::text("ERR FAILOVER requires connected replicas.").into())
}

fn save(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    txn.hub().facts.changes = 0;
    Ok(Reply::OK)
}

fn bgsave(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    match &args[1..] {
        [] => {}
        [word] if is(word, "SCHEDULE") => {}
        _ => return Err(CommandError::Syntax.into()),
    }
    txn.hub().facts.changes = 0;
    Ok(Reply::status("Background saving started"))
}

fn rewrite(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::status("Background append only file rewriting started"))
}

fn last_save(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    Ok(Reply::Integer((txn.now_ms() / 1_000) as i64))
}

fn shutdown(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let known = ["NOSAVE", "SAVE", "NOW", "FORCE", "ABORT"];
    if args[1..].iter().any(|word| !known.iter().any(|known| is(word, known))) {
        return Err(CommandError::Syntax.into());
    }
    Err(CommandError::text("ERR SHUTDOWN is not supported: the operator stops the server").into())
}

fn swap(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let index = |arg, error| integer(arg).map_err(|_| CommandError::text(error));
    let first = index(args[1], "ERR invalid first DB index")?;
    let second = index(args[2], "ERR invalid second DB index")?;
    only_zero(first)?;
    only_zero(second)?;
    Ok(Reply::OK)
}

/// There is one database behind a token.
fn only_zero(index: i64) -> Result<(), CommandError> {
    if index == 0 { Ok(()) } else { Err(CommandError::text("ERR DB index is out of range")) }
}

fn lolwut(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let version = txn.hub().facts.version;
    let text = format!("   (\\_/)\n   (-.-)  z z z\n  o(\")(\")\n\nDormouse ver. {version}\n");
    Ok(Reply::Verbatim(Blob::from(text.into_bytes())))
}

fn move_key(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    only_zero(integer(args[2])?)?;
    Err(CommandError::text("ERR source and destination objects are the same").into())
}

fn no_cluster(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::text("ERR This instance has cluster support disabled").into())
}

fn modules(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(Vec::new()))
}
