import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { post, raw, serve } from "../lib/harness.js";

const server = await serve();
const full = Redis.fromEnv();
const reader = new Redis({ url: server.url, token: server.readOnlyToken });
const noperm = (command) => new RegExp(`NOPERM this user has no permissions to run the '${command}' command`, "i");

test("a read-only token reads", async () => {
  await full.set("k", { a: 1 });
  await full.hset("h", { f: 1 });
  await full.zadd("z", { score: 1, member: "m" });
  assert.deepEqual(await reader.get("k"), { a: 1 });
  assert.deepEqual(await reader.hgetall("h"), { f: 1 });
  assert.deepEqual(await reader.zrange("z", 0, -1), ["m"]);
  assert.deepEqual(await reader.mget("k", "nope"), [{ a: 1 }, null]);
  assert.equal(await reader.ttl("k"), -1);
  assert.equal(await reader.ping(), "PONG");
  assert.deepEqual(await reader.pipeline().get("k").exists("k").exec(), [{ a: 1 }, 1]);
});

test("a read-only token writes nothing, by any door", async () => {
  const writes = {
    set: () => reader.set("k", 1),
    del: () => reader.del("k"),
    incr: () => reader.incr("n"),
    hset: () => reader.hset("h", { f: 2 }),
    getex: () => reader.getex("k", { ex: 1 }),
    getdel: () => reader.getdel("k"),
    expire: () => reader.expire("k", 1),
    flushdb: () => reader.flushdb(),
    publish: () => reader.publish("c", 1),
  };
  for (const [name, write] of Object.entries(writes)) await assert.rejects(write(), noperm(name), name);
  await assert.rejects(reader.multi().set("k", 2).exec(), /NOPERM/);
  await assert.rejects(reader.pipeline().get("k").set("k", 2).exec(), noperm("set"));
  await assert.rejects(reader.eval("return redis.call('SET', 'k', 3)", [], []), /NOPERM/);
  assert.deepEqual(await full.get("k"), { a: 1 });
});

test("a read-only token does not sweep the keyspace", async () => {
  await assert.rejects(reader.keys("*"), noperm("keys"));
  await assert.rejects(reader.scan(0), noperm("scan"));
});

test("a read-only token may run scripts that only read", async () => {
  assert.deepEqual(await reader.evalRo("return redis.call('GET', KEYS[1])", ["k"], []), { a: 1 });
  await assert.rejects(reader.evalRo("return redis.call('SET', KEYS[1], 1)", ["k"], []), /NOPERM|read-only/);
  assert.deepEqual(await full.get("k"), { a: 1 });
});

test("a wrong token says so", async () => {
  const stranger = new Redis({ url: server.url, token: "not-a-token" });
  await assert.rejects(stranger.get("k"), { name: "UpstashError", message: /^WRONGPASS invalid or missing auth token/ });
  await assert.rejects(stranger.pipeline().get("k").exec(), /^UpstashError: WRONGPASS/);
  await assert.rejects(stranger.multi().get("k").exec(), /^UpstashError: WRONGPASS/);
  const single = new Redis({ url: server.url, token: "not-a-token", enableAutoPipelining: false });
  await assert.rejects(single.get("k"), /^UpstashError: WRONGPASS/);
});

test("no token, half a token, another scheme: 401 with JSON, before anything is read", async () => {
  for (const authorization of [undefined, "", "Bearer", "Bearer ", `Bearer ${server.token}x`, `Basic ${server.token}`]) {
    const headers = authorization === undefined ? {} : { authorization };
    const answer = await raw(server, { token: null })("/", { method: "POST", body: "{not json", headers });
    assert.equal(answer.status, 401, `${authorization}`);
    assert.deepEqual(Object.keys(answer.json), ["error"]);
    assert.match(answer.json.error, /^WRONGPASS /);
  }
});

test("the scheme's case does not matter, and a token may come in the query", async () => {
  const request = raw(server, { token: null });
  assert.equal((await request("/", { ...post(["PING"]), headers: { authorization: `bearer ${server.token}` } })).status, 200);
  assert.deepEqual((await request(`/ping?_token=${server.token}`)).json, { result: "PONG" });
  assert.equal((await request("/ping?_token=wrong")).status, 401);
});

test("a user's token opens what its rules say, from one request to the next", async () => {
  const acl = async (...args) => (await raw(server)("/", post(["ACL", ...args]))).json;
  assert.deepEqual(await acl("SETUSER", "app", "on", ">secret", "~app:*", "&news", "+@all", "-@dangerous"), { result: "OK" });
  const token = (await acl("RESTTOKEN", "app", "secret")).result;
  const app = new Redis({ url: server.url, token });
  assert.equal(await app.set("app:k", { a: 1 }), "OK");
  assert.deepEqual(await app.pipeline().get("app:k").publish("news", "m").exec(), [{ a: 1 }, 0]);
  await assert.rejects(app.get("k"), /NOPERM No permissions to access a key/);
  await assert.rejects(app.multi().set("app:k", 2).get("k").exec(), /NOPERM/);
  await assert.rejects(app.flushdb(), /NOPERM User app has no permissions to run the 'flushdb' command/);
  await assert.rejects(app.publish("other", "m"), /NOPERM No permissions to access a channel/);
  assert.deepEqual(await app.get("app:k"), { a: 1 });
  assert.deepEqual(await acl("SETUSER", "app", "-get"), { result: "OK" });
  await assert.rejects(app.get("app:k"), /NOPERM User app has no permissions to run the 'get' command/);
  assert.deepEqual(await acl("DELUSER", "app"), { result: 1 });
  await assert.rejects(app.get("app:k"), /^UpstashError: WRONGPASS invalid or missing auth token/);
});
