//! Replies as RESP2 or RESP3 text, appended to a write buffer.
//!
//! RESP2 knows no maps, sets, doubles or booleans, so they are flattened the way Redis flattens them. Nothing is allocated
//! beyond the growth of the buffer itself. Texts that must fit one line lose their line breaks here, whoever made them: a
//! stray one would make the client read our text as the next reply.

use std::io::Write as _;

use super::Version;
use crate::{Blob, CommandError, Double, Reply};

/// Appends `reply` to `out`.
///
/// ```
/// use dormouse_proto::{Reply, resp::{Version, encode}};
/// let mut out = Vec::new();
/// let reply = Reply::Pairs(vec![(Reply::bulk("m"), Reply::Double(1.5))]);
/// encode(&reply, Version::Resp2, &mut out);
/// assert_eq!(out, b"*2\r\n$1\r\nm\r\n$3\r\n1.5\r\n");
/// out.clear();
/// encode(&reply, Version::Resp3, &mut out);
/// assert_eq!(out, b"*1\r\n*2\r\n$1\r\nm\r\n,1.5\r\n");
/// ```
pub fn encode(reply: &Reply, version: Version, out: &mut Vec<u8>) {
    let resp3 = version == Version::Resp3;
    match reply {
        Reply::Status(text) => line(b'+', text, out),
        Reply::Bulk(bytes) => bulk(bytes, out),
        Reply::Integer(value) => integer(*value, out),
        Reply::Double(value) => double(*value, resp3, out),
        Reply::BigNumber(digits) if resp3 => line(b'(', digits, out),
        Reply::BigNumber(digits) => bulk(digits, out),
        Reply::Bool(value) if resp3 => {
            out.extend_from_slice(if *value { b"#t\r\n" } else { b"#f\r\n" });
        }
        Reply::Bool(value) => integer(i64::from(*value), out),
        Reply::Null | Reply::NullArray if resp3 => out.extend_from_slice(b"_\r\n"),
        Reply::Null => out.extend_from_slice(b"$-1\r\n"),
        Reply::NullArray => out.extend_from_slice(b"*-1\r\n"),
        Reply::Array(items) => sequence(b'*', items, version, out),
        Reply::Set(items) => sequence(if resp3 { b'~' } else { b'*' }, items, version, out),
        Reply::Push(items) => sequence(if resp3 { b'>' } else { b'*' }, items, version, out),
        Reply::Map(pairs) => map(pairs, version, out),
        Reply::Pairs(pairs) if !resp3 => map(pairs, version, out),
        Reply::Keyed(pairs) if resp3 => map(pairs, version, out),
        Reply::Pairs(pairs) | Reply::Keyed(pairs) => array_of_pairs(pairs, version, out),
        Reply::Verbatim(text) if resp3 => verbatim(text, out),
        Reply::Verbatim(text) => bulk(text, out),
        Reply::Many(replies) => all(replies, version, out),
        Reply::Attributed(both) => {
            if resp3 {
                header(b'|', both.attributes.len(), out);
                for (name, value) in &both.attributes {
                    encode(name, version, out);
                    encode(value, version, out);
                }
            }
            encode(&both.reply, version, out);
        }
        Reply::Error(error) => failure(error, out),
    }
}

/// Appends a command as a client sends it.
pub fn encode_command<'a, I>(args: I, out: &mut Vec<u8>)
where
    I: IntoIterator<Item = &'a [u8]>,
    I::IntoIter: ExactSizeIterator,
{
    let args = args.into_iter();
    header(b'*', args.len(), out);
    for arg in args {
        bulk(arg, out);
    }
}

/// `*3\r\n` and its like.
fn header(kind: u8, count: usize, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(itoa::Buffer::new().format(count).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn bulk(bytes: &[u8], out: &mut Vec<u8>) {
    // The length has at most 20 digits, the rest of the frame 5 bytes.
    out.reserve(bytes.len() + 25);
    header(b'$', bytes.len(), out);
    out.extend_from_slice(bytes);
    out.extend_from_slice(b"\r\n");
}

fn integer(value: i64, out: &mut Vec<u8>) {
    out.push(b':');
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
    out.extend_from_slice(b"\r\n");
}

fn double(value: f64, resp3: bool, out: &mut Vec<u8>) {
    Double(value).with_text(|text| {
        if resp3 {
            line(b',', text.as_bytes(), out);
        } else {
            bulk(text.as_bytes(), out);
        }
    });
}

fn verbatim(text: &Blob, out: &mut Vec<u8>) {
    header(b'=', text.len() + 4, out);
    out.extend_from_slice(b"txt:");
    out.extend_from_slice(text);
    out.extend_from_slice(b"\r\n");
}

fn line(kind: u8, text: &[u8], out: &mut Vec<u8>) {
    out.push(kind);
    let start = out.len();
    out.extend_from_slice(text);
    end_line(start, out);
}

fn failure(error: &CommandError, out: &mut Vec<u8>) {
    out.push(b'-');
    let start = out.len();
    write!(out, "{error}").expect("a vector takes whatever is written to it");
    end_line(start, out);
}

/// Makes what was written from `start` on one line, and ends it.
fn end_line(start: usize, out: &mut Vec<u8>) {
    for byte in &mut out[start..] {
        if matches!(byte, b'\r' | b'\n') {
            *byte = b' ';
        }
    }
    out.extend_from_slice(b"\r\n");
}

fn sequence(kind: u8, items: &[Reply], version: Version, out: &mut Vec<u8>) {
    header(kind, items.len(), out);
    all(items, version, out);
}

fn all(replies: &[Reply], version: Version, out: &mut Vec<u8>) {
    for reply in replies {
        encode(reply, version, out);
    }
}

fn map(pairs: &[(Reply, Reply)], version: Version, out: &mut Vec<u8>) {
    match version {
        Version::Resp2 => header(b'*', pairs.len() * 2, out),
        Version::Resp3 => header(b'%', pairs.len(), out),
    }
    for (key, value) in pairs {
        encode(key, version, out);
        encode(value, version, out);
    }
}

fn array_of_pairs(pairs: &[(Reply, Reply)], version: Version, out: &mut Vec<u8>) {
    header(b'*', pairs.len(), out);
    for (first, second) in pairs {
        header(b'*', 2, out);
        encode(first, version, out);
        encode(second, version, out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn both(reply: &Reply) -> (String, String) {
        let text = |version| {
            let mut out = Vec::new();
            encode(reply, version, &mut out);
            String::from_utf8(out).unwrap()
        };
        (text(Version::Resp2), text(Version::Resp3))
    }

    #[test]
    fn each_reply_has_its_form_in_both_versions() {
        let one = || Reply::Integer(1);
        let pair = || vec![(Reply::bulk("m"), Reply::Double(0.1))];
        let cases = [
            (Reply::OK, "+OK\r\n", "+OK\r\n"),
            (Reply::bulk("a\r\nb"), "$4\r\na\r\nb\r\n", "$4\r\na\r\nb\r\n"),
            (Reply::bulk(""), "$0\r\n\r\n", "$0\r\n\r\n"),
            (Reply::Integer(i64::MIN), ":-9223372036854775808\r\n", ":-9223372036854775808\r\n"),
            (Reply::Double(1e21), "$5\r\n1e+21\r\n", ",1e+21\r\n"),
            (Reply::BigNumber(Blob::from_static(b"-123")), "$4\r\n-123\r\n", "(-123\r\n"),
            (Reply::Double(f64::INFINITY), "$3\r\ninf\r\n", ",inf\r\n"),
            (Reply::Double(f64::NEG_INFINITY), "$4\r\n-inf\r\n", ",-inf\r\n"),
            (Reply::Double(f64::NAN), "$3\r\nnan\r\n", ",nan\r\n"),
            (Reply::Bool(true), ":1\r\n", "#t\r\n"),
            (Reply::Bool(false), ":0\r\n", "#f\r\n"),
            (Reply::Null, "$-1\r\n", "_\r\n"),
            (Reply::NullArray, "*-1\r\n", "_\r\n"),
            (Reply::Array(vec![]), "*0\r\n", "*0\r\n"),
            (Reply::Array(vec![one(), Reply::Null]), "*2\r\n:1\r\n$-1\r\n", "*2\r\n:1\r\n_\r\n"),
            (Reply::Set(vec![one()]), "*1\r\n:1\r\n", "~1\r\n:1\r\n"),
            (Reply::Push(vec![one()]), "*1\r\n:1\r\n", ">1\r\n:1\r\n"),
            (Reply::Map(pair()), "*2\r\n$1\r\nm\r\n$3\r\n0.1\r\n", "%1\r\n$1\r\nm\r\n,0.1\r\n"),
            (Reply::Keyed(pair()), "*1\r\n*2\r\n$1\r\nm\r\n$3\r\n0.1\r\n", "%1\r\n$1\r\nm\r\n,0.1\r\n"),
            (Reply::Pairs(pair()), "*2\r\n$1\r\nm\r\n$3\r\n0.1\r\n", "*1\r\n*2\r\n$1\r\nm\r\n,0.1\r\n"),
            (Reply::Verbatim(Blob::from(b"hi")), "$2\r\nhi\r\n", "=6\r\ntxt:hi\r\n"),
            (Reply::Many(vec![one(), Reply::OK]), ":1\r\n+OK\r\n", ":1\r\n+OK\r\n"),
            (Reply::Error(CommandError::Syntax), "-ERR syntax error\r\n", "-ERR syntax error\r\n"),
        ];
        for (reply, resp2, resp3) in cases {
            let (two, three) = both(&reply);
            assert_eq!((&*two, &*three), (resp2, resp3), "{reply:?}");
        }
    }

    #[test]
    fn a_line_stays_one_line() {
        let error = CommandError::UnknownCommand { name: "a\r\n+OK".to_owned(), args: "'\n' ".to_owned() };
        let text = "-ERR unknown command 'a  +OK', with args beginning with: ' ' \r\n";
        assert_eq!(both(&Reply::Error(error)).0, text);
        assert_eq!(both(&Reply::Status(Blob::from(b"a\nb"))).0, "+a b\r\n");
    }
}
