"""Item input: its duration."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from foveate.core.space import Choice, Space
from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInputConfig


@dataclass(frozen=True)
class Duration(ItemInputConfig):
    """The item's length, in buckets of equal width on a log scale.

    Parameters
    ----------
    per_octave
        How many buckets lie between a length and its double.
    """

    name = "duration"

    per_octave: int = 2

    def __post_init__(self) -> None:
        if self.per_octave < 1:
            raise ValueError(f"per_octave must be 1 or more, got {self.per_octave}")

    def facts(self, catalog: Catalog) -> Bag:
        """Return each item's bucket."""
        seconds_I = catalog.duration.astype(np.float64)
        known_I = seconds_I >= 0
        octave_I = np.log2(1 + np.where(known_I, seconds_I, 0.0))
        return Bag.of_codes(np.where(known_I, np.floor(octave_I * self.per_octave), -1).astype(np.int64))

    @classmethod
    def search_space(cls) -> Space:
        return {"per_octave": Choice((1, 2, 4))}
