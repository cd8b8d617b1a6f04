"""A control: a recurrent network reads the history event by event."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext


class RecurrentMixer(Mixer):
    """A gated recurrent unit and a linear map.

    Padding is read last, after every event, so that the state an event finds is that of its past alone.

    Source: Cho et al., Learning Phrase Representations (2014), section 2.3; over histories, Hidasi et al.,
    Session-based Recommendations with Recurrent Neural Networks (2016), section 3.1.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gru = nn.GRU(width, width, batch_first=True)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors; a state has no weights to show."""
        if not context.padded:
            return self.out(self.gru(x_BLD)[0]), None
        padding_B1 = (~context.valid_BL).sum(dim=1, keepdim=True)
        states_BLD, _ = self.gru(_rolled(x_BLD, padding_B1))
        return self.out(_rolled(states_BLD, -padding_B1)), None


def _rolled(x_BLD: Tensor, shifts_B1: Tensor) -> Tensor:
    """Move each viewer's vectors that many places to the front; what falls off there comes back at the end."""
    length = x_BLD.shape[1]
    from_BL = (torch.arange(length, device=x_BLD.device) + shifts_B1) % length
    return x_BLD.gather(1, from_BL[..., None].expand_as(x_BLD))


@dataclass(frozen=True)
class Recurrent(MixerConfig):
    """A recurrent network (GRU) over the history: what attention took the place of."""

    name = "recurrent"

    def build(self, width: int, max_len: int) -> RecurrentMixer:
        del max_len
        return RecurrentMixer(width)
