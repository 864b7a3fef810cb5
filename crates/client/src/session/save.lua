-- Keeps changed data, if nobody else has changed it and the session is still there. KEYS: the session.
-- ARGV: the version that was changed, data, the idle timeout in milliseconds. The answer: the new version, 0 changed, -1 gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'version', 'until')
if not kept[1] or kept[2] - now <= 0 then
  return -1
end
if kept[1] ~= ARGV[1] then
  return 0
end
local version = kept[1] + 1
redis.call('HSET', KEYS[1], 'data', ARGV[2], 'version', string.format('%.0f', version))
redis.call('PEXPIRE', KEYS[1], math.min(ARGV[3], kept[2] - now))
return version
