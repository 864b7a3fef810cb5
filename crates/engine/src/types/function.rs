//! Functions: scripts that belong to the data.
//!
//! A library is loaded once, kept with everything else the database keeps (see `libraries.rs`), and its functions are called
//! by name. What loading and calling mean is in `script/library.rs`; here is what surrounds it: options, collisions of names,
//! limits, lists. A command that fails leaves the libraries as they were, all of them.

use std::sync::Arc;

use dormouse_proto::{Args, Blob, CommandError, Reply};

use crate::args::is;
use crate::command::{Command, Group, Handler, Session, command, container, session};
use crate::glob;
use crate::hub::Running;
use crate::libraries::{Change, Libraries, Library};
use crate::rdb;
use crate::script::{self, Call};
use crate::txn::{Outcome, Stop, Txn};
use crate::types::generic::LAZY_PIECES;
use crate::types::standalone::wrong_subcommand;

#[rustfmt::skip]
pub(crate) const ROWS: &[Command] = &[
    function("FCALL",    -3, fcall)   .writes().count_at(2).script().no_script().doc("7.0.0", "Calls a function."),
    function("FCALL_RO", -3, fcall_ro).reads() .count_at(2).script().no_script().doc("7.0.0", "Calls a function that may not write."),
    container("FUNCTION", FUNCTION).group(Group::Scripting).doc("7.0.0", "Keeps libraries of functions."),
];

#[rustfmt::skip]
const FUNCTION: &[Command] = &[
    function("LOAD",    -3, load)   .writes().grows().script().no_script().doc("7.0.0", "Keeps a library, and returns its name."),
    function("LIST",    -2, list)   .no_script()           .doc("7.0.0", "The libraries and their functions, if asked for with their texts."),
    function("DELETE",   3, delete) .writes().sweeps().no_script().doc("7.0.0", "Forgets a library."),
    function("FLUSH",   -2, flush)  .writes().sweeps().no_script().doc("7.0.0", "Forgets every library."),
    function("STATS",    2, stats)  .no_script().while_busy().doc("7.0.0", "The function at work, and how many functions and libraries there are."),
    session("KILL",      2, Session::FunctionKill).group(Group::Scripting).no_script().while_busy().doc("7.0.0", "Ends the function that holds the database."),
    function("DUMP",     2, dump)   .no_script()           .doc("7.0.0", "All libraries as a payload that FUNCTION RESTORE takes, here and in Redis."),
    function("RESTORE", -3, restore).writes().grows().script().no_script().doc("7.0.0", "Keeps the libraries of a payload."),
    function("HELP",     2, help)   .for_all()             .doc("7.0.0", "What the sub-commands are."),
];

const HELP: &[&str] = &[
    "FUNCTION <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "LOAD [REPLACE] <text>",
    "    Keep a library. Its first line names it: #!lua name=<library>.",
    "LIST [LIBRARYNAME <pattern>] [WITHCODE]",
    "    Show the libraries and their functions.",
    "DELETE <library>",
    "    Forget a library.",
    "FLUSH [ASYNC|SYNC]",
    "    Forget every library.",
    "STATS",
    "    Show the function at work, and how many functions and libraries there are.",
    "KILL",
    "    End the function that holds the database.",
    "DUMP",
    "    Return all libraries as a payload.",
    "RESTORE <payload> [FLUSH|APPEND|REPLACE]",
    "    Keep the libraries of a payload, alone or beside those that are there. APPEND fails where a name is taken.",
    "HELP",
    "    Print this help.",
];

/// Why a function cannot be called.
const NOT_FOUND: CommandError = CommandError::text("ERR Function not found");

const fn function(name: &'static str, arity: i8, handler: Handler) -> Command {
    command(name, arity, handler).group(Group::Scripting)
}

// --- calling -------------------------------------------------------------------------------------------------------

fn fcall(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    call(txn, args, false)
}

fn fcall_ro(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    call(txn, args, true)
}

fn call(txn: &mut Txn<'_>, args: Args<'_>, read_only: bool) -> Outcome {
    let name = str::from_utf8(args[1]).map_err(|_| NOT_FOUND)?;
    let libraries = txn.libraries()?;
    let library = libraries.with_function(name).ok_or(NOT_FOUND)?;
    let function = library.function(name).ok_or(NOT_FOUND)?;
    let (keys, rest) = split(args)?;
    let call = Call { source: &library.source, sha: &library.sha, keys, args: rest, read_only, command: args };
    script::run_function(txn, function, call)
}

/// Keys and other arguments, after the function and the count.
fn split(args: Args<'_>) -> Result<(Args<'_>, Args<'_>), CommandError> {
    let count = dormouse_proto::parse_integer(args[2]).ok_or(CommandError::text("ERR Bad number of keys provided"))?;
    let rest = &args[3..];
    if count > rest.len() as i64 {
        return Err(CommandError::text("ERR Number of keys can't be greater than number of args"));
    }
    let count = usize::try_from(count).map_err(|_| CommandError::text("ERR Number of keys can't be negative"))?;
    Ok(rest.split_at(count))
}

// --- keeping -------------------------------------------------------------------------------------------------------

fn load(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (options, source) = args[2..].split_at(args.len() - 3);
    let mut replace = false;
    for option in options {
        if !is(option, "REPLACE") {
            return Err(unknown("ERR Unknown option given", option).into());
        }
        replace = true;
    }
    check_text(txn, source[0])?;
    let name = script::library_name(source[0])?;
    let mut libraries = Libraries::clone(&*txn.libraries()?);
    if !replace && libraries.get(&name).is_some() {
        return Err(CommandError::from(format!("ERR Library '{name}' already exists")).into());
    }
    let library = Arc::new(script::load(txn, source[0])?);
    if replace {
        libraries.apply(Change::Remove(library.name.clone()));
    }
    add(txn, &mut libraries, &library)?;
    txn.put_library(library)?;
    Ok(Reply::bulk(name))
}

/// An error that repeats a word of the client's.
fn unknown(what: &str, word: &[u8]) -> CommandError {
    CommandError::from(format!("{what}: {}", String::from_utf8_lossy(&word[..word.len().min(128)])))
}

/// A text that no limit has room for is not even run.
fn check_text(txn: &mut Txn<'_>, source: &[u8]) -> Result<(), CommandError> {
    let limit = txn.hub().limits.libraries_bytes_max;
    if source.len() > limit { Err(too_large(limit)) } else { Ok(()) }
}

fn too_large(limit: usize) -> CommandError {
    CommandError::from(format!("ERR max size of function libraries exceeded. Limit: {limit} bytes"))
}

/// Adds a library to a set of libraries that is to become the database's: no name may be there twice.
fn add(txn: &mut Txn<'_>, libraries: &mut Libraries, library: &Arc<Library>) -> Result<(), CommandError> {
    if libraries.get(&library.name).is_some() {
        return Err(exists(library));
    }
    if let Some(function) = library.functions.iter().find(|one| libraries.with_function(&one.name).is_some()) {
        return Err(CommandError::from(format!("ERR Function {} already exists", function.name)));
    }
    libraries.apply(Change::Put(Arc::clone(library)));
    let limits = txn.hub().limits;
    if libraries.len() > limits.libraries_max {
        return Err(CommandError::from(format!(
            "ERR max number of function libraries exceeded. Limit: {}",
            limits.libraries_max
        )));
    }
    if libraries.bytes() > limits.libraries_bytes_max { Err(too_large(limits.libraries_bytes_max)) } else { Ok(()) }
}

fn delete(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let there = match str::from_utf8(args[2]) {
        Ok(name) => txn.remove_library(name)?,
        Err(_) => false,
    };
    if there { Ok(Reply::OK) } else { Err(CommandError::text("ERR Library not found").into()) }
}

/// `ASYNC` and `SYNC` are the same but for what `INFO` counts: libraries are few.
fn flush(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    match args[2..] {
        [] => {}
        [mode] if is(mode, "SYNC") || is(mode, "ASYNC") => {}
        [_] => return Err(CommandError::text("ERR FUNCTION FLUSH only supports SYNC|ASYNC option").into()),
        _ => return Err(wrong_subcommand(args).into()),
    }
    let functions = txn.libraries()?.functions();
    if functions > LAZY_PIECES && args.get(2).is_some_and(|mode| is(mode, "ASYNC")) {
        // They, and the interpreter they were in.
        txn.hub().facts.freed_lazily += functions as u64 + 1;
    }
    remove_all(txn)?;
    Ok(Reply::OK)
}

fn remove_all(txn: &mut Txn<'_>) -> Result<(), Stop> {
    for library in txn.libraries()?.iter() {
        txn.remove_library(&library.name)?;
    }
    Ok(())
}

// --- looking -------------------------------------------------------------------------------------------------------

fn list(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let (mut pattern, mut with_code) = (None, false);
    let mut options = args[2..].iter();
    while let Some(option) = options.next() {
        if !with_code && is(option, "WITHCODE") {
            with_code = true;
        } else if pattern.is_none() && is(option, "LIBRARYNAME") {
            let given = options.next().ok_or(CommandError::text("ERR library name argument was not given"))?;
            pattern = Some(*given);
        } else {
            let option = String::from_utf8_lossy(&option[..option.len().min(128)]).into_owned();
            return Err(CommandError::from(format!("ERR Unknown argument {option}")).into());
        }
    }
    let libraries = txn.libraries()?;
    // Redis compares without regard to case here, and here alone.
    let pattern = pattern.map(<[u8]>::to_ascii_lowercase);
    let wanted = |library: &&Arc<Library>| {
        pattern.as_ref().is_none_or(|pattern| glob::matches(pattern, library.name.to_ascii_lowercase().as_bytes()))
    };
    Ok(Reply::Array(libraries.iter().filter(wanted).map(|library| show(library, with_code)).collect()))
}

fn show(library: &Library, with_code: bool) -> Reply {
    let functions = library.functions.iter().map(|function| {
        Reply::Map(vec![
            (Reply::bulk("name"), Reply::bulk(&function.name)),
            (Reply::bulk("description"), Reply::maybe(function.description.as_deref().map(Blob::from))),
            (Reply::bulk("flags"), Reply::Set(function.flags.names().map(Reply::status).collect())),
        ])
    });
    let mut fields = vec![
        (Reply::bulk("library_name"), Reply::bulk(&library.name)),
        (Reply::bulk("engine"), Reply::bulk("LUA")),
        (Reply::bulk("functions"), Reply::Array(functions.collect())),
    ];
    if with_code {
        fields.push((Reply::bulk("library_code"), Reply::bulk(&library.source)));
    }
    Reply::Map(fields)
}

fn stats(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let libraries = txn.libraries()?;
    let now_ms = txn.now_ms();
    let running = match &txn.hub().running {
        None => Reply::Null,
        Some(Running::Script) => return Err(CommandError::Busy.into()),
        Some(Running::Function { name, command, since_ms }) => Reply::Map(vec![
            (Reply::bulk("name"), Reply::bulk(name)),
            (Reply::bulk("command"), Reply::Array(command.iter().cloned().map(Reply::Bulk).collect())),
            (Reply::bulk("duration_ms"), Reply::Integer(now_ms.saturating_sub(*since_ms) as i64)),
        ]),
    };
    let counts = Reply::Map(vec![
        (Reply::bulk("libraries_count"), Reply::count(libraries.len())),
        (Reply::bulk("functions_count"), Reply::count(libraries.functions())),
    ]);
    Ok(Reply::Map(vec![
        (Reply::bulk("running_script"), running),
        (Reply::bulk("engines"), Reply::Map(vec![(Reply::bulk("LUA"), counts)])),
    ]))
}

#[expect(clippy::unnecessary_wraps, reason = "every handler has this type")]
fn help(_: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    Ok(Reply::Array(HELP.iter().map(|line| Reply::status(line)).collect()))
}

// --- moving --------------------------------------------------------------------------------------------------------

fn dump(txn: &mut Txn<'_>, _: Args<'_>) -> Outcome {
    let libraries = txn.libraries()?;
    Ok(Reply::bulk(rdb::dump_libraries(libraries.iter().map(|library| library.source.as_slice()))))
}

/// What becomes of the libraries that are there when others are restored.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Policy {
    Flush,
    Append,
    Replace,
}

impl Policy {
    fn parse(args: Args<'_>) -> Result<Self, CommandError> {
        match &args[3..] {
            [] => Ok(Self::Append),
            [word] if is(word, "APPEND") => Ok(Self::Append),
            [word] if is(word, "REPLACE") => Ok(Self::Replace),
            [word] if is(word, "FLUSH") => Ok(Self::Flush),
            [_] => Err(CommandError::text(
                "ERR Wrong restore policy given, value should be either FLUSH, APPEND or REPLACE.",
            )),
            _ => Err(wrong_subcommand(args)),
        }
    }
}

fn restore(txn: &mut Txn<'_>, args: Args<'_>) -> Outcome {
    let policy = Policy::parse(args)?;
    let limit = txn.hub().limits.libraries_bytes_max;
    let sources = rdb::restore_libraries(args[2], limit);
    let sources = sources.map_err(|error| CommandError::from(format!("ERR {error}")))?;
    let mut restored: Vec<Arc<Library>> = Vec::new();
    for source in sources {
        let library = script::load(txn, &source)?;
        if restored.iter().any(|other| other.name == library.name) {
            return Err(exists(&library).into());
        }
        restored.push(Arc::new(library));
    }
    let mut libraries =
        if policy == Policy::Flush { Libraries::default() } else { Libraries::clone(&*txn.libraries()?) };
    if policy == Policy::Replace {
        // First all of them go: a function may have moved from one library to another.
        for library in &restored {
            libraries.apply(Change::Remove(library.name.clone()));
        }
    }
    for library in &restored {
        add(txn, &mut libraries, library)?;
    }
    // Nothing can fail from here on but the store.
    if policy == Policy::Flush {
        remove_all(txn)?;
    }
    for library in &restored {
        txn.remove_library(&library.name)?;
    }
    for library in restored {
        txn.put_library(library)?;
    }
    Ok(Reply::OK)
}

fn exists(library: &Library) -> CommandError {
    CommandError::from(format!("ERR Library {} already exists", library.name))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::acl::Users;
    use crate::keyspace::{Keyspace, Nothing};
    use crate::moment::Moment;
    use crate::replay::replay;
    use crate::testing::Bench;
    use crate::txn::Parts;
    use crate::watchdog::Patient;

    const LIBRARY: &[u8] = b"#!lua name=lib
        local calls = 0
        local function get(key) return redis.call('GET', key) end
        redis.register_function('set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
        redis.register_function{function_name='get', callback=function(keys) return get(keys[1]) end, flags={'no-writes'}}
        redis.register_function('calls', function() calls = calls + 1 return calls end)
        redis.register_function{function_name='any', callback=function() return redis.call('GET', 'any') end, flags={'allow-key-locking'}}
        redis.register_function('many', function(keys, args) for i = 1, 1e9 do end end)
        redis.register_function('draw', function() return math.random(1000000) end)";

    fn load(bench: &mut Bench, text: &[u8]) -> Reply {
        bench.run_args(&[b"FUNCTION", b"LOAD", text])
    }

    fn names(bench: &mut Bench) -> Vec<String> {
        let Reply::Array(libraries) = bench.run("FUNCTION LIST") else { panic!("a list") };
        let name = |library: &Reply| match library {
            Reply::Map(fields) => format!("{:?}", fields[0].1),
            other => panic!("{other:?}"),
        };
        libraries.iter().map(name).collect()
    }

    #[test]
    fn functions_run_in_the_transaction_of_who_calls() {
        let mut bench = Bench::new();
        assert_eq!(load(&mut bench, LIBRARY), Reply::bulk("lib"));
        assert_eq!(bench.run("FCALL set 1 k v"), Reply::OK);
        assert_eq!(bench.run("FCALL get 1 k"), Reply::bulk("v"));
        assert_eq!(bench.run("FCALL_RO GET 1 k"), Reply::bulk("v"));
        assert!(
            bench.error("FCALL_RO set 1 k w").starts_with("ERR Can not execute a script with write flag using *_ro")
        );
        assert_eq!(bench.run("FCALL_RO draw 0"), bench.run("FCALL_RO draw 0"), "no write, so the same seed");
        let error = bench.error("FCALL any 1 k");
        assert!(error.starts_with("ERR Dynamic keys are not allowed"), "{error}");
        assert_eq!(bench.error("FCALL nope 0"), "ERR Function not found");
        assert_eq!(bench.error("FCALL get x"), "ERR Bad number of keys provided");
    }

    #[test]
    fn variables_of_a_library_last_as_long_as_one_call() {
        let mut bench = Bench::new();
        load(&mut bench, LIBRARY);
        for _ in 0..3 {
            assert_eq!(bench.run("FCALL calls 0"), Reply::Integer(1));
        }
    }

    #[test]
    fn functions_stay_when_the_keys_go() {
        let mut bench = Bench::new();
        load(&mut bench, LIBRARY);
        bench.run("SET k v");
        bench.run("FLUSHALL");
        assert_eq!(bench.run("FCALL get 1 k"), Reply::Null);
        bench.run("FUNCTION FLUSH");
        assert_eq!(bench.error("FCALL get 1 k"), "ERR Function not found");
        assert_eq!(bench.run("FUNCTION LIST"), Reply::Array(vec![]));
    }

    /// A checkpoint that did not end may have stored a flush that is newer than what the log begins with.
    #[test]
    fn libraries_are_replayed_from_before_a_flush() {
        let journal = |space: &mut Keyspace, seq: u64, args: &[&[u8]]| {
            let (mut hub, mut client) = Default::default();
            let (source, watchdog) = (&Nothing, &Patient);
            let parts =
                Parts { space, source, hub: &mut hub, client: &mut client, watchdog, moment: Moment::default(), seq };
            let mut txn = Txn::begin(parts, false);
            txn.run(crate::table::find(args).unwrap().command, args).unwrap();
            txn.finish().journal
        };
        let mut space = Keyspace::default();
        let loaded = journal(&mut space, 3, &[b"FUNCTION", b"LOAD", LIBRARY]);
        let deleted = journal(&mut space, 4, &[b"FUNCTION", b"DELETE", b"lib"]);
        let flushed = journal(&mut space, 5, &[b"FLUSHALL"]);
        let mut space = Keyspace::with_cold(0, crate::keyspace::Expiring::default(), 1, 5);
        let mut count = |seq, journal: &[u8]| {
            replay(&mut space, &mut Users::default(), &Nothing, seq, journal).unwrap();
            space.shelf.here().map_or(0, |libraries| libraries.functions())
        };
        assert_eq!(count(3, &loaded), 6);
        assert_eq!(count(4, &deleted), 0);
        assert_eq!(count(3, &loaded), 0, "what is older than what is there changes nothing");
        assert_eq!(count(5, &flushed), 0);
        assert_eq!(count(6, &loaded), 6);
    }

    #[test]
    fn a_library_that_never_ends_loading_is_refused() {
        let mut bench = Bench::new();
        bench.hub.limits.library_load_kinstructions_max = 100;
        let text = b"#!lua name=a\nredis.register_function('f', function() end) while true do end";
        let error = Reply::Error(CommandError::text("ERR Error registering functions: ERR FUNCTION LOAD timeout"));
        assert_eq!(load(&mut bench, text), error);
        assert_eq!(load(&mut bench, b"#!lua name=a\nredis.register_function('f', function() end)"), Reply::bulk("a"));
    }

    #[test]
    fn libraries_are_bounded_in_number_and_size() {
        let mut bench = Bench::new();
        bench.hub.limits.libraries_max = 2;
        let text = |name: &str, padding: usize| {
            format!("#!lua name={name}\nredis.register_function('{name}', function() end)--{}", "x".repeat(padding))
                .into_bytes()
        };
        for name in ["a", "b"] {
            assert_eq!(load(&mut bench, &text(name, 0)), Reply::bulk(name));
        }
        let error = |reply: Reply| match reply {
            Reply::Error(error) => error.to_string(),
            other => panic!("{other:?}"),
        };
        assert_eq!(error(load(&mut bench, &text("c", 0))), "ERR max number of function libraries exceeded. Limit: 2");
        assert_eq!(bench.run_args(&[b"FUNCTION", b"LOAD", b"REPLACE", &text("b", 1)]), Reply::bulk("b"));
        let payload = match bench.run("FUNCTION DUMP") {
            Reply::Bulk(payload) => payload,
            other => panic!("{other:?}"),
        };
        bench.hub.limits.libraries_bytes_max = 1_000;
        let full = "ERR max size of function libraries exceeded. Limit: 1000 bytes";
        let replace = |text: &[u8], bench: &mut Bench| bench.run_args(&[b"FUNCTION", b"LOAD", b"REPLACE", text]);
        assert_eq!(error(replace(&text("b", 1_000), &mut bench)), full);
        assert_eq!(error(replace(&text("b", 500), &mut bench)), full, "together they are too large");
        assert_eq!(names(&mut bench).len(), 2);
        bench.hub.limits.libraries_max = 1;
        let restored = bench.run_args(&[b"FUNCTION", b"RESTORE", &payload, b"FLUSH"]);
        assert_eq!(error(restored), "ERR max number of function libraries exceeded. Limit: 1");
    }

    #[test]
    fn a_restore_is_all_or_nothing() {
        let mut bench = Bench::new();
        for text in [
            b"#!lua name=a\nredis.register_function('f', function() return 1 end)".as_slice(),
            b"#!lua name=b\nredis.register_function('g', function() return 2 end)",
        ] {
            load(&mut bench, text);
        }
        let Reply::Bulk(payload) = bench.run("FUNCTION DUMP") else { panic!("a payload") };
        let restore = |bench: &mut Bench, policy: &[u8]| bench.run_args(&[b"FUNCTION", b"RESTORE", &payload, policy]);
        let refused = |text: &'static str| Reply::Error(CommandError::text(text));
        assert_eq!(restore(&mut bench, b"APPEND"), refused("ERR Library a already exists"));
        assert_eq!(restore(&mut bench, b"replace"), Reply::OK);
        bench.run("FUNCTION FLUSH");
        load(&mut bench, b"#!lua name=c\nredis.register_function('G', function() return 3 end)");
        assert_eq!(restore(&mut bench, b"REPLACE"), refused("ERR Function g already exists"));
        assert_eq!(names(&mut bench).len(), 1);
        assert_eq!(restore(&mut bench, b"FLUSH"), Reply::OK);
        assert_eq!(bench.run("FCALL g 0"), Reply::Integer(2));
        assert_eq!(names(&mut bench).len(), 2);
    }
}
