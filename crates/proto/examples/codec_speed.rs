//! How long the codecs take, beside what serde takes for the same JSON: `cargo run --release --example codec_speed`.

#![expect(clippy::print_stdout, reason = "printing figures is what it is for")]

use std::hint::black_box;
use std::time::Instant;

use dormouse_proto::resp::{Limits as RespLimits, Parser, Version, encode, encode_command};
use dormouse_proto::rest::{Encoding, Limits, encode_json, parse_command, parse_path, parse_pipeline};
use dormouse_proto::{Blob, Reply};

const ROUNDS: u32 = 7;

/// Prints the best of several rounds, in nanoseconds a call.
fn time(what: &str, mut call: impl FnMut()) {
    let mut calls = 1;
    let mut best = f64::INFINITY;
    for _ in 0..ROUNDS {
        let started = Instant::now();
        for _ in 0..calls {
            call();
        }
        let nanos = started.elapsed().as_nanos() as f64;
        best = best.min(nanos / f64::from(calls));
        // Long enough to see past the clock, short enough to end soon.
        calls = (50_000_000.0 / best).clamp(1.0, 5_000_000.0) as u32;
    }
    println!("{what:<58} {best:>10.1} ns");
}

fn command_body(value: &str) -> Vec<u8> {
    serde_json::to_vec(&["SET", "user:1000:name", value]).expect("strings are JSON")
}

fn one_command(what: &str, value: &str) {
    let body = command_body(value);
    let limits = Limits::default();
    let mut scratch = Vec::new();
    time(&format!("JSON body, {what}: ours"), || {
        let args = parse_command(black_box(&body), &mut scratch, &limits);
        black_box(args.is_ok());
    });
    time(&format!("JSON body, {what}: serde Vec<Cow<str>>"), || {
        let args = serde_json::from_slice::<Vec<Text<'_>>>(black_box(&body));
        black_box(args.is_ok());
    });
    if !value.contains(['"', '\\']) {
        time(&format!("JSON body, {what}: serde Vec<&str>"), || {
            let args = serde_json::from_slice::<Vec<&str>>(black_box(&body));
            black_box(args.is_ok());
        });
    }
    let mut command = Vec::new();
    let args = [b"SET".as_slice(), b"user:1000:name", value.as_bytes()];
    encode_command(args.into_iter(), &mut command);
    let mut parser = Parser::new(RespLimits::default());
    time(&format!("RESP command, {what}: ours"), || {
        let parsed = parser.parse(black_box(&command));
        black_box(parsed.is_ok());
        parser.with_args(&command, |args| {
            black_box(args);
        });
    });
}

/// `Cow<str>` alone never borrows in a list; this does.
struct Text<'a>(#[expect(dead_code, reason = "only made")] std::borrow::Cow<'a, str>);

impl<'de> serde_core::Deserialize<'de> for Text<'de> {
    fn deserialize<D: serde_core::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visit;
        impl<'de> serde_core::de::Visitor<'de> for Visit {
            type Value = Text<'de>;
            fn expecting(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                out.write_str("a string")
            }
            fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
                Ok(Text(text.into()))
            }
            fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
                Ok(Text(text.to_owned().into()))
            }
        }
        from.deserialize_str(Visit)
    }
}
