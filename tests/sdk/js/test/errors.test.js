import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { post, raw, serve } from "../lib/harness.js";

const server = await serve();
const redis = Redis.fromEnv();
const single = Redis.fromEnv({ enableAutoPipelining: false });
const request = raw(server);

test("the SDK's error carries the server's words and the command", async () => {
  await redis.set("text", "abc");
  await assert.rejects(single.incr("text"), {
    name: "UpstashError",
    message: 'ERR value is not an integer or out of range, command was: ["incr","text"]',
  });
});

test("the words are those of Redis", async () => {
  await redis.set("s", "abc");
  for (const [command, error] of [
    [["GET"], "ERR wrong number of arguments for 'get' command"],
    [["get", "a", "b"], "ERR wrong number of arguments for 'get' command"],
    [["NOPE", "a"], "ERR unknown command 'NOPE', with args beginning with: 'a' "],
    [["LPUSH", "s", "1"], "WRONGTYPE Operation against a key holding the wrong kind of value"],
    [["INCRBY", "s", "x"], "ERR value is not an integer or out of range"],
    [["INCRBYFLOAT", "s", "1"], "ERR value is not a valid float"],
    [["SET", "s", "1", "EX"], "ERR syntax error"],
    [["SET", "s", "1", "EX", "-1"], "ERR invalid expire time in 'set' command"],
    [["EVALSHA", "nope", "0"], "NOSCRIPT No matching script. Please use EVAL."],
    [["EVAL", "return 1", "x"], "ERR value is not an integer or out of range"],
    [["EVAL", "return 1", "1"], "ERR Number of keys can't be greater than number of args"],
    [["ZADD", "z", "x", "m"], "ERR value is not a valid float"],
    [["EXPIRE", "s", "9223372036854775807"], "ERR invalid expire time in 'expire' command"],
  ]) {
    const answer = await request("/", post(command));
    assert.equal(answer.status, 400, JSON.stringify(command));
    assert.deepEqual(answer.json, { error }, JSON.stringify(command));
  }
});

test("what belongs to a connection is refused over REST", async () => {
  for (const command of [
    ["SUBSCRIBE", "c"],
    ["MULTI"],
    ["EXEC"],
    ["WATCH", "k"],
    ["AUTH", "x"],
    ["MONITOR"],
  ]) {
    const answer = await request("/", post(command));
    assert.equal(answer.status, 400, command[0]);
    assert.match(answer.json.error, /^[A-Z]+ /, command[0]);
  }
});

test("a body that is no command is refused, and nothing runs", async () => {
  for (const body of [
    "",
    "{",
    "null",
    "[]",
    "{}",
    '"GET"',
    "[[]]",
    "[1,2]",
    '["SET","bad",null]',
    '["SET","bad",{"a":1}]',
    '["SET","bad",["x"]]',
    '["SET","bad","x"] trailing',
    '["SET","bad","x",]',
  ]) {
    const answer = await request("/", { method: "POST", body });
    assert.equal(answer.status, 400, body);
    assert.match(answer.json.error, /^ERR /, body);
  }
  for (const [path, body] of [
    ["/pipeline", '["SET","bad","x"]'],
    ["/pipeline", '[["SET","bad","x"],"GET"]'],
    ["/pipeline", '[["SET","bad","x"],[]]'],
    ["/multi-exec", '{"a":1}'],
    ["/multi-exec", '[["SET","bad","x"],["GET"]]'],
    ["/multi-exec", '[["SET","bad","x"],["NOPE"]]'],
    ["/multi-exec", '[["SET","bad","x"],["WATCH","k"]]'],
  ]) {
    const answer = await request(path, { method: "POST", body });
    assert.equal(answer.status, 400, `${path} ${body}`);
    assert.deepEqual(Object.keys(answer.json), ["error"]);
  }
  assert.equal(await redis.exists("bad"), 0);
});

test("numbers and booleans become the text they were sent as", async () => {
  for (const [lexeme, text] of [
    ["100", "100"],
    ["-1.50", "-1.50"],
    ["1e21", "1e21"],
    ["12345678901234567890", "12345678901234567890"],
    ["true", "true"],
    ["false", "false"],
  ]) {
    await request("/", { method: "POST", body: `["SET","lexeme",${lexeme}]` });
    assert.deepEqual((await request("/get/lexeme")).json, { result: text });
  }
});

test("in a pipeline each item has its own error, and only that", async () => {
  const { status, json } = await request("/pipeline", post([["SET", "p", "1"], ["NOPE"], ["GET"], ["GET", "nope"], ["GET", "p"]]));
  assert.equal(status, 200);
  assert.deepEqual(json[0], { result: "OK" });
  assert.deepEqual([Object.keys(json[1]), Object.keys(json[2])], [["error"], ["error"]]);
  assert.deepEqual(json.slice(3), [{ result: null }, { result: "1" }]);
});

test("an empty pipeline is an empty answer", async () => {
  assert.deepEqual((await request("/pipeline", post([]))).json, []);
  assert.deepEqual((await request("/multi-exec", post([]))).json, []);
});
