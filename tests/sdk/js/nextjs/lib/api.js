// What both API routes do; each names a runtime of its own.

import { redis, runtime } from "./redis.js";

const answer = (body) => Response.json({ runtime: runtime(), ...body });

/** Stores the body under the key of the address, and answers what is read back. */
export async function PUT(request) {
  const key = new URL(request.url).searchParams.get("key");
  const value = await request.json();
  await redis.set(key, value, { ex: 3600 });
  return answer({ value: await redis.get(key) });
}

/** An order is a few writes that happen together, and reads in one request. */
export async function POST(request) {
  const { id, lines } = await request.json();
  const [, stored, position] = await redis
    .multi()
    .hset(`order:${id}`, { lines, state: "new" })
    .hgetall(`order:${id}`)
    .zadd("orders", { score: id, member: `order:${id}` })
    .exec();
  const [state, rank, missing, sum] = await redis
    .pipeline()
    .hget(`order:${id}`, "state")
    .zscore("orders", `order:${id}`)
    .get("nobody-wrote-this")
    .eval("return redis.call('HLEN', KEYS[1]) + tonumber(ARGV[1])", [`order:${id}`], [40])
    .exec();
  return answer({ stored, position, state, rank, missing, sum });
}
