//! The bytes of a HyperLogLog, as Redis lays them out.
//!
//! A header of 16 bytes: `HYLL`, the encoding (0 dense, 1 sparse), three zeros, and the last count in 8 bytes, little
//! endian, whose highest bit says that it is out of date. Then 16,384 registers. Dense, they have 6 bits each, from the
//! lowest bit of the first byte on. Sparse, they are runs, which together cover every register:
//!
//! - `00nnnnnn`: n + 1 registers of zero;
//! - `01nnnnnn nnnnnnnn`: n + 1 registers of zero;
//! - `1vvvvvnn`: n + 1 registers of v + 1.
//!
//! A sketch becomes dense, for good, when a value passes 32 or the string 3,000 bytes. Where runs are split and joined
//! follows Redis step by step, because the bytes are compared. Nothing here trusts them: a string may come from anywhere.

use dormouse_proto::CommandError;

use super::estimate::estimate;
use crate::settings::Encodings;

/// How many registers there are.
pub(super) const REGISTERS: usize = 1 << REGISTER_BITS;
/// Bits of the hash that choose the register; the others are looked at for their run of zeros.
const REGISTER_BITS: u32 = 14;
/// The most a register holds: the run of zeros among the other bits, and one.
pub(super) const VALUE_MAX: u8 = 64 - REGISTER_BITS as u8 + 1;
/// How many values a register of a dense sketch could have. Those past the most are nobody's, and count for nothing.
pub(super) const VALUES: usize = 64;
/// Bytes before the registers.
pub(super) const HEADER: usize = 16;

const MAGIC: &[u8] = b"HYLL";
/// Where the header says which encoding it is.
const ENCODING_AT: usize = 4;
const DENSE: u8 = 0;
const SPARSE: u8 = 1;
/// Where the header keeps the last count.
const COUNT_AT: usize = 8;
/// In the highest byte of the count: it is out of date.
const STALE: u8 = 0x80;

/// Bits of a register in a dense sketch.
const DENSE_BITS: usize = 6;
/// Bytes of a dense sketch.
const DENSE_BYTES: usize = HEADER + REGISTERS * DENSE_BITS / 8;
/// Bytes beyond which a sketch is not kept sparse unless told otherwise.
const SPARSE_BYTES_MAX: usize = Encodings::DEFAULT.sparse_bytes_max as usize;
/// The largest value a sparse sketch can hold.
const SPARSE_VALUE_MAX: u8 = 32;
/// The longest run of a value in a sparse sketch.
const SPARSE_RUN_MAX: usize = 4;
/// The longest run of zeros in one byte of a sparse sketch.
const SHORT_ZEROS_MAX: usize = 64;
/// How many runs are looked at for two to join after a change.
const JOIN_STEPS: usize = 5;

/// The string is not a HyperLogLog.
const NOT_ONE: CommandError = CommandError::text("WRONGTYPE Key is not a valid HyperLogLog string value.");
/// The string begins as one, and then makes no sense.
const CORRUPT: CommandError = CommandError::text("INVALIDOBJ Corrupted HLL object detected");

/// Values of all registers, one to a byte.
#[derive(Clone, Debug)]
pub(super) struct Registers(Box<[u8; REGISTERS]>);

impl Default for Registers {
    fn default() -> Self {
        Self(Box::new([0; REGISTERS]))
    }
}

impl Registers {
    /// Each register and its value.
    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, u8)> {
        self.0.iter().copied().enumerate()
    }

    /// The number of distinct elements that left such registers.
    pub(super) fn estimate(&self) -> u64 {
        let mut histogram = [0; VALUES];
        for &value in self.0.iter() {
            histogram[usize::from(value) % VALUES] += 1;
        }
        estimate(&histogram)
    }
}

/// Registers of one value, one after the other, as a sparse sketch writes them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Run {
    value: u8,
    length: usize,
}

impl Run {
    /// The run that begins here, and its bytes.
    fn read(bytes: &[u8]) -> Result<(Self, usize), CommandError> {
        match *bytes {
            [byte, ..] if byte & 0x80 != 0 => {
                Ok((Self { value: (byte >> 2 & 0x1f) + 1, length: usize::from(byte & 3) + 1 }, 1))
            }
            [high, low, ..] if high & 0x40 != 0 => {
                Ok((Self { value: 0, length: (usize::from(high & 0x3f) << 8 | usize::from(low)) + 1 }, 2))
            }
            [byte, ..] if byte & 0x40 == 0 => Ok((Self { value: 0, length: usize::from(byte) + 1 }, 1)),
            _ => Err(CORRUPT),
        }
    }

    fn write(self, out: &mut Vec<u8>) {
        match (self.value, self.length) {
            (_, 0) => {}
            (0, length) if length > SHORT_ZEROS_MAX => {
                out.extend([0x40 | ((length - 1) >> 8) as u8, (length - 1) as u8]);
            }
            (0, length) => out.push((length - 1) as u8),
            (value, length) => out.push(0x80 | (value - 1) << 2 | (length - 1) as u8),
        }
    }
}

/// A HyperLogLog at work.
#[derive(Clone, Debug)]
pub(super) struct Sketch {
    bytes: Vec<u8>,
    sparse_bytes_max: usize,
}

/// An empty one is sparse.
impl Default for Sketch {
    fn default() -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[..MAGIC.len()].copy_from_slice(MAGIC);
        bytes[ENCODING_AT] = SPARSE;
        Run { value: 0, length: REGISTERS }.write(&mut bytes);
        Self { bytes, sparse_bytes_max: SPARSE_BYTES_MAX }
    }
}

impl Sketch {
    /// Says how large it may be while it is sparse.
    pub(super) const fn keep_sparse_to(&mut self, bytes_max: usize) {
        self.sparse_bytes_max = bytes_max;
    }

    /// A copy of a string, if it is a HyperLogLog at first sight.
    pub(super) fn open(bytes: &[u8]) -> Result<Self, CommandError> {
        let encoding = bytes.get(ENCODING_AT).copied();
        let fits = bytes.len() >= HEADER
            && bytes.starts_with(MAGIC)
            && (encoding == Some(SPARSE) || encoding == Some(DENSE) && bytes.len() == DENSE_BYTES);
        if fits { Ok(Self { bytes: bytes.to_vec(), sparse_bytes_max: SPARSE_BYTES_MAX }) } else { Err(NOT_ONE) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    pub(super) fn is_dense(&self) -> bool {
        self.bytes[ENCODING_AT] == DENSE
    }

    /// The last count, if nothing has changed since.
    pub(super) fn count(&self) -> Option<u64> {
        let (count, _) = self.bytes[COUNT_AT..].split_first_chunk::<8>()?;
        (count[7] & STALE == 0).then_some(u64::from_le_bytes(*count))
    }

    pub(super) fn keep_count(&mut self, count: u64) {
        self.bytes[COUNT_AT..HEADER].copy_from_slice(&count.to_le_bytes());
    }

    pub(super) fn forget_count(&mut self) {
        self.bytes[HEADER - 1] |= STALE;
    }

    /// Adds an element; whether a register rose.
    pub(super) fn add(&mut self, element: &[u8]) -> Result<bool, CommandError> {
        let hash = murmur(element);
        let rest = hash >> REGISTER_BITS | 1 << (64 - REGISTER_BITS);
        self.raise(hash as usize % REGISTERS, rest.trailing_zeros() as u8 + 1)
    }

    /// Raises a register to a value; whether it was lower.
    pub(super) fn raise(&mut self, register: usize, value: u8) -> Result<bool, CommandError> {
        if self.is_dense() {
            return Ok(self.raise_dense(register, value));
        }
        if value <= SPARSE_VALUE_MAX
            && let Some(raised) = self.raise_sparse(register, value)?
        {
            return Ok(raised);
        }
        self.densify()?;
        Ok(self.raise_dense(register, value))
    }

    fn raise_dense(&mut self, register: usize, value: u8) -> bool {
        let raised = dense_value(&self.bytes[HEADER..], register) < value;
        if raised {
            let (at, shift) = dense_place(register);
            let bits = u16::from(value) << shift;
            let mask = 0x3f_u16 << shift;
            let at = HEADER + at;
            self.bytes[at] = self.bytes[at] & !(mask as u8) | bits as u8;
            if mask >> 8 != 0 {
                self.bytes[at + 1] = self.bytes[at + 1] & !((mask >> 8) as u8) | (bits >> 8) as u8;
            }
        }
        raised
    }

    /// As [`Self::raise`]; nothing if the sketch would become too long.
    fn raise_sparse(&mut self, register: usize, value: u8) -> Result<Option<bool>, CommandError> {
        // The run the register is in, and the one before it.
        let (mut at, mut first, mut before) = (HEADER, 0, HEADER);
        let (run, size) = loop {
            let (run, size) = Run::read(&self.bytes[at..])?;
            if register < first + run.length {
                break (run, size);
            }
            before = at;
            at += size;
            first += run.length;
        };
        if run.value >= value {
            return Ok(Some(false));
        }
        let mut runs = Vec::with_capacity(5);
        Run { length: register - first, ..run }.write(&mut runs);
        Run { value, length: 1 }.write(&mut runs);
        Run { length: first + run.length - 1 - register, ..run }.write(&mut runs);
        if runs.len() > size && self.bytes.len() + runs.len() - size > self.sparse_bytes_max {
            return Ok(None);
        }
        self.bytes.splice(at..at + size, runs);
        self.join(before);
        Ok(Some(true))
    }

    /// Joins neighbouring runs of one value, near a change.
    fn join(&mut self, mut at: usize) {
        for _ in 0..JOIN_STEPS {
            let Some((&byte, &next)) = self.bytes.get(at).zip(self.bytes.get(at + 1)) else {
                return;
            };
            let is_value = |byte: u8| byte & 0x80 != 0;
            let length = usize::from(byte & 3) + usize::from(next & 3) + 2;
            if byte & 0xc0 == 0x40 {
                at += 2;
            } else if is_value(byte) && is_value(next) && byte >> 2 == next >> 2 && length <= SPARSE_RUN_MAX {
                self.bytes[at + 1] = byte & !3 | (length - 1) as u8;
                self.bytes.remove(at);
            } else {
                at += 1;
            }
        }
    }

    /// Makes it dense, if it is not.
    pub(super) fn densify(&mut self) -> Result<(), CommandError> {
        if self.is_dense() {
            return Ok(());
        }
        let mut dense = Self { bytes: vec![0; DENSE_BYTES], sparse_bytes_max: self.sparse_bytes_max };
        dense.bytes[..HEADER].copy_from_slice(&self.bytes[..HEADER]);
        dense.bytes[ENCODING_AT] = DENSE;
        self.for_each_run(|first, run| {
            for register in first..first + run.length {
                dense.raise_dense(register, run.value);
            }
        })?;
        *self = dense;
        Ok(())
    }

    /// Raises registers to at least the values here.
    pub(super) fn merge_into(&self, registers: &mut Registers) -> Result<(), CommandError> {
        if self.is_dense() {
            for (register, value) in registers.0.iter_mut().enumerate() {
                *value = dense_value(&self.bytes[HEADER..], register).max(*value);
            }
            return Ok(());
        }
        self.for_each_run(|first, run| {
            for value in &mut registers.0[first..first + run.length] {
                *value = run.value.max(*value);
            }
        })
    }

    /// The runs of a sparse sketch as `PFDEBUG DECODE` shows them: `Z:12711 v:2,1 Z:3672`.
    pub(super) fn decode(&self) -> Result<String, CommandError> {
        let (mut at, mut shown) = (HEADER, Vec::new());
        while at < self.bytes.len() {
            let (run, size) = Run::read(&self.bytes[at..])?;
            shown.push(match (run.value, size) {
                (0, 1) => format!("z:{}", run.length),
                (0, _) => format!("Z:{}", run.length),
                (value, _) => format!("v:{value},{}", run.length),
            });
            at += size;
        }
        Ok(shown.join(" "))
    }

    /// The runs of a sparse sketch that are not zeros. They must cover every register.
    fn for_each_run(&self, mut see: impl FnMut(usize, Run)) -> Result<(), CommandError> {
        let (mut at, mut first) = (HEADER, 0);
        while at < self.bytes.len() {
            let (run, size) = Run::read(&self.bytes[at..])?;
            if first + run.length > REGISTERS {
                return Err(CORRUPT);
            }
            if run.value > 0 {
                see(first, run);
            }
            first += run.length;
            at += size;
        }
        if first == REGISTERS { Ok(()) } else { Err(CORRUPT) }
    }
}

/// The byte in which a register begins, and the bit in it.
const fn dense_place(register: usize) -> (usize, usize) {
    (register * DENSE_BITS / 8, register * DENSE_BITS % 8)
}

/// The value of a register, from the registers of a dense sketch.
fn dense_value(bytes: &[u8], register: usize) -> u8 {
    let (at, shift) = dense_place(register);
    let pair = u16::from(bytes[at]) | u16::from(bytes.get(at + 1).copied().unwrap_or(0)) << 8;
    (pair >> shift) as u8 & 0x3f
}

/// Austin Appleby's `MurmurHash64A`, with the seed Redis gives it.
fn murmur(bytes: &[u8]) -> u64 {
    const SEED: u64 = 0xadc8_3b19;
    const M: u64 = 0xc6a4_a793_5bd1_e995;
    const R: u32 = 47;
    let mut hash = SEED ^ (bytes.len() as u64).wrapping_mul(M);
    let (words, rest) = bytes.as_chunks::<8>();
    for word in words {
        let mut word = u64::from_le_bytes(*word).wrapping_mul(M);
        word ^= word >> R;
        hash = (hash ^ word.wrapping_mul(M)).wrapping_mul(M);
    }
    if !rest.is_empty() {
        let tail = rest.iter().rev().fold(0_u64, |tail, &byte| tail << 8 | u64::from(byte));
        hash = (hash ^ tail).wrapping_mul(M);
    }
    hash ^= hash >> R;
    hash = hash.wrapping_mul(M);
    hash ^ hash >> R
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::moment::Random;

    fn values(sketch: &Sketch) -> Vec<u8> {
        let mut registers = Registers::default();
        sketch.merge_into(&mut registers).unwrap();
        registers.0.to_vec()
    }

    #[test]
    fn sparse_and_dense_hold_the_same() {
        let mut random = Random::new(3);
        let (mut sparse, mut dense) = (Sketch::default(), Sketch::default());
        dense.densify().unwrap();
        let mut model = vec![0; REGISTERS];
        for round in 0..3_000 {
            let near = if round % 3 == 0 { 40 } else { REGISTERS as u64 };
            let (register, value) = (random.below(near) as usize, random.below(4) as u8 + 1);
            let raised = model[register] < value;
            model[register] = value.max(model[register]);
            assert_eq!(sparse.raise(register, value), Ok(raised));
            assert_eq!(dense.raise(register, value), Ok(raised));
            if round % 100 == 0 {
                assert_eq!(values(&sparse), model);
            }
        }
        assert!(sparse.is_dense(), "three thousand changes do not fit");
        assert_eq!(sparse.bytes, dense.bytes);
        assert_eq!(values(&sparse), model);
    }

    #[test]
    fn a_large_value_needs_a_dense_sketch() {
        let mut sketch = Sketch::default();
        assert_eq!(sketch.raise(16_383, 32), Ok(true));
        assert!(!sketch.is_dense());
        assert_eq!(sketch.raise(0, 33), Ok(true));
        assert!(sketch.is_dense());
        assert_eq!(dense_value(&sketch.bytes[HEADER..], 16_383), 32);
    }

    #[test]
    fn nonsense_is_refused() {
        for bytes in [&b""[..], b"HYLL", b"HYLX\x01\0\0\0\0\0\0\0\0\0\0\0", b"HYLL\x02\0\0\0\0\0\0\0\0\0\0\0"] {
            assert_eq!(Sketch::open(bytes).unwrap_err(), NOT_ONE);
        }
        let mut dense = Sketch::default();
        dense.densify().unwrap();
        assert!(Sketch::open(&dense.bytes).is_ok() && Sketch::open(&dense.bytes[1..]).is_err());
        assert_eq!(Sketch::open(&dense.bytes[..DENSE_BYTES - 1]).unwrap_err(), NOT_ONE);
        for runs in [&[][..], &[0x7f], &[0x7f, 0xfe], &[0x7f, 0xff, 0x80], &[0x00, 0x7f, 0xff]] {
            let bytes = [&Sketch::default().bytes[..HEADER], runs].concat();
            let mut sketch = Sketch::open(&bytes).unwrap();
            assert_eq!(sketch.merge_into(&mut Registers::default()), Err(CORRUPT), "{runs:?}");
            assert_eq!(sketch.clone().densify(), Err(CORRUPT));
            let _ = sketch.raise(16_383, 1);
        }
    }
}
