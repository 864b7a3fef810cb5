-- One instant: when the next request would be exactly on time.
local period, burst = tonumber(ARGV[5]), tonumber(ARGV[6])
if limit <= 0 then
  return answer(false, 0, math.ceil((now + period) / 1000), period)
end
local key = KEYS[1] .. ':tat'
local step = math.ceil(period / limit)
local tolerance = step * burst
local tat = math.max(now, count(key))
local function left(tat)
  return math.floor((now + tolerance - tat) / step)
end
if looks then
  return answer(left(tat) > 0, left(tat), math.ceil(tat / 1000), tat + step - tolerance - now)
end
local new = math.max(now, tat + step * cost)
if cost > 0 and new - tolerance > now then
  return answer(false, left(tat), math.ceil(tat / 1000), new - tolerance - now)
end
if new > now then
  redis.call('SET', key, string.format('%.0f', new), 'PX', math.ceil((new - now) / 1000))
else
  redis.call('DEL', key)
end
return answer(true, left(new), math.ceil(new / 1000), 0)
