//! A file as it is written: one database, in the order of the caller.

use std::io::{self, Write};

use super::super::checksum;
use super::super::write::{put_length, put_string};
use super::{FileVersion, opcode};

/// See the module's text.
pub struct FileWriter<W> {
    out: W,
    checksum: u64,
    bytes: u64,
    /// A part being put together.
    part: Vec<u8>,
}

impl<W: Write> FileWriter<W> {
    /// Writes the head, and some words on where the file comes from.
    pub fn new(out: W, version: FileVersion, notes: &[(&str, &str)]) -> io::Result<Self> {
        let mut file = Self { out, checksum: 0, bytes: 0, part: Vec::new() };
        let head = match version {
            FileVersion::Redis(version) => format!("REDIS{version:04}"),
            FileVersion::Valkey(version) => format!("VALKEY{version:03}"),
        };
        file.raw(head.as_bytes())?;
        for (name, value) in notes {
            file.part.push(opcode::AUX);
            put_string(&mut file.part, name.as_bytes());
            put_string(&mut file.part, value.as_bytes());
            file.put()?;
        }
        Ok(file)
    }

    /// A library of functions.
    pub fn library(&mut self, source: &[u8]) -> io::Result<()> {
        self.part.push(opcode::LIBRARY);
        put_string(&mut self.part, source);
        self.put()
    }

    /// The keys that follow are in the database of this number.
    pub fn index(&mut self, index: u32) -> io::Result<()> {
        self.part.push(opcode::INDEX);
        put_length(&mut self.part, index as usize);
        self.put()
    }

    /// How many keys follow, and how many of them have deadlines: whoever reads makes room.
    pub fn sizes(&mut self, keys: u64, deadlines: u64) -> io::Result<()> {
        self.part.push(opcode::RESIZE);
        put_length(&mut self.part, keys as usize);
        put_length(&mut self.part, deadlines as usize);
        self.put()
    }

    /// A key: when it dies (0 is never), and a payload of `DUMP` without its footer.
    pub fn key(&mut self, key: &[u8], expires_at: u64, body: &[u8]) -> io::Result<()> {
        let Some((encoding, value)) = body.split_first() else { return Ok(()) };
        if expires_at != 0 {
            self.part.push(opcode::DEADLINE_MS);
            self.part.extend_from_slice(&expires_at.to_le_bytes());
        }
        self.part.push(*encoding);
        put_string(&mut self.part, key);
        self.put()?;
        self.raw(value)
    }

    /// Where it goes to.
    pub const fn get_mut(&mut self) -> &mut W {
        &mut self.out
    }

    /// The end. Returns how many bytes there are, and where they went.
    pub fn finish(mut self) -> io::Result<(u64, W)> {
        self.raw(&[opcode::END])?;
        self.raw(&self.checksum.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.bytes, self.out))
    }

    fn put(&mut self) -> io::Result<()> {
        let mut part = std::mem::take(&mut self.part);
        self.raw(&part)?;
        part.clear();
        self.part = part;
        Ok(())
    }

    fn raw(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.bytes += bytes.len() as u64;
        self.checksum = checksum::more(self.checksum, bytes);
        self.out.write_all(bytes)
    }
}
