//! `string`: the functions of Lua's that take patterns, over our bounded matcher, and `rep`, which asks for memory first.
//!
//! The parts that call back into the script (`gmatch`, `gsub` with a function or a table) are in `sandbox.lua`, so that an
//! error in a callback stays the script's own value; they step through matches with [`step`].

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::convert::SMALL_BYTES;
use super::pattern::{Capture, Matcher, Pattern, Stopped};
use super::sandbox::{number_of, raise, text_of, wrong_type};
use super::vm::Shared;

/// Replaces the functions of `string` that could run long, and adds what `sandbox.lua` needs to `helper`.
pub(super) fn build(lua: &Lua, shared: &Rc<Shared>, string: &Table, helper: &Table) -> mlua::Result<()> {
    let kept = Rc::clone(shared);
    string.raw_set("find", lua.create_function(move |lua, args| found(lua, &kept, &args, Wanted::Places))?)?;
    let kept = Rc::clone(shared);
    string.raw_set("match", lua.create_function(move |lua, args| found(lua, &kept, &args, Wanted::Captures))?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("step", lua.create_function(move |lua, args| step(lua, &kept, args))?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("gsub", lua.create_function(move |lua, args| gsub(lua, &kept, &args))?)?;
    let kept = Rc::clone(shared);
    string.raw_set("rep", lua.create_function(move |lua, args| repeat(lua, &kept, &args))?)?;
    helper.raw_set("subject", lua.create_function(|lua, args| subject(lua, &args))?)
}

fn text(lua: &Lua, args: &MultiValue, at: usize, function: &str) -> mlua::Result<LuaString> {
    match args.get(at) {
        Some(Value::String(text)) => Ok(text.clone()),
        other => match other.and_then(text_of) {
            Some(text) => lua.create_string(text),
            None => Err(wrong_type(lua, at + 1, function, "string", other)),
        },
    }
}

/// The subject and pattern of `gmatch` and `gsub`, as strings.
fn subject(lua: &Lua, args: &MultiValue) -> mlua::Result<(LuaString, LuaString)> {
    let name = text(lua, args, 2, "string")?.to_string_lossy();
    Ok((text(lua, args, 0, &name)?, text(lua, args, 1, &name)?))
}

fn stopped(lua: &Lua, stopped: Stopped) -> mlua::Error {
    match stopped {
        Stopped::Broken(reason) => raise(lua, reason),
        Stopped::Asked(error) => error,
    }
}

fn captured(lua: &Lua, subject: &[u8], capture: Capture) -> mlua::Result<Value> {
    match capture {
        Capture::Text(start, end) => lua.create_string(&subject[start..end]).map(Value::String),
        Capture::Position(at) | Capture::Open(at) => Ok(Value::Integer(at as i64 + 1)),
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Places,
    Captures,
}

/// `find` and `match`.
fn found(lua: &Lua, shared: &Shared, args: &MultiValue, wanted: Wanted) -> mlua::Result<MultiValue> {
    let small = matches!(args.front(), Some(Value::String(subject)) if subject.as_bytes().len() <= SMALL_BYTES);
    shared.relaxed(lua, small, || search(lua, shared, args, wanted))
}

fn search(lua: &Lua, shared: &Shared, args: &MultiValue, wanted: Wanted) -> mlua::Result<MultiValue> {
    let name = if wanted == Wanted::Places { "find" } else { "match" };
    let (subject, pattern) = (text(lua, args, 0, name)?, text(lua, args, 1, name)?);
    let (subject, pattern) = (subject.as_bytes(), pattern.as_bytes());
    let init = match args.get(2) {
        None | Some(Value::Nil) => 1,
        Some(value) => {
            let number = number_of(lua, value).ok_or_else(|| wrong_type(lua, 3, name, "number", Some(value)))?;
            number as i64
        }
    };
    let init = if init < 0 { init.saturating_add(subject.len() as i64 + 1) } else { init };
    let start = (init.max(1) as usize - 1).min(subject.len());
    let mut results = MultiValue::new();
    if wanted == Wanted::Places {
        let plain = args.get(3).is_some_and(|plain| !matches!(plain, Value::Nil | Value::Boolean(false)));
        if plain || Pattern::is_plain(&pattern) {
            match plain_find(&subject[start..], &pattern, shared)? {
                Some(at) => results.extend([start + at + 1, start + at + pattern.len()].map(number)),
                None => results.push_back(Value::Nil),
            }
            return Ok(results);
        }
    }
    let pattern = Pattern::read(&pattern, true);
    let ask = || shared.ask();
    let mut matcher = Matcher::new(&subject, &pattern, &ask);
    let Some((from, to)) = matcher.find(start).map_err(|error| stopped(lua, error))? else {
        results.push_back(Value::Nil);
        return Ok(results);
    };
    if wanted == Wanted::Places {
        results.extend([from + 1, to].map(number));
        if !matcher.has_captures() {
            return Ok(results);
        }
    }
    for capture in matcher.captures(from, to).map_err(|error| stopped(lua, error))? {
        results.push_back(captured(lua, &subject, capture)?);
    }
    Ok(results)
}

const fn number(at: usize) -> Value {
    Value::Integer(at as i64)
}

/// `rep`, which says no before it asks for more memory than there may be.
fn repeat(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<LuaString> {
    let text = text(lua, args, 0, "rep")?;
    let count = args.get(1).and_then(|value| number_of(lua, value));
    let count = count.ok_or_else(|| wrong_type(lua, 2, "rep", "number", args.get(1)))?;
    let count = (count as i64).max(0) as usize;
    let text = text.as_bytes();
    match text.len().checked_mul(count) {
        Some(length) if length <= shared.bytes_max.get() => {
            shared.count_bytes(length)?;
            lua.create_string(text.repeat(count))
        }
        _ => Err(mlua::Error::runtime("not enough memory")),
    }
}

/// Bytes looked at before they are counted.
const BYTES_AT_ONCE: usize = 64 << 10;

/// Where `needle` first is.
fn plain_find(hay: &[u8], needle: &[u8], shared: &Shared) -> mlua::Result<Option<usize>> {
    let Some((&first, rest)) = needle.split_first() else { return Ok(Some(0)) };
    let Some(last) = hay.len().checked_sub(needle.len()) else { return Ok(None) };
    let mut work = 0;
    for at in 0..=last {
        if hay[at] == first {
            let same = hay[at + 1..].iter().zip(rest).take_while(|(a, b)| a == b).count();
            if same == rest.len() {
                return Ok(Some(at));
            }
            work += same;
        }
        work += 1;
        if work >= BYTES_AT_ONCE {
            shared.count_bytes(std::mem::take(&mut work))?;
        }
    }
    Ok(None)
}

/// The next match at or after a place: where it begins, where it ends, and its captures. Nothing if there is none.
fn step(
    lua: &Lua,
    shared: &Shared,
    (subject, pattern, from, anchors): (LuaString, LuaString, usize, bool),
) -> mlua::Result<MultiValue> {
    let subject = subject.as_bytes();
    let pattern = Pattern::read(&pattern.as_bytes(), anchors);
    let ask = || shared.ask();
    let mut matcher = Matcher::new(&subject, &pattern, &ask);
    shared.relaxed(lua, subject.len() <= SMALL_BYTES, || {
        let mut results = MultiValue::new();
        if let Some((start, end)) = matcher.find(from - 1).map_err(|error| stopped(lua, error))? {
            results.extend([start + 1, end].map(number));
            for capture in matcher.captures(start, end).map_err(|error| stopped(lua, error))? {
                results.push_back(captured(lua, &subject, capture)?);
            }
        }
        Ok(results)
    })
}

/// `gsub` with a string as replacement.
fn gsub(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<(LuaString, usize)> {
    let subject = text(lua, args, 0, "gsub")?;
    let (pattern, replacement) = (text(lua, args, 1, "gsub")?, text(lua, args, 2, "gsub")?);
    let (subject, pattern, replacement) = (subject.as_bytes(), pattern.as_bytes(), replacement.as_bytes());
    let count_max = match args.get(3) {
        None | Some(Value::Nil) => usize::MAX,
        Some(value) => {
            let number = number_of(lua, value).ok_or_else(|| wrong_type(lua, 4, "gsub", "number", Some(value)))?;
            (number as i64).max(0) as usize
        }
    };
    let pattern = Pattern::read(&pattern, true);
    let ask = || shared.ask();
    let mut matcher = Matcher::new(&subject, &pattern, &ask);
    let (mut result, mut count, mut at) = (Vec::with_capacity(subject.len()), 0, 0);
    while count < count_max {
        let Some((start, end)) = matcher.find(at).map_err(|error| stopped(lua, error))? else { break };
        count += 1;
        result.extend_from_slice(&subject[at..start]);
        replace(&matcher, &subject, &replacement, (start, end), &mut result).map_err(|error| stopped(lua, error))?;
        if end > start {
            at = end;
        } else {
            result.extend(subject.get(start));
            at = start + 1;
        }
        if result.len() > shared.bytes_max.get() {
            return Err(mlua::Error::runtime("not enough memory"));
        }
        if at > subject.len() || pattern.anchored {
            break;
        }
    }
    result.extend_from_slice(subject.get(at..).unwrap_or_default());
    Ok((lua.create_string(result)?, count))
}

/// Writes a replacement, in which `%1` stands for a capture.
fn replace(
    matcher: &Matcher<'_>,
    subject: &[u8],
    replacement: &[u8],
    (start, end): (usize, usize),
    out: &mut Vec<u8>,
) -> Result<(), Stopped> {
    let mut bytes = replacement.iter();
    while let Some(&byte) = bytes.next() {
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        match bytes.next().copied().unwrap_or(0) {
            digit @ b'0'..=b'9' => match matcher.capture(usize::from(digit - b'0'), start, end)? {
                Capture::Text(from, to) => out.extend_from_slice(&subject[from..to]),
                Capture::Position(at) | Capture::Open(at) => {
                    out.extend_from_slice(itoa::Buffer::new().format(at + 1).as_bytes());
                }
            },
            other => out.push(other),
        }
    }
    Ok(())
}
