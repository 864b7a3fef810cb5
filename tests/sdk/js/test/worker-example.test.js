// examples/worker, started as its README says, from a copy that shares the tests' packages.

import assert from "node:assert/strict";
import { cp, mkdtemp, readFile, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { Redis } from "@upstash/redis";
import { launch } from "../lib/group.js";
import { closing, eventually, freePort, serve } from "../lib/harness.js";

const TESTS = fileURLToPath(new URL("..", import.meta.url));
const EXAMPLE = join(TESTS, "../../../examples/worker");
const packages = async (folder) => JSON.parse(await readFile(join(folder, "package.json"), "utf8")).dependencies;

const server = await serve();
const copy = await mkdtemp(join(tmpdir(), "dormouse-worker-"));
after(() => rm(copy, { recursive: true, force: true }));
await cp(EXAMPLE, copy, { recursive: true, filter: (path) => !path.endsWith("node_modules") });
await symlink(join(TESTS, "node_modules"), join(copy, "node_modules"));

const port = await freePort();
// No address and no token: it finds them beside the data.
const nothing = { UPSTASH_REDIS_REST_URL: undefined, UPSTASH_REDIS_REST_TOKEN: undefined };
const env = { ...nothing, DORMOUSE_DATA: server.data, PORT: String(port) };
const worker = launch("npm", ["start"], { cwd: copy, env });
closing(worker, () => worker.stop());
const url = `http://127.0.0.1:${port}`;
const answers = () => worker.ended() || worker.log().includes(`${url}/articles/1`);
await eventually(answers, { within: 30_000, every: 50, what: "the worker" });
const redis = Redis.fromEnv();

test("the example asks for the packages tested here", async () => {
  const tested = await packages(TESTS);
  for (const [name, version] of Object.entries(await packages(EXAMPLE))) assert.equal(version, tested[name], name);
});

test("the first reader waits for the source, the next ones do not, and all are counted", async () => {
  const read = async () => {
    const response = await fetch(`${url}/articles/7`);
    return { cache: response.headers.get("x-cache"), ...(await response.json()) };
  };
  const first = await read();
  assert.deepEqual([first.cache, first.title, first.reads], ["miss", "Article 7", 1], worker.log());
  await eventually(() => redis.exists("article:7"), { what: "the copy" });
  assert.deepEqual(await read(), { ...first, cache: "hit", reads: 2 });
  const left = await redis.ttl("article:7");
  assert.ok(left > 0 && left <= 60, `${left} s`);
  await redis.del("article:7");
  const again = await read();
  assert.deepEqual([again.cache, again.reads], ["miss", 3]);
});

test("twenty a minute, and the rest are told when to come back", async () => {
  await redis.del(...(await redis.keys("limit:*")));
  const answers = await Promise.all(Array.from({ length: 30 }, () => fetch(`${url}/articles/7`)));
  assert.equal(answers.filter(({ status }) => status === 200).length, 20);
  const refused = answers.filter(({ status }) => status === 429);
  assert.equal(refused.length, 10);
  for (const { headers } of refused) {
    const seconds = Number(headers.get("retry-after"));
    assert.ok(seconds >= 1 && seconds <= 60, `${seconds} s`);
  }
  assert.equal(await redis.get("reads:7"), 23);
});
