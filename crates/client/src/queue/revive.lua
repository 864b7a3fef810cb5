-- Puts dead jobs back, the oldest first. KEYS: the queue, the dead. ARGV: how many. The answer: how many.
local all = redis.call('XRANGE', KEYS[2], '-', '+', 'COUNT', ARGV[1])
for _, entry in ipairs(all) do
  redis.call('XADD', KEYS[1], '*', 'job', entry[2][2] or '')
  redis.call('XDEL', KEYS[2], entry[1])
end
return #all
