"""The exports that read a Redis server, and what holds back what they have not read.

The server drops a served request, and where events have days a viewer's list of them, by itself after some days, unless
exports are registered: then they are kept until every export has read them, and get their time only then.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any, Final

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.state.base import Export
from foveate.state.record import unpack
from foveate.state.redis.connection import Server
from foveate.state.redis.schema import EVENTS, IDS, RECEIVED, viewers

EVENTS_READ: Final = "exports"
"""A hash of the version up to which each export has read."""
REQUESTS_READ: Final = "exported_requests"
"""A hash of the number of the request up to which each export has read."""
REQUEST: Final = "request"
REQUESTS: Final = "requests"
SHOWN: Final = "shown"
PLACES: Final = "export_places"
"""A hash of where each export lies."""
_PENDING: Final = "erasures"
_PAGE: Final = 200
_ABOVE_ALL: Final = 1 << 62

# The list of a viewer's requests may go when the newest of them may.
_RELEASE: Final = """
local seconds, read = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = 2, #KEYS, 2 do
  local kept = redis.call('ZSCORE', KEYS[1], ARGV[at / 2 + 2])
  local newest = redis.call('ZREVRANGE', KEYS[at + 1], 0, 0, 'WITHSCORES')
  if newest[2] and tonumber(newest[2]) <= read then
    redis.call('EXPIREAT', KEYS[at + 1], math.floor(tonumber(newest[2]) / 1000000) + seconds)
  end
  if kept then
    redis.call('EXPIREAT', KEYS[at], math.floor(tonumber(kept) / 1000000) + seconds)
  end
end
"""

_RELEASE_EVENTS: Final = (
    RECEIVED
    + """
local seconds, read = tonumber(ARGV[1]), tonumber(ARGV[2])
for at = 1, #KEYS, 2 do
  local newest = redis.call('LINDEX', KEYS[at], -1)
  if newest and tonumber(string.match(newest, '^%[(%d+),')) <= read then
    for _, key in ipairs({KEYS[at], KEYS[at + 1]}) do
      redis.call('EXPIREAT', key, math.ceil(received(newest) / 1000000) + seconds)
    end
  end
end
"""
)


def register_export(server: Server, export: Export) -> None:
    """Keep where an export lies, and hold back what it has not read."""
    with server.asked() as client:
        with client.pipeline(transaction=True) as asked:
            asked.hset(server.key(PLACES), export.name, json.dumps([export.folder, export.key_file]))
            asked.hsetnx(server.key(EVENTS_READ), export.name, 0)
            asked.hsetnx(server.key(REQUESTS_READ), export.name, 0)
            asked.execute()
        if server.config.events_seconds:
            for found in in_parts(viewers(server), _PAGE):
                with client.pipeline(transaction=False) as asked:
                    for user in found:
                        asked.persist(server.key(EVENTS, user))
                        asked.persist(server.key(IDS, user))
                    asked.execute()
        # What comes from now on gets no time; what is there already loses its own.
        cursor = int(client.hget(server.key(REQUESTS_READ), export.name) or 0)
        for part in _names(server, client, cursor, None):
            with client.pipeline(transaction=False) as asked:
                for name in part:
                    asked.persist(server.key(REQUEST, name))
                asked.execute()
            users = {user for _, user in _users(server, client, part)}
            with client.pipeline(transaction=False) as asked:
                for user in users:
                    asked.persist(server.key(SHOWN, user))
                asked.execute()


def exports(server: Server) -> list[Export]:
    """Return the exports, by name."""
    with server.asked() as client:
        found = client.hgetall(server.key(PLACES))
    return [Export(name.decode(), *json.loads(place)) for name, place in sorted(found.items())]


def drop_export(server: Server, name: str) -> None:
    """Forget an export; raises NotFoundError where there is none of that name."""
    before = _requests_read(server)
    with server.asked() as client, client.pipeline(transaction=True) as asked:
        asked.hdel(server.key(PLACES), name)
        asked.hdel(server.key(EVENTS_READ), name)
        asked.hdel(server.key(REQUESTS_READ), name)
        asked.delete(server.key(_PENDING, name))
        gone = sum(asked.execute()[:3])
    if not gone:
        raise NotFoundError(f"'{server.address}' knows no export '{name}'")
    _release(server, before)
    _release_events(server)


def move_events(server: Server, name: str, version: int) -> None:
    """Say that an export has read all events up to a version; the server may drop them from now on."""
    key = server.key(EVENTS_READ)
    with server.asked() as client:
        client.hset(key, name, max(version, int(client.hget(key, name) or 0)))
    _release_events(server)


def move_requests(server: Server, name: str, sequence: int) -> None:
    """Say that an export has read all requests up to a number; the server may drop them from now on."""
    before = _requests_read(server)
    key = server.key(REQUESTS_READ)
    with server.asked() as client:
        client.hset(key, name, max(sequence, int(client.hget(key, name) or 0)))
    _release(server, before)


def note_pending(server: Server, asked: Any, names: list[str], erasure_id: str, user_id: str) -> None:
    """Note in a transaction of the server that exports are to follow an erasure."""
    for name in names:
        asked.hset(server.key(_PENDING, name), erasure_id, user_id.encode("utf-8", "surrogatepass"))


def pending(server: Server, export: str) -> list[tuple[str, str]]:
    """Return the erasures that an export has not followed, each with its viewer's id."""
    with server.asked() as client:
        found = client.hgetall(server.key(_PENDING, export))
    return [(name.decode(), user.decode("utf-8", "surrogatepass")) for name, user in found.items()]


def followed(server: Server, erasure_id: str, export: str) -> None:
    """Say that an export has followed an erasure."""
    with server.asked() as client:
        client.hdel(server.key(_PENDING, export), erasure_id)


def _requests_read(server: Server) -> int | None:
    """Return the number up to which every export has read requests; None where there is no export."""
    with server.asked() as client:
        found = client.hvals(server.key(REQUESTS_READ))
    return min(map(int, found), default=None)


def _release(server: Server, before: int | None) -> None:
    """Let the server drop, in their time, the requests that every export has read now and had not before."""
    until = _requests_read(server)
    release = server.script(_RELEASE)
    with server.asked() as client:
        for part in _names(server, client, before or 0, until):
            found = _users(server, client, part)
            keys = [key for name, user in found for key in (server.key(REQUEST, name), server.key(SHOWN, user))]
            read = _ABOVE_ALL if until is None else until
            args = [server.config.impressions_seconds, read, *(name for name, _ in found)]
            release(keys=[server.key(REQUESTS), *keys], args=args, client=client)


def _release_events(server: Server) -> None:
    """Let the server drop, in their time, the viewers' lists of which every export has read all."""
    if not server.config.events_seconds:
        return
    release = server.script(_RELEASE_EVENTS)
    with server.asked() as client:
        read = min(map(int, client.hvals(server.key(EVENTS_READ))), default=_ABOVE_ALL)
        for part in in_parts(viewers(server), _PAGE):
            keys = [server.key(name, user) for user in part for name in (EVENTS, IDS)]
            release(keys=keys, args=[server.config.events_seconds, read], client=client)


def _names(server: Server, client: Any, above: int, until: int | None) -> Iterator[list[str]]:
    """Yield the ids of the requests with numbers above one, up to another one, page by page."""
    last = "+inf" if until is None else until
    while found := client.zrangebyscore(server.key(REQUESTS), f"({above}", last, start=0, num=_PAGE, withscores=True):
        yield [name.decode() for name, _ in found]
        above = int(found[-1][1])


def _users(server: Server, client: Any, names: list[str]) -> list[tuple[str, str]]:
    """Return the requests that are there, each with whom it was for."""
    found = client.mget([server.key(REQUEST, name) for name in names])
    return [
        (name, unpack(packed).slate.user_id) for name, packed in zip(names, found, strict=True) if packed is not None
    ]
