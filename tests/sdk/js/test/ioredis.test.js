// ioredis over RESP: pipelines, transactions, scripts, streams, blocking, pub/sub, and both doors on the same data.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis as Rest } from "@upstash/redis";
import { Redis } from "ioredis";
import { closing, eventually, serve, sleep } from "../lib/harness.js";

const server = await serve();
const redis = new Redis(server.respUrl);
closing(redis, () => redis.disconnect());

test("values, pipelines and transactions", async () => {
  assert.equal(await redis.set("k", "v", "EX", 100), "OK");
  assert.equal(await redis.get("k"), "v");
  assert.deepEqual(await redis.hset("h", { a: 1, b: 2 }), 2);
  assert.deepEqual(await redis.hgetall("h"), { a: "1", b: "2" });
  const bytes = Buffer.from([0, 255, 13, 10, 128]);
  await redis.set("bytes", bytes);
  assert.deepEqual(await redis.getBuffer("bytes"), bytes);
  const piped = await redis.pipeline().incr("n").lpush("n", 1).incr("n").exec();
  assert.equal(piped[0][1], 1);
  assert.match(piped[1][0].message, /WRONGTYPE/);
  assert.equal(piped[2][1], 2);
  assert.deepEqual(await redis.multi().set("t", 1).incr("t").exec(), [[null, "OK"], [null, 2]]);
});

test("a watched key that changes aborts the transaction", async () => {
  const other = redis.duplicate();
  await redis.set("w", 1);
  await redis.watch("w");
  await other.set("w", 2);
  assert.equal(await redis.multi().set("w", 3).exec(), null);
  assert.equal(await redis.get("w"), "2");
  other.disconnect();
});

test("defined commands load their scripts when needed", async () => {
  redis.defineCommand("bump", { numberOfKeys: 1, lua: "return redis.call('INCRBY', KEYS[1], ARGV[1])" });
  assert.equal(await redis.bump("counter", 5), 5);
  await redis.script("FLUSH");
  assert.equal(await redis.bump("counter", 5), 10);
});

test("both doors show the same data", async () => {
  const rest = Rest.fromEnv();
  await redis.set("shared", JSON.stringify({ from: "resp" }));
  assert.deepEqual(await rest.get("shared"), { from: "resp" });
  await rest.set("shared", { from: "rest" });
  assert.equal(await redis.get("shared"), '{"from":"rest"}');
});

test("messages pass between the doors", async () => {
  const subscriber = redis.duplicate();
  const got = [];
  subscriber.on("message", (channel, message) => got.push([channel, message]));
  subscriber.on("pmessage", (pattern, channel, message) => got.push([pattern, channel, message]));
  await subscriber.subscribe("news");
  await subscriber.psubscribe("n*s");
  assert.equal(await Rest.fromEnv().publish("news", "hello"), 2);
  await eventually(() => got.length === 2, { what: "both messages" });
  assert.deepEqual(got, [["news", "hello"], ["n*s", "news", "hello"]]);
  subscriber.disconnect();
});

test("a blocked client is served, and one that leaves takes nothing", async () => {
  const [patient, gone] = [redis.duplicate(), redis.duplicate()];
  const popped = patient.blpop("jobs", 5);
  gone.blpop("jobs", 5).catch(() => {});
  await sleep(50);
  gone.disconnect();
  await sleep(50);
  await redis.rpush("jobs", "one", "two");
  assert.deepEqual(await popped, ["jobs", "one"]);
  assert.deepEqual(await redis.lrange("jobs", 0, -1), ["two"]);
  patient.disconnect();
});

test("scans and streams iterate", async () => {
  const fill = redis.pipeline();
  for (let n = 0; n < 500; n++) fill.set(`scan:${n}`, n);
  await fill.exec();
  const seen = new Set();
  for await (const keys of redis.scanStream({ match: "scan:*", count: 50 })) keys.forEach((key) => seen.add(key));
  assert.equal(seen.size, 500);
  const id = await redis.xadd("s", "*", "field", "value");
  assert.deepEqual(await redis.xread("STREAMS", "s", "0"), [["s", [[id, ["field", "value"]]]]]);
});

test("it connects again after the server was killed, and nothing is lost", async () => {
  await redis.set("durable", "yes");
  redis.on("error", () => {});
  await server.kill();
  await server.wake();
  assert.equal(await redis.get("durable"), "yes");
});
