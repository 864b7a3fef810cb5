// A lock around a piece of work: acquire, run, release even when it throws.
//
// `@upstash/lock` does the protocol; this adds the shape one wants in a handler. The lease is the backstop when the
// function is killed in the middle. Work that may outlast it calls `lock.extend(ms)` in time: nothing here does so for it.

import { Lock } from "@upstash/lock";

export class Busy extends Error {}

export async function exclusively(redis, id, work, { lease = 5000, retry = { attempts: 50, delay: 20 } } = {}) {
  const lock = new Lock({ id, redis, lease, retry });
  if (!(await lock.acquire())) throw new Busy(`${id} is taken`);
  try {
    return await work(lock);
  } finally {
    await lock.release();
  }
}
