"""Popularity source: the most watched items, the same for every viewer."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.retrieval.base import Arrays, CandidateSource, FitContext, SourceConfig

DAY = 86_400_000_000
"""Microseconds."""


class Popular(CandidateSource):
    """One score an item, the same for every viewer."""

    reads_history = False

    def __init__(self, name: str, counts_I: NDArray[np.float32]) -> None:
        self.name = name
        self._counts_I = counts_I

    def scores(self, queries: Sequence[Query]) -> NDArray[np.float32]:
        """Return ``[B, I]``: the items' counts, repeated."""
        return np.tile(self._counts_I, (len(queries), 1))

    def arrays(self) -> Arrays:
        """Return the counts."""
        return {"counts": self._counts_I}


@dataclass(frozen=True)
class Popularity(SourceConfig):
    """Items by how many positive events they had, old ones fading if ``half_life_days`` is set.

    Parameters
    ----------
    half_life_days
        Age at which an event counts half; 0 counts all alike. Ignored where the clock is order only.
    """

    name = "popularity"

    half_life_days: float = 0.0

    def __post_init__(self) -> None:
        if self.half_life_days < 0:
            raise ValueError(f"half_life_days must be 0 or more, got {self.half_life_days}")

    def fit(self, context: FitContext) -> Popular:
        """Count the events."""
        weights = None
        if self.half_life_days and context.now != NO_TIME:
            weights = np.exp2(-age_in_days(context) / self.half_life_days)
        return Popular(self.name, count_items(context.histories, weights))

    def restore(self, arrays: Arrays, catalog: Catalog) -> Popular:
        del catalog
        return Popular(self.name, arrays["counts"].astype(np.float32))


def count_items(histories: Histories, weights: NDArray[np.floating] | None = None) -> NDArray[np.float32]:
    """Return ``[I]`` float32: how many events each item had, or their summed ``weights``."""
    return np.bincount(histories.items, weights, minlength=histories.n_items).astype(np.float32)


def age_in_days(context: FitContext) -> NDArray[np.float64]:
    """Return each event's age at the window's end; infinite where its time is not known."""
    times = context.histories.times
    return np.where(times == NO_TIME, np.inf, (context.now - times.astype(np.float64)) / DAY)
