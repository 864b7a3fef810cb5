//! Scripts and libraries of any text: they end, stay within their memory, and leave nothing behind that a rollback or the
//! replay of their effects would not.
#![no_main]

use dormouse_fuzz::bench;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &[u8]| {
    let mut bench = bench();
    bench.run("HSET h f 1 g x");
    bench.run("RPUSH l a b c");
    let _ = bench.attempt(&[b"EVAL", text, b"2", b"h", b"l", b"1", b"x"]);
    let library = [b"#!lua name=l\n", text].concat();
    let _ = bench.attempt(&[b"FUNCTION", b"LOAD", b"REPLACE", &library]);
    let _ = bench.attempt(&[b"FCALL", b"f", b"1", b"h", b"1"]);
});
