//! `SLOWLOG` and `LATENCY`: what took long, and how long commands take.
//!
//! The slow log is `slow_log.rs`; what is gathered of commands and of spikes is `stats.rs`. Spikes are those of commands
//! (`command`, and `fast-command` for what Redis calls fast) and of removing dead keys (`expire-cycle`).

use std::fmt::Write as _;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::is;
use crate::command::{Command, Group, Handler, command, container};
use crate::stats::{Spike, Spikes};
use crate::table::{Place, places};
use crate::txn::{Outcome, Txn};
use crate::types::standalone::{help_of, wrong_subcommand};

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
    slow("LATEST",     2, latest)       .no_script().doc("2.8.13", "The latest spike of each event, and the longest."),
    slow("HISTORY",    3, history)      .no_script().doc("2.8.13", "The spikes of an event: when, and how long."),
    slow("HISTOGRAM", -2, histogram)    .no_script().doc("7.0.0",  "How many calls of commands took how long."),
    slow("RESET",     -2, latency_reset).no_script().doc("2.8.13", "Forgets the spikes of events, or all of them."),
    slow("GRAPH",      3, graph)        .no_script().doc("2.8.13", "Draws the spikes of an event."),
    slow("DOCTOR",     2, doctor)       .no_script().doc("2.8.13", "Says in words which spikes there were."),
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
/// Columns and rows of a drawing.
const COLUMNS: usize = 80;
const ROWS_DRAWN: u64 = 4;

fn slowlog_get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let count = match &args[2..] {
        [] => SHOWN,
        [count] => match parse_integer(count) {
            Some(-1) => usize::MAX,
            Some(count) if count >= 0 => count as usize,
            _ => return Err(CommandError::text("ERR count should be greater than or equal to -1").into()),
        },
        _ => return Err(wrong_subcommand(args).into()),
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

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn slowlog_len(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.hub().slow_log.entries.len()))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn slowlog_reset(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.hub().slow_log.entries.clear();
    Ok(Reply::OK)
}

fn slowlog_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn latest(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let integer = |value: u64| Reply::Integer(value as i64);
    let events = txn.hub().stats.spikes.iter().filter_map(|(event, spikes)| {
        let Spike { at_s, took_ms } = *spikes.latest.back()?;
        Some(Reply::Array(vec![Reply::bulk(event), integer(at_s), integer(took_ms), integer(spikes.longest_ms)]))
    });
    Ok(Reply::Array(events.collect()))
}

/// The spikes of the event that is named.
fn spikes<'a>(txn: &'a mut Txn<'_>, event: &[u8]) -> Option<&'a Spikes> {
    txn.hub().stats.spikes.iter().find(|(name, _)| is(event, name)).map(|(_, spikes)| spikes)
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn history(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let pair =
        |spike: &Spike| Reply::Array(vec![Reply::Integer(spike.at_s as i64), Reply::Integer(spike.took_ms as i64)]);
    let found = spikes(txn, args[2]).map(|spikes| spikes.latest.iter().map(pair).collect());
    Ok(Reply::Array(found.unwrap_or_default()))
}

/// Whether a name means a row: its own, or that of what holds it.
fn means(name: &[u8], place: &Place) -> bool {
    is(name, &place.name()) || place.container.is_some_and(|container| is(name, container.name))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn histogram(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let wanted = &args[2..];
    let mut found = Vec::new();
    for (at, stats) in txn.hub().stats.used().filter(|(_, stats)| !stats.spans.is_empty()) {
        let Some(place) = places().get(at) else { continue };
        if !wanted.is_empty() && !wanted.iter().any(|name| means(name, place)) {
            continue;
        }
        let spans = stats.spans.cumulated();
        let calls = spans.last().map_or(0, |(_, calls)| *calls);
        let integer = |value: u64| Reply::Integer(value as i64);
        let spans = spans.into_iter().map(|(end, calls)| (integer(end), integer(calls))).collect();
        let fields = vec![(Reply::bulk("calls"), integer(calls)), (Reply::bulk("histogram_usec"), Reply::Map(spans))];
        found.push((Reply::bulk(place.name()), Reply::Map(fields)));
    }
    Ok(Reply::Map(found))
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn latency_reset(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let spikes = &mut txn.hub().stats.spikes;
    let before = spikes.len();
    spikes.retain(|event, _| !(args.len() == 2 || args[2..].iter().any(|name| is(name, event))));
    Ok(Reply::count(before - spikes.len()))
}

fn graph(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let now_s = txn.now_ms() / 1_000;
    let event = String::from_utf8_lossy(&args[2][..args[2].len().min(64)]).into_owned();
    let Some(spikes) = spikes(txn, args[2]) else {
        return Err(CommandError::from(format!("ERR No samples available for event '{event}'")).into());
    };
    Ok(Reply::Verbatim(Blob::from(draw(&event, spikes, now_s).into_bytes())))
}

/// Spikes as columns between the shortest and the longest of them, each with its age below.
fn draw(event: &str, spikes: &Spikes, now_s: u64) -> String {
    let shown: Vec<Spike> = spikes.latest.iter().rev().take(COLUMNS).rev().copied().collect();
    let heights = shown.iter().map(|spike| spike.took_ms);
    let (low, high) = (heights.clone().min().unwrap_or(0), heights.max().unwrap_or(0));
    let longest = spikes.longest_ms;
    let mut text = format!("{event} - high {high} ms, low {low} ms (all time high {longest} ms)\n");
    let _ = writeln!(text, "{}", "-".repeat(COLUMNS));
    let height = |spike: &Spike| ((spike.took_ms - low) * ROWS_DRAWN).checked_div(high - low).unwrap_or(0);
    for row in (0..ROWS_DRAWN).rev() {
        let column = |spike: &Spike| match height(spike) {
            top if top > row + 1 || top == ROWS_DRAWN && row + 1 == ROWS_DRAWN => '|',
            top if top == row + 1 => 'o',
            0 if row == 0 => '_',
            _ => ' ',
        };
        let _ = writeln!(text, "{}", shown.iter().map(column).collect::<String>());
    }
    text.push('\n');
    let ages: Vec<String> = shown.iter().map(|spike| age(now_s.saturating_sub(spike.at_s))).collect();
    for row in 0..ages.iter().map(String::len).max().unwrap_or(0) {
        let letter = |age: &String| age.chars().nth(row).unwrap_or(' ');
        let _ = writeln!(text, "{}", ages.iter().map(letter).collect::<String>());
    }
    text
}

/// How long ago, in at most four letters.
fn age(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3_600 => format!("{}m", seconds / 60),
        3_600..86_400 => format!("{}h", seconds / 3_600),
        _ => format!("{}d", seconds / 86_400),
    }
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn doctor(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let hub = txn.hub();
    let mut text = String::new();
    if hub.settings.spike_ms == 0 {
        text.push_str(
            "Spikes of latency are not gathered: CONFIG SET latency-monitor-threshold <milliseconds> starts that. SLOWLOG \
             GET shows commands that took long.\n",
        );
    } else if hub.stats.spikes.is_empty() {
        text.push_str("No spikes of latency were seen.\n");
    }
    for (event, spikes) in &hub.stats.spikes {
        let (count, longest) = (spikes.count, spikes.longest_ms);
        let mean = spikes.sum_ms.checked_div(count).unwrap_or(0);
        let _ = writeln!(text, "{event}: {count} latency spikes (average {mean}ms). Worst all time event {longest}ms.");
    }
    if !hub.stats.spikes.is_empty() {
        text.push_str("\nSLOWLOG GET shows which commands took long, LATENCY HISTORY <event> when that was.\n");
    }
    Ok(Reply::Verbatim(Blob::from(text.into_bytes())))
}

fn latency_help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn spikes_are_listed_drawn_and_forgotten() {
        let mut bench = Bench::new();
        bench.hub.settings.spike_ms = 1;
        for (at, us) in [(1, 5_000), (2, 9_000), (3, 1_000)] {
            bench.hub.note_spike("command", us, bench.now_us / 1_000_000 - 10 + at);
        }
        let Reply::Array(events) = bench.run("LATENCY LATEST") else { panic!() };
        assert!(matches!(&events[..], [Reply::Array(fields)] if fields[2..] == [Reply::Integer(1), Reply::Integer(9)]));
        assert!(matches!(bench.run("LATENCY HISTORY COMMAND"), Reply::Array(spikes) if spikes.len() == 3));
        let Reply::Verbatim(text) = bench.run("LATENCY GRAPH command") else { panic!() };
        let text = String::from_utf8_lossy(&text).into_owned();
        assert!(text.starts_with("command - high 9 ms, low 1 ms (all time high 9 ms)\n"), "{text}");
        assert!(text.ends_with("\n | \n | \no| \n||_\n\n987\nsss\n"), "{text}");
        assert_eq!(bench.error("LATENCY GRAPH nope"), "ERR No samples available for event 'nope'");
        assert_eq!(bench.run("LATENCY RESET nope"), Reply::Integer(0));
        assert_eq!(bench.run("LATENCY RESET nope command"), Reply::Integer(1));
        bench.hub.note_spike("command", 5_000, 1);
        assert_eq!(bench.run("LATENCY RESET"), Reply::Integer(1));
        assert!(bench.hub.stats.spikes.is_empty());
    }

    #[test]
    fn histograms_count_calls() {
        let mut bench = Bench::new();
        bench.run("GET a");
        bench.run("CONFIG GET port");
        let Reply::Map(found) = bench.run("LATENCY HISTOGRAM config nope") else { panic!() };
        let spans = Reply::Map(vec![(Reply::Integer(1), Reply::Integer(1))]);
        let fields = vec![(Reply::bulk("calls"), Reply::Integer(1)), (Reply::bulk("histogram_usec"), spans)];
        assert_eq!(found, [(Reply::bulk("config|get"), Reply::Map(fields))]);
    }
}
