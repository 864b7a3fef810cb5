//! JSON as text: read with `serde_json`, whose errors clients of RedisJSON know, and written as RedisJSON writes it.
//!
//! Doubles keep a point or an exponent (`1.0`, `1e21`), so that they read back as doubles. What is written never grows past
//! a limit, because a path can match the same part of a document again and again.

use std::cell::Cell;
use std::fmt;

use dormouse_proto::CommandError;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::node::{Node, Object};

const NOT_UTF8: CommandError = CommandError::text("ERR Couldn't parse as UTF-8 string");

/// An argument as text.
pub(super) fn utf8(arg: &[u8]) -> Result<&str, CommandError> {
    std::str::from_utf8(arg).map_err(|_| NOT_UTF8)
}

/// Reads a document, which may be `depth_max` deep and take `bytes_max` of memory, near enough.
pub fn parse(text: &[u8], depth_max: usize, bytes_max: usize) -> Result<Node, CommandError> {
    let left = Cell::new(Some(bytes_max));
    let mut input = serde_json::Deserializer::from_str(utf8(text)?);
    let node = Builder(&left).deserialize(&mut input).and_then(|node| input.end().map(|()| node));
    let node = node.map_err(|error| match left.get() {
        Some(_) => CommandError::from(format!("ERR {error}")),
        None => CommandError::RecordTooLarge,
    })?;
    // The parser has a limit of its own, which spares the stack; ours may be lower.
    if node.depth() > depth_max { Err(super::TOO_DEEP) } else { Ok(node) }
}

/// Builds a node, and says how much memory is left for others; nothing once there was too little.
#[derive(Clone, Copy)]
struct Builder<'b>(&'b Cell<Option<usize>>);

impl Builder<'_> {
    fn spend<E: Error>(self, bytes: usize) -> Result<(), E> {
        let left = self.0.get().and_then(|left| left.checked_sub(size_of::<Node>() + bytes));
        self.0.set(left);
        left.map(drop).ok_or_else(|| E::custom("too large"))
    }

    fn take<E: Error>(self, node: Node) -> Result<Node, E> {
        self.spend(node.as_text().map_or(0, str::len))?;
        Ok(node)
    }
}

impl<'de> DeserializeSeed<'de> for Builder<'_> {
    type Value = Node;

    fn deserialize<D: Deserializer<'de>>(self, input: D) -> Result<Node, D::Error> {
        input.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Builder<'_> {
    type Value = Node;

    fn expecting(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str("a JSON value")
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        self.take(Node::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Node, E> {
        self.take(Node::Bool(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Node, E> {
        self.take(Node::Integer(value))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Node, E> {
        self.take(i64::try_from(value).map_or(Node::Unsigned(value), Node::Integer))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Node, E> {
        self.take(Node::Double(value))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Node, E> {
        self.take(Node::Text(value.into()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = input.next_element_seed(self)? {
            items.push(item);
        }
        items.shrink_to_fit();
        self.take(Node::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut input: A) -> Result<Node, A::Error> {
        let mut object = Box::<Object>::default();
        // Of members with the same name, the last one counts, in the place of the first.
        while let Some(key) = input.next_key::<Box<str>>()? {
            self.spend(key.len())?;
            object.set(key, input.next_value_seed(self)?);
        }
        self.take(Node::Object(object))
    }
}

/// What stands between the parts of a document.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style<'a> {
    /// Once for each level, in front of an element or a name.
    pub indent: &'a [u8],
    /// After each line.
    pub newline: &'a [u8],
    /// Between a name's colon and the value.
    pub space: &'a [u8],
}

/// Writes documents.
#[derive(Debug)]
pub struct Printer<'a> {
    out: Vec<u8>,
    style: Style<'a>,
    level: usize,
    bytes_max: usize,
}

/// What a printer returns: whether there was room.
pub type Printed = Result<(), CommandError>;

impl<'a> Printer<'a> {
    /// Writes at most `bytes_max` bytes.
    pub const fn new(style: Style<'a>, bytes_max: usize) -> Self {
        Self { out: Vec::new(), style, level: 0, bytes_max }
    }

    /// What was written.
    pub fn finish(self) -> Vec<u8> {
        self.out
    }

    /// Any value.
    pub fn node(&mut self, node: &Node) -> Printed {
        if self.out.len() > self.bytes_max {
            return Err(CommandError::StringTooLong);
        }
        match node {
            Node::Null => self.out.extend_from_slice(b"null"),
            Node::Bool(value) => self.out.extend_from_slice(if *value { b"true" } else { b"false" }),
            Node::Integer(value) => self.out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Node::Unsigned(value) => self.out.extend_from_slice(itoa::Buffer::new().format(*value).as_bytes()),
            Node::Double(value) => self.out.extend_from_slice(ryu::Buffer::new().format(*value).as_bytes()),
            Node::Text(text) => self.text(text),
            Node::Array(items) => self.array(items)?,
            Node::Object(object) => self.object(object.iter(), Self::node)?,
        }
        Ok(())
    }

    /// Values as an array.
    pub fn array<'n>(&mut self, items: impl IntoIterator<Item = &'n Node>) -> Printed {
        self.block([b'[', b']'], items, Self::node)
    }

    /// Named things as an object; `value` writes each.
    pub fn object<'n, T>(
        &mut self,
        members: impl IntoIterator<Item = (&'n str, T)>,
        mut value: impl FnMut(&mut Self, T) -> Printed,
    ) -> Printed {
        self.block([b'{', b'}'], members, |this, (key, member)| {
            this.text(key);
            this.out.push(b':');
            this.out.extend_from_slice(this.style.space);
            value(this, member)
        })
    }

    fn block<T>(
        &mut self,
        [open, close]: [u8; 2],
        items: impl IntoIterator<Item = T>,
        mut each: impl FnMut(&mut Self, T) -> Printed,
    ) -> Printed {
        self.out.push(open);
        self.level += 1;
        let mut any = false;
        for item in items {
            if any {
                self.out.push(b',');
            }
            any = true;
            self.line();
            each(self, item)?;
        }
        self.level -= 1;
        if any {
            self.line();
        }
        self.out.push(close);
        Ok(())
    }

    fn line(&mut self) {
        self.out.extend_from_slice(self.style.newline);
        for _ in 0..self.level {
            self.out.extend_from_slice(self.style.indent);
        }
    }

    fn text(&mut self, text: &str) {
        self.out.push(b'"');
        let bytes = text.as_bytes();
        let mut plain = 0;
        for (at, &byte) in bytes.iter().enumerate() {
            if byte >= b' ' && byte != b'"' && byte != b'\\' {
                continue;
            }
            self.out.extend_from_slice(&bytes[plain..at]);
            plain = at + 1;
            match short_escape(byte) {
                Some(letter) => self.out.extend_from_slice(&[b'\\', letter]),
                None => self.out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            }
        }
        self.out.extend_from_slice(&bytes[plain..]);
        self.out.push(b'"');
    }
}

const fn short_escape(byte: u8) -> Option<u8> {
    Some(match byte {
        b'"' | b'\\' => byte,
        b'\n' => b'n',
        b'\r' => b'r',
        b'\t' => b't',
        0x08 => b'b',
        0x0c => b'f',
        _ => return None,
    })
}

/// A value in the plainest way.
pub fn plain(node: &Node) -> Vec<u8> {
    let mut printer = Printer::new(Style::default(), usize::MAX);
    printer.node(node).expect("there is no limit to pass");
    printer.finish()
}

impl fmt::Display for Node {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(&String::from_utf8_lossy(&plain(self)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn again(text: &str) -> String {
        parse(text.as_bytes(), 128, 10_000).map_or_else(|error| error.to_string(), |node| node.to_string())
    }

    #[test]
    fn numbers_print_as_redisjson_prints_them() {
        for (text, printed) in [
            ("1", "1"),
            ("1.0", "1.0"),
            ("1e2", "100.0"),
            ("1.5e-7", "1.5e-7"),
            ("0.00001", "0.00001"),
            ("1e15", "1000000000000000.0"),
            ("1e16", "1e16"),
            ("5e-324", "5e-324"),
            ("1.7976931348623157e308", "1.7976931348623157e308"),
            ("-0", "-0.0"),
            ("9223372036854775808", "9223372036854775808"),
            ("18446744073709551616", "1.8446744073709552e19"),
            ("-9223372036854775809", "-9.223372036854776e18"),
            ("123456789012345678901234567890", "1.2345678901234568e29"),
        ] {
            assert_eq!(again(text), printed, "{text}");
        }
    }

    #[test]
    fn strings_are_escaped_no_more_than_needed() {
        assert_eq!(again(r#""\u0041\u00e9\ud83d\ude00\/\"\\\b\f\n\r\t\u0000\u001f\u007f""#), {
            "\"Aé😀/\\\"\\\\\\b\\f\\n\\r\\t\\u0000\\u001f\u{7f}\""
        });
    }

    #[test]
    fn errors_are_those_clients_know() {
        for (text, error) in [
            ("", "ERR EOF while parsing a value at line 1 column 0"),
            ("abc", "ERR expected value at line 1 column 1"),
            ("{a:1}", "ERR key must be a string at line 1 column 2"),
            ("[1,]", "ERR trailing comma at line 1 column 4"),
            ("1e400", "ERR number out of range at line 1 column 5"),
            ("{} x", "ERR trailing characters at line 1 column 4"),
        ] {
            assert_eq!(again(text), error);
        }
        assert_eq!(parse(b"\"\xff\"", 128, 100).unwrap_err(), NOT_UTF8);
        let deep = |levels: usize| again(&("[".repeat(levels) + &"]".repeat(levels)));
        assert!(deep(127).starts_with("[["));
        assert_eq!(deep(128), "ERR recursion limit exceeded at line 1 column 128");
        assert_eq!(parse(b"[[1]]", 1, 1_000).unwrap_err(), super::super::TOO_DEEP);
        assert_eq!(parse(b"[[1],2]", 9, 95).unwrap_err(), CommandError::RecordTooLarge);
        assert!(parse(b"[[1],2]", 9, 96).is_ok());
    }

    #[test]
    fn styles_and_limits_are_kept() {
        let node = parse(br#"{"a":[1,{}],"b":{"c":[]}}"#, 128, 1_000).unwrap();
        let mut printer = Printer::new(Style { indent: b">", newline: b"|", space: b"_" }, 1_000);
        printer.node(&node).unwrap();
        assert_eq!(printer.finish(), br#"{|>"a":_[|>>1,|>>{}|>],|>"b":_{|>>"c":_[]|>}|}"#);
        let mut short = Printer::new(Style::default(), 4);
        assert_eq!(short.node(&node), Err(CommandError::StringTooLong));
    }
}
