"""Impressions on a Redis server, beside the viewers' events.

A served request is one value that the server drops after some days. A sorted set lists all requests and another one
those of each viewer, by the time when they were kept; one script writes a batch of them in one step.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from foveate.core.errors import NotFoundError
from foveate.state.base import ServedRequest, utc_micros
from foveate.state.record import pack, unpack
from foveate.state.redis.connection import RedisStore

_REQUEST: Final = "request"
_REQUESTS: Final = "requests"
_SHOWN: Final = "shown"
_BUNDLES: Final = "bundles"
_DAY_S: Final = 86_400

# A request that is there already stays as it is, and so do the lists that name it.
_WRITE: Final = """
local seconds, oldest = ARGV[1], ARGV[2]
for at = 3, #ARGV, 3 do
  local number = (at - 3) / 3
  local request, shown = KEYS[2 * number + 2], KEYS[2 * number + 3]
  if redis.call('SET', request, ARGV[at + 2], 'NX', 'EX', seconds) then
    redis.call('ZADD', KEYS[1], ARGV[at + 1], ARGV[at])
    redis.call('ZADD', shown, ARGV[at + 1], ARGV[at])
    redis.call('ZREMRANGEBYSCORE', shown, '-inf', '(' .. oldest)
    redis.call('EXPIRE', shown, seconds)
  end
end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', '(' .. oldest)
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
        seconds = max(1, round(self._server.config.impressions_days * _DAY_S))
        now = self._clock()
        keys = [self._server.key(_REQUESTS)]
        arguments: list[Any] = [seconds, now - seconds * 1_000_000]
        for number, one in enumerate(served):
            slate = one.slate
            keys += [self._server.key(_REQUEST, slate.request_id), self._server.key(_SHOWN, slate.user_id)]
            arguments += [slate.request_id, now + number, pack(one)]
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
            packed = client.get(self._server.key(_REQUEST, request_id))
        if packed is None:
            raise NotFoundError(f"no request '{request_id}' is kept in '{self._server.address}'")
        return unpack(packed)

    def request_ids(self, limit: int | None = 100) -> list[str]:
        """Return the ids of up to ``limit`` kept requests (None: all), latest first."""
        if limit == 0:
            return []
        with self._server.asked() as client:
            found = client.zrevrange(self._server.key(_REQUESTS), 0, -1 if limit is None else limit - 1)
        return [name.decode() for name in found]

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer was shown. Returns how many requests that were."""
        shown = self._server.key(_SHOWN, user_id)
        with self._server.asked() as client:
            names = client.zrange(shown, 0, -1)
            with client.pipeline(transaction=True) as asked:
                for name in names:
                    asked.delete(self._server.key(_REQUEST, name.decode()))
                    asked.zrem(self._server.key(_REQUESTS), name)
                asked.delete(shown)
                return sum(asked.execute()[:-1:2])

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
