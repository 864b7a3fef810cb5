-- Adds a job, unless one was added under the same key lately. KEYS: the queue, the key ('' without one).
-- ARGV: the job, for how long the key is remembered in milliseconds. The answer: its id, or that of the first.
if KEYS[2] ~= '' then
  local before = redis.call('GET', KEYS[2])
  if before then
    return before
  end
end
local id = redis.call('XADD', KEYS[1], '*', 'job', ARGV[1])
if KEYS[2] ~= '' then
  redis.call('SET', KEYS[2], id, 'PX', ARGV[2])
end
return id
