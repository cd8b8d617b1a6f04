"""What a Redis server does in one step to add a batch of events."""

from __future__ import annotations

from typing import Final

ADD: Final = """
local most, added = tonumber(ARGV[1]), 0
local read = math.huge
for _, version in ipairs(redis.call('HVALS', KEYS[2])) do
  read = math.min(read, tonumber(version))
end
for at = 2, #ARGV, 4 do
  local events, ids = KEYS[2 * ARGV[at] + 1], KEYS[2 * ARGV[at] + 2]
  local id, version, rest = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  if not redis.call('ZSCORE', ids, id) then
    local newest, number = 0, 0
    local last = redis.call('LINDEX', events, -1)
    if last then
      local v, n = string.match(last, '^%[(%d+),(%d+),')
      newest, number = tonumber(v), tonumber(n)
    end
    if version <= newest then
      version = redis.call('INCR', KEYS[1])
    elseif version > tonumber(redis.call('GET', KEYS[1]) or '0') then
      redis.call('SET', KEYS[1], string.format('%.0f', version))
    end
    local named = string.format('%.0f', version)
    redis.call('RPUSH', events, '[' .. named .. ',' .. string.format('%.0f', number + 1) .. ',' .. rest)
    redis.call('ZADD', ids, named, id)
    local extra = redis.call('LLEN', events) - most
    -- What an export has not read stays.
    while extra > 0 and tonumber(string.match(redis.call('LINDEX', events, extra - 1), '^%[(%d+),')) > read do
      extra = extra - 1
    end
    if extra > 0 then
      redis.call('LTRIM', events, extra, -1)
      local oldest = string.match(redis.call('LINDEX', events, 0), '^%[(%d+),')
      redis.call('ZREMRANGEBYSCORE', ids, '-inf', '(' .. oldest)
    end
    added = added + 1
  end
end
return added
"""
"""Keys: the counter of versions, the exports' cursors, and of each viewer the list of events and the set of ids.

Arguments: most events of a viewer, and of each event the viewer's place among the keys, the id, the version that it
had elsewhere (0: none), and its row without version and number. A row of the list is version, number within the
history, item, kind, value, time, received at, impression, text.
"""
