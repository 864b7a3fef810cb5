-- KEYS: the counter. ARGV: what it is at least, and by how much it grows then.
local count = math.max(tonumber(redis.call('GET', KEYS[1]) or 0), tonumber(ARGV[1])) + ARGV[2]
redis.call('SET', KEYS[1], string.format('%.0f', count))
return count
