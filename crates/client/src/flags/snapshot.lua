-- All flags, with their cohorts. KEYS: the flags. ARGV: what the names of cohorts begin with, and the most members that are told.
-- The answer: a list of {name, rollout, how many are in the cohort, its members if they are told}.
local found, flags = {}, redis.call('HGETALL', KEYS[1])
for i = 1, #flags, 2 do
  local cohort = ARGV[1] .. flags[i]
  local size, members = redis.call('SCARD', cohort), {}
  if size <= tonumber(ARGV[2]) then
    members = redis.call('SMEMBERS', cohort)
  end
  found[#found + 1] = {flags[i], flags[i + 1], size, members}
end
return found
