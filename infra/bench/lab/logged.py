"""Logged impressions as lists to be ranked: what was shown to a viewer in a window, and what they did with it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.core.messages import Candidates, FeatureMatrix, Query
from foveate.core.metrics import Floats
from foveate.data.catalog import Catalog
from foveate.data.dataset import Dataset
from foveate.data.queries import queries_of
from foveate.data.vocabulary import UNKNOWN
from foveate.ranking.base import TrainingSet
from foveate.retrieval.base import CandidateSource, top_k
from foveate.training.examples import LabelWindow
from lab.kept import keep, read

_BATCH = 256


@dataclass(frozen=True)
class Shown:
    """Impressions of one window, viewer after viewer, each item once.

    Parameters
    ----------
    user, item
        ``[R]`` codes.
    done
        ``[R]`` float32: 1 where the viewer did the thing that is foretold.
    """

    user: NDArray[np.int32]
    item: NDArray[np.int32]
    done: NDArray[np.float32]

    def lists(self) -> NDArray[np.int64]:
        """``[B + 1]``: where each viewer's rows begin and end."""
        starts = np.flatnonzero(np.diff(self.user, prepend=-1))
        return np.append(starts, len(self.user)).astype(np.int64)

    def of(self, users: NDArray[np.int32]) -> Shown:
        rows = np.isin(self.user, users)
        return Shown(self.user[rows], self.item[rows], self.done[rows])


def shown_in(dataset: Dataset, catalog: Catalog, kind: str, start: int, end: int) -> Shown:
    """Read the impressions of a window, and whether an event of ``kind`` came of each."""
    did = dataset.events.filter(pl.col("kind").cast(pl.String) == kind).select("impression_id").unique()
    at = pl.col("shown_at").dt.timestamp("us")
    frame = (
        dataset.impressions.filter((at >= start) & (at < end))
        .select("impression_id", "user_id", "item_id")
        .join(did.with_columns(done=pl.lit(1.0)), on="impression_id", how="left")
        .with_columns(pl.col("done").fill_null(0.0))
        .collect()
    )
    user, item = dataset.users().encode(frame["user_id"]), catalog.items.encode(frame["item_id"])
    pairs = pl.DataFrame({"user": user, "item": item, "done": frame["done"]}).filter(
        (pl.col("user") != UNKNOWN) & (pl.col("item") != UNKNOWN)
    )
    once = pairs.group_by("user", "item").agg(pl.col("done").max()).sort("user", "item")
    columns = {name: once[name].to_numpy() for name in ("user", "item")}
    return Shown(
        columns["user"].astype(np.int32), columns["item"].astype(np.int32), once["done"].to_numpy().astype(np.float32)
    )


def features_of(window: LabelWindow, shown: Shown, catalog: Catalog, counts: Sequence[int]) -> FeatureMatrix:
    """Build the ranker's features of each impression, by what was known at the window's start and no later."""
    lists = shown.lists()
    users = shown.user[lists[:-1]]
    matrices: list[FeatureMatrix] = []
    for start in range(0, len(users), _BATCH):
        batch = users[start : start + _BATCH]
        queries = queries_of(window.stage.history, batch, catalog, window.stage.now)
        items = [shown.item[lists[at] : lists[at + 1]] for at in range(start, start + len(batch))]
        matrices += window.features.build(queries, _as_candidates(window.sources, queries, items, counts))
    first = matrices[0]
    return FeatureMatrix(first.names, first.schema_hash, np.concatenate([one.values for one in matrices]))


def _as_candidates(
    sources: Sequence[CandidateSource],
    queries: Sequence[Query],
    items: Sequence[NDArray[np.int32]],
    counts: Sequence[int],
) -> list[Candidates]:
    """Return what was shown as if sources had offered it: their scores of it, and whether it is among their best."""
    scores = [source.scores(queries) for source in sources]
    source_features = [source.source_features(queries, items) for source in sources]
    names = tuple(source.name for source in sources)
    source_feature_names = tuple(name for source in sources for name in source.source_feature_names)
    out = []
    for row, (query, own) in enumerate(zip(queries, items, strict=True)):
        scores_NS = np.stack([scores_BI[row, own] for scores_BI in scores], axis=1)
        tops = [top_k(scores_BI[row], query.exclude, count) for scores_BI, count in zip(scores, counts, strict=True)]
        offered_NS = np.stack([np.isin(own, top) for top in tops], axis=1)
        said = np.concatenate([of_source[row] for of_source in source_features], axis=1)
        out.append(Candidates(own, names, scores_NS, offered_NS, source_feature_names, said))
    return out


@dataclass(frozen=True)
class Logged:
    """What rankers learn from, what they are asked about, and which columns tell of what."""

    training: TrainingSet
    shown: Shown
    asked: FeatureMatrix
    groups: Mapping[str, tuple[str, ...]]

    def keep(self, folder: Path) -> None:
        """Write it down."""
        shown = self.shown
        done = {"user": shown.user, "item": shown.item, "done": shown.done}
        keep(folder, self.training, self.groups, asked=self.asked.values, **done)

    @classmethod
    def read(cls, folder: Path) -> Logged:
        """Read what was written down."""
        training, groups, arrays = read(folder)
        asked = replace(training.features, values=arrays.pop("asked"))
        return cls(training, Shown(**arrays), asked, groups)


def training_of(parts: Sequence[tuple[Shown, FeatureMatrix]]) -> TrainingSet:
    """Return the impressions of several windows, oldest first, as what a ranker learns from."""
    first = parts[0][1]
    lengths = [np.diff(shown.lists()) for shown, _ in parts]
    return TrainingSet(
        features=FeatureMatrix(first.names, first.schema_hash, np.concatenate([m.values for _, m in parts])),
        labels=np.concatenate([shown.done for shown, _ in parts]),
        groups=np.concatenate(lengths),
        windows=np.repeat(np.arange(len(parts)), [len(own) for own in lengths]).astype(np.int64),
    )


def aucs(scores_R: NDArray[np.floating], shown: Shown) -> Floats:
    """Return ``[B]`` the share of each viewer's pairs of a done and an undone item that scores put in the right order.

    Ties count half; NaN for a viewer who did all or nothing.
    """
    lists = shown.lists()
    out = np.full(len(lists) - 1, np.nan)
    for viewer in range(len(out)):
        rows = slice(int(lists[viewer]), int(lists[viewer + 1]))
        done, scores = shown.done[rows] > 0, scores_R[rows].astype(np.float64)
        if done.any() and not done.all():
            apart = scores[done][:, None] - scores[~done][None, :]
            out[viewer] = ((apart > 0) + 0.5 * (apart == 0)).mean()
    return out
