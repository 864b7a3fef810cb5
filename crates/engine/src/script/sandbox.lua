-- The part of the sandbox that must be Lua: functions that catch errors, and functions that must not touch what is locked.
-- Arguments: the functions of plain Lua, helpers in Rust, the set of locked tables, and the table behind `redis`.
local plain, helper, locked, redis = ...
local pcall, xpcall, rawset, setmetatable = plain.pcall, plain.xpcall, plain.rawset, plain.setmetatable
local resume, insert, concat, type, select = plain.resume, plain.insert, plain.concat, plain.type, plain.select
local sub, len, tonumber = plain.sub, plain.len, plain.tonumber
local caught, caught_table, deny, fail = helper.caught, helper.caught_table, helper.deny, helper.fail
local bad = helper.bad
local loadstring, step, subject, gsub = helper.loadstring, helper.step, helper.subject, helper.gsub

local out = {}

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

function out.insert(table, ...)
  local given = select('#', ...)
  if type(table) ~= 'table' then bad(1, 'insert', 'table expected, got ' .. type(table)) end
  if locked[table] then deny() end
  if given ~= 1 and given ~= 2 then fail("wrong number of arguments to 'insert'") end
  return insert(table, ...)
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
