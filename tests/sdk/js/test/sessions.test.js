import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";
import { Sessions, keyOf } from "../patterns/sessions.js";

await serve();
const redis = Redis.fromEnv();

test("a session comes back as it was made", async () => {
  const sessions = new Sessions(redis);
  const id = await sessions.create("ada", { cart: [{ sku: "x", n: 2 }], dark: true, visits: 1 });
  const session = await sessions.read(id);
  assert.equal(session.user, "ada");
  assert.deepEqual(session.cart, [{ sku: "x", n: 2 }]);
  assert.equal(session.dark, true);
  assert.equal(session.visits, 1);
});

test("the id itself is nowhere in the database", async () => {
  const id = await new Sessions(redis).create("eve");
  assert.ok(!(await redis.keys("*")).some((key) => key.includes(id)));
  assert.equal(await redis.type(keyOf(id)), "hash");
});

test("an unknown id is nobody", async () => {
  assert.equal(await new Sessions(redis).read("made-up"), null);
});

test("use keeps a session alive, idleness ends it", async () => {
  const sessions = new Sessions(redis, { idle: 1000 });
  const id = await sessions.create("bob");
  for (let at = 0; at < 5; at += 1) {
    await sleep(250);
    assert.notEqual(await sessions.read(id), null, `alive after ${(at + 1) * 250} ms`);
  }
  await sleep(1050);
  assert.equal(await sessions.read(id), null);
});

test("the absolute end comes in spite of use", async () => {
  const sessions = new Sessions(redis, { idle: 10_000, absolute: 600 });
  const id = await sessions.create("carol");
  await sleep(100);
  assert.notEqual(await sessions.read(id), null);
  assert.ok((await redis.pttl(keyOf(id))) <= 600);
  await sleep(600);
  assert.equal(await sessions.read(id), null);
});

test("changing fields keeps the others and the idle end", async () => {
  const sessions = new Sessions(redis, { idle: 60_000 });
  const id = await sessions.create("dan", { theme: "light", step: 1 });
  assert.equal(await sessions.save(id, { step: 2, seen: ["intro"] }), true);
  const { theme, step, seen } = await sessions.read(id);
  assert.deepEqual({ theme, step, seen }, { theme: "light", step: 2, seen: ["intro"] });
  assert.ok((await redis.pttl(keyOf(id))) > 50_000);
});

test("two requests changing different fields lose neither change", async () => {
  const sessions = new Sessions(redis);
  const id = await sessions.create("flo");
  await Promise.all(Array.from({ length: 20 }, (_, at) => sessions.save(id, { [`f${at}`]: at })));
  const session = await sessions.read(id);
  for (let at = 0; at < 20; at += 1) assert.equal(session[`f${at}`], at);
});

test("rotation moves the session and kills the old id", async () => {
  const sessions = new Sessions(redis, { idle: 60_000 });
  const old = await sessions.create("gus", { cart: 3 });
  const fresh = await sessions.rotate(old);
  assert.notEqual(fresh, old);
  assert.equal(await sessions.read(old), null);
  assert.equal((await sessions.read(fresh)).cart, 3);
  assert.ok((await redis.pttl(keyOf(fresh))) > 50_000, "the idle end moved along");
  assert.equal(await sessions.rotate(old), null);
});

test("a late write does not bring a destroyed session back", async () => {
  const sessions = new Sessions(redis);
  const id = await sessions.create("hal");
  assert.equal(await sessions.destroy(id), true);
  assert.equal(await sessions.save(id, { late: 1 }), false);
  assert.equal(await redis.exists(keyOf(id)), 0);
  assert.equal(await sessions.destroy(id), false);
});

test("log out everywhere ends all of one user's sessions, nobody else's", async () => {
  const sessions = new Sessions(redis);
  const mine = [await sessions.create("ivy"), await sessions.create("ivy"), await sessions.create("ivy")];
  const other = await sessions.create("jon");
  await sessions.destroyAll("ivy");
  assert.deepEqual(await Promise.all(mine.map((id) => sessions.read(id))), [null, null, null]);
  assert.notEqual(await sessions.read(other), null);
});
