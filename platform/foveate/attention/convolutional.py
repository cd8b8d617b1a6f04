"""A control: causal convolutions whose steps widen from layer to layer."""

from __future__ import annotations

from dataclasses import dataclass

import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.core.space import Choice, Space


class ConvolutionalMixer(Mixer):
    """Layers of causal convolution, each added to what came in; layer ``n`` reads every ``2^n``-th event.

    The answer depends on the newest ``1 + (kernel - 1) (2^layers - 1)`` events alone.

    Source: Yuan et al., A Simple Convolutional Generative Network for Next Item Recommendation (2019), section 3.2.
    """

    def __init__(self, width: int, kernel: int, layers: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.convolutions = nn.ModuleList([nn.Conv1d(width, width, kernel, dilation=2**n) for n in range(layers)])
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors; a convolution has no weights that differ from viewer to viewer."""
        valid_B1L = context.valid_BL[:, None]
        x_BDL = x_BLD.mT
        for index, convolution in enumerate(self.convolutions):
            reach = (self.kernel - 1) * 2**index
            # A layer's bias lifts padding off zero, and the next layer would read it.
            x_BDL = x_BDL + F.gelu(convolution(F.pad(x_BDL * valid_B1L, (reach, 0))))
        return self.out(x_BDL.mT), None


@dataclass(frozen=True)
class Convolutional(MixerConfig):
    """Causal dilated convolutions over the history: the newest events by their place, whatever they are.

    Parameters
    ----------
    kernel
        How many events a layer weighs at once.
    layers
        How many layers; each reads twice as far apart as the one before.
    """

    name = "convolutional"

    kernel: int = 3
    layers: int = 3

    def __post_init__(self) -> None:
        if self.kernel < 2 or self.layers < 1:
            raise ValueError("kernel must be 2 or more, and layers 1 or more")

    def build(self, width: int, max_len: int) -> ConvolutionalMixer:
        del max_len
        return ConvolutionalMixer(width, self.kernel, self.layers)

    @classmethod
    def search_space(cls) -> Space:
        return {"kernel": Choice((2, 3, 5)), "layers": Choice((3, 4))}
