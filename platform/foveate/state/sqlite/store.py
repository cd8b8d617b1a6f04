"""Viewers' histories in one SQLite file.

The row number of an event is its version: it only grows, so the history up to a version never changes, late arrivals
included.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import polars as pl

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.core.messages import ViewerHistory
from foveate.state.base import Erased, Export, KeptEvent, ViewerEvent
from foveate.state.erasure import check_erasable
from foveate.state.event_checks import check_events, check_kinds
from foveate.state.history import history_of
from foveate.state.sqlite import erasing
from foveate.state.sqlite.base import SqliteStore
from foveate.state.sqlite.event_table import event_rows
from foveate.state.sqlite.events import INSERTED, drop_old, fill, insert, keep, not_dropped, row_of
from foveate.state.sqlite.exports import drop_export, exports, move_export, register_export
from foveate.state.sqlite.retention import Retention

_READ = (
    "SELECT seq, item_id, kind, value, occurred_at FROM events WHERE user_id = ? AND seq <= ? ORDER BY seq DESC LIMIT ?"
)
_HOLDS = (
    "SELECT count(*) FROM (VALUES {}) AS asked JOIN events"
    " ON events.user_id = asked.column1 AND events.event_id = asked.column2"
)
_NAMED = 500
"""Events that one statement asks for."""
_PAGE = 5_000
"""Events of one transaction where many are read or written: those who serve wait for no more."""
_LATEST = (1 << 63) - 1
_KEPT = (
    "SELECT seq, received_at, user_id, item_id, kind, value, occurred_at, event_id, impression_id, text, request_id"
    " FROM events WHERE seq > ? AND seq <= ? ORDER BY seq LIMIT ?"
)
_EMPTY = "SELECT NOT EXISTS (SELECT 1 FROM events) AND NOT EXISTS (SELECT 1 FROM tombstones)"


class SqliteState(SqliteStore):
    """A :class:`~foveate.state.base.ViewerState` kept in a file; parameters and errors as its base has them."""

    def _retention(self) -> Retention:
        return Retention(self._database, self._database.config.events_days, drop_old, "events", self._clock)

    def prepare(self) -> None:
        """Do nothing: a file was brought up to date when it was opened."""

    def check(self) -> None:
        """See that the file can be used, and is the one that was opened; raises StateError where it is not."""
        self._database.check()

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's newest events, oldest first; ``version`` reads them as they were then.

        An event with a time stands at its time; one without stands where it arrived.

        Raises
        ------
        NotFoundError
            Events that were in that version were dropped.
        StateError
            The file cannot be used.
        """
        rows = self._database.rows(
            _READ, (user_id, _LATEST if version is None else version, self._database.config.history)
        )
        short = version is not None and len(rows) < self._database.config.history
        if short and self._database.rows("SELECT 1 FROM viewers WHERE user_id = ?", (user_id,)):
            path = f"'{self._database.path}'"
            raise NotFoundError(f"the history of '{user_id}' at version {version} is no longer kept in {path}")
        return history_of(user_id, rows[::-1])

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' histories of now."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; one whose ``event_id`` the viewer already has is ignored. Returns how many were new.

        With ``synchronous=full`` they are on the disk when this returns. Events of other threads may go in the same
        transaction.

        Raises
        ------
        RequestError
            An event cannot be what a viewer did; see :func:`foveate.state.event_checks.check_events`.
        StateError
            The file cannot be used, or was not free for ``write_timeout_s``: nothing was kept, unless the message says
            that this is not known.
        """
        now = self._clock()
        check_events(events, now)
        rows = [row_of(event, now) for event in events]
        return self._writer.run(lambda connection: insert(connection, rows, self._database.config.most)) if rows else 0

    def import_events(self, events: pl.DataFrame | pl.LazyFrame, source: str = "") -> int:
        """Add a table of events, of each viewer the newest that a history holds. Returns how many were new.

        Into an empty file all of them go in one transaction; into one that serves, in many.

        Parameters
        ----------
        events, source
            As :func:`foveate.state.sqlite.event_table.event_rows` takes them.

        Raises
        ------
        SchemaError
            A needed column is missing.
        """
        # One more than is kept: so the store remembers that there were older ones.
        frame = event_rows(events, source, self._database.config.most + 1)
        rows = frame.select(*INSERTED, pl.lit(self._clock()).alias("received_at")).iter_rows()
        with self._database.write() as connection:
            if connection.execute(_EMPTY).fetchone()[0]:
                return fill(connection, rows, self._database.config.most)
        return sum(self._imported(part) for part in in_parts(rows, _PAGE))

    def imports(self) -> dict[str, int]:
        """Return the logs that were imported, by their hashes, each with how many of its events were new."""
        return dict(self._database.rows("SELECT content_hash, events FROM imports"))

    def remember_import(self, content_hash: str, events: int) -> None:
        """Keep that a log was imported, with how many of its events were new; one that is known stays as it is."""
        with self._database.write() as connection:
            connection.execute("INSERT OR IGNORE INTO imports VALUES (?, ?, ?)", (content_hash, events, self._clock()))

    def erase(self, user_id: str) -> Erased:
        """Erase a viewer from the file, impressions included; :meth:`wipe` cuts its log back, which has the bytes too.

        Raises
        ------
        RequestError
            The id is empty.
        StateError
            The file cannot be used: nothing is erased.
        """
        check_erasable(user_id)
        return erasing.erase(self._database, user_id, self._clock())

    def wipe(self) -> str:
        """Wipe what was erased, unless somebody reads from the file's log; returns when it will be, else nothing."""
        return erasing.wipe(self._database)

    def pending(self, export: str) -> list[tuple[str, str]]:
        """Return the erasures that an export has not followed, each with its viewer's id."""
        return self._database.rows("SELECT erasure_id, user_id FROM erasures WHERE export = ?", (export,))

    def followed(self, erasure_id: str, export: str) -> None:
        """Say that an export has followed an erasure."""
        erasing.followed(self._database, erasure_id, export)

    def keep_certificate(self, erasure_id: str, certificate: str) -> None:
        """Keep what came of an erasure."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO certificates VALUES (?, ?)", (erasure_id, certificate))

    def certificates(self) -> dict[str, str]:
        """Return the certificates by the ids of erasures."""
        return dict(self._database.rows("SELECT erasure_id, content FROM certificates"))

    def users(self, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` viewers, in the order of their ids."""
        rows = self._database.rows("SELECT DISTINCT user_id FROM events ORDER BY user_id LIMIT ?", (limit,))
        return [row[0] for row in rows]

    def version(self) -> int:
        """Return the newest version that was given, 0 before there is one."""
        # The table stands there as soon as one event was ever kept, and outlives it.
        rows = self._database.rows("SELECT seq FROM sqlite_sequence WHERE name = 'events'")
        return int(rows[0][0]) if rows else 0

    def holds(self, events: Sequence[KeptEvent]) -> int:
        """Return how many of these events are here, by viewer and id."""
        found = 0
        for part in in_parts(events, _NAMED):
            names = [name for one in part for name in (one.event.user_id, one.event.event_id)]
            found += self._database.rows(_HOLDS.format(", ".join(["(?, ?)"] * len(part))), names)[0][0]
        return int(found)

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event, page by page, in the order of arrival."""
        return self.since(0, _LATEST)

    def since(self, version: int, until: int) -> Iterator[Sequence[KeptEvent]]:
        """Yield the events above a version up to another one, in the order of arrival."""
        while rows := self._database.rows(_KEPT, (version, until, _PAGE)):
            yield [KeptEvent(ViewerEvent(*event), seq, received_at) for seq, received_at, *event in rows]
            version = rows[-1][0]

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store, all or none. Returns how many were new.

        An event keeps its version where nobody has it and it is above all that its viewer has, and else gets a new one.
        """
        check_kinds([one.event for one in events])
        with self._database.write() as connection:
            return keep(connection, events, self._database.config.most)

    def move_export(self, name: str, version: int) -> None:
        """Say that an export has read all events up to a version: newer ones are not dropped before it has them."""
        move_export(self._database, name, "events", version)

    def register_export(self, export: Export) -> None:
        """Keep that there is an export."""
        register_export(self._database, export)

    def exports(self) -> list[Export]:
        """Return the exports, by name."""
        return exports(self._database)

    def drop_export(self, name: str) -> None:
        """Forget an export; raises NotFoundError where there is none of that name."""
        drop_export(self._database, name)

    def store_id(self) -> str:
        """Return the incarnation of the file's content: a copy has one of its own."""
        return str(self._database.rows("SELECT incarnation FROM store")[0][0])

    def secret(self) -> bytes:
        """Return the file's own secret."""
        return bytes.fromhex(self._database.rows("SELECT secret FROM store")[0][0])

    def _imported(self, rows: Sequence[tuple[Any, ...]]) -> int:
        with self._database.write() as connection:
            return insert(connection, not_dropped(connection, rows), self._database.config.most)
