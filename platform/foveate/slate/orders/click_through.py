"""List order: by click-through rate."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.slate.orders.base import Floats, Listed, ListOrder, by_rank


@dataclass(frozen=True)
class ByClickThrough(ListOrder):
    """The highest observed click-through first, the better score where two are equal.

    It is counted when the model is trained, over everything that it learned from, and drawn to the mean of all videos
    where a video was shown little. It is the same for every viewer; which videos a viewer gets to choose from is not.
    """

    name: ClassVar[str] = "click_through"
    needs_click_through: ClassVar[bool] = True

    def relevance(self, listed: Listed) -> Floats:
        """Return places by click-through."""
        if listed.click_through is None:
            raise AssertionError("a model of this order holds click-through: fit counts it")
        return by_rank(listed.click_through[listed.items], listed.scores)
