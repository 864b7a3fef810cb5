-- Gives a session another id, and its old one up, in one step. KEYS: the old session, the new one, the indexes of the old user and of
-- the new ('' without one). ARGV: the version, data, the new user, the idle timeout, the absolute one ('' keeps what is left of it),
-- the old hash, the new one. The answer: {version, created, until}, or 0 changed, -1 gone.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local kept = redis.call('HMGET', KEYS[1], 'version', 'until', 'created')
if not kept[1] or kept[2] - now <= 0 then
  return {-1, 0, 0}
end
if kept[1] ~= ARGV[1] then
  return {0, 0, 0}
end
local created, ends = tonumber(kept[3]), tonumber(kept[2])
if ARGV[5] ~= '' then
  created, ends = now, now + ARGV[5]
end
local version = kept[1] + 1
redis.call('DEL', KEYS[1])
redis.call('HSET', KEYS[2], 'data', ARGV[2], 'user', ARGV[3], 'created', string.format('%.0f', created),
  'until', string.format('%.0f', ends), 'version', string.format('%.0f', version))
redis.call('PEXPIRE', KEYS[2], math.min(ARGV[4], ends - now))
if KEYS[3] ~= '' then
  redis.call('ZREM', KEYS[3], ARGV[6])
end
if KEYS[4] ~= '' then
  redis.call('ZADD', KEYS[4], ends, ARGV[7])
  redis.call('PEXPIRE', KEYS[4], math.max(redis.call('PTTL', KEYS[4]), ends - now))
end
return {version, created, ends}
