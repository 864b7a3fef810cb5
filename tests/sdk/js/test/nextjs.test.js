// A Next.js application: middleware and routes on the edge runtime and on node, a server component, server-sent events.

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { CHROMIUM, open } from "../lib/browser.js";
import { closing, eventually, serve, sleep } from "../lib/harness.js";
import { build, start } from "../lib/next.js";

const printed = await build();
const server = await serve();
const app = await start(server);
closing(app, () => app.stop());
const redis = Redis.fromEnv();

/** Each request is a visitor's first unless the test names one. */
async function visit(path, { visitor = randomUUID(), ...init } = {}) {
  const response = await fetch(app.url + path, { ...init, headers: { "x-visitor": visitor } });
  const text = await response.text();
  const header = (name) => response.headers.get(name);
  return { status: response.status, text, header, json: () => JSON.parse(text) };
}

const send = (path, method, body, options) => visit(path, { method, body: JSON.stringify(body), ...options });

test("the build leaves what asks the database to be rendered on demand", () => {
  const kinds = Object.fromEntries([...printed.matchAll(/^[┌├└] (.) (\/\S*)/gm)].map(([, kind, path]) => [path, kind]));
  for (const path of ["/", "/stock", "/live", "/api/edge", "/api/node", "/api/events"]) assert.equal(kinds[path], "ƒ", path);
  assert.equal(kinds["/welcome"], "○");
});

test("the middleware runs on the edge runtime, and lets through so many requests of each visitor", async () => {
  const answers = [];
  for (let at = 0; at < 8; at += 1) answers.push(await visit("/", { visitor: "ada" }));
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 200, 200, 200, 429, 429, 429]);
  const remaining = answers.map(({ header }) => header("x-ratelimit-remaining"));
  assert.deepEqual(remaining, ["4", "3", "2", "1", "0", "0", "0", "0"]);
  assert.ok(answers.every(({ header }) => header("x-middleware-runtime") === "edge"));
  assert.ok(Number(answers[7].header("x-ratelimit-reset")) > Date.now());
  assert.match(answers[0].text, /, 4 left/);
  assert.equal((await visit("/", { visitor: "grace" })).status, 200);
});

test("the limit holds when all come at once", async () => {
  const answers = await Promise.all(Array.from({ length: 30 }, () => visit("/", { visitor: "herd" })));
  const count = (wanted) => answers.filter(({ status }) => status === wanted).length;
  assert.deepEqual([count(200), count(429)], [5, 25]);
});

test("the limiter's analytics are written after the answer", async () => {
  const counted = await eventually(async () => (await redis.keys("door:events:*"))[0], { what: "analytics" });
  assert.equal(await redis.type(counted), "zset");
});

test("a flag switches pages without a build", async () => {
  await redis.hset("flags", { welcome: false });
  assert.match((await visit("/")).text, /nobody greets/);
  await redis.hset("flags", { welcome: true });
  assert.match((await visit("/")).text, /The new home/);
  await redis.hdel("flags", "welcome");
  assert.match((await visit("/")).text, /nobody greets/);
});

test("a server component reads what was written just now, and writes", async () => {
  await redis.set("greeting", { text: "Grüße ✓" });
  const before = Number(await redis.get("visits"));
  const pages = await Promise.all(Array.from({ length: 10 }, () => visit("/")));
  for (const { text } of pages) assert.match(text, /<h1>Grüße ✓<\/h1>/);
  const visits = pages.map(({ text }) => Number(/visit (\d+),/.exec(text)[1])).sort((a, b) => a - b);
  assert.deepEqual(visits, Array.from({ length: 10 }, (_, at) => before + at + 1));
});

test("Next's cache keeps nothing of what the SDK reads", async () => {
  for (const left of [3, 2, 1, 0]) {
    await redis.hset("stock", { tea: left, "crème brûlée": 7 });
    const { text } = await visit("/stock");
    assert.ok(text.includes(`<li>tea: ${left}</li>`), text);
    assert.ok(text.includes("<li>crème brûlée: 7</li>"), text);
  }
});

for (const runtime of ["edge", "node"]) {
  const api = `/api/${runtime}`;

  test(`${runtime}: values come back as the JSON they were`, async () => {
    const values = [
      { id: 7, lines: [{ sku: "a,b", n: 2.5 }, null, true], note: 'line\nbreak "quoted"', empty: {} },
      [1, -0.5, 9007199254740991, "x", [], [[]]],
      "snow ☃, poo 💩, flag 🏳️‍🌈",
      "ü".repeat(100_000),
      42,
      false,
    ];
    for (const value of values) {
      const { status, json } = await send(`${api}?key=value:${runtime}`, "PUT", value);
      assert.equal(status, 200);
      assert.deepEqual(json(), { runtime, value });
      assert.deepEqual(await redis.get(`value:${runtime}`), value);
    }
  });

  test(`${runtime}: transactions, pipelines and scripts`, async () => {
    const id = runtime === "edge" ? 1 : 2;
    const lines = [{ sku: "tea", n: 2 }];
    const { json } = await send(api, "POST", { id, lines });
    assert.deepEqual(json(), {
      runtime,
      stored: { lines, state: "new" },
      position: 1,
      state: "new",
      rank: id,
      missing: null,
      sum: 42,
    });
  });
}

/** Server-sent events as they come. */
async function* events(path, signal) {
  const response = await fetch(app.url + path, { headers: { "x-visitor": randomUUID() }, signal });
  assert.equal(response.headers.get("content-type"), "text/event-stream");
  let text = "";
  for await (const chunk of response.body.pipeThrough(new TextDecoderStream())) {
    text += chunk;
    for (let end; (end = text.indexOf("\n\n")) >= 0; text = text.slice(end + 2)) {
      const [, event, data] = /^event: (.*)\ndata: (.*)$/.exec(text.slice(0, end));
      yield [event, JSON.parse(data)];
    }
  }
}

test("messages reach a browser as server-sent events, and a closed page is unsubscribed", async () => {
  const leaving = new AbortController();
  const stream = events("/api/events?channel=orders", leaving.signal);
  assert.deepEqual((await stream.next()).value, ["ready", "orders"]);
  for (const message of [{ id: 1, note: "ünï\ncode" }, "text", 3]) {
    assert.equal(await redis.publish("orders", message), 1);
    assert.deepEqual((await stream.next()).value, ["message", message]);
  }
  leaving.abort();
  await assert.rejects(stream.next(), { name: "AbortError" });
  const told = () => redis.publish("orders", "anybody?");
  await eventually(async () => (await told()) === 0, { within: 20_000, every: 100, what: "unsubscribed" });
});

test("a browser shows what it was sent, and then what is published", { skip: !CHROMIUM && "no chromium" }, async () => {
  await redis.rpush("live", { id: 1, item: "tea" });
  const page = await open(`${app.url}/live`);
  closing(page, () => page.stop());
  const told = (key) => eventually(() => redis.get(key), { within: 60_000, every: 50, what: key }).catch(explain);
  const explain = (error) => {
    throw new Error(`${error.message}\n${page.log()}`);
  };
  await told("live:listening");
  assert.equal(await redis.publish("live", { id: 2, item: "crème brûlée" }), 1);
  assert.deepEqual(await told("live:shown"), ["1: tea", "2: crème brûlée"]);
  await page.stop();
  await eventually(async () => (await redis.publish("live", {})) === 0, { within: 20_000, every: 100, what: "unsubscribed" });
});

test("the database is killed and comes back: the application goes on, with all it was told was written", async () => {
  for (let at = 0; at < 3; at += 1) await visit("/", { visitor: "late" });
  const acknowledged = [];
  let stopped = false;
  const writer = async (name) => {
    for (let at = 0; !stopped; at += 1) {
      const key = `kept:${name}:${at}`;
      const { status, json } = await send(`/api/${at % 2 ? "edge" : "node"}?key=${key}`, "PUT", { name, at });
      assert.equal(status, 200);
      assert.deepEqual(json().value, { name, at });
      acknowledged.push([key, { name, at }]);
    }
  };
  const writers = Promise.all([writer("a"), writer("b"), writer("c")]);
  for (let times = 1; times <= 2; times += 1) {
    const wanted = acknowledged.length + 20;
    await eventually(() => acknowledged.length >= wanted, { within: 60_000, what: "writes" });
    await server.kill();
    // Asked while nobody is there, answered when somebody is.
    const waiting = visit("/");
    await sleep(300);
    await server.wake();
    assert.equal((await waiting).status, 200);
  }
  stopped = true;
  await writers;
  const read = await redis.mget(...acknowledged.map(([key]) => key));
  assert.deepEqual(read, acknowledged.map(([, value]) => value));
  const late = [];
  for (let at = 0; at < 3; at += 1) late.push((await visit("/", { visitor: "late" })).status);
  assert.deepEqual(late, [200, 200, 429]);
});
