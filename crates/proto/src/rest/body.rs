//! Commands as JSON: one array of scalars, or an array of such arrays.
//!
//! A scanner of our own, because all we want of the body is where its strings are: those without escapes are borrowed, the
//! others are unescaped into a scratch buffer, and numbers stay as they were written, so that `1e21` or a 30-digit integer
//! reaches the command as the client typed it. It accepts exactly JSON, with one kindness: half a surrogate pair, which
//! JavaScript can send, becomes U+FFFD. Null, nested arrays and objects are refused, as Redis has nothing to store them as.

use super::scan::plain_run;
use crate::CommandError;

/// What a body may hold; how many bytes it may have is for whoever reads it to say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Arguments of one command, its name included.
    pub args_max: usize,
    /// Commands of one pipeline or transaction.
    pub commands_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            args_max: 1024 * 1024,
            commands_max: 64 * 1024,
        }
    }
}

/// The body is no command. Arguments are counted as the client wrote them: the name is number 0.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum BodyError {
    /// Nothing was sent.
    #[error("ERR empty request body, expected a JSON array")]
    Empty,
    /// Not UTF-8, as JSON has to be.
    #[error("ERR invalid JSON in the request body: not valid UTF-8")]
    NotUtf8,
    /// Not JSON.
    #[error("ERR invalid JSON in the request body at byte {at}: {what}")]
    Syntax {
        /// Counted from 0.
        at: usize,
        /// What is wrong there.
        what: &'static str,
    },
    /// JSON, but no array.
    #[error("ERR invalid command, expected a JSON array of a command and its arguments")]
    NotACommand,
    /// JSON, but no array.
    #[error("ERR invalid pipeline, expected a JSON array of commands, each an array")]
    NotAPipeline,
    /// An array of nothing.
    #[error("ERR empty command")]
    EmptyCommand,
    /// The first element is no string.
    #[error("ERR invalid command, the command name must be a string")]
    NameNotAString,
    /// Null, which is no argument.
    #[error("ERR argument {0} is null, arguments must be strings, numbers or booleans")]
    NullArgument(usize),
    /// An array or an object, which is no argument.
    #[error(
        "ERR argument {0} is an array or object, arguments must be strings, numbers or booleans"
    )]
    NestedArgument(usize),
    /// More arguments than allowed.
    #[error("ERR too many arguments in one command, at most {0} are allowed")]
    TooManyArguments(usize),
    /// More commands than allowed.
    #[error("ERR too many commands in one request, at most {0} are allowed")]
    TooManyCommands(usize),
    /// One command of a pipeline is wrong; counted from 1, as the SDKs do.
    #[error("{error} (command {number} of the pipeline)")]
    InCommand {
        /// Which one.
        number: usize,
        /// What is wrong with it.
        error: Box<BodyError>,
    },
}

impl From<BodyError> for CommandError {
    fn from(error: BodyError) -> Self {
        error.to_string().into()
    }
}

/// Commands one after the other: all their arguments in one list, and where each command ends.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pipeline<'a> {
    args: Vec<&'a [u8]>,
    ends: Vec<usize>,
}

impl<'a> Pipeline<'a> {
    /// How many commands there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The arguments of one command, its name first.
    pub fn get(&self, index: usize) -> Option<&[&'a [u8]]> {
        let end = *self.ends.get(index)?;
        let start = index.checked_sub(1).map_or(0, |before| self.ends[before]);
        Some(&self.args[start..end])
    }

    /// The commands in order.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &[&'a [u8]]> + Clone {
        let mut start = 0;
        self.ends.iter().map(move |&end| {
            let command = &self.args[start..end];
            start = end;
            command
        })
    }
}

/// Reads the body of `POST /`: one command.
///
/// What has to be unescaped goes to `scratch`, whose contents do not matter; handing in the same one again saves memory.
///
/// ```
/// use dormouse_proto::rest::{Limits, parse_command};
/// let mut scratch = Vec::new();
/// let args = parse_command(br#"["SET","k",1e21]"#, &mut scratch, &Limits::default())?;
/// assert_eq!(args, [b"SET".as_slice(), b"k", b"1e21"]);
/// # Ok::<(), dormouse_proto::rest::BodyError>(())
/// ```
pub fn parse_command<'a>(
    body: &'a [u8],
    scratch: &'a mut Vec<u8>,
    limits: &Limits,
) -> Result<Vec<&'a [u8]>, BodyError> {
    let mut args = Vec::with_capacity(8);
    let mut scanner = Scanner::new(body, scratch, limits);
    scanner
        .open(BodyError::NotACommand)
        .and_then(|()| scanner.command(&mut args))
        .and_then(|()| scanner.end())
        .map_err(|error| blame_encoding(error, body))?;
    Ok(args)
}

/// Reads the body of `POST /pipeline` or `POST /multi-exec`: any number of commands, also none.
///
/// `scratch` is as for [`parse_command`].
pub fn parse_pipeline<'a>(
    body: &'a [u8],
    scratch: &'a mut Vec<u8>,
    limits: &Limits,
) -> Result<Pipeline<'a>, BodyError> {
    let mut pipeline = Pipeline::default();
    let mut scanner = Scanner::new(body, scratch, limits);
    scanner
        .open(BodyError::NotAPipeline)
        .and_then(|()| scanner.commands(&mut pipeline))
        .and_then(|()| scanner.end())
        .map_err(|error| blame_encoding(error, body))?;
    Ok(pipeline)
}

/// A compressed or binary body fails on its first odd byte; saying that it is not text helps more.
#[cold]
fn blame_encoding(error: BodyError, body: &[u8]) -> BodyError {
    match std::str::from_utf8(body) {
        Ok(_) => error,
        Err(_) => BodyError::NotUtf8,
    }
}

/// Room for unescaped strings, cut off piece by piece. Unescaping never makes a string longer, so the length of what is
/// left of the body when the first escape turns up is enough for all of them.
enum Arena<'a> {
    Untouched(&'a mut Vec<u8>),
    Open(&'a mut [u8]),
}

impl<'a> Arena<'a> {
    /// All the room that is left, of which there are at least `enough` bytes the first time.
    fn take(&mut self, enough: usize) -> &'a mut [u8] {
        match std::mem::replace(self, Self::Open(&mut [])) {
            Self::Open(room) => room,
            Self::Untouched(scratch) => {
                if scratch.len() < enough {
                    scratch.resize(enough, 0);
                }
                scratch
            }
        }
    }
}

struct Scanner<'a, 'l> {
    body: &'a [u8],
    at: usize,
    arena: Arena<'a>,
    limits: &'l Limits,
}

impl<'a, 'l> Scanner<'a, 'l> {
    fn new(body: &'a [u8], scratch: &'a mut Vec<u8>, limits: &'l Limits) -> Self {
        Self {
            body,
            at: 0,
            arena: Arena::Untouched(scratch),
            limits,
        }
    }

    /// The next byte that is no blank; it stays where it is.
    #[inline]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.body.get(self.at)?;
            if !matches!(byte, b' ' | b'\t' | b'\n' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes `byte` if it comes next.
    #[inline]
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.peek() == Some(byte);
        self.at += usize::from(found);
        found
    }

    /// Takes the bracket all bodies start with.
    fn open(&mut self, otherwise: BodyError) -> Result<(), BodyError> {
        if self.takes(b'[') {
            return Ok(());
        }
        if self.peek().is_none() {
            return Err(BodyError::Empty);
        }
        Err(otherwise)
    }

    fn end(&mut self) -> Result<(), BodyError> {
        match self.peek() {
            None => Ok(()),
            Some(_) => Err(self.wrong("unexpected text behind the array")),
        }
    }

    fn commands(&mut self, pipeline: &mut Pipeline<'a>) -> Result<(), BodyError> {
        if self.takes(b']') {
            return Ok(());
        }
        loop {
            let number = pipeline.ends.len() + 1;
            if number > self.limits.commands_max {
                return Err(BodyError::TooManyCommands(self.limits.commands_max));
            }
            self.inner_command(pipeline)
                .map_err(|error| in_command(number, error))?;
            pipeline.ends.push(pipeline.args.len());
            if !self.goes_on()? {
                return Ok(());
            }
        }
    }

    fn inner_command(&mut self, pipeline: &mut Pipeline<'a>) -> Result<(), BodyError> {
        match self.peek() {
            Some(b'[') => self.at += 1,
            Some(b'"' | b'{' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(BodyError::NotAPipeline);
            }
            _ => return Err(self.wrong("expected a command, which is an array")),
        }
        self.command(&mut pipeline.args)
    }

    /// What follows the opening bracket of a command, its closing one included.
    fn command(&mut self, args: &mut Vec<&'a [u8]>) -> Result<(), BodyError> {
        let start = args.len();
        match self.peek() {
            Some(b'"') => {}
            Some(b']') => return Err(BodyError::EmptyCommand),
            Some(b'[' | b'{' | b'-' | b'0'..=b'9' | b't' | b'f' | b'n') => {
                return Err(BodyError::NameNotAString);
            }
            _ => return Err(self.wrong("expected a string")),
        }
        loop {
            let index = args.len() - start;
            if index == self.limits.args_max {
                return Err(BodyError::TooManyArguments(self.limits.args_max));
            }
            args.push(self.argument(index)?);
            if !self.goes_on()? {
                return Ok(());
            }
        }
    }

    /// Takes a comma (true) or the closing bracket (false).
    #[inline]
    fn goes_on(&mut self) -> Result<bool, BodyError> {
        match self.peek() {
            Some(b',') => {
                self.at += 1;
                Ok(true)
            }
            Some(b']') => {
                self.at += 1;
                Ok(false)
            }
            _ => Err(self.wrong("expected a comma or a closing bracket")),
        }
    }

    #[inline]
    fn argument(&mut self, index: usize) -> Result<&'a [u8], BodyError> {
        match self.peek() {
            Some(b'"') => {
                self.at += 1;
                self.string()
            }
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.word(b"true"),
            Some(b'f') => self.word(b"false"),
            Some(b'n') => {
                self.word(b"null")?;
                Err(BodyError::NullArgument(index))
            }
            Some(b'[' | b'{') => Err(BodyError::NestedArgument(index)),
            _ => Err(self.wrong("expected a string, a number or a boolean")),
        }
    }

    fn word(&mut self, word: &'static [u8]) -> Result<&'a [u8], BodyError> {
        if !self.body[self.at..].starts_with(word) {
            return Err(self.wrong("unknown word"));
        }
        self.at += word.len();
        Ok(word)
    }

    /// Takes a number as it is written.
    fn number(&mut self) -> Result<&'a [u8], BodyError> {
        let start = self.at;
        self.skip(b'-');
        // A zero stands alone before the point.
        if !self.skip(b'0') {
            self.digits()?;
        }
        if self.skip(b'.') {
            self.digits()?;
        }
        if self.skip(b'e') || self.skip(b'E') {
            let _ = self.skip(b'+') || self.skip(b'-');
            self.digits()?;
        }
        Ok(&self.body[start..self.at])
    }

    fn skip(&mut self, byte: u8) -> bool {
        let found = self.body.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn digits(&mut self) -> Result<(), BodyError> {
        let rest = &self.body[self.at..];
        let count = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(self.wrong("expected a digit"));
        }
        self.at += count;
        Ok(())
    }

    /// Takes a string, whose opening quote has been taken.
    #[inline]
    fn string(&mut self) -> Result<&'a [u8], BodyError> {
        let rest = &self.body[self.at..];
        let run = plain_run(rest);
        let (text, rest) = rest.split_at(run.bytes);
        match rest.first() {
            Some(b'"') => {
                if run.maybe_not_ascii {
                    check_utf8(text)?;
                }
                self.at += run.bytes + 1;
                Ok(text)
            }
            _ => self.escaped_string(),
        }
    }

    /// The same for one that cannot be borrowed: runs are copied, escapes replaced.
    fn escaped_string(&mut self) -> Result<&'a [u8], BodyError> {
        let start = self.at;
        let room = self.arena.take(self.body.len() - start);
        let mut used = 0;
        let mut maybe_not_ascii = false;
        loop {
            let run = plain_run(&self.body[self.at..]);
            let plain = &self.body[self.at..self.at + run.bytes];
            room[used..used + plain.len()].copy_from_slice(plain);
            used += plain.len();
            self.at += plain.len();
            maybe_not_ascii |= run.maybe_not_ascii;
            match self.body.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => used += self.escape(&mut room[used..])?,
                Some(_) => return Err(self.wrong("control character in a string")),
                None => return Err(self.wrong("a string does not end")),
            }
        }
        if maybe_not_ascii {
            check_utf8(&self.body[start..self.at])?;
        }
        self.at += 1;
        let (text, room) = room.split_at_mut(used);
        self.arena = Arena::Open(room);
        Ok(text)
    }

    /// Takes one escape and writes what it stands for; returns how many bytes that is.
    fn escape(&mut self, room: &mut [u8]) -> Result<usize, BodyError> {
        self.at += 1;
        let byte = match self.body.get(self.at) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'n') => b'\n',
            Some(b't') => b'\t',
            Some(b'r') => b'\r',
            Some(b'b') => 8,
            Some(b'f') => 12,
            Some(b'u') => return self.unicode(room),
            _ => return Err(self.wrong("unknown escape")),
        };
        self.at += 1;
        room[0] = byte;
        Ok(1)
    }

    /// Takes `u00e9`, and a second escape if the two make a surrogate pair.
    fn unicode(&mut self, room: &mut [u8]) -> Result<usize, BodyError> {
        let unit = self.code_unit()?;
        let mut code = unit;
        if matches!(unit, 0xd800..=0xdbff) && self.body[self.at..].starts_with(b"\\u") {
            let behind_first = self.at;
            self.at += 1;
            let second = self.code_unit()?;
            if matches!(second, 0xdc00..=0xdfff) {
                code = 0x10000 + ((unit - 0xd800) << 10) + (second - 0xdc00);
            } else {
                self.at = behind_first;
            }
        }
        let character = char::from_u32(code).unwrap_or(char::REPLACEMENT_CHARACTER);
        Ok(character.encode_utf8(room).len())
    }

    /// Takes `u` and four hexadecimal digits.
    fn code_unit(&mut self) -> Result<u32, BodyError> {
        let digits = self.body.get(self.at + 1..self.at + 5).unwrap_or_default();
        let mut unit = 0;
        for &digit in digits {
            let Some(value) = char::from(digit).to_digit(16) else {
                return Err(self.wrong("expected four hexadecimal digits"));
            };
            unit = unit << 4 | value;
        }
        if digits.is_empty() {
            return Err(self.wrong("expected four hexadecimal digits"));
        }
        self.at += 5;
        Ok(unit)
    }

    #[cold]
    fn wrong(&self, what: &'static str) -> BodyError {
        let what = if self.at >= self.body.len() {
            "it ends too early"
        } else {
            what
        };
        BodyError::Syntax { at: self.at, what }
    }
}

fn check_utf8(text: &[u8]) -> Result<(), BodyError> {
    match std::str::from_utf8(text) {
        Ok(_) => Ok(()),
        Err(_) => Err(BodyError::NotUtf8),
    }
}

/// Says which command of a pipeline is wrong, unless the place is said already or it is the body as a whole.
#[cold]
fn in_command(number: usize, error: BodyError) -> BodyError {
    match error {
        error @ (BodyError::Syntax { .. } | BodyError::NotUtf8 | BodyError::NotAPipeline) => error,
        error => BodyError::InCommand {
            number,
            error: Box::new(error),
        },
    }
}
