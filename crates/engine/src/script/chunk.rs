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
        for name in names.split(',').filter(|name| !name.is_empty()) {
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
    let function = into_function(lua, body, NAME)
        .map_err(|reason| CommandError::from(format!("ERR Error compiling script (new function): {reason}")))?;
    Ok((flags, function))
}

/// Compiles a library, whose first line has been read.
pub(super) fn compile_library(lua: &Lua, source: &[u8]) -> Result<(Flags, Function), CommandError> {
    let end = source.iter().position(|&byte| byte == b'\n').unwrap_or(source.len());
    let function = into_function(lua, &source[end..], LIBRARY_NAME)
        .map_err(|reason| CommandError::from(format!("ERR Error compiling function: {reason}")))?;
    Ok((Flags::default(), function))
}

fn into_function(lua: &Lua, body: &[u8], name: &str) -> Result<Function, String> {
    // Compiled code must never come from outside: Lua trusts it blindly.
    let loaded = lua.load(body).set_name(name).set_mode(ChunkMode::Text).into_function();
    loaded.map_err(|error| match error {
        mlua::Error::SyntaxError { message, .. } => message,
        mlua::Error::MemoryError(_) => "not enough memory".to_owned(),
        other => other.to_string(),
    })
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
            ("#!lua flags=nope\nx", "ERR Unexpected flag in script shebang: nope"),
        ] {
            assert_eq!(read(text), Err(error.to_owned()), "{text}");
        }
    }
}
