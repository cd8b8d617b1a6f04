"""Catalogue changes on a Redis server, beside the viewers' events."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from foveate.state.base import utc_micros
from foveate.state.items import CatalogItem, KeptItem, check_ids
from foveate.state.redis.connection import RedisStore

_ITEMS: Final = "catalogue"
"""A hash of the items by their ids; each is JSON of its facts, number, version and whether it is withdrawn."""
_CHANGED: Final = "catalogue_changed"
"""A sorted set of the ids, by version."""
_COUNTS: Final = "catalogue_counts"
"""A hash of the newest version and the newest number."""

# The facts come as JSON and are stored as they come: Lua would write an empty list as an object.
_CHANGE: Final = """
local version = redis.call('HINCRBY', KEYS[3], 'version', 1)
for at = 1, #ARGV, 2 do
  local id, facts = ARGV[at], ARGV[at + 1]
  local found = redis.call('HGET', KEYS[1], id)
  local number, own = nil, nil
  if found then number, own = string.match(found, '^%[(%d+),%d+,%a+,(.*)%]$') end
  if not number then number, own = redis.call('HINCRBY', KEYS[3], 'number', 1), '{}' end
  local withdrawn = 'false'
  if facts == '' then withdrawn, facts = 'true', own end
  local named = string.format('%.0f', version)
  local row = table.concat({string.format('%.0f', number), named, withdrawn, facts}, ',')
  redis.call('HSET', KEYS[1], id, '[' .. row .. ']')
  redis.call('ZADD', KEYS[2], named, id)
end
return version
"""


class RedisItems(RedisStore):
    """An :class:`~foveate.state.items.ItemStore` on a Redis server; parameters and errors as its base has them."""

    def __init__(self, address: str, *, clock: Callable[[], int] = utc_micros) -> None:
        super().__init__(address, clock=clock)
        self._change = self._server.script(_CHANGE)

    def put(self, items: Sequence[CatalogItem]) -> int:
        """Add or replace items; see :meth:`foveate.state.items.ItemStore.put`."""
        check_ids([item.item_id for item in items])
        return self._changed([(item.item_id, json.dumps(item.facts(), separators=(",", ":"))) for item in items])

    def withdraw(self, item_ids: Sequence[str]) -> int:
        """Withdraw items; see :meth:`foveate.state.items.ItemStore.withdraw`."""
        check_ids(item_ids)
        return self._changed([(item_id, "") for item_id in item_ids])

    def changes(self, version: int) -> list[KeptItem]:
        """Return the items that changed after a version, in the order of their numbers."""
        with self._server.asked() as client:
            ids = client.zrangebyscore(self._server.key(_CHANGED), f"({version}", "+inf")
            found = client.hmget(self._server.key(_ITEMS), ids) if ids else []
        kept = [_kept(*one) for one in zip(ids, found, strict=True) if one[1] is not None]
        return sorted(kept, key=lambda one: one.number)

    def version(self) -> int:
        """Return the newest version, 0 before there is one."""
        with self._server.asked() as client:
            return int(client.hget(self._server.key(_COUNTS), "version") or 0)

    def _changed(self, rows: Sequence[tuple[str, str]]) -> int:
        if not rows:
            return self.version()
        keys = [self._server.key(name) for name in (_ITEMS, _CHANGED, _COUNTS)]
        args: list[Any] = [part.encode("utf-8", "surrogatepass") for row in rows for part in row]
        with self._server.asked() as client:
            return int(self._change(keys=keys, args=args, client=client))


def _kept(item_id: bytes, packed: bytes) -> KeptItem:
    number, version, withdrawn, facts = json.loads(packed)
    return KeptItem(item_id.decode("utf-8", "surrogatepass"), facts, number, version, withdrawn)
