"""The control: every past event weighs the same."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext


class MeanPoolMixer(Mixer):
    """The running mean of the past, between two linear maps."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.value = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the equal weights."""
        valid_BL1 = context.valid_BL[..., None].to(x_BLD.dtype)
        count_BL1 = valid_BL1.cumsum(dim=1).clamp(min=1)
        y_BLD = self.out((self.value(x_BLD) * valid_BL1).cumsum(dim=1) / count_BL1)
        if not context.want_weights:
            return y_BLD, None
        weights_BLL = context.mask[:, 0].to(x_BLD.dtype)
        return y_BLD, (weights_BLL / weights_BLL.sum(dim=-1, keepdim=True))[:, None]


@dataclass(frozen=True)
class MeanPool(MixerConfig):
    """Causal running mean of the history: what attention has to beat."""

    name = "mean_pool"

    def build(self, width: int, max_len: int) -> MeanPoolMixer:
        del max_len
        return MeanPoolMixer(width)
