"""The newest first, as on a page of what was followed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from foveate.core.messages import NO_TIME
from foveate.slate.orders.base import Floats, Listed, ListOrder, by_rank


@dataclass(frozen=True)
class ByTime(ListOrder):
    """The last published first, the better score where two came out at once; unknown dates come last."""

    name: ClassVar[str] = "time"

    def relevance(self, listed: Listed) -> Floats:
        """Return places by the date of publication."""
        published_N = listed.catalog.published_at[listed.items]
        # Microseconds since 1970 are whole numbers that float64 holds exactly.
        return by_rank(np.where(published_N == NO_TIME, np.nan, published_N.astype(np.float64)), listed.scores)
