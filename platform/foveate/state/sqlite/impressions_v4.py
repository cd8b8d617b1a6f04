"""Impressions as SQLite files kept them up to version 4: a row a request and a row an item; read once."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from foveate.core.grouped import in_parts
from foveate.core.messages import SlateItem
from foveate.state.base import utc_micros
from foveate.state.record import pack_plain

_REQUESTS: Final = 500
"""Requests read and written in one go."""
_INSERT: Final = "INSERT INTO requests (request_id, user_id, kept_at, record) VALUES (?, ?, ?, ?)"


def compact(connection: sqlite3.Connection) -> None:
    """Write every request of ``old_requests`` and ``impressions`` as one record into ``requests``, oldest first.

    They count as kept now: for how long they are kept begins anew.
    """
    now = utc_micros()
    names = connection.execute(
        "SELECT request_id FROM old_requests ORDER BY json_extract(context, '$.now'), request_id DESC"
    ).fetchall()
    for part in in_parts(names, _REQUESTS):
        connection.executemany(_INSERT, [_record(connection, name, now) for (name,) in part])


def _record(connection: sqlite3.Connection, request_id: str, now: int) -> tuple[Any, ...]:
    cursor = connection.execute("SELECT * FROM old_requests WHERE request_id = ?", (request_id,))
    values = dict(zip((name for name, *_ in cursor.description), cursor.fetchone(), strict=True))
    request, context = (json.loads(values.pop(name)) for name in ("request", "context"))
    slate = values | {name: json.loads(values[name]) for name in ("relaxed", "degraded")}
    return request_id, slate["user_id"], now, pack_plain(request, context, slate, _items(connection, request_id))


def _items(connection: sqlite3.Connection, request_id: str) -> Sequence[SlateItem]:
    rows = connection.execute(
        "SELECT item_id, position, score, candidate_sources, features FROM impressions"
        " WHERE request_id = ? ORDER BY position",
        (request_id,),
    )
    return [
        SlateItem(
            item_id=item_id,
            position=position,
            score=float("nan") if score is None else score,
            sources=tuple(json.loads(sources)),
            features=np.frombuffer(features, dtype="<f4").astype(np.float32),
        )
        for item_id, position, score, sources, features in rows
    ]
