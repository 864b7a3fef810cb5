//! Writing the log: one batch at a time, by whoever holds the [`Writer`].
//!
//! Group commit without a timer: while a batch is being written, appends gather into the next one; whatever is there
//! when the disk is done goes out as one write and, if any record in it asked, one sync. Batches that need a sync, and syncs
//! that fall due, are the business of the log's own thread; the others are written by the threads that appended them.
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

/// The end of the log, and the right to write there.
pub(super) struct Writer {
    active: Active,
    /// Where the next batch goes.
    offset: u64,
    /// The checksum of the batch before.
    previous: u32,
    /// This opening's mark in every batch.
    run: u32,
    written: Lsn,
    synced: Lsn,
    /// The last record of the newest batch that wants the timed sync.
    timed: Lsn,
    /// The buffer that is not being gathered into.
    idle_buffer: Vec<u8>,
}

/// What the log's own thread has to do next.
enum Work {
    Write,
    Sync,
    Close,
    /// Somebody found that the log has failed.
    Over,
}

impl Shared {
    /// The log's own thread: runs until the log is closed or poisoned.
    pub(super) fn run(&self) {
        while self.do_work(&self.next_work()) {}
    }

    /// One piece of the thread's work, done by somebody else; whether there was any.
    pub(super) fn turn(&self) -> bool {
        let work = self.pending.lock().work();
        match work {
            None | Some(Work::Over) => false,
            Some(work) => {
                self.do_work(&work);
                true
            }
        }
    }

    /// Whether there may be more to do afterwards.
    fn do_work(&self, work: &Work) -> bool {
        match work {
            Work::Write => self.hold_writer(|writer| writer.write_gathered(self)),
            Work::Sync => self.sync_aside(),
            Work::Close => {
                self.hold_writer(|writer| writer.close(self));
                self.stopped();
                false
            }
            Work::Over => false,
        }
    }

    /// Does what only the holder of the writer may do; whether the log lives on.
    fn hold_writer(&self, act: impl FnOnce(&mut Writer) -> Result<()>) -> bool {
        let mut writer = self.writer.lock();
        // Whoever held it last may have failed.
        if self.failed.load(Ordering::SeqCst) {
            return false;
        }
        let done = act(&mut writer);
        self.let_go(writer, done)
    }

    /// Lets go of the writer; after a failure not before nobody can write any more: what the next batch would follow is
    /// not known then. Whether the log lives on.
    pub(super) fn let_go(&self, writer: MutexGuard<'_, Writer>, done: Result<()>) -> bool {
        let Err(error) = done else { return true };
        let cause = Arc::new(error);
        {
            let mut pending = self.pending.lock();
            pending.poison = Some(Error::Poisoned { cause: Arc::clone(&cause) });
            pending.stopped = true;
            self.failed.store(true, Ordering::SeqCst);
            self.progress.notify_all();
            self.work.notify_one();
        }
        drop(writer);
        self.call_listeners();
        // Last, since whoever reads it may be slow.
        tracing::error!(error = %cause, "the log failed and refuses writes from here on");
        false
    }

    fn next_work(&self) -> Work {
        let mut pending = self.pending.lock();
        loop {
            let deadline = pending.unsynced_since.map(|since| since + self.options.sync_interval);
            if !pending.stopped && deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Work::Sync;
            }
            if let Some(work) = pending.work() {
                return work;
            }
            pending.thread_idle = true;
            match deadline {
                Some(deadline) => {
                    self.work.wait_until(&mut pending, deadline);
                }
                None => self.work.wait(&mut pending),
            }
            pending.thread_idle = false;
        }
    }

    /// Syncs what is written while others go on writing behind it; whether the log lives on. Only the log's own thread
    /// syncs: a failed sync is reported once, and another one beside it might seem to have succeeded.
    fn sync_aside(&self) -> bool {
        let began = Instant::now();
        let (file, upto) = {
            let writer = self.writer.lock();
            (Arc::clone(&writer.active.file), writer.written)
        };
        let done = file.sync().map_err(|error| Error::io("syncing the log", error));
        self.hold_writer(|writer| {
            done?;
            writer.synced = writer.synced.max(upto);
            let timed_since = (writer.timed > writer.synced).then_some(began);
            self.advance(writer.written, writer.synced, |pending| pending.unsynced_since = timed_since);
            Ok(())
        })
    }
}

impl Pending {
    /// What is to be done whatever the time is.
    fn work(&self) -> Option<Work> {
        if self.stopped {
            Some(Work::Over)
        } else if self.gathered.count > 0 {
            Some(Work::Write)
        } else if self.sync_wanted > self.synced {
            Some(Work::Sync)
        } else if self.closing {
            Some(Work::Close)
        } else {
            None
        }
    }
}

impl Writer {
    pub(super) fn new(end: End, last: Lsn, run: u32) -> Self {
        Self {
            active: end.active,
            offset: end.offset,
            previous: end.previous,
            run,
            written: last,
            synced: last,
            timed: Lsn(0),
            idle_buffer: Vec::new(),
        }
    }

    /// Whether a batch fits in the segment; if not, writing it means syncing this one and beginning the next.
    pub(super) fn has_room(&self, gathered: &Gathered) -> bool {
        self.offset + gathered.bytes.len() as u64 <= self.active.capacity
    }

    /// Writes what is gathered, if somebody else has not done so meanwhile.
    fn write_gathered(&mut self, shared: &Shared) -> Result<()> {
        let (batch, sync) = {
            let mut pending = shared.pending.lock();
            if pending.gathered.count == 0 {
                return Ok(());
            }
            let batch = self.take_gathered(shared, &mut pending);
            let sync = batch.sync || pending.sync_wanted > pending.synced;
            (batch, sync)
        };
        self.write(shared, batch, sync)
    }

    /// Takes what is gathered out from under those who append.
    pub(super) fn take_gathered(&mut self, shared: &Shared, pending: &mut Pending) -> Gathered {
        let empty = Gathered::new(mem::take(&mut self.idle_buffer), pending.last.next());
        if pending.waiting > 0 {
            shared.progress.notify_all();
        }
        mem::replace(&mut pending.gathered, empty)
    }

    pub(super) fn write(&mut self, shared: &Shared, mut batch: Gathered, sync: bool) -> Result<()> {
        let (last, timed) = (batch.last(), batch.timed);
        self.make_room(shared, &batch)?;
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
        if timed {
            self.timed = last;
        }
        if sync {
            self.synced = last;
        }
        self.recycle(batch.bytes);
        shared.advance(self.written, self.synced, |pending| {
            if sync {
                pending.unsynced_since = None;
            } else if timed && pending.unsynced_since.is_none() {
                pending.unsynced_since = Some(Instant::now());
                // The thread sleeps with no end in sight.
                shared.wake_thread(pending);
            }
        });
        if half_full(self.offset, self.active.capacity) {
            shared.segments.prepare();
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
    fn make_room(&mut self, shared: &Shared, batch: &Gathered) -> Result<()> {
        if self.has_room(batch) || self.offset == BATCHES_AT {
            return Ok(());
        }
        // Recovery relies on it: everything before a segment is on disk before the segment exists.
        self.sync(shared)?;
        self.active = shared.segments.begin(batch.first, (shared.options.random)())?;
        self.offset = BATCHES_AT;
        self.previous = self.active.checksum;
        Ok(())
    }

    fn sync(&mut self, shared: &Shared) -> Result<()> {
        if self.synced < self.written {
            self.active.file.sync().map_err(|error| self.failed("syncing", error))?;
        }
        self.synced = self.written;
        shared.advance(self.written, self.synced, |pending| pending.unsynced_since = None);
        Ok(())
    }

    /// The last write of a log closed in order: an empty batch, so that the next opening need not look for a torn tail.
    fn close(&mut self, shared: &Shared) -> Result<()> {
        self.sync(shared)?;
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
    fn advance(&self, written: Lsn, synced: Lsn, also: impl FnOnce(&mut MutexGuard<'_, Pending>)) {
        let advanced = self.durable.swap(written.0, Ordering::SeqCst) != written.0;
        {
            let mut pending = self.pending.lock();
            pending.synced = synced;
            also(&mut pending);
            if pending.waiting > 0 {
                self.progress.notify_all();
            }
        }
        if advanced {
            self.call_listeners();
        }
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
