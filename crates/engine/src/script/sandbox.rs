//! What a script may see: Lua's safe functions, Redis's libraries, and nothing it could change for others.
//!
//! Redis patches Lua to have read-only tables; ours is Lua as it comes, so each library is an empty table in front of the
//! real one, whose metatable refuses writes. The globals are such a table as well. Functions that write behind a
//! metatable's back (`rawset`, `table.insert`) look at the list of locked tables first. What could not be undone is left
//! out: compiled code is never loaded, the collector cannot be tuned, and nothing of the machine is reachable.
//!
//! Where an error object of mlua's could reach a script (`pcall`, `xpcall`, coroutines), a function in `sandbox.lua`
//! stands in between and turns it into what Redis would show.

use std::borrow::Cow;
use std::rc::Rc;

use mlua::chunk::ChunkMode;
use mlua::{Function, Lua, LuaString, MultiValue, Table, Value};

use super::number::general;
use super::vm::{Failure, Fault, Shared};
use super::{api, bit, chunk, cjson, cmsgpack, library, strings, structs};

/// Lua's own functions that scripts get as they are.
const PLAIN: &[&str] =
    &["_VERSION", "assert", "error", "getmetatable", "ipairs", "rawequal", "select", "tonumber", "tostring", "type"];
/// The name our own Lua has in stack traces; see [`place`].
const OWN: &str = "=?";
const READONLY: &str = "Attempt to modify a readonly table";
/// How far up the stack the place of an error is looked for.
const LEVELS_MAX: usize = 8;

/// The handles a run needs.
pub(super) struct Sandbox {
    /// Behind the globals: `KEYS` and `ARGV` go here.
    base: Table,
    /// Behind `redis`.
    redis: Table,
    /// Stands behind the globals instead while a library is loaded.
    loading: Table,
    /// The metatable that says which of the two it is.
    front: Table,
    /// Calls a function, noting the error if it fails.
    pub(super) protect: Function,
    /// As `protect`, for a function of a library and its two arguments.
    pub(super) protect_function: Function,
}

impl Sandbox {
    /// Sets what a script finds as `KEYS` and `ARGV`.
    pub(super) fn set_arguments(&self, keys: Table, args: Table) -> mlua::Result<()> {
        self.base.raw_set("KEYS", keys)?;
        self.base.raw_set("ARGV", args)
    }

    /// Lets go of the last run's arguments.
    pub(super) fn forget_arguments(&self) {
        for name in ["KEYS", "ARGV"] {
            // Setting a field that is there to nil allocates nothing.
            let _ = self.base.raw_set(name, Value::Nil);
        }
    }

    /// Loads a library: runs its text where it sees nothing but the means to register functions.
    pub(super) fn load(&self, library: &Function) -> mlua::Result<(bool, Value)> {
        self.front.raw_set("__index", &self.loading)?;
        let loaded = self.protect.call(library);
        self.front.raw_set("__index", &self.base)?;
        loaded
    }

    /// Makes `door` this run's `redis.call`.
    pub(super) fn open(&self, door: &Function) -> mlua::Result<()> {
        self.redis.raw_set("call", door)
    }
}

/// Turns a new Lua state into a sandbox.
pub(super) fn build(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Sandbox> {
    let globals = lua.globals();
    let lock = Lock::new(lua)?;
    let base = lua.create_table()?;
    for &name in PLAIN {
        base.raw_set(name, globals.raw_get::<Value>(name)?)?;
    }
    let redis = api::build(lua, shared)?;
    let string: Table = globals.raw_get("string")?;
    let table: Table = globals.raw_get("table")?;
    let math: Table = globals.raw_get("math")?;
    let coroutine: Table = globals.raw_get("coroutine")?;

    let own = own_functions(lua, shared, &globals, &lock, &redis)?;
    for name in ["pcall", "xpcall", "rawget", "rawset", "setmetatable", "load", "next", "pairs", "unpack"] {
        base.raw_set(name, own.raw_get::<Function>(name)?)?;
    }
    base.raw_set("loadstring", lua.create_function(|lua, args| loadstring(lua, &args))?)?;
    collector(lua, &base)?;
    for name in ["insert", "remove", "sort"] {
        table.raw_set(name, own.raw_get::<Function>(name)?)?;
    }
    coroutine.raw_set("resume", own.raw_get::<Function>("resume")?)?;
    redis.raw_set("pcall", own.raw_get::<Function>("redis_pcall")?)?;
    chance(lua, shared, &math)?;
    for name in ["gmatch", "gsub"] {
        string.raw_set(name, own.raw_get::<Function>(name)?)?;
    }
    string.raw_set("gfind", own.raw_get::<Function>("gmatch")?)?;

    for (name, library) in [
        ("string", string.clone()),
        ("table", table),
        ("math", math),
        ("coroutine", coroutine),
        ("os", clock(lua, shared)?),
        ("redis", redis.clone()),
        ("cjson", cjson::build(lua, shared)?),
        ("cmsgpack", cmsgpack::build(lua, shared)?),
        ("struct", structs::build(lua)?),
        ("bit", bit::build(lua)?),
    ] {
        base.raw_set(name, lock.front(lua, library)?)?;
    }
    // `("x"):rep(3)` finds its methods here; what a script gets to see of it is locked too.
    let methods = lua.create_table()?;
    methods.raw_set("__index", base.raw_get::<Table>("string")?)?;
    if let Some(metatable) = lua.type_metatable::<LuaString>() {
        metatable.raw_set("__index", string)?;
        metatable.raw_set("__metatable", lock.front(lua, methods)?)?;
    }
    globals.clear()?;
    base.raw_set("_G", &globals)?;
    refuse_missing(lua, &base)?;
    let front = lock.guard(lua, &globals, base.clone())?;
    let loading = lua.create_table()?;
    let registering = library::build(lua, shared)?;
    refuse_missing(lua, &registering)?;
    loading.raw_set("redis", lock.front(lua, registering)?)?;
    refuse_missing(lua, &loading)?;
    let (protect, protect_function) = (own.raw_get("protect")?, own.raw_get("protect_function")?);
    Ok(Sandbox { base, redis, loading, front, protect, protect_function })
}

/// Makes tables read-only.
struct Lock {
    /// The tables nobody may change, as keys.
    locked: Table,
    /// What those show, for functions that do not ask metatables.
    behind: Table,
    /// Refuses a change.
    deny: Function,
}

impl Lock {
    fn new(lua: &Lua) -> mlua::Result<Self> {
        let deny = lua.create_function(|lua, _: MultiValue| -> mlua::Result<()> { Err(raise(lua, READONLY)) })?;
        Ok(Self { locked: lua.create_table()?, behind: lua.create_table()?, deny })
    }

    /// Makes `table`, which must be empty, show `real` without letting it be changed. Returns its metatable.
    fn guard(&self, lua: &Lua, table: &Table, real: Table) -> mlua::Result<Table> {
        let metatable = lua.create_table()?;
        metatable.raw_set("__index", &real)?;
        metatable.raw_set("__newindex", &self.deny)?;
        let shown = lua.create_table()?;
        self.locked.raw_set(&shown, true)?;
        let innermost = lua.create_table()?;
        innermost.raw_set("__newindex", &self.deny)?;
        innermost.raw_set("__metatable", false)?;
        shown.set_metatable(Some(innermost))?;
        metatable.raw_set("__metatable", shown)?;
        table.set_metatable(Some(metatable.clone()))?;
        self.locked.raw_set(table, true)?;
        self.behind.raw_set(table, real)?;
        Ok(metatable)
    }

    /// A read-only view of a library.
    fn front(&self, lua: &Lua, real: Table) -> mlua::Result<Table> {
        let front = lua.create_table()?;
        self.guard(lua, &front, real)?;
        Ok(front)
    }
}

/// Reading a global that is not there is an error, as in Redis.
fn refuse_missing(lua: &Lua, base: &Table) -> mlua::Result<()> {
    let metatable = lua.create_table()?;
    let missing = lua.create_function(|lua, (_, name): (Value, Value)| -> mlua::Result<()> {
        let name = text_of(&name).unwrap_or_default();
        let name = String::from_utf8_lossy(&name);
        Err(raise(lua, &format!("Script attempted to access nonexistent global variable '{name}'")))
    })?;
    metatable.raw_set("__index", missing)?;
    base.set_metatable(Some(metatable))
}

/// Compiles `sandbox.lua` over what it needs.
fn own_functions(lua: &Lua, shared: &Rc<Shared>, globals: &Table, lock: &Lock, redis: &Table) -> mlua::Result<Table> {
    let plain = lua.create_table()?;
    for name in
        ["error", "next", "pcall", "rawget", "rawset", "select", "setmetatable", "tonumber", "type", "unpack", "xpcall"]
    {
        plain.raw_set(name, globals.raw_get::<Function>(name)?)?;
    }
    plain.raw_set("resume", globals.raw_get::<Table>("coroutine")?.raw_get::<Function>("resume")?)?;
    let table: Table = globals.raw_get("table")?;
    for name in ["insert", "concat", "remove", "sort"] {
        plain.raw_set(name, table.raw_get::<Function>(name)?)?;
    }
    let string: Table = globals.raw_get("string")?;
    for name in ["len", "sub"] {
        plain.raw_set(name, string.raw_get::<Function>(name)?)?;
    }
    let helper = lua.create_table()?;
    strings::build(lua, shared, &string, &helper)?;
    // A call through our own Lua is what Lua's own function would be: no place is named.
    helper
        .raw_set("deny", lua.create_function(|_, ()| -> mlua::Result<()> { Err(mlua::Error::runtime(READONLY)) })?)?;
    helper.raw_set("loadstring", lua.create_function(|lua, args| loadstring(lua, &args))?)?;
    helper.raw_set("fail", lua.create_function(|lua, text: String| -> mlua::Result<()> { Err(raise(lua, &text)) })?)?;
    let bad = |lua: &Lua, (at, function, what): (usize, String, String)| -> mlua::Result<()> {
        Err(bad_argument(lua, at, &function, &what))
    };
    helper.raw_set("bad", lua.create_function(bad)?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("caught", lua.create_function(move |lua, error| caught(lua, &kept, error, Shape::Text))?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("caught_table", lua.create_function(move |lua, error| caught(lua, &kept, error, Shape::Table))?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("answered", lua.create_function(move |lua, error| caught(lua, &kept, error, Shape::Reply))?)?;
    let kept = Rc::clone(shared);
    helper.raw_set("ask", lua.create_function(move |_, ()| kept.ask())?)?;
    helper.raw_set("int", lua.create_function(int)?)?;
    let kept = Rc::clone(shared);
    helper.raw_set(
        "noted",
        lua.create_function(move |lua, error: Value| {
            let noted = Failure { place: place(lua), ..failure(lua, &error) };
            kept.failure.replace(Some(noted));
            Ok(())
        })?,
    )?;
    let chunk = lua.load(include_str!("sandbox.lua")).set_name(OWN).set_mode(ChunkMode::Text);
    chunk.call((plain, helper, &lock.locked, &lock.behind, redis))
}

// --- errors --------------------------------------------------------------------------------------------------------

/// An error of mlua's, as far as scripts are concerned.
pub(super) enum Problem {
    /// A reply: the text is whole, with its code.
    Reply(String),
    /// A message, as Lua's own functions raise.
    Text(String),
    /// The watchdog's word.
    Ended,
}

/// Finds what an error of mlua's is about.
pub(super) fn problem(error: &mlua::Error) -> Problem {
    match error {
        mlua::Error::CallbackError { cause, .. } | mlua::Error::WithContext { cause, .. } => problem(cause),
        mlua::Error::ExternalError(error) => match error.downcast_ref::<Fault>() {
            Some(Fault::Reply(text)) => Problem::Reply(text.clone()),
            Some(Fault::Ended) => Problem::Ended,
            None => Problem::Text(error.to_string()),
        },
        mlua::Error::RuntimeError(text) => Problem::Text(text.clone()),
        mlua::Error::SyntaxError { message, .. } => Problem::Text(message.clone()),
        mlua::Error::MemoryError(_) => Problem::Text("not enough memory".to_owned()),
        other => Problem::Text(other.to_string()),
    }
}

/// Whoever called the function at work, as far as messages go.
#[derive(Default)]
struct Caller {
    /// `user_script:1: `, if it is a script.
    place: String,
    /// Whether it called a method, whose first argument is not counted.
    method: bool,
}

impl Caller {
    fn find(lua: &Lua) -> Self {
        let mut method = false;
        for level in 0..LEVELS_MAX {
            let seen = lua.inspect_stack(level, |debug| {
                let ours = level == 0 || debug.source().source.as_deref() == Some(OWN);
                let place = debug.source().short_src.map(Cow::into_owned).zip(debug.current_line());
                (ours, debug.names().name_what == Some("method"), place)
            });
            match seen {
                Some((true, called, _)) => method = called,
                Some((false, _, Some((name, line)))) => return Self { place: format!("{name}:{line}: "), method },
                Some((false, _, None)) | None => break,
            }
        }
        Self::default()
    }
}

/// An error with the place of the script's code that called the function at work, as `luaL_error` makes it.
pub(super) fn raise(lua: &Lua, text: &str) -> mlua::Error {
    mlua::Error::runtime(format!("{}{text}", Caller::find(lua).place))
}

/// The innermost place in a script, asked by the handler of its error.
fn place(lua: &Lua) -> Option<(String, usize)> {
    for level in 1..LEVELS_MAX {
        let found = lua.inspect_stack(level, |debug| {
            let source = debug.source().source.map(Cow::into_owned).filter(|source| source != OWN);
            source.zip(debug.current_line())
        })?;
        if found.is_some() {
            return found;
        }
    }
    None
}

/// What the client gets to read of a Lua error value.
pub(super) fn failure(lua: &Lua, error: &Value) -> Failure {
    let text = match error {
        Value::Error(error) => match problem(error) {
            Problem::Reply(text) => text,
            Problem::Text(text) => format!("ERR {text}"),
            Problem::Ended => Fault::Ended.to_string(),
        },
        Value::Table(table) => match table.raw_get::<Value>("err") {
            Ok(Value::String(text)) => text.to_string_lossy(),
            _ => "ERR unknown error".to_owned(),
        },
        other => match lua.coerce_string(other.clone()) {
            Ok(Some(text)) => format!("ERR {}", text.to_string_lossy()),
            _ => match other {
                Value::Nil => "ERR nil".to_owned(),
                Value::Boolean(yes) => format!("ERR {yes}"),
                other => format!("ERR {}", other.type_name()),
            },
        },
    };
    Failure { text, place: None }
}

/// How a script gets to see an error.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Shape {
    /// A message, as from `pcall`: of an error reply its text.
    Text,
    /// The value that was raised.
    Table,
    /// What `redis.pcall` returns.
    Reply,
}

/// Shows a caught error to the script, unless the watchdog has spoken: then it goes on up.
fn caught(lua: &Lua, shared: &Shared, error: Value, shape: Shape) -> mlua::Result<Value> {
    if shared.ended.get() {
        return Err(Fault::Ended.into());
    }
    let reply = |text: &str| {
        let table = lua.create_table_with_capacity(0, 2)?;
        table.raw_set("err", text)?;
        table.raw_set("ignore_error_stats_update", true)?;
        Ok(Value::Table(table))
    };
    match &error {
        Value::Error(inner) => match problem(inner) {
            Problem::Ended => Err(Fault::Ended.into()),
            Problem::Reply(text) if shape != Shape::Text => reply(&text),
            Problem::Text(text) if shape == Shape::Reply => reply(&format!("ERR {text}")),
            Problem::Reply(text) | Problem::Text(text) => lua.create_string(text).map(Value::String),
        },
        Value::Table(table) if shape == Shape::Text => match table.raw_get::<Value>("err")? {
            text @ Value::String(_) => Ok(text),
            _ => Ok(error),
        },
        Value::String(text) if shape == Shape::Reply => reply(&format!("ERR {}", text.to_string_lossy())),
        _ => Ok(error),
    }
}

// --- arguments -----------------------------------------------------------------------------------------------------

/// A string, or a number as Lua would write it.
pub(super) fn text_of(value: &Value) -> Option<Vec<u8>> {
    match value {
        Value::String(text) => Some(text.as_bytes().to_vec()),
        Value::Integer(number) => Some(general(*number as f64, 14).into_bytes()),
        Value::Number(number) => Some(general(*number, 14).into_bytes()),
        _ => None,
    }
}

/// A number, or a string that reads as one.
pub(super) fn number_of(lua: &Lua, value: &Value) -> Option<f64> {
    match value {
        Value::Integer(number) => Some(*number as f64),
        Value::Number(number) => Some(*number),
        Value::String(_) => lua.coerce_number(value.clone()).ok().flatten(),
        _ => None,
    }
}

/// An argument as C's `int` has it, for `sandbox.lua`.
fn int(lua: &Lua, (value, position, function): (Value, usize, String)) -> mlua::Result<i32> {
    let number = number_of(lua, &value);
    let number = number.ok_or_else(|| wrong_type(lua, position, &function, "number", Some(&value)))?;
    // What does not fit wraps around, as there.
    Ok(number as i64 as i32)
}

/// The error for a wrong argument, in the words of Lua's own library.
pub(super) fn bad_argument(lua: &Lua, position: usize, function: &str, what: &str) -> mlua::Error {
    let Caller { place, method } = Caller::find(lua);
    mlua::Error::runtime(match position - usize::from(method && position > 0) {
        0 if method => format!("{place}calling '{function}' on bad self ({what})"),
        position => format!("{place}bad argument #{position} to '{function}' ({what})"),
    })
}

/// The error for an argument of a wrong type.
pub(super) fn wrong_type(lua: &Lua, position: usize, function: &str, wanted: &str, got: Option<&Value>) -> mlua::Error {
    let got = got.map_or("no value", kind);
    bad_argument(lua, position, function, &format!("{wanted} expected, got {got}"))
}

/// The type of a value, in Lua's own word.
pub(super) const fn kind(value: &Value) -> &'static str {
    match value {
        Value::Nil => "nil",
        Value::Boolean(_) => "boolean",
        Value::Integer(_) | Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Table(_) => "table",
        Value::Function(_) => "function",
        Value::Thread(_) => "thread",
        _ => "userdata",
    }
}

// --- functions we replace ------------------------------------------------------------------------------------------

/// `loadstring`, for text only.
fn loadstring(lua: &Lua, args: &MultiValue) -> mlua::Result<(Option<Function>, Option<LuaString>)> {
    let mut args = args.iter();
    let source = args.next();
    let Some(text) = source.and_then(text_of) else {
        return Err(wrong_type(lua, 1, "loadstring", "string", source));
    };
    let name = args.next().and_then(text_of).unwrap_or_else(|| text.clone());
    let name = name.split(|&byte| byte == 0).next().unwrap_or_default();
    match chunk::into_function(lua, &text, &String::from_utf8_lossy(name)) {
        Ok(function) => Ok((Some(function), None)),
        Err(mlua::Error::SyntaxError { message, .. }) => Ok((None, Some(lua.create_string(message)?))),
        Err(error) => Err(error),
    }
}

/// `collectgarbage` and `gcinfo` tell how much there is. They change nothing: the interpreter outlives the script.
fn collector(lua: &Lua, base: &Table) -> mlua::Result<()> {
    base.raw_set("gcinfo", lua.create_function(|lua, ()| Ok(lua.used_memory() / 1_024))?)?;
    let collect = |lua: &Lua, args: MultiValue| {
        let option = args.front().and_then(text_of);
        match option.as_deref() {
            Some(b"count") => Ok(lua.used_memory() as f64 / 1_024.0),
            None | Some(b"collect" | b"stop" | b"restart" | b"step" | b"setpause" | b"setstepmul") => Ok(0.0),
            Some(other) => {
                let what = format!("invalid option '{}'", String::from_utf8_lossy(other));
                Err(bad_argument(lua, 1, "collectgarbage", &what))
            }
        }
    };
    base.raw_set("collectgarbage", lua.create_function(collect)?)
}

/// `os`, of which scripts get `clock` alone. Time stands still in a script, so each look at the clock counts as a
/// microsecond: a loop that waits for time to pass comes to an end.
fn clock(lua: &Lua, shared: &Rc<Shared>) -> mlua::Result<Table> {
    let os = lua.create_table()?;
    let kept = Rc::clone(shared);
    os.raw_set(
        "clock",
        lua.create_function(move |_, ()| {
            kept.clock_us.set(kept.clock_us.get() + 1);
            Ok(kept.clock_us.get() as f64 / 1e6)
        })?,
    )?;
    Ok(os)
}

/// The state of `math.random` for a seed: `srand48`'s.
const fn seed(seed: u32) -> u64 {
    (seed as u64) << 16 | 0x330e
}

/// `math.random` and `math.randomseed`, with Redis's generator, which is `lrand48`: a script that sets the seed draws the
/// same numbers as there. Until it does, its numbers follow from the transaction's seed.
fn chance(lua: &Lua, shared: &Rc<Shared>, math: &Table) -> mlua::Result<()> {
    const RANGE: u64 = i32::MAX as u64;
    let draw = |shared: &Shared| {
        let state = (shared.draws.get().wrapping_mul(0x5_deec_e66d).wrapping_add(0xb)) & 0xffff_ffff_ffff;
        shared.draws.set(state);
        ((state >> 17) % RANGE) as f64 / RANGE as f64
    };
    let kept = Rc::clone(shared);
    let random = move |lua: &Lua, args: MultiValue| {
        let bound = |position: usize| {
            let value = args.get(position);
            let number = value.and_then(|value| number_of(lua, value));
            number.map(f64::trunc).ok_or_else(|| wrong_type(lua, position + 1, "random", "number", value))
        };
        let r = draw(&kept);
        match args.len() {
            0 => Ok(r),
            1 => {
                let high = bound(0)?;
                if high < 1.0 {
                    return Err(bad_argument(lua, 1, "random", "interval is empty"));
                }
                Ok((r * high).floor() + 1.0)
            }
            2 => {
                let (low, high) = (bound(0)?, bound(1)?);
                if low > high {
                    return Err(bad_argument(lua, 2, "random", "interval is empty"));
                }
                Ok((r * (high - low + 1.0)).floor() + low)
            }
            _ => Err(raise(lua, "wrong number of arguments")),
        }
    };
    math.raw_set("random", lua.create_function(random)?)?;
    let kept = Rc::clone(shared);
    let randomseed = move |lua: &Lua, args: MultiValue| {
        let value = args.front();
        let number = value.and_then(|value| number_of(lua, value));
        let number = number.ok_or_else(|| wrong_type(lua, 1, "randomseed", "number", value))?;
        kept.draws.set(seed(number as i64 as u32));
        Ok(())
    };
    math.raw_set("randomseed", lua.create_function(randomseed)?)
}
