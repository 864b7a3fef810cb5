//! A record of the commit log: whose it is, which transaction, and what it did.
//!
//! The effects are the engine's and are not looked into. A request that must not run twice has its note in front of them, so
//! that there is never one without the other.

use crate::DatabaseId;
use crate::once::Note;

/// Marks the id of a record that has a note before its effects. No process has so many databases.
const HAS_NOTE: u32 = 1 << 31;

/// A record of the log: database, sequence number, the length and bytes of a note if there is one, effects.
pub(crate) fn write_record(id: DatabaseId, seq: u64, note: Option<&Note>, journal: &[u8], out: &mut Vec<u8>) {
    let mark = if note.is_some() { HAS_NOTE } else { 0 };
    out.extend((id.0 | mark).to_be_bytes());
    out.extend(seq.to_be_bytes());
    if let Some(note) = note {
        let at = out.len();
        out.extend([0; 4]);
        note.write(out);
        let length = (out.len() - at - 4) as u32;
        out[at..at + 4].copy_from_slice(&length.to_be_bytes());
    }
    out.extend(journal);
}

/// A record of the log.
pub(crate) struct LogRecord<'a> {
    pub(crate) id: DatabaseId,
    pub(crate) seq: u64,
    pub(crate) note: Option<&'a [u8]>,
    pub(crate) journal: &'a [u8],
}

/// Reads what `write_record` wrote.
pub(crate) fn read_record(record: &[u8]) -> Option<LogRecord<'_>> {
    let (id, rest) = record.split_first_chunk::<4>()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (id, seq) = (u32::from_be_bytes(*id), u64::from_be_bytes(*seq));
    let (note, journal) = if id & HAS_NOTE == 0 {
        (None, rest)
    } else {
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let (note, journal) = rest.split_at_checked(u32::from_be_bytes(*length) as usize)?;
        (Some(note), journal)
    };
    Some(LogRecord { id: DatabaseId(id & !HAS_NOTE), seq, note, journal })
}
