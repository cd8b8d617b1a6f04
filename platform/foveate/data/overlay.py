"""What has changed in a catalogue since a bundle was made of it: new, changed and withdrawn items over its own.

A bundle never changes. Its items keep their codes; new ones get the codes behind them, in the order in which they first
came, so that processes that know more or fewer of them mean the same item by the same code.

Shapes: ``I`` items of the bundle, ``J`` items of the bundle and behind it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import polars as pl

from foveate.data.catalog import Catalog
from foveate.data.schema import ITEM_ID, ITEMS, as_items
from foveate.data.vocabulary import UNKNOWN

WITHDRAWN: Final = "withdrawn"


@dataclass(frozen=True)
class CatalogOverlay:
    """Items that came, changed or went.

    Parameters
    ----------
    frame
        Columns of :data:`foveate.data.schema.ITEMS` and ``withdrawn``, a row an item, in the order in which they first
        came.
    version
        Grows with every change.
    """

    frame: pl.DataFrame = field(default_factory=lambda: pl.DataFrame(schema={**ITEMS, WITHDRAWN: pl.Boolean()}))
    version: int = 0

    def over(self, catalog: Catalog) -> Catalog:
        """Return a bundle's catalogue with these items over it; ``catalog`` itself where there are none."""
        if self.frame.is_empty():
            return catalog
        codes = catalog.items.encode(self.frame[ITEM_ID])
        columns = list(ITEMS)
        new = self.frame.filter(codes == UNKNOWN)
        changed = self.frame.filter((codes != UNKNOWN) & ~self.frame[WITHDRAWN].to_numpy())
        own = as_items(catalog.frame)
        if not changed.is_empty():
            # A column that the change leaves out is unknown from now on, as it says.
            own = own.update(changed.select(columns), on=ITEM_ID, how="left", include_nulls=True)
        withdrawn_J = np.zeros(len(catalog) + new.height, dtype=bool)
        withdrawn_J[codes[(codes != UNKNOWN) & self.frame[WITHDRAWN].to_numpy()]] = True
        withdrawn_J[len(catalog) :] = new[WITHDRAWN].to_numpy()
        return Catalog(
            pl.concat([own, new.select(columns)]),
            appended=new.height,
            withdrawn=withdrawn_J if withdrawn_J.any() else None,
        )

    def updated(self, items: pl.DataFrame, version: int) -> CatalogOverlay:
        """Return the overlay after some more changes.

        Parameters
        ----------
        items
            Columns as ``frame`` has them; an item that is there already stays in its place.
        """
        latest = items.unique(ITEM_ID, keep="last", maintain_order=True)
        frame = self.frame.update(latest, on=ITEM_ID, how="left", include_nulls=True)
        new = latest.join(frame.select(ITEM_ID), on=ITEM_ID, how="anti", maintain_order="left")
        return CatalogOverlay(pl.concat([frame, new.select(frame.columns)]), version)


def items_frame(rows: Sequence[dict[str, object]]) -> pl.DataFrame:
    """Return items that were put as a table of an overlay.

    Parameters
    ----------
    rows
        Columns of :data:`foveate.data.schema.ITEMS`, those that are not known left out, and ``withdrawn``.
    """
    return pl.DataFrame(rows, schema={**ITEMS, WITHDRAWN: pl.Boolean()}).with_columns(
        pl.col(WITHDRAWN).fill_null(False)
    )
