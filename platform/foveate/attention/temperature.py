"""A learned temperature: how sharply scores of directions tell items apart."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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
