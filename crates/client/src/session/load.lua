-- Reads a session, and begins its idle timeout anew. KEYS: the session. ARGV: the idle timeout in milliseconds.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'data', 'user', 'created', 'until', 'version')
if not kept[5] then
  return false
end
local left = kept[4] - now
if left <= 0 then
  redis.call('DEL', KEYS[1])
  return false
end
redis.call('PEXPIRE', KEYS[1], math.min(ARGV[1], left))
return kept
