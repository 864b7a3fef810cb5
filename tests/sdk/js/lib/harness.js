// Starts real Dormouse processes for tests and points the environment at the first one.
//
// Each test file runs in a process of its own (node's test runner sees to that) and starts one server with
// `serve()`: free ports, a temporary data folder, fresh tokens. When the file is done the server is killed and
// its folder removed. Nothing here may touch a server it did not start.

import { spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { after } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../../../", import.meta.url));
export const BIN = resolve(process.env.DORMOUSE_BIN ?? join(ROOT, "target/release/dormouse"));
const START_TIMEOUT_MS = 10_000;

export const sleep = (ms) => new Promise((done) => setTimeout(done, ms));

/** One server process that can be killed and started again on the same port and data. */
export class Dormouse {
  #child;
  #log = "";

  constructor(data, port, respPort) {
    this.data = data;
    this.port = port;
    this.respPort = respPort;
    this.url = `http://127.0.0.1:${port}`;
    this.token = `token-${randomBytes(12).toString("hex")}`;
    this.readOnlyToken = `read-only-${randomBytes(12).toString("hex")}`;
  }

  static async start() {
    if (!existsSync(BIN)) {
      throw new Error(`no server at ${BIN}: build it (cargo build --release -p dormouse) or set DORMOUSE_BIN`);
    }
    const server = new Dormouse(await mkdtemp(join(tmpdir(), "dormouse-sdk-")), await freePort(), await freePort());
    await server.wake();
    return server;
  }

  /** Starts the process and waits until it answers `/health`. */
  async wake() {
    const doors = ["--http", `127.0.0.1:${this.port}`, "--resp", `127.0.0.1:${this.respPort}`];
    this.#child = spawn(BIN, ["--data", this.data, ...doors], {
      env: { ...process.env, DORMOUSE_TOKEN: this.token, DORMOUSE_READ_ONLY_TOKEN: this.readOnlyToken },
      stdio: ["ignore", "pipe", "pipe"],
    });
    const keep = (text) => (this.#log = (this.#log + text).slice(-20_000));
    this.#child.stdout.on("data", keep);
    this.#child.stderr.on("data", keep);
    const deadline = Date.now() + START_TIMEOUT_MS;
    while (!(await this.#healthy())) {
      if (this.#child.exitCode !== null || Date.now() > deadline) {
        throw new Error(`the server did not start:\n${this.#log}`);
      }
      await sleep(10);
    }
  }

  async #healthy() {
    try {
      return (await fetch(`${this.url}/health`)).ok;
    } catch {
      return false;
    }
  }

  /** Ends the process as a crash would: no signal handler runs. */
  async kill(signal = "SIGKILL") {
    const child = this.#child;
    if (child.exitCode !== null || child.signalCode !== null) return;
    const gone = new Promise((done) => child.once("exit", done));
    child.kill(signal);
    await gone;
  }

  async dispose() {
    await this.kill();
    await rm(this.data, { recursive: true, force: true });
  }

  /** What clients of RESP connect to. */
  get respUrl() {
    return `redis://:${this.token}@127.0.0.1:${this.respPort}`;
  }

  get log() {
    return this.#log;
  }
}

export async function freePort() {
  const probe = createServer();
  await new Promise((done) => probe.listen(0, "127.0.0.1", done));
  const { port } = probe.address();
  await new Promise((done) => probe.close(done));
  return port;
}

const guests = [];

/** Something that must be closed while its server still runs. */
export function closing(guest, close = () => guest.close()) {
  guests.push(close);
  return guest;
}

/** Starts a server for this test file; `Redis.fromEnv()` then finds it. */
export async function serve() {
  const server = await Dormouse.start();
  after(async () => {
    await Promise.allSettled(guests.map((close) => close()));
    await server.dispose();
  });
  process.env.UPSTASH_REDIS_REST_URL = server.url;
  process.env.UPSTASH_REDIS_REST_TOKEN = server.token;
  return server;
}

/** Polls until `check` returns something truthy. */
export async function eventually(check, { within = 3000, every = 10, what = "condition" } = {}) {
  const deadline = Date.now() + within;
  for (;;) {
    const value = await check();
    if (value) return value;
    if (Date.now() > deadline) throw new Error(`${what}: not within ${within} ms`);
    await sleep(every);
  }
}

/** A requester for the REST protocol by hand, where the SDK would hide what is on the wire. */
export function raw(server, { token = server.token } = {}) {
  return async (path, { headers = {}, ...init } = {}) => {
    const authorization = token === null ? {} : { authorization: `Bearer ${token}` };
    const response = await fetch(server.url + path, { ...init, headers: { ...authorization, ...headers } });
    const bytes = Buffer.from(await response.arrayBuffer());
    return { status: response.status, headers: response.headers, bytes, text: bytes.toString("utf8"), json: parse(bytes) };
  };
}

function parse(bytes) {
  try {
    return JSON.parse(bytes.toString("utf8"));
  } catch {
    return undefined;
  }
}

export const post = (command, headers) => ({ method: "POST", body: JSON.stringify(command), headers });
