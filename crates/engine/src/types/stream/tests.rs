//! What commands on streams do, where a conformance page would not show it: waiting, events, limits, and a model.

use std::collections::BTreeMap;

use dormouse_proto::{Blob, Reply};

use crate::client::{Client, Door, Grant};
use crate::moment::Random;
use crate::testing::Bench;
use crate::txn::{Block, Stop};

fn bench(lines: &[&str]) -> Bench {
    let mut bench = Bench::new();
    for line in lines {
        let reply = bench.run(line);
        assert!(!matches!(reply, Reply::Error(_)), "{line}: {reply:?}");
    }
    bench
}

fn words(line: &str) -> Vec<&[u8]> {
    line.split(' ').map(str::as_bytes).collect()
}

#[test]
fn a_read_waits_for_what_comes_after_its_ids() {
    let mut bench = bench(&["XADD s 5-1 f v"]);
    for (line, again) in [
        ("XREAD BLOCK 7 STREAMS s none $ $", "XREAD BLOCK 7 STREAMS s none 5-1 0-0"),
        ("XREAD COUNT 1 BLOCK 7 STREAMS none +", "XREAD COUNT 1 BLOCK 7 STREAMS none 0-0"),
        ("XREAD BLOCK 7 STREAMS s 9", "XREAD BLOCK 7 STREAMS s 9-0"),
    ] {
        let Err(Stop::Block(block)) = bench.attempt(&words(line)) else { panic!("{line} did not wait") };
        let again: Box<[Blob]> = words(again).into_iter().map(Blob::from).collect();
        assert_eq!((block.again, block.timeout_ms), (Some(again), Some(7)), "{line}");
        assert!(!block.even_if_gone);
    }
    bench.run("XGROUP CREATE s g $");
    let waits = Block { even_if_gone: true, ..Block::on(&[b"s"], None, Reply::NullArray) };
    assert_eq!(bench.attempt(&words("XREADGROUP GROUP g c BLOCK 0 STREAMS s >")), Err(Stop::Block(waits)));
    // History never waits.
    assert!(bench.attempt(&words("XREADGROUP GROUP g c BLOCK 0 STREAMS s 0")).is_ok());
}

#[test]
fn blocking_is_refused_over_rest_where_it_would_wait() {
    let mut bench = bench(&["XADD s 5-1 f v", "XGROUP CREATE s g $"]);
    bench.client = Client::new(bench.client.id, Door::Rest, Grant::Full);
    assert_eq!(bench.error("XREAD BLOCK 1 STREAMS s 0"), "ERR command 'xread' with BLOCK is not supported over REST");
    assert_eq!(
        bench.error("XREADGROUP GROUP g c BLOCK 1 STREAMS s 0"),
        "ERR command 'xreadgroup' with BLOCK is not supported over REST"
    );
    assert_eq!(bench.run("XREAD STREAMS s $"), Reply::NullArray);
}

#[test]
fn a_consumer_holds_only_so_many() {
    let mut bench = bench(&["XGROUP CREATE s g $ MKSTREAM"]);
    bench.hub.limits.pending_max = 3;
    (1..=5).for_each(|n| drop(bench.run(&format!("XADD s {n}-0 f v"))));
    let error = bench.error("XREADGROUP GROUP g c STREAMS s >");
    assert_eq!(
        error,
        "ERR XReadGroup is cancelled. Pending Entries List limit per consumer is about to be reached. Limit: 3, Current \
         PEL size: 0, Requested Read: 5, Key: s, Group: g, Consumer: c."
    );
    assert!(matches!(bench.run("XREADGROUP GROUP g c COUNT 3 STREAMS s >"), Reply::Keyed(_)));
    assert!(bench.error("XREADGROUP GROUP g c COUNT 1 STREAMS s >").contains("Current PEL size: 3"));
    assert!(matches!(bench.run("XREADGROUP GROUP g c COUNT 1 NOACK STREAMS s >"), Reply::Keyed(_)));
    assert!(matches!(bench.run("XREADGROUP GROUP g other COUNT 1 STREAMS s >"), Reply::Keyed(_)));
}

#[test]
fn polling_makes_a_consumer_and_costs_no_write_after_that() {
    let mut bench = bench(&["XADD s 1-0 f v", "XGROUP CREATE s g $"]);
    let times = |bench: &mut Bench| match bench.run("XINFO CONSUMERS s g") {
        Reply::Array(consumers) => match consumers.as_slice() {
            [Reply::Map(fields)] => (fields[2].1.clone(), fields[3].1.clone()),
            other => panic!("{other:?} is no consumer"),
        },
        other => panic!("{other:?} is no array"),
    };
    let polls = [
        "XREADGROUP GROUP g c STREAMS s >",
        "XREADGROUP GROUP g c STREAMS s 0",
        "XREADGROUP GROUP g c NOACK STREAMS s >",
        "XCLAIM s g c 0 1-0",
        "XAUTOCLAIM s g c 0 0",
    ];
    for (at, poll) in polls.iter().enumerate() {
        bench.pass_ms(100);
        bench.run(poll);
        assert_eq!(bench.journal_bytes == 0, at > 0, "{poll}");
        assert_eq!(times(&mut bench), (Reply::Integer(0), Reply::Integer(-1)), "{poll}");
    }
    bench.run("XADD s 2-0 f v");
    bench.run("XREADGROUP GROUP g c STREAMS s >");
    bench.pass_ms(100);
    assert_eq!(times(&mut bench), (Reply::Integer(100), Reply::Integer(100)));
    bench.run("XREADGROUP GROUP g c STREAMS s 0");
    assert_eq!(times(&mut bench), (Reply::Integer(0), Reply::Integer(100)));
}

#[test]
fn who_never_acknowledges_over_rest_leaves_no_consumer() {
    let mut bench = bench(&["XADD s 1-0 f v", "XGROUP CREATE s g 0"]);
    bench.client = Client::new(bench.client.id, Door::Rest, Grant::Full);
    bench.run("XREADGROUP GROUP g c NOACK STREAMS s >");
    assert_eq!(bench.run("XINFO CONSUMERS s g"), Reply::Array(Vec::new()));
    bench.run("XREADGROUP GROUP g c STREAMS s >");
    assert!(matches!(bench.run("XINFO CONSUMERS s g"), Reply::Array(consumers) if consumers.len() == 1));
}

/// The events are those redis-server 8.2.3 sends.
#[test]
fn events_are_announced_as_in_redis() {
    let mut bench = Bench::new();
    for (line, expected) in [
        ("XADD s 1-1 a b", "xadd:s"),
        ("XADD s MAXLEN 1 2-1 a b", "xadd:s xtrim:s"),
        ("XADD s NOMKSTREAM 3-1 a b", "xadd:s"),
        ("XTRIM s MAXLEN 2", ""),
        ("XGROUP CREATE s g 0", "xgroup-create:s"),
        ("XGROUP CREATE t g 0 MKSTREAM", "xgroup-create:t"),
        ("XGROUP SETID s g 0", "xgroup-setid:s"),
        ("XREADGROUP GROUP g c STREAMS s >", "xgroup-createconsumer:s"),
        ("XREADGROUP GROUP g c STREAMS s 0", ""),
        ("XREADGROUP GROUP g d STREAMS s 0", "xgroup-createconsumer:s"),
        ("XACK s g 2-1", ""),
        ("XCLAIM s g e 0 3-1", "xgroup-createconsumer:s"),
        ("XCLAIM s g e2 0 9-9", "xgroup-createconsumer:s"),
        ("XAUTOCLAIM s g f 0 0", "xgroup-createconsumer:s"),
        ("XGROUP CREATECONSUMER s g z", "xgroup-createconsumer:s"),
        ("XGROUP CREATECONSUMER s g z", ""),
        ("XGROUP DELCONSUMER s g z", "xgroup-delconsumer:s"),
        ("XGROUP DELCONSUMER s g z", ""),
        ("XSETID s 99-0", "xsetid:s"),
        ("XDEL s 2-1", "xdel:s"),
        ("XDEL s 2-1", ""),
        ("XTRIM s MAXLEN 0", "xtrim:s"),
        ("XGROUP DESTROY s g", "xgroup-destroy:s"),
        ("XGROUP DESTROY s g", ""),
        ("XADD s 100-1 a b", "xadd:s"),
        ("XGROUP CREATE s h 0", "xgroup-create:s"),
        ("XREADGROUP GROUP h c STREAMS s >", "xgroup-createconsumer:s"),
        ("XDELEX s DELREF IDS 1 100-1", "xdel:s"),
        ("XADD s 101-1 a b", "xadd:s"),
        ("XREADGROUP GROUP h c STREAMS s >", ""),
        ("XACKDEL s h IDS 1 101-1", "xdel:s"),
        ("XACKDEL s h IDS 1 101-1", ""),
    ] {
        assert_eq!(bench.announced(line), expected, "{line}");
    }
}

#[test]
fn keys_are_found_after_the_word_streams() {
    let mut bench = Bench::new();
    let keys = |names: &[&str]| Reply::bulks(names.iter().map(|name| Blob::from(name.as_bytes())));
    for (line, expected) in [
        ("XREAD COUNT 1 STREAMS a b 0 0", keys(&["a", "b"])),
        ("XREAD streams streams 0", keys(&["streams"])),
        ("XREADGROUP GROUP streams c STREAMS a >", keys(&["a"])),
        ("XREADGROUP GROUP g c NOACK STREAMS a b c > > >", keys(&["a", "b", "c"])),
        ("XGROUP CREATE a g 0", keys(&["a"])),
    ] {
        assert_eq!(bench.run(&format!("COMMAND GETKEYS {line}")), expected, "{line}");
    }
    let unbalanced = bench.error("COMMAND GETKEYS XREAD COUNT 1 STREAMS");
    assert_eq!(unbalanced, "ERR Invalid arguments specified for command");
}

#[test]
fn ids_follow_the_clock_and_never_fall() {
    let mut bench = Bench::new();
    let now = bench.now_us / 1_000;
    assert_eq!(bench.run("XADD s * f v"), Reply::bulk(format!("{now}-0")));
    assert_eq!(bench.run("XADD s * f v"), Reply::bulk(format!("{now}-1")));
    bench.now_us -= 5_000_000;
    assert_eq!(bench.run("XADD s * f v"), Reply::bulk(format!("{now}-2")));
    bench.run("XADD s 18446744073709551615-18446744073709551614 f v");
    assert_eq!(bench.run("XADD s * f v"), Reply::bulk("18446744073709551615-18446744073709551615"));
    let full = "ERR The stream has exhausted the last possible ID, unable to add more items";
    assert_eq!(bench.error("XADD s * f v"), full);
}

#[test]
fn random_commands_agree_with_a_model() {
    let mut bench = bench(&["XGROUP CREATE s g 0 MKSTREAM"]);
    let mut random = Random::new(4);
    let mut entries = BTreeMap::<u64, u64>::new();
    // Who has what, and what was read last.
    let (mut pending, mut read, mut last) = (BTreeMap::<u64, u64>::new(), 0, 0);
    for round in 0..3_000_u64 {
        let id = random.below(last + 3);
        match random.below(8) {
            0..3 => {
                last += 1 + random.below(2);
                entries.insert(last, round);
                bench.run(&format!("XADD s {last} f {round}"));
            }
            3 => {
                let there = entries.remove(&id).is_some();
                assert_eq!(bench.run(&format!("XDEL s {id}")), Reply::flag(there));
            }
            4 if random.below(10) == 0 => {
                let most = random.below(200) as usize;
                let gone = entries.len().saturating_sub(most);
                assert_eq!(bench.run(&format!("XTRIM s MAXLEN {most}")), Reply::count(gone));
                entries = entries.into_iter().skip(gone).collect();
            }
            5 => {
                let consumer = random.below(3);
                let new: Vec<u64> = entries.range(read + 1..).map(|(id, _)| *id).take(2).collect();
                bench.run(&format!("XREADGROUP GROUP g {consumer} COUNT 2 STREAMS s >"));
                read = new.last().copied().unwrap_or(read);
                pending.extend(new.into_iter().map(|id| (id, consumer)));
            }
            6 => {
                let there = pending.remove(&id).is_some();
                assert_eq!(bench.run(&format!("XACK s g {id}")), Reply::flag(there));
            }
            _ => {
                let start = random.below(last + 1);
                let expected: Vec<Reply> = entries
                    .range(start..)
                    .take(3)
                    .map(|(id, value)| {
                        let fields = Reply::Array(vec![Reply::bulk("f"), Reply::bulk(value.to_string())]);
                        Reply::Array(vec![Reply::bulk(format!("{id}-0")), fields])
                    })
                    .collect();
                assert_eq!(bench.run(&format!("XRANGE s {start} + COUNT 3")), Reply::Array(expected));
            }
        }
        assert_eq!(bench.run("XLEN s"), Reply::count(entries.len()));
    }
    let row = |(id, consumer): (&u64, &u64)| {
        let name = Reply::bulk(consumer.to_string());
        Reply::Array(vec![Reply::bulk(format!("{id}-0")), name, Reply::Integer(0), Reply::Integer(1)])
    };
    assert_eq!(bench.run("XPENDING s g - + 10000"), Reply::Array(pending.iter().map(row).collect()));
}

#[test]
fn names_of_groups_and_consumers_are_bounded() {
    let mut bench = bench(&["XADD s 1-1 f v", "XGROUP CREATE s g 0"]);
    let (fits, long) = ("n".repeat(32 << 10), "n".repeat((32 << 10) + 1));
    for command in [
        "XGROUP CREATE s NAME 0",
        "XGROUP CREATECONSUMER s g NAME",
        "XREADGROUP GROUP g NAME STREAMS s >",
        "XCLAIM s g NAME 0 1-1",
        "XAUTOCLAIM s g NAME 0 0",
    ] {
        let error = bench.error(&command.replace("NAME", &long));
        assert!(error.starts_with("ERR max name size of groups and consumers exceeded"), "{command}: {error}");
        let reply = bench.run(&command.replace("NAME", &fits));
        assert!(!matches!(reply, Reply::Error(_)), "{command}");
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "how long it takes is what is claimed")]
fn many_ids_take_no_time_for_each_pair_of_them() {
    const FILL: &str = "for n = 1, 40000 do redis.call('XADD', KEYS[1], n .. '-1', 'f', 'v') end";
    let ids: Vec<String> = (1..=40_000).map(|n| format!("{n}-1")).collect();
    for head in [&["XDELEX", "s", "IDS", "40000"][..], &["XACKDEL", "s", "g", "IDS", "40000"]] {
        let mut bench = bench(&["XGROUP CREATE s g 0 MKSTREAM"]);
        bench.run_args(&[b"EVAL", FILL.as_bytes(), b"1", b"s"]);
        bench.run("XREADGROUP GROUP g c STREAMS s >");
        let args: Vec<&[u8]> = head.iter().copied().chain(ids.iter().map(String::as_str)).map(str::as_bytes).collect();
        // What the checks of the bench cost, on a machine as busy as this one.
        let since = std::time::Instant::now();
        bench.run("XLEN s");
        let checks = since.elapsed();
        let since = std::time::Instant::now();
        assert_eq!(bench.run_args(&args), Reply::Array(vec![Reply::Integer(1); 40_000]));
        let took = since.elapsed();
        assert!(took < checks * 4, "{}: {took:?}, of which checks about {checks:?}", head[0]);
    }
}
