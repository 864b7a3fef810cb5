//! `bit`: operations on 32-bit integers, as in Mike Pall's `BitOp`, which Redis ships.
//!
//! A number is taken modulo 2^32 and rounded to the nearest integer, halves to even; results are signed. Shifts use the
//! low five bits of their count.

use mlua::{Lua, MultiValue, Table};

use super::sandbox::{number_of, wrong_type};

/// Fills the table `bit`.
pub(super) fn build(lua: &Lua) -> mlua::Result<Table> {
    let bit = lua.create_table()?;
    for (name, unary) in
        [("tobit", (|value| value) as fn(i32) -> i32), ("bnot", |value| !value), ("bswap", i32::swap_bytes)]
    {
        bit.raw_set(name, lua.create_function(move |lua, args| Ok(unary(operand(lua, name, &args, 0)?)))?)?;
    }
    for (name, fold) in [("band", (|a, b| a & b) as fn(i32, i32) -> i32), ("bor", |a, b| a | b), ("bxor", |a, b| a ^ b)]
    {
        let function = move |lua: &Lua, args: MultiValue| {
            let first = operand(lua, name, &args, 0)?;
            (1..args.len()).try_fold(first, |value, at| Ok(fold(value, operand(lua, name, &args, at)?)))
        };
        bit.raw_set(name, lua.create_function(function)?)?;
    }
    for (name, shift) in [
        ("lshift", (|value, by| value << by) as fn(i32, u32) -> i32),
        ("rshift", |value, by| (value as u32 >> by) as i32),
        ("arshift", |value, by| value >> by),
        ("rol", i32::rotate_left),
        ("ror", i32::rotate_right),
    ] {
        let function = move |lua: &Lua, args: MultiValue| {
            Ok(shift(operand(lua, name, &args, 0)?, operand(lua, name, &args, 1)? as u32 & 31))
        };
        bit.raw_set(name, lua.create_function(function)?)?;
    }
    bit.raw_set("tohex", lua.create_function(|lua, args| tohex(lua, &args))?)?;
    Ok(bit)
}

fn operand(lua: &Lua, function: &str, args: &MultiValue, at: usize) -> mlua::Result<i32> {
    let value = args.get(at);
    let number = value.and_then(|value| number_of(lua, value));
    number.map(to_bit).ok_or_else(|| wrong_type(lua, at + 1, function, "number", value))
}

/// A double as 32 bits: rounded, modulo 2^32. Adding this constant leaves the integer in the low bits of the sum, which is
/// how `BitOp` does it, so even numbers far out of range come out the same.
fn to_bit(number: f64) -> i32 {
    const MAGIC: f64 = 6_755_399_441_055_744.0;
    (number + MAGIC).to_bits() as i32
}

/// Hexadecimal digits: eight, or as many as asked; a negative count means upper case.
fn tohex(lua: &Lua, args: &MultiValue) -> mlua::Result<String> {
    let value = operand(lua, "tohex", args, 0)?;
    let digits = if args.len() > 1 { operand(lua, "tohex", args, 1)? } else { 8 };
    let text = if digits < 0 { format!("{value:08X}") } else { format!("{value:08x}") };
    Ok(text[8 - digits.unsigned_abs().min(8) as usize..].to_owned())
}

#[cfg(test)]
mod tests {
    use super::to_bit;

    #[test]
    fn numbers_wrap_to_32_bits() {
        for (number, bits) in [
            (0.0, 0),
            (-1.0, -1),
            (4_294_967_295.0, -1),
            (4_294_967_296.0, 0),
            (2_147_483_648.0, i32::MIN),
            (1.5, 2),
            (2.5, 2),
            (-4_294_967_297.0, -1),
            (1e20, 2_025_163_840),
        ] {
            assert_eq!(to_bit(number), bits, "{number}");
        }
    }
}
