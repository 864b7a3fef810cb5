//! Publish and subscribe: messages to whoever listens now, kept for nobody.
//!
//! A subscription is held twice: in the client, which counts its own, and in the hub, which knows whom a message is for.
//! Messages leave when the work at hand is done, so nobody hears of a transaction that was taken back. Delivery belongs to
//! the layers above. Several names in one command are answered by several replies, one after the other.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::collections::BTreeSet;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::command::{Command, Group, Handler, command, container};
use crate::glob;
use crate::txn::{Outcome, Txn};
use crate::types::standalone::{help_of, wrong_subcommand};

/// Most channels and patterns one client may listen to.
const SUBSCRIPTIONS_MAX: usize = 10_000;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    listening("SUBSCRIBE",    -2, subscribe)   .channels(1, -1).doc("2.0.0", "Listens to channels."),
    listening("UNSUBSCRIBE",  -1, unsubscribe) .doc("2.0.0", "Stops listening to channels, or to all of them."),
    listening("PSUBSCRIBE",   -2, psubscribe)  .channels(1, -1).patterns().doc("2.0.0", "Listens to all channels whose name matches a pattern."),
    listening("PUNSUBSCRIBE", -1, punsubscribe).doc("2.0.0", "Stops listening to patterns, or to all of them."),
    listening("SSUBSCRIBE",   -2, ssubscribe)  .channels(1, -1).doc("7.0.0", "Listens to shard channels, which have names of their own."),
    listening("SUNSUBSCRIBE", -1, sunsubscribe).doc("7.0.0", "Stops listening to shard channels, or to all of them."),
    pubsub("SPUBLISH",         3, spublish).fast().channels(1, 1).doc("7.0.0", "Sends a message to a shard channel; counts who gets it."),
    pubsub("PUBLISH",          3, publish).fast().channels(1, 1).doc("2.0.0", "Sends a message to a channel; counts who gets it."),
    container("PUBSUB", PUBSUB).group(Group::PubSub).doc("2.8.0", "Commands about channels and patterns."),
];

#[rustfmt::skip]
const PUBSUB: &[Command] = &[
    pubsub("CHANNELS", -2, channels).doc("2.8.0", "Channels somebody listens to, those matching a pattern if one is given."),
    pubsub("NUMSUB",   -2, numsub)  .doc("2.8.0", "How many listen to each channel by name."),
    pubsub("SHARDCHANNELS", -2, shardchannels).doc("7.0.0", "Shard channels somebody listens to, those matching a pattern if one is given."),
    pubsub("SHARDNUMSUB",   -2, shardnumsub)  .doc("7.0.0", "How many listen to each shard channel."),
    pubsub("NUMPAT",    2, numpat)  .doc("2.8.0", "How many distinct patterns are listened to."),
    pubsub("HELP",      2, help)    .for_all().doc("6.2.0", "What the sub-commands are."),
];

const fn pubsub(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::PubSub)
}

const fn listening(name: &'static str, arity: i8, handler: Handler) -> Command {
    pubsub(name, arity, handler).no_script().no_rest().while_subscribed().for_all()
}

/// What a subscription names.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sort {
    Channel,
    Pattern,
    /// A shard channel. There is one shard, so all it has of its own is its names.
    Shard,
}

impl Sort {
    const fn confirmations(self) -> [&'static str; 2] {
        match self {
            Self::Channel => ["subscribe", "unsubscribe"],
            Self::Pattern => ["psubscribe", "punsubscribe"],
            Self::Shard => ["ssubscribe", "sunsubscribe"],
        }
    }
}

fn subscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    listen(txn, &args[1..], Sort::Channel)
}

fn unsubscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(unlisten(txn, &args[1..], Sort::Channel))
}

fn psubscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    listen(txn, &args[1..], Sort::Pattern)
}

fn punsubscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(unlisten(txn, &args[1..], Sort::Pattern))
}

fn ssubscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    listen(txn, &args[1..], Sort::Shard)
}

fn sunsubscribe(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(unlisten(txn, &args[1..], Sort::Shard))
}

fn listen(txn: &mut Txn<'_>, names: Args<'_>, sort: Sort) -> Outcome {
    if txn.client().subscriptions() + names.len() > SUBSCRIPTIONS_MAX {
        return Err(CommandError::text("ERR max number of subscriptions exceeded").into());
    }
    let id = txn.client().id;
    let mut replies = Vec::with_capacity(names.len());
    for &name in names {
        let name = Blob::from(name);
        held(txn, sort).insert(name.clone());
        match sort {
            Sort::Channel => txn.hub().subscribe(id, &name),
            Sort::Pattern => txn.hub().subscribe_pattern(id, &name),
            Sort::Shard => txn.hub().subscribe_shard(id, &name),
        }
        replies.push(confirm(txn, sort, 0, Reply::Bulk(name)));
    }
    Ok(Reply::Many(replies))
}

/// The client's subscriptions of one sort.
fn held<'t>(txn: &'t mut Txn<'_>, sort: Sort) -> &'t mut BTreeSet<Blob> {
    let client = txn.client();
    match sort {
        Sort::Channel => &mut client.channels,
        Sort::Pattern => &mut client.patterns,
        Sort::Shard => &mut client.shard_channels,
    }
}

/// Without names, all of the sort end; if there were none, one reply without a name says so.
fn unlisten(txn: &mut Txn<'_>, names: Args<'_>, sort: Sort) -> Reply {
    let id = txn.client().id;
    let held_now = held(txn, sort);
    let names: Vec<Blob> = if names.is_empty() {
        held_now.iter().cloned().collect()
    } else {
        names.iter().map(|&name| name.into()).collect()
    };
    if names.is_empty() {
        return confirm(txn, sort, 1, Reply::Null);
    }
    let mut replies = Vec::with_capacity(names.len());
    for name in names {
        held(txn, sort).remove(&name);
        match sort {
            Sort::Channel => txn.hub().unsubscribe(id, &name),
            Sort::Pattern => txn.hub().unsubscribe_pattern(id, &name),
            Sort::Shard => txn.hub().unsubscribe_shard(id, &name),
        }
        replies.push(confirm(txn, sort, 1, Reply::Bulk(name)));
    }
    Reply::Many(replies)
}

/// The message that confirms one change, with how many subscriptions the client now holds; shard channels count alone.
fn confirm(txn: &mut Txn<'_>, sort: Sort, which: usize, name: Reply) -> Reply {
    let client = txn.client();
    let shards = client.shard_channels.len();
    let count = if sort == Sort::Shard { shards } else { client.subscriptions() - shards };
    Reply::Push(vec![Reply::bulk(sort.confirmations()[which]), name, Reply::count(count)])
}

/// Ends every subscription of the client, without a word.
pub(crate) fn forget(txn: &mut Txn<'_>) {
    for sort in [Sort::Channel, Sort::Pattern, Sort::Shard] {
        unlisten(txn, &[], sort);
    }
}

fn publish(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.publish(args[1], args[2])))
}

fn spublish(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.publish_to_shard(args[1], args[2])))
}

fn channels(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    matching(args, txn.hub().channels().map(|(name, _)| name))
}

fn shardchannels(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    matching(args, txn.hub().shard_channels())
}

/// Names that match the pattern of a sub-command, if it has one.
fn matching<'a>(args: Args<'_>, names: impl Iterator<Item = &'a Blob>) -> Outcome {
    let pattern: &[u8] = match args {
        [_, _] => b"*",
        [_, _, pattern] => pattern,
        _ => {
            return Err(wrong_subcommand(args).into());
        }
    };
    let mut names: Vec<Blob> = names.filter(|name| glob::matches(pattern, name)).cloned().collect();
    // The hub's own order depends on how it came to be; replies must not.
    names.sort();
    Ok(Reply::bulks(names))
}

fn help(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    help_of(args)
}

fn numsub(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let hub = txn.hub();
    let counts = args[2..].iter().flat_map(|name| [Reply::bulk(name), Reply::count(hub.listeners(name))]);
    Ok(Reply::Array(counts.collect()))
}

fn shardnumsub(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let hub = txn.hub();
    let count = |name| Reply::count(hub.shard_recipients(name).count());
    Ok(Reply::Array(args[2..].iter().flat_map(|name| [Reply::bulk(name), count(name)]).collect()))
}

fn numpat(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::count(txn.hub().patterns()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::ClientId;
    use crate::testing::Bench;

    fn push(kind: &str, name: Option<&str>, count: i64) -> Reply {
        let name = name.map_or(Reply::Null, Reply::bulk);
        Reply::Push(vec![Reply::bulk(kind), name, Reply::Integer(count)])
    }

    #[test]
    fn each_subscription_is_confirmed_with_the_count() {
        let mut bench = Bench::new();
        let many = Reply::Many;
        assert_eq!(bench.run("UNSUBSCRIBE"), push("unsubscribe", None, 0));
        let two = many(vec![push("subscribe", Some("a"), 1), push("subscribe", Some("b"), 2)]);
        assert_eq!(bench.run("SUBSCRIBE a b"), two);
        assert_eq!(bench.run("SUBSCRIBE a"), many(vec![push("subscribe", Some("a"), 2)]));
        assert_eq!(bench.run("PSUBSCRIBE p*"), many(vec![push("psubscribe", Some("p*"), 3)]));
        assert_eq!(bench.run("UNSUBSCRIBE nope"), many(vec![push("unsubscribe", Some("nope"), 3)]));
        assert_eq!(bench.run("PUNSUBSCRIBE"), many(vec![push("punsubscribe", Some("p*"), 2)]));
        let two = many(vec![push("unsubscribe", Some("a"), 1), push("unsubscribe", Some("b"), 0)]);
        assert_eq!(bench.run("UNSUBSCRIBE"), two);
        assert_eq!(bench.run("PUBSUB CHANNELS"), Reply::Array(Vec::new()));
    }

    #[test]
    fn a_message_counts_channels_and_patterns() {
        let mut bench = Bench::new();
        bench.run("SUBSCRIBE news");
        bench.run("PSUBSCRIBE n*");
        bench.hub.subscribe(ClientId(9), &Blob::from("news".as_bytes()));
        assert_eq!(bench.run("PUBLISH news hi"), Reply::Integer(3));
        assert_eq!(bench.run("PUBLISH nobody hi"), Reply::Integer(1));
        assert_eq!(bench.run("PUBLISH else hi"), Reply::Integer(0));
        assert_eq!(bench.published.len(), 2);
        assert_eq!(
            bench.run("PUBSUB NUMSUB news x"),
            Reply::Array(vec![Reply::bulk("news"), Reply::Integer(2), Reply::bulk("x"), Reply::Integer(0)])
        );
        assert_eq!(bench.run("PUBSUB NUMPAT"), Reply::Integer(1));
        assert_eq!(bench.run("PUBSUB CHANNELS n?ws"), Reply::bulks([Blob::from("news".as_bytes())]));
    }

    #[test]
    fn subscriptions_are_bounded() {
        let mut bench = Bench::new();
        let names: Vec<String> = (0..SUBSCRIPTIONS_MAX).map(|n| n.to_string()).collect();
        assert!(matches!(bench.run(&format!("SUBSCRIBE {}", names.join(" "))), Reply::Many(_)));
        assert_eq!(bench.error("PSUBSCRIBE x"), "ERR max number of subscriptions exceeded");
        assert_eq!(bench.hub.patterns(), 0);
    }
}
