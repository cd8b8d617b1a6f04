"""Impressions on a Redis server, beside the viewers' events.

A served request is one value that the server drops after some days. A sorted set lists all requests and another one
those of each viewer, by the time when they were kept; one script writes a batch of them in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.state.base import KeptRequest, ServedRequest, asked_at, utc_micros, viewer_digest
from foveate.state.record import pack, unpack
from foveate.state.redis.connection import RedisStore
from foveate.state.redis.erasing import TOMBSTONES, secret_of
from foveate.state.redis.exports import REQUEST, REQUESTS, REQUESTS_READ, SHOWN, move_requests

_BUNDLES: Final = "bundles"

_PAGE: Final = 200
"""Requests that are read at once."""

# A request that is there already stays as it is, and so do the lists that name it. Numbers only grow, so that an export
# finds what is new above the last one that it has read, whatever clocks say.
_WRITE: Final = """
local seconds, oldest = ARGV[1], tonumber(ARGV[2])
local read, last, held = math.huge, 0, false
for _, cursor in ipairs(redis.call('HVALS', KEYS[2])) do
  read, last, held = math.min(read, tonumber(cursor)), math.max(last, tonumber(cursor)), true
end
local top = redis.call('ZREVRANGE', KEYS[1], 0, 0, 'WITHSCORES')
if top[2] then last = math.max(last, tonumber(top[2])) end
local bound = string.format('(%.0f', math.min(oldest, read + 1))
for at = 3, #ARGV, 5 do
  local number = (at - 3) / 5
  local request, shown = KEYS[2 * number + 4], KEYS[2 * number + 5]
  local erased = redis.call('HGET', KEYS[3], ARGV[at + 3])
  local late = erased and tonumber(ARGV[at + 4]) <= tonumber(erased)
  if not late and redis.call('EXISTS', request) == 0 then
    if held then
      redis.call('SET', request, ARGV[at + 2])
    else
      redis.call('SET', request, ARGV[at + 2], 'EX', seconds)
    end
    last = math.max(tonumber(ARGV[at + 1]), last + 1)
    local score = string.format('%.0f', last)
    redis.call('ZADD', KEYS[1], score, ARGV[at])
    redis.call('ZADD', shown, score, ARGV[at])
    redis.call('ZREMRANGEBYSCORE', shown, '-inf', bound)
    if held then redis.call('PERSIST', shown) else redis.call('EXPIRE', shown, seconds) end
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', bound)
"""


class RedisImpressions(RedisStore):
    """An :class:`~foveate.state.base.ImpressionStore` on a Redis server; parameters and errors as its base has them."""

    def __init__(self, address: str, *, clock: Callable[[], int] = utc_micros) -> None:
        super().__init__(address, clock=clock)
        self._write = self._server.script(_WRITE)

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Keep served slates, all or none; one that is already kept stays as it is.

        Raises
        ------
        StateError
            The server cannot be used.
        """
        seconds = self._server.config.impressions_seconds
        now = self._clock()
        keys = [self._server.key(REQUESTS), self._server.key(REQUESTS_READ), self._server.key(TOMBSTONES)]
        arguments: list[Any] = [seconds, now - seconds * 1_000_000]
        secret = secret_of(self._server)
        for number, one in enumerate(served):
            slate = one.slate
            keys += [self._server.key(REQUEST, slate.request_id), self._server.key(SHOWN, slate.user_id)]
            arguments += [slate.request_id, now + number, pack(one)]
            arguments += [viewer_digest(secret, slate.user_id), asked_at(one)]
        with self._server.asked() as client:
            self._write(keys=keys, args=arguments, client=client)

    def read(self, request_id: str) -> ServedRequest:
        """Return one served request.

        Raises
        ------
        NotFoundError
            No request of that id was kept, or it was dropped since.
        StateError
            The server cannot be used.
        """
        with self._server.asked() as client:
            packed = client.get(self._server.key(REQUEST, request_id))
        if packed is None:
            raise NotFoundError(f"no request '{request_id}' is kept in '{self._server.address}'")
        return unpack(packed)

    def request_ids(self, limit: int | None = 100) -> list[str]:
        """Return the ids of up to ``limit`` kept requests (None: all), latest first."""
        if limit == 0:
            return []
        with self._server.asked() as client:
            found = client.zrevrange(self._server.key(REQUESTS), 0, -1 if limit is None else limit - 1)
        return [name.decode() for name in found]

    def since(self, sequence: int) -> Iterator[Sequence[KeptRequest]]:
        """Yield the requests above a number, in the order of their numbers."""
        key = self._server.key(REQUESTS)
        while True:
            with self._server.asked() as client:
                found = client.zrangebyscore(key, f"({sequence}", "+inf", start=0, num=_PAGE, withscores=True)
            if not found:
                return
            yield self._kept(found)
            sequence = int(found[-1][1])

    def shown_to(self, user_id: str) -> list[KeptRequest]:
        """Return all that is kept of what a viewer was shown, oldest first."""
        with self._server.asked() as client:
            found = client.zrange(self._server.key(SHOWN, user_id), 0, -1, withscores=True)
        return [one for part in in_parts(found, _PAGE) for one in self._kept(part)]

    def move_export(self, name: str, sequence: int) -> None:
        """Say that an export has read all requests up to a number: later ones are not dropped before it has them."""
        move_requests(self._server, name, sequence)

    def _kept(self, named: Sequence[tuple[bytes, float]]) -> list[KeptRequest]:
        """Return the requests of these names that are there, with their numbers."""
        with self._server.asked() as client:
            records = client.mget([self._server.key(REQUEST, name.decode()) for name, _ in named]) if named else []
        # A number is the moment when it was kept, or a little after that of the one before.
        return [
            KeptRequest(unpack(packed), int(score), int(score))
            for (_, score), packed in zip(named, records, strict=True)
            if packed is not None
        ]

    def remember_bundle(self, bundle_id: str, path: Path) -> None:
        """Keep where a bundle lies; the latest place counts."""
        with self._server.asked() as client:
            client.hset(self._server.key(_BUNDLES), bundle_id, str(path.resolve()))

    def bundle_path(self, bundle_id: str) -> Path:
        """Return where a bundle lay when it was last served.

        Raises
        ------
        NotFoundError
            The bundle was never served from this store.
        """
        with self._server.asked() as client:
            found = client.hget(self._server.key(_BUNDLES), bundle_id)
        if found is None:
            raise NotFoundError(f"'{self._server.address}' does not know where bundle '{bundle_id}' lies: name it")
        return Path(found.decode())

    def bundles(self) -> dict[str, Path]:
        """Return every bundle's place by its id."""
        with self._server.asked() as client:
            found = client.hgetall(self._server.key(_BUNDLES))
        return {name.decode(): Path(path.decode()) for name, path in found.items()}
