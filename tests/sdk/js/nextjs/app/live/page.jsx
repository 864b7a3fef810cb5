// Orders so far, rendered by the server; the browser adds those that come in while it looks.

import { redis } from "../../lib/redis.js";
import { Orders } from "./orders.jsx";

export default async function Live() {
  return <Orders known={await redis.lrange("live", 0, -1)} />;
}
