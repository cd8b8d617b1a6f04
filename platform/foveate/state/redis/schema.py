"""The versions of what lies on a Redis server, and what makes an older one the next.

A key says the version. Replicas write it where nothing lies yet, and refuse a newer one than they know; who copies into
a server, trains for it or starts serving from it brings an older one up to date. An older one can be read and written
as it is meanwhile.
"""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final

from foveate.core.errors import StateError
from foveate.core.grouped import in_parts
from foveate.data.schema import EVENT_KINDS
from foveate.state.redis.connection import Server
from foveate.state.sqlite.event_table import log_event_id

SCHEMA_VERSION: Final = 2
EVENTS: Final = "events"
"""With a viewer's id: the list of their events."""
IDS: Final = "ids"
"""With a viewer's id: the sorted set of their events' ids, by version."""
_SCHEMA: Final = "schema"
_VERSION: Final = "version"

_VIEWERS: Final = 64
_KIND, _TIME, _RECEIVED = 3, 5, 6
"""Places in a row of the list of events; see :mod:`foveate.state.redis.store`."""


def check_version(server: Server) -> int:
    """Return the version of what lies on a server; an empty one gets the newest.

    Raises
    ------
    StateError
        It is newer than this Foveate knows, or the server cannot be used.
    """
    with server.asked() as client:
        found, used = client.mget(server.key(_SCHEMA), server.key(_VERSION))
        if found is None and used is None:
            client.set(server.key(_SCHEMA), SCHEMA_VERSION, nx=True)
            return SCHEMA_VERSION
    version = int(found or 1)
    if version > SCHEMA_VERSION:
        versions = f"version {version}, this Foveate reads {SCHEMA_VERSION}"
        raise StateError(f"state '{server.address}' is of schema {versions}; name another prefix")
    return version


def upgrade(server: Server) -> None:
    """Bring a server up to date; it may serve meanwhile, and a second upgrade beside this one does no harm.

    Raises
    ------
    StateError
        It is newer than this Foveate knows, or the server cannot be used.
    """
    if check_version(server) == 1:
        _rename_imported(server)
        with server.asked() as client:
            client.set(server.key(_SCHEMA), SCHEMA_VERSION)


def viewers(server: Server) -> Iterator[str]:
    """Yield the ids of all viewers, in the order of the server."""
    start = server.key(EVENTS, "")
    with server.asked() as client:
        for key in client.scan_iter(match=start + b"*", count=1_000):
            yield key[len(start) :].decode("utf-8", "surrogatepass")


def _rename_imported(server: Server) -> None:
    """Give imported events the ids that a new import of their log gives, as the SQLite file's upgrade does.

    Rows that one import wrote share a moment of arrival, and each of their ids tells its kind: those of clients do not.
    """
    row_numbers: Counter[int] = Counter()
    others: set[int] = set()
    for _, rows, ids in _all(server):
        for row in rows:
            if _is_row_number(ids.get(row[0], ""), row[_KIND]):
                row_numbers[row[_RECEIVED]] += 1
            else:
                others.add(row[_RECEIVED])
    imported = {moment for moment, count in row_numbers.items() if count > 2 and moment not in others}
    for user_id, rows, ids in _all(server) if imported else ():
        equal: dict[tuple[str, str, int], int] = defaultdict(int)
        key = server.key(IDS, user_id)
        with server.asked() as client, client.pipeline(transaction=True) as asked:
            for version, _, item_id, kind, _, occurred_at, received_at, *_ in rows:
                if occurred_at is None or received_at not in imported:
                    continue
                number = equal[item_id, kind, occurred_at]
                equal[item_id, kind, occurred_at] += 1
                new = log_event_id(kind, occurred_at, number, item_id)
                asked.zadd(key, {new.encode("utf-8", "surrogatepass"): version})
                asked.zrem(key, ids[version].encode("utf-8", "surrogatepass"))
            asked.execute()


def _all(server: Server) -> Iterator[tuple[str, Sequence[Sequence[Any]], dict[int, str]]]:
    """Yield each viewer's rows, and the ids by version."""
    for part in in_parts(viewers(server), _VIEWERS):
        with server.asked() as client, client.pipeline(transaction=True) as asked:
            for user_id in part:
                asked.lrange(server.key(EVENTS, user_id), 0, -1)
                asked.zrange(server.key(IDS, user_id), 0, -1, withscores=True)
            found = asked.execute()
        for user_id, rows, ids in zip(part, found[::2], found[1::2], strict=True):
            named = {int(version): name.decode("utf-8", "surrogatepass") for name, version in ids}
            yield user_id, json.loads(b"[" + b",".join(rows) + b"]"), named


def _is_row_number(event_id: str, kind: str) -> bool:
    if event_id.isdecimal() and event_id.isascii():
        return int(event_id) % 10 == EVENT_KINDS.index(kind)
    return len(event_id) > 8 and event_id[0] == "e" and event_id[1:].isdecimal() and event_id.isascii()


RECEIVED: Final = """
local function received(row)
  -- Without escapes a text ends at the next quotation mark.
  local plain = string.gsub(row, '\\\\.', '')
  return tonumber(string.match(plain, '^%[%d+,%d+,"[^"]*","[^"]*",[^,]*,[^,]*,(%d+)'))
end
"""
"""A Lua function: when the event of a row was received, UTC microseconds."""

ADD: Final = (
    RECEIVED
    + """
local most, before, expires, added = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), 0
local read, exported, held = math.huge, 0, false
for _, cursor in ipairs(redis.call('HVALS', KEYS[2])) do
  read = math.min(read, tonumber(cursor))
  exported, held = math.max(exported, tonumber(cursor)), true
end
for at = 4, #ARGV, 6 do
  local events, ids = KEYS[2 * ARGV[at] + 2], KEYS[2 * ARGV[at] + 3]
  local id, version, rest = ARGV[at + 1], tonumber(ARGV[at + 2]), ARGV[at + 3]
  local erased = redis.call('HGET', KEYS[3], ARGV[at + 4])
  local late = erased and tonumber(ARGV[at + 5]) <= tonumber(erased)
  if not late and not redis.call('ZSCORE', ids, id) then
    local newest, number = 0, 0
    local last = redis.call('LINDEX', events, -1)
    if last then
      local v, n = string.match(last, '^%[(%d+),(%d+),')
      newest, number = tonumber(v), tonumber(n)
    end
    -- An export reads what lies above its cursor: what comes now is to be found there.
    if version <= newest or version <= exported then
      version = redis.call('INCR', KEYS[1])
    elseif version > tonumber(redis.call('GET', KEYS[1]) or '0') then
      redis.call('SET', KEYS[1], string.format('%.0f', version))
    end
    local named = string.format('%.0f', version)
    redis.call('RPUSH', events, '[' .. named .. ',' .. string.format('%.0f', number + 1) .. ',' .. rest)
    redis.call('ZADD', ids, named, id)
    local extra = math.max(0, redis.call('LLEN', events) - most)
    -- The event that came just now is never old.
    while before > 0 and received(redis.call('LINDEX', events, extra)) < before do
      extra = extra + 1
    end
    -- What an export has not read stays.
    while extra > 0 and tonumber(string.match(redis.call('LINDEX', events, extra - 1), '^%[(%d+),')) > read do
      extra = extra - 1
    end
    if extra > 0 then
      redis.call('LTRIM', events, extra, -1)
      local oldest = string.match(redis.call('LINDEX', events, 0), '^%[(%d+),')
      redis.call('ZREMRANGEBYSCORE', ids, '-inf', '(' .. oldest)
    end
    for _, key in ipairs({events, ids}) do
      if expires > 0 and not held then redis.call('EXPIREAT', key, expires) else redis.call('PERSIST', key) end
    end
    added = added + 1
  end
end
return added
"""
)
"""Keys: the counter of versions, the exports' cursors, the tombstones, and of each viewer the events and the ids.

Arguments: most events of a viewer, the moment before which received ones are dropped, when the server drops a viewer's
list by itself (seconds; 0: never), and of each event the viewer's place among the keys, the id, the version that it
had elsewhere (0: none), its row without version and number, the viewer's digest, and when it was received. A row of
the list is version, number within the history, item, kind, value, time, received at, impression, text and, where one
is named, request.
"""
