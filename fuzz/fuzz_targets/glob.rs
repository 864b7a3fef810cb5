//! Patterns (the first line) and a key (the rest): `KEYS`, `SCAN` and channels agree with a judge that tries every way.
#![no_main]

use std::collections::HashMap;

use dormouse_fuzz::bench;
use dormouse_proto::Reply;
use libfuzzer_sys::fuzz_target;

/// More would only be slow: the judge looks at every pair of places.
const BYTES_MAX: usize = 200;

/// What a class takes of the pattern, and whether it has the byte.
fn class(pattern: &[u8], byte: u8) -> (usize, bool) {
    let not = pattern.first() == Some(&b'^');
    let (mut at, mut found) = (usize::from(not), false);
    while at < pattern.len() {
        let rest = &pattern[at..];
        if rest[0] == b'\\' && rest.len() > 1 {
            found |= rest[1] == byte;
            at += 2;
        } else if rest[0] == b']' {
            return (at + 1, found != not);
        } else if rest.len() > 2 && rest[1] == b'-' {
            found |= byte >= rest[0].min(rest[2]) && byte <= rest[0].max(rest[2]);
            at += 3;
        } else {
            found |= rest[0] == byte;
            at += 1;
        }
    }
    (at, found != not)
}

type Known = HashMap<(usize, usize), bool>;

fn judge(pattern: &[u8], text: &[u8], known: &mut Known) -> bool {
    let place = (pattern.len(), text.len());
    if let Some(known) = known.get(&place) {
        return *known;
    }
    let matches = match (pattern, text) {
        ([], text) => text.is_empty(),
        ([b'*', rest @ ..], text) => {
            judge(rest, text, known) || (!text.is_empty() && judge(pattern, &text[1..], known))
        }
        (_, []) => false,
        ([b'?', rest @ ..], [_, more @ ..]) => judge(rest, more, known),
        ([b'[', rest @ ..], [byte, more @ ..]) => {
            let (taken, has) = class(rest, *byte);
            has && judge(&rest[taken..], more, known)
        }
        ([b'\\', literal, rest @ ..] | [literal, rest @ ..], [byte, more @ ..]) => {
            literal == byte && judge(rest, more, known)
        }
    };
    known.insert(place, matches);
    matches
}

fuzz_target!(|input: &[u8]| {
    let input = &input[..input.len().min(BYTES_MAX)];
    let mut halves = input.splitn(2, |&byte| byte == b'\n');
    let (pattern, text) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let expected = judge(pattern, text, &mut Known::new());
    let mut bench = bench();
    bench.run_args(&[b"SET", text, b"value"]);
    let found = if expected { vec![Reply::bulk(text)] } else { Vec::new() };
    assert_eq!(bench.run_args(&[b"KEYS", pattern]), Reply::Array(found.clone()));
    let page = Reply::Array(vec![Reply::bulk("0"), Reply::Array(found)]);
    assert_eq!(bench.run_args(&[b"SCAN", b"0", b"MATCH", pattern, b"COUNT", b"10"]), page);
    bench.hub.subscribe_pattern(bench.client.id, &pattern.into());
    assert_eq!(bench.run_args(&[b"PUBLISH", text, b"message"]), Reply::Integer(i64::from(expected)));
});
