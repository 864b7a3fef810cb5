//! Libraries of functions as a payload: their texts, one after the other, then version and checksum as for any value.
//!
//! A text says all there is to know of a library: who restores it loads it.

use std::borrow::Cow;

use super::read::Cursor;
use super::write::put_string;
use super::{encoding, seal, unseal};

/// Why a payload was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LibrariesError {
    /// It is damaged, or newer than we are.
    #[error("DUMP payload version or checksum are wrong")]
    Footer,
    /// It holds something else.
    #[error("given type is not a function")]
    NotLibraries,
    /// It comes from a release candidate of Redis 7.0.
    #[error("Pre-release function format not supported")]
    Early,
    /// A text does not read.
    #[error("Failed loading library code")]
    Format,
}

/// What `FUNCTION DUMP` answers for libraries with these texts.
pub fn dump_libraries<'a>(sources: impl Iterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut out = Vec::new();
    for source in sources {
        out.push(encoding::LIBRARY);
        put_string(&mut out, source);
    }
    seal(out)
}

/// The texts in a payload, none of which may take more than `bytes_max` when it is expanded, nor all of them together.
pub fn restore_libraries(payload: &[u8], bytes_max: usize) -> Result<Vec<Cow<'_, [u8]>>, LibrariesError> {
    let mut cursor = Cursor::expanding(unseal(payload).map_err(|_| LibrariesError::Footer)?, bytes_max);
    let (mut sources, mut bytes) = (Vec::new(), 0);
    while cursor.left() > 0 {
        match cursor.byte().map_err(|_| LibrariesError::Format)? {
            encoding::LIBRARY => {}
            encoding::LIBRARY_EARLY => return Err(LibrariesError::Early),
            _ => return Err(LibrariesError::NotLibraries),
        }
        let source = cursor.string().map_err(|_| LibrariesError::Format)?;
        bytes += source.len();
        if bytes > bytes_max {
            return Err(LibrariesError::Format);
        }
        sources.push(source);
    }
    Ok(sources)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn payloads_read_back_and_damage_is_found() {
        let texts: [&[u8]; 3] = [b"#!lua name=a\nx", b"", b"12345"];
        let payload = dump_libraries(texts.into_iter());
        assert_eq!(restore_libraries(&payload, 100).unwrap(), texts);
        assert_eq!(restore_libraries(&payload, 10), Err(LibrariesError::Format));
        for at in 0..payload.len() {
            let mut damaged = payload.clone();
            damaged[at] ^= 1;
            assert_eq!(restore_libraries(&damaged, 100), Err(LibrariesError::Footer));
            assert_eq!(restore_libraries(&payload[..at], 100), Err(LibrariesError::Footer));
        }
        assert_eq!(restore_libraries(&seal(vec![0, 1, b'v']), 100), Err(LibrariesError::NotLibraries));
        assert_eq!(restore_libraries(&seal(vec![246, 1, b'v']), 100), Err(LibrariesError::Early));
        assert_eq!(restore_libraries(&seal(vec![245, 9, b'v']), 100), Err(LibrariesError::Format));
        assert_eq!(
            restore_libraries(&seal(vec![245, 0x81, 255, 255, 255, 255, 255, 255, 255, 255]), 9),
            Err(LibrariesError::Format)
        );
    }

    #[test]
    fn no_libraries_are_a_payload_of_redis() {
        let empty = b"\n\x00]\x9b\\@\x0f\x7f\xa2\xda".as_slice();
        assert_eq!(dump_libraries(std::iter::empty()), empty);
        assert_eq!(restore_libraries(empty, 0), Ok(vec![]));
    }
}
