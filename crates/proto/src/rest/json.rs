//! Replies as the JSON the SDKs decode: `{"result":…}` or `{"error":"…"}`.
//!
//! Inside a result there are only strings, integers, nulls and arrays; doubles are strings, maps are flat. With
//! [`Encoding::Base64`] every string at every depth is encoded, `OK` included, except where the whole result is the status
//! `OK`: the TypeScript SDK decodes any string in an array and keeps only that one as it is. Errors are always plain text.
//! An error inside an array, which JSON has no place for, becomes the error of the whole reply.

use std::fmt::Write as _;

use base64_simd::{Out, STANDARD};

use super::scan::plain_run;
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
pub fn encode_json_list<'a>(
    replies: impl IntoIterator<Item = &'a Reply>,
    encoding: Encoding,
    out: &mut Vec<u8>,
) {
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
    out.reserve(text.len() + 2);
    out.push(b'"');
    let run = plain_run(text);
    if run.bytes == text.len() && !run.maybe_not_ascii {
        out.extend_from_slice(text);
    } else {
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
fn value<'a>(
    reply: &'a Reply,
    encoding: Encoding,
    out: &mut Vec<u8>,
) -> Result<(), &'a CommandError> {
    match reply {
        Reply::Status(text) | Reply::Bulk(text) | Reply::Verbatim(text) => {
            string(text, encoding, out);
        }
        Reply::Integer(value) => integer(*value, out),
        Reply::Bool(value) => integer(i64::from(*value), out),
        Reply::Double(value) => {
            Double(*value).with_text(|text| string(text.as_bytes(), encoding, out));
        }
        Reply::Null | Reply::NullArray => out.extend_from_slice(b"null"),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) | Reply::Many(items) => {
            return array(items.iter(), encoding, out);
        }
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            return array(
                pairs.iter().flat_map(|(key, value)| [key, value]),
                encoding,
                out,
            );
        }
        Reply::Error(error) => return Err(error),
    }
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
    let encoded = STANDARD.encoded_length(bytes.len());
    out.reserve(encoded + 2);
    out.push(b'"');
    let start = out.len();
    out.resize(start + encoded, 0);
    let _ = STANDARD.encode(bytes, Out::from_slice(&mut out[start..]));
    out.push(b'"');
}

fn failure(error: &CommandError, out: &mut Vec<u8>) {
    let mut text = String::new();
    write!(text, "{error}").expect("a string takes whatever is written to it");
    write_json_string(text.as_bytes(), out);
}

/// Copies runs of plain bytes and escapes what lies between them.
fn escape(mut text: &[u8], out: &mut Vec<u8>) {
    loop {
        let (plain, rest) = text.split_at(plain_run(text).bytes);
        out.extend_from_slice(plain);
        let Some((&special, rest)) = rest.split_first() else {
            return;
        };
        escape_byte(special, out);
        text = rest;
    }
}

fn escape_byte(byte: u8, out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    let short = match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        8 => b'b',
        12 => b'f',
        _ => {
            out.extend_from_slice(b"\\u00");
            out.push(HEX[usize::from(byte >> 4)]);
            out.push(HEX[usize::from(byte & 15)]);
            return;
        }
    };
    out.extend_from_slice(&[b'\\', short]);
}
