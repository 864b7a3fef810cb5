-- Sets a value unless a later holder of the lock has been here. KEYS: the value, the latest fence. ARGV: the fence, the value.
if tonumber(redis.call('GET', KEYS[2]) or 0) > tonumber(ARGV[1]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1])
redis.call('SET', KEYS[1], ARGV[2])
return 1
