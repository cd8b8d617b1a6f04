"""What every trial of a sweep shares: the log before the selection's window, and what is held out in that window.

The test's window is not in it: a trial cannot see what it does not hold.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from foveate.config import from_dict, to_dict
from foveate.data.dataset import Dataset
from foveate.data.fitting import FitContext
from foveate.data.split import windows
from foveate.encoder.model import SequenceEncoder
from foveate.encoder.validation import Validation
from foveate.errors import ConfigError, DataError
from foveate.metrics import mid_ranks, ndcg_at, recall_at
from foveate.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.popularity import count_items
from foveate_tune.space import MIXER, SCORER, Draw, apply_draw

__all__ = ["METRIC", "Problem", "popularity_metrics", "prepare", "recipe_of", "source_of"]

METRIC = "ndcg@10"
"""What trials are compared by; higher is better."""

_BATCH = 512


@dataclass(frozen=True)
class Problem:
    """What trials are given.

    Parameters
    ----------
    context
        Positive histories before the selection's window, and each viewer's next item in it as ``validation``.
    source
        Settings of the ``attention`` source that draws are put into, as plain values.
    """

    context: FitContext
    source: Mapping[str, Any]

    @property
    def targets(self) -> NDArray[np.int32]:
        """``[U]``: each viewer's item to foretell, ``-1`` for none."""
        assert self.context.validation is not None  # noqa: S101 - prepare() gives it
        return self.context.validation

    def viewers(self) -> NDArray[np.int64]:
        """Return the viewers that every trial is measured on."""
        most = int(self.source["train"]["validation_viewers"])
        return Validation(self.context.histories, self.targets, most, self.context.seed).users


def prepare(dataset: Dataset, recipe: Recipe, seed: int) -> Problem:
    """Cut a dataset for a sweep.

    Raises
    ------
    DataError
        The log is too short to be cut, or no viewer with a history has an item to foretell.
    """
    catalog = dataset.catalog()
    events = dataset.log().encode(dataset.users(), catalog.items, recipe.signals, dataset.manifest.positive_kinds)
    stage = windows(events, recipe.protocol, recipe.split).selection
    context = FitContext(
        stage.history.histories(catalog.duration), catalog, stage.now, seed, validation=stage.targets.first()
    )
    problem = Problem(context, to_dict(_attention(recipe)))
    if not len(problem.viewers()):
        raise DataError("no viewer with a history likes anything new in the selection's window: widen the split")
    return problem


def source_of(draw: Draw, problem: Problem) -> Attention:
    """Return the ``attention`` source of a draw.

    Raises
    ------
    ConfigError
        The draw names a setting that there is not, or settings that do not go together.
    """
    settings = apply_draw(draw, problem.source, (MIXER, SCORER))
    source = from_dict(Attention, {key: value for key, value in settings.items() if key != "name"}, "search.settings")
    try:
        SequenceEncoder(source.encoder, n_items=1)
    except ValueError as error:
        raise ConfigError(f"search: {error}") from error
    return source


def recipe_of(recipe: Recipe, source: Attention, epochs: int) -> Recipe:
    """Return ``recipe`` with its ``attention`` source replaced, or put first where it has none.

    ``epochs`` is the trial's best one: the last training holds nothing out and so cannot stop by itself.
    """
    settings = to_dict(source)
    settings["train"]["epochs"] = epochs
    tuned = from_dict(Attention, {key: value for key, value in settings.items() if key != "name"})
    names = [type(s).name for s in recipe.sources]
    others = list(recipe.sources)
    if Attention.name in names:
        others[names.index(Attention.name)] = tuned
    else:
        others.insert(0, tuned)
    return from_dict(Recipe, {**to_dict(recipe), "sources": [to_dict(s) for s in others]})


def popularity_metrics(problem: Problem) -> dict[str, float]:
    """Return what popularity scores on the very viewers and targets that trials are measured on."""
    histories, targets_U = problem.context.histories, problem.targets
    users = problem.viewers()
    counts_I = count_items(histories)
    ranks = []
    for start in range(0, len(users), _BATCH):
        some = users[start : start + _BATCH]
        seen = [histories.items[histories.rows(user)] for user in some.tolist()]
        ranks.append(mid_ranks(np.tile(counts_I, (len(some), 1)), targets_U[some], seen))
    ranks_B = np.concatenate(ranks)
    return {"ndcg@10": float(ndcg_at(ranks_B, 10).mean()), "recall@10": float(recall_at(ranks_B, 10).mean())}


def _attention(recipe: Recipe) -> Attention:
    return next((source for source in recipe.sources if isinstance(source, Attention)), Attention())
