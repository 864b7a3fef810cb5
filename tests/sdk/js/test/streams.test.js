// Streams through the helpers of the SDK: entries, groups, what is pending and what is taken over.

import assert from "node:assert/strict";
import { beforeEach, test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();
beforeEach(() => redis.flushdb());

const fill = async (key, count) => {
  for (let n = 1; n <= count; n += 1) await redis.xadd(key, `${n}-0`, { n });
};

test("entries are added, ranged over and removed", async () => {
  assert.match(await redis.xadd("s", "*", { name: "Ada", tags: ["a", "b"] }), /^\d+-0$/);
  assert.equal(await redis.xadd("missing", "*", { f: 1 }, { nomkStream: true }), null);
  await redis.del("s");
  await fill("s", 4);
  assert.equal(await redis.xlen("s"), 4);
  assert.deepEqual(await redis.xrange("s", "-", "+", 2), { "1-0": { n: 1 }, "2-0": { n: 2 } });
  assert.deepEqual(Object.keys(await redis.xrevrange("s", "(4-0", "2")), ["3-0", "2-0"]);
  assert.deepEqual(await redis.xread("s", "2-0"), [["s", [["3-0", ["n", 3]], ["4-0", ["n", 4]]]]]);
  assert.deepEqual(await redis.xread(["s", "t"], ["3", "0"], { count: 1 }), [["s", [["4-0", ["n", 4]]]]]);
  assert.equal(await redis.xread("s", "$"), null);
  assert.equal(await redis.xdel("s", ["1-0", "9-0"]), 1);
  assert.deepEqual(await redis.xdelex("s", "keepref", "2-0", "9-0"), [1, -1]);
  assert.deepEqual(Object.keys(await redis.xrange("s", "-", "+")), ["3-0", "4-0"]);
});

test("approximate trimming of a long stream goes near the threshold", async () => {
  const fill = redis.pipeline();
  for (let n = 1; n <= 1000; n++) fill.xadd("long", `${n}-0`, { n });
  await fill.exec();
  assert.equal(await redis.xtrim("long", { strategy: "MAXLEN", exactness: "~", threshold: 30 }), 970);
  assert.equal(await redis.xlen("long"), 30);
});

test("streams are trimmed", async () => {
  await fill("s", 10);
  assert.equal(await redis.xtrim("s", { strategy: "MAXLEN", exactness: "=", threshold: 7 }), 3);
  assert.equal(await redis.xtrim("s", { strategy: "MINID", exactness: "=", threshold: "6-0" }), 2);
  assert.equal(await redis.xtrim("s", { strategy: "MAXLEN", threshold: 1 }), 0);
  await redis.xadd("s", "11-*", { n: 11 }, { trim: { type: "MAXLEN", comparison: "=", threshold: 2 } });
  assert.deepEqual(Object.keys(await redis.xrange("s", "-", "+")), ["10-0", "11-0"]);
});

test("a group shares the reading, and what is pending can be taken over", async () => {
  assert.equal(await redis.xgroup("s", { type: "CREATE", group: "g", id: "$", options: { MKSTREAM: true } }), "OK");
  await assert.rejects(redis.xgroup("s", { type: "CREATE", group: "g", id: "$" }), /BUSYGROUP Consumer Group name/);
  await fill("s", 3);
  assert.deepEqual(await redis.xreadgroup("g", "alice", "s", ">", { count: 2 }), [
    ["s", [["1-0", ["n", 1]], ["2-0", ["n", 2]]]],
  ]);
  assert.equal((await redis.xreadgroup("g", "bob", ["s"], [">"]))[0][1].length, 1);
  assert.equal(await redis.xreadgroup("g", "bob", "s", ">"), null);
  assert.equal(await redis.xack("s", "g", ["2-0", "9-0"]), 1);
  const rows = await redis.xpending("s", "g", "-", "+", 10);
  assert.deepEqual(rows.map(([id, consumer, , count]) => [id, consumer, count]), [["1-0", "alice", 1], ["3-0", "bob", 1]]);
  await sleep(20);
  assert.deepEqual(await redis.xclaim("s", "g", "carol", 10, "1-0"), [["1-0", ["n", 1]]]);
  assert.deepEqual(await redis.xautoclaim("s", "g", "dave", 10, "2", { count: 1 }), ["0-0", [["3-0", ["n", 3]]], []]);
  assert.deepEqual(await redis.xpending("s", "g", "-", "+", 10, { consumer: "bob" }), []);
  assert.deepEqual(await redis.xackdel("s", "g", "DELREF", "1-0"), [1]);
  assert.equal(await redis.xlen("s"), 2);
});

test("groups and consumers are managed and described", async () => {
  await fill("s", 2);
  await redis.xgroup("s", { type: "CREATE", group: "g", id: "0", options: { ENTRIESREAD: 0 } });
  assert.equal(await redis.xgroup("s", { type: "CREATECONSUMER", group: "g", consumer: "alice" }), 1);
  await redis.xreadgroup("g", "alice", "s", ">");
  const group = ["name", "g", "consumers", 1, "pending", 2, "last-delivered-id", "2-0", "entries-read", 2, "lag", 0];
  assert.deepEqual(await redis.xinfo("s", { type: "GROUPS" }), [group]);
  const [consumer] = await redis.xinfo("s", { type: "CONSUMERS", group: "g" });
  assert.deepEqual(consumer.slice(0, 5), ["name", "alice", "pending", 2, "idle"]);
  assert.equal(await redis.xgroup("s", { type: "SETID", group: "g", id: "$", options: { ENTRIESREAD: 2 } }), "OK");
  assert.equal(await redis.xgroup("s", { type: "DELCONSUMER", group: "g", consumer: "alice" }), 2);
  assert.equal(await redis.xgroup("s", { type: "DESTROY", group: "g" }), 1);
  await assert.rejects(redis.xreadgroup("g", "alice", "s", ">"), /NOGROUP/);
});

test("nobody waits over REST", async () => {
  await fill("s", 1);
  await redis.xgroup("s", { type: "CREATE", group: "g", id: "0" });
  await assert.rejects(redis.xread("s", "0", { blockMS: 10 }), /not supported over REST/);
  await assert.rejects(redis.xreadgroup("g", "c", "s", ">", { blockMS: 10 }), /not supported over REST/);
});
