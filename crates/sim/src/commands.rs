//! Which commands are drawn: those that are compared with real servers, and what lives and dies beside them.

use dormouse_engine::Random;
use dormouse_testkit::differential::{Draw, JSON_TEMPLATES};
use dormouse_testkit::page::Version;

use crate::model::Words;

/// Beside the forms that real servers know: `K` is a key of any type, `A` one of an array, `N` a small number, `M` a text, `T`
/// a near deadline in milliseconds.
#[rustfmt::skip]
const MORE: &[&str] = &[
    "SET K M PX T", "SET K M PX T", "PEXPIRE K T", "PEXPIRE K T", "GETEX K PX T", "HPEXPIRE K T FIELDS 2 f1 f2",
    "HSET K f1 M f2 M N M", "RENAME K K", "RENAME K K", "RENAMENX K K", "COPY K K REPLACE", "DEL K K", "UNLINK K",
    "PERSIST K", "GETDEL K", "SADD K M M M", "RPUSH K M M M", "ZADD K N M N M", "SUNIONSTORE K K K", "ZUNIONSTORE K 2 K K",
    "LMOVE K K LEFT RIGHT", "SMOVE K K M", "SORT K ALPHA STORE K", "EXISTS K K K", "TTL K", "PTTL K",
    "ARSET A N M M", "ARSET A N M", "ARDEL A N", "ARDELRANGE A N N", "ARINSERT A N M", "ARRING A N M M", "ARLEN A", "ARCOUNT A",
    "ARGET A N", "EXISTS A", "XADD q1 * f M", "XADD q2 MAXLEN ~ 5 * f M", "PFADD p1 M M", "SETBIT b1 N 1", "GEOADD g1 N N M",
];
const EMPTY: &[&str] = &["FLUSHALL", "FLUSHDB", "FLUSHALL ASYNC"];
const USERS: &[&str] = &[
    "ACL SETUSER ann on nopass ~k* +@read",
    "ACL SETUSER bob on >word ~* +@all",
    "ACL DELUSER ann",
    "ACL SETUSER ann off",
];
/// Scripts over keys of their own, with effects that must stay together.
const SCRIPTS: &[(&str, &str)] = &[
    (
        "redis.call('SET',KEYS[1],ARGV[1]) redis.call('APPEND',KEYS[2],ARGV[1]) return redis.call('GET',KEYS[2])",
        "2 s1 s2 M",
    ),
    ("for i=1,tonumber(ARGV[1]) do redis.call('RPUSH',KEYS[1],i) end return redis.call('LLEN',KEYS[1])", "1 l1 N"),
    (
        "redis.call('DEL',KEYS[1]) redis.call('HSET',KEYS[2],'f1',ARGV[1]) return redis.call('RENAME',KEYS[2],KEYS[1])",
        "2 h1 h2 M",
    ),
    (
        "redis.call('SET',KEYS[1],ARGV[1]) redis.call('PEXPIRE',KEYS[1],ARGV[2]) return redis.call('LPUSH',KEYS[1],1)",
        "1 s3 M T",
    ),
];

/// Draws commands.
pub struct Commands {
    plain: Draw,
    json: Draw,
}

impl Commands {
    /// As the seed has it.
    pub fn new(seed: u64) -> Self {
        let plain = Draw::new(seed, Version::NEWEST, false, 0);
        Self { plain, json: Draw::of(seed, JSON_TEMPLATES) }
    }

    /// One command.
    pub fn one(&mut self, random: &mut Random, now_ms: u64) -> Words {
        self.plain.follow_clock(now_ms);
        match random.below(1_000) {
            0..3 => words(pick(random, EMPTY)),
            3..8 => words(pick(random, USERS)),
            8..60 => script(random),
            60..120 => self.json.next_formed(),
            120..420 => filled(pick(random, MORE), random),
            _ => self.plain.next_command(),
        }
    }

    /// Commands of a transaction.
    pub fn several(&mut self, random: &mut Random, now_ms: u64) -> Vec<Words> {
        self.plain.follow_clock(now_ms);
        let count = 1 + random.below(5);
        let one = |_| match random.below(20) {
            0 => words(pick(random, EMPTY)),
            1..3 => script(random),
            3..10 => filled(pick(random, MORE), random),
            _ => self.plain.next_queued(),
        };
        (0..count).map(one).collect()
    }
}

fn script(random: &mut Random) -> Words {
    let (source, rest) = SCRIPTS[random.below(SCRIPTS.len() as u64) as usize];
    let mut command = vec![b"EVAL".to_vec(), source.as_bytes().to_vec()];
    command.extend(filled(rest, random));
    command
}

fn pick<'a>(random: &mut Random, from: &[&'a str]) -> &'a str {
    from[random.below(from.len() as u64) as usize]
}

fn words(line: &str) -> Words {
    line.split(' ').map(|word| word.as_bytes().to_vec()).collect()
}

fn filled(line: &str, random: &mut Random) -> Words {
    let word = |word: &str| match word {
        "K" => ["s1", "s2", "h1", "h2", "l1", "l2", "e1", "e2", "z1", "z2", "q1", "b1", "j1", "a1"]
            [random.below(14) as usize]
            .to_owned(),
        "A" => ["a1", "a2"][random.below(2) as usize].to_owned(),
        "N" => random.below(9).to_string(),
        "M" => format!("m{}", random.below(12)).repeat(1 + random.below(4) as usize),
        "T" => (1 + random.below(2_000)).to_string(),
        other => other.to_owned(),
    };
    line.split(' ').map(word).map(String::into_bytes).collect()
}
