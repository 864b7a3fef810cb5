//! Reading arguments: the few shapes that most commands share.
//!
//! Handlers read like the command's syntax line: fixed arguments by index, then options through [`Options`], which takes
//! them in any order and any case, as Redis does.

use dormouse_proto::{Args, Blob, CommandError, parse_double, parse_integer};

use crate::txn::Deadline;

/// A 64-bit integer.
pub(crate) fn integer(arg: &[u8]) -> Result<i64, CommandError> {
    parse_integer(arg).ok_or(CommandError::NotAnInteger)
}

/// A double; not NaN.
pub(crate) fn double(arg: &[u8]) -> Result<f64, CommandError> {
    parse_double(arg).ok_or(CommandError::NotAFloat)
}

/// Whether an argument is a keyword, in any case.
pub(crate) fn is(arg: &[u8], keyword: &str) -> bool {
    arg.eq_ignore_ascii_case(keyword.as_bytes())
}

/// Text of an integer.
pub(crate) fn integer_text(value: i64) -> Blob {
    Blob::from(itoa::Buffer::new().format(value).as_bytes())
}

/// A count that must be positive, with the error text a command gives otherwise.
pub(crate) fn positive(arg: &[u8], error: &'static str) -> Result<usize, CommandError> {
    match parse_integer(arg) {
        Some(value) if value > 0 => Ok(value as usize),
        _ => Err(CommandError::text(error)),
    }
}

/// How long a blocking command waits, from seconds to milliseconds; `None`, written 0, is for ever.
pub(crate) fn timeout_ms(arg: &[u8], now_ms: u64) -> Result<Option<u64>, CommandError> {
    let seconds = parse_double(arg).ok_or(CommandError::text("ERR timeout is not a float or out of range"))?;
    let millis = (seconds * 1_000.0).ceil();
    if millis < 0.0 {
        return Err(CommandError::text("ERR timeout is negative"));
    }
    // What is too large for it becomes the largest there is.
    ends_in_time(Some(millis as u64).filter(|&millis| millis > 0), now_ms)
}

/// A timeout whose end 64 bits can hold.
pub(crate) fn ends_in_time(timeout_ms: Option<u64>, now_ms: u64) -> Result<Option<u64>, CommandError> {
    let end = timeout_ms.unwrap_or_default().checked_add(now_ms);
    if end.is_some_and(|end| i64::try_from(end).is_ok()) {
        return Ok(timeout_ms);
    }
    Err(CommandError::text("ERR timeout is out of range"))
}

/// Optional arguments, read from left to right.
pub(crate) struct Options<'a> {
    rest: Args<'a>,
}

impl<'a> Options<'a> {
    /// The options in `rest`.
    pub(crate) const fn new(rest: Args<'a>) -> Self {
        Self { rest }
    }

    /// The next argument, whatever it is.
    pub(crate) fn next(&mut self) -> Option<&'a [u8]> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(first)
    }

    /// The argument an option needs.
    pub(crate) fn value(&mut self) -> Result<&'a [u8], CommandError> {
        self.next().ok_or(CommandError::Syntax)
    }

    /// An integer an option needs.
    pub(crate) fn integer(&mut self) -> Result<i64, CommandError> {
        integer(self.value()?)
    }

    /// What has not been read.
    pub(crate) const fn rest(&self) -> Args<'a> {
        self.rest
    }
}

/// The unit and origin of a deadline given as an option.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Span {
    /// Seconds from now.
    Seconds,
    /// Milliseconds from now.
    Millis,
    /// Seconds since the Unix epoch.
    UnixSeconds,
    /// Milliseconds since the Unix epoch.
    UnixMillis,
}

impl Span {
    /// `EX`, `PX`, `EXAT` or `PXAT`.
    pub(crate) fn parse(arg: &[u8]) -> Option<Self> {
        [("EX", Self::Seconds), ("PX", Self::Millis), ("EXAT", Self::UnixSeconds), ("PXAT", Self::UnixMillis)]
            .into_iter()
            .find_map(|(name, span)| is(arg, name).then_some(span))
    }

    /// The deadline in milliseconds since the Unix epoch; `None` if that leaves 64 bits. May be negative.
    pub(crate) const fn deadline(self, amount: i64, now_ms: u64) -> Option<i64> {
        let scaled = match self {
            Self::Seconds | Self::UnixSeconds => match amount.checked_mul(1_000) {
                Some(millis) => millis,
                None => return None,
            },
            Self::Millis | Self::UnixMillis => amount,
        };
        match self {
            Self::Seconds | Self::Millis => scaled.checked_add(now_ms as i64),
            Self::UnixSeconds | Self::UnixMillis => Some(scaled),
        }
    }

    /// As [`Self::deadline`], for commands that want a positive amount: `SET … EX`, `GETEX`, `SETEX`.
    pub(crate) fn positive_deadline(
        self,
        amount: &[u8],
        now_ms: u64,
        command: &'static str,
    ) -> Result<Deadline, CommandError> {
        let amount = integer(amount)?;
        let deadline = self.deadline(amount, now_ms).filter(|_| amount > 0);
        deadline.map(|at| Deadline::At(at.max(1) as u64)).ok_or(CommandError::InvalidExpire(command))
    }
}
