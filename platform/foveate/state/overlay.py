"""The catalogue's changes of a store as an overlay over a bundle's catalogue."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from foveate.data.overlay import WITHDRAWN, CatalogOverlay, items_frame
from foveate.data.schema import ITEM_ID
from foveate.state.items import ItemStore

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


def _moment(micros: int) -> datetime:
    return _EPOCH + timedelta(microseconds=micros)
