"""Coverage, novelty, popularity and accuracy by segment of viewers and of items.

Shapes: ``B`` viewers, ``S`` seeds, ``K`` places, ``T`` targets, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core import metrics
from foveate.core.metrics import Difference, Floats, Interval, Sums
from foveate.evaluation.figures import COVERAGE, NDCG, RECALL, Figures
from foveate.evaluation.known import ITEM_SEGMENTS, VIEWER_SEGMENTS, Known
from foveate.evaluation.panel import Panel

Kind: TypeAlias = Literal["viewers", "items"]

NOVELTY, LIFT, EXPOSURE = "novelty@10", "lift@10", "exposure@10"
_RESAMPLES: Final = 100
"""Of measures of all lists together, each of which is counted anew."""


@dataclass(frozen=True)
class Segment:
    """Figures of one model on some viewers, or on the targets and places of some items.

    Parameters
    ----------
    kind, name
        ``viewers`` and one of ``new``, ``light``, ``heavy``, ``everyone``; or ``items`` and ``new``, ``tail`` or
        ``head``.
    size
        How many viewers or targets it holds.
    metrics
        Of viewers: NDCG@10, Recall@10, coverage@10 (share of the catalogue that they are shown), ``novelty@10`` (mean
        information of what they are shown, in bits) and ``lift@10`` (by how much of itself the popularity of what they
        liked grows to that of what they are shown). Of items: Recall@10 of the targets among them, coverage@10 (share
        of them that is shown) and ``exposure@10`` (their share of all places).
    above
        How far two-stage lies above this model: NDCG@10 of viewers, Recall@10 of items. None for two-stage itself.
    """

    model: str
    kind: Kind
    name: str
    size: int
    metrics: Mapping[str, Interval]
    above: Difference | None


@dataclass(frozen=True)
class Lists:
    """Facts of the lists of one model: ``[B]`` means over seeds and places."""

    shown_B: Floats
    novelty_B: Floats
    places_BG: Floats
    """``[B, 3]`` how many places each item segment has."""


def lists_of(figures: Figures, known: Known) -> Lists:
    """Return what is shown, by the popularity that it had."""
    filled_BSK = figures.lists_BSK >= 0
    counts_B = filled_BSK.sum(axis=(1, 2))
    popular_BSK = known.of_lists(known.popularity_WI, figures.lists_BSK).astype(np.float64)
    bits_BSK = known.of_lists(known.novelty_WI, figures.lists_BSK).astype(np.float64)
    segment_BSK = known.of_lists(known.segment_WI, figures.lists_BSK)
    places = [((segment_BSK == place) & filled_BSK).sum(axis=(1, 2)) for place in range(len(ITEM_SEGMENTS))]

    def mean(values_BSK: Floats) -> Floats:
        sums_B = np.where(filled_BSK, values_BSK, 0.0).sum(axis=(1, 2))
        return np.where(counts_B > 0, sums_B / np.maximum(counts_B, 1), np.nan)

    return Lists(mean(popular_BSK), mean(bits_BSK), np.stack(places, axis=1).astype(np.float64))


def lift(
    lists: Lists,
    known: Known,
    seed: int,
    *,
    viewers_B: NDArray[np.int64] | None,
    rows_B: NDArray[np.bool_] | None = None,
) -> Interval:
    """Return by how much of itself popularity grows from what was liked to what is shown: 0 is no bias.

    Viewers who liked nothing, or are shown nothing, are left out.
    Source: Abdollahpouri et al., The unfairness of popularity bias in recommendation (2019), section 4.
    """
    both_B = np.isfinite(lists.shown_B) & np.isfinite(known.liked_B) & (True if rows_B is None else rows_B)
    sums = Sums(lists.shown_B[both_B], known.liked_B[both_B])
    whose = None if viewers_B is None else viewers_B[both_B]
    share = metrics.bootstrap_ratio(sums, seed, viewers_B=whose)
    return Interval(share.mean - 1.0, share.low - 1.0, share.high - 1.0)


def segments_of(
    by_model: Mapping[str, Figures],
    panel: Panel,
    known: Known,
    *,
    ours: str,
    viewers_B: NDArray[np.int64] | None,
    seed: int = 0,
) -> tuple[Segment, ...]:
    """Return every model's figures by segment.

    Parameters
    ----------
    ours
        The model whose lead over each other one is measured.
    viewers_B
        Whose each row is, where a viewer asks several times.
    """
    scene = _Scene(panel, known, viewers_B, seed, ours)
    return tuple(
        segment
        for name, figures in by_model.items()
        for segment in (*scene.by_viewers(name, figures, by_model), *scene.by_items(name, figures, by_model))
    )


@dataclass(frozen=True)
class _Scene:
    """What all models are measured by."""

    panel: Panel
    known: Known
    viewers_B: NDArray[np.int64] | None
    seed: int
    ours: str

    def by_viewers(self, name: str, figures: Figures, by_model: Mapping[str, Figures]) -> list[Segment]:
        lists, everyone_B = lists_of(figures, self.known), np.ones(len(self.panel.queries), dtype=bool)
        groups = {one: self.known.viewer_B == place for place, one in enumerate(VIEWER_SEGMENTS)}
        out = []
        for group, rows_B in {**groups, "everyone": everyone_B}.items():
            if not rows_B.any():
                continue
            own = {metric: self._mean(figures.values[metric], rows_B) for metric in (NDCG, RECALL)}
            own[COVERAGE] = self._coverage(figures.lists_BSK[rows_B], np.ones(self.known.items, dtype=bool))
            own[NOVELTY] = self._mean(lists.novelty_B, rows_B)
            own[LIFT] = lift(lists, self.known, self.seed, viewers_B=self.viewers_B, rows_B=rows_B)
            above = None
            if name != self.ours:
                pair = (by_model[self.ours].values[NDCG], figures.values[NDCG])
                a, b = (Sums.mean_of(values_B[rows_B]) for values_B in pair)
                above = metrics.paired_ratios(a, b, self.seed, viewers_B=self._whose(rows_B))
            whose_B = self._whose(rows_B)
            size = int(rows_B.sum()) if whose_B is None else len(np.unique(whose_B))
            out.append(Segment(name, "viewers", group, size, own, above))
        return out

    def by_items(self, name: str, figures: Figures, by_model: Mapping[str, Figures]) -> list[Segment]:
        known, lists = self.known, lists_of(figures, self.known)
        segment_T = known.of_targets(known.segment_WI, self.panel)
        newest_I = known.segment_WI[-1][: known.items]
        out = []
        for place, group in enumerate(ITEM_SEGMENTS):
            rows_T = segment_T == place
            ours, own = (self._hits(by_model[one], rows_T) for one in (self.ours, name))
            exposure = Sums(lists.places_BG[:, place], lists.places_BG.sum(axis=1))
            found = {
                RECALL: metrics.bootstrap_ratio(own, self.seed, viewers_B=self.viewers_B),
                COVERAGE: self._coverage(figures.lists_BSK, newest_I == place),
                EXPOSURE: metrics.bootstrap_ratio(exposure, self.seed, viewers_B=self.viewers_B),
            }
            pair = None if name == self.ours else metrics.paired_ratios(ours, own, self.seed, viewers_B=self.viewers_B)
            out.append(Segment(name, "items", group, int(rows_T.sum()), found, pair))
        return out

    def _mean(self, values_B: Floats, rows_B: NDArray[np.bool_]) -> Interval:
        return metrics.bootstrap_ratio(Sums.mean_of(values_B[rows_B]), self.seed, viewers_B=self._whose(rows_B))

    def _whose(self, rows_B: NDArray[np.bool_]) -> NDArray[np.int64] | None:
        return None if self.viewers_B is None else self.viewers_B[rows_B]

    def _hits(self, figures: Figures, rows_T: NDArray[np.bool_]) -> Sums:
        viewer_T, size = self.panel.viewer_of_target(), len(self.panel.queries)
        hits_B = np.bincount(viewer_T[rows_T], figures.hits_T[rows_T], minlength=size)
        return Sums(hits_B.astype(np.float64), np.bincount(viewer_T[rows_T], minlength=size).astype(np.float64))

    def _coverage(self, lists_BSK: NDArray[np.int32], among_I: NDArray[np.bool_]) -> Interval:
        """Return the share of some items that appear in at least one list, as the mean over seeds."""
        total = max(1, int(among_I.sum()))

        def share(rows_BSK: NDArray[np.integer]) -> float:
            shown = []
            for s in range(rows_BSK.shape[1]):
                own = rows_BSK[:, s]
                seen_I = np.zeros(len(among_I), dtype=bool)
                seen_I[own[own >= 0]] = True
                shown.append((seen_I & among_I).sum() / total)
            return float(np.mean(shown))

        return metrics.bootstrap_lists(share, lists_BSK, self.seed, resamples=_RESAMPLES)
