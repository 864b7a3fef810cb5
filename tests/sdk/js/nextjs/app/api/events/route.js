// Messages of a channel, passed on to the browser as server-sent events while it listens.

import { redis } from "../../../lib/redis.js";

export const runtime = "edge";

export function GET(request) {
  const channel = new URL(request.url).searchParams.get("channel");
  const encoder = new TextEncoder();
  let subscription;
  const stream = new ReadableStream({
    start(controller) {
      const send = (event, data) =>
        controller.enqueue(encoder.encode(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`));
      subscription = redis.subscribe(channel);
      subscription.on("subscribe", () => send("ready", channel));
      subscription.on("message", ({ message }) => send("message", message));
      subscription.on("error", (error) => controller.error(error));
    },
    cancel: () => subscription.unsubscribe(),
  });
  // Compressed, events would be held back.
  return new Response(stream, {
    headers: { "content-type": "text/event-stream", "cache-control": "no-cache, no-transform" },
  });
}
