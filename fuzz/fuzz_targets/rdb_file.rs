//! RDB files: whatever the bytes, no panic, no value larger than allowed, and every item of a file that is accepted to its end can
//! be written and read again. The input is a file without head and checksum, as no fuzzer guesses one.
#![no_main]

use dormouse_engine::rdb::{FileLimits, FileReader, FileVersion, FileWriter, Found, Item, body};
use libfuzzer_sys::fuzz_target;

const LIMITS: FileLimits = FileLimits { key_bytes_max: 1 << 10, value_bytes_max: 1 << 20, library_bytes_max: 1 << 12 };

fn values(file: &[u8]) -> Option<Vec<(Vec<u8>, u64, Vec<u8>)>> {
    let mut reader = FileReader::new(file, LIMITS).ok()?;
    let mut all = Vec::new();
    loop {
        match reader.next_item().ok()? {
            Item::End => return Some(all),
            Item::Key { key, expires_at, value } => match value.decode(LIMITS.value_bytes_max).ok()? {
                Found::Value(value) => {
                    assert!(value.memory_bytes() < 8 * LIMITS.value_bytes_max);
                    all.push((key, expires_at, body(&value).expect("what was read can be written")));
                }
                Found::Empty | Found::Module(_) => {}
            },
            Item::Index(_) | Item::Library(_) | Item::ModuleAux(_) => {}
        }
    }
}

fuzz_target!(|parts: &[u8]| {
    drop(values(parts));
    for head in [&b"REDIS0004"[..], b"VALKEY080"] {
        // Valkey's has a checksum: none is eight zeros.
        let file = [head, parts, b"\xff", &[0; 8][..if head.starts_with(b"V") { 8 } else { 0 }]].concat();
        let Some(all) = values(&file) else { continue };
        let mut again = FileWriter::new(Vec::new(), FileVersion::Redis(12), &[]).expect("memory takes all");
        for (key, expires_at, body) in &all {
            again.key(key, *expires_at, body).expect("memory takes all");
        }
        let (_, bytes) = again.finish().expect("memory takes all");
        assert_eq!(values(&bytes), Some(all));
    }
});
