"""Training a two-stage model: the windows, the sources of each, the ranker's training set, the ranker."""

from __future__ import annotations

from foveate.training.two_stages import (
    Fitted,
    Upto,
    final_stage,
    fit,
    fit_model,
    fit_windows,
    positive_kinds,
    ranker_stages,
)

__all__ = [
    "Fitted",
    "Upto",
    "final_stage",
    "fit",
    "fit_model",
    "fit_windows",
    "positive_kinds",
    "ranker_stages",
]
