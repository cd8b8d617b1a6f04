"""The most relevant under the caps: the control that every diversity policy is compared with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.slate.base import Constraints, Selection, SlateInput, SlatePolicy
from foveate.slate.constraints import Worth, describe, fill


@dataclass(frozen=True)
class Relevance(SlatePolicy):
    """Shows the best scores that the caps allow."""

    name: ClassVar[str] = "relevance"

    def select(self, ranked: SlateInput, size: int, constraints: Constraints, seed: int) -> Selection:
        """Choose up to ``size`` candidates; the seed is not used."""
        del seed
        return describe(ranked, fill(ranked, size, constraints, _worth), size)


def _worth(ranked: SlateInput) -> Worth:
    def worth(last: int | None) -> NDArray[np.float32]:
        del last
        return ranked.relevance

    return worth
