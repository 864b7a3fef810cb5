//! Rules of users, as the log and the store keep them, one on each line of the input: whatever they say, no panic; and a
//! user they make is the same once it was kept.
#![no_main]

use dormouse_engine::{Reader, User};
use libfuzzer_sys::fuzz_target;

/// A length or count, seven bits to a byte.
fn put(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn kept(user: &User) -> Vec<u8> {
    let mut bytes = Vec::new();
    user.write(&mut bytes);
    bytes
}

fuzz_target!(|input: &[u8]| {
    // The bytes as they are.
    let _ = User::read(b"user", &mut Reader::new(input));

    let rules: Vec<&[u8]> = input.split(|&byte| byte == b'\n').collect();
    let mut bytes = vec![1];
    put(&mut bytes, rules.len());
    for rule in rules {
        put(&mut bytes, rule.len());
        bytes.extend_from_slice(rule);
    }
    put(&mut bytes, 0);
    let Ok(user) = User::read(b"user", &mut Reader::new(&bytes)) else { return };
    let bytes = kept(&user);
    let again = User::read(b"user", &mut Reader::new(&bytes)).expect("what was written reads back");
    assert_eq!(kept(&again), bytes);
});
