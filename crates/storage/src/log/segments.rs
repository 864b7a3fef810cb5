//! The files of the log: which exist, the next one made ready in the background, covered ones kept for reuse.
//!
//! A write into blocks that are allocated and have been written before changes no metadata, which makes its sync a third
//! cheaper. So segments are filled with zeros before they are used, and used again after a checkpoint covered them.
//! Making one ready is housekeeping: when it fails the log goes on in short stopgaps.
//!
//! A segment becomes part of the log by one rename, after its header is on disk. Nothing here knows about batches.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use parking_lot::Mutex;

use super::LogOptions;
use super::format::{BATCHES_AT, SegmentHeader};
use crate::disk::{Disk, DiskFile};
use crate::{Error, Lsn, Result};

/// Zeros are written in pieces of this size, each on disk before the next, so that commits get their turn in between.
const FILL_BYTES: usize = 256 << 10;

/// A segment begun when none is ready is this short: filled at once, and soon followed by one made ready meanwhile.
const STOPGAP_BYTES: u64 = 256 << 10;

/// A segment that is part of the log.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Segment {
    pub(super) sequence: u64,
    pub(super) first: Lsn,
}

/// The segment that is written to.
pub(super) struct Active {
    pub(super) file: Arc<dyn DiskFile>,
    pub(super) header: SegmentHeader,
    /// The checksum that the first batch follows from.
    pub(super) checksum: u32,
    /// Where the next segment is begun, unless one batch alone is longer.
    pub(super) capacity: u64,
}

/// The names in a log directory, sorted out.
#[derive(Default)]
pub(super) struct Listing {
    /// Ascending.
    pub(super) sequences: Vec<u64>,
    pub(super) spares: Vec<PathBuf>,
    pub(super) unfinished: Vec<PathBuf>,
}

/// All segments and spares of one log.
pub(super) struct Segments {
    dir: PathBuf,
    disk: Arc<dyn Disk>,
    segment_bytes: u64,
    spares_max: usize,
    state: Mutex<State>,
    /// At most one thread makes segments ready.
    making: Mutex<Option<JoinHandle<()>>>,
    /// Whether there is to be one.
    own_threads: bool,
}

#[derive(Default)]
struct State {
    live: VecDeque<Segment>,
    spares: Vec<PathBuf>,
    /// Making one ready failed: not tried again before the next segment is begun.
    making_failed: bool,
    /// Numbers the spares; it only has to differ.
    spare_next: u64,
}

pub(super) fn segment_path(dir: &Path, sequence: u64) -> PathBuf {
    dir.join(format!("{sequence:016x}.log"))
}

pub(super) fn list(disk: &dyn Disk, dir: &Path) -> Result<Listing> {
    let names = disk.list(dir).map_err(|error| Error::io(format!("listing {}", dir.display()), error))?;
    let mut listing = Listing::default();
    for name in names {
        match name.split_once('.') {
            Some((digits, "log")) if digits.len() == 16 => {
                // A name that is no number is not ours to touch.
                listing.sequences.extend(u64::from_str_radix(digits, 16));
            }
            Some((_, "spare")) => listing.spares.push(dir.join(name)),
            Some((_, "making")) => listing.unfinished.push(dir.join(name)),
            _ => {}
        }
    }
    listing.sequences.sort_unstable();
    Ok(listing)
}

impl Segments {
    pub(super) fn new(dir: &Path, options: &LogOptions) -> Self {
        let &LogOptions { segment_bytes, spare_segments_max: spares_max, own_threads, .. } = options;
        let (state, making) = (Mutex::default(), Mutex::default());
        Self {
            dir: dir.to_owned(),
            disk: Arc::clone(&options.disk),
            segment_bytes,
            spares_max,
            state,
            making,
            own_threads,
        }
    }

    /// Takes over what recovery found.
    pub(super) fn adopt(&self, live: Vec<Segment>, listing: &Listing) -> Result<()> {
        for path in &listing.unfinished {
            self.disk.remove(path).map_err(|error| Error::io(format!("removing {}", path.display()), error))?;
        }
        let mut state = self.state.lock();
        state.live = live.into();
        state.spares.clone_from(&listing.spares);
        // Past every number in use: names hold the number in decimal.
        let numbers = listing.spares.iter().filter_map(|path| path.file_stem()?.to_str()?.parse::<u64>().ok());
        state.spare_next = numbers.max().map_or(0, |number| number + 1);
        Ok(())
    }

    /// Begins the next segment: a spare if there is one, a short new file otherwise. On return it is durably empty.
    pub(super) fn begin(&self, first: Lsn, salt: u64) -> Result<Active> {
        let (spare, sequence) = {
            let mut state = self.state.lock();
            (state.spares.pop(), state.live.back().map_or(1, |segment| segment.sequence + 1))
        };
        let header = SegmentHeader { sequence, first, salt };
        let path = segment_path(&self.dir, sequence);
        let active = self
            .begin_file(spare.as_deref(), &path, header)
            .map_err(|error| Error::io(format!("beginning log segment {}", path.display()), error))?;
        let mut state = self.state.lock();
        state.live.push_back(Segment { sequence, first });
        state.making_failed = false;
        Ok(active)
    }

    fn begin_file(&self, spare: Option<&Path>, path: &Path, header: SegmentHeader) -> std::io::Result<Active> {
        let made = path.with_extension("making");
        let (from, file) = match spare {
            Some(spare) => (spare, self.disk.open(spare)?),
            None => (made.as_path(), self.create_stopgap(&made)?),
        };
        let (bytes, checksum) = header.encode();
        file.write_at(&bytes, 0)?;
        file.sync()?;
        let capacity = file.size()?;
        self.disk.rename(from, path)?;
        self.disk.sync_dir(&self.dir)?;
        Ok(Active { file: file.into(), header, checksum, capacity })
    }

    fn create_stopgap(&self, path: &Path) -> std::io::Result<Box<dyn DiskFile>> {
        let file = self.disk.create(path)?;
        file.write_at(&vec![0; STOPGAP_BYTES.min(self.segment_bytes) as usize], 0)?;
        Ok(file)
    }

    /// Makes a segment ready in the background unless there is one, or one is being made.
    pub(super) fn prepare(self: &Arc<Self>) {
        let Some(mut making) = self.making.try_lock() else {
            return;
        };
        if making.as_ref().is_some_and(|thread| !thread.is_finished()) {
            return;
        }
        let number = {
            let mut state = self.state.lock();
            if !state.spares.is_empty() || state.making_failed {
                return;
            }
            state.spare_next += 1;
            state.spare_next
        };
        if !self.own_threads {
            return self.make_ready(number);
        }
        let segments = Arc::clone(self);
        let spawned = std::thread::Builder::new().name("log-prepare".into()).spawn(move || segments.make_ready(number));
        match spawned {
            Ok(thread) => *making = Some(thread),
            Err(error) => {
                tracing::warn!(%error, "could not start the thread that makes log segments ready");
            }
        }
    }

    fn make_ready(&self, number: u64) {
        let making = self.dir.join(format!("{number}.making"));
        if let Err(error) = self.fill(&making) {
            tracing::warn!(%error, "could not make a log segment ready; writing goes on without");
            self.state.lock().making_failed = true;
            // A full disk should not be filled by the attempt. What cannot be removed now is at the next opening.
            let _ = self.disk.remove(&making);
        }
    }

    fn fill(&self, making: &Path) -> std::io::Result<()> {
        let file = self.disk.create(making)?;
        let zeros = vec![0; FILL_BYTES.min(self.segment_bytes as usize)];
        let mut offset = 0;
        while offset < self.segment_bytes {
            let piece = zeros.len().min((self.segment_bytes - offset) as usize);
            file.write_durable_at(&zeros[..piece], offset)?;
            offset += piece as u64;
        }
        // Length included.
        file.sync()?;
        let spare = making.with_extension("spare");
        self.disk.rename(making, &spare)?;
        self.state.lock().spares.push(spare);
        Ok(())
    }

    /// Recycles or removes segments that hold only records up to `upto`; never the one written to.
    pub(super) fn trim(&self, upto: Lsn) -> Result<()> {
        let mut state = self.state.lock();
        let mut touched = false;
        // Oldest first, so that a crash in between leaves no gap.
        while state.live.len() > 1 && state.live[1].first <= upto.next() {
            self.retire(&mut state)?;
            touched = true;
        }
        if touched {
            let dir = self.dir.display();
            self.disk.sync_dir(&self.dir).map_err(|error| Error::io(format!("syncing {dir}"), error))?;
        }
        Ok(())
    }

    fn retire(&self, state: &mut State) -> Result<()> {
        let path = segment_path(&self.dir, state.live[0].sequence);
        let retired = if state.spares.len() < self.spares_max && self.is_reusable(&path) {
            state.spare_next += 1;
            let spare = self.dir.join(format!("{}.spare", state.spare_next));
            self.disk.rename(&path, &spare).map(|()| state.spares.push(spare))
        } else {
            self.disk.remove(&path)
        };
        retired.map_err(|error| Error::io(format!("retiring {}", path.display()), error))?;
        state.live.pop_front();
        Ok(())
    }

    /// Neither so short that it would grow, nor so long (it held one huge batch) that it would waste the disk.
    fn is_reusable(&self, path: &Path) -> bool {
        let size = self.disk.open(path).and_then(|file| file.size());
        size.is_ok_and(|size| (self.segment_bytes..=2 * self.segment_bytes).contains(&size))
    }

    /// Waits for what goes on in the background.
    pub(super) fn settle(&self) {
        if let Some(thread) = self.making.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that makes log segments ready panicked");
        }
    }
}

/// Whether a segment filled up to `offset` is due for a successor to be made ready.
pub(super) fn half_full(offset: u64, capacity: u64) -> bool {
    offset.saturating_sub(BATCHES_AT) * 2 >= capacity.saturating_sub(BATCHES_AT)
}
