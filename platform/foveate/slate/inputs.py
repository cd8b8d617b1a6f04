"""Input and output of a slate policy.

Shapes: ``N`` candidates, ``D`` content columns, ``C`` categories, ``T`` tags, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from functools import cached_property, partial
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.data.vocabulary import Vocabulary

Worth: TypeAlias = Callable[[int | None], NDArray[np.float32]]
"""Told which position was chosen last (None at the start), answers ``[N]`` how much each candidate would add now."""

_ROWS = (
    *("relevance", "vectors", "channel", "category", "codes"),
    *("categories", "tags", "age_days", "channel_standing", "safety", "duration"),
)


@dataclass(frozen=True)
class SlateInput:
    """Candidates and their viewer as a policy sees them.

    Parameters
    ----------
    relevance
        ``[N]`` float32 ranker scores; one that is not finite sinks below every finite one.
    vectors
        ``[N, D]`` float32 rows of unit length (or zero), whose dot product says how alike two items are.
    channel
        ``[N]`` int32 channel code, ``-1`` for unknown: an unknown channel is capped by no cap.
    category
        ``[N]`` int32 code of the main category, ``-1`` for unknown.
    codes
        ``[N]`` int32 item codes: ties are broken by them.
    categories
        ``[N, C]`` float32: the share of each category in each item, rows of sum 1 (or 0 where none is known).
    category_names
        The ``C`` columns of ``categories``: those that a candidate or the viewer's history has.
    taste
        ``[C]`` float32: the share of each category in the viewer's history, of sum 1 (or 0 for an unknown viewer).
    tags
        ``[N, T]`` bool: which tags each item has.
    age_days
        ``[N]`` float32 days since publication, NaN where that or the present moment is unknown.
    channel_standing
        ``[N]`` float32: the share of all channels that hold fewer items than the item's, NaN for an unknown channel.
    safety
        ``[N]`` float32 from 0 to 1: how harmless each item is, NaN where unknown.
    duration
        ``[N]`` float32 seconds, NaN where unknown.
    channels
        The ids behind the codes of ``channel``.
    """

    relevance: NDArray[np.float32]
    vectors: NDArray[np.float32]
    channel: NDArray[np.int32]
    category: NDArray[np.int32]
    codes: NDArray[np.int32]
    categories: NDArray[np.float32]
    category_names: tuple[str, ...]
    taste: NDArray[np.float32]
    tags: NDArray[np.bool_]
    age_days: NDArray[np.float32]
    channel_standing: NDArray[np.float32]
    safety: NDArray[np.float32]
    duration: NDArray[np.float32]
    channels: Vocabulary

    def __len__(self) -> int:
        return len(self.codes)

    @cached_property
    def by_relevance(self) -> NDArray[np.int64]:
        """``[N]``: all positions, the most relevant first, ties by item code, scores that are not finite last."""
        least_N = np.where(np.isfinite(self.relevance), -self.relevance, np.inf)
        if (self.codes[1:] > self.codes[:-1]).all():
            return np.argsort(least_N, kind="stable")
        return np.lexsort((self.codes, least_N))

    def take(self, positions: NDArray[np.int64]) -> SlateInput:
        """Return the same viewer with only these candidates, in this order."""
        return LateInput({**self._fields(), **{name: partial(self._rows, name, positions) for name in _ROWS}})

    def with_relevance(self, relevance: NDArray[np.float32]) -> SlateInput:
        """Return the same candidates with another relevance ``[N]``."""
        return LateInput({**self._fields(), "relevance": lambda: relevance})

    def _fields(self) -> dict[str, Callable[[], Any]]:
        return {field.name: partial(getattr, self, field.name) for field in fields(SlateInput)}

    def _rows(self, name: str, positions: NDArray[np.int64]) -> Any:
        return getattr(self, name)[positions]


_NAMES = frozenset(field.name for field in fields(SlateInput))


class LateInput(SlateInput):
    """Candidates of which each fact is worked out when it is first asked for: most policies ask for few.

    Parameters
    ----------
    make
        Gives each field of :class:`SlateInput`, by its name.

    Raises
    ------
    TypeError
        A field is missing.
    """

    def __init__(self, make: Mapping[str, Callable[[], Any]]) -> None:
        if missing := _NAMES - make.keys():
            raise TypeError(f"{type(self).__name__} needs a way to make {', '.join(sorted(missing))}")
        object.__setattr__(self, "_make", make)

    def __getattr__(self, name: str) -> Any:
        """Work out a field; Python asks here for what an object has not got."""
        make = self.__dict__.get("_make", {})
        if name not in make:
            raise AttributeError(f"'{type(self).__name__}' has no '{name}'")
        value = make[name]()
        object.__setattr__(self, name, value)
        return value


@dataclass(frozen=True)
class Selection:
    """What a policy decided.

    Parameters
    ----------
    chosen
        ``[K]`` positions in the input, in slate order.
    displaced
        Positions that pure relevance would have shown and the slate does not.
    relaxed
        Labels of the soft rules that the slate was not held to, in the order in which they were given up.
    relevance_paid
        Mean relevance of the slate without policy and constraints less that of this one, over their finite scores:
        at strength 0, what the constraints cost.
    odds
        ``[K]`` float64: for an item that was drawn, the probability that it had at its place given the places above;
        NaN where the policy chose.
    """

    chosen: NDArray[np.int64]
    displaced: NDArray[np.int64]
    relaxed: tuple[str, ...]
    relevance_paid: float
    odds: NDArray[np.float64]


def describe(
    ranked: SlateInput,
    chosen: NDArray[np.int64],
    size: int,
    relaxed: tuple[str, ...],
    odds: NDArray[np.float64],
) -> Selection:
    """Compare a slate with what pure relevance would have shown in ``size`` places."""
    top = ranked.by_relevance[:size]
    shown_N = np.zeros(len(ranked), dtype=bool)
    shown_N[chosen] = True
    return Selection(
        chosen=chosen,
        displaced=top[~shown_N[top]],
        relaxed=relaxed,
        relevance_paid=_mean_relevance(ranked, top) - _mean_relevance(ranked, chosen),
        odds=odds,
    )


def penalised(ranked: SlateInput, penalty: float) -> SlateInput:
    """Take from each relevance ``penalty`` times what an item lacks in safety, in spans of the finite relevances.

    An item of unknown safety keeps what it has.
    """
    if not penalty:
        return ranked
    lack_N = np.nan_to_num(1.0 - ranked.safety, nan=0.0)
    finite = ranked.relevance[np.isfinite(ranked.relevance)]
    if not len(finite) or not lack_N.any():
        return ranked
    taken_N = penalty * float(np.ptp(finite.astype(np.float64))) * lack_N
    return ranked.with_relevance(np.asarray(ranked.relevance - taken_N, dtype=np.float32))


def unit_range(relevance_N: NDArray[np.float32]) -> NDArray[np.float32]:
    """Bring the finite relevances to 0 to 1, the others to 0; all are 0 where they are equal."""
    finite_N = np.isfinite(relevance_N)
    if not finite_N.any():
        return np.zeros(len(relevance_N), dtype=np.float32)
    known = relevance_N[finite_N].astype(np.float64)
    low, width = known.min(), np.ptp(known)
    scaled_N = (np.where(finite_N, relevance_N, low) - low) / (width if width > 0 else 1.0)
    return np.asarray(scaled_N, dtype=np.float32)


def _mean_relevance(ranked: SlateInput, positions: NDArray[np.int64]) -> float:
    relevance = ranked.relevance[positions]
    finite = relevance[np.isfinite(relevance)]
    return float(finite.mean()) if len(finite) else 0.0
