//! Values as the store keeps them: those that the commands of an input make, with patches, and the input itself. Whatever
//! the bytes, no panic; and a value that is read is the same after it was written.
#![no_main]

use dormouse_engine::{Libraries, Record, Run, find};
use dormouse_fuzz::{bench, parts, patched};
use libfuzzer_sys::fuzz_target;

fn comes_back(bytes: &[u8]) {
    let Ok(record) = Record::read(bytes) else { return };
    let mut written = Vec::new();
    Record::write(&record.value, record.expires_at, record.seq, &mut written);
    let again = Record::read(&written).expect("what was written reads back");
    assert_eq!(again.value.canonical(), record.value.canonical());
    assert_eq!((again.expires_at, again.seq), (record.expires_at, record.seq));
}

fuzz_target!(|input: &[u8]| {
    comes_back(input);
    let _ = Libraries::read(input);

    let (commands, patches) = parts(input);
    let mut bench = bench();
    for args in commands {
        let Ok(found) = find(&args) else { continue };
        if matches!(found.command.run, Run::Handler(_)) && !found.command.is_script() {
            let _ = bench.attempt(&args);
        }
    }
    for record in bench.records() {
        comes_back(&record);
        comes_back(&patched(record, patches));
    }
});
