"""The ranker's own order."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.slate.orders.base import Floats, Listed, ListOrder


@dataclass(frozen=True)
class ByScore(ListOrder):
    """The best predicted score first."""

    name: ClassVar[str] = "score"

    def relevance(self, listed: Listed) -> Floats:
        """Return the scores as they are."""
        return listed.scores
