"""The ranker's training set: what sources fitted before a window retrieved for it, and what came of that."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME, Candidates, FeatureMatrix, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.queries import queries_of
from foveate.data.schema import EVENT_KINDS
from foveate.data.split import Stage
from foveate.features.sets import FeatureSet
from foveate.ranking.base import LabelDraw, TrainingSet
from foveate.ranking.labels import Labels, WindowLabels
from foveate.retrieval.base import CandidateSource
from foveate.retrieval.merge import gather

BATCH = 256
"""Queries whose scores of the whole catalogue are held at once."""


@dataclass(frozen=True)
class LabelWindow:
    """A stage with the sources and the features that learned from its history alone."""

    stage: Stage
    sources: Sequence[CandidateSource]
    features: FeatureSet

    def candidates(self, queries: Sequence[Query], counts: Sequence[int]) -> list[Candidates]:
        """Ask the window's sources for so many items each."""
        return gather(self.sources, queries, counts)


@dataclass(frozen=True)
class _Viewer:
    """One viewer's rows: features, label and signals of each candidate that is kept."""

    features: FeatureMatrix
    labels: NDArray[np.float32]
    signals: Mapping[str, NDArray[np.float32]]

    def take(self, rows: NDArray[np.int64]) -> _Viewer:
        signals = {name: own[rows] for name, own in self.signals.items()}
        return _Viewer(replace(self.features, values=self.features.values[rows]), self.labels[rows], signals)


def training_set(
    windows: Sequence[LabelWindow],
    catalog: Catalog,
    counts: Sequence[int],
    draw: LabelDraw,
    seed: int,
    *,
    labels: Labels | None = None,
) -> TrainingSet:
    """Retrieve, build the features and label, window by window.

    Parameters
    ----------
    windows
        Oldest first.
    counts
        How many items each source offers.
    draw
        How many viewers and negatives are kept.
    labels
        What a candidate is labelled by; None labels 1 what the viewer went on to like.

    Raises
    ------
    TrainingError
        No source retrieved anything that a viewer went on to like.
    """
    labels = labels or Labels()
    read = [labels.of(window.stage, catalog.duration) for window in windows]
    parts = [
        _window_rows(window, own, catalog, counts, draw=draw, rng=np.random.default_rng(seed))
        for window, own in zip(windows, read, strict=True)
    ]
    viewers = [viewer for part in parts for viewer in part]
    if not viewers:
        raise TrainingError(
            "no candidate of the ranker's window was liked: widen the split, raise candidates, or add a source"
        )
    first = viewers[0]
    return TrainingSet(
        features=replace(first.features, values=np.concatenate([viewer.features.values for viewer in viewers])),
        labels=np.concatenate([viewer.labels for viewer in viewers]),
        groups=np.array([len(viewer.labels) for viewer in viewers], dtype=np.int64),
        windows=np.repeat(np.arange(len(parts)), [len(part) for part in parts]).astype(np.int64),
        signals={name: np.concatenate([viewer.signals[name] for viewer in viewers]) for name in first.signals},
        weights=read[0].weights,
    )


def _window_rows(
    window: LabelWindow,
    labels: WindowLabels,
    catalog: Catalog,
    counts: Sequence[int],
    *,
    draw: LabelDraw,
    rng: np.random.Generator,
) -> list[_Viewer]:
    """Return the rows of every viewer of the window for whom something of a label above 0 was retrieved."""
    stage = window.stage
    users = drawn_viewers(stage, draw, rng)
    rows: list[_Viewer] = []
    for start in range(0, len(users), BATCH):
        batch = users[start : start + BATCH]
        queries = queries_of(stage.history, batch, catalog, stage.now)
        found = window.candidates(queries, counts)
        signals = [labels.signals(int(user), one.items) for user, one in zip(batch, found, strict=True)]
        sums = [labels.total(own) for own in signals]
        labelled = [i for i, label in enumerate(sums) if (label > 0).any()]
        matrices = window.features.build([queries[i] for i in labelled], [found[i] for i in labelled])
        viewers = [_Viewer(m, sums[i], signals[i]) for m, i in zip(matrices, labelled, strict=True)]
        rows += [_drawn(viewer, draw.negatives, rng) for viewer in viewers]
    return rows


def drawn_viewers(stage: Stage, draw: LabelDraw, rng: np.random.Generator) -> NDArray[np.int32]:
    """Return the viewers of a window that a ranker learns from, in ascending order: the first thing that is drawn."""
    users = stage.targets.users() if stage.after is None else np.unique(stage.after.user)
    if len(users) > draw.queries:
        users = np.sort(rng.choice(users, draw.queries, replace=False))
    return users


def _drawn(viewer: _Viewer, negatives: int, rng: np.random.Generator) -> _Viewer:
    """Keep every label, and a draw of the other candidates."""
    others = np.flatnonzero(viewer.labels == 0)
    if not negatives or len(others) <= negatives:
        return viewer
    return viewer.take(
        np.sort(np.concatenate([np.flatnonzero(viewer.labels), rng.choice(others, negatives, replace=False)]))
    )


def followed(events: Events, stage: Stage, kinds: Collection[str]) -> Events:
    """Return the events of a stage's window that are of these kinds.

    Where the clock is order only, the window is each viewer's next meeting: their neighbouring events on the one item
    that their history ends before.

    Parameters
    ----------
    events
        The whole log that the stage was cut from.
    """
    codes = [EVENT_KINDS.index(kind) for kind in kinds]
    wanted_E = np.isin(events.kind, codes)
    return events.take(wanted_E & (_next_meetings(events, stage) if stage.now == NO_TIME else _between(events, stage)))


def _between(events: Events, stage: Stage) -> NDArray[np.bool_]:
    return (events.time >= stage.now) & (events.time < stage.until)


def _next_meetings(events: Events, stage: Stage) -> NDArray[np.bool_]:
    """``[E]``: the events from the end of a viewer's history on, up to the first on another item."""
    cut_U = events.offsets()[:-1] + np.diff(stage.history.offsets())
    asked_U = np.diff(stage.targets.offsets) > 0
    after_E = asked_U[events.user] & (np.arange(len(events)) >= cut_U[events.user])
    first_U = np.full(events.n_users, -1, dtype=np.int32)
    first_U[asked_U] = events.item[cut_U[asked_U]]
    other_E = after_E & (events.item != first_U[events.user])
    # How many events on another item lie between the cut and each event, itself included.
    since = np.cumsum(other_E)
    before_U = np.concatenate([[0], since])[cut_U]
    met_E: NDArray[np.bool_] = after_E & (since == before_U[events.user])
    return met_E
