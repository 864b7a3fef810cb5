// Key namespacing: one database, many tenants, each under a prefix of its own.
//
// Listing and deleting go through SCAN with a pattern, page by page, so that no single command is long. The prefix
// is escaped: a tenant called `a*` must not match the keys of tenant `ab`.

const PAGE = 100;

export class Namespace {
  constructor(redis, ...names) {
    this.redis = redis;
    this.prefix = names.map((name) => `${name}:`).join("");
  }

  key(...parts) {
    return this.prefix + parts.join(":");
  }

  child(name) {
    const child = new Namespace(this.redis);
    child.prefix = `${this.prefix}${name}:`;
    return child;
  }

  /** Pages of full keys. SCAN may repeat a key while the table changes, so callers must not count on unique ones. */
  async *pages(pattern = "*", count = PAGE) {
    let cursor = "0";
    do {
      const [next, keys] = await this.redis.scan(cursor, { match: escapeGlob(this.prefix) + pattern, count });
      if (keys.length > 0) yield keys;
      cursor = next;
    } while (cursor !== "0");
  }

  async keys(pattern) {
    const found = new Set();
    for await (const page of this.pages(pattern)) for (const key of page) found.add(key);
    return found;
  }

  /** Deletes everything under the prefix and tells how many keys that were. */
  async clear() {
    let removed = 0;
    for await (const page of this.pages()) removed += await this.redis.unlink(...page);
    return removed;
  }
}

export function escapeGlob(text) {
  return text.replace(/[\\*?[\]]/g, String.raw`\$&`);
}
