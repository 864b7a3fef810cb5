// The SDK inside workerd, Cloudflare's own runtime: no Node, its own fetch.

import assert from "node:assert/strict";
import { test } from "node:test";
import { build } from "esbuild";
import { Miniflare } from "miniflare";
import { closing, serve } from "../lib/harness.js";

const server = await serve();

const WORKER = `
import { Redis } from "@upstash/redis/cloudflare";
export default {
  async fetch(request, env) {
    const redis = Redis.fromEnv(env);
    const url = new URL(request.url);
    if (url.pathname === "/visit") return Response.json({ visits: await redis.incr("visits") });
    if (url.pathname === "/cached") {
      const known = await redis.get("page");
      if (known) return Response.json({ ...known, cache: "hit" });
      await redis.set("page", { title: "héllo ✓" }, { ex: 60 });
      return Response.json({ title: "héllo ✓", cache: "miss" });
    }
    const [a, b] = await redis.multi().set("t", 1).incr("t").exec();
    return Response.json({ a, b, evaluated: await redis.eval("return ARGV[1]", [], ["x"]) });
  },
};`;

// Bundled as Cloudflare's own tool does it.
const bundle = await build({
  stdin: { contents: WORKER, resolveDir: import.meta.dirname },
  bundle: true,
  format: "esm",
  conditions: ["workerd", "worker", "browser"],
  write: false,
});
const worker = new Miniflare({
  modules: [{ type: "ESModule", path: "worker.mjs", contents: bundle.outputFiles[0].text }],
  compatibilityDate: "2026-01-01",
  bindings: { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token },
});
closing(worker, () => worker.dispose());
const ask = async (path) => (await worker.dispatchFetch(`http://localhost${path}`)).json();

test("a worker counts, caches, and runs transactions and scripts", async () => {
  const visits = await Promise.all(Array.from({ length: 20 }, () => ask("/visit")));
  assert.deepEqual(visits.map(({ visits }) => visits).sort((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n + 1));
  assert.deepEqual(await ask("/cached"), { title: "héllo ✓", cache: "miss" });
  assert.deepEqual(await ask("/cached"), { title: "héllo ✓", cache: "hit" });
  assert.deepEqual(await ask("/"), { a: "OK", b: 2, evaluated: "x" });
});
