//! Many databases: which are in memory, what wakes them, and what is left of those that are gone.

use std::sync::Arc;

use dormouse_database::{Error, Listing, Session, Step};
use dormouse_engine::{Client, Door, Grant, Patient};
use dormouse_proto::Reply;

use crate::support::{Bed, Kept, Talk, words};

impl Bed {
    pub(crate) fn create(&self, name: &str) -> Listing {
        self.service().create(name, self.moment()).unwrap()
    }

    /// Runs a command as a request with a token; nothing if that opens nothing.
    pub(crate) fn with(&self, token: &str, line: &str) -> Option<Reply> {
        let account = self.service().authenticate(token.as_bytes()).unwrap()?;
        let mut session = Session::request(self.service(), account, None);
        match session.command(&words(line), self.moment(), &Patient) {
            Step::Reply { reply, .. } => Some(reply),
            step => panic!("{step:?}"),
        }
    }

    pub(crate) fn connect(&self, token: &str) -> Talk {
        let (service, kept) = (self.service(), Arc::new(Kept::default()));
        let client = Client::new(service.next_client(), Door::Resp, Grant::Full);
        let mut session = Session::connection(service, client, Arc::clone(&kept) as _);
        session.enter(service.authenticate(token.as_bytes()).unwrap().unwrap());
        Talk { session, kept }
    }

    /// Time passes without anybody doing anything; whatever may sleep does.
    pub(crate) fn fall_asleep(&mut self) {
        self.pass_ms(60_000);
        self.checkpoint();
        self.service().rest(self.now_us / 1_000);
    }
}

fn token(listing: &Listing) -> &str {
    &listing.credentials.token
}

#[test]
fn databases_know_nothing_of_each_other() {
    let mut bed = Bed::new();
    let (one, two) = (bed.create("one"), bed.create("two"));
    for restart in [false, true] {
        if restart {
            bed.crash();
        }
        for (database, value) in [(&one, "1"), (&two, "2")] {
            bed.with(token(database), &format!("SET k {value}")).unwrap();
            bed.with(token(database), &format!("SET only-{value} x")).unwrap();
        }
        bed.run("SET k default");
        assert_eq!(bed.with(token(&one), "GET k"), Some(Reply::bulk("1")));
        assert_eq!(bed.with(token(&two), "GET k"), Some(Reply::bulk("2")));
        assert_eq!(bed.run("GET k"), Reply::bulk("default"));
        assert_eq!(bed.with(token(&one), "DBSIZE"), Some(Reply::Integer(2)));
        assert_eq!(bed.with(token(&two), "EXISTS only-1"), Some(Reply::Integer(0)));
        let read_only = &one.credentials.read_only_token;
        assert_eq!(bed.with(read_only, "GET k"), Some(Reply::bulk("1")));
        assert!(matches!(bed.with(read_only, "SET k 2"), Some(Reply::Error(_))));
    }
    assert_eq!(bed.with(token(&one), "FLUSHALL"), Some(Reply::OK));
    assert_eq!(bed.with(token(&two), "DBSIZE"), Some(Reply::Integer(2)));
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
}

#[test]
fn what_nobody_uses_leaves_memory_and_is_all_there_when_it_wakes() {
    let mut bed = Bed::new();
    let shop = bed.create("shop");
    let ask = |bed: &Bed, line: &str| bed.with(token(&shop), line).unwrap();
    ask(&bed, "SET mortal v PX 90000");
    ask(&bed, "HSET h f v");
    ask(&bed, "ACL SETUSER ann on >secret ~* +@all");
    bed.fall_asleep();
    assert!(!bed.service().is_awake(shop.id));
    assert!(bed.service().is_awake(dormouse_database::DatabaseId(1)), "the default one always is");
    assert_eq!(bed.service().memory_bytes(), 0);
    assert_eq!(ask(&bed, "DBSIZE"), Reply::Integer(2));
    assert!(bed.service().is_awake(shop.id));
    assert_eq!(ask(&bed, "PTTL mortal"), Reply::Integer(30_000));
    assert_eq!(ask(&bed, "HGET h f"), Reply::bulk("v"));
    assert!(matches!(ask(&bed, "ACL GETUSER ann"), Reply::Map(_)));
    bed.fall_asleep();
    assert_eq!(ask(&bed, "GET mortal"), Reply::Null, "it died in its sleep");
    // What happened after it woke is not lost when the process is.
    ask(&bed, "SET late v");
    bed.crash();
    assert_eq!(ask(&bed, "GET late"), Reply::bulk("v"));
}

#[test]
fn what_somebody_holds_stays_awake_without_its_keys() {
    let mut bed = Bed::new();
    let shop = bed.create("shop");
    let mut talk = bed.connect(token(&shop));
    talk.run(&bed, "SET k v");
    bed.fall_asleep();
    assert!(bed.service().is_awake(shop.id));
    assert_eq!(bed.service().memory_bytes(), 0);
    assert_eq!(talk.run(&bed, "GET k"), Reply::bulk("v"));
    drop(talk);
    bed.fall_asleep();
    assert!(!bed.service().is_awake(shop.id));
}

#[test]
fn what_only_memory_has_does_not_sleep() {
    let mut bed = Bed::new();
    let shop = bed.create("shop");
    bed.with(token(&shop), "SET k v").unwrap();
    bed.pass_ms(60_000);
    bed.service().rest(bed.now_us / 1_000);
    assert!(bed.service().is_awake(shop.id));
    assert!(bed.service().unsaved_since_ms().is_some());
    bed.checkpoint();
    assert_eq!(bed.service().unsaved_since_ms(), None);
}

#[test]
fn new_tokens_shut_out_who_had_the_old_ones() {
    let mut bed = Bed::new();
    let shop = bed.create("shop");
    let mut talk = bed.connect(token(&shop));
    assert_eq!(talk.run(&bed, "SET k v"), Reply::OK);
    let fresh = bed.service().rotate_tokens("shop").unwrap();
    assert!(talk.kept.was_closed());
    for old in [token(&shop), &shop.credentials.read_only_token] {
        assert_eq!(bed.with(old, "GET k"), None);
    }
    assert_eq!(bed.with(token(&fresh), "GET k"), Some(Reply::bulk("v")));
    bed.crash_after(vec![talk]);
    assert_eq!(bed.with(token(&shop), "GET k"), None);
    assert_eq!(bed.with(token(&fresh), "GET k"), Some(Reply::bulk("v")));
}

#[test]
fn what_is_deleted_is_gone_whenever_the_process_dies() {
    for checkpoints in 0..3 {
        let mut bed = Bed::new();
        let (shop, other) = (bed.create("shop"), bed.create("other"));
        bed.with(token(&shop), "SET k v EX 100").unwrap();
        bed.with(token(&other), "SET k other").unwrap();
        if checkpoints > 0 {
            bed.checkpoint();
        }
        let mut talk = bed.connect(token(&shop));
        bed.service().delete("shop").unwrap();
        assert!(talk.kept.was_closed());
        assert!(matches!(talk.run(&bed, "SET late v"), Reply::Error(_)), "nobody writes to it any more");
        assert_eq!(bed.with(token(&shop), "GET k"), None);
        if checkpoints > 1 {
            bed.checkpoint();
        }
        bed.crash_after(vec![talk]);
        assert_eq!(bed.with(token(&shop), "GET k"), None);
        assert_eq!(bed.service().names().unwrap().len(), 2);
        // Another one of the name begins empty.
        let again = bed.create("shop");
        assert_ne!(again.id, shop.id);
        assert_eq!(bed.with(token(&again), "DBSIZE"), Some(Reply::Integer(0)));
        bed.restart();
        assert_eq!(bed.with(token(&again), "DBSIZE"), Some(Reply::Integer(0)));
        assert_eq!(bed.with(token(&other), "GET k"), Some(Reply::bulk("other")));
    }
}

#[test]
fn names_are_checked_and_unique() {
    let bed = Bed::new();
    bed.create("shop");
    for name in ["shop", "default", "", "a b", "7", "-x", "ünï", &"x".repeat(65)] {
        assert!(matches!(bed.service().create(name, bed.moment()), Err(Error::Name(_))), "{name}");
    }
    for name in ["a", "A.b-c_9", "0a", &"x".repeat(64)] {
        bed.create(name);
    }
    assert!(matches!(bed.service().rename("a", "shop"), Err(Error::Name(_))));
    bed.service().rename("a", "b").unwrap();
    assert!(matches!(bed.service().named("a"), Err(Error::NoSuchDatabase(_))));
    assert!(matches!(bed.service().delete("nope"), Err(Error::NoSuchDatabase(_))));
    assert!(matches!(bed.service().delete("default"), Err(Error::Name(_))));
    assert!(matches!(bed.service().rotate_tokens("default"), Err(Error::Name(_))));
    let names: Vec<String> = bed.service().names().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names[..4], ["0a", "A.b-c_9", "b", "default"]);
}

/// Whoever keeps house is called once when the quiet ends, and by nothing else.
#[test]
fn the_first_command_ends_the_quiet() {
    let mut bed = Bed::new();
    let calls = Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let count = Arc::clone(&calls);
    bed.service().on_activity(move || {
        count.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
    });
    for expected in 1..3 {
        bed.service().hush();
        assert!(bed.service().is_quiet());
        for _ in 0..3 {
            bed.run("GET k");
        }
        assert!(!bed.service().is_quiet());
        assert_eq!(calls.load(std::sync::atomic::Ordering::Relaxed), expected);
    }
}
