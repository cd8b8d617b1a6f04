"""How good an encoder is on held-out items: full ranking over the whole catalogue, the seen left out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from foveate.data.events import Histories
from foveate.encoder.trained import TrainedEncoder
from foveate.messages import NO_TIME
from foveate.metrics import mid_ranks, ndcg_at, recall_at

_BATCH = 512
"""Viewers ranked together: their scores of all items are held at once."""


class Validation:
    """Viewers with a held-out item, at most ``viewers`` of them, the same ones every time.

    Parameters
    ----------
    histories
        What the encoder may read.
    targets
        ``[U]`` int32 held-out item of each viewer, ``-1`` for none.
    viewers
        How many viewers to rank for at most.
    seed
        Of the draw among more viewers than that.
    now
        When all of them ask, in UTC microseconds, or ``NO_TIME``.
    """

    def __init__(
        self, histories: Histories, targets: NDArray[np.int32], viewers: int, seed: int, now: int = NO_TIME
    ) -> None:
        self._histories = histories
        self._now = now
        self._targets = targets
        some = np.flatnonzero((targets >= 0) & (np.diff(histories.offsets) > 0))
        if len(some) > viewers:
            some = np.sort(np.random.default_rng(seed).choice(some, viewers, replace=False))
        self.users: NDArray[np.int64] = some

    def measure(self, encoder: TrainedEncoder) -> dict[str, float]:
        """Return ``ndcg@10`` and ``recall@10``."""
        ranks = np.concatenate(
            [self._ranks(encoder, self.users[s : s + _BATCH]) for s in range(0, len(self.users), _BATCH)]
        )
        return {"ndcg@10": float(ndcg_at(ranks, 10).mean()), "recall@10": float(recall_at(ranks, 10).mean())}

    def _ranks(self, encoder: TrainedEncoder, users: NDArray[np.int64]) -> NDArray[np.float64]:
        histories = self._histories.take(users)
        scores_BI = encoder.scores(histories, np.full(len(users), self._now))
        return mid_ranks(scores_BI, self._targets[users], list(histories))
