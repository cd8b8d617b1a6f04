"""An encoder's items in an index: how viewers are looked up, and how much of the true best that finds.

Shapes: ``B`` viewers, ``I`` items, ``D`` width, ``K`` items that are found.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from foveate.data.fitting import FitContext
from foveate.encoder.trained import TrainedEncoder
from foveate.retrieval.base import top_k
from foveate.retrieval.index.base import Arrays, IndexConfig, VectorIndex

MEASURED_AT = 200
"""Recall is measured among so many of the best."""
_VIEWERS = 200
"""How many viewers it is measured on, at most."""

Codes = NDArray[np.int32]


class Finder:
    """Retrieves for viewer vectors from an index over the encoder's items.

    Where the encoder's match is no dot product of vectors, plain products find several times as many items, and the
    match chooses among them.

    Parameters
    ----------
    recall
        What was measured when the index was built, NaN where there was nobody to ask.
    """

    def __init__(self, encoder: TrainedEncoder, index: VectorIndex, widen: int, recall: float) -> None:
        self.index, self.recall = index, recall
        self._encoder, self._widen = encoder, widen

    @classmethod
    def fit(cls, config: IndexConfig, encoder: TrainedEncoder, context: FitContext) -> Finder:
        """Build an index that finds what ``config.recall`` asks for, as measured on a sample of viewers."""
        finder = cls(encoder, config.build(encoder.item_dots, context.seed), config.widen, float("nan"))
        user_BD = _sample(encoder, context)
        truth = finder._truth(user_BD)
        fixed = finder.index.probes if getattr(config, "probes", 0) else 0
        finder.recall = finder._measured(user_BD, truth)
        while not fixed and finder.recall < config.recall and finder.index.probes < finder.index.most_probes:
            finder.index.probes = min(2 * finder.index.probes, finder.index.most_probes)
            finder.recall = finder._measured(user_BD, truth)
        if context.progress is not None:
            share = f"{finder.index.probes:,} of {finder.index.most_probes:,} lists"
            context.progress(f"index: recall@{MEASURED_AT} {finder.recall:.3f} reading {share}")
        return finder

    @classmethod
    def restore(cls, config: IndexConfig, encoder: TrainedEncoder, arrays: Arrays) -> Finder:
        """Make it again from :meth:`arrays`."""
        return cls(encoder, config.restore(encoder.item_dots, arrays), config.widen, float(arrays["recall"][0]))

    def arrays(self) -> Arrays:
        """Return the index's own arrays, and the recall that was measured."""
        return {**self.index.arrays(), "recall": np.array([self.recall], dtype=np.float32)}

    def find(self, user_D: Tensor, k: int, exclude: Codes) -> Codes:
        """Return up to ``k`` items, best first."""
        as_dot = self._encoder.user_dots(user_D[None])[0]
        if self._encoder.indexable:
            return self.index.search(as_dot, k, exclude)
        near = np.sort(self.index.search(as_dot, k * self._widen, exclude))
        return near[top_k(self._encoder.match(user_D, near), np.empty(0, dtype=np.int32), k)]

    def _truth(self, user_BD: Tensor) -> list[set[int]]:
        nothing = np.empty(0, dtype=np.int32)
        return [set(top_k(self._encoder.match(user_D), nothing, MEASURED_AT).tolist()) for user_D in user_BD]

    def _measured(self, user_BD: Tensor, truth: list[set[int]]) -> float:
        nothing = np.empty(0, dtype=np.int32)
        shares = [
            len(best.intersection(self.find(user_D, MEASURED_AT, nothing).tolist())) / len(best)
            for user_D, best in zip(user_BD, truth, strict=True)
        ]
        return float(np.mean(shares)) if shares else float("nan")


def _sample(encoder: TrainedEncoder, context: FitContext) -> Tensor:
    """Return the vectors of some viewers who have a history."""
    users = np.flatnonzero(np.diff(context.histories.offsets))
    drawn = np.sort(np.random.default_rng(context.seed).permutation(users)[:_VIEWERS])
    with torch.inference_mode():
        return encoder.encode(context.histories.take(drawn), np.full(len(drawn), context.now))
