//! Commands as URLs: `/set/k/v?EX=100`.
//!
//! Segments are the command and its arguments, percent-decoded to bytes; then comes the request body, if there is one;
//! then the query's names and values in order. Nothing fails to decode: as in the WHATWG URL standard, a `%` that is not
//! followed by two hexadecimal digits stands for itself. In the query `+` is a blank (form decoding), in the path a plus.
//! The `_token` parameter is a secret: it is taken out here, reaches no command, and is not shown by `Debug`.

use std::borrow::Cow;
use std::fmt;

use crate::CommandError;

/// The query parameter that may carry the token.
const TOKEN: &[u8] = b"_token";

/// The URL is no command.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum PathError {
    /// More arguments than allowed.
    #[error("ERR too many arguments in one command, at most {0} are allowed")]
    TooManyArguments(usize),
}

impl From<PathError> for CommandError {
    fn from(error: PathError) -> Self {
        error.to_string().into()
    }
}

/// A URL taken apart.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct PathCommand<'a> {
    /// The path: the command (or the name of an endpoint) and its arguments. Empty for `/`.
    pub segments: Vec<Cow<'a, [u8]>>,
    /// The query, without the token: names and values in order.
    pub query: Vec<Cow<'a, [u8]>>,
    /// The first `_token` of the query.
    pub token: Option<Cow<'a, [u8]>>,
}

impl PathCommand<'_> {
    /// The arguments in their order, with the body of the request in its place; an empty one is no argument.
    pub fn args<'s>(&'s self, body: &'s [u8]) -> Vec<&'s [u8]> {
        let mut args = Vec::with_capacity(self.segments.len() + 1 + self.query.len());
        args.extend(self.segments.iter().map(|segment| &**segment));
        if !body.is_empty() {
            args.push(body);
        }
        args.extend(self.query.iter().map(|text| &**text));
        args
    }
}

impl fmt::Debug for PathCommand<'_> {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_struct("PathCommand")
            .field("segments", &self.segments)
            .field("query", &self.query)
            .field("token", &self.token.as_ref().map(|_| "hidden"))
            .finish()
    }
}

/// Takes a path and the query behind its `?` apart.
///
/// ```
/// use dormouse_proto::rest::parse_path;
/// let command = parse_path(b"/set/a%2Fb", Some(b"EX=100&_token=T"), 16)?;
/// assert_eq!(command.args(b"v"), [b"set".as_slice(), b"a/b", b"v", b"EX", b"100"]);
/// assert_eq!(command.token.as_deref(), Some(b"T".as_slice()));
/// # Ok::<(), dormouse_proto::rest::PathError>(())
/// ```
pub fn parse_path<'a>(path: &'a [u8], query: Option<&'a [u8]>, args_max: usize) -> Result<PathCommand<'a>, PathError> {
    let mut command =
        PathCommand { segments: segments(path).take(args_max.saturating_add(1)).collect(), ..PathCommand::default() };
    for (name, value) in parameters(query.unwrap_or_default()) {
        if *name == *TOKEN {
            command.token = command.token.or(value.or(Some(Cow::Borrowed(&[]))));
            continue;
        }
        command.query.push(name);
        command.query.extend(value);
        if command.query.len() > args_max {
            break;
        }
    }
    if command.segments.len() + command.query.len() > args_max {
        return Err(PathError::TooManyArguments(args_max));
    }
    Ok(command)
}

/// The token alone, for checking it before anything else is looked at.
pub fn token_in_query(query: &[u8]) -> Option<Cow<'_, [u8]>> {
    let (_, value) = parameters(query).find(|(name, _)| **name == *TOKEN)?;
    Some(value.unwrap_or_default())
}

/// Leading slashes count as one, as a base URL that ends in a slash makes two; an empty last segment is none.
fn segments(path: &[u8]) -> impl Iterator<Item = Cow<'_, [u8]>> {
    let leading = path.iter().take_while(|&&byte| byte == b'/').count();
    let path = &path[leading..];
    let path = path.strip_suffix(b"/").unwrap_or(path);
    let whole = (!path.is_empty()).then_some(path);
    whole.into_iter().flat_map(|path| path.split(|&byte| byte == b'/')).map(|segment| percent_decode(segment, false))
}

/// Names with their values; a flag without `=` has none. Nothing between two `&` is nothing.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Option<Cow<'_, [u8]>>)> {
    query.split(|&byte| byte == b'&').filter(|parameter| !parameter.is_empty()).map(|parameter| {
        let mut halves = parameter.splitn(2, |&byte| byte == b'=');
        let name = halves.next().unwrap_or_default();
        let value = halves.next().map(|value| percent_decode(value, true));
        (percent_decode(name, true), value)
    })
}

fn percent_decode(text: &[u8], plus_is_blank: bool) -> Cow<'_, [u8]> {
    let special = |byte: u8| byte == b'%' || (plus_is_blank && byte == b'+');
    let Some(first) = text.iter().position(|&byte| special(byte)) else {
        return Cow::Borrowed(text);
    };
    let (plain, mut rest) = text.split_at(first);
    let mut decoded = Vec::with_capacity(text.len());
    decoded.extend_from_slice(plain);
    while let [byte, tail @ ..] = rest {
        rest = tail;
        match byte {
            b'+' if plus_is_blank => decoded.push(b' '),
            b'%' => match escaped(tail) {
                Some(byte) => {
                    decoded.push(byte);
                    rest = &tail[2..];
                }
                None => decoded.push(b'%'),
            },
            &byte => decoded.push(byte),
        }
    }
    Cow::Owned(decoded)
}

/// The byte that two hexadecimal digits name.
fn escaped(text: &[u8]) -> Option<u8> {
    let digit = |at: usize| char::from(*text.get(at)?).to_digit(16);
    Some((digit(0)? << 4 | digit(1)?) as u8)
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// A slash and the segment, all of it percent-encoded but the letters.
    fn encoded(segment: &[u8]) -> String {
        let mut text = "/".to_owned();
        for &byte in segment {
            match byte {
                b'a'..=b'z' => text.push(byte.into()),
                _ => write!(text, "%{byte:02X}").unwrap(),
            }
        }
        text
    }

    fn args(path: &str, query: Option<&str>, body: &str) -> Vec<String> {
        let query = query.map(str::as_bytes);
        let command = parse_path(path.as_bytes(), query, 100).unwrap();
        let args = command.args(body.as_bytes());
        let text = |arg: &&[u8]| String::from_utf8_lossy(arg).into_owned();
        args.iter().map(text).collect()
    }

    #[test]
    fn urls_become_commands() {
        let cases: &[(&str, Option<&str>, &str, &[&str])] = &[
            ("/set/k/v/EX/100", None, "", &["set", "k", "v", "EX", "100"]),
            ("/set/k", None, "V", &["set", "k", "V"]),
            ("/set/k", Some("EX=100"), "V", &["set", "k", "V", "EX", "100"]),
            ("/get/k", Some("_token=T"), "", &["get", "k"]),
            ("/zrange/k/0/-1/WITHSCORES/", Some("_token=T"), "", &["zrange", "k", "0", "-1", "WITHSCORES"]),
            // Slashes.
            ("/", None, "", &[]),
            ("", None, "", &[]),
            ("///", None, "", &[]),
            ("//pipeline", None, "", &["pipeline"]),
            ("/set/k//EX/1", None, "", &["set", "k", "", "EX", "1"]),
            ("/set/k/", None, "", &["set", "k"]),
            ("/set/k//", None, "", &["set", "k", ""]),
            // Percent signs and pluses.
            ("/set/a%2Fb%20c/1+1", None, "", &["set", "a/b c", "1+1"]),
            ("/set/%zz/%4/%/%%41", None, "", &["set", "%zz", "%4", "%", "%A"]),
            ("/set/%C3%A9/é", None, "", &["set", "é", "é"]),
            ("/subscribe/a*:[b]", None, "", &["subscribe", "a*:[b]"]),
            ("/set/k", Some("a+b=c%2Bd+e&%zz=%"), "", &["set", "k", "a b", "c+d e", "%zz", "%"]),
            // Parameters.
            ("/set/k/v", Some("NX&X=&EX=1&EX=2"), "", &["set", "k", "v", "NX", "X", "", "EX", "1", "EX", "2"]),
            ("/set/k/v", Some("&&NX&"), "", &["set", "k", "v", "NX"]),
            ("/set/k/v", Some("a=b=c"), "", &["set", "k", "v", "a", "b=c"]),
            ("/set/k/v", Some(""), "", &["set", "k", "v"]),
            ("/get/k", Some("_token=A&_token=B&%5Ftoken=C&_token&x=_token"), "", &["get", "k", "x", "_token"]),
        ];
        for (path, query, body, expected) in cases {
            assert_eq!(args(path, *query, body), *expected, "{path} {query:?}");
        }
    }

    #[test]
    fn any_byte_can_be_written_in_a_path() {
        let bytes: Vec<u8> = (0..=u8::MAX).collect();
        let path = encoded(&bytes);
        let command = parse_path(path.as_bytes(), None, 1).unwrap();
        assert_eq!(*command.segments[0], *bytes);
    }

    #[test]
    fn the_token_is_found_and_kept_secret() {
        for (query, token) in [
            ("_token=A%3D", Some("A=")),
            ("x=1&_token=A&_token=B", Some("A")),
            ("_token", Some("")),
            ("_token=", Some("")),
            ("_TOKEN=A", None),
            ("token=A", None),
            ("", None),
        ] {
            let command = parse_path(b"/get/k", Some(query.as_bytes()), 9).unwrap();
            assert_eq!(command.token.as_deref(), token.map(str::as_bytes), "{query}");
            assert_eq!(token_in_query(query.as_bytes()), command.token, "{query}");
        }
        let command = parse_path(b"/get/k", Some(b"_token=hush"), 9).unwrap();
        assert!(!format!("{command:?}").contains("hush"));
    }

    #[test]
    fn plain_segments_are_borrowed() {
        let command = parse_path(b"/set/k/v", Some(b"EX=1"), 9).unwrap();
        let borrowed = |text: &Cow<'_, [u8]>| matches!(text, Cow::Borrowed(_));
        assert!(command.segments.iter().chain(&command.query).all(borrowed));
    }

    #[test]
    fn arguments_are_counted() {
        assert!(parse_path(b"/a/b", Some(b"c=d"), 4).is_ok());
        for (path, query) in [("/a/b", "c=d&e"), ("/a/b/c/d/e", ""), ("/", "a&b&c&d&e")] {
            let parsed = parse_path(path.as_bytes(), Some(query.as_bytes()), 4);
            assert_eq!(parsed, Err(PathError::TooManyArguments(4)), "{path}?{query}");
        }
    }

    proptest! {
        #[test]
        fn encoded_segments_are_decoded(
            segments in prop::collection::vec(prop::collection::vec(any::<u8>(), 1..12), 1..6)
        ) {
            let path: String = segments.iter().map(|segment| encoded(segment)).collect();
            let command = parse_path(path.as_bytes(), None, 9).unwrap();
            prop_assert_eq!(command.args(b""), segments);
        }
    }
}
