// One client per module instance, as serverless applications keep it.
//
// A database that is being restarted is away for a moment: requests wait for it rather than fail. The build does not: there
// Next ends a request that may not be cached with an error, which says that the page is dynamic.

import { Redis } from "@upstash/redis";

const building = process.env.NEXT_PHASE === "phase-production-build";

export const redis = Redis.fromEnv({ retry: { retries: building ? 0 : 60, backoff: () => 250 } });

/** Which of Next's two runtimes this code runs in. */
export const runtime = () => (typeof EdgeRuntime === "string" ? "edge" : "node");
