"""The seam of heads: interest predictors ``f(viewer, item)`` that take the scorer's place.

Legend of tensor names: ``B`` viewers, ``N`` items, ``D`` width.
"""

from __future__ import annotations

from typing import ClassVar

from foveate.attention.base import Matcher
from foveate.core.registry import Registry, Variant


class Head(Matcher):
    """Predicts interest from a viewer vector and an item vector, of any form."""


class HeadConfig(Variant):
    """Base of the heads' frozen configs; each file of this package that defines one adds a head."""

    variants: ClassVar[Registry[HeadConfig]]

    def build(self, width: int) -> Head:
        """Build the module for vectors of ``width``."""
        raise NotImplementedError


HeadConfig.variants = Registry("head", HeadConfig, "foveate.encoder.heads")
