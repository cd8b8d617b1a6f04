"""The catalogue's changes of a store as an overlay over a bundle's catalogue."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import polars as pl

from foveate.data.overlay import WITHDRAWN, CatalogOverlay, items_frame
from foveate.data.schema import ITEM_ID, as_items
from foveate.state.items import CatalogItem, ItemStore

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_TIMES: Final = ("published_at", "available_from")


def followed(overlay: CatalogOverlay, store: ItemStore) -> CatalogOverlay:
    """Return an overlay with what has changed in a store since; itself where nothing has.

    Raises
    ------
    StateError
        The store cannot be used.
    """
    if store.version() == overlay.version:
        return overlay
    changed = store.changes(overlay.version)
    if not changed:
        return overlay
    rows = [
        {ITEM_ID: one.item_id, WITHDRAWN: one.withdrawn}
        | {name: _moment(fact) if name in _TIMES else fact for name, fact in one.facts.items()}
        for one in changed
    ]
    return overlay.updated(items_frame(rows), max(one.version for one in changed))


def items_of(frame: pl.DataFrame) -> Iterator[CatalogItem]:
    """Yield the rows of a table of items, with columns of :data:`foveate.data.schema.ITEMS`, as a store takes them."""
    for row in as_items(frame).iter_rows(named=True):
        facts: dict[str, Any] = {name: tuple(fact) if isinstance(fact, list) else fact for name, fact in row.items()}
        yield CatalogItem(**(facts | {name: _micros(facts[name]) for name in _TIMES}))


def _micros(moment: datetime | None) -> int | None:
    return None if moment is None else (moment - _EPOCH) // timedelta(microseconds=1)


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
