"""Multi-head self-attention: each event weighs its past by how well queries meet keys."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.heads import attend, check_heads, join_heads
from foveate.space import Choice, Space


class SelfAttentionMixer(Mixer):
    """Causal scaled dot-product attention (Vaswani et al., Attention Is All You Need, 2017, section 3.2)."""

    def __init__(self, width: int, config: SelfAttention) -> None:
        super().__init__()
        self.config = config
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the weights."""
        dropout = self.config.dropout if self.training else 0.0
        y_BHLK, weights = attend(
            self.qkv(x_BLD), context, heads=self.config.heads, rotary=self.config.rotary, dropout=dropout
        )
        return self.out(join_heads(y_BHLK)), weights


@dataclass(frozen=True)
class SelfAttention(MixerConfig):
    """Causal multi-head self-attention; one head is the plain single-head kind.

    Parameters
    ----------
    heads
        How many ways of weighing run side by side; must divide the width.
    rotary
        Whether queries and keys are rotated by their position, so that distances in the history are known.
    dropout
        Share of weights left out in training.
    """

    name = "self_attention"

    heads: int = 2
    rotary: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        if self.heads < 1 or not 0 <= self.dropout < 1:
            raise ValueError("heads must be 1 or more, and dropout at least 0 and below 1")

    def build(self, width: int, max_len: int) -> SelfAttentionMixer:
        """Build the module."""
        del max_len
        check_heads(width, self.heads)
        return SelfAttentionMixer(width, self)

    @classmethod
    def search_space(cls) -> Space:
        """Return the settings worth sweeping."""
        return {"heads": Choice((1, 2, 4)), "rotary": Choice((False, True))}
