// The SDK's helpers for functions. That FCALL_RO runs whatever only reads is Upstash's rule, tested by its SDK.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();

const code = `#!lua name=mylib
redis.register_function('my_set', function(keys, args) return redis.call('SET', keys[1], args[1]) end)
redis.register_function('my_get', function(keys) return redis.call('GET', keys[1]) end)
redis.register_function{
  function_name = 'my_exists', description = 'Whether a key is there.', flags = {'no-writes'},
  callback = function(keys) return redis.call('EXISTS', keys[1]) end,
}`;

beforeEach(() => redis.functions.flush());

test("a library is loaded, replaced, and called", async () => {
  assert.equal(await redis.functions.load({ code }), "mylib");
  await assert.rejects(redis.functions.load({ code }), /Library 'mylib' already exists/);
  assert.equal(await redis.functions.load({ code, replace: true }), "mylib");
  assert.equal(await redis.functions.call("my_set", ["k"], ["v"]), "OK");
  assert.equal(await redis.functions.call("my_get", ["k"]), "v");
  assert.equal(await redis.get("k"), "v");
  await assert.rejects(redis.functions.call("nope"), /Function not found/);
});

test("a function that only reads may be called read-only, whether it says so or not", async () => {
  await redis.functions.load({ code });
  await redis.set("k", "v");
  assert.equal(await redis.functions.callRo("my_exists", ["k"]), 1);
  assert.equal(await redis.functions.callRo("my_get", ["k"]), "v");
  await assert.rejects(redis.functions.callRo("my_set", ["k"], ["w"]), /write flag using \*_ro command/);
  assert.equal(await redis.get("k"), "v");
});

test("libraries are listed and counted", async () => {
  assert.deepEqual(await redis.functions.list(), []);
  await redis.functions.load({ code });
  const [library] = await redis.functions.list({ libraryName: "my*", withCode: true });
  assert.equal(library.libraryName, "mylib");
  assert.equal(library.engine, "LUA");
  assert.ok(library.libraryCode.startsWith("#!lua name=mylib"));
  const found = library.functions.find(({ name }) => name === "my_exists");
  assert.deepEqual(found, { name: "my_exists", description: "Whether a key is there.", flags: ["no-writes"] });
  assert.deepEqual(await redis.functions.list({ libraryName: "other" }), []);
  assert.deepEqual(await redis.functions.stats(), { engines: { LUA: { librariesCount: 1, functionsCount: 3 } } });
});

test("libraries go", async () => {
  await redis.functions.load({ code });
  assert.equal(await redis.functions.delete("mylib"), "OK");
  await assert.rejects(redis.functions.delete("mylib"), /Library not found/);
  await redis.functions.load({ code });
  await redis.flushall();
  assert.equal((await redis.functions.list()).length, 1);
  assert.equal(await redis.functions.flush(), "OK");
  assert.deepEqual(await redis.functions.list(), []);
});

test("functions in pipelines and transactions", async () => {
  const pipeline = redis.pipeline();
  pipeline.functions.load({ code });
  pipeline.functions.call("my_set", ["p"], ["1"]);
  pipeline.functions.callRo("my_get", ["p"]);
  assert.deepEqual(await pipeline.exec(), ["mylib", "OK", 1]);
  const multi = redis.multi();
  multi.functions.call("my_set", ["p"], ["2"]);
  multi.functions.call("my_get", ["p"]);
  multi.functions.delete("mylib");
  assert.deepEqual(await multi.exec(), ["OK", 2, "OK"]);
});
