//! The checksum at the end of a payload: CRC-64 by the polynomial of Jones, reflected, from zero, as Redis computes it.
//!
//! It finds damage, not malice: whoever makes up a payload computes it, too.

/// The polynomial, its bits reversed.
const POLYNOMIAL: u64 = 0x95ac_9329_ac4b_c9b5;

/// What each byte does to the remainder.
static TABLE: [u64; 256] = {
    let mut table = [0; 256];
    let mut byte = 0;
    while byte < 256 {
        let mut remainder = byte as u64;
        let mut bit = 0;
        while bit < 8 {
            remainder = remainder >> 1 ^ if remainder & 1 == 1 { POLYNOMIAL } else { 0 };
            bit += 1;
        }
        table[byte] = remainder;
        byte += 1;
    }
    table
};

/// The checksum of some bytes.
pub(super) fn of(bytes: &[u8]) -> u64 {
    more(0, bytes)
}

/// The checksum of what has one already, and of some bytes behind it.
pub(super) fn more(checksum: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(checksum, |remainder, &byte| TABLE[usize::from(remainder as u8 ^ byte)] ^ remainder >> 8)
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_check_value_is_the_published_one() {
        assert_eq!(super::of(b"123456789"), 0xe9c6_d914_c4b8_d9ca);
        assert_eq!(super::more(super::of(b"1234"), b"56789"), super::of(b"123456789"));
    }
}
