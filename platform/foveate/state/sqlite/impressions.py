"""Impressions with the features that were used, in the same SQLite file as the viewers' events."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from foveate.core.errors import NotFoundError
from foveate.state.base import KeptRequest, ServedRequest, asked_at
from foveate.state.record import pack, unpack
from foveate.state.sqlite.base import SqliteStore
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.erasing import not_erased
from foveate.state.sqlite.retention import Retention, move_export

_PAGE: Final = 500
"""Requests that are read at once."""
_INSERT: Final = (
    "INSERT INTO requests (request_id, user_id, kept_at, record) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (request_id) DO NOTHING"
)
_DROP: Final = (
    "DELETE FROM requests WHERE seq IN"
    " (SELECT seq FROM requests WHERE kept_at < ? AND seq <= ? ORDER BY kept_at LIMIT ?)"
)


class SqliteImpressions(SqliteStore):
    """An :class:`~foveate.state.base.ImpressionSink` kept in a file; parameters and errors as its base has them.

    Beside the slates it remembers in which folder each bundle lay when it was served, so that a replay finds it. What
    is written survives the process, not a power cut: no viewer was told that it is kept.
    """

    def _adapted(self, config: FileConfig) -> FileConfig:
        return replace(config, synchronous="normal")

    def _retention(self) -> Retention:
        days = self._database.config.impressions_days
        return Retention(self._database, days, _drop_old, "requests", self._clock)

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Keep served slates, all or none; one that is already kept stays as it is.

        Raises
        ------
        StateError
            The file cannot be used, or was not free in time.
        """
        now = self._clock()
        rows = [(one, (one.slate.request_id, one.slate.user_id, now, pack(one))) for one in served]

        def insert(connection: sqlite3.Connection) -> None:
            kept = not_erased(
                connection, rows, lambda row: row[0].slate.user_id, lambda row, at: asked_at(row[0]) <= at
            )
            connection.executemany(_INSERT, [values for _, values in kept])

        self._writer.run(insert)

    def read(self, request_id: str) -> ServedRequest:
        """Return one served request.

        Raises
        ------
        NotFoundError
            No request of that id was kept, or it was dropped since.
        StateError
            The file cannot be used, or the record is of a newer Foveate.
        """
        found = self._database.rows("SELECT record FROM requests WHERE request_id = ?", (request_id,))
        if not found:
            raise NotFoundError(f"no request '{request_id}' is kept in '{self._database.path}'")
        return unpack(found[0][0])

    def request_ids(self, limit: int | None = 100) -> list[str]:
        """Return the ids of up to ``limit`` kept requests (None: all), latest first."""
        sql = "SELECT request_id FROM requests ORDER BY seq DESC LIMIT ?"
        return [row[0] for row in self._database.rows(sql, (-1 if limit is None else limit,))]

    def since(self, sequence: int) -> Iterator[Sequence[KeptRequest]]:
        """Yield the requests above a row number, in the order of their rows."""
        sql = "SELECT record, seq, kept_at FROM requests WHERE seq > ? ORDER BY seq LIMIT ?"
        while rows := self._database.rows(sql, (sequence, _PAGE)):
            yield [KeptRequest(unpack(record), *row) for record, *row in rows]
            sequence = rows[-1][1]

    def shown_to(self, user_id: str) -> list[KeptRequest]:
        """Return all that is kept of what a viewer was shown, oldest first."""
        sql = "SELECT record, seq, kept_at FROM requests WHERE user_id = ? ORDER BY seq"
        return [KeptRequest(unpack(record), *row) for record, *row in self._database.rows(sql, (user_id,))]

    def move_export(self, name: str, sequence: int) -> None:
        """Say that an export has read all requests up to a row: later ones are not dropped before it has them."""
        move_export(self._database, name, "requests", sequence)

    def remember_bundle(self, bundle_id: str, path: Path) -> None:
        """Keep where a bundle lies; the latest place counts."""
        with self._database.write() as connection:
            connection.execute("INSERT OR REPLACE INTO bundles VALUES (?, ?)", (bundle_id, str(path.resolve())))

    def bundle_path(self, bundle_id: str) -> Path:
        """Return where a bundle lay when it was last served.

        Raises
        ------
        NotFoundError
            The bundle was never served from this file.
        """
        found = self._database.rows("SELECT path FROM bundles WHERE bundle_id = ?", (bundle_id,))
        if not found:
            raise NotFoundError(f"'{self._database.path}' does not know where bundle '{bundle_id}' lies: name it")
        return Path(found[0][0])

    def bundles(self) -> dict[str, Path]:
        """Return every bundle's place by its id."""
        return {name: Path(path) for name, path in self._database.rows("SELECT bundle_id, path FROM bundles")}


def _drop_old(connection: sqlite3.Connection, before: int, read: int, most: int) -> int:
    """Drop requests kept before a moment; see :class:`foveate.state.sqlite.retention.Retention`."""
    return connection.execute(_DROP, (before, read, most)).rowcount
