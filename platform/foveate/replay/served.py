"""Making a served slate again from its record, to say whether the record tells the whole story."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from foveate.bundle import Bundle
from foveate.core.errors import BundleError
from foveate.core.messages import Slate, SlateItem
from foveate.recommend.pipeline import LocalStages, recommend
from foveate.state.base import PinnedState, ServedRequest, ViewerState

TOLERANCE: Final = 1e-5
"""Largest difference of scores and features that counts as the same, relative and absolute: float32 sums may be taken
in another order on another machine. Items, places and sources must be equal."""


Value: TypeAlias = str | float | int | None


@dataclass(frozen=True)
class Difference:
    """One thing in which two slates differ.

    Parameters
    ----------
    what
        A field of the slate or, with a position, of an item; a feature is named ``features.NAME``.
    position
        The item's place, from 0; None where it is about the whole slate.
    was, now
        Served and remade.
    """

    what: str
    position: int | None
    was: Value
    now: Value

    def __str__(self) -> str:
        place = "" if self.position is None else f"position {self.position}: "
        was, now = (f"{one:.6g}" if isinstance(one, float) else one for one in (self.was, self.now))
        return f"{place}{self.what} was {was}, is {now}"


@dataclass(frozen=True)
class Replay:
    """A served slate, the one made from its record, and where they differ (nowhere, if they are the same)."""

    served: Slate
    remade: Slate
    found: tuple[Difference, ...] = field(default=())

    @property
    def same(self) -> bool:
        """Whether the slate came out again."""
        return not self.found

    @property
    def differences(self) -> tuple[str, ...]:
        """The differences as lines."""
        return tuple(map(str, self.found))


def replay(served: ServedRequest, bundle: Bundle, state: ViewerState, tolerance: float = TOLERANCE) -> Replay:
    """Make a slate again: same bundle, same history, same context.

    Parameters
    ----------
    served
        The record.
    bundle
        The bundle that answered.
    state
        Where the viewer's history is; it is read as it was then.
    tolerance
        Largest difference of a score or a feature that counts as the same, relative and absolute.

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
    names = bundle.model.features.names
    return Replay(served.slate, remade, tuple(_differences(served.slate, remade, names, tolerance)))


def _differences(served: Slate, remade: Slate, names: Sequence[str], tolerance: float) -> Iterator[Difference]:
    for what in ("policy_id", "feature_schema", "state_version"):
        was, now = getattr(served, what), getattr(remade, what)
        if was != now:
            yield Difference(what, None, was, now)
    if served.relaxed != remade.relaxed:
        yield Difference("relaxed", None, _listed(served.relaxed), _listed(remade.relaxed))
    if len(served.items) != len(remade.items):
        yield Difference("length", None, len(served.items), len(remade.items))
    for was, now in zip(served.items, remade.items, strict=False):
        yield from _item_differences(was, now, names, tolerance)


def _item_differences(was: SlateItem, now: SlateItem, names: Sequence[str], tolerance: float) -> Iterator[Difference]:
    if was.item_id != now.item_id:
        yield Difference("item", was.position, was.item_id, now.item_id)
        return
    if was.sources != now.sources:
        yield Difference("sources", was.position, _listed(was.sources), _listed(now.sources))
    if was.policy != now.policy:
        yield Difference("policy", was.position, was.policy, now.policy)
    elif not _close(_number(was.propensity), _number(now.propensity), tolerance):
        yield Difference("propensity", was.position, was.propensity, now.propensity)
    # A score is kept as float32.
    if not _close(np.float32(was.score), np.float32(now.score), tolerance):
        yield Difference("score", was.position, _plain(was.score), _plain(now.score))
    if len(was.features) != len(now.features):
        yield Difference("features", was.position, len(was.features), len(now.features))
        return
    for column in np.flatnonzero(~_close(was.features, now.features, tolerance)).tolist():
        one, other = _plain(was.features[column]), _plain(now.features[column])
        yield Difference(f"features.{names[column]}", was.position, one, other)


def _close(was: ArrayLike, now: ArrayLike, tolerance: float) -> NDArray[np.bool_]:
    return np.asarray(np.isclose(now, was, rtol=tolerance, atol=tolerance, equal_nan=True))


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _listed(names: tuple[str, ...]) -> str:
    return ", ".join(names) or "none"


def _plain(value: float) -> Value:
    """Return a number that JSON knows, or its name."""
    return float(value) if math.isfinite(value) else str(float(value))
