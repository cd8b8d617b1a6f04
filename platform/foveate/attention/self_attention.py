"""Single-head self-attention: one way of weighing the past, over the whole width."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.attention.base import MixerConfig
from foveate.attention.heads import AttentionMixer, check_settings
from foveate.core.space import Choice, Space


@dataclass(frozen=True)
class SelfAttention(MixerConfig):
    """Causal self-attention with one head (Vaswani et al., Attention Is All You Need, 2017, section 3.2.1).

    Parameters
    ----------
    rotary
        Whether queries and keys are rotated by their position, so that distances in the history are known.
    dropout
        Share of weights left out in training.
    """

    name = "self_attention"

    rotary: bool = True
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_settings(heads=1, dropout=self.dropout)

    def build(self, width: int, max_len: int) -> AttentionMixer:
        del max_len
        return AttentionMixer(width, heads=1, rotary=self.rotary, dropout=self.dropout)

    @classmethod
    def search_space(cls) -> Space:
        return {"rotary": Choice((False, True))}
