//! What the log's tests share: one call to open, one to read everything back, and dice.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use dormouse_storage::{Disk, Error, FaultyDisk, Log, LogOptions, Lsn, Recovery};

pub(crate) type Records = Vec<(Lsn, Vec<u8>)>;

pub(crate) fn options(disk: &FaultyDisk) -> LogOptions {
    let mut options = LogOptions::default();
    options.disk = Arc::new(disk.clone());
    options.segment_bytes = 8 << 10;
    options.sync_interval = Duration::from_hours(1);
    options
}

pub(crate) fn dir() -> PathBuf {
    PathBuf::from("/log")
}

pub(crate) fn open(disk: &FaultyDisk, after: Lsn) -> Result<(Log, Records), Error> {
    let mut records = Vec::new();
    let log = Log::open(&dir(), options(disk), after, |lsn, record| {
        records.push((lsn, record.to_vec()));
        Ok(())
    })?;
    Ok((log, records))
}

pub(crate) fn read_all(disk: &FaultyDisk) -> Result<(Records, Recovery), Error> {
    let (log, records) = open(&disk.process_killed(), Lsn(0))?;
    Ok((records, log.recovery()))
}

/// The segments of the log, oldest first.
pub(crate) fn segments(disk: &FaultyDisk) -> Vec<PathBuf> {
    files(disk, &dir(), "log")
}

pub(crate) fn files(disk: &dyn Disk, dir: &Path, extension: &str) -> Vec<PathBuf> {
    let names = disk.list(dir).unwrap().into_iter().map(|name| dir.join(name));
    let mut paths: Vec<PathBuf> = names.filter(|path| path.extension().is_some_and(|ext| ext == extension)).collect();
    paths.sort();
    paths
}

/// A record that says which one it is, of a length that varies.
pub(crate) fn record(index: u64, bytes: usize) -> Vec<u8> {
    let mut record = index.to_le_bytes().to_vec();
    record.resize(8 + bytes, index as u8);
    record
}

/// A small generator (`SplitMix64`).
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
