//! Transactions: the state that `MULTI` and `WATCH` keep in a client.
//!
//! Queueing the commands after `MULTI`, and running the queue at `EXEC`, is the work of the layer above, which holds the
//! database meanwhile. A watch is kept twice: in the hub, where a write to the key finds it, and in the client, with whether
//! the key was already missing, so that `EXEC` can see that one has died since without anybody writing it.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use dormouse_proto::{Args, Blob, CommandError, Reply};
use hashbrown::HashSet;

use crate::client::Transaction;
use crate::command::{Command, Group, Handler, Session, command, session};
use crate::txn::{Outcome, Txn};

/// Most keys one client may watch.
const WATCHES_MAX: usize = 10_000;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    transaction("MULTI",    1, multi)  .fast().not_queued().while_busy().doc("1.2.0", "Starts a transaction: what follows is queued until EXEC."),
    session("EXEC",         1, Session::Exec).group(Group::Transactions).no_script().no_rest().for_all().not_queued().doc("1.2.0", "Runs the queued commands, unless a watched key has changed."),
    transaction("DISCARD",  1, discard).fast().not_queued().while_busy().doc("2.0.0", "Drops the queued commands and all watches."),
    transaction("WATCH",   -2, watch)  .fast().not_queued().while_busy().keys(1, -1, 1).doc("2.2.0", "Makes the next EXEC depend on keys staying as they are."),
    transaction("UNWATCH",  1, unwatch).fast().while_busy()             .doc("2.2.0", "Drops all watches."),
];

const fn transaction(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Transactions).no_script().no_rest().for_all()
}

fn multi(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let client = txn.client();
    if client.transaction.is_some() {
        return Err(CommandError::text("ERR MULTI calls can not be nested").into());
    }
    client.transaction = Some(Transaction::default());
    Ok(Reply::OK)
}

fn discard(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    if txn.client().transaction.is_none() {
        return Err(CommandError::text("ERR DISCARD without MULTI").into());
    }
    forget(txn);
    Ok(Reply::OK)
}

fn watch(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if txn.client().transaction.is_some() {
        return Err(CommandError::text("ERR WATCH inside MULTI is not allowed").into());
    }
    if txn.client().watching.len() + args.len() - 1 > WATCHES_MAX {
        return Err(CommandError::text("ERR max number of watched keys exceeded").into());
    }
    let id = txn.client().id;
    let mut wanted: HashSet<&[u8]> = args[1..].iter().copied().collect();
    for (watched, _) in &txn.client().watching {
        wanted.remove(watched.as_slice());
    }
    for &key in &args[1..] {
        if !wanted.remove(key) {
            continue;
        }
        let dead = !txn.exists(key)?;
        let key = Blob::from(key);
        txn.hub().watch(id, &key, dead);
        txn.client().watching.push((key, dead));
    }
    Ok(Reply::OK)
}

fn unwatch(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    forget_watches(txn);
    Ok(Reply::OK)
}

/// Ends the client's transaction and watches.
pub(crate) fn forget(txn: &mut Txn<'_>) {
    txn.client().transaction = None;
    forget_watches(txn);
}

fn forget_watches(txn: &mut Txn<'_>) {
    let client = txn.client();
    let (id, watching) = (client.id, std::mem::take(&mut client.watching));
    txn.hub().unwatch(id, watching.iter().map(|(key, _)| key));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Bench;

    #[test]
    fn a_watch_remembers_whether_the_key_was_there() {
        let mut bench = Bench::new();
        bench.run("SET here v");
        bench.run("SET dying v PX 10");
        bench.pass_ms(10);
        assert_eq!(bench.run("WATCH here dying missing here"), Reply::OK);
        let dead: Vec<bool> = bench.client.watching.iter().map(|(_, dead)| *dead).collect();
        assert_eq!(dead, [false, true, true]);
        assert!(bench.hub.tracks_keys());
        assert_eq!(bench.run("UNWATCH"), Reply::OK);
        assert!(bench.client.watching.is_empty() && !bench.hub.tracks_keys());
    }

    #[test]
    fn transactions_do_not_nest() {
        let mut bench = Bench::new();
        assert_eq!(bench.error("DISCARD"), "ERR DISCARD without MULTI");
        bench.run("WATCH k");
        assert_eq!(bench.run("MULTI"), Reply::OK);
        assert_eq!(bench.error("MULTI"), "ERR MULTI calls can not be nested");
        assert_eq!(bench.error("WATCH a"), "ERR WATCH inside MULTI is not allowed");
        assert_eq!(bench.run("DISCARD"), Reply::OK);
        assert!(bench.client.transaction.is_none() && bench.client.watching.is_empty());
    }

    #[test]
    fn watches_are_bounded() {
        let mut bench = Bench::new();
        let keys: Vec<String> = (0..WATCHES_MAX).map(|n| n.to_string()).collect();
        assert_eq!(bench.run(&format!("WATCH {}", keys.join(" "))), Reply::OK);
        assert_eq!(bench.error("WATCH one-more"), "ERR max number of watched keys exceeded");
    }
}
