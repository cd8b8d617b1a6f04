"""Viewers at a moment: a window's end as the queries that sources and features read, and queries as events again."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Filters, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS

T = TypeVar("T", bound=np.generic)


def queries_of(
    history: Events, users: NDArray[np.int32], catalog: Catalog, now: int, filters: Filters | None = None
) -> list[Query]:
    """Return one query a viewer: all that they did in ``history``, asked at ``now``.

    What the viewer has met, in whatever way, is excluded, and so is what ``filters`` forbid or is not yet available.
    Ids do not matter offline: a query is named by its viewer's code.

    Parameters
    ----------
    history
        Events before the cut, and nothing after.
    users
        Codes of the viewers that ask.
    now
        UTC microseconds, or ``NO_TIME`` where the clock is order only.
    """
    closed = np.flatnonzero(catalog.forbidden(filters or Filters(), now)).astype(np.int32)
    offsets = history.offsets()
    return [query_of(history, slice(int(offsets[u]), int(offsets[u + 1])), str(u), closed, now) for u in users.tolist()]


def query_of(history: Events, rows: slice | NDArray[np.int64], name: str, closed: NDArray[np.int32], now: int) -> Query:
    """Return what one viewer, who did ``rows`` of ``history``, asks at ``now``; ``closed`` are items shut to all."""
    return Query(
        user_id=name,
        items=history.item[rows],
        times=history.time[rows],
        kinds=history.kind[rows],
        values=history.value[rows],
        positives=history.positive[rows],
        exclude=np.union1d(history.item[rows], closed).astype(np.int32),
        now=now,
    )


def events_of(queries: Sequence[Query], n_items: int, weights: Mapping[str, float] | None = None) -> Events:
    """Lay the queries' histories side by side; viewer ``b`` is query ``b``.

    Parameters
    ----------
    queries
        Viewers at a moment.
    n_items
        How many items there are.
    weights
        What one event of each kind weighs; a kind left out weighs nothing.
    """
    by_kind = np.array([(weights or {}).get(kind, 0.0) for kind in EVENT_KINDS], dtype=np.float32)
    kinds = joined([q.kinds for q in queries], np.int8)
    return Events(
        user=np.repeat(np.arange(len(queries), dtype=np.int32), [len(q.items) for q in queries]),
        item=joined([q.items for q in queries], np.int32),
        kind=kinds,
        value=joined([q.values for q in queries], np.float32),
        weight=by_kind[kinds],
        positive=joined([q.positives for q in queries], np.bool_),
        time=joined([q.times for q in queries], np.int64),
        n_users=len(queries),
        n_items=n_items,
    )


def joined(parts: Sequence[NDArray[T]], dtype: type[T]) -> NDArray[T]:
    """Join arrays, of which there may be none."""
    return np.concatenate([np.empty(0, dtype=dtype), *parts]).astype(dtype, copy=False)
