//! How values and effects are written as bytes: the log and the store hold nothing else of ours.
//!
//! Integers are LEB128 varints, byte strings a varint length and the bytes, doubles eight bytes, little endian. Nothing is
//! self-describing: a version byte in front of each record (see `keyspace.rs`) says which layout follows. A [`Reader`]
//! believes nothing it reads: checksums below it catch a bad disk, and it catches what they cannot.

use dormouse_proto::Blob;

/// Bytes that no version of Dormouse wrote. Says what was expected.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("not a record of this format: {0}")]
pub struct Corrupt(pub &'static str);

/// Appends a varint.
pub fn put_int(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends a byte string.
pub fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_int(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Appends a double, every bit of it.
pub fn put_double(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(&value.to_bits().to_le_bytes());
}

/// Reads what the functions above wrote.
#[derive(Clone, Debug)]
pub struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// Starts at the front of `bytes`.
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }

    /// Whether everything has been read.
    pub const fn is_done(&self) -> bool {
        self.rest.is_empty()
    }

    /// How many bytes have not been read.
    pub const fn left(&self) -> usize {
        self.rest.len()
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, Corrupt> {
        let (&first, rest) = self.rest.split_first().ok_or(Corrupt("a byte"))?;
        self.rest = rest;
        Ok(first)
    }

    /// The next byte, which stays.
    pub const fn peek(&self) -> Option<u8> {
        self.rest.first().copied()
    }

    /// A varint.
    pub fn int(&mut self) -> Result<u64, Corrupt> {
        let mut value = 0_u64;
        for shift in (0..64).step_by(7) {
            let byte = self.byte()?;
            let bits = u64::from(byte & 0x7f);
            if bits << shift >> shift != bits {
                return Err(Corrupt("an integer of 64 bits"));
            }
            value |= bits << shift;
            if byte < 0x80 {
                return Ok(value);
            }
        }
        Err(Corrupt("an integer of 64 bits"))
    }

    /// A count of things that take at least a byte each, so a forged one cannot make us reserve memory.
    pub fn count(&mut self) -> Result<usize, Corrupt> {
        let count = self.int()? as usize;
        if count > self.rest.len() {
            return Err(Corrupt("a count within the record"));
        }
        Ok(count)
    }

    /// A byte string, borrowed.
    pub fn bytes(&mut self) -> Result<&'a [u8], Corrupt> {
        let length = self.count()?;
        let (bytes, rest) = self.rest.split_at(length);
        self.rest = rest;
        Ok(bytes)
    }

    /// A byte string of its own.
    pub fn blob(&mut self) -> Result<Blob, Corrupt> {
        self.bytes().map(Blob::from)
    }

    /// A double.
    pub fn double(&mut self) -> Result<f64, Corrupt> {
        let (bits, rest) = self.rest.split_first_chunk::<8>().ok_or(Corrupt("a double"))?;
        self.rest = rest;
        Ok(f64::from_bits(u64::from_le_bytes(*bits)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_reads_back() {
        let mut out = Vec::new();
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            put_int(&mut out, value);
        }
        put_bytes(&mut out, b"");
        put_bytes(&mut out, b"hello");
        put_double(&mut out, -0.1);
        let mut reader = Reader::new(&out);
        for value in [0, 1, 127, 128, 16_383, 16_384, u64::MAX] {
            assert_eq!(reader.int(), Ok(value));
        }
        assert_eq!(reader.bytes(), Ok(&b""[..]));
        assert_eq!(reader.bytes(), Ok(&b"hello"[..]));
        assert_eq!(reader.double(), Ok(-0.1));
        assert!(reader.is_done());
    }

    #[test]
    fn forged_lengths_are_refused() {
        assert!(Reader::new(&[0xff; 10]).int().is_err());
        assert!(Reader::new(&[0xff, 0xff, 0xff, 0x7f, 1]).bytes().is_err());
        assert!(Reader::new(&[5, 1, 2]).bytes().is_err());
        assert!(Reader::new(&[]).byte().is_err());
    }
}
