//! The few things the log asks of a file system, behind a trait so that a faulty one can take its place.
//!
//! Every write names its offset and is either durable on return or explicitly not; there is no cursor and no buffering.
//! A file's name is durable only after [`Disk::sync_dir`]. Callers add the context to errors; this module adds none.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

/// A file system, as the log sees it.
pub trait Disk: Send + Sync {
    /// Creates a directory and those above it; fine when it exists.
    fn create_dir(&self, dir: &Path) -> io::Result<()>;
    /// The names of the files in a directory, in no particular order.
    fn list(&self, dir: &Path) -> io::Result<Vec<String>>;
    /// Creates an empty file, replacing one of that name.
    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Opens a file that exists.
    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>>;
    /// Renames a file, replacing one of the new name.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;
    /// Removes a file.
    fn remove(&self, path: &Path) -> io::Result<()>;
    /// Makes the names in a directory durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;
}

/// One open file.
pub trait DiskFile: Send + Sync {
    /// Its length in bytes.
    fn size(&self) -> io::Result<u64>;
    /// Reads up to the buffer's length; fewer bytes only at the end of the file.
    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;
    /// Writes all of it, growing the file when needed. On return it is the operating system's, not yet the disk's.
    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// Writes all of it; on return these bytes (and no earlier ones) are on disk.
    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<()>;
    /// On return everything written to this file is on disk.
    fn sync(&self) -> io::Result<()>;
}

/// The operating system's files.
#[derive(Clone, Copy, Debug, Default)]
pub struct RealDisk;

impl Disk for RealDisk {
    fn create_dir(&self, dir: &Path) -> io::Result<()> {
        fs::create_dir_all(dir)
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        // A name that is not text is not one of ours.
        let names = fs::read_dir(dir)?.map(|entry| Ok(entry?.file_name().into_string().ok()));
        names.filter_map(Result::transpose).collect()
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let plain = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
        Ok(Box::new(RealFile { plain, durable: open_durable(path)? }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let plain = OpenOptions::new().read(true).write(true).open(path)?;
        Ok(Box::new(RealFile { plain, durable: open_durable(path)? }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        File::open(dir)?.sync_all()
    }
}

/// One file, opened twice: a write through the `O_DSYNC` descriptor is write and sync in one system call, which is a
/// third faster than two. Elsewhere than on Linux `O_DSYNC` may stop at the drive's cache, so there it is write, then sync.
struct RealFile {
    plain: File,
    durable: Option<File>,
}

fn open_durable(path: &Path) -> io::Result<Option<File>> {
    if !cfg!(target_os = "linux") {
        return Ok(None);
    }
    OpenOptions::new().write(true).custom_flags(libc::O_DSYNC).open(path).map(Some)
}

impl DiskFile for RealFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.plain.metadata()?.len())
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.plain.read_at(&mut buffer[filled..], offset + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.plain.write_all_at(bytes, offset)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        if let Some(file) = &self.durable {
            return file.write_all_at(bytes, offset);
        }
        self.plain.write_all_at(bytes, offset)?;
        self.plain.sync_data()
    }

    fn sync(&self) -> io::Result<()> {
        self.plain.sync_data()
    }
}
