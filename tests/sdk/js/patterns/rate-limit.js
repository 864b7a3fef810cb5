// Rate limiting at the door: wraps a fetch-style handler, answers 429 with the usual headers.
//
// Which requests count together is the caller's choice (`identify`). By default it is the address that the platform puts first
// into `x-forwarded-for`: right behind a proxy that sets the header, and nowhere else. Background work of the limiter (analytics,
// regions catching up) goes to `waitUntil`, as on the serverless platforms.

export function limited(limiter, handler, { identify = byAddress, waitUntil = (promise) => promise } = {}) {
  return async (request) => {
    const { success, limit, remaining, reset, reason, pending } = await limiter.limit(identify(request), {
      ip: byAddress(request),
      userAgent: request.headers.get("user-agent") ?? undefined,
    });
    waitUntil(pending);
    const headers = {
      "x-ratelimit-limit": String(limit),
      "x-ratelimit-remaining": String(remaining),
      "x-ratelimit-reset": String(reset),
    };
    if (!success) return refuse(reason, reset, headers);
    const answer = await handler(request);
    // Redirects and answers of other servers have headers that cannot be changed.
    const response = new Response(answer.body, answer);
    for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
    return response;
  };
}

function refuse(reason, reset, headers) {
  if (reason === "denyList") return new Response("forbidden", { status: 403, headers });
  const seconds = Math.max(1, Math.ceil((reset - Date.now()) / 1000));
  return new Response("too many requests", { status: 429, headers: { ...headers, "retry-after": String(seconds) } });
}

const byAddress = (request) => request.headers.get("x-forwarded-for")?.split(",")[0].trim() ?? "unknown";
