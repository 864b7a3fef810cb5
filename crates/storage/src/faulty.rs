//! A file system in memory that stops when told to and forgets what was not synced.
//!
//! Durability is a claim about what is left after the worst moment, so the tests take every moment in turn:
//! [`FaultyDisk::fail_at`] stops at the n-th operation that changes something, and [`FaultyDisk::power_cut`] is the disk
//! that the next start finds: synced bytes are there, unsynced ones are there, missing or torn at a sector, as the seed
//! has it. Names behave alike: without a sync of the directory, any prefix of the changes made to it may be left.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use crate::disk::{Disk, DiskFile};

/// Disks write sectors of this size as a whole.
const SECTOR_BYTES: u64 = 512;

/// How an operation fails.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[non_exhaustive]
pub enum Fault {
    /// Nothing of it happens.
    Refused,
    /// Half of a write happens; of anything else nothing does.
    Torn,
}

/// A file system in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FaultyDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, usize>,
    durable_names: BTreeMap<PathBuf, usize>,
    /// Changes of names since the last sync of the directory.
    renames: Vec<Vec<Naming>>,
    files: Vec<Content>,
    operations: u64,
    fail_at: Option<(u64, Fault)>,
    failed: bool,
    fail_once_at: Option<(u64, Fault)>,
    lies: bool,
    reads: u64,
    fail_read_at: Option<u64>,
}

/// What a name stands for from now on.
type Naming = (PathBuf, Option<usize>);

#[derive(Clone, Default)]
struct Content {
    bytes: Vec<u8>,
    durable: Vec<u8>,
    unsynced: Vec<(u64, Vec<u8>)>,
}

impl FaultyDisk {
    /// How many operations have changed something so far.
    pub fn operations(&self) -> u64 {
        self.state.lock().operations
    }

    /// The operation with this number (from 1), and every one after it, fails.
    pub fn fail_at(&self, operation: u64, fault: Fault) {
        self.state.lock().fail_at = Some((operation, fault));
    }

    /// The operation with this number (from 1) fails, and those after it do not.
    pub fn fail_once_at(&self, operation: u64, fault: Fault) {
        self.state.lock().fail_once_at = Some((operation, fault));
    }

    /// From now on it says that bytes are on disk, and they are not: a judge of durability must notice.
    pub fn lie(&self) {
        self.state.lock().lies = true;
    }

    /// A digest of what is there: the same for the same bytes under the same names.
    pub fn digest(&self) -> u64 {
        let state = self.state.lock();
        let mut digest = xxhash_rust::xxh3::Xxh3::new();
        for (path, id) in &state.names {
            digest.update(path.as_os_str().as_encoded_bytes());
            digest.update(&state.files[*id].bytes);
        }
        digest.digest()
    }

    /// How many reads there have been so far.
    pub fn reads(&self) -> u64 {
        self.state.lock().reads
    }

    /// The read with this number (from 1) fails, once.
    pub fn fail_read_at(&self, read: u64) {
        self.state.lock().fail_read_at = Some(read);
    }

    /// The disk after a loss of power now. The seed decides what became of everything not synced.
    #[must_use]
    pub fn power_cut(&self, seed: u64) -> Self {
        let state = self.state.lock();
        let mut dice = Dice(seed);
        let mut names = state.durable_names.clone();
        let kept = dice.below(state.renames.len() as u64 + 1) as usize;
        state.renames[..kept].iter().for_each(|change| apply_names(&mut names, change));
        let files = state.files.iter().map(|file| file.after_power_cut(&mut dice)).collect();
        let state = State { durable_names: names.clone(), names, files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk after the process died and the machine did not: everything written is there.
    #[must_use]
    pub fn process_killed(&self) -> Self {
        let state = self.state.lock();
        let files = state.files.clone();
        let (names, durable_names) = (state.names.clone(), state.durable_names.clone());
        let state = State { names, durable_names, renames: state.renames.clone(), files, ..State::default() };
        Self { state: Arc::new(Mutex::new(state)) }
    }

    /// Changes bytes behind the log's back.
    pub fn damage(&self, path: &Path, change: impl FnOnce(&mut Vec<u8>)) -> io::Result<()> {
        let mut state = self.state.lock();
        let id = state.id(path)?;
        let file = &mut state.files[id];
        change(&mut file.bytes);
        file.durable.clone_from(&file.bytes);
        file.unsynced.clear();
        Ok(())
    }
}

fn apply_names(names: &mut BTreeMap<PathBuf, usize>, change: &[Naming]) {
    for (path, id) in change {
        match id {
            Some(id) => names.insert(path.clone(), *id),
            None => names.remove(path),
        };
    }
}

impl State {
    fn id(&self, path: &Path) -> io::Result<usize> {
        self.names.get(path).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    /// Counts an operation; `Some` when it must fail.
    fn operate(&mut self) -> Option<Fault> {
        self.operations += 1;
        if let Some((_, fault)) = self.fail_once_at.take_if(|(at, _)| *at <= self.operations) {
            return Some(fault);
        }
        let (at, fault) = self.fail_at?;
        if self.operations < at {
            return None;
        }
        // Torn once; the machine is gone after that.
        let fault = if std::mem::replace(&mut self.failed, true) { Fault::Refused } else { fault };
        Some(fault)
    }

    fn operate_whole(&mut self) -> io::Result<()> {
        self.operate().map_or(Ok(()), |_| Err(injected()))
    }

    fn name(&mut self, change: Vec<Naming>) {
        apply_names(&mut self.names, &change);
        self.renames.push(change);
    }
}

fn injected() -> io::Error {
    io::Error::other("injected fault")
}

impl Content {
    fn write(&mut self, bytes: &[u8], offset: u64) {
        overlay(&mut self.bytes, bytes, offset);
        self.unsynced.push((offset, bytes.to_vec()));
    }

    fn sync(&mut self) {
        self.durable.clone_from(&self.bytes);
        self.unsynced.clear();
    }

    fn after_power_cut(&self, dice: &mut Dice) -> Self {
        let mut durable = self.durable.clone();
        for (offset, bytes) in &self.unsynced {
            for (at, sector) in sectors(bytes, *offset) {
                if dice.below(2) == 0 {
                    overlay(&mut durable, sector, at);
                }
            }
        }
        Self { bytes: durable.clone(), durable, unsynced: Vec::new() }
    }
}

/// Cuts a write where the disk's sectors do.
fn sectors(mut bytes: &[u8], mut offset: u64) -> impl Iterator<Item = (u64, &[u8])> {
    std::iter::from_fn(move || {
        let room = (SECTOR_BYTES - offset % SECTOR_BYTES) as usize;
        let (sector, rest) = bytes.split_at(room.min(bytes.len()));
        let at = offset;
        bytes = rest;
        offset += sector.len() as u64;
        (!sector.is_empty()).then_some((at, sector))
    })
}

fn overlay(file: &mut Vec<u8>, bytes: &[u8], offset: u64) {
    let (offset, end) = (offset as usize, offset as usize + bytes.len());
    if file.len() < end {
        file.resize(end, 0);
    }
    file[offset..end].copy_from_slice(bytes);
}

impl Disk for FaultyDisk {
    fn create_dir(&self, _dir: &Path) -> io::Result<()> {
        Ok(())
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<String>> {
        let state = self.state.lock();
        let inside = state.names.keys().filter(|path| path.parent() == Some(dir));
        Ok(inside.filter_map(|path| Some(path.file_name()?.to_str()?.to_owned())).collect())
    }

    fn create(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        state.files.push(Content::default());
        let id = state.files.len() - 1;
        state.name(vec![(path.to_owned(), Some(id))]);
        Ok(Box::new(FaultyFile { disk: self.clone(), id }))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn DiskFile>> {
        let id = self.state.lock().id(path)?;
        Ok(Box::new(FaultyFile { disk: self.clone(), id }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        let id = state.id(from)?;
        // One change, as on a journalled file system: never both names, never neither.
        state.name(vec![(from.to_owned(), None), (to.to_owned(), Some(id))]);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        state.id(path)?;
        state.name(vec![(path.to_owned(), None)]);
        Ok(())
    }

    fn sync_dir(&self, _dir: &Path) -> io::Result<()> {
        let mut state = self.state.lock();
        state.operate_whole()?;
        let names = state.names.clone();
        state.durable_names = names;
        state.renames.clear();
        Ok(())
    }
}

struct FaultyFile {
    disk: FaultyDisk,
    id: usize,
}

impl FaultyFile {
    fn write(&self, bytes: &[u8], offset: u64, durable: bool) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        let fault = state.operate();
        let file = &mut state.files[self.id];
        match fault {
            Some(Fault::Refused) => return Err(injected()),
            Some(Fault::Torn) => {
                file.write(&bytes[..bytes.len() / 2], offset);
                return Err(injected());
            }
            None => file.write(bytes, offset),
        }
        if durable && !state.lies {
            let file = &mut state.files[self.id];
            // Only these bytes: what was unsynced before stays so.
            file.unsynced.pop();
            overlay(&mut file.durable, bytes, offset);
        }
        Ok(())
    }
}

impl DiskFile for FaultyFile {
    fn size(&self) -> io::Result<u64> {
        Ok(self.disk.state.lock().files[self.id].bytes.len() as u64)
    }

    fn read_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let mut state = self.disk.state.lock();
        state.reads += 1;
        if state.fail_read_at == Some(state.reads) {
            return Err(injected());
        }
        let bytes = &state.files[self.id].bytes;
        let rest = bytes.get(offset as usize..).unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn write_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(bytes, offset, false)
    }

    fn write_durable_at(&self, bytes: &[u8], offset: u64) -> io::Result<()> {
        self.write(bytes, offset, true)
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.disk.state.lock();
        state.operate_whole()?;
        if !state.lies {
            state.files[self.id].sync();
        }
        Ok(())
    }
}

/// A small generator (`SplitMix64`): the same seed, the same disk.
struct Dice(u64);

impl Dice {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % limit
    }
}
