//! Commands as JSON: one array of scalars, or an array of such arrays.
//!
//! A scanner of our own, because all we want of the body is where its strings are: those without escapes are borrowed, the
//! others are unescaped into a scratch buffer, and numbers stay as they were written, so that `1e21` or a 30-digit integer
//! reaches the command as the client typed it. It accepts exactly JSON, with one kindness: half a surrogate pair, which
//! JavaScript can send, becomes U+FFFD. Null, nested arrays and objects are refused, as Redis has nothing to store them as.

use super::binary;
use super::scan::{first_word, is_special, plain_run};
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
        Self { args_max: 1024 * 1024, commands_max: 64 * 1024 }
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
    /// RESP, as it begins with `*`, and yet not.
    #[error("ERR invalid RESP in the request body at byte {at}: {what}")]
    Resp {
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
    #[error("ERR argument {0} is an array or object, arguments must be strings, numbers or booleans")]
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

/// Reads the body of `POST /`: one command, as JSON or as RESP.
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
    if binary::is_binary(body) {
        let end = binary::command(body, 0, limits, &mut args)?;
        let whole = end == body.len();
        return if whole {
            Ok(args)
        } else {
            Err(BodyError::Resp { at: end, what: "unexpected bytes behind the command" })
        };
    }
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
    if binary::is_binary(body) {
        return binary_pipeline(body, limits);
    }
    let mut pipeline = Pipeline::default();
    let mut scanner = Scanner::new(body, scratch, limits);
    scanner
        .open(BodyError::NotAPipeline)
        .and_then(|()| scanner.commands(&mut pipeline))
        .and_then(|()| scanner.end())
        .map_err(|error| blame_encoding(error, body))?;
    Ok(pipeline)
}

fn binary_pipeline<'a>(body: &'a [u8], limits: &Limits) -> Result<Pipeline<'a>, BodyError> {
    let mut pipeline = Pipeline::default();
    let mut at = 0;
    while at < body.len() {
        let number = pipeline.ends.len() + 1;
        if number > limits.commands_max {
            return Err(BodyError::TooManyCommands(limits.commands_max));
        }
        at = binary::command(body, at, limits, &mut pipeline.args).map_err(|error| in_command(number, error))?;
        pipeline.ends.push(pipeline.args.len());
    }
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
        Self { body, at: 0, arena: Arena::Untouched(scratch), limits }
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
            self.inner_command(pipeline).map_err(|error| in_command(number, error))?;
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

    /// The same for one that cannot be borrowed: what is plain is copied, escapes are replaced.
    fn escaped_string(&mut self) -> Result<&'a [u8], BodyError> {
        let start = self.at;
        // There is always room for as many bytes as the body still has, so whole words may be copied.
        let room = self.arena.take(self.body.len() - start);
        let mut used = 0;
        let mut maybe_not_ascii = false;
        loop {
            let rest = &self.body[self.at..];
            let plain = if let Some(word) = first_word(rest) {
                room[used..used + 8].copy_from_slice(&word.bytes);
                maybe_not_ascii |= word.maybe_not_ascii;
                word.plain
            } else {
                let run = plain_run(rest);
                room[used..used + run.bytes].copy_from_slice(&rest[..run.bytes]);
                maybe_not_ascii |= run.maybe_not_ascii;
                run.bytes
            };
            used += plain;
            self.at += plain;
            match self.body.get(self.at) {
                Some(b'"') => break,
                Some(b'\\') => used += self.escape(&mut room[used..])?,
                Some(byte) if !is_special(*byte) => {}
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
    #[inline]
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
        let what = if self.at >= self.body.len() { "it ends too early" } else { what };
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
        error => BodyError::InCommand { number, error: Box::new(error) },
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::Value;

    use super::*;

    type Command = Vec<Vec<u8>>;

    fn owned(args: &[&[u8]]) -> Command {
        args.iter().map(|arg| arg.to_vec()).collect()
    }

    fn command(body: &[u8]) -> Result<Command, BodyError> {
        let mut scratch = b"left over".to_vec();
        parse_command(body, &mut scratch, &Limits::default()).map(|args| owned(&args))
    }

    fn pipeline(body: &[u8]) -> Result<Vec<Command>, BodyError> {
        let mut scratch = Vec::new();
        let commands = parse_pipeline(body, &mut scratch, &Limits::default())?;
        let listed: Vec<_> = commands.iter().map(owned).collect();
        assert_eq!(listed.len(), commands.len());
        assert_eq!(listed.is_empty(), commands.is_empty());
        for (index, command) in listed.iter().enumerate() {
            assert_eq!(commands.get(index).map(owned).as_ref(), Some(command));
        }
        assert_eq!(commands.get(listed.len()), None);
        Ok(listed)
    }

    #[test]
    fn elements_become_arguments() {
        let cases: &[(&str, &[&str])] = &[
            (r#"["PING"]"#, &["PING"]),
            (r#"["SET","k","v"]"#, &["SET", "k", "v"]),
            (" [ \"SET\" ,\t\"k\"\r\n, 1 ] \n", &["SET", "k", "1"]),
            (r#"[""]"#, &[""]),
            (r#"["a",true,false]"#, &["a", "true", "false"]),
            // Numbers stay as they are written.
            (r#"["a",0,-0,100,-5]"#, &["a", "0", "-0", "100", "-5"]),
            (r#"["a",99.5,1e21,1E+2,2e-07,0.10]"#, &["a", "99.5", "1e21", "1E+2", "2e-07", "0.10"]),
            (r#"["a",123456789012345678901234567890,1e999]"#, &["a", "123456789012345678901234567890", "1e999"]),
            // Escapes.
            (r#"["\"\\\/\b\f\n\r\t"]"#, &["\"\\/\u{8}\u{c}\n\r\t"]),
            (r#"["\u0000\u00e9\u20AC","\ud83d\ude00"]"#, &["\0é€", "😀"]),
            (r#"["a\nb","plain","c\nd"]"#, &["a\nb", "plain", "c\nd"]),
            ("[\"é€😀\u{7f}\u{2028}\"]", &["é€😀\u{7f}\u{2028}"]),
            // Half pairs.
            (
                r#"["\ud800","\udc00x","\ud800\n","\ud800\u0041"]"#,
                &["\u{fffd}", "\u{fffd}x", "\u{fffd}\n", "\u{fffd}A"],
            ),
            (r#"["\ud800\ud83d\ude00"]"#, &["\u{fffd}😀"]),
            (r#"["SET","k","{\"a\":[1,null]}"]"#, &["SET", "k", r#"{"a":[1,null]}"#]),
        ];
        for (body, expected) in cases {
            let expected: Command = expected.iter().map(|arg| arg.as_bytes().to_vec()).collect();
            assert_eq!(command(body.as_bytes()), Ok(expected.clone()), "{body}");
            assert_eq!(pipeline(format!("[{body}]").as_bytes()), Ok(vec![expected]), "{body}");
        }
    }

    #[test]
    fn wrong_commands_are_told_apart() {
        for (body, error) in [
            ("", BodyError::Empty),
            (" \n", BodyError::Empty),
            ("{}", BodyError::NotACommand),
            (r#""PING""#, BodyError::NotACommand),
            ("null", BodyError::NotACommand),
            ("PING", BodyError::NotACommand),
            ("[]", BodyError::EmptyCommand),
            ("[1]", BodyError::NameNotAString),
            ("[null]", BodyError::NameNotAString),
            ("[true]", BodyError::NameNotAString),
            (r#"[["PING"]]"#, BodyError::NameNotAString),
            (r#"["a",null]"#, BodyError::NullArgument(1)),
            (r#"["a","b",[]]"#, BodyError::NestedArgument(2)),
            (r#"["a",{}]"#, BodyError::NestedArgument(1)),
        ] {
            assert_eq!(command(body.as_bytes()), Err(error), "{body}");
        }
    }

    #[test]
    fn wrong_json_is_placed() {
        for (body, at, what) in [
            ("[", 1, "it ends too early"),
            (r#"["a"#, 3, "it ends too early"),
            (r#"["a\"#, 4, "it ends too early"),
            (r#"["a""#, 4, "it ends too early"),
            (r#"["a","#, 5, "it ends too early"),
            (r#"["a",]"#, 5, "expected a string, a number or a boolean"),
            (r#"[,"a"]"#, 1, "expected a string"),
            ("['a']", 1, "expected a string"),
            (r#"["a" "b"]"#, 5, "expected a comma or a closing bracket"),
            (r#"["a"}"#, 4, "expected a comma or a closing bracket"),
            (r#"["a"] x"#, 6, "unexpected text behind the array"),
            (r#"["a"]]"#, 5, "unexpected text behind the array"),
            ("[\"a\nb\"]", 3, "control character in a string"),
            ("[\"\0\"]", 2, "control character in a string"),
            (r#"["\x"]"#, 3, "unknown escape"),
            (r#"["\u12g4"]"#, 3, "expected four hexadecimal digits"),
            (r#"["\u123"]"#, 3, "expected four hexadecimal digits"),
            (r#"["\u+123"]"#, 3, "expected four hexadecimal digits"),
            (r#"["\ud800\u"]"#, 9, "expected four hexadecimal digits"),
            (r#"["a",01]"#, 6, "expected a comma or a closing bracket"),
            (r#"["a",-]"#, 6, "expected a digit"),
            (r#"["a",1.]"#, 7, "expected a digit"),
            (r#"["a",1.e1]"#, 7, "expected a digit"),
            (r#"["a",1e]"#, 7, "expected a digit"),
            (r#"["a",.5]"#, 5, "expected a string, a number or a boolean"),
            (r#"["a",+5]"#, 5, "expected a string, a number or a boolean"),
            (r#"["a",NaN]"#, 5, "expected a string, a number or a boolean"),
            (r#"["a",trux]"#, 5, "unknown word"),
            (r#"["a",nul]"#, 5, "unknown word"),
            (r#"["a",truex]"#, 9, "expected a comma or a closing bracket"),
        ] {
            let error = command(body.as_bytes());
            assert_eq!(error, Err(BodyError::Syntax { at, what }), "{body}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_called_so() {
        for body in
            [b"[\"a\xff\"]".as_slice(), b"[\"\\n\xc3\"]", b"[\"\xed\xa0\x80\"]", b"\x1f\x8b\x08", b"[\"a\"]\xff"]
        {
            assert_eq!(command(body), Err(BodyError::NotUtf8), "{}", body.escape_ascii());
        }
    }

    #[test]
    fn pipelines_hold_commands() {
        let ok = |body: &str| pipeline(body.as_bytes()).map(|commands| commands.len());
        assert_eq!(ok("[]"), Ok(0));
        assert_eq!(ok(" [ ] "), Ok(0));
        assert_eq!(ok(r#"[["a"],["b","c"] , ["d"]]"#), Ok(3));
        for (body, error) in [
            ("", BodyError::Empty),
            ("{}", BodyError::NotAPipeline),
            (r#"["PING"]"#, BodyError::NotAPipeline),
            (r#"[["PING"],null]"#, BodyError::NotAPipeline),
            (r#"[["PING"],{}]"#, BodyError::NotAPipeline),
            (r#"[["PING"],]"#, BodyError::Syntax { at: 10, what: "expected a command, which is an array" }),
        ] {
            assert_eq!(ok(body), Err(error), "{body}");
        }
    }

    #[test]
    fn the_wrong_command_of_a_pipeline_is_named() {
        for (body, text) in [
            (r#"[["a"],[]]"#, "ERR empty command (command 2 of the pipeline)"),
            (
                r#"[["a",null]]"#,
                "ERR argument 1 is null, arguments must be strings, numbers or booleans (command 1 of the pipeline)",
            ),
            (
                r#"[["a"],["b"],[[]]]"#,
                "ERR invalid command, the command name must be a string (command 3 of the pipeline)",
            ),
        ] {
            assert_eq!(pipeline(body.as_bytes()).unwrap_err().to_string(), text, "{body}");
        }
    }

    #[test]
    fn limits_hold_at_the_limit_and_one_past_it() {
        let limits = Limits { args_max: 2, commands_max: 2 };
        let one = |body: &str| parse_command(body.as_bytes(), &mut Vec::new(), &limits).map(|args| args.len());
        assert_eq!(one(r#"["a",1]"#), Ok(2));
        assert_eq!(one(r#"["a",1,2]"#), Err(BodyError::TooManyArguments(2)));
        let all = |body: &str| parse_pipeline(body.as_bytes(), &mut Vec::new(), &limits).map(|all| all.len());
        assert_eq!(all(r#"[["a",1],["b",2]]"#), Ok(2));
        assert_eq!(all(r#"[["a"],["b"],["c"]]"#), Err(BodyError::TooManyCommands(2)));
        let error = Box::new(BodyError::TooManyArguments(2));
        assert_eq!(all(r#"[["a"],["b",1,2]]"#), Err(BodyError::InCommand { number: 2, error }));
    }

    #[test]
    fn strings_without_escapes_are_borrowed() {
        let body = br#"["SET","k","a long value that is nowhere copied",12]"#;
        let mut scratch = Vec::new();
        let args = parse_command(body, &mut scratch, &Limits::default()).unwrap();
        let inside = body.as_ptr_range();
        assert!(args.iter().all(|arg| inside.contains(&arg.as_ptr())));
        assert!(scratch.is_empty());
    }

    /// What serde makes of a body, in our terms; `None` if it is JSON but no command.
    fn judged(value: &Value) -> Option<Command> {
        let items = value.as_array()?;
        items.first()?.as_str()?;
        items
            .iter()
            .map(|item| match item {
                Value::String(text) => Some(text.clone().into_bytes()),
                Value::Number(number) => Some(number.to_string().into_bytes()),
                Value::Bool(value) => Some(value.to_string().into_bytes()),
                _ => None,
            })
            .collect()
    }

    fn scalar() -> impl Strategy<Value = Value> {
        prop_oneof![
            8 => "\\PC{0,40}".prop_map(Value::from),
            4 => "[\0-\x1f\"\\\\/a-zé😀]{0,40}".prop_map(Value::from),
            2 => any::<i64>().prop_map(Value::from),
            1 => any::<bool>().prop_map(Value::from),
        ]
    }

    fn commands() -> impl Strategy<Value = Vec<Vec<Value>>> {
        let name = "[A-Z\\\\\n]{0,10}".prop_map(Value::from);
        let command = (name, prop::collection::vec(scalar(), 0..8)).prop_map(|(name, mut args)| {
            args.insert(0, name);
            args
        });
        prop::collection::vec(command, 0..6)
    }

    proptest! {
        #[test]
        fn serde_agrees_on_what_it_wrote(commands in commands(), pretty in any::<bool>()) {
            let write = if pretty { serde_json::to_vec_pretty } else { serde_json::to_vec };
            let expected = commands.iter().map(|args| judged(&Value::from(args.clone())).unwrap());
            let body = write(&commands).unwrap();
            prop_assert_eq!(pipeline(&body), Ok(expected.collect::<Vec<_>>()));
        }

        #[test]
        fn serde_agrees_on_what_is_json(body in "\\[(\"[aé\\\\\"nu0d8\n]{0,8}\"|[-+.0-9eE]{1,6}|true|false|null|,|,|\\[|\\]|\\{| ){0,8}\\]?") {
            let mut body = body;
            // Where we are kinder, or keep what serde cannot hold, it is no judge.
            prop_assume!(!body.contains("\\ud8") && !body.contains("\\udd"));
            prop_assume!(!body.contains(['e', 'E']) || body.contains("true") || body.contains("false"));
            if !body.starts_with('[') { body.insert(0, '['); }
            match serde_json::from_str::<Value>(&body) {
                Err(_) => prop_assert!(command(body.as_bytes()).is_err(), "{}", body),
                Ok(value) => {
                    let ours = command(body.as_bytes()).ok();
                    prop_assert_eq!(ours.map(|args| args.len()), judged(&value).map(|args| args.len()), "{}", body);
                }
            }
        }

        #[test]
        fn any_bytes_are_read_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = command(&bytes);
            let _ = pipeline(&[b"[[\"", bytes.as_slice()].concat());
        }
    }
}
