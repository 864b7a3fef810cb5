// The old home page; the middleware sends visitors to /welcome while the flag is on.

import { headers } from "next/headers";
import { redis } from "../lib/redis.js";

export default async function Home() {
  const remaining = (await headers()).get("x-remaining");
  const [greeting, visits] = await Promise.all([redis.get("greeting"), redis.incr("visits")]);
  return (
    <main>
      <h1>{greeting?.text ?? "nobody greets"}</h1>
      <p>{`visit ${visits}, ${remaining} left`}</p>
    </main>
  );
}
