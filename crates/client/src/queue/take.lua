-- Takes jobs: first those that were taken and not finished in time, then new ones. What was tried too often goes to the dead.
-- KEYS: the queue, the dead. ARGV: group, consumer, the time a job is left alone in milliseconds, how many, attempts.
-- The answer: a list of {id, attempt, job}.
local count, attempts = tonumber(ARGV[4]), tonumber(ARGV[5])
redis.pcall('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
local found = {}
local late = redis.call('XPENDING', KEYS[1], ARGV[1], 'IDLE', ARGV[3], '-', '+', count)
for _, one in ipairs(late) do
  local id, times = one[1], one[4]
  local entry = redis.call('XRANGE', KEYS[1], id, id)[1]
  if not entry then
    redis.call('XACK', KEYS[1], ARGV[1], id)
  elseif times >= attempts then
    redis.call('XADD', KEYS[2], '*', 'job', entry[2][2] or '', 'id', id, 'attempts', times, 'error', 'not finished in time')
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
  else
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], ARGV[3], id)
    found[#found + 1] = {id, times + 1, entry[2][2] or ''}
  end
end
if #found < count then
  local new = redis.call('XREADGROUP', 'GROUP', ARGV[1], ARGV[2], 'COUNT', count - #found, 'STREAMS', KEYS[1], '>')
  if new and new[1] then
    for _, entry in ipairs(new[1][2]) do
      found[#found + 1] = {entry[1], 1, entry[2][2] or ''}
    end
  end
end
return found
