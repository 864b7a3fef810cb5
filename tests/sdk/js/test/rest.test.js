// The REST protocol without an SDK: as curl, a browser, or a language without a client would use it.

import assert from "node:assert/strict";
import { test } from "node:test";
import { post, raw, serve } from "../lib/harness.js";

const server = await serve();
const request = raw(server);
const anonymous = raw(server, { token: null });
const result = async (path, init) => {
  const { status, json, text } = await request(path, init);
  assert.equal(status, 200, `${path}: ${text}`);
  return json.result;
};

test("the command in the path, by GET and by POST", async () => {
  assert.equal(await result("/set/foo/bar"), "OK");
  assert.equal(await result("/get/foo"), "bar");
  assert.equal(await result("/SET/foo/baz/EX/100", { method: "POST" }), "OK");
  assert.equal(await result("/ttl/foo"), 100);
  assert.deepEqual(await result("/mget/foo/nope"), ["baz", null]);
  assert.equal(await result("/get/foo", { method: "PUT" }), "baz");
});

test("a body is one more argument, before the query's", async () => {
  assert.equal(await result("/set/body", { method: "POST", body: '{"a": 1}' }), "OK");
  assert.equal(await result("/get/body"), '{"a": 1}');
  assert.equal(await result("/set/body?EX=50", { method: "POST", body: "timed" }), "OK");
  assert.equal(await result("/ttl/body"), 50);
  assert.equal(await result("/set/body", { method: "POST", body: '["SET","a"]' }), "OK");
  assert.equal(await result("/get/body"), '["SET","a"]');
});

test("a query gives names and values, in order; flags have no value", async () => {
  assert.equal(await result("/set/q/v?NX&EX=60"), "OK");
  assert.equal(await result("/set/q/w?NX"), null);
  assert.equal(await result(`/get/q?_token=${server.token}`), "v", "the token is no argument");
  await request("/zadd/z/1/a/2/b");
  assert.deepEqual(await result("/zrange/z/0/-1/WITHSCORES/"), ["a", "1", "b", "2"]);
});

test("escapes in the path are bytes", async () => {
  assert.equal(await result("/set/a%2Fb/x%20y%00z+1"), "OK");
  assert.equal(await result("/get/a%2Fb"), "x y\u0000z+1");
  assert.equal(await result("/strlen/a%2Fb"), 7);
  assert.equal(await result("/set/caf%C3%A9/%F0%9F%90%AD"), "OK");
  assert.equal(await result("/get/café"), "🐭");
});

test("binary values go in by the body and come out by base64", async () => {
  const bytes = Buffer.from(Array.from({ length: 256 }, (_, at) => at));
  assert.equal(await result("/set/binary", { method: "POST", body: bytes }), "OK");
  assert.equal(await result("/strlen/binary"), 256);
  const encoded = await result("/get/binary", { headers: { "upstash-encoding": "base64" } });
  assert.deepEqual(Buffer.from(encoded, "base64"), bytes);
  assert.ok((await result("/get/binary")).includes("\ufffd"), "not text, so shown as replacement characters");
});

test("base64 answers: all strings but the plain OK, at any depth", async () => {
  const headers = { "upstash-encoding": "base64" };
  const b64 = (text) => Buffer.from(text).toString("base64");
  assert.equal(await result("/set/b/OK", { headers }), "OK");
  assert.equal(await result("/get/b", { headers }), b64("OK"));
  assert.equal(await result("/ping", { headers }), b64("PONG"));
  assert.equal(await result("/type/b", { headers }), b64("string"));
  assert.equal(await result("/strlen/b", { headers }), 2);
  assert.equal(await result("/get/none", { headers }), null);
  await request("/set/empty", post("", {}));
  assert.deepEqual(await result("/mget/b/none", { headers }), [b64("OK"), null]);
  const nested = await request("/", post(["EVAL", "return {'a', {'OK', 1, {'c'}}}", "0"], headers));
  assert.deepEqual(nested.json.result, [b64("a"), [b64("OK"), 1, [b64("c")]]]);
  const many = await request("/pipeline", post([["SET", "b", "v"], ["GET", "b"], ["NOPE"]], headers));
  assert.deepEqual(many.json.slice(0, 2), [{ result: "OK" }, { result: b64("v") }]);
  assert.match(many.json[2].error, /^ERR unknown command/);
});

test("resp2 answers: the bytes a Redis socket would carry", async () => {
  const headers = { "upstash-response-format": "resp2" };
  for (const [command, bytes] of [
    [["SET", "r", "value"], "+OK\r\n"],
    [["GET", "r"], "$5\r\nvalue\r\n"],
    [["GET", "none"], "$-1\r\n"],
    [["STRLEN", "r"], ":5\r\n"],
    [["MGET", "r", "none"], "*2\r\n$5\r\nvalue\r\n$-1\r\n"],
  ]) {
    const answer = await request("/", post(command, headers));
    assert.equal(answer.status, 200);
    assert.equal(answer.headers.get("content-type"), "application/octet-stream");
    assert.equal(answer.text, bytes);
  }
  const failed = await request("/", post(["LPUSH", "r", "x"], headers));
  assert.equal(failed.status, 400);
  assert.match(failed.text, /WRONGTYPE/);
  const binary = Buffer.from([0, 255, 13, 10]);
  await request("/set/rb", { method: "POST", body: binary });
  assert.deepEqual((await request("/get/rb", { headers })).bytes.subarray(4, 8), binary);
});

test("formats that do not exist, or do not go together, are refused", async () => {
  const get = (headers) => request("/get/x", { headers });
  assert.equal((await get({ "upstash-response-format": "json" })).status, 200);
  assert.equal((await get({ "upstash-response-format": "resp9" })).status, 400);
  assert.equal((await get({ "upstash-response-format": "resp2", "upstash-encoding": "base64" })).status, 400);
  assert.equal((await get({ "upstash-encoding": "unheard-of" })).status, 200);
});

test("HEAD answers as GET does, without the body", async () => {
  await request("/set/head/1");
  const answer = await request("/get/head", { method: "HEAD" });
  assert.equal(answer.status, 200);
  assert.equal(answer.bytes.length, 0);
  assert.equal((await request("/get", { method: "HEAD" })).status, 400);
});

test("other methods are refused with 405", async () => {
  for (const method of ["DELETE", "PATCH"]) {
    const answer = await request("/get/x", { method });
    assert.equal(answer.status, 405, method);
    assert.ok(answer.json.error);
  }
});

test("a browser gets through: preflight, and exposed headers", async () => {
  const preflight = await anonymous("/pipeline", {
    method: "OPTIONS",
    headers: {
      origin: "https://app.example",
      "access-control-request-method": "POST",
      "access-control-request-headers": "authorization,content-type,upstash-encoding,upstash-sync-token,upstash-telemetry-sdk",
    },
  });
  assert.equal(preflight.status, 204);
  assert.ok(["*", "https://app.example"].includes(preflight.headers.get("access-control-allow-origin")));
  assert.match(preflight.headers.get("access-control-allow-methods"), /POST/);
  const allowed = preflight.headers.get("access-control-allow-headers").toLowerCase();
  for (const name of ["authorization", "content-type", "upstash-encoding", "upstash-sync-token", "upstash-telemetry-sdk"]) {
    assert.ok(allowed.includes(name), `${name} in ${allowed}`);
  }
  const answer = await request("/ping", { headers: { origin: "https://app.example" } });
  assert.ok(answer.headers.get("access-control-allow-origin"));
  assert.match(answer.headers.get("access-control-expose-headers"), /upstash-sync-token/i);
});

test("answers are JSON, not cacheable, and have no stray bytes", async () => {
  const answer = await request("/get/none");
  assert.match(answer.headers.get("content-type"), /^application\/json/);
  assert.equal(answer.text.trim(), '{"result":null}');
  assert.ok(!/max-age=[1-9]|public/.test(answer.headers.get("cache-control") ?? ""));
});

test("integers keep all 64 bits on the wire", async () => {
  await request("/set/int/9223372036854775806");
  assert.equal((await request("/incr/int")).text.trim(), '{"result":9223372036854775807}');
});

test("hashes, sorted sets and cursors have their flat shapes", async () => {
  await request("/hset/h/a/1/b/2");
  assert.deepEqual(await result("/hgetall/h"), ["a", "1", "b", "2"]);
  assert.deepEqual(await result("/hgetall/none"), []);
  await request("/zadd/zz/0.1/m");
  assert.equal(await result("/zscore/zz/m"), "0.1");
  assert.equal(await result("/zincrby/zz/0.2/m"), "0.30000000000000004");
  const [cursor] = await result("/hscan/h/0");
  assert.equal(cursor, "0");
});

test("health needs no token", async () => {
  assert.equal((await anonymous("/health")).status, 200);
});
