//! Backups: of one moment, whole or refused, and what restoring one makes.

use dormouse_database::{BackupError, Listing};
use dormouse_proto::Reply;

use crate::support::{Bed, texts, words};

impl Bed {
    fn backup(&self, name: &str) -> Vec<u8> {
        let mut bytes = Vec::new();
        let summary = self.service().backup(name, self.moment(), &mut bytes).unwrap();
        assert_eq!((summary.bytes, summary.name.as_str()), (bytes.len() as u64, name));
        bytes
    }

    fn restore(&self, name: &str, mut bytes: &[u8]) -> Result<Listing, BackupError> {
        self.service().restore(name, None, self.moment(), &mut bytes).map(|(listing, _)| listing)
    }
}

const FILL: &[&str] = &[
    "SET string value",
    "SET mortal v PX 60000",
    "HSET hash a 1 b 2",
    "HPEXPIRE hash 30000 FIELDS 1 a",
    "RPUSH list a b c",
    "SADD set a b 1",
    "ZADD zset 1.5 a -inf b",
    "XADD stream 1-1 f v",
    "XGROUP CREATE stream g 0",
    "JSON.SET json $ {\"a\":[1,2.5,null]}",
    "ARSET array 5 a b",
    "PFADD sketch a b c",
    "ACL SETUSER ann on >secret ~* +@all",
];

const ASK: &[&str] = &[
    "DBSIZE",
    "GET string",
    "PTTL mortal",
    "HGETALL hash",
    "HPTTL hash FIELDS 1 a",
    "LRANGE list 0 -1",
    "SMEMBERS set",
    "ZRANGE zset 0 -1 WITHSCORES",
    "XRANGE stream - +",
    "JSON.GET json",
    "ARGETRANGE array 0 9",
    "PFCOUNT sketch",
    "ACL GETUSER ann",
    "OBJECT ENCODING set",
];

fn answers(bed: &Bed, token: &str) -> Vec<Vec<String>> {
    ASK.iter().map(|line| texts(&bed.with(token, line).unwrap())).collect()
}

#[test]
fn what_is_restored_is_what_was_there() {
    for warm in [true, false] {
        let mut bed = Bed::new();
        let shop = bed.create("shop");
        let token = shop.credentials.token.clone();
        for line in FILL {
            let reply = bed.with(&token, line).unwrap();
            assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
        }
        if !warm {
            bed.fall_asleep();
            bed.now_us -= 60_000_000;
        }
        let bytes = bed.backup("shop");
        let before = answers(&bed, &token);
        // What happens afterwards is not in it.
        bed.with(&token, "FLUSHALL").unwrap();
        let copy = bed.restore("copy", &bytes).unwrap();
        let theirs = copy.credentials.token.clone();
        assert_eq!(answers(&bed, &theirs), before, "warm: {warm}");
        assert_eq!(bed.with(&token, "DBSIZE"), Some(Reply::Integer(0)), "the first one is as it was");
        bed.crash();
        assert_eq!(answers(&bed, &theirs), before, "after a crash");
        bed.pass_ms(40_000);
        assert_eq!(bed.with(&theirs, "HGETALL hash").map(|reply| texts(&reply)), Some(vec!["b".into(), "2".into()]));
        bed.pass_ms(40_000);
        assert_eq!(bed.with(&theirs, "GET mortal"), Some(Reply::Null));
        // It goes on like any other.
        bed.with(&theirs, "SET string other").unwrap();
        bed.with(&theirs, "DEL list").unwrap();
        bed.restart();
        assert_eq!(bed.with(&theirs, "GET string"), Some(Reply::bulk("other")));
        assert_eq!(bed.with(&theirs, "EXISTS list"), Some(Reply::Integer(0)));
    }
}

#[test]
fn a_backup_is_of_one_moment_whatever_happens_meanwhile() {
    let mut bed = Bed::new();
    for n in 0..500 {
        bed.run(&format!("MSET a:{n} 0 b:{n} 0"));
    }
    bed.checkpoint();
    std::thread::scope(|scope| {
        let service = bed.service();
        let moment = bed.moment();
        let mut talk = bed.talk();
        let writing = scope.spawn(move || {
            for round in 1..200 {
                // Both or none, in any backup.
                let n = round % 500;
                let line = format!("MSET a:{n} {round} b:{n} {round}");
                talk.session.command(&words(&line), moment, &dormouse_engine::Patient);
            }
        });
        for copy in 0..5 {
            let mut bytes = Vec::new();
            service.backup("default", moment, &mut bytes).unwrap();
            let (listing, summary) =
                service.restore(&format!("copy-{copy}"), None, moment, &mut bytes.as_slice()).unwrap();
            assert_eq!(summary.records, 1_000);
            let token = listing.credentials.token;
            let account = service.authenticate(token.as_bytes()).unwrap().unwrap();
            let mut session = dormouse_database::Session::request(service, account, None);
            for n in 0..500 {
                let (a, b) = (format!("a:{n}"), format!("b:{n}"));
                let args: [&[u8]; 3] = [b"MGET", a.as_bytes(), b.as_bytes()];
                let step = session.command(&args, moment, &dormouse_engine::Patient);
                let dormouse_database::Step::Reply { reply, .. } = step else { panic!("{step:?}") };
                let both = texts(&reply);
                assert_eq!(both[0], both[1], "copy {copy}, {n}");
            }
        }
        writing.join().unwrap();
    });
}

#[test]
fn what_is_cut_off_or_damaged_restores_nothing() {
    let bed = Bed::new();
    let shop = bed.create("shop");
    for line in FILL {
        bed.with(&shop.credentials.token, line).unwrap();
    }
    let bytes = bed.backup("shop");
    for at in (0..bytes.len()).step_by(7) {
        let refused = |bytes: &[u8]| matches!(bed.restore("copy", bytes), Err(BackupError::Damaged(_)));
        assert!(refused(&bytes[..at]), "cut off at {at}");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        assert!(refused(&damaged), "damaged at {at}");
    }
    let names: Vec<String> = bed.service().names().unwrap().into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["default", "shop"]);
    bed.checkpoint();
    bed.restore("copy", &bytes).unwrap();
    assert!(matches!(bed.restore("copy", &bytes), Err(BackupError::Service(_))), "there is one of the name");
}

#[test]
fn all_databases_are_in_one_stream_and_each_comes_back_under_another_name() {
    let mut bed = Bed::new();
    let shops: Vec<Listing> = (0..3).map(|n| bed.create(&format!("shop-{n}"))).collect();
    for (n, shop) in shops.iter().enumerate() {
        bed.with(&shop.credentials.token, &format!("SET which {n}")).unwrap();
    }
    bed.run("SET which default");
    bed.with(&shops[1].credentials.token, "ACL SETUSER ann on >secret ~* +@all").unwrap();
    bed.fall_asleep();
    let mut bytes = Vec::new();
    assert_eq!(bed.service().backup_all(bed.moment(), &mut bytes).unwrap(), 4);
    let restore = |name: &str, which: Option<&str>, bytes: &[u8]| {
        bed.service().restore(name, which, bed.moment(), &mut &bytes[..]).map(|(listing, _)| listing)
    };
    for (n, which) in ["shop-0", "shop-1", "shop-2", "default"].into_iter().enumerate() {
        let copy = restore(&format!("copy-{n}"), Some(which), &bytes).unwrap();
        let value = which.trim_start_matches("shop-");
        assert_eq!(bed.with(&copy.credentials.token, "GET which"), Some(Reply::bulk(value)));
    }
    let says = |outcome: Result<Listing, BackupError>| outcome.unwrap_err().to_string();
    let error = says(restore("x", Some("nope"), &bytes));
    assert_eq!(
        error,
        "the backup holds no database 'nope', but default, shop-0, shop-1, shop-2. Nothing was restored."
    );
    assert!(says(restore("x", None, &bytes)).contains("several databases"));
    let one = bed.backup("shop-2");
    assert!(says(restore("x", Some("shop-1"), &one)).contains("no database 'shop-1', but shop-2"));
    restore("y", Some("shop-2"), &one).unwrap();
    for at in (0..bytes.len()).step_by(11) {
        assert!(restore("x", Some("shop-2"), &bytes[..at]).is_err() || at > bytes.len() - 30, "cut off at {at}");
        let mut damaged = bytes.clone();
        damaged[at] ^= 0x20;
        assert!(restore("x", Some("nope"), &damaged).is_err(), "damaged at {at}");
    }
}
