"""Multi-head attention that may also say nothing: a learned gate on each head's output."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.heads import attend, check_heads, check_settings, join_heads, split_heads
from foveate.core.space import Choice, Space

_OPEN = 1.0
"""Initial bias of a gate: sigmoid(1) lets three quarters through, so that learning starts from attention."""


class GatedMixer(Mixer):
    """Attention whose heads are scaled by sigmoid gates of the querying event.

    Source: Qiu et al., Gated Attention for Large Language Models (2025), section 2.2.
    """

    def __init__(self, width: int, config: Gated) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(width, 3 * width)
        self.gate = nn.Linear(width, width if config.by_channel else config.heads)
        self.out = nn.Linear(width, width)
        nn.init.constant_(self.gate.bias, _OPEN)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the weights before the gate."""
        dropout = self.config.dropout if self.training else 0.0
        y_BHLK, weights = attend(
            self.qkv(x_BLD), context, heads=self.config.heads, rotary=self.config.rotary, dropout=dropout
        )
        gate_BHLK = split_heads(self.gate(x_BLD).sigmoid(), self.config.heads)
        return self.out(join_heads(y_BHLK * gate_BHLK)), weights


@dataclass(frozen=True)
class Gated(MixerConfig):
    """Causal multi-head attention with a learned gate on each head's output.

    Parameters
    ----------
    heads
        How many ways of weighing run side by side; must divide the width.
    by_channel
        Whether each channel of a head has a gate of its own, or the head one for all.
    rotary
        Whether queries and keys are rotated by their position, so that distances in the history are known.
    dropout
        Share of weights left out in training.
    """

    name = "gated"

    heads: int = 2
    by_channel: bool = False
    rotary: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self.heads, self.dropout)

    def build(self, width: int, max_len: int) -> GatedMixer:
        del max_len
        check_heads(width, self.heads)
        return GatedMixer(width, self)

    @classmethod
    def search_space(cls) -> Space:
        return {"heads": Choice((1, 2, 4)), "by_channel": Choice((False, True)), "rotary": Choice((False, True))}
