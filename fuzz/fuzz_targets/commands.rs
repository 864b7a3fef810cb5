//! Commands of all kinds on one database: no panic, no reply beyond its limit; and what the bench checks of each one, that
//! it can be taken back, that it is a function of its moment, and that replaying its effects ends in the same place.
#![no_main]

use dormouse_engine::{Run, find};
use dormouse_fuzz::{bench, parts};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| {
    let mut bench = bench();
    for args in parts(input).0 {
        let Ok(found) = find(&args) else { continue };
        if matches!(found.command.run, Run::Handler(_)) {
            // One that would wait just goes on.
            let _ = bench.attempt(&args);
            bench.pass_ms(1);
        }
    }
});
