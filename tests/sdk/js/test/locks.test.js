import assert from "node:assert/strict";
import { test } from "node:test";
import { Lock } from "@upstash/lock";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";
import { Busy, exclusively } from "../patterns/locks.js";

await serve();
const redis = Redis.fromEnv();
const once = { attempts: 1, delay: 0 };

test("acquire, status, release", async () => {
  const lock = new Lock({ id: "plain", redis, lease: 5000 });
  assert.equal(await lock.getStatus(), "FREE");
  assert.equal(await lock.acquire(), true);
  assert.equal(await lock.getStatus(), "ACQUIRED");
  const left = await redis.pttl("plain");
  assert.ok(left > 4000 && left <= 5000, `${left}`);
  assert.equal(await lock.release(), true);
  assert.equal(await lock.getStatus(), "FREE");
  assert.equal(await lock.release(), false, "released once");
});

test("only the holder can release or extend", async () => {
  const holder = new Lock({ id: "mine", redis });
  const thief = new Lock({ id: "mine", redis, retry: once });
  assert.equal(await holder.acquire({ uuid: "the-holder" }), true);
  assert.equal(await thief.acquire(), false);
  assert.equal(await thief.release(), false);
  assert.equal(await thief.extend(1000), false);
  assert.equal(await redis.get("mine"), "the-holder");
  assert.equal(await holder.release(), true);
});

test("extending adds to what is left", async () => {
  const lock = new Lock({ id: "longer", redis, lease: 2000 });
  await lock.acquire();
  assert.equal(await lock.extend(10_000), true);
  const left = await redis.pttl("longer");
  assert.ok(left > 10_000 && left <= 12_000, `${left}`);
});

test("a lease that ends frees the lock, and the late holder notices", async () => {
  const late = new Lock({ id: "late", redis, lease: 60 });
  await late.acquire();
  await sleep(80);
  assert.equal(await late.getStatus(), "FREE");
  const next = new Lock({ id: "late", redis, retry: once });
  assert.equal(await next.acquire(), true);
  assert.equal(await late.release(), false, "must not release the next one's lock");
  assert.equal(await next.getStatus(), "ACQUIRED");
});

test("of 20 contenders exactly one wins", async () => {
  const locks = Array.from({ length: 20 }, () => new Lock({ id: "race", redis, retry: once }));
  const won = await Promise.all(locks.map((lock) => lock.acquire()));
  assert.equal(won.filter(Boolean).length, 1);
});

test("20 workers under one lock never overlap, and all get their turn", async () => {
  let inside = 0;
  let done = 0;
  const work = async () => {
    inside += 1;
    assert.equal(inside, 1, "alone in here");
    const before = (await redis.get("tally")) ?? 0;
    await redis.set("tally", before + 1);
    inside -= 1;
    done += 1;
  };
  const retry = { attempts: 400, delay: 10 };
  await Promise.all(Array.from({ length: 20 }, () => exclusively(redis, "turns", work, { retry })));
  assert.equal(done, 20);
  assert.equal(await redis.get("tally"), 20, "no update was lost");
});

test("work that throws gives the lock back; a taken lock says so", async () => {
  await assert.rejects(exclusively(redis, "throws", () => Promise.reject(new Error("boom"))), /boom/);
  await exclusively(redis, "throws", async () => {
    await assert.rejects(exclusively(redis, "throws", () => {}, { retry: once }), Busy);
  });
});
