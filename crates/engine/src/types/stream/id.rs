//! Entry ids: a time in milliseconds and a sequence number within it, both 64 bits, in one order.
//!
//! An id names an entry for ever, so it is never given twice: each new one is above the last ([`Id::next`]). As text it is
//! `ms-seq`; what a command makes of half an id depends on what it asks for ([`Id::parse`]). Ranges are closed here: an
//! exclusive bound is turned into its neighbour where it is read.

use dormouse_proto::{Blob, CommandError};

use crate::codec::{Corrupt, Reader, put_int};

const INVALID: CommandError = CommandError::text("ERR Invalid stream ID specified as stream command argument");
const INVALID_START: CommandError = CommandError::text("ERR invalid start ID for the interval");
const INVALID_END: CommandError = CommandError::text("ERR invalid end ID for the interval");
/// Longer text is no id.
const TEXT_BYTES_MAX: usize = 127;

/// See the module's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Id {
    pub(crate) ms: u64,
    pub(crate) seq: u64,
}

impl Id {
    /// Before every entry.
    pub(crate) const MIN: Self = Self { ms: 0, seq: 0 };
    /// No entry is above it.
    pub(crate) const MAX: Self = Self { ms: u64::MAX, seq: u64::MAX };

    /// The id after this one; none after the last.
    pub(crate) const fn next(self) -> Option<Self> {
        match (self.seq.checked_add(1), self.ms.checked_add(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: 0 }),
            (None, None) => None,
        }
    }

    /// The id before this one; none before the first.
    pub(crate) const fn previous(self) -> Option<Self> {
        match (self.seq.checked_sub(1), self.ms.checked_sub(1)) {
            (Some(seq), _) => Some(Self { ms: self.ms, seq }),
            (None, Some(ms)) => Some(Self { ms, seq: u64::MAX }),
            (None, None) => None,
        }
    }

    /// An id; one without a sequence number gets `missing_seq`.
    pub(crate) fn parse(text: &[u8], missing_seq: u64) -> Result<Self, CommandError> {
        if text.len() > TEXT_BYTES_MAX {
            return Err(INVALID);
        }
        let mut parts = text.splitn(2, |&byte| byte == b'-');
        let ms = parts.next().and_then(number).ok_or(INVALID)?;
        let seq = match parts.next() {
            Some(seq) => number(seq).ok_or(INVALID)?,
            None => missing_seq,
        };
        Ok(Self { ms, seq })
    }

    /// The lower end of a range: `-`, `+`, an id, or an exclusive one after `(`.
    pub(crate) fn parse_start(text: &[u8]) -> Result<Self, CommandError> {
        match text {
            [b'(', rest @ ..] if !rest.is_empty() => Self::parse(rest, 0)?.next().ok_or(INVALID_START),
            _ => Self::parse_bound(text, 0),
        }
    }

    /// The upper end of a range.
    pub(crate) fn parse_end(text: &[u8]) -> Result<Self, CommandError> {
        match text {
            [b'(', rest @ ..] if !rest.is_empty() => Self::parse(rest, u64::MAX)?.previous().ok_or(INVALID_END),
            _ => Self::parse_bound(text, u64::MAX),
        }
    }

    /// An id, or `-` and `+` for the first and the last there can be.
    pub(crate) fn parse_bound(text: &[u8], missing_seq: u64) -> Result<Self, CommandError> {
        match text {
            b"-" => Ok(Self::MIN),
            b"+" => Ok(Self::MAX),
            _ => Self::parse(text, missing_seq),
        }
    }

    /// Its text.
    pub(crate) fn text(self) -> Blob {
        let (mut ms, mut seq) = (itoa::Buffer::new(), itoa::Buffer::new());
        let text = [ms.format(self.ms), "-", seq.format(self.seq)].concat();
        Blob::from(text.as_bytes())
    }

    pub(super) fn write(self, out: &mut Vec<u8>) {
        put_int(out, self.ms);
        put_int(out, self.seq);
    }

    pub(super) fn read(input: &mut Reader<'_>) -> Result<Self, Corrupt> {
        Ok(Self { ms: input.int()?, seq: input.int()? })
    }
}

/// What C's `strtoull` takes, as far as it is a number: spaces before it, a plus sign, leading zeros.
fn number(text: &[u8]) -> Option<u64> {
    let digits = text.trim_ascii_start();
    let digits = digits.strip_prefix(b"+").unwrap_or(digits);
    if !digits.first()?.is_ascii_digit() {
        return None;
    }
    std::str::from_utf8(digits).ok()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn id(ms: u64, seq: u64) -> Id {
        Id { ms, seq }
    }

    #[test]
    fn neighbours_carry_over() {
        assert_eq!(id(5, 7).next(), Some(id(5, 8)));
        assert_eq!(id(5, u64::MAX).next(), Some(id(6, 0)));
        assert_eq!(Id::MAX.next(), None);
        assert_eq!(id(5, 0).previous(), Some(id(4, u64::MAX)));
        assert_eq!(Id::MIN.previous(), None);
    }

    #[test]
    fn texts_are_read_as_redis_reads_them() {
        for (text, expected) in [
            ("5-7", Some(id(5, 7))),
            ("5", Some(id(5, 99))),
            ("0", Some(id(0, 99))),
            ("007-01", Some(id(7, 1))),
            ("18446744073709551615-18446744073709551615", Some(Id::MAX)),
            ("18446744073709551616", None),
            ("", None),
            ("-", None),
            ("+", None),
            ("5-", None),
            ("-5", None),
            ("5-*", None),
            ("5-6-7", None),
            ("a", None),
        ] {
            assert_eq!(Id::parse(text.as_bytes(), 99).ok(), expected, "{text}");
        }
        assert!(Id::parse(&[b'0'; 128], 0).is_err());
        assert_eq!(id(u64::MAX, 3).text(), b"18446744073709551615-3".as_slice());
    }

    #[test]
    fn bounds_may_be_open_half_or_exclusive() {
        assert_eq!(Id::parse_start(b"-"), Ok(Id::MIN));
        assert_eq!(Id::parse_end(b"+"), Ok(Id::MAX));
        assert_eq!(Id::parse_start(b"5"), Ok(id(5, 0)));
        assert_eq!(Id::parse_end(b"5"), Ok(id(5, u64::MAX)));
        assert_eq!(Id::parse_start(b"(5-1"), Ok(id(5, 2)));
        assert_eq!(Id::parse_end(b"(5-1"), Ok(id(5, 0)));
        assert_eq!(Id::parse_start(b"(-"), Err(INVALID));
        assert_eq!(Id::parse_start(b"("), Err(INVALID));
        assert_eq!(Id::parse_start(b"(18446744073709551615-18446744073709551615"), Err(INVALID_START));
        assert_eq!(Id::parse_end(b"(0-0"), Err(INVALID_END));
    }
}
