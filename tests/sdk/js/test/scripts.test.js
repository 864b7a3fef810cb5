import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();
const sha1 = (text) => createHash("sha1").update(text).digest("hex");

test("eval: keys, arguments, and what Lua values become", async () => {
  assert.deepEqual(await redis.eval("return {KEYS[1], ARGV[1], ARGV[2]}", ["k"], ["a", 2]), ["k", "a", 2]);
  assert.equal(await redis.eval("return 1.9", [], []), 1);
  assert.equal(await redis.eval("return '3.5'", [], []), 3.5);
  assert.equal(await redis.eval("return true", [], []), 1);
  assert.equal(await redis.eval("return false", [], []), null);
  assert.equal(await redis.eval("return nil", [], []), null);
  assert.deepEqual(await redis.eval("return {1, {2, {'x'}}, nil, 4}", [], []), [1, [2, ["x"]]]);
  assert.deepEqual(await redis.eval("return {1, false, 3}", [], []), [1, null, 3]);
  assert.equal(await redis.eval("return {ok='FINE'}", [], []), "FINE");
  assert.equal(await redis.eval("return redis.status_reply('OK')", [], []), "OK");
  assert.deepEqual(await redis.eval("return {}", [], []), []);
});

test("eval: reads and writes", async () => {
  const script = "redis.call('SET', KEYS[1], ARGV[1]); return redis.call('INCRBY', KEYS[1], 2)";
  assert.equal(await redis.eval(script, ["counter"], [40]), 42);
  assert.equal(await redis.get("counter"), 42);
});

test("eval: a JSON argument passes through cjson", async () => {
  const script = "local o = cjson.decode(ARGV[1]); o.n = o.n + 1; return cjson.encode(o)";
  assert.deepEqual(await redis.eval(script, [], [{ n: 1, s: "ü" }]), { n: 2, s: "ü" });
});

test("eval: errors name themselves", async () => {
  await assert.rejects(redis.eval("return {err='MYERR what happened'}", [], []), /MYERR what happened/);
  await assert.rejects(redis.eval("error('boom')", [], []), /boom/);
  await assert.rejects(redis.eval("return redis.call('nope')", [], []), /Unknown Redis command/i);
  await assert.rejects(redis.eval("this is not lua", [], []), /Error compiling script/);
  await redis.set("text", "abc");
  await assert.rejects(redis.eval("return redis.call('LPUSH', KEYS[1], 1)", ["text"], []), /WRONGTYPE/);
  assert.match(await redis.eval("return redis.pcall('LPUSH', KEYS[1], 1).err", ["text"], []), /^WRONGTYPE/);
});

test("evalsha: an unknown hash is NOSCRIPT, alone and in a pipeline", async () => {
  const unknown = "0".repeat(40);
  const exact = "NOSCRIPT No matching script. Please use EVAL.";
  await assert.rejects(redis.evalsha(unknown, [], []), { message: `Command failed: ${exact}` });
  const single = Redis.fromEnv({ enableAutoPipelining: false });
  await assert.rejects(single.evalsha(unknown, [], []), (error) => error.message.startsWith(`${exact}, command was:`));
  const answers = await redis.pipeline().set("x", 1).evalsha(unknown, [], []).get("x").exec({ keepErrors: true });
  assert.deepEqual(answers.map(({ error, result }) => error ?? result), ["OK", exact, 1]);
});

test("load, exists, flush", async () => {
  const script = "return 'loaded'";
  assert.equal(await redis.scriptLoad(script), sha1(script));
  assert.deepEqual(await redis.scriptExists(sha1(script), "f".repeat(40)), [1, 0]);
  assert.equal(await redis.evalsha(sha1(script), [], []), "loaded");
  assert.equal(await redis.evalsha(sha1(script).toUpperCase(), [], []), "loaded");
  for (const how of [undefined, { sync: true }, { async: true }]) assert.equal(await redis.scriptFlush(how), "OK");
  assert.deepEqual(await redis.scriptExists(sha1(script)), [0]);
});

test("createScript falls back to the text once, then goes by the hash", async () => {
  await redis.scriptFlush();
  const script = redis.createScript("return ARGV[1] .. '!'");
  await assert.rejects(script.evalsha([], ["x"]), /NOSCRIPT/);
  assert.equal(await script.exec([], ["hello"]), "hello!");
  assert.equal(script.sha1, sha1("return ARGV[1] .. '!'"));
  assert.equal(await script.evalsha([], ["again"]), "again!");
  assert.equal(await script.eval([], ["text"]), "text!");
});

test("read-only scripts read, and may not write", async () => {
  await redis.set("ro", 7);
  const script = redis.createScript("return redis.call('GET', KEYS[1])", { readonly: true });
  assert.equal(await script.exec(["ro"], []), 7);
  assert.equal(await script.evalRo(["ro"], []), 7);
  assert.equal(await script.evalshaRo(["ro"], []), 7);
  assert.equal(await redis.evalRo("return redis.call('GET', KEYS[1])", ["ro"], []), 7);
  await assert.rejects(
    redis.evalRo("return redis.call('SET', KEYS[1], 1)", ["ro"], []),
    /commands are not allowed from read-only/,
  );
  assert.equal(await redis.get("ro"), 7);
});

test("a script that fails halfway keeps what it did, as in Redis", async () => {
  await redis.del("half");
  await assert.rejects(redis.eval("redis.call('SET', KEYS[1], 1); error('stop')", ["half"], []), /stop/);
  assert.equal(await redis.get("half"), 1);
});

test("scripts are atomic: 40 read-modify-writes at once lose nothing", async () => {
  await redis.set("atomic", 0);
  const script = redis.createScript(
    "local v = tonumber(redis.call('GET', KEYS[1])); redis.call('SET', KEYS[1], v + 1); return v",
  );
  await script.exec(["atomic"], []);
  const clients = Array.from({ length: 40 }, () => Redis.fromEnv({ enableAutoPipelining: false }));
  const seen = await Promise.all(clients.map((client) => client.evalsha(script.sha1, ["atomic"], [])));
  assert.equal(new Set(seen).size, 40);
  assert.equal(await redis.get("atomic"), 41);
});

test("eval inside a transaction", async () => {
  const answers = await redis.multi().set("tx", 1).eval("return redis.call('INCR', KEYS[1])", ["tx"], []).get("tx").exec();
  assert.deepEqual(answers, ["OK", 2, 2]);
});

test("the locking flag is taken, and empty keys are keys", async () => {
  const script = "#!lua flags=allow-key-locking\nreturn {KEYS[1], KEYS[2], redis.call('INCR', KEYS[1])}";
  assert.deepEqual(await redis.eval(script, ["locked", ""], []), ["locked", "", 1]);
});
