import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { Analytics, IpDenyList, MultiRegionRatelimit, Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis";
import { Dormouse, eventually, serve, sleep } from "../lib/harness.js";
import { limited } from "../patterns/rate-limit.js";

await serve();
const redis = Redis.fromEnv();
const limiter = (prefix, algorithm, options) =>
  new Ratelimit({ redis, prefix, limiter: algorithm, ephemeralCache: false, ...options });
const allowed = (answers) => answers.filter(({ success }) => success).length;
const many = (n, call) => Promise.all(Array.from({ length: n }, (_, at) => call(at)));

const HOUR = 3_600_000;

/** Waits for the next window if this one is about to end, so that a test is not cut in two by it. */
async function earlyIn(windowMs) {
  const left = windowMs - (Date.now() % windowMs);
  if (left < Math.min(windowMs * 0.7, 5000)) await sleep(left + 5);
}

const ALGORITHMS = {
  "fixed window": (n, window) => Ratelimit.fixedWindow(n, window),
  "sliding window": (n, window) => Ratelimit.slidingWindow(n, window),
  "token bucket": (n, window) => Ratelimit.tokenBucket(n, window, n),
};

for (const [name, algorithm] of Object.entries(ALGORITHMS)) {
  const prefix = name.replace(" ", "-");

  test(`${name}: counts down, refuses, tells when it resets`, async () => {
    await earlyIn(HOUR);
    const limit = limiter(prefix, algorithm(3, "1 h"));
    const seen = [];
    for (let at = 0; at < 4; at += 1) seen.push(await limit.limit("ada"));
    assert.deepEqual(seen.map(({ success, remaining, limit }) => [success, remaining, limit]), [
      [true, 2, 3],
      [true, 1, 3],
      [true, 0, 3],
      [false, 0, 3],
    ]);
    assert.ok(seen[3].reset > Date.now() && seen[3].reset <= Date.now() + HOUR);
    assert.equal((await limit.limit("bob")).success, true, "others are counted apart");
  });

  test(`${name}: of 50 calls at once exactly 20 pass`, async () => {
    await earlyIn(HOUR);
    const limit = limiter(`${prefix}-burst`, algorithm(20, "1 h"));
    assert.equal(allowed(await many(50, () => limit.limit("all"))), 20);
  });

  test(`${name}: getRemaining looks, resetUsedTokens forgives`, async () => {
    await earlyIn(HOUR);
    const limit = limiter(`${prefix}-look`, algorithm(5, "1 h"));
    assert.equal((await limit.getRemaining("ada")).remaining, 5);
    await limit.limit("ada", { rate: 3 });
    await limit.limit("bob");
    const left = await limit.getRemaining("ada");
    assert.equal(left.remaining, 2);
    assert.equal(left.limit, 5);
    await limit.resetUsedTokens("ada");
    assert.equal((await limit.getRemaining("ada")).remaining, 5);
    assert.equal((await limit.getRemaining("bob")).remaining, 4, "only ada is forgiven");
  });

  test(`${name}: a negative rate gives tokens back`, async () => {
    await earlyIn(HOUR);
    const limit = limiter(`${prefix}-refund`, algorithm(2, "1 h"));
    await many(2, () => limit.limit("ada"));
    assert.equal((await limit.limit("ada")).success, false);
    await limit.limit("ada", { rate: -1 });
    const used = (await limit.getRemaining("ada")).remaining;
    assert.equal(used, name === "fixed window" ? 0 : 1, "the refused call counts in a fixed window alone");
  });

  test(`${name}: a limit changed while running holds at once`, async () => {
    await earlyIn(HOUR);
    const limit = limiter(`${prefix}-dynamic`, algorithm(2, "1 h"), { dynamicLimits: true });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: null });
    assert.equal((await limit.limit("ada")).limit, 2);
    await limit.setDynamicLimit({ limit: 10 });
    assert.deepEqual(await limit.getDynamicLimit(), { dynamicLimit: 10 });
    assert.equal((await limit.limit("bob")).limit, 10);
    assert.equal(allowed(await many(20, () => limit.limit("carol"))), 10);
    await limit.setDynamicLimit({ limit: false });
    assert.equal((await limit.limit("dan")).limit, 2);
  });

  test(`${name}: the keys it leaves have an end`, async () => {
    await limiter(`${prefix}-ttl`, algorithm(5, "2 s")).limit("ada");
    const keys = await redis.keys(`${prefix}-ttl:*`);
    assert.equal(keys.length, 1);
    const left = await redis.pttl(keys[0]);
    assert.ok(left > 0 && left <= 5000, `${left}`);
  });
}

test("fixed window: a new window starts afresh", async () => {
  const limit = limiter("fixed-next", Ratelimit.fixedWindow(1, "1 s"));
  await earlyIn(1000);
  assert.equal((await limit.limit("ada")).success, true);
  const refused = await limit.limit("ada");
  assert.equal(refused.success, false);
  await sleep(refused.reset - Date.now() + 20);
  assert.equal((await limit.limit("ada")).success, true);
});

test("sliding window: the last window still weighs", async () => {
  const limit = limiter("sliding-next", Ratelimit.slidingWindow(10, "1 s"));
  await earlyIn(1000);
  assert.equal(allowed(await many(10, () => limit.limit("ada"))), 10);
  await sleep(1000 - (Date.now() % 1000) + 20);
  const passed = allowed(await many(10, () => limit.limit("ada")));
  assert.ok(passed >= 1 && passed <= 5, `${passed}: neither none nor all`);
});

test("token bucket: bursts up to its size, then refills at its rate", async () => {
  const limit = limiter("bucket", Ratelimit.tokenBucket(2, "1 s", 6));
  assert.equal(allowed(await many(10, () => limit.limit("ada"))), 6);
  await sleep(1100);
  assert.equal(allowed(await many(10, () => limit.limit("ada"))), 2);
  assert.equal((await limit.limit("ada", { rate: 7 })).success, false, "more than the bucket holds");
});

test("cached fixed window: answers from memory, refuses without asking", async () => {
  await earlyIn(HOUR);
  const cache = new Map();
  const limit = limiter("cached", Ratelimit.cachedFixedWindow(5, "1 h"), { ephemeralCache: cache });
  const answers = [];
  for (let at = 0; at < 8; at += 1) answers.push(await limit.limit("ada"));
  await Promise.all(answers.map(({ pending }) => pending));
  assert.equal(allowed(answers), 5);
  assert.ok(cache.size > 0);
  const remaining = (await limit.getRemaining("ada")).remaining;
  assert.ok(remaining <= 0, `${remaining}`);
  await limit.resetUsedTokens("ada");
  assert.equal((await limit.getRemaining("ada")).remaining, 5);
});

test("ephemeral cache: a refused identifier costs no further request", async () => {
  await earlyIn(HOUR);
  const limit = limiter("ephemeral", Ratelimit.fixedWindow(1, "1 h"), { ephemeralCache: new Map() });
  await limit.limit("ada");
  assert.equal((await limit.limit("ada")).reason, undefined);
  assert.equal((await limit.limit("ada")).reason, "cacheBlock");
});

test("blockUntilReady waits for the next window, and gives up in time", async () => {
  const limit = limiter("wait", Ratelimit.fixedWindow(1, "1 s"));
  await earlyIn(1000);
  await limit.limit("ada");
  assert.equal((await limit.blockUntilReady("ada", 2000)).success, true);
  const long = limiter("wait-long", Ratelimit.fixedWindow(1, "1 h"));
  await earlyIn(HOUR);
  await long.limit("ada");
  const before = Date.now();
  assert.equal((await long.blockUntilReady("ada", 150)).success, false);
  assert.ok(Date.now() - before < 1500);
});

test("the scripts are found by their hash from the second call on", async () => {
  const sent = [];
  const watched = Redis.fromEnv({ enableAutoPipelining: false });
  watched.use((request, next) => {
    sent.push(String(request.body[0]));
    return next(request);
  });
  await redis.scriptFlush();
  const limit = new Ratelimit({ redis: watched, prefix: "hash", limiter: Ratelimit.fixedWindow(5, "1 h") });
  await limit.limit("ada");
  await limit.limit("ada");
  await limit.limit("ada");
  assert.deepEqual(sent, ["evalsha", "eval", "evalsha", "evalsha"]);
});

test("analytics: who was allowed, who was refused, over time", async () => {
  await earlyIn(HOUR);
  const limit = limiter("metered", Ratelimit.fixedWindow(3, "1 h"), { analytics: true });
  const pending = [];
  for (let at = 0; at < 5; at += 1) pending.push((await limit.limit("ada", { country: "FR" })).pending);
  pending.push((await limit.limit("bob")).pending);
  await Promise.all(pending);
  const analytics = new Analytics({ redis, prefix: "metered" });
  const top = await analytics.getMostAllowedBlocked(2);
  assert.deepEqual(top.allowed, [
    { identifier: "ada", count: 3 },
    { identifier: "bob", count: 1 },
  ]);
  assert.deepEqual(top.ratelimited, [{ identifier: "ada", count: 2 }]);
  assert.deepEqual(top.denied, []);
  assert.deepEqual(await analytics.getUsage(Date.now() - HOUR), {
    ada: { success: 3, blocked: 2 },
    bob: { success: 1, blocked: 0 },
  });
  const [now] = await analytics.getUsageOverTime(1, "success");
  assert.deepEqual(now.success, { true: 4, false: 2 });
  const [who] = await analytics.getUsageOverTime(1, "identifier");
  assert.deepEqual(who.identifier, { ada: 5, bob: 1 });
  const months = await analytics.getMostAllowedBlocked(256);
  assert.equal(months.allowed[0].count, 3, "a union of 256 hours");
});

test("analytics: an hourly series of two days", async () => {
  const analytics = new Analytics({ redis, prefix: "metered" });
  const series = await analytics.series("identifier", Date.now() - 48 * HOUR);
  assert.equal(series.length, 48);
  assert.equal(series.filter((bucket) => bucket.identifier).length, 1);
});

test("deny lists: an address, a user agent, a country", async () => {
  const limit = limiter("guarded", Ratelimit.fixedWindow(100, "1 h"), { enableProtection: true });
  await redis.set("guarded:ipDenyListStatus", "disabled");
  await redis.sadd("guarded:denyList:all", "10.0.0.66", "evil-bot", "XX", "banned-user");
  for (const [identifier, request, denied] of [
    ["u1", { ip: "10.0.0.66" }, "10.0.0.66"],
    ["u2", { userAgent: "evil-bot" }, "evil-bot"],
    ["u3", { country: "XX" }, "XX"],
    ["banned-user", {}, "banned-user"],
  ]) {
    const { success, reason, deniedValue } = await limit.limit(identifier, request);
    assert.deepEqual({ success, reason, deniedValue }, { success: false, reason: "denyList", deniedValue: denied });
  }
  assert.equal((await limit.limit("u4", { ip: "10.0.0.1", userAgent: "browser", country: "FR" })).success, true);
});

test("deny lists: the public list of 50,000 addresses goes in as one transaction", async (t) => {
  const addresses = Array.from({ length: 50_000 }, (_, at) => `192.${at >> 16}.${(at >> 8) & 255}.${at & 255}`);
  answerListWith(t, addresses.join("\n"));
  await redis.sadd("listed:denyList:all", "my-own");
  const limit = limiter("listed", Ratelimit.fixedWindow(100, "1 h"), { enableProtection: true });
  const first = await limit.limit("u", { ip: "192.0.0.77" });
  assert.equal(first.success, true, "the first call starts the update");
  await first.pending;
  assert.equal(await redis.scard("listed:denyList:ipDenyList"), 50_000);
  assert.equal(await redis.scard("listed:denyList:all"), 50_001);
  assert.equal(await redis.get("listed:ipDenyListStatus"), "valid");
  assert.ok((await redis.pttl("listed:ipDenyListStatus")) > 0);
  assert.equal((await limit.limit("u", { ip: "192.0.0.78" })).reason, "denyList");

  assert.deepEqual(await IpDenyList.disableIpDenyList(redis, "listed"), [1, 1, "OK"]);
  assert.deepEqual(await redis.smembers("listed:denyList:all"), ["my-own"]);
  assert.equal(await redis.ttl("listed:ipDenyListStatus"), -1);
});

function answerListWith(t, text) {
  const real = globalThis.fetch;
  t.mock.method(globalThis, "fetch", (url, init) =>
    String(url).startsWith("https://raw.githubusercontent.com/") ? Promise.resolve(new Response(text)) : real(url, init),
  );
}

test("a handler behind a limiter answers 429 with when to come back", async () => {
  await earlyIn(HOUR);
  const limit = limiter("http", Ratelimit.slidingWindow(2, "1 h"));
  const handler = limited(limit, async () => new Response("hello"));
  const request = () => handler(new Request("http://app/", { headers: { "x-forwarded-for": "10.1.1.1" } }));
  const answers = [await request(), await request(), await request()];
  assert.deepEqual(answers.map(({ status }) => status), [200, 200, 429]);
  assert.deepEqual(answers.map(({ headers }) => headers.get("x-ratelimit-remaining")), ["1", "0", "0"]);
  assert.ok(Number(answers[2].headers.get("retry-after")) >= 1);
});

test("an unreachable store lets requests pass after the timeout", async () => {
  const nowhere = new Redis({ url: "http://127.0.0.1:9", token: "none", retry: { retries: 5, backoff: () => 1000 } });
  const limit = new Ratelimit({ redis: nowhere, limiter: Ratelimit.fixedWindow(1, "1 h"), timeout: 50 });
  const pass = await limit.limit("ada");
  assert.deepEqual([pass.success, pass.reason], [true, "timeout"]);
});

// Two regions are two databases that know nothing of each other; the SDK keeps them in step.
let regions;
before(async () => (regions = await Promise.all([Dormouse.start(), Dormouse.start()])));
after(() => Promise.all(regions.map((region) => region.dispose())));
const clients = () => regions.map(({ url, token }) => new Redis({ url, token }));

const MULTI = { "fixed window": MultiRegionRatelimit.fixedWindow, "sliding window": MultiRegionRatelimit.slidingWindow };
for (const [name, algorithm] of Object.entries(MULTI)) {
  test(`multi-region ${name}: both regions learn of every request`, async () => {
    await earlyIn(HOUR);
    const prefix = `multi-${name.replace(" ", "-")}`;
    const redis = clients();
    const limit = new MultiRegionRatelimit({ redis, prefix, limiter: algorithm(4, "1 h"), ephemeralCache: false });
    const answers = [];
    for (let at = 0; at < 6; at += 1) {
      const answer = await limit.limit("ada");
      await answer.pending;
      answers.push(answer);
    }
    assert.deepEqual(answers.map(({ success }) => success), [true, true, true, true, false, false]);
    assert.ok((await limit.getRemaining("ada")).remaining <= 0);

    const counts = await Promise.all(
      redis.map(async (region) => {
        const [key] = await region.keys(`${prefix}:ada:*`);
        return Object.values(await region.hgetall(key)).reduce((sum, count) => sum + count, 0);
      }),
    );
    assert.equal(counts[0], counts[1], "the regions agree");
    await limit.resetUsedTokens("ada"); // the SDK does not wait for the regions here
    await eventually(async () => (await limit.getRemaining("ada")).remaining === 4, { what: "reset" });
  });

  test(`multi-region ${name}: one region down, the other still limits`, async () => {
    await earlyIn(HOUR);
    const [near] = clients();
    const far = new Redis({ url: "http://127.0.0.1:9", token: "none", retry: false });
    const prefix = `half-${name.replace(" ", "-")}`;
    const limit = new MultiRegionRatelimit({ redis: [near, far], prefix, limiter: algorithm(2, "1 h") });
    const answer = await limit.limit("ada");
    answer.pending.catch(() => {});
    assert.equal(answer.success, true);
  });
}
