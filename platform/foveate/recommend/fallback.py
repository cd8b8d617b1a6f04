"""Fallbacks for a stage that is lost or too slow."""

from __future__ import annotations

import numpy as np

from foveate.core.messages import Candidates, FeatureMatrix, Query, Ranked
from foveate.features.candidate import blend
from foveate.recommend.model import Model
from foveate.retrieval.base import top_k

TRENDING = "trending"
"""The one source of candidates that were not retrieved."""

NO_FEATURES = ""
"""The feature schema of a slate that no ranker has scored."""


def trending(model: Model, query: Query, count: int) -> Candidates | None:
    """Return the ``count`` items that everyone watches, without what ``query`` excludes; None where that is not known.

    It reads nothing but the catalogue's part of a model, which every process holds.
    """
    if model.trending is None:
        return None
    items_N = np.sort(top_k(model.trending, query.exclude, count))
    return Candidates(
        items=items_N,
        sources=(TRENDING,),
        scores=model.trending[items_N][:, None],
        offered=np.ones((len(items_N), 1), dtype=bool),
        source_feature_names=(),
        source_features=np.empty((len(items_N), 0), dtype=np.float32),
    )


def by_retrieval(query: Query, candidates: Candidates) -> Ranked:
    """Order candidates by the mean of their sources' z-scores, as if that were a ranker's score; no features."""
    nothing = FeatureMatrix((), NO_FEATURES, np.empty((len(candidates.items), 0), dtype=np.float32))
    return Ranked(query, candidates, nothing, blend(candidates))
