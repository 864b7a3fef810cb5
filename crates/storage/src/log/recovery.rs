//! Reading the log back: which records there are, where it ends, and whether that end is one it can have.
//!
//! The rule is written down beside the byte format. In short: a tail nobody was promised is dropped; anything promised
//! and missing stops recovery with words for the operator. Recovery reads; it changes no file.

use std::path::Path;

use super::format::{
    BATCH_HEADER_BYTES, BATCHES_AT, BatchHeader, SEGMENT_HEADER_BYTES, SegmentHeader, checked, records,
};
use super::segments::{Active, Listing, Segment, segment_path};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Lsn, Result};

/// How much is read at once.
const WINDOW_BYTES: usize = 256 << 10;

const ADVICE: &str = "records that were acknowledged are lost. Stop here and restore the directory from a backup, or, to \
                      go on without them, move this and all later segments away: the log then ends before the damage";

/// A tail that recovery dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub struct DroppedTail {
    /// The first record that is missing.
    pub from: Lsn,
    /// Whether good batches came after it: records that had not asked for a sync were lost together with it.
    pub had_batches_after: bool,
}

/// What [`super::Log::open`] found.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[non_exhaustive]
pub struct Recovery {
    /// The newest record.
    pub last: Lsn,
    /// How many records were handed to `replay`.
    pub replayed: u64,
    /// Their bytes.
    pub replayed_bytes: u64,
    /// What was dropped at the end, if anything.
    pub dropped: Option<DroppedTail>,
    /// Whether the log had been closed in order.
    pub closed: bool,
}

/// Where writing goes on.
pub(super) struct End {
    pub(super) active: Active,
    pub(super) offset: u64,
    pub(super) previous: u32,
}

/// What is in a log directory.
pub(super) struct Found {
    pub(super) live: Vec<Segment>,
    pub(super) recovery: Recovery,
    /// `None`: there is no segment to go on with.
    pub(super) end: Option<End>,
}

/// Reads the log; hands records after `after` to `replay`.
pub(super) fn recover(
    disk: &dyn Disk,
    dir: &Path,
    listing: &Listing,
    after: Lsn,
    mut replay: impl FnMut(Lsn, &[u8]) -> Result<()>,
) -> Result<Found> {
    let mut segments = open_segments(disk, dir, listing)?;
    let live: Vec<Segment> = segments.iter().map(Opened::segment).collect();
    let nothing = Recovery { last: after, ..Recovery::default() };
    // Segments before the last that begins at or before the record wanted are covered; a gap among them is a trim cut
    // short. From there on nothing may be missing.
    let Some(start) = live.iter().rposition(|segment| segment.first <= after.next()) else {
        return match live.first() {
            None => Ok(Found { live, recovery: nothing, end: None }),
            Some(oldest) => Err(missing_records(dir, after.next(), oldest)),
        };
    };
    check_sequences(dir, &live[start..])?;
    let mut state = Replaying { after, next: live[start].first, recovery: Recovery::default(), replay: &mut replay };
    let mut end = None;
    for (index, segment) in segments.iter().enumerate().skip(start) {
        let stop = state.segment(segment)?;
        if let Some(following) = live.get(index + 1) {
            check_continues(segment, &stop, state.next, following)?;
            continue;
        }
        state.recovery.closed = stop.closed;
        if !stop.closed {
            state.recovery.dropped = inspect_tail(segment, &stop, state.next)?;
        }
        end = Some(stop);
    }
    let mut recovery = state.recovery;
    recovery.last = Lsn(state.next.0 - 1);
    if recovery.last < after {
        // The store is ahead of the log: the log's tail was never synced. Everything left in it is covered.
        return Ok(Found { live, recovery: Recovery { last: after, ..recovery }, end: None });
    }
    let last = segments.pop().expect("the range ended at the last segment");
    let end = end.map(|stop| End { active: last.into_active(), offset: stop.offset, previous: stop.previous });
    Ok(Found { live, recovery, end })
}

/// A segment whose header is good.
struct Opened {
    path: std::path::PathBuf,
    file: Box<dyn DiskFile>,
    size: u64,
    header: SegmentHeader,
    checksum: u32,
}

impl Opened {
    fn segment(&self) -> Segment {
        Segment { sequence: self.header.sequence, first: self.header.first }
    }

    fn into_active(self) -> Active {
        Active { file: self.file.into(), header: self.header, checksum: self.checksum, capacity: self.size }
    }

    fn corrupt(&self, offset: u64, what: impl Into<String>) -> Error {
        Error::Corrupt { path: self.path.clone(), offset, what: what.into() }
    }
}

/// Where a segment's batches stop.
struct Stop {
    offset: u64,
    previous: u32,
    closed: bool,
}

fn open_segments(disk: &dyn Disk, dir: &Path, listing: &Listing) -> Result<Vec<Opened>> {
    listing.sequences.iter().map(|&sequence| open_segment(disk, dir, sequence)).collect()
}

fn open_segment(disk: &dyn Disk, dir: &Path, sequence: u64) -> Result<Opened> {
    let path = segment_path(dir, sequence);
    let context = |error| Error::io(format!("reading {}", path.display()), error);
    let file = disk.open(&path).map_err(context)?;
    let size = file.size().map_err(context)?;
    let mut bytes = [0; SEGMENT_HEADER_BYTES];
    let count = file.read_at(&mut bytes, 0).map_err(context)?;
    // A segment is named only after its header is on disk, so a bad one is never a torn write.
    let (header, checksum) = SegmentHeader::decode(&bytes[..count]).map_err(|what| Error::Corrupt {
        path: path.clone(),
        offset: 0,
        what: format!("{what}; {ADVICE}"),
    })?;
    if header.sequence != sequence {
        let what = format!("its header says it is segment {}; was it renamed? {ADVICE}", header.sequence);
        return Err(Error::Corrupt { path, offset: 16, what });
    }
    Ok(Opened { path, file, size, header, checksum })
}

fn missing_records(dir: &Path, wanted: Lsn, oldest: &Segment) -> Error {
    Error::Corrupt {
        path: segment_path(dir, oldest.sequence),
        offset: 24,
        what: format!(
            "the log begins at LSN {} but the store needs it from LSN {}: a segment, or the newest state of the store, is \
             missing; {ADVICE}",
            oldest.first.0, wanted.0
        ),
    }
}

fn check_sequences(dir: &Path, live: &[Segment]) -> Result<()> {
    let gap = live.windows(2).find(|pair| pair[0].sequence + 1 != pair[1].sequence);
    gap.map_or(Ok(()), |pair| {
        let path = segment_path(dir, pair[0].sequence + 1);
        let what = format!("the segment is missing, though a later one ({}) exists; {ADVICE}", pair[1].sequence);
        Err(Error::Corrupt { path, offset: 0, what })
    })
}

fn check_continues(segment: &Opened, stop: &Stop, next: Lsn, following: &Segment) -> Result<()> {
    if next == following.first {
        return Ok(());
    }
    let what = format!(
        "its records end before LSN {}, but the next segment begins at LSN {} and was begun only after all before it were on \
         disk; {ADVICE}",
        next.0, following.first.0
    );
    Err(segment.corrupt(stop.offset, what))
}

/// Reading in order, with what has been read so far.
struct Replaying<'a, F> {
    after: Lsn,
    next: Lsn,
    recovery: Recovery,
    replay: &'a mut F,
}

impl<F: FnMut(Lsn, &[u8]) -> Result<()>> Replaying<'_, F> {
    fn segment(&mut self, segment: &Opened) -> Result<Stop> {
        let mut window = Window::new(segment);
        let mut stop = Stop { offset: BATCHES_AT, previous: segment.checksum, closed: false };
        while let Some((header, batch, checksum)) = window.batch(stop.offset)? {
            if header.first != self.next || header.previous != stop.previous {
                break;
            }
            if header.count == 0 {
                stop.closed = true;
                break;
            }
            self.batch(&header, &batch[BATCH_HEADER_BYTES..]).map_err(|fault| match fault {
                BatchFault::Malformed => segment.corrupt(stop.offset, "a batch whose checksum is right does not parse"),
                BatchFault::Replay(error) => error,
            })?;
            stop.offset += header.batch_bytes();
            stop.previous = checksum;
        }
        Ok(stop)
    }

    fn batch(&mut self, header: &BatchHeader, body: &[u8]) -> Result<(), BatchFault> {
        let mut lsn = header.first;
        for record in records(body) {
            let record = record.map_err(|()| BatchFault::Malformed)?;
            if lsn > self.after {
                (self.replay)(lsn, record).map_err(BatchFault::Replay)?;
                self.recovery.replayed += 1;
                self.recovery.replayed_bytes += record.len() as u64;
            }
            lsn = lsn.next();
        }
        if lsn != header.next() {
            return Err(BatchFault::Malformed);
        }
        self.next = lsn;
        Ok(())
    }
}

enum BatchFault {
    Malformed,
    Replay(Error),
}

/// Decides whether the last segment may end where it does: looks for a good batch further on that vouches for the missing
/// record.
fn inspect_tail(segment: &Opened, stop: &Stop, missing: Lsn) -> Result<Option<DroppedTail>> {
    let mut window = Window::new(segment);
    let mut dropped = None;
    let mut offset = stop.offset;
    while let Some(found) = window.find_salt(offset)? {
        let batch = window.batch(found)?.map(|(header, ..)| header);
        if let Some(header) = batch
            && header.synced >= missing
        {
            let what = format!(
                "the record at LSN {} is unreadable, but a batch at byte {found} proves that it had been on disk; {ADVICE}",
                missing.0
            );
            return Err(segment.corrupt(stop.offset, what));
        }
        let had_batches_after = found > stop.offset && batch.is_some();
        let tail: &mut DroppedTail = dropped.get_or_insert(DroppedTail { from: missing, had_batches_after });
        tail.had_batches_after |= had_batches_after;
        offset = batch.map_or(found + 1, |header| found + header.batch_bytes());
    }
    Ok(dropped)
}

/// Reads a file through a buffer that moves forward.
struct Window<'a> {
    segment: &'a Opened,
    bytes: Vec<u8>,
    offset: u64,
}

impl<'a> Window<'a> {
    fn new(segment: &'a Opened) -> Self {
        Self { segment, bytes: Vec::new(), offset: 0 }
    }

    /// The bytes at `offset`, or as many as there are.
    fn at(&mut self, offset: u64, length: usize) -> Result<&[u8]> {
        let end = self.segment.size.min(offset.saturating_add(length as u64));
        let held = self.offset..=self.offset + self.bytes.len() as u64;
        if !(held.contains(&offset) && held.contains(&end)) {
            self.fill(offset, length.max(WINDOW_BYTES))?;
        }
        let from = (offset - self.offset) as usize;
        Ok(&self.bytes[from.min(self.bytes.len())..(from + length).min(self.bytes.len())])
    }

    fn fill(&mut self, offset: u64, length: usize) -> Result<()> {
        let length = length.min(self.segment.size.saturating_sub(offset) as usize);
        self.bytes.resize(length, 0);
        let read = self.segment.file.read_at(&mut self.bytes, offset);
        let count = read.map_err(|error| Error::io(format!("reading {}", self.segment.path.display()), error))?;
        self.bytes.truncate(count);
        self.offset = offset;
        Ok(())
    }

    /// The batch at `offset` with its checksum, if there is a good one.
    fn batch(&mut self, offset: u64) -> Result<Option<(BatchHeader, &[u8], u32)>> {
        let (size, salt) = (self.segment.size, self.segment.header.salt);
        let Some(header) = BatchHeader::decode(self.at(offset, BATCH_HEADER_BYTES)?, salt) else {
            return Ok(None);
        };
        // A damaged length must not become an allocation.
        if offset.saturating_add(header.batch_bytes()) > size {
            return Ok(None);
        }
        let batch = self.at(offset, header.batch_bytes() as usize)?;
        Ok(checked(batch, salt).map(|checksum| (header, batch, checksum)))
    }

    /// The next place at or after `offset` where a batch may begin.
    fn find_salt(&mut self, mut offset: u64) -> Result<Option<u64>> {
        let salt = self.segment.header.salt.to_le_bytes();
        loop {
            let bytes = self.at(offset, WINDOW_BYTES)?;
            if bytes.len() < salt.len() {
                return Ok(None);
            }
            if let Some(found) = memchr::memmem::find(bytes, &salt) {
                return Ok(Some(offset + found as u64));
            }
            offset += (bytes.len() - (salt.len() - 1)) as u64;
        }
    }
}
