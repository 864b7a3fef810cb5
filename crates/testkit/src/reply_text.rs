//! Replies as redis-cli prints them to a terminal.

use std::fmt::Write as _;

use dormouse_proto::Reply;

/// Prints a reply.
///
/// ```
/// use dormouse_proto::Reply;
/// let reply = Reply::Array(vec![Reply::bulk("a"), Reply::Array(vec![Reply::Integer(1), Reply::Null])]);
/// assert_eq!(dormouse_testkit::reply_text::text(&reply), "1) \"a\"\n2) 1) (integer) 1\n   2) (nil)");
/// ```
pub fn text(reply: &Reply) -> String {
    let pairs = |pairs: &[(Reply, Reply)]| list(pairs.iter().flat_map(|(a, b)| [text(a), text(b)]).collect());
    match reply {
        Reply::Status(status) => String::from_utf8_lossy(status).into_owned(),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) | Reply::BigNumber(bytes) => quote(bytes),
        Reply::Integer(value) => format!("(integer) {value}"),
        Reply::Double(value) => quote(dormouse_proto::Double(*value).to_string().as_bytes()),
        Reply::Bool(value) => format!("(integer) {}", i32::from(*value)),
        Reply::Null | Reply::NullArray => "(nil)".to_owned(),
        Reply::Array(items) | Reply::Set(items) | Reply::Push(items) => list(items.iter().map(text).collect()),
        Reply::Map(items) | Reply::Pairs(items) => pairs(items),
        Reply::Keyed(items) => list(items.iter().map(|(key, value)| list(vec![text(key), text(value)])).collect()),
        Reply::Many(replies) => all(replies),
        Reply::Attributed(both) => text(&both.reply),
        Reply::Error(error) => format!("(error) {error}"),
    }
}

/// Prints several replies, one below the other.
pub fn all(replies: &[Reply]) -> String {
    replies.iter().map(text).collect::<Vec<_>>().join("\n")
}

/// Numbers the elements of an array, each already printed, and indents what they hold.
pub(crate) fn list(items: Vec<String>) -> String {
    if items.is_empty() {
        return "(empty array)".to_owned();
    }
    let width = items.len().to_string().len();
    let indent = format!("\n{}", " ".repeat(width + 2));
    let numbered = items.into_iter().enumerate();
    let lines: Vec<String> =
        numbered.map(|(at, item)| format!("{:>width$}) {}", at + 1, item.replace('\n', &indent))).collect();
    lines.join("\n")
}

/// A string in quotes, with redis-cli's escapes.
pub fn quote(bytes: &[u8]) -> String {
    let mut text = String::from("\"");
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => text.extend(['\\', char::from(byte)]),
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            7 => text.push_str("\\a"),
            8 => text.push_str("\\b"),
            b' '..=b'~' => text.push(char::from(byte)),
            _ => {
                let _ = write!(text, "\\x{byte:02x}");
            }
        }
    }
    text.push('"');
    text
}

/// A command as one would type it: words that need no quotes have none.
pub fn command<A: AsRef<[u8]>>(args: &[A]) -> String {
    let word = |arg: &A| {
        let arg = arg.as_ref();
        let plain = !arg.is_empty() && arg.iter().all(|byte| byte.is_ascii_graphic() && !b"\"'\\".contains(byte));
        if plain { String::from_utf8_lossy(arg).into_owned() } else { quote(arg) }
    };
    args.iter().map(word).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_aligned_and_depth_is_indented() {
        let items = (1..=10).map(|n| if n == 10 { Reply::Array(vec![Reply::OK; 2]) } else { Reply::Integer(n) });
        let text = text(&Reply::Array(items.collect()));
        assert!(text.starts_with(" 1) (integer) 1\n 2)"));
        assert!(text.ends_with("\n10) 1) OK\n    2) OK"), "{text}");
    }

    #[test]
    fn commands_can_be_typed_again() {
        let args: [&[u8]; 4] = [b"SET", b"k", b"", b"a \"\xff"];
        let line = command(&args);
        assert_eq!(line, r#"SET k "" "a \"\xff""#);
        assert_eq!(crate::expect::split_command(&line).unwrap(), args);
    }
}
