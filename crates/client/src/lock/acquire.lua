-- Takes a lock, and mints its fence in the same step. KEYS: the lock, its counter of fences. ARGV: a token, the lease in milliseconds.
-- The answer: the fence, or 0 and for how long another may hold the lock. Who has it already (an answer was lost) gets the same fence.
local holder = redis.call('GET', KEYS[1])
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  return {tonumber(redis.call('GET', KEYS[2])), 0}
end
if holder then
  return {0, math.max(0, redis.call('PTTL', KEYS[1]))}
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return {redis.call('INCR', KEYS[2]), 0}
