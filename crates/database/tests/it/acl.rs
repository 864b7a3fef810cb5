//! Users of a database: they last as keys do, and their clients feel every change at once.

use std::sync::Arc;

use dormouse_database::{Session, Step};
use dormouse_engine::{Grant, Patient};
use dormouse_proto::Reply;

use crate::support::{Bed, Talk, error, texts, words};

const NO_KEY: &str = "NOPERM No permissions to access a key";

/// A client that has come in as a user.
fn talk_as(bed: &Bed, user: &str, password: &str) -> Talk {
    let mut talk = bed.talk();
    assert_eq!(talk.run(bed, &format!("AUTH {user} {password}")), Reply::OK);
    talk
}

fn names(bed: &mut Bed) -> Vec<String> {
    texts(&bed.run("ACL USERS"))
}

fn bulk(reply: Reply) -> String {
    match reply {
        Reply::Bulk(text) => String::from_utf8(text.to_vec()).unwrap(),
        other => panic!("{other:?}"),
    }
}

#[test]
fn users_last_as_keys_do() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret ~k* %R~r &c +get +@hash (+set ~s)");
    bed.run("ACL SETUSER bob on >other +@all");
    bed.run("ACL SETUSER gone on");
    let token = bulk(bed.run("ACL RESTTOKEN alice secret"));
    let alice = texts(&bed.run("ACL GETUSER alice"));
    let check = |bed: &mut Bed, when: &str| {
        assert_eq!(texts(&bed.run("ACL GETUSER alice")), alice, "{when}");
        assert!(
            matches!(bed.service().authenticate(token.as_bytes()).unwrap().unwrap().grant, Grant::User(_)),
            "{when}"
        );
        drop(talk_as(bed, "alice", "secret"));
    };
    bed.crash();
    check(&mut bed, "after a crash");
    bed.checkpoint();
    bed.run("ACL DELUSER gone");
    bed.crash();
    check(&mut bed, "from the store, with the log's tail");
    assert_eq!(names(&mut bed), ["alice", "bob", "default", "default_ro"]);
    bed.run("SET k v");
    bed.run("FLUSHALL");
    bed.run("ACL SETUSER late on");
    bed.restart();
    check(&mut bed, "after the database was emptied, from the store alone");
    assert_eq!(names(&mut bed), ["alice", "bob", "default", "default_ro", "late"]);
    bed.run("ACL DELUSER late bob");
    bed.checkpoint();
    bed.crash();
    check(&mut bed, "others were deleted");
    assert_eq!(names(&mut bed), ["alice", "default", "default_ro"]);
}

#[test]
fn users_of_a_record_before_a_flush_are_replayed() {
    let mut bed = Bed::new();
    bed.run("SET k v");
    bed.checkpoint();
    bed.run("ACL SETUSER before on");
    bed.run("MULTI");
    bed.run("ACL SETUSER within on");
    bed.run("FLUSHALL");
    bed.run("ACL SETUSER behind on");
    bed.run("SET after v");
    bed.run("EXEC");
    bed.crash();
    assert_eq!(names(&mut bed), ["before", "behind", "default", "default_ro", "within"]);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
    // A checkpoint covers the flush; a second start replays nothing twice.
    bed.checkpoint();
    bed.crash();
    assert_eq!(names(&mut bed), ["before", "behind", "default", "default_ro", "within"]);
}

#[test]
fn a_deleted_users_clients_are_cut_off() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret ~* +@all");
    bed.run("ACL SETUSER bob on >secret ~* +@all");
    let (mut idle, mut waits, other) =
        (talk_as(&bed, "alice", "secret"), talk_as(&bed, "alice", "secret"), talk_as(&bed, "bob", "secret"));
    assert!(matches!(waits.step(&bed, "BLPOP q 0"), Step::Parked { .. }));
    assert_eq!(bed.run("ACL DELUSER alice"), Reply::Integer(1));
    assert!(idle.kept.was_closed() && waits.kept.was_closed() && !other.kept.was_closed());
    bed.run("RPUSH q x");
    assert_eq!(bed.run("LLEN q"), Reply::Integer(1), "who is cut off takes nothing along");
    // One of that name again is somebody else.
    bed.run("ACL SETUSER alice on >secret ~* +@all");
    assert_eq!(error(&idle.run(&bed, "GET k")), "NOAUTH Authentication required.");
    assert!(idle.session.client.closing);
}

#[test]
fn who_listens_to_what_is_no_longer_granted_is_cut_off() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret +@all &a &b* &c");
    let mut listeners: Vec<Talk> = (0..3).map(|_| talk_as(&bed, "alice", "secret")).collect();
    listeners[0].run(&bed, "HELLO 3");
    let subscribe = |talk: &mut Talk, line: &str| {
        assert!(matches!(talk.step(&bed, line), Step::Reply { reply: Reply::Many(_), .. }), "{line}");
    };
    subscribe(&mut listeners[0], "SUBSCRIBE a");
    subscribe(&mut listeners[1], "SUBSCRIBE c");
    subscribe(&mut listeners[2], "PSUBSCRIBE b*");
    bed.run("ACL SETUSER alice -get");
    bed.run("ACL SETUSER alice off");
    assert!(listeners.iter().all(|talk| !talk.kept.was_closed()), "channels are as they were");
    bed.run("ACL SETUSER alice resetchannels &c &b?");
    let closed: Vec<bool> = listeners.iter().map(|talk| talk.kept.was_closed()).collect();
    assert_eq!(closed, [true, false, true]);
}

#[test]
fn a_waiting_command_is_checked_again_when_it_is_served() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret ~q +@all");
    let mut waits = talk_as(&bed, "alice", "secret");
    assert!(matches!(waits.step(&bed, "BLPOP q 0"), Step::Parked { .. }));
    bed.run("ACL SETUSER alice resetkeys");
    bed.run("RPUSH q x");
    assert_eq!(error(&waits.kept.take()[0]), NO_KEY);
    assert_eq!(bed.run("LLEN q"), Reply::Integer(1));
}

#[test]
fn another_user_keeps_what_the_connection_holds() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret &* +@all");
    let mut talk = bed.talk();
    talk.run(&bed, "HELLO 3");
    talk.step(&bed, "SUBSCRIBE c");
    assert_eq!(talk.run(&bed, "AUTH alice secret"), Reply::OK);
    assert_eq!(bed.run("PUBLISH c m"), Reply::Integer(1));
    assert_eq!(talk.session.client.channels.len(), 1);
    assert_eq!(talk.run(&bed, "ACL WHOAMI"), Reply::bulk("alice"));
    let hello = talk.run(&bed, "HELLO 3 AUTH alice nope");
    assert!(error(&hello).starts_with("WRONGPASS"));
    assert!(matches!(talk.run(&bed, "HELLO 3 AUTH alice secret"), Reply::Map(_)));
}

#[test]
fn a_transaction_that_is_taken_back_takes_its_users_along() {
    let mut bed = Bed::new();
    bed.run("ACL SETUSER alice on >secret ~* +@all");
    let database = bed.service().default_account().database;
    database.configure(|hub| hub.limits.replies_bytes_max = 1_000);
    bed.run(&format!("SET large {}", "x".repeat(900)));
    for line in ["MULTI", "ACL SETUSER alice off", "ACL SETUSER new on", "GET large", "GET large", "PING"] {
        bed.run(line);
    }
    assert!(error(&bed.run("EXEC")).contains("Limit: 1000 bytes"));
    drop(talk_as(&bed, "alice", "secret"));
    assert_eq!(names(&mut bed), ["alice", "default", "default_ro"]);
    drop(database);
    bed.crash();
    assert_eq!(names(&mut bed), ["alice", "default", "default_ro"]);
}

#[test]
fn a_bearer_token_is_worth_what_its_user_may_do_now() {
    let mut bed = Bed::new();
    let token = bulk(bed.run("ACL GENTOKEN alice"));
    assert!(bed.service().authenticate(token.as_bytes()).unwrap().is_none(), "nobody has that password yet");
    bed.run(&format!("ACL SETUSER alice on >{token} ~k* +get +set +multi"));
    let service = Arc::clone(bed.service());
    let ask = |bed: &Bed, line: &str| {
        let mut session = Session::request(&service, service.authenticate(token.as_bytes()).unwrap()?, None);
        match session.command(&words(line), bed.moment(), &Patient) {
            Step::Reply { reply, .. } => Some(reply),
            step => panic!("{step:?}"),
        }
    };
    assert_eq!(ask(&bed, "SET k v"), Some(Reply::OK));
    assert_eq!(error(&ask(&bed, "GET x").unwrap()), NO_KEY);
    assert!(error(&ask(&bed, "DEL k").unwrap()).starts_with("NOPERM"));
    // All commands of a transaction are checked before any runs.
    let mut session = Session::request(&service, service.authenticate(token.as_bytes()).unwrap().unwrap(), None);
    let (set, get) = (words("SET k new"), words("GET x"));
    let refused = session.transaction([set.as_slice(), &get].into_iter(), bed.moment(), &Patient);
    assert_eq!(refused.unwrap_err().to_string(), NO_KEY);
    assert_eq!(bed.run("GET k"), Reply::bulk("v"));
    bed.run("ACL SETUSER alice -set");
    assert!(error(&ask(&bed, "SET k v").unwrap()).starts_with("NOPERM"));
    bed.run("ACL SETUSER alice off");
    assert_eq!(ask(&bed, "GET k"), None);
    bed.run("ACL SETUSER alice on");
    assert_eq!(ask(&bed, "GET k"), Some(Reply::bulk("v")));
    // A request that was let in just before its user went has nothing to say.
    let mut late = Session::request(&service, service.authenticate(token.as_bytes()).unwrap().unwrap(), None);
    bed.run("ACL DELUSER alice");
    assert_eq!(ask(&bed, "GET k"), None);
    let step = late.command(&words("GET k"), bed.moment(), &Patient);
    assert!(matches!(step, Step::Reply { reply: Reply::Error(_), .. }), "{step:?}");
}

#[test]
fn the_read_only_token_may_not_look_at_users() {
    let bed = Bed::new();
    let token = bed.service().default_credentials().read_only_token.clone();
    let mut talk = talk_as(&bed, "default_ro", &token);
    for line in
        ["ACL LIST", "ACL GETUSER default", "ACL SETUSER x on", "ACL RESTTOKEN x y", "ACL GENTOKEN x", "ACL LOG"]
    {
        assert!(error(&talk.run(&bed, line)).starts_with("NOPERM"), "{line}");
    }
}
