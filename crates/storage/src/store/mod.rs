//! The store: ordered keys and values that outlive the process, changed only by whole checkpoints.
//!
//! The commit log already makes every write durable, so a store needs no journal of its own: it is asked for one thing
//! only, that [`Store::apply`] happens wholly or not at all, and that [`Store::applied`] then says up to which log record
//! it went. Whatever was lost with an unfinished apply is replayed from the log.
//!
//! A store sees bytes. It must never look inside a key or a value, and it must never write anything it was not handed.

#[cfg(feature = "testing")]
pub mod contract;
mod faulty;
mod lsm;
mod memory;

use std::collections::BTreeMap;
use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;

pub use faulty::FaultyStore;
pub use memory::MemoryStore;

use crate::{Error, Lsn, Result};

/// Keys have at least this many bytes, which leaves shorter ones to a store's own notes.
pub const KEY_BYTES_MIN: usize = 2;
/// Keys have at most this many bytes.
pub const KEY_BYTES_MAX: usize = 60_000;
/// Values have at most this many bytes.
pub const VALUE_BYTES_MAX: usize = 1 << 30;

/// An embedded store.
pub trait Store: Send + Sync {
    /// The value of one key. It shares no memory with the store, so it may be kept.
    fn get(&self, key: &[u8]) -> Result<Option<Bytes>>;

    /// The first `limit` entries with `from <= key < until`, in ascending order, all of
    /// one moment: of a batch applied meanwhile it shows everything or nothing. They may be slices of larger
    /// buffers: to keep one for long, copy it.
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>>;

    /// Like [`Store::scan`], without the values.
    fn scan_keys(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<Bytes>>;

    /// Makes all changes of the batch, or none. On return they are durable, and so is `upto`, the log position they
    /// cover. An `upto` behind [`Store::applied`] is an error: the store never goes back.
    fn apply(&self, batch: &Batch, upto: Lsn) -> Result<()>;

    /// The log position of the newest batch applied: where replay starts.
    fn applied(&self) -> Lsn;

    /// The store as it is now, whatever is applied later. What it shows cannot be merged away while it is held, so hold it
    /// no longer than needed.
    fn snapshot(&self) -> Box<dyn Snapshot>;

    /// Bytes on disk, about.
    fn disk_bytes(&self) -> Result<u64>;
}

/// A store as it was at one moment.
pub trait Snapshot: Send {
    /// As [`Store::scan`].
    fn scan(&self, from: &[u8], until: &[u8], limit: usize) -> Result<Vec<(Bytes, Bytes)>>;
}

/// Changes that belong together. The last change to a key is the one that counts.
///
/// ```
/// use dormouse_storage::{Batch, Lsn, MemoryStore, Store};
/// let store = MemoryStore::default();
/// let mut batch = Batch::default();
/// batch.put("session:1", "ann");
/// batch.put("session:2", "bob");
/// batch.delete_range("session:1", "session:2");
/// store.apply(&batch, Lsn(2)).unwrap();
/// assert_eq!(store.get(b"session:1").unwrap(), None);
/// assert_eq!(store.get(b"session:2").unwrap(), Some("bob".into()));
/// assert_eq!(store.applied(), Lsn(2));
/// ```
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Cleared before `entries` are set; an entry inside a range was set after the range was cleared.
    ranges: Vec<(Bytes, Bytes)>,
    entries: BTreeMap<Bytes, Option<Bytes>>,
    bytes: usize,
}

impl Batch {
    /// Sets a key.
    pub fn put(&mut self, key: impl Into<Bytes>, value: impl Into<Bytes>) {
        self.set(key.into(), Some(value.into()));
    }

    /// Removes a key; fine when it is not there.
    pub fn delete(&mut self, key: impl Into<Bytes>) {
        self.set(key.into(), None);
    }

    /// Removes every key with `from <= key < until`, those put into this batch before included.
    pub fn delete_range(&mut self, from: impl Into<Bytes>, until: impl Into<Bytes>) {
        let (from, until) = (from.into(), until.into());
        if from >= until {
            return;
        }
        let covered = (Bound::Included(&from), Bound::Excluded(&until));
        let covered: Vec<Bytes> = self.entries.range::<Bytes, _>(covered).map(|(key, _)| key.clone()).collect();
        for key in covered {
            let value = self.entries.remove(&key).flatten();
            self.bytes -= entry_bytes(&key, value.as_ref());
        }
        self.bytes += from.len() + until.len();
        self.ranges.push((from, until));
    }

    /// Adds the changes of another batch, as if they had been made here. It may not clear ranges: those come first.
    pub fn append(&mut self, other: Self) {
        debug_assert!(other.ranges.is_empty(), "ranges of a later batch would clear what is here");
        for (key, value) in other.entries {
            self.set(key, value);
        }
    }

    /// How many changes: keys set or removed, and ranges cleared.
    pub fn len(&self) -> usize {
        self.ranges.len() + self.entries.len()
    }

    /// Whether there is nothing to change.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of the keys and values held.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// The ranges to clear first, in the order given. For those who implement [`Store`].
    pub fn ranges(&self) -> &[(Bytes, Bytes)] {
        &self.ranges
    }

    /// Then the keys to set (`Some`) or remove (`None`), ascending, each once. For those who implement [`Store`].
    pub fn entries(&self) -> impl ExactSizeIterator<Item = (&Bytes, Option<&Bytes>)> {
        self.entries.iter().map(|(key, value)| (key, value.as_ref()))
    }

    fn set(&mut self, key: Bytes, value: Option<Bytes>) {
        self.bytes += entry_bytes(&key, value.as_ref());
        let key_bytes = key.len();
        if let Some(old) = self.entries.insert(key, value) {
            self.bytes -= key_bytes + old.map_or(0, |value| value.len());
        }
    }
}

fn entry_bytes(key: &Bytes, value: Option<&Bytes>) -> usize {
    key.len() + value.map_or(0, Bytes::len)
}

/// What every store checks before it applies a batch: keys, values, and that the position does not go back.
pub fn check_batch(batch: &Batch, applied: Lsn, upto: Lsn) -> Result<()> {
    if upto < applied {
        let what = format!("a batch up to LSN {} comes after one up to LSN {}", upto.0, applied.0);
        return Err(Error::Store { context: "applying a checkpoint".into(), what });
    }
    for (key, value) in batch.entries() {
        if !(KEY_BYTES_MIN..=KEY_BYTES_MAX).contains(&key.len()) {
            return Err(Error::KeySize { bytes: key.len() });
        }
        if let Some(value) = value
            && value.len() > VALUE_BYTES_MAX
        {
            return Err(Error::ValueTooLarge { bytes: value.len() });
        }
    }
    Ok(())
}

/// How to open the store.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct StoreOptions {
    /// Memory for blocks read from disk, shared by all readers. 32 MiB.
    pub cache_bytes: u64,
}

impl Default for StoreOptions {
    fn default() -> Self {
        Self { cache_bytes: 32 << 20 }
    }
}

/// Opens the embedded store in `dir`, creating it when missing. The caller holds the [`crate::DirectoryLock`].
///
/// ```
/// # let dir = tempfile::tempdir().unwrap();
/// use dormouse_storage::{Batch, Lsn, StoreOptions, open_store};
/// let store = open_store(dir.path(), &StoreOptions::default()).unwrap();
/// let mut batch = Batch::default();
/// batch.put("key", "value");
/// store.apply(&batch, Lsn(1)).unwrap();
/// assert_eq!(store.get(b"key").unwrap(), Some("value".into()));
/// ```
pub fn open_store(dir: &Path, options: &StoreOptions) -> Result<Arc<dyn Store>> {
    Ok(Arc::new(lsm::LsmStore::open(dir, options)?))
}

/// A store that was looked at from outside.
pub struct CheckedStore {
    /// To look inside.
    pub store: Arc<dyn Store>,
    /// Files in use.
    pub files: u64,
    /// Bytes of them.
    pub bytes: u64,
    /// Those among them whose content is not what was written.
    pub damaged: Vec<Error>,
}

/// Opens a store to look at it, and compares every file in use with the checksum of when it was written. Nothing is merged
/// or added; files that nothing refers to go, as at any opening. The caller holds the [`crate::DirectoryLock`].
pub fn check_store(dir: &Path) -> Result<CheckedStore> {
    let missing = |what: String| Error::Corrupt { path: dir.to_owned(), offset: 0, what };
    if !dir.join(lsm_tree::file::CURRENT_VERSION_FILE).is_file() {
        return Err(missing("the file that says which tables there are is missing".to_owned()));
    }
    let store = lsm::LsmStore::open_idle(dir, &StoreOptions::default())?;
    let mut checked = CheckedStore { files: 0, bytes: 0, damaged: Vec::new(), store: Arc::new(MemoryStore::default()) };
    for (path, expected) in store.files() {
        checked.files += 1;
        match digest(&path) {
            Ok((found, bytes)) => {
                checked.bytes += bytes;
                if found != expected {
                    let what = "its checksum is not the one it was written with".to_owned();
                    checked.damaged.push(Error::Corrupt { path, offset: 0, what });
                }
            }
            Err(error) => checked.damaged.push(Error::io(format!("reading {}", path.display()), error)),
        }
    }
    checked.store = Arc::new(store);
    Ok(checked)
}

/// The checksum of a file as the tree computes it, and how long the file is.
fn digest(path: &Path) -> std::io::Result<(u128, u64)> {
    use std::io::Read;
    let mut file = std::fs::File::open(path)?;
    let (mut state, mut bytes, mut piece) = (xxhash_rust::xxh3::Xxh3Default::new(), 0, vec![0; 1 << 20]);
    loop {
        match file.read(&mut piece)? {
            0 => return Ok((state.digest128(), bytes)),
            count => {
                state.update(&piece[..count]);
                bytes += count as u64;
            }
        }
    }
}
