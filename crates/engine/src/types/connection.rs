//! Connections: who a client is, and what it says of itself.
//!
//! `AUTH` and `HELLO` may lead to another database, so the layer above runs them and only their rows are here. Whatever
//! needs a connection that stays is marked so, and refused over REST; `PING`, `ECHO`, `SELECT` and `CLIENT SETINFO` work
//! everywhere, because the REST clients send them. There is one database behind a token, so only index 0 can be selected.

#![expect(clippy::unnecessary_wraps, reason = "all handlers have one signature")]

use std::collections::BTreeSet;

use dormouse_proto::{Args, Blob, CommandError, Reply, parse_integer};

use crate::args::{Options, integer, is};
use crate::client::{Client, ClientId, Replies};
use crate::command::{Command, Group, Handler, Session, command, container, session};
use crate::txn::{Outcome, Txn};
use crate::types::{client_control, client_tracking, monitor, pubsub, transaction};

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    session("AUTH",     -2, Session::Auth) .group(Group::Connection).fast().no_auth().no_script().no_rest().no_multi().while_busy().doc("1.0.0", "Authenticates the connection."),
    session("HELLO",    -1, Session::Hello).group(Group::Connection).fast().no_auth().no_script().no_rest().no_multi().while_busy().doc("6.0.0", "Chooses the RESP version, and authenticates and names the connection if asked."),
    connection("PING",  -1, ping)  .fast().for_all().while_subscribed().doc("1.0.0", "Answers PONG, or the message."),
    connection("ECHO",   2, echo)  .fast().for_all()                   .doc("1.0.0", "Answers the message."),
    connection("SELECT", 2, select).fast().for_all()                   .doc("1.0.0", "Chooses the database by index; there is only 0."),
    connection("QUIT",  -1, quit)  .fast().no_auth().no_script().no_rest().not_queued().while_subscribed().while_busy().doc("1.0.0", "Ends the connection after the reply."),
    connection("RESET",  1, reset) .fast().no_auth().no_script().no_rest().not_queued().while_subscribed().while_busy().doc("6.2.0", "Makes the connection as it was when it came: no transaction, watches, subscriptions, tracking or name, RESP2, and the first user again."),
    container("CLIENT", CLIENT).group(Group::Connection).doc("2.4.0", "Commands about client connections."),
];

#[rustfmt::skip]
const CLIENT: &[Command] = &[
    connection("GETNAME",  2, getname) .no_script().no_rest().for_all().doc("2.6.9", "The name of the connection."),
    connection("SETNAME",  3, setname) .no_script().no_rest().for_all().doc("2.6.9", "Names the connection."),
    connection("ID",       2, id)      .no_script().no_rest().for_all().doc("5.0.0", "The id of the connection, never used twice."),
    connection("INFO",     2, info)    .no_script().no_rest().for_all().doc("6.2.0", "What is known of the connection, on one line."),
    connection("LIST",    -2, list)    .no_script().no_rest().admin()  .doc("2.4.0", "What is known of each connection, a line for each."),
    connection("SETINFO",  4, setinfo) .no_script().for_all()          .doc("7.2.0", "Says which library the client uses, and its version."),
    connection("NO-EVICT", 3, no_evict).no_script().no_rest().admin()  .doc("7.0.0", "Accepted for compatibility: no client is evicted."),
    connection("NO-TOUCH", 3, no_touch).no_script().no_rest().for_all().doc("7.2.0", "Whether what the connection does counts as no use of keys, for OBJECT IDLETIME."),
    connection("KILL",    -3, client_control::kill)           .no_script().admin()            .doc("2.4.0", "Ends connections, by address or by filters."),
    connection("PAUSE",   -3, client_control::pause)          .no_script().admin()            .doc("3.0.0", "Lets all commands, or writes alone, wait for a while."),
    connection("UNPAUSE",  2, client_control::unpause)        .no_script().admin()            .doc("6.2.0", "Ends a pause."),
    session("UNBLOCK",    -3, Session::Unblock).group(Group::Connection).no_script().admin()  .doc("5.0.0", "Ends the wait of another connection's command."),
    connection("REPLY",    3, client_control::reply)          .no_script().no_rest().for_all().doc("3.2.0", "Says which commands of the connection are answered."),
    connection("TRACKING", -3, client_tracking::tracking)     .no_script().no_rest().for_all().doc("6.0.0", "Says that the connection keeps what it reads, and wants to be told what has changed."),
    connection("TRACKINGINFO", 2, client_tracking::info).no_script().no_rest().for_all().doc("6.2.0", "How the connection tracks keys."),
    connection("CACHING",  3, client_tracking::caching)       .no_script().no_rest().for_all().doc("6.0.0", "Says whether the next command's keys are tracked, with OPTIN or OPTOUT."),
    connection("GETREDIR", 2, client_tracking::redirection).no_script().no_rest().for_all().doc("6.0.0", "Which connection is told in place of this one; 0 is none, -1 no tracking."),
    connection("HELP",     2, client_control::help)           .for_all()                      .doc("5.0.0", "What the sub-commands are."),
];

const fn connection(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Connection)
}

fn ping(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let message = match args {
        [_] => None,
        [_, message] => Some(*message),
        _ => return Err(CommandError::Arity("ping".into()).into()),
    };
    // A RESP2 subscriber reads nothing but messages, so the answer looks like one.
    Ok(match message {
        _ if txn.client().is_subscriber_only() => {
            Reply::Array(vec![Reply::bulk("pong"), Reply::bulk(message.unwrap_or_default())])
        }
        Some(message) => Reply::bulk(message),
        None => Reply::status("PONG"),
    })
}

fn echo(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    Ok(Reply::bulk(args[1]))
}

fn select(_: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if integer(args[1])? == 0 { Ok(Reply::OK) } else { Err(CommandError::text("ERR DB index is out of range").into()) }
}

fn quit(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    txn.client().closing = true;
    Ok(Reply::OK)
}

fn reset(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    transaction::forget(txn);
    pubsub::forget(txn);
    monitor::forget(txn);
    txn.track(None);
    let client = txn.client();
    client.name = Blob::new();
    client.protocol = 2;
    client.replies = Replies::On;
    client.leaves_untouched = false;
    client.never_evicted = false;
    client.resetting = true;
    Ok(Reply::status("RESET"))
}

fn getname(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let name = txn.client().name.clone();
    Ok(Reply::maybe((!name.is_empty()).then_some(name)))
}

fn setname(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    if !is_printable(args[2]) {
        let error = "ERR Client names cannot contain spaces, newlines or special characters.";
        return Err(CommandError::text(error).into());
    }
    txn.client().name = Blob::from(args[2]);
    Ok(Reply::OK)
}

/// Whether a text fits into a line of `CLIENT LIST`, where spaces separate fields.
fn is_printable(text: &[u8]) -> bool {
    text.iter().all(u8::is_ascii_graphic)
}

fn id(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Integer(txn.client().id.0 as i64))
}

fn info(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let now_ms = txn.now_ms();
    let client = txn.client().clone();
    let line = client.line(now_ms, txn.hub()) + "\n";
    Ok(Reply::Verbatim(Blob::from(line.as_bytes())))
}

/// Which clients `CLIENT LIST` shows.
pub(super) enum Shown {
    All,
    Normal,
    Subscribers,
    Nobody,
    Ids(BTreeSet<ClientId>),
}

impl Shown {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut options = Options::new(args);
        match options.next() {
            None => Ok(Self::All),
            Some(word) if is(word, "TYPE") => match options.rest() {
                [kind] => Self::of_type(kind),
                _ => Err(CommandError::Syntax),
            },
            Some(word) if is(word, "ID") && !options.rest().is_empty() => {
                let ids = options.rest().iter().map(|id| match parse_integer(id) {
                    Some(id) if id > 0 => Ok(ClientId(id as u64)),
                    _ => Err(CommandError::text("ERR Invalid client ID")),
                });
                ids.collect::<Result<_, _>>().map(Self::Ids)
            }
            Some(_) => Err(CommandError::Syntax),
        }
    }

    /// There are no replicas, so their types are known and empty.
    pub(super) fn of_type(kind: &[u8]) -> Result<Self, CommandError> {
        match kind.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Self::Normal),
            b"pubsub" => Ok(Self::Subscribers),
            b"master" | b"replica" | b"slave" => Ok(Self::Nobody),
            _ => Err(CommandError::from(format!("ERR Unknown client type '{}'", String::from_utf8_lossy(kind)))),
        }
    }

    pub(super) fn includes(&self, client: &Client) -> bool {
        match self {
            Self::All => true,
            Self::Normal => client.subscriptions() == 0,
            Self::Subscribers => client.subscriptions() > 0,
            Self::Nobody => false,
            Self::Ids(ids) => ids.contains(&client.id),
        }
    }
}

fn list(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let shown = Shown::parse(&args[2..])?;
    let now_ms = txn.now_ms();
    // The hub's copy of the caller is as old as its last command.
    let own = txn.client().clone();
    let hub = &*txn.hub();
    let others = hub.clients.values().filter(|client| client.id != own.id);
    let mut clients: Vec<&Client> = others.chain([&own]).filter(|client| shown.includes(client)).collect();
    clients.sort_by_key(|client| client.id);
    let lines: String = clients.into_iter().map(|client| client.line(now_ms, hub) + "\n").collect();
    Ok(Reply::Verbatim(Blob::from(lines.as_bytes())))
}

fn setinfo(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (attribute, value) = (args[2], args[3]);
    let client = txn.client();
    let place = match attribute {
        name if is(name, "LIB-NAME") => &mut client.library_name,
        name if is(name, "LIB-VER") => &mut client.library_version,
        name => {
            let error = format!("ERR Unrecognized option '{}'", String::from_utf8_lossy(name));
            return Err(CommandError::from(error).into());
        }
    };
    if !is_printable(value) {
        let name = String::from_utf8_lossy(attribute);
        let error = format!("ERR {name} cannot contain spaces, newlines or special characters.");
        return Err(CommandError::from(error).into());
    }
    *place = Blob::from(value);
    Ok(Reply::OK)
}

fn no_evict(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    switch(args[2])?;
    txn.client().never_evicted = is(args[2], "ON");
    Ok(Reply::OK)
}

fn no_touch(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    switch(args[2])?;
    txn.client().leaves_untouched = is(args[2], "ON");
    Ok(Reply::OK)
}

/// `ON` or `OFF`, for settings that change nothing here.
fn switch(arg: &[u8]) -> Outcome {
    if is(arg, "ON") || is(arg, "OFF") { Ok(Reply::OK) } else { Err(CommandError::Syntax.into()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::{Door, Grant};
    use crate::testing::Bench;

    fn text(reply: Reply) -> String {
        match reply {
            Reply::Verbatim(text) => String::from_utf8(text.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_resp2_subscriber_is_answered_with_a_message() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("PING"), Reply::status("PONG"));
        bench.run("SUBSCRIBE a");
        assert_eq!(bench.run("PING x"), Reply::Array(vec![Reply::bulk("pong"), Reply::bulk("x")]));
        bench.client.protocol = 3;
        assert_eq!(bench.run("PING x"), Reply::bulk("x"));
    }

    #[test]
    fn reset_leaves_a_fresh_client() {
        let mut bench = Bench::new();
        for line in ["CLIENT SETNAME me", "SUBSCRIBE a", "PSUBSCRIBE b*", "WATCH k", "MULTI"] {
            bench.run(line);
        }
        bench.client.protocol = 3;
        assert_eq!(bench.run("RESET"), Reply::status("RESET"));
        let client = &bench.client;
        assert!(client.name.is_empty() && client.transaction.is_none() && client.watching.is_empty());
        assert_eq!((client.protocol, client.subscriptions()), (2, 0));
        assert_eq!((bench.hub.listeners(b"a"), bench.hub.patterns(), bench.hub.tracks_keys()), (0, 0, false));
    }

    #[test]
    fn lists_show_the_clients_asked_for() {
        let mut bench = Bench::new();
        bench.hub.clients.insert(ClientId(7), Client::new(ClientId(7), Door::Resp, Grant::ReadOnly));
        bench.run("CLIENT SETNAME me");
        bench.run("SUBSCRIBE a");
        let mut ids = |line: &str| {
            let text = text(bench.run(line));
            text.lines().map(|line| line.split(' ').next().unwrap().to_owned()).collect::<Vec<_>>()
        };
        assert_eq!(ids("CLIENT LIST"), ["id=1", "id=7"]);
        assert_eq!(ids("CLIENT LIST TYPE pubsub"), ["id=1"]);
        assert_eq!(ids("CLIENT LIST TYPE NORMAL"), ["id=7"]);
        assert_eq!(ids("CLIENT LIST TYPE replica"), [""; 0]);
        assert_eq!(ids("CLIENT LIST ID 7 9"), ["id=7"]);
        assert!(text(bench.run("CLIENT INFO")).contains(" name=me "));
    }

    #[test]
    fn a_line_tells_what_a_client_tracks_and_watches() {
        let mut bench = Bench::new();
        bench.hub.clients.insert(ClientId(7), Client::new(ClientId(7), Door::Resp, Grant::Full));
        let mut shows = |lines: &[&str], flags: &str, redirect: &str| {
            for line in lines {
                bench.run(line);
            }
            let text = text(bench.run("CLIENT INFO"));
            assert!(
                text.contains(&format!(" flags={flags} ")) && text.contains(&format!(" redir={redirect} ")),
                "{text}"
            );
        };
        shows(&[], "N", "-1");
        shows(&["CLIENT TRACKING ON REDIRECT 7"], "t", "7");
        shows(&["CLIENT TRACKING OFF", "CLIENT TRACKING ON BCAST"], "tB", "0");
        shows(&["CLIENT NO-EVICT on", "CLIENT NO-TOUCH on"], "tBeT", "0");
        shows(&["RESET"], "N", "-1");
    }

    #[test]
    fn texts_of_a_client_are_one_word() {
        let mut bench = Bench::new();
        assert_eq!(bench.run("CLIENT SETINFO lib-NAME redis-js"), Reply::OK);
        assert_eq!(bench.client.library_name.as_slice(), b"redis-js");
        let long = bench.run_args(&[b"CLIENT", b"SETINFO", b"lib-ver", b"1 2"]);
        let error = "ERR lib-ver cannot contain spaces, newlines or special characters.";
        assert_eq!(long, Reply::Error(CommandError::text(error)));
        assert_eq!(bench.error("CLIENT SETINFO lib x"), "ERR Unrecognized option 'lib'");
        assert!(matches!(bench.run_args(&[b"CLIENT", b"SETNAME", b"a\nb"]), Reply::Error(_)));
    }
}
