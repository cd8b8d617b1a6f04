"""Catalogue changes, in the same SQLite file as the viewers' events."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Final

from foveate.state.items import CatalogItem, KeptItem, check_ids
from foveate.state.sqlite.base import SqliteStore
from foveate.state.sqlite.retention import Retention

_PUT: Final = (
    "INSERT INTO items (item_id, facts, withdrawn, version, changed_at) VALUES (?, ?, 0, ?, ?)"
    " ON CONFLICT (item_id) DO UPDATE"
    " SET facts = excluded.facts, withdrawn = 0, version = excluded.version, changed_at = excluded.changed_at"
)
_WITHDRAW: Final = (
    "INSERT INTO items (item_id, facts, withdrawn, version, changed_at) VALUES (?, '{}', 1, ?, ?)"
    " ON CONFLICT (item_id) DO UPDATE"
    " SET withdrawn = 1, version = excluded.version, changed_at = excluded.changed_at"
)
_VERSION: Final = "SELECT coalesce(max(version), 0) FROM items"


class SqliteItems(SqliteStore):
    """An :class:`~foveate.state.items.ItemStore` kept in a file; parameters and errors as its base has them."""

    def _retention(self) -> Retention:
        # Numbers are for good: what was put stays.
        return Retention(self._database, 0.0, _keep_all, "events", self._clock)

    def put(self, items: Sequence[CatalogItem]) -> int:
        """Add or replace items; see :meth:`foveate.state.items.ItemStore.put`."""
        check_ids([item.item_id for item in items])
        facts = [(item.item_id, json.dumps(item.facts())) for item in items]
        return self._changed(_PUT, facts)

    def withdraw(self, item_ids: Sequence[str]) -> int:
        """Withdraw items; see :meth:`foveate.state.items.ItemStore.withdraw`."""
        check_ids(item_ids)
        return self._changed(_WITHDRAW, [(item_id,) for item_id in item_ids])

    def changes(self, version: int) -> list[KeptItem]:
        """Return the items that changed after a version, in the order of their numbers."""
        sql = "SELECT item_id, facts, number, version, withdrawn FROM items WHERE version > ? ORDER BY number"
        return [
            KeptItem(item_id, json.loads(facts), number, own, bool(withdrawn))
            for item_id, facts, number, own, withdrawn in self._database.rows(sql, (version,))
        ]

    def version(self) -> int:
        """Return the newest version, 0 before there is one."""
        return int(self._database.rows(_VERSION)[0][0])

    def _changed(self, sql: str, rows: Sequence[tuple[str, ...]]) -> int:
        now = self._clock()

        def change(connection: sqlite3.Connection) -> int:
            version = int(connection.execute(_VERSION).fetchone()[0]) + 1
            connection.executemany(sql, [(*row, version, now) for row in rows])
            return version

        return self._writer.run(change) if rows else self.version()


def _keep_all(connection: sqlite3.Connection, before: int, until: int, most: int) -> int:
    del connection, before, until, most
    return 0
