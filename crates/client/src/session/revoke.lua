-- Ends sessions of a user: one, or all but one. KEYS: the index. ARGV: what the names of sessions begin with, the hash of the only one
-- to end ('' for all), the hash of one to keep ('' for none). The answer: how many have ended.
local ended = 0
for _, hash in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if hash ~= ARGV[3] and (ARGV[2] == '' or hash == ARGV[2]) then
    ended = ended + redis.call('DEL', ARGV[1] .. hash)
    redis.call('ZREM', KEYS[1], hash)
  end
end
return ended
