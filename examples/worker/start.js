// Bundles the worker and runs it in workerd, Cloudflare's runtime, on this machine.
//
// The address and token of the database come from the environment, or else from what Dormouse wrote beside its data.

import { join } from "node:path";
import { build } from "esbuild";
import { Miniflare } from "miniflare";

const data = process.env.DORMOUSE_DATA ?? join(import.meta.dirname, "../../dormouse-data");
if (!process.env.UPSTASH_REDIS_REST_URL) process.loadEnvFile(join(data, "credentials.env"));
const { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN, PORT = "8787" } = process.env;

const bundle = await build({
  entryPoints: [join(import.meta.dirname, "worker.js")],
  bundle: true,
  format: "esm",
  conditions: ["workerd", "worker", "browser"],
  write: false,
});
const worker = new Miniflare({
  modules: [{ type: "ESModule", path: "worker.mjs", contents: bundle.outputFiles[0].text }],
  compatibilityDate: "2025-12-01",
  bindings: { UPSTASH_REDIS_REST_URL, UPSTASH_REDIS_REST_TOKEN },
  host: "127.0.0.1",
  port: Number(PORT),
});
console.log(`The worker listens: curl -i ${new URL("/articles/1", await worker.ready)}`);
for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => worker.dispose().then(() => process.exit(0)));
