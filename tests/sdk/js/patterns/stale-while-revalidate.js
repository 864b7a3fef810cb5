// Stale-while-revalidate: answer at once with what is there, refresh behind the caller's back, once.
//
// Three instants: fresh until, stale until, and the key's own expiry (the same as stale until). The refresher is
// whoever gets the lease; it writes its value only if the lease still stands, so a slow loader never overwrites what
// came after an invalidation. Invalidation drops the value and the lease in one step.

const PUT_IF_LEASED = `
if redis.call("GET", KEYS[2]) ~= ARGV[1] then return 0 end
redis.call("SET", KEYS[1], ARGV[2], "PX", ARGV[3])
redis.call("DEL", KEYS[2])
return 1`;

export class StaleWhileRevalidate {
  constructor(redis, { fresh, stale, lease = 5000, waitUntil = (promise) => promise.catch(() => {}) }) {
    Object.assign(this, { redis, fresh, stale, lease, waitUntil });
    this.put = redis.createScript(PUT_IF_LEASED);
  }

  async get(key, load) {
    const entry = await this.redis.get(key);
    const serve = decide(entry, Date.now());
    if (serve === "fresh") return { value: entry.value, from: "fresh" };
    if (serve === "stale") {
      this.waitUntil(this.#refresh(key, load));
      return { value: entry.value, from: "stale" };
    }
    const loaded = await this.#refresh(key, load);
    return loaded ?? this.#await(key, load);
  }

  invalidate(key) {
    return this.redis.del(key, leaseKey(key));
  }

  /** Loads and stores if this caller gets the lease; `null` when somebody else holds it. */
  async #refresh(key, load) {
    const token = crypto.randomUUID();
    const leased = await this.redis.set(leaseKey(key), token, { nx: true, px: this.lease });
    if (leased !== "OK") return null;
    const value = await load();
    const entry = { value, freshUntil: Date.now() + this.fresh };
    await this.put.exec([key, leaseKey(key)], [token, JSON.stringify(entry), String(this.fresh + this.stale)]);
    return { value, from: "source" };
  }

  /** Waits a little for the leaseholder's value, then loads without storing. */
  async #await(key, load) {
    for (let wait = 5; wait <= 160; wait *= 2) {
      await new Promise((done) => setTimeout(done, wait));
      const entry = await this.redis.get(key);
      if (entry !== null) return { value: entry.value, from: "waited" };
    }
    return { value: await load(), from: "source" };
  }
}

function decide(entry, now) {
  if (entry === null) return "nothing";
  return now < entry.freshUntil ? "fresh" : "stale";
}

const leaseKey = (key) => `${key}:lease`;
