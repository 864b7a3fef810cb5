import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";
import { CacheAside } from "../patterns/cache-aside.js";

await serve();
const redis = Redis.fromEnv();

function counting(rows) {
  const load = async (id) => {
    load.calls += 1;
    return rows[id] ?? null;
  };
  load.calls = 0;
  return load;
}

test("a second read does not reach the source", async () => {
  const cache = new CacheAside(redis, { prefix: "users" });
  const load = counting({ 7: { name: "Ada", tags: ["a", "b"], score: 1.5, active: false } });
  assert.deepEqual(await cache.get(7, load), { name: "Ada", tags: ["a", "b"], score: 1.5, active: false });
  assert.deepEqual(await cache.get(7, load), { name: "Ada", tags: ["a", "b"], score: 1.5, active: false });
  assert.equal(load.calls, 1);
});

test("an entry has the time to live it was given", async () => {
  const cache = new CacheAside(redis, { prefix: "ttl", ttl: 120, missingTtl: 7 });
  await cache.get("there", async () => 1);
  await cache.get("absent", async () => null);
  const [there, absent] = await Promise.all([redis.ttl("ttl:there"), redis.ttl("ttl:absent")]);
  assert.ok(there > 110 && there <= 120, `${there}`);
  assert.ok(absent > 3 && absent <= 7, `${absent}`);
});

test("nothing is an answer too: a missing row is asked for once, until its shorter time ends", async () => {
  const cache = new CacheAside(redis, { prefix: "neg", missingTtl: 1 });
  const load = counting({});
  assert.equal(await cache.get("ghost", load), null);
  assert.equal(await cache.get("ghost", load), null);
  assert.equal(load.calls, 1);
  await sleep(1050);
  assert.equal(await cache.get("ghost", load), null);
  assert.equal(load.calls, 2);
});

test("after an invalidation the source is asked again", async () => {
  const cache = new CacheAside(redis, { prefix: "inv" });
  const rows = { a: "old" };
  const load = counting(rows);
  assert.equal(await cache.get("a", load), "old");
  rows.a = "new";
  assert.equal(await cache.invalidate("a", "never-cached"), 1);
  assert.equal(await cache.get("a", load), "new");
});

test("values that look like nothing are kept apart from nothing", async () => {
  const cache = new CacheAside(redis, { prefix: "falsy" });
  for (const [id, value] of Object.entries({ zero: 0, no: false, empty: "", list: [] })) {
    assert.deepEqual(await cache.get(id, async () => value), value);
    assert.deepEqual(await cache.get(id, () => assert.fail("was cached")), value);
  }
});

test("many at once load only what is missing", async () => {
  const cache = new CacheAside(redis, { prefix: "many" });
  await cache.get("a", async () => "A");
  const asked = [];
  const load = async (ids) => {
    asked.push(...ids);
    return new Map([["b", "B"]]);
  };
  assert.deepEqual(await cache.getMany(["a", "b", "c"], load), ["A", "B", null]);
  assert.deepEqual(asked, ["b", "c"]);
  assert.deepEqual(await cache.getMany(["a", "b", "c"], () => assert.fail("all cached")), ["A", "B", null]);
});
