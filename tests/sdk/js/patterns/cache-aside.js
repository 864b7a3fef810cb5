// Cache-aside: look in the cache, else load from the source and keep the answer for a while.
//
// "The source has nothing" is an answer too and is kept under its own, shorter time (negative caching), so that a
// flood of requests for a missing row does not reach the source. A cached "nothing" is therefore an entry, and
// differs from "not cached".

export class CacheAside {
  constructor(redis, { prefix = "cache", ttl = 60, missingTtl = 5 } = {}) {
    Object.assign(this, { redis, prefix, ttl, missingTtl });
  }

  async get(id, load) {
    const key = this.#key(id);
    const entry = await this.redis.get(key);
    if (entry !== null) return entry.found ? entry.value : null;
    const value = await load(id);
    const found = value !== null && value !== undefined;
    await this.redis.set(key, found ? { found, value } : { found }, { ex: found ? this.ttl : this.missingTtl });
    return found ? value : null;
  }

  /** Many at once: one MGET, one load of what was missing, one pipeline of writes. */
  async getMany(ids, loadMany) {
    const entries = await this.redis.mget(...ids.map((id) => this.#key(id)));
    const missing = ids.filter((_, at) => entries[at] === null);
    const loaded = missing.length > 0 ? await loadMany(missing) : new Map();
    if (missing.length > 0) {
      const pipeline = this.redis.pipeline();
      for (const id of missing) {
        const found = loaded.has(id);
        const entry = found ? { found, value: loaded.get(id) } : { found };
        pipeline.set(this.#key(id), entry, { ex: found ? this.ttl : this.missingTtl });
      }
      await pipeline.exec();
    }
    return ids.map((id, at) => {
      const entry = entries[at];
      if (entry === null) return loaded.get(id) ?? null;
      return entry.found ? entry.value : null;
    });
  }

  invalidate(...ids) {
    return this.redis.del(...ids.map((id) => this.#key(id)));
  }

  #key(id) {
    return `${this.prefix}:${id}`;
  }
}
