//! One process per directory.
//!
//! Two processes writing one log would each be right and together be garbage. The lock is an advisory lock on the file
//! `LOCK`, so it dies with its process: there is never a stale lock to remove by hand, and the file itself means nothing.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::path::Path;

use crate::{Error, Result};

/// Held for as long as this process may touch the directory.
#[derive(Debug)]
pub struct DirectoryLock {
    _file: File,
}

impl DirectoryLock {
    /// Takes the directory, creating it when missing; [`Error::Locked`] when another process has it.
    ///
    /// ```
    /// # let dir = tempfile::tempdir().unwrap();
    /// use dormouse_storage::{DirectoryLock, Error};
    /// let held = DirectoryLock::acquire(dir.path()).unwrap();
    /// assert!(matches!(DirectoryLock::acquire(dir.path()), Err(Error::Locked { .. })));
    /// drop(held);
    /// assert!(DirectoryLock::acquire(dir.path()).is_ok());
    /// ```
    pub fn acquire(dir: &Path) -> Result<Self> {
        fs::create_dir_all(dir).map_err(|error| Error::io(format!("creating {}", dir.display()), error))?;
        let path = dir.join("LOCK");
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .map_err(|error| Error::io(format!("opening {}", path.display()), error))?;
        match file.try_lock() {
            Ok(()) => Ok(Self { _file: file }),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: dir.to_owned() }),
            Err(TryLockError::Error(error)) => Err(Error::io(format!("locking {}", path.display()), error)),
        }
    }
}
