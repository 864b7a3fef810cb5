// Articles from a slow source: cached for a minute, counted as they are read, twenty a minute for each address.

import { Ratelimit } from "@upstash/ratelimit";
import { Redis } from "@upstash/redis/cloudflare";

export default {
  async fetch(request, env, context) {
    // A client per request: in a worker, what one request began no other may wait for.
    const redis = Redis.fromEnv(env);
    const limiter = new Ratelimit({ redis, limiter: Ratelimit.tokenBucket(20, "1 m", 20), prefix: "limit" });
    const { success, remaining, reset, pending } = await limiter.limit(request.headers.get("cf-connecting-ip") ?? "local");
    context.waitUntil(pending);
    if (!success) {
      const seconds = Math.max(1, Math.ceil((reset - Date.now()) / 1000));
      return new Response("too many requests", { status: 429, headers: { "retry-after": String(seconds) } });
    }
    const [, id] = /^\/articles\/(\d+)$/.exec(new URL(request.url).pathname) ?? [];
    if (!id) return new Response("try /articles/1", { status: 404 });
    // Both go in one request: the SDK sends together what is asked together.
    const [cached, reads] = await Promise.all([redis.get(`article:${id}`), redis.incr(`reads:${id}`)]);
    const article = cached ?? (await load(id));
    if (!cached) context.waitUntil(redis.set(`article:${id}`, article, { ex: 60 }));
    const headers = { "x-cache": cached ? "hit" : "miss", "x-ratelimit-remaining": String(remaining) };
    return Response.json({ ...article, reads }, { headers });
  },
};

/** Stands in for what is slow or dear: a database far away, somebody's API, a page to render. */
async function load(id) {
  await new Promise((done) => setTimeout(done, 300));
  return { id: Number(id), title: `Article ${id}`, loaded: new Date().toISOString() };
}
