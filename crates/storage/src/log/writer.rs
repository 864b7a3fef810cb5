//! The one thread that writes the log.
//!
//! Group commit without a timer: while a batch is being written, appends gather into the next one; whatever is there
//! when the disk is done goes out as one write and, if any record in it asked, one sync. A lone client waits for one
//! wake-up and one system call.
//!
//! After a failed write or sync nothing is tried again: what is on disk is then unknown, and a second sync that succeeds
//! would prove nothing about the first. The log is poisoned and says so.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use parking_lot::MutexGuard;

use super::format::{BATCH_HEADER_BYTES, BATCHES_AT, BatchHeader};
use super::recovery::End;
use super::segments::{Active, half_full};
use super::{Gathered, Pending, Shared};
use crate::{Error, Lsn, Result};

/// A buffer that one huge record stretched is given back rather than kept.
const KEPT_BUFFER_BYTES_MAX: usize = 1 << 20;

/// How long a batch may wait for those who were in the one before: about a fifth of a sync.
const GATHER_MAX: Duration = Duration::from_micros(30);

pub(super) struct Writer {
    shared: Arc<Shared>,
    active: Active,
    /// Where the next batch goes.
    offset: u64,
    /// The checksum of the batch before.
    previous: u32,
    /// This opening's mark in every batch.
    run: u32,
    written: Lsn,
    synced: Lsn,
    /// When the oldest batch that wants the timed sync was written.
    unsynced_since: Option<Instant>,
    /// How many records the batch before held.
    company: u32,
    /// The buffer that is not being gathered into.
    idle_buffer: Vec<u8>,
}

/// What to do next.
enum Work {
    Write { batch: Gathered, sync: bool },
    Sync,
    Stop,
}

impl Writer {
    pub(super) fn new(shared: Arc<Shared>, end: End, last: Lsn) -> Self {
        Self {
            shared,
            active: end.active,
            offset: end.offset,
            previous: end.previous,
            run: super::random() as u32,
            written: last,
            synced: last,
            unsynced_since: None,
            company: 0,
            idle_buffer: Vec::new(),
        }
    }

    /// Runs until the log is closed or poisoned.
    pub(super) fn run(mut self) {
        let outcome = loop {
            let done = match self.next_work() {
                Work::Write { batch, sync } => self.write(batch, sync),
                Work::Sync => self.sync(),
                Work::Stop => break self.stop(),
            };
            if let Err(error) = done {
                break Err(error);
            }
        };
        match outcome {
            Ok(()) => self.shared.stopped(),
            Err(error) => self.shared.poison(error),
        }
    }

    fn next_work(&mut self) -> Work {
        let shared = Arc::clone(&self.shared);
        let mut pending = shared.pending.lock();
        loop {
            let sync = pending.sync_wanted > self.synced;
            let deadline = self.unsynced_since.map(|since| since + shared.options.sync_interval);
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Work::Sync;
            }
            if pending.gathered.count > 0 {
                self.gather(&mut pending);
                let empty = Gathered::new(mem::take(&mut self.idle_buffer), pending.last.next());
                let batch = mem::replace(&mut pending.gathered, empty);
                if pending.waiting > 0 {
                    shared.progress.notify_all();
                }
                return Work::Write { sync: sync || batch.sync, batch };
            }
            if sync {
                return Work::Sync;
            }
            if pending.closing {
                return Work::Stop;
            }
            pending.writer_idle = true;
            match deadline {
                Some(deadline) => {
                    shared.work.wait_until(&mut pending, deadline);
                }
                None => shared.work.wait(&mut pending),
            }
            pending.writer_idle = false;
        }
    }

    /// Clients just acknowledged tend to come back together. Writing for the first of them would make the others wait for
    /// that write and then for their own, so let them catch up, for a moment that is short beside a sync.
    fn gather(&self, pending: &mut MutexGuard<'_, Pending>) {
        if self.company < 2 || !pending.gathered.sync || pending.closing {
            return;
        }
        let deadline = Instant::now() + GATHER_MAX;
        while pending.gathered.count < self.company && Instant::now() < deadline {
            MutexGuard::unlocked(pending, std::thread::yield_now);
        }
    }

    fn write(&mut self, mut batch: Gathered, sync: bool) -> Result<()> {
        let last = batch.last();
        self.make_room(batch.first, batch.bytes.len())?;
        let checksum = self.seal(&mut batch);
        // A synced write covers its own bytes only, so earlier ones not yet on disk need a sync of the file.
        let alone = self.synced == self.written;
        let file = &self.active.file;
        let outcome = match sync {
            true if alone => file.write_durable_at(&batch.bytes, self.offset),
            true => file.write_at(&batch.bytes, self.offset).and_then(|()| file.sync()),
            false => file.write_at(&batch.bytes, self.offset),
        };
        outcome.map_err(|error| self.failed("writing", error))?;
        self.offset += batch.bytes.len() as u64;
        self.previous = checksum;
        self.written = last;
        self.company = batch.count;
        if sync {
            self.now_synced();
        } else if batch.timed {
            self.unsynced_since.get_or_insert_with(Instant::now);
        }
        self.recycle(batch.bytes);
        self.shared.advance(self.written, self.synced);
        if half_full(self.offset, self.active.capacity) {
            self.shared.segments.prepare();
        }
        Ok(())
    }

    fn seal(&self, batch: &mut Gathered) -> u32 {
        let header = BatchHeader {
            salt: self.active.header.salt,
            length: (batch.bytes.len() - BATCH_HEADER_BYTES) as u32,
            count: batch.count,
            first: batch.first,
            synced: self.synced,
            run: self.run,
            previous: self.previous,
        };
        header.seal(&mut batch.bytes)
    }

    /// Begins the next segment when the batch does not fit. A batch longer than a segment gets one to itself.
    fn make_room(&mut self, first: Lsn, bytes: usize) -> Result<()> {
        let fits = self.offset + bytes as u64 <= self.active.capacity;
        if fits || self.offset == BATCHES_AT {
            return Ok(());
        }
        // Recovery relies on it: everything before a segment is on disk before the segment exists.
        self.sync()?;
        self.active = self.shared.segments.begin(first, super::random())?;
        self.offset = BATCHES_AT;
        self.previous = self.active.checksum;
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        if self.synced < self.written {
            self.active.file.sync().map_err(|error| self.failed("syncing", error))?;
        }
        self.now_synced();
        self.shared.advance(self.written, self.synced);
        Ok(())
    }

    fn now_synced(&mut self) {
        self.synced = self.written;
        self.unsynced_since = None;
    }

    /// The last write of a log closed in order: an empty batch, so that the next opening need not look for a torn tail.
    fn stop(&mut self) -> Result<()> {
        self.sync()?;
        let mut mark = Gathered::new(mem::take(&mut self.idle_buffer), self.written.next());
        self.seal(&mut mark);
        let outcome = self.active.file.write_durable_at(&mark.bytes, self.offset);
        outcome.map_err(|error| self.failed("closing", error))
    }

    fn recycle(&mut self, buffer: Vec<u8>) {
        if buffer.capacity() <= KEPT_BUFFER_BYTES_MAX {
            self.idle_buffer = buffer;
        }
    }

    fn failed(&self, doing: &str, error: std::io::Error) -> Error {
        Error::io(format!("{doing} log segment {}", self.active.header.sequence), error)
    }
}

impl Shared {
    /// Publishes what was written, then tells everyone who waits.
    fn advance(&self, written: Lsn, synced: Lsn) {
        let advanced = self.durable.swap(written.0, Ordering::AcqRel) != written.0;
        {
            let mut pending = self.pending.lock();
            pending.synced = synced;
            if pending.waiting > 0 {
                self.progress.notify_all();
            }
        }
        if advanced {
            self.call_listeners();
        }
    }

    fn poison(&self, error: Error) {
        tracing::error!(%error, "the log failed and refuses writes from here on");
        {
            let mut pending = self.pending.lock();
            pending.poison = Some(Error::Poisoned { cause: Arc::new(error) });
            pending.stopped = true;
            self.progress.notify_all();
        }
        self.call_listeners();
    }

    fn stopped(&self) {
        let mut pending = self.pending.lock();
        pending.stopped = true;
        self.progress.notify_all();
    }

    fn call_listeners(&self) {
        for listener in self.listeners.read().iter() {
            listener();
        }
    }
}

/// How long a timed sync may be late, at most: the default interval of [`super::LogOptions`].
pub(super) const SYNC_INTERVAL: Duration = Duration::from_secs(1);
