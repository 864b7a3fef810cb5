-- Two counters: the last window weighs as much as of it is left within a window's length from now.
local window = tonumber(ARGV[5])
local bucket = math.floor(ms / window)
local key = KEYS[1] .. ':' .. string.format('%.0f', bucket)
local before = count(KEYS[1] .. ':' .. string.format('%.0f', bucket - 1))
local start, reset = bucket * window, (bucket + 1) * window
local current = count(key)
local function share(elapsed, before)
  return math.floor((1 - elapsed / window) * before)
end
local weight = share(ms % window, before)

-- From when on one request would pass, if nobody else came: the first millisecond in which what the counters weigh is less than the limit.
local function retry(current)
  if limit <= 0 then
    return reset * 1000 - now
  end
  local function first(from, weighs, least)
    if weighs < least then
      return from
    end
    -- A step before where it should be, as doubles may be a little off; then to where it is.
    local elapsed = math.max(0, math.floor(window * (1 - least / weighs)) - 1)
    while share(elapsed, weighs) >= least and elapsed < window do
      elapsed = elapsed + 1
    end
    return from + elapsed
  end
  local at = current < limit and first(start, before, limit - current) or reset
  if at >= reset then
    at = first(reset, current, limit)
  end
  return math.max(at, ms) * 1000 - now
end

if looks then
  local left = limit - weight - current
  return answer(left > 0, left, reset, left > 0 and 0 or retry(current))
end
if cost > 0 and weight + current >= limit then
  return answer(false, -1, reset, retry(current))
end
current = redis.call('INCRBY', key, ARGV[2])
if current == cost then
  redis.call('PEXPIRE', key, window * 2 + 1000)
end
local left = limit - (current + weight)
return answer(left >= 0, left, reset, left >= 0 and 0 or retry(current))
