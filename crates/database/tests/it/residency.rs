//! Keys that are in memory, in the store, or in both, are the same keys.

use std::collections::BTreeSet;
use std::sync::Barrier;

use dormouse_database::{Session, Step};
use dormouse_engine::Patient;
use dormouse_proto::Reply;

use crate::support::{Bed, sorted, texts};

fn fill(bed: &mut Bed) {
    for line in [
        "SET string value",
        "RPUSH list a b c",
        "HSET hash f v g w",
        "SADD set m n",
        "SADD numbers 1 2 3",
        "ZADD zset 1 a 2.5 b",
        "SET mortal v PX 5000",
    ] {
        assert!(!matches!(bed.run(line), Reply::Error(_)), "{line}");
    }
}

fn check(bed: &mut Bed) {
    assert_eq!(bed.run("GET string"), Reply::bulk("value"));
    assert_eq!(texts(&bed.run("LRANGE list 0 -1")), ["a", "b", "c"]);
    assert_eq!(sorted(&bed.run("HGETALL hash")), ["f", "g", "v", "w"]);
    assert_eq!(sorted(&bed.run("SMEMBERS set")), ["m", "n"]);
    assert_eq!(sorted(&bed.run("SMEMBERS numbers")), ["1", "2", "3"]);
    assert_eq!(texts(&bed.run("ZRANGE zset 0 -1 WITHSCORES")), ["a", "1", "b", "2.5"]);
    assert_eq!(bed.run("PTTL mortal"), Reply::Integer(5000));
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(7));
}

#[test]
fn every_type_comes_back_from_the_store() {
    let mut bed = Bed::new();
    fill(&mut bed);
    bed.chill();
    check(&mut bed);
    bed.chill();
    bed.crash();
    check(&mut bed);
    bed.restart();
    check(&mut bed);
}

#[test]
fn every_type_comes_back_from_the_log() {
    let mut bed = Bed::new();
    fill(&mut bed);
    bed.crash();
    check(&mut bed);
    bed.crash();
    check(&mut bed);
}

#[test]
fn memory_is_kept_within_its_bound() {
    let mut bed = Bed::with_memory(64 << 10);
    for n in 0..2_000 {
        bed.run(&format!("SET key:{n} {}", "v".repeat(100)));
        if n % 50 == 0 {
            bed.service().relieve().unwrap();
        }
    }
    bed.service().relieve().unwrap();
    assert!(bed.service().memory_bytes() <= 64 << 10);
    for n in 0..2_000 {
        assert_eq!(bed.run(&format!("STRLEN key:{n}")), Reply::Integer(100), "key:{n}");
    }
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(2_000));
}

#[test]
fn who_makes_data_grow_waits_while_memory_is_full_and_nobody_else_does() {
    let mut bed = Bed::with_memory(4 << 20);
    let mut talk = bed.talk();
    let set = |key: usize| format!("SET key:{key} {}", "v".repeat(1_000));
    let full = (0..5_000).find(|&key| matches!(talk.step(&bed, &set(key)), Step::Paused)).unwrap();
    assert!((2_500..4_000).contains(&full), "{full} keys of a kilobyte in four megabytes");
    assert_eq!(talk.run(&bed, "STRLEN key:0"), Reply::Integer(1_000));
    assert!(matches!(talk.step(&bed, "EVAL return(redis.call('GET','key:1')) 1 key:1"), Step::Paused), "it may write");
    assert_eq!(talk.run(&bed, "MULTI"), Reply::OK);
    talk.run(&bed, "APPEND key:1 x");
    for _ in 0..2 {
        assert!(matches!(talk.step(&bed, "EXEC"), Step::Paused));
    }
    assert_eq!(bed.run("DEL key:0"), Reply::Integer(1));
    bed.service().relieve().unwrap();
    assert_eq!(talk.run(&bed, "EXEC"), Reply::Array(vec![Reply::Integer(1_001)]));
    assert_eq!(talk.run(&bed, &set(full)), Reply::OK);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(full as i64));
}

fn scan(bed: &mut Bed, count: usize) -> Vec<String> {
    let (mut cursor, mut found) = ("0".to_owned(), Vec::new());
    loop {
        let Reply::Array(page) = bed.run(&format!("SCAN {cursor} COUNT {count}")) else { panic!("a page") };
        found.extend(texts(&page[1]));
        cursor = texts(&page[0]).remove(0);
        if cursor == "0" {
            return found;
        }
    }
}

#[test]
fn walks_see_memory_and_store_as_one() {
    let mut bed = Bed::new();
    let mut there = BTreeSet::new();
    let mut add = |bed: &mut Bed, from: usize, until: usize| {
        for n in from..until {
            bed.run(&format!("SET key:{n} v"));
            there.insert(format!("key:{n}"));
        }
    };
    add(&mut bed, 0, 500);
    bed.chill();
    // Some cold, some loaded, some overwritten, some deleted, some new, some in both.
    add(&mut bed, 400, 700);
    for n in 0..100 {
        bed.run(&format!("GET key:{n}"));
        assert_eq!(bed.run(&format!("DEL key:{}", 100 + n)), Reply::Integer(1));
        there.remove(&format!("key:{}", 100 + n));
    }
    for checkpointed in [false, true] {
        for count in [1, 7, 10_000] {
            let found = scan(&mut bed, count);
            assert_eq!(found.len(), there.len(), "no key comes twice");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), there);
        }
        assert_eq!(sorted(&bed.run("KEYS *")).len(), there.len());
        assert_eq!(bed.run("DBSIZE"), Reply::Integer(there.len() as i64));
        for _ in 0..50 {
            assert!(there.contains(&texts(&bed.run("RANDOMKEY"))[0]));
        }
        if !checkpointed {
            bed.checkpoint();
        }
    }
    bed.chill();
    assert!(there.contains(&texts(&bed.run("RANDOMKEY"))[0]), "with nothing in memory, too");
}

#[test]
fn cold_keys_can_be_overwritten_changed_and_deleted() {
    let mut bed = Bed::new();
    for crash in [false, true] {
        fill(&mut bed);
        bed.chill();
        assert_eq!(bed.run("SET string other"), Reply::OK);
        assert_eq!(bed.run("RPUSH list d"), Reply::Integer(4));
        assert_eq!(bed.run("HDEL hash f"), Reply::Integer(1));
        assert_eq!(bed.run("DEL set"), Reply::Integer(1));
        assert_eq!(bed.run("RENAME zset moved"), Reply::OK);
        assert_eq!(bed.run("PERSIST mortal"), Reply::Integer(1));
        assert_eq!(bed.run("SREM numbers 1 2 3"), Reply::Integer(3));
        if crash {
            bed.crash();
        } else {
            bed.chill();
        }
        assert_eq!(bed.run("GET string"), Reply::bulk("other"));
        assert_eq!(texts(&bed.run("LRANGE list 0 -1")), ["a", "b", "c", "d"]);
        assert_eq!(sorted(&bed.run("HGETALL hash")), ["g", "w"]);
        assert_eq!(bed.run("EXISTS set zset numbers"), Reply::Integer(0));
        assert_eq!(bed.run("ZSCORE moved b"), Reply::Double(2.5));
        assert_eq!(bed.run("TTL mortal"), Reply::Integer(-1));
        assert_eq!(bed.run("DBSIZE"), Reply::Integer(5));
        bed.run("FLUSHDB");
    }
}

#[test]
fn cold_keys_die_without_being_loaded() {
    let mut bed = Bed::new();
    for n in 0..300 {
        bed.run(&format!("SET mortal:{n} v PX {}", 1_000 + n));
        bed.run(&format!("SET longer:{n} v PX 100000"));
    }
    bed.chill();
    bed.pass_ms(1_000);
    assert_eq!(bed.run("GET mortal:0"), Reply::Null, "dead, removed or not");
    assert_eq!(bed.run("GET mortal:1"), Reply::bulk("v"), "not yet");
    bed.pass_ms(1_000);
    bed.reap();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(300));
    bed.crash();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(300));
    bed.chill();
    bed.restart();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(300));
    assert_eq!(bed.run("EXISTS mortal:7"), Reply::Integer(0));
}

#[test]
fn fields_die_in_hashes_that_are_cold() {
    let mut bed = Bed::new();
    for (key, key_ms) in [("alone", None), ("beside", None), ("early", Some(50)), ("late", Some(10_000))] {
        bed.run(&format!("HSET {key} f 1"));
        bed.run(&format!("HPEXPIRE {key} 100 FIELDS 1 f"));
        if let Some(ms) = key_ms {
            bed.run(&format!("PEXPIRE {key} {ms}"));
        }
    }
    bed.run("HSET beside g 2");
    bed.chill();
    bed.pass_ms(99);
    assert_eq!(sorted(&bed.run("KEYS *")), ["alone", "beside", "late"]);
    bed.pass_ms(1);
    assert_eq!(sorted(&bed.run("KEYS *")), ["beside"]);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
    bed.chill();
    bed.restart();
    assert_eq!(sorted(&bed.run("HGETALL beside")), ["2", "g"]);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
    // A deadline that was taken away is nobody's business any more.
    bed.run("HPEXPIRE beside 100 FIELDS 1 g");
    bed.chill();
    bed.run("HPERSIST beside FIELDS 1 g");
    bed.chill();
    bed.pass_ms(200);
    assert_eq!(bed.reap(), 1);
    assert_eq!(sorted(&bed.run("HGETALL beside")), ["2", "g"]);
    bed.run("HPEXPIRE beside 100 FIELDS 1 g");
    bed.crash();
    bed.pass_ms(100);
    assert_eq!(bed.run("EXISTS beside"), Reply::Integer(0));
}

#[test]
fn dead_keys_are_counted_and_looked_for_once() {
    let mut bed = Bed::new();
    for n in 0..400 {
        bed.run(&format!("SET early:{n} v PX 1000"));
        bed.run(&format!("SET late:{n} v PX 2000"));
    }
    bed.run("SET immortal v");
    bed.chill();
    let expired = |bed: &mut Bed| {
        let info = texts(&bed.run("INFO stats")).remove(0);
        info.lines().find_map(|line| line.strip_prefix("expired_keys:")).unwrap().trim().parse::<u64>().unwrap()
    };
    bed.pass_ms(1_000);
    bed.reap();
    assert_eq!(expired(&mut bed), 400);
    // The store's index still has them, until the next checkpoint: they must neither count again nor hide later ones.
    assert_eq!(bed.reap(), 1);
    assert_eq!(expired(&mut bed), 400);
    bed.pass_ms(1_000);
    bed.reap();
    assert_eq!(expired(&mut bed), 800);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
}

#[test]
fn a_deadline_that_moved_counts_as_it_is_now() {
    let mut bed = Bed::new();
    for key in ["extended", "shortened", "cleared", "given"] {
        bed.run(&format!("SET {key} v"));
    }
    for key in ["extended", "cleared"] {
        bed.run(&format!("PEXPIRE {key} 1000"));
    }
    bed.run("PEXPIRE shortened 9000");
    bed.chill();
    bed.run("PEXPIRE extended 9000");
    bed.run("PEXPIRE shortened 1000");
    bed.run("PERSIST cleared");
    bed.run("PEXPIRE given 1000");
    bed.chill();
    bed.pass_ms(1_000);
    bed.reap();
    assert_eq!(sorted(&bed.run("KEYS *")), ["cleared", "extended"]);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(2));
    bed.pass_ms(9_000);
    bed.reap();
    bed.chill();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(1));
}

#[test]
fn a_flush_is_for_good() {
    let mut bed = Bed::new();
    fill(&mut bed);
    bed.chill();
    bed.run("SET warm v");
    bed.run("FLUSHDB");
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
    assert_eq!(bed.run("GET string"), Reply::Null);
    bed.run("SET string again");
    bed.crash();
    assert_eq!(sorted(&bed.run("KEYS *")), ["string"]);
    assert_eq!(bed.run("GET string"), Reply::bulk("again"));
    bed.chill();
    bed.run("FLUSHALL");
    bed.chill();
    bed.crash();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(0));
    fill(&mut bed);
    bed.restart();
    check(&mut bed);
}

#[test]
fn checkpoints_between_writes_of_one_key_lose_none() {
    let mut bed = Bed::new();
    for n in 0..30 {
        bed.run(&format!("RPUSH list {n}"));
        bed.run(&format!("INCRBY sum {n}"));
        match n % 3 {
            0 => drop(bed.checkpoint()),
            1 => bed.crash(),
            _ => {}
        }
    }
    let all: Vec<String> = (0..30).map(|n| n.to_string()).collect();
    assert_eq!(texts(&bed.run("LRANGE list 0 -1")), all);
    assert_eq!(bed.run("GET sum"), Reply::bulk("435"));
}

/// A write that changes nothing must not take the next one's number, or replay would skip that one.
#[test]
fn a_write_that_changed_nothing_does_not_hide_the_next() {
    for (set, nothing, change, read, expected) in [
        ("SADD k a", "SADD k a", "SADD k b", "SMEMBERS k", vec!["a", "b"]),
        ("HSET k f x", "HINCRBY k f 1", "HSET k g y", "HGETALL k", vec!["f", "g", "x", "y"]),
        ("ZADD k 1 a", "ZADD k NX 5 a", "ZADD k 2 b", "ZRANGE k 0 -1", vec!["a", "b"]),
        ("RPUSH k a", "LSET k 9 x", "RPUSH k b", "LRANGE k 0 -1", vec!["a", "b"]),
        ("SET k a", "INCR k", "APPEND k b", "GET k", vec!["ab"]),
        ("SADD k a", "SREM k zz", "SADD k b", "SMEMBERS k", vec!["a", "b"]),
        ("HSET k f x", "HDEL k zz", "HSET k g y", "HGETALL k", vec!["f", "g", "x", "y"]),
    ] {
        let mut bed = Bed::new();
        bed.run(set);
        bed.checkpoint();
        bed.run(nothing);
        bed.checkpoint();
        bed.run(change);
        bed.crash();
        assert_eq!(sorted(&bed.run(read)), expected, "{set}; {nothing}; {change}");
    }
}

#[test]
fn a_checkpoint_with_nothing_to_do_does_nothing() {
    let mut bed = Bed::new();
    fill(&mut bed);
    assert!(bed.checkpoint() > 0);
    assert_eq!(bed.checkpoint(), 0);
    bed.run("GET string");
    assert_eq!(bed.checkpoint(), 0);
    assert_eq!(bed.service().log().tail_bytes(), 0);
}

/// Values of which parts die are loaded and cleaned a few at a time, and each field that dies costs its share only.
#[test]
fn large_cold_hashes_lose_their_dead_fields_bit_by_bit() {
    let mut bed = Bed::new();
    let padding = "x".repeat(1_000);
    for key in 0..6 {
        let fields: Vec<String> = (0..2_500).map(|n| format!("{n}{padding}")).collect();
        bed.run(&format!("HSET h{key} lasting v {} v", fields.join(" v ")));
        bed.run(&format!("HPEXPIREAT h{key} 1800000000000 FIELDS 2500 {}", fields.join(" ")));
    }
    bed.chill();
    let until_dead = 1_800_000_000_000 - bed.moment().now_ms();
    bed.pass_ms(until_dead);
    let rounds = bed.reap();
    assert!(rounds >= 6 * 2_500 / 1_000, "{rounds}");
    let database = bed.talk().session.account().unwrap().database.clone();
    assert!(database.memory_bytes() < 10_000, "they were cleaned without being asked for");
    for key in 0..6 {
        assert_eq!(bed.run(&format!("HLEN h{key}")), Reply::Integer(1));
    }
    bed.crash();
    assert_eq!(bed.run("HGETALL h5"), Reply::Map(vec![(Reply::bulk("lasting"), Reply::bulk("v"))]));
}

/// A client that asks all the while sees the database with some of its keys gone, not only with all or none. On a busy machine
/// it may sleep through all of it, so it gets several chances; were the keys to leave in one go, it would miss each.
#[test]
fn others_get_their_turn_while_keys_leave_memory() {
    let mut bed = Bed::new();
    let gets_turns = (0..200).any(|_| turns_while_keys_leave_memory(&mut bed) > 0);
    assert!(gets_turns);
}

fn turns_while_keys_leave_memory(bed: &mut Bed) -> usize {
    for n in 0..20 {
        let pairs: Vec<String> = (0..1_000).map(|m| format!("key:{n}:{m} v")).collect();
        bed.run(&format!("MSET {}", pairs.join(" ")));
    }
    bed.checkpoint();
    let mut talk = bed.talk();
    let database = talk.session.account().unwrap().database.clone();
    let (moment, all) = (bed.moment(), database.memory_bytes());
    let ready = Barrier::new(2);
    std::thread::scope(|scope| {
        let (session, ours, ready) = (&mut talk.session, &database, &ready);
        let asking = scope.spawn(move || {
            let mut turns = 0;
            ready.wait();
            while ours.memory_bytes() > 0 {
                session.command(&[b"EXISTS", b"nothing"], moment, &dormouse_engine::Patient);
                turns += usize::from((1..all).contains(&ours.memory_bytes()));
            }
            turns
        });
        ready.wait();
        database.evict(u64::MAX);
        asking.join().unwrap()
    })
}

/// `expires`, `avg_ttl` and `subexpiry` of `INFO keyspace`.
fn expiring(bed: &mut Bed) -> [u64; 3] {
    let info = texts(&bed.run("INFO keyspace")).remove(0);
    let field = |name: &str| {
        let rest = info.split_once(&format!("{name}=")).map_or("0", |(_, rest)| rest);
        rest.split(|letter: char| !letter.is_ascii_digit()).next().unwrap().parse().unwrap()
    };
    ["expires", "avg_ttl", "subexpiry"].map(field)
}

#[test]
fn deadlines_are_counted_wherever_the_keys_are() {
    let mut bed = Bed::new();
    for n in 0..40 {
        bed.run(&format!("SET key:{n} v PX {}", 10_000 * (n % 2 + 1)));
        bed.run(&format!("SET forever:{n} v"));
        bed.run(&format!("HSET hash:{n} f v g w"));
    }
    for n in 0..30 {
        bed.run(&format!("HPEXPIRE hash:{n} 7000 FIELDS 1 f"));
    }
    for n in 10..20 {
        bed.run(&format!("PEXPIRE hash:{n} 5000"));
    }
    for n in 20..30 {
        bed.run(&format!("PEXPIRE hash:{n} 9000"));
    }
    // A deadline behind that of a part counts as that.
    let (in_memory, on_disk) = ([60, 12_333, 30], [60, 12_000, 30]);
    assert_eq!(expiring(&mut bed), in_memory);
    bed.checkpoint();
    assert_eq!(expiring(&mut bed), in_memory);
    bed.chill();
    assert_eq!(expiring(&mut bed), on_disk);
    for again in [Bed::crash, Bed::restart] {
        again(&mut bed);
        assert_eq!(expiring(&mut bed), on_disk);
    }
    for n in 0..40 {
        bed.run(&format!("EXISTS key:{n} forever:{n} hash:{n}"));
    }
    assert_eq!(expiring(&mut bed), in_memory);
    for line in ["PERSIST key:0", "DEL key:1", "PEXPIRE forever:0 10000", "HPERSIST hash:0 FIELDS 1 f", "SET key:2 w"] {
        bed.run(line);
    }
    let [keys, _, parts] = expiring(&mut bed);
    assert_eq!((keys, parts), (58, 29));
    bed.chill();
    let [keys, _, parts] = expiring(&mut bed);
    assert_eq!((keys, parts), (58, 29));
    bed.crash();
    // Those that die before their parts go by the index alone.
    bed.pass_ms(6_000);
    bed.reap();
    let [keys, _, parts] = expiring(&mut bed);
    assert_eq!((keys, parts), (48, 19));
    bed.pass_ms(2_000);
    bed.reap();
    let [keys, _, parts] = expiring(&mut bed);
    assert_eq!((keys, parts), (48, 0));
    bed.restart();
    bed.pass_ms(100_000);
    bed.reap();
    assert_eq!(expiring(&mut bed), [0; 3]);
    bed.run("SET mortal v PX 1000");
    bed.chill();
    bed.run("FLUSHALL");
    assert_eq!(expiring(&mut bed), [0; 3]);
    bed.restart();
    assert_eq!(expiring(&mut bed), [0; 3]);
}

#[test]
fn dead_keys_go_with_who_asks_where_housekeeping_leaves_them() {
    let mut bed = Bed::new();
    bed.talk().session.account().unwrap().database.configure(|hub| hub.leaves_dead = true);
    for line in ["SET a v PX 10", "SET b v PX 10", "SET c v"] {
        bed.run(line);
    }
    bed.pass_ms(20);
    bed.reap();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(3));
    assert_eq!(bed.run("GET a"), Reply::Null);
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(2));
    assert_eq!(sorted(&bed.run("KEYS *")), ["c"]);
}

#[test]
fn a_reader_that_waits_gets_what_comes_to_be_old_enough() {
    let mut bed = Bed::new();
    for line in ["XADD s 1-0 f v", "XGROUP CREATE s g 0", "XREADGROUP GROUP g alice STREAMS s >"] {
        bed.run(line);
    }
    let mut bob = bed.talk();
    let step = bob.step(&bed, "XREADGROUP GROUP g bob BLOCK 0 CLAIM 1000 STREAMS s >");
    assert!(matches!(step, Step::Parked { .. }), "{step:?}");
    bed.pass_ms(999);
    bed.reap();
    assert!(bob.kept.take().is_empty());
    // Somebody else takes it: it has to be left for as long again.
    bed.run("XCLAIM s g carol 0 1-0");
    bed.pass_ms(999);
    bed.reap();
    assert!(bob.kept.take().is_empty());
    bed.pass_ms(1);
    assert_eq!(bed.service().next_due_ms(), Some(bed.now_us / 1_000), "housekeeping knows when to look");
    bed.reap();
    let replies = bob.kept.take();
    assert_eq!(texts(&replies[0]), ["s", "1-0", "f", "v", "1000", "2"]);
    assert_eq!(bed.service().next_due_ms(), None);
}

#[test]
fn walks_over_many_keys_let_others_have_their_turn() {
    let mut bed = Bed::new();
    let names: BTreeSet<String> = (0..6_000).map(|n| format!("key:{n}")).collect();
    for some in names.iter().collect::<Vec<_>>().chunks(500) {
        let pairs: Vec<String> = some.iter().map(|name| format!("{name} v")).collect();
        bed.run(&format!("MSET {}", pairs.join(" ")));
    }
    let mut walker = bed.talk();
    for chilled in [false, true] {
        if chilled {
            bed.chill();
        }
        for line in ["KEYS key:*", "SCAN 0 MATCH key:* COUNT 100000", "SCAN 0 COUNT 100000 TYPE string"] {
            let Step::Long(job) = walker.step(&bed, line) else { panic!("{line} is done at once") };
            assert_eq!(bed.run("SET other v"), Reply::OK, "nobody waits meanwhile");
            let account = walker.session.account().unwrap().clone();
            let (job, ran) = Session::run_long(&account, job, bed.moment(), &Patient);
            let Step::Reply { reply, .. } = walker.session.resume(job, ran) else { panic!("{line} has no reply") };
            let mut found = texts(&reply);
            let count = found.len();
            found.retain(|text| text.starts_with("key:"));
            assert!(count <= found.len() + 2, "a cursor, and what came meanwhile");
            assert_eq!(found.len(), names.len(), "no key comes twice");
            assert_eq!(found.into_iter().collect::<BTreeSet<_>>(), names, "{line}");
        }
        // A transaction sees one moment.
        walker.run(&bed, "MULTI");
        walker.run(&bed, "KEYS key:*");
        assert_eq!(texts(&walker.run(&bed, "EXEC")).len(), names.len());
    }
}
