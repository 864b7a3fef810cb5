//! One database as a stream of bytes, and back: taken while it is in use, of one moment, without holding it up.
//!
//! ```text
//! "dormouse backup\n" version:1
//! frame*   kind:1 length:4 payload crc32c:4      numbers big endian; the checksum covers kind, length and payload
//!   H      taken_ms:8 seq:8 name                 first
//!   R      key_length:4 key record               a key, as the store has it (engine's `Record`)
//!   U      name_length:4 name user               a user (engine's `User`)
//!   L      libraries                             its libraries of functions (engine's `Libraries`)
//!   E      records:8 users:8                     last; without it the stream was cut off
//!
//! "dormouse backup\n" version:2                  all databases: frames as above, and whole streams between them
//! A        taken_ms:8
//! (D       name, then the stream of that database)*
//! Z        databases:4
//! ```
//!
//! A checkpoint comes first, so that little is left in memory; what is left is copied under the lock, at the same moment as
//! the store is frozen. The copy wins over the store. Whoever restores reads every record, and refuses what it cannot read.

use std::collections::BTreeMap;
use std::io::{Read, Write};

use dormouse_engine::{Expiring, Libraries, Reader, Record, Stored, User, hash};
use dormouse_proto::Blob;
use dormouse_storage::{Batch, Snapshot, VALUE_BYTES_MAX};

use crate::database::{Database, DatabaseId};
use crate::layout::{self, Meta};

const MAGIC: &[u8] = b"dormouse backup\n";
const VERSION: u8 = 1;
/// Of a stream that holds streams.
const VERSION_OF_ALL: u8 = 2;
/// Databases that are named when one is asked for that is not there.
const NAMED_MAX: usize = 20;
/// Records read from the store at once.
const PAGE: usize = 256;
/// Bytes put into the store at once.
const BATCH_BYTES_MAX: usize = 16 << 20;
/// Longest payload of a frame: a record with its key.
const PAYLOAD_BYTES_MAX: usize = VALUE_BYTES_MAX + (64 << 10);

/// Why a backup could not be taken or restored.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The service.
    #[error(transparent)]
    Service(#[from] crate::Error),
    /// Where it goes to, or comes from.
    #[error("the backup could not be {0}: {1}")]
    Stream(&'static str, std::io::Error),
    /// It is none, or damaged.
    #[error("this is not a backup that can be restored: {0}. Nothing was restored.")]
    Damaged(String),
    /// It does not hold the database that was asked for, or several of which none was.
    #[error("{0}. Nothing was restored.")]
    Choice(String),
}

impl From<dormouse_storage::Error> for BackupError {
    fn from(error: dormouse_storage::Error) -> Self {
        Self::Service(error.into())
    }
}

/// What a backup holds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Summary {
    /// The database's name when it was taken.
    pub name: String,
    /// When it was taken, in milliseconds since the Unix epoch.
    pub taken_ms: u64,
    /// Keys, dead ones that nobody had removed included.
    pub records: u64,
    /// Users with rules.
    pub users: u64,
    /// Bytes of the stream.
    pub bytes: u64,
    seq: u64,
}

// --- frames ----------------------------------------------------------------------------------------------------------

pub(crate) struct Writer<'a> {
    out: &'a mut dyn Write,
    bytes: u64,
}

fn writing(error: std::io::Error) -> BackupError {
    BackupError::Stream("written", error)
}

impl Writer<'_> {
    fn raw(&mut self, bytes: &[u8]) -> Result<(), BackupError> {
        self.bytes += bytes.len() as u64;
        self.out.write_all(bytes).map_err(writing)
    }

    fn frame(&mut self, kind: u8, payload: &[&[u8]]) -> Result<(), BackupError> {
        let length = payload.iter().map(|part| part.len()).sum::<usize>();
        let mut head = vec![kind];
        head.extend((length as u32).to_be_bytes());
        let crc = payload.iter().fold(crc32c::crc32c(&head), |crc, part| crc32c::crc32c_append(crc, part));
        self.raw(&head)?;
        for part in payload {
            self.raw(part)?;
        }
        self.raw(&crc.to_be_bytes())
    }
}

struct Frames<'a> {
    input: &'a mut dyn Read,
    bytes: u64,
}

impl Frames<'_> {
    fn take(&mut self, count: usize) -> Result<Vec<u8>, BackupError> {
        let mut bytes = Vec::new();
        // Memory follows what really comes, not what a length says.
        let read = (&mut *self.input).take(count as u64).read_to_end(&mut bytes);
        read.map_err(|error| BackupError::Stream("read", error))?;
        self.bytes += bytes.len() as u64;
        if bytes.len() < count {
            return Err(self.damaged("it ends too early"));
        }
        Ok(bytes)
    }

    /// Reads the beginning of a stream.
    fn version(&mut self) -> Result<u8, BackupError> {
        let head = self.take(MAGIC.len() + 1)?;
        if !head.starts_with(MAGIC) {
            return Err(BackupError::Damaged("it does not begin like one".to_owned()));
        }
        match head.last() {
            Some(&version @ (VERSION | VERSION_OF_ALL)) => Ok(version),
            _ => Err(BackupError::Damaged(
                "it was written by a newer version, which is the one to restore it with".into(),
            )),
        }
    }

    fn damaged(&self, what: &str) -> BackupError {
        BackupError::Damaged(format!("{what}, before byte {}", self.bytes))
    }

    fn next(&mut self) -> Result<(u8, Vec<u8>), BackupError> {
        let mut whole = self.take(5)?;
        let kind = whole[0];
        let length = whole[1..].iter().fold(0, |length: usize, byte| length << 8 | usize::from(*byte));
        if length > PAYLOAD_BYTES_MAX {
            return Err(self.damaged("a frame is too long"));
        }
        let payload = self.take(length)?;
        whole.extend(&payload);
        let crc = self.take(4)?;
        if crc32c::crc32c(&whole).to_be_bytes() != crc[..] {
            return Err(self.damaged("a checksum is wrong"));
        }
        Ok((kind, payload))
    }
}

/// Splits off what comes behind its length.
fn split(payload: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = payload.split_first_chunk::<4>()?;
    rest.split_at_checked(u32::from_be_bytes(*length) as usize)
}

// --- taking one ------------------------------------------------------------------------------------------------------

/// A database at one moment.
pub(crate) struct Frozen {
    id: DatabaseId,
    epoch: u32,
    seq: u64,
    store: Box<dyn Snapshot>,
    /// What memory had that the store did not: records, or that there are none.
    ahead: BTreeMap<(u64, Blob), Option<Vec<u8>>>,
    users: Vec<(Blob, Vec<u8>)>,
    libraries: Option<Vec<u8>>,
}

impl Frozen {
    /// Takes it. No checkpoint may be under way; the one before should not be long ago.
    pub(crate) fn of(database: &Database) -> Result<Self, BackupError> {
        let id = database.id();
        let mut state = database.hold_patiently();
        let store = database.store.snapshot();
        let epoch = state.space.epoch();
        let mut ahead = BTreeMap::new();
        for (hash, key) in state.space.dirty_list() {
            let Some(entry) = state.space.find(*hash, key) else { continue };
            let record = entry.value.as_ref().map(|value| {
                let mut record = Vec::new();
                Record::write(value, entry.expires_at, entry.seq, &mut record);
                record
            });
            ahead.insert((*hash, key.clone()), record);
        }
        let users = state.hub.users.iter().map(|user| {
            let mut bytes = Vec::new();
            user.write(&mut bytes);
            (user.name().clone(), bytes)
        });
        let users = users.collect();
        let ours = state.space.shelf().to_store();
        let seq = state.seq;
        drop(state);
        let libraries = match ours {
            Some((_, libraries)) => libraries,
            None => store.get_one(&layout::libraries(id))?,
        };
        Ok(Self { id, epoch, seq, store, ahead, users, libraries })
    }

    /// The texts of its libraries of functions.
    pub(crate) fn libraries(&self) -> Result<Option<Libraries>, crate::Error> {
        let read = self.libraries.as_ref().map(|bytes| Libraries::read(bytes).map(|(_, libraries)| libraries));
        read.transpose()
            .map_err(|corrupt| crate::Error::Corrupt { place: "the libraries in the store".into(), corrupt })
    }

    /// Visits every record with its key, dead ones that nobody had removed included, in an order of its own that is always
    /// the same.
    pub(crate) fn each<E: From<dormouse_storage::Error> + From<crate::Error>>(
        &self,
        mut visit: impl FnMut(&[u8], &[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let (mut from, until) = layout::records_from(self.id, self.epoch, 0);
        loop {
            let page = self.store.scan(&from, &until, PAGE)?;
            let Some((last, _)) = page.last() else { break };
            from = [last, &[0][..]].concat();
            for (place, record) in &page {
                let (hash, key) = layout::split_record(place)
                    .map_err(|corrupt| crate::Error::Corrupt { place: "a record in the store".to_owned(), corrupt })?;
                if !self.ahead.contains_key(&(hash, Blob::from(key))) {
                    visit(key, record)?;
                }
            }
        }
        for ((_, key), record) in &self.ahead {
            if let Some(record) = record {
                visit(key, record)?;
            }
        }
        Ok(())
    }

    /// Writes it.
    pub(crate) fn write(&self, name: &str, taken_ms: u64, out: &mut dyn Write) -> Result<Summary, BackupError> {
        let mut writer = Writer { out, bytes: 0 };
        writer.raw(MAGIC)?;
        writer.raw(&[VERSION])?;
        writer.frame(b'H', &[&taken_ms.to_be_bytes(), &self.seq.to_be_bytes(), name.as_bytes()])?;
        for (name, user) in &self.users {
            writer.frame(b'U', &[&(name.len() as u32).to_be_bytes(), name, user])?;
        }
        if let Some(libraries) = &self.libraries {
            writer.frame(b'L', &[libraries])?;
        }
        let mut records = 0_u64;
        self.each(|key, record| {
            records += 1;
            writer.frame(b'R', &[&(key.len() as u32).to_be_bytes(), key, record])
        })?;
        let users = self.users.len() as u64;
        writer.frame(b'E', &[&records.to_be_bytes(), &users.to_be_bytes()])?;
        writer.out.flush().map_err(writing)?;
        let bytes = writer.bytes;
        Ok(Summary { name: name.to_owned(), taken_ms, records, users, bytes, seq: self.seq })
    }
}

// --- restoring one ---------------------------------------------------------------------------------------------------

/// Writes a stream of several databases: its beginning, what comes before each database's stream, and its end.
pub(crate) struct All<'a>(Writer<'a>);

impl<'a> All<'a> {
    pub(crate) fn begin(out: &'a mut dyn Write, taken_ms: u64) -> Result<Self, BackupError> {
        let mut writer = Writer { out, bytes: 0 };
        writer.raw(MAGIC)?;
        writer.raw(&[VERSION_OF_ALL])?;
        writer.frame(b'A', &[&taken_ms.to_be_bytes()])?;
        Ok(Self(writer))
    }

    pub(crate) fn database(&mut self, frozen: &Frozen, name: &str, taken_ms: u64) -> Result<Summary, BackupError> {
        self.0.frame(b'D', &[name.as_bytes()])?;
        frozen.write(name, taken_ms, self.0.out)
    }

    pub(crate) fn end(mut self, databases: u32) -> Result<(), BackupError> {
        self.0.frame(b'Z', &[&databases.to_be_bytes()])?;
        self.0.out.flush().map_err(writing)
    }
}

/// Puts what a stream holds into the store, as a database that nobody knows yet. `apply` puts a batch there. `which` names the
/// database in it that is meant.
pub(crate) fn restore(
    id: DatabaseId,
    which: Option<&str>,
    input: &mut dyn Read,
    mut apply: impl FnMut(&Batch) -> Result<(), BackupError>,
) -> Result<Summary, BackupError> {
    let mut frames = Frames { input, bytes: 0 };
    if frames.version()? == VERSION {
        let summary = restore_one(id, &mut frames, &mut apply)?;
        return match which {
            Some(which) if which != summary.name => Err(not_there(which, &[summary.name], 1)),
            _ => Ok(summary),
        };
    }
    let (mut names, mut databases, mut restored) = (Vec::new(), 0_u32, None);
    if frames.next()?.0 != b'A' {
        return Err(frames.damaged("the frames are in a wrong order"));
    }
    loop {
        let (kind, payload) = frames.next()?;
        match kind {
            b'D' => {
                let name = String::from_utf8(payload).map_err(|_| frames.damaged("a name does not read"))?;
                if frames.version()? != VERSION {
                    return Err(frames.damaged("a database's stream is missing"));
                }
                databases += 1;
                if restored.is_none() && which.is_none_or(|which| which == name) {
                    restored = Some(restore_one(id, &mut frames, &mut apply)?);
                    if which.is_some() {
                        break;
                    }
                } else if which.is_none() {
                    return Err(BackupError::Choice(format!(
                        "the backup holds several databases, '{name}' among them: say which one is meant with --database"
                    )));
                } else {
                    while frames.next()?.0 != b'E' {}
                }
                if names.len() < NAMED_MAX {
                    names.push(name);
                }
            }
            b'Z' if payload == databases.to_be_bytes() => break,
            b'Z' => return Err(frames.damaged("something is missing")),
            _ => return Err(frames.damaged("a frame is of no known kind")),
        }
    }
    restored.ok_or_else(|| not_there(which.unwrap_or_default(), &names, databases as usize))
}

fn not_there(which: &str, names: &[String], databases: usize) -> BackupError {
    let more = match databases.saturating_sub(names.len()) {
        0 => String::new(),
        more => format!(" and {more} others"),
    };
    BackupError::Choice(format!("the backup holds no database '{which}', but {}{more}", names.join(", ")))
}

fn restore_one(
    id: DatabaseId,
    frames: &mut Frames<'_>,
    apply: &mut impl FnMut(&Batch) -> Result<(), BackupError>,
) -> Result<Summary, BackupError> {
    let (mut summary, mut expiring) = (Summary::default(), Expiring::default());
    let mut batch = Batch::default();
    let mut is_first = true;
    loop {
        let (kind, payload) = frames.next()?;
        let wrong = || frames.damaged("a frame does not read");
        if is_first != (kind == b'H') {
            return Err(frames.damaged("the frames are in a wrong order"));
        }
        is_first = false;
        match kind {
            b'H' => {
                let (taken_ms, rest) = payload.split_first_chunk().ok_or_else(wrong)?;
                let (seq, name) = rest.split_first_chunk().ok_or_else(wrong)?;
                summary.taken_ms = u64::from_be_bytes(*taken_ms);
                summary.seq = u64::from_be_bytes(*seq);
                summary.name = String::from_utf8(name.to_vec()).map_err(|_| wrong())?;
            }
            b'R' => {
                let (key, record) = split(&payload).ok_or_else(wrong)?;
                let read = Record::read(record).map_err(|_| frames.damaged("a record does not read"))?;
                let hash = hash(key);
                let stored = Stored::of(&read.value, read.expires_at);
                expiring.add(stored);
                if let Some(due) = stored.due() {
                    batch.put(layout::deadline(id, 0, due, hash, key), layout::deadline_note(due));
                }
                batch.put(layout::record(id, 0, hash, key), record.to_vec());
                summary.seq = summary.seq.max(read.seq);
                summary.records += 1;
            }
            b'U' => {
                let (name, user) = split(&payload).ok_or_else(wrong)?;
                User::read(name, &mut Reader::new(user)).map_err(|_| frames.damaged("a user does not read"))?;
                batch.put(layout::user(id, name), user.to_vec());
                summary.users += 1;
            }
            b'L' => {
                Libraries::read(&payload).map_err(|_| frames.damaged("the libraries do not read"))?;
                batch.put(layout::libraries(id), payload);
            }
            b'E' => {
                if payload != [summary.records.to_be_bytes(), summary.users.to_be_bytes()].concat() {
                    return Err(frames.damaged("something is missing"));
                }
                break;
            }
            _ => return Err(frames.damaged("a frame is of no known kind")),
        }
        if batch.bytes() > BATCH_BYTES_MAX {
            apply(&std::mem::take(&mut batch))?;
        }
    }
    let meta = Meta { seq: summary.seq, records: summary.records, expiring: Some(expiring), ..Meta::default() };
    batch.put(layout::meta(id), meta.write());
    apply(&batch)?;
    summary.bytes = frames.bytes;
    Ok(summary)
}

/// One key of a snapshot.
trait GetOne {
    fn get_one(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackupError>;
}

impl GetOne for Box<dyn Snapshot> {
    fn get_one(&self, key: &[u8]) -> Result<Option<Vec<u8>>, BackupError> {
        let found = self.scan(key, &[key, &[0][..]].concat(), 1)?;
        Ok(found.into_iter().next().map(|(_, value)| value.to_vec()))
    }
}
