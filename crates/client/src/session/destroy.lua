-- Ends a session. KEYS: the session. ARGV: its hash, and what the names of indexes begin with.
local user = redis.call('HGET', KEYS[1], 'user')
if user and user ~= '' then
  redis.call('ZREM', ARGV[2] .. user, ARGV[1])
end
return redis.call('DEL', KEYS[1])
