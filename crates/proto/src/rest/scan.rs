//! Looking ahead in text for the few bytes that JSON strings treat specially.
//!
//! Nearly all strings hold none, so both the reader and the writer of JSON look first and then take the whole run at once.
//! Eight bytes are looked at in one step, and long texts sixty-four at a time in a form compilers turn into vector code.

const ONES: u64 = u64::from_le_bytes([1; 8]);
const HIGH_BITS: u64 = ONES << 7;
/// Long enough to be worth vectors, short enough that stopping in it costs little to find the place.
const BLOCK_BYTES: usize = 64;

/// A run of bytes that may stand between quotes as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Run {
    /// How many bytes come before a quote, a backslash, a control character or the end.
    pub(super) bytes: usize,
    /// False only if they are all ASCII. May be true without need.
    pub(super) maybe_not_ascii: bool,
}

/// The run at the start of `text`.
#[inline]
pub(super) fn plain_run(text: &[u8]) -> Run {
    let mut at = 0;
    let mut seen = 0;
    // Most strings end within the first words; only those that do not are worth the larger step.
    while let Some(word) = word_at(text, at) {
        let special = specials(word);
        seen |= word & HIGH_BITS;
        if special != 0 {
            let bytes = at + (special.trailing_zeros() / 8) as usize;
            return Run { bytes, maybe_not_ascii: seen != 0 };
        }
        at += 8;
        if at == BLOCK_BYTES {
            let (skipped, high) = plain_blocks(&text[at..]);
            at += skipped;
            seen |= u64::from(high) & HIGH_BITS;
        }
    }
    while let Some(&byte) = text.get(at) {
        if is_special(byte) {
            break;
        }
        seen |= u64::from(byte) & HIGH_BITS;
        at += 1;
    }
    Run { bytes: at, maybe_not_ascii: seen != 0 }
}

#[inline]
fn word_at(text: &[u8], at: usize) -> Option<u64> {
    let word = text.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*word))
}

/// The first eight bytes of a text, for those who copy as they look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Word {
    /// All eight.
    pub(super) bytes: [u8; 8],
    /// How many come before the first special one.
    pub(super) plain: usize,
    /// False only if all eight are ASCII.
    pub(super) maybe_not_ascii: bool,
}

/// Looks at the first eight bytes of `text`, if there are as many. Where special bytes stand close together, as in JSON
/// inside JSON, copying whole words and stepping back beats finding runs first.
#[inline]
pub(super) fn first_word(text: &[u8]) -> Option<Word> {
    let word = word_at(text, 0)?;
    Some(Word {
        bytes: word.to_le_bytes(),
        // Without a special byte there are 64 zeros to count.
        plain: (specials(word).trailing_zeros() / 8) as usize,
        maybe_not_ascii: word & HIGH_BITS != 0,
    })
}

/// Whether JSON cannot carry this byte in a string as it is.
#[inline]
pub(super) fn is_special(byte: u8) -> bool {
    byte < 0x20 || byte == b'"' || byte == b'\\'
}

/// Sets the high bit of the first special byte; bytes behind it may be marked wrongly, those before it never are.
#[inline]
fn specials(word: u64) -> u64 {
    let controls = word.wrapping_sub(ONES * 0x20) & !word;
    let quotes = word ^ (ONES * u64::from(b'"'));
    let quotes = quotes.wrapping_sub(ONES) & !quotes;
    let backslashes = word ^ (ONES * u64::from(b'\\'));
    let backslashes = backslashes.wrapping_sub(ONES) & !backslashes;
    (controls | quotes | backslashes) & HIGH_BITS
}

/// How many bytes, in whole blocks, hold nothing special, and all their bits together.
fn plain_blocks(text: &[u8]) -> (usize, u8) {
    let mut bytes = 0;
    let mut seen = 0;
    for block in text.chunks_exact(BLOCK_BYTES) {
        let mut special = 0;
        let mut bits = 0;
        for &byte in block {
            special |= u8::from(is_special(byte));
            bits |= byte;
        }
        if special != 0 {
            break;
        }
        seen |= bits;
        bytes += BLOCK_BYTES;
    }
    (bytes, seen)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_byte_is_classified_at_every_place() {
        for byte in 0..=u8::MAX {
            for place in 0..200 {
                let mut text = [b'a'; 200];
                text[place] = byte;
                let run = plain_run(&text);
                let expected = if is_special(byte) { place } else { text.len() };
                assert_eq!(run.bytes, expected, "byte {byte} at {place}");
                let word = first_word(&text).unwrap();
                assert_eq!(word.plain, expected.min(8), "byte {byte} at {place}");
                assert!(word.maybe_not_ascii || place >= 8 || byte.is_ascii());
                assert!(run.maybe_not_ascii || byte.is_ascii(), "byte {byte} at {place}");
            }
        }
    }

    #[test]
    fn the_first_of_several_special_bytes_is_found() {
        for (text, bytes) in [
            (b"ab\x00\"\\xyz".as_slice(), 2),
            (b"\"\x01\x1f\x20!\"\\]", 0),
            (b"!#[] ~\x7f\"", 7),
            (b"", 0),
            ("é\"".as_bytes(), 2),
        ] {
            assert_eq!(plain_run(text).bytes, bytes, "{text:?}");
        }
    }

    #[test]
    fn plain_ascii_is_known_to_be_ascii() {
        for length in 0..300 {
            assert!(!plain_run(&vec![b'x'; length]).maybe_not_ascii);
        }
    }
}
