//! The codec against payloads that Redis made, against our own, and against such as nobody should make.

use dormouse_proto::Reply;

use super::{RestoreError, VERSION_MAX, checksum, dump, restore, seal};
use crate::moment::Random;
use crate::testing::Bench;

const BYTES_MAX: usize = 1 << 20;

/// A line of `fixtures.txt`.
pub(super) struct Fixture {
    pub(super) name: &'static str,
    /// Commands that build `k`.
    pub(super) commands: Vec<Vec<Vec<u8>>>,
    payload: Vec<u8>,
}

impl Fixture {
    /// Encoding and value without the footer.
    pub(super) fn body(&self) -> &[u8] {
        &self.payload[..self.payload.len() - super::FOOTER_BYTES]
    }

    /// A database in which the commands were run.
    pub(super) fn built(&self) -> Bench {
        let mut bench = Bench::new();
        for command in &self.commands {
            run(&mut bench, command);
        }
        bench
    }
}

pub(super) fn fixtures() -> impl Iterator<Item = Fixture> {
    let lines = include_str!("fixtures.txt").lines().filter(|line| !line.starts_with('#'));
    lines.map(|line| {
        let parts: Vec<_> = line.split(" | ").collect();
        let &[name, _, commands, payload] = parts.as_slice() else { panic!("{line}") };
        let commands = commands.split(';').map(|command| command.split(' ').map(word).collect());
        Fixture { name, commands: commands.collect(), payload: unhex(payload) }
    })
}

/// `c*64` is 64 times the letter.
fn word(text: &str) -> Vec<u8> {
    match text.split_once('*') {
        Some((letter, count)) => letter.repeat(count.parse().unwrap()).into_bytes(),
        None => text.as_bytes().to_vec(),
    }
}

fn unhex(text: &str) -> Vec<u8> {
    let digits = text.as_bytes().chunks_exact(2);
    digits.map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}

pub(super) fn run<T: AsRef<[u8]>>(bench: &mut Bench, args: &[T]) -> Reply {
    let args: Vec<_> = args.iter().map(AsRef::as_ref).collect();
    bench.run_args(&args)
}

/// All that a key holds, in an order of its own where the type has none.
pub(super) fn content(mut run: impl FnMut(&[&[u8]]) -> Reply, key: &str) -> Vec<String> {
    let key = key.as_bytes();
    let kind = run(&[b"TYPE", key]);
    let Reply::Status(kind) = &kind else { panic!("{kind:?}") };
    let reply = match kind.as_slice() {
        b"string" => run(&[b"GET", key]),
        b"list" => run(&[b"LRANGE", key, b"0", b"-1"]),
        b"set" => run(&[b"SMEMBERS", key]),
        b"hash" => run(&[b"HGETALL", key]),
        b"zset" => run(&[b"ZRANGE", key, b"0", b"-1", b"WITHSCORES"]),
        b"stream" => Reply::Array(stream_content(&mut run, key)),
        kind => panic!("a {}", kind.escape_ascii()),
    };
    let mut shown: Vec<_> = match reply {
        Reply::Map(pairs) => pairs.iter().map(|pair| format!("{pair:?}")).collect(),
        // The older protocol has no maps.
        Reply::Array(flat) if kind.as_slice() == b"hash" => flat.chunks(2).map(|pair| format!("{pair:?}")).collect(),
        Reply::Array(items) | Reply::Set(items) => items.iter().map(|item| format!("{item:?}")).collect(),
        other => vec![format!("{other:?}")],
    };
    if matches!(kind.as_slice(), b"set" | b"hash") {
        shown.sort();
    }
    shown
}

/// All that a stream shows, but for the time at which it is looked at.
fn stream_content(mut run: impl FnMut(&[&[u8]]) -> Reply, key: &[u8]) -> Vec<Reply> {
    let mut shown = vec![run(&[b"XRANGE", key, b"-", b"+"])];
    let flat = |reply: &Reply| match reply {
        Reply::Map(pairs) => pairs.iter().flat_map(|(name, value)| [name.clone(), value.clone()]).collect(),
        Reply::Array(items) => items.clone(),
        other => panic!("{other:?}"),
    };
    for name in ["length", "last-generated-id", "max-deleted-entry-id", "entries-added", "recorded-first-entry-id"] {
        let info = flat(&run(&[b"XINFO", b"STREAM", key]));
        let at = info.iter().position(|item| *item == Reply::bulk(name)).unwrap();
        shown.push(info[at + 1].clone());
    }
    let Reply::Array(groups) = run(&[b"XINFO", b"GROUPS", key]) else { panic!() };
    for group in &groups {
        let group = flat(group);
        let Reply::Bulk(name) = &group[1] else { panic!() };
        shown.extend([run(&[b"XPENDING", key, name])]);
        let Reply::Array(rows) = run(&[b"XPENDING", key, name, b"-", b"+", b"1000"]) else { panic!() };
        for row in rows {
            let row = flat(&row);
            shown.extend([row[0].clone(), row[1].clone(), row[3].clone()]);
        }
        shown.extend(group);
    }
    shown
}

/// Checks that a payload restores to what `k` holds.
pub(super) fn check_restores(bench: &mut Bench, payload: &[u8], what: &str) {
    let reply = bench.run_args(&[b"RESTORE", b"copy", b"0", payload, b"REPLACE"]);
    assert_eq!(reply, Reply::OK, "{what}");
    let copy = content(|args| bench.run_args(args), "copy");
    assert_eq!(copy, content(|args| bench.run_args(args), "k"), "{what}");
}

pub(super) fn dumped(bench: &mut Bench, key: &str) -> Vec<u8> {
    match bench.run(&format!("DUMP {key}")) {
        Reply::Bulk(payload) => payload.to_vec(),
        reply => panic!("DUMP answered {reply:?}"),
    }
}

#[test]
fn payloads_of_every_redis_restore_to_what_was_dumped() {
    let mut seen = std::collections::BTreeSet::new();
    for fixture in fixtures() {
        seen.insert(fixture.payload[0]);
        let mut bench = fixture.built();
        check_restores(&mut bench, &fixture.payload, fixture.name);
        let ours = dumped(&mut bench, "copy");
        check_restores(&mut bench, &ours, fixture.name);
    }
    assert_eq!(
        seen.into_iter().collect::<Vec<_>>(),
        [0, 1, 2, 3, 4, 5, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21]
    );
}

#[test]
fn plain_strings_dump_to_the_bytes_that_redis_writes() {
    let plain = |fixture: &Fixture| fixture.payload[0] == 0 && fixture.payload[1] != 0xc3;
    for fixture in fixtures().filter(plain) {
        assert_eq!(dumped(&mut fixture.built(), "k"), fixture.payload, "{}", fixture.name);
    }
}

/// A payload of any version.
fn sealed(body: &[u8], version: u16) -> Vec<u8> {
    let mut payload = body.to_vec();
    payload.extend(version.to_le_bytes());
    let checksum = checksum::of(&payload);
    payload.extend(checksum.to_le_bytes());
    payload
}

#[test]
fn a_payload_with_a_byte_more_or_less_is_refused() {
    for fixture in fixtures() {
        let body = fixture.body();
        for cut in 0..body.len() {
            let refused = restore(&seal(body[..cut].to_vec()), BYTES_MAX);
            assert_eq!(refused.unwrap_err(), RestoreError::Format, "{} cut at {cut}", fixture.name);
        }
        let longer = [body, b"\0"].concat();
        assert_eq!(restore(&seal(longer), BYTES_MAX).unwrap_err(), RestoreError::Format, "{}", fixture.name);
    }
}

#[test]
fn a_payload_with_another_byte_is_refused_or_is_another_value() {
    let mut random = Random::new(3);
    for fixture in fixtures() {
        let body = fixture.body();
        for at in 0..body.len() {
            let mut damaged = body.to_vec();
            damaged[at] ^= 1 + random.below(255) as u8;
            if let Ok(value) = restore(&seal(damaged), BYTES_MAX) {
                let again = restore(&dump(&value).unwrap(), BYTES_MAX).unwrap();
                // Of a stream less is written than is read: what was removed, and when a consumer was active.
                match value.kind() {
                    crate::Type::Stream => assert_eq!(dump(&again), dump(&value), "{} changed at {at}", fixture.name),
                    _ => assert_eq!(again.canonical(), value.canonical(), "{} changed at {at}", fixture.name),
                }
            }
        }
    }
}

#[test]
fn a_damaged_footer_is_refused() {
    let payload = seal(b"\0\x01v".to_vec());
    assert!(restore(&payload, BYTES_MAX).is_ok());
    for at in 0..payload.len() {
        let mut damaged = payload.clone();
        damaged[at] ^= 0x10;
        assert_eq!(restore(&damaged, BYTES_MAX).unwrap_err(), RestoreError::Footer);
        assert_eq!(restore(&payload[..at], BYTES_MAX).unwrap_err(), RestoreError::Footer);
    }
    for version in [0, 1, 6, VERSION_MAX] {
        assert!(restore(&sealed(b"\0\x01v", version), BYTES_MAX).is_ok());
    }
    assert_eq!(restore(&sealed(b"\0\x01v", VERSION_MAX + 1), BYTES_MAX).unwrap_err(), RestoreError::Footer);
}

#[test]
fn what_is_no_value_is_refused() {
    let cases: &[(&str, &[u8])] = &[
        ("nothing", b""),
        ("a module", b"\x07\x00"),
        ("half a stream", b"\x0f\x00"),
        ("a hash with deadlines", b"\x19\x00"),
        ("no encoding at all", b"\x63"),
        ("a string with an unknown form of length", b"\0\x82\0\0\0\x01a"),
        ("a string with an unknown form", b"\0\xc4a"),
        ("a string longer than all there is", b"\0\x81\xff\xff\xff\xff\xff\xff\xff\xffa"),
        ("an empty list", b"\x01\0"),
        ("an empty set", b"\x02\0"),
        ("an empty hash", b"\x04\0"),
        ("an empty sorted set", b"\x05\0"),
        ("an empty quicklist", b"\x12\0"),
        ("more members than bytes", b"\x02\x81\x7f\xff\xff\xff\xff\xff\xff\xff\x01a"),
        ("a count that is a form", b"\x02\xc0\x01\x01a"),
        ("a member twice", b"\x02\x02\x01a\x01a"),
        ("a field twice", b"\x04\x02\x01a\x01b\x01a\x01c"),
        ("a member with two scores", b"\x05\x02\x01a\0\0\0\0\0\0\0\0\x01a\0\0\0\0\0\0\xf0\x3f"),
        ("a score that is not a number", b"\x05\x01\x01a\0\0\0\0\0\0\xf8\x7f"),
        ("a score that is not a number, as text", b"\x03\x01\x01a\xfd"),
        ("a score that is no number", b"\x03\x01\x01a\x03x10"),
        ("a quicklist's node of an unknown kind", b"\x12\x01\x03\x01a"),
        ("an empty plain node", b"\x12\x01\x01\0"),
        ("a field without a value", b"\x10\x0a\x0a\0\0\0\x01\0\x81a\x02\xff"),
        ("a listpack that is another size", b"\x14\x0a\x0b\0\0\0\x01\0\x81a\x02\xff"),
        ("a listpack with another count", b"\x14\x0a\x0a\0\0\0\x02\0\x81a\x02\xff"),
        ("a listpack with a wrong length behind", b"\x14\x0a\x0a\0\0\0\x01\0\x81a\x03\xff"),
        ("a listpack that ends early", b"\x14\x0a\x0a\0\0\0\0\0\xff\x81a\x02"),
        ("a listpack's entry of no kind", b"\x14\x09\x09\0\0\0\x01\0\xf5\x01\xff"),
        ("a ziplist with another tail", b"\x0a\x0e\x0e\0\0\0\x0b\0\0\0\x01\0\0\x01a\xff"),
        ("a ziplist with a wrong length before", b"\x0a\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\x05\x01a\xff"),
        ("a ziplist's entry of no kind", b"\x0a\x0d\x0d\0\0\0\x0a\0\0\0\x01\0\0\xc1\xff"),
        ("an intset that does not rise", b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x01\0"),
        ("an intset of odd integers", b"\x0b\x0b\x03\0\0\0\x01\0\0\0\x01\0\0"),
        ("an intset with a forged count", b"\x0b\x0a\x02\0\0\0\xff\xff\xff\xff\x01\0"),
        ("a zipmap with another count", b"\x09\x07\x02\x01a\x01\0b\xff"),
        ("a zipmap without the last value", b"\x09\x04\x01\x01a\xff"),
        ("a zipmap that goes on", b"\x09\x08\x01\x01a\x01\0b\xff\xff"),
    ];
    for (what, body) in cases {
        assert_eq!(restore(&seal(body.to_vec()), BYTES_MAX).unwrap_err(), RestoreError::Format, "{what}");
    }
    let good: &[&[u8]] = &[
        b"\x10\x0d\x0d\0\0\0\x02\0\x81a\x02\x81b\x02\xff",
        b"\x14\x0a\x0a\0\0\0\x01\0\x81a\x02\xff",
        b"\x0a\x0e\x0e\0\0\0\x0a\0\0\0\x01\0\0\x01a\xff",
        b"\x0b\x0c\x02\0\0\0\x02\0\0\0\x01\0\x02\0",
        b"\x09\x07\x01\x01a\x01\0b\xff",
    ];
    for body in good {
        assert!(restore(&seal(body.to_vec()), BYTES_MAX).is_ok(), "{}", body.escape_ascii());
    }
}

#[test]
fn memory_is_bounded_before_it_is_taken() {
    // Said to be 4 GB when expanded: more than is allowed, and more than such input can be.
    let huge = seal(b"\0\xc3\x03\x80\xff\xff\xff\xff\x00aa".to_vec());
    assert_eq!(restore(&huge, BYTES_MAX).unwrap_err(), RestoreError::TooLarge);
    assert_eq!(restore(&huge, usize::MAX).unwrap_err(), RestoreError::Format);
    // Two bytes each, and much more in memory.
    let mut many = vec![1, 0x80];
    many.extend(100_000_u32.to_be_bytes());
    many.extend(b"\x01a".repeat(100_000));
    let many = seal(many);
    assert_eq!(restore(&many, 2_000_000).unwrap_err(), RestoreError::TooLarge);
    assert!(restore(&many, 3_000_000).is_ok());
}

#[test]
fn a_zero_has_no_sign() {
    let negative = seal(b"\x05\x01\x01a\0\0\0\0\0\0\0\x80".to_vec());
    assert_eq!(restore(&negative, BYTES_MAX).unwrap().canonical(), "a=0.0");
}

#[test]
fn lengths_of_every_class_come_back() {
    let mut bench = Bench::new();
    for length in [0, 1, 11, 12, 63, 64, 16_383, 16_384, 70_000] {
        let long = vec![b'x'; length];
        bench.run_args(&[b"SET", b"k", &long]);
        let payload = dumped(&mut bench, "k");
        check_restores(&mut bench, &payload, "a string");
    }
    for count in [1, 63, 64, 128, 129, 16_383, 16_384] {
        bench.run("DEL k");
        let mut args = vec![b"RPUSH".to_vec(), b"k".to_vec()];
        args.extend((0..count).map(|n: u32| n.to_string().into_bytes()));
        run(&mut bench, &args);
        let payload = dumped(&mut bench, "k");
        check_restores(&mut bench, &payload, "a list");
    }
}

/// A command that builds `k`, of any type and with any bytes.
pub(super) fn random_value(random: &mut Random) -> Vec<Vec<u8>> {
    let bytes = |random: &mut Random| -> Vec<u8> {
        match random.below(4) {
            0 => (random.next_u64() as i64 >> random.below(64)).to_string().into_bytes(),
            1 => vec![b'r'; random.below(300) as usize],
            _ => (0..random.below(40)).map(|_| random.next_u64() as u8).collect(),
        }
    };
    let score = |random: &mut Random| match random.below(8) {
        0 => "inf".to_owned(),
        1 => "-inf".to_owned(),
        2 => random.below(100).to_string(),
        _ => loop {
            let score = f64::from_bits(random.next_u64());
            if score.is_finite() {
                break format!("{score:e}");
            }
        },
    };
    let names: [&[u8]; 5] = [b"SET", b"RPUSH", b"SADD", b"HSET", b"ZADD"];
    let kind = random.below(5) as usize;
    let mut command = vec![names[kind].to_vec(), b"k".to_vec()];
    let most = if random.below(4) == 0 { 300 } else { 10 };
    let count = if kind == 0 { 1 } else { 1 + random.below(most) };
    for _ in 0..count {
        if kind == 4 {
            command.push(score(random).into_bytes());
        }
        command.push(bytes(random));
        if kind == 3 {
            command.push(bytes(random));
        }
    }
    command
}

#[test]
fn any_value_comes_back() {
    let mut random = Random::new(11);
    for round in 0..200 {
        let mut bench = Bench::new();
        let command = random_value(&mut random);
        let reply = run(&mut bench, &command);
        assert!(!matches!(reply, Reply::Error(_)), "{reply:?}");
        let payload = dumped(&mut bench, "k");
        check_restores(&mut bench, &payload, &format!("round {round}"));
    }
}
