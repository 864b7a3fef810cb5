//! A file, part by part.

use std::io::Read;

use super::super::read::{Cursor, value_of};
use super::super::{RestoreError, encoding, module};
use super::input::Input;
use super::{
    CHECKSUM_SINCE, FileError, FileLimits, FileVersion, HEAD_BYTES, NOTE_BYTES_MAX, REDIS_VERSION_MAX, VALKEY_VERSIONS,
    opcode, skim,
};
use crate::value::Value;

type Result<T> = std::result::Result<T, FileError>;

/// What a file holds next.
#[derive(Debug)]
pub enum Item {
    /// The keys that follow are in the database of this number.
    Index(u64),
    /// A key.
    Key {
        /// Its name.
        key: Vec<u8>,
        /// When it dies, in milliseconds since the Unix epoch; 0 is never.
        expires_at: u64,
        /// Its value.
        value: Held,
    },
    /// The text of a library of functions.
    Library(Vec<u8>),
    /// What a module of this name keeps beside keys. It was passed over.
    ModuleAux(String),
    /// There is no more, and all of it was right.
    End,
}

/// A value as it stands in the file.
#[derive(Debug)]
pub struct Held {
    /// Encoding and value.
    body: Vec<u8>,
    /// Where the value begins.
    at: u64,
}

/// What became of it.
#[derive(Debug)]
pub enum Found {
    /// A value.
    Value(Value),
    /// A collection without elements, which is no key.
    Empty,
    /// A value of a module that we do not have, and its name.
    Module(String),
}

impl Held {
    /// Bytes it takes in the file.
    pub const fn bytes(&self) -> usize {
        self.body.len()
    }

    /// Decodes the value, which may take up to `bytes_max` of memory, near enough.
    pub fn decode(&self, bytes_max: usize) -> Result<Found> {
        if let Some(name) = self.module() {
            return Ok(Found::Module(name));
        }
        match value_of(&self.body, bytes_max) {
            Ok(value) => Ok(value.map_or(Found::Empty, Found::Value)),
            Err(RestoreError::TooLarge) => {
                Err(FileError::Unknown { at: self.at, what: "a value takes too much memory".to_owned() })
            }
            Err(RestoreError::Footer | RestoreError::Format) => {
                let what = format!("a value of encoding {} does not read", self.body[0]);
                Err(FileError::Damaged { at: self.at, what })
            }
        }
    }

    /// The module whose value this is, unless we have its type.
    fn module(&self) -> Option<String> {
        let (&encoding::MODULE, body) = self.body.split_first()? else { return None };
        let id = Cursor::new(body).length().ok()?;
        (id != module::JSON).then(|| format!("{} (version {})", skim::module_name(id), id & 0x3ff))
    }
}

/// See the module's text.
pub struct FileReader<R> {
    input: Input<R>,
    limits: FileLimits,
    version: FileVersion,
}

impl<R: Read> FileReader<R> {
    /// Reads the head.
    pub fn new(source: R, limits: FileLimits) -> Result<Self> {
        let mut input = Input::new(source);
        let head: [u8; HEAD_BYTES] = input.array().map_err(|error| match error {
            FileError::CutOff(at) => FileError::Damaged { at, what: "it is too short to be an RDB file".to_owned() },
            error => error,
        })?;
        let number = |digits: &[u8]| str::from_utf8(digits).ok().and_then(|digits| digits.parse::<u16>().ok());
        let redis = head.strip_prefix(b"REDIS").and_then(number).map(FileVersion::Redis);
        let valkey = || head.strip_prefix(b"VALKEY").and_then(number).map(FileVersion::Valkey);
        let none = || FileError::Damaged { at: 0, what: "it does not begin like an RDB file".to_owned() };
        let version = redis.or_else(valkey).ok_or_else(none)?;
        let known = match version {
            FileVersion::Redis(version) => (1..=REDIS_VERSION_MAX).contains(&version),
            FileVersion::Valkey(version) => VALKEY_VERSIONS.contains(&version),
        };
        if !known {
            return Err(FileError::Unknown { at: 0, what: format!("its format ({version:?}) is not known") });
        }
        Ok(Self { input, limits, version })
    }

    /// Whose format it has.
    pub const fn version(&self) -> FileVersion {
        self.version
    }

    /// Bytes read so far.
    pub const fn at(&self) -> u64 {
        self.input.at()
    }

    /// The next part. After [`Item::End`] there is none to ask for.
    pub fn next_item(&mut self) -> Result<Item> {
        let mut expires_at = 0;
        loop {
            let at = self.input.at();
            match self.input.byte()? {
                opcode::DEADLINE_MS => expires_at = deadline(i64::from_le_bytes(self.input.array()?)),
                opcode::DEADLINE_S => {
                    expires_at = deadline(i64::from(i32::from_le_bytes(self.input.array()?)) * 1_000);
                }
                opcode::IDLE => drop(self.input.length()?),
                opcode::FREQUENCY => drop(self.input.byte()?),
                opcode::RESIZE => drop((self.input.length()?, self.input.length()?)),
                opcode::SLOT_INFO => drop((self.input.length()?, self.input.length()?, self.input.length()?)),
                opcode::AUX => {
                    self.input.keep(NOTE_BYTES_MAX);
                    self.input.strings(2)?;
                    self.input.kept();
                }
                opcode::MODULE_AUX => {
                    let name = skim::module_name(self.input.length()?);
                    skim::parts(&mut self.input)?;
                    return Ok(Item::ModuleAux(name));
                }
                opcode::LIBRARY => return Ok(Item::Library(self.string(self.limits.library_bytes_max)?)),
                opcode::LIBRARY_EARLY => {
                    return Err(unknown(at, "functions of a release candidate of Redis 7.0"));
                }
                opcode::INDEX => return Ok(Item::Index(self.input.length()?)),
                opcode::END => return self.end().map(|()| Item::End),
                encoding @ opcode::FIRST.. => {
                    return Err(unknown(at, &format!("a part of kind {encoding}, which is not known")));
                }
                encoding => {
                    let (key, value) = self.key(encoding, at)?;
                    return Ok(Item::Key { key, expires_at, value });
                }
            }
        }
    }

    fn key(&mut self, encoding: u8, at: u64) -> Result<(Vec<u8>, Held)> {
        let is_valkey = matches!(self.version, FileVersion::Valkey(_));
        let foreign = encoding == encoding::HASH_DEADLINES_VALKEY && !is_valkey;
        let key = self.string(self.limits.key_bytes_max)?;
        let begins_at = self.input.at();
        self.input.keep(self.limits.value_bytes_max);
        self.input.keep_byte(encoding);
        if foreign || !skim::value(&mut self.input, encoding)? {
            let key = key.escape_ascii();
            return Err(unknown(
                at,
                &format!("the value of the key \"{key}\" has the encoding {encoding}, which is not known"),
            ));
        }
        Ok((key, Held { body: self.input.kept(), at: begins_at }))
    }

    fn string(&mut self, bytes_max: usize) -> Result<Vec<u8>> {
        let at = self.input.at();
        // A length takes nine bytes at most, and a compressed string has two of them.
        self.input.keep(bytes_max.saturating_add(18));
        self.input.string()?;
        let kept = self.input.kept();
        let string = Cursor::expanding(&kept, bytes_max).string().map(std::borrow::Cow::into_owned);
        match string {
            Ok(string) if string.len() <= bytes_max => Ok(string),
            Ok(_) | Err(RestoreError::TooLarge) => {
                Err(unknown(at, &format!("a string of more than {bytes_max} bytes")))
            }
            Err(_) => Err(FileError::Damaged { at, what: "a string does not read".to_owned() }),
        }
    }

    fn end(&mut self) -> Result<()> {
        let (FileVersion::Redis(version) | FileVersion::Valkey(version)) = self.version;
        if version >= CHECKSUM_SINCE {
            let (at, checksum) = (self.input.at(), self.input.checksum());
            let expected = u64::from_le_bytes(self.input.array()?);
            if expected != 0 && expected != checksum {
                return Err(FileError::Damaged { at, what: "its checksum is wrong".to_owned() });
            }
        }
        if self.input.is_at_end()? {
            return Ok(());
        }
        Err(unknown(self.input.at(), "something follows its end, as in an append-only file"))
    }
}

fn unknown(at: u64, what: &str) -> FileError {
    FileError::Unknown { at, what: what.to_owned() }
}

/// A deadline as we count them: what was never or before the epoch is long over.
const fn deadline(at_ms: i64) -> u64 {
    if at_ms <= 0 { 1 } else { at_ms as u64 }
}
