import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();
const N = 500;
const names = Array.from({ length: N }, (_, at) => `item-${at}`);

before(async () => {
  await redis.mset(Object.fromEntries(names.map((name, at) => [`scan:${name}`, at])));
  await redis.hset("hash", Object.fromEntries(names.map((name, at) => [name, { at }])));
  await redis.sadd("set", ...names);
  const pipeline = redis.pipeline();
  names.forEach((name, at) => pipeline.zadd("zset", { score: at + 0.5, member: name }));
  await pipeline.exec();
});

/** Walks a cursor to its end; answers the pages. */
async function walk(step) {
  const pages = [];
  let cursor = "0";
  do {
    const [next, page] = await step(cursor);
    assert.equal(typeof next, "string");
    pages.push(page);
    cursor = next;
    assert.ok(pages.length <= 10 * N, "the walk ends");
  } while (cursor !== "0");
  return pages;
}

test("SCAN visits every key", async () => {
  const pages = await walk((cursor) => redis.scan(cursor, { count: 50 }));
  assert.ok(pages.length > 1);
  assert.equal(new Set(pages.flat()).size, N + 3);
});

test("SCAN with a pattern and with a type", async () => {
  const matched = await walk((cursor) => redis.scan(cursor, { match: "scan:item-1?", count: 100 }));
  assert.equal(new Set(matched.flat()).size, 10);
  const hashes = await walk((cursor) => redis.scan(cursor, { type: "hash", count: 100 }));
  assert.deepEqual(hashes.flat(), ["hash"]);
});

test("SCAN tells types when asked", async () => {
  const pages = await walk((cursor) => redis.scan(cursor, { withType: true, count: 200 }));
  const types = Object.fromEntries(pages.flat().map(({ key, type }) => [key, type]));
  assert.deepEqual([types.hash, types.set, types.zset, types["scan:item-0"]], ["hash", "set", "zset", "string"]);
});

test("SCAN takes a cursor given as a number", async () => {
  const [cursor, keys] = await redis.scan(0, { count: 1000 });
  assert.equal(cursor, "0");
  assert.equal(keys.length, N + 3);
});

test("HSCAN visits every field with its value", async () => {
  const pages = await walk((cursor) => redis.hscan("hash", cursor, { count: 40 }));
  const flat = pages.flat();
  const seen = new Map();
  for (let at = 0; at < flat.length; at += 2) seen.set(flat[at], flat[at + 1]);
  assert.equal(seen.size, N);
  assert.deepEqual(seen.get("item-7"), { at: 7 });
  const matched = await walk((cursor) => redis.hscan("hash", cursor, { match: "item-49*", count: 100 }));
  assert.equal(matched.flat().length, 22);
});

test("SSCAN visits every member", async () => {
  const pages = await walk((cursor) => redis.sscan("set", cursor, { count: 40 }));
  assert.deepEqual(new Set(pages.flat()), new Set(names));
  const matched = await walk((cursor) => redis.sscan("set", cursor, { match: "item-1?" }));
  assert.equal(new Set(matched.flat()).size, 10);
});

test("ZSCAN visits every member with its score", async () => {
  const pages = await walk((cursor) => redis.zscan("zset", cursor, { count: 40 }));
  const flat = pages.flat();
  const seen = new Map();
  for (let at = 0; at < flat.length; at += 2) seen.set(flat[at], flat[at + 1]);
  assert.equal(seen.size, N);
  assert.equal(seen.get("item-7"), 7.5);
  const matched = await walk((cursor) => redis.zscan("zset", cursor, { match: "item-49", count: 100 }));
  assert.deepEqual(matched.flat(), ["item-49", 49.5]);
});

test("walking what is not there ends at once", async () => {
  assert.deepEqual(await redis.hscan("nothing", 0), ["0", []]);
  assert.deepEqual(await redis.sscan("nothing", 0), ["0", []]);
  assert.deepEqual(await redis.zscan("nothing", 0), ["0", []]);
  assert.deepEqual(await redis.scan(0, { match: "nothing", count: 10_000 }), ["0", []]);
});
