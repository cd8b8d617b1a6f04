"""Making a served slate again from its record, to say whether the record tells the whole story."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from foveate.bundle import Bundle
from foveate.errors import BundleError
from foveate.messages import Slate, SlateItem
from foveate.pipeline import LocalStages, recommend
from foveate.state.base import ServedRequest
from foveate.state.sqlite import PinnedState, SqliteState

TOLERANCE: Final = 1e-5
"""Largest difference of scores and features that counts as the same, relative and absolute: float32 sums may be taken
in another order on another machine. Items, places and sources must be equal."""


@dataclass(frozen=True)
class Replay:
    """A served slate, the one made from its record, and where they differ (nowhere, if they are the same)."""

    served: Slate
    remade: Slate
    differences: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether the slate came out again."""
        return not self.differences


def replay(served: ServedRequest, bundle: Bundle, state: SqliteState) -> Replay:
    """Make a slate again: same bundle, same history, same context.

    Parameters
    ----------
    served
        The record.
    bundle
        The bundle that answered.
    state
        Where the viewer's history is; it is read as it was then.

    Raises
    ------
    BundleError
        ``bundle`` is not the one that answered.
    """
    if bundle.bundle_id != served.context.bundle_id:
        message = f"request '{served.context.request_id}' was answered by bundle '{served.context.bundle_id}'"
        raise BundleError(f"{message}, but '{bundle.path}' is bundle '{bundle.bundle_id}'")
    stages = LocalStages(bundle.model, PinnedState(state, served.slate.state_version))
    remade = asyncio.run(recommend(served.request, served.context, stages))
    return Replay(served.slate, remade, tuple(_differences(served.slate, remade)))


def _differences(served: Slate, remade: Slate) -> Iterator[str]:
    for name in ("policy_id", "feature_schema", "state_version", "relaxed"):
        was, now = getattr(served, name), getattr(remade, name)
        if was != now:
            yield f"{name}: was {was}, is {now}"
    if len(served.items) != len(remade.items):
        yield f"length: was {len(served.items)}, is {len(remade.items)}"
    for was, now in zip(served.items, remade.items, strict=False):
        yield from (f"position {was.position}: {text}" for text in _item_differences(was, now))


def _item_differences(was: SlateItem, now: SlateItem) -> Iterator[str]:
    if was.item_id != now.item_id:
        yield f"was item {was.item_id}, is {now.item_id}"
        return
    if was.sources != now.sources:
        yield f"sources were {', '.join(was.sources)}, are {', '.join(now.sources)}"
    if not _close(np.float32(was.score), np.float32(now.score)):
        yield f"score was {was.score:.6g}, is {now.score:.6g}"
    if not _close(was.features, now.features):
        yield "features differ"


def _close(was: object, now: object) -> bool:
    one, other = np.asarray(was), np.asarray(now)
    return one.shape == other.shape and np.allclose(one, other, rtol=TOLERANCE, atol=TOLERANCE, equal_nan=True)
