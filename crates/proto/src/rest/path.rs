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
pub fn parse_path<'a>(
    path: &'a [u8],
    query: Option<&'a [u8]>,
    args_max: usize,
) -> Result<PathCommand<'a>, PathError> {
    let mut command = PathCommand {
        segments: segments(path).take(args_max.saturating_add(1)).collect(),
        ..PathCommand::default()
    };
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
    whole
        .into_iter()
        .flat_map(|path| path.split(|&byte| byte == b'/'))
        .map(|segment| percent_decode(segment, false))
}

/// Names with their values; a flag without `=` has none. Nothing between two `&` is nothing.
fn parameters(query: &[u8]) -> impl Iterator<Item = (Cow<'_, [u8]>, Option<Cow<'_, [u8]>>)> {
    query
        .split(|&byte| byte == b'&')
        .filter(|parameter| !parameter.is_empty())
        .map(|parameter| {
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
