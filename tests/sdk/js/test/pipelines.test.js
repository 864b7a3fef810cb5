import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();

/** A client that keeps what it sent: the path and the commands of each request. */
function watched(options) {
  const client = Redis.fromEnv(options);
  const requests = [];
  client.use((request, next) => {
    requests.push({ path: (request.path ?? []).join("/"), body: request.body });
    return next(request);
  });
  return { client, requests };
}

test("auto-pipelining: a hundred mixed calls become one request of reads and one of writes", async () => {
  const { client, requests } = watched();
  await redis.mset(Object.fromEntries(Array.from({ length: 50 }, (_, at) => [`auto:${at}`, at])));
  const calls = Array.from({ length: 100 }, (_, at) =>
    at % 2 === 0 ? client.get(`auto:${at / 2}`) : client.incrby("auto:sum", at),
  );
  const answers = await Promise.all(calls);
  assert.deepEqual(answers.filter((_, at) => at % 2 === 0), Array.from({ length: 50 }, (_, at) => at));
  assert.equal(answers[99], 2500, "the sum of the odd numbers, in order");
  assert.deepEqual(requests.map(({ path, body }) => [path, body.length]).sort(), [
    ["pipeline", 50],
    ["pipeline", 50],
  ]);
});

test("auto-pipelining: one bad command fails its own caller alone", async () => {
  await redis.set("auto:text", "not a number");
  const answers = await Promise.allSettled([
    redis.set("auto:a", 1),
    redis.incr("auto:text"),
    redis.set("auto:b", 2),
    redis.lpush("auto:text", "x"),
  ]);
  assert.deepEqual(answers.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled", "rejected"]);
  assert.match(answers[1].reason.message, /^Command failed: ERR value is not an integer or out of range/);
  assert.match(answers[3].reason.message, /^Command failed: WRONGTYPE /);
  assert.deepEqual(await redis.mget("auto:a", "auto:b"), [1, 2]);
});

test("auto-pipelining: a thousand calls in one go", async () => {
  const answers = await Promise.all(Array.from({ length: 1000 }, (_, at) => redis.set(`k:${at}`, `v${at}`)));
  assert.ok(answers.every((answer) => answer === "OK"));
  assert.equal(await redis.get("k:999"), "v999");
});

test("auto-pipelining off: one request each", async () => {
  const { client, requests } = watched({ enableAutoPipelining: false });
  await Promise.all([client.set("single", 1), client.get("single"), client.del("single")]);
  assert.deepEqual(requests.map(({ path }) => path), ["", "", ""]);
});

test("pipeline: answers in order, each read as its command reads it", async () => {
  const answers = await redis
    .pipeline()
    .set("p:count", 1)
    .incrby("p:count", 41)
    .get("p:count")
    .hset("p:hash", { a: 1, b: { deep: true } })
    .hgetall("p:hash")
    .rpush("p:list", "x", 2, null)
    .lrange("p:list", 0, -1)
    .get("p:missing")
    .exec();
  assert.deepEqual(answers, ["OK", 42, 42, 2, { a: 1, b: { deep: true } }, 3, ["x", 2, null], null]);
});

test("pipeline: an error names the command; the others ran", async () => {
  await redis.set("p:text", "abc");
  const pipeline = redis.pipeline().set("p:before", 1).incr("p:text").set("p:after", 2);
  await assert.rejects(pipeline.exec(), {
    name: "UpstashError",
    message: "Command 2 [ incr ] failed: ERR value is not an integer or out of range",
  });
  assert.deepEqual(await redis.mget("p:before", "p:after"), [1, 2]);
});

test("pipeline: kept errors stand in their place", async () => {
  const answers = await redis.pipeline().set("p:k", 1).lpush("p:k", 1).get("p:k").exec({ keepErrors: true });
  assert.deepEqual(answers[0], { error: undefined, result: "OK" });
  assert.match(answers[1].error, /^WRONGTYPE /);
  assert.equal(answers[1].result, undefined);
  assert.deepEqual(answers[2], { error: undefined, result: 1 });
});

test("multi: all or nothing for whoever looks from outside", async () => {
  const answers = await redis.multi().set("m:a", 1).incr("m:a").get("m:a").exec();
  assert.deepEqual(answers, ["OK", 2, 2]);

  await redis.mset({ "m:left": 0, "m:right": 0 });
  const moves = Array.from({ length: 50 }, () => redis.multi().incr("m:left").decr("m:right").exec());
  const looks = Array.from({ length: 50 }, () => redis.mget("m:left", "m:right"));
  for (const [left, right] of await Promise.all(looks)) assert.equal(left + right, 0);
  await Promise.all(moves);
  assert.deepEqual(await redis.mget("m:left", "m:right"), [50, -50]);
});

test("multi: a command that fails while running does not undo the others", async () => {
  await redis.set("m:text", "abc");
  const transaction = redis.multi().set("m:one", 1).incr("m:text").set("m:two", 2);
  await assert.rejects(transaction.exec(), /^UpstashError: Command 2 \[ incr \] failed: ERR value is not an integer/);
  assert.deepEqual(await redis.mget("m:one", "m:two"), [1, 2]);
});

test("multi: a command that cannot be queued discards them all", async () => {
  const { client } = watched();
  client.use((request, next) => {
    if (request.path?.[0] === "multi-exec") request.body[1] = ["no-such-command", "x"];
    return next(request);
  });
  const transaction = client.multi().set("m:discarded", 1).ping().set("m:discarded", 2);
  await assert.rejects(transaction.exec(), { name: "UpstashError", message: /no-such-command/i });
  assert.equal(await redis.exists("m:discarded"), 0);
});

test("multi: a wrong number of arguments discards them all", async () => {
  const transaction = redis.multi().set("m:arity", 1);
  transaction.hset("m:arity:hash", {});
  await assert.rejects(transaction.exec(), /wrong number of arguments for 'hset' command|EXECABORT/);
  assert.equal(await redis.exists("m:arity"), 0);
});

test("empty pipelines are refused by the SDK and answered by the server", async () => {
  await assert.rejects(redis.pipeline().exec(), /Pipeline is empty/);
});

test("a pipeline of ten thousand commands", async () => {
  const pipeline = redis.pipeline();
  for (let at = 0; at < 10_000; at += 1) pipeline.rpush("long", at);
  const answers = await pipeline.exec();
  assert.equal(answers.length, 10_000);
  assert.equal(answers.at(-1), 10_000);
});
