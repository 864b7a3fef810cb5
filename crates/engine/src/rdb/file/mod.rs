//! RDB files: what Redis and Valkey write as `dump.rdb`, read and written as a stream.
//!
//! ```text
//! "REDIS" version:4, or "VALKEY" version:3      in digits
//! fe index | fb keys:length deadlines:length    which of the numbered databases follows, and how large it is
//! fd seconds:4 | fc milliseconds:8              the deadline of the key that follows
//! f8 length | f9 byte                           when or how often it was used
//! encoding key value                            a key
//! fa name value | f7 module ... | f5 library    what is no key
//! ff checksum:8                                 the end; CRC-64 of all before it, 0 for none, not before version 5
//! ```
//!
//! Values have the encodings of `DUMP` (see the parent). One value is in memory at a time: [`FileReader`] passes over it, part
//! by part, without believing a length before the bytes were there, and what it passed over is decoded afterwards, if it is
//! wanted at all. Whatever is not exactly right is an error that names the byte; nothing is skipped that was not understood.

mod input;
mod read;
mod skim;
mod write;

#[cfg(test)]
mod tests;

pub use self::read::{FileReader, Found, Held, Item};
pub use self::write::FileWriter;

/// Bytes before the first part: a name and a version.
const HEAD_BYTES: usize = 9;
/// The newest version of Redis whose files are read: what a version added is refused where it is met, if it is not known.
const REDIS_VERSION_MAX: u16 = 14;
/// The versions of Valkey, likewise.
const VALKEY_VERSIONS: std::ops::RangeInclusive<u16> = 80..=80;
/// The first version with a checksum.
const CHECKSUM_SINCE: u16 = 5;
/// Longest name or value of what is said about the file, in bytes.
const NOTE_BYTES_MAX: usize = 1 << 20;

/// What a part that is no key begins with.
mod opcode {
    pub(super) const SLOT_INFO: u8 = 244;
    pub(super) const LIBRARY: u8 = super::super::encoding::LIBRARY;
    pub(super) const LIBRARY_EARLY: u8 = super::super::encoding::LIBRARY_EARLY;
    pub(super) const MODULE_AUX: u8 = 247;
    pub(super) const IDLE: u8 = 248;
    pub(super) const FREQUENCY: u8 = 249;
    pub(super) const AUX: u8 = 250;
    pub(super) const RESIZE: u8 = 251;
    pub(super) const DEADLINE_MS: u8 = 252;
    pub(super) const DEADLINE_S: u8 = 253;
    pub(super) const INDEX: u8 = 254;
    pub(super) const END: u8 = 255;
    /// Not an opcode below this one, nor an encoding from here on.
    pub(super) const FIRST: u8 = 200;
}

/// Whose format a file has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FileVersion {
    /// Redis's, and its version: 10 is that of 7.0, 12 that of 7.4 to 8.4.
    Redis(u16),
    /// Valkey's, from 9.0 on.
    Valkey(u16),
}

impl FileVersion {
    /// The version of a payload of `DUMP`, for a file with such values.
    pub const fn of_payload(version: u16) -> Self {
        if version >= *VALKEY_VERSIONS.start() { Self::Valkey(version) } else { Self::Redis(version) }
    }
}

/// Bounds of what one part of a file may take.
#[derive(Clone, Copy, Debug)]
pub struct FileLimits {
    /// Longest key, in bytes.
    pub key_bytes_max: usize,
    /// Largest value, in bytes: as it stands in the file, and in memory.
    pub value_bytes_max: usize,
    /// Longest library of functions, in bytes.
    pub library_bytes_max: usize,
}

/// Why a file was refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// Where it comes from.
    #[error("it could not be read: {0}")]
    Read(std::io::Error),
    /// There is less of it than there was.
    #[error("it ends too early, at byte {0}")]
    CutOff(u64),
    /// It is damaged, or no RDB file.
    #[error("{what}, at byte {at}")]
    Damaged {
        /// Where.
        at: u64,
        /// How that shows.
        what: String,
    },
    /// It holds what we do not know, or cannot keep.
    #[error("{what}, at byte {at}")]
    Unknown {
        /// Where.
        at: u64,
        /// What.
        what: String,
    },
}
