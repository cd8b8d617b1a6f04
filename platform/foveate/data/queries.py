"""Viewers at the end of a window, as the queries that sources and features read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.messages import Filters, Query


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
    return [_query(history, slice(int(offsets[u]), int(offsets[u + 1])), str(u), closed, now) for u in users.tolist()]


def _query(history: Events, rows: slice, name: str, closed: NDArray[np.int32], now: int) -> Query:
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
