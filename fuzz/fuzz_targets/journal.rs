//! Effects as the log keeps them: those of the commands of an input, with patches, and the input itself. Whatever they say,
//! no panic, and no more memory than they are long; and twice the same effects make twice the same keys.
#![no_main]

use dormouse_engine::{Keyspace, Nothing, Run, Users, find, replay};
use dormouse_fuzz::{bench, parts, patched};
use libfuzzer_sys::fuzz_target;

/// Memory that the bytes of a log may take when they are read: a bit set far out in a string takes all before it.
const BYTES_MAX: usize = 64 << 20;

fn keys(journals: &[Vec<u8>]) -> (Vec<(Vec<u8>, u64, String)>, bool) {
    let (mut space, mut users) = (Keyspace::default(), Users::default());
    let mut seq = 0;
    let whole = journals.iter().all(|journal| {
        seq += 1;
        replay(&mut space, &mut users, &Nothing, seq, journal).is_ok()
    });
    assert!(space.memory_bytes() < BYTES_MAX);
    let all = space.iter().map(|(key, entry)| {
        let value = entry.value.as_ref().map_or_else(String::new, |value| value.canonical());
        (key.to_vec(), entry.expires_at, value)
    });
    let mut all: Vec<_> = all.collect();
    all.sort();
    (all, whole)
}

fuzz_target!(|input: &[u8]| {
    keys(&[input.to_vec()]);

    let (commands, patches) = parts(input);
    let mut bench = bench();
    let mut journals = Vec::new();
    for args in commands {
        let Ok(found) = find(&args) else { continue };
        if matches!(found.command.run, Run::Handler(_)) && !found.command.is_script() {
            let _ = bench.attempt(&args);
            journals.push(std::mem::take(&mut bench.journal));
        }
    }
    let (first, whole) = keys(&journals);
    assert!(whole, "our own journal replays");
    assert_eq!(keys(&journals).0, first);
    if let Some(last) = journals.last_mut() {
        *last = patched(std::mem::take(last), patches);
    }
    keys(&journals);
});
