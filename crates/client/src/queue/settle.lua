-- Ends an attempt, if the job is still this consumer's. KEYS: the queue, the dead. ARGV: group, consumer, id, what becomes of it
-- ('done', 'retry', 'keep' or 'bury'), the error, for how long it counts as idle already in milliseconds, the attempt.
-- The answer: 1, or 0 if another has it, or nobody any more.
local mine = redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1)[1]
if not mine or mine[2] ~= ARGV[2] or mine[4] ~= tonumber(ARGV[7]) then
  return 0
end
if ARGV[4] == 'retry' or ARGV[4] == 'keep' then
  redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[2], 0, ARGV[3], 'IDLE', ARGV[6], 'RETRYCOUNT', mine[4], 'JUSTID')
  return 1
end
if ARGV[4] == 'bury' then
  local entry = redis.call('XRANGE', KEYS[1], ARGV[3], ARGV[3])[1]
  if entry then
    redis.call('XADD', KEYS[2], '*', 'job', entry[2][2] or '', 'id', ARGV[3], 'attempts', mine[4], 'error', ARGV[5])
  end
end
redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
redis.call('XDEL', KEYS[1], ARGV[3])
return 1
