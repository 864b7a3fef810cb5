-- Looks for an entry, and takes the lease to load it if it will not do and the lease is free.
-- KEYS: the entry, its lease, its tags. ARGV: what to take the lease with ('' to look only), for how long in milliseconds, and
-- the meta of an entry that will not do.
-- The answer begins with what was found (1 an entry, 2 the lease, 3 nothing, 4 somebody else's lease, 5 one who failed and pauses),
-- the time in milliseconds, and the tags as they stand.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local tags = ''
for i = 3, #KEYS do
  tags = tags .. (redis.call('GET', KEYS[i]) or '') .. ';'
end
local entry = redis.call('HMGET', KEYS[1], 'value', 'meta', 'tags')
if entry[1] and entry[3] == tags and entry[2] ~= ARGV[3] then
  return {1, now, tags, entry[2], entry[1]}
end
if ARGV[1] == '' then
  return {3, now, tags}
end
if redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return {2, now, tags}
end
if redis.call('GET', KEYS[2]) == '!' then
  return {5, now, tags}
end
return {4, now, tags}
