//! `CONFIG`: parameters, by the names Redis gives them.
//!
//! Every parameter of Redis is known, so that clients and tools find what they ask for, and a value that was read can be set
//! again. The table is in `parameters.rs`, what a value may look like in `kinds.rs`; what acts, and where, in `settings.rs`.
//! What belongs to the operator (ports, files) reads as something, and stays as it is.

mod kinds;
mod parameters;

use dormouse_proto::{Args, CommandError, Reply};

use self::parameters::{PARAMETERS, Parameter};
use crate::args::is;
use crate::command::{Command, Group, Handler, command};
use crate::glob;
use crate::hub::Hub;
use crate::txn::{Outcome, Txn};
use crate::types::standalone::help_of;

#[rustfmt::skip]
pub(super) const CONFIG: &[Command] = &[
    config("GET",      -3, config_get)      .admin().no_script().doc("2.0.0", "Parameters that match the patterns."),
    config("SET",      -4, config_set)      .admin().no_script().doc("2.0.0", "Sets parameters, all of them or none; few act here."),
    config("REWRITE",   2, config_rewrite)  .admin().no_script().doc("2.8.0", "An error: parameters are the operator's, in flags and files of their own."),
    config("RESETSTAT", 2, config_resetstat).admin().no_script().doc("2.0.0", "Sets the counters that INFO shows to zero."),
    config("HELP",      2, help)            .for_all()          .doc("5.0.0", "What the sub-commands are."),
];

const fn config(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Server)
}

/// A parameter by either of its names, in any case.
fn find(name: &[u8]) -> Option<&'static Parameter> {
    PARAMETERS.iter().find(|parameter| is(name, parameter.name) || parameter.alias.is_some_and(|alias| is(name, alias)))
}

impl Parameter {
    fn value(&self, hub: &Hub) -> String {
        if self.name == "notify-keyspace-events" {
            return hub.events.text();
        }
        if let Some(text) = hub.settings.text(self.name) {
            return text.to_owned();
        }
        match self.name {
            "appendfsync" if !hub.facts.durability.is_empty() => hub.facts.durability.to_owned(),
            "port" => hub.facts.tcp_port.to_string(),
            "proto-max-bulk-len" => hub.limits.string_bytes_max.to_string(),
            "enable-debug-command" if hub.facts.allows_debug => "yes".to_owned(),
            _ => self.default.to_owned(),
        }
    }
}

/// The value of a parameter; nothing if there is none.
pub(super) fn value(hub: &Hub, name: &str) -> String {
    find(name.as_bytes()).map(|parameter| parameter.value(hub)).unwrap_or_default()
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn config_get(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let patterns: Vec<Vec<u8>> = args[2..].iter().map(|pattern| pattern.to_ascii_lowercase()).collect();
    let hub = &*txn.hub();
    let mut pairs = Vec::new();
    for parameter in PARAMETERS {
        for name in std::iter::once(parameter.name).chain(parameter.alias) {
            let asked = |pattern: &Vec<u8>| {
                let same = pattern == name.as_bytes();
                same || !parameter.is_hidden && glob::matches(pattern, name.as_bytes())
            };
            if patterns.iter().any(asked) {
                pairs.push((Reply::bulk(name), Reply::bulk(parameter.value(hub))));
            }
        }
    }
    Ok(Reply::Map(pairs))
}

/// Either every pair is fine and all are set, or none is.
fn config_set(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let pairs = &args[2..];
    if !pairs.len().is_multiple_of(2) {
        return Err(CommandError::Syntax.into());
    }
    let mut meant: Vec<(&[u8], &Parameter, &[u8])> = Vec::new();
    for pair in pairs.chunks_exact(2) {
        let parameter = find(pair[0]).ok_or_else(|| {
            let name = shown(pair[0]);
            CommandError::from(format!("ERR Unknown option or number of arguments for CONFIG SET - '{name}'"))
        })?;
        let same = parameter.value(txn.hub()).as_bytes() == pair[1];
        if parameter.is_fixed && !same {
            return Err(failed(pair[0], "can't set immutable config").into());
        }
        if parameter.is_protected && !same {
            return Err(failed(pair[0], "can't set protected config").into());
        }
        // By name, so that both names of one parameter may be given.
        if meant.iter().any(|(name, ..)| name.eq_ignore_ascii_case(pair[0])) {
            return Err(failed(pair[0], "duplicate parameter").into());
        }
        meant.push((pair[0], parameter, pair[1]));
    }
    let mut settings = txn.hub().settings.clone();
    for (name, parameter, value) in meant {
        let before = parameter.value(txn.hub());
        let text = parameter.form.read(value).map_err(|why| failed(name, &why))?;
        let text = clamped(parameter.name, text);
        if parameter.is_bound && text != before {
            return Err(failed(name, "Unable to listen on this port. Check server logs.").into());
        }
        if text != before {
            settings.set(parameter.name, text);
        }
    }
    txn.put_settings(settings);
    Ok(Reply::OK)
}

/// Redis keeps one parameter between bounds that it does not insist on.
fn clamped(name: &str, text: String) -> String {
    match text.parse::<i64>() {
        Ok(hertz) if name == "hz" => hertz.clamp(1, 500).to_string(),
        _ => text,
    }
}

fn shown(name: &[u8]) -> String {
    String::from_utf8_lossy(&name[..name.len().min(128)]).into_owned()
}

fn failed(name: &[u8], why: &str) -> CommandError {
    let name = shown(name);
    CommandError::from(format!("ERR CONFIG SET failed (possibly related to argument '{name}') - {why}"))
}

fn config_rewrite(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Err(CommandError::text("ERR The server is running without a config file").into())
}

#[expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]
fn config_resetstat(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.hub().reset_counts();
    Ok(Reply::OK)
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    fn value(bench: &mut Bench, name: &str) -> String {
        match bench.run(&format!("CONFIG GET {name}")) {
            Reply::Map(pairs) => match &pairs[..] {
                [(_, Reply::Bulk(value))] => String::from_utf8(value.to_vec()).unwrap(),
                other => panic!("{name}: {other:?}"),
            },
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_parameter_can_be_set_to_what_it_is() {
        let mut bench = Bench::new();
        let Reply::Map(pairs) = bench.run("CONFIG GET *") else { panic!() };
        assert!(pairs.len() > 200, "{}", pairs.len());
        for (name, value) in pairs {
            let (Reply::Bulk(name), Reply::Bulk(value)) = (&name, &value) else { panic!() };
            assert_eq!(bench.run_args(&[b"CONFIG", b"SET", name, value]), Reply::OK, "{name:?} = {value:?}");
        }
    }

    #[test]
    fn names_are_unique_sorted_and_lower_case() {
        let names: Vec<&str> = PARAMETERS.iter().map(|parameter| parameter.name).collect();
        assert!(names.is_sorted());
        let mut all: Vec<&str> = PARAMETERS.iter().filter_map(|parameter| parameter.alias).chain(names).collect();
        all.sort_unstable();
        assert!(all.windows(2).all(|pair| pair[0] != pair[1]));
        assert!(all.iter().all(|name| name.to_ascii_lowercase() == **name));
        for parameter in PARAMETERS {
            assert_eq!(parameter.form.read(parameter.default.as_bytes()).as_deref(), Ok(parameter.default));
        }
    }

    #[test]
    fn all_are_set_or_none() {
        let mut bench = Bench::new();
        assert!(bench.error("CONFIG SET maxmemory 1mb maxmemory-clients x").ends_with("memory or percent value"));
        assert_eq!(value(&mut bench, "maxmemory"), "0");
        assert_eq!(bench.run("CONFIG SET maxmemory 1gb hash-max-ziplist-entries 5"), Reply::OK);
        assert_eq!(value(&mut bench, "maxmemory"), (1 << 30).to_string());
        assert_eq!(value(&mut bench, "hash-max-listpack-entries"), "5");
        assert!(bench.error("CONFIG SET hz 1 HZ 2").ends_with("duplicate parameter"));
        assert!(bench.error("CONFIG SET daemonize yes").ends_with("immutable config"));
        assert!(bench.error("CONFIG SET port 7").contains("Unable to listen"));
        assert_eq!(bench.error("CONFIG SET hz 1 timeout"), "ERR syntax error");
        assert!(bench.error("CONFIG SET requirepass x").contains("token"));
    }

    #[test]
    fn clients_that_cache_are_told_when_fewer_keys_are_remembered() {
        let mut bench = Bench::new();
        bench.run("CLIENT TRACKING ON");
        let read = ["a", "b", "c"].map(|key| crate::txn::Touched::Read(key.as_bytes().into()));
        let me = bench.client.id;
        bench.hub.invalidations(&read, me);
        assert_eq!(bench.hub.tracking.keys(), 3);
        bench.run("CONFIG SET tracking-table-max-keys 1");
        bench.hub.invalidations(&[], me);
        assert_eq!(bench.hub.tracking.keys(), 1);
    }

    #[test]
    fn what_is_hidden_is_found_by_name() {
        let mut bench = Bench::new();
        assert_eq!(value(&mut bench, "KEY-load-delay"), "0");
        assert_eq!(bench.run("CONFIG GET key-load-*"), Reply::Map(Vec::new()));
    }

    #[test]
    fn events_read_back_as_redis_prints_them() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("CONFIG SET notify-keyspace-events KEA"), Reply::OK);
        assert_eq!(value(&mut bench, "notify-*"), "AKE");
        assert!(bench.error("CONFIG SET notify-keyspace-events Q").contains("Invalid event class"));
        assert!(bench.error("CONFIG SET notify-keyspace-events K daemonize yes").contains("immutable"));
        assert_eq!(value(&mut bench, "notify-keyspace-events"), "AKE");
    }
}
