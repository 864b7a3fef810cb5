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
        ArgsIter {
            bytes: if self.typed { &self.line } else { buf },
            ranges: self.args.iter(),
        }
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
        self.args.shrink_to(ARGS_KEPT);
        self.line.clear();
        self.line.shrink_to(LINE_BYTES_KEPT);
        self.typed = first != b'*';
        self.at = 0;
        self.scanned = 0;
        self.bulk = None;
        self.stage = if self.typed {
            Stage::Inline
        } else {
            Stage::Count
        };
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
            .filter(|&length| length <= self.limits.bulk_bytes_max)
            .ok_or(ProtocolError::InvalidBulkLength)?;
        if !self.limits.authenticated && length > UNAUTHENTICATED_BULK_BYTES_MAX {
            return Err(ProtocolError::UnauthenticatedBulkLength);
        }
        let end = self.at.saturating_add(length).saturating_add(2);
        if end > self.limits.request_bytes_max {
            return Err(ProtocolError::RequestTooLarge);
        }
        Ok(Some(length))
    }

    /// Takes the line at `at`, up to a carriage return and whatever byte comes behind it.
    fn line(
        &mut self,
        buf: &[u8],
        too_long: ProtocolError,
    ) -> Result<Option<Range<usize>>, ProtocolError> {
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
fn split_line(
    line: &[u8],
    text: &mut Vec<u8>,
    args: &mut Vec<Range<usize>>,
) -> Result<(), ProtocolError> {
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

fn take_double_quoted<'a>(
    mut rest: &'a [u8],
    text: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
    loop {
        rest = match rest {
            [b'"', tail @ ..] => return Ok(tail),
            [b'\\', b'x', high, low, tail @ ..]
                if high.is_ascii_hexdigit() && low.is_ascii_hexdigit() =>
            {
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

fn take_single_quoted<'a>(
    mut rest: &'a [u8],
    text: &mut Vec<u8>,
) -> Result<&'a [u8], ProtocolError> {
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
