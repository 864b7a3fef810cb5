//! Passing over a value: where it ends, and nothing else of it.
//!
//! Each encoding is a few counts and strings in a row; what is in the strings is `read.rs`'s of the parent to judge.

use std::io::Read;

use super::super::encoding;
use super::FileError;
use super::input::Input;

type Result<T> = std::result::Result<T, FileError>;

/// What a part of a module's value is.
mod part {
    pub(super) const END: u64 = super::super::super::module::END;
    pub(super) const SIGNED: u64 = 1;
    pub(super) const UNSIGNED: u64 = 2;
    pub(super) const FLOAT: u64 = 3;
    pub(super) const DOUBLE: u64 = 4;
    pub(super) const STRING: u64 = super::super::super::module::STRING;
}

/// Letters of a module's name.
const NAME_CHARS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// Passes over a value of an encoding; whether it is known.
pub(super) fn value<R: Read>(input: &mut Input<R>, encoding: u8) -> Result<bool> {
    match encoding {
        encoding::STRING
        | encoding::HASH_ZIPMAP
        | encoding::LIST_ZIPLIST
        | encoding::SET_INTSET
        | encoding::ZSET_ZIPLIST
        | encoding::HASH_ZIPLIST
        | encoding::HASH_LISTPACK
        | encoding::ZSET_LISTPACK
        | encoding::SET_LISTPACK => input.string()?,
        encoding::LIST | encoding::SET | encoding::LIST_QUICKLIST => {
            let count = input.length()?;
            input.strings(count)?;
        }
        encoding::HASH => each(input, |input| input.strings(2))?,
        encoding::ZSET => each(input, |input| input.string().and_then(|()| input.pass(8)))?,
        encoding::ZSET_TEXT => each(input, text_score)?,
        encoding::LIST_QUICKLIST_2 => each(input, |input| input.length().and_then(|_| input.string()))?,
        encoding::HASH_DEADLINES => {
            input.pass(8)?;
            each(input, |input| input.length().and_then(|_| input.strings(2)))?;
        }
        encoding::HASH_LISTPACK_DEADLINES => {
            input.pass(8)?;
            input.string()?;
        }
        encoding::HASH_DEADLINES_VALKEY => each(input, |input| input.strings(2).and_then(|()| input.pass(8)))?,
        encoding::STREAM => stream(input, 1)?,
        encoding::STREAM_2 => stream(input, 2)?,
        encoding::STREAM_3 => stream(input, 3)?,
        encoding::STREAM_4 => stream(input, 4)?,
        encoding::STREAM_5 => stream(input, 5)?,
        encoding::MODULE => {
            input.length()?;
            parts(input)?;
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn each<R: Read>(input: &mut Input<R>, mut pass: impl FnMut(&mut Input<R>) -> Result<()>) -> Result<()> {
    let count = input.length()?;
    (0..count).try_for_each(|_| pass(input))
}

fn text_score<R: Read>(input: &mut Input<R>) -> Result<()> {
    input.string()?;
    match input.byte()? {
        253..=255 => Ok(()),
        length => input.pass(length.into()),
    }
}

fn lengths<R: Read>(input: &mut Input<R>, count: usize) -> Result<()> {
    (0..count).try_for_each(|_| input.length().map(drop))
}

fn stream<R: Read>(input: &mut Input<R>, version: u8) -> Result<()> {
    each(input, |input| input.strings(2))?;
    lengths(input, if version == 1 { 3 } else { 8 })?;
    each(input, |input| {
        input.string()?;
        lengths(input, if version == 1 { 2 } else { 3 })?;
        each(input, |input| input.pass(24).and_then(|()| lengths(input, 1)))?;
        each(input, |input| {
            input.string()?;
            input.pass(if version < 3 { 8 } else { 16 })?;
            each(input, |input| input.pass(16))
        })?;
        // What was given back.
        if version >= 5 { each(input, |input| input.pass(16)) } else { Ok(()) }
    })?;
    if version < 4 {
        return Ok(());
    }
    // Producers: their rules, each with the names that it gave, and two counts.
    lengths(input, 2)?;
    each(input, |input| {
        input.string()?;
        each(input, |input| input.string().and_then(|()| lengths(input, 2)))
    })?;
    lengths(input, 2)
}

/// Passes over the parts of a module's value.
pub(super) fn parts<R: Read>(input: &mut Input<R>) -> Result<()> {
    loop {
        match input.length()? {
            part::END => return Ok(()),
            part::SIGNED | part::UNSIGNED => drop(input.length()?),
            part::FLOAT => input.pass(4)?,
            part::DOUBLE => input.pass(8)?,
            part::STRING => input.string()?,
            _ => return Err(input.damaged("a part of a module's value of no known kind")),
        }
    }
}

/// The name in a module's id.
pub(super) fn module_name(id: u64) -> String {
    (0..9).rev().map(|at| char::from(NAME_CHARS[(id >> (10 + 6 * at) & 63) as usize])).collect()
}
