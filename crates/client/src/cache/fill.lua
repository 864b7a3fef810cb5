-- Keeps what was loaded, if nothing was invalidated since the lease was given.
-- KEYS: the entry, its lease, its tags. ARGV: the lease's token ('' needs none), the tags as they stood ('' with no token: as they
-- stand), the value, for how long it is fresh, the rest of its meta, and for how long it is kept.
local tags = ''
for i = 3, #KEYS do
  tags = tags .. (redis.call('GET', KEYS[i]) or '') .. ';'
end
if ARGV[1] ~= '' then
  if redis.call('GET', KEYS[2]) ~= ARGV[1] then
    return 0
  end
  if tags ~= ARGV[2] then
    redis.call('DEL', KEYS[2])
    return 0
  end
end
local time = redis.call('TIME')
local fresh = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[4]
redis.call('HSET', KEYS[1], 'value', ARGV[3], 'meta', string.format('%.0f', fresh) .. ' ' .. ARGV[5], 'tags', tags)
redis.call('PEXPIRE', KEYS[1], ARGV[6])
redis.call('DEL', KEYS[2])
return 1
