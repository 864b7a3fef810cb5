import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve } from "../lib/harness.js";
import { Namespace, escapeGlob } from "../patterns/namespace.js";

await serve();
const redis = Redis.fromEnv();

test("tenants see only what is theirs", async () => {
  const acme = new Namespace(redis, "tenant", "acme");
  const other = new Namespace(redis, "tenant", "other");
  await redis.mset({ [acme.key("user", 1)]: "a", [acme.key("user", 2)]: "b", [other.key("user", 1)]: "c" });
  assert.deepEqual(await acme.keys(), new Set(["tenant:acme:user:1", "tenant:acme:user:2"]));
  assert.deepEqual(await acme.keys("user:2"), new Set(["tenant:acme:user:2"]));
  assert.deepEqual(await acme.child("user").keys(), new Set(["tenant:acme:user:1", "tenant:acme:user:2"]));
});

test("a prefix with pattern characters matches itself alone", async () => {
  for (const name of ["a*", "a?c", "[ab]", String.raw`back\slash`, "a"]) {
    await redis.set(new Namespace(redis, name).key("k"), 1);
  }
  await redis.set("abc:k", 1);
  for (const name of ["a*", "a?c", "[ab]", String.raw`back\slash`]) {
    const space = new Namespace(redis, name);
    assert.deepEqual(await space.keys(), new Set([space.key("k")]), `escaped as ${escapeGlob(name)}`);
  }
});

test("clearing one namespace of a thousand keys leaves the others alone", async () => {
  const bulk = new Namespace(redis, "bulk");
  const kept = new Namespace(redis, "bulky");
  const pipeline = redis.pipeline();
  for (let at = 0; at < 1000; at += 1) pipeline.set(bulk.key(at), at);
  pipeline.set(kept.key("1"), "kept");
  await pipeline.exec();
  assert.equal((await bulk.keys()).size, 1000);
  assert.equal(await bulk.clear(), 1000);
  assert.equal((await bulk.keys()).size, 0);
  assert.equal(await redis.get(kept.key("1")), "kept");
});

test("a walk finds what was there all along while keys come and go", async () => {
  const space = new Namespace(redis, "walk");
  await redis.mset(Object.fromEntries(Array.from({ length: 500 }, (_, at) => [space.key("stays", at), at])));
  const seen = new Set();
  let round = 0;
  for await (const page of space.pages("*", 20)) {
    for (const key of page) seen.add(key);
    await redis.set(space.key("comes", round), 1);
    if (round > 0) await redis.del(space.key("comes", round - 1));
    round += 1;
  }
  for (let at = 0; at < 500; at += 1) assert.ok(seen.has(space.key("stays", at)), `missed ${at}`);
});
