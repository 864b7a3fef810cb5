// Programs that start programs of their own (a bundler's workers, a runtime): each is the head of a process group, which ends
// as a whole, also when the test that started it is ended.

import { spawn } from "node:child_process";

const groups = new Set();

function kill(child) {
  // Once: the number of a group that has ended may be somebody else's next.
  if (!groups.delete(child)) return;
  try {
    process.kill(-child.pid, "SIGKILL");
  } catch {
    // Nobody of the group is left.
  }
}

process.once("exit", () => groups.forEach(kill));
process.once("SIGTERM", () => process.exit(1));

/** Starts a program; `log()` is what it has printed, `gone` its exit code when it ends, `stop()` ends it and its own. */
export function launch(program, args, { cwd, env }) {
  // What a program does must not depend on who tests it.
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env;
  const stdio = ["ignore", "pipe", "pipe"];
  const child = spawn(program, args, { cwd, detached: true, env: { ...inherited, ...env }, stdio });
  groups.add(child);
  let log = "";
  for (const stream of [child.stdout, child.stderr]) stream.on("data", (text) => (log = (log + text).slice(-20_000)));
  const gone = new Promise((done, failed) => child.once("error", failed).once("exit", done));
  const stop = async () => {
    kill(child);
    await gone;
  };
  return { gone, stop, log: () => log, ended: () => child.exitCode !== null || child.signalCode !== null };
}
