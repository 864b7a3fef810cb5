// Both doors over TLS, for clients that only see a URL: https:// with HTTP/1.1 and HTTP/2, rediss://.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import http2 from "node:http2";
import https from "node:https";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { fileURLToPath } from "node:url";

import Redis from "ioredis";
import { createClient } from "redis";

import { BIN, closing } from "../lib/harness.js";

const TOKEN = "token-of-the-tls-tests";
const at = (name) => fileURLToPath(new URL(`../../../tls/${name}`, import.meta.url));
const ca = readFileSync(at("one.pem"));
let child, data, rest, resp;

before(async () => {
  data = await mkdtemp(join(tmpdir(), "dormouse-tls-"));
  const doors = ["--http", "127.0.0.1:0", "--resp", "127.0.0.1:0", "--token", TOKEN];
  child = spawn(BIN, ["--data", data, ...doors, "--tls-cert", at("one.pem"), "--tls-key", at("one.key")]);
  let printed = "";
  for await (const text of child.stdout) {
    printed += text;
    rest = /REST\s+https:\/\/\S+:(\d+)/.exec(printed)?.[1];
    resp = /RESP\s+\S+:(\d+) \(TLS\)/.exec(printed)?.[1];
    if (rest && resp) break;
  }
  assert.ok(resp, `the server did not start: ${printed}`);
});

after(async () => {
  child.kill("SIGKILL");
  await rm(data, { recursive: true, force: true });
});

test("REST over https, on a connection that is kept", async () => {
  const agent = new https.Agent({ ca, keepAlive: true, maxSockets: 1 });
  const ask = (command) =>
    new Promise((done, failed) => {
      const headers = { authorization: `Bearer ${TOKEN}` };
      const request = https.request({ host: "localhost", port: rest, method: "POST", agent, headers }, async (response) => {
        let text = "";
        for await (const piece of response) text += piece;
        done(JSON.parse(text).result);
      });
      request.on("error", failed).end(JSON.stringify(command));
    });
  assert.equal(await ask(["SET", "k", "v".repeat(1 << 20)]), "OK");
  assert.equal((await ask(["GET", "k"])).length, 1 << 20);
  agent.destroy();
});

test("REST over HTTP/2, agreed upon by ALPN, with a stream of events", async () => {
  const session = http2.connect(`https://localhost:${rest}`, { ca });
  closing(session);
  await new Promise((done, failed) => session.once("connect", done).once("error", failed));
  assert.equal(session.alpnProtocol, "h2");
  const open = (path, body) => {
    const stream = session.request({ ":path": path, ":method": body ? "POST" : "GET", authorization: `Bearer ${TOKEN}` });
    stream.setEncoding("utf8");
    stream.end(body);
    return stream;
  };
  const events = open("/subscribe/news");
  let heard = "";
  const told = new Promise((done) =>
    events.on("data", (text) => {
      heard += text;
      if (heard.includes("data: message,news,hello")) done();
    }),
  );
  await new Promise((done) => events.once("data", done));
  let text = "";
  for await (const piece of open("/", JSON.stringify(["PUBLISH", "news", "hello"]))) text += piece;
  assert.deepEqual(JSON.parse(text), { result: 1 });
  await told;
  session.destroy();
});

test("ioredis and node-redis over rediss://", async () => {
  const io = new Redis(`rediss://:${TOKEN}@localhost:${resp}`, { tls: { ca } });
  assert.equal(await io.set("io", "x".repeat(1 << 20)), "OK");
  assert.equal((await io.get("io")).length, 1 << 20);
  await io.quit();
  const node = createClient({ url: `rediss://:${TOKEN}@localhost:${resp}`, socket: { ca } });
  await node.connect();
  assert.deepEqual(await node.multi().incr("n").incr("n").exec(), [1, 2]);
  node.destroy();
});

test("a client that does not trust the certificate is not let on", async () => {
  const request = https.get(`https://localhost:${rest}/health`);
  const error = await new Promise((done) => request.once("error", done).once("response", () => done(null)));
  assert.match(error?.code ?? "", /SELF_SIGNED/);
});
