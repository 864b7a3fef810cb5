// The `redis` package (node-redis) over RESP2 and RESP3.

import assert from "node:assert/strict";
import { test } from "node:test";
import { createClient } from "redis";
import { eventually, serve } from "../lib/harness.js";

const server = await serve();

for (const RESP of [2, 3]) {
  test(`node-redis speaks RESP${RESP}`, async () => {
    const client = await createClient({ url: server.respUrl, RESP }).connect();
    await client.flushDb();
    assert.equal(await client.set("k", "v", { expiration: { type: "EX", value: 100 } }), "OK");
    assert.equal(await client.get("k"), "v");
    assert.ok((await client.ttl("k")) > 90);
    assert.equal(await client.hSet("h", { a: "1", b: "2" }), 2);
    assert.deepEqual({ ...(await client.hGetAll("h")) }, { a: "1", b: "2" });
    await client.zAdd("z", [{ score: 1.5, value: "one" }, { score: 2, value: "two" }]);
    assert.deepEqual(await client.zRangeWithScores("z", 0, -1), [{ value: "one", score: 1.5 }, { value: "two", score: 2 }]);
    assert.deepEqual(await client.multi().set("m", "1").incr("m").exec(), ["OK", 2]);
    await client.sAdd("set", ["x", "y"]);
    assert.deepEqual([...(await client.sMembers("set"))].sort(), ["x", "y"]);
    const id = await client.xAdd("s", "*", { field: "value" });
    assert.equal((await client.xRange("s", "-", "+"))[0].id, id);
    await assert.rejects(client.incr("h"), /WRONGTYPE/);

    const subscriber = await client.duplicate().connect();
    const got = [];
    await subscriber.subscribe("news", (message) => got.push(message));
    await client.publish("news", "hello");
    await eventually(() => got.length === 1, { what: "the message" });
    assert.deepEqual(got, ["hello"]);

    const seen = [];
    for await (const keys of client.scanIterator({ COUNT: 2 })) seen.push(...keys);
    assert.deepEqual(seen.sort(), ["h", "k", "m", "s", "set", "z"]);
    await subscriber.close();
    await client.close();
  });
}
