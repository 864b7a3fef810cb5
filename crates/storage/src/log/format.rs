//! The bytes of the log on disk. Integers are little-endian.
//!
//! A log is a directory of segments, `<sequence as 16 hex digits>.log`, with consecutive sequence numbers. Files named
//! `.spare` are segments made ready or left over, `.making` is one not finished; neither holds records.
//!
//! A segment is a header in the first 4,096 bytes, then batches one after the other, then anything at all: zeros, or
//! what a recycled file held before.
//!
//! ```text
//! segment header                               batch
//!  0  magic      8  "DORMLOG\0"                  0  salt      8  the segment's
//!  8  version    4  1                            8  length    4  bytes of the body
//! 12  batches at 4  4096                        12  count     4  records in the body
//! 16  sequence   8  as in the file's name       16  first     8  LSN of the first record
//! 24  first      8  LSN of its first record     24  synced    8  records up to this LSN were on disk when this
//! 32  salt       8  random                                      batch was written
//! 40  checksum   4  CRC-32C of bytes 0..40      32  run       4  random, drawn each time the log is opened
//!                                               36  previous  4  checksum of the batch before it, or of the
//!                                                             segment header for the first one
//!                                               40  checksum  4  CRC-32C of bytes 0..40 and the body, seeded
//!                                                             with the salt
//!                                               44  body         per record: length 4, then that many bytes
//! ```
//!
//! A batch is one write, so it is also what survives or is lost as one. Its salt starts it: neither what a recycled
//! file held before nor bytes a client chose can pass for a batch, since neither knows the salt. `previous` and `run`
//! tie it to the one batch it followed, so one left behind by an earlier, longer tail is never taken up again. The first
//! place behind what was recovered is wiped, as far as a header goes, before anything is written there.
//! A batch without records is the mark of a log closed in order; the next run writes over it.
//!
//! Recovery rule. Batches are read in order; the first that does not parse, does not check, or does not follow from
//! the one before ends the log there:
//!
//! - in the last segment, with nothing after it or only batches whose `synced` is below the missing LSN: a torn tail,
//!   or records that never asked for a sync. It is dropped and written over;
//! - in the last segment, with a good batch after it whose `synced` says that the missing record had been on disk:
//!   corruption. Recovery stops;
//! - in an earlier segment, unless the next segment's `first` is just the missing LSN: corruption, as a segment is begun
//!   only after all before it are on disk. A segment missing between two others is the same.

use crate::Lsn;

/// Where batches begin: the header has a page of its own, so that no later write touches its sector.
pub(crate) const BATCHES_AT: u64 = 4096;
/// The bytes of a segment header that mean something.
pub(crate) const SEGMENT_HEADER_BYTES: usize = 44;
/// The bytes before a batch's body.
pub(crate) const BATCH_HEADER_BYTES: usize = 44;
/// The bytes before a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 4;

const MAGIC: [u8; 8] = *b"DORMLOG\0";
const VERSION: u32 = 1;

/// The first bytes of a segment.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct SegmentHeader {
    pub(crate) sequence: u64,
    pub(crate) first: Lsn,
    pub(crate) salt: u64,
}

impl SegmentHeader {
    /// The header's bytes, and the checksum the first batch follows from.
    pub(crate) fn encode(&self) -> ([u8; SEGMENT_HEADER_BYTES], u32) {
        let mut bytes = [0; SEGMENT_HEADER_BYTES];
        bytes[0..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&VERSION.to_le_bytes());
        bytes[12..16].copy_from_slice(&(BATCHES_AT as u32).to_le_bytes());
        bytes[16..24].copy_from_slice(&self.sequence.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.salt.to_le_bytes());
        let checksum = crc32c::crc32c(&bytes[..40]);
        bytes[40..44].copy_from_slice(&checksum.to_le_bytes());
        (bytes, checksum)
    }

    /// The header and its checksum, or what is wrong with it.
    pub(crate) fn decode(bytes: &[u8]) -> Result<(Self, u32), &'static str> {
        let Some(bytes) = bytes.first_chunk::<SEGMENT_HEADER_BYTES>() else {
            return Err("it is shorter than a segment header");
        };
        if bytes[0..8] != MAGIC {
            return Err("it does not begin like a log segment");
        }
        let checksum = u32_at(bytes, 40);
        if checksum != crc32c::crc32c(&bytes[..40]) {
            return Err("the checksum of its header is wrong");
        }
        if u32_at(bytes, 8) != VERSION || u64::from(u32_at(bytes, 12)) != BATCHES_AT {
            return Err("it was written by a newer version, which is the one to open it with");
        }
        Ok((Self { sequence: u64_at(bytes, 16), first: Lsn(u64_at(bytes, 24)), salt: u64_at(bytes, 32) }, checksum))
    }
}

/// The first bytes of a batch, its checksum aside.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct BatchHeader {
    pub(crate) salt: u64,
    pub(crate) length: u32,
    pub(crate) count: u32,
    pub(crate) first: Lsn,
    pub(crate) synced: Lsn,
    pub(crate) run: u32,
    pub(crate) previous: u32,
}

impl BatchHeader {
    /// Fills in the header of a batch whose body is already in place behind it; returns the checksum.
    pub(crate) fn seal(&self, batch: &mut [u8]) -> u32 {
        batch[0..8].copy_from_slice(&self.salt.to_le_bytes());
        batch[8..12].copy_from_slice(&self.length.to_le_bytes());
        batch[12..16].copy_from_slice(&self.count.to_le_bytes());
        batch[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        batch[24..32].copy_from_slice(&self.synced.0.to_le_bytes());
        batch[32..36].copy_from_slice(&self.run.to_le_bytes());
        batch[36..40].copy_from_slice(&self.previous.to_le_bytes());
        let checksum = batch_checksum(batch, self.salt);
        batch[40..44].copy_from_slice(&checksum.to_le_bytes());
        checksum
    }

    /// Reads a header; `None` when it does not carry the segment's salt. Nothing is checked yet.
    pub(crate) fn decode(bytes: &[u8], salt: u64) -> Option<Self> {
        let bytes = bytes.first_chunk::<BATCH_HEADER_BYTES>()?;
        (u64_at(bytes, 0) == salt).then(|| Self {
            salt,
            length: u32_at(bytes, 8),
            count: u32_at(bytes, 12),
            first: Lsn(u64_at(bytes, 16)),
            synced: Lsn(u64_at(bytes, 24)),
            run: u32_at(bytes, 32),
            previous: u32_at(bytes, 36),
        })
    }

    /// The bytes of header and body.
    pub(crate) fn batch_bytes(&self) -> u64 {
        BATCH_HEADER_BYTES as u64 + u64::from(self.length)
    }

    /// The LSN after the batch's last record.
    pub(crate) fn next(&self) -> Lsn {
        Lsn(self.first.0.saturating_add(u64::from(self.count)))
    }
}

/// The checksum of a whole batch if it is the one it carries.
pub(crate) fn checked(batch: &[u8], salt: u64) -> Option<u32> {
    let checksum = u32_at(batch.first_chunk::<BATCH_HEADER_BYTES>()?, 40);
    (checksum == batch_checksum(batch, salt)).then_some(checksum)
}

fn batch_checksum(batch: &[u8], salt: u64) -> u32 {
    let seeded = crc32c::crc32c(&salt.to_le_bytes());
    let header = crc32c::crc32c_append(seeded, &batch[..40]);
    crc32c::crc32c_append(header, &batch[BATCH_HEADER_BYTES..])
}

/// Appends one record to a body.
pub(crate) fn push_record(body: &mut Vec<u8>, payload: &[u8]) {
    body.extend_from_slice(&(payload.len() as u32).to_le_bytes());
    body.extend_from_slice(payload);
}

/// The records of a body, in order; `Err` when their lengths do not add up.
pub(crate) fn records(mut body: &[u8]) -> impl Iterator<Item = Result<&[u8], ()>> {
    std::iter::from_fn(move || {
        if body.is_empty() {
            return None;
        }
        let record = body.split_first_chunk::<RECORD_HEADER_BYTES>().and_then(|(length, rest)| {
            let length = u32::from_le_bytes(*length) as usize;
            rest.split_at_checked(length)
        });
        let Some((record, rest)) = record else {
            body = &[];
            return Some(Err(()));
        };
        body = rest;
        Some(Ok(record))
    })
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("a slice of four bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("a slice of eight bytes"))
}
