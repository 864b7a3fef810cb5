// Sessions: one hash each, under a hash of the session id, with an idle and an absolute end.
//
// The id the browser holds is never stored: the key is its SHA-256, so a leaked backup opens nothing. Writes happen
// only while the session exists (a late write must not bring a logged-out session back). Reading pushes the idle
// end forward, never past the absolute one. A set per user makes "log out everywhere" possible.

import { createHash, randomBytes } from "node:crypto";

const SAVE_IF_PRESENT = `
if redis.call("EXISTS", KEYS[1]) == 0 then return 0 end
redis.call("HSET", KEYS[1], unpack(ARGV))
return 1`;

export class Sessions {
  constructor(redis, { idle = 1800_000, absolute = 86_400_000 } = {}) {
    Object.assign(this, { redis, idle, absolute });
    this.saveIfPresent = redis.createScript(SAVE_IF_PRESENT);
  }

  async create(user, data = {}) {
    const id = randomBytes(32).toString("base64url");
    const endsAt = Date.now() + this.absolute;
    await this.redis
      .multi()
      .hset(keyOf(id), { user, endsAt, ...data })
      .pexpire(keyOf(id), this.idle)
      .sadd(indexOf(user), keyOf(id))
      .pexpire(indexOf(user), this.absolute)
      .exec();
    return id;
  }

  /** The session's fields, or `null`. Counts as use. */
  async read(id) {
    const key = keyOf(id);
    const session = await this.redis.hgetall(key);
    if (session === null) return null;
    const left = session.endsAt - Date.now();
    if (left <= 0) {
      await this.destroy(id);
      return null;
    }
    await this.redis.pexpire(key, Math.min(this.idle, left));
    return session;
  }

  /** Changes some fields; `false` when the session is gone. */
  async save(id, fields) {
    const args = Object.entries(fields).flatMap(([name, value]) => [name, text(value)]);
    return (await this.saveIfPresent.exec([keyOf(id)], args)) === 1;
  }

  /** A new id for the same session (after log-in or a change of rights); the old id is worth nothing from then on. */
  async rotate(id) {
    const fresh = randomBytes(32).toString("base64url");
    const user = await this.redis.hget(keyOf(id), "user");
    if (user === null) return null;
    const [renamed] = await this.redis
      .multi()
      .rename(keyOf(id), keyOf(fresh))
      .srem(indexOf(user), keyOf(id))
      .sadd(indexOf(user), keyOf(fresh))
      .exec();
    return renamed === "OK" ? fresh : null;
  }

  async destroy(id) {
    const user = await this.redis.hget(keyOf(id), "user");
    if (user === null) return false;
    const [removed] = await this.redis.multi().del(keyOf(id)).srem(indexOf(user), keyOf(id)).exec();
    return removed === 1;
  }

  async destroyAll(user) {
    const keys = await this.redis.smembers(indexOf(user));
    return this.redis.del(indexOf(user), ...keys);
  }
}

const text = (value) => (typeof value === "string" ? value : JSON.stringify(value));
export const keyOf = (id) => `session:${createHash("sha256").update(id).digest("hex")}`;
const indexOf = (user) => `sessions-of:${user}`;
