"""What viewers were shown, with the features that were used, in the same SQLite file as what they did."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from foveate.core.errors import NotFoundError
from foveate.state.base import ServedRequest, utc_micros
from foveate.state.record import pack, unpack
from foveate.state.sqlite.config import FileConfig
from foveate.state.sqlite.database import Database
from foveate.state.sqlite.group_commit import GroupCommit
from foveate.state.sqlite.retention import Retention, move_export

_INSERT: Final = (
    "INSERT INTO requests (request_id, user_id, kept_at, record) VALUES (?, ?, ?, ?)"
    " ON CONFLICT (request_id) DO NOTHING"
)
_DROP: Final = (
    "DELETE FROM requests WHERE seq IN"
    " (SELECT seq FROM requests WHERE kept_at < ? AND seq <= ? ORDER BY kept_at LIMIT ?)"
)


class SqliteImpressions:
    """An :class:`~foveate.state.base.ImpressionSink` kept in one file that several processes may share.

    Beside the slates it remembers in which folder each bundle lay when it was served, so that a replay finds it. What
    is written survives the process, not a power cut: no viewer was told that it is kept.

    Parameters
    ----------
    path
        The file, made if it is absent and ``create`` is set.
    lazy
        Whether a file that cannot be opened now may be opened by a later call.
    config
        For how long records are kept.
    clock
        Says when a request is kept, UTC microseconds.

    Raises
    ------
    StateError
        The file cannot be used.
    """

    def __init__(
        self,
        path: Path,
        *,
        create: bool = True,
        lazy: bool = False,
        config: FileConfig | None = None,
        clock: Callable[[], int] = utc_micros,
    ) -> None:
        config = replace(config or FileConfig(), synchronous="normal")
        self._database = Database(path, create=create, lazy=lazy, config=config)
        self._clock = clock
        retention = Retention(self._database, config.impressions_days, _drop_old, "requests", clock)
        self._writer = GroupCommit(self._database, retention.run)

    def __enter__(self) -> SqliteImpressions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Write what waits, and close the file."""
        self._writer.close()
        self._database.close()

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Keep served slates, all or none; one that is already kept stays as it is.

        Raises
        ------
        StateError
            The file cannot be used, or was not free in time.
        """
        now = self._clock()
        rows = [(one.slate.request_id, one.slate.user_id, now, pack(one)) for one in served]
        self._writer.run(lambda connection: connection.executemany(_INSERT, rows).rowcount)

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

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer was shown. Returns how many requests that were."""
        return self._database.erase(["DELETE FROM requests WHERE user_id = ?"], user_id)

    def move_export(self, name: str, request_id: str) -> None:
        """Say that an export has read all requests up to one: later ones are not dropped before it has them.

        Raises
        ------
        NotFoundError
            No request of that id is kept.
        """
        found = self._database.rows("SELECT seq FROM requests WHERE request_id = ?", (request_id,))
        if not found:
            raise NotFoundError(f"no request '{request_id}' is kept in '{self._database.path}'")
        move_export(self._database, name, "requests", found[0][0])

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


def impression_id(request_id: str, position: int) -> str:
    """Return the id of one place of one slate: what an event names to say which showing it answers."""
    return f"{request_id}:{position}"


def _drop_old(connection: sqlite3.Connection, before: int, read: int, most: int) -> int:
    """Drop requests kept before a moment; see :class:`foveate.state.sqlite.retention.Retention`."""
    return connection.execute(_DROP, (before, read, most)).rowcount
