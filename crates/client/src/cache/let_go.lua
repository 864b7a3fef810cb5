-- Gives a lease back, if it is still this one; or has nobody take it for a while, as what it was for has failed.
-- KEYS: the lease. ARGV: its token, and the pause in milliseconds ('0' for none).
if redis.call('GET', KEYS[1]) ~= ARGV[1] then
  return 0
end
if ARGV[2] == '0' then
  redis.call('DEL', KEYS[1])
else
  redis.call('SET', KEYS[1], '!', 'PX', ARGV[2])
end
return 1
