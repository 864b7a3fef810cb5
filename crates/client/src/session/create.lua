-- Keeps a new session. KEYS: the session, the index of its user ('' without one).
-- ARGV: its hash, data, user, idle and absolute timeout in milliseconds. The answer: 1, and the time; 0 if there is one of that hash.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {0, now}
end
local ends = now + ARGV[5]
redis.call('HSET', KEYS[1], 'data', ARGV[2], 'user', ARGV[3], 'created', string.format('%.0f', now),
  'until', string.format('%.0f', ends), 'version', 1)
redis.call('PEXPIRE', KEYS[1], math.min(ARGV[4], ARGV[5]))
if KEYS[2] ~= '' then
  redis.call('ZADD', KEYS[2], ends, ARGV[1])
  redis.call('PEXPIRE', KEYS[2], math.max(redis.call('PTTL', KEYS[2]), ARGV[5]))
end
return {1, now}
