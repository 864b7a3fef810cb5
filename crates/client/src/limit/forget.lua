-- Forgets what an identifier has used. KEYS: where its counters are. ARGV: the window in milliseconds.
local time = redis.call('TIME')
local bucket = math.floor((time[1] * 1000 + math.floor(time[2] / 1000)) / ARGV[1])
local function at(bucket)
  return KEYS[1] .. ':' .. string.format('%.0f', bucket)
end
-- Clients with clocks of their own may be a window ahead.
return redis.call('DEL', KEYS[1], KEYS[1] .. ':tat', at(bucket - 1), at(bucket), at(bucket + 1))
