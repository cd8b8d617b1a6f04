"""The seam of indexes over item vectors.

Shapes: ``I`` items, ``D`` width, ``K`` items that are found.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from foveate.core.registry import Registry, Variant

Vectors = NDArray[np.float32]
Arrays = Mapping[str, NDArray[np.generic]]


class VectorIndex(ABC):
    """Finds the items of large dot products without forming all of them."""

    probes: int
    """How much of the index a search looks through."""

    @property
    @abstractmethod
    def most_probes(self) -> int:
        """The ``probes`` that look through all of it."""

    @abstractmethod
    def search(self, user_D: Vectors, k: int, exclude: NDArray[np.int32]) -> NDArray[np.int32]:
        """Return up to ``k`` item codes, best first; the excluded are left out before they are counted."""

    @abstractmethod
    def arrays(self) -> Arrays:
        """Return what ``IndexConfig.restore`` needs beside the item vectors."""


class IndexConfig(Variant):
    """Base of the indexes' frozen configs; each file of this package that defines one adds a way to retrieve."""

    variants: ClassVar[Registry[IndexConfig]]

    recall: float
    """Share of the true best that a search has to find, measured when the index is built."""
    widen: int
    """How many times as many items are looked up where the encoder's match is no dot product."""

    def chosen(self, n_items: int) -> IndexConfig | None:
        """Return how to retrieve from so many items; None where all of them are to be scored."""
        raise NotImplementedError

    def build(self, item_ID: Vectors, seed: int) -> VectorIndex:
        """Lay out the vectors."""
        raise NotImplementedError

    def of_run(self, arrays: Arrays, codes: range) -> Arrays:
        """Return the arrays of an index as if it held no other items than a run of codes."""
        raise NotImplementedError

    def restore(self, item_ID: Vectors, arrays: Arrays) -> VectorIndex:
        """Lay out the vectors again as they were when the arrays were made."""
        raise NotImplementedError


IndexConfig.variants = Registry("index", IndexConfig, "foveate.retrieval.index")
