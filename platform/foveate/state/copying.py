"""Copying a store into another one: a move from a file to a server, or back; and what did not arrive."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Final

from foveate.core.errors import NotFoundError
from foveate.core.grouped import in_parts
from foveate.state.base import ImpressionStore, ServedRequest, ViewerStore
from foveate.state.connect import StatePlace, open_impressions, open_items, open_viewers, unhurried
from foveate.state.items import CatalogItem, ItemStore

_REQUESTS: Final = 100
"""Served requests written in one go."""
_ITEMS: Final = 1_000
"""Items written in one go."""


@dataclass(frozen=True)
class Copied:
    """What was found in the source, and what of it the target has.

    Parameters
    ----------
    events, new_events
        Of the source, and how many of them the target did not have.
    requests
        Served requests of the source.
    missing_events, missing_requests
        What the target does not have after the copy, known once all is copied: a store with a longest history, or with
        a retention, drops what is older.
    """

    events: int = 0
    new_events: int = 0
    requests: int = 0
    missing_events: int = 0
    missing_requests: int = 0

    @property
    def whole(self) -> bool:
        """Whether the target has all that the source had."""
        return not self.missing_events and not self.missing_requests


def copy_state(
    source: StatePlace,
    target: StatePlace,
    *,
    impressions: bool = True,
    progress: Callable[[Copied], None] | None = None,
) -> Copied:
    """Copy what viewers did, the catalogue's changes and, with ``impressions``, what was shown and where bundles lay.

    What is there already stays as it is, so a copy that broke off is begun again. An event keeps its version unless
    its viewer has newer ones there, so that replays of what was shown find the same histories. At the end the target
    is asked for all that was copied.

    Parameters
    ----------
    source, target
        Paths or addresses; an absent target file is made.
    progress
        Called with what has been copied so far.

    Raises
    ------
    StateError
        A store cannot be used.
    ConfigError
        An address cannot be read.
    """
    say = progress or _silent
    source, target = unhurried(source), unhurried(target)
    copied = Copied()
    with open_viewers(source, create=False) as viewers, open_viewers(target) as there:
        there.prepare()
        # What comes while we copy is the next copy's.
        until = viewers.version()
        copied = _events(viewers, there, copied, say)
        for content_hash, events in viewers.imports().items():
            there.remember_import(content_hash, events)
        copied = replace(copied, missing_events=_missing(viewers, there, until))
    with open_items(source, create=False) as changed, open_items(target) as changed_there:
        _items(changed, changed_there)
    if impressions:
        with open_impressions(source, create=False) as shown, open_impressions(target) as there:
            copied = _requests(shown, there, copied, say)
            for bundle_id, path in shown.bundles().items():
                there.remember_bundle(bundle_id, path)
    return copied


def _events(source: ViewerStore, target: ViewerStore, copied: Copied, say: Callable[[Copied], None]) -> Copied:
    for part in source.kept():
        new = target.keep(part)
        copied = replace(copied, events=copied.events + len(part), new_events=copied.new_events + new)
        say(copied)
    return copied


def _items(source: ItemStore, target: ItemStore) -> None:
    """Copy the changes of items that the target knows nothing of, in their order."""
    there = {one.item_id for one in target.changes(0)}
    for part in in_parts((one for one in source.changes(0) if one.item_id not in there), _ITEMS):
        target.put([CatalogItem(one.item_id, **one.facts) for one in part])
        target.withdraw([one.item_id for one in part if one.withdrawn])


def _missing(source: ViewerStore, target: ViewerStore, until: int) -> int:
    """Return how many events up to a version of the source the target does not have."""
    missing = 0
    for part in source.kept():
        copied = [one for one in part if one.version <= until]
        missing += len(copied) - target.holds(copied)
    return missing


def _requests(
    source: ImpressionStore, target: ImpressionStore, copied: Copied, say: Callable[[Copied], None]
) -> Copied:
    found: set[str] = set()
    # Oldest first: the target lists them by when they came.
    for names in in_parts(reversed(source.request_ids(None)), _REQUESTS):
        served = [one for one in (_read(source, name) for name in names) if one is not None]
        target.write(served)
        found.update(one.slate.request_id for one in served)
        copied = replace(copied, requests=copied.requests + len(served))
        say(copied)
    return replace(copied, missing_requests=len(found - set(target.request_ids(None))))


def _read(source: ImpressionStore, request_id: str) -> ServedRequest | None:
    try:
        return source.read(request_id)
    except NotFoundError:
        # A store may drop what is old while we read.
        return None


def _silent(copied: Copied) -> None:
    del copied
