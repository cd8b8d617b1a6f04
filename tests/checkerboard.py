"""A log with one right answer: two colours of items, told by what viewers watched and by the catalogue."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.schema import ITEM_ID, ITEMS


@dataclass(frozen=True)
class Checkerboard:
    """Two colours of items in a circle each, and viewers who each walked one circle but for its last item.

    Viewer ``u`` likes colour ``u % 2`` and watched that circle in order from a place of their own. The one right
    answer is the item that closes the circle, ``answers[u]``. Item ``i`` has colour ``i % 2``, and everything that the
    catalogue says of it follows from its colour.
    """

    histories: Histories
    catalog: Catalog
    answers: NDArray[np.int32]

    def context(self, seed: int = 0) -> FitContext:
        """What a source may learn from, with the answers held out."""
        return FitContext(self.histories, self.catalog, NO_TIME, seed=seed, validation=self.answers)

    def query(self, user: int) -> Query:
        """The viewer now, the seen excluded."""
        return self.query_of(self.histories.items[self.histories.rows(user)])

    def query_of(self, items: NDArray[np.int32]) -> Query:
        """A viewer with this history."""
        n = len(items)
        return Query(
            user_id="someone",
            items=items,
            times=np.full(n, NO_TIME),
            kinds=np.zeros(n, dtype=np.int8),
            values=np.ones(n, dtype=np.float32),
            positives=np.ones(n, dtype=bool),
            exclude=np.unique(items),
            now=NO_TIME,
        )


def two_colours(n_items: int) -> Catalog:
    """A catalogue of items ``v0``, ``v1``, ... that are black and white by turns, and that has all facts of each."""
    facts = {
        "title": ("ink and coal", "snow and milk"),
        "channel_id": ("night", "day"),
        "categories": (["black"], ["white"]),
        "tags": (["dark", "matt"], ["bright"]),
        "duration_seconds": (60.0, 600.0),
        "published_at": (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)),
        "available_from": (datetime(2024, 1, 1, tzinfo=UTC), datetime(2024, 7, 1, tzinfo=UTC)),
        "maturity": (12, 6),
        "language": ("de", "en"),
        "regions": (["DE"], ["GB", "US"]),
        "safety": (0.8, 1.0),
    }
    rows = [
        {ITEM_ID: f"v{code}", **{name: by_colour[code % 2] for name, by_colour in facts.items()}}
        for code in range(n_items)
    ]
    return Catalog(pl.DataFrame(rows, schema=ITEMS))
