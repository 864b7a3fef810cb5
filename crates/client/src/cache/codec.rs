//! How values become bytes: JSON, `MessagePack` (feature `msgpack`), either of them compressed (feature `compression`).
//!
//! What cannot be read back is not an error but a miss: another release may have written it. Sizes are bounded before memory is taken.

use std::error::Error;
use std::sync::Arc;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why something is not written, or not read.
pub type CodecError = Arc<dyn Error + Send + Sync>;

/// Makes values into bytes and back.
pub trait Codec: Clone + Send + Sync + 'static {
    /// Bytes that stand for a value.
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError>;
    /// The value that bytes stand for.
    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CodecError>;
}

/// JSON by serde.
///
/// ```
/// use dormouse_client::cache::{Codec, JsonCodec};
///
/// assert_eq!(JsonCodec.encode(&[1, 2])?, b"[1,2]");
/// assert_eq!(JsonCodec.decode::<Vec<u8>>(b"[1,2]")?, [1, 2]);
/// # Ok::<(), dormouse_client::cache::CodecError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct JsonCodec;

impl Codec for JsonCodec {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        serde_json::to_vec(value).map_err(|error| Arc::new(error) as CodecError)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        serde_json::from_slice(bytes).map_err(|error| Arc::new(error) as CodecError)
    }
}

/// `MessagePack` by serde, with the names of fields: shorter than JSON, and still readable when fields are added.
///
/// ```
/// use dormouse_client::cache::{Codec, MessagePack};
///
/// assert_eq!(MessagePack.encode(&[1, 2])?, [0x92, 1, 2]);
/// assert_eq!(MessagePack.decode::<Vec<u8>>(&[0x92, 1, 2])?, [1, 2]);
/// # Ok::<(), dormouse_client::cache::CodecError>(())
/// ```
#[cfg(feature = "msgpack")]
#[derive(Clone, Copy, Debug, Default)]
pub struct MessagePack;

#[cfg(feature = "msgpack")]
impl Codec for MessagePack {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        rmp_serde::to_vec_named(value).map_err(|error| Arc::new(error) as CodecError)
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        rmp_serde::from_slice(bytes).map_err(|error| Arc::new(error) as CodecError)
    }
}

/// Another codec whose longer values are compressed with LZ4. The first byte says whether one is.
///
/// ```
/// use dormouse_client::cache::{Codec, Compressed, JsonCodec};
///
/// let codec = Compressed::new(JsonCodec);
/// let text = "la".repeat(10_000);
/// let bytes = codec.encode(&text)?;
/// assert!(bytes.len() < 1_000);
/// assert_eq!(codec.decode::<String>(&bytes)?, text);
/// # Ok::<(), dormouse_client::cache::CodecError>(())
/// ```
#[cfg(feature = "compression")]
#[derive(Clone, Copy, Debug, Default)]
pub struct Compressed<C> {
    codec: C,
    from: usize,
}

/// Longest value that is taken out of its compression.
#[cfg(feature = "compression")]
const BYTES_MAX: usize = 256 << 20;

#[cfg(feature = "compression")]
impl<C> Compressed<C> {
    /// Compresses what is 1,024 bytes or longer.
    pub const fn new(codec: C) -> Self {
        Self { codec, from: 1024 }
    }

    /// Compresses what has that length or more.
    #[must_use]
    pub const fn from(mut self, bytes: usize) -> Self {
        self.from = bytes;
        self
    }
}

#[cfg(feature = "compression")]
impl<C: Codec> Codec for Compressed<C> {
    fn encode<T: Serialize>(&self, value: &T) -> Result<Vec<u8>, CodecError> {
        let plain = self.codec.encode(value)?;
        if plain.len() >= self.from {
            let packed = lz4_flex::compress_prepend_size(&plain);
            if packed.len() < plain.len() {
                return Ok([b"\x01", &packed[..]].concat());
            }
        }
        Ok([b"\x00", &plain[..]].concat())
    }

    fn decode<T: DeserializeOwned>(&self, bytes: &[u8]) -> Result<T, CodecError> {
        match bytes.split_first() {
            Some((0, plain)) => self.codec.decode(plain),
            Some((1, packed)) => {
                let (size, _) =
                    lz4_flex::block::uncompressed_size(packed).map_err(|error| Arc::new(error) as CodecError)?;
                if size > BYTES_MAX {
                    return Err(unreadable("longer than is taken"));
                }
                let plain =
                    lz4_flex::decompress_size_prepended(packed).map_err(|error| Arc::new(error) as CodecError)?;
                self.codec.decode(&plain)
            }
            _ => Err(unreadable("neither compressed nor plain")),
        }
    }
}

#[cfg(feature = "compression")]
fn unreadable(why: &'static str) -> CodecError {
    Arc::new(std::io::Error::new(std::io::ErrorKind::InvalidData, why))
}

#[cfg(all(test, feature = "compression"))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_read(text in any::<String>(), times in 1..200_usize, from in 0..500_usize) {
            let codec = Compressed::new(JsonCodec).from(from);
            let text = text.repeat(times);
            prop_assert_eq!(codec.decode::<String>(&codec.encode(&text).unwrap()).unwrap(), text);
        }

        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = Compressed::new(JsonCodec).decode::<String>(&bytes);
            let packed = [b"\x01\xff\xff\x00\x00", &bytes[..]].concat();
            let _ = Compressed::new(JsonCodec).decode::<String>(&packed);
        }
    }

    #[test]
    fn a_size_that_lies_takes_no_memory() {
        let bomb = [b"\x01\xff\xff\xff\xff", &[0; 16][..]].concat();
        assert!(Compressed::new(JsonCodec).decode::<String>(&bomb).is_err());
    }
}
