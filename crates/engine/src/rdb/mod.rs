//! Redis's own bytes for one value: what `DUMP` answers and `RESTORE` takes.
//!
//! A payload is a byte for the encoding, the value, two bytes for the version of the format and eight for a checksum of all
//! that (both little endian). We write version 10, in the plainest encoding of each type, so that every Redis from 7.0 on
//! takes it (7.4 for a hash whose fields have deadlines, which is version 12, and 8.8 for a stream that remembers producers or
//! entries that were given back, which is version 14); which of a list's or a hash's packed forms Redis would have chosen is
//! nobody's business but its own. We read
//! every encoding that a Redis or Valkey wrote for our types, back to the ziplists and zipmaps of the first ones: whoever
//! moves here brings such payloads along (`read.rs` has the encodings, `packed.rs` the forms that pack a collection into one
//! string).
//!
//! A payload comes from anyone. No length in it is believed before the bytes were seen, what is compressed may only expand
//! within a budget, and one that is not exactly right is refused: nothing of it is ever stored.

mod checksum;
mod file;
mod functions;
mod length;
pub(crate) mod listpack;
mod lzf;
mod packed;
mod read;
mod stream;
mod write;

#[cfg(test)]
mod real;
#[cfg(test)]
mod tests;

pub use self::file::{FileError, FileLimits, FileReader, FileVersion, FileWriter, Found, Held, Item};
pub use self::functions::{dump_libraries, restore_libraries};
pub use self::read::{restore, value_of};
pub use self::write::{body, dump};

/// The version we write: that of Redis 7.0.
const VERSION: u16 = 10;
/// The version that has deadlines of fields: that of Redis 7.4.
const VERSION_DEADLINES: u16 = 12;
/// The newest version we read: that of Redis 8.8. From 7.0 on, versions added encodings and changed none.
const VERSION_MAX: u16 = 14;
/// The version of Valkey 9, which counts on its own from 80.
const VERSION_VALKEY: u16 = 80;
/// Bytes of version and checksum.
const FOOTER_BYTES: usize = 10;

/// First byte of a payload: how the value is encoded. What is missing between these numbers was never part of a release,
/// or is the first form of modules' values.
mod encoding {
    pub(super) const STRING: u8 = 0;
    pub(super) const LIST: u8 = 1;
    pub(super) const SET: u8 = 2;
    pub(super) const ZSET_TEXT: u8 = 3;
    pub(super) const HASH: u8 = 4;
    pub(super) const ZSET: u8 = 5;
    pub(super) const MODULE: u8 = 7;
    pub(super) const HASH_ZIPMAP: u8 = 9;
    pub(super) const LIST_ZIPLIST: u8 = 10;
    pub(super) const SET_INTSET: u8 = 11;
    pub(super) const ZSET_ZIPLIST: u8 = 12;
    pub(super) const HASH_ZIPLIST: u8 = 13;
    pub(super) const LIST_QUICKLIST: u8 = 14;
    pub(super) const STREAM: u8 = 15;
    pub(super) const HASH_LISTPACK: u8 = 16;
    pub(super) const ZSET_LISTPACK: u8 = 17;
    pub(super) const LIST_QUICKLIST_2: u8 = 18;
    pub(super) const STREAM_2: u8 = 19;
    pub(super) const SET_LISTPACK: u8 = 20;
    pub(super) const STREAM_3: u8 = 21;
    /// Valkey 9's, of hashes whose fields have deadlines. In Redis the number stands for something that was never released.
    pub(super) const HASH_DEADLINES_VALKEY: u8 = 22;
    pub(super) const HASH_DEADLINES: u8 = 24;
    pub(super) const HASH_LISTPACK_DEADLINES: u8 = 25;
    pub(super) const STREAM_4: u8 = 26;
    pub(super) const STREAM_5: u8 = 27;
    pub(super) const LIBRARY: u8 = 245;
    /// From before 7.0 was released.
    pub(super) const LIBRARY_EARLY: u8 = 246;
}

/// A value of a module: which module it is from, then parts that say what they are. Of the modules there are, we have
/// RedisJSON's documents, whose one part is the text.
mod module {
    /// `ReJSON-RL`, six bits for each letter, and the version of its encoding, 3.
    pub(super) const JSON: u64 = 0x45e2_5238_df91_2c03;
    /// No more parts.
    pub(super) const END: u64 = 0;
    /// A string follows.
    pub(super) const STRING: u64 = 5;
}

/// What a string's length says when it is no length but announces another form of string.
mod form {
    pub(super) const INT8: u8 = 0;
    pub(super) const INT16: u8 = 1;
    pub(super) const INT32: u8 = 2;
    pub(super) const COMPRESSED: u8 = 3;
}

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// It is damaged, or newer than we are.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// It is not a value of a type that we have.
    #[error("Bad data format")]
    Format,
    /// The value would take more memory than one may.
    #[error("the value takes too much memory")]
    TooLarge,
}

/// The oldest version of the format that has the encoding of a payload without its footer, as we write it.
pub fn version_of(body: &[u8]) -> u16 {
    match body.first() {
        Some(&encoding::HASH_DEADLINES) => VERSION_DEADLINES,
        Some(&encoding::STREAM_5) => VERSION_MAX,
        _ => VERSION,
    }
}

/// Makes a payload of an encoding and a value: appends the oldest version that has the encoding, and the checksum.
pub fn seal(mut payload: Vec<u8>) -> Vec<u8> {
    let version = version_of(&payload);
    payload.extend_from_slice(&version.to_le_bytes());
    let checksum = checksum::of(&payload);
    payload.extend_from_slice(&checksum.to_le_bytes());
    payload
}

/// Encoding and value of a payload of `DUMP` that is whole and no newer than we are, and its version.
pub fn opened(payload: &[u8]) -> Result<(&[u8], u16), RestoreError> {
    let body = unseal(payload)?;
    Ok((body, u16::from_le_bytes([payload[body.len()], payload[body.len() + 1]])))
}

/// The encoding and value of a payload that is whole and no newer than we are.
fn unseal(payload: &[u8]) -> Result<&[u8], RestoreError> {
    let at = payload.len().checked_sub(FOOTER_BYTES).ok_or(RestoreError::Footer)?;
    let (checked, checksum) = payload.split_at(payload.len() - 8);
    let version = u16::from_le_bytes([payload[at], payload[at + 1]]);
    let whole = checksum::of(checked).to_le_bytes() == checksum;
    if !whole || version > VERSION_MAX && version != VERSION_VALKEY {
        return Err(RestoreError::Footer);
    }
    if version != VERSION_VALKEY && payload[0] == encoding::HASH_DEADLINES_VALKEY {
        return Err(RestoreError::Format);
    }
    Ok(&payload[..at])
}
