-- The sessions of a user; those that have ended leave the index. KEYS: the index. ARGV: what the names of sessions begin with.
local found = {}
for _, hash in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  local kept = redis.call('HMGET', ARGV[1] .. hash, 'created', 'until')
  if kept[1] then
    found[#found + 1] = {hash, tonumber(kept[1]), tonumber(kept[2]), math.max(0, redis.call('PTTL', ARGV[1] .. hash))}
  else
    redis.call('ZREM', KEYS[1], hash)
  end
end
return found
