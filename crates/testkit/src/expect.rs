//! What a page expects: replies in redis-cli's format, with a few placeholders, read into trees and compared.
//!
//! Arrays are told apart by their numbers and only where that leaves a doubt by their columns, so an author's indentation
//! may be off. Placeholders: `(any)`, `(any integer)`, `(any string)`, `(any error)`, `(integer) ~100` (within a tenth), and
//! `(string containing "text")`. RESP2 is what is compared: maps and sets are arrays here, doubles are strings.

use dormouse_proto::{Reply, parse_integer};

use crate::reply_text;

/// A reply, or what stands for several.
#[derive(Clone, Debug, PartialEq)]
pub enum Expect {
    /// Any reply at all.
    Any,
    /// Any integer.
    AnyInteger,
    /// Any string.
    AnyString,
    /// Any error.
    AnyError,
    /// An integer within a tenth of this.
    About(i64),
    /// A string with this inside.
    Containing(Vec<u8>),
    /// A bare word, such as `OK`.
    Status(String),
    /// A string.
    Bulk(Vec<u8>),
    /// An integer.
    Integer(i64),
    /// Null, of a string or of an array.
    Nil,
    /// This error, text and code.
    Error(String),
    /// Elements in order.
    Array(Vec<Expect>),
}

impl Expect {
    /// Whether a RESP2 reply is what was expected. With `unordered`, the elements of a top-level array may come in any
    /// order.
    pub fn accepts(&self, reply: &Reply, unordered: bool) -> bool {
        match (self, reply) {
            (Self::Any, _)
            | (Self::AnyInteger, Reply::Integer(_))
            | (Self::AnyString, Reply::Bulk(_))
            | (Self::AnyError, Reply::Error(_))
            | (Self::Nil, Reply::Null | Reply::NullArray) => true,
            (Self::About(about), Reply::Integer(value)) => about.abs_diff(*value) <= about.unsigned_abs() / 10,
            (Self::Integer(expected), Reply::Integer(value)) => expected == value,
            (Self::Containing(part), Reply::Bulk(bytes) | Reply::Status(bytes)) => {
                part.is_empty() || bytes.windows(part.len()).any(|window| window == part.as_slice())
            }
            (Self::Bulk(expected), Reply::Bulk(bytes)) => expected.as_slice() == bytes.as_slice(),
            (Self::Status(expected), Reply::Status(text)) => expected.as_bytes() == text.as_slice(),
            // Some texts of Redis end in a space, which no page should have to show.
            (Self::Error(expected), Reply::Error(error)) => expected.trim_end() == error.to_string().trim_end(),
            (Self::Array(expected), Reply::Array(items)) if unordered => same_elements(expected, items),
            (Self::Array(expected), Reply::Array(items)) => {
                expected.len() == items.len()
                    && expected.iter().zip(items).all(|(expected, item)| expected.accepts(item, false))
            }
            _ => false,
        }
    }
}

/// Whether each expectation finds a reply of its own. Greedy, which is right as long as placeholders come last.
fn same_elements(expected: &[Expect], items: &[Reply]) -> bool {
    let mut left: Vec<&Reply> = items.iter().collect();
    for expected in expected {
        let Some(at) = left.iter().position(|item| expected.accepts(item, false)) else {
            return false;
        };
        left.swap_remove(at);
    }
    left.is_empty()
}

/// An array that is being read: the column of its numbers' brackets, and its elements so far.
struct Open {
    column: usize,
    items: Vec<Expect>,
}

/// Reads expected replies from numbered lines, usually one; an error names its line.
pub fn parse(lines: &[(usize, &str)]) -> Result<Vec<Expect>, (usize, String)> {
    let mut replies = Vec::new();
    let mut open: Vec<Open> = Vec::new();
    for &(number, line) in lines.iter().filter(|(_, line)| !line.trim().is_empty()) {
        let (markers, leaf) = markers(line);
        let Some(&(first, column)) = markers.first() else {
            close(&mut open, 0, &mut replies);
            replies.push(parse_leaf(leaf).map_err(|why| (number, why))?);
            continue;
        };
        // Which open array goes on with this number? If several could, the one whose numbers stand nearest.
        // An array with one open inside is past the element that one will become.
        let inside = |level: usize| usize::from(level + 1 < open.len());
        let fits = open.iter().enumerate().filter(|(level, open)| open.items.len() + 1 + inside(*level) == first);
        let level = fits.min_by_key(|(_, open)| open.column.abs_diff(column)).map(|(level, _)| level);
        match level {
            // Arrays deeper than that one are complete.
            Some(level) => close(&mut open, level + 1, &mut replies),
            None if first == 1 => {
                close(&mut open, 0, &mut replies);
                open.push(Open { column, items: Vec::new() });
            }
            None => return Err((number, format!("element {first} of no array: {line}"))),
        }
        for &(element, column) in &markers[1..] {
            if element != 1 {
                return Err((number, format!("an array starts with {element}: {line}")));
            }
            open.push(Open { column, items: Vec::new() });
        }
        let leaf = parse_leaf(leaf).map_err(|why| (number, why))?;
        if let Some(innermost) = open.last_mut() {
            innermost.items.push(leaf);
        }
    }
    close(&mut open, 0, &mut replies);
    Ok(replies)
}

/// Ends open arrays until `depth` are left, handing each to the one around it.
fn close(open: &mut Vec<Open>, depth: usize, replies: &mut Vec<Expect>) {
    while open.len() > depth {
        let Some(done) = open.pop() else { return };
        let array = Expect::Array(done.items);
        match open.last_mut() {
            Some(outer) => outer.items.push(array),
            None => replies.push(array),
        }
    }
}

/// The `1) ` at the front of a line, each with the column of its bracket, and what follows them.
fn markers(line: &str) -> (Vec<(usize, usize)>, &str) {
    let mut found = Vec::new();
    let mut at = 0;
    loop {
        let rest = &line[at..];
        let text = rest.trim_start();
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let number = text[..digits].parse().ok().filter(|_| text[digits..].starts_with(") "));
        let Some(number) = number else {
            return (found, text.trim_end());
        };
        let column = at + (rest.len() - text.len()) + digits;
        found.push((number, column));
        at = column + 2;
    }
}

fn parse_leaf(text: &str) -> Result<Expect, String> {
    if text.starts_with('"') {
        return match split_command(text).as_deref() {
            Some([one]) => Ok(Expect::Bulk(one.clone())),
            _ => Err(format!("not a string: {text}")),
        };
    }
    Ok(match text {
        "(any)" => Expect::Any,
        "(any integer)" => Expect::AnyInteger,
        "(any string)" => Expect::AnyString,
        "(any error)" => Expect::AnyError,
        "(nil)" => Expect::Nil,
        "(empty array)" | "(empty list or set)" | "(empty set)" | "(empty hash)" => Expect::Array(Vec::new()),
        _ => {
            if let Some(error) = text.strip_prefix("(error) ") {
                return Ok(Expect::Error(error.to_owned()));
            }
            if let Some(part) = text.strip_prefix("(string containing ").and_then(|part| part.strip_suffix(')')) {
                return match split_command(part).as_deref() {
                    Some([one]) => Ok(Expect::Containing(one.clone())),
                    _ => Err(format!("not a string: {part}")),
                };
            }
            if let Some(number) = text.strip_prefix("(integer) ") {
                let (about, digits) = number.strip_prefix('~').map_or((false, number), |digits| (true, digits));
                let value = parse_integer(digits.as_bytes()).ok_or_else(|| format!("not an integer: {number}"))?;
                return Ok(if about { Expect::About(value) } else { Expect::Integer(value) });
            }
            if text.starts_with('(') {
                return Err(format!("unknown form of a reply: {text}"));
            }
            Expect::Status(text.to_owned())
        }
    })
}

/// Splits a line as redis-cli does: words, `"…"` with escapes, `'…'`. Nothing if the quotes do not close.
pub fn split_command(line: &str) -> Option<Vec<Vec<u8>>> {
    let mut rest = line.as_bytes();
    let mut words = Vec::new();
    loop {
        rest = rest.trim_ascii_start();
        let Some(&first) = rest.first() else {
            return Some(words);
        };
        let (word, after) = match first {
            b'"' => double_quoted(&rest[1..])?,
            b'\'' => single_quoted(&rest[1..])?,
            _ => {
                let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
                (rest[..end].to_vec(), &rest[end..])
            }
        };
        if after.first().is_some_and(|byte| !byte.is_ascii_whitespace()) {
            return None;
        }
        words.push(word);
        rest = after;
    }
}

fn double_quoted(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        let (byte, after) = match rest {
            [b'"', after @ ..] => return Some((word, after)),
            [b'\\', b'x', high, low, after @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                let digits = [*high, *low];
                let digits = std::str::from_utf8(&digits).ok()?;
                (u8::from_str_radix(digits, 16).ok()?, after)
            }
            [b'\\', escaped, after @ ..] => {
                let byte = match escaped {
                    b'n' => b'\n',
                    b'r' => b'\r',
                    b't' => b'\t',
                    b'b' => 8,
                    b'a' => 7,
                    other => *other,
                };
                (byte, after)
            }
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
    }
}

fn single_quoted(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        let (byte, after) = match rest {
            [b'\'', after @ ..] => return Some((word, after)),
            [b'\\', b'\'', after @ ..] => (b'\'', after),
            [byte, after @ ..] => (*byte, after),
            [] => return None,
        };
        word.push(byte);
        rest = after;
    }
}

/// Prints an expectation as the page would.
pub fn text(expect: &Expect) -> String {
    match expect {
        Expect::Any => "(any)".to_owned(),
        Expect::AnyInteger => "(any integer)".to_owned(),
        Expect::AnyString => "(any string)".to_owned(),
        Expect::AnyError => "(any error)".to_owned(),
        Expect::About(value) => format!("(integer) ~{value}"),
        Expect::Containing(part) => format!("(string containing {})", reply_text::quote(part)),
        Expect::Status(text) => text.clone(),
        Expect::Bulk(bytes) => reply_text::quote(bytes),
        Expect::Integer(value) => format!("(integer) {value}"),
        Expect::Nil => "(nil)".to_owned(),
        Expect::Error(error) => format!("(error) {error}"),
        Expect::Array(items) => reply_text::list(items.iter().map(text).collect()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<Expect> {
        let lines: Vec<(usize, &str)> = text.lines().enumerate().collect();
        parse(&lines).unwrap()
    }

    fn bulk(text: &str) -> Expect {
        Expect::Bulk(text.as_bytes().to_vec())
    }

    #[test]
    fn nesting_is_read_from_numbers() {
        let pair = |a: &str, b: &str| Expect::Array(vec![bulk(a), bulk(b)]);
        let nested = Expect::Array(vec![bulk("0"), pair("a", "b"), pair("c", "d")]);
        for text in [
            "1) \"0\"\n2) 1) \"a\"\n   2) \"b\"\n3) 1) \"c\"\n   2) \"d\"",
            "1) \"0\"\n2) 1) \"a\"\n2) \"b\"\n3) 1) \"c\"\n      2) \"d\"",
        ] {
            assert_eq!(read(text), std::slice::from_ref(&nested), "{text}");
        }
        assert_eq!(
            read("1) 1) 1) (integer) 1\n      2) OK\n   2) (nil)\n2) (empty array)"),
            [Expect::Array(vec![
                Expect::Array(vec![
                    Expect::Array(vec![Expect::Integer(1), Expect::Status("OK".to_owned())]),
                    Expect::Nil
                ]),
                Expect::Array(vec![]),
            ])]
        );
    }

    #[test]
    fn several_replies_follow_each_other() {
        assert_eq!(read("1) \"a\"\n1) \"b\"\n2) \"c\"\nOK").len(), 3);
    }

    #[test]
    fn wide_arrays_are_aligned_to_the_right() {
        let lines: Vec<String> = (1..=11).map(|n| format!("{n:>2}) 1) \"{n}\"\n    2) (integer) {n}")).collect();
        let Some(Expect::Array(items)) = read(&lines.join("\n")).pop() else { panic!() };
        assert_eq!(items.len(), 11);
        assert_eq!(items[10], Expect::Array(vec![bulk("11"), Expect::Integer(11)]));
    }

    #[test]
    fn placeholders_stand_for_many_replies() {
        for (text, reply, accepted) in [
            ("(any)", Reply::Null, true),
            ("(any integer)", Reply::Integer(7), true),
            ("(any integer)", Reply::bulk("7"), false),
            ("(integer) ~100", Reply::Integer(91), true),
            ("(integer) ~100", Reply::Integer(89), false),
            ("(string containing \"b\\n\")", Reply::bulk("ab\nc"), true),
            ("(string containing \"x\")", Reply::bulk("ab"), false),
            ("(nil)", Reply::NullArray, true),
            ("OK", Reply::bulk("OK"), false),
        ] {
            assert_eq!(read(text)[0].accepts(&reply, false), accepted, "{text} {reply:?}");
        }
    }

    #[test]
    fn unordered_arrays_compare_as_multisets() {
        let expected = read("1) \"a\"\n2) \"a\"\n3) \"b\"").remove(0);
        let reply = |items: [&str; 3]| Reply::Array(items.map(Reply::bulk).to_vec());
        assert!(expected.accepts(&reply(["b", "a", "a"]), true));
        assert!(!expected.accepts(&reply(["b", "a", "a"]), false));
        assert!(!expected.accepts(&reply(["b", "b", "a"]), true));
    }

    #[test]
    fn words_are_split_as_in_redis_cli() {
        let words = split_command(r#"SET "a\x00\n\"" 'it\'s' "" x"#).unwrap();
        assert_eq!(words, [b"SET".as_slice(), b"a\0\n\"", b"it's", b"", b"x"]);
        assert_eq!(split_command(r#"GET "a"b"#), None);
        assert_eq!(split_command("GET 'a"), None);
    }
}
