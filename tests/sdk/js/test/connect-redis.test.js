// express-session with connect-redis: the store as Express drives it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { RedisStore } from "connect-redis";
import { createClient } from "redis";
import { closing, serve } from "../lib/harness.js";

const server = await serve();
const client = closing(await createClient({ url: server.respUrl }).connect());
const store = new RedisStore({ client, prefix: "sess:", ttl: 100 });
const session = (user) => ({ cookie: { originalMaxAge: null }, user });

test("sessions are kept, renewed, listed and destroyed", async () => {
  assert.equal(await store.get("nobody"), null);
  await store.set("a", session("ann"));
  await store.set("b", session("bob"));
  assert.equal((await store.get("a")).user, "ann");
  assert.ok((await client.ttl("sess:a")) > 90);
  await client.expire("sess:a", 5);
  await store.touch("a", session("ann"));
  assert.ok((await client.ttl("sess:a")) > 90);
  assert.deepEqual((await store.ids()).sort(), ["a", "b"]);
  assert.equal(await store.length(), 2);
  await store.destroy("a");
  assert.equal(await store.get("a"), null);
  await store.clear();
  assert.equal(await store.length(), 0);
});

test("a session ends with its cookie", async () => {
  const cookie = { expires: new Date(Date.now() + 10_000) };
  await store.set("short", { ...session("eve"), cookie });
  const left = await client.pTTL("sess:short");
  assert.ok(left > 5_000 && left <= 11_000, String(left));
  await store.set("short", { ...session("eve"), cookie: { expires: new Date(Date.now() - 1) } });
  assert.equal(await store.get("short"), null);
});
