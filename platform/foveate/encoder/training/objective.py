"""The objective of a training step: the loss of the next item and of the auxiliary tasks."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor, nn

from foveate.encoder.auxiliaries.base import AuxiliaryConfig, Step
from foveate.encoder.losses.base import Loss


class Objective(nn.Module):
    """A loss and weighted auxiliaries.

    Parameters
    ----------
    loss
        Of the next item.
    auxiliaries
        What is learned beside it.
    width
        Length of the encoder's vectors.
    """

    def __init__(self, loss: Loss, auxiliaries: Sequence[AuxiliaryConfig], width: int) -> None:
        super().__init__()
        self.loss = loss
        self.tasks = nn.ModuleDict({config.name: config.build(width) for config in auxiliaries})
        self._weights = {config.name: config.weight for config in auxiliaries}

    def forward(self, step: Step) -> Tensor:
        """Return the weighted sum, a scalar."""
        users, items, score = step.scored()
        total: Tensor = self.loss(users, step.target_T, items, score)
        for name, task in self.tasks.items():
            total = total + self._weights[name] * task(step)
        return total
