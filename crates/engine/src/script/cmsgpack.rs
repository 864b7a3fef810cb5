//! `cmsgpack`: `MessagePack` as the library that Redis ships reads and writes it.
//!
//! Numbers that are integers are written as such, the others as `float` where that loses nothing. A table whose keys are
//! 1 to n is an array, even an empty one. Nesting past 16 levels is written as nil. Binary and extension types are not read.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::convert::SMALL_BYTES;
use super::sandbox::{bad_argument, number_of, raise, text_of, wrong_type};
use super::vm::Shared;

/// Tables nested deeper than this are written as nil.
const PACK_DEPTH_MAX: usize = 16;
/// Deepest nesting that is read.
const UNPACK_DEPTH_MAX: usize = 1_000;

/// Fills the table `cmsgpack`.
pub(super) fn build(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let cmsgpack = lua.create_table()?;
    cmsgpack.raw_set("_NAME", "cmsgpack")?;
    cmsgpack.raw_set("_VERSION", "lua-cmsgpack 0.4.0")?;
    let kept = Rc::clone(shared);
    cmsgpack.raw_set("pack", lua.create_function(move |lua, args| pack(lua, &kept, &args))?)?;
    for (name, window) in [
        ("unpack", (|_, _| Ok((0, 0))) as Window),
        ("unpack_one", |lua, args| Ok((1, integer(lua, "unpack_one", args, 1, Some(0))?))),
        ("unpack_limit", |lua, args| {
            let limit = integer(lua, "unpack_limit", args, 1, None)?;
            Ok((limit, integer(lua, "unpack_limit", args, 2, Some(0))?))
        }),
    ] {
        let kept = Rc::clone(shared);
        let function = move |lua: &Lua, args: MultiValue| {
            let text = args.front().and_then(text_of);
            let text = text.ok_or_else(|| wrong_type(lua, 1, name, "string", args.front()))?;
            let (limit, offset) = window(lua, &args)?;
            kept.relaxed(lua, text.len() <= SMALL_BYTES, || unpack(lua, &kept, &text, limit, offset))
        };
        cmsgpack.raw_set(name, lua.create_function(function)?)?;
    }
    Ok(cmsgpack)
}

/// How many values to read, and from where.
type Window = fn(&Lua, &MultiValue) -> mlua::Result<(i64, i64)>;

fn integer(lua: &Lua, function: &str, args: &MultiValue, at: usize, default: Option<i64>) -> mlua::Result<i64> {
    match (args.get(at), default) {
        (None | Some(Value::Nil), Some(default)) => Ok(default),
        (value, _) => {
            let number = value.and_then(|value| number_of(lua, value));
            number.map(|number| number as i64).ok_or_else(|| wrong_type(lua, at + 1, function, "number", value))
        }
    }
}

// --- writing -------------------------------------------------------------------------------------------------------

fn pack(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<LuaString> {
    if args.is_empty() {
        return Err(bad_argument(lua, 0, "pack", "MessagePack pack needs input."));
    }
    let mut out = Vec::new();
    for value in args {
        write(lua, shared, value, 0, &mut out)?;
    }
    lua.create_string(out)
}

fn write(lua: &Lua, shared: &Shared, value: &Value, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    shared.count_value()?;
    if out.len() > shared.bytes_max.get() {
        return Err(raise(lua, "not enough memory"));
    }
    match value {
        Value::String(text) => write_text(&text.as_bytes(), out),
        Value::Boolean(yes) => out.push(0xc2 | u8::from(*yes)),
        Value::Integer(number) => write_integer(*number, out),
        // Lua knows no negative zero here: as an integer it is zero.
        Value::Number(number) if *number == 0.0 => out.push(0),
        Value::Number(number) => write_double(*number, out),
        Value::Table(table) if depth < PACK_DEPTH_MAX => write_table(lua, shared, table, depth, out)?,
        _ => out.push(0xc0),
    }
    Ok(())
}

fn write_text(text: &[u8], out: &mut Vec<u8>) {
    match text.len() {
        length @ 0..32 => out.push(0xa0 | length as u8),
        length @ 32..=0xff => out.extend([0xd9, length as u8]),
        length => write_length(length, 0xda, 0xdb, out),
    }
    out.extend_from_slice(text);
}

/// A length past what fits into the first byte, in two bytes or four.
fn write_length(length: usize, two: u8, four: u8, out: &mut Vec<u8>) {
    if let Ok(length) = u16::try_from(length) {
        out.push(two);
        out.extend(length.to_be_bytes());
    } else {
        out.push(four);
        out.extend((length as u32).to_be_bytes());
    }
}

fn write_integer(number: i64, out: &mut Vec<u8>) {
    match number {
        -32..=127 => out.push(number as u8),
        128..=0xff => out.extend([0xcc, number as u8]),
        0x100..=0xffff => {
            out.push(0xcd);
            out.extend((number as u16).to_be_bytes());
        }
        0x1_0000..=0xffff_ffff => {
            out.push(0xce);
            out.extend((number as u32).to_be_bytes());
        }
        0x1_0000_0000.. => {
            out.push(0xcf);
            out.extend(number.to_be_bytes());
        }
        -128..=-33 => out.extend([0xd0, number as u8]),
        -0x8000..=-129 => {
            out.push(0xd1);
            out.extend((number as i16).to_be_bytes());
        }
        -0x8000_0000..=-0x8001 => {
            out.push(0xd2);
            out.extend((number as i32).to_be_bytes());
        }
        _ => {
            out.push(0xd3);
            out.extend(number.to_be_bytes());
        }
    }
}

fn write_double(number: f64, out: &mut Vec<u8>) {
    let short = number as f32;
    if f64::from(short).to_bits() == number.to_bits() {
        out.push(0xca);
        out.extend(short.to_be_bytes());
    } else {
        out.push(0xcb);
        out.extend(number.to_be_bytes());
    }
}

fn write_table(lua: &Lua, shared: &Shared, table: &Table, depth: usize, out: &mut Vec<u8>) -> mlua::Result<()> {
    let (mut most, mut count, mut array) = (0, 0_usize, true);
    for pair in table.pairs::<Value, Value>() {
        match pair?.0 {
            Value::Integer(index) if index > 0 => most = most.max(index),
            _ => array = false,
        }
        count += 1;
    }
    if array && most == count as i64 {
        match count {
            0..16 => out.push(0x90 | count as u8),
            _ => write_length(count, 0xdc, 0xdd, out),
        }
        for index in 1..=count {
            write(lua, shared, &table.raw_get::<Value>(index)?, depth + 1, out)?;
        }
        return Ok(());
    }
    match count {
        0..16 => out.push(0x80 | count as u8),
        _ => write_length(count, 0xde, 0xdf, out),
    }
    for pair in table.pairs::<Value, Value>() {
        let (key, value) = pair?;
        write(lua, shared, &key, depth + 1, out)?;
        write(lua, shared, &value, depth + 1, out)?;
    }
    Ok(())
}

// --- reading -------------------------------------------------------------------------------------------------------

fn unpack(lua: &Lua, shared: &Shared, text: &[u8], limit: i64, offset: i64) -> mlua::Result<MultiValue> {
    let length = text.len();
    if offset < 0 || limit < 0 {
        let what = format!("Invalid request to unpack with offset of {offset} and limit of {length}.");
        return Err(raise(lua, &what));
    }
    if offset as usize > length {
        return Err(raise(lua, &format!("Start offset {offset} greater than input length {length}.")));
    }
    let all = limit == 0 && offset == 0;
    let limit = if all { usize::MAX } else { limit as usize };
    let mut reader = Reader { lua, shared, rest: &text[offset as usize..] };
    let mut results = MultiValue::new();
    while !reader.rest.is_empty() && results.len() < limit {
        results.push_back(reader.value(0)?);
    }
    if !all {
        let next = length - reader.rest.len();
        results.push_front(Value::Integer(if reader.rest.is_empty() { -1 } else { next as i64 }));
    }
    Ok(results)
}

struct Reader<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn bytes(&mut self, count: usize) -> mlua::Result<&'a [u8]> {
        let Some((bytes, rest)) = self.rest.split_at_checked(count) else {
            return Err(raise(self.lua, "Missing bytes in input."));
        };
        self.rest = rest;
        Ok(bytes)
    }

    fn array<const N: usize>(&mut self) -> mlua::Result<[u8; N]> {
        let mut array = [0; N];
        array.copy_from_slice(self.bytes(N)?);
        Ok(array)
    }

    fn length(&mut self, bytes: usize) -> mlua::Result<usize> {
        Ok(self.bytes(bytes)?.iter().fold(0, |length, &byte| length << 8 | usize::from(byte)))
    }

    fn value(&mut self, depth: usize) -> mlua::Result<Value> {
        self.shared.count_value()?;
        if depth > UNPACK_DEPTH_MAX {
            return Err(raise(self.lua, "stack overflow (nested too deep)"));
        }
        let [first] = self.array()?;
        Ok(match first {
            0..=0x7f => Value::Integer(first.into()),
            0x80..=0x8f => self.map(usize::from(first & 15), depth)?,
            0x90..=0x9f => self.sequence(usize::from(first & 15), depth)?,
            0xa0..=0xbf => self.text(usize::from(first & 31))?,
            0xc0 => Value::Nil,
            0xc2 | 0xc3 => Value::Boolean(first == 0xc3),
            0xca => Value::Number(f32::from_be_bytes(self.array()?).into()),
            0xcb => Value::Number(f64::from_be_bytes(self.array()?)),
            0xcc => Value::Integer(u8::from_be_bytes(self.array()?).into()),
            0xcd => Value::Integer(u16::from_be_bytes(self.array()?).into()),
            0xce => Value::Integer(u32::from_be_bytes(self.array()?).into()),
            // The original takes large unsigned numbers for signed ones, and data out there relies on nothing else.
            0xcf | 0xd3 => Value::Number(i64::from_be_bytes(self.array()?) as f64),
            0xd0 => Value::Integer(i8::from_be_bytes(self.array()?).into()),
            0xd1 => Value::Integer(i16::from_be_bytes(self.array()?).into()),
            0xd2 => Value::Integer(i32::from_be_bytes(self.array()?).into()),
            0xd9..=0xdb => self.sized(1 << (first - 0xd9), Self::text)?,
            0xdc | 0xdd => self.sized(2 << (first - 0xdc), |reader, count| reader.sequence(count, depth))?,
            0xde | 0xdf => self.sized(2 << (first - 0xde), |reader, count| reader.map(count, depth))?,
            0xe0..=0xff => Value::Integer((first as i8).into()),
            _ => return Err(raise(self.lua, "Bad data format in input.")),
        })
    }

    fn sized(
        &mut self,
        bytes: usize,
        read: impl FnOnce(&mut Self, usize) -> mlua::Result<Value>,
    ) -> mlua::Result<Value> {
        let length = self.length(bytes)?;
        read(self, length)
    }

    fn text(&mut self, length: usize) -> mlua::Result<Value> {
        let bytes = self.bytes(length)?;
        self.lua.create_string(bytes).map(Value::String)
    }

    fn sequence(&mut self, count: usize, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for index in 1..=count {
            table.raw_set(index, self.value(depth + 1)?)?;
        }
        Ok(Value::Table(table))
    }

    fn map(&mut self, count: usize, depth: usize) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        for _ in 0..count {
            let key = self.value(depth + 1)?;
            let value = self.value(depth + 1)?;
            match key {
                Value::Nil => return Err(mlua::Error::runtime("table index is nil")),
                Value::Number(number) if number.is_nan() => return Err(mlua::Error::runtime("table index is NaN")),
                key => table.raw_set(key, value)?,
            }
        }
        Ok(Value::Table(table))
    }
}
