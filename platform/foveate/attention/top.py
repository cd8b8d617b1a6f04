"""The best of many scores, in one order that everyone agrees on.

Legend of tensor names: ``B`` viewers, ``N`` items, ``K`` items that are kept.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

NO_ITEM = -1
"""The code that stands where fewer than ``K`` items are open."""

_SHUT = float("-inf")


class Top(NamedTuple):
    """Each viewer's best items, best first, ties by code.

    Parameters
    ----------
    code_BK
        int64 positions among the items; ``NO_ITEM`` where no more are open.
    score_BK
        Their scores; minus infinity there.
    """

    code_BK: Tensor
    score_BK: Tensor


def best(score_BN: Tensor, k: int, shut_BN: Tensor | None = None) -> Top:
    """Return the ``k`` best of the items that are not ``shut_BN``, at most all.

    A score that is not a number, or is minus infinity, is never among them.

    Raises
    ------
    ValueError
        ``k`` is less than 1.
    """
    if k < 1:
        raise ValueError(f"k must be 1 or more, got {k}")
    k = min(k, score_BN.shape[1])
    barred_BN = score_BN.isnan() if shut_BN is None else score_BN.isnan() | shut_BN
    open_BN = score_BN.masked_fill(barred_BN, _SHUT)
    code_BK = _highest(open_BN, k)
    score_BK, order_BK = open_BN.gather(1, code_BK).sort(dim=1, descending=True, stable=True)
    code_BK = code_BK.gather(1, order_BK)
    return Top(code_BK.masked_fill(score_BK == _SHUT, NO_ITEM), score_BK)


def _highest(score_BN: Tensor, k: int) -> Tensor:
    """Return the codes of the ``k`` highest, ascending; of those that tie with the last one, the lowest codes."""
    if k == 0:
        return torch.empty(len(score_BN), 0, dtype=torch.long, device=score_BN.device)
    last_B1 = score_BN.topk(k, dim=1).values[:, -1:]
    above_BN, level_BN = score_BN > last_B1, score_BN == last_B1
    room_B1 = k - above_BN.sum(dim=1, keepdim=True)
    kept_BN = above_BN | (level_BN & (level_BN.cumsum(dim=1) <= room_B1))
    return kept_BN.nonzero()[:, 1].view(len(score_BN), k)
