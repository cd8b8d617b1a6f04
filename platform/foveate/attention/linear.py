"""Attention whose time and memory grow linearly with the history."""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from foveate.attention.base import Mixer, MixerConfig, SequenceContext
from foveate.attention.heads import check_heads, check_settings, join_heads, split_heads
from foveate.core.space import Choice, Space

_CHUNK = 64
"""Events weighed pair by pair; older ones are known by one matrix alone. About as wide as a head, both halves of the
work cost the same."""

_SHORTEST = 2.0
"""Half-life, in events, from which those of fresh heads are spread up to the longest history."""

_LEAST = 1e-6
"""A sum of weights counts as at least this much; only a query that sees nothing has less."""


class LinearMixer(Mixer):
    """Weights ``phi(q_i) . phi(k_j) 2^(-(i - j) / half_life)`` over their sum, with ``phi = elu + 1``.

    Weights that are products split into what the query and what the past contributes, so a sum over the whole past is
    carried along instead of being taken anew for every event. The half-life is learned for each head; it makes order
    matter and depends on distance alone.

    Source: Katharopoulos et al., Transformers are RNNs (2020), section 3.2 and 3.3; the decay and the form in chunks
    are those of Sun et al., Retentive Network (2023), section 2.1.
    """

    def __init__(self, width: int, max_len: int, heads: int) -> None:
        super().__init__()
        check_heads(width, heads)
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        reach_H = (torch.arange(heads) + 1) / heads
        self.log_half_life = nn.Parameter(math.log(_SHORTEST) + reach_H * math.log(max(max_len / _SHORTEST, 2.0)))

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors and, where wanted, the weights: only then is every pair looked at."""
        q_BHLK, k_BHLK, v_BHLK = (split_heads(part, self.heads) for part in self.qkv(x_BLD).chunk(3, dim=-1))
        q_BHLK, k_BHLK = F.elu(q_BHLK) + 1, (F.elu(k_BHLK) + 1) * context.valid_BL[:, None, :, None]
        rate_H = math.log(2) * (-self.log_half_life).exp()
        y_BLD = self.out(join_heads(attend_in_chunks(q_BHLK, k_BHLK, v_BHLK, rate_H)))
        return y_BLD, pair_weights(q_BHLK, k_BHLK, rate_H) if context.want_weights else None


def attend_in_chunks(q_BHLK: Tensor, k_BHLK: Tensor, v_BHLK: Tensor, rate_H: Tensor) -> Tensor:
    """Return ``[B, H, L, K]``: the mean of values, weighed by ``q . k exp(-rate * distance)`` over the past.

    Queries and keys must not be negative; a key of zeros is not seen.
    """
    length = q_BHLK.shape[-2]
    chunk = min(length, _CHUNK)
    # A value of one sums the weights themselves.
    v_BHLV = F.pad(v_BHLK, (0, 1), value=1.0)
    q_BHNCK, k_BHNCK, v_BHNCV = (_in_chunks(x, chunk) for x in (q_BHLK, k_BHLK, v_BHLV))
    place_C = torch.arange(chunk, device=q_BHLK.device)
    near_BHNCV = (q_BHNCK @ k_BHNCK.mT * _faded(rate_H, place_C[:, None] - place_C).tril()[:, None]) @ v_BHNCV
    left_HNCK = _faded(rate_H, chunk - 1 - place_C)[:, None, :, None]
    past_BHNKV = _carry((k_BHNCK * left_HNCK).mT @ v_BHNCV, _faded(rate_H, torch.full_like(place_C[:1], chunk)))
    far_BHNCV = (q_BHNCK * _faded(rate_H, place_C + 1)[:, None, :, None]) @ past_BHNKV
    sum_BHLV = (near_BHNCV + far_BHNCV).flatten(2, 3)[:, :, :length]
    return sum_BHLV[..., :-1] / sum_BHLV[..., -1:].clamp(min=_LEAST)


def pair_weights(q_BHLK: Tensor, k_BHLK: Tensor, rate_H: Tensor) -> Tensor:
    """Return ``[B, H, L, L]``, the weights that :func:`attend_in_chunks` never holds."""
    place_L = torch.arange(q_BHLK.shape[-2], device=q_BHLK.device)
    weights_BHLL = q_BHLK @ k_BHLK.mT * _faded(rate_H, place_L[:, None] - place_L).tril()
    return weights_BHLL / weights_BHLL.sum(dim=-1, keepdim=True).clamp(min=_LEAST)


def _in_chunks(x_BHLK: Tensor, chunk: int) -> Tensor:
    """Return ``[B, H, N, C, K]``; the last chunk is filled up with zeros, which lie in everyone's future."""
    batch, heads, length, width = x_BHLK.shape
    return F.pad(x_BHLK, (0, 0, 0, -length % chunk)).view(batch, heads, -1, chunk, width)


def _faded(rate_H: Tensor, distance: Tensor) -> Tensor:
    """Return ``[H, ...]``: what is left of a weight after so many events; a distance below zero counts as zero."""
    shape = (-1, *[1] * distance.dim())
    return (-rate_H.view(shape) * distance.clamp(min=0)).exp()


def _carry(own_BHNKV: Tensor, fade_H1: Tensor) -> Tensor:
    """Return what each chunk finds of all the chunks before it: the one thing done one after another."""
    past, found = torch.zeros_like(own_BHNKV[:, :, 0]), []
    for own_BHKV in own_BHNKV.unbind(2):
        found.append(past)
        past = past * fade_H1[..., None] + own_BHKV
    return torch.stack(found, dim=2)


@dataclass(frozen=True)
class Linear(MixerConfig):
    """Causal attention of linear cost with a learned decay, for long histories.

    Parameters
    ----------
    heads
        How many ways of weighing run side by side, each with a half-life of its own; must divide the width.
    """

    name = "linear"

    heads: int = 2

    def __post_init__(self) -> None:
        check_settings(self.heads)

    def build(self, width: int, max_len: int) -> LinearMixer:
        return LinearMixer(width, max_len, self.heads)

    @classmethod
    def search_space(cls) -> Space:
        return {"heads": Choice((1, 2, 4))}
