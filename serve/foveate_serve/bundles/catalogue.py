"""The catalogue's changes in one replica: read from the store again and again, and put over every bundle it holds."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from foveate.bundle import Bundle
from foveate.core.errors import FoveateError, StateError
from foveate.data.overlay import CatalogOverlay
from foveate.state.items import ItemStore
from foveate.state.overlay import followed
from foveate_serve.bundles.slots import BundleSlots

logger = logging.getLogger("ray.serve")

EVERY_S: Final = 0.5
"""Seconds between two looks at the store: a change is in every replica's answers soon after."""
_UNREAD: Final = "the catalogue's changes are not in the answers: %s"


class CatalogFeed:
    """Keeps the bundles of one replica up to the catalogue's changes.

    Parameters
    ----------
    store
        Where changes are read.
    every_s
        Seconds between two looks.
    """

    def __init__(self, store: ItemStore, every_s: float = EVERY_S) -> None:
        self._store = store
        self._every_s = every_s
        self._overlay: CatalogOverlay | None = None
        self._following: asyncio.Task[None] | None = None

    @property
    def version(self) -> int:
        """The newest change that is in the answers, 0 before there is one."""
        return 0 if self._overlay is None else self._overlay.version

    def over(self, bundle: Bundle) -> Bundle:
        """Return a bundle with what has changed in the catalogue; itself where that cannot be had."""
        try:
            if self._overlay is None:
                self._overlay = followed(CatalogOverlay(), self._store)
            catalog = self._overlay.over(bundle.model.catalog)
            return bundle if catalog is bundle.model.catalog else replace(bundle, model=bundle.model.extended(catalog))
        except Exception as error:
            # Slates of the bundle's own items are better than none.
            expected = isinstance(error, FoveateError)
            logger.warning(_UNREAD, error, exc_info=None if expected else error)
            return bundle

    def follow(self, slots: BundleSlots) -> None:
        """Go on looking, beside the event loop's other work; a second call changes nothing."""
        if self._following is None:
            self._following = asyncio.create_task(self._follow(slots))

    def stop(self) -> None:
        """Look no more."""
        if self._following is not None:
            self._following.cancel()
            self._following = None

    async def _follow(self, slots: BundleSlots) -> None:
        readable = True
        while True:
            await asyncio.sleep(self._every_s)
            try:
                newest = await asyncio.to_thread(followed, self._overlay or CatalogOverlay(), self._store)
            except StateError as error:
                if readable:
                    logger.warning(_UNREAD, error)
                readable = False
                continue
            readable = True
            if newest is not self._overlay:
                self._overlay = newest
                await slots.renew()


def slots_of(
    deployment: str, load: Callable[[Path], Bundle], on_swap: Callable[[Bundle | None], None], items: ItemStore
) -> tuple[BundleSlots, CatalogFeed]:
    """Return slots whose bundles have the catalogue's changes over them, and what keeps them so.

    Parameters
    ----------
    deployment, load, on_swap
        As :class:`~foveate_serve.bundles.slots.Slots` takes them.
    items
        Where changes are read.
    """
    feed = CatalogFeed(items)
    return BundleSlots(deployment, load, on_swap, feed.over), feed
