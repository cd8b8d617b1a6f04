"""Validation of an encoder on held-out items: full ranking over the catalogue, seen items left out."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME
from foveate.core.metrics import mid_ranks, ndcg_at, recall_at
from foveate.data.events import Histories
from foveate.encoder.distributed.process_group import ProcessGroup
from foveate.encoder.trained import TrainedEncoder

_BATCH = 512
"""Viewers ranked together: their scores of all items are held at once."""


class Validation:
    """Viewers with a held-out item, at most ``viewers`` of them, the same ones every time.

    Processes that train together each rank for some of them, and all of them learn the mean.

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
    lengths
        ``[U]`` int64 how many interactions each viewer has, where ``histories`` holds those of some viewers alone.
    processes
        The processes that train together.
    device
        Where they meet, which need not be where the encoder answers.
    """

    def __init__(
        self,
        histories: Histories,
        targets: NDArray[np.int32],
        viewers: int,
        seed: int,
        now: int = NO_TIME,
        *,
        lengths: NDArray[np.int64] | None = None,
        processes: ProcessGroup | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._histories = histories
        self._now = now
        self._targets = targets
        self._processes = processes or ProcessGroup()
        self._device = device
        held = histories.lengths
        some = np.flatnonzero((targets >= 0) & ((held if lengths is None else lengths) > 0))
        if len(some) > viewers:
            some = np.sort(np.random.default_rng(seed).choice(some, viewers, replace=False))
        self.users: NDArray[np.int64] = some
        self._own = some[self._processes.rank :: self._processes.size] if lengths is None else some[held[some] > 0]

    def measure(self, encoder: TrainedEncoder) -> dict[str, float]:
        """Return ``ndcg@10`` and ``recall@10``, the means over all of the viewers."""
        ranks = [self._ranks(encoder, self._own[s : s + _BATCH]) for s in range(0, len(self._own), _BATCH)]
        own = np.concatenate(ranks) if ranks else np.empty(0)
        sums = torch.tensor([ndcg_at(own, 10).sum(), recall_at(own, 10).sum()], dtype=torch.float64)
        ndcg, recall = (self._processes.total(sums.to(self._device)) / len(self.users)).tolist()
        return {"ndcg@10": ndcg, "recall@10": recall}

    def _ranks(self, encoder: TrainedEncoder, users: NDArray[np.int64]) -> NDArray[np.float64]:
        histories = self._histories.take(users)
        scores_BI = encoder.scores(histories, np.full(len(users), self._now))
        return mid_ranks(scores_BI, self._targets[users], list(histories))
