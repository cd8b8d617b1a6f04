"""Figures in which a target counts the more, the less popular it was: what a log shows of an item depends on that.

Shapes: ``B`` viewers, ``T`` targets.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import numpy as np
from numpy.typing import NDArray

from foveate.core.metrics import Floats, Sums
from foveate.evaluation.figures import NDCG, RECALL, Figures
from foveate.evaluation.known import Known
from foveate.evaluation.outcomes import SLATE_SIZE
from foveate.evaluation.panel import Panel

POWERS: Final[Mapping[str, float]] = {"debiased": 0.5, "strongly debiased": 1.25}
"""By which power of an item's popularity the chance grows that a log shows an interest in it.

0.5 is that of Saito et al., Unbiased recommender learning from missing-not-at-random implicit feedback (WSDM 2020),
section 5. 1.25 is ``(gamma + 1) / 2`` for ``gamma`` of 1.5, of Yang et al. (2018).
"""
DEBIASED_NDCG: Final = f"{NDCG} debiased"


def debiased(figures: Figures, panel: Panel, known: Known) -> dict[str, Sums]:
    """Return NDCG@10 and Recall@10 with inverse propensities as weights, for each of :data:`POWERS`.

    A target's propensity is the given power of one more than the number of viewers who had liked the item before the
    cut; one more, so that an item that nobody had liked has one too. Both figures are normalised by their own weights
    over all viewers together, for a viewer with a single target would otherwise lose its weight: the sum of weighted
    gains over that of the best orders, and the sum of weighted hits over that of the weights.
    Source: Yang et al., Unbiased offline recommender evaluation for missing-not-at-random implicit feedback
    (RecSys 2018), sections 3 and 4: self-normalised inverse propensity scores, there normalised viewer by viewer.
    """
    counts_T = known.of_targets(known.counts_WI, panel).astype(np.float64)
    viewer_T = panel.viewer_of_target()
    found: dict[str, Sums] = {}
    for name, power in POWERS.items():
        weight_T = (counts_T + 1.0) ** -power
        best_B = _best_gains(weight_T, viewer_T, len(panel.queries))
        found[f"{NDCG} {name}"] = Sums(_by_viewer(weight_T * figures.gains_T, viewer_T, panel), best_B)
        total_B = _by_viewer(weight_T, viewer_T, panel)
        found[f"{RECALL} {name}"] = Sums(_by_viewer(weight_T * figures.hits_T, viewer_T, panel), total_B)
    return found


def _by_viewer(values_T: Floats, viewer_T: NDArray[np.int64], panel: Panel) -> Floats:
    return np.bincount(viewer_T, values_T, minlength=len(panel.queries)).astype(np.float64)


def _best_gains(weight_T: Floats, viewer_T: NDArray[np.int64], viewers: int) -> Floats:
    """``[B]``: the gain of the best order, the heaviest targets first."""
    order = np.lexsort((-weight_T, viewer_T))
    place_T = np.arange(len(order)) - np.searchsorted(viewer_T[order], viewer_T[order])
    gains_T = np.where(place_T < SLATE_SIZE, weight_T[order] / np.log2(place_T + 2.0), 0.0)
    return np.bincount(viewer_T[order], gains_T, minlength=viewers).astype(np.float64)
