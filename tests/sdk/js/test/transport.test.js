import assert from "node:assert/strict";
import { Agent, createServer, request as httpRequest } from "node:http";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { Dormouse, eventually, post, raw, serve, sleep } from "../lib/harness.js";

const server = await serve();
const request = raw(server);

test("telemetry headers are sent and do no harm", async () => {
  const seen = [];
  const tap = createServer((incoming, outgoing) => {
    seen.push(incoming.headers);
    const forward = httpRequest(server.url + incoming.url, { method: incoming.method, headers: incoming.headers });
    forward.on("response", (answer) => {
      outgoing.writeHead(answer.statusCode, answer.headers);
      answer.pipe(outgoing);
    });
    incoming.pipe(forward);
  });
  await new Promise((done) => tap.listen(0, "127.0.0.1", done));
  try {
    const url = `http://127.0.0.1:${tap.address().port}`;
    const loud = new Redis({ url, token: server.token });
    loud.addTelemetry({ sdk: "@upstash/ratelimit@test", platform: "dormouse" });
    assert.equal(await loud.set("telemetry", 1), "OK");
    assert.match(seen[0]["upstash-telemetry-sdk"], /^@upstash\/redis@v.*,@upstash\/ratelimit@test$/);
    assert.match(seen[0]["upstash-telemetry-runtime"], /^node@v/);
    const quiet = new Redis({ url, token: server.token, enableTelemetry: false });
    assert.equal(await quiet.get("telemetry"), 1);
    assert.equal(seen[1]["upstash-telemetry-sdk"], undefined);
  } finally {
    tap.closeAllConnections();
    tap.close();
  }
});

test("one connection serves many requests", async () => {
  const agent = new Agent({ keepAlive: true, maxSockets: 1 });
  const ports = new Set();
  const body = JSON.stringify(["INCR", "kept"]);
  for (let at = 1; at <= 50; at += 1) {
    const { port, text } = await new Promise((resolve, reject) => {
      const headers = { authorization: `Bearer ${server.token}`, "content-length": Buffer.byteLength(body) };
      const call = httpRequest(server.url, { agent, method: "POST", headers }, (answer) => {
        let text = "";
        const { localPort: port } = answer.socket;
        answer.on("data", (part) => (text += part)).on("end", () => resolve({ port, text }));
      });
      call.on("error", reject).end(body);
    });
    ports.add(port);
    assert.equal(text, `{"result":${at}}`);
  }
  assert.equal(ports.size, 1);
  agent.destroy();
});

test("keep-alive off works as well", async () => {
  const redis = Redis.fromEnv({ keepAlive: false });
  assert.equal(await redis.set("closing", 1), "OK");
  assert.equal(await redis.get("closing"), 1);
});

test("a chunked body, in small pieces", async () => {
  const parts = ['["SE', 'T","chu', 'nked","', "é".repeat(10), '"]'];
  const body = new ReadableStream({
    async pull(controller) {
      const part = parts.shift();
      if (part === undefined) return controller.close();
      controller.enqueue(new TextEncoder().encode(part));
      await sleep(3);
    },
  });
  assert.deepEqual((await request("/", { method: "POST", body, duplex: "half" })).json, { result: "OK" });
  assert.deepEqual((await request("/get/chunked")).json, { result: "é".repeat(10) });
});

test("a hundred requests side by side", async () => {
  const answers = await Promise.all(Array.from({ length: 100 }, () => request("/", post(["INCR", "side"]))));
  const numbers = answers.map(({ json }) => json.result).sort((a, b) => a - b);
  assert.deepEqual(numbers, Array.from({ length: 100 }, (_, at) => at + 1));
});

test("an aborted call does not disturb the next", async () => {
  const controller = new AbortController();
  const aborting = Redis.fromEnv({ signal: controller.signal });
  const call = aborting.set("aborted", "x".repeat(1_000_000));
  controller.abort("stopped");
  await call.catch(() => {});
  assert.equal(await Redis.fromEnv().set("after", 1), "OK");
});

test("a URL with a slash at its end", async () => {
  const redis = new Redis({ url: `${server.url}/`, token: server.token });
  assert.equal(await redis.set("slash", 1), "OK");
  assert.deepEqual((await request("//pipeline", post([["GET", "slash"]]))).json, [{ result: "1" }]);
});

test("the SDK rides out a restart, and what was written is there", async () => {
  const own = await Dormouse.start();
  try {
    const redis = new Redis({ url: own.url, token: own.token });
    await redis.set("before", { kept: true });
    await redis.rpush("list", 1, 2, 3);
    await redis.set("short", 1, { px: 100 });
    await redis.set("long", 1, { ex: 1000 });
    await own.kill("SIGKILL");
    const during = redis.incr("during");
    await sleep(120);
    await own.wake();
    assert.equal(await during, 1, "retried until the server was back");
    assert.deepEqual(await redis.get("before"), { kept: true });
    assert.deepEqual(await redis.lrange("list", 0, -1), [1, 2, 3]);
    assert.equal(await redis.get("short"), null, "time passed while the server was down");
    assert.ok((await redis.ttl("long")) > 990);
  } finally {
    await own.dispose();
  }
});

test("every acknowledged write survives kills in the middle of the traffic", async () => {
  const own = await Dormouse.start();
  try {
    const acknowledged = new Map();
    for (let round = 0; round < 3; round += 1) {
      const redis = new Redis({ url: own.url, token: own.token, retry: false, enableAutoPipelining: false });
      let running = true;
      const writers = Array.from({ length: 8 }, async (_, writer) => {
        for (let at = 0; running; at += 1) {
          const key = `r${round}:w${writer}:${at}`;
          const answer = await redis.set(key, at).catch(() => null);
          if (answer === "OK") acknowledged.set(key, at);
          else break;
        }
      });
      const enough = acknowledged.size + 100;
      await eventually(() => acknowledged.size >= enough, { within: 20_000, what: "traffic" });
      await own.kill("SIGKILL");
      running = false;
      await Promise.all(writers);
      await own.wake();
    }
    const redis = new Redis({ url: own.url, token: own.token });
    const values = await redis.mget(...acknowledged.keys());
    assert.deepEqual(values, [...acknowledged.values()]);
  } finally {
    await own.dispose();
  }
});

test("scripts, transactions and structures survive a kill whole", async () => {
  const own = await Dormouse.start();
  try {
    const redis = new Redis({ url: own.url, token: own.token });
    await redis.multi().set("a", 1).hset("h", { f: "v" }).zadd("z", { score: 1.5, member: "m" }).sadd("s", "x").exec();
    await redis.eval("redis.call('SET', KEYS[1], 2); redis.call('RPUSH', KEYS[2], 1, 2)", ["a", "l"], []);
    await own.kill("SIGKILL");
    await own.wake();
    assert.deepEqual(await redis.pipeline().get("a").hgetall("h").zscore("z", "m").smembers("s").lrange("l", 0, -1).exec(), [
      2,
      { f: "v" },
      1.5,
      ["x"],
      [1, 2],
    ]);
  } finally {
    await own.dispose();
  }
});
