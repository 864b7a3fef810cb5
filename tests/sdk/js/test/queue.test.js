// @upstash/queue: at least once, with a limit on how many are worked on at a time.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Queue } from "@upstash/queue";
import { Redis } from "@upstash/redis";
import { serve, sleep } from "../lib/harness.js";

await serve();
const redis = Redis.fromEnv();

test("messages come once each, in order", async () => {
  const queue = new Queue({ redis, queueName: "fifo", concurrencyLimit: 3 });
  for (let n = 0; n < 3; n++) await queue.sendMessage({ n });
  const got = [];
  for (let n = 0; n < 3; n++) got.push((await queue.receiveMessage()).body.n);
  assert.deepEqual(got, [0, 1, 2]);
  assert.equal(await queue.receiveMessage(), null);
});

test("a message that is not verified comes again", async () => {
  const queue = new Queue({ redis, queueName: "careful", autoVerify: false, visibilityTimeout: 200, concurrencyLimit: 2 });
  await queue.sendMessage({ hello: "world" });
  const first = await queue.receiveMessage();
  assert.deepEqual(first.body, { hello: "world" });
  await sleep(300);
  const again = await queue.receiveMessage();
  assert.equal(again.streamId, first.streamId);
  assert.equal(await queue.verifyMessage(again.streamId), "VERIFIED");
  await sleep(300);
  assert.equal(await queue.receiveMessage(), null);
});
