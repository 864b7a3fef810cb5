// Every typed helper of the SDK for these groups is called at least once, and the last test counts them.

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "@upstash/redis";
import { eventually, serve, sleep } from "../lib/harness.js";

await serve();

const called = new Set();
const client = Redis.fromEnv();
const redis = new Proxy(client, {
  get(target, name) {
    if (typeof name === "string") called.add(name);
    return target[name];
  },
});

/** Groups with other homes, or that a Dormouse database does not have yet. */
const ELSEWHERE = new Set(
  [
    "addTelemetry autoPipeline autoPipelineExecutor client constructor enableAutoPipelining enableTelemetry opts use",
    "multi pipeline readYourWritesSyncToken publish psubscribe subscribe",
    "createScript eval evalRo evalsha evalshaRo scriptExists scriptFlush scriptLoad",
    "functions json search vector",
    "xack xackdel xadd xautoclaim xclaim xdel xdelex xgroup xinfo xlen xpending xrange xread xreadgroup xrevrange xtrim",
  ].flatMap((line) => line.split(" ")),
);

const sorted = (list) => [...list].sort();
const near = (value, expected, slack = 5) =>
  assert.ok(value <= expected && value > expected - slack, `${value} is not just under ${expected}`);
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600;

test("strings", async () => {
  assert.equal(await redis.set("s", "abc"), "OK");
  assert.equal(await redis.get("s"), "abc");
  assert.equal(await redis.append("s", "def"), 6);
  assert.equal(await redis.strlen("s"), 6);
  assert.equal(await redis.getrange("s", 1, -2), "bcde");
  assert.equal(await redis.setrange("s", 2, "XY"), 6);
  assert.equal(await redis.getset("s", "new"), "abXYef");
  assert.equal(await redis.getdel("s"), "new");
  assert.equal(await redis.get("s"), null);
  assert.equal(await redis.getrange("s", 0, -1), "");

  assert.equal(await redis.incr("n"), 1);
  assert.equal(await redis.incrby("n", 10), 11);
  assert.equal(await redis.decr("n"), 10);
  assert.equal(await redis.decrby("n", 25), -15);
  assert.equal(await redis.incrbyfloat("n", 0.5), -14.5);

  assert.equal(await redis.mset({ m1: "one", m2: 2, m3: { three: 3 } }), "OK");
  assert.deepEqual(await redis.mget("m1", "m2", "m3", "m4"), ["one", 2, { three: 3 }, null]);
  assert.deepEqual(await redis.mget(["m1", "m2"]), ["one", 2]);
  assert.equal(await redis.msetnx({ m4: 4, m1: 1 }), 0);
  assert.equal(await redis.msetnx({ m4: 4, m5: 5 }), 1);
  assert.equal(await redis.setnx("m4", 9), 0);
  assert.equal(await redis.setnx("m6", 9), 1);
  assert.equal(await redis.setex("e", 100, "x"), "OK");
  near(await redis.ttl("e"), 100);
  assert.equal(await redis.psetex("e", 100_000, "y"), "OK");
  near(await redis.pttl("e"), 100_000, 2000);
  assert.equal(await redis.getex("e", { persist: true }), "y");
  assert.equal(await redis.ttl("e"), -1);
  assert.equal(await redis.getex("e", { ex: 50 }), "y");
  near(await redis.ttl("e"), 50);
  assert.equal(await redis.getex("e", { pxat: (inAnHour() + 60) * 1000 }), "y");
});

test("set and its options", async () => {
  assert.equal(await redis.set("o", 1, { nx: true, ex: 100 }), "OK");
  assert.equal(await redis.set("o", 2, { nx: true }), null);
  assert.equal(await redis.set("o", 2, { xx: true, keepTtl: true }), "OK");
  near(await redis.ttl("o"), 100);
  assert.equal(await redis.set("o", 3, { get: true }), 2);
  assert.equal(await redis.ttl("o"), -1);
  assert.equal(await redis.set("o", 4, { xx: true, px: 100_000 }), "OK");
  assert.equal(await redis.set("o", 5, { exat: inAnHour() }), "OK");
  near(await redis.ttl("o"), 3600);
  assert.equal(await redis.set("o", 6, { pxat: inAnHour() * 1000 }), "OK");
  assert.equal(await redis.set("absent", 1, { xx: true }), null);
  assert.equal(await redis.set("absent", 1, { nx: true, get: true }), null);
  assert.equal(await redis.get("absent"), 1);
  await assert.rejects(redis.set("o", 1, { ex: 0 }), /invalid expire time in 'set' command/);
  await assert.rejects(redis.set("o", 1, { ex: 1.5 }), /value is not an integer or out of range/);
});

test("hashes", async () => {
  assert.equal(await redis.hset("h", { a: 1, b: "two", c: { three: [3] } }), 3);
  assert.equal(await redis.hset("h", { a: 11, d: false }), 1);
  assert.equal(await redis.hget("h", "a"), 11);
  assert.equal(await redis.hget("h", "nope"), null);
  assert.deepEqual(await redis.hgetall("h"), { a: 11, b: "two", c: { three: [3] }, d: false });
  assert.equal(await redis.hgetall("nope"), null);
  assert.deepEqual(await redis.hmget("h", "a", "nope", "c"), { a: 11, nope: null, c: { three: [3] } });
  assert.equal(await redis.hmget("nope", "a"), null);
  assert.equal(await redis.hmset("h", { e: 5 }), "OK");
  assert.equal(await redis.hsetnx("h", "e", 6), 0);
  assert.equal(await redis.hsetnx("h", "f", 6), 1);
  assert.equal(await redis.hexists("h", "f"), 1);
  assert.equal(await redis.hexists("h", "z"), 0);
  assert.equal(await redis.hlen("h"), 6);
  assert.equal(await redis.hstrlen("h", "b"), 3);
  assert.deepEqual(sorted(await redis.hkeys("h")), ["a", "b", "c", "d", "e", "f"]);
  assert.deepEqual(new Set((await redis.hvals("h")).map((value) => JSON.stringify(value))).size, 6);
  assert.equal(await redis.hincrby("h", "e", 5), 10);
  assert.equal(await redis.hincrbyfloat("h", "e", 0.25), 10.25);
  assert.equal(await redis.hdel("h", "e", "f", "z"), 2);
  assert.ok(["a", "b", "c", "d"].includes(await redis.hrandfield("h")));
  assert.equal((await redis.hrandfield("h", 2)).length, 2);
  assert.deepEqual(Object.keys(await redis.hrandfield("h", 10, true)).length, 4);
  const [cursor, flat] = await redis.hscan("h", 0);
  assert.deepEqual([cursor, flat.length], ["0", 8]);
});

test("hash fields with an end of their own", async () => {
  await redis.hset("he", { a: 1, b: 2, c: 3 });
  assert.deepEqual(await redis.hexpire("he", ["a", "nope"], 100), [1, -2]);
  assert.deepEqual(await redis.hpexpire("he", "b", 100_000, "NX"), [1]);
  assert.deepEqual(await redis.hexpireat("he", "c", inAnHour()), [1]);
  assert.deepEqual(await redis.hpexpireat("he", "c", inAnHour() * 1000 + 5000, "GT"), [1]);
  near((await redis.httl("he", "a"))[0], 100);
  near((await redis.hpttl("he", "b"))[0], 100_000, 2000);
  assert.deepEqual(await redis.httl("he", ["nope"]), [-2]);
  const [at] = await redis.hexpiretime("he", "c");
  assert.ok(at > Date.now() / 1000);
  assert.ok((await redis.hpexpiretime("he", "c"))[0] >= at * 1000);
  assert.deepEqual(await redis.hpersist("he", ["a", "nope"]), [1, -2]);
  assert.deepEqual(await redis.httl("he", "a"), [-1]);
  await redis.hpexpire("he", "b", 30);
  await sleep(50);
  assert.deepEqual(await redis.hgetall("he"), { a: 1, c: 3 });

  assert.equal(await redis.hsetex("hx", { expiration: { ex: 100 } }, { a: 1, b: { n: 2 } }), 1);
  near((await redis.httl("hx", "b"))[0], 100);
  assert.equal(await redis.hsetex("hx", { conditional: "fnx", expiration: { px: 5000 } }, { a: 2 }), 0);
  assert.deepEqual(await redis.hgetex("hx", { persist: true }, "a", "b", "nope"), { a: 1, b: { n: 2 }, nope: null });
  assert.deepEqual(await redis.httl("hx", ["a", "b"]), [-1, -1]);
  assert.deepEqual(await redis.hgetdel("hx", "a", "nope"), { a: 1, nope: null });
  assert.equal(await redis.hexists("hx", "a"), 0);
});

test("lists", async () => {
  assert.equal(await redis.rpush("l", "a", "b", "c"), 3);
  assert.equal(await redis.lpush("l", { first: true }), 4);
  assert.equal(await redis.rpushx("l", 5), 5);
  assert.equal(await redis.lpushx("nope", 1), 0);
  assert.deepEqual(await redis.lrange("l", 0, -1), [{ first: true }, "a", "b", "c", 5]);
  assert.equal(await redis.lindex("l", -1), 5);
  assert.equal(await redis.lindex("l", 99), null);
  assert.equal(await redis.llen("l"), 5);
  assert.equal(await redis.linsert("l", "before", "b", "ab"), 6);
  assert.equal(await redis.linsert("l", "after", "zzz", "x"), -1);
  assert.equal(await redis.lpos("l", "ab"), 2);
  assert.deepEqual(await redis.lpos("l", "ab", { rank: -1, count: 0, maxLen: 100 }), [2]);
  assert.equal(await redis.lset("l", 0, "zero"), "OK");
  await assert.rejects(redis.lset("l", 99, "x"), /index out of range/);
  assert.equal(await redis.lrem("l", 0, "ab"), 1);
  assert.equal(await redis.lpop("l"), "zero");
  assert.deepEqual(await redis.rpop("l", 2), [5, "c"]);
  assert.deepEqual(await redis.lpop("l", 10), ["a", "b"]);
  assert.equal(await redis.lpop("l"), null);
  assert.equal(await redis.rpop("l"), null);
  await redis.rpush("l", 1, 2, 3, 4, 5);
  assert.equal(await redis.ltrim("l", 1, -2), "OK");
  assert.equal(await redis.lmove("l", "l2", "left", "right"), 2);
  assert.deepEqual(await redis.lmpop(2, ["nope", "l"], "LEFT", 2), ["l", [3, 4]]);
  assert.equal(await redis.lmpop(1, ["nope"], "RIGHT"), null);
  assert.deepEqual(await redis.lrange("l2", 0, -1), [2]);
});

test("sets", async () => {
  assert.equal(await redis.sadd("s1", "a", "b", "c", 4), 4);
  assert.equal(await redis.sadd("s2", "b", 4, "x"), 3);
  assert.equal(await redis.scard("s1"), 4);
  assert.equal(await redis.sismember("s1", 4), 1);
  assert.deepEqual(await redis.smismember("s1", ["a", "zz", 4]), [1, 0, 1]);
  assert.deepEqual(new Set(await redis.smembers("s1")), new Set(["a", "b", "c", 4]));
  assert.deepEqual(new Set(await redis.sdiff("s1", "s2")), new Set(["a", "c"]));
  assert.deepEqual(new Set(await redis.sinter("s1", "s2")), new Set(["b", 4]));
  assert.deepEqual(new Set(await redis.sunion("s1", "s2")), new Set(["a", "b", "c", 4, "x"]));
  assert.equal(await redis.sintercard(["s1", "s2"]), 2);
  assert.equal(await redis.sintercard(["s1", "s2"], { limit: 1 }), 1);
  assert.equal(await redis.sdiffstore("d", "s1", "s2"), 2);
  assert.equal(await redis.sinterstore("i", "s1", "s2"), 2);
  assert.equal(await redis.sunionstore("u", "s1", "s2"), 5);
  assert.equal(await redis.smove("s1", "s2", "a"), 1);
  assert.equal(await redis.smove("s1", "s2", "a"), 0);
  assert.equal(await redis.srem("s1", "b", "zz"), 1);
  assert.ok(["c", 4].includes(await redis.srandmember("s1")));
  assert.equal((await redis.srandmember("u", 3)).length, 3);
  assert.equal((await redis.srandmember("u", -9)).length, 9);
  assert.ok((await redis.spop("i")) !== null);
  assert.equal((await redis.spop("u", 5)).length, 5);
  assert.equal(await redis.spop("u"), null);
  assert.deepEqual((await redis.sscan("s1", 0))[0], "0");
});

test("sorted sets", async () => {
  assert.equal(await redis.zadd("z", { score: 1, member: "a" }, { score: 2, member: "b" }, { score: 3.5, member: "c" }), 3);
  assert.equal(await redis.zadd("z", { nx: true }, { score: 9, member: "a" }, { score: 4, member: "d" }), 1);
  assert.equal(await redis.zadd("z", { xx: true, ch: true }, { score: 5, member: "d" }), 1);
  assert.equal(await redis.zadd("z", { gt: true, ch: true }, { score: 4, member: "d" }), 0);
  assert.equal(await redis.zadd("z", { incr: true }, { score: 1, member: "d" }), 6);
  assert.equal(await redis.zadd("z", { nx: true, incr: true }, { score: 1, member: "d" }), null);
  assert.equal(await redis.zcard("z"), 4);
  assert.equal(await redis.zcount("z", 2, "(6"), 2);
  assert.equal(await redis.zcount("z", "-inf", "+inf"), 4);
  assert.equal(await redis.zscore("z", "c"), 3.5);
  assert.equal(await redis.zscore("z", "nope"), null);
  assert.deepEqual(await redis.zmscore("z", ["a", "nope", "c"]), [1, null, 3.5]);
  assert.equal(await redis.zincrby("z", 2.5, "a"), 3.5);
  assert.equal(await redis.zrank("z", "b"), 0);
  assert.equal(await redis.zrevrank("z", "b"), 3);
  assert.equal(await redis.zrank("z", "nope"), null);
  assert.deepEqual(await redis.zrange("z", 0, -1), ["b", "a", "c", "d"]);
  assert.deepEqual(await redis.zrange("z", 0, 1, { withScores: true }), ["b", 2, "a", 3.5]);
  assert.deepEqual(await redis.zrange("z", 0, 0, { rev: true }), ["d"]);
  assert.deepEqual(await redis.zrange("z", "(2", "+inf", { byScore: true, offset: 1, count: 1 }), ["c"]);
  assert.deepEqual(await redis.zrange("z", "+inf", "-inf", { byScore: true, rev: true, withScores: true }).then((r) => r.slice(0, 2)), ["d", 6]);

  await redis.zadd("lex", { score: 0, member: "a" }, { score: 0, member: "b" }, { score: 0, member: "c" });
  assert.deepEqual(await redis.zrange("lex", "[a", "(c", { byLex: true }), ["a", "b"]);
  assert.equal(await redis.zlexcount("lex", "-", "+"), 3);
  assert.equal(await redis.zremrangebylex("lex", "[a", "[b"), 2);

  await redis.zadd("y", { score: 10, member: "a" }, { score: 20, member: "x" });
  assert.deepEqual(await redis.zunion(2, ["z", "y"], { withScores: true }), ["b", 2, "c", 3.5, "d", 6, "a", 13.5, "x", 20]);
  assert.deepEqual(await redis.zunion(2, ["z", "y"], { weights: [1, 0], aggregate: "max" }), ["x", "b", "a", "c", "d"]);
  assert.equal(await redis.zunionstore("zu", 2, ["z", "y"], { weights: [2, 1], aggregate: "min" }), 5);
  assert.equal(await redis.zinterstore("zi", 2, ["z", "y"], { aggregate: "sum" }), 1);
  assert.equal(await redis.zscore("zi", "a"), 13.5);
  assert.equal(await redis.zdiffstore("zd", 2, "z", "y"), 3);
  assert.deepEqual(await redis.zpopmin("zd"), ["b", 2]);
  assert.deepEqual(await redis.zpopmax("zd", 5), ["d", 6, "c", 3.5]);
  assert.deepEqual(await redis.zpopmin("zd"), []);
  assert.equal(await redis.zrem("z", "a", "nope"), 1);
  assert.equal(await redis.zremrangebyscore("z", "(2", 4), 1);
  assert.equal(await redis.zremrangebyrank("z", 0, 0), 1);
  assert.deepEqual(await redis.zscan("z", 0), ["0", ["d", 6]]);
});

test("bitmaps", async () => {
  assert.equal(await redis.setbit("bits", 7, 1), 0);
  assert.equal(await redis.setbit("bits", 9, 1), 0);
  assert.equal(await redis.getbit("bits", 7), 1);
  assert.equal(await redis.bitcount("bits"), 2);
  assert.equal(await redis.bitcount("bits", 1, 1), 1);
  assert.equal(await redis.bitpos("bits", 1), 7);
  assert.equal(await redis.bitpos("bits", 1, 1, 1), 9);
  assert.equal(await redis.setbit("others", 9, 1), 0);
  assert.equal(await redis.bitop("and", "both", "bits", "others"), 2);
  assert.equal(await redis.bitcount("both"), 1);
  assert.equal(await redis.bitop("not", "none", "bits"), 2);
  assert.equal(await redis.bitcount("none"), 14);
  // Automatic pipelining has no builder for this command.
  const plain = Redis.fromEnv({ enableAutoPipelining: false });
  called.add("bitfield");
  const field = plain.bitfield("field").set("u8", 0, 250).overflow("SAT").incrby("u8", "#0", 10).get("i8", 0);
  assert.deepEqual(await field.exec(), [0, 255, -1]);
});

test("hyperloglogs", async () => {
  assert.equal(await redis.pfadd("visitors", "ann", "bob"), 1);
  assert.equal(await redis.pfadd("visitors", "ann"), 0);
  assert.equal(await redis.pfadd("guests", "bob", "cleo"), 1);
  assert.equal(await redis.pfcount("visitors"), 2);
  assert.equal(await redis.pfcount("visitors", "guests"), 3);
  assert.equal(await redis.pfmerge("everybody", "visitors", "guests"), "OK");
  assert.equal(await redis.pfcount("everybody"), 3);
});

test("places", async () => {
  const palermo = { longitude: 13.361389, latitude: 38.115556, member: "Palermo" };
  const catania = { longitude: 15.087269, latitude: 37.502669, member: "Catania" };
  assert.equal(await redis.geoadd("sicily", palermo, catania), 2);
  assert.equal(await redis.geoadd("sicily", { nx: true, ch: true }, { ...palermo, longitude: 1 }), 0);
  assert.equal(await redis.geodist("sicily", "Palermo", "Catania", "KM"), 166.2742);
  assert.deepEqual(await redis.geohash("sicily", "Palermo", "Catania"), ["sqc8b49rny0", "sqdtr74hyu0"]);
  const [place] = await redis.geopos("sicily", "Palermo");
  near(Number(place.lng), 13.3614, 0.0001);
  near(Number(place.lat), 38.1156, 0.0001);
  const center = { type: "FROMLONLAT", coordinate: { lon: 15, lat: 37 } };
  const circle = { type: "BYRADIUS", radius: 200, radiusType: "KM" };
  assert.deepEqual(await redis.geosearch("sicily", center, circle, "ASC"), [
    { member: "Catania" },
    { member: "Palermo" },
  ]);
  const options = { withDist: true, withHash: true, withCoord: true, count: { limit: 1 } };
  const [nearest] = await redis.geosearch("sicily", center, circle, "ASC", options);
  assert.equal(nearest.member, "Catania");
  assert.equal(nearest.dist, 56.4413);
  assert.equal(nearest.hash, "3479447370796909");
  near(nearest.coord.long, 15.0873, 0.0001);
  const box = { type: "BYBOX", rect: { width: 400, height: 400 }, rectType: "KM" };
  assert.equal(await redis.geosearchstore("found", "sicily", center, box, "DESC", { storeDist: true }), 2);
  near(await redis.zscore("found", "Palermo"), 190.4425, 0.001);
});

test("keys of any type", async () => {
  await redis.flushdb();
  await redis.mset({ g1: 1, g2: 2, g3: 3 });
  await redis.rpush("glist", 1);
  assert.equal(await redis.exists("g1", "g2", "nope", "g1"), 3);
  assert.equal(await redis.type("g1"), "string");
  assert.equal(await redis.type("glist"), "list");
  assert.equal(await redis.type("nope"), "none");
  assert.equal(await redis.touch("g1", "nope"), 1);
  assert.equal(await redis.dbsize(), 4);
  assert.deepEqual(sorted(await redis.keys("g?")), ["g1", "g2", "g3"]);
  assert.ok(["g1", "g2", "g3", "glist"].includes(await redis.randomkey()));
  assert.equal(await redis.ttl("g1"), -1);
  assert.equal(await redis.ttl("nope"), -2);
  assert.equal(await redis.expire("g1", 100), 1);
  assert.equal(await redis.expire("g1", 200, "GT"), 1);
  assert.equal(await redis.expire("g1", 300, "NX"), 0);
  near(await redis.ttl("g1"), 200);
  assert.equal(await redis.pexpire("g1", 50_000), 1);
  near(await redis.pttl("g1"), 50_000, 2000);
  assert.equal(await redis.expireat("g1", inAnHour()), 1);
  assert.equal(await redis.pexpireat("g1", inAnHour() * 1000), 1);
  near(await redis.ttl("g1"), 3600);
  assert.equal(await redis.persist("g1"), 1);
  assert.equal(await redis.persist("g1"), 0);
  assert.equal(await redis.expire("g2", -1), 1);
  assert.equal(await redis.exists("g2"), 0);
  assert.equal(await redis.rename("g1", "g4"), "OK");
  assert.equal(await redis.renamenx("g4", "g3"), 0);
  await assert.rejects(redis.rename("nope", "x"), /ERR no such key/);
  assert.equal(await redis.copy("g4", "g5"), "COPIED");
  assert.equal(await redis.copy("g4", "g3"), "NOT_COPIED");
  assert.equal(await redis.copy("g4", "g3", { replace: true }), "COPIED");
  assert.equal(await redis.unlink("g3", "nope"), 1);
  assert.equal(await redis.del("g4", "g5", "nope"), 2);
  assert.deepEqual((await redis.scan(0))[1], ["glist"]);
  assert.equal(await redis.flushall({ async: true }), "OK");
  assert.equal(await redis.randomkey(), null);
  assert.equal(await redis.flushdb({ async: true }), "OK");
});

test("expiry is exact", async () => {
  await redis.set("soon", 1, { px: 60 });
  assert.equal(await redis.get("soon"), 1);
  await sleep(80);
  assert.equal(await redis.get("soon"), null);
  assert.equal(await redis.exists("soon"), 0);
  assert.deepEqual(await redis.keys("soon"), []);
  await eventually(async () => (await redis.dbsize()) === 0, { what: "removal" });
});

test("the connection", async () => {
  assert.equal(await redis.ping(), "PONG");
  assert.equal(await redis.ping(["hello"]), "hello");
  assert.equal(await redis.echo("ünï"), "ünï");
  const [seconds, micros] = await redis.time();
  assert.ok(Math.abs(seconds - Date.now() / 1000) < 5);
  assert.ok(micros >= 0 && micros < 1_000_000);
  assert.equal(await redis.clientSetinfo("LIB-NAME", "dormouse-test"), "OK");
});

test("arrays", async () => {
  assert.equal(await redis.arset("ar", 0, "a", "b"), 2);
  assert.equal(await redis.armset("ar", { 5: "f", 0: "A" }), 1);
  assert.equal(await redis.armset("ar", [[6, 7]]), 1);
  assert.equal(await redis.arget("ar", 0), "A");
  assert.deepEqual(await redis.armget("ar", 1, 2, 6), ["b", null, 7]);
  assert.deepEqual(await redis.argetrange("ar", 6, 4), [7, "f", null]);
  assert.deepEqual(await redis.arscan("ar", 0, 9, { limit: 2 }), [["0", "A"], ["1", "b"]]);
  assert.deepEqual(await redis.argrep("ar", "-", "+", { predicates: [{ match: "a" }], noCase: true }), ["0"]);
  const found = { predicates: [{ exact: "b" }, { glob: "f*" }], combine: "or", withValues: true, limit: 5 };
  assert.deepEqual(await redis.argrep("ar", "-", "+", found), [["1", "b"], ["5", "f"]]);
  assert.equal(await redis.arcount("ar"), 4);
  assert.equal(await redis.arlen("ar"), "7");
  assert.equal(await redis.arop("ar", 0, 9, "SUM"), 7);
  assert.equal(await redis.arop("ar", 0, 9, { match: "b" }), 1);
  assert.equal(await redis.ardel("ar", 0, 3), 1);
  assert.equal(await redis.ardelrange("ar", [1, 4], [5, 5]), 2);
  assert.equal(await redis.arinsert("log", "x", "y"), "1");
  assert.equal(await redis.arnext("log"), "2");
  assert.equal(await redis.arseek("log", 10), 1);
  assert.equal(await redis.arinsert("log", "z"), "10");
  assert.equal((await redis.arinfo("log", { full: true })).count, 3);
  assert.equal(await redis.arring("ring", 2, "a", "b", "c"), "0");
  assert.deepEqual(await redis.arlastitems("ring", 2, { rev: true }), ["c", "b"]);
});

test("raw commands, for whatever has no helper", async () => {
  assert.equal(await redis.exec(["SET", "raw", "1"]), "OK");
  assert.equal(await redis.exec(["GET", "raw"]), 1);
  await redis.exec(["ZADD", "rawz", "1.5", "a", "2", "b"]);
  assert.deepEqual(await redis.exec(["ZDIFF", 2, "rawz", "nope", "WITHSCORES"]), ["a", 1.5, "b", 2]);
  assert.deepEqual(await redis.exec(["config", "get", "notify-keyspace-events"]).then((r) => r.length), 2);
  await assert.rejects(redis.exec(["NOSUCH", "x"]), /unknown command 'NOSUCH'/);
});

test("no helper of these groups was left out", () => {
  const helpers = new Set();
  for (let level = client; level && level !== Object.prototype; level = Object.getPrototypeOf(level)) {
    for (const name of Object.getOwnPropertyNames(level)) helpers.add(name);
  }
  assert.ok(helpers.size > 150);
  assert.deepEqual([...helpers].filter((name) => !called.has(name) && !ELSEWHERE.has(name)), []);
});
