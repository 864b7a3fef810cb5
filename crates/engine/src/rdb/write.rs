//! A value as a payload, in the plainest encoding of its type: a count and that many strings. Streams have their own file.

use dormouse_proto::{Blob, parse_integer};

use super::{encoding, form, module, seal, stream};
use crate::args::integer_text;
use crate::types::hash::Hash;
use crate::types::json;
use crate::value::{Kind, Value};

/// Longest text that may be written as an integer of 32 bits: a sign and ten digits.
const INTEGER_TEXT_BYTES_MAX: usize = 11;

/// What `DUMP` answers; nothing for an array, whose payload of Redis 8.8 is not documented.
pub fn dump(value: &Value) -> Option<Vec<u8>> {
    body(value).map(seal)
}

/// The same without its footer, as it stands in a file.
pub fn body(value: &Value) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(value.memory_bytes() / 2 + 32);
    match value {
        Value::String(string) => {
            out.push(encoding::STRING);
            put_string(&mut out, string);
        }
        Value::List(list) => put_all(&mut out, encoding::LIST, list.len(), list.iter()),
        Value::Set(set) => put_all(&mut out, encoding::SET, set.len(), set.iter()),
        Value::Hash(hash) if hash.has_deadlines() => put_hash_with_deadlines(&mut out, hash),
        Value::Hash(hash) => {
            let parts = hash.iter().flat_map(|(field, value)| [field, value]);
            put_all(&mut out, encoding::HASH, hash.len(), parts);
        }
        Value::ZSet(zset) => {
            out.push(encoding::ZSET);
            put_length(&mut out, zset.len());
            // From the highest score down: so Redis adds each member at the front, which is where it looks first.
            for (member, score) in zset.iter().rev() {
                put_string(&mut out, member);
                out.extend_from_slice(&score.to_le_bytes());
            }
        }
        Value::Stream(stream) => stream::write(stream, &mut out),
        Value::Json(document) => {
            out.push(encoding::MODULE);
            put_length(&mut out, module::JSON as usize);
            put_length(&mut out, module::STRING as usize);
            put_string(&mut out, &json::plain(document.root()));
            put_length(&mut out, module::END as usize);
        }
        Value::Array(_) => return None,
    }
    Some(out)
}

fn put_hash_with_deadlines(out: &mut Vec<u8>, hash: &Hash) {
    let first = hash.next_due().unwrap_or(0);
    out.push(encoding::HASH_DEADLINES);
    out.extend_from_slice(&first.to_le_bytes());
    put_length(out, hash.len());
    for (field, value) in hash.iter() {
        let distance = match hash.deadline(field) {
            0 => 0,
            at => at - first + 1,
        };
        put_length(out, distance as usize);
        put_string(out, field);
        put_string(out, value);
    }
}

fn put_all<'a>(out: &mut Vec<u8>, encoding: u8, count: usize, strings: impl Iterator<Item = &'a Blob>) {
    out.push(encoding);
    put_length(out, count);
    strings.for_each(|string| put_string(out, string));
}

/// A length: its first two bits say how many bytes it takes.
pub(super) fn put_length(out: &mut Vec<u8>, length: usize) {
    match length {
        0..0x40 => out.push(length as u8),
        0x40..0x4000 => out.extend_from_slice(&(length as u16 | 0x4000).to_be_bytes()),
        _ if u32::try_from(length).is_ok() => {
            out.push(0x80);
            out.extend_from_slice(&(length as u32).to_be_bytes());
        }
        _ => {
            out.push(0x81);
            out.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
}

/// A string: a small integer in its own form, as Redis writes it, anything else as it is.
pub(super) fn put_string(out: &mut Vec<u8>, string: &[u8]) {
    if let Some(value) = small_integer(string) {
        return put_integer(out, value);
    }
    put_length(out, string.len());
    out.extend_from_slice(string);
}

/// The integer that a string spells in the one way in which it is printed.
fn small_integer(string: &[u8]) -> Option<i32> {
    if string.len() > INTEGER_TEXT_BYTES_MAX {
        return None;
    }
    let value = i32::try_from(parse_integer(string)?).ok()?;
    (integer_text(value.into()).as_slice() == string).then_some(value)
}

fn put_integer(out: &mut Vec<u8>, value: i32) {
    let mut put = |form: u8, bytes: &[u8]| {
        out.push(0xc0 | form);
        out.extend_from_slice(bytes);
    };
    if let Ok(value) = i8::try_from(value) {
        put(form::INT8, &value.to_le_bytes());
    } else if let Ok(value) = i16::try_from(value) {
        put(form::INT16, &value.to_le_bytes());
    } else {
        put(form::INT32, &value.to_le_bytes());
    }
}
