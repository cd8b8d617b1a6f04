"""The most relevant within the constraints: the control that every diversity policy is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from foveate.slate.base import SlatePolicy, relevance_alone
from foveate.slate.inputs import SlateInput, Worth


@dataclass(frozen=True)
class Relevance(SlatePolicy):
    """Shows the best scores that the constraints allow; with none, the ranker's own order."""

    name: ClassVar[str] = "relevance"

    @property
    def additive(self) -> bool:
        return True

    def start(self, ranked: SlateInput) -> Worth:
        """Begin one pass over the candidates."""
        return relevance_alone(ranked)
