//! The server as its clients see it: `COMMAND`, and what concerns the whole database at once.
//!
//! `COMMAND` is derived from the rows of the table, where it needs to be: clients route by it, and test suites ask it for keys.
//! `INFO` and `CONFIG` have files of their own; their rows are here with the others of the group.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::is;
use crate::command::{Command, Effect, Group, Handler, Needs, command, container};
use crate::glob;
use crate::table::{all, find};
use crate::txn::{Outcome, Txn};
use crate::types::standalone::help_of;
use crate::types::{config, info};

/// The Redis whose commands and replies are ours.
pub(crate) const REDIS_VERSION: &str = "8.2.0";

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    server("INFO",     -1, info::info) .dangerous()                       .doc("1.0.0", "What the server says of itself, by section."),
    server("DBSIZE",    1, dbsize).reads().fast()                    .within(&["keyspace"]).doc("1.0.0", "How many keys there are."),
    server("FLUSHDB",  -1, flush) .writes().sweeps().dangerous()     .within(&["keyspace"]).doc("1.0.0", "Removes every key."),
    server("FLUSHALL", -1, flush) .writes().sweeps().dangerous()     .within(&["keyspace"]).doc("1.0.0", "Removes every key; the same as FLUSHDB, as there is one database."),
    server("TIME",      1, time)  .fast().for_all()                  .doc("2.6.0", "The time: seconds since the Unix epoch, and microseconds."),
    with(COMMAND, server("COMMAND", -1, command_all)).for_all().within(&["connection"]).doc("2.8.13", "Every command: arity, flags, keys, categories."),
    container("CONFIG", config::CONFIG).group(Group::Server)                 .doc("2.0.0", "Commands about parameters."),
];

#[rustfmt::skip]
const COMMAND: &[Command] = &[
    server("COUNT",   2, command_count)  .for_all().within(&["connection"]).doc("2.8.13", "How many commands there are."),
    server("INFO",   -2, command_info)   .for_all().within(&["connection"]).doc("2.8.13", "Arity, flags, keys and categories of commands."),
    server("DOCS",   -2, command_docs)   .for_all().within(&["connection"]).doc("7.0.0",  "What commands do, and since when they exist."),
    server("LIST",   -2, command_list)   .for_all().within(&["connection"]).doc("7.0.0",  "The names of commands, of a category or matching a pattern if asked."),
    server("GETKEYS", -3, command_getkeys).for_all().within(&["connection"]).doc("2.8.13", "The keys that a command would touch."),
    server("GETKEYSANDFLAGS", -3, command_getkeysandflags).for_all().within(&["connection"]).doc("7.0.0", "The keys that a command would touch, and what it would do to each."),
    server("HELP",    2, command_help)   .for_all().within(&["connection"]).doc("5.0.0",  "What the sub-commands are."),
];

const fn server(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server)
}

const fn with(subcommands: &'static [Command], mut row: Command) -> Command {
    row.subcommands = subcommands;
    row
}

// --- the whole database ----------------------------------------------------------------------------------------------

fn dbsize(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.sees_all();
    Ok(Reply::Integer(txn.space().len() as i64))
}

/// `ASYNC` and `SYNC` are the same: emptying takes no longer for many keys than for one.
fn flush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    match &args[1..] {
        [] => {}
        [word] if is(word, "ASYNC") || is(word, "SYNC") => {}
        _ => return Err(CommandError::Syntax.into()),
    }
    // In a transaction Redis waits for that, unless it is told not to.
    if txn.may_block() || args.get(1).is_some_and(|word| is(word, "ASYNC")) {
        let keys = txn.space().len();
        txn.hub().facts.freed_lazily += keys;
    }
    txn.flush();
    Ok(Reply::OK)
}

fn time(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let now_us = txn.moment().now_us;
    let text = |value: u64| Reply::bulk(value.to_string());
    Ok(Reply::Array(vec![text(now_us / 1_000_000), text(now_us % 1_000_000)]))
}

// --- COMMAND ---------------------------------------------------------------------------------------------------------

/// A row and the row that holds it, as far as `COMMAND` cares.
#[derive(Clone, Copy)]
struct Named {
    row: &'static Command,
    container: Option<&'static Command>,
}

impl Named {
    /// Every row, sub-commands behind their containers.
    fn all() -> impl Iterator<Item = Self> {
        all().flat_map(|row| {
            let inner = row.subcommands.iter().map(move |inner| Self { row: inner, container: Some(row) });
            std::iter::once(Self { row, container: None }).chain(inner)
        })
    }

    /// By full name, in any case: `get` or `config|get`.
    fn find(name: &[u8]) -> Option<Self> {
        Self::all().find(|named| named.name().as_bytes().eq_ignore_ascii_case(name))
    }

    fn name(self) -> String {
        self.row.full_name(self.container).into_owned()
    }

    /// What `COMMAND INFO` says, as Redis 7 lays it out.
    fn info(self) -> Reply {
        let row = self.row;
        let words = |words: Vec<&str>, prefix: &str| {
            Reply::Set(
                words.into_iter().map(|word| Reply::Status(format!("{prefix}{word}").into_bytes().into())).collect(),
            )
        };
        let inner = row.subcommands.iter().map(|inner| Self { row: inner, container: Some(row) }.info());
        Reply::Array(vec![
            Reply::bulk(self.name()),
            Reply::Integer(row.arity.into()),
            words(row.flag_names(), ""),
            Reply::Integer(row.keys.first.into()),
            Reply::Integer(row.keys.last.into()),
            Reply::Integer(row.keys.step.into()),
            words(row.categories(), "@"),
            Reply::Array(Vec::new()),
            Reply::Array(self.key_specs()),
            Reply::Array(inner.collect()),
        ])
    }

    fn key_specs(self) -> Vec<Reply> {
        let keys = self.row.keys;
        let integer = |value: i64| Reply::Integer(value);
        let mut specs = Vec::new();
        if keys.first > 0 {
            let first = i64::from(keys.first);
            let last = i64::from(keys.last);
            // Redis counts the last key from the first, or from the end.
            let last = if last < 0 { last } else { last - first };
            let range = vec![("lastkey", integer(last)), ("keystep", integer(keys.step.into())), ("limit", integer(0))];
            specs.push(self.key_spec(first, "range", range));
        }
        if keys.count_at > 0 {
            let counted = vec![
                ("keynumidx", integer(0)),
                ("firstkey", integer(1)),
                ("keystep", integer(i64::from(keys.step.max(1)))),
            ];
            specs.push(self.key_spec(keys.count_at.into(), "keynum", counted));
        }
        if keys.streams_from > 0 {
            let range = vec![("lastkey", integer(-1)), ("keystep", integer(1)), ("limit", integer(2))];
            let word = vec![("keyword", Reply::bulk("STREAMS")), ("startfrom", integer(keys.streams_from.into()))];
            specs.push(self.key_spec_from(("keyword", word), "range", range));
        }
        specs
    }

    fn key_spec(self, index: i64, kind: &str, spec: Vec<(&str, Reply)>) -> Reply {
        self.key_spec_from(("index", vec![("index", Reply::Integer(index))]), kind, spec)
    }

    fn key_spec_from(self, begin: (&str, Vec<(&str, Reply)>), kind: &str, spec: Vec<(&str, Reply)>) -> Reply {
        let flag = if self.row.effect == Effect::Writes { "RW" } else { "RO" };
        let typed = |kind: &str, spec| map(vec![("type", Reply::bulk(kind)), ("spec", map(spec))]);
        map(vec![
            ("flags", Reply::Set(vec![Reply::Status(Blob::from(flag.as_bytes()))])),
            ("begin_search", typed(begin.0, begin.1)),
            ("find_keys", typed(kind, spec)),
        ])
    }

    /// What `COMMAND DOCS` says.
    fn docs(self) -> (Reply, Reply) {
        let row = self.row;
        let mut fields = vec![
            ("summary", Reply::bulk(row.summary)),
            ("since", Reply::bulk(row.since)),
            ("group", Reply::bulk(row.group.name())),
        ];
        if !row.subcommands.is_empty() {
            let inner = row.subcommands.iter().map(|inner| Self { row: inner, container: Some(row) }.docs());
            fields.push(("subcommands", Reply::Map(inner.collect())));
        }
        (Reply::bulk(self.name()), map(fields))
    }
}

fn map(fields: Vec<(&str, Reply)>) -> Reply {
    Reply::Map(fields.into_iter().map(|(name, value)| (Reply::bulk(name), value)).collect())
}

fn top_level() -> impl Iterator<Item = Named> {
    all().map(|row| Named { row, container: None })
}

fn command_all(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(top_level().map(Named::info).collect()))
}

fn command_count(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::count(all().count()))
}

fn command_info(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        return Ok(Reply::Array(top_level().map(Named::info).collect()));
    }
    let found = args[2..].iter().map(|name| Named::find(name).map_or(Reply::NullArray, Named::info));
    Ok(Reply::Array(found.collect()))
}

fn command_docs(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if args.len() == 2 {
        return Ok(Reply::Map(top_level().map(Named::docs).collect()));
    }
    Ok(Reply::Map(args[2..].iter().filter_map(|name| Named::find(name)).map(Named::docs).collect()))
}

fn command_list(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let wanted: &dyn Fn(&Named) -> bool = match &args[2..] {
        [] => &|_| true,
        [by, kind, name] if is(by, "FILTERBY") => match kind.to_ascii_uppercase().as_slice() {
            b"PATTERN" => &|named| glob::matches(&name.to_ascii_lowercase(), named.name().as_bytes()),
            b"ACLCAT" => &|named| named.row.categories().iter().any(|category| is(name, category)),
            // There are no modules.
            b"MODULE" => &|_| false,
            _ => return Err(CommandError::Syntax.into()),
        },
        _ => return Err(CommandError::Syntax.into()),
    };
    Ok(Reply::Array(Named::all().filter(wanted).map(|named| Reply::bulk(named.name())).collect()))
}

/// The row of a command that is asked about, and its keys.
fn keys_of(inner: Args<'_>) -> Result<(&'static Command, Vec<&[u8]>), CommandError> {
    let row = match find(inner) {
        Ok(found) => found.command,
        Err(CommandError::Arity(_)) => {
            return Err(CommandError::text("ERR Invalid number of arguments specified for command"));
        }
        Err(_) => return Err(CommandError::text("ERR Invalid command specified")),
    };
    if !row.counts_its_keys(inner) {
        let unreadable = CommandError::text("ERR Invalid arguments specified for command");
        return if row.is_script() { Ok((row, Vec::new())) } else { Err(unreadable) };
    }
    let keys: Vec<&[u8]> = row.keys_of(inner).collect();
    if keys.is_empty() && !row.is_script() {
        let error = if row.keys.are_named() {
            "ERR Invalid arguments specified for command"
        } else {
            "ERR The command has no key arguments"
        };
        return Err(CommandError::text(error));
    }
    Ok((row, keys))
}

fn command_getkeys(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (_, keys) = keys_of(&args[2..])?;
    Ok(Reply::bulks(keys.into_iter().map(Blob::from)))
}

fn command_getkeysandflags(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let inner = &args[2..];
    let (row, keys) = keys_of(inner)?;
    let pairs = row.keys_and_needs(inner).take(keys.len()).map(|(key, needs)| {
        let flags = flags_of(needs, row).into_iter().map(Reply::status);
        Reply::Array(vec![Reply::bulk(key), Reply::Set(flags.collect())])
    });
    Ok(Reply::Array(pairs.collect()))
}

/// What a command does to a key, in Redis's words: whether it reads and writes it, and what becomes of what it holds.
fn flags_of(needs: Needs, row: &Command) -> Vec<&'static str> {
    let writes = row.effect == Effect::Writes;
    let changes = match needs {
        _ if !writes => None,
        Needs::Read => None,
        Needs::Write if row.does_add() => Some("insert"),
        Needs::Write if row.does_remove() && !row.reads_and_writes() => Some("delete"),
        Needs::ReadWrite if row.does_remove() => Some("delete"),
        Needs::Nothing | Needs::Write | Needs::ReadWrite => Some("update"),
    };
    let mode = match (needs, changes) {
        (_, None) => "RO",
        (Needs::Write, Some("delete")) if row.does_overwrite() => "RM",
        (Needs::Write, _) if row.does_overwrite() => "OW",
        _ => "RW",
    };
    let reads = needs.read().then_some("access");
    [Some(mode), reads, changes].into_iter().flatten().collect()
}

fn command_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn the_table_describes_itself() {
        let mut bench = Bench::new();
        let Reply::Array(rows) = bench.run("COMMAND") else { panic!() };
        assert_eq!(bench.run("COMMAND COUNT"), Reply::count(rows.len()));
        assert_eq!(bench.run("COMMAND INFO"), Reply::Array(rows));
        let Reply::Array(found) = bench.run("COMMAND INFO config|GET nope") else { panic!() };
        assert!(matches!(&found[0], Reply::Array(fields) if fields.len() == 10));
        assert_eq!(found[1], Reply::NullArray);
        let Reply::Map(docs) = bench.run("COMMAND DOCS get nope") else { panic!() };
        assert_eq!(docs.len(), 1);
    }

    #[test]
    fn keys_are_found_by_the_row() {
        let mut bench = Bench::new();
        assert_eq!(
            bench.run("COMMAND GETKEYS MSET a 1 b 2"),
            Reply::bulks(["a", "b"].map(|key| key.as_bytes().into()))
        );
        assert_eq!(bench.error("COMMAND GETKEYS ECHO a"), "ERR The command has no key arguments");
        assert_eq!(bench.error("COMMAND GETKEYS GET a b"), "ERR Invalid number of arguments specified for command");
        assert_eq!(bench.error("COMMAND GETKEYS nope a"), "ERR Invalid command specified");
    }

    #[test]
    fn flushing_empties_the_database() {
        let mut bench = Bench::new();
        for line in ["FLUSHDB", "FLUSHALL ASYNC", "FLUSHDB sync"] {
            bench.run("SET k v");
            assert_eq!(bench.run(line), Reply::OK);
            assert_eq!(bench.run("DBSIZE"), Reply::Integer(0));
        }
        assert_eq!(bench.error("FLUSHDB NOW"), "ERR syntax error");
    }
}
