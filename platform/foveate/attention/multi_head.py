"""Multi-head self-attention: several ways of weighing the past side by side."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.attention.base import MixerConfig
from foveate.attention.heads import AttentionMixer, check_settings
from foveate.core.space import Choice, Space


@dataclass(frozen=True)
class MultiHead(MixerConfig):
    """Causal multi-head self-attention (Vaswani et al., Attention Is All You Need, 2017, section 3.2.2).

    Parameters
    ----------
    heads
        How many ways of weighing run side by side; must divide the width.
    rotary
        Whether queries and keys are rotated by their position, so that distances in the history are known.
    dropout
        Share of weights left out in training.
    """

    name = "multi_head"

    heads: int = 2
    rotary: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self.heads, self.dropout)

    def build(self, width: int, max_len: int) -> AttentionMixer:
        del max_len
        return AttentionMixer(width, heads=self.heads, rotary=self.rotary, dropout=self.dropout)

    @classmethod
    def search_space(cls) -> Space:
        return {"heads": Choice((1, 2, 4)), "rotary": Choice((False, True))}
