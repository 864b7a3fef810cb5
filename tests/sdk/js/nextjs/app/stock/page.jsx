// Nothing here says that the page is dynamic: the SDK asks with `cache: "no-store"`, and Next goes by that.

import { redis } from "../../lib/redis.js";

export default async function Stock() {
  const stock = (await redis.hgetall("stock")) ?? {};
  return (
    <ul>
      {Object.entries(stock).map(([item, left]) => (
        <li key={item}>{`${item}: ${left}`}</li>
      ))}
    </ul>
  );
}
