-- Adds an event under the next number, and forgets the oldest. KEYS: the history, its counter. ARGV: the event, how many are kept.
local number = redis.call('INCR', KEYS[2])
local last = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]
if last then
  local before = tonumber(string.match(last[1], '^%d+'))
  if before >= number then
    -- The counter was lost: it goes on from what is there.
    number = before + 1
    redis.call('SET', KEYS[2], string.format('%.0f', number))
  end
end
redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[2], string.format('%.0f', number) .. '-0', 'event', ARGV[1])
return number
