"""What is explored, how much of it, and what one request draws."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from math import floor
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import RequestContext
from foveate.slate.exploration.base import SlotPolicy

_GOLDEN: Final = 0x9E3779B97F4A7C15
_FIRST, _SECOND = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_WORD: Final = 2**64 - 1


def uniform(seed: int, streams: Sequence[int], codes: NDArray[np.int32]) -> NDArray[np.float64]:
    """Return ``[S, N]`` numbers above 0 and below 1, one for each code of ``codes`` in each of ``S`` streams."""
    begin_S = np.array([(seed + _GOLDEN * (stream + 1)) & _WORD for stream in streams], dtype=np.uint64)
    words_SN = _mixed(begin_S)[:, None] + (codes.astype(np.uint64) + np.uint64(1)) * np.uint64(_GOLDEN)
    numbers_SN = (_mixed(words_SN) >> np.uint64(11)).astype(np.float64)
    numbers_SN += 0.5
    numbers_SN *= 2.0**-53
    return numbers_SN


def _mixed(words: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """Mix the bits of each word, in place."""
    for shift, factor in ((np.uint64(30), _FIRST), (np.uint64(27), _SECOND)):
        words ^= words >> shift
        words *= factor
    words ^= words >> np.uint64(31)
    return words


_REQUEST: Final = 1 << 32
"""The stream of what is drawn for a whole request; those below it are places."""
_ORDER: Final = _REQUEST + 1


@dataclass(frozen=True)
class Budget:
    """What exploration may take.

    Parameters
    ----------
    traffic
        Share of requests whose slates are explored.
    places
        Share of a slate's places that are explored, on average over requests; which ones is drawn among those that the
        slot policy names.
    relevance
        Most that the explored places of a slate give up together, as a share of the span between the best and the worst
        candidate's relevance; null for no bound. A place gives up what the item that would stand there without
        exploration has more than the one that is drawn.
    """

    traffic: float = 1.0
    places: float = 1.0
    relevance: float | None = None

    def __post_init__(self) -> None:
        for name in ("traffic", "places"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise ConfigError(f"{name} must lie between 0 and 1, got {getattr(self, name)}")
        if self.relevance is not None and not 0.0 <= self.relevance < float("inf"):
            raise ConfigError(f"relevance must be 0 or more, or null for no bound, got {self.relevance}")


@dataclass(frozen=True)
class Exploration:
    """How slates are explored.

    Parameters
    ----------
    policy
        Draws places; null for none.
    budget
        What that may take.
    """

    policy: SlotPolicy | None = None
    budget: Budget = field(default_factory=Budget)

    @cached_property
    def policy_id(self) -> str:
        """The slot policy with all settings that its odds depend on, such as ``uniform_slots-1f0c9a2b``; or empty."""
        if self.policy is None:
            return ""
        return f"{type(self.policy).name}-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"

    @cached_property
    def text(self) -> str:
        """The settings as they go through a request, empty where nothing is explored."""
        return "" if self.policy is None else json.dumps(to_dict(self), sort_keys=True)


@dataclass(frozen=True)
class SlotDraw:
    """What decides the explored places of one slate.

    Parameters
    ----------
    policy, budget, policy_id
        As :class:`Exploration` has them.
    seed
        Of the request.
    before
        How many items earlier pages of the slate have: their noise is not used again.
    """

    policy: SlotPolicy
    budget: Budget
    policy_id: str
    seed: int
    before: int = 0

    def places(self, count: int) -> frozenset[int]:
        """Return which of ``count`` places are explored, from 0; it depends on no candidate.

        Parts of a place are drawn. Source: Raghavan and Thompson, Randomized rounding (1987), section 1.
        """
        request_, order_ = uniform(self.seed, [_REQUEST, _ORDER], np.arange(max(2, count), dtype=np.int32)).tolist()
        traffic, rest = request_[:2]
        if traffic >= self.budget.traffic:
            return frozenset()
        named = [place - 1 for place in self.policy.places or range(1, count + 1) if place <= count]
        most = floor(self.budget.places * count + rest)
        return frozenset(sorted(named, key=order_.__getitem__)[:most])


def draw_of(context: RequestContext) -> SlotDraw | None:
    """Return what a request draws, None where nothing is explored."""
    exploration = _read(context.exploration)
    if exploration.policy is None:
        return None
    before = len(context.filters.shown_before)
    return SlotDraw(exploration.policy, exploration.budget, exploration.policy_id, context.seed, before)


@lru_cache(maxsize=8)
def _read(text: str) -> Exploration:
    return from_dict(Exploration, json.loads(text)) if text else Exploration()
