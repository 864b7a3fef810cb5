//! Payloads of RESTORE: whatever the bytes, no panic and no more memory than allowed; and a value that is accepted is the
//! same after DUMP and RESTORE. The input is a payload without its footer, as no fuzzer guesses a checksum.
#![no_main]

use dormouse_engine::Type;
use dormouse_engine::rdb::{dump, restore, seal};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 1 << 20;

fuzz_target!(|body: &[u8]| {
    // The bytes as they are: refused by the footer, if not by their length.
    let _ = restore(body, BYTES_MAX);

    let Ok(value) = restore(&seal(body.to_vec()), BYTES_MAX) else {
        return;
    };
    // What is counted per element is less than what one takes, but not by much.
    assert!(value.memory_bytes() < 8 * BYTES_MAX);
    let payload = dump(&value).expect("what was restored can be dumped");
    let again = restore(&payload, BYTES_MAX).unwrap();
    // Of a stream less is written than is read: what was removed, and when a consumer was active.
    if value.kind() == Type::Stream {
        assert_eq!(dump(&again).as_ref(), Some(&payload));
    } else {
        assert_eq!(again.canonical(), value.canonical());
    }
});
