"""Exact while that is quick enough, an index beyond."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.core.errors import ConfigError
from foveate.retrieval.index.base import IndexConfig
from foveate.retrieval.index.inverted import Inverted


@dataclass(frozen=True)
class Auto(IndexConfig):
    """Scores every item up to a size, and looks them up in inverted lists beyond it.

    Parameters
    ----------
    exact_up_to
        The most items that are all scored.
    recall
        Share of the true best 200 that a search has to find beyond that.
    """

    name: ClassVar[str] = "auto"

    exact_up_to: int = 1_000_000
    recall: float = 0.95

    def __post_init__(self) -> None:
        if self.exact_up_to < 0:
            raise ConfigError(f"exact_up_to must be 0 or more, got {self.exact_up_to}")
        Inverted(recall=self.recall)

    def chosen(self, n_items: int) -> IndexConfig | None:
        """Return inverted lists for more items than are all scored."""
        return None if n_items <= self.exact_up_to else Inverted(recall=self.recall)
