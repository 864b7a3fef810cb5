//! A library's text: its first line, what it registers when it is loaded, and the errors of both.
//!
//! `#!lua name=mylib` says whose text it is; the rest is Lua that runs once to register functions. While it does, the only
//! global is a small `redis`: no commands, no other library, no state of anybody's. Each call of a function runs the text
//! again in that same way, and keeps only the function that is called. So whatever a library keeps in variables of its own
//! lasts as long as one call: a reply never depends on who called before, on which thread, or in which database.

use dormouse_proto::CommandError;
use mlua::{Function, Lua, MultiValue, Table, Value};

use super::sandbox::text_of;
use super::vm::{Fault, Registering, Shared};
use crate::libraries::{self, FunctionFlags, Library};
use crate::txn::{Stop, Txn};

const BAD_NAME: &str =
    "ERR Library names can only contain letters, numbers, or underscores(_) and must be at least one character long";
const INVALID: CommandError = CommandError::text("ERR Invalid library metadata");

/// Reads a library's first line, runs the rest, and returns what came of it.
pub(crate) fn load(txn: &mut Txn<'_>, source: &[u8]) -> Result<Library, Stop> {
    let name = name(source)?;
    let functions = super::vm::load(txn, source, &super::sha(source))?;
    if functions.is_empty() {
        return Err(CommandError::text("ERR No functions registered").into());
    }
    Ok(Library::new(name, source.to_vec(), functions))
}

/// The name that a library's first line gives it.
pub(crate) fn name(source: &[u8]) -> Result<String, CommandError> {
    if !source.starts_with(b"#!") {
        return Err(CommandError::text("ERR Missing library metadata"));
    }
    let end = source.iter().position(|&byte| byte == b'\n').ok_or(INVALID)?;
    let mut words = words(&source[..end]).ok_or(INVALID)?.into_iter();
    let engine = words.next().unwrap_or_default();
    let mut name = None;
    for word in words {
        let given =
            word.split_at_checked(5).filter(|(key, _)| key.eq_ignore_ascii_case(b"name=")).map(|(_, value)| value);
        match given {
            Some(_) if name.is_some() => {
                return Err(CommandError::text("ERR Invalid metadata value, name argument was given multiple times"));
            }
            Some(given) => name = Some(given.to_vec()),
            None => {
                let word = String::from_utf8_lossy(&word).into_owned();
                return Err(CommandError::from(format!("ERR Invalid metadata value given: {word}")));
            }
        }
    }
    let name = name.ok_or(CommandError::text("ERR Library name was not given"))?;
    let name = word_of(&name).ok_or(CommandError::text(BAD_NAME))?;
    if !engine.eq_ignore_ascii_case(b"#!lua") {
        let engine = String::from_utf8_lossy(engine.get(2..).unwrap_or_default()).into_owned();
        return Err(CommandError::from(format!("ERR Engine '{engine}' not found")));
    }
    Ok(name)
}

/// A name, if it may be one.
fn word_of(name: &[u8]) -> Option<String> {
    let fine = !name.is_empty() && name.iter().all(|&byte| byte.is_ascii_alphanumeric() || byte == b'_');
    fine.then(|| String::from_utf8_lossy(name).into_owned())
}

/// Splits a line as Redis does: at white space, which quotes protect. `None` if a quote is not closed, or something follows
/// where it is.
fn words(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut bytes = line.iter().copied().peekable();
    loop {
        while bytes.next_if(u8::is_ascii_whitespace).is_some() {}
        if bytes.peek().is_none() {
            return Some(words);
        }
        let mut word = Vec::new();
        while let Some(byte) = bytes.next_if(|byte| !byte.is_ascii_whitespace()) {
            if byte != b'"' && byte != b'\'' {
                word.push(byte);
                continue;
            }
            loop {
                match bytes.next()? {
                    closing if closing == byte => break,
                    b'\\' => word.push(bytes.next()?),
                    other => word.push(other),
                }
            }
            if bytes.peek().is_some_and(|next| !next.is_ascii_whitespace()) {
                return None;
            }
        }
        words.push(word);
    }
}

fn fail(text: &str) -> mlua::Error {
    Fault::Reply(text.to_owned()).into()
}

/// What `redis.register_function` was given.
struct Registration {
    name: Vec<u8>,
    description: Option<Vec<u8>>,
    flags: FunctionFlags,
    callback: Function,
}

/// `redis.register_function`.
pub(super) fn register(shared: &Shared, args: &MultiValue) -> mlua::Result<()> {
    let mut values = args.iter();
    let registration = match (values.next(), values.next(), values.next()) {
        (Some(Value::Table(named)), None, None) => from_table(named)?,
        (Some(_), None, None) => {
            return Err(fail(
                "ERR calling redis.register_function with a single argument is only applicable to Lua table \
                 (representing named arguments).",
            ));
        }
        (Some(name), Some(callback), None) => from_pair(name, callback)?,
        _ => return Err(fail("ERR wrong number of arguments to redis.register_function")),
    };
    let name = word_of(&registration.name).ok_or_else(|| fail(BAD_NAME))?;
    let Registration { description, flags, callback, .. } = registration;
    match &mut *shared.registering.borrow_mut() {
        Registering::Nothing => {
            return Err(fail("ERR redis.register_function can only be called on FUNCTION LOAD command"));
        }
        Registering::All(functions) => {
            if functions.iter().any(|function| function.name.eq_ignore_ascii_case(&name)) {
                return Err(fail("ERR Function already exists in the library"));
            }
            functions.push(libraries::Function { name, description, flags });
        }
        Registering::One { wanted, found } => {
            if name.eq_ignore_ascii_case(wanted) {
                *found = Some(callback);
            }
        }
    }
    Ok(())
}

fn from_pair(name: &Value, callback: &Value) -> mlua::Result<Registration> {
    let name = text_of(name).ok_or_else(|| fail("ERR first argument to redis.register_function must be a string"))?;
    let Value::Function(callback) = callback else {
        return Err(fail("ERR second argument to redis.register_function must be a function"));
    };
    Ok(Registration { name, description: None, flags: FunctionFlags::default(), callback: callback.clone() })
}

fn from_table(named: &Table) -> mlua::Result<Registration> {
    let (mut name, mut description, mut flags, mut callback) = (None, None, FunctionFlags::default(), None);
    for pair in named.pairs::<Value, Value>() {
        let (key, value) = pair?;
        let key = text_of(&key)
            .ok_or_else(|| fail("ERR named argument key given to redis.register_function is not a string"))?;
        let text = |what: &str| {
            let error = || fail(&format!("ERR {what} argument given to redis.register_function must be a string"));
            text_of(&value).ok_or_else(error)
        };
        match () {
            () if key.eq_ignore_ascii_case(b"function_name") => name = Some(text("function_name")?),
            () if key.eq_ignore_ascii_case(b"description") => description = Some(text("description")?),
            () if key.eq_ignore_ascii_case(b"callback") => match value {
                Value::Function(given) => callback = Some(given),
                _ => return Err(fail("ERR callback argument given to redis.register_function must be a function")),
            },
            () if key.eq_ignore_ascii_case(b"flags") => flags = read_flags(&value)?,
            () => return Err(fail("ERR unknown argument given to redis.register_function")),
        }
    }
    let name = name.ok_or_else(|| fail("ERR redis.register_function must get a function name argument"))?;
    let callback = callback.ok_or_else(|| fail("ERR redis.register_function must get a callback argument"))?;
    Ok(Registration { name, description, flags, callback })
}

fn read_flags(value: &Value) -> mlua::Result<FunctionFlags> {
    let Value::Table(table) = value else {
        return Err(fail("ERR flags argument to redis.register_function must be a table representing function flags"));
    };
    let mut flags = FunctionFlags::default();
    for at in 1.. {
        match table.raw_get::<Value>(at)? {
            Value::Nil => break,
            Value::String(name) if flags.add(&name.as_bytes()) => {}
            _ => return Err(fail("ERR unknown flag given")),
        }
    }
    Ok(flags)
}

/// Fills the table `redis` that a library finds while it is loaded.
pub(super) fn build(lua: &Lua, shared: &std::rc::Rc<Shared>) -> mlua::Result<Table> {
    let redis = lua.create_table()?;
    super::api::put_common(lua, &redis)?;
    let kept = std::rc::Rc::clone(shared);
    redis.raw_set("register_function", lua.create_function(move |_, args| register(&kept, &args))?)?;
    Ok(redis)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_as_redis_reads_them() {
        let read = |text: &str| name(text.as_bytes()).map_err(|error| error.to_string());
        for (text, expected) in [
            ("#!lua name=a\n", "a"),
            ("#!LUA Name=A_9\nx", "A_9"),
            ("#!lua  name=a  \r\nx", "a"),
            ("#!lua name=\"a\"\n", "a"),
            ("#!lua 'name=a'\n", "a"),
            ("#!lua name=\"\\a\"\n", "a"),
        ] {
            assert_eq!(read(text), Ok(expected.to_owned()), "{text}");
        }
        for (text, error) in [
            ("", "ERR Missing library metadata"),
            ("\n#!lua name=a\n", "ERR Missing library metadata"),
            ("#!lua name=a", "ERR Invalid library metadata"),
            ("#!lua name='a\n", "ERR Invalid library metadata"),
            ("#!lua name='a'b\n", "ERR Invalid library metadata"),
            ("#!lua name='a\\\n", "ERR Invalid library metadata"),
            ("#!\n", "ERR Library name was not given"),
            ("#!lua name\n", "ERR Invalid metadata value given: name"),
            ("#! lua name=a\n", "ERR Invalid metadata value given: lua"),
            ("#!lua name=a name=b\n", "ERR Invalid metadata value, name argument was given multiple times"),
            ("#!js name=a\n", "ERR Engine 'js' not found"),
            ("#!js name=a-b\n", BAD_NAME),
            ("#!lua name=\n", BAD_NAME),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
