//! Listpacks on the way out, and how long they are: streams break their nodes where Redis's listpacks are full.
//!
//! The layout is described in `packed.rs`, which reads them. Every element takes the shortest encoding, as in Redis.

use dormouse_proto::parse_integer;

/// Bytes of a listpack without elements.
pub(crate) const EMPTY_BYTES: usize = 7;
/// Longest text that may be an integer of 64 bits.
const INTEGER_TEXT_BYTES_MAX: usize = 20;

/// A listpack being written.
#[derive(Debug, Default)]
pub(crate) struct Writer {
    elements: Vec<u8>,
    count: usize,
}

impl Writer {
    /// Adds an integer.
    pub(crate) fn integer(&mut self, value: i64) {
        let start = self.elements.len();
        let out = &mut self.elements;
        match value {
            0..=127 => out.push(value as u8),
            -4_096..=4_095 => out.extend([0xc0 | (value >> 8) as u8 & 0x1f, value as u8]),
            -32_768..=32_767 => {
                out.push(0xf1);
                out.extend((value as i16).to_le_bytes());
            }
            -8_388_608..=8_388_607 => {
                out.push(0xf2);
                out.extend_from_slice(&(value as i32).to_le_bytes()[..3]);
            }
            -2_147_483_648..=2_147_483_647 => {
                out.push(0xf3);
                out.extend((value as i32).to_le_bytes());
            }
            _ => {
                out.push(0xf4);
                out.extend(value.to_le_bytes());
            }
        }
        self.end(start);
    }

    /// Adds a string.
    pub(crate) fn string(&mut self, string: &[u8]) {
        if let Some(value) = integer_in(string) {
            return self.integer(value);
        }
        let start = self.elements.len();
        let out = &mut self.elements;
        match string.len() {
            length @ 0..64 => out.push(0x80 | length as u8),
            length @ 64..4_096 => out.extend([0xe0 | (length >> 8) as u8, length as u8]),
            length => {
                out.push(0xf0);
                out.extend((length as u32).to_le_bytes());
            }
        }
        out.extend_from_slice(string);
        self.end(start);
    }

    /// The length of the element that began at `start`, to be read from its end.
    fn end(&mut self, start: usize) {
        let length = self.elements.len() - start;
        let groups = groups(length);
        for group in (0..groups).rev() {
            let more = if group + 1 < groups { 0x80 } else { 0 };
            self.elements.push((length >> (7 * group)) as u8 & 0x7f | more);
        }
        self.count += 1;
    }

    /// The listpack.
    pub(crate) fn finish(self) -> Vec<u8> {
        let mut out = Vec::with_capacity(self.elements.len() + EMPTY_BYTES);
        out.extend((self.elements.len() as u32 + EMPTY_BYTES as u32).to_le_bytes());
        out.extend(u16::try_from(self.count).unwrap_or(u16::MAX).to_le_bytes());
        out.extend(self.elements);
        out.push(0xff);
        out
    }
}

/// Bytes that hold the length of an element. Redis moves on to the next size one early, save for the first.
pub(super) const fn groups(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..16_383 => 2,
        16_383..2_097_151 => 3,
        2_097_151..268_435_455 => 4,
        _ => 5,
    }
}

/// Bytes of an integer as an element.
pub(crate) const fn integer_bytes(value: i64) -> usize {
    match value {
        0..=127 => 2,
        -4_096..=4_095 => 3,
        -32_768..=32_767 => 4,
        -8_388_608..=8_388_607 => 5,
        -2_147_483_648..=2_147_483_647 => 6,
        _ => 10,
    }
}

/// Bytes of a string as an element.
pub(crate) fn string_bytes(string: &[u8]) -> usize {
    if let Some(value) = integer_in(string) {
        return integer_bytes(value);
    }
    let header = match string.len() {
        0..64 => 1,
        64..4_096 => 2,
        _ => 5,
    };
    header + string.len() + groups(header + string.len())
}

/// The integer that a string spells in the one way in which it is printed.
fn integer_in(string: &[u8]) -> Option<i64> {
    if string.len() > INTEGER_TEXT_BYTES_MAX { None } else { parse_integer(string) }
}

#[cfg(test)]
mod tests {
    use super::super::packed::{Listpack, Part, Walk};
    use super::*;

    #[test]
    fn elements_read_back_and_are_as_long_as_said() {
        let mut integers = vec![0, 127, 128, 4_095, 4_096, 32_767, 32_768, 8_388_607, 8_388_608, i64::MAX, i64::MIN];
        integers.extend([2_147_483_647, 2_147_483_648, -1, -4_096, -4_097, -32_769, -8_388_609, -2_147_483_649]);
        let strings: Vec<Vec<u8>> =
            [0, 1, 63, 64, 125, 126, 127, 4_095, 4_096, 16_377, 16_378, 70_000].map(|n| vec![b'x'; n]).into();
        let (mut pack, mut bytes) = (Writer::default(), 0);
        for &value in &integers {
            pack.integer(value);
            bytes += integer_bytes(value);
            assert_eq!(pack.elements.len(), bytes, "{value}");
        }
        for string in &strings {
            pack.string(string);
            bytes += string_bytes(string);
            assert_eq!(pack.elements.len(), bytes, "{}", string.len());
        }
        pack.string(b"-77");
        pack.string(b"077");
        let packed = pack.finish();
        let mut walk = Listpack::new(&packed).unwrap();
        for value in integers {
            assert!(matches!(walk.next(), Ok(Some(Part::Integer(read))) if read == value), "{value}");
        }
        for string in strings {
            assert!(matches!(walk.next(), Ok(Some(Part::Bytes(read))) if *read == string));
        }
        assert!(matches!(walk.next(), Ok(Some(Part::Integer(-77)))));
        assert!(matches!(walk.next(), Ok(Some(Part::Bytes(read))) if *read == b"077"[..]));
        assert!(matches!(walk.next(), Ok(None)));
    }
}
