"""Item input: its categories."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInputConfig


@dataclass(frozen=True)
class Categories(ItemInputConfig):
    """The mean of the item's categories."""

    name = "categories"

    def facts(self, catalog: Catalog) -> Bag:
        """Return each item's categories."""
        return Bag.of_matrix(catalog.categories)
