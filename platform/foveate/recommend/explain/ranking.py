"""Contributions of the ranker, the policy and the rules to a slate.

Shapes: ``N`` candidates, ``K`` places.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import Ranked
from foveate.ranking.base import best_first
from foveate.recommend.model import Chosen, Model
from foveate.slate.base import SlatePolicy
from foveate.slate.constraints import UNCONSTRAINED, Constraints
from foveate.slate.relevance import Relevance

LARGEST = 5
"""How many contributions are told one by one."""

ALL_RULES = "the rules together"
BOTH = "the policy and the rules together"


@dataclass(frozen=True, slots=True)
class RankingExplanation:
    """What the second stage made of one item of the slate.

    Parameters
    ----------
    row
        Position among the candidates.
    largest
        Feature names and what they add, the largest first by size.
    base, others
        What every score starts from, and what the features beside ``largest`` add.
    rank
        Place by the ranker's score alone, from 1.
    moved_by
        What brought it into the slate, if the ranker alone would not have.
    """

    row: int
    largest: tuple[tuple[str, float], ...]
    base: float
    others: float
    rank: int
    moved_by: tuple[str, ...]


def explain_ranking(model: Model, ranked: Ranked, chosen: Chosen, size: int, seed: int) -> list[RankingExplanation]:
    """Say what features, policy and rules made of each item of a slate.

    Parameters
    ----------
    size, seed
        With which the slate was chosen.
    """
    rows = chosen.positions
    added_KF = _added(model, ranked, rows)
    rank_N = ranks(ranked)
    reasons = Reasons(model, ranked, size, seed)
    return [
        RankingExplanation(
            int(row),
            *_largest(ranked.features.names, added_F),
            rank=int(rank_N[row]),
            moved_by=reasons.of(int(row), shown=True) if rank_N[row] > size else (),
        )
        for row, added_F in zip(rows, added_KF, strict=True)
    ]


def _added(model: Model, ranked: Ranked, rows: NDArray[np.int64]) -> NDArray[np.float64]:
    """``[K, F + 1]``: what each feature adds; a score that no ranker gave is all base."""
    if not ranked.features.names:
        return ranked.scores[rows, None].astype(np.float64)
    return model.ranker.contributions(replace(ranked.features, values=ranked.features.values[rows]))


def ranks(ranked: Ranked) -> NDArray[np.int64]:
    """``[N]``: each candidate's place by the ranker's score alone, from 1."""
    order_N = best_first(ranked.scores, ranked.candidates.items)
    rank_N = np.empty(len(order_N), dtype=np.int64)
    rank_N[order_N] = np.arange(1, len(order_N) + 1)
    return rank_N


class Reasons:
    """Finds out which rule, or the policy, decides on a candidate: by choosing again without each.

    Parameters
    ----------
    size, seed
        With which the slate was chosen.
    """

    def __init__(self, model: Model, ranked: Ranked, size: int, seed: int) -> None:
        self._model = model
        self._ranked = ranked
        self._size = size
        self._seed = seed

    def of(self, row: int, *, shown: bool) -> tuple[str, ...]:
        """Return what put a candidate into the slate, or if it is not ``shown`` what kept it out."""
        for group in self._without:
            found = tuple(label for label, chosen in group if bool(np.isin(row, chosen)) != shown)
            if found:
                return found
        return (BOTH,)

    def instead(self, row: int, chosen: NDArray[np.int64]) -> int | None:
        """Return which candidate of the slate would go if what keeps ``row`` out did not; None where none would.

        Of several, the one that the ranker likes least.
        """
        others = (other for group in self._without for _, other in group if row in other)
        gone = chosen[~np.isin(chosen, next(others, np.empty(0, dtype=np.int64)))]
        return int(gone[ranks(self._ranked)[gone].argmax()]) if len(gone) else None

    @cached_property
    def _without(self) -> list[list[tuple[str, NDArray[np.int64]]]]:
        """What is chosen without each rule, without any, and without the policy: a narrow reason before a wide one."""
        policy, constraints = self._model.recipe.policy, self._model.recipe.constraints
        pool = self._model.slate_input(self._ranked)

        def chosen(by: SlatePolicy, under: Constraints) -> NDArray[np.int64]:
            return by.select(pool, self._size, under, self._seed).chosen

        return [
            [(label, chosen(policy, fewer)) for label, fewer in _without_each(constraints)],
            [(ALL_RULES, chosen(policy, UNCONSTRAINED))],
            [(f"the policy '{type(policy).name}'", chosen(Relevance(), constraints))],
        ]


def _without_each(constraints: Constraints) -> Iterator[tuple[str, Constraints]]:
    """Yield the label of each rule, and the others."""
    if constraints.max_per_channel is not None:
        yield f"at most {constraints.max_per_channel} of a channel", replace(constraints, max_per_channel=None)
    if constraints.max_per_category is not None:
        yield f"at most {constraints.max_per_category} of a category", replace(constraints, max_per_category=None)
    for i, rule in enumerate(constraints.rules):
        yield rule.label, replace(constraints, rules=(*constraints.rules[:i], *constraints.rules[i + 1 :]))
    if constraints.safety_penalty:
        yield "the penalty for what is not safe", replace(constraints, safety_penalty=0.0)


def _largest(
    names: tuple[str, ...], added_F: NDArray[np.float64]
) -> tuple[tuple[tuple[str, float], ...], float, float]:
    own, base = added_F[:-1], float(added_F[-1])
    order = np.argsort(-np.abs(own), kind="stable")
    top, rest = order[:LARGEST], order[LARGEST:]
    return tuple((names[i], float(own[i])) for i in top if own[i]), base, float(own[rest].sum())
