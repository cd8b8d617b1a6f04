"""Release dates as a candidate source that needs no fitting.

Shapes: ``B`` queries, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.retrieval.base import Arrays, CandidateSource

OFFERED: Final = 200
"""How many programmes a page is chosen from, at least."""

NO_DATES: Final = "the catalogue has no dates (columns published_at, available_from)"

_DAY: Final = 86_400e6
"""Microseconds."""


@dataclass(frozen=True)
class Dates:
    """``[I]`` when each item comes out, UTC microseconds or ``NO_TIME``, and whether that is known."""

    times: NDArray[np.int64]
    known: NDArray[np.bool_]


def out_at(catalog: Catalog) -> Dates:
    """Return when each item comes out: when it is published, and not before it is available."""

    def worked_out() -> Dates:
        times_I = np.maximum(catalog.available_from, catalog.published_at)
        return Dates(times_I, times_I != NO_TIME)

    return catalog.once("out_at", worked_out)


class Schedule(CandidateSource):
    """Scores items by how few days lie between the query's moment and theirs.

    Parameters
    ----------
    name
        What its column is called.
    dates
        When each item comes out.
    """

    reads_history: bool = False

    def __init__(self, name: str, dates: Dates) -> None:
        self.name = name
        self._dates = dates

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``: days from the query's moment to the item's, negative both ways."""
        now_B1 = np.array([[query.now] for query in queries], dtype=np.float64).reshape(-1, 1)
        return np.asarray(-np.abs(now_B1 - self._dates.times.astype(np.float64)) / _DAY, dtype=np.float32)

    def arrays(self) -> Arrays:
        """Return nothing: a catalogue is all it takes."""
        return {}
