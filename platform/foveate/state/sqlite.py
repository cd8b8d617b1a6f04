"""What viewers have done, in one SQLite file.

The row number of an event is its version: it only grows, so the history up to a version never changes, late arrivals
included.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl

from foveate.data.schema import ITEM_ID, KIND, OCCURRED_AT, ORDER, USER_ID, VALUE
from foveate.errors import SchemaError
from foveate.messages import ViewerHistory
from foveate.state.base import KeptEvent, ViewerEvent, check_kinds, utc_micros
from foveate.state.database import EVENT_INDEXES, Database
from foveate.state.history import history_of

_INSERT = (
    "INSERT OR IGNORE INTO events"
    " (event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, received_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"
)
_KEEP = (
    "INSERT OR IGNORE INTO events"
    " (seq, event_id, impression_id, user_id, item_id, kind, value, text, occurred_at, received_at)"
    " SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10"
    " WHERE NOT EXISTS (SELECT 1 FROM events WHERE user_id = ?4 AND seq > ?1)"
)
_PAGE = 5_000
_IMPORTED = ("event_id", "impression_id", USER_ID, ITEM_ID, KIND, VALUE, "text", OCCURRED_AT)
_LATEST = (1 << 63) - 1


class SqliteState:
    """A :class:`~foveate.state.base.ViewerState` kept in one file that several processes may share.

    Parameters
    ----------
    path
        The file, made if it is absent and ``create`` is set.
    clock
        Gives ``received_at``, UTC microseconds.

    Raises
    ------
    StateError
        The file cannot be used.
    """

    def __init__(self, path: Path, *, create: bool = True, clock: Callable[[], int] = utc_micros) -> None:
        self._database = Database(path, create=create)
        self._clock = clock

    def __enter__(self) -> SqliteState:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's events, oldest first; ``version`` reads them as they were then.

        An event with a time stands at its time; one without stands where it arrived.
        """
        rows = self._database.rows(
            "SELECT seq, item_id, kind, value, occurred_at FROM events WHERE user_id = ? AND seq <= ? ORDER BY seq",
            (user_id, _LATEST if version is None else version),
        )
        return history_of(user_id, rows)

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' histories of now."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Add events, all or none; one whose ``event_id`` is already held is ignored. Returns how many were new.

        Raises
        ------
        RequestError
            A kind is not one of :data:`foveate.data.schema.EVENT_KINDS`.
        """
        check_kinds(events)
        now = self._clock()
        return self._insert(_row(event, now) for event in events)

    def import_events(self, events: pl.DataFrame | pl.LazyFrame) -> int:
        """Add a whole table of events, in the order of each viewer. Returns how many were new.

        Parameters
        ----------
        events
            Columns of :data:`foveate.data.schema.EVENTS`; ``user_id``, ``item_id``, ``kind`` and ``order`` must be
            there. A row without ``event_id`` gets one made of its viewer and its order, so that a second import adds
            nothing.

        Raises
        ------
        SchemaError
            A needed column is missing.
        """
        lazy = events.lazy()
        columns = lazy.collect_schema().names()
        missing = [name for name in (USER_ID, ITEM_ID, KIND, ORDER) if name not in columns]
        if missing:
            raise SchemaError("events", [f"column '{name}' is missing" for name in missing])
        absent = [pl.lit(None).alias(name) for name in _IMPORTED if name not in columns]
        own_id = pl.concat_str(pl.col(USER_ID), pl.lit("#"), pl.col(ORDER).cast(pl.String))
        frame = (
            lazy.with_columns(absent)
            .sort(USER_ID, ORDER)
            .select(
                pl.coalesce(pl.col("event_id").cast(pl.String), own_id),
                pl.col("impression_id").cast(pl.String),
                USER_ID,
                ITEM_ID,
                pl.col(KIND).cast(pl.String),
                pl.col(VALUE).cast(pl.Float64).fill_null(1.0),
                pl.col("text").cast(pl.String),
                pl.col(OCCURRED_AT).dt.timestamp("us") if OCCURRED_AT in columns else pl.lit(None).alias(OCCURRED_AT),
                pl.lit(self._clock()).alias("received_at"),
            )
        )
        rows = frame.unique("event_id", keep="first", maintain_order=True).collect()
        return self._insert(rows.iter_rows(), bulk=True)

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer did. Returns how many events that were."""
        return self._database.erase(["DELETE FROM events WHERE user_id = ?"], user_id)

    def users(self, limit: int) -> list[str]:
        """Return the ids of up to ``limit`` viewers, in the order of their ids."""
        rows = self._database.rows("SELECT DISTINCT user_id FROM events ORDER BY user_id LIMIT ?", (limit,))
        return [row[0] for row in rows]

    def kept(self) -> Iterator[Sequence[KeptEvent]]:
        """Yield every event, page by page, in the order of arrival."""
        sql = (
            "SELECT seq, received_at, user_id, item_id, kind, value, occurred_at, event_id, impression_id, text"
            " FROM events WHERE seq > ? ORDER BY seq LIMIT ?"
        )
        last = 0
        while rows := self._database.rows(sql, (last, _PAGE)):
            yield [KeptEvent(ViewerEvent(*event), seq, received_at) for seq, received_at, *event in rows]
            last = rows[-1][0]

    def keep(self, events: Sequence[KeptEvent]) -> int:
        """Add events of another store, all or none. Returns how many were new.

        An event keeps its version where nobody has it and it is above all that its viewer has, and else gets a new one.
        """
        check_kinds([one.event for one in events])
        rows = [(one.version, *_row(one.event, one.received_at)) for one in events]
        with self._database.write() as connection:
            before = connection.total_changes
            for row in rows:
                # What is not taken as it was is there already, or stands behind newer events.
                if not connection.execute(_KEEP, row).rowcount:
                    connection.execute(_INSERT, row[1:])
            return connection.total_changes - before

    def _insert(self, rows: Iterator[tuple[Any, ...]], *, bulk: bool = False) -> int:
        with self._database.write() as connection:
            # Into an empty table it is faster to build the indexes once, after the rows.
            bulk = bulk and connection.execute("SELECT 1 FROM events LIMIT 1").fetchone() is None
            for name in EVENT_INDEXES if bulk else ():
                connection.execute(f"DROP INDEX {name}")
            before = connection.total_changes
            connection.executemany(_INSERT, rows)
            added = connection.total_changes - before
            for statement in EVENT_INDEXES.values() if bulk else ():
                connection.execute(statement)
            return added


def _row(event: ViewerEvent, received_at: int) -> tuple[Any, ...]:
    return (
        event.event_id or uuid.uuid4().hex,
        event.impression_id,
        event.user_id,
        event.item_id,
        event.kind,
        event.value,
        event.text,
        event.occurred_at,
        received_at,
    )
