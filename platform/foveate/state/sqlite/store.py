"""Viewers' histories in one SQLite file.

The row number of an event is its version: it only grows, so the history up to a version never changes, late arrivals
included.
"""

from __future__ import annotations

import sqlite3
import uuid
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeAlias

import polars as pl

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.core.messages import ViewerHistory
from foveate.data.schema import ITEM_ID, KIND, OCCURRED_AT, USER_ID, VALUE
from foveate.state.base import Erased, Export, KeptEvent, ViewerEvent, check_erasable, history_of
from foveate.state.event_checks import check_events, check_kinds
from foveate.state.sqlite import erasing
from foveate.state.sqlite.base import SqliteStore
from foveate.state.sqlite.erasing import not_erased
from foveate.state.sqlite.event_table import event_rows
from foveate.state.sqlite.retention import Retention, drop_export, exports, move_export, register_export, unread
from foveate.state.sqlite.schema import EVENT_INDEXES

INSERTED: Final = ("event_id", "impression_id", USER_ID, ITEM_ID, KIND, VALUE, "text", OCCURRED_AT, "request_id")
"""The first columns of a row, in their order; the last one is ``received_at``."""
Row: TypeAlias = tuple[Any, ...]

_STEP: Final = 100
_USER: Final = INSERTED.index(USER_ID)
_TIME: Final = INSERTED.index(OCCURRED_AT)
_INSERT = (
    "INSERT INTO events"
    " (event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, request_id, received_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (user_id, event_id) DO NOTHING"
)
_KEEP = (
    "INSERT INTO events"
    " (seq, event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, request_id, received_at)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11"
    # An export reads what lies above its cursor: what comes now is to be found there.
    " WHERE ?1 > (SELECT coalesce(max(events), 0) FROM exports)"
    " AND NOT EXISTS (SELECT 1 FROM events WHERE seq = ?1 OR user_id = ?4 AND (seq > ?1 OR event_id = ?2))"
)
_BEYOND = "SELECT seq FROM events WHERE user_id = ? ORDER BY seq DESC LIMIT 1 OFFSET ?"
_LONG = "SELECT user_id FROM events GROUP BY user_id HAVING count(*) > ?"
_LAST = "SELECT max(seq) FROM (SELECT seq FROM events WHERE user_id = ? AND seq <= ? ORDER BY seq LIMIT ?)"
_TRIM = "DELETE FROM events WHERE user_id = ? AND seq <= ?"
_OLDEST = "SELECT seq, user_id, received_at FROM events WHERE seq <= ? ORDER BY seq LIMIT ?"
_GONE = "DELETE FROM viewers WHERE user_id = ?1 AND NOT EXISTS (SELECT 1 FROM events WHERE user_id = ?1)"
_FIRST = (
    "SELECT occurred_at FROM events WHERE user_id = ?1 AND EXISTS (SELECT 1 FROM viewers WHERE user_id = ?1)"
    " ORDER BY seq LIMIT 1"
)
_DROPPED = (
    "INSERT INTO viewers (user_id, dropped) VALUES (?, ?)"
    " ON CONFLICT (user_id) DO UPDATE SET dropped = max(dropped, excluded.dropped)"
)


def insert(connection: sqlite3.Connection, rows: Sequence[Row], most: int) -> int:
    """Add rows that are new to their viewers, who keep about ``most`` events; returns how many were new.

    A history that was much longer, in a file of an older Foveate, is cut step by step: nobody waits for all of it.
    """
    rows = not_erased(connection, rows, _user_of, lambda row, erased_at: row[-1] <= erased_at)
    # Of an empty list SQLite counts no row, and says -1.
    added = connection.executemany(_INSERT, rows).rowcount if rows else 0
    trim(connection, {row[_USER] for row in rows}, most, len(rows) + _STEP)
    return added


def fill(connection: sqlite3.Connection, rows: Iterable[Row], most: int) -> int:
    """Insert rows, all new, into an empty table; returns how many viewers keep of them.

    It is faster to build the indexes once, after the rows.
    """
    for name in EVENT_INDEXES:
        connection.execute(f"DROP INDEX {name}")
    added = connection.executemany(_INSERT.partition(" ON CONFLICT")[0], rows).rowcount
    for statement in EVENT_INDEXES.values():
        connection.execute(statement)
    long = connection.execute(_LONG, (most,)).fetchall()
    return added - trim(connection, [user_id for (user_id,) in long], most)


def keep(connection: sqlite3.Connection, events: Sequence[KeptEvent], most: int) -> int:
    """Add events of another store, whose versions stay where they can; returns how many were new."""
    added = 0
    events = not_erased(connection, events, lambda one: one.event.user_id, lambda one, at: one.received_at <= at)
    for one in events:
        row = row_of(one.event, one.received_at)
        # What is not taken as it was is there already, or stands behind newer events.
        added += connection.execute(_KEEP, (one.version, *row)).rowcount or connection.execute(_INSERT, row).rowcount
    trim(connection, {one.event.user_id for one in events}, most)
    return added


def not_dropped(connection: sqlite3.Connection, rows: Sequence[Row]) -> list[Row]:
    """Leave out what is of before a viewer's erasure, or older than what was dropped of its viewer.

    That was here before, or would be dropped at once.
    """
    # A log tells of what was done before an erasure, whenever it arrives.
    rows = not_erased(connection, rows, _user_of, lambda row, erased_at: (row[_TIME] or 0) <= erased_at)
    first: dict[str, int | None] = {}
    for user_id in {row[_USER] for row in rows}:
        first.update((user_id, time) for (time,) in connection.execute(_FIRST, (user_id,)))
    return [row for row in rows if not _is_older(row[_TIME], first.get(row[_USER]))]


def trim(connection: sqlite3.Connection, user_ids: Iterable[str], most: int, at_once: int = -1) -> int:
    """Drop what viewers have beyond ``most`` events, unless an export has not read it; returns how many events.

    Parameters
    ----------
    at_once
        How many events of a viewer may be dropped now, the oldest; -1 for all.
    """
    read, dropped = unread(connection, "events"), 0
    for user_id in user_ids:
        beyond = connection.execute(_BEYOND, (user_id, most)).fetchone()
        if beyond is None:
            continue
        last = connection.execute(_LAST, (user_id, min(beyond[0], read), at_once)).fetchone()[0]
        if last is not None:
            dropped += connection.execute(_TRIM, (user_id, last)).rowcount
            connection.execute(_DROPPED, (user_id, last))
    return dropped


def drop_old(connection: sqlite3.Connection, before: int, read: int, most: int) -> int:
    """Drop events that arrived before a moment; see :class:`foveate.state.sqlite.retention.Retention`."""
    rows = connection.execute(_OLDEST, (read, most)).fetchall()
    old = [(user_id, seq) for seq, user_id, received_at in rows if received_at < before]
    connection.executemany("DELETE FROM events WHERE seq = ?", [(seq,) for _, seq in old])
    connection.executemany(_DROPPED, old)
    # Of a viewer who has no events left nothing is left at all.
    connection.executemany(_GONE, [(user_id,) for user_id in {user_id for user_id, _ in old}])
    return len(old)


def row_of(event: ViewerEvent, received_at: int) -> Row:
    """Return the row of an event, with an id of its own where it has none."""
    return (
        event.event_id or uuid.uuid4().hex,
        event.impression_id,
        event.user_id,
        event.item_id,
        event.kind,
        event.value,
        event.text,
        event.occurred_at,
        event.request_id,
        received_at,
    )


def _user_of(row: Row) -> str:
    return str(row[_USER])


def _is_older(time: int | None, first: int | None) -> bool:
    return time is not None and first is not None and time < first


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
