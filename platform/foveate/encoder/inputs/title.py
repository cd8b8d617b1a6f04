"""Item input: the words of its title."""

from __future__ import annotations

import re
import zlib
from dataclasses import dataclass

import numpy as np

from foveate.core.space import Choice, Space
from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInput, ItemInputConfig

_WORD = re.compile(r"\w+")


@dataclass(frozen=True)
class Title(ItemInputConfig):
    """The mean of the words of the item's title, each hashed to one of a few learned vectors.

    No vocabulary is kept, so a word that training never met has a vector too; two words may share one
    (Weinberger et al., Feature Hashing, 2009, section 2).

    Parameters
    ----------
    buckets
        How many vectors the words share.
    """

    name = "title"

    buckets: int = 4096

    def __post_init__(self) -> None:
        if self.buckets < 1:
            raise ValueError(f"buckets must be 1 or more, got {self.buckets}")

    def facts(self, catalog: Catalog) -> Bag:
        """Return the buckets of each title's words."""
        words = [_WORD.findall((title or "").casefold()) for title in catalog.frame["title"]]
        offsets = np.cumsum([0, *map(len, words)], dtype=np.int64)
        # crc32 and not hash(): Python's own changes from process to process.
        codes = [zlib.crc32(word.encode()) % self.buckets for own in words for word in own]
        return Bag(offsets, np.array(codes, dtype=np.int64))

    def build(self, width: int, facts: Bag) -> ItemInput:
        """Build the module for vectors of ``width``; it keeps the facts."""
        return ItemInput(facts, self.buckets, width)

    @classmethod
    def search_space(cls) -> Space:
        return {"buckets": Choice((1024, 4096, 16384))}
