"""Every item is scored: a matrix product, and the best of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.retrieval.index.base import IndexConfig


@dataclass(frozen=True)
class Exact(IndexConfig):
    """Scores every item, however many there are: nothing is missed, and time grows with their number."""

    name: ClassVar[str] = "exact"

    def chosen(self, n_items: int) -> IndexConfig | None:
        """Return None: all are scored."""
        del n_items
        return None
