-- Renews a lock if it is still this one's. KEYS: the lock. ARGV: its token, the lease in milliseconds.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
