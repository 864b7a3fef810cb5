import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { post, raw, serve } from "../lib/harness.js";

const server = await serve();
const redis = Redis.fromEnv();
const request = raw(server);

test("the sync token differs after each write", async () => {
  const tokens = [];
  for (let at = 0; at < 5; at += 1) {
    await redis.set("token", at);
    tokens.push(redis.readYourWritesSyncToken);
  }
  assert.ok(tokens.every((token) => token.length > 0));
  assert.equal(new Set(tokens).size, 5, tokens.join(" "));
});

test("writes at the same time get tokens of their own", async () => {
  const clients = Array.from({ length: 10 }, () => Redis.fromEnv());
  await Promise.all(clients.map((client, at) => client.set(`token:${at}`, at)));
  assert.equal(new Set(clients.map((client) => client.readYourWritesSyncToken)).size, 10);
});

test("pipelines, transactions and scripts move the token too", async () => {
  const seen = new Set();
  const note = () => seen.add(redis.readYourWritesSyncToken);
  await redis.pipeline().set("a", 1).set("b", 2).exec().then(note);
  await redis.multi().set("a", 3).set("b", 4).exec().then(note);
  await redis.eval("return redis.call('SET', KEYS[1], ARGV[1])", ["a"], ["5"]).then(note);
  await redis.hset("h", { f: 1 }).then(note);
  assert.equal(seen.size, 4);
});

test("a second client with the first one's token reads what the first one wrote", async () => {
  const [writer, reader] = [Redis.fromEnv(), Redis.fromEnv()];
  for (let at = 0; at < 30; at += 1) {
    await writer.set("shared", at);
    reader.readYourWritesSyncToken = writer.readYourWritesSyncToken;
    assert.equal(await reader.get("shared"), at);
  }
});

test("any token a client comes with is taken", async () => {
  const client = Redis.fromEnv();
  for (const token of ["my-new-sync-token", "", "AAAA", "-1", "9".repeat(50), "ünï".normalize("NFD").replace(/[^\x20-\x7e]/g, "?")]) {
    client.readYourWritesSyncToken = token;
    assert.equal(await client.set("any", 1), "OK");
    assert.equal(await client.get("any"), 1);
  }
});

test("every answer carries a token", async () => {
  for (const [path, init] of [
    ["/", post(["SET", "x", "1"])],
    ["/", post(["GET", "x"])],
    ["/get/x", {}],
    ["/pipeline", post([["GET", "x"]])],
    ["/multi-exec", post([["GET", "x"]])],
  ]) {
    const { headers, status } = await request(path, init);
    assert.equal(status, 200);
    assert.ok(headers.get("upstash-sync-token"), path);
  }
});

test("without read-your-writes the SDK sends and keeps no token", async () => {
  const client = Redis.fromEnv({ readYourWrites: false });
  await client.set("off", 1);
  assert.equal(client.readYourWritesSyncToken, "");
});
