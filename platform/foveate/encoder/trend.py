"""What is popular at the moment of a request: a term of every score that does not depend on the viewer.

The term is ``w_0 log(n + 1) + sum_h w_h log(n_h + c)``, where ``n`` counts an item's events before the moment and
``n_h`` counts them halved for every half-life ``h`` that has passed since. The weights are learned along with the
encoder, so that its vectors learn what a viewer likes beyond what is popular. In an index the term is one more
dimension of the items' vectors, whose value in every viewer's vector is 1.

Source of a popularity term beside personal ones: Koren, Collaborative filtering with temporal dynamics (KDD 2009),
section 3.2, there as item biases by time.

Shapes: ``I`` items, ``H`` horizons (all of the past, then each half-life), ``K`` moments, ``N`` events, ``T`` training
rows, ``D`` width.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from foveate.core.messages import NO_TIME
from foveate.data.events import Histories
from foveate.encoder.distributed.process_group import ProcessGroup
from foveate.encoder.embedding.lookup import Lookup

_DAY = 86_400_000_000
_FLOOR = 0.1
"""``c``: what an item without an event counts, so that its log is finite."""
_MOST_MOMENTS = 64
_LARGEST = 1 << 26
"""Numbers that the counts of all moments may take; a larger catalogue has fewer moments."""
_BACK = 3
"""How many moments older than the newest the counts may be that a training row reads."""
_START = 0.3
"""Weight of each half-life before any step."""


class Trend(nn.Module):
    """The term of every item at the end of the window that was learned from.

    Parameters
    ----------
    n_items
        How many items there are.
    half_lives
        Days.
    """

    log_IH: Tensor

    def __init__(self, n_items: int, half_lives: Sequence[float]) -> None:
        super().__init__()
        horizons = 1 + len(half_lives)
        self.weight_H = nn.Parameter(torch.tensor([0.0] + [_START] * len(half_lives)))
        # Where the clock is order only these stay 0, and so does the term.
        self.register_buffer("log_IH", torch.zeros(n_items, horizons))

    def forward(self) -> Tensor:
        """Return ``[I]``."""
        term_I: Tensor = self.log_IH @ self.weight_H
        return term_I


@dataclass(frozen=True)
class Moments:
    """The counts of every item at some moments of a log.

    Parameters
    ----------
    starts_K
        int64 UTC microseconds, ascending.
    log_IKH
        float32 the logs of the counts before each.
    """

    starts_K: Tensor
    log_IKH: Tensor

    def of(self, times_T: Tensor) -> Tensor:
        """Return ``[T, K]`` a 1 at the moment that each row is read at: one of the last before it, drawn at random.

        A bundle serves for a while after its counts were taken, so that training has to read counts of some age too.
        """
        newest_T = torch.bucketize(times_T, self.starts_K, right=True) - 1
        back_T = torch.randint(_BACK + 1, times_T.shape, device=times_T.device)
        return F.one_hot((newest_T - back_T).clamp(min=0), len(self.starts_K)).float()


def counts_at(
    histories: Histories, half_lives: Sequence[float], now: int, processes: ProcessGroup, device: torch.device
) -> tuple[Moments, Tensor]:
    """Return the logs of every item's counts at moments of the past, and ``[I, H]`` those at ``now``.

    Parameters
    ----------
    histories
        Those of this process; the counts are of all processes together.
    half_lives
        Days.
    """
    dated = histories.times != NO_TIME
    times, items = histories.times[dated], histories.items[dated]
    first = int(processes.least(torch.tensor(times.min(initial=now), device=device)))
    count = max(2, min(_MOST_MOMENTS, _LARGEST // max(1, histories.n_items * (1 + len(half_lives)))))
    edges = np.linspace(first, now, count + 1).astype(np.int64)
    undated_I = np.bincount(histories.items[~dated], minlength=histories.n_items).astype(np.float64)
    counts_HI = np.stack([undated_I, *([np.zeros(histories.n_items)] * len(half_lives))])
    order = np.argsort(times, kind="stable")
    ends = np.searchsorted(times[order], edges)
    found = [counts_HI.T]
    for number in range(count):
        own = order[ends[number] : ends[number + 1]]
        age_N = (edges[number + 1] - times[own]) / _DAY
        passed = (edges[number + 1] - edges[number]) / _DAY
        kept_HN = np.stack([_kept(age_N, days) for days in (np.inf, *half_lives)])
        new_HI = np.stack([np.bincount(items[own], kept_N, minlength=histories.n_items) for kept_N in kept_HN])
        old_H = np.array([_kept(passed, days) for days in (np.inf, *half_lives)])
        counts_HI = old_H[:, None] * counts_HI + new_HI
        found.append(counts_HI.T)
    log_KIH = _logs(processes.total(torch.tensor(np.stack(found), dtype=torch.float32, device=device)))
    return Moments(torch.tensor(edges[:-1], device=device), log_KIH[:-1].transpose(0, 1).contiguous()), log_KIH[-1]


def _kept(age_days: NDArray[np.float64] | float, half_life: float) -> NDArray[np.float64]:
    return np.asarray(np.exp2(-np.asarray(age_days) / half_life))


def _logs(counts_KIH: Tensor) -> Tensor:
    """Return the logs, brought to mean 0 over the items: a sum for all alike says nothing, and grows with the log."""
    floor_H = counts_KIH.new_full((counts_KIH.shape[-1],), _FLOOR)
    floor_H[0] = 1.0
    logs_KIH = (counts_KIH + floor_H).log()
    return logs_KIH - logs_KIH.mean(dim=1, keepdim=True)


@dataclass(frozen=True)
class TrendingItems(Lookup):
    """Item vectors followed by each item's term at every moment: ``[D + K]`` numbers an item.

    Beside a viewer's vector stands a 1 at the moment of its row, so that losses need not know of moments.
    """

    items: Lookup
    moments: Moments
    weight_H: Tensor

    def of(self, codes: Tensor) -> Tensor:
        """Return the rows of some items, ``[..., D + K]``."""
        return torch.cat((self.items.of(codes), self.moments.log_IKH[codes] @ self.weight_H), dim=-1)

    def every(self) -> Tensor:
        """Return the rows of all items, ``[I, D + K]``."""
        return torch.cat((self.items.every(), self.moments.log_IKH @ self.weight_H), dim=-1)
