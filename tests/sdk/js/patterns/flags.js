// Feature flags: a hash is the truth, every instance keeps a copy, pub/sub says when the copy is old.
//
// A change writes the hash and publishes in one transaction, so who hears of a change can already read it. A copy
// also ages out, in case a message was missed while the instance was frozen.

import { listenPattern } from "./events.js";

export class Flags {
  #copy = null;
  #copiedAt = 0;
  #stop = null;

  constructor(redis, { name = "flags", maxAge = 30_000 } = {}) {
    Object.assign(this, { redis, name, maxAge });
    this.reads = 0;
  }

  async watch() {
    this.#stop = await listenPattern(this.redis, `${this.name}:changed`, () => (this.#copy = null));
    return this;
  }

  async isOn(flag, user) {
    const rule = (await this.#all())[flag];
    if (rule === undefined) return false;
    if (typeof rule === "boolean") return rule;
    return rule.users?.includes(user) || bucket(`${flag}:${user}`) < (rule.percent ?? 0);
  }

  set(flag, rule) {
    return this.redis
      .multi()
      .hset(this.name, { [flag]: rule })
      .publish(`${this.name}:changed`, { flag })
      .exec();
  }

  remove(flag) {
    return this.redis.multi().hdel(this.name, flag).publish(`${this.name}:changed`, { flag }).exec();
  }

  close() {
    return this.#stop?.();
  }

  async #all() {
    if (this.#copy === null || Date.now() - this.#copiedAt > this.maxAge) {
      this.reads += 1;
      this.#copiedAt = Date.now();
      this.#copy = (await this.redis.hgetall(this.name)) ?? {};
    }
    return this.#copy;
  }
}

/** 0 to 99, always the same for one text. */
function bucket(text) {
  let hash = 2166136261;
  for (const char of text) hash = Math.imul(hash ^ char.codePointAt(0), 16777619) >>> 0;
  return hash % 100;
}
