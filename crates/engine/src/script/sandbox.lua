-- The part of the sandbox that must be Lua: functions that catch errors, and functions that must not touch what is locked.
-- Arguments: the functions of plain Lua, helpers in Rust, the locked tables, and the table behind `redis`.
-- A locked table stands in front of the one it shows, which `behind` knows.
local plain, helper, locked, behind, redis = ...
local pcall, xpcall, rawset, setmetatable = plain.pcall, plain.xpcall, plain.rawset, plain.setmetatable
local resume, insert, concat, type, select = plain.resume, plain.insert, plain.concat, plain.type, plain.select
local sub, len, tonumber, next, rawget = plain.sub, plain.len, plain.tonumber, plain.next, plain.rawget
local error, remove, sort, unpack = plain.error, plain.remove, plain.sort, plain.unpack
local caught, caught_table, deny, fail = helper.caught, helper.caught_table, helper.deny, helper.fail
local bad, ask, int = helper.bad, helper.ask, helper.int
local loadstring, step, subject, gsub = helper.loadstring, helper.step, helper.subject, helper.gsub

-- Elements that Lua's own library may move or compare without a look at the watchdog.
local LONG = 10000
-- Slots that a function in C has on the stack, its arguments among them.
local SLOTS = 8000

local out = {}

-- Says that an argument must be a table, unless it is one.
local function needs_table(position, name, ...)
  local value = ...
  if type(value) ~= 'table' then
    bad(position, name, 'table expected, got ' .. (select('#', ...) == 0 and 'no value' or type(value)))
  end
  return value
end

-- Turns what mlua throws into what Redis throws, and lets the watchdog's word through.
local function as_text(fine, problem, ...)
  if fine then return true, problem, ... end
  return false, caught(problem)
end

local function as_table(fine, problem, ...)
  if fine then return true, problem, ... end
  return false, caught_table(problem)
end

function out.pcall(...)
  return as_text(pcall(...))
end

function out.xpcall(work, handler)
  return as_table(xpcall(work, function(problem) return handler(caught_table(problem)) end))
end

function out.resume(thread, ...)
  if type(thread) ~= 'thread' then bad(1, 'resume', 'coroutine expected') end
  return as_table(resume(thread, ...))
end

local function answer(fine, reply)
  if fine then return reply end
  return helper.answered(reply)
end

function out.redis_pcall(...)
  return answer(pcall(redis.call, ...))
end

function out.rawset(table, key, value)
  if locked[table] then deny() end
  return rawset(table, key, value)
end

function out.setmetatable(table, metatable)
  if locked[table] then deny() end
  return setmetatable(table, metatable)
end

-- A locked table is empty: what it shows is looked for behind it.
function out.rawget(...)
  local table, key = needs_table(1, 'rawget', ...), select(2, ...)
  if select('#', ...) < 2 then bad(2, 'rawget', 'value expected') end
  return rawget(behind[table] or table, key)
end

function out.next(...)
  local table, key = needs_table(1, 'next', ...), select(2, ...)
  return next(behind[table] or table, key)
end

function out.pairs(...)
  local table = needs_table(1, 'pairs', ...)
  -- What is behind a locked table must not get out.
  return behind[table] and out.next or next, table, nil
end

-- Lua's own counts in C's int and looks at the sum after it may have overflowed.
function out.unpack(...)
  local list, from, to = needs_table(1, 'unpack', ...), select(2, ...)
  if from == nil and to == nil then
    if #list >= SLOTS then fail('too many results to unpack') end
    return unpack(list)
  end
  from = from == nil and 1 or int(from, 2, 'unpack')
  to = to == nil and #list or int(to, 3, 'unpack')
  if from > to then return end
  if to - from + 1 > SLOTS - 3 then fail('too many results to unpack') end
  return unpack(list, from, to)
end

function out.insert(...)
  local table, given = needs_table(1, 'insert', ...), select('#', ...)
  if locked[table] then deny() end
  if given ~= 2 and given ~= 3 then fail("wrong number of arguments to 'insert'") end
  if given == 2 then return insert(...) end
  local position, value = select(2, ...)
  position = int(position, 2, 'insert')
  local last = #table + 1
  if last - position > LONG then
    ask()
    if position < 1 then
      -- Lua's own would move what lies in between in C, and that may be two thousand million times nothing.
      for at = last, position + 1, -1 do rawset(table, at, rawget(table, at - 1)) end
      rawset(table, position, value)
      return
    end
  end
  return insert(table, position, value)
end

function out.remove(...)
  local table = needs_table(1, 'remove', ...)
  if #table > LONG then ask() end
  return remove(...)
end

local function less(a, b)
  return a < b
end

-- Where Lua says that an error of `less` was.
local _, place = pcall(less, 1, {})
place = len(place) - len('attempt to compare table with number')

function out.sort(...)
  local list, order = needs_table(1, 'sort', ...), select(2, ...)
  if order ~= nil and type(order) ~= 'function' then
    bad(2, 'sort', 'function expected, got ' .. type(order))
  end
  if order ~= nil or #list <= LONG then return sort(list, order) end
  -- Comparing takes as long as the strings are, so it has to be something that counts.
  local fine, problem = pcall(sort, list, less)
  if fine then return end
  if type(problem) == 'string' and sub(problem, 1, 2) == '?:' then problem = sub(problem, place + 1) end
  error(problem, 0)
end

function out.load(piece, name)
  local pieces, count = {}, 0
  if type(piece) ~= 'function' then
    bad(1, 'load', 'function expected, got ' .. type(piece))
  end
  while true do
    local text = piece()
    if text == nil or text == '' then break end
    if type(text) ~= 'string' then return nil, 'reader function must return a string' end
    count = count + 1
    pieces[count] = text
  end
  return loadstring(concat(pieces), name or '=(load)')
end

function out.gmatch(text, pattern)
  local at
  text, pattern = subject(text, pattern, 'gmatch')
  at = 1
  local function advance(from, to, ...)
    if not from then
      at = nil
      return nil
    end
    at = to < from and to + 2 or to + 1
    if at > len(text) + 1 then at = nil end
    return ...
  end
  return function()
    if at then return advance(step(text, pattern, at, false)) end
  end
end

function out.gsub(text, pattern, replacement, limit)
  local kind = type(replacement)
  if kind == 'string' or kind == 'number' then
    return gsub(text, pattern, replacement, limit)
  end
  text, pattern = subject(text, pattern, 'gsub')
  if kind ~= 'function' and kind ~= 'table' then
    bad(3, 'gsub', 'string/function/table expected')
  end
  limit = tonumber(limit) or 1 / 0
  local anchored = sub(pattern, 1, 1) == '^'
  local pieces, used, count, at, size = {}, 0, 0, 1, len(text)
  local from, to
  local function replace(start, stop, ...)
    from, to = start, stop
    if not start then return end
    if kind == 'function' then return replacement(...) end
    return replacement[(...)]
  end
  while count < limit and at <= size + 1 do
    local value = replace(step(text, pattern, at, true))
    if not from then break end
    count = count + 1
    local shape = type(value)
    if not value then
      value = sub(text, from, to)
    elseif shape ~= 'string' and shape ~= 'number' then
      fail('invalid replacement value (a ' .. shape .. ')')
    end
    pieces[used + 1] = sub(text, at, from - 1)
    pieces[used + 2] = value
    used = used + 2
    if to >= from then
      at = to + 1
    else
      used = used + 1
      pieces[used] = sub(text, from, from)
      at = from + 1
    end
    if anchored then break end
  end
  pieces[used + 1] = sub(text, at)
  return concat(pieces), count
end

-- Runs a script; the handler notes the error and where it happened.
function out.protect(script)
  return xpcall(script, helper.noted)
end

-- As `protect`, for a function of a library.
function out.protect_function(callback, keys, args)
  return xpcall(function() return (callback(keys, args)) end, helper.noted)
end

return out
