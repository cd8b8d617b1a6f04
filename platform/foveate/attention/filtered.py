"""Attention beside a filter: what drifts slowly in a history, and what differs from that just now."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.heads import AttentionMixer, check_settings
from foveate.core.space import Choice, Space


class FilteredMixer(Mixer):
    """``mix (low + detail^2 (x - low)) + (1 - mix) attention(x)``, with ``mix`` and ``detail`` learned by channel.

    ``low`` is the mean of the newest events. Attention alone blurs a history: its weights cannot be negative, so it
    lets slow changes through and little else; the remainder ``x - low`` is what it loses.

    Source: Shin et al., An Attentive Inductive Bias for Sequential Recommendation beyond the Self-Attention (2024),
    section 4; a running mean stands for their Fourier transform, which looks ahead.
    """

    def __init__(self, width: int, config: Filtered) -> None:
        super().__init__()
        self.window = config.window
        self.attention = AttentionMixer(width, heads=config.heads, rotary=True, dropout=config.dropout)
        self.detail = nn.Parameter(torch.ones(width))
        self.mix = nn.Parameter(torch.zeros(width))

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the weights of the attention."""
        low_BLD = running_mean(x_BLD, context.valid_BL, self.window)
        filtered_BLD = low_BLD + self.detail.square() * (x_BLD - low_BLD)
        attended_BLD, weights = self.attention(x_BLD, context)
        mix_D = self.mix.sigmoid()
        return mix_D * filtered_BLD + (1 - mix_D) * attended_BLD, weights


def running_mean(x_BLD: Tensor, valid_BL: Tensor, window: int) -> Tensor:
    """Return the mean of each event and those before it, ``window`` together, padding left out."""
    valid_BL1 = valid_BL[..., None].to(x_BLD.dtype)
    sum_BLD, count_BL1 = (_running_sum(values, window) for values in (x_BLD * valid_BL1, valid_BL1))
    return sum_BLD / count_BL1.clamp(min=1)


def _running_sum(x_BLD: Tensor, window: int) -> Tensor:
    total_BLD = x_BLD.cumsum(dim=1)
    return total_BLD - F.pad(total_BLD, (0, 0, window, 0))[:, : x_BLD.shape[1]]


@dataclass(frozen=True)
class Filtered(MixerConfig):
    """Causal multi-head attention beside a low-pass filter and its remainder, in a learned mix.

    Parameters
    ----------
    window
        How many of the newest events the low-pass filter takes the mean of.
    heads
        How many ways of weighing run side by side; must divide the width.
    dropout
        Share of weights left out in training.
    """

    name = "filtered"

    window: int = 4
    heads: int = 2
    dropout: float = 0.0

    def __post_init__(self) -> None:
        check_settings(self.heads, self.dropout)
        if self.window < 2:
            raise ValueError(f"window must be 2 or more, got {self.window}")

    def build(self, width: int, max_len: int) -> FilteredMixer:
        del max_len
        return FilteredMixer(width, self)

    @classmethod
    def search_space(cls) -> Space:
        return {"window": Choice((2, 4, 8)), "heads": Choice((1, 2, 4))}
