//! `struct`: binary records by a format string, after Roberto Ierusalimschy's library, which Redis ships.
//!
//! `b B h H l L T i I` are integers (`i` and `I` with a size), `f d` floats, `s` a string with a zero at its end, `c` a
//! string of a given size (`c0`: of all, or of the size read just before), `x` a padding byte; `<`, `>` and `!` choose byte
//! order and alignment.

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::sandbox::{bad_argument, number_of, raise, text_of, wrong_type};

/// Widest integer, in bytes.
const INTEGER_BYTES_MAX: usize = 32;
/// What `!` alone aligns to.
const ALIGN_MAX: usize = 8;

/// Fills the table `struct`.
pub(super) fn build(lua: &Lua) -> mlua::Result<Table> {
    let table = lua.create_table()?;
    table.raw_set("pack", lua.create_function(|lua, args| pack(lua, &args))?)?;
    table.raw_set("unpack", lua.create_function(|lua, args| unpack(lua, &args))?)?;
    table.raw_set("size", lua.create_function(|lua, args| size(lua, &args))?)?;
    Ok(table)
}

/// A format string being read.
struct Format<'a> {
    lua: &'a Lua,
    function: &'static str,
    text: &'a [u8],
    at: usize,
    big: bool,
    align: usize,
}

impl<'a> Format<'a> {
    const fn new(lua: &'a Lua, function: &'static str, text: &'a [u8]) -> Self {
        Self { lua, function, text, at: 0, big: false, align: 1 }
    }

    /// The next option and the size it names or implies.
    fn next(&mut self) -> mlua::Result<Option<(u8, usize)>> {
        let Some(&option) = self.text.get(self.at).filter(|&&byte| byte != 0) else { return Ok(None) };
        self.at += 1;
        let size = match option {
            b'b' | b'B' | b'x' => 1,
            b'h' | b'H' => 2,
            b'l' | b'L' | b'T' | b'd' => 8,
            b'f' => 4,
            b'c' => self.number(1)?,
            b'i' | b'I' => {
                let size = self.number(4)?;
                if size > INTEGER_BYTES_MAX {
                    let what = format!("integral size {size} is larger than limit of {INTEGER_BYTES_MAX}");
                    return Err(raise(self.lua, &what));
                }
                size
            }
            _ => 0,
        };
        Ok(Some((option, size)))
    }

    fn number(&mut self, default: usize) -> mlua::Result<usize> {
        let digits = self.text[self.at..].iter().take_while(|byte| byte.is_ascii_digit()).count();
        if digits == 0 {
            return Ok(default);
        }
        let text = &self.text[self.at..self.at + digits];
        self.at += digits;
        let value =
            text.iter().try_fold(0_i32, |value, digit| value.checked_mul(10)?.checked_add(i32::from(digit - b'0')));
        value.map(|value| value as usize).ok_or_else(|| raise(self.lua, "integral size overflow"))
    }

    /// Takes an option that is about the format itself.
    fn control(&mut self, option: u8) -> mlua::Result<()> {
        match option {
            b' ' => {}
            b'>' => self.big = true,
            b'<' => self.big = false,
            b'!' => {
                let align = self.number(ALIGN_MAX)?;
                if !align.is_power_of_two() {
                    return Err(raise(self.lua, &format!("alignment {align} is not a power of 2")));
                }
                self.align = align;
            }
            other => {
                let what = format!("invalid format option '{}'", char::from(other));
                return Err(bad_argument(self.lua, 1, self.function, &what));
            }
        }
        Ok(())
    }

    /// Padding before an option at `position`.
    fn padding(&self, position: usize, option: u8, size: usize) -> usize {
        let size = size.min(self.align);
        if option == b'c' || size <= 1 {
            return 0;
        }
        // As in the original, also where the size is no power of two.
        size.wrapping_sub(position & (size - 1)) & (size - 1)
    }
}

fn format_of(lua: &Lua, function: &'static str, args: &MultiValue) -> mlua::Result<Vec<u8>> {
    args.front().and_then(text_of).ok_or_else(|| wrong_type(lua, 1, function, "string", args.front()))
}

fn pack(lua: &Lua, args: &MultiValue) -> mlua::Result<LuaString> {
    let text = format_of(lua, "pack", args)?;
    let mut format = Format::new(lua, "pack", &text);
    let mut out = Vec::new();
    let mut position = 1;
    let nil = Value::Nil;
    while let Some((option, size)) = format.next()? {
        out.resize(out.len() + format.padding(out.len(), option, size), 0);
        let argument = args.get(position).unwrap_or(&nil);
        let number =
            || number_of(lua, argument).ok_or_else(|| wrong_type(lua, position + 1, "pack", "number", Some(argument)));
        match option {
            b'b' | b'B' | b'h' | b'H' | b'l' | b'L' | b'T' | b'i' | b'I' => {
                pack_integer(number()?, size, format.big, &mut out);
            }
            b'x' => {
                out.push(0);
                continue;
            }
            b'f' => ordered(&mut out, (number()? as f32).to_le_bytes(), format.big),
            b'd' => ordered(&mut out, number()?.to_le_bytes(), format.big),
            b'c' | b's' => {
                let Some(text) = text_of(argument) else {
                    return Err(wrong_type(lua, position + 1, "pack", "string", Some(argument)));
                };
                let size = if size == 0 { text.len() } else { size };
                let Some(text) = text.get(..size) else {
                    return Err(bad_argument(lua, position + 2, "pack", "string too short"));
                };
                out.extend_from_slice(text);
                if option == b's' {
                    out.push(0);
                }
            }
            other => {
                format.control(other)?;
                continue;
            }
        }
        position += 1;
    }
    lua.create_string(out)
}

fn ordered<const N: usize>(out: &mut Vec<u8>, mut little: [u8; N], big: bool) {
    if big {
        little.reverse();
    }
    out.extend(little);
}

fn pack_integer(number: f64, size: usize, big: bool, out: &mut Vec<u8>) {
    let value = if number < 0.0 { number as i64 as u64 } else { number as u64 };
    let start = out.len();
    // Bytes past the eighth are zero, of negative numbers too.
    out.extend((0..size).map(|at| if at < 8 { (value >> (8 * at)) as u8 } else { 0 }));
    if big {
        out[start..].reverse();
    }
}

fn unpack(lua: &Lua, args: &MultiValue) -> mlua::Result<MultiValue> {
    let text = format_of(lua, "unpack", args)?;
    let data = args.get(1).and_then(text_of).ok_or_else(|| wrong_type(lua, 2, "unpack", "string", args.get(1)))?;
    let start = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(value) => number_of(lua, value).ok_or_else(|| wrong_type(lua, 3, "unpack", "number", Some(value)))? as i64,
    };
    if start == 0 {
        return Err(bad_argument(lua, 3, "unpack", "offset must be 1 or greater"));
    }
    let mut format = Format::new(lua, "unpack", &text);
    // A negative offset is a huge one.
    let mut at = usize::try_from(start).map_or(usize::MAX, |start| start - 1);
    let mut results = MultiValue::new();
    let slice = |at: usize, size: usize| {
        let end = at.checked_add(size).filter(|&end| end <= data.len());
        end.map(|end| &data[at..end]).ok_or_else(|| bad_argument(lua, 2, "unpack", "data string too short"))
    };
    while let Some((option, size)) = format.next()? {
        at = at.saturating_add(format.padding(at, option, size));
        let mut bytes = slice(at, size)?;
        let mut took = size;
        match option {
            b'b' | b'h' | b'l' | b'i' => results.push_back(Value::Number(unpack_integer(bytes, format.big, true))),
            b'B' | b'H' | b'L' | b'T' | b'I' => {
                results.push_back(Value::Number(unpack_integer(bytes, format.big, false)));
            }
            b'x' => {}
            b'f' => {
                let bits = unsigned(bytes, format.big) as u32;
                results.push_back(Value::Number(f32::from_bits(bits).into()));
            }
            b'd' => results.push_back(Value::Number(f64::from_bits(unsigned(bytes, format.big)))),
            b'c' => {
                if size == 0 {
                    let wanted = results.pop_back().and_then(|value| number_of(lua, &value));
                    let wanted = wanted.ok_or_else(|| raise(lua, "format 'c0' needs a previous size"))?;
                    took = if wanted < 0.0 { usize::MAX } else { wanted as usize };
                    bytes = slice(at, took)?;
                }
                results.push_back(Value::String(lua.create_string(bytes)?));
            }
            b's' => {
                let rest = &data[at..];
                let end = rest.iter().position(|&byte| byte == 0);
                let end = end.ok_or_else(|| raise(lua, "unfinished string in data"))?;
                took = end + 1;
                results.push_back(Value::String(lua.create_string(&rest[..end])?));
            }
            other => format.control(other)?,
        }
        at += took;
    }
    results.push_back(Value::Integer(at as i64 + 1));
    Ok(results)
}

/// The last eight bytes that count, as a number.
fn unsigned(bytes: &[u8], big: bool) -> u64 {
    let add = |value: u64, &byte: &u8| value << 8 | u64::from(byte);
    if big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) }
}

fn unpack_integer(bytes: &[u8], big: bool, signed: bool) -> f64 {
    let value = unsigned(bytes, big);
    if !signed {
        return value as f64;
    }
    let unused = 64_usize.saturating_sub(8 * bytes.len()).min(63);
    ((value << unused) as i64 >> unused) as f64
}

fn size(lua: &Lua, args: &MultiValue) -> mlua::Result<usize> {
    let text = format_of(lua, "size", args)?;
    let mut format = Format::new(lua, "size", &text);
    let mut total = 0;
    while let Some((option, size)) = format.next()? {
        total += format.padding(total, option, size);
        let unsized_option = match option {
            b's' => Some("option 's' has no fixed size"),
            b'c' if size == 0 => Some("option 'c0' has no fixed size"),
            _ => None,
        };
        if let Some(what) = unsized_option {
            return Err(bad_argument(lua, 1, "size", what));
        }
        if !option.is_ascii_alphanumeric() {
            format.control(option)?;
        }
        total += size;
    }
    Ok(total)
}
