//! The commit log: one per process, one record per atomic change, acknowledged once it is as safe as it asked to be.
//!
//! Any thread appends, which only copies into the batch being gathered and costs no system call. When a thread has nothing
//! more to append for now it says so with [`Log::write_out`]: a batch that must be synced goes to the log's own thread, one
//! that need not is written where it stands. [`Log::durable`] is one atomic load, and is how callers learn that a record may
//! be acknowledged: on disk if it asked for [`Durability::Always`], with the operating system otherwise.
//!
//! The bytes on disk and the rule of recovery are at the top of `format.rs`. The log never looks inside a record, never
//! retries a failed write or sync, and never acknowledges anything out of order.

mod format;
mod recovery;
mod segments;
mod writer;

use std::collections::VecDeque;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use parking_lot::{Condvar, Mutex, MutexGuard, RwLock};

use self::format::{BATCH_HEADER_BYTES, BATCHES_AT, RECORD_HEADER_BYTES, push_record};
pub use self::recovery::{DroppedTail, Recovery};
use self::recovery::{End, recover};
use self::segments::Segments;
use self::writer::Writer;
use crate::disk::{Disk, RealDisk};
use crate::{Durability, Error, Lsn, Result};

/// [`Log::trim`] knows the size of what it cuts off to this many bytes.
const TAIL_MARK_BYTES: u64 = 64 << 10;

/// A batch up to this size is written by whoever appended it, if it need not be synced. A larger one would keep that thread
/// from its clients.
const WRITTEN_HERE_BYTES_MAX: usize = 128 << 10;

/// The most that [`LogOptions`] may ask to hold in one batch, whose length has 32 bits on disk.
const BATCH_BYTES_MAX: usize = 2 << 30;

/// How to open a log.
#[derive(Clone)]
#[non_exhaustive]
pub struct LogOptions {
    /// The size of a segment; after a crash up to this much is read to tell a torn tail from damage. 8 MiB.
    pub segment_bytes: u64,
    /// Appends block while this much waits to be written. 16 MiB.
    pub pending_bytes_max: usize,
    /// The largest record. 2 GiB.
    pub record_bytes_max: usize,
    /// How soon a [`Durability::EverySec`] record is on disk. One second.
    pub sync_interval: Duration,
    /// How many covered segments are kept for reuse. 4.
    pub spare_segments_max: usize,
    /// The file system.
    pub disk: Arc<dyn Disk>,
    /// Whether the log has threads of its own. Without them, in a simulator, whoever waits does their work, and
    /// [`Log::turn`] does what is due; timed syncs are not.
    pub own_threads: bool,
    /// Draws numbers nobody can guess, which tell this log's batches from anything else's.
    pub random: fn() -> u64,
}

impl Default for LogOptions {
    fn default() -> Self {
        Self {
            segment_bytes: 8 << 20,
            pending_bytes_max: 16 << 20,
            record_bytes_max: BATCH_BYTES_MAX,
            sync_interval: writer::SYNC_INTERVAL,
            spare_segments_max: 4,
            disk: Arc::new(RealDisk),
            own_threads: true,
            random,
        }
    }
}

/// The commit log. Shared by many threads; dropping it closes it.
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use dormouse_storage::{Durability, Log, LogOptions, Lsn};
///
/// let log = Log::open(dir.path(), LogOptions::default(), Lsn(0), |_, _| Ok(())).unwrap();
/// let lsn = log.append(Durability::Always, b"set k v").unwrap();
/// log.wait_durable(lsn).unwrap();
/// drop(log);
///
/// let mut seen = Vec::new();
/// let replay = |lsn, record: &[u8]| Ok(seen.push((lsn, record.to_vec())));
/// Log::open(dir.path(), LogOptions::default(), Lsn(0), replay).unwrap();
/// assert_eq!(seen, [(Lsn(1), b"set k v".to_vec())]);
/// ```
pub struct Log {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
    recovery: Recovery,
}

type Listener = Box<dyn Fn() + Send + Sync>;

/// What the appending threads and the log's own have in common.
struct Shared {
    options: LogOptions,
    pending: Mutex<Pending>,
    /// Whoever holds it writes. Taken before `pending`, or only tried.
    writer: Mutex<Writer>,
    /// The log's own thread waits here.
    work: Condvar,
    /// Everyone else waits here: for room, for durability, for a sync.
    progress: Condvar,
    /// Everything up to here may be acknowledged.
    durable: AtomicU64,
    /// Whether `Pending::poison` is set, for those who ask with every write.
    failed: AtomicBool,
    listeners: RwLock<Vec<Listener>>,
    segments: Arc<Segments>,
}

struct Pending {
    gathered: Gathered,
    /// The newest record appended.
    last: Lsn,
    /// Everything up to here is on disk.
    synced: Lsn,
    /// Someone wants everything up to here on disk.
    sync_wanted: Lsn,
    /// When the oldest record that wants the timed sync was written.
    unsynced_since: Option<Instant>,
    /// How many threads wait at `progress`.
    waiting: usize,
    /// The log's own thread sleeps.
    thread_idle: bool,
    closing: bool,
    stopped: bool,
    poison: Option<Error>,
    tail: Tail,
}

/// A batch in the making: room for its header, then the body.
struct Gathered {
    bytes: Vec<u8>,
    count: u32,
    first: Lsn,
    /// Some record must be on disk before it is acknowledged.
    sync: bool,
    /// Some record must be on disk within the sync interval.
    timed: bool,
}

impl Gathered {
    fn new(mut buffer: Vec<u8>, first: Lsn) -> Self {
        buffer.clear();
        buffer.resize(BATCH_HEADER_BYTES, 0);
        Self { bytes: buffer, count: 0, first, sync: false, timed: false }
    }

    fn push(&mut self, durability: Durability, payload: &[u8]) {
        push_record(&mut self.bytes, payload);
        self.count += 1;
        self.sync |= durability == Durability::Always;
        self.timed |= durability == Durability::EverySec;
    }

    fn body_bytes(&self) -> usize {
        self.bytes.len() - BATCH_HEADER_BYTES
    }

    fn last(&self) -> Lsn {
        Lsn(self.first.0 + u64::from(self.count) - 1)
    }
}

/// Reads a log as [`Log::open`] does, with the same verdict, and changes no file; but a log without a segment is none here: what
/// was opened once has one. The caller holds the [`crate::DirectoryLock`].
pub fn check_log(dir: &Path, after: Lsn, replay: impl FnMut(Lsn, &[u8]) -> Result<()>) -> Result<Recovery> {
    let listing = segments::list(&RealDisk, dir)?;
    if listing.sequences.is_empty() {
        return Err(Error::Corrupt { path: dir.to_owned(), offset: 0, what: "the log has no segment".into() });
    }
    Ok(recover(&RealDisk, dir, &listing, after, replay)?.recovery)
}

/// How many bytes of log came after the last trim.
#[derive(Default)]
struct Tail {
    appended_bytes: u64,
    trimmed_bytes: u64,
    /// How much had been appended up to certain records, ascending.
    marks: VecDeque<(Lsn, u64)>,
}

impl Tail {
    fn appended(&mut self, lsn: Lsn, bytes: u64) {
        self.appended_bytes += bytes;
        let marked = self.marks.back().map_or(self.trimmed_bytes, |&(_, bytes)| bytes);
        if self.appended_bytes - marked >= TAIL_MARK_BYTES {
            self.marks.push_back((lsn, self.appended_bytes));
        }
    }

    fn trimmed(&mut self, upto: Lsn, last: Lsn) {
        if upto >= last {
            self.marks.clear();
            self.trimmed_bytes = self.appended_bytes;
        }
        while let Some((_, bytes)) = self.marks.pop_front_if(|(lsn, _)| *lsn <= upto) {
            self.trimmed_bytes = bytes;
        }
    }

    fn bytes(&self) -> u64 {
        self.appended_bytes - self.trimmed_bytes
    }
}

impl Log {
    /// Opens the log in `dir`, creating it when missing, and hands every record after `after` to `replay`, in order.
    ///
    /// A torn tail is dropped; see [`Log::recovery`]. [`Error::Corrupt`] when something acknowledged is missing, and then
    /// no file has been changed.
    pub fn open(
        dir: &Path,
        mut options: LogOptions,
        after: Lsn,
        mut replay: impl FnMut(Lsn, &[u8]) -> Result<()>,
    ) -> Result<Self> {
        options.record_bytes_max = options.record_bytes_max.min(BATCH_BYTES_MAX);
        options.pending_bytes_max = options.pending_bytes_max.min(BATCH_BYTES_MAX);
        let disk = Arc::clone(&options.disk);
        disk.create_dir(dir).map_err(|error| Error::io(format!("creating {}", dir.display()), error))?;
        let listing = segments::list(&*disk, dir)?;
        let mut tail = Tail::default();
        let found = recover(&*disk, dir, &listing, after, |lsn, record| {
            tail.appended(lsn, (record.len() + RECORD_HEADER_BYTES) as u64);
            replay(lsn, record)
        })?;
        let (recovery, last) = (found.recovery, found.recovery.last);
        if let Some(dropped) = recovery.dropped {
            tracing::warn!(from = dropped.from.0, "the log had a torn tail of unacknowledged records; dropped");
        }
        let segments = Arc::new(Segments::new(dir, &options));
        segments.adopt(found.live, &listing)?;
        let end = match found.end {
            Some(end) => settle_end(end, &recovery, &*disk, dir)?,
            None => begin_anew(&segments, last, (options.random)())?,
        };
        segments.trim(after)?;
        let writer = Writer::new(end, last, (options.random)() as u32);
        let own_threads = options.own_threads;
        let shared = Arc::new(Shared::new(options, segments, writer, last, tail));
        let thread = if own_threads { Some(start_thread(&shared)?) } else { None };
        Ok(Self { shared, thread: Mutex::new(thread), recovery })
    }

    /// What was found when the log was opened.
    pub fn recovery(&self) -> Recovery {
        self.recovery
    }

    /// Appends one record and returns its position; it is not safe yet, and may not be written before somebody calls
    /// [`Log::write_out`], [`Log::wait_durable`] or [`Log::sync`].
    ///
    /// Never waits for the disk, except while [`LogOptions::pending_bytes_max`] is exceeded. [`Error::Poisoned`] and
    /// [`Error::Closed`] mean that nothing was appended.
    pub fn append(&self, durability: Durability, payload: &[u8]) -> Result<Lsn> {
        let options = &self.shared.options;
        if payload.len() > options.record_bytes_max {
            return Err(Error::RecordTooLarge { bytes: payload.len(), bytes_max: options.record_bytes_max });
        }
        let bytes = payload.len() + RECORD_HEADER_BYTES;
        let mut pending = self.shared.pending.lock();
        loop {
            pending.accepts()?;
            let gathered = pending.gathered.body_bytes();
            // A record larger than the limit goes alone.
            if gathered == 0 || gathered + bytes <= options.pending_bytes_max {
                break;
            }
            self.shared.wake_thread(&mut pending);
            self.shared.wait(&mut pending);
        }
        let lsn = pending.last.next();
        pending.gathered.push(durability, payload);
        pending.last = lsn;
        pending.tail.appended(lsn, bytes as u64);
        Ok(lsn)
    }

    /// Sees to it that everything appended gets written; called once after many appends. What need not be synced is written
    /// by the calling thread, which is cheaper than two changes of thread; the rest is left to the log's own.
    pub fn write_out(&self) {
        let mut pending = self.shared.pending.lock();
        if pending.gathered.count == 0 {
            return;
        }
        if pending.may_be_written_here()
            && let Some(mut writer) = self.shared.writer.try_lock()
            && writer.has_room(&pending.gathered)
        {
            // Taken while nobody can append: this batch needs no sync, the next one might.
            let batch = writer.take_gathered(&self.shared, &mut pending);
            drop(pending);
            let done = writer.write(&self.shared, batch, false);
            self.shared.let_go(writer, done);
            return;
        }
        self.shared.wake_thread(&mut pending);
    }

    /// Does one piece of what the log's own thread would do, if it has none; whether there was any.
    pub fn turn(&self) -> bool {
        !self.shared.options.own_threads && self.shared.turn()
    }

    /// The newest record appended.
    pub fn last(&self) -> Lsn {
        self.shared.pending.lock().last
    }

    /// Everything up to here is as safe as it asked to be and may be acknowledged.
    pub fn durable(&self) -> Lsn {
        // In one order with what a listener looks at: one who says that it waits, and then looks here, is told otherwise.
        Lsn(self.shared.durable.load(Ordering::SeqCst))
    }

    /// Adds a listener, called by whichever thread wrote each time [`Log::durable`] advanced or the log was poisoned. It must
    /// be short, and must not call back into anything that waits for the log.
    pub fn on_durable(&self, listener: Box<dyn Fn() + Send + Sync>) {
        self.shared.listeners.write().push(listener);
    }

    /// Waits until [`Log::durable`] reaches `lsn`.
    pub fn wait_durable(&self, lsn: Lsn) -> Result<()> {
        if self.durable() >= lsn {
            return Ok(());
        }
        self.write_out();
        let mut pending = self.shared.pending.lock();
        while self.durable() < lsn {
            pending.alive()?;
            self.shared.wait(&mut pending);
        }
        Ok(())
    }

    /// The failure that stopped the log, if one did.
    pub fn poisoned(&self) -> Option<Error> {
        if self.has_failed() { self.shared.pending.lock().poison.clone() } else { None }
    }

    /// Whether a failure stopped the log; [`Log::poisoned`] says which.
    pub fn has_failed(&self) -> bool {
        self.shared.failed.load(Ordering::SeqCst)
    }

    /// On return everything appended before is on disk, whatever it asked for.
    pub fn sync(&self) -> Result<()> {
        let mut pending = self.shared.pending.lock();
        let wanted = pending.last;
        while pending.synced < wanted {
            pending.alive()?;
            pending.sync_wanted = pending.sync_wanted.max(wanted);
            self.shared.wake_thread(&mut pending);
            self.shared.wait(&mut pending);
        }
        Ok(())
    }

    /// Says that a checkpoint covers everything up to `upto`: whole segments before it are recycled or removed.
    pub fn trim(&self, upto: Lsn) -> Result<()> {
        {
            let mut pending = self.shared.pending.lock();
            let last = pending.last;
            pending.tail.trimmed(upto, last);
        }
        self.shared.segments.trim(upto)
    }

    /// Bytes of log after the last trim, to within 64 KiB: what decides when to checkpoint.
    pub fn tail_bytes(&self) -> u64 {
        self.shared.pending.lock().tail.bytes()
    }

    /// Writes and syncs what was appended, then stops. Later appends get [`Error::Closed`]. Closing twice is fine.
    pub fn close(&self) -> Result<()> {
        self.shared.pending.lock().closing = true;
        self.shared.work.notify_one();
        if let Some(thread) = self.thread.lock().take()
            && thread.join().is_err()
        {
            tracing::error!("the log's thread panicked");
        }
        while self.turn() {}
        self.shared.segments.settle();
        self.poisoned().map_or(Ok(()), Err)
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        if let Err(error) = self.close() {
            tracing::error!(%error, "closing the log");
        }
    }
}

impl Shared {
    fn new(options: LogOptions, segments: Arc<Segments>, writer: Writer, last: Lsn, tail: Tail) -> Self {
        let pending = Pending {
            gathered: Gathered::new(Vec::new(), last.next()),
            last,
            synced: last,
            sync_wanted: Lsn(0),
            unsynced_since: None,
            waiting: 0,
            thread_idle: false,
            closing: false,
            stopped: false,
            poison: None,
            tail,
        };
        Self {
            options,
            pending: Mutex::new(pending),
            writer: Mutex::new(writer),
            work: Condvar::new(),
            progress: Condvar::new(),
            durable: AtomicU64::new(last.0),
            failed: AtomicBool::new(false),
            listeners: RwLock::default(),
            segments,
        }
    }

    fn wait(&self, pending: &mut MutexGuard<'_, Pending>) {
        if !self.options.own_threads {
            MutexGuard::unlocked(pending, || self.turn());
            return;
        }
        pending.waiting += 1;
        self.progress.wait(pending);
        pending.waiting -= 1;
    }

    /// Only a thread that sleeps needs a system call.
    fn wake_thread(&self, pending: &mut MutexGuard<'_, Pending>) {
        if std::mem::take(&mut pending.thread_idle) {
            self.work.notify_one();
        }
    }
}

impl Pending {
    /// Whether waiting for the writer makes sense.
    fn alive(&self) -> Result<()> {
        match &self.poison {
            Some(error) => Err(error.clone()),
            None if self.stopped => Err(Error::Closed),
            None => Ok(()),
        }
    }

    fn may_be_written_here(&self) -> bool {
        let Gathered { sync, .. } = self.gathered;
        !self.stopped
            && !sync
            && self.sync_wanted <= self.synced
            && self.gathered.body_bytes() <= WRITTEN_HERE_BYTES_MAX
    }

    fn accepts(&self) -> Result<()> {
        self.alive()?;
        if self.closing { Err(Error::Closed) } else { Ok(()) }
    }
}

/// What recovery read may be in the operating system's memory only, names included, if the process died but the machine
/// did not. It has just been replayed, so it must not be lost later.
///
/// And what it dropped must not come back: a batch that lacks its first sector would be whole again if the next one, which
/// may begin with the very same bytes, were torn behind them. So the header in its place is wiped first.
fn settle_end(end: End, recovery: &Recovery, disk: &dyn Disk, dir: &Path) -> Result<End> {
    if !recovery.closed {
        let file = &end.active.file;
        let room = end.active.capacity.saturating_sub(end.offset).min(BATCH_HEADER_BYTES as u64) as usize;
        let wiped = file.write_durable_at(&[0; BATCH_HEADER_BYTES][..room], end.offset);
        let settled = wiped.and_then(|()| file.sync()).and_then(|()| disk.sync_dir(dir));
        settled.map_err(|error| Error::io("syncing the recovered log", error))?;
    }
    Ok(end)
}

fn start_thread(shared: &Arc<Shared>) -> Result<JoinHandle<()>> {
    let theirs = Arc::clone(shared);
    let thread = std::thread::Builder::new().name("log-writer".into()).spawn(move || theirs.run());
    thread.map_err(|error| Error::io("starting the log's thread", error))
}

fn begin_anew(segments: &Segments, last: Lsn, salt: u64) -> Result<End> {
    let active = segments.begin(last.next(), salt)?;
    let previous = active.checksum;
    Ok(End { active, offset: BATCHES_AT, previous })
}

/// A number nobody can guess, from the seeds the standard library draws for its hash maps.
fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}
