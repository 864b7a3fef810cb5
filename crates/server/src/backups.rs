//! Backups of all databases at intervals, and how many of them are kept.
//!
//! A thread of its own, because it waits for the disk, which sleeps from one backup to the next. A file is written under another
//! name and renamed when all of it is on disk, so whatever has the name of a backup is one. Old ones go only after a new one has
//! come. What fails is logged, told of in `INFO`, and tried again; it never stops the server.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

use dormouse_database::Service;
use parking_lot::{Condvar, Mutex};

use crate::clock::moment;

/// How long after a failure it is tried again, unless the next is due sooner.
const TRY_AGAIN_AFTER: Duration = Duration::from_mins(5);
/// What the thread sleeps at most, so that a clock that was set is noticed.
const SLEEP_MAX: Duration = Duration::from_hours(1);
/// Bytes written at once.
const PIECE_BYTES: usize = 256 << 10;
/// Before and after the time in a file's name.
const NAME: (&str, &str) = ("dormouse-", ".backup");
/// What is behind the name of a file that is not whole.
const PART: &str = ".part";
/// A time in a name: `20261123T201500Z`.
const TIME_BYTES: usize = 16;

/// What was asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Schedule {
    /// Where the files are.
    pub(crate) dir: PathBuf,
    /// From one to the next.
    pub(crate) every: Duration,
    /// How many are kept.
    pub(crate) keep: usize,
}

/// Tells the thread to end.
#[derive(Default)]
struct Bell {
    stopped: Mutex<bool>,
    changed: Condvar,
}

/// The running thread.
pub(crate) struct Backups {
    thread: JoinHandle<()>,
    bell: Arc<Bell>,
}

impl Backups {
    /// Starts it.
    pub(crate) fn start(service: &Arc<Service>, schedule: Schedule) -> io::Result<Self> {
        let (service, bell) = (Arc::clone(service), Arc::<Bell>::default());
        let theirs = Arc::clone(&bell);
        let thread =
            std::thread::Builder::new().name("backups".to_owned()).spawn(move || run(&service, &schedule, &theirs))?;
        Ok(Self { thread, bell })
    }

    /// Ends it. A backup under way is given up.
    pub(crate) fn stop(self) {
        *self.bell.stopped.lock() = true;
        self.bell.changed.notify_all();
        if self.thread.join().is_err() {
            tracing::error!("the thread of backups had failed");
        }
    }
}

impl Bell {
    fn is_stopped(&self) -> bool {
        *self.stopped.lock()
    }

    /// Sleeps, but not past the end. Whether to go on.
    fn sleep(&self, time: Duration) -> bool {
        let mut stopped = self.stopped.lock();
        if !*stopped {
            self.changed.wait_for(&mut stopped, time);
        }
        !*stopped
    }
}

fn run(service: &Service, schedule: &Schedule, bell: &Bell) {
    let mut failed = false;
    loop {
        let left = match until_due(schedule, SystemTime::now()) {
            Duration::ZERO if failed => {
                failed = false;
                schedule.every.min(TRY_AGAIN_AFTER)
            }
            left => left,
        };
        if !left.is_zero() {
            if !bell.sleep(left.min(SLEEP_MAX)) {
                return;
            }
            continue;
        }
        let outcome = back_up(service, schedule, bell);
        if bell.is_stopped() {
            return;
        }
        failed = outcome.is_err();
        service.note_backup(!failed, moment().now_ms() / 1_000);
        match outcome {
            Ok((path, databases)) => tracing::info!(databases, "backed up to {}", path.display()),
            Err(error) => tracing::error!("a scheduled backup failed: {error:#}"),
        }
    }
}

/// How long from now until a backup is due, which the newest one in the directory says.
fn until_due(schedule: &Schedule, now: SystemTime) -> Duration {
    let newest = names(&schedule.dir).ok().and_then(|names| names.last().cloned());
    let written = newest.and_then(|name| fs::metadata(schedule.dir.join(name)).ok()?.modified().ok());
    // One from the future was written by another clock.
    let age = written.and_then(|written| now.duration_since(written).ok());
    age.map_or(Duration::ZERO, |age| schedule.every.saturating_sub(age))
}

/// The backups in a directory, oldest first.
fn names(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(dir)? {
        names.extend(entry?.file_name().into_string().ok().filter(|name| is_ours(name)));
    }
    names.sort();
    Ok(names)
}

/// Whether a file's name is one that we give.
fn is_ours(name: &str) -> bool {
    let time = name.strip_prefix(NAME.0).and_then(|rest| rest.strip_suffix(NAME.1));
    time.is_some_and(|time| {
        time.len() == TIME_BYTES && time.bytes().all(|byte| byte.is_ascii_digit() || matches!(byte, b'T' | b'Z'))
    })
}

fn name_at(now: SystemTime) -> String {
    let time = humantime::format_rfc3339_seconds(now).to_string().replace(['-', ':'], "");
    format!("{}{time}{}", NAME.0, NAME.1)
}

/// Writes until it is told to stop.
struct Stoppable<'a, W> {
    out: W,
    bell: &'a Bell,
}

impl<W: Write> Write for Stoppable<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.bell.is_stopped() {
            return Err(io::Error::other("the server is stopping"));
        }
        self.out.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

fn back_up(service: &Service, schedule: &Schedule, bell: &Bell) -> anyhow::Result<(PathBuf, u32)> {
    fs::create_dir_all(&schedule.dir)?;
    // What a process has left that was killed.
    for entry in fs::read_dir(&schedule.dir)?.flatten() {
        let name = entry.file_name().into_string().unwrap_or_default();
        if name.strip_suffix(PART).is_some_and(is_ours) {
            fs::remove_file(entry.path())?;
        }
    }
    let path = schedule.dir.join(name_at(SystemTime::now()));
    let mut part = path.clone().into_os_string();
    part.push(PART);
    let part = PathBuf::from(part);
    let written = write(service, &part, bell).and_then(|databases| {
        fs::rename(&part, &path)?;
        File::open(&schedule.dir)?.sync_all()?;
        Ok(databases)
    });
    if written.is_err() {
        // If it cannot be removed now, the next one does it.
        let _ = fs::remove_file(&part);
    }
    let databases = written?;
    let names = names(&schedule.dir)?;
    for old in &names[..names.len().saturating_sub(schedule.keep)] {
        fs::remove_file(schedule.dir.join(old))?;
    }
    Ok((path, databases))
}

fn write(service: &Service, part: &Path, bell: &Bell) -> anyhow::Result<u32> {
    let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(part)?;
    let mut out = BufWriter::with_capacity(PIECE_BYTES, Stoppable { out: &file, bell });
    let databases = service.backup_all(moment(), &mut out)?;
    out.flush()?;
    drop(out);
    file.sync_all()?;
    Ok(databases)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::service;
    use dormouse_engine::Limits;

    #[test]
    fn only_what_we_name_is_ours() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_hours(500_000);
        assert_eq!(name_at(now), "dormouse-20270115T080000Z.backup");
        assert!(is_ours(&name_at(now)));
        for name in [
            "dormouse-.backup",
            "shop.backup",
            "dormouse-20270115T080000Z.backup.part",
            "dormouse-mine-of-today!.backup",
        ] {
            assert!(!is_ours(name), "{name}");
        }
    }

    #[test]
    fn old_ones_go_when_a_new_one_has_come() {
        let (_guard, service) = service(Limits::default());
        let dir = tempfile::tempdir().unwrap();
        let schedule = Schedule { dir: dir.path().join("made"), every: Duration::from_hours(1), keep: 2 };
        let bell = Bell::default();
        assert_eq!(until_due(&schedule, SystemTime::now()), Duration::ZERO);
        fs::create_dir_all(&schedule.dir).unwrap();
        let old = ["20200101T000000Z", "20200102T000000Z", "20200103T000000Z"];
        for time in old {
            fs::write(schedule.dir.join(format!("dormouse-{time}.backup")), "old").unwrap();
        }
        fs::write(schedule.dir.join("dormouse-20200104T000000Z.backup.part"), "left").unwrap();
        fs::write(schedule.dir.join("mine.backup"), "mine").unwrap();
        let (path, databases) = back_up(&service, &schedule, &bell).unwrap();
        assert_eq!(databases, 1);
        let newest = path.file_name().unwrap().to_str().unwrap().to_owned();
        assert_eq!(names(&schedule.dir).unwrap(), ["dormouse-20200103T000000Z.backup".to_owned(), newest]);
        assert!(schedule.dir.join("mine.backup").exists(), "what is not ours stays");
        assert!(!schedule.dir.join("dormouse-20200104T000000Z.backup.part").exists());
        let left = until_due(&schedule, SystemTime::now());
        assert!(left > Duration::from_mins(50), "{left:?}");
        // A stop gives up what is under way, and leaves nothing of it.
        *bell.stopped.lock() = true;
        assert!(back_up(&service, &schedule, &bell).is_err());
        assert_eq!(fs::read_dir(&schedule.dir).unwrap().count(), 3);
    }
}
