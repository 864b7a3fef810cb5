-- The part of the sandbox that must be Lua: functions that catch errors, and functions that must not touch what is locked.
-- Arguments: the functions of plain Lua, helpers in Rust, the set of locked tables, and the table behind `redis`.
local plain, helper, locked, redis = ...
local pcall, xpcall, rawset, setmetatable = plain.pcall, plain.xpcall, plain.rawset, plain.setmetatable
local resume, insert, concat, type = plain.resume, plain.insert, plain.concat, plain.type
local caught, caught_table, deny, find_from = helper.caught, helper.caught_table, helper.deny, helper.find_from
local loadstring, fail = helper.loadstring, helper.fail

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

function out.resume(...)
  return as_table(resume(...))
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
  if locked[table] then deny() end
  return insert(table, ...)
end

function out.load(piece, name)
  local pieces, count = {}, 0
  if type(piece) ~= 'function' then
    fail("bad argument #1 to 'load' (function expected)")
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

-- Runs a script; the handler notes the error and where it happened.
function out.protect(script)
  return xpcall(script, helper.noted)
end

return out
