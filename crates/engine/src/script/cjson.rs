//! `cjson`: JSON as the Lua CJSON that Redis ships reads and writes it.
//!
//! Numbers print with 14 digits, `/` is escaped, empty tables are objects, `null` is a light userdata, and reading is
//! lenient about numbers (`nan`, `0x10`, `01`). Settings hold for one run of a script, unlike in Redis, where the next
//! client's script finds them changed.

use std::rc::Rc;

use mlua::{Lua, LuaString, MultiValue, Table, Value};

use super::convert::SMALL_BYTES;
use super::number::general;
use super::sandbox::{bad_argument, kind, number_of, raise, text_of, wrong_type};
use super::vm::Shared;

/// Deepest nesting whatever the settings say: it is also how deep our own stack goes.
const DEPTH_MAX: i32 = 1_000;

/// What a script may adjust.
#[derive(Clone, Copy, Debug)]
#[expect(clippy::struct_excessive_bools, reason = "independent settings, as a script sets them")]
pub(super) struct Settings {
    sparse_convert: bool,
    sparse_ratio: i32,
    sparse_safe: i32,
    encode_depth: i32,
    decode_depth: i32,
    precision: i32,
    encode_invalid: Invalid,
    decode_invalid: bool,
    keep_buffer: bool,
    /// Whether arrays that are read are marked, so that they are arrays when written again, even if empty.
    mark_arrays: bool,
    /// Whether there may be marked arrays.
    has_marked: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            sparse_convert: false,
            sparse_ratio: 2,
            sparse_safe: 10,
            encode_depth: DEPTH_MAX,
            decode_depth: DEPTH_MAX,
            precision: 14,
            encode_invalid: Invalid::Refuse,
            decode_invalid: true,
            keep_buffer: true,
            mark_arrays: false,
            has_marked: false,
        }
    }
}

/// What becomes of numbers that JSON does not have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Invalid {
    Refuse,
    Write,
    Null,
}

/// Fills the table `cjson`.
pub(super) fn build(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let cjson = functions(lua, shared)?;
    let kept = Rc::clone(shared);
    cjson.raw_set("new", lua.create_function(move |lua, ()| functions(lua, &kept))?)?;
    Ok(cjson)
}

fn functions(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let cjson = lua.create_table()?;
    cjson.raw_set("_NAME", "cjson")?;
    cjson.raw_set("_VERSION", "2.1.0")?;
    cjson.raw_set("null", Value::NULL)?;
    let kept = Rc::clone(shared);
    cjson.raw_set("encode", lua.create_function(move |lua, args| encode(lua, &kept, &args))?)?;
    let kept = Rc::clone(shared);
    cjson.raw_set("decode", lua.create_function(move |lua, args| decode(lua, &kept, &args))?)?;
    adjust(lua, shared, &cjson)?;
    Ok(cjson)
}

// --- settings ------------------------------------------------------------------------------------------------------

/// Where a setting is.
type Number = fn(&mut Settings) -> &mut i32;
type Flag = fn(&mut Settings) -> &mut bool;

fn adjust(lua: &Lua, shared: &Rc<Shared>, cjson: &Table) -> mlua::Result<()> {
    for (name, pick, least, most) in [
        ("encode_max_depth", (|settings| &mut settings.encode_depth) as Number, 1, i32::MAX),
        ("decode_max_depth", |settings| &mut settings.decode_depth, 1, i32::MAX),
        ("encode_number_precision", |settings| &mut settings.precision, 1, 14),
    ] {
        let kept = Rc::clone(shared);
        let function = move |lua: &Lua, args: MultiValue| {
            let mut settings = kept.json.get();
            integer(lua, name, &args, 0, (least, most), pick(&mut settings))?;
            kept.json.set(settings);
            Ok(*pick(&mut settings))
        };
        cjson.raw_set(name, lua.create_function(function)?)?;
    }
    let kept = Rc::clone(shared);
    let sparse = move |lua: &Lua, args: MultiValue| {
        let name = "encode_sparse_array";
        let mut settings = kept.json.get();
        settings.sparse_convert = choice(lua, name, &args, &["off", "on"], usize::from(settings.sparse_convert))? == 1;
        integer(lua, name, &args, 1, (0, i32::MAX), &mut settings.sparse_ratio)?;
        integer(lua, name, &args, 2, (0, i32::MAX), &mut settings.sparse_safe)?;
        kept.json.set(settings);
        Ok((settings.sparse_convert, settings.sparse_ratio, settings.sparse_safe))
    };
    cjson.raw_set("encode_sparse_array", lua.create_function(sparse)?)?;
    let kept = Rc::clone(shared);
    let invalid = move |lua: &Lua, args: MultiValue| {
        const KINDS: [Invalid; 3] = [Invalid::Refuse, Invalid::Write, Invalid::Null];
        let mut settings = kept.json.get();
        let old = KINDS.iter().position(|kind| *kind == settings.encode_invalid).unwrap_or(0);
        settings.encode_invalid = KINDS[choice(lua, "encode_invalid_numbers", &args, &["off", "on", "null"], old)?];
        kept.json.set(settings);
        match settings.encode_invalid {
            Invalid::Null => lua.create_string("null").map(Value::String),
            other => Ok(Value::Boolean(other == Invalid::Write)),
        }
    };
    cjson.raw_set("encode_invalid_numbers", lua.create_function(invalid)?)?;
    for (name, pick) in [
        ("decode_invalid_numbers", (|settings| &mut settings.decode_invalid) as Flag),
        ("encode_keep_buffer", |settings| &mut settings.keep_buffer),
    ] {
        let kept = Rc::clone(shared);
        let function = move |lua: &Lua, args: MultiValue| {
            let mut settings = kept.json.get();
            let old = usize::from(*pick(&mut settings));
            *pick(&mut settings) = choice(lua, name, &args, &["off", "on"], old)? == 1;
            kept.json.set(settings);
            Ok(*pick(&mut settings))
        };
        cjson.raw_set(name, lua.create_function(function)?)?;
    }
    let kept = Rc::clone(shared);
    let arrays = move |lua: &Lua, args: MultiValue| {
        let mut settings = kept.json.get();
        let old = usize::from(settings.mark_arrays);
        settings.mark_arrays = choice(lua, "decode_array_with_array_mt", &args, &["off", "on"], old)? == 1;
        if settings.mark_arrays && !settings.has_marked {
            // A new one for each run: what a script puts in it is for that run alone.
            lua.set_named_registry_value(ARRAY_MARK, lua.create_table()?)?;
            settings.has_marked = true;
        }
        kept.json.set(settings);
        Ok(settings.mark_arrays)
    };
    cjson.raw_set("decode_array_with_array_mt", lua.create_function(arrays)?)?;
    Ok(())
}

/// Where the metatable of marked arrays is kept.
const ARRAY_MARK: &str = "cjson.array_mt";

/// The metatable of marked arrays, if there may be any.
fn array_mark(lua: &Lua, settings: &Settings) -> mlua::Result<Option<Table>> {
    settings.has_marked.then(|| lua.named_registry_value(ARRAY_MARK)).transpose()
}

/// Sets an integer setting from an argument, if there is one.
fn integer(
    lua: &Lua,
    function: &str,
    args: &MultiValue,
    at: usize,
    (least, most): (i32, i32),
    setting: &mut i32,
) -> mlua::Result<()> {
    let Some(value) = args.get(at).filter(|value| !value.is_nil()) else { return Ok(()) };
    let number = number_of(lua, value).ok_or_else(|| wrong_type(lua, at + 1, function, "number", Some(value)))?;
    let number = number as i64;
    if !(i64::from(least)..=i64::from(most)).contains(&number) {
        return Err(bad_argument(lua, at + 1, function, &format!("expected integer between {least} and {most}")));
    }
    *setting = number as i32;
    Ok(())
}

/// Which of some words, or which truth value, the first argument is; `old` if there is none.
fn choice(lua: &Lua, function: &str, args: &MultiValue, words: &[&str], old: usize) -> mlua::Result<usize> {
    match args.front() {
        None | Some(Value::Nil) => Ok(old),
        Some(Value::Boolean(yes)) => Ok(usize::from(*yes)),
        Some(value) => {
            let Some(word) = text_of(value) else {
                return Err(wrong_type(lua, 1, function, "string", Some(value)));
            };
            words.iter().position(|known| known.as_bytes() == word).ok_or_else(|| {
                let word = String::from_utf8_lossy(&word);
                bad_argument(lua, 1, function, &format!("invalid option '{word}'"))
            })
        }
    }
}

fn only_argument<'a>(lua: &Lua, function: &str, args: &'a MultiValue) -> mlua::Result<&'a Value> {
    match args.front() {
        Some(value) if args.len() == 1 => Ok(value),
        _ => Err(bad_argument(lua, 1, function, "expected 1 argument")),
    }
}

// --- writing -------------------------------------------------------------------------------------------------------

fn encode(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<LuaString> {
    let value = only_argument(lua, "encode", args)?;
    let settings = shared.json.get();
    let mark = array_mark(lua, &settings)?;
    let mut writer = Writer { lua, shared, settings, mark, out: Vec::new() };
    writer.value(value, 0)?;
    shared.relaxed(lua, writer.out.len() <= SMALL_BYTES, || lua.create_string(&writer.out))
}

struct Writer<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    settings: Settings,
    mark: Option<Table>,
    out: Vec<u8>,
}

impl Writer<'_> {
    fn refuse(&self, what: &str, reason: &str) -> mlua::Error {
        raise(self.lua, &format!("Cannot serialise {what}: {reason}"))
    }

    fn value(&mut self, value: &Value, depth: i32) -> mlua::Result<()> {
        self.shared.count_value()?;
        if self.out.len() > self.shared.bytes_max.get() {
            return Err(raise(self.lua, "not enough memory"));
        }
        match value {
            Value::Nil => self.out.extend(b"null"),
            Value::LightUserData(pointer) if pointer.0.is_null() => self.out.extend(b"null"),
            Value::Boolean(true) => self.out.extend(b"true"),
            Value::Boolean(false) => self.out.extend(b"false"),
            Value::String(text) => self.text(&text.as_bytes()),
            Value::Integer(number) => self.number(*number as f64)?,
            Value::Number(number) => self.number(*number)?,
            Value::Table(table) => {
                let depth = depth + 1;
                if depth > self.settings.encode_depth.min(DEPTH_MAX) {
                    return Err(raise(self.lua, &format!("Cannot serialise, excessive nesting ({depth})")));
                }
                if self.is_marked(table) {
                    return self.array(table, table.raw_len() as i64, depth);
                }
                match self.array_length(table)? {
                    Some(length) if length > 0 => self.array(table, length, depth)?,
                    _ => self.object(table, depth)?,
                }
            }
            other => return Err(self.refuse(kind(other), "type not supported")),
        }
        Ok(())
    }

    fn is_marked(&self, table: &Table) -> bool {
        self.mark.is_some() && table.metatable() == self.mark
    }

    fn number(&mut self, number: f64) -> mlua::Result<()> {
        if !number.is_finite() {
            match self.settings.encode_invalid {
                Invalid::Refuse => return Err(self.refuse("number", "must not be NaN or Inf")),
                Invalid::Null => self.out.extend(b"null"),
                Invalid::Write => {
                    let text = if number.is_nan() { "nan".to_owned() } else { general(number, 14) };
                    self.out.extend(text.bytes());
                }
            }
            return Ok(());
        }
        // Most numbers are small integers.
        let whole = number as i32;
        if f64::from(whole).to_bits() == number.to_bits() && self.settings.precision >= 10 {
            self.out.extend(itoa::Buffer::new().format(whole).bytes());
        } else {
            self.out.extend(general(number, self.settings.precision as usize).bytes());
        }
        Ok(())
    }

    fn text(&mut self, text: &[u8]) {
        self.out.push(b'"');
        for &byte in text {
            match byte {
                b'"' | b'\\' | b'/' => self.out.extend([b'\\', byte]),
                8 => self.out.extend(b"\\b"),
                9 => self.out.extend(b"\\t"),
                10 => self.out.extend(b"\\n"),
                12 => self.out.extend(b"\\f"),
                13 => self.out.extend(b"\\r"),
                0..32 | 127 => self.out.extend(format!("\\u{byte:04x}").bytes()),
                _ => self.out.push(byte),
            }
        }
        self.out.push(b'"');
    }

    /// How long a table is as an array; nothing if it is an object.
    fn array_length(&self, table: &Table) -> mlua::Result<Option<i64>> {
        let (mut most, mut count) = (0, 0);
        for pair in table.pairs::<Value, Value>() {
            match pair?.0 {
                Value::Integer(index) if index >= 1 => {
                    most = most.max(index);
                    count += 1;
                }
                _ => return Ok(None),
            }
        }
        let settings = self.settings;
        let sparse = settings.sparse_ratio > 0
            && most > i64::from(settings.sparse_safe)
            && most > count * i64::from(settings.sparse_ratio);
        match sparse {
            true if settings.sparse_convert => Ok(None),
            true => Err(self.refuse("table", "excessively sparse array")),
            false => Ok(Some(most)),
        }
    }

    fn array(&mut self, table: &Table, length: i64, depth: i32) -> mlua::Result<()> {
        self.out.push(b'[');
        for index in 1..=length {
            if index > 1 {
                self.out.push(b',');
            }
            self.value(&table.raw_get::<Value>(index)?, depth)?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn object(&mut self, table: &Table, depth: i32) -> mlua::Result<()> {
        self.out.push(b'{');
        let mut first = true;
        for pair in table.pairs::<Value, Value>() {
            let (key, value) = pair?;
            if !std::mem::take(&mut first) {
                self.out.push(b',');
            }
            match &key {
                Value::String(text) => self.text(&text.as_bytes()),
                Value::Integer(_) | Value::Number(_) => {
                    self.out.push(b'"');
                    self.value(&key, depth)?;
                    self.out.push(b'"');
                }
                other => return Err(self.refuse(kind(other), "table key must be a number or string")),
            }
            self.out.push(b':');
            self.value(&value, depth)?;
        }
        self.out.push(b'}');
        Ok(())
    }
}

// --- reading -------------------------------------------------------------------------------------------------------

fn decode(lua: &Lua, shared: &Shared, args: &MultiValue) -> mlua::Result<Value> {
    let value = only_argument(lua, "decode", args)?;
    let text = text_of(value).ok_or_else(|| wrong_type(lua, 1, "decode", "string", Some(value)))?;
    if text.len() >= 2 && (text[0] == 0 || text[1] == 0) {
        return Err(raise(lua, "JSON parser does not support UTF-16 or UTF-32"));
    }
    let settings = shared.json.get();
    let mark = array_mark(lua, &settings)?.filter(|_| settings.mark_arrays);
    let mut reader = Reader { lua, shared, settings, mark, text: &text, at: 0 };
    shared.relaxed(lua, text.len() <= SMALL_BYTES, || {
        let first = reader.token();
        let value = reader.value(first, 0)?;
        match reader.token() {
            Token { kind: Kind::End, .. } => Ok(value),
            other => Err(reader.unexpected("the end", &other)),
        }
    })
}

/// What a token is.
#[derive(Debug)]
enum Kind {
    ObjectBegin,
    ObjectEnd,
    ArrayBegin,
    ArrayEnd,
    Text(Vec<u8>),
    Number(f64),
    Boolean(bool),
    Null,
    Colon,
    Comma,
    End,
    Wrong(&'static str),
}

impl Kind {
    const fn name(&self) -> &'static str {
        match self {
            Self::ObjectBegin => "T_OBJ_BEGIN",
            Self::ObjectEnd => "T_OBJ_END",
            Self::ArrayBegin => "T_ARR_BEGIN",
            Self::ArrayEnd => "T_ARR_END",
            Self::Text(_) => "T_STRING",
            Self::Number(_) => "T_NUMBER",
            Self::Boolean(_) => "T_BOOLEAN",
            Self::Null => "T_NULL",
            Self::Colon => "T_COLON",
            Self::Comma => "T_COMMA",
            Self::End => "T_END",
            Self::Wrong(what) => what,
        }
    }
}

#[derive(Debug)]
struct Token {
    kind: Kind,
    at: usize,
}

struct Reader<'a> {
    lua: &'a Lua,
    shared: &'a Shared,
    settings: Settings,
    mark: Option<Table>,
    text: &'a [u8],
    at: usize,
}

impl Reader<'_> {
    fn unexpected(&self, wanted: &str, found: &Token) -> mlua::Error {
        let text = format!("Expected {wanted} but found {} at character {}", found.kind.name(), found.at + 1);
        raise(self.lua, &text)
    }

    fn peek(&self) -> u8 {
        self.text.get(self.at).copied().unwrap_or(0)
    }

    fn token(&mut self) -> Token {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
        let at = self.at;
        let single = match self.peek() {
            b'{' => Kind::ObjectBegin,
            b'}' => Kind::ObjectEnd,
            b'[' => Kind::ArrayBegin,
            b']' => Kind::ArrayEnd,
            b':' => Kind::Colon,
            b',' => Kind::Comma,
            // A zero byte ends the text, as it does in C.
            0 => return Token { kind: Kind::End, at },
            b'"' => return self.string(),
            b'-' | b'0'..=b'9' => {
                let refused = !self.settings.decode_invalid && self.is_invalid_number();
                let kind = if refused { Kind::Wrong("invalid number") } else { self.number() };
                return Token { kind, at };
            }
            _ => return Token { kind: self.word(), at },
        };
        self.at += 1;
        Token { kind: single, at }
    }

    fn word(&mut self) -> Kind {
        for (word, kind) in [("true", Kind::Boolean(true)), ("false", Kind::Boolean(false)), ("null", Kind::Null)] {
            if self.text[self.at..].starts_with(word.as_bytes()) {
                self.at += word.len();
                return kind;
            }
        }
        if self.settings.decode_invalid && self.is_invalid_number() {
            return self.number();
        }
        Kind::Wrong("invalid token")
    }

    /// Whether what C takes for a number here is none in JSON.
    fn is_invalid_number(&self) -> bool {
        let rest = &self.text[self.at..];
        if rest.first() == Some(&b'+') {
            return true;
        }
        let rest = rest.strip_prefix(b"-").unwrap_or(rest);
        match rest {
            [b'0', next, ..] => matches!(next, b'x' | b'X' | b'0'..=b'9'),
            [b'0'..=b'9', ..] => false,
            _ => {
                rest.get(..3).is_some_and(|word| word.eq_ignore_ascii_case(b"inf") || word.eq_ignore_ascii_case(b"nan"))
            }
        }
    }

    fn number(&mut self) -> Kind {
        match c_number(&self.text[self.at..]) {
            Some((number, length)) => {
                self.at += length;
                Kind::Number(number)
            }
            None => Kind::Wrong("invalid number"),
        }
    }

    fn string(&mut self) -> Token {
        let start = self.at;
        self.at += 1;
        let mut text = Vec::new();
        loop {
            let rest = &self.text[self.at.min(self.text.len())..];
            let plain = rest.iter().position(|byte| matches!(byte, b'"' | b'\\' | 0)).unwrap_or(rest.len());
            text.extend_from_slice(&rest[..plain]);
            self.at += plain;
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    if let Err(wrong) = self.escape(&mut text) {
                        return Token { kind: Kind::Wrong(wrong), at: self.at };
                    }
                }
                _ => return Token { kind: Kind::Wrong("unexpected end of string"), at: self.at },
            }
        }
        self.at += 1;
        Token { kind: Kind::Text(text), at: start }
    }

    fn escape(&mut self, text: &mut Vec<u8>) -> Result<(), &'static str> {
        let byte = match self.text.get(self.at + 1) {
            Some(&byte @ (b'"' | b'\\' | b'/')) => byte,
            Some(b'b') => 8,
            Some(b't') => 9,
            Some(b'n') => 10,
            Some(b'f') => 12,
            Some(b'r') => 13,
            Some(b'u') => return self.unicode(text),
            _ => return Err("invalid escape code"),
        };
        text.push(byte);
        self.at += 2;
        Ok(())
    }

    fn unicode(&mut self, text: &mut Vec<u8>) -> Result<(), &'static str> {
        const WRONG: &str = "invalid unicode escape code";
        let unit = |at: usize| {
            let digits = self.text.get(at..at + 6)?.strip_prefix(b"\\u")?;
            digits.iter().try_fold(0, |unit, &digit| Some(unit << 4 | char::from(digit).to_digit(16)?))
        };
        let first = unit(self.at).ok_or(WRONG)?;
        let (code, length) = if first & 0xf800 == 0xd800 {
            let second = unit(self.at + 6).filter(|second| first & 0x400 == 0 && second & 0xfc00 == 0xdc00);
            (0x1_0000 + ((first & 0x3ff) << 10) + (second.ok_or(WRONG)? & 0x3ff), 12)
        } else {
            (first, 6)
        };
        let character = char::from_u32(code).ok_or(WRONG)?;
        text.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
        self.at += length;
        Ok(())
    }

    fn value(&mut self, token: Token, depth: i32) -> mlua::Result<Value> {
        self.shared.count_value()?;
        match token.kind {
            Kind::Text(text) => self.lua.create_string(text).map(Value::String),
            Kind::Number(number) => Ok(Value::Number(number)),
            Kind::Boolean(yes) => Ok(Value::Boolean(yes)),
            Kind::Null => Ok(Value::NULL),
            Kind::ObjectBegin => self.object(self.deeper(depth)?),
            Kind::ArrayBegin => self.array(self.deeper(depth)?),
            _ => Err(self.unexpected("value", &token)),
        }
    }

    fn deeper(&self, depth: i32) -> mlua::Result<i32> {
        let depth = depth + 1;
        if depth > self.settings.decode_depth.min(DEPTH_MAX) {
            let text = format!("Found too many nested data structures ({depth}) at character {}", self.at);
            return Err(raise(self.lua, &text));
        }
        Ok(depth)
    }

    fn object(&mut self, depth: i32) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        let mut token = self.token();
        if matches!(token.kind, Kind::ObjectEnd) {
            return Ok(Value::Table(table));
        }
        loop {
            let Kind::Text(key) = &token.kind else {
                return Err(self.unexpected("object key string", &token));
            };
            let key = self.lua.create_string(key)?;
            let colon = self.token();
            if !matches!(colon.kind, Kind::Colon) {
                return Err(self.unexpected("colon", &colon));
            }
            let first = self.token();
            table.raw_set(key, self.value(first, depth)?)?;
            token = self.token();
            match token.kind {
                Kind::ObjectEnd => return Ok(Value::Table(table)),
                Kind::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or object end", &token)),
            }
        }
    }

    fn array(&mut self, depth: i32) -> mlua::Result<Value> {
        let table = self.lua.create_table()?;
        if let Some(mark) = &self.mark {
            table.set_metatable(Some(mark.clone()))?;
        }
        let mut token = self.token();
        if matches!(token.kind, Kind::ArrayEnd) {
            return Ok(Value::Table(table));
        }
        for index in 1.. {
            table.raw_set(index, self.value(token, depth)?)?;
            token = self.token();
            match token.kind {
                Kind::ArrayEnd => break,
                Kind::Comma => token = self.token(),
                _ => return Err(self.unexpected("comma or array end", &token)),
            }
        }
        Ok(Value::Table(table))
    }
}

/// A number as C's `strtod` reads it, and how many bytes it took.
fn c_number(text: &[u8]) -> Option<(f64, usize)> {
    let sign = usize::from(matches!(text.first(), Some(b'+' | b'-')));
    let negative = text.first() == Some(&b'-');
    let signed = |value: f64| if negative { -value } else { value };
    let rest = &text[sign..];
    let has = |word: &[u8]| rest.get(..word.len()).is_some_and(|start| start.eq_ignore_ascii_case(word));
    if has(b"infinity") {
        return Some((signed(f64::INFINITY), sign + 8));
    }
    if has(b"inf") {
        return Some((signed(f64::INFINITY), sign + 3));
    }
    if has(b"nan") {
        return Some((signed(f64::NAN), sign + 3));
    }
    if has(b"0x") && rest.get(2).is_some_and(u8::is_ascii_hexdigit) {
        let digits = rest[2..].iter().take_while(|byte| byte.is_ascii_hexdigit()).count();
        let value = rest[2..2 + digits]
            .iter()
            .fold(0.0, |value, &digit| value * 16.0 + f64::from(char::from(digit).to_digit(16).unwrap_or(0)));
        return Some((signed(value), sign + 2 + digits));
    }
    let digits = |from: usize| rest[from.min(rest.len())..].iter().take_while(|byte| byte.is_ascii_digit()).count();
    let whole = digits(0);
    let mut length = whole;
    let mut fraction = 0;
    if rest.get(whole) == Some(&b'.') {
        fraction = digits(whole + 1);
        length = whole + 1 + fraction;
    }
    if whole + fraction == 0 {
        return None;
    }
    if matches!(rest.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(rest.get(length + 1), Some(b'+' | b'-')));
        let exponent = digits(length + 1 + sign);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    let value: f64 = std::str::from_utf8(&rest[..length]).ok()?.parse().ok()?;
    Some((signed(value), sign + length))
}

#[cfg(test)]
mod tests {
    use super::c_number;

    #[test]
    fn numbers_are_read_as_c_reads_them() {
        for (text, value) in [
            ("1", Some((1.0, 1))),
            ("-1.5e3,", Some((-1500.0, 6))),
            ("01", Some((1.0, 2))),
            ("1.", Some((1.0, 2))),
            (".5", Some((0.5, 2))),
            ("1e", Some((1.0, 1))),
            ("1e+x", Some((1.0, 1))),
            ("0x1F", Some((31.0, 4))),
            ("0x", Some((0.0, 1))),
            ("-Infinity", Some((f64::NEG_INFINITY, 9))),
            ("1e999", Some((f64::INFINITY, 5))),
            ("-", None),
            ("", None),
        ] {
            assert_eq!(c_number(text.as_bytes()), value, "{text}");
        }
    }
}
