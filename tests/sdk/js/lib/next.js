// Builds the Next.js application of `nextjs/` and runs it, as a deployment would: `next build`, then `next start`.
//
// The build knows nothing of the database: whatever it kept would lead to an address where nobody listens.

import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { launch } from "./group.js";
import { eventually, freePort, sleep } from "./harness.js";

const APP = fileURLToPath(new URL("../nextjs", import.meta.url));
const NEXT = createRequire(import.meta.url).resolve("next/dist/bin/next");
const NOWHERE = { UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9", UPSTASH_REDIS_REST_TOKEN: "nobody" };
const BUILD_MS = 120_000;
const START_MS = 30_000;

/** Runs one of Next's commands. */
function next(args, env) {
  const quiet = { NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1" };
  return launch(process.execPath, [NEXT, ...args], { cwd: APP, env: { ...quiet, ...env } });
}

/** Answers what the build printed. */
export async function build() {
  const { gone, stop, log } = next(["build"], NOWHERE);
  const code = await Promise.race([gone, sleep(BUILD_MS).then(() => "too slow")]);
  await stop();
  if (code !== 0) throw new Error(`next build: ${code}\n${log()}`);
  return log();
}

/** The built application on a free port, with this server as its database. */
export async function start(server) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token };
  const { ended, stop, log } = next(["start", "--hostname", "127.0.0.1", "--port", String(port)], env);
  const answers = () => fetch(`${url}/welcome`).then(() => true, ended);
  await eventually(answers, { within: START_MS, every: 50, what: "next start" });
  if (ended()) throw new Error(`next start ended\n${log()}`);
  return { url, log, stop };
}
