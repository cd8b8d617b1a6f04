"""Recent popularity source: the items most watched lately."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foveate.core.messages import NO_TIME
from foveate.data.catalog import Catalog
from foveate.retrieval.base import Arrays, FitContext, SourceConfig
from foveate.retrieval.popularity import Popular, age_in_days, count_items


@dataclass(frozen=True)
class RecentPopularity(SourceConfig):
    """Items by their positive events in the window's last ``days``; ties, and a clock without times, by all of them.

    Parameters
    ----------
    days
        Length of the recent past.
    """

    name = "recent_popularity"

    days: float = 7.0

    def __post_init__(self) -> None:
        if self.days <= 0:
            raise ValueError(f"days must be above 0, got {self.days}")

    def fit(self, context: FitContext) -> Popular:
        """Count the recent events."""
        ever_I = count_items(context.histories)
        # Below one recent event, so that it only breaks ties.
        tie_I = ever_I / (ever_I.max(initial=0) + 1)
        if context.now == NO_TIME:
            return Popular(self.name, tie_I)
        recent = (age_in_days(context) <= self.days).astype(np.float32)
        return Popular(self.name, count_items(context.histories, recent) + tie_I)

    def restore(self, arrays: Arrays, catalog: Catalog) -> Popular:
        del catalog
        return Popular(self.name, arrays["counts"].astype(np.float32))
