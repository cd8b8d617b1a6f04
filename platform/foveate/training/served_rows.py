"""The ranker's training set as it was served: the features of each place as they stood then, and what followed.

No source is asked again and no feature is computed: what the ranker saw is what it learns from, so nothing can differ
between training and serving. What was never shown is never learned from.

Shapes: ``R`` impressions, ``Q`` requests, ``E`` events.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME, FeatureMatrix
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS, ITEM_ID, KIND, OCCURRED_AT, ORDER, USER_ID, VALUE
from foveate.features.sets import FeatureSet
from foveate.ranking.base import TrainingSet
from foveate.recommend.recipe import Recipe

_REQUEST: Final = "request_id"
_SHOWN_ID: Final = "impression_id"


def served_training_set(
    dataset: Dataset,
    recipe: Recipe,
    features: FeatureSet,
    catalog: Catalog,
    *,
    until: int,
    positive: Sequence[str],
) -> TrainingSet:
    """Read the impressions whose features are those that ``features`` would build, each request a query.

    Parameters
    ----------
    features
        Of the model that is trained: impressions of another layout are passed over.
    until
        UTC microseconds: neither what was shown from then on nor what followed then is read.
    positive
        Kinds of events that count as interest, where the recipe's labels weigh none.

    Raises
    ------
    TrainingError
        There is no impression of that layout, or none of a request that anything came of.
    """
    shown = _shown(dataset, features.schema_hash, until)
    if not shown.height:
        raise TrainingError(_nothing(dataset, features.schema_hash))
    # Rows of one request lie together, in the order of their places; requests in the order of time.
    request_R = shown[_REQUEST].rle_id().cast(pl.Int32).to_numpy()
    item_R = catalog.items.encode(shown[ITEM_ID])
    events = _followed(dataset, shown, request_R, item_R, until=until, positive=positive, n_items=len(catalog))
    labels = recipe.labels.of_events(events, catalog.duration)
    signals = labels.signals(request_R, item_R)
    label_R = labels.total(signals)
    kept_Q = np.unique(request_R[label_R > 0])
    if not len(kept_Q):
        raise TrainingError(
            "nothing that was served was liked: see that events name their impressions, or set signals.positive or "
            "labels.weights to kinds that the log holds"
        )
    if len(kept_Q) > recipe.label_draw.queries:
        kept_Q = np.sort(np.random.default_rng(recipe.seed).choice(kept_Q, recipe.label_draw.queries, replace=False))
    kept_R = np.isin(request_R, kept_Q)
    values = np.asarray(shown["features"].filter(pl.Series(kept_R)).to_list(), dtype=np.float32)
    return TrainingSet(
        features=FeatureMatrix(features.names, features.schema_hash, values),
        labels=label_R[kept_R],
        groups=np.unique(request_R[kept_R], return_counts=True)[1].astype(np.int64),
        # The older half counts as the older window.
        windows=(np.arange(len(kept_Q)) * 2 // len(kept_Q)).astype(np.int64),
        signals={name: own[kept_R] for name, own in signals.items()},
        weights=labels.weights,
    )


def _shown(dataset: Dataset, schema: str, until: int) -> pl.DataFrame:
    """``[R]``: what was shown before a moment with features of that layout."""
    return (
        dataset.impressions.filter(
            pl.col("feature_schema") == schema,
            pl.col("features").is_not_null(),
            pl.col("shown_at").dt.timestamp("us") < until,
        )
        .select(_SHOWN_ID, _REQUEST, USER_ID, ITEM_ID, "position", "shown_at", "features")
        .sort("shown_at", _REQUEST, "position")
        .collect()
    )


def _followed(
    dataset: Dataset,
    shown: pl.DataFrame,
    request_R: NDArray[np.int32],
    item_R: NDArray[np.int32],
    *,
    until: int,
    positive: Sequence[str],
    n_items: int,
) -> Events:
    """``[E]``: what followed before a moment, of the viewer and the item that were shown; its viewer is the request."""
    # A client may name what it was never shown: viewer and item have to agree.
    rows = shown.select(_SHOWN_ID, USER_ID, ITEM_ID, pl.Series("request", request_R), pl.Series("item", item_R))
    found = (
        dataset.events.filter(pl.col(OCCURRED_AT).is_null() | (pl.col(OCCURRED_AT).dt.timestamp("us") < until))
        .select(_SHOWN_ID, USER_ID, ITEM_ID, KIND, VALUE, OCCURRED_AT, ORDER)
        .join(rows.lazy(), on=[_SHOWN_ID, USER_ID, ITEM_ID], how="inner")
        .sort("request", OCCURRED_AT, ORDER)
        .collect()
    )
    kind = found[KIND].to_physical().cast(pl.Int8).to_numpy()
    return Events(
        user=found["request"].to_numpy(),
        item=found["item"].to_numpy(),
        kind=kind,
        value=found[VALUE].fill_null(1.0).to_numpy(),
        weight=np.ones(len(kind), dtype=np.float32),
        positive=np.array([name in positive for name in EVENT_KINDS])[kind],
        time=found[OCCURRED_AT].dt.timestamp("us").fill_null(NO_TIME).to_numpy(),
        n_users=int(request_R[-1]) + 1,
        n_items=n_items,
    )


def _nothing(dataset: Dataset, schema: str) -> str:
    with_features = dataset.impressions.filter(pl.col("features").is_not_null())
    found = with_features.group_by("feature_schema").len().sort("len", descending=True).collect()
    held = ", ".join(f"{count:,} of layout {name}" for name, count in found.iter_rows()) or "none with features"
    return (
        f"no impression was served with features of layout {schema} before the window that stays unseen (the dataset"
        f" holds {held}): append more of a served log, train with the sources and features of the bundle that served,"
        " or set ranker_rows=retrieved"
    )
