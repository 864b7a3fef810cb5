//! How long what follows is, in the bytes of `DUMP` and of RDB files.
//!
//! The two top bits of the first byte say how: six bits, fourteen, or four or eight bytes behind it; or that no length follows
//! but a string in a form of its own. Whoever reads hands out the next byte and has words of its own for what it cannot read.

/// A length, or the form of a string that has none.
pub(super) type Length = Result<u64, u8>;

/// Reads a length byte by byte; `None` is one of no known form.
pub(super) fn read<E>(next: &mut dyn FnMut() -> Result<u8, E>) -> Result<Option<Length>, E> {
    let first = next()?;
    let low = u64::from(first & 0x3f);
    let mut more = |start: u64, count: u32| (0..count).try_fold(start, |sum, _| Ok(sum << 8 | u64::from(next()?)));
    Ok(match first {
        0..0x40 => Some(Ok(low)),
        0x40..0x80 => Some(Ok(more(low, 1)?)),
        0x80 => Some(Ok(more(0, 4)?)),
        0x81 => Some(Ok(more(0, 8)?)),
        0x82..0xc0 => None,
        0xc0..=0xff => Some(Err(first & 0x3f)),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(bytes: &[u8]) -> Result<Option<Length>, ()> {
        let mut bytes = bytes.iter().copied();
        read(&mut || bytes.next().ok_or(()))
    }

    #[test]
    fn lengths_take_as_many_bytes_as_the_first_one_says() {
        assert_eq!(of(&[0x3f]), Ok(Some(Ok(63))));
        assert_eq!(of(&[0x41, 0x02]), Ok(Some(Ok(0x102))));
        assert_eq!(of(&[0x80, 0, 1, 0, 2]), Ok(Some(Ok(0x1_0002))));
        assert_eq!(of(&[0x81, 0xff, 0, 0, 0, 0, 0, 0, 1]), Ok(Some(Ok(0xff00_0000_0000_0001))));
        assert_eq!(of(&[0xc3]), Ok(Some(Err(3))));
        assert_eq!(of(&[0x82]), Ok(None));
        assert_eq!(of(&[0x80, 0, 1, 0]), Err(()));
        assert_eq!(of(&[]), Err(()));
    }
}
