"""A bundle on data that it may not have been made for: whether it fits, and has not seen the answers."""

from __future__ import annotations

from foveate.bundle import Bundle
from foveate.core.errors import BundleError
from foveate.core.messages import NO_TIME
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.importing.stream import read_events
from foveate.data.split import Protocol, Stage, windows
from foveate.data.vocabulary import Vocabulary
from foveate.recommend.model import Model

_KNOWN_SHARE = 0.5
"""A bundle that knows fewer of the data's items than this was made for another catalogue."""


SEEN = (
    "this bundle has learned from the window that it is asked about: its figures say nothing of the future. Those that "
    "were measured before its last training stand in its card"
)
NOT_KNOWN = "whether this bundle has learned from part of the window is not known: it was trained on other data"


def newest_stage(bundle: Bundle, dataset: Dataset, protocol: Protocol, like: Model | None = None) -> Stage:
    """Return the data's test window in the bundle's codes: see :func:`newest_window`."""
    return newest_window(bundle, dataset, protocol, like)[1]


def newest_window(
    bundle: Bundle, dataset: Dataset, protocol: Protocol, like: Model | None = None
) -> tuple[Events, Stage]:
    """Return the log and its test window in the bundle's codes; items that the bundle does not know follow its own.

    How wide the window is and what counts as interest is what ``like`` says, by default the bundle's own model.

    Raises
    ------
    BundleError
        The bundle was made for another catalogue.
    DataError
        The data cannot be cut by ``protocol``.
    """
    model = bundle.model
    items = Vocabulary(model.catalog.items.ids)
    _check_fit(bundle, dataset)
    items.extend(dataset.catalog().items.ids)
    like = like or model
    events = read_events(dataset, items, like.recipe.signals, like.positive_kinds)
    return events, windows(events, protocol, like.recipe.split).test


def notes_on(bundle: Bundle, dataset: Dataset, stage: Stage) -> tuple[str, ...]:
    """Return what a reader must know before believing the bundle's figures on the stage."""
    manifest = bundle.manifest
    if manifest.learned_until is not None and stage.now != NO_TIME:
        return (SEEN,) if manifest.learned_until > stage.now else ()
    if manifest.data_hash != dataset.manifest.content_hash:
        return (NOT_KNOWN,)
    by_order = manifest.recipe.get("protocol") == "leave-one-out" and stage.now == NO_TIME
    return () if by_order and manifest.upto == "test" else (SEEN,)


def _check_fit(bundle: Bundle, dataset: Dataset) -> None:
    own = bundle.model.catalog.items
    ids = dataset.catalog().items.ids
    known = sum(id_ in own for id_ in ids)
    if known < _KNOWN_SHARE * len(ids):
        raise BundleError(
            f"bundle {bundle.bundle_id} does not fit the data: it knows {known:,} of the {len(ids):,} items of "
            f"'{dataset.path}'; evaluate it on a dataset imported from the same source"
        )
