//! A script's text before it runs: its first line, where it may say what it needs, and its compilation.
//!
//! `#!lua flags=a,b` is Redis 7's way to say that a script only reads, or may run where others may not. Of the flags only
//! those that narrow what a script does, and `allow-oom`, mean anything here: the others ask for leave that every script has.

use dormouse_proto::CommandError;
use mlua::chunk::ChunkMode;
use mlua::{Function, Lua};

/// What a script's first line says of it.
#[expect(clippy::struct_excessive_bools, reason = "independent facts about a script")]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Flags {
    /// It has such a line.
    pub(super) given: bool,
    /// It may run while memory is full.
    pub(super) allow_oom: bool,
    /// It writes nothing.
    pub(super) no_writes: bool,
    /// It touches declared keys only.
    pub(super) key_locking: bool,
}

/// The name Lua's errors give a script.
pub(super) const NAME: &str = "@user_script";
/// The name they give a library.
const LIBRARY_NAME: &str = "@user_function";

/// Splits a script into its flags and the text Lua sees. The line break of the first line stays, so that errors count
/// lines as the author does.
fn split(source: &[u8]) -> Result<(Flags, &[u8]), CommandError> {
    let mut flags = Flags::default();
    if !source.starts_with(b"#!") {
        return Ok((flags, source));
    }
    flags.given = true;
    let end = source.iter().position(|&byte| byte == b'\n');
    let end = end.ok_or(CommandError::text("ERR Invalid script shebang"))?;
    let line = String::from_utf8_lossy(&source[..end]);
    let mut words = line.split_ascii_whitespace();
    let engine = words.next().unwrap_or_default();
    if engine != "#!lua" {
        return Err(CommandError::from(format!("ERR Unexpected engine in script shebang: {engine}")));
    }
    for word in words {
        let Some(names) = word.strip_prefix("flags=") else {
            return Err(CommandError::from(format!("ERR Unknown lua shebang option: {word}")));
        };
        // No name at all is fine, an empty one among others is not.
        for name in names.split(',').filter(|_| !names.is_empty()) {
            match name {
                "no-writes" => flags.no_writes = true,
                "allow-key-locking" => flags.key_locking = true,
                "allow-oom" => flags.allow_oom = true,
                "allow-stale" | "no-cluster" | "allow-cross-slot-keys" => {}
                _ => return Err(CommandError::from(format!("ERR Unexpected flag in script shebang: {name}"))),
            }
        }
    }
    Ok((flags, &source[end..]))
}

/// Compiles a script.
pub(super) fn compile(lua: &Lua, source: &[u8]) -> Result<(Flags, Function), CommandError> {
    let (flags, body) = split(source)?;
    let function = compiled(lua, body, NAME)
        .map_err(|reason| CommandError::from(format!("ERR Error compiling script (new function): {reason}")))?;
    Ok((flags, function))
}

/// Compiles a library, whose first line has been read.
pub(super) fn compile_library(lua: &Lua, source: &[u8]) -> Result<(Flags, Function), CommandError> {
    let end = source.iter().position(|&byte| byte == b'\n').unwrap_or(source.len());
    let function = compiled(lua, &source[end..], LIBRARY_NAME)
        .map_err(|reason| CommandError::from(format!("ERR Error compiling function: {reason}")))?;
    Ok((Flags::default(), function))
}

fn compiled(lua: &Lua, body: &[u8], name: &str) -> Result<Function, String> {
    into_function(lua, body, name).map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => other.to_string(),
    })
}

/// Compiles a text, which must not be compiled code: Lua trusts that blindly.
///
/// The collector stands still meanwhile. Lua 5.1's parser does not hold on to everything it works with, the name of the
/// text for one (CVE-2025-49844): what nobody collects cannot be used after it is gone.
pub(super) fn into_function(lua: &Lua, body: &[u8], name: &str) -> mlua::Result<Function> {
    lua.gc_stop();
    let loaded = lua.load(body).set_name(name).set_mode(ChunkMode::Text).into_function();
    lua.gc_restart();
    loaded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn first_lines_are_read_as_redis_reads_them() {
        let none = Flags::default();
        let given = Flags { given: true, ..none };
        let read = |text: &'static str| split(text.as_bytes()).map_err(|error| error.to_string());
        for (text, flags, body) in [
            ("return 1", none, "return 1"),
            ("#!lua\nreturn 1", given, "\nreturn 1"),
            ("#!lua flags=\nreturn 1", given, "\nreturn 1"),
            ("#!lua   flags=no-writes  \nx", Flags { no_writes: true, ..given }, "\nx"),
            ("#!lua flags=no-writes,allow-key-locking\n", Flags { no_writes: true, key_locking: true, ..given }, "\n"),
            (
                "#!lua flags=allow-oom,allow-stale,no-cluster,allow-cross-slot-keys\n",
                Flags { allow_oom: true, ..given },
                "\n",
            ),
        ] {
            assert_eq!(read(text), Ok((flags, body.as_bytes())), "{text}");
        }
        for (text, error) in [
            ("#!lua", "ERR Invalid script shebang"),
            ("#!js\nx", "ERR Unexpected engine in script shebang: #!js"),
            ("#!LUA\nx", "ERR Unexpected engine in script shebang: #!LUA"),
            ("#!\nx", "ERR Unexpected engine in script shebang: #!"),
            ("#!lua name=x\nx", "ERR Unknown lua shebang option: name=x"),
            ("#!lua flags=,\nx", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=no-writes,\nx", "ERR Unexpected flag in script shebang: "),
            ("#!lua flags=nope\nx", "ERR Unexpected flag in script shebang: nope"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }

    #[test]
    #[expect(clippy::format_collect, reason = "a text is made once")]
    fn nothing_is_collected_while_a_text_is_compiled() {
        let lua = Lua::new();
        // As eager as can be: a whole round at each chance.
        lua.load("collectgarbage('setpause', 0) collectgarbage('setstepmul', 1000000)").exec().unwrap();
        let body: String =
            (0..300).map(|at| format!("do local function f() return 'text {at}' end f() end\n")).collect();
        for round in 0..5 {
            lua.load("local t = {} for i = 1, 1000 do t[i] = {i .. 'x'} end").exec().unwrap();
            lua.gc_stop();
            let before = lua.used_memory();
            lua.create_string(vec![b'g'; 1 << 20]).unwrap();
            lua.gc_restart();
            let name = format!("@name {round}");
            // Functions inside functions, and each text a new string.
            let function = into_function(&lua, body.as_bytes(), &name).unwrap();
            assert!(lua.used_memory() > before + (1 << 20), "garbage is still there");
            assert_eq!(function.info().source.as_deref(), Some(&name[..]));
            function.call::<()>(()).unwrap();
            lua.gc_collect().unwrap();
            assert!(lua.used_memory() < before + (1 << 20), "and goes later");
            assert!(into_function(&lua, b"return return", &name).is_err());
        }
    }
}
