import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { eventually, raw, serve, sleep } from "../lib/harness.js";
import { Topic, listenPattern } from "../patterns/events.js";

const server = await serve();
const redis = Redis.fromEnv();
const request = raw(server);

/** A subscriber whose events are kept, confirmed before it is returned. */
async function recorded(subscriber, confirmation = "subscribe", count = 1) {
  const events = [];
  for (const type of ["subscribe", "psubscribe", "message", "pmessage", "error"]) {
    subscriber.on(type, (event) => events.push([type, event]));
  }
  const of = (type) => events.filter(([name]) => name === type).map(([, event]) => event);
  await eventually(() => of(confirmation).length >= count, { what: "subscription" });
  return { subscriber, of, has: (type, count) => eventually(() => of(type).length >= count, { what: type }) };
}

test("a JSON message arrives parsed, and publish counts who was told", async () => {
  const got = [];
  const topic = new Topic(redis, "orders");
  const stop = await topic.listen((message) => got.push(message));
  const order = { id: 7, lines: [{ sku: "a,b", n: 2 }], note: "line\nbreak \"quoted\", comma" };
  assert.equal(await topic.publish(order), 1);
  await eventually(() => got.length === 1, { what: "message" });
  assert.deepEqual(got, [order]);
  await stop();
});

test("the server confirms each subscription with a count of one", async () => {
  const one = await recorded(redis.subscribe("counted"));
  const two = await recorded(redis.subscribe("counted"));
  assert.deepEqual([one.of("subscribe"), two.of("subscribe")], [[1], [1]]);
  assert.equal(await redis.publish("counted", "hello"), 2);
  await one.has("message", 1);
  await two.has("message", 1);
  assert.deepEqual(one.of("message"), [{ channel: "counted", message: "hello" }]);
  await one.subscriber.unsubscribe();
  await two.subscriber.unsubscribe();
});

test("messages keep their order", async () => {
  const topic = new Topic(redis, "ordered");
  const got = [];
  const stop = await topic.listen((message) => got.push(message));
  for (let at = 0; at < 100; at += 1) await topic.publish(at);
  await eventually(() => got.length === 100, { what: "all messages" });
  assert.deepEqual(got, Array.from({ length: 100 }, (_, at) => at));
  await stop();
});

test("unicode, in messages and channel names", async () => {
  const got = [];
  const topic = new Topic(redis, "news:ünïcødé:日本");
  const stop = await topic.listen((message) => got.push(message));
  const text = "snow ☃, poo 💩, flag 🏳️‍🌈, nul-free ¡olé!";
  assert.equal(await topic.publish(text), 1);
  assert.equal(await topic.publish({ 日本: text }), 1);
  await eventually(() => got.length === 2, { what: "messages" });
  assert.deepEqual(got, [text, { 日本: text }]);
  await stop();
});

test("several channels in one subscriber, heard apart", async () => {
  const { subscriber, of, has } = await recorded(redis.subscribe(["left", "right"]), "subscribe", 2);
  const left = [];
  subscriber.on("message:left", ({ message }) => left.push(message));
  assert.deepEqual(subscriber.getSubscribedChannels(), ["left", "right"]);
  await redis.publish("left", { n: 1 });
  await redis.publish("right", { n: 2 });
  await has("message", 2);
  assert.deepEqual(left, [{ n: 1 }]);
  await subscriber.unsubscribe(["left"]);
  await eventually(async () => (await redis.publish("left", "anyone?")) === 0, { what: "left is free" });
  assert.equal(await redis.publish("right", "still here"), 1);
  await has("message", 3);
  assert.equal(of("message").at(-1).message, "still here");
  await subscriber.unsubscribe();
});

test("a pattern hears matching channels and is told which", async () => {
  const got = [];
  const stop = await listenPattern(redis, "user:*:created", (channel, message) => got.push([channel, message]));
  assert.equal(await redis.publish("user:1:created", { id: 1 }), 1);
  assert.equal(await redis.publish("user:1:deleted", { id: 1 }), 0);
  assert.equal(await redis.publish("user:ß:created", ["x", null]), 1);
  await eventually(() => got.length === 2, { what: "pattern messages" });
  assert.deepEqual(got, [
    ["user:1:created", { id: 1 }],
    ["user:ß:created", ["x", null]],
  ]);
  await stop();
});

test("channels and patterns both count", async () => {
  const channel = await recorded(redis.subscribe("both:1"));
  const pattern = await recorded(redis.psubscribe(["both:*", "both:[0-9]"]), "psubscribe", 2);
  assert.equal(await redis.publish("both:1", { all: true }), 3);
  await channel.has("message", 1);
  await pattern.has("pmessage", 2);
  assert.deepEqual(new Set(pattern.of("pmessage").map(({ pattern }) => pattern)), new Set(["both:*", "both:[0-9]"]));
  await channel.subscriber.unsubscribe();
  await pattern.subscriber.unsubscribe();
});

test("raw text passes untouched when asked for", async () => {
  const plain = Redis.fromEnv({ automaticDeserialization: false });
  const { subscriber, of, has } = await recorded(plain.subscribe("raw"));
  await plain.publish("raw", "{\"n\":1}");
  await has("message", 1);
  assert.deepEqual(of("message"), [{ channel: "raw", message: "{\"n\":1}" }]);
  await subscriber.unsubscribe();
});

test("unsubscribing frees the channel promptly", async () => {
  const { subscriber } = await recorded(redis.subscribe("left-soon"));
  assert.equal(await redis.publish("left-soon", 1), 1);
  const before = Date.now();
  await subscriber.unsubscribe();
  await eventually(async () => (await redis.publish("left-soon", 2)) === 0, { within: 500, what: "release" });
  assert.ok(Date.now() - before < 500);
});

test("fifty subscribers all hear, and all leave", async () => {
  const all = await Promise.all(Array.from({ length: 50 }, () => recorded(redis.subscribe("crowd"))));
  assert.equal(await redis.publish("crowd", { big: "x".repeat(10_000) }), 50);
  await Promise.all(all.map((one) => one.has("message", 1)));
  await Promise.all(all.map((one) => one.subscriber.unsubscribe()));
  await eventually(async () => (await redis.publish("crowd", 0)) === 0, { what: "all gone" });
});

test("a large message arrives whole", async () => {
  const { subscriber, of, has } = await recorded(redis.subscribe("large"));
  const message = "é".repeat(300_000);
  assert.equal(await redis.publish("large", message), 1);
  await has("message", 1);
  assert.equal(of("message")[0].message, message);
  await subscriber.unsubscribe();
});

test("a message published inside a transaction is sent when the transaction is done", async () => {
  const { subscriber, of, has } = await recorded(redis.subscribe("tx"));
  const [, told] = await redis.multi().set("tx:value", 5).publish("tx", "changed").exec();
  assert.equal(told, 1);
  await has("message", 1);
  assert.equal(of("message")[0].message, "changed");
  assert.equal(await redis.get("tx:value"), 5);
  await subscriber.unsubscribe();
});

test("the stream's own words: frames, type, and an error before any frame", async () => {
  const stream = await fetch(`${server.url}/subscribe/wire/second`, {
    method: "POST",
    headers: { authorization: `Bearer ${server.token}`, accept: "text/event-stream" },
  });
  assert.equal(stream.status, 200);
  assert.match(stream.headers.get("content-type"), /^text\/event-stream/);
  const reader = stream.body.getReader();
  let text = "";
  const until = async (part) => {
    while (!text.includes(part)) text += Buffer.from((await reader.read()).value).toString();
  };
  await until("data: subscribe,second,2\n");
  assert.ok(text.startsWith("data: subscribe,wire,1\n"), text);
  await request("/publish/wire/plain%20text", { method: "POST" });
  await until("data: message,wire,plain text\n");
  assert.ok(!text.includes("\r"), "bare line feeds");
  await reader.cancel();

  const refused = await raw(server, { token: "wrong-token" })("/subscribe/wire", { method: "POST" });
  assert.equal(refused.status, 401);
  assert.match(refused.json.error, /^WRONGPASS/);
});

test("an idle stream stays open", async () => {
  const { subscriber, has, of } = await recorded(redis.subscribe("idle"));
  await sleep(1500);
  assert.equal(await redis.publish("idle", "awake?"), 1);
  await has("message", 1);
  assert.deepEqual(of("error"), []);
  await subscriber.unsubscribe();
});
