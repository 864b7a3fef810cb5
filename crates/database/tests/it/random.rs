//! Random commands on a database that is checkpointed, emptied from memory, crashed and reopened at random, compared reply
//! by reply with one that only ever lived in memory.

use dormouse_engine::Random;
use dormouse_engine::testing::Bench;
use dormouse_proto::Reply;

use crate::support::{Bed, sorted};

/// What a command may be made of: `K` is a key, `N` a small number, `M` a member.
#[rustfmt::skip]
const COMMANDS: &[&str] = &[
    "SET K M", "SET K M PX 300", "SET K N KEEPTTL", "GET K", "GETDEL K", "GETEX K PX 200", "APPEND K M", "SETRANGE K N M",
    "INCR K", "INCRBYFLOAT K 0.5", "MSET K M K M", "STRLEN K",
    "RPUSH K M M", "LPUSH K M", "LPOP K", "RPOP K N", "LRANGE K 0 -1", "LSET K N M", "LTRIM K 1 -2", "LREM K 0 M",
    "LINSERT K BEFORE M x", "LMOVE K K LEFT RIGHT", "LLEN K",
    "HSET K M N M N", "HDEL K M M", "HINCRBY K M N", "HGETALL K", "HSETNX K M N", "HGET K M",
    "SADD K M N", "SREM K M N", "SMOVE K K M", "SINTERSTORE K K K", "SUNIONSTORE K K K", "SMEMBERS K",
    "ZADD K N M N M", "ZADD K GT N M", "ZREM K M", "ZINCRBY K N M", "ZRANGE K 0 -1 WITHSCORES", "ZPOPMIN K",
    "ZUNIONSTORE K 2 K K", "ZREMRANGEBYRANK K 0 0",
    "DEL K", "DEL K K", "RENAME K K", "COPY K K REPLACE", "PEXPIRE K 250", "PERSIST K", "PTTL K", "TYPE K", "EXISTS K K",
    "KEYS *", "TOUCH K",
    // More writes than reads make collections of some size; reads of all kinds come along.
    "RPUSH K M M M", "HSET K M M M N M M", "SADD K M M M", "ZADD K N M N M N M", "SET K M",
];

fn draw(random: &mut Random) -> String {
    if random.below(400) == 0 {
        return "FLUSHDB".to_owned();
    }
    let pattern = COMMANDS[random.below(COMMANDS.len() as u64) as usize];
    let word = |word: &str, random: &mut Random| match word {
        "K" => format!("key:{}", random.below(16)),
        "N" => random.below(5).to_string(),
        "M" => format!("member-{}", random.below(12)).repeat(1 + random.below(4) as usize),
        other => other.to_owned(),
    };
    pattern.split(' ').map(|part| word(part, random)).collect::<Vec<_>>().join(" ")
}

/// A reply as text; where order means nothing, without it.
fn canonical(line: &str, reply: &Reply) -> String {
    let ordered = ["LRANGE", "ZRANGE", "RPOP", "ZPOPMIN"].iter().any(|name| line.starts_with(name));
    match reply {
        Reply::Array(_) | Reply::Set(_) | Reply::Map(_) if !ordered => format!("{:?}", sorted(reply)),
        reply => format!("{reply:?}"),
    }
}

fn run(seed: u64, steps: usize) {
    let mut random = Random::new(seed);
    let (mut bed, mut bench) = (Bed::new(), Bench::new());
    bench.now_us = bed.now_us;
    for step in 0..steps {
        match random.below(60) {
            0 => drop(bed.checkpoint()),
            1 => bed.chill(),
            2 => bed.crash(),
            3 if random.below(4) == 0 => bed.restart(),
            4..=7 => {
                bed.reap();
            }
            8..=12 => {
                let ms = random.below(120);
                bed.pass_ms(ms);
                bench.pass_ms(ms);
            }
            _ => {}
        }
        let line = draw(&mut random);
        let (found, expected) = (bed.run(&line), bench.run(&line));
        assert_eq!(canonical(&line, &found), canonical(&line, &expected), "seed {seed}, step {step}: {line}");
    }
    let keys = sorted(&bed.run("KEYS *"));
    bed.reap();
    assert_eq!(bed.run("DBSIZE"), Reply::Integer(keys.len() as i64), "seed {seed}");
}

/// `DORMOUSE_RANDOM_SEEDS` runs more of them.
#[test]
fn residency_is_invisible() {
    let seeds = std::env::var("DORMOUSE_RANDOM_SEEDS").map_or(6, |value| value.parse().unwrap());
    for seed in 1..=seeds {
        run(seed, 1_500);
    }
}
