//! One database as an RDB file, for Redis and Valkey: of one moment, while it is used.
//!
//! The database is frozen as for a backup. It is looked through twice: first for what the format has no place for, so that who
//! asks is told all of that before a byte was written, and then to write. Nothing is left out without a word: users, which
//! such a file never has, are told of in the documentation.

use std::io::Write;

use dormouse_engine::rdb::{FileVersion, FileWriter, body, version_of};
use dormouse_engine::{Record, Type};

use crate::backup::Frozen;
use crate::database::Database;

/// Keys that are named when they cannot be written; of more there is only the number.
const NAMED_MAX: usize = 20;
/// The version that has deadlines of fields and, with Redis 8, JSON.
const VERSION_WITH_DEADLINES: u16 = 12;
/// The versions that can be written.
pub const RDB_VERSIONS: [u16; 3] = [10, VERSION_WITH_DEADLINES, 14];

/// What a file has.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exported {
    /// Keys.
    pub keys: u64,
    /// How many of them have a deadline.
    pub deadlines: u64,
    /// Bytes of the file.
    pub bytes: u64,
}

/// Why a file could not be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ExportError {
    /// The service.
    #[error(transparent)]
    Service(#[from] crate::Error),
    /// Where it goes to.
    #[error("the file could not be written: {0}")]
    Stream(#[from] std::io::Error),
    /// The format has no place for something.
    #[error("{0}")]
    Refused(String),
}

impl From<dormouse_storage::Error> for ExportError {
    fn from(error: dormouse_storage::Error) -> Self {
        Self::Service(error.into())
    }
}

impl From<crate::BackupError> for ExportError {
    fn from(error: crate::BackupError) -> Self {
        match error {
            crate::BackupError::Service(error) => Self::Service(error),
            crate::BackupError::Stream(_, error) => Self::Stream(error),
            error => Self::Refused(error.to_string()),
        }
    }
}

/// A database at one moment, all of which can be written.
pub struct Export {
    frozen: Frozen,
    version: u16,
    now_ms: u64,
    found: Exported,
}

impl std::fmt::Debug for Export {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        out.debug_struct("Export").field("found", &self.found).finish_non_exhaustive()
    }
}

fn read(record: &[u8]) -> Result<Record, crate::Error> {
    Record::read(record).map_err(corrupt)
}

fn corrupt(corrupt: dormouse_engine::Corrupt) -> crate::Error {
    crate::Error::Corrupt { place: "a record in the store".to_owned(), corrupt }
}

/// The oldest version that has a place for a record, if any.
fn version_of_record(record: &[u8]) -> Result<Option<u16>, crate::Error> {
    Ok(body(&read(record)?.value).map(|body| version_of(&body)))
}

const fn is_dead(expires_at: u64, now_ms: u64) -> bool {
    expires_at != 0 && expires_at <= now_ms
}

impl Export {
    /// Freezes the database and looks through it. No checkpoint may be under way.
    pub(crate) fn of(database: &Database, version: u16, now_ms: u64) -> Result<Self, ExportError> {
        if !RDB_VERSIONS.contains(&version) {
            return Err(ExportError::Refused(format!(
                "version {version} of the format cannot be written, only 10, 12 and 14"
            )));
        }
        Ok(Self { frozen: Frozen::of(database)?, version, now_ms, found: Exported::default() })
    }

    /// Looks for what cannot be written.
    pub(crate) fn check(mut self) -> Result<Self, ExportError> {
        let (mut named, mut count, mut needed) = (Vec::new(), 0_u64, Some(self.version));
        let mut found = Exported::default();
        self.frozen.each(|key, record| -> Result<(), ExportError> {
            let (kind, expires_at) = Record::look(record).map_err(corrupt)?;
            if is_dead(expires_at, self.now_ms) {
                return Ok(());
            }
            found.keys += 1;
            found.deadlines += u64::from(expires_at != 0);
            let (what, version) = match kind {
                Type::Array => ("an array", None),
                Type::Json => ("JSON", Some(VERSION_WITH_DEADLINES)),
                Type::Hash => ("a hash whose fields have deadlines", version_of_record(record)?),
                Type::Stream => ("a stream of Redis 8.8", version_of_record(record)?),
                _ => return Ok(()),
            };
            if version.is_some_and(|version| version <= self.version) {
                return Ok(());
            }
            needed = needed.zip(version).map(|(needed, version)| needed.max(version));
            count += 1;
            if named.len() < NAMED_MAX {
                named.push(format!("\"{}\" ({what})", key.escape_ascii()));
            }
            Ok(())
        })?;
        if count == 0 {
            self.found = found;
            return Ok(self);
        }
        let others = match count - named.len() as u64 {
            0 => String::new(),
            others => format!(" and {others} others"),
        };
        let advice = needed.map_or_else(String::new, |needed| format!("; --rdb-version {needed} has a place for them"));
        let version = self.version;
        let named = named.join(", ");
        Err(ExportError::Refused(format!("an RDB file of version {version} has no place for {named}{others}{advice}")))
    }

    /// Writes the file.
    pub fn write(&self, out: &mut dyn Write) -> Result<Exported, ExportError> {
        let seconds = (self.now_ms / 1_000).to_string();
        let notes = [("dormouse-ver", env!("CARGO_PKG_VERSION")), ("redis-bits", "64"), ("ctime", &seconds)];
        let mut file = FileWriter::new(out, FileVersion::Redis(self.version), &notes)?;
        if let Some(libraries) = self.frozen.libraries()? {
            libraries.sources().try_for_each(|source| file.library(source))?;
        }
        if self.found.keys > 0 {
            file.index(0)?;
            file.sizes(self.found.keys, self.found.deadlines)?;
        }
        self.frozen.each(|key, record| -> Result<(), ExportError> {
            if is_dead(Record::look(record).map_err(corrupt)?.1, self.now_ms) {
                return Ok(());
            }
            let Record { value, expires_at, .. } = read(record)?;
            let body = body(&value).ok_or_else(|| ExportError::Refused("an array cannot be written".to_owned()))?;
            Ok(file.key(key, expires_at, &body)?)
        })?;
        let (bytes, _) = file.finish()?;
        Ok(Exported { bytes, ..self.found })
    }
}
