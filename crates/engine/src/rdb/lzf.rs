//! LZF, the compression of long strings in payloads: only to expand it, as what we write is not compressed.
//!
//! The input is a row of commands. A first byte below 32 announces so many literal bytes, and one. Any other says "repeat":
//! its upper three bits are the length less two (7: a byte with the rest of the length follows), its lower five and another
//! byte how far back, less one. A repetition may overlap what it writes.

/// Most that one byte of input can stand for: three bytes repeat up to 264.
const EXPANSION_MAX: usize = 88;

/// The `length` bytes that `input` stands for; `None` if it stands for anything else.
pub(super) fn expand(input: &[u8], length: usize) -> Option<Vec<u8>> {
    if length > input.len().saturating_mul(EXPANSION_MAX) {
        return None;
    }
    let mut out: Vec<u8> = Vec::with_capacity(length);
    let mut rest = input;
    while let Some((&first, after)) = rest.split_first() {
        rest = after;
        let first = usize::from(first);
        if first < 32 {
            let (literal, after) = rest.split_at_checked(first + 1)?;
            out.extend_from_slice(literal);
            rest = after;
        } else {
            let mut count = (first >> 5) + 2;
            if count == 9 {
                count += next(&mut rest)?;
            }
            let distance = (first & 31) << 8 | next(&mut rest)?;
            repeat(&mut out, distance + 1, count)?;
        }
        if out.len() > length {
            return None;
        }
    }
    (out.len() == length).then_some(out)
}

fn next(rest: &mut &[u8]) -> Option<usize> {
    let (&first, after) = rest.split_first()?;
    *rest = after;
    Some(usize::from(first))
}

/// Appends `count` bytes, the first of which stands `distance` before the end.
fn repeat(out: &mut Vec<u8>, distance: usize, mut count: usize) -> Option<()> {
    let start = out.len().checked_sub(distance)?;
    // What an overlapping repetition wrote is its own source: each round has twice as much to copy.
    while count > 0 {
        let step = count.min(out.len() - start);
        out.extend_from_within(start..start + step);
        count -= step;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::expand;

    #[test]
    fn literals_and_repetitions_expand() {
        assert_eq!(expand(b"\x02abc", 3).unwrap(), b"abc");
        assert_eq!(expand(b"\x00a\xe0\x01\x00", 11).unwrap(), b"aaaaaaaaaaa");
        assert_eq!(expand(b"\x02abc\x60\x02", 8).unwrap(), b"abcabcab");
        assert_eq!(expand(b"", 0).unwrap(), b"");
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let cases: [(&[u8], usize); 8] = [
            (b"\x02ab", 3),
            (b"\x02abc", 2),
            (b"\x02abc", 4),
            (b"\x00a\x20\x01", 4),
            (b"\x00a\x20", 4),
            (b"\x00a\xe0", 4),
            (b"\x20\x00", 3),
            (b"\x00a", usize::MAX),
        ];
        for (input, length) in cases {
            assert_eq!(expand(input, length), None, "{}", input.escape_ascii());
        }
    }
}
