"""What was known when a panel was asked: how popular each item was, and which segment viewers and items belong to.

Shapes: ``W`` windows, ``I`` items, ``B`` viewers, ``T`` targets, ``S`` seeds, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME, Query
from foveate.core.metrics import Floats, popularity
from foveate.data.events import Events
from foveate.data.split import Stage
from foveate.evaluation.panel import Panel

VIEWER_SEGMENTS: Final = ("new", "light", "heavy")
"""Viewers who had liked nothing, at most as much as the median of the others, and more."""
ITEM_SEGMENTS: Final = ("new", "tail", "head")
"""Items that nobody had met before the last :data:`NEW_DAYS`; of the others the most popular fifth is the head."""
NEW_DAYS: Final = 14.0
HEAD_SHARE: Final = 0.2

T = TypeVar("T", bound=np.generic)

_DAY: Final = 24 * 3_600_000_000


@dataclass(frozen=True)
class Known:
    """What was known of a panel and its items.

    Parameters
    ----------
    window_B
        In which window each viewer asked.
    viewer_B
        Positions in :data:`VIEWER_SEGMENTS`.
    liked_B
        Mean popularity of what each viewer had liked, NaN for nothing.
    counts_WI
        How many viewers had liked each item before each window.
    popularity_WI
        The same as a share of the viewers who had liked anything.
    novelty_WI
        Information of each item in bits: ``-log2`` of its popularity, with one viewer more who liked it and one more in
        all, so that it stays finite.
        Source: Zhou et al., Solving the apparent diversity-accuracy dilemma of recommender systems (PNAS 107, 2010),
        section on metrics: mean self-information.
    segment_WI
        Positions of the items in :data:`ITEM_SEGMENTS`.
    items
        How many items the models know; the others can only be targets.
    """

    window_B: NDArray[np.int64]
    viewer_B: NDArray[np.int64]
    liked_B: Floats
    counts_WI: Floats
    popularity_WI: Floats
    novelty_WI: Floats
    segment_WI: NDArray[np.int8]
    items: int

    def of_lists(self, values_WI: NDArray[T], lists_BSK: NDArray[np.integer]) -> NDArray[T]:
        """``[B, S, K]``: a fact of the listed items at the time of the list; that of item 0 where a list is short."""
        facts_BSK: NDArray[T] = values_WI[self.window_B[:, None, None], np.maximum(lists_BSK, 0)]
        return facts_BSK

    def of_targets(self, values_WI: NDArray[T], panel: Panel) -> NDArray[T]:
        """``[T]``: a fact of the targets at the time of the cut."""
        facts_T: NDArray[T] = values_WI[self.window_B[panel.viewer_of_target()], panel.targets]
        return facts_T


def known(panels: Sequence[Panel], stages: Sequence[Stage], items: int) -> Known:
    """Return what was known before each window, its panel laid beside the others'.

    Parameters
    ----------
    panels, stages
        One of each a window, in the same order.
    items
        How many items the models know.
    """
    histories = [stage.history for stage in stages]
    counts_WI = np.stack([popularity(*_liked(one), 1, one.n_items) for one in histories])
    viewers_W1 = np.array([[max(1, len(np.unique(one.user[one.positive])))] for one in histories])
    popularity_WI = counts_WI / viewers_W1
    novelty_WI = -np.log2((counts_WI + 1.0) / (viewers_W1 + 1.0))
    liked = [_liked_mean(q, popularity_WI[w]) for w, panel in enumerate(panels) for q in panel.queries]
    sizes_B = np.array([int(query.positives.sum()) for panel in panels for query in panel.queries])
    return Known(
        np.repeat(np.arange(len(panels)), [len(panel.queries) for panel in panels]),
        _viewer_segment(sizes_B),
        np.array(liked, dtype=np.float64),
        counts_WI,
        popularity_WI,
        novelty_WI,
        np.stack([_item_segment(s, counts_I, items) for s, counts_I in zip(stages, counts_WI, strict=True)]),
        items,
    )


def _liked(history: Events) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    return history.user[history.positive], history.item[history.positive]


def _liked_mean(query: Query, popularity_I: Floats) -> float:
    items = np.unique(query.items[query.positives])
    return float(popularity_I[items].mean()) if len(items) else float("nan")


def _viewer_segment(sizes_B: NDArray[np.int64]) -> NDArray[np.int64]:
    liking = sizes_B[sizes_B > 0]
    middle = float(np.median(liking)) if len(liking) else 0.0
    return np.where(sizes_B == 0, 0, np.where(sizes_B <= middle, 1, 2))


def _item_segment(stage: Stage, counts_I: Floats, items: int) -> NDArray[np.int8]:
    """``[I]``: where the clock is order only, an item is new while nobody has met it."""
    history = stage.history
    before = history.time < stage.now - NEW_DAYS * _DAY if stage.now != NO_TIME else np.ones(len(history), dtype=bool)
    old_I = np.bincount(history.item[before], minlength=history.n_items) > 0
    out_I = np.where(old_I, ITEM_SEGMENTS.index("tail"), ITEM_SEGMENTS.index("new")).astype(np.int8)
    old = np.flatnonzero(old_I[:items])
    head = old[np.argsort(-counts_I[old], kind="stable")[: round(HEAD_SHARE * len(old))]]
    out_I[head] = ITEM_SEGMENTS.index("head")
    return out_I
