// At the door of the application, on the edge runtime: a rate limit for each visitor, and a feature flag.
//
// Next calls this file "middleware"; its successor "proxy" runs on node only.

import { Ratelimit } from "@upstash/ratelimit";
import { NextResponse } from "next/server";
import { redis, runtime } from "./lib/redis.js";

export const config = { matcher: ["/", "/api/:path*"] };

const limiter = new Ratelimit({
  redis,
  limiter: Ratelimit.tokenBucket(5, "1 h", 5),
  prefix: "door",
  analytics: true,
  // Longer than a restart of the database.
  timeout: 20_000,
});

export async function middleware(request, event) {
  const visitor = request.headers.get("x-visitor") ?? "somebody";
  const [{ success, remaining, reset, pending }, welcome] = await Promise.all([
    limiter.limit(visitor),
    redis.hget("flags", "welcome"),
  ]);
  event.waitUntil(pending);
  const response = success ? onward(request, remaining, welcome) : new NextResponse("too many requests", { status: 429 });
  response.headers.set("x-middleware-runtime", runtime());
  response.headers.set("x-ratelimit-remaining", String(Math.max(0, remaining)));
  response.headers.set("x-ratelimit-reset", String(reset));
  return response;
}

function onward(request, remaining, welcome) {
  const headers = new Headers(request.headers);
  headers.set("x-remaining", String(remaining));
  const { pathname } = request.nextUrl;
  if (pathname === "/" && welcome) {
    return NextResponse.rewrite(new URL("/welcome", request.url), { request: { headers } });
  }
  return NextResponse.next({ request: { headers } });
}
