import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";
import { StaleWhileRevalidate } from "../patterns/stale-while-revalidate.js";

await serve();
const redis = Redis.fromEnv();

function source() {
  const load = async () => {
    load.calls += 1;
    await sleep(load.takes);
    return { version: load.calls };
  };
  return Object.assign(load, { calls: 0, takes: 0 });
}

function cache(options) {
  const pending = [];
  const swr = new StaleWhileRevalidate(redis, { ...options, waitUntil: (promise) => pending.push(promise) });
  return Object.assign(swr, { settled: () => Promise.all(pending.splice(0)) });
}

test("fresh is served from the cache, stale at once with a refresh behind it", async () => {
  const swr = cache({ fresh: 500, stale: 5000 });
  const load = source();
  assert.deepEqual(await swr.get("page", load), { value: { version: 1 }, from: "source" });
  assert.deepEqual(await swr.get("page", load), { value: { version: 1 }, from: "fresh" });
  await sleep(510);
  assert.deepEqual(await swr.get("page", load), { value: { version: 1 }, from: "stale" });
  await swr.settled();
  assert.deepEqual((await swr.get("page", load)).value, { version: 2 });
});

test("of 30 readers of a stale value one refreshes", async () => {
  const swr = cache({ fresh: 1, stale: 5000 });
  const load = source();
  await swr.get("hot", load);
  await sleep(5);
  swr.fresh = 5000;
  load.takes = 60;
  const answers = await Promise.all(Array.from({ length: 30 }, () => swr.get("hot", load)));
  assert.ok(answers.every(({ from, value }) => from === "stale" && value.version === 1));
  await swr.settled();
  assert.equal(load.calls, 2);
});

test("of 30 readers of a missing value one loads and the others wait for it", async () => {
  const swr = cache({ fresh: 5000, stale: 5000 });
  const load = source();
  load.takes = 40;
  const answers = await Promise.all(Array.from({ length: 30 }, () => swr.get("cold", load)));
  assert.equal(load.calls, 1);
  assert.ok(answers.every(({ value }) => value.version === 1));
});

test("past the stale window the value is gone", async () => {
  const swr = cache({ fresh: 40, stale: 60 });
  const load = source();
  await swr.get("gone", load);
  await sleep(130);
  assert.deepEqual(await swr.get("gone", load), { value: { version: 2 }, from: "source" });
});

test("an invalidation voids the refresh under way", async () => {
  const swr = cache({ fresh: 5000, stale: 5000 });
  let started;
  const begun = new Promise((done) => (started = done));
  let finish;
  const slow = swr.get("void", () => (started(), new Promise((done) => (finish = done))));
  await begun;
  await swr.invalidate("void");
  finish("too old");
  await slow;
  assert.equal(await redis.exists("void"), 0, "the slow loader's value was not written");
});

test("a refresher that dies gives its place up when the lease ends", async () => {
  const swr = cache({ fresh: 1, stale: 5000, lease: 600 });
  const load = source();
  await swr.get("crash", load);
  await sleep(5);
  await swr.get("crash", () => Promise.reject(new Error("source is down")));
  await assert.rejects(swr.settled(), /source is down/);
  assert.equal((await swr.get("crash", load)).from, "stale");
  await swr.settled();
  assert.equal(load.calls, 1, "the lease still stands");
  await sleep(620);
  await swr.get("crash", load);
  await swr.settled();
  assert.equal(load.calls, 2);
});
