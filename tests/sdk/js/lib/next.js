// Builds the Next.js application of `nextjs/` and runs it, as a deployment would: `next build`, then `next start`.
//
// The build knows nothing of the database: what it would need to keep is caught by an address where nobody listens.
// Each command is the head of a process group, so that its workers end with it, also when this process is ended.

import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { fileURLToPath } from "node:url";
import { eventually, freePort, sleep } from "./harness.js";

const APP = fileURLToPath(new URL("../nextjs", import.meta.url));
const NEXT = createRequire(import.meta.url).resolve("next/dist/bin/next");
const NOWHERE = { UPSTASH_REDIS_REST_URL: "http://127.0.0.1:9", UPSTASH_REDIS_REST_TOKEN: "nobody" };
const BUILD_MS = 120_000;
const START_MS = 30_000;

const groups = new Set();
const endAll = () => groups.forEach((child) => kill(child));
process.once("exit", endAll);
process.once("SIGTERM", () => process.exit(1));

/** Runs one of Next's commands; `log()` is what it printed. */
function next(args, env) {
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const child = spawn(process.execPath, [NEXT, ...args], {
    cwd: APP,
    detached: true,
    env: { ...inherited, NODE_ENV: "production", NEXT_TELEMETRY_DISABLED: "1", ...env },
    stdio: ["ignore", "pipe", "pipe"],
  });
  groups.add(child);
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log = (log + text).slice(-20_000)));
  const gone = new Promise((done) => child.once("exit", (code) => done(code)));
  return { child, gone, log: () => log };
}

function kill(child) {
  groups.delete(child);
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody of the group is left.
  }
}

/** Answers what the build printed. */
export async function build() {
  const { child, gone, log } = next(["build"], NOWHERE);
  const code = await Promise.race([gone, sleep(BUILD_MS).then(() => "too slow")]);
  kill(child);
  if (code !== 0) throw new Error(`next build: ${code}\n${log()}`);
  return log();
}

/** The built application on a free port, with this server as its database. */
export async function start(server) {
  const port = await freePort();
  const url = `http://127.0.0.1:${port}`;
  const env = { UPSTASH_REDIS_REST_URL: server.url, UPSTASH_REDIS_REST_TOKEN: server.token };
  const { child, gone, log } = next(["start", "--hostname", "127.0.0.1", "--port", String(port)], env);
  const answers = () => fetch(`${url}/favicon.ico`).then(() => true, () => child.exitCode !== null);
  await eventually(answers, { within: START_MS, every: 50, what: "next start" });
  if (child.exitCode !== null) throw new Error(`next start: ${child.exitCode}\n${log()}`);
  const stop = async () => {
    kill(child);
    await gone;
  };
  return { url, log, stop };
}
