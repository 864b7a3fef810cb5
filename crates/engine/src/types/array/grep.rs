//! `ARGREP`: which strings of an array match.
//!
//! Conditions and options come in any order and the last word counts, so the whole command is read before anything is
//! compiled. Bytes are bytes: letters fold as ASCII. Regular expressions are matched in time linear in the string, which a
//! client cannot spoil; that rules out back-references, as in Redis.

use std::ops::RangeInclusive;

use dormouse_proto::{Args, CommandError, Reply};
use memchr::memmem::Finder;
use regex::bytes::{Regex, RegexBuilder};

use super::value::Array;
use super::{LIMIT_NOT_POSITIVE, parse_index, unsigned};
use crate::args::{integer, is};
use crate::glob;
use crate::txn::{Outcome, Txn};

/// Most conditions of one command.
const CONDITIONS_MAX: usize = 250;
/// Longest regular expression, in bytes.
const REGEX_BYTES_MAX: usize = 2_048;
/// Most memory a compiled one may take.
const COMPILED_BYTES_MAX: usize = 1 << 20;

/// What a string is compared with.
enum Condition {
    Exact(Vec<u8>),
    Contains(Box<Finder<'static>>),
    Glob(Vec<u8>),
    Regex(Regex),
}

impl Condition {
    /// Whether a string, whose letters are folded if case does not matter, meets it.
    fn holds(&self, value: &[u8]) -> bool {
        match self {
            Self::Exact(text) => value == text,
            Self::Contains(finder) => finder.find(value).is_some(),
            Self::Glob(pattern) => glob::matches(pattern, value),
            Self::Regex(regex) => regex.is_match(value),
        }
    }
}

/// What to look for, and what to show.
struct Search {
    conditions: Vec<Condition>,
    all: bool,
    no_case: bool,
    with_values: bool,
    limit: usize,
}

impl Search {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        let mut texts: Vec<(&[u8], &[u8])> = Vec::new();
        let mut search =
            Self { conditions: Vec::new(), all: false, no_case: false, with_values: false, limit: usize::MAX };
        let mut rest = args;
        while let [word, after @ ..] = rest {
            rest = after;
            match () {
                () if is(word, "WITHVALUES") => search.with_values = true,
                () if is(word, "NOCASE") => search.no_case = true,
                () if is(word, "AND") => search.all = true,
                () if is(word, "OR") => search.all = false,
                () => {
                    let [value, after @ ..] = after else { return Err(CommandError::Syntax) };
                    rest = after;
                    if is(word, "LIMIT") {
                        search.limit = usize::try_from(integer(value)?)
                            .ok()
                            .filter(|limit| *limit > 0)
                            .ok_or(LIMIT_NOT_POSITIVE)?;
                    } else {
                        check(word, value, texts.len())?;
                        texts.push((word, value));
                    }
                }
            }
        }
        if texts.is_empty() {
            return Err(CommandError::Syntax);
        }
        let no_case = search.no_case;
        search.conditions =
            texts.iter().map(|(word, text)| condition(word, text, no_case)).collect::<Result<_, _>>()?;
        Ok(search)
    }

    fn matches(&self, value: &[u8]) -> bool {
        let folded: Vec<u8>;
        let value = if self.no_case {
            folded = value.to_ascii_lowercase();
            &folded
        } else {
            value
        };
        let holds = |condition: &Condition| condition.holds(value);
        if self.all { self.conditions.iter().all(holds) } else { self.conditions.iter().any(holds) }
    }

    fn row(&self, index: u64, value: &dormouse_proto::Blob) -> Reply {
        if self.with_values { Reply::Array(vec![unsigned(index), Reply::Bulk(value.clone())]) } else { unsigned(index) }
    }
}

/// Whether a word announces a condition, and the condition is within bounds.
fn check(word: &[u8], text: &[u8], before: usize) -> Result<(), CommandError> {
    if !["EXACT", "MATCH", "GLOB", "RE"].iter().any(|known| is(word, known)) {
        return Err(CommandError::Syntax);
    }
    if before >= CONDITIONS_MAX {
        return Err(CommandError::text("ERR too many predicates, maximum is 250"));
    }
    if is(word, "RE") && text.len() > REGEX_BYTES_MAX {
        return Err(CommandError::text("ERR regular expression is too long, maximum is 2048 bytes"));
    }
    Ok(())
}

fn condition(word: &[u8], text: &[u8], no_case: bool) -> Result<Condition, CommandError> {
    if is(word, "RE") {
        return regex(text, no_case).map(Condition::Regex);
    }
    let text = if no_case { text.to_ascii_lowercase() } else { text.to_vec() };
    Ok(match () {
        () if is(word, "EXACT") => Condition::Exact(text),
        () if is(word, "MATCH") => Condition::Contains(Box::new(Finder::new(&text).into_owned())),
        () => Condition::Glob(text),
    })
}

fn regex(text: &[u8], no_case: bool) -> Result<Regex, CommandError> {
    const INVALID: CommandError = CommandError::text("ERR invalid regular expression");
    if text.is_empty() {
        return Err(CommandError::text("ERR regular expression is empty"));
    }
    if refers_back(text) {
        return Err(CommandError::text("ERR regular expression backreferences are not supported"));
    }
    let pattern = str::from_utf8(text).map_err(|_| INVALID)?;
    let mut builder = RegexBuilder::new(pattern);
    builder.unicode(false).dot_matches_new_line(true).case_insensitive(no_case).size_limit(COMPILED_BYTES_MAX);
    builder.build().map_err(|error| match error {
        regex::Error::CompiledTooBig(_) => CommandError::text("ERR invalid regular expression: Out of memory"),
        _ => INVALID,
    })
}

/// Whether a backslash stands before a digit other than 0.
fn refers_back(text: &[u8]) -> bool {
    let mut bytes = text.iter();
    while let Some(byte) = bytes.next() {
        if *byte == b'\\' && bytes.next().is_some_and(|next| (b'1'..=b'9').contains(next)) {
            return true;
        }
    }
    false
}

/// A bound of the search: an index, or `-` and `+` for the ends there are.
fn bound(arg: &[u8], array: &Array) -> Result<u64, CommandError> {
    match arg {
        b"-" => Ok(0),
        b"+" => Ok(array.len().saturating_sub(1)),
        arg => parse_index(arg),
    }
}

pub(super) fn argrep(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let nothing = Array::default();
    bound(args[2], &nothing)?;
    bound(args[3], &nothing)?;
    let search = Search::parse(&args[4..])?;
    let Some(array) = txn.get::<Array>(args[1])? else { return Ok(Reply::Array(Vec::new())) };
    let (start, end) = (bound(args[2], array)?, bound(args[3], array)?);
    let rows = |range: RangeInclusive<u64>, backward: bool| {
        let row =
            |(index, value): (u64, &dormouse_proto::Blob)| search.matches(value).then(|| search.row(index, value));
        if backward {
            array.range(range).rev().filter_map(row).take(search.limit).collect()
        } else {
            array.range(range).filter_map(row).take(search.limit).collect()
        }
    };
    Ok(Reply::Array(if start > end { rows(end..=start, true) } else { rows(start..=end, false) }))
}
