"""Item input: its channel."""

from __future__ import annotations

from dataclasses import dataclass

from foveate.data.catalog import Catalog
from foveate.encoder.inputs.base import Bag, ItemInputConfig


@dataclass(frozen=True)
class Channel(ItemInputConfig):
    """The item's channel."""

    name = "channel"

    def facts(self, catalog: Catalog) -> Bag:
        """Return each item's channel."""
        return Bag.of_codes(catalog.channel)
