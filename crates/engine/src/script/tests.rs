//! Tests of scripts as a whole: what they see, what they may do, and how they end.

use std::cell::Cell;

use dormouse_proto::{Blob, CommandError, Reply};

use super::sha;
use crate::client::{Client, ClientId, Door, Grant};
use crate::hub::Hub;
use crate::keyspace::{Keyspace, Nothing};
use crate::moment::{Moment, Random};
use crate::testing::Bench;
use crate::txn::{Outcome, Parts, Stop, Txn};
use crate::watchdog::Watchdog;

pub(super) fn eval(bench: &mut Bench, source: &str, keys: &[&str], args: &[&str]) -> Reply {
    let count = keys.len().to_string();
    let mut words: Vec<&[u8]> = vec![b"EVAL", source.as_bytes(), count.as_bytes()];
    words.extend(keys.iter().chain(args).map(|word| word.as_bytes()));
    bench.run_args(&words)
}

pub(super) fn run(source: &str) -> Reply {
    eval(&mut Bench::new(), source, &[], &[])
}

fn text(source: &str) -> String {
    match run(source) {
        Reply::Bulk(text) => String::from_utf8_lossy(&text).into_owned(),
        other => panic!("{source} answered {other:?}"),
    }
}

/// The error a script ends with; its own hash is left out.
pub(super) fn error(bench: &mut Bench, source: &str) -> String {
    match eval(bench, source, &[], &[]) {
        Reply::Error(error) => error.to_string().replace(&sha(source.as_bytes()), "SHA"),
        other => panic!("{source} answered {other:?}"),
    }
}

fn integers(numbers: &[i64]) -> Reply {
    Reply::Array(numbers.iter().copied().map(Reply::Integer).collect())
}

/// Bites at the nth question.
struct Bites(Cell<u32>);

impl Watchdog for Bites {
    fn expired(&self) -> bool {
        self.0.set(self.0.get().saturating_sub(1));
        self.0.get() == 0
    }
}

/// Runs a script under a watchdog, then takes everything back; whether anything was left.
pub(super) fn watched(source: &str, questions: u32) -> (Outcome, u64) {
    let (mut space, mut hub) = (Keyspace::default(), Hub::default());
    hub.limits.script_bytes_max = 8 << 20;
    let mut client = Client::new(ClientId(1), Door::Resp, Grant::Full);
    let bites = Bites(Cell::new(questions));
    let args: [&[u8]; 3] = [b"EVAL", source.as_bytes(), b"0"];
    let mut txn = Txn::begin(
        Parts {
            space: &mut space,
            source: &Nothing,
            hub: &mut hub,
            client: &mut client,
            watchdog: &bites,
            moment: Moment { now_us: 1_700_000_000_000_000, seed: 1 },
            seq: 1,
        },
        true,
    );
    let outcome = txn.run(crate::table::find(&args).unwrap().command, &args);
    if outcome == Err(Stop::Aborted) {
        txn.rollback();
    } else {
        txn.finish();
    }
    (outcome, space.len())
}

#[test]
fn the_watchdog_ends_scripts_whatever_they_do() {
    for source in [
        "redis.call('SET', 'a', 1) while true do end",
        "redis.call('SET', 'a', 1) while true do pcall(function() while true do end end) end",
        "redis.call('SET', 'a', 1) pcall(function() while true do end end) return 1",
        "redis.call('SET', 'a', 1) while true do xpcall(function() while true do end end, function(e) return e end) end",
        "redis.call('SET', 'a', 1) xpcall(function() while true do end end, function() while true do end end)",
        "redis.call('SET', 'a', 1) while true do coroutine.resume(coroutine.create(function() while true do end end)) end",
        "redis.call('SET', 'a', 1) coroutine.wrap(function() while true do end end)()",
        "redis.call('SET', 'a', 1) while true do redis.call('GET', 'a') end",
        "redis.call('SET', 'a', 1) while true do redis.pcall('GET', 'a') end",
        "redis.call('SET', 'a', 1) return string.find(string.rep('a', 60), string.rep('a*', 30) .. 'b')",
        "redis.call('SET', 'a', 1) return string.gsub(string.rep('a', 60), string.rep('a*', 30) .. 'b', 'x')",
        "redis.call('SET', 'a', 1) pcall(string.match, string.rep('a', 60), string.rep('a-', 30) .. 'b') return 1",
        "redis.call('SET', 'a', 1) table.sort({3, 2, 1, 4}, function(a, b) while true do end end)",
        "redis.call('SET', 'a', 1) string.gsub('abc', '.', function() while true do end end)",
        "redis.call('SET', 'a', 1) return setmetatable({}, {__index = function() while true do end end}).x",
        "redis.call('SET', 'a', 1) local t = os.clock() while os.clock() - t < 1e6 do end",
    ] {
        assert_eq!(watched(source, 20), (Err(Stop::Aborted), 0), "{source}");
    }
    // The interpreter is as new afterwards.
    assert_eq!(run("return pcall(function() return 1 end)"), Reply::Integer(1));
}

#[test]
fn memory_is_bounded_and_the_interpreter_survives() {
    for source in [
        "local t = {} for i = 1, 1e9 do t[i] = {} end",
        "local s = 'x' while true do s = s .. s end",
        "return string.rep('x', 1e9)",
        "return ('x'):rep(1e9)",
        "return #table.concat({string.rep('x', 7e6), string.rep('y', 7e6)})",
        "local t = {} for i = 1, 30 do t = {t, t} end return t",
        "local t = {} for i = 1, 30 do t = {t, t} end return cjson.encode(t)",
        "local t = {string.rep('x', 1e5)} for i = 1, 12 do t = {t, t} end return cmsgpack.pack(t)",
        "return (string.gsub(string.rep('x', 1e5), 'x', string.rep('y', 1e4)))",
        "local s = string.rep('x', 5e6) local t = {} for i = 1, 1000 do t[i] = s .. i end",
        "redis.call('SET', 'a', string.rep('x', 1e6)) local t = {} for i = 1, 100 do t[i] = redis.call('GET', 'a') .. i end",
    ] {
        let (outcome, _) = watched(source, u32::MAX);
        let Err(Stop::Error(error)) = outcome else { panic!("{source} ended with {outcome:?}") };
        assert!(error.to_string().contains("not enough memory"), "{source}: {error}");
        assert_eq!(watched("return 1", 100).0, Ok(Reply::Integer(1)));
    }
}

#[test]
fn runaway_recursion_is_an_error() {
    for (source, reason) in [
        ("local function f() return 1 + f() end return f()", "stack overflow"),
        ("local function f() return pcall(f) end return f()", ""),
        ("local function f() error(pcall(f)) end f()", ""),
        (
            "local t = setmetatable({}, {}) getmetatable(t).__index = function(t, k) return t[k .. 'x'] end return t.x",
            "stack overflow",
        ),
        ("local function f() return string.gsub('a', 'a', f) end return f()", "stack overflow"),
        ("local co co = function() return coroutine.wrap(co)() end return co()", ""),
        ("local s = string.rep('(', 250) .. 'return 1' .. string.rep(')', 250) return loadstring(s)()", ""),
        ("return loadstring('return ' .. string.rep('{', 10000))", ""),
        ("return string.find(string.rep('a', 300000), string.rep('a?', 30000))", "pattern too complex"),
        ("return string.find(string.rep('a', 3000), '.-b')", ""),
    ] {
        match run(source) {
            Reply::Error(error) => assert!(error.to_string().contains(reason), "{source}: {error}"),
            reply => assert!(reason.is_empty(), "{source} answered {reply:?}"),
        }
    }
    let nested = "local t = {} for i = 1, 5000 do t = {t} end return t";
    assert!(matches!(run(nested), Reply::Array(_)));
    assert!(matches!(run("local t = {} t[1] = t return t"), Reply::Array(_)));
}

#[test]
fn nothing_a_script_does_reaches_the_next() {
    let bench = &mut Bench::new();
    for attempt in [
        "x = 1",
        "_G.x = 1",
        "rawset(_G, 'x', 1)",
        "table.insert(_G, 'x')",
        "setmetatable(_G, nil)",
        "setmetatable(_G, {})",
        "getmetatable(_G).__index = nil",
        "getmetatable(_G).x = 1",
        "KEYS = 1",
        "redis = nil",
        "redis.call = nil",
        "redis.x = 1",
        "rawset(redis, 'call', nil)",
        "string.x = 1",
        "string.rep = nil",
        "rawset(string, 'x', 1)",
        "getmetatable('').x = 1",
        "getmetatable('').__index = {}",
        "getmetatable('').__index.x = 1",
        "setmetatable(string, {})",
        "table.insert(table, 'x')",
        "cjson.null = 1",
        "math.pi = 3",
        "coroutine.x = 1",
    ] {
        let problem = error(bench, attempt);
        assert!(problem.contains("Attempt to modify a readonly table"), "{attempt}: {problem}");
    }
    for attempt in [
        "return x",
        "return _G.x",
        "return setfenv",
        "return io",
        "return require",
        "return dofile",
        "return print",
        "return debug",
        "return newproxy",
        "return package",
    ] {
        assert!(error(bench, attempt).contains("nonexistent global variable"), "{attempt}");
    }
    assert_eq!(run("return os.execute"), Reply::Null);
    // Settings of cjson and the RESP version start afresh.
    eval(bench, "redis.setresp(3) cjson.encode_number_precision(3) collectgarbage('stop')", &[], &[]);
    assert_eq!(text("return cjson.encode(3.14159)"), "3.14159");
    assert_eq!(run("return tostring(redis.call('GET', 'none'))"), Reply::bulk("false"));
    // Arguments belong to one run.
    eval(bench, "KEYS.x = 1 return 1", &["a"], &["b"]);
    assert_eq!(eval(bench, "return {#KEYS, #ARGV, KEYS.x}", &[], &[]), integers(&[0, 0]));
    // Compiled code is no text.
    let loads = "local code = string.dump(function() return 1 end) return {loadstring(code) == nil, load(function() return nil end) ~= nil}";
    assert_eq!(run(loads), integers(&[1, 1]));
    assert!(matches!(
        run(
            "local n = 0 local code = string.dump(function() end) return (load(function() n = n + 1 if n == 1 then return code end end))"
        ),
        Reply::Null
    ));
    assert!(matches!(bench.run_args(&[b"EVAL", b"\x1bLua", b"0"]), Reply::Error(_)));
}

#[test]
fn errors_read_as_in_redis() {
    let bench = &mut Bench::new();
    bench.run("SET s x");
    for (source, wanted) in [
        (
            "return y",
            "ERR user_script:1: Script attempted to access nonexistent global variable 'y' script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call('INCR')",
            "ERR Wrong number of args calling Redis command from script script: SHA, on @user_script:1.",
        ),
        ("return redis.call('NOPE')", "ERR Unknown Redis command called from script script: SHA, on @user_script:1."),
        (
            "return redis.call()",
            "ERR Please specify at least one argument for this redis lib call script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call({})",
            "ERR Lua redis lib command arguments must be strings or integers script: SHA, on @user_script:1.",
        ),
        (
            "\nreturn redis.call('INCR', 's')",
            "ERR value is not an integer or out of range script: SHA, on @user_script:2.",
        ),
        ("return redis.pcall('INCR', 's')", "ERR value is not an integer or out of range"),
        ("return redis.pcall('NOPE')", "ERR Unknown Redis command called from script"),
        (
            "redis.call('LPUSH', 's', 1)",
            "WRONGTYPE Operation against a key holding the wrong kind of value script: SHA, on @user_script:1.",
        ),
        ("error('boom')", "ERR user_script:1: boom script: SHA, on @user_script:1."),
        ("error('boom', 0)", "ERR boom script: SHA, on @user_script:1."),
        ("error({err = 'CODE boo'})", "CODE boo script: SHA, on @user_script:1."),
        ("error({})", "ERR unknown error script: SHA, on @user_script:1."),
        ("error()", "ERR nil script: SHA, on @user_script:1."),
        ("local function f()\n error('deep')\nend\nf()", "ERR user_script:2: deep script: SHA, on @user_script:2."),
        (
            "local a = nil; return a.b",
            "ERR user_script:1: attempt to index local 'a' (a nil value) script: SHA, on @user_script:1.",
        ),
        ("return {err = 'boom'}", "boom"),
        ("return {err = 'a\\r\\nb'}", "a  b"),
        ("return redis.error_reply('boom')", "ERR boom"),
        ("return redis.error_reply('-X boom')", "X boom"),
        ("return redis.error_reply(1)", "ERR wrong number or type of arguments"),
        ("return +", "ERR Error compiling script (new function): user_script:1: unexpected symbol near '+'"),
        (
            "return redis.call('EVAL', 'return 1', 0)",
            "ERR This Redis command is not allowed from script script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call('MULTI')",
            "ERR This Redis command is not allowed from script script: SHA, on @user_script:1.",
        ),
        (
            "return redis.call('SCRIPT', 'KILL')",
            "ERR This Redis command is not allowed from script script: SHA, on @user_script:1.",
        ),
        (
            "#!lua flags=no-writes\nredis.call('SET', 'a', 1)",
            "ERR Write commands are not allowed from read-only scripts. script: SHA, on @user_script:2.",
        ),
        ("return redis.setresp(4)", "ERR RESP version must be 2 or 3. script: SHA, on @user_script:1."),
        ("return redis.log(9, 'x')", "ERR Invalid log level. script: SHA, on @user_script:1."),
        (
            "return string.rep()",
            "ERR user_script:1: bad argument #1 to 'rep' (string expected, got no value) script: SHA, on @user_script:1.",
        ),
        ("return ('x'):find('(')", "ERR user_script:1: unfinished capture script: SHA, on @user_script:1."),
        (
            "return #{unpack({}, 1, 8000)}",
            "ERR user_script:1: too many results to unpack script: SHA, on @user_script:1.",
        ),
    ] {
        assert_eq!(error(bench, source), wanted, "{source}");
    }
    assert_eq!(run("return #{unpack({}, 1, 7900)}"), Reply::Integer(0));
    assert_eq!(
        eval(bench, "local _, e = pcall(redis.call, 'INCR', 's') return e", &[], &[]),
        Reply::bulk("ERR value is not an integer or out of range")
    );
    assert_eq!(
        run("return {xpcall(function() redis.call('NOPE') end, function(e) return type(e) end)}"),
        Reply::Array(vec![Reply::Null, Reply::bulk("table")])
    );
}

#[test]
fn values_convert_as_in_redis() {
    let shared = |texts: &[&str]| Reply::Array(texts.iter().map(Reply::bulk).collect());
    for (source, reply) in [
        (
            "return {1.9, -1.9, true, false, 'x', nil, 'y'}",
            Reply::Array(vec![Reply::Integer(1), Reply::Integer(-1), Reply::Integer(1), Reply::Null, Reply::bulk("x")]),
        ),
        ("return 1e20", Reply::Integer(i64::MIN)),
        ("return 0/0", Reply::Integer(i64::MIN)),
        ("return nil", Reply::Null),
        ("return function() end", Reply::Null),
        ("return {ok = 'fine'}", Reply::status("fine")),
        ("return {double = 3.5}", Reply::Double(3.5)),
        ("return {map = {a = 1}}", Reply::Map(vec![(Reply::bulk("a"), Reply::Integer(1))])),
        ("return {set = {a = true}}", Reply::Set(vec![Reply::bulk("a")])),
        ("return {big_number = '123'}", Reply::BigNumber(Blob::from_static(b"123"))),
        ("return {verbatim_string = {string = 'x', format = 'txt'}}", Reply::Verbatim(Blob::from(b"x".as_slice()))),
        ("redis.setresp(3) return {true, false}", Reply::Array(vec![Reply::Bool(true), Reply::Bool(false)])),
        ("return redis.call('GET', 'none') == false", Reply::Integer(1)),
        ("redis.setresp(3) return redis.call('GET', 'none') == nil", Reply::Bool(true)),
        ("return redis.call('SET', 'a', 1).ok", Reply::bulk("OK")),
        ("return redis.call('SET', 'a', 1)", Reply::OK),
        ("redis.call('HSET', 'h', 'f', 'v') return redis.call('HGETALL', 'h')", shared(&["f", "v"])),
        (
            "redis.call('HSET', 'h', 'f', 'v') redis.setresp(3) return redis.call('HGETALL', 'h').map.f",
            Reply::bulk("v"),
        ),
        ("redis.call('SADD', 's', 'm') redis.setresp(3) return redis.call('SMEMBERS', 's').set.m", Reply::Bool(true)),
        ("return redis.call('HMGET', 'h', 'a', 'b')", Reply::Array(vec![Reply::Null, Reply::Null])),
    ] {
        assert_eq!(run(source), reply, "{source}");
    }
    for (number, wanted) in [
        ("3.0", "3"),
        ("0.1", "0.1"),
        ("1e20", "1e+20"),
        ("1700000000000", "1700000000000"),
        ("-0", "0"),
        ("1/0", "inf"),
        ("2^53", "9007199254740992"),
        ("123456789012345678", "123456789012345680"),
        ("5e18", "5e+18"),
    ] {
        assert_eq!(
            text(&format!("redis.call('SET', 'a', {number}) return redis.call('GET', 'a')")),
            wanted,
            "{number}"
        );
    }
}

#[test]
fn chance_is_the_transactions_unless_a_script_sets_the_seed() {
    assert_eq!(
        text(
            "math.randomseed(7) return math.random(1000) .. ' ' .. math.random(5, 6) .. ' ' .. tostring(math.random())"
        ),
        "267 6 0.26549059351231"
    );
    assert_eq!(run("return math.random(1e9)"), run("return math.random(1e9)"));
    let bench = &mut Bench::new();
    let first = eval(bench, "redis.call('SET', 'a', 1) return math.random(1e9)", &[], &[]);
    assert_ne!(first, eval(bench, "return math.random(1e9)", &[], &[]));
    assert_eq!(
        error(bench, "return math.random(2, 1)"),
        "ERR user_script:1: bad argument #2 to 'random' (interval is empty) script: SHA, on @user_script:1."
    );
}

#[test]
fn scripts_are_kept_by_hash() {
    let bench = &mut Bench::new();
    let source = b"return {KEYS[1], ARGV[1]}";
    let hash = sha(source);
    assert_eq!(sha(b""), "da39a3ee5e6b4b0d3255bfef95601890afd80709");
    assert_eq!(bench.error(&format!("EVALSHA {hash} 0")), "NOSCRIPT No matching script. Please use EVAL.");
    bench.run_args(&[b"EVAL", source, b"0"]);
    let pair = Reply::Array(vec![Reply::bulk("k"), Reply::bulk("v")]);
    assert_eq!(bench.run(&format!("EVALSHA {hash} 1 k v")), pair);
    assert_eq!(bench.run(&format!("EVALSHA_RO {} 1 k v", hash.to_uppercase())), pair);
    assert_eq!(bench.run(&format!("SCRIPT EXISTS {hash} nope")), integers(&[1, 0]));
    assert_eq!(bench.run("SCRIPT FLUSH ASYNC"), Reply::OK);
    assert_eq!(bench.run(&format!("SCRIPT EXISTS {hash}")), integers(&[0]));
    assert_eq!(bench.run_args(&[b"SCRIPT", b"LOAD", source]), Reply::bulk(&hash));
    assert_eq!(bench.run(&format!("EVALSHA {hash} 1 k v")), pair);
    assert!(bench.error("SCRIPT LOAD return+").starts_with("ERR Error compiling script (new function):"));
    assert_eq!(bench.error("SCRIPT FLUSH NOW"), "ERR SCRIPT FLUSH only support SYNC|ASYNC option");
    for (line, problem) in [
        ("EVAL x 1", "ERR Number of keys can't be greater than number of args"),
        ("EVAL x -1", "ERR Number of keys can't be negative"),
        ("EVAL x y", "ERR value is not an integer or out of range"),
        ("EVAL x", "ERR wrong number of arguments for 'eval' command"),
    ] {
        assert_eq!(bench.error(line), problem, "{line}");
    }
}

#[test]
fn writes_before_an_error_stay() {
    let bench = &mut Bench::new();
    error(bench, "redis.call('SET', 'a', 1) redis.call('SET', 'b', 2) error('late')");
    assert_eq!(bench.run("GET b"), Reply::bulk("2"));
}

#[test]
fn read_only_scripts_read_only() {
    let bench = &mut Bench::new();
    bench.run("SET a 1");
    let refusal = "ERR Write commands are not allowed from read-only scripts.";
    let ro = |bench: &mut Bench, source: &[u8]| bench.run_args(&[b"EVAL_RO", source, b"0"]);
    assert_eq!(ro(bench, b"return redis.call('GET', 'a')"), Reply::bulk("1"));
    let Reply::Error(error) = ro(bench, b"return redis.call('SET', 'a', 2)") else { panic!("written") };
    assert!(error.to_string().starts_with(refusal));
    assert_eq!(ro(bench, b"return redis.pcall('SET', 'a', 2)"), Reply::Error(CommandError::text(refusal)));
    assert_eq!(ro(bench, b"return redis.pcall('GETEX', 'a', 'EX', 1)"), Reply::Error(CommandError::text(refusal)));

    bench.client.grant = Grant::ReadOnly;
    let denied = |name: &str| {
        let text = format!("ERR ACL failure in script: User default_ro has no permissions to run the '{name}' command");
        Reply::Error(CommandError::from(text))
    };
    bench.client.user = Blob::from_static(b"default_ro");
    assert_eq!(ro(bench, b"return redis.call('GET', 'a')"), Reply::bulk("1"));
    assert_eq!(ro(bench, b"return redis.pcall('KEYS', '*')"), denied("keys"));
    assert_eq!(ro(bench, b"return redis.pcall('SCAN', 0)"), denied("scan"));
    assert_eq!(
        ro(bench, b"return {redis.acl_check_cmd('GET', 'a'), redis.acl_check_cmd('SET', 'a', 1)}"),
        Reply::Array(vec![Reply::Integer(1), Reply::Null])
    );
    // Whatever runs it: a grant that only reads never writes.
    let Reply::Error(error) = bench.run_args(&[b"EVAL", b"return redis.call('SET', 'a', 2)", b"0"]) else {
        panic!("written")
    };
    assert!(error.to_string().starts_with("ERR ACL failure in script: "));
}

#[test]
fn declared_keys_hold_a_script_that_says_so() {
    let bench = &mut Bench::new();
    let run = |bench: &mut Bench, body: &str| {
        let source = format!("#!lua flags=allow-key-locking\n{body}");
        eval(bench, &source, &["a", "", "ab"], &["x"])
    };
    assert_eq!(run(bench, "return redis.call('SET', KEYS[1], 1)"), Reply::OK);
    assert_eq!(run(bench, "return redis.call('GET', 'a')"), Reply::bulk("1"));
    assert_eq!(run(bench, "return redis.call('GET', 'a' .. 'b')"), Reply::Null);
    assert_eq!(run(bench, "return redis.call('GET', '')"), Reply::Null);
    let dynamic = "ERR Dynamic keys are not allowed in Lua scripts when 'allow-key-locking' flag is set. Key was: ";
    for (body, key) in [
        ("return redis.pcall('GET', ARGV[1])", "x"),
        ("return redis.pcall('MGET', 'a', 'c')", "c"),
        ("return redis.pcall('DEL', 'a', 'b')", "b"),
    ] {
        assert_eq!(run(bench, body), Reply::Error(CommandError::from(format!("{dynamic}{key}"))), "{body}");
    }
    for command in ["KEYS', '*", "SCAN', '0", "DBSIZE", "FLUSHALL", "FLUSHDB", "RANDOMKEY"] {
        let reply = run(bench, &format!("return redis.pcall('{command}')"));
        assert!(matches!(reply, Reply::Error(_)), "{command} answered {reply:?}");
    }
    assert_eq!(bench.run("GET a"), Reply::bulk("1"));
}

#[test]
fn blocking_commands_do_not_wait() {
    let bench = &mut Bench::new();
    assert_eq!(eval(bench, "return redis.call('LPOP', 'none')", &[], &[]), Reply::Null);
    // And a client may wait again afterwards.
    assert!(matches!(bench.attempt(&[b"BLPOP", b"none", b"1"]), Err(Stop::Block(_))));
}

#[test]
fn coroutines_and_loaded_code_work() {
    assert_eq!(
        text(
            "local co = coroutine.create(function(a) local b = coroutine.yield(a + 1) return b * 2 end) local _, x = coroutine.resume(co, 1) local _, y = coroutine.resume(co, 10) return x .. y .. coroutine.status(co)"
        ),
        "220dead"
    );
    assert_eq!(
        text("redis.call('SET', 'a', 'v') return coroutine.wrap(function() return redis.call('GET', 'a') end)()"),
        "v"
    );
    assert_eq!(run("return loadstring('return 1 + 1')()"), Reply::Integer(2));
    assert_eq!(
        run("local parts = {'return ', '7'} return load(function() return table.remove(parts, 1) end)()"),
        Reply::Integer(7)
    );
    assert_eq!(run("return {loadstring('return +')}"), Reply::Array(Vec::new()));
    assert_eq!(
        run("return select(2, loadstring('return +', '=name'))"),
        Reply::bulk("name:1: unexpected symbol near '+'")
    );
}

// --- the scripts that the companion libraries of REST clients send, by what they do --------------------------------

#[test]
fn a_fixed_window_limits() {
    let source = "
        local used = redis.call('INCRBY', KEYS[1], ARGV[3])
        local limit = tonumber(ARGV[1])
        if KEYS[2] ~= '' then
          local own = redis.call('GET', KEYS[2])
          if own then limit = tonumber(own) end
        end
        if used == tonumber(ARGV[3]) then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
        return {used, limit}";
    let bench = &mut Bench::new();
    for used in 1..=3 {
        assert_eq!(eval(bench, source, &["rl:u:1", ""], &["10", "60000", "1"]), integers(&[used, 10]));
    }
    assert_eq!(bench.run("PTTL rl:u:1"), Reply::Integer(60_000));
    bench.run("SET rl:dynamic 3");
    assert_eq!(eval(bench, source, &["rl:u:1", "rl:dynamic"], &["10", "60000", "-2"]), integers(&[1, 3]));
}

#[test]
fn a_cached_window_never_expires_because_numbers_are_not_strings() {
    let source = "local n = redis.call('INCRBY', KEYS[1], ARGV[2]) if n == ARGV[2] then redis.call('PEXPIRE', KEYS[1], ARGV[1]) end return n";
    let bench = &mut Bench::new();
    assert_eq!(eval(bench, source, &["k"], &["60000", "1"]), Reply::Integer(1));
    assert_eq!(bench.run("PTTL k"), Reply::Integer(-1));
}

#[test]
fn a_sliding_window_limits() {
    let source = "
        local tokens, now, window, step = tonumber(ARGV[1]), ARGV[2], ARGV[3], tonumber(ARGV[4])
        local current = tonumber(redis.call('get', KEYS[1]) or '0')
        local before = tonumber(redis.call('get', KEYS[2]) or '0')
        local share = (now % window) / window
        local weighted = math.floor((1 - share) * before)
        if weighted + current >= tokens then return {-1, tokens} end
        local fresh = redis.call('incrby', KEYS[1], step)
        if fresh == step then redis.call('pexpire', KEYS[1], window * 2 + 1000) end
        return {tokens - (fresh + weighted), tokens}";
    let bench = &mut Bench::new();
    bench.run("SET prev 4");
    let now = "1700000007500";
    let remaining = |bench: &mut Bench| eval(bench, source, &["cur", "prev", ""], &["5", now, "10000", "1"]);
    for left in [3, 2, 1, 0] {
        assert_eq!(remaining(bench), integers(&[left, 5]));
    }
    assert_eq!(remaining(bench), integers(&[-1, 5]));
    assert_eq!(bench.run("PTTL cur"), Reply::Integer(21_000));
}

#[test]
fn a_token_bucket_refills() {
    let source = "
        local max, interval, rate, now, take = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
        local state = redis.call('HMGET', KEYS[1], 'refilledAt', 'tokens')
        local at, tokens
        if state[1] == false then
          at, tokens = now, max
        else
          at, tokens = tonumber(state[1]), tonumber(state[2])
        end
        if now >= at + interval then
          local rounds = math.floor((now - at) / interval)
          tokens = math.min(max, tokens + rounds * rate)
          at = at + rounds * interval
        end
        if tokens == 0 then return {-1, at + interval, max} end
        local left = tokens - take
        redis.call('HSET', KEYS[1], 'refilledAt', at, 'tokens', left)
        redis.call('PEXPIRE', KEYS[1], math.ceil((max - left) / rate) * interval)
        return {left, at + interval, max}";
    let bench = &mut Bench::new();
    let at = 1_700_000_000_000_i64;
    let take =
        |bench: &mut Bench, now: i64| eval(bench, source, &["bucket", ""], &["2", "1000", "1", &now.to_string(), "1"]);
    assert_eq!(take(bench, at), integers(&[1, at + 1_000, 2]));
    assert_eq!(take(bench, at), integers(&[0, at + 1_000, 2]));
    assert_eq!(take(bench, at), integers(&[-1, at + 1_000, 2]));
    assert_eq!(bench.run("HGET bucket refilledAt"), Reply::bulk("1700000000000"));
    assert_eq!(take(bench, at + 1_500), integers(&[0, at + 2_000, 2]));
}

#[test]
fn windows_of_several_regions_are_flat_hashes() {
    let source = "
        redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
        local fields = redis.call('HGETALL', KEYS[1])
        if #fields == 2 then redis.call('PEXPIRE', KEYS[1], ARGV[3]) end
        return {fields, fields[1] == ARGV[1], false}";
    let reply = eval(&mut Bench::new(), source, &["k"], &["id", "1", "1000"]);
    let flat = Reply::Array(vec![Reply::bulk("id"), Reply::bulk("1")]);
    assert_eq!(reply, Reply::Array(vec![flat, Reply::Integer(1), Reply::Null]));
}

#[test]
fn a_reset_scans_and_deletes_undeclared_keys() {
    let source = "
        local cursor = '0'
        repeat
          local page = redis.call('SCAN', cursor, 'MATCH', KEYS[1])
          cursor = page[1]
          for _, key in ipairs(page[2]) do redis.call('DEL', key) end
        until cursor == '0'";
    let bench = &mut Bench::new();
    for at in 0..50 {
        bench.run(&format!("SET rl:u:{at} 1"));
    }
    bench.run("SET other 1");
    assert_eq!(eval(bench, source, &["rl:u:*"], &["null"]), Reply::Null);
    assert_eq!(bench.size().0, 1);
}

#[test]
fn a_deny_list_is_asked() {
    let source = "
        local found = redis.call('SMISMEMBER', KEYS[1], unpack(ARGV))
        local ttl = redis.call('TTL', KEYS[2])
        if ttl == -2 then redis.call('SETEX', KEYS[2], 30, 'pending') end
        return {found, ttl}";
    let bench = &mut Bench::new();
    bench.run("SADD all bad");
    let ask = |bench: &mut Bench| eval(bench, source, &["all", "status"], &["good", "bad"]);
    assert_eq!(ask(bench), Reply::Array(vec![integers(&[0, 1]), Reply::Integer(-2)]));
    assert_eq!(ask(bench), Reply::Array(vec![integers(&[0, 1]), Reply::Integer(30)]));
}

#[test]
fn a_lock_is_released_and_extended_by_its_owner() {
    let release = "if redis.call('get', KEYS[1]) == ARGV[1] then return redis.call('del', KEYS[1]) else return 0 end";
    let extend = "
        if redis.call('get', KEYS[1]) ~= ARGV[1] then return 0 end
        return redis.call('expire', KEYS[1], redis.call('ttl', KEYS[1]) + ARGV[2])";
    let bench = &mut Bench::new();
    bench.run("SET lock uuid PX 10000");
    assert_eq!(eval(bench, extend, &["lock"], &["uuid", "5"]), Reply::Integer(1));
    assert_eq!(bench.run("TTL lock"), Reply::Integer(15));
    assert_eq!(eval(bench, extend, &["lock"], &["null", "5"]), Reply::Integer(0));
    let Reply::Error(error) = eval(bench, extend, &["lock"], &["uuid", "0.5"]) else { panic!("extended") };
    assert!(error.to_string().starts_with("ERR value is not an integer or out of range script: "));
    assert_eq!(eval(bench, release, &["lock"], &["other"]), Reply::Integer(0));
    assert_eq!(eval(bench, release, &["lock"], &["uuid"]), Reply::Integer(1));
}

#[test]
fn analytics_are_aggregated() {
    let source = "
        local events = redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
        local counts = {}
        for at = 1, #events, 2 do
          local value = cjson.decode(events[at])[ARGV[1]]
          counts[value] = (counts[value] or 0) + tonumber(events[at + 1])
        end
        local result = {}
        for value, count in pairs(counts) do table.insert(result, {value, count}) end
        table.sort(result, function(a, b) return a[2] > b[2] end)
        return result";
    let bench = &mut Bench::new();
    for (score, member) in [
        ("3", r#"{"identifier":"a","success":true}"#),
        ("1", r#"{"identifier":"a","success":false}"#),
        ("2", r#"{"identifier":"b","success":true}"#),
    ] {
        bench.run_args(&[b"ZINCRBY", b"events", score.as_bytes(), member.as_bytes()]);
    }
    let pair = |value: Reply, count| Reply::Array(vec![value, Reply::Integer(count)]);
    let by = |bench: &mut Bench, field: &str| eval(bench, source, &["events"], &[field]);
    assert_eq!(by(bench, "success"), Reply::Array(vec![pair(Reply::Integer(1), 5), pair(Reply::Null, 1)]));
    assert_eq!(by(bench, "identifier"), Reply::Array(vec![pair(Reply::bulk("a"), 4), pair(Reply::bulk("b"), 2)]));
}

#[test]
fn a_union_of_many_keys_takes_numbers() {
    let source = "
        local words = {'ZUNION', tonumber(ARGV[2])}
        for at = 0, ARGV[2] - 1 do table.insert(words, KEYS[1] .. ':' .. (ARGV[1] + at * 3600000)) end
        table.insert(words, 'WITHSCORES')
        local union, allowed = redis.call(unpack(words)), 0
        for at = 1, #union, 2 do
          if string.find(union[at], 'success\":true') then allowed = allowed + tonumber(union[at + 1]) end
        end
        return {#union, allowed, union[2]}";
    let bench = &mut Bench::new();
    for at in 0..256_u64 {
        let key = format!("events:{}", 1_700_000_000_000 + at * 3_600_000);
        bench.run_args(&[b"ZINCRBY", key.as_bytes(), b"1", br#"{"success":true}"#]);
        bench.run_args(&[b"ZINCRBY", key.as_bytes(), b"0.5", br#"{"success":false}"#]);
    }
    let reply = eval(bench, source, &["events"], &["1700000000000", "256"]);
    assert_eq!(reply, Reply::Array(vec![Reply::Integer(4), Reply::Integer(256), Reply::bulk("128")]));
}

// --- the libraries --------------------------------------------------------------------------------------------------

#[test]
fn json_reads_and_writes_as_in_redis() {
    for (source, wanted) in [
        ("cjson.encode({})", "{}"),
        ("cjson.encode({1, 2, nil, 4})", "[1,2,null,4]"),
        ("cjson.encode({[1] = 1, [10] = 3})", "[1,null,null,null,null,null,null,null,null,3]"),
        ("cjson.encode({[1.5] = 1})", r#"{"1.5":1}"#),
        ("cjson.encode({[0] = 'a'})", r#"{"0":"a"}"#),
        (
            "cjson.encode({1e20, 1e15, 123456789012345678, -0, 3.14159265358979})",
            "[1e+20,1e+15,1.2345678901235e+17,-0,3.1415926535898]",
        ),
        ("cjson.encode('a/b\"\\\\\\n\\t\\1\\127')", r#""a\/b\"\\\n\t\u0001\u007f""#),
        ("cjson.encode(cjson.null)", "null"),
        ("cjson.encode(cjson.decode('[]'))", "{}"),
        ("cjson.encode(cjson.decode('{\"a\":[1,{\"b\":null}]}'))", r#"{"a":[1,{"b":null}]}"#),
        ("cjson.decode('\"\\\\u00e9\\\\ud83d\\\\ude00\\\\n\\\\/\"')", "\u{e9}\u{1f600}\n/"),
        ("tostring(cjson.decode('[0x10]')[1])", "16"),
        ("tostring(cjson.decode('+1') + cjson.decode('01') + cjson.decode('1.5e1'))", "17"),
        ("tostring(cjson.decode('[nan]')[1])", "nan"),
    ] {
        assert_eq!(text(&format!("return {source}")), wanted, "{source}");
    }
    let bench = &mut Bench::new();
    for (source, wanted) in [
        ("cjson.encode({[1] = 1, [11] = 3})", "Cannot serialise table: excessively sparse array"),
        ("cjson.encode({[true] = 1})", "Cannot serialise boolean: table key must be a number or string"),
        ("cjson.encode({a = 1/0})", "Cannot serialise number: must not be NaN or Inf"),
        ("cjson.encode(print_ == nil)", "Script attempted to access nonexistent global variable 'print_'"),
        ("cjson.encode(error)", "Cannot serialise function: type not supported"),
        ("cjson.encode()", "bad argument #1 to 'encode' (expected 1 argument)"),
        ("cjson.decode('')", "Expected value but found T_END at character 1"),
        ("cjson.decode('[1,2')", "Expected comma or array end but found T_END at character 5"),
        ("cjson.decode('{\"a\"}')", "Expected colon but found T_OBJ_END at character 5"),
        ("cjson.decode('{1:2}')", "Expected object key string but found T_NUMBER at character 2"),
        ("cjson.decode('nope')", "Expected value but found invalid token at character 1"),
        ("cjson.decode('\"abc')", "Expected value but found unexpected end of string at character 5"),
        ("cjson.decode('\"\\\\ud83d\"')", "Expected value but found invalid unicode escape code at character 2"),
        ("cjson.decode('-')", "Expected value but found invalid number at character 1"),
        ("cjson.decode('[1] x')", "Expected the end but found invalid token at character 5"),
        ("cjson.decode({})", "bad argument #1 to 'decode' (string expected, got table)"),
        ("cjson.decode(string.rep('[', 1001))", "Found too many nested data structures (1001) at character 1001"),
    ] {
        let place = "script: SHA, on @user_script:1.";
        assert_eq!(
            error(bench, &format!("return {source}")),
            format!("ERR user_script:1: {wanted} {place}"),
            "{source}"
        );
    }
    assert_eq!(run("local t = {} for i = 1, 999 do t = {t} end return #cjson.encode(t)"), Reply::Integer(2_000));
    assert_eq!(run("return #cjson.decode(string.rep('[', 1000) .. string.rep(']', 1000))"), Reply::Integer(1));
    assert_eq!(
        text(
            "cjson.encode_sparse_array(true) cjson.encode_number_precision(3) return cjson.encode({[1000] = 3.14159})"
        ),
        r#"{"1e+03":3.14}"#
    );
}

#[test]
fn packed_values_are_those_of_redis() {
    const HEX: &str =
        "local function hex(s) return (s:gsub('.', function(c) return string.format('%02x', c:byte()) end)) end ";
    for (source, wanted) in [
        ("cmsgpack.pack(1, -1, 128, 256, 65536, 4294967296)", "01ffcc80cd0100ce00010000cf0000000100000000"),
        ("cmsgpack.pack(-33, -129, -32769, -2147483649)", "d0dfd1ff7fd2ffff7fffd3ffffffff7fffffff"),
        ("cmsgpack.pack(1.5, 0.1, 2^63, 1/0, -0)", "ca3fc00000cb3fb999999999999aca5f000000ca7f80000000"),
        ("cmsgpack.pack('abc', true, false, nil, error)", "a3616263c3c2c0c0"),
        ("cmsgpack.pack({}, {1, 2}, {a = 1}, {[2] = 1}, {{}, {{}}})", "9092010281a16101810201929091 90"),
        ("cmsgpack.pack(string.rep('a', 32)):sub(1, 3)", "d92061"),
        ("struct.pack('>hI3bs', 1, 2, -1, 'ab')", "0001000002ff616200"),
        ("struct.pack('!4bi', 1, 2)", "0100000002000000"),
        ("struct.pack('>fd', 1.5, 1.5)", "3fc000003ff8000000000000"),
        ("struct.pack('>I2c0x', 3, 'abc')", "000361626300"),
    ] {
        assert_eq!(text(&format!("{HEX} return hex({source})")), wanted.replace(' ', ""), "{source}");
    }
    assert_eq!(
        run("return {struct.unpack('>hI3bs', struct.pack('>hI3bs', -1, 2, -1, 'ab'))}"),
        Reply::Array(vec![
            Reply::Integer(-1),
            Reply::Integer(2),
            Reply::Integer(-1),
            Reply::bulk("ab"),
            Reply::Integer(10)
        ])
    );
    assert_eq!(run("return {struct.size('!bd'), struct.size('i3'), struct.size('c10')}"), integers(&[16, 3, 10]));
    assert_eq!(run("return {cmsgpack.unpack_one(cmsgpack.pack(1, 2), 1)}"), integers(&[-1, 2]));
    assert_eq!(run("return {cmsgpack.unpack_limit(cmsgpack.pack(1, 2, 3), 2)}"), integers(&[2, 1, 2]));
    assert_eq!(
        run(
            "return {bit.bnot(0), bit.band(0xff, 0x0f), bit.lshift(1, 8), bit.rshift(-256, 8), bit.arshift(-256, 8), bit.rol(0x12345678, 12), bit.bswap(0x12345678)}"
        ),
        integers(&[-1, 15, 256, 16_777_215, -1, 1_164_411_171, 2_018_915_346])
    );
    assert_eq!(text("return bit.tohex(-1, -4) .. bit.tohex(1)"), "FFFF00000001");
    let bench = &mut Bench::new();
    for (source, wanted) in [
        ("cmsgpack.pack()", "bad argument #0 to 'pack' (MessagePack pack needs input.)"),
        ("cmsgpack.unpack('\\163ab')", "Missing bytes in input."),
        ("cmsgpack.unpack('\\193')", "Bad data format in input."),
        ("cmsgpack.unpack(string.rep('\\145', 5000))", "stack overflow (nested too deep)"),
        ("cmsgpack.unpack_one('a', 2)", "Start offset 2 greater than input length 1."),
        ("struct.pack('q', 1)", "bad argument #1 to 'pack' (invalid format option 'q')"),
        ("struct.pack('i33', 1)", "integral size 33 is larger than limit of 32"),
        ("struct.unpack('i', 'abc')", "bad argument #2 to 'unpack' (data string too short)"),
        ("struct.unpack('c0', 'abc')", "format 'c0' needs a previous size"),
        ("bit.band('x')", "bad argument #1 to 'band' (number expected, got string)"),
    ] {
        let place = "script: SHA, on @user_script:1.";
        assert_eq!(
            error(bench, &format!("return {source}")),
            format!("ERR user_script:1: {wanted} {place}"),
            "{source}"
        );
    }
}

/// A random Lua value, as source: strings, numbers, truth values and tables that are either arrays or objects.
fn value(random: &mut Random, depth: u64) -> String {
    match random.below(if depth == 0 { 4 } else { 6 }) {
        0 => (random.next_u64() as i32 >> random.below(31)).to_string(),
        1 => format!("{}", f64::from(random.next_u64() as i32) / 64.0),
        2 => {
            let bytes: Vec<_> = (0..random.below(6)).map(|_| format!("\\{:03}", random.below(128))).collect();
            format!("'{}'", bytes.concat())
        }
        3 => (random.below(2) == 0).to_string(),
        4 => {
            let items: Vec<_> = (0..=random.below(20)).map(|_| value(random, depth - 1)).collect();
            format!("{{{}}}", items.join(","))
        }
        _ => {
            let items: Vec<_> =
                (0..=random.below(20)).map(|at| format!("k{at}={}", value(random, depth - 1))).collect();
            format!("{{{}}}", items.join(","))
        }
    }
}

#[test]
fn values_survive_the_way_there_and_back() {
    const SAME: &str = "
        local function same(a, b)
          if type(a) ~= 'table' or type(b) ~= 'table' then return a == b end
          for k, v in pairs(a) do if not same(v, b[k]) then return false end end
          for k in pairs(b) do if a[k] == nil then return false end end
          return true
        end
        local function steps(v)
          local json, packed = cjson.encode(v), cmsgpack.pack(v)
          assert(same(v, cjson.decode(json)), 'json')
          assert(same(v, (cmsgpack.unpack(packed))), 'msgpack')
          assert(cmsgpack.pack(cmsgpack.unpack(packed)) == packed or type(v) == 'table', 'packed')
        end ";
    let mut random = Random::new(7);
    for _ in 0..300 {
        let source = format!("{SAME} steps({}) return 1", value(&mut random, 3));
        assert_eq!(run(&source), Reply::Integer(1), "{source}");
    }
}

#[test]
fn random_bytes_never_break_a_reader() {
    let mut random = Random::new(11);
    let bench = &mut Bench::new();
    let source = "
        pcall(cjson.decode, ARGV[1]) pcall(function() return #{cmsgpack.unpack(ARGV[1])} end) pcall(string.find, ARGV[2], ARGV[1])
        pcall(string.gsub, ARGV[2], ARGV[1], ARGV[1]) pcall(struct.unpack, ARGV[1], ARGV[2])
        pcall(struct.pack, ARGV[1], 1, 2, 3) pcall(loadstring, ARGV[1]) return 1";
    let alphabet =
        b"{}[]\",:\\u0123456789abcdefxntrue-+.%()*?$^!><isIcbBhlLTfd \x00\x80\x91\xa1\xc1\xcb\xd9\xdc\xde\xff";
    for _ in 0..500 {
        let bytes: Vec<u8> =
            (0..random.below(24)).map(|_| alphabet[random.below(alphabet.len() as u64) as usize]).collect();
        assert_eq!(bench.run_args(&[b"EVAL", source.as_bytes(), b"0", &bytes, b"abc(12)%xyz\0"]), Reply::Integer(1));
    }
}
