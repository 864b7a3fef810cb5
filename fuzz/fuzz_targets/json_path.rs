//! A path (the first line) into a document (the rest), read and written through: no panic, no blow-up, and whatever was
//! written, what is left is JSON.
#![no_main]

use dormouse_fuzz::bench;
use dormouse_proto::Reply;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// What stands in where the rest of the input is no document.
const DOCUMENT: &[u8] = br#"{"a":{"a":[1,2.5,{"b":"x","a":null}],"b":true},"b":[[],{},"\u00e9"],"c":-1}"#;

const READS: &[&str] = &["TYPE", "GET", "RESP", "STRLEN", "ARRLEN", "OBJLEN", "OBJKEYS"];

/// Each with what comes behind the path.
const WRITES: &[(&str, &[&[u8]])] = &[
    ("SET", &[b"[1]"]),
    ("MERGE", &[br#"{"a":null,"b":{"a":1}}"#]),
    ("NUMINCRBY", &[b"1.5"]),
    ("NUMMULTBY", &[b"-2"]),
    ("TOGGLE", &[]),
    ("STRAPPEND", &[br#""y""#]),
    ("ARRAPPEND", &[b"1", b"{}"]),
    ("ARRINSERT", &[b"-1", b"null"]),
    ("ARRPOP", &[b"0"]),
    ("ARRTRIM", &[b"1", b"-1"]),
    ("CLEAR", &[]),
    ("DEL", &[]),
];

fuzz_target!(|input: &[u8]| {
    let mut halves = input.splitn(2, |&byte| byte == b'\n');
    let (path, text) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let mut bench = bench();
    if bench.run_args(&[b"JSON.SET", b"k", b"$", text]) != Reply::OK {
        assert_eq!(bench.run_args(&[b"JSON.SET", b"k", b"$", DOCUMENT]), Reply::OK);
    }
    for name in READS {
        bench.run_args(&[format!("JSON.{name}").as_bytes(), b"k", path]);
    }
    bench.run_args(&[b"JSON.ARRINDEX", b"k", path, b"1"]);
    // One write for each input, or most of the time would go into checking the others.
    let (name, rest) = WRITES[input.len() % WRITES.len()];
    let name = format!("JSON.{name}");
    bench.run_args(&[&[name.as_bytes(), b"k", path], rest].concat());
    if let Reply::Bulk(left) = bench.run_args(&[b"JSON.GET", b"k"]) {
        serde_json::from_slice::<Value>(&left).unwrap();
    }
});
