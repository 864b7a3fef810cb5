//! Replies as the JSON the SDKs decode: `{"result":…}` or `{"error":"…"}`.
//!
//! Inside a result there are only strings, integers, nulls and arrays; doubles are strings, maps are flat. With
//! [`Encoding::Base64`] every string at every depth is encoded, `OK` included, except where the whole result is the status
//! `OK`: the TypeScript SDK decodes any string in an array and keeps only that one as it is. Errors are always plain text.
//! An error inside an array, which JSON has no place for, becomes the error of the whole reply.

use std::fmt::Write as _;

use base64_simd::STANDARD;

use super::scan::{first_word, is_special, plain_run};
use crate::{CommandError, Double, Reply};

/// How strings of a result are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// As JSON text; what is not UTF-8 becomes U+FFFD.
    #[default]
    Text,
    /// As padded base64 of their bytes, which carries anything.
    Base64,
}

/// Appends `reply` as one JSON object.
///
/// ```
/// use dormouse_proto::{Reply, rest::{Encoding, encode_json}};
/// let mut out = Vec::new();
/// encode_json(&Reply::bulk("OK"), Encoding::Base64, &mut out);
/// assert_eq!(out, br#"{"result":"T0s="}"#);
/// ```
pub fn encode_json(reply: &Reply, encoding: Encoding, out: &mut Vec<u8>) {
    let start = out.len();
    out.extend_from_slice(br#"{"result":"#);
    let written = match reply {
        Reply::Status(text) if text.as_slice() == b"OK" => {
            out.extend_from_slice(br#""OK""#);
            Ok(())
        }
        reply => value(reply, encoding, out),
    };
    if let Err(error) = written {
        out.truncate(start);
        out.extend_from_slice(br#"{"error":"#);
        failure(error, out);
    }
    out.push(b'}');
}

/// Appends replies as a JSON array of objects, as a pipeline or a transaction is answered.
pub fn encode_json_list<'a>(replies: impl IntoIterator<Item = &'a Reply>, encoding: Encoding, out: &mut Vec<u8>) {
    out.push(b'[');
    for (index, reply) in replies.into_iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        encode_json(reply, encoding, out);
    }
    out.push(b']');
}

/// Appends `text` as a JSON string in quotes; what is not UTF-8 becomes U+FFFD.
pub fn write_json_string(text: &[u8], out: &mut Vec<u8>) {
    out.reserve(text.len() + 10);
    out.push(b'"');
    let start = out.len();
    let maybe_not_ascii = escape(text, out);
    // Nearly every text is UTF-8, so this is asked last, and only where it can be otherwise.
    if maybe_not_ascii && std::str::from_utf8(text).is_err() {
        out.truncate(start);
        for chunk in text.utf8_chunks() {
            escape(chunk.valid().as_bytes(), out);
            if !chunk.invalid().is_empty() {
                out.extend_from_slice("\u{fffd}".as_bytes());
            }
        }
    }
    out.push(b'"');
}

/// Stops at the first error, which then speaks for the whole reply.
fn value<'a>(reply: &'a Reply, encoding: Encoding, out: &mut Vec<u8>) -> Result<(), &'a CommandError> {
    match reply {
        Reply::Status(text) | Reply::Bulk(text) | Reply::Verbatim(text) | Reply::BigNumber(text) => {
            string(text, encoding, out);
        }
        Reply::Integer(value) => integer(*value, out),
        Reply::Bool(value) => integer(i64::from(*value), out),
        Reply::Double(value) => {
            Double(*value).with_exact_text(|text| string(text.as_bytes(), encoding, out));
        }
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
            return array(items.iter(), encoding, out);
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            return array(pairs.iter().flat_map(|(key, value)| [key, value]), encoding, out);
        }
        Reply::Keyed(pairs) => return array_of_pairs(pairs, encoding, out),
        Reply::Attributed(both) => return value(&both.reply, encoding, out),
        Reply::Error(error) => return Err(error),
    }
    Ok(())
}

fn array_of_pairs<'a>(
    pairs: &'a [(Reply, Reply)],
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), &'a CommandError> {
    out.push(b'[');
    for (index, (first, second)) in pairs.iter().enumerate() {
        if index > 0 {
            out.push(b',');
        }
        array([first, second].into_iter(), encoding, out)?;
    }
    out.push(b']');
    Ok(())
}

fn array<'a>(
    items: impl Iterator<Item = &'a Reply>,
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), &'a CommandError> {
    out.push(b'[');
    for (index, item) in items.enumerate() {
        if index > 0 {
            out.push(b',');
        }
        value(item, encoding, out)?;
    }
    out.push(b']');
    Ok(())
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

#[inline]
fn string(text: &[u8], encoding: Encoding, out: &mut Vec<u8>) {
    match encoding {
        Encoding::Text => write_json_string(text, out),
        Encoding::Base64 => base64(text, out),
    }
}

fn base64(bytes: &[u8], out: &mut Vec<u8>) {
    out.reserve(STANDARD.encoded_length(bytes.len()) + 2);
    out.push(b'"');
    STANDARD.encode_append(bytes, out);
    out.push(b'"');
}

fn failure(error: &CommandError, out: &mut Vec<u8>) {
    let mut text = String::new();
    write!(text, "{error}").expect("a string takes whatever is written to it");
    write_json_string(text.as_bytes(), out);
}

/// Copies what is plain and escapes the rest. Says whether there may be bytes that are not ASCII.
fn escape(text: &[u8], out: &mut Vec<u8>) -> bool {
    let run = plain_run(text);
    let (plain, rest) = text.split_at(run.bytes);
    out.extend_from_slice(plain);
    run.maybe_not_ascii | escape_densely(rest, out)
}

/// The same for text that has shown a special byte, so that more must be expected soon: block by block it is written
/// into a space that holds whatever a block can become, as growing `out` at each step would cost more than the escaping.
fn escape_densely(text: &[u8], out: &mut Vec<u8>) -> bool {
    const BLOCK_BYTES: usize = 64;
    let mut space = [0; BLOCK_BYTES * LONGEST_ESCAPE];
    let mut maybe_not_ascii = false;
    for mut block in text.chunks(BLOCK_BYTES) {
        let mut used = 0;
        while let Some(word) = first_word(block) {
            maybe_not_ascii |= word.maybe_not_ascii;
            space[used..used + 8].copy_from_slice(&word.bytes);
            used += word.plain;
            block = &block[word.plain..];
            if word.plain < 8 {
                used += escape_byte(block[0], &mut space[used..]);
                block = &block[1..];
            }
        }
        for &byte in block {
            maybe_not_ascii |= !byte.is_ascii();
            if is_special(byte) {
                used += escape_byte(byte, &mut space[used..]);
            } else {
                space[used] = byte;
                used += 1;
            }
        }
        out.extend_from_slice(&space[..used]);
    }
    maybe_not_ascii
}

/// `\u0000`.
const LONGEST_ESCAPE: usize = 6;

/// Writes a special byte as JSON has it; returns how many bytes that takes.
#[inline]
fn escape_byte(byte: u8, space: &mut [u8]) -> usize {
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => return escape_control(byte, space),
    };
    space[..2].copy_from_slice(&[b'\\', short]);
    2
}

fn escape_control(byte: u8, space: &mut [u8]) -> usize {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let [high, low] = [byte >> 4, byte & 15].map(|digit| HEX[usize::from(digit)]);
    space[..LONGEST_ESCAPE].copy_from_slice(&[b'\\', b'u', b'0', b'0', high, low]);
    LONGEST_ESCAPE
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::Blob;

    fn json(reply: &Reply, encoding: Encoding) -> String {
        let mut out = b"before".to_vec();
        encode_json(reply, encoding, &mut out);
        assert!(out.starts_with(b"before"));
        String::from_utf8(out.split_off(6)).unwrap()
    }

    #[test]
    fn each_reply_has_its_json_in_both_encodings() {
        let cases = [
            (Reply::OK, r#""OK""#, r#""OK""#),
            (Reply::status("PONG"), r#""PONG""#, r#""UE9ORw==""#),
            (Reply::bulk("OK"), r#""OK""#, r#""T0s=""#),
            (Reply::Array(vec![Reply::OK]), r#"["OK"]"#, r#"["T0s="]"#),
            (Reply::Array(vec![Reply::Array(vec![Reply::OK])]), r#"[["OK"]]"#, r#"[["T0s="]]"#),
            (Reply::bulk(""), r#""""#, r#""""#),
            (Reply::bulk("a"), r#""a""#, r#""YQ==""#),
            (Reply::bulk(b"\xff\xfe?"), "\"\u{fffd}\u{fffd}?\"", r#""//4/""#),
            (Reply::Verbatim(Blob::from(b"hi")), r#""hi""#, r#""aGk=""#),
            (Reply::Integer(-7), "-7", "-7"),
            (Reply::Integer(i64::MAX), "9223372036854775807", "9223372036854775807"),
            (Reply::Double(1.0), r#""1""#, r#""MQ==""#),
            (Reply::Double(0.837_574_474_383_931_3), r#""0.83757447438393129""#, r#""MC44Mzc1NzQ0NzQzODM5MzEyOQ==""#),
            (Reply::Double(1e21), r#""1e+21""#, r#""MWUrMjE=""#),
            (Reply::Double(f64::NEG_INFINITY), r#""-inf""#, r#""LWluZg==""#),
            (Reply::BigNumber(Blob::from_static(b"-123")), r#""-123""#, r#""LTEyMw==""#),
            (Reply::Bool(true), "1", "1"),
            (Reply::Bool(false), "0", "0"),
            (Reply::Null, "null", "null"),
            (Reply::NullArray, "null", "null"),
            (Reply::Array(vec![]), "[]", "[]"),
            (Reply::Set(vec![Reply::Integer(1), Reply::Null]), "[1,null]", "[1,null]"),
            (Reply::Push(vec![Reply::Integer(1)]), "[1]", "[1]"),
            (Reply::Many(vec![Reply::Integer(1), Reply::Integer(2)]), "[1,2]", "[1,2]"),
            (Reply::Map(vec![]), "[]", "[]"),
            (
                Reply::Map(vec![(Reply::bulk("f"), Reply::Integer(1)), (Reply::bulk("g"), Reply::Null)]),
                r#"["f",1,"g",null]"#,
                r#"["Zg==",1,"Zw==",null]"#,
            ),
            (Reply::Pairs(vec![(Reply::bulk("m"), Reply::Double(0.1))]), r#"["m","0.1"]"#, r#"["bQ==","MC4x"]"#),
            (Reply::Keyed(vec![(Reply::bulk("m"), Reply::Integer(1))]), r#"[["m",1]]"#, r#"[["bQ==",1]]"#),
        ];
        for (reply, text, base64) in cases {
            let result = |value: &str| format!(r#"{{"result":{value}}}"#);
            assert_eq!(json(&reply, Encoding::Text), result(text), "{reply:?}");
            assert_eq!(json(&reply, Encoding::Base64), result(base64), "{reply:?}");
        }
    }

    #[test]
    fn errors_are_plain_text_and_speak_for_the_whole_reply() {
        let error = || Reply::Error(CommandError::text("ERR say \"what\""));
        for reply in [
            error(),
            Reply::Array(vec![Reply::OK, error(), Reply::Null]),
            Reply::Map(vec![(Reply::OK, Reply::Array(vec![error()]))]),
        ] {
            for encoding in [Encoding::Text, Encoding::Base64] {
                assert_eq!(json(&reply, encoding), r#"{"error":"ERR say \"what\""}"#);
            }
        }
    }

    #[test]
    fn lists_hold_one_object_each() {
        let list = |replies: &[Reply]| {
            let mut out = Vec::new();
            encode_json_list(replies, Encoding::Base64, &mut out);
            String::from_utf8(out).unwrap()
        };
        assert_eq!(list(&[]), "[]");
        let error = Reply::Error(CommandError::Syntax);
        assert_eq!(
            list(&[Reply::OK, error, Reply::Null]),
            r#"[{"result":"OK"},{"error":"ERR syntax error"},{"result":null}]"#
        );
    }

    #[test]
    fn special_characters_are_escaped() {
        for (text, expected) in [
            ("a\"b\\c/", r#"a\"b\\c/"#),
            ("\n\r\t\x08\x0c", r"\n\r\t\b\f"),
            ("\0\x1f\x7f", "\\u0000\\u001f\x7f"),
            ("é😀\u{2028}", "é😀\u{2028}"),
        ] {
            let mut out = Vec::new();
            write_json_string(text.as_bytes(), &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("\"{expected}\""));
        }
    }

    #[test]
    fn base64_of_any_length_is_padded() {
        for (bytes, text) in [("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg==")] {
            let mut out = b"x".to_vec();
            base64(bytes.as_bytes(), &mut out);
            assert_eq!(out, format!("x\"{text}\"").as_bytes());
        }
    }

    proptest! {
        #[test]
        fn text_reads_back_as_the_lossy_string(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            write_json_string(&bytes, &mut out);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, String::from_utf8_lossy(&bytes));
        }

        #[test]
        fn strings_read_back(text in "\\PC{0,40}[\0-\x1f\"\\\\]{0,3}\\PC{0,80}") {
            let mut out = Vec::new();
            write_json_string(text.as_bytes(), &mut out);
            let read: String = serde_json::from_slice(&out).unwrap();
            prop_assert_eq!(read, text);
        }

        #[test]
        fn base64_reads_back(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut out = Vec::new();
            base64(&bytes, &mut out);
            let decoded = STANDARD.decode_to_vec(&out[1..out.len() - 1]).unwrap();
            prop_assert_eq!(decoded, bytes);
        }
    }
}
