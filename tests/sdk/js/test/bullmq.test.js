// BullMQ: producers, workers, delayed, repeated, failing and prioritised jobs, flows, and events.

import assert from "node:assert/strict";
import { test } from "node:test";
import { FlowProducer, Queue, QueueEvents, Worker } from "bullmq";
import { closing, eventually, serve } from "../lib/harness.js";

const server = await serve();
const connection = { host: "127.0.0.1", port: server.respPort, password: server.token };
const keep = (thing) => closing(thing.on("error", () => {}) && thing);

test("jobs are worked off, each once, by several workers", async () => {
  const queue = keep(new Queue("plain", { connection }));
  const done = [];
  const work = async (job) => (done.push(job.data.n), job.data.n * 2);
  for (let n = 0; n < 3; n++) keep(new Worker("plain", work, { connection, concurrency: 5 }));
  const jobs = await queue.addBulk(Array.from({ length: 200 }, (_, n) => ({ name: "double", data: { n } })));
  await eventually(() => done.length >= 200, { within: 20_000, what: "200 jobs" });
  await eventually(async () => (await queue.getCompletedCount()) === 200, { within: 5000, what: "200 results" });
  assert.deepEqual([...done].sort((a, b) => a - b), Array.from({ length: 200 }, (_, n) => n));
  assert.equal((await queue.getJob(jobs[7].id)).returnvalue, 14);
});

test("delayed jobs wait, failing ones are tried again", async () => {
  const queue = keep(new Queue("later", { connection }));
  const events = keep(new QueueEvents("later", { connection }));
  await events.waitUntilReady();
  const tried = [];
  keep(
    new Worker(
      "later",
      async (job) => {
        tried.push(job.name);
        if (job.name === "flaky" && job.attemptsMade === 0) throw new Error("the first time it fails");
        return Date.now();
      },
      { connection },
    ),
  );
  const began = Date.now();
  const delayed = await queue.add("delayed", {}, { delay: 400 });
  const flaky = await queue.add("flaky", {}, { attempts: 3, backoff: { type: "fixed", delay: 50 } });
  assert.ok((await delayed.waitUntilFinished(events, 10_000)) - began >= 390);
  await flaky.waitUntilFinished(events, 10_000);
  assert.deepEqual(tried.filter((name) => name === "flaky").length, 2);
});

test("repeated jobs come again", async () => {
  const queue = keep(new Queue("again", { connection }));
  let times = 0;
  keep(new Worker("again", async () => void (times += 1), { connection }));
  await queue.upsertJobScheduler("tick", { every: 200 }, { name: "tick" });
  await eventually(() => times >= 3, { within: 10_000, what: "three ticks" });
  assert.equal(await queue.removeJobScheduler("tick"), true);
});

test("priorities order, flows wait for their children", async () => {
  const queue = keep(new Queue("order", { connection }));
  await queue.add("low", {}, { priority: 10 });
  await queue.add("high", {}, { priority: 1 });
  const order = [];
  const flow = keep(new FlowProducer({ connection }));
  const tree = await flow.add({
    name: "parent",
    queueName: "order",
    children: [{ name: "child", queueName: "order" }],
  });
  keep(new Worker("order", async (job) => void order.push(job.name), { connection }));
  await eventually(async () => (await tree.job.getState()) === "completed", { within: 10_000, what: "the flow" });
  await eventually(() => order.length === 4, { what: "all four" });
  assert.ok(order.indexOf("high") < order.indexOf("low"), String(order));
  assert.ok(order.indexOf("child") < order.indexOf("parent"), String(order));
});

test("a queue can be paused, drained and obliterated", async () => {
  const queue = keep(new Queue("managed", { connection }));
  await queue.pause();
  await queue.add("never", {});
  assert.equal(await queue.isPaused(), true);
  assert.equal(await queue.count(), 1);
  await queue.drain();
  assert.equal(await queue.count(), 0);
  await queue.resume();
  await queue.obliterate({ force: true });
  assert.deepEqual(await queue.getJobs(), []);
});
