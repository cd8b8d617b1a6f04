"""Click-through rate of each video.

Shapes: ``I`` items.
"""

from __future__ import annotations

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, ITEM_ID
from foveate.data.split import Stage
from foveate.data.vocabulary import UNKNOWN, Vocabulary
from foveate.recommend.recipe import Recipe

PRIOR = 20.0
"""Showings of the mean video that each video is given beside its own."""

_CLICK = EVENT_KINDS.index("click")


def wanted_click_through(
    recipe: Recipe, dataset: Dataset, stage: Stage, items: Vocabulary
) -> NDArray[np.float32] | None:
    """Return :func:`click_through` where the recipe's order asks for it, else None."""
    return click_through(dataset, stage, items) if recipe.order.needs_click_through else None


def click_through(dataset: Dataset, stage: Stage, items: Vocabulary) -> NDArray[np.float32]:
    """Return ``[I]`` clicks over showings before the stage's cut, drawn to the mean of all items.

    Where the log holds no click, what counts as interest stands for it. Showings are the impressions; where there are
    none, or nothing says when they were, a viewer and an item that met count as one.
    """
    history = stage.history
    clicked = history.kind == _CLICK
    clicked = clicked if clicked.any() else history.positive
    shown_I = _impressions(dataset, stage.now, items)
    if shown_I.any():
        # What lies before every dated event has no impression beside it.
        clicked = clicked & (history.time != NO_TIME)
    else:
        shown_I = _meetings(history, np.ones(len(history), dtype=bool))
    clicks_I = np.minimum(_meetings(history, clicked), shown_I)
    mean = clicks_I.sum() / max(1.0, shown_I.sum())
    return np.asarray((clicks_I + PRIOR * mean) / (shown_I + PRIOR), dtype=np.float32)


def _impressions(dataset: Dataset, now: int, items: Vocabulary) -> NDArray[np.float64]:
    if now == NO_TIME:
        return np.zeros(len(items))
    before = pl.col("shown_at").dt.timestamp("us") < now
    counted = dataset.impressions.filter(before).group_by(ITEM_ID).len().collect()
    codes = items.encode(counted[ITEM_ID])
    known = codes != UNKNOWN
    return np.bincount(codes[known], counted["len"].to_numpy()[known], minlength=len(items)).astype(np.float64)


def _meetings(history: Events, rows: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``[I]``: how many viewers met each item in these events."""
    pairs = np.unique(history.user[rows].astype(np.int64) * history.n_items + history.item[rows])
    return np.bincount(pairs % max(1, history.n_items), minlength=history.n_items).astype(np.float64)
