//! Tests of scripts that mean harm: arguments at the edges of what Lua's own C code was written for.
//!
//! Lua 5.1 comes as it was released. What is known to be wrong with it (unpack, CVE-2025-46817; the parser,
//! CVE-2025-49844, of which `chunk.rs` has the test; metatables everybody shares, CVE-2025-46818; long brackets,
//! CVE-2025-46819) must not be in reach of a script, and no function may run for long where no watchdog looks.

#![expect(clippy::disallowed_methods, reason = "how long a script really takes is what is tested")]
#![expect(clippy::format_collect, reason = "texts are made once")]

use std::time::{Duration, Instant};

use dormouse_proto::{CommandError, Reply};

use super::tests::{error, eval, run, watched};
use crate::testing::Bench;
use crate::txn::Stop;

/// Far more than any of these needs, and far less than what they try to take.
const SOON: Duration = Duration::from_secs(20);

#[test]
fn unpack_counts_right_at_the_edges() {
    let mut bench = Bench::new();
    for range in [
        "-2, 2147483647",
        "0, 2147483647",
        "-2147483648, 2147483646",
        "-2147483648, 2147483647",
        "-2147483648, -2",
        "1, 2147483647",
        "1, 1e9",
        "1, 7998",
        "'1', '7998'",
    ] {
        let text = error(&mut bench, &format!("return {{unpack({{1, 2, 3}}, {range})}}"));
        assert_eq!(text, "ERR user_script:1: too many results to unpack script: SHA, on @user_script:1.", "{range}");
    }
    for (source, expected) in [
        ("return #{unpack({}, 1, 7997)}", 0),
        ("local t = {} for i = 1, 7999 do t[i] = 1 end return #{unpack(t)}", 7_999),
        ("return select('#', unpack({}, 1, 7997))", 7_997),
        ("return select('#', unpack({1, 2}, 2147483646, 2147483647))", 2),
        ("return select('#', unpack({1, 2}, -2147483648, -2147483647))", 2),
        ("return select('#', unpack({1, 2}, 2, 1))", 0),
        ("return select('#', unpack({1, 2}, 2147483647, -2147483648))", 0),
        ("return select('#', unpack({1, 2, 3}, nil, 2))", 2),
        ("return select('#', unpack({1, 2, 3}, 2, nil))", 2),
        ("return select('#', unpack({1, 2, 3}, '2'))", 2),
        ("return unpack({1, 2, 3}, 1.9, 2.9)", 1),
        ("return unpack({7, 8, 9}, 4294967298, 4294967299)", 8),
    ] {
        assert_eq!(run(source), Reply::Integer(expected), "{source}");
    }
    for (source, reason) in [
        ("local x = unpack()", "bad argument #1 to 'unpack' (table expected, got no value)"),
        ("local x = unpack(nil)", "bad argument #1 to 'unpack' (table expected, got nil)"),
        ("local x = unpack({}, 'a')", "bad argument #2 to 'unpack' (number expected, got string)"),
        ("local x = unpack({}, 1, {})", "bad argument #3 to 'unpack' (number expected, got table)"),
        ("local t = {} for i = 1, 8000 do t[i] = 1 end return #{unpack(t)}", "too many results to unpack"),
    ] {
        let text = error(&mut bench, source);
        assert_eq!(text, format!("ERR user_script:1: {reason} script: SHA, on @user_script:1."), "{source}");
    }
}

/// The stack is full for an instruction or two, in which the watchdog cannot be asked.
#[test]
fn what_ran_before_does_not_decide_whether_a_full_stack_fails() {
    let mut bench = Bench::new();
    let full = "local n = 0 for i = 1, 30 do n = n + select('#', unpack({}, 1, 7997)) end return n";
    for before in 0..400 {
        bench.run_args(&[
            b"EVAL",
            format!("local n = 0 for i = 1, {before} do n = n + 1 end return n").as_bytes(),
            b"0",
        ]);
        assert_eq!(bench.run_args(&[b"EVAL", full.as_bytes(), b"0"]), Reply::Integer(239_910), "after {before}");
    }
}

#[test]
fn nothing_crashes_or_runs_where_nobody_looks() {
    const EDGES: &[&str] = &[
        "-2147483649",
        "-2147483648",
        "-2147483647",
        "-1",
        "0",
        "1",
        "2",
        "2147483646",
        "2147483647",
        "2147483648",
        "4294967295",
        "4294967296",
        "9007199254740993",
        "-9223372036854775808",
        "9223372036854775807",
        "1e300",
        "-1e300",
        "0/0",
        "1/0",
        "-1/0",
        "0.5",
        "'x'",
        "nil",
        "{}",
    ];
    const CALLS: &[&str] = &[
        "unpack({1, 2, 3}, A, B)",
        "select(A, B, 1, 2)",
        "table.insert({1, 2, 3}, A, B)",
        "table.remove({1, 2, 3}, A)",
        "table.concat({1, 2, 3}, ',', A, B)",
        "table.setn({1, 2, 3}, A)",
        "table.maxn({[1] = 1, [2147483647] = 1})",
        "string.rep('abc', A)",
        "string.sub('abc', A, B)",
        "string.byte('abc', A, B)",
        "string.char(A, B)",
        "string.find('abc', 'b', A, true)",
        "string.find('abc', 'b*', A)",
        "string.match('abc', '(b)', A)",
        "string.gsub('abc', 'b', 'x', A)",
        "string.format('%d %i %u %c %x %o', A, B, A, B, A, B)",
        "string.format('%99.99f %99.99e %99.99g', A, B, A)",
        "string.format('%5.2s|%q', A, B)",
        "tonumber(A, B)",
        "tostring(A)",
        "math.random(A, B)",
        "math.randomseed(A)",
        "math.ldexp(A, B)",
        "math.fmod(A, B)",
        "next({1, 2, 3}, A)",
        "rawget({1, 2, 3}, A)",
        "rawset({1, 2, 3}, A, B)",
        "bit.tohex(A, B)",
        "bit.lshift(A, B)",
        "bit.rol(A, B)",
        "cjson.encode({[1] = A})",
        "cjson.encode_max_depth(A)",
        "cjson.encode_number_precision(A)",
        "cmsgpack.unpack_one('\\147\\1\\2\\3', A)",
        "cmsgpack.unpack_limit('\\147\\1\\2\\3', A, B)",
        "cmsgpack.pack(A, B)",
        "struct.pack('i4', A)",
        "struct.pack('I8', A)",
        "struct.unpack('i4', 'abcdefgh', A)",
        "redis.sha1hex(A)",
        "redis.log(A, B)",
        "redis.setresp(A)",
        "coroutine.resume(coroutine.create(function(...) return ... end), A, B)",
        "setmetatable({}, A)",
        "collectgarbage(A, B)",
        "error(A, B)",
    ];
    for call in CALLS {
        for a in EDGES {
            let since = Instant::now();
            // Both at once, and each with a plain one.
            let calls = EDGES.iter().map(|b| call.replace('A', &format!("({a})")).replace('B', &format!("({b})")));
            let body: String = calls.map(|call| format!("pcall(function() return {call} end) ")).collect();
            let (outcome, _) = watched(&format!("{body} return 1"), 2_000);
            let fine = match &outcome {
                // Some ask for much that can be done, and are ended.
                Ok(Reply::Integer(1)) | Err(Stop::Aborted) => true,
                Err(Stop::Error(error)) => error.to_string().contains("not enough memory"),
                _ => false,
            };
            assert!(fine, "{call} with {a} ended with {outcome:?}");
            assert!(since.elapsed() < SOON, "{call} with {a} took {:?}", since.elapsed());
        }
    }
}

#[test]
fn long_work_in_c_is_ended_by_the_watchdog() {
    for source in [
        "table.insert({1, 2, 3}, -2147483648, 1)",
        "local t = {} while true do table.insert(t, -2147483647, 1) end",
        "local t = {} for i = 1, 20000 do t[i] = i end while true do table.insert(t, 1, 1) table.remove(t, 1) end",
        "local s, t = string.rep('x', 1e6), {} for i = 1, 20000 do t[i] = s end table.sort(t)",
        "cjson.encode_sparse_array(true, 0, 0) while true do pcall(cjson.encode, {[2147483647] = 1}) end",
        "local s = string.rep('x', 1e6) while true do string.find(s, 'y', 1, true) end",
        "local s = string.rep('a', 1e5) while true do string.find(s, '.-b') end",
        "while true do pcall(string.rep, 'x', 1e9) end",
        "while true do pcall(loadstring, string.rep('(', 1e5)) end",
    ] {
        let since = Instant::now();
        let (outcome, left) = watched(source, 20);
        assert_eq!((outcome, left), (Err(Stop::Aborted), 0), "{source}");
        assert!(since.elapsed() < SOON, "{source} took {:?}", since.elapsed());
    }
}

#[test]
fn texts_that_try_the_parser_are_errors() {
    let nested = |open: &str, close: &str, times: usize| format!("{}1{}", open.repeat(times), close.repeat(times));
    for source in [
        format!("return {}", nested("(", ")", 100_000)),
        format!("return {}", nested("{", "}", 100_000)),
        nested("do ", " end", 100_000),
        nested("return function() ", " end", 100_000),
        format!("return {}1", "-".repeat(3).replace('-', "- ").repeat(100_000)),
        format!("return 1{}", "..1".repeat(100_000)),
        format!("return 1{}", "^1".repeat(100_000)),
        format!("local {}", (0..300).map(|at| format!("a{at},")).collect::<String>() + "b = 1"),
        format!("return [{}", "=".repeat(1 << 20)),
        format!("return [{}[", "=".repeat(1 << 20)),
        format!("return [{0}[ ]{0}", "=".repeat(1 << 20)),
        format!("--[{0}[ ]{0}", "=".repeat(1 << 20)),
        format!("return \"{}", "\\999".repeat(10)),
        "return '\0".to_owned(),
        "\u{1b}Lua".to_owned(),
        "goto".to_owned(),
    ] {
        let reply = eval(&mut Bench::new(), &source, &[], &[]);
        let start: String = source.chars().take(40).collect();
        assert!(matches!(&reply, Reply::Error(CommandError::Text(_))), "{start}… answered {reply:?}");
        // The same from within, where what is read is a string.
        let inner = "local f, why = loadstring(ARGV[1]) return {f == nil, why ~= nil}";
        let reply = eval(&mut Bench::new(), inner, &[], &[&source]);
        assert_eq!(reply, Reply::Array(vec![Reply::Integer(1), Reply::Integer(1)]), "{start}…");
    }
    // Long brackets that are right are just that.
    let level = "=".repeat(1 << 16);
    assert_eq!(run(&format!("return #[{level}[abc]{level}]")), Reply::Integer(3));
}

#[test]
fn metatables_everybody_shares_cannot_be_changed() {
    for source in [
        "getmetatable('').__index = function() return 1 end",
        "getmetatable('').__index.upper = function() return 1 end",
        "rawset(getmetatable(''), '__index', {})",
        "rawset(getmetatable('').__index, 'upper', nil)",
        "table.insert(getmetatable('').__index, 1)",
        "setmetatable(getmetatable(''), {})",
        "string.upper = nil",
        "getmetatable(_G).__index = {}",
        "getmetatable(redis).__newindex = nil",
        "for name, library in pairs(_G) do if type(library) == 'table' then library.x = 1 end end",
        "for _, value in pairs({getmetatable(''), getmetatable(_G), getmetatable(redis)}) do value.x = 1 end",
    ] {
        let text = error(&mut Bench::new(), source);
        assert!(text.contains("readonly table"), "{source}: {text}");
    }
    for value in ["1", "nil", "true", "print", "function() end", "coroutine.create(function() end)"] {
        let source =
            format!("local fine, value = pcall(function() return {value} end) return getmetatable(fine and value)");
        assert_eq!(run(&source), Reply::Null, "{value}");
    }
    assert_eq!(run("return ('x'):upper()"), Reply::bulk("X"));
}

#[test]
fn locked_tables_can_be_walked_but_not_reached_behind() {
    for (source, expected) in [
        ("local t = {} for k in pairs(os) do t[#t + 1] = k end return t", vec!["clock"]),
        ("return {(next(os))}", vec!["clock"]),
        ("return {type(rawget(os, 'clock')), type(rawget(_G, 'redis'))}", vec!["function", "table"]),
        ("local f, t = pairs(os) return {tostring(t == os), tostring(f == next)}", vec!["true", "true"]),
        ("local t = {} for k in pairs({1, 2}) do t[k] = 'x' end return t", vec!["x", "x"]),
        (
            "local t = {} for k in pairs(_G) do t[k] = true end return {tostring(t.KEYS and t._G and t.string and t.pairs)}",
            vec!["true"],
        ),
        ("local t = {} for k in pairs(getmetatable(redis)) do t[#t + 1] = k end return t", vec![]),
    ] {
        let expected = expected.into_iter().map(Reply::bulk).collect();
        assert_eq!(run(source), Reply::Array(expected), "{source}");
    }
    let mut bench = Bench::new();
    for (source, reason) in [
        ("for k in pairs() do end", "user_script:1: bad argument #1 to 'pairs' (table expected, got no value)"),
        ("for k in pairs(nil) do end", "user_script:1: bad argument #1 to 'pairs' (table expected, got nil)"),
        ("next(nil)", "user_script:1: bad argument #1 to 'next' (table expected, got nil)"),
        ("next({}, 'x')", "invalid key to 'next'"),
        ("next(os, 'x')", "invalid key to 'next'"),
        ("rawget(1, 2)", "user_script:1: bad argument #1 to 'rawget' (table expected, got number)"),
        ("rawget({})", "user_script:1: bad argument #2 to 'rawget' (value expected)"),
        ("table.sort({1, 'x', 2})", "attempt to compare string with number"),
        (
            "local t = {} for i = 1, 20001 do t[i] = i end t[1] = 'a' table.sort(t)",
            "attempt to compare string with number",
        ),
        ("table.sort({1, 2}, 3)", "user_script:1: bad argument #2 to 'sort' (function expected, got number)"),
        ("table.remove()", "user_script:1: bad argument #1 to 'remove' (table expected, got no value)"),
        ("table.insert()", "user_script:1: bad argument #1 to 'insert' (table expected, got no value)"),
        ("table.insert({})", "user_script:1: wrong number of arguments to 'insert'"),
        ("table.insert({}, 'a', 1)", "user_script:1: bad argument #2 to 'insert' (number expected, got string)"),
    ] {
        let text = error(&mut bench, source);
        let expected = format!("ERR {reason} script: SHA, on @user_script:1.");
        assert_eq!(text.replace("number with string", "string with number"), expected, "{source}");
    }
    let sorted = "local t = {} for i = 1, 20000 do t[i] = 20001 - i end table.sort(t) return {t[1], t[20000]}";
    assert_eq!(run(sorted), Reply::Array(vec![Reply::Integer(1), Reply::Integer(20_000)]));
    let moved = "local t = {1, 2, 3} table.insert(t, -20000, 'x') return {t[-20000], t[4], t[1] or 'none'}";
    assert_eq!(run(moved), Reply::Array(vec![Reply::bulk("x"), Reply::Integer(3), Reply::bulk("none")]));
}
