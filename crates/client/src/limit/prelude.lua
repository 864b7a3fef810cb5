-- What all limits begin with.
-- KEYS: where the identifier's counters are; the dynamic limit's key, or ''; the deny list's, or ''.
-- ARGV: limit, cost, '1' to look only, the time in microseconds ('' for the server's), three of the rule's own; then values that may
-- be on the deny list.
-- The answer: 1 allowed, 0 refused, 2 denied; the limit; what remains; when it is reset (ms); after how long to come back (µs); the
-- time (µs).
local time = redis.call('TIME')
local now = tonumber(ARGV[4]) or time[1] * 1000000 + time[2]
local ms = math.floor(now / 1000)
if KEYS[3] ~= '' then
  for i = 8, #ARGV do
    if redis.call('SISMEMBER', KEYS[3], ARGV[i]) == 1 then
      return {2, 0, 0, 0, i - 8, now}
    end
  end
end
local limit = tonumber(ARGV[1])
if KEYS[2] ~= '' then
  limit = tonumber(redis.call('GET', KEYS[2]) or '') or limit
end
local cost = tonumber(ARGV[2])
local looks = ARGV[3] == '1'
local function count(key)
  return tonumber(redis.call('GET', key) or 0)
end
local function answer(allowed, remaining, reset, retry)
  return {allowed and 1 or 0, limit, math.max(0, remaining), reset, allowed and 0 or math.max(0, math.ceil(retry)), now}
end
