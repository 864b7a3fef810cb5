// @upstash/realtime: events over streams and pub/sub, with a history, in the process and through its HTTP handler.

import assert from "node:assert/strict";
import { test } from "node:test";
import { handle, Realtime } from "@upstash/realtime";
import { Redis } from "@upstash/redis";
import z from "zod/v4";
import { eventually, serve } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();
const schema = { chat: { message: z.object({ text: z.string() }) } };
const realtime = new Realtime({ schema, redis, history: { maxLength: 3, expireAfterSecs: 60 }, maxDurationSecs: 5 });

test("events reach subscribers, and a bounded history stays", async () => {
  const room = realtime.channel("room");
  const got = [];
  const stop = await room.subscribe({ events: ["chat.message"], onData: ({ data }) => got.push(data.text) });
  for (const text of ["a", "b", "c", "d"]) await room.emit("chat.message", { text });
  await eventually(() => got.length === 4, { what: "four events" });
  assert.deepEqual(got, ["a", "b", "c", "d"]);
  const texts = (await room.history()).map(({ data }) => data.text).sort();
  assert.deepEqual(texts.slice(-1), ["d"]);
  stop();
});

test("a browser's request gets a stream of them", async () => {
  const browser = new AbortController();
  const request = new Request("http://app.test/api/realtime?channel=lobby", { signal: browser.signal });
  const answer = await handle({ realtime })(request);
  assert.equal(answer.status, 200);
  assert.match(answer.headers.get("content-type"), /text\/event-stream/);
  const reader = answer.body.getReader();
  let text = "";
  const read = (async () => {
    for (;;) {
      const { done, value } = await reader.read();
      if (done || text.includes("hello from")) return;
      text += new TextDecoder().decode(value);
    }
  })();
  await eventually(() => text.includes("connected"), { what: "the connection" });
  await realtime.channel("lobby").emit("chat.message", { text: "hello from the server" });
  await eventually(() => text.includes("hello from the server"), { what: "the event" });
  await reader.cancel();
  browser.abort();
  await read;
});
