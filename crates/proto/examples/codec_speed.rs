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
    time(&format!("JSON body, {what}: serde, owned strings"), || {
        let args = serde_json::from_slice::<Vec<String>>(black_box(&body));
        black_box(args.is_ok());
    });
    if !value.contains(['"', '\\']) {
        time(&format!("JSON body, {what}: serde, borrowed"), || {
            let args = serde_json::from_slice::<Vec<&str>>(black_box(&body));
            black_box(args.is_ok());
        });
    }
    let mut command = Vec::new();
    let args = [b"SET".as_slice(), b"user:1000:name", value.as_bytes()];
    encode_command(args, &mut command);
    let mut parser = Parser::new(RespLimits::default());
    time(&format!("RESP command, {what}: ours"), || {
        let parsed = parser.parse(black_box(&command));
        black_box(parsed.is_ok());
        parser.with_args(&command, |args| {
            black_box(args);
        });
    });
}

fn fifty_commands() {
    let value = "v".repeat(100);
    let commands = vec![["SET", "user:1000:name", &value]; 50];
    let body = serde_json::to_vec(&commands).expect("strings are JSON");
    let limits = Limits::default();
    let mut scratch = Vec::new();
    time("JSON pipeline of 50: ours", || {
        let commands = parse_pipeline(black_box(&body), &mut scratch, &limits);
        black_box(commands.is_ok());
    });
    time("JSON pipeline of 50: serde, borrowed", || {
        let commands = serde_json::from_slice::<Vec<Vec<&str>>>(black_box(&body));
        black_box(commands.is_ok());
    });
}

fn replies(what: &str, value: &str) {
    let reply = Reply::Bulk(Blob::from(value.as_bytes()));
    let mut out = Vec::new();
    for (name, encoding) in [("text", Encoding::Text), ("base64", Encoding::Base64)] {
        time(&format!("JSON reply, {what}: ours, {name}"), || {
            out.clear();
            encode_json(black_box(&reply), encoding, &mut out);
        });
    }
    time(&format!("JSON reply, {what}: serde, text"), || {
        out.clear();
        let written = serde_json::to_writer(&mut out, black_box(value));
        black_box(written.is_ok());
    });
    time(&format!("RESP reply, {what}: ours"), || {
        out.clear();
        encode(black_box(&reply), Version::Resp2, &mut out);
    });
}

fn main() {
    let small = "v".repeat(100);
    let large = "v".repeat(10 * 1024);
    // What the SDKs send for an object: JSON inside a JSON string.
    let object = r#"{"id":1000,"name":"Ann","tags":["a","b"]},"#.repeat(240);
    for (what, value) in [("100 B", &small), ("10 KiB", &large), ("10 KiB of JSON", &object)] {
        one_command(what, value);
        replies(what, value);
    }
    fifty_commands();
    time("path /get/user:1000:name", || {
        let command = parse_path(black_box(b"/get/user:1000:name"), None, 1000);
        black_box(command.map(|command| command.args(b"").len()).is_ok());
    });
}
