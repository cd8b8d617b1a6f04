"""Where an encoder looked, block by block, as one share for each event.

Legend of tensor names: ``B`` viewers, ``H`` heads, ``L`` positions.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def rollout(weights: Sequence[Tensor]) -> Tensor:
    """Return ``[B, L]``: how much of what the newest position holds came from each event; rows sum to one.

    The shares of each block are the mean over its heads. What a block adds stands beside what came in, so each counts
    for half: through two blocks the newest event always keeps at least a quarter. Source: Abnar and Zuidema,
    Quantifying Attention Flow in Transformers (2020), section 3, "attention rollout".

    Parameters
    ----------
    weights
        Of each block, the first one first, ``[B, H, L, L]``, none of them negative. Rows need not sum to one; one that
        gives no weight at all looks at itself.
    """
    newest = weights[-1].new_zeros(weights[-1].shape[::3])
    newest[:, -1] = 1.0
    for block in reversed(weights):
        newest = (newest + (newest[:, None] @ _shares(block))[:, 0]) / 2
    return newest


def _shares(weights: Tensor) -> Tensor:
    """Return ``[B, L, L]`` of rows that sum to one."""
    mean_BLL = weights.mean(dim=1)
    total_BL = mean_BLL.sum(dim=-1, keepdim=True)
    itself = torch.eye(mean_BLL.shape[-1], device=weights.device, dtype=mean_BLL.dtype)
    return torch.where(total_BL > 0, mean_BLL / total_BL.clamp(min=torch.finfo(mean_BLL.dtype).tiny), itself)
