-- A counter for each window.
local window = tonumber(ARGV[5])
local bucket = math.floor(ms / window)
local key = KEYS[1] .. ':' .. string.format('%.0f', bucket)
local reset = (bucket + 1) * window
if looks then
  local left = limit - count(key)
  return answer(left > 0, left, reset, reset * 1000 - now)
end
local used = redis.call('INCRBY', key, ARGV[2])
if used == cost then
  redis.call('PEXPIRE', key, ARGV[5])
end
return answer(used <= limit, limit - used, reset, reset * 1000 - now)
