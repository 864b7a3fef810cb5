// Speaks HTTP/2 without TLS to a server: `node two.mjs URL TOKEN`. Prints "done" when everything is as it should be.
import assert from "node:assert/strict";
import http2 from "node:http2";
import { setTimeout as sleep } from "node:timers/promises";

const [url, token] = process.argv.slice(2);
const session = http2.connect(url);
session.on("error", (error) => { throw error; });
const auth = { authorization: `Bearer ${token}` };

function open(path, body, headers = {}) {
  const stream = session.request({ ":method": "POST", ":path": path, ...auth, ...headers });
  stream.setEncoding("utf8");
  stream.end(body);
  return stream;
}

async function ask(path, body, headers) {
  const stream = open(path, body, headers);
  const head = new Promise((resolve) => stream.on("response", resolve));
  let text = "";
  for await (const chunk of stream) text += chunk;
  return { status: (await head)[":status"], head: await head, text };
}

// Single commands, errors, pipelines, transactions.
assert.equal((await ask("/", `["SET","k","v"]`)).text, `{"result":"OK"}`);
assert.equal((await ask("/get/k", "")).text, `{"result":"v"}`);
assert.equal((await ask("/pipeline", `[["GET","k"],["NOPE"]]`)).status, 200);
assert.equal((await ask("/multi-exec", `[["INCR","n"]]`)).text, `[{"result":1}]`);
assert.equal((await ask("/", `["LPUSH","k","x"]`)).status, 400);
assert.equal((await ask("/", `["GET","k"]`, { authorization: "Bearer nobody" })).status, 401);
assert.ok((await ask("/", `["GET","k"]`)).head["upstash-sync-token"]);

// Many at once, and large bodies both ways.
const answers = await Promise.all(Array.from({ length: 500 }, () => ask("/", `["INCR","many"]`)));
assert.equal(new Set(answers.map((answer) => answer.text)).size, 500);
const big = "x".repeat(5_000_000);
assert.equal((await ask("/set/big", big)).text, `{"result":"OK"}`);
assert.equal((await ask("/get/big", "")).text.length, big.length + `{"result":""}`.length);
assert.equal((await ask("/set/big", "x".repeat(11 << 20))).status, 413);

// Events beside requests.
const events = open("/subscribe/c", "", { accept: "text/event-stream" });
let seen = "";
events.on("data", (chunk) => { seen += chunk; });
while (!seen.includes("data: subscribe,c,1")) await sleep(5);
assert.equal((await ask("/publish/c/hi", "")).text, `{"result":1}`);
while (!seen.includes("data: message,c,hi")) await sleep(5);
events.close(http2.constants.NGHTTP2_CANCEL);
while ((await ask("/publish/c/hi", "")).text !== `{"result":0}`) await sleep(5);

// A long-poll is answered, and one that is cancelled takes nothing along.
const waits = ask("/blpop/q/0", "", { "dormouse-block": "true" });
await sleep(50);
assert.equal((await ask("/rpush/q/a", "")).text, `{"result":1}`);
assert.equal((await waits).text, `{"result":["q","a"]}`);
const gone = open("/blpop/q/0", "", { "dormouse-block": "true" });
gone.on("error", () => {});
await sleep(50);
gone.close(http2.constants.NGHTTP2_CANCEL);
await sleep(100);
assert.equal((await ask("/rpush/q/b", "")).text, `{"result":1}`);
assert.equal((await ask("/lpop/q", "")).text, `{"result":"b"}`);

// The same request again.
const once = { "idempotency-key": "two" };
assert.equal((await ask("/incr/once", "", once)).text, `{"result":1}`);
const again = await ask("/incr/once", "", once);
assert.deepEqual([again.text, again.head["idempotency-replayed"]], [`{"result":1}`, "true"]);

// A head past the limit is refused, or ends the connection that it came on.
const long = await ask("/get/k", "", { "x-long": "x".repeat(60_000) });
assert.equal(long.status, 200);
const large = http2.connect(url);
const refused = await new Promise((resolve) => {
  large.on("error", () => resolve("ended"));
  large.on("close", () => resolve("ended"));
  const stream = large.request({ ":method": "POST", ":path": "/get/k", ...auth, "x-long": "x".repeat(90_000) });
  stream.on("error", () => resolve("ended"));
  stream.on("response", (head) => resolve(head[":status"]));
  stream.end();
});
assert.ok(refused === "ended" || refused === 431, `${refused}`);
large.destroy();

// Opening and resetting streams at speed ends the connection, and only that.
const wild = http2.connect(url);
const ended = new Promise((resolve) => { wild.on("close", resolve); wild.on("error", () => {}); wild.on("goaway", resolve); });
const storm = setInterval(() => {
  for (let n = 0; n < 200 && !wild.destroyed && !wild.closed; n += 1) {
    const stream = wild.request({ ":method": "POST", ":path": "/blpop/none/0", ...auth, "dormouse-block": "true" });
    stream.on("error", () => {});
    stream.close(http2.constants.NGHTTP2_CANCEL);
  }
}, 1);
const verdict = await Promise.race([ended.then(() => "ended"), sleep(3_000).then(() => "survived")]);
clearInterval(storm);
wild.destroy();
console.log(`a storm of resets: ${verdict}`);
assert.equal((await ask("/get/k", "")).text, `{"result":"v"}`);

session.close();
console.log("done");
