"""Viewers' histories on a Redis server that several machines share.

Of each viewer there is a list of events in the order of arrival and a sorted set of their ids. One counter of the
server gives versions: they only grow, and none is given twice. One script adds a whole batch of events in one step.

A history has a longest length. Some events more are kept, so that a version of a while ago still reads as it did; of
one that lies further back too much is gone, and it is refused rather than read in part.
"""

from __future__ import annotations

import json
import math
import uuid
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

import polars as pl

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.core.messages import NO_TIME, ViewerHistory
from foveate.state.base import (
    Erased,
    Export,
    KeptEvent,
    ViewerEvent,
    check_erasable,
    history_of,
    utc_micros,
    viewer_digest,
)
from foveate.state.event_checks import check_events, check_kinds
from foveate.state.redis import erasing, exports
from foveate.state.redis.connection import RedisStore
from foveate.state.redis.schema import ADD, EVENTS, IDS, check_version, upgrade, viewers
from foveate.state.sqlite.event_table import event_rows

_VERSION: Final = "version"
_IMPORTS: Final = "imports"
_CERTIFICATES: Final = "certificates"

_VIEWERS: Final = 64
"""Viewers whose events are copied in one go."""
_LARGEST: Final = 500
"""Events of one script when many are copied: the server does nothing else meanwhile."""


class RedisState(RedisStore):
    """A :class:`~foveate.state.base.ViewerStore` on a Redis server; parameters and errors as its base has them.

    An ``event_id`` is remembered for as long as its event is kept. With ``events_days`` the server drops the list of a
    viewer that many days after its newest event; a new event drops what is older. After the server was away the next
    call finds it again.
    """

    def __init__(self, address: str, *, clock: Callable[[], int] = utc_micros) -> None:
        super().__init__(address, clock=clock)
        self._add = self._server.script(ADD)
        self._checked = False

    def check(self) -> None:
        """See that the server answers; raises StateError where it does not."""
        with self._server.asked() as client:
            client.ping()

    def prepare(self) -> None:
        """Bring what an older Foveate wrote up to date; raises StateError where it cannot be done."""
        upgrade(self._server)
        self._checked = True

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's newest events, oldest first; ``version`` reads them as they were then.

        Raises
        ------
        NotFoundError
            Events that were in that version are gone.
        StateError
            The server cannot be used.
        """
        if version is None:
            return self.histories([user_id])[0]
        self._check()
        with self._server.asked() as client:
            rows = _rows(client.lrange(self._server.key(EVENTS, user_id), 0, -1))
        most = self._server.config.history
        then = [row for row in rows if row[0] <= version]
        # The first event of all has number 1: with it, nothing was dropped.
        if rows and rows[0][1] > 1 and len(then) < most:
            address = f"'{self._server.address}'"
            raise NotFoundError(f"the history of '{user_id}' at version {version} is no longer kept in {address}")
        return _history(user_id, then[-most:])

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' histories of now, asked for in one round trip; raises StateError as above."""
        self._check()
        with self._server.asked() as client, client.pipeline(transaction=False) as asked:
            for user_id in user_ids:
                asked.lrange(self._server.key(EVENTS, user_id), -self._server.config.history, -1)
            found = asked.execute()
        return [_history(user_id, _rows(rows)) for user_id, rows in zip(user_ids, found, strict=True)]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; one whose ``event_id`` the viewer already has is ignored. Returns how many were new.

        Raises
        ------
        RequestError
            An event cannot be what a viewer did; see :func:`foveate.state.event_checks.check_events`.
        StateError
            The server cannot be used.
        """
        now = self._clock()
        check_events(events, now)
        seconds = self._server.config.events_seconds
        return self._added([KeptEvent(event, 0, now) for event in events], now - seconds * 1_000_000 if seconds else 0)

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store; returns how many were new. It may be done again where it broke off.

        An event keeps its version where that is above all that the viewer has here, and else gets a new one.
        """
        check_kinds([one.event for one in events])
        upgrade(self._server)
        return sum(self._added(part) for part in in_parts(events, _LARGEST))

    def move_export(self, name: str, version: int) -> None:
        """Say that an export has read all events up to a version: newer ones are not dropped before it has them."""
        exports.move_events(self._server, name, version)

    def register_export(self, export: Export) -> None:
        """Keep that there is an export."""
        exports.register_export(self._server, export)

    def exports(self) -> list[Export]:
        """Return the exports, by name."""
        return exports.exports(self._server)

    def drop_export(self, name: str) -> None:
        """Forget an export; raises NotFoundError where there is none of that name."""
        exports.drop_export(self._server, name)

    def store_id(self) -> str:
        """Return what names the content of this server."""
        return erasing.store_id(self._server)

    def secret(self) -> bytes:
        """Return the server's own secret."""
        return erasing.secret_of(self._server)

    def since(self, version: int, until: int) -> Iterator[Sequence[KeptEvent]]:
        """Yield the events above a version up to another one, some viewers at a time."""
        for part in in_parts(viewers(self._server), _VIEWERS):
            with self._server.asked() as client, client.pipeline(transaction=False) as asked:
                for user_id in part:
                    asked.lindex(self._server.key(EVENTS, user_id), -1)
                newest = asked.execute()
            # One who was erased just now has none.
            changed = [user for user, row in zip(part, newest, strict=True) if row and _rows([row])[0][0] > version]
            found = [one for one in self._kept(changed) if version < one.version <= until] if changed else []
            if found:
                yield found

    def holds(self, events: Sequence[KeptEvent]) -> int:
        """Return how many of these events are here, by viewer and id."""
        with self._server.asked() as client, client.pipeline(transaction=False) as asked:
            for one in events:
                asked.zscore(self._server.key(IDS, one.event.user_id), _bytes(one.event.event_id or ""))
            return sum(score is not None for score in asked.execute())

    def version(self) -> int:
        """Return the newest version that was given, 0 before there is one."""
        with self._server.asked() as client:
            return int(client.get(self._server.key(_VERSION)) or 0)

    def import_events(self, events: pl.DataFrame | pl.LazyFrame, source: str = "") -> int:
        """Add a table of events, of each viewer the newest that a history holds. Returns how many were new.

        Parameters
        ----------
        events, source
            As :func:`foveate.state.sqlite.event_table.event_rows` takes them.

        Raises
        ------
        SchemaError
            A needed column is missing.
        StateError
            The server cannot be used; the import is done again.
        """
        now, config = self._clock(), self._server.config
        # One more than is kept: so the store remembers that there were older ones.
        rows = event_rows(events, source, config.most + 1)
        found = (KeptEvent(ViewerEvent(*row), 0, now) for row in rows.iter_rows())
        return sum(self.keep(self._later(part)) for part in in_parts(found, _LARGEST))

    def imports(self) -> dict[str, int]:
        """Return the logs that were imported, by their hashes, each with how many of its events were new."""
        with self._server.asked() as client:
            found = client.hgetall(self._server.key(_IMPORTS))
        return {_text(name): int(events) for name, events in found.items()}

    def remember_import(self, content_hash: str, events: int) -> None:
        """Keep that a log was imported, with how many of its events were new; one that is known stays as it is."""
        with self._server.asked() as client:
            client.hsetnx(self._server.key(_IMPORTS), content_hash, events)

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event, some viewers at a time."""
        for part in in_parts(viewers(self._server), _VIEWERS):
            yield self._kept(part)

    def _kept(self, user_ids: Sequence[str]) -> list[KeptEvent]:
        """Return all events of some viewers."""
        with self._server.asked() as client, client.pipeline(transaction=True) as asked:
            for user_id in user_ids:
                asked.lrange(self._server.key(EVENTS, user_id), 0, -1)
                asked.zrange(self._server.key(IDS, user_id), 0, -1, withscores=True)
            found = asked.execute()
        return [
            one
            for user_id, rows, ids in zip(user_ids, found[::2], found[1::2], strict=True)
            for one in _kept(user_id, _rows(rows), {int(version): name for name, version in ids})
        ]

    def erase(self, user_id: str) -> Erased:
        """Erase a viewer from the server, impressions included; :meth:`wipe` has its files written anew.

        Raises
        ------
        RequestError
            The id is empty.
        StateError
            The server cannot be used.
        """
        check_erasable(user_id)
        self._check()
        return erasing.erase(self._server, user_id, self._clock())

    def pending(self, export: str) -> list[tuple[str, str]]:
        """Return the erasures that an export has not followed, each with its viewer's id."""
        return exports.pending(self._server, export)

    def followed(self, erasure_id: str, export: str) -> None:
        """Say that an export has followed an erasure."""
        exports.followed(self._server, erasure_id, export)

    def wipe(self) -> str:
        """Have the server write its files anew without what was erased; returns when it will have, else nothing."""
        return erasing.wipe(self._server)

    def keep_certificate(self, erasure_id: str, certificate: str) -> None:
        """Keep what came of an erasure."""
        with self._server.asked() as client:
            client.hset(self._server.key(_CERTIFICATES), erasure_id, certificate)

    def certificates(self) -> dict[str, str]:
        """Return the certificates by the ids of erasures."""
        with self._server.asked() as client:
            found = client.hgetall(self._server.key(_CERTIFICATES))
        return {_text(name): _text(content) for name, content in found.items()}

    def users(self, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` viewers, in the order of their ids; which ones, the server chooses."""
        found: set[str] = set()
        for user_id in viewers(self._server):
            if len(found) == limit:
                break
            found.add(user_id)
        return sorted(found)

    def _later(self, events: Sequence[KeptEvent]) -> list[KeptEvent]:
        """Leave out what is older than what was dropped of its viewer: it was here before, or would be dropped."""
        users = list(dict.fromkeys(one.event.user_id for one in events))
        erased = self._erased(users)
        with self._server.asked() as client, client.pipeline(transaction=False) as asked:
            for user_id in users:
                asked.lindex(self._server.key(EVENTS, user_id), 0)
            firsts = dict(zip(users, asked.execute(), strict=True))
        since = {user_id: _dropped_until(row) for user_id, row in firsts.items() if row is not None}
        return [
            one
            for one in events
            if (one.event.occurred_at or 0) > erased.get(one.event.user_id, -1)
            and (
                one.event.occurred_at is None
                or one.event.occurred_at >= since.get(one.event.user_id, one.event.occurred_at)
            )
        ]

    def _erased(self, user_ids: Sequence[str]) -> dict[str, int]:
        """Return when those of these viewers who were erased were."""
        secret = erasing.secret_of(self._server)
        with self._server.asked() as client:
            moments = client.hmget(self._server.key(erasing.TOMBSTONES), [viewer_digest(secret, u) for u in user_ids])
        return {user: int(at) for user, at in zip(user_ids, moments, strict=True) if at is not None}

    def _check(self) -> None:
        """Refuse once what a newer Foveate wrote."""
        if not self._checked:
            check_version(self._server)
            self._checked = True

    def _added(self, events: Sequence[KeptEvent], before: int = 0) -> int:
        """Add events; of their viewers, drop what was received before a moment (UTC microseconds)."""
        offsets: dict[str, int] = {}
        config = self._server.config
        until = math.ceil(self._clock() / 1_000_000) + config.events_seconds if config.events_seconds else 0
        asked: list[Any] = [config.most, before, until]
        self._check()
        secret = erasing.secret_of(self._server)
        for one in events:
            event = one.event
            place = offsets.setdefault(event.user_id, len(offsets) + 1)
            asked += [place, _bytes(event.event_id or uuid.uuid4().hex), one.version, _rest(event, one.received_at)]
            asked += [viewer_digest(secret, event.user_id), one.received_at]
        keys = [self._server.key(name) for name in (_VERSION, exports.EVENTS_READ, erasing.TOMBSTONES)]
        keys += [self._server.key(name, user_id) for user_id in offsets for name in (EVENTS, IDS)]
        with self._server.asked() as client:
            return int(self._add(keys=keys, args=asked, client=client)) if events else 0


def _rows(raw: Sequence[bytes]) -> list[list[Any]]:
    rows: list[list[Any]] = json.loads(b"[" + b",".join(raw) + b"]")
    return rows


def _history(user_id: str, rows: Sequence[Sequence[Any]]) -> ViewerHistory:
    return history_of(user_id, [(row[0], *row[2:6]) for row in rows])


def _dropped_until(first: bytes) -> int:
    """Return the time of a viewer's first event where older ones were dropped, else a time before all."""
    _, number, _, _, _, occurred_at, *_ = json.loads(first)
    return int(occurred_at) if number > 1 and occurred_at is not None else NO_TIME


def _rest(event: ViewerEvent, received_at: int) -> str:
    """Return a row without what the server puts before it."""
    fields = [event.item_id, event.kind, event.value, event.occurred_at, received_at, event.impression_id, event.text]
    if event.request_id is not None:
        fields.append(event.request_id)
    return json.dumps(fields, separators=(",", ":"))[1:]


def _kept(user_id: str, rows: Sequence[Sequence[Any]], ids: dict[int, bytes]) -> Iterator[KeptEvent]:
    for version, _, item_id, kind, value, occurred_at, received_at, impression_id, text, *request in rows:
        fields = (item_id, kind, value, occurred_at, _text(ids[version]), impression_id, text, *request)
        yield KeptEvent(ViewerEvent(user_id, *fields), version, received_at)


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogatepass")


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogatepass")
