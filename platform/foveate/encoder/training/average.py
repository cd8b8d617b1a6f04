"""The moving average of a model's weights, which often answers better than the weights of any one step."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.optim.swa_utils import AveragedModel

from foveate.encoder.model import SequenceEncoder


def averaged(model: SequenceEncoder, decay: float) -> AveragedModel | None:
    """Return what keeps the average of ``model``'s weights; None for a ``decay`` of 0.

    Parameters
    ----------
    decay
        Share of the average that a step keeps, such as 0.998; the first steps keep less, so that a short training is
        not held back by where it began. Source: Polyak and Juditsky, Acceleration of Stochastic Approximation (1992).
    """
    if not decay:
        return None

    @torch.no_grad()
    def blend(average: Sequence[Tensor], current: Sequence[Tensor], steps: Tensor | int) -> None:
        kept = min(decay, (1 + int(steps)) / (10 + int(steps)))
        torch._foreach_lerp_(list(average), list(current), 1 - kept)

    return AveragedModel(model, multi_avg_fn=blend)
