"""Item input: its tags."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInputConfig


@dataclass(frozen=True)
class Tags(ItemInputConfig):
    """The mean of the item's tags."""

    name = "tags"

    def facts(self, catalog: Catalog) -> Bag:
        """Return each item's tags."""
        return Bag.of_matrix(catalog.tags)
