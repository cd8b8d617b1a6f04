"""What somebody says that they like, in place of a history: items, channels, categories and tags.

A liked item counts as an event of interest. A channel, a category or a tag stands for those of its items that most have
watched: they count as events too, older than all else, and may still be shown, for nobody has seen them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import RequestError
from foveate.core.messages import Filters, Likes, Query, ViewerHistory
from foveate.data.vocabulary import UNKNOWN, Vocabulary
from foveate.recommend.model import Model

_STAND_FOR: Final = 5
"""Items that stand for a channel, a category or a tag."""


def with_likes(
    model: Model, history: ViewerHistory, likes: Likes, stands: NDArray[np.int32], now: int
) -> ViewerHistory:
    """Return a history that begins with what somebody says that they like.

    Parameters
    ----------
    stands
        Their :func:`stand_ins`.
    history
        What is known of them.
    now
        UTC microseconds, or ``NO_TIME``: when the likes happened, where nothing else did.

    Raises
    ------
    RequestError
        Nothing of it is in the catalogue.
    """
    ids = [*model.catalog.items.decode(stands), *(one for one in likes.items if _holds(model, one))]
    if not ids:
        raise RequestError(f"likes: the catalogue holds none of {', '.join(_named(likes))[:200]}")
    first = int(history.times[0]) if len(history.times) else now
    return replace(
        history,
        item_ids=(*ids, *history.item_ids),
        kinds=(*[model.positive_kinds[0]] * len(ids), *history.kinds),
        values=np.concatenate([np.ones(len(ids), dtype=np.float32), history.values]),
        times=np.concatenate([np.full(len(ids), first, dtype=np.int64), history.times]),
    )


def may_show(model: Model, query: Query, stands: NDArray[np.int32], met: Sequence[str], filters: Filters) -> Query:
    """Return a query that leaves those items open that only stand for others.

    Parameters
    ----------
    stands
        As :func:`with_likes` takes them.
    met
        The items that have really been met, or are liked themselves.
    filters
        What they forbid stays shut.
    """
    stands = stands[~model.catalog.forbidden(filters, query.now)[stands]]
    only = np.setdiff1d(stands, model.catalog.items.encode(met))
    return replace(query, exclude=np.setdiff1d(query.exclude, only).astype(np.int32))


def stand_ins(model: Model, likes: Likes) -> NDArray[np.int32]:
    """Return the codes of the items that stand for the liked channels, categories and tags."""
    catalog, found = model.catalog, np.empty(0, dtype=np.int32)
    for channel in _codes(catalog.channels, likes.channels):
        found = np.append(found, _favourites(model, np.flatnonzero(catalog.channel == channel)))
    for names, members, liked in (
        (catalog.category_names, catalog.categories, likes.categories),
        (catalog.tag_names, catalog.tags, likes.tags),
    ):
        for code in _codes(names, liked):
            found = np.append(found, _favourites(model, np.flatnonzero(members[:, [code]].toarray()[:, 0])))
    _, first = np.unique(found, return_index=True)
    return found[np.sort(first)].astype(np.int32)


def _favourites(model: Model, items: NDArray[np.int64]) -> NDArray[np.int64]:
    if model.catalog.withdrawn is not None:
        items = items[~model.catalog.withdrawn[items]]
    if model.trending is None:
        return items[:_STAND_FOR]
    return items[np.argsort(-model.trending[items], kind="stable")[:_STAND_FOR]]


def _codes(names: Vocabulary, liked: Sequence[str]) -> list[int]:
    return [code for code in names.encode(liked).tolist() if code != UNKNOWN]


def _holds(model: Model, item_id: str) -> bool:
    return item_id in model.catalog.items


def _named(likes: Likes) -> list[str]:
    return [f"'{name}'" for name in (*likes.items, *likes.channels, *likes.categories, *likes.tags)] or ["nothing"]
