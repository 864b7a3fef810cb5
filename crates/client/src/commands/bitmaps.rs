//! Bits of strings, and integers of any width among them.

use std::fmt;

use crate::args::{Args, ToArg, ToArgs};
use crate::client::Client;
use crate::command::Command;

/// Part of a string, both ends included; negative ones count from its end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum BitRange {
    /// All of it.
    All,
    /// From one byte to another.
    Bytes(i64, i64),
    /// From one bit to another.
    Bits(i64, i64),
}

impl ToArgs for BitRange {
    fn add_to(&self, args: &mut Args) {
        args.add(match self {
            Self::All => None,
            Self::Bytes(start, end) => Some((start, end, "BYTE")),
            Self::Bits(start, end) => Some((start, end, "BIT")),
        });
    }
}

/// How strings are combined bit by bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum BitOp {
    /// Set in all of them.
    And,
    /// Set in any of them.
    Or,
    /// Set in an odd number of them.
    Xor,
    /// Not set in the one there is.
    Not,
    /// Set in the first and in none of the others. Since Redis 8.2.
    Diff,
    /// Set in one of the others and not in the first. Since Redis 8.2.
    Diff1,
    /// Set in the first and in one of the others. Since Redis 8.2.
    AndOr,
    /// Set in exactly one of them. Since Redis 8.2.
    One,
}

impl ToArgs for BitOp {
    fn add_to(&self, args: &mut Args) {
        args.add(match self {
            Self::And => "AND",
            Self::Or => "OR",
            Self::Xor => "XOR",
            Self::Not => "NOT",
            Self::Diff => "DIFF",
            Self::Diff1 => "DIFF1",
            Self::AndOr => "ANDOR",
            Self::One => "ONE",
        });
    }
}

impl ToArg for BitOp {}

/// What becomes of an integer that does not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Overflow {
    /// It starts over, as is the default.
    Wrap,
    /// It stays at its limit.
    Saturate,
    /// Nothing is done, and the answer is nothing.
    Fail,
}

impl fmt::Display for Overflow {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Wrap => "WRAP",
            Self::Saturate => "SAT",
            Self::Fail => "FAIL",
        })
    }
}

/// Operations on integers within a string, for [`Client::bitfield`]. Types are `u8`, `i13` and the like; offsets are in bits,
/// or with a `#` in front in widths of the type.
///
/// ```
/// use dormouse_client::{BitField, Overflow};
///
/// # dormouse_client::example(async |client| {
/// let field = BitField::new().set("u4", 0, 15).overflow(Overflow::Saturate).incr("u4", 0, 5).get("u4", "#0");
/// assert_eq!(client.bitfield("bits", field).await?, [Some(0), Some(15), Some(15)]);
/// # Ok(()) });
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[must_use = "operations do nothing by themselves"]
pub struct BitField(Args);

impl BitField {
    /// None yet.
    pub const fn new() -> Self {
        Self(Args::new())
    }

    fn and(mut self, words: impl ToArgs) -> Self {
        self.0.add(words);
        self
    }

    /// The integer there.
    pub fn get(self, kind: &str, offset: impl ToArg) -> Self {
        self.and(("GET", kind, offset))
    }

    /// Sets the integer there; what it was.
    pub fn set(self, kind: &str, offset: impl ToArg, value: i64) -> Self {
        self.and(("SET", kind, offset, value))
    }

    /// Adds to the integer there; what it is then.
    pub fn incr(self, kind: &str, offset: impl ToArg, by: i64) -> Self {
        self.and(("INCRBY", kind, offset, by))
    }

    /// What becomes of integers that do not fit, from here on.
    ///
    /// ```
    /// use dormouse_client::{BitField, Overflow};
    ///
    /// let field = BitField::new().overflow(Overflow::Fail).incr("u8", "#3", 1);
    /// # drop(field);
    /// ```
    pub fn overflow(self, overflow: Overflow) -> Self {
        self.and(("OVERFLOW", overflow.to_string()))
    }
}

impl ToArgs for BitField {
    fn add_to(&self, args: &mut Args) {
        args.add(&self.0);
    }
}

impl Client {
    /// Sets a bit; what it was.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.setbit("seen", 7, true).await?);
    /// # Ok(()) });
    /// ```
    pub fn setbit(&self, key: impl ToArg, offset: u64, bit: bool) -> Command<bool> {
        self.write("SETBIT").arg(key).arg(offset).arg(u64::from(bit))
    }

    /// A bit.
    ///
    /// ```
    /// # dormouse_client::example(async |client| {
    /// assert!(!client.getbit("seen", 7).await?);
    /// # Ok(()) });
    /// ```
    pub fn getbit(&self, key: impl ToArg, offset: u64) -> Command<bool> {
        self.read("GETBIT").arg(key).arg(offset)
    }

    /// How many bits are set.
    ///
    /// ```
    /// use dormouse_client::BitRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", b"\xff\x01").await?;
    /// assert_eq!(client.bitcount("k", BitRange::All).await?, 9);
    /// assert_eq!(client.bitcount("k", BitRange::Bytes(1, -1)).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn bitcount(&self, key: impl ToArg, range: BitRange) -> Command<u64> {
        self.read("BITCOUNT").arg(key).arg(range)
    }

    /// Where a bit of that kind is first; -1 if nowhere.
    ///
    /// ```
    /// use dormouse_client::BitRange;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.set("k", b"\x0f").await?;
    /// assert_eq!(client.bitpos("k", true, BitRange::All).await?, 4);
    /// # Ok(()) });
    /// ```
    pub fn bitpos(&self, key: impl ToArg, bit: bool, range: BitRange) -> Command<i64> {
        self.read("BITPOS").arg(key).arg(u64::from(bit)).arg(range)
    }

    /// Combines strings bit by bit into another; its length in bytes.
    ///
    /// ```
    /// use dormouse_client::BitOp;
    ///
    /// # dormouse_client::example(async |client| {
    /// client.mset([("a", b"\x0f"), ("b", b"\xf0")]).await?;
    /// assert_eq!(client.bitop(BitOp::Or, "c", ["a", "b"]).await?, 1);
    /// # Ok(()) });
    /// ```
    pub fn bitop(&self, how: BitOp, to: impl ToArg, keys: impl ToArgs) -> Command<u64> {
        self.write("BITOP").arg(how).arg(to).arg(keys)
    }

    /// Reads and writes integers within a string; an answer for each operation but `overflow`.
    ///
    /// ```
    /// use dormouse_client::BitField;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.bitfield("k", BitField::new().incr("i5", 100, 1)).await?, [Some(1)]);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "operations are written where they are used")]
    pub fn bitfield(&self, key: impl ToArg, operations: BitField) -> Command<Vec<Option<i64>>> {
        self.write("BITFIELD").arg(key).arg(&operations)
    }

    /// Reads integers within a string.
    ///
    /// ```
    /// use dormouse_client::BitField;
    ///
    /// # dormouse_client::example(async |client| {
    /// assert_eq!(client.bitfield_ro("k", BitField::new().get("u8", 0)).await?, [0]);
    /// # Ok(()) });
    /// ```
    #[expect(clippy::needless_pass_by_value, reason = "operations are written where they are used")]
    pub fn bitfield_ro(&self, key: impl ToArg, operations: BitField) -> Command<Vec<i64>> {
        self.read("BITFIELD_RO").arg(key).arg(&operations)
    }
}
