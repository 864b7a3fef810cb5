//! Commands as clients send them: an array of bulk strings, or one line typed by a person.
//!
//! The parser keeps its place between calls, so a value of many megabytes that arrives in small pieces is looked at once.
//! Arguments of an array stay in the read buffer and are handed out as slices of it; only a typed line is copied, as its
//! quotes and escapes have to go. What Redis lets pass is let pass here too (it never looks at the two bytes behind a
//! bulk string), with one difference: a line past the limit is refused even when its end has arrived already, so what a
//! client gets never depends on how the network cut its bytes.

use std::ops::Range;

use crate::{CommandError, parse_integer};

/// The most arguments a command may have before the client has authenticated.
pub const UNAUTHENTICATED_ARGS_MAX: usize = 10;
/// The longest argument, in bytes, before the client has authenticated.
pub const UNAUTHENTICATED_BULK_BYTES_MAX: usize = 16 * 1024;

/// What `$0\r\n\r\n`, the shortest argument there is, takes.
const SHORTEST_BULK_BYTES: usize = 6;
/// A parser that held more arguments than this gives the memory back before the next command.
const ARGS_KEPT: usize = 1024;
/// The same for the copy of a typed line.
const LINE_BYTES_KEPT: usize = 4096;

/// What a client may send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one command, its name included.
    pub args_max: usize,
    /// Bytes of one argument.
    pub bulk_bytes_max: usize,
    /// Bytes of a typed line, and of the line that carries a length.
    pub inline_bytes_max: usize,
    /// Bytes of a whole command, lengths and line ends included.
    pub request_bytes_max: usize,
    /// Until this is true the `UNAUTHENTICATED_*` limits hold as well.
    pub authenticated: bool,
}

impl Default for Limits {
    /// Redis's own limits, for a client that has authenticated.
    fn default() -> Self {
        Self {
            args_max: 1024 * 1024,
            bulk_bytes_max: 512 * 1024 * 1024,
            inline_bytes_max: 64 * 1024,
            request_bytes_max: 1024 * 1024 * 1024,
            authenticated: true,
        }
    }
}

/// The client does not speak the protocol, or passes a limit. The connection cannot go on: send the text, then close.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ProtocolError {
    /// The number of arguments is not a number, or passes the limit.
    #[error("ERR Protocol error: invalid multibulk length")]
    InvalidMultibulkLength,
    /// The length of an argument is not a number, is negative, or passes the limit.
    #[error("ERR Protocol error: invalid bulk length")]
    InvalidBulkLength,
    /// More arguments than a client may send before it has authenticated.
    #[error("ERR Protocol error: unauthenticated multibulk length")]
    UnauthenticatedMultibulkLength,
    /// A longer argument than a client may send before it has authenticated.
    #[error("ERR Protocol error: unauthenticated bulk length")]
    UnauthenticatedBulkLength,
    /// An argument does not start with its length.
    #[error("ERR Protocol error: expected '$', got '{}'", printable(*.0))]
    ExpectedBulk(u8),
    /// The line with the number of arguments does not end.
    #[error("ERR Protocol error: too big mbulk count string")]
    CountLineTooLong,
    /// The line with the length of an argument does not end.
    #[error("ERR Protocol error: too big bulk count string")]
    LengthLineTooLong,
    /// A typed line does not end.
    #[error("ERR Protocol error: too big inline request")]
    InlineTooLong,
    /// A typed line has a quote that is not closed, or text right behind one.
    #[error("ERR Protocol error: unbalanced quotes in request")]
    UnbalancedQuotes,
    /// The command as a whole passes the limit.
    #[error("ERR max request size exceeded")]
    RequestTooLarge,
}

impl From<ProtocolError> for CommandError {
    fn from(error: ProtocolError) -> Self {
        error.to_string().into()
    }
}

/// An error is one line of text: what would break it is shown as Redis shows line breaks, as a space.
fn printable(byte: u8) -> char {
    match byte {
        b'\r' | b'\n' => ' ',
        byte if byte.is_ascii() => char::from(byte),
        _ => '?',
    }
}

/// What the front of the buffer holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The start of a command. Keep all bytes, read on, and call again.
    Incomplete {
        /// No command can be complete before at least this many more bytes are here.
        more: usize,
    },
    /// An empty line or array, which asks for nothing: drop these bytes and call again.
    Skip {
        /// How many bytes to drop.
        consumed: usize,
    },
    /// A command; the parser has its arguments.
    Complete {
        /// How many bytes the command took.
        consumed: usize,
    },
}

/// Finds commands at the front of a read buffer. One per connection.
///
/// ```
/// use dormouse_proto::resp::{Limits, Parsed, Parser};
/// let mut parser = Parser::new(Limits::default());
/// let mut buf = b"*2\r\n$3\r\nGET\r\n$1\r\n".to_vec();
/// assert_eq!(parser.parse(&buf)?, Parsed::Incomplete { more: 3 });
/// buf.extend_from_slice(b"k\r\nPING\r\n");
/// assert_eq!(parser.parse(&buf)?, Parsed::Complete { consumed: 20 });
/// parser.with_args(&buf, |args| assert_eq!(args, [b"GET".as_slice(), b"k"]));
/// assert_eq!(parser.parse(&buf[20..])?, Parsed::Complete { consumed: 6 });
/// # Ok::<(), dormouse_proto::resp::ProtocolError>(())
/// ```
#[derive(Debug)]
pub struct Parser {
    /// May be changed between calls; `AUTH` does.
    pub limits: Limits,
    stage: Stage,
    /// The first byte not yet understood.
    at: usize,
    /// No line end was found before this.
    scanned: usize,
    /// Arguments still to come.
    missing: usize,
    /// The length of the argument at `at`, once its line has been read.
    bulk: Option<usize>,
    /// Where the arguments are: in the buffer, or in `line` for a typed one.
    args: Vec<Range<usize>>,
    line: Vec<u8>,
    typed: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Stage {
    Start,
    Inline,
    Count,
    Bulks,
}

impl Parser {
    /// A parser at the start of a connection.
    pub fn new(limits: Limits) -> Self {
        Self {
            limits,
            stage: Stage::Start,
            at: 0,
            scanned: 0,
            missing: 0,
            bulk: None,
            args: Vec::new(),
            line: Vec::new(),
            typed: false,
        }
    }

    /// Looks for one command at the front of `buf`.
    ///
    /// After [`Parsed::Incomplete`] the next call must bring the same bytes and more behind them; after the other
    /// outcomes it must start behind `consumed`.
    pub fn parse(&mut self, buf: &[u8]) -> Result<Parsed, ProtocolError> {
        let parsed = self.advance(buf);
        if !matches!(parsed, Ok(Parsed::Incomplete { .. })) {
            self.stage = Stage::Start;
        }
        parsed
    }

    /// The arguments of the command found last, which was found in `buf`. Few enough live on the stack.
    pub fn with_args<T>(&self, buf: &[u8], f: impl FnOnce(&[&[u8]]) -> T) -> T {
        const ON_STACK: usize = 16;
        if self.args.len() > ON_STACK {
            return f(&self.args(buf).collect::<Vec<_>>());
        }
        let mut slots: [&[u8]; ON_STACK] = [&[]; ON_STACK];
        for (slot, arg) in slots.iter_mut().zip(self.args(buf)) {
            *slot = arg;
        }
        f(&slots[..self.args.len()])
    }

    /// The arguments of the command found last, which was found in `buf`.
    pub fn args<'a>(&'a self, buf: &'a [u8]) -> ArgsIter<'a> {
        ArgsIter { bytes: if self.typed { &self.line } else { buf }, ranges: self.args.iter() }
    }

    /// Whether nothing has been read of the next command, so that the connection may be closed without losing anything.
    pub fn is_idle(&self) -> bool {
        self.stage == Stage::Start
    }

    fn advance(&mut self, buf: &[u8]) -> Result<Parsed, ProtocolError> {
        if self.stage == Stage::Start {
            let Some(&first) = buf.first() else {
                return Ok(Parsed::Incomplete { more: 1 });
            };
            self.begin(first);
        }
        if self.stage == Stage::Inline {
            return self.inline(buf);
        }
        if self.stage == Stage::Count {
            match self.count(buf)? {
                Some(0) => return Ok(Parsed::Skip { consumed: self.at }),
                Some(missing) => self.missing = missing,
                None => return Ok(Parsed::Incomplete { more: 1 }),
            }
            self.stage = Stage::Bulks;
        }
        self.bulks(buf)
    }

    fn begin(&mut self, first: u8) {
        self.args.clear();
        self.line.clear();
        if self.args.capacity() > ARGS_KEPT {
            self.args.shrink_to(ARGS_KEPT);
        }
        if self.line.capacity() > LINE_BYTES_KEPT {
            self.line.shrink_to(LINE_BYTES_KEPT);
        }
        self.typed = first != b'*';
        self.at = 0;
        self.scanned = 0;
        self.bulk = None;
        self.stage = if self.typed { Stage::Inline } else { Stage::Count };
    }

    /// Takes the line `*3\r\n`; an array of nothing and a null array both count none.
    fn count(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.line(buf, ProtocolError::CountLineTooLong)? else {
            return Ok(None);
        };
        let count = parse_integer(&buf[line][1..])
            .filter(|&count| count < 0 || count as usize <= self.limits.args_max)
            .ok_or(ProtocolError::InvalidMultibulkLength)?;
        let count = usize::try_from(count).unwrap_or(0);
        if !self.limits.authenticated && count > UNAUTHENTICATED_ARGS_MAX {
            return Err(ProtocolError::UnauthenticatedMultibulkLength);
        }
        Ok(Some(count))
    }

    fn bulks(&mut self, buf: &[u8]) -> Result<Parsed, ProtocolError> {
        while self.missing > 0 {
            let length = match self.bulk {
                Some(length) => length,
                None => match self.bulk_length(buf)? {
                    Some(length) => length,
                    None => return Ok(Parsed::Incomplete { more: 1 }),
                },
            };
            let end = self.at + length;
            if buf.len() < end + 2 {
                self.bulk = Some(length);
                let more = end + 2 - buf.len() + (self.missing - 1) * SHORTEST_BULK_BYTES;
                return Ok(Parsed::Incomplete { more });
            }
            self.bulk = None;
            self.args.push(self.at..end);
            self.at = end + 2;
            self.scanned = self.at;
            self.missing -= 1;
        }
        Ok(Parsed::Complete { consumed: self.at })
    }

    /// Takes the line `$3\r\n`.
    fn bulk_length(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let length = match self.short_length(buf) {
            Some(length) => length,
            None => match self.any_length(buf)? {
                Some(length) => length,
                None => return Ok(None),
            },
        };
        if length > self.limits.bulk_bytes_max {
            return Err(ProtocolError::InvalidBulkLength);
        }
        if !self.limits.authenticated && length > UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        let end = self.at.saturating_add(length).saturating_add(2);
        if end > self.limits.request_bytes_max {
            return Err(ProtocolError::RequestTooLarge);
        }
        Ok(Some(length))
    }

    /// The same in one look, for the lengths nearly all arguments have. `None` means no more than: look again.
    #[inline]
    fn short_length(&mut self, buf: &[u8]) -> Option<usize> {
        let line: &[u8; 8] = buf.get(self.at..)?.first_chunk()?;
        if line[0] != b'$' || line[1] == b'0' || self.limits.inline_bytes_max < line.len() {
            return None;
        }
        let mut length = 0;
        for (index, &byte) in line[..7].iter().enumerate().skip(1) {
            match byte {
                b'0'..=b'9' => length = length * 10 + usize::from(byte - b'0'),
                b'\r' if index > 1 => {
                    self.at += index + 2;
                    self.scanned = self.at;
                    return Some(length);
                }
                _ => return None,
            }
        }
        None
    }

    fn any_length(&mut self, buf: &[u8]) -> Result<Option<usize>, ProtocolError> {
        let Some(line) = self.line(buf, ProtocolError::LengthLineTooLong)? else {
            return Ok(None);
        };
        // An empty line still has its line end, so there is always a byte to look at.
        let first = buf[line.start];
        if first != b'$' {
            return Err(ProtocolError::ExpectedBulk(first));
        }
        let length = parse_integer(&buf[line][1..])
            .and_then(|length| usize::try_from(length).ok())
            .ok_or(ProtocolError::InvalidBulkLength)?;
        Ok(Some(length))
    }

    /// Takes the line at `at`, up to a carriage return and whatever byte comes behind it.
    fn line(&mut self, buf: &[u8], too_long: ProtocolError) -> Result<Option<Range<usize>>, ProtocolError> {
        let rest = buf.get(self.scanned..).unwrap_or_default();
        let found = rest.iter().position(|&byte| byte == b'\r');
        let end = self.scanned + found.unwrap_or(rest.len());
        if end - self.at > self.limits.inline_bytes_max {
            return Err(too_long);
        }
        self.scanned = end;
        if found.is_none() || buf.len() < end + 2 {
            return Ok(None);
        }
        let line = self.at..end;
        self.at = end + 2;
        self.scanned = self.at;
        Ok(Some(line))
    }

    fn inline(&mut self, buf: &[u8]) -> Result<Parsed, ProtocolError> {
        let rest = buf.get(self.scanned..).unwrap_or_default();
        let found = rest.iter().position(|&byte| byte == b'\n');
        let end = self.scanned + found.unwrap_or(rest.len());
        if end > self.limits.inline_bytes_max {
            return Err(ProtocolError::InlineTooLong);
        }
        self.scanned = end;
        if found.is_none() {
            return Ok(Parsed::Incomplete { more: 1 });
        }
        let line = &buf[..end];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        split_line(line, &mut self.line, &mut self.args)?;
        let consumed = end + 1;
        if self.args.is_empty() {
            return Ok(Parsed::Skip { consumed });
        }
        if self.args.len() > self.limits.args_max {
            return Err(ProtocolError::InvalidMultibulkLength);
        }
        Ok(Parsed::Complete { consumed })
    }
}

/// The arguments of one command, in order.
#[derive(Clone, Debug)]
pub struct ArgsIter<'a> {
    bytes: &'a [u8],
    ranges: std::slice::Iter<'a, Range<usize>>,
}

impl<'a> Iterator for ArgsIter<'a> {
    type Item = &'a [u8];

    #[inline]
    fn next(&mut self) -> Option<&'a [u8]> {
        let range = self.ranges.next()?;
        Some(&self.bytes[range.start..range.end])
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        self.ranges.size_hint()
    }
}

impl ExactSizeIterator for ArgsIter<'_> {}

/// C's `isspace`, which also counts the vertical tab.
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

fn skip_blanks(text: &[u8]) -> &[u8] {
    let blanks = text.iter().take_while(|&&byte| is_space(byte)).count();
    &text[blanks..]
}

/// Splits a typed line as a shell would: words apart by blanks, `"…"` with escapes, `'…'` without.
fn split_line(line: &[u8], text: &mut Vec<u8>, args: &mut Vec<Range<usize>>) -> Result<(), ProtocolError> {
    let mut rest = skip_blanks(line);
    while !rest.is_empty() {
        let start = text.len();
        rest = take_word(rest, text)?;
        args.push(start..text.len());
        rest = skip_blanks(rest);
    }
    Ok(())
}

/// Takes one word; a quote may open in its middle, but where one closes the word ends.
fn take_word<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    while let [first, tail @ ..] = rest {
        match first {
            b' ' | b'\n' | b'\r' | b'\t' => return Ok(tail),
            b'"' => return take_double_quoted(tail, text).and_then(word_ends),
            b'\'' => return take_single_quoted(tail, text).and_then(word_ends),
            &byte => text.push(byte),
        }
        rest = tail;
    }
    Ok(rest)
}

/// Behind a closing quote there must be a blank or nothing.
fn word_ends(rest: &[u8]) -> Result<&[u8], ProtocolError> {
    match rest.first() {
        Some(&byte) if !is_space(byte) => Err(ProtocolError::UnbalancedQuotes),
        _ => Ok(rest),
    }
}

fn take_double_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..] if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() => {
                text.push(hex_value(*high) << 4 | hex_value(*low));
                tail
            }
            [b'\\', escaped, tail @ ..] => {
                text.push(unescape(*escaped));
                tail
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn take_single_quoted<'a>(mut rest: &'a [u8], text: &mut Vec<u8>) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'\'', tail @ ..] => return Ok(tail),
            [b'\\', b'\'', tail @ ..] => {
                text.push(b'\'');
                tail
            }
            [byte, tail @ ..] => {
                text.push(*byte);
                tail
            }
            [] => return Err(ProtocolError::UnbalancedQuotes),
        };
    }
}

fn unescape(byte: u8) -> u8 {
    match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 8,
        b'a' => 7,
        other => other,
    }
}

/// Of a byte known to be a hexadecimal digit.
fn hex_value(digit: u8) -> u8 {
    match digit {
        b'0'..=b'9' => digit - b'0',
        _ => (digit | 0x20) - b'a' + 10,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::resp::encode_command;

    /// All commands of a stream, and the error it ends with, if it does.
    type Outcome = (Vec<Vec<Vec<u8>>>, Option<String>);

    /// Feeds `stream` to one parser, which sees more of it whenever it asks, `step` bytes at a time.
    fn feed(stream: &[u8], limits: Limits, step: usize) -> Outcome {
        let mut parser = Parser::new(limits);
        let mut commands = Vec::new();
        let (mut start, mut end) = (0, 0);
        loop {
            match parser.parse(&stream[start..end]) {
                Ok(Parsed::Incomplete { more }) => {
                    assert!(more > 0);
                    if end == stream.len() {
                        return (commands, None);
                    }
                    end = stream.len().min(end + step);
                }
                Ok(Parsed::Skip { consumed }) => start += consumed,
                Ok(Parsed::Complete { consumed }) => {
                    let args = parser.args(&stream[start..end]);
                    commands.push(args.map(<[u8]>::to_vec).collect());
                    start += consumed;
                }
                Err(error) => return (commands, Some(error.to_string())),
            }
        }
    }

    /// The same, and makes sure that it does not matter how the bytes arrive.
    fn parse(stream: &[u8], limits: &Limits) -> Outcome {
        let whole = feed(stream, limits.clone(), stream.len().max(1));
        for step in [1, 2, 7] {
            assert_eq!(feed(stream, limits.clone(), step), whole, "in steps of {step}");
        }
        whole
    }

    fn commands(stream: &[u8]) -> Vec<Vec<Vec<u8>>> {
        let (commands, error) = parse(stream, &Limits::default());
        assert_eq!(error, None, "{}", stream.escape_ascii());
        commands
    }

    fn error(stream: &[u8], limits: &Limits) -> String {
        let (_, error) = parse(stream, limits);
        error.unwrap_or_else(|| panic!("no error: {}", stream.escape_ascii()))
    }

    #[test]
    fn commands_are_found_as_redis_finds_them() {
        type Commands<'a> = &'a [&'a [&'a [u8]]];
        let cases: &[(&[u8], Commands<'_>)] = &[
            (b"*1\r\n$4\r\nPING\r\n", &[&[b"PING"]]),
            (b"*2\r\n$4\r\nECHO\r\n$0\r\n\r\n", &[&[b"ECHO", b""]]),
            (b"*2\r\n$4\r\nECHO\r\n$2\r\n\r\n\r\n", &[&[b"ECHO", b"\r\n"]]),
            (b"*1\r\n$1\r\na\r\n*1\r\n$1\r\nb\r\n", &[&[b"a"], &[b"b"]]),
            // Nothing is asked for.
            (b"*0\r\n*-1\r\n*-5\r\nPING\r\n", &[&[b"PING"]]),
            (b"\r\n\n  \t\r\nPING\n", &[&[b"PING"]]),
            // Redis looks at no byte behind a bulk string, and at none behind a carriage return.
            (b"*1\r\n$4\r\nPINGxx*1\rx$1\rya\r\n", &[&[b"PING"], &[b"a"]]),
            // Not there yet.
            (b"", &[]),
            (b"*1\r", &[]),
            (b"*1\r\n$4\r\nPING\r", &[]),
            (b"*1048576\r\n", &[]),
            (b"PING", &[]),
        ];
        for (stream, expected) in cases {
            assert_eq!(commands(stream), *expected, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn typed_lines_are_split_as_redis_splits_them() {
        let cases: &[(&[u8], &[&[u8]])] = &[
            (b"PING\r\n", &[b"PING"]),
            (b"  SET  k\tv  \n", &[b"SET", b"k", b"v"]),
            (b"PING\rX\r\n", &[b"PING", b"X"]),
            (b"PING\r\r\n", &[b"PING"]),
            (b"ECHO\ta\x0bb\r\n", &[b"ECHO", b"a\x0bb"]),
            (b"ECHO\x0ca\r\n", &[b"ECHO\x0ca"]),
            (br#"ECHO """#, &[b"ECHO", b""]),
            (br"ECHO ''", &[b"ECHO", b""]),
            (br#"ECHO "a\x41\n\r\t\b\a\q\"\\""#, &[b"ECHO", b"aA\n\r\t\x08\x07q\"\\"]),
            (br#"ECHO "\xZZ" "\x4""#, &[b"ECHO", b"xZZ", b"x4"]),
            (br#"ECHO "\xfF\x00""#, &[b"ECHO", b"\xff\x00"]),
            (br"ECHO 'a\'b\n\\x'", &[b"ECHO", br"a'b\n\\x"]),
            (br#"ECHO ab"c d""#, &[b"ECHO", b"abc d"]),
            (br"ECHO a\x41", &[b"ECHO", br"a\x41"]),
            (b"ECHO \"a\"\x0b\r\n", &[b"ECHO", b"a"]),
        ];
        for (line, expected) in cases {
            let mut line = line.to_vec();
            line.extend_from_slice(if line.ends_with(b"\n") { b"" } else { b"\r\n" });
            assert_eq!(commands(&line), [*expected], "{}", line.escape_ascii());
        }
    }

    #[test]
    fn errors_are_worded_as_redis_words_them() {
        let limits = Limits { args_max: 2_147_483_647, ..Limits::default() };
        for (stream, text) in [
            (b"*x\r\n".as_slice(), "invalid multibulk length"),
            (b"*\r\n", "invalid multibulk length"),
            (b"*+1\r\n", "invalid multibulk length"),
            (b"*01\r\n", "invalid multibulk length"),
            (b"* 1\r\n", "invalid multibulk length"),
            (b"*1x\r\n", "invalid multibulk length"),
            (b"*1\n$4\r\nPING\r\n", "invalid multibulk length"),
            (b"*2147483648\r\n", "invalid multibulk length"),
            (b"*-9999999999999999999\r\n", "invalid multibulk length"),
            (b"*1\r\n*1\r\n", "expected '$', got '*'"),
            (b"*1\r\nabc\r\n", "expected '$', got 'a'"),
            (b"*1\r\n\r\n", "expected '$', got ' '"),
            (b"*1\r\n\xff\r\n", "expected '$', got '?'"),
            (b"*1\r\n$-1\r\n", "invalid bulk length"),
            (b"*1\r\n$x\r\n", "invalid bulk length"),
            (b"*1\r\n$\r\n", "invalid bulk length"),
            (b"*1\r\n$+4\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$04\r\nPING\r\n", "invalid bulk length"),
            (b"*1\r\n$536870913\r\n", "invalid bulk length"),
            (b"ECHO \"abc\r\n", "unbalanced quotes in request"),
            (b"ECHO 'abc\r\n", "unbalanced quotes in request"),
            (b"ECHO \"abc\\\r\n", "unbalanced quotes in request"),
            (b"ECHO \"abc\"d\r\n", "unbalanced quotes in request"),
            (b"ECHO 'abc'd\r\n", "unbalanced quotes in request"),
            (
                br"ECHO 'abc\\'
",
                "unbalanced quotes in request",
            ),
            (b"ECHO ab\"c d\r\n", "unbalanced quotes in request"),
        ] {
            let expected = format!("ERR Protocol error: {text}");
            assert_eq!(error(stream, &limits), expected, "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let limits =
            Limits { args_max: 2, bulk_bytes_max: 5, inline_bytes_max: 8, request_bytes_max: 25, authenticated: true };
        for fits in [
            b"*2\r\n$1\r\na\r\n$1\r\nb\r\n".as_slice(),
            b"*1\r\n$5\r\nabcde\r\n",
            b"*2\r\n$5\r\nabcde\r\n$3\r\nabc\r\n",
            b"PING abc\n",
        ] {
            let (commands, error) = parse(fits, &limits);
            assert_eq!((commands.len(), error), (1, None), "{}", fits.escape_ascii());
        }
        for (stream, text) in [
            (b"*3\r\n".as_slice(), "Protocol error: invalid multibulk length"),
            (b"*1\r\n$6\r\n", "Protocol error: invalid bulk length"),
            (b"*2\r\n$5\r\nabcde\r\n$5\r\n", "max request size exceeded"),
            (b"PING abcd\n", "Protocol error: too big inline request"),
            (b"PING abcd", "Protocol error: too big inline request"),
            (b"*00000000", "Protocol error: too big mbulk count string"),
            (b"*00000000\r\n", "Protocol error: too big mbulk count string"),
            (b"*1\r\n$00000000", "Protocol error: too big bulk count string"),
            (b"*1\r\naaaaaaaaa", "Protocol error: too big bulk count string"),
            (b"a b c\n", "Protocol error: invalid multibulk length"),
        ] {
            assert_eq!(error(stream, &limits), format!("ERR {text}"), "{}", stream.escape_ascii());
        }
    }

    #[test]
    fn strangers_may_send_little() {
        let mut limits = Limits { authenticated: false, ..Limits::default() };
        let text = "ERR Protocol error: unauthenticated ".to_owned();
        assert_eq!(parse(b"*10\r\n$16384\r\n", &limits), (vec![], None));
        assert_eq!(error(b"*11\r\n", &limits), text.clone() + "multibulk length");
        assert_eq!(error(b"*1\r\n$16385\r\n", &limits), text + "bulk length");
        limits.authenticated = true;
        assert_eq!(parse(b"*11\r\n$16385\r\n", &limits), (vec![], None));
    }

    #[test]
    fn a_large_value_is_waited_for_without_looking_at_it_again() {
        let mut parser = Parser::new(Limits::default());
        let mut buf = b"*2\r\n$3\r\nGET\r\n$1000\r\n".to_vec();
        assert_eq!(parser.parse(&buf), Ok(Parsed::Incomplete { more: 1002 }));
        let header = buf.len();
        buf.resize(header + 500, b'v');
        // What has been understood is not needed again: only its place counts.
        buf[..header].fill(0);
        assert_eq!(parser.parse(&buf), Ok(Parsed::Incomplete { more: 502 }));
        buf.resize(header + 1002, b'v');
        assert_eq!(parser.parse(&buf), Ok(Parsed::Complete { consumed: header + 1002 }));
        parser.with_args(&buf, |args| assert_eq!(args[1].len(), 1000));
    }

    #[test]
    fn what_is_still_missing_is_known_for_several_arguments() {
        let mut parser = Parser::new(Limits::default());
        let parsed = parser.parse(b"*3\r\n$3\r\nGE");
        assert_eq!(parsed, Ok(Parsed::Incomplete { more: 3 + 2 * 6 }));
        assert!(!parser.is_idle());
    }

    #[test]
    fn many_arguments_are_handed_out_as_well_as_few() {
        for count in [1, 16, 17, 5000] {
            let expected = vec![b"arg".as_slice(); count];
            let mut buf = Vec::new();
            encode_command(expected.iter().copied(), &mut buf);
            let mut parser = Parser::new(Limits::default());
            parser.parse(&buf).unwrap();
            parser.with_args(&buf, |args| assert_eq!(args, expected));
            assert_eq!(parser.args(&buf).len(), count);
        }
    }

    proptest! {
        #[test]
        fn what_is_encoded_is_found_again(
            sent in prop::collection::vec(
                prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 1..20),
                0..8,
            )
        ) {
            let mut stream = Vec::new();
            for command in &sent {
                encode_command(command.iter().map(Vec::as_slice), &mut stream);
            }
            prop_assert_eq!(commands(&stream), sent);
        }

        #[test]
        fn it_never_matters_how_bytes_arrive(stream in "[*$0-3a\"'\\\\ \r\n-]{0,60}") {
            let limits = Limits { inline_bytes_max: 12, request_bytes_max: 40, ..Limits::default() };
            parse(stream.as_bytes(), &limits);
        }

        #[test]
        fn quoting_a_word_keeps_it(word in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut line = b"ECHO \"".to_vec();
            for byte in &word {
                line.extend_from_slice(format!("\\x{byte:02x}").as_bytes());
            }
            line.extend_from_slice(b"\"\r\n");
            prop_assert_eq!(commands(&line), vec![vec![b"ECHO".to_vec(), word]]);
        }
    }
}
