"""What viewers were shown, with the features that were used, in the same SQLite file as what they did."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.config import from_dict, to_dict
from foveate.errors import NotFoundError
from foveate.messages import RecommendRequest, RequestContext, Slate, SlateItem
from foveate.state.base import ServedRequest
from foveate.state.database import Database

_REQUEST = "INSERT OR IGNORE INTO requests VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
_IMPRESSION = "INSERT OR IGNORE INTO impressions VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"


class SqliteImpressions:
    """An :class:`~foveate.state.base.ImpressionSink` kept in one file that several processes may share.

    Beside the slates it remembers in which folder each bundle lay when it was served, so that a replay finds it.

    Parameters
    ----------
    path
        The file, made if it is absent and ``create`` is set.

    Raises
    ------
    StateError
        The file cannot be used.
    """

    def __init__(self, path: Path, *, create: bool = True) -> None:
        self._database = Database(path, create=create)

    def __enter__(self) -> SqliteImpressions:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the file."""
        self._database.close()

    def write(self, served: Sequence[ServedRequest]) -> None:
        """Keep served slates, all or none; one that is already kept stays as it is."""
        with self._database.write() as connection:
            connection.executemany(_REQUEST, [_request_row(one) for one in served])
            connection.executemany(
                _IMPRESSION, [_impression_row(one, item) for one in served for item in one.slate.items]
            )

    def read(self, request_id: str) -> ServedRequest:
        """Return one served request.

        Raises
        ------
        NotFoundError
            No request of that id was kept.
        """
        found = self._database.rows("SELECT * FROM requests WHERE request_id = ?", (request_id,))
        if not found:
            raise NotFoundError(f"no request '{request_id}' is kept in '{self._database.path}'")
        _, user_id, bundle_id, policy_id, feature_schema, state_version, *told = found[0]
        request, context, relaxed, paid, degraded = told
        slate = Slate(
            request_id=request_id,
            user_id=user_id,
            bundle_id=bundle_id,
            policy_id=policy_id,
            feature_schema=feature_schema,
            items=self._items(request_id),
            relaxed=tuple(json.loads(relaxed)),
            relevance_paid=paid,
            state_version=state_version,
            degraded=tuple(json.loads(degraded)),
        )
        return ServedRequest(
            request=from_dict(RecommendRequest, json.loads(request)),
            context=from_dict(RequestContext, json.loads(context)),
            slate=slate,
        )

    def request_ids(self, limit: int | None = 100) -> list[str]:
        """Return the ids of up to ``limit`` kept requests (None: all), latest first."""
        # Every request is kept even if its slate is empty, so the requests' own table is asked.
        sql = "SELECT request_id FROM requests ORDER BY json_extract(context, '$.now') DESC, request_id LIMIT ?"
        return [row[0] for row in self._database.rows(sql, (-1 if limit is None else limit,))]

    def forget(self, user_id: str) -> int:
        """Erase everything that a viewer was shown. Returns how many rows that were."""
        tables = ("impressions", "requests")
        return self._database.erase([f"DELETE FROM {table} WHERE user_id = ?" for table in tables], user_id)  # noqa: S608

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

    def _items(self, request_id: str) -> tuple[SlateItem, ...]:
        rows = self._database.rows(
            "SELECT item_id, position, score, candidate_sources, features FROM impressions"
            " WHERE request_id = ? ORDER BY position",
            (request_id,),
        )
        return tuple(
            SlateItem(
                item_id=item_id,
                position=position,
                score=float("nan") if score is None else score,
                sources=tuple(json.loads(sources)),
                features=_unpack(features),
            )
            for item_id, position, score, sources, features in rows
        )


def impression_id(request_id: str, position: int) -> str:
    """Return the id of one place of one slate: what an event names to say which showing it answers."""
    return f"{request_id}:{position}"


def _request_row(served: ServedRequest) -> tuple[Any, ...]:
    slate = served.slate
    return (
        slate.request_id,
        slate.user_id,
        slate.bundle_id,
        slate.policy_id,
        slate.feature_schema,
        slate.state_version,
        json.dumps(to_dict(served.request)),
        json.dumps(to_dict(served.context)),
        json.dumps(slate.relaxed),
        slate.relevance_paid,
        json.dumps(slate.degraded),
    )


def _impression_row(served: ServedRequest, item: SlateItem) -> tuple[Any, ...]:
    slate, context = served.slate, served.context
    return (
        impression_id(slate.request_id, item.position),
        slate.request_id,
        slate.user_id,
        item.item_id,
        item.position,
        context.surface,
        context.now,
        slate.bundle_id,
        slate.policy_id,
        None,  # a deterministic slate has no propensity, it is not 1
        slate.feature_schema,
        np.ascontiguousarray(item.features, dtype="<f4").tobytes(),
        json.dumps(item.sources),
        item.score,
    )


def _unpack(blob: bytes) -> NDArray[np.float32]:
    return np.frombuffer(blob, dtype="<f4").astype(np.float32)
