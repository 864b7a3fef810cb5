//! Documents, with serde as the judge of what is JSON: what is taken is given back as the same document, and that text is
//! taken again.
#![no_main]

use dormouse_fuzz::bench;
use dormouse_proto::Reply;
use libfuzzer_sys::fuzz_target;
use serde_json::Value;

/// Half a surrogate pair, a number beyond a double: what serde says of them depends on what it is asked to make.
fn is_of_a_kind(error: &serde_json::Error) -> bool {
    let text = error.to_string();
    ["surrogate", "hex escape", "number out of range", "recursion"].iter().any(|part| text.contains(part))
}

fuzz_target!(|input: &[u8]| {
    let mut bench = bench();
    let taken = bench.run_args(&[b"JSON.SET", b"k", b"$", input]) == Reply::OK;
    let judged = match serde_json::from_slice::<Value>(input) {
        Ok(value) => value,
        Err(error) => {
            assert!(!taken || is_of_a_kind(&error), "{error}");
            return;
        }
    };
    assert!(taken, "{judged} was refused");
    let Reply::Bulk(text) = bench.run_args(&[b"JSON.GET", b"k"]) else { panic!("no document") };
    assert_eq!(serde_json::from_slice::<Value>(&text).unwrap(), judged);
    assert_eq!(bench.run_args(&[b"JSON.SET", b"k", b"$", &text]), Reply::OK);
    assert_eq!(bench.run_args(&[b"JSON.GET", b"k"]), Reply::Bulk(text));
    bench.run_args(&[b"JSON.MERGE", b"k", b"$", input]);
    bench.run_args(&[b"JSON.RESP", b"k"]);
});
