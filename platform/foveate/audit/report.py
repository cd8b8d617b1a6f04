"""An audit's figures, as plain values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from foveate.core.metrics import Difference


@dataclass(frozen=True)
class Group:
    """Figures of some viewers: means over them, NaN where unknown.

    Parameters
    ----------
    viewers
        How many they are.
    ndcg
        NDCG@10 of their slates.
    liked_popularity, shown_popularity
        Average popularity of what they liked and of what they are shown: the share of all viewers who liked an item.
    lift
        By how much of itself the first grows to the second.
    miscalibration
        ``KL(p || q~)`` of the slate's mix of categories from the viewer's.
    """

    viewers: int
    ndcg: float
    liked_popularity: float
    shown_popularity: float
    lift: float
    miscalibration: float


@dataclass(frozen=True)
class Point:
    """What slates are like at one diversity strength.

    Parameters
    ----------
    strength
        Of the policy.
    everyone
        Figures of all viewers.
    groups
        Figures by kind of group (``activity``, ``taste``) and name.
    ndcg_change
        How far NDCG@10 lies above that of strength 0, paired.
    ild_by_category, ild_by_vector
        Mean dissimilarity within a slate: by categories, and by the vectors that the policy compares.
    coverage, gini
        Share of the catalogue that is shown to anyone; how unequally slots fall to it.
    deciles
        Share of the places by decile of channel size, the smallest first; empty where no channels are known.
    relevance_paid
        Mean score given up for policy and rules.
    relaxed, short
        Shares of the slates that gave up a soft rule, and that are not full.
    """

    strength: float
    everyone: Group
    groups: Mapping[str, Mapping[str, Group]]
    ndcg_change: Difference
    ild_by_category: float
    ild_by_vector: float
    coverage: float
    gini: float
    deciles: tuple[float, ...]
    relevance_paid: float
    relaxed: float
    short: float


@dataclass(frozen=True)
class Audit:
    """What was audited, and the figures along the strength.

    Parameters
    ----------
    bundle, data, simulated
        What was asked about what.
    policy, strength, rules
        The policy, the bundle's own strength of it (None where it has another policy), and its rules in words.
    viewers, slate_size
        How many were asked for slates of how many places.
    points
        One a strength, ascending.
    decile_items, decile_liked
        Share of the catalogue and of what viewers liked by decile of channel size.
    notes
        What a reader must know before believing the figures.
    """

    bundle: str
    data: str
    simulated: bool
    policy: str
    strength: float | None
    rules: tuple[str, ...]
    viewers: int
    slate_size: int
    points: tuple[Point, ...]
    decile_items: tuple[float, ...]
    decile_liked: tuple[float, ...]
    notes: tuple[str, ...] = ()

    def at(self, strength: float) -> Point:
        """Return the point nearest to a strength."""
        return min(self.points, key=lambda point: abs(point.strength - strength))

    @property
    def own(self) -> Point:
        """The point of the bundle's own strength, or of none where it has another policy."""
        return self.at(self.strength or 0.0)

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values; a figure that cannot be known is null."""
        return {_KEYS.get(name, name): _plain(value) for name, value in asdict(self).items()}


_KEYS = {"slate_size": "places"}
"""What a report on disk calls a field by another name."""


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(own) for key, own in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(own) for own in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
