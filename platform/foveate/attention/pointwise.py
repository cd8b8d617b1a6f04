"""Pointwise gated attention: each past event counts by itself, as its likeness, its distance and its age say."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.heads import check_heads, check_settings, join_heads, split_heads
from foveate.core.messages import NO_TIME
from foveate.core.space import Choice, Space

_BUCKETS = 64
"""Time gaps are told apart by half powers of two: the last bucket begins at 51 years."""

_BIAS_STD = 0.02
"""Standard deviation of fresh biases: small, so that likeness speaks first."""

_NORM_FLOOR = 1e-6
"""SiLU leaves sums far smaller than a softmax does; the usual floor of a layer norm would drown them."""


class PointwiseMixer(Mixer):
    """``out(norm(silu(q k + bias) v / seen) * u)``, where ``u, q, k, v`` are ``silu`` of one linear map.

    No softmax shares out a fixed whole, so how much past there is to a taste can be told from how little. The sum is
    over the events a query may see and is divided by their number, so padding changes nothing. The bias is a learned
    number for the distance in events plus one for the time gap in log buckets, the same for every head; a gap with an
    unknown end has none.

    Source: Zhai et al., Actions Speak Louder than Words (2024), section 3. Unlike there, the gap is taken from the
    querying event's own time and not from that of the next one.
    """

    def __init__(self, width: int, max_len: int, config: Pointwise) -> None:
        super().__init__()
        check_heads(width, config.heads)
        self.heads = config.heads
        self.uqkv = nn.Linear(width, 4 * width)
        self.norm = nn.LayerNorm(width, eps=_NORM_FLOOR)
        self.out = nn.Linear(width, width)
        self.distance = nn.Embedding(max_len, 1)
        # Bucket 0 is the gap that is not known: its bias is zero and stays zero.
        self.gap = nn.Embedding(_BUCKETS + 1, 1, padding_idx=0) if config.times else None
        for table in (self.distance, self.gap):
            if table is not None:
                nn.init.normal_(table.weight, std=_BIAS_STD)
        if self.gap is not None:
            nn.init.zeros_(self.gap.weight[0])

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the share of each event in the sum of absolute weights."""
        u_BLD, *qkv = F.silu(self.uqkv(x_BLD)).chunk(4, dim=-1)
        q_BHLK, k_BHLK, v_BHLK = (split_heads(part, self.heads) for part in qkv)
        likeness_BHLL = F.silu(q_BHLK @ k_BHLK.mT + self._bias(context)).masked_fill(~context.mask, 0.0)
        summed_BHLK = (likeness_BHLL @ v_BHLK) / context.mask.sum(dim=-1, keepdim=True)
        y_BLD = self.out(self.norm(join_heads(summed_BHLK)) * u_BLD)
        # SiLU dips below zero: an event that is subtracted counts as much as one that is added.
        return y_BLD, F.normalize(likeness_BHLL.abs(), p=1, dim=-1) if context.want_weights else None

    def _bias(self, context: SequenceContext) -> Tensor:
        """Return ``[B, 1, L, L]``, or ``[L, L]`` where times are not read."""
        place_L = torch.arange(context.valid_BL.shape[1], device=context.valid_BL.device)
        back_LL = (place_L[:, None] - place_L).clamp(min=0, max=self.distance.num_embeddings - 1)
        bias_LL: Tensor = self.distance(back_LL)[..., 0]
        if self.gap is None:
            return bias_LL
        bias_BLL: Tensor = bias_LL + self.gap(gap_buckets(context.times_BL))[..., 0]
        return bias_BLL[:, None]


def gap_buckets(times_BL: Tensor) -> Tensor:
    """Return ``[B, L, L]``: how long before the row's event the column's was, in log buckets from 1.

    0 where one of the two times is not known. An event that comes later counts as one of the same moment.
    """
    known_BL = times_BL != NO_TIME
    clock_BL = times_BL.masked_fill(~known_BL, 0)
    seconds_BLL = (clock_BL[:, :, None] - clock_BL[:, None]).clamp(min=0) / 1_000_000
    bucket_BLL = 1 + (2 * torch.log2(1 + seconds_BLL)).long().clamp(max=_BUCKETS - 1)
    return bucket_BLL * (known_BL[:, :, None] & known_BL[:, None])


@dataclass(frozen=True)
class Pointwise(MixerConfig):
    """Causal pointwise attention without a softmax, gated, with biases for distance and time gap (as in HSTU).

    Parameters
    ----------
    heads
        How many ways of weighing run side by side; must divide the width.
    times
        Whether the time between two events counts beside their distance.
    """

    name = "pointwise"

    heads: int = 2
    times: bool = True

    def __post_init__(self) -> None:
        check_settings(self.heads)

    def build(self, width: int, max_len: int) -> PointwiseMixer:
        return PointwiseMixer(width, max_len, self)

    @classmethod
    def search_space(cls) -> Space:
        return {"heads": Choice((1, 2, 4)), "times": Choice((False, True))}
