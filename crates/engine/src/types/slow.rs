//! `SLOWLOG` and `LATENCY`: what took long.
//!
//! The log itself is `slow_log.rs`. Spikes of latency are not gathered: the commands about them answer what Redis answers
//! while `latency-monitor-threshold` is 0, which is its default, and dashboards show nothing instead of failing.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::command::{Command, Group, Handler, command, container};
use crate::txn::{Outcome, Txn};
use crate::types::standalone::help_of;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    container("SLOWLOG", SLOWLOG).group(Group::Server).doc("2.2.12", "Commands about what took long."),
    container("LATENCY", LATENCY).group(Group::Server).doc("2.8.13", "Commands about spikes of latency."),
];

#[rustfmt::skip]
const SLOWLOG: &[Command] = &[
    slow("GET",  -2, slowlog_get)  .doc("2.2.12", "The newest entries of the slow log: ten, as many as asked for, or all with -1."),
    slow("LEN",   2, slowlog_len)  .doc("2.2.12", "How many entries the slow log has."),
    slow("RESET", 2, slowlog_reset).doc("2.2.12", "Empties the slow log."),
    help("HELP",  2, slowlog_help) .for_all().doc("6.2.0",  "What the sub-commands are."),
];

#[rustfmt::skip]
const LATENCY: &[Command] = &[
    slow("LATEST",     2, none)         .no_script().doc("2.8.13", "The latest spikes: none, as they are not gathered."),
    slow("HISTORY",    3, none)         .no_script().doc("2.8.13", "The spikes of an event: none, as they are not gathered."),
    slow("HISTOGRAM", -2, histogram)    .no_script().doc("7.0.0",  "How long commands take: nothing, as it is not gathered."),
    slow("RESET",     -2, latency_reset).no_script().doc("2.8.13", "Forgets the spikes of events; there are none."),
    slow("GRAPH",      3, graph)        .no_script().doc("2.8.13", "Draws the spikes of an event: an error, as there are none."),
    slow("DOCTOR",     2, doctor)       .no_script().doc("2.8.13", "Says that spikes of latency are not gathered."),
    help("HELP",       2, latency_help) .for_all().doc("2.8.13", "What the sub-commands are."),
];

const fn slow(name: &'static str, arity: i8, handler: Handler) -> Command {
    help(name, arity, handler).admin()
}

const fn help(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server)
}

/// Entries that are shown unless more are asked for.
const SHOWN: usize = 10;

fn slowlog_get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = match &args[2..] {
        [] => SHOWN,
        [count] => match parse_integer(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(CommandError::text("ERR count should be greater than or equal to -1").into()),
        },
        _ => return Err(CommandError::Arity("slowlog|get".into()).into()),
    };
    let entries = txn.hub().slow_log.entries.iter().take(count).map(|entry| {
        Reply::Array(vec![
            Reply::Integer(entry.id),
            Reply::Integer(entry.at_s as i64),
            Reply::Integer(entry.took_us as i64),
            Reply::bulks(entry.args.iter().cloned()),
            Reply::bulk(&entry.address),
            Reply::Bulk(entry.name.clone()),
        ])
    });
    Ok(Reply::Array(entries.collect()))
}

fn slowlog_len(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.hub().slow_log.entries.len()))
}

fn slowlog_reset(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.hub().slow_log.entries.clear();
    Ok(Reply::OK)
}

fn slowlog_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

fn none(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(Vec::new()))
}

fn histogram(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Map(Vec::new()))
}

fn latency_reset(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Integer(0))
}

fn graph(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let event = String::from_utf8_lossy(&args[2][..args[2].len().min(64)]).into_owned();
    Err(CommandError::from(format!("ERR No samples available for event '{event}'")).into())
}

fn doctor(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let text = "Spikes of latency are not gathered here. SLOWLOG GET shows commands that took long.\n";
    Ok(Reply::Verbatim(Blob::from(text.as_bytes())))
}

fn latency_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}
