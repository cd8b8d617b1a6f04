"""NDCG@10 of every model on one stretch of time after its training: a window among several, or a part of one.

Shapes: ``B`` viewers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from foveate.core import metrics
from foveate.core.metrics import Difference, Floats, Interval, Sums
from foveate.core.progress import Progress
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.split import Stage
from foveate.evaluation.asking import parts
from foveate.evaluation.outcomes import SLATE_SIZE, Outcomes, Subject, answer, by_source
from foveate.evaluation.panel import Panel, panel_of
from foveate.retrieval.base import CandidateSource, FitContext
from foveate.retrieval.recent_popularity import RecentPopularity

ANEW = "recent_popularity, counted anew"
"""Recent popularity as it stood when a part began: what a model that is not retrained is up against."""


@dataclass(frozen=True)
class Span:
    """What the models come to between two moments.

    Parameters
    ----------
    start, end
        UTC microseconds.
    viewers, targets
        How many are asked, and for how many items.
    ndcg
        NDCG@10 by model.
    above
        How far two-stage lies above each other model.
    """

    start: int
    end: int
    viewers: int
    targets: int
    ndcg: Mapping[str, Interval]
    above: Mapping[str, Difference]


def span_of(stage: Stage, targets: int, ndcg_B: Mapping[str, Floats], *, ours: str, seed: int = 0) -> Span:
    """Measure one stretch from ``[B]`` values by model."""
    sums = {name: Sums.mean_of(values_B) for name, values_B in ndcg_B.items()}
    above = {name: metrics.paired_ratios(sums[ours], own, seed) for name, own in sums.items() if name != ours}
    return Span(
        stage.now,
        stage.until,
        len(ndcg_B[ours]),
        targets,
        {name: metrics.bootstrap_ratio(own, seed) for name, own in sums.items()},
        above,
    )


@dataclass
class Ageing:
    """A window asked part by part, with a model that stays as it was at the window's start."""

    stages: Sequence[Stage]
    panels: Sequence[Panel]
    by_seed: list[list[Outcomes]]

    @classmethod
    def of(cls, events: Events, stage: Stage, catalog: Catalog, min_history: int) -> Ageing:
        """Cut a stage's window; ``events`` are the log in the stage's codes, the window included."""
        stages = parts(events, stage, min_history)
        return cls(stages, [panel_of(part, catalog) for part in stages], [])

    def ask(self, subject: Subject, seed: int, progress: Progress) -> None:
        """Ask one seed's model about every part."""
        own = []
        for place, (stage, panel) in enumerate(zip(self.stages, self.panels, strict=True), 1):
            progress(f"part {place} of {len(self.stages)} of the window, by a model of its start")
            outcomes = answer(subject, panel, seed, _silent)
            fresh = _counted_anew(stage, subject.model.catalog, seed)
            for batch in panel.batches(256):
                outcomes.add(ANEW, *by_source(fresh, batch))
            own.append(outcomes)
        self.by_seed.append(own)

    def spans(self, ours: str) -> tuple[Span, ...]:
        """Return the parts in order."""
        return tuple(
            span_of(stage, len(panel.targets), _ndcg(outcomes, panel), ours=ours)
            for stage, panel, outcomes in zip(self.stages, self.panels, zip(*self.by_seed, strict=True), strict=True)
        )


def _counted_anew(stage: Stage, catalog: Catalog, seed: int) -> CandidateSource:
    history = stage.history.take(stage.history.item < len(catalog))
    return RecentPopularity().fit(FitContext(history.histories(catalog.duration), catalog, stage.now, seed))


def _ndcg(outcomes: Sequence[Outcomes], panel: Panel) -> dict[str, Floats]:
    return {
        name: np.mean(
            [metrics.multi_ndcg_at(one.by_model[name].all_ranks(), panel.offsets, SLATE_SIZE) for one in outcomes],
            axis=0,
        )
        for name in outcomes[0].by_model
    }


def _silent(line: str) -> None:
    del line
