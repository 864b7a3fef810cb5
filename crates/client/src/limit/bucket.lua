-- A bucket of tokens that is refilled at intervals.
local interval, refill = tonumber(ARGV[5]), tonumber(ARGV[6])
local kept = redis.call('HMGET', KEYS[1], 'refilledAt', 'tokens')
local at, tokens = tonumber(kept[1] or ms), tonumber(kept[2] or limit)
if ms >= at + interval then
  local times = math.floor((ms - at) / interval)
  tokens = math.min(limit, tokens + times * refill)
  at = at + times * interval
end
local reset = at + interval
local function retry(wanted)
  return (at + math.ceil((wanted - tokens) / refill) * interval) * 1000 - now
end
if looks then
  return answer(tokens > 0, tokens, reset, retry(1))
end
if cost > 0 and tokens < cost then
  return answer(false, -1, reset, retry(cost))
end
local remaining = tokens - cost
redis.call('HSET', KEYS[1], 'refilledAt', at, 'tokens', remaining)
local ttl = math.ceil((limit - remaining) / refill) * interval
if ttl > 0 then
  redis.call('PEXPIRE', KEYS[1], ttl)
end
return answer(true, remaining, reset, 0)
