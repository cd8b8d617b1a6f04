"""Figures of a model on the targets of its own cut, as a bundle's card shows them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from foveate.bundle.card import VIEWERS_ASKED
from foveate.evaluation.outcomes import Subject, answer
from foveate.evaluation.panel import panel_of
from foveate.evaluation.report import measure
from foveate.ranking.base import Ranker
from foveate.training import Fitted

VIEWERS = 2000
"""How many viewers are asked at most: enough for a card, and a training is not held up by a long window."""


def figures(
    fitted: Fitted, progress: Callable[[str], None], rankers: Mapping[str, Ranker] = MappingProxyType({})
) -> dict[str, dict[str, float]]:
    """Return mean metrics by model: two-stage, its slate, a blend, and each source by itself.

    They are measured on the window's viewers, on :data:`VIEWERS` of them where there are more; ``viewers`` says how
    many that was.

    Parameters
    ----------
    fitted
        A model and the cut it has learned up to, whose targets it has not seen.
    progress
        Called with one line of news a step.
    rankers
        Others to order the same candidates by, each by the name of its row.
    """
    model = fitted.model
    panel = panel_of(fitted.stage, model.catalog, most=VIEWERS, seed=model.recipe.seed)
    outcomes = answer(Subject(model, model.sources, rankers), panel, model.recipe.seed, progress)
    rows, _, _ = measure([outcomes], panel.offsets, model.catalog, {source.name for source in model.sources})
    return {
        row.model: {
            VIEWERS_ASKED: float(len(panel.queries)),
            **{name: interval.mean for name, interval in row.metrics.items() if math.isfinite(interval.mean)},
        }
        for row in rows
    }
