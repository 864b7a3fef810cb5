import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "@upstash/redis";
import { eventually, serve, sleep } from "../lib/harness.js";
import { Flags } from "../patterns/flags.js";

await serve();
const redis = Redis.fromEnv();
const one = await new Flags(redis).watch();
const two = await new Flags(Redis.fromEnv()).watch();
after(() => Promise.all([one.close(), two.close()]));

test("a flag nobody set is off", async () => {
  assert.equal(await one.isOn("unknown", "u1"), false);
});

test("a change on one instance reaches the other without waiting for its copy to age", async () => {
  await one.set("checkout", true);
  await eventually(() => two.isOn("checkout", "u1"), { what: "flag on" });
  await one.set("checkout", false);
  await eventually(async () => !(await two.isOn("checkout", "u1")), { what: "flag off" });
  await one.set("checkout", true);
  await eventually(() => two.isOn("checkout", "u1"), { what: "flag on again" });
  await one.remove("checkout");
  await eventually(async () => !(await two.isOn("checkout", "u1")), { what: "flag gone" });
});

test("rules with users and percentages", async () => {
  await one.set("beta", { users: ["ada"], percent: 30 });
  await eventually(() => one.isOn("beta", "ada"), { what: "rule" });
  let on = 0;
  for (let at = 0; at < 1000; at += 1) on += (await one.isOn("beta", `user-${at}`)) ? 1 : 0;
  assert.ok(on > 200 && on < 400, `${on} of 1000`);
});

test("a thousand checks cost one read", async () => {
  await one.isOn("beta", "ada");
  await sleep(30);
  await one.isOn("beta", "ada");
  const before = one.reads;
  for (let at = 0; at < 1000; at += 1) await one.isOn("beta", `u${at}`);
  assert.equal(one.reads, before);
});

test("without messages a copy still ages out", async () => {
  const deaf = new Flags(Redis.fromEnv(), { maxAge: 50 });
  assert.equal(await deaf.isOn("aging", "u"), false);
  await one.set("aging", true);
  await sleep(60);
  assert.equal(await deaf.isOn("aging", "u"), true);
});
