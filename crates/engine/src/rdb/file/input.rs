//! Bytes of a file as they come: counted, summed, and kept while somebody wants them.

use std::io::Read;

use super::super::length::{self, Length};
use super::super::{checksum, form};
use super::FileError;

type Result<T> = std::result::Result<T, FileError>;

/// Bytes read at once.
const BUFFER_BYTES: usize = 64 << 10;

/// See the module's text.
pub(super) struct Input<R> {
    source: R,
    buffer: Vec<u8>,
    /// Where in the buffer the bytes begin that nobody has taken, and where they end.
    here: std::ops::Range<usize>,
    /// Bytes taken so far.
    at: u64,
    checksum: u64,
    kept: Option<Vec<u8>>,
    kept_bytes_max: usize,
}

impl<R: Read> Input<R> {
    pub(super) fn new(source: R) -> Self {
        Self { source, buffer: vec![0; BUFFER_BYTES], here: 0..0, at: 0, checksum: 0, kept: None, kept_bytes_max: 0 }
    }

    /// Bytes taken so far.
    pub(super) const fn at(&self) -> u64 {
        self.at
    }

    /// The checksum of them.
    pub(super) const fn checksum(&self) -> u64 {
        self.checksum
    }

    pub(super) fn damaged(&self, what: impl Into<String>) -> FileError {
        FileError::Damaged { at: self.at, what: what.into() }
    }

    /// Keeps what is taken from here on, up to so many bytes: more is an error.
    pub(super) fn keep(&mut self, bytes_max: usize) {
        self.kept = Some(Vec::new());
        self.kept_bytes_max = bytes_max;
    }

    /// Adds a byte to what is kept, as if it had been taken.
    pub(super) fn keep_byte(&mut self, byte: u8) {
        self.kept.get_or_insert_default().push(byte);
    }

    /// What was kept, which ends.
    pub(super) fn kept(&mut self) -> Vec<u8> {
        self.kept.take().unwrap_or_default()
    }

    /// Whether there is nothing more to come.
    pub(super) fn is_at_end(&mut self) -> Result<bool> {
        if !self.here.is_empty() {
            return Ok(false);
        }
        loop {
            match self.source.read(&mut self.buffer) {
                Ok(count) => {
                    self.here = 0..count;
                    return Ok(count == 0);
                }
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                Err(error) => return Err(FileError::Read(error)),
            }
        }
    }

    /// Takes some of the next bytes, at least one and at most so many, and hands them over.
    fn some(&mut self, most: u64) -> Result<std::ops::Range<usize>> {
        if self.is_at_end()? {
            return Err(FileError::CutOff(self.at));
        }
        let count = usize::try_from(most).unwrap_or(usize::MAX).min(self.here.len());
        let taken = self.here.start..self.here.start + count;
        self.here.start = taken.end;
        let bytes = &self.buffer[taken.clone()];
        self.at += count as u64;
        self.checksum = checksum::more(self.checksum, bytes);
        if let Some(kept) = &mut self.kept {
            if kept.len() + count > self.kept_bytes_max {
                let what = format!("something takes more than {} bytes", self.kept_bytes_max);
                return Err(FileError::Unknown { at: self.at, what });
            }
            kept.extend_from_slice(bytes);
        }
        Ok(taken)
    }

    /// Passes over some bytes.
    pub(super) fn pass(&mut self, mut count: u64) -> Result<()> {
        while count > 0 {
            count -= self.some(count)?.len() as u64;
        }
        Ok(())
    }

    pub(super) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            let taken = self.some((N - filled) as u64)?;
            let count = taken.len();
            array[filled..filled + count].copy_from_slice(&self.buffer[taken]);
            filled += count;
        }
        Ok(array)
    }

    pub(super) fn byte(&mut self) -> Result<u8> {
        self.array().map(|[byte]| byte)
    }

    /// A length, or the form of a string that has none.
    fn length_or_form(&mut self) -> Result<Length> {
        let length = length::read(&mut || self.byte())?;
        length.ok_or_else(|| self.damaged("a length of no known form"))
    }

    pub(super) fn length(&mut self) -> Result<u64> {
        self.length_or_form()?.map_err(|_| self.damaged("a string where a length should be"))
    }

    /// Passes over a string.
    pub(super) fn string(&mut self) -> Result<()> {
        let bytes = match self.length_or_form()? {
            Ok(length) => length,
            Err(form::INT8) => 1,
            Err(form::INT16) => 2,
            Err(form::INT32) => 4,
            Err(form::COMPRESSED) => {
                let bytes = self.length()?;
                self.length()?;
                bytes
            }
            Err(_) => return Err(self.damaged("a string of no known form")),
        };
        self.pass(bytes)
    }

    /// Passes over so many strings.
    pub(super) fn strings(&mut self, count: u64) -> Result<()> {
        (0..count).try_for_each(|_| self.string())
    }
}
