import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";

await serve();

const VALUES = {
  text: "hello",
  "empty text": "",
  "the text OK": "OK",
  "text with quotes": `he said "hi" \\ 'there'\n\t\r`,
  zero: 0,
  integer: 42,
  negative: -17,
  fraction: 3.14159,
  "small fraction": 1e-7,
  "large number": 1e21,
  "largest safe integer": Number.MAX_SAFE_INTEGER,
  true: true,
  false: false,
  null: null,
  "empty list": [],
  "empty object": {},
  list: [1, "two", null, true, [3, [4]]],
  object: { a: 1, b: { c: [{ d: "deep" }] }, "key with spaces": "ü" },
  unicode: "Grüße 日本語 עברית 🐿️ \u{10FFFF}",
  "base64-looking": "SGVsbG8gd29ybGQ=",
  "base64 of OK": "T0s=",
  "control characters": "\u0000\u0001\u001f\u007f",
  "text that ends in a digit": "room 101",
  "html and script": "<script>alert('x')</script>",
  "line separators": "a\u2028b\u2029c",
};

/** HGETALL's helper leaves numbers that are not safe integers as text. */
const inWholeHash = (value) => (typeof value !== "number" || Number.isSafeInteger(value) ? value : String(value));

for (const [encoding, options] of Object.entries({ base64: {}, plain: { responseEncoding: false } })) {
  for (const [mode, extra] of Object.entries({ pipelined: {}, single: { enableAutoPipelining: false } })) {
    const redis = Redis.fromEnv({ ...options, ...extra });
    test(`values come back as they went (${encoding}, ${mode})`, async () => {
      for (const [name, value] of Object.entries(VALUES)) {
        await redis.set("value", value);
        assert.deepEqual(await redis.get("value"), value, `${name} in a string`);
        await redis.del("hash", "list", "set");
        await redis.hset("hash", { field: value });
        assert.deepEqual(await redis.hget("hash", "field"), value, `${name} in a hash`);
        assert.deepEqual((await redis.hgetall("hash")).field, inWholeHash(value), `${name} in a whole hash`);
        await redis.rpush("list", value);
        assert.deepEqual(await redis.lrange("list", 0, -1), [value], `${name} in a list`);
        await redis.sadd("set", value);
        assert.deepEqual(await redis.smembers("set"), [value], `${name} in a set`);
        await redis.zadd("zset", { score: 1, member: value });
        assert.equal(await redis.zscore("zset", value), 1, `${name} in a sorted set`);
      }
    });
  }
}

const redis = Redis.fromEnv();

test("integers too large for JavaScript stay exact as text", async () => {
  for (const big of ["9007199254740993", "123456789012345678901234567890", "-9223372036854775808", "1.10", "007", "+1"]) {
    await redis.set("big", big);
    assert.equal(await redis.get("big"), big);
    assert.deepEqual(await redis.mget("big"), [big]);
  }
});

test("a number text that JavaScript would print the same becomes a number", async () => {
  await redis.set("n", "42");
  assert.strictEqual(await redis.get("n"), 42);
});

test("text alone, with automatic deserialisation off", async () => {
  const plain = Redis.fromEnv({ automaticDeserialization: false });
  await plain.set("t", "42");
  assert.strictEqual(await plain.get("t"), "42");
  await plain.set("t", { a: 1 });
  assert.strictEqual(await plain.get("t"), '{"a":1}');
});

test("scores print as JavaScript prints numbers", async () => {
  const scores = [0.1, 0.30000000000000004, 1e21, 1e-7, 3, -2.5, 1e15, 123456.789, Number.MAX_SAFE_INTEGER];
  for (const score of scores) {
    await redis.zadd("scores", { score, member: `m${score}` });
    assert.strictEqual(await redis.zscore("scores", `m${score}`), score);
  }
});

test("a large value comes back whole", async () => {
  const value = "0123456789é".repeat(100_000);
  await redis.set("large", value);
  assert.equal(await redis.get("large"), value);
  assert.equal(await redis.strlen("large"), 1_200_000);
});

test("keys and fields of any text", async () => {
  for (const key of ["with space", "ключ", "a:b:c", "slash/and?query=1&x", "🐿️", '"quoted"', "100%"]) {
    await redis.set(key, { key });
    assert.deepEqual(await redis.get(key), { key });
    await redis.hset("names", { [key]: key });
  }
  assert.equal(Object.keys(await redis.hgetall("names")).length, 7);
});
