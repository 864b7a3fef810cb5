//! The server as its clients see it: `INFO`, `CONFIG`, `COMMAND`, and what concerns the whole database at once.
//!
//! Everything printed here is a fact handed in through the hub, a count the keyspace keeps anyway, or the command table
//! itself. `CONFIG` shows the few parameters whose answer is true of Dormouse; only those about notifications and
//! the slow log can be set, since the rest belongs to the operator or means nothing here. Clients decide by `redis_version` what they may send, so
//! it names the Redis we are compatible with, and `dormouse_version` names us.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::fmt::Write as _;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::{Options, is};
use crate::command::{Command, Effect, Group, Handler, command, container};
use crate::glob;
use crate::hub::{Hub, Notifications};
use crate::slow_log;
use crate::table::{all, find};
use crate::txn::{Outcome, Txn};

/// The Redis whose commands and replies are ours.
pub(crate) const REDIS_VERSION: &str = "8.2.0";

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    server("INFO",     -1, info)  .dangerous()                       .doc("1.0.0", "What the server says of itself, by section."),
    server("DBSIZE",    1, dbsize).reads().fast()                    .within(&["keyspace"]).doc("1.0.0", "How many keys there are."),
    server("FLUSHDB",  -1, flush) .writes().sweeps().dangerous()     .within(&["keyspace"]).doc("1.0.0", "Removes every key."),
    server("FLUSHALL", -1, flush) .writes().sweeps().dangerous()     .within(&["keyspace"]).doc("1.0.0", "Removes every key; the same as FLUSHDB, as there is one database."),
    server("TIME",      1, time)  .fast().for_all()                  .doc("2.6.0", "The time: seconds since the Unix epoch, and microseconds."),
    with(COMMAND, server("COMMAND", -1, command_all)).for_all().within(&["connection"]).doc("2.8.13", "Every command: arity, flags, keys, categories."),
    container("CONFIG", CONFIG).group(Group::Server)                 .doc("2.0.0", "Commands about parameters."),
];

#[rustfmt::skip]
const COMMAND: &[Command] = &[
    server("COUNT",   2, command_count)  .for_all().within(&["connection"]).doc("2.8.13", "How many commands there are."),
    server("INFO",   -2, command_info)   .for_all().within(&["connection"]).doc("2.8.13", "Arity, flags, keys and categories of commands."),
    server("DOCS",   -2, command_docs)   .for_all().within(&["connection"]).doc("7.0.0",  "What commands do, and since when they exist."),
    server("LIST",   -2, command_list)   .for_all().within(&["connection"]).doc("7.0.0",  "The names of commands, of a category or matching a pattern if asked."),
    server("GETKEYS", -3, command_getkeys).for_all().within(&["connection"]).doc("2.8.13", "The keys that a command would touch."),
];

#[rustfmt::skip]
const CONFIG: &[Command] = &[
    server("GET",      -3, config_get)      .admin().no_script().doc("2.0.0", "Parameters that match the patterns."),
    server("SET",      -4, config_set)      .admin().no_script().doc("2.0.0", "Sets parameters: notify-keyspace-events, slowlog-log-slower-than and slowlog-max-len."),
    server("REWRITE",   2, config_rewrite)  .admin().no_script().doc("2.8.0", "An error: parameters are the operator's, in flags and files of their own."),
    server("RESETSTAT", 2, config_resetstat).admin().no_script().doc("2.0.0", "Sets the counters that INFO shows to zero."),
];

const fn server(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server)
}

const fn with(subcommands: &'static [Command], mut row: Command) -> Command {
    row.subcommands = subcommands;
    row
}

// --- INFO ------------------------------------------------------------------------------------------------------------

/// One section: its heading, whether it needs the whole database, and its lines.
struct Section {
    name: &'static str,
    lines: fn(&mut Txn<'_>, &mut String),
}

/// The sections in the order they are printed, whatever the order they were asked in.
const SECTIONS: &[Section] = &[
    Section { name: "Server", lines: info_server },
    Section { name: "Clients", lines: info_clients },
    Section { name: "Memory", lines: info_memory },
    Section { name: "Persistence", lines: info_persistence },
    Section { name: "Stats", lines: info_stats },
    Section { name: "Replication", lines: info_replication },
    Section { name: "Cluster", lines: info_cluster },
    Section { name: "Keyspace", lines: info_keyspace },
];

fn info(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let asked = &args[1..];
    let everything =
        asked.is_empty() || asked.iter().any(|word| is(word, "default") || is(word, "all") || is(word, "everything"));
    let mut text = String::new();
    for section in SECTIONS {
        if everything || asked.iter().any(|word| is(word, section.name)) {
            if !text.is_empty() {
                text.push_str("\r\n");
            }
            line(&mut text, format_args!("# {}", section.name));
            (section.lines)(txn, &mut text);
        }
    }
    Ok(Reply::Verbatim(Blob::from(text.as_bytes())))
}

fn line(text: &mut String, line: std::fmt::Arguments<'_>) {
    let _ = write!(text, "{line}\r\n");
}

fn info_server(txn: &mut Txn<'_>, text: &mut String) {
    let moment = txn.moment();
    let facts = &txn.hub().facts;
    let uptime = moment.now_ms().saturating_sub(facts.started_ms) / 1_000;
    line(text, format_args!("redis_version:{REDIS_VERSION}"));
    line(text, format_args!("dormouse_version:{}", facts.version));
    line(text, format_args!("redis_mode:standalone"));
    line(text, format_args!("arch_bits:{}", usize::BITS));
    line(text, format_args!("process_id:{}", facts.process_id));
    line(text, format_args!("run_id:{}", facts.run_id));
    line(text, format_args!("tcp_port:{}", facts.tcp_port));
    line(text, format_args!("server_time_usec:{}", moment.now_us));
    line(text, format_args!("uptime_in_seconds:{uptime}"));
    line(text, format_args!("uptime_in_days:{}", uptime / 86_400));
}

fn info_clients(txn: &mut Txn<'_>, text: &mut String) {
    line(text, format_args!("connected_clients:{}", txn.hub().clients.len()));
}

fn info_memory(txn: &mut Txn<'_>, text: &mut String) {
    let used = txn.space().memory_bytes();
    let maxmemory = txn.hub().facts.memory_bytes_max;
    let resident = txn.hub().facts.resident_bytes.map_or(0, |resident_bytes| resident_bytes());
    for (name, bytes) in [("used_memory", used as u64), ("used_memory_rss", resident), ("maxmemory", maxmemory)] {
        line(text, format_args!("{name}:{bytes}"));
        line(text, format_args!("{name}_human:{}", human(bytes)));
    }
    line(text, format_args!("used_memory_dataset:{used}"));
    line(text, format_args!("number_of_cached_scripts:{}", txn.hub().scripts()));
    line(text, format_args!("maxmemory_policy:noeviction"));
}

/// A size as people read it: `1.50M`.
fn human(bytes: u64) -> String {
    let units = [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    let unit = units.into_iter().find(|(size, _)| bytes >= *size);
    unit.map_or_else(|| format!("{bytes}B"), |(size, letter)| format!("{:.2}{letter}", bytes as f64 / size as f64))
}

fn info_persistence(txn: &mut Txn<'_>, text: &mut String) {
    line(text, format_args!("loading:0"));
    line(text, format_args!("rdb_changes_since_last_save:{}", txn.space().dirty_keys()));
    line(text, format_args!("rdb_bgsave_in_progress:0"));
    line(text, format_args!("rdb_last_bgsave_status:ok"));
    line(text, format_args!("aof_enabled:1"));
    line(text, format_args!("aof_rewrite_in_progress:0"));
    line(text, format_args!("aof_last_write_status:ok"));
}

fn info_stats(txn: &mut Txn<'_>, text: &mut String) {
    let hub = txn.hub();
    let facts = &hub.facts;
    line(text, format_args!("total_connections_received:{}", facts.connections));
    line(text, format_args!("total_commands_processed:{}", facts.commands));
    line(text, format_args!("expired_keys:{}", facts.expired));
    line(text, format_args!("evicted_keys:0"));
    line(text, format_args!("keyspace_hits:{}", facts.hits));
    line(text, format_args!("keyspace_misses:{}", facts.misses));
    line(text, format_args!("pubsub_channels:{}", hub.channels().count()));
    line(text, format_args!("pubsub_patterns:{}", hub.patterns()));
}

fn info_replication(_: &mut Txn<'_>, text: &mut String) {
    line(text, format_args!("role:master"));
    line(text, format_args!("connected_slaves:0"));
}

fn info_cluster(_: &mut Txn<'_>, text: &mut String) {
    line(text, format_args!("cluster_enabled:0"));
}

fn info_keyspace(txn: &mut Txn<'_>, text: &mut String) {
    txn.sees_all();
    let space = txn.space();
    if !space.is_empty() {
        line(text, format_args!("db0:keys={},expires={},avg_ttl=0", space.len(), space.with_deadline()));
    }
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

fn command_getkeys(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let inner = &args[2..];
    let row = match find(inner) {
        Ok(found) => found.command,
        Err(CommandError::Arity(_)) => {
            return Err(CommandError::text("ERR Invalid number of arguments specified for command").into());
        }
        Err(_) => return Err(CommandError::text("ERR Invalid command specified").into()),
    };
    let keys: Vec<Blob> = row.keys_of(inner).map(Blob::from).collect();
    if keys.is_empty() && !row.is_script() {
        let error = if row.keys.are_named() {
            "ERR Invalid arguments specified for command"
        } else {
            "ERR The command has no key arguments"
        };
        return Err(CommandError::text(error).into());
    }
    Ok(Reply::bulks(keys))
}

// --- CONFIG ----------------------------------------------------------------------------------------------------------

/// The parameters that can be set.
const EVENTS: &str = "notify-keyspace-events";
const SLOWER_THAN: &str = "slowlog-log-slower-than";
const SLOW_ENTRIES: &str = "slowlog-max-len";

/// A parameter: its name, and how its value reads.
struct Parameter {
    name: &'static str,
    value: fn(&Hub) -> String,
}

const fn parameter(name: &'static str, value: fn(&Hub) -> String) -> Parameter {
    Parameter { name, value }
}

#[rustfmt::skip]
const PARAMETERS: &[Parameter] = &[
    parameter(EVENTS,                 |hub| hub.events.text()),
    parameter("appendfsync",          |hub| hub.facts.durability.to_owned()),
    parameter("appendonly",           |_|   "yes".to_owned()),
    parameter("busy-reply-threshold", |_|   SCRIPT_MS.to_string()),
    parameter("databases",            |_|   "1".to_owned()),
    parameter("lua-time-limit",       |_|   SCRIPT_MS.to_string()),
    parameter("maxmemory",            |hub| hub.facts.memory_bytes_max.to_string()),
    parameter("maxmemory-policy",     |_|   "noeviction".to_owned()),
    parameter("port",                 |hub| hub.facts.tcp_port.to_string()),
    parameter("proto-max-bulk-len",   |hub| hub.limits.string_bytes_max.to_string()),
    parameter("save",                 |_|   String::new()),
    parameter("latency-monitor-threshold", |_| "0".to_owned()),
    parameter(SLOWER_THAN,            |hub| hub.slow_log.slower_than_us.to_string()),
    parameter(SLOW_ENTRIES,           |hub| hub.slow_log.entries_max.to_string()),
    parameter("timeout",              |_|   "0".to_owned()),
];

/// After how long a script makes the server answer `BUSY`, in milliseconds; Redis's default.
const SCRIPT_MS: u32 = 5_000;

fn config_get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let patterns: Vec<Vec<u8>> = args[2..].iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
    let wanted =
        |parameter: &&Parameter| patterns.iter().any(|pattern| glob::matches(pattern, parameter.name.as_bytes()));
    let hub = &*txn.hub();
    let pair = |parameter: &Parameter| (Reply::bulk(parameter.name), Reply::bulk((parameter.value)(hub)));
    Ok(Reply::Map(PARAMETERS.iter().filter(wanted).map(pair).collect()))
}

/// Either every pair is fine and all are set, or none is.
fn config_set(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let mut options = Options::new(&args[2..]);
    if !options.rest().len().is_multiple_of(2) {
        return Err(CommandError::Syntax.into());
    }
    let mut seen: Vec<&[u8]> = Vec::new();
    let mut events = None;
    let (mut slower_than, mut slow_entries) = (None, None);
    while let Some(name) = options.next() {
        let value = options.value()?;
        let shown = String::from_utf8_lossy(name);
        if !PARAMETERS.iter().any(|parameter| is(name, parameter.name)) {
            let error = format!("ERR Unknown option or number of arguments for CONFIG SET - '{shown}'");
            return Err(CommandError::from(error).into());
        }
        let failed = |why: &str| {
            CommandError::from(format!("ERR CONFIG SET failed (possibly related to argument '{shown}') - {why}"))
        };
        if ![EVENTS, SLOWER_THAN, SLOW_ENTRIES].iter().any(|settable| is(name, settable)) {
            return Err(failed("can't set immutable config").into());
        }
        if seen.iter().any(|other| other.eq_ignore_ascii_case(name)) {
            return Err(failed("duplicate parameter").into());
        }
        seen.push(name);
        if is(name, SLOWER_THAN) {
            slower_than = Some(within(value, -1, i64::MAX).map_err(|why| failed(&why))?);
            continue;
        }
        if is(name, SLOW_ENTRIES) {
            slow_entries = Some(within(value, 0, slow_log::ENTRIES_MAX as i64).map_err(|why| failed(&why))?);
            continue;
        }
        let parsed = Notifications::parse(value);
        events = Some(parsed.ok_or_else(|| failed("Invalid event class character. Use 'Ag$lshzxeKEtmdn'."))?);
    }
    if let Some(events) = events {
        txn.set_events(events);
    }
    let log = &mut txn.hub().slow_log;
    if let Some(us) = slower_than {
        (log.slower_than_us, log.times_all) = (us, us != slow_log::SLOWER_THAN_US);
    }
    if let Some(entries) = slow_entries {
        log.entries_max = entries as usize;
        log.entries.truncate(log.entries_max);
    }
    Ok(Reply::OK)
}

/// A number between bounds, or why it is none.
fn within(value: &[u8], least: i64, most: i64) -> Result<i64, String> {
    match dormouse_proto::parse_integer(value) {
        None => Err("argument couldn't be parsed into an integer".to_owned()),
        Some(value) if (least..=most).contains(&value) => Ok(value),
        Some(_) => Err(format!("argument must be between {least} and {most} inclusive")),
    }
}

fn config_rewrite(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::text("ERR The server is running without a config file").into())
}

fn config_resetstat(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let facts = &mut txn.hub().facts;
    facts.commands = 0;
    facts.hits = 0;
    facts.misses = 0;
    facts.expired = 0;
    facts.connections = 0;
    Ok(Reply::OK)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn text(reply: &Reply) -> String {
        match reply {
            Reply::Verbatim(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn info_prints_the_sections_asked_for() {
        let mut bench = Bench::new();
        bench.run("SET k v");
        bench.run("SET dying v EX 10");
        let all = text(&bench.run("INFO"));
        for line in [
            "redis_version:8.2.0",
            "redis_mode:standalone",
            "maxmemory:0",
            "maxmemory_policy:noeviction",
            "role:master",
            "cluster_enabled:0",
            "db0:keys=2,expires=1,avg_ttl=0",
        ] {
            assert!(all.split("\r\n").any(|other| other == line), "{line} is not in {all}");
        }
        for line in ["INFO default", "INFO ALL", "INFO nope everything"] {
            assert_eq!(text(&bench.run(line)), all);
        }
        assert_eq!(text(&bench.run("INFO cluster")), "# Cluster\r\ncluster_enabled:0\r\n");
        assert_eq!(
            text(&bench.run("INFO keyspace Cluster nope")),
            "# Cluster\r\ncluster_enabled:0\r\n\r\n# Keyspace\r\ndb0:keys=2,expires=1,avg_ttl=0\r\n"
        );
        assert_eq!(text(&bench.run("INFO nope")), "");
    }

    #[test]
    fn counters_go_back_to_zero() {
        let mut bench = Bench::new();
        bench.run("GET missing");
        assert!(text(&bench.run("INFO stats")).contains("keyspace_misses:1"));
        assert_eq!(bench.run("CONFIG RESETSTAT"), Reply::OK);
        assert!(text(&bench.run("INFO stats")).contains("keyspace_misses:0"));
    }

    #[test]
    fn every_parameter_reads_and_one_can_be_set() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("CONFIG SET notify-keyspace-events KEA"), Reply::OK);
        let events = Reply::Map(vec![(Reply::bulk(EVENTS), Reply::bulk("AKE"))]);
        assert_eq!(bench.run("CONFIG GET NOTIFY-*"), events);
        assert!(bench.error("CONFIG SET notify-keyspace-events Q").contains("Invalid event class"));
        assert!(bench.error("CONFIG SET notify-keyspace-events K port 1").contains("immutable"));
        assert_eq!(bench.run("CONFIG GET notify-keyspace-events"), events);
        let Reply::Map(pairs) = bench.run("CONFIG GET *") else { panic!() };
        assert_eq!(pairs.len(), PARAMETERS.len());
    }

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
