//! Replies over RESP: what can be read can be written in every form, and is then read as the same. A reply that is whole
//! needs no byte behind it, and no part of it is whole.
#![no_main]

use dormouse_proto::resp::{Version, decode_reply, encode};
use dormouse_proto::rest::{Encoding, encode_json};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    let Ok(Some((reply, consumed))) = decode_reply(bytes) else {
        return;
    };
    assert_eq!(decode_reply(&bytes[..consumed - 1]), Ok(None));

    for version in [Version::Resp2, Version::Resp3] {
        let mut first = Vec::new();
        encode(&reply, version, &mut first);
        let (again, length) = decode_reply(&first).unwrap().unwrap();
        assert_eq!(length, first.len());
        let mut second = Vec::new();
        encode(&again, version, &mut second);
        assert_eq!(first, second);
    }
    for encoding in [Encoding::Text, Encoding::Base64] {
        let mut json = Vec::new();
        encode_json(&reply, encoding, &mut json);
        match serde_json::from_slice::<serde_json::Value>(&json) {
            Ok(value) => assert_eq!(value.as_object().unwrap().len(), 1),
            // Arrays within arrays: the judge gives up earlier than we do.
            Err(error) => assert!(error.to_string().contains("recursion limit"), "{error}"),
        }
    }
});
