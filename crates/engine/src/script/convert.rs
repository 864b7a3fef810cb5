//! The border between Lua values and replies, in both directions.
//!
//! Inside a script replies look like RESP2 (maps are flat, doubles are text, nothing is `false`) unless it calls
//! `redis.setresp(3)`. On the way out numbers lose their fraction, `false` is nothing, and a table ends at its first hole,
//! as in Redis. What a script builds may be far larger in full than in Lua's memory, where tables are shared: everything
//! that leaves is counted against the script's memory.

use dormouse_proto::{Blob, CommandError, Double, Reply};
use mlua::{Lua, LuaString, Table, Value};

use super::vm::Failure;

/// Deepest table that becomes a reply.
const DEPTH_MAX: usize = 500;
/// What an element counts beside its bytes.
const ELEMENT_BYTES: usize = size_of::<Reply>();

// --- replies to Lua ------------------------------------------------------------------------------------------------

/// A reply as the script sees it.
pub(super) fn value(lua: &Lua, reply: Reply, resp: u8) -> mlua::Result<Value> {
    let text = |bytes: &[u8]| lua.create_string(bytes).map(Value::String);
    match reply {
        Reply::Integer(number) => Ok(Value::Number(number as f64)),
        Reply::Status(status) => wrapped(lua, "ok", text(&status)?),
        Reply::Error(error) => wrapped(lua, "err", text(error.to_string().as_bytes())?),
        Reply::Null | Reply::NullArray => Ok(if resp == 3 { Value::Nil } else { Value::Boolean(false) }),
        Reply::Array(elements) if elements.iter().all(|element| matches!(element, Reply::Bulk(_))) => {
            let texts = elements.iter().filter_map(|element| match element {
                Reply::Bulk(bytes) => Some(LuaString::wrap(bytes)),
                _ => None,
            });
            lua.create_sequence_from(texts).map(Value::Table)
        }
        Reply::Bool(yes) if resp == 3 => Ok(Value::Boolean(yes)),
        Reply::Bool(yes) => Ok(Value::Integer(yes.into())),
        Reply::Double(number) if resp == 3 => wrapped(lua, "double", Value::Number(number)),
        Reply::Double(number) => text(Double(number).to_string().as_bytes()),
        Reply::Set(elements) if resp == 3 => {
            let set = lua.create_table_with_capacity(0, elements.len())?;
            for element in elements {
                insert(&set, value(lua, element, resp)?, Value::Boolean(true))?;
            }
            wrapped(lua, "set", Value::Table(set))
        }
        Reply::Array(elements) | Reply::Set(elements) | Reply::Push(elements) | Reply::Many(elements) => {
            array(lua, elements, resp)
        }
        Reply::Map(pairs) | Reply::Keyed(pairs) if resp == 3 => {
            let map = lua.create_table_with_capacity(0, pairs.len())?;
            for (key, item) in pairs {
                insert(&map, value(lua, key, resp)?, value(lua, item, resp)?)?;
            }
            wrapped(lua, "map", Value::Table(map))
        }
        Reply::Pairs(pairs) if resp == 3 => array_of_pairs(lua, pairs, resp),
        Reply::Keyed(pairs) => array_of_pairs(lua, pairs, resp),
        Reply::Map(pairs) | Reply::Pairs(pairs) => {
            array(lua, pairs.into_iter().flat_map(|(first, second)| [first, second]), resp)
        }
        // Scripts are not shown what is said of a reply.
        Reply::Attributed(both) => value(lua, both.reply, resp),
        Reply::Verbatim(bytes) if resp == 3 => {
            let verbatim = lua.create_table_with_capacity(0, 2)?;
            verbatim.raw_set("format", "txt")?;
            verbatim.raw_set("string", text(&bytes)?)?;
            wrapped(lua, "verbatim_string", Value::Table(verbatim))
        }
        Reply::BigNumber(digits) if resp == 3 => wrapped(lua, "big_number", text(&digits)?),
        Reply::Bulk(bytes) | Reply::Verbatim(bytes) | Reply::BigNumber(bytes) => text(&bytes),
    }
}

fn array_of_pairs(lua: &Lua, pairs: Vec<(Reply, Reply)>, resp: u8) -> mlua::Result<Value> {
    array(lua, pairs.into_iter().map(|(first, second)| Reply::Array(vec![first, second])), resp)
}

/// What counts as small enough not to be counted, in bytes and in elements.
pub(super) const SMALL_BYTES: usize = 64 * 1024;
const SMALL_ELEMENTS: usize = 64;

/// Whether a reply takes little memory, at a glance.
pub(super) fn is_small(reply: &Reply) -> bool {
    match reply {
        Reply::Bulk(bytes) | Reply::Status(bytes) | Reply::Verbatim(bytes) | Reply::BigNumber(bytes) => {
            bytes.len() <= SMALL_BYTES
        }
        Reply::Array(elements) | Reply::Set(elements) => {
            let flat = |element: &Reply| {
                matches!(element, Reply::Bulk(bytes) if bytes.len() <= SMALL_BYTES / SMALL_ELEMENTS)
                    || matches!(element, Reply::Null | Reply::Integer(_) | Reply::Double(_))
            };
            elements.len() <= SMALL_ELEMENTS && elements.iter().all(flat)
        }
        Reply::Map(_) | Reply::Pairs(_) | Reply::Keyed(_) | Reply::Push(_) | Reply::Many(_) | Reply::Attributed(_) => {
            false
        }
        _ => true,
    }
}

fn wrapped(lua: &Lua, name: &str, value: Value) -> mlua::Result<Value> {
    let table = lua.create_table_with_capacity(0, 1)?;
    table.raw_set(name, value)?;
    Ok(Value::Table(table))
}

fn array(lua: &Lua, elements: impl IntoIterator<Item = Reply>, resp: u8) -> mlua::Result<Value> {
    let elements = elements.into_iter();
    let table = lua.create_table_with_capacity(elements.size_hint().0, 0)?;
    for (index, element) in elements.enumerate() {
        table.raw_set(index + 1, value(lua, element, resp)?)?;
    }
    Ok(Value::Table(table))
}

/// Sets a field, unless Lua cannot have such a key.
fn insert(table: &Table, key: Value, value: Value) -> mlua::Result<()> {
    if key.is_nil() || matches!(key, Value::Number(number) if number.is_nan()) {
        return Ok(());
    }
    table.raw_set(key, value)
}

// --- Lua to replies ------------------------------------------------------------------------------------------------

/// The fields that make a table more than an array, in the order Redis looks for them.
pub(super) struct Fields {
    err: LuaString,
    ok: LuaString,
    double: LuaString,
    map: LuaString,
    set: LuaString,
    big_number: LuaString,
    verbatim: LuaString,
    string: LuaString,
}

impl Fields {
    /// Makes the names once, so that looking for them makes none.
    pub(super) fn new(lua: &Lua) -> mlua::Result<Self> {
        Ok(Self {
            err: lua.create_string("err")?,
            ok: lua.create_string("ok")?,
            double: lua.create_string("double")?,
            map: lua.create_string("map")?,
            set: lua.create_string("set")?,
            big_number: lua.create_string("big_number")?,
            verbatim: lua.create_string("verbatim_string")?,
            string: lua.create_string("string")?,
        })
    }
}

/// What a script returns, as a reply.
pub(super) fn reply(fields: &Fields, value: Value, resp: u8, bytes_max: usize) -> Result<Reply, Failure> {
    Outward { fields, resp, left: bytes_max }.convert(value, 0)
}

struct Outward<'a> {
    fields: &'a Fields,
    resp: u8,
    left: usize,
}

fn failure(text: &str) -> Failure {
    Failure { text: text.to_owned(), place: None }
}

impl Outward<'_> {
    fn spend(&mut self, bytes: usize) -> Result<(), Failure> {
        self.left =
            self.left.checked_sub(bytes).ok_or_else(|| failure("ERR not enough memory for the script's reply"))?;
        Ok(())
    }

    fn text(&mut self, text: &LuaString) -> Result<Blob, Failure> {
        let bytes = text.as_bytes();
        self.spend(bytes.len())?;
        Ok(Blob::from(&*bytes))
    }

    fn convert(&mut self, value: Value, depth: usize) -> Result<Reply, Failure> {
        self.spend(ELEMENT_BYTES)?;
        Ok(match value {
            Value::String(text) => Reply::Bulk(self.text(&text)?),
            Value::Integer(number) => Reply::Integer(number),
            Value::Number(number) => Reply::Integer(truncate(number)),
            Value::Boolean(yes) if self.resp == 3 => Reply::Bool(yes),
            Value::Boolean(true) => Reply::Integer(1),
            Value::Table(_) if depth >= DEPTH_MAX => Reply::Error(CommandError::text("ERR reached lua stack limit")),
            Value::Table(table) => self.table(&table, depth)?,
            _ => Reply::Null,
        })
    }

    fn table(&mut self, table: &Table, depth: usize) -> Result<Reply, Failure> {
        let field = |name: &LuaString| table.raw_get::<Value>(name).map_err(|_| failure("ERR not enough memory"));
        if let Value::String(text) = field(&self.fields.err)? {
            self.spend(text.as_bytes().len())?;
            return Ok(Reply::Error(CommandError::from(text.to_string_lossy())));
        }
        if let Value::String(text) = field(&self.fields.ok)? {
            let text = self.text(&text)?;
            return Ok(Reply::Status(one_line(text)));
        }
        match field(&self.fields.double)? {
            Value::Number(number) => return Ok(Reply::Double(number)),
            Value::Integer(number) => return Ok(Reply::Double(number as f64)),
            _ => {}
        }
        if let Value::Table(map) = field(&self.fields.map)? {
            return Ok(Reply::Map(self.entries(&map, depth)?));
        }
        if let Value::Table(set) = field(&self.fields.set)? {
            return Ok(Reply::Set(self.members(&set, depth)?));
        }
        if let Value::String(text) = field(&self.fields.big_number)? {
            let text = self.text(&text)?;
            return Ok(Reply::BigNumber(one_line(text)));
        }
        if let Value::Table(verbatim) = field(&self.fields.verbatim)?
            && let Ok(Value::String(text)) = verbatim.raw_get::<Value>(&self.fields.string)
        {
            return Ok(Reply::Verbatim(self.text(&text)?));
        }
        let mut elements = Vec::with_capacity(table.raw_len().min(self.left / ELEMENT_BYTES));
        for index in 1.. {
            match table.raw_get::<Value>(index) {
                Ok(Value::Nil) => break,
                Ok(element) => elements.push(self.convert(element, depth + 1)?),
                Err(_) => return Err(failure("ERR not enough memory")),
            }
        }
        Ok(Reply::Array(elements))
    }

    fn entries(&mut self, map: &Table, depth: usize) -> Result<Vec<(Reply, Reply)>, Failure> {
        let mut entries = Vec::new();
        for pair in map.pairs::<Value, Value>() {
            let (key, value) = pair.map_err(|_| failure("ERR not enough memory"))?;
            entries.push((self.convert(key, depth + 1)?, self.convert(value, depth + 1)?));
        }
        Ok(entries)
    }

    fn members(&mut self, set: &Table, depth: usize) -> Result<Vec<Reply>, Failure> {
        let mut members = Vec::new();
        for pair in set.pairs::<Value, Value>() {
            let (member, _) = pair.map_err(|_| failure("ERR not enough memory"))?;
            members.push(self.convert(member, depth + 1)?);
        }
        Ok(members)
    }
}

/// A status is one line, and so is a number.
fn one_line(text: Blob) -> Blob {
    if !text.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
        return text;
    }
    text.iter().map(|&byte| if matches!(byte, b'\r' | b'\n') { b' ' } else { byte }).collect::<Vec<u8>>().into()
}

/// A double as C converts it to 64 bits on the machines Redis runs on: what does not fit becomes the smallest.
fn truncate(number: f64) -> i64 {
    const BOUND: f64 = 9_223_372_036_854_775_808.0;
    if (-BOUND..BOUND).contains(&number) { number as i64 } else { i64::MIN }
}
