//! Paths into a document: JSONPath as RedisJSON reads it, and its older dialect.
//!
//! A path that is `$` or begins with `$.` or `$[` is JSONPath and may match many values. Anything else is the older dialect:
//! `$.` is put in front (`$` where it begins with a point), and replies show one value alone. Both are then read the same way:
//! names (`.a`, `["a"]`, several at once), indexes and slices of arrays, `*`, `..` and filters (`?(@.a>1 && @.b=~"x")`).
//!
//! What was read is data; `select.rs` walks a document with it. A path comes from anyone: filters nest only so deep, numbers
//! out of range are clamped, and a pattern may only become so large.

use std::borrow::Cow;

use dormouse_proto::CommandError;
use regex::{Regex, RegexBuilder};

use super::select::Order;
use super::text::utf8;

/// How deep filters and parentheses may be nested.
const NESTING_MAX: usize = 32;
/// Most memory a pattern may take once it is compiled, in bytes.
const PATTERN_BYTES_MAX: usize = 1 << 20;

const NESTED_TOO_DEEPLY: CommandError = CommandError::text("ERR the path is nested too deeply");

/// What an error lists, as RedisJSON does: places in the path, and what may stand there.
mod expected {
    pub(super) const NAME: &str = "<string>, '*'";
    pub(super) const BRACKET: &str = "'<string>[,<string>,...]', '<number>', ['start:end:steps'], '*'";
    pub(super) const SLICE: &str = "['start:end:steps']";
    pub(super) const NUMBER: &str = "'<number>'";
    pub(super) const STEP: &str = "pos_number";
    pub(super) const FILTER: &str = "single_filter";
    pub(super) const TERM: &str = "decimal, from_current, from_root, boolean_true, boolean_false, null";
    pub(super) const OPERATOR: &str = "ge, gt, le, lt, eq, ne, re, and, or, '..'";
    pub(super) const RELATION: &str = "and, or";
    pub(super) const END: &str = "EOI, '..'";
}

/// A path that was read; see the module's text.
#[derive(Clone, Debug)]
pub struct Path {
    /// The path as it was read, with `$` in front.
    pub text: Box<str>,
    /// Whether it was written in the older dialect.
    pub legacy: bool,
    /// Its parts.
    pub segments: Vec<Segment>,
}

/// One part of a path.
#[derive(Clone, Debug)]
pub enum Segment {
    /// The member of this name.
    Key(Box<str>),
    /// The members of these names.
    Keys(Vec<Box<str>>),
    /// The elements at these positions; negative ones count from the end.
    Indexes(Vec<i64>),
    /// Every so manieth element from one position up to another.
    Slice {
        /// The first; without one, from the beginning.
        start: Option<i64>,
        /// The one after the last; without one, up to the end.
        end: Option<i64>,
        /// How far apart.
        step: usize,
    },
    /// Every element or member.
    All,
    /// What follows applies to the value and to everything below it.
    Descend,
    /// Elements or members that a condition holds for; a value that is neither array nor object stands for itself.
    Filter(Filter),
}

/// A condition.
#[derive(Clone, Debug)]
pub enum Filter {
    /// One of these holds.
    Any(Vec<Filter>),
    /// All of these hold.
    All(Vec<Filter>),
    /// There is such a value.
    Exists(Term),
    /// Two values compare as asked.
    Compare(Box<Comparison>),
}

/// Two values and how they compare.
#[derive(Clone, Debug)]
pub struct Comparison {
    /// Left of the operator.
    pub left: Term,
    /// The operator.
    pub operator: Operator,
    /// Right of the operator.
    pub right: Term,
    /// What `right` is as a pattern, where the operator wants one and the path spells it out.
    pub pattern: Option<Regex>,
}

/// How two values compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operator {
    AtLeast,
    Greater,
    AtMost,
    Less,
    Equal,
    NotEqual,
    Matches,
}

/// A value in a condition.
#[derive(Clone, Debug)]
pub enum Term {
    /// What a path from the value at hand leads to.
    Current(Vec<Segment>),
    /// What a path from the whole document leads to.
    Root(Vec<Segment>),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Double(f64),
    /// A string.
    Text(Box<str>),
    /// `true` or `false`.
    Bool(bool),
    /// `null`.
    Null,
}

/// The name or the position that a static path ends with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Last<'a> {
    /// A member's name.
    Key(&'a str),
    /// An element's position.
    Index,
}

impl Path {
    /// In which order it finds values that lie in one another.
    pub const fn order(&self) -> Order {
        if self.legacy { Order::OuterFirst } else { Order::InnerFirst }
    }

    /// Reads a path in either dialect.
    pub fn parse(arg: &[u8]) -> Result<Self, CommandError> {
        let text = utf8(arg)?;
        let legacy = !(text == "$" || text.starts_with("$.") || text.starts_with("$["));
        let text = match text {
            _ if !legacy => Cow::Borrowed(text),
            "." => Cow::Borrowed("$"),
            _ if text.starts_with('.') => Cow::Owned(format!("${text}")),
            _ => Cow::Owned(format!("$.{text}")),
        };
        let mut parser = Parser { text: &text, at: 1, nesting: 0 };
        let segments = parser.segments(false)?;
        parser.spaces();
        if parser.at < text.len() {
            return parser.fail(expected::END);
        }
        Ok(Self { segments, legacy, text: text.into() })
    }

    /// Whether it is the whole document.
    pub const fn is_root(&self) -> bool {
        self.segments.is_empty()
    }

    /// If it can match one value at most: the path to what holds that value, and the last step. Not for the root.
    pub fn parent(&self) -> Option<(&[Segment], Last<'_>)> {
        let is_static = |segment: &Segment| match segment {
            Segment::Key(_) => true,
            Segment::Indexes(indexes) => indexes.len() == 1,
            _ => false,
        };
        let (last, parent) = self.segments.split_last()?;
        let last = match last {
            Segment::Key(key) => Last::Key(key),
            _ => Last::Index,
        };
        self.segments.iter().all(is_static).then_some((parent, last))
    }
}

/// Compiles a pattern; one that is wrong or too large matches nothing.
pub fn pattern(text: &str) -> Option<Regex> {
    RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).dfa_size_limit(PATTERN_BYTES_MAX).build().ok()
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
    nesting: usize,
}

type Parsed<T> = Result<T, CommandError>;

impl<'a> Parser<'a> {
    fn rest(&self) -> &'a [u8] {
        &self.text.as_bytes()[self.at..]
    }

    fn spaces(&mut self) {
        self.at += self.rest().iter().take_while(|&&byte| byte == b' ').count();
    }

    /// Takes a sign, if it comes next.
    fn takes(&mut self, sign: &str) -> bool {
        let there = self.rest().starts_with(sign.as_bytes());
        if there {
            self.at += sign.len();
        }
        there
    }

    fn fail<T>(&self, expected: &'static str) -> Parsed<T> {
        self.fail_at(self.at, expected)
    }

    /// The error in RedisJSON's words.
    fn fail_at<T>(&self, at: usize, expected: &'static str) -> Parsed<T> {
        let (before, after) = self.text.split_at(at);
        let after = if after.is_empty() { "<<<<----".to_owned() } else { format!("---->>>> {after}") };
        let shown = format!("\"{before} {after}\", expected one of the following: {expected}.");
        Err(CommandError::from(format!("ERR Error occurred on position {at}, {shown}")))
    }

    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        self.nesting += 1;
        if self.nesting > NESTING_MAX {
            return Err(NESTED_TOO_DEEPLY);
        }
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Parts, as many as there are; `bare` is whether the first may be a name without a point.
    fn segments(&mut self, bare: bool) -> Parsed<Vec<Segment>> {
        let mut segments = Vec::new();
        loop {
            let before = self.at;
            self.spaces();
            let descends = self.takes("..");
            if descends || self.takes(".") {
                if descends {
                    segments.push(Segment::Descend);
                }
                self.spaces();
                segments.push(self.named_or_bracket()?);
            } else if self.rest().first() == Some(&b'[') {
                segments.push(self.bracket()?);
            } else {
                let first = if bare && segments.is_empty() { self.named() } else { None };
                let Some(first) = first else {
                    self.at = before;
                    return Ok(segments);
                };
                segments.push(first);
            }
        }
    }

    fn named_or_bracket(&mut self) -> Parsed<Segment> {
        if self.rest().first() == Some(&b'[') {
            return self.bracket();
        }
        self.named().map_or_else(|| self.fail(expected::NAME), Ok)
    }

    /// A name without quotes, or `*`.
    fn named(&mut self) -> Option<Segment> {
        if self.takes("*") {
            return Some(Segment::All);
        }
        let length = self.rest().iter().take_while(|&&byte| is_bare(byte)).count();
        let name = &self.text[self.at..self.at + length];
        self.at += length;
        (length > 0).then(|| Segment::Key(name.into()))
    }

    fn bracket(&mut self) -> Parsed<Segment> {
        self.at += 1;
        self.spaces();
        let start = self.at;
        match self.rest().first() {
            Some(b'?') => {
                self.at += 1;
                let filter = self.filter()?;
                if self.takes("]") { Ok(Segment::Filter(filter)) } else { self.fail(expected::RELATION) }
            }
            Some(b'*') => {
                self.at += 1;
                self.close(start, expected::BRACKET, Segment::All)
            }
            Some(b'"' | b'\'') => {
                let mut names =
                    self.list(|this| this.string().map_or_else(|| this.fail_at(start, expected::BRACKET), Ok))?;
                let segment = if names.len() == 1 { Segment::Key(names.remove(0)) } else { Segment::Keys(names) };
                self.close(start, expected::BRACKET, segment)
            }
            Some(b'0'..=b'9' | b'-' | b':') => self.numbers(start),
            _ => self.fail(expected::BRACKET),
        }
    }

    fn close(&mut self, start: usize, expected: &'static str, segment: Segment) -> Parsed<Segment> {
        self.spaces();
        if self.takes("]") { Ok(segment) } else { self.fail_at(start, expected) }
    }

    /// Things between commas.
    fn list<T>(&mut self, mut item: impl FnMut(&mut Self) -> Parsed<T>) -> Parsed<Vec<T>> {
        let mut items = Vec::new();
        loop {
            self.spaces();
            items.push(item(self)?);
            self.spaces();
            if !self.takes(",") {
                return Ok(items);
            }
        }
    }

    fn numbers(&mut self, start: usize) -> Parsed<Segment> {
        let first = self.number();
        self.spaces();
        if !self.takes(":") {
            self.at = start;
            let indexes = self.list(|this| this.number().map_or_else(|| this.fail(expected::NUMBER), Ok))?;
            return self.close(start, expected::SLICE, Segment::Indexes(indexes));
        }
        self.spaces();
        let end = self.number();
        self.spaces();
        let mut step = 1;
        if self.takes(":") {
            self.spaces();
            let at = self.at;
            if let Some(number) = self.number() {
                if number <= 0 {
                    return self.fail_at(at, expected::STEP);
                }
                step = number as usize;
            }
        }
        self.close(start, expected::SLICE, Segment::Slice { start: first, end, step })
    }

    /// A whole number; what does not fit is clamped.
    fn number(&mut self) -> Option<i64> {
        let text = self.number_text()?;
        Some(text.parse().unwrap_or(if text.starts_with('-') { i64::MIN } else { i64::MAX }))
    }

    fn number_text(&mut self) -> Option<&'a str> {
        let sign = usize::from(self.rest().first() == Some(&b'-'));
        let digits = &self.rest()[sign..];
        let count = match digits.first()? {
            // A zero stands alone.
            b'0' => 1,
            _ => digits.iter().take_while(|byte| byte.is_ascii_digit()).count(),
        };
        let text = &self.text[self.at..self.at + sign + count];
        if count == 0 {
            return None;
        }
        self.at += text.len();
        Some(text)
    }

    /// A string in either quotes, where a backslash may stand before that quote and before itself only.
    fn string(&mut self) -> Option<Box<str>> {
        let quote = *self.rest().first().filter(|byte| matches!(byte, b'"' | b'\''))?;
        let mut text = String::new();
        let mut letters = self.text[self.at + 1..].char_indices();
        while let Some((at, letter)) = letters.next() {
            match letter {
                _ if letter == char::from(quote) => {
                    self.at += at + 2;
                    return Some(text.into());
                }
                '\\' => text.push(
                    letters.next().map(|(_, next)| next).filter(|&next| next == '\\' || next == char::from(quote))?,
                ),
                _ => text.push(letter),
            }
        }
        None
    }

    fn filter(&mut self) -> Parsed<Filter> {
        self.nested(|this| this.relation("||", Filter::Any, |this| this.relation("&&", Filter::All, Self::condition)))
    }

    fn relation(
        &mut self,
        sign: &str,
        join: fn(Vec<Filter>) -> Filter,
        mut part: impl FnMut(&mut Self) -> Parsed<Filter>,
    ) -> Parsed<Filter> {
        let mut parts = vec![part(self)?];
        self.spaces();
        while self.takes(sign) {
            parts.push(part(self)?);
            self.spaces();
        }
        Ok(if parts.len() == 1 { parts.remove(0) } else { join(parts) })
    }

    fn condition(&mut self) -> Parsed<Filter> {
        self.spaces();
        if self.takes("(") {
            let filter = self.filter()?;
            return if self.takes(")") { Ok(filter) } else { self.fail(expected::RELATION) };
        }
        let left = self.term(expected::FILTER)?;
        self.spaces();
        let Some(operator) = self.operator() else {
            let ends = self.rest().starts_with(b"&&") || self.rest().starts_with(b"||");
            let is_path = matches!(left, Term::Current(_) | Term::Root(_));
            if is_path && !ends && !matches!(self.rest().first(), Some(b')' | b']')) {
                return self.fail(expected::OPERATOR);
            }
            return Ok(Filter::Exists(left));
        };
        self.spaces();
        let right = self.term(expected::TERM)?;
        let pattern = match &right {
            Term::Text(text) if operator == Operator::Matches => pattern(text),
            _ => None,
        };
        Ok(Filter::Compare(Box::new(Comparison { left, operator, right, pattern })))
    }

    fn operator(&mut self) -> Option<Operator> {
        [
            (">=", Operator::AtLeast),
            (">", Operator::Greater),
            ("<=", Operator::AtMost),
            ("<", Operator::Less),
            ("==", Operator::Equal),
            ("!=", Operator::NotEqual),
            ("=~", Operator::Matches),
        ]
        .into_iter()
        .find_map(|(sign, operator)| self.takes(sign).then_some(operator))
    }

    fn term(&mut self, expected: &'static str) -> Parsed<Term> {
        Ok(match self.rest().first() {
            Some(b'@') => {
                self.at += 1;
                Term::Current(self.nested(|this| this.segments(true))?)
            }
            Some(b'$') => {
                self.at += 1;
                Term::Root(self.nested(|this| this.segments(true))?)
            }
            Some(b'"' | b'\'') => match self.string() {
                Some(text) => Term::Text(text),
                None => return self.fail(expected),
            },
            _ if self.takes("true") => Term::Bool(true),
            _ if self.takes("false") => Term::Bool(false),
            _ if self.takes("null") => Term::Null,
            _ => match self.decimal() {
                Some(number) => number,
                None => return self.fail(expected),
            },
        })
    }

    fn decimal(&mut self) -> Option<Term> {
        let start = self.at;
        let whole = self.number_text()?;
        if let [b'.', digits @ ..] = self.rest() {
            let count = digits.iter().take_while(|byte| byte.is_ascii_digit()).count();
            if count > 0 {
                self.at += 1 + count;
            }
        }
        let text = &self.text[start..self.at];
        match whole.parse() {
            Ok(value) if whole.len() == text.len() => Some(Term::Integer(value)),
            _ => text.parse().ok().map(Term::Double),
        }
    }
}

/// Whether a byte may stand in a name without quotes.
const fn is_bare(byte: u8) -> bool {
    byte.is_ascii_alphanumeric()
        || matches!(byte, b'-' | b'_' | b'`' | b'~' | b'+' | b'#' | b'%' | b'$' | b'^' | b'/' | b':')
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(path: &str) -> String {
        Path::parse(path.as_bytes()).unwrap_err().to_string()
    }

    #[test]
    fn both_dialects_are_told_apart() {
        for (path, text, legacy) in [
            ("$", "$", false),
            ("$.a", "$.a", false),
            ("$[0]", "$[0]", false),
            (".", "$", true),
            (".a", "$.a", true),
            ("a.b", "$.a.b", true),
            ("..a", "$..a", true),
            ("[0]", "$.[0]", true),
            ("$a", "$.$a", true),
        ] {
            let parsed = Path::parse(path.as_bytes()).unwrap();
            assert_eq!((&*parsed.text, parsed.legacy), (text, legacy), "{path}");
        }
    }

    #[test]
    fn errors_say_where_and_what_in_redisjsons_words() {
        for (path, expected) in [
            ("", "position 2, \"$. <<<<----\", expected one of the following: <string>, '*'."),
            ("$.a b", "position 4, \"$.a  ---->>>> b\", expected one of the following: EOI, '..'."),
            ("$[01]", "position 2, \"$[ ---->>>> 01]\", expected one of the following: ['start:end:steps']."),
            ("$[0,\"a\"]", "position 4, \"$[0, ---->>>> \"a\"]\", expected one of the following: '<number>'."),
            ("$[::0]", "position 4, \"$[:: ---->>>> 0]\", expected one of the following: pos_number."),
            ("$[?()]", "position 4, \"$[?( ---->>>> )]\", expected one of the following: single_filter."),
            ("$[?(@.a>1", "position 9, \"$[?(@.a>1 <<<<----\", expected one of the following: and, or."),
        ] {
            assert_eq!(error(path), format!("ERR Error occurred on {expected}"), "{path}");
        }
        assert!(error("$.é").contains("---->>>> é"));
        assert_eq!(Path::parse(b"$.\xff").unwrap_err().to_string(), "ERR Couldn't parse as UTF-8 string");
    }

    #[test]
    fn nesting_has_an_end() {
        let nested = |levels: usize| format!("$[?{}1{}]", "(".repeat(levels), ")".repeat(levels));
        assert!(Path::parse(nested(NESTING_MAX - 1).as_bytes()).is_ok());
        assert_eq!(error(&nested(NESTING_MAX)), "ERR the path is nested too deeply");
        assert_eq!(error(&("$".to_owned() + &"[?(@".repeat(10_000))), "ERR the path is nested too deeply");
    }

    #[test]
    fn static_paths_know_their_parent() {
        let last = |path: &str| {
            Path::parse(path.as_bytes()).unwrap().parent().map(|(parent, last)| (parent.len(), format!("{last:?}")))
        };
        assert_eq!(last("$"), None);
        assert_eq!(last("$.a[0].b"), Some((2, "Key(\"b\")".into())));
        assert_eq!(last("$.a[-1]"), Some((1, "Index".into())));
        for path in ["$.*", "$..a", "$.a[0,1]", "$['a','b']", "$[?(@)].a", "$[:].a"] {
            assert_eq!(last(path), None, "{path}");
        }
    }
}
