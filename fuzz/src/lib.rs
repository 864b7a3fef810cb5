//! What several targets need: a database in a struct with limits that keep a run small, and commands as lines of text.
//!
//! Commands are lines of words, as the conformance pages have them, so that those pages are the first corpus. Behind a NUL
//! may stand patches: three bytes each, a place (little endian) and what is put there.

use dormouse_engine::testing::{Bench, Bounded};
use dormouse_engine::{Facts, Limits};

/// Commands of one input; more only make it slow.
const COMMANDS_MAX: usize = 24;
/// Questions a script asks its watchdog before it is ended.
const ASKS_MAX: u32 = 100;

/// An empty database with small limits, whose scripts end.
pub fn bench() -> Bench {
    let mut bench = Bench::new();
    bench.hub.limits = Limits {
        string_bytes_max: 128 << 10,
        record_bytes_max: 256 << 10,
        journal_bytes_max: 1 << 20,
        script_bytes_max: 16 << 20,
        library_load_kinstructions_max: 200,
        reply_bytes_max: 256 << 10,
        ..Limits::default()
    };
    bench.hub.facts = Facts { allows_debug: true, ..Facts::default() };
    bench.watchdog = Bounded::new(ASKS_MAX);
    bench
}

/// The commands of an input, and the patches behind them.
pub fn parts(input: &[u8]) -> (Vec<Vec<&[u8]>>, &[u8]) {
    let mut halves = input.splitn(2, |&byte| byte == 0);
    let (text, patches) = (halves.next().unwrap_or_default(), halves.next().unwrap_or_default());
    let lines = text.split(|&byte| byte == b'\n').map(words).filter(|words| !words.is_empty());
    (lines.take(COMMANDS_MAX).collect(), patches)
}

/// Bytes with patches put in, wherever there is such a place.
pub fn patched(mut bytes: Vec<u8>, patches: &[u8]) -> Vec<u8> {
    for patch in patches.chunks_exact(3) {
        let at = usize::from(u16::from_le_bytes([patch[0], patch[1]]));
        if let Some(byte) = bytes.get_mut(at) {
            *byte = patch[2];
        }
    }
    bytes
}

/// The words of a line; quotes hold one together.
fn words(line: &[u8]) -> Vec<&[u8]> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii();
    while let Some(&first) = rest.first() {
        let quoted = matches!(first, b'\'' | b'"');
        let body = if quoted { &rest[1..] } else { rest };
        let ends = |byte: &u8| if quoted { *byte == first } else { byte.is_ascii_whitespace() };
        let end = body.iter().position(ends).unwrap_or(body.len());
        words.push(&body[..end]);
        rest = body.get(end + 1..).unwrap_or_default().trim_ascii_start();
    }
    words
}
