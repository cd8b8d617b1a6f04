"""The seams of the attention family.

Legend of tensor names: ``B`` viewers, ``L`` history positions, ``D`` width, ``H`` heads, ``K`` width of a head, ``N``
items.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import ClassVar

import torch
from torch import Tensor, nn

from foveate.attention.top import Top, best
from foveate.core.registry import Registry, Variant


@dataclass(frozen=True)
class SequenceContext:
    """What a mixer may know beside the vectors.

    Parameters
    ----------
    valid_BL
        bool: False where a position is padding. Padding stands on the left: the newest event is always at position
        ``L - 1``.
    times_BL
        int64 UTC microseconds, ``NO_TIME`` where unknown or padding.
    kinds_BL
        int64 positions in ``EVENT_KINDS``, -1 where unknown or padding.
    want_weights
        Whether the mixer should return its weights.
    padded
        False promises that no position is padding, which lets a mixer take a quicker path to the same answer.
    """

    valid_BL: Tensor
    times_BL: Tensor
    kinds_BL: Tensor
    want_weights: bool = False
    padded: bool = True

    _masks: list[Tensor] = field(default_factory=list, init=False, repr=False, compare=False)

    @property
    def mask(self) -> Tensor:
        """What :func:`causal_mask` says, made once for all the blocks that ask."""
        # Not a cached_property: before Python 3.12 that takes a lock, which torch's compiler cannot read past.
        if not self._masks:
            self._masks.append(causal_mask(self))
        return self._masks[0]


class Mixer(nn.Module):
    """Weighs each event's past. Causal: position ``i`` of the answer depends on positions up to ``i`` alone."""

    def forward(self, x_BLD: Tensor, context: SequenceContext) -> tuple[Tensor, Tensor | None]:
        """Return the mixed vectors ``[B, L, D]`` and, where wanted and known, the weights ``[B, H, L, L]``."""
        raise NotImplementedError


class MixerConfig(Variant):
    """Base of the mixers' frozen configs; each file of this package that defines one adds a mixer."""

    variants: ClassVar[Registry[MixerConfig]]

    def build(self, width: int, max_len: int) -> Mixer:
        """Build the module for vectors of ``width`` and histories of up to ``max_len`` events."""
        raise NotImplementedError


class Matcher(nn.Module):
    """What says how well viewers and items go together: a scorer, or a head in its place.

    ``indexable`` says whether the dot product of what :meth:`as_dot` returns is the score.
    """

    indexable: ClassVar[bool] = False

    def forward(self, user_BD: Tensor, item_ND: Tensor) -> Tensor:
        """Return scores ``[B, N]``; ``item_ND`` may also be ``[B, N, D]`` for candidates of each viewer."""
        raise NotImplementedError

    def top_k(self, user_BD: Tensor, item_ND: Tensor, k: int, shut_BN: Tensor | None = None) -> Top:
        """Return each viewer's best ``k`` items, best first and ties by code.

        Parameters
        ----------
        user_BD, item_ND
            Viewers, and the items that they all choose from.
        k
            How many items are wanted; fewer are found where fewer are open.
        shut_BN
            bool: what a viewer must not be shown; left out before the top is taken.
        """
        return best(self(user_BD, item_ND), k, shut_BN)

    def as_dot(self, user_BD: Tensor, item_ND: Tensor) -> tuple[Tensor, Tensor]:
        """Return vectors of both sides, each by itself, whose dot product stands for the score in an index."""
        return user_BD, item_ND


class Scorer(Matcher):
    """Scores viewers against items."""

    indexable: ClassVar[bool] = True


class ScorerConfig(Variant):
    """Base of the scorers' frozen configs."""

    variants: ClassVar[Registry[ScorerConfig]]

    def build(self, width: int) -> Scorer:
        """Build the module for vectors of ``width``."""
        raise NotImplementedError


MixerConfig.variants = Registry("mixer", MixerConfig, "foveate.attention")
ScorerConfig.variants = Registry("scorer", ScorerConfig, "foveate.attention")


def causal_mask(context: SequenceContext) -> Tensor:
    """Return ``[B, 1, L, L]`` bool, True where a query position may look: its past and itself, without padding.

    A padded query looks at itself alone, so that its softmax stays finite; what it answers is never read.
    """
    length = context.valid_BL.shape[1]
    past_LL = torch.ones(length, length, dtype=torch.bool, device=context.valid_BL.device).tril()
    self_LL = torch.eye(length, dtype=torch.bool, device=context.valid_BL.device)
    return (past_LL & context.valid_BL[:, None, :] | self_LL)[:, None]


def match(user_BD: Tensor, item_ND: Tensor) -> Tensor:
    """Return dot products ``[B, N]``, with items that all viewers share ``[N, D]`` or that each has ``[B, N, D]``."""
    if item_ND.dim() == 2:
        return user_BD @ item_ND.mT
    return (item_ND @ user_BD[:, :, None])[..., 0]


_COLDEST = 0.01
"""Below this temperature the softmax of a cosine is nearly one-hot and its gradient vanishes."""

_HOTTEST = 10.0
"""Above it, all items score alike."""


def check_temperature(temperature: float) -> None:
    """Refuse a temperature that nothing can be learned at.

    Raises
    ------
    ValueError
        It is too cold or too hot.
    """
    if not _COLDEST <= temperature <= _HOTTEST:
        raise ValueError(f"temperature must lie between {_COLDEST} and {_HOTTEST:g}, got {temperature}")


def log_scale(temperature: float, *, learned: bool) -> nn.Parameter:
    """Return the parameter whose :func:`scale` is one over the temperature at the start."""
    return nn.Parameter(torch.tensor(-math.log(temperature)), requires_grad=learned)


def scale(log_scale: Tensor) -> Tensor:
    """Return what cosines are multiplied with."""
    return log_scale.clamp(max=-math.log(_COLDEST)).exp()
