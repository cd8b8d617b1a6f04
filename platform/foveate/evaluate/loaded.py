"""A bundle on data that it may not have been made for: whether it fits, and has not seen the answers."""

from __future__ import annotations

from foveate.bundle import Bundle
from foveate.data.dataset import Dataset
from foveate.data.split import Protocol, Stage, windows
from foveate.data.vocabulary import Vocabulary
from foveate.errors import BundleError

_KNOWN_SHARE = 0.5
"""A bundle that knows fewer of the data's items than this was made for another catalogue."""


def newest_stage(bundle: Bundle, dataset: Dataset, protocol: Protocol) -> Stage:
    """Return the data's test window in the bundle's codes; items that the bundle does not know follow its own.

    Raises
    ------
    BundleError
        The bundle was made for another catalogue, or trained under another protocol on this very log.
    DataError
        The data cannot be cut by ``protocol``.
    """
    model = bundle.model
    items = Vocabulary(model.catalog.items.ids)
    _check_fit(bundle, dataset)
    items.extend(dataset.catalog().items.ids)
    events = dataset.log().encode(dataset.users(), items, model.recipe.signals, model.positive_kinds)
    return windows(events, protocol, model.recipe.split).test


def _check_fit(bundle: Bundle, dataset: Dataset) -> None:
    own = bundle.model.catalog.items
    ids = dataset.catalog().items.ids
    known = sum(id_ in own for id_ in ids)
    if known < _KNOWN_SHARE * len(ids):
        raise BundleError(
            f"bundle {bundle.bundle_id} does not fit the data: it knows {known:,} of the {len(ids):,} items of "
            f"'{dataset.path}'; evaluate it on a dataset imported from the same source"
        )
