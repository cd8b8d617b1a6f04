"""Erasing a viewer from a Redis server, in one step, and having its files hold nothing of them either."""

from __future__ import annotations

import json
import secrets
import time
import uuid
from typing import Any, Final

import redis

from foveate.state.base import Erased, request_of, viewer_digest
from foveate.state.record import unpack
from foveate.state.redis.connection import Server
from foveate.state.redis.exports import PLACES, REQUEST, REQUESTS, SHOWN, note_pending
from foveate.state.redis.schema import EVENTS, IDS

TOMBSTONES: Final = "tombstones"
"""A hash of the moments of erasures, by the keyed digests of viewers; see :mod:`foveate.state.base`."""
_STORE: Final = "store"
"""A hash of the store's own id and secret."""
_REWRITE_S: Final = 5.0
"""Seconds that are waited for the server's files to be written anew."""
_UNDER_WAY: Final = ("aof_rewrite_in_progress", "aof_rewrite_scheduled", "rdb_bgsave_in_progress")
_OCCURRED, _RECEIVED, _IMPRESSION, _REQUEST = 5, 6, 7, 9
"""Places in a row of the list of events."""


def erase(server: Server, user_id: str, now: int) -> Erased:
    """Erase a viewer; see :meth:`foveate.state.base.ViewerStore.erase`."""
    erasure_id = uuid.uuid4().hex
    digest = viewer_digest(secret_of(server), user_id)
    events, ids, shown = (server.key(name, user_id) for name in (EVENTS, IDS, SHOWN))
    with server.asked() as client, client.pipeline(transaction=True) as asked:
        while True:
            try:
                # What comes in between would be missed: then it is read again.
                asked.watch(events, shown, server.key(PLACES))
                rows = json.loads(b"[" + b",".join(asked.lrange(events, 0, -1)) + b"]")
                kept = asked.zrange(shown, 0, -1, withscores=True)
                sessions = _sessions(server, asked, rows)
                known = [export.decode() for export in asked.hkeys(server.key(PLACES))]
                names = [name.decode() for name, _ in kept] + sessions
                asked.multi()
                asked.delete(*(server.key(REQUEST, name) for name in names), events)
                asked.delete(events, ids, shown)
                if names:
                    asked.zrem(server.key(REQUESTS), *names)
                if sessions:
                    asked.zrem(server.key(SHOWN, ""), *sessions)
                asked.hset(server.key(TOMBSTONES), digest, now)
                note_pending(server, asked, known, erasure_id, user_id)
                answered = asked.execute()
                break
            except redis.WatchError:
                continue
    gone = int(answered[0]) - bool(rows)
    moments = [row[_RECEIVED] if row[_OCCURRED] is None else row[_OCCURRED] for row in rows]
    moments += [int(score) for _, score in kept]
    return Erased(erasure_id, len(rows), gone, len(sessions), min(moments, default=None))


def wipe(server: Server) -> str:
    """Have the server write its files anew; see :meth:`foveate.state.base.ViewerStore.wipe`."""
    with server.asked() as client:
        try:
            return _rewritten(client)
        except redis.ResponseError as error:
            # It may not be ours to ask for, or one is under way that began before the erasure.
            return (
                "the server's files keep the bytes until they are written anew, which it refused to do now"
                f" ({error}): run BGREWRITEAOF and BGSAVE there, or erase again"
            )


def secret_of(server: Server) -> bytes:
    """Return the server's own secret, made where there is none."""
    return bytes.fromhex(_own(server, "secret", secrets.token_hex(32)))


def store_id(server: Server) -> str:
    """Return what names the content of this server, made where it has no name."""
    return _own(server, "id", uuid.uuid4().hex)


def _own(server: Server, name: str, made: str) -> str:
    if name not in server.known:
        key = server.key(_STORE)
        with server.asked() as client, client.pipeline(transaction=True) as asked:
            asked.hsetnx(key, name, made)
            asked.hget(key, name)
            server.known[name] = asked.execute()[1].decode()
    return server.known[name]


def _sessions(server: Server, client: Any, rows: list[list[Any]]) -> list[str]:
    """Return the anonymous requests that events name."""
    named = {request_of(row[_IMPRESSION]) for row in rows if row[_IMPRESSION]}
    named |= {row[_REQUEST] for row in rows if len(row) > _REQUEST}
    names = sorted(named)
    packed = client.mget([server.key(REQUEST, name) for name in names]) if names else []
    return [name for name, one in zip(names, packed, strict=True) if one and not unpack(one).slate.user_id]


def _rewritten(client: Any) -> str:
    with_log = bool(client.info("persistence").get("aof_enabled"))
    snapshots = bool(client.config_get("save").get("save"))
    until = time.monotonic() + _REWRITE_S
    for wanted, start in ((with_log, client.bgrewriteaof), (snapshots, client.bgsave)):
        if not wanted:
            continue
        start()
        while any(client.info("persistence").get(name) for name in _UNDER_WAY):
            if time.monotonic() > until:
                return "the server is writing its files anew: they hold the bytes until it has done so"
            time.sleep(0.02)
    return ""
