"""The exports that read a SQLite file: how far each has come, and where it lies."""

from __future__ import annotations

import sqlite3
from typing import Final, Literal

from foveate.core.errors import NotFoundError
from foveate.state.base import Export
from foveate.state.sqlite.database import Database

Reader = Literal["events", "requests"]

_ABOVE_ALL: Final = 1 << 62


def unread(connection: sqlite3.Connection, reader: Reader) -> int:
    """Return the newest row that every export has read; where there is none, a number above all rows."""
    read = connection.execute(f"SELECT min({reader}) FROM exports").fetchone()[0]  # noqa: S608 - one of two names
    return _ABOVE_ALL if read is None else int(read)


def move_export(database: Database, name: str, reader: Reader, row: int) -> None:
    """Say that an export has read all rows up to this one; a new name stands at its beginning in the other table."""
    with database.write() as connection:
        connection.execute("INSERT OR IGNORE INTO exports (name) VALUES (?)", (name,))
        connection.execute(f"UPDATE exports SET {reader} = max({reader}, ?) WHERE name = ?", (row, name))  # noqa: S608


def register_export(database: Database, export: Export) -> None:
    """Keep where an export lies; a new one has read nothing yet."""
    sql = (
        "INSERT INTO exports (name, folder, key_file) VALUES (?, ?, ?)"
        " ON CONFLICT (name) DO UPDATE SET folder = excluded.folder, key_file = excluded.key_file"
    )
    with database.write() as connection:
        connection.execute(sql, (export.name, export.folder, export.key_file))


def exports(database: Database) -> list[Export]:
    """Return the exports, by name."""
    return [Export(*row) for row in database.rows("SELECT name, folder, key_file FROM exports ORDER BY name")]


def drop_export(database: Database, name: str) -> None:
    """Forget an export; raises NotFoundError where there is none of that name."""
    with database.write() as connection:
        if not connection.execute("DELETE FROM exports WHERE name = ?", (name,)).rowcount:
            raise NotFoundError(f"'{database.path}' knows no export '{name}'")
        connection.execute("DELETE FROM erasures WHERE export = ?", (name,))
        connection.execute("UPDATE store SET wipe = 1")
    database.wipe()
