"""Shortcuts of a log: how far counting alone gets, beside a default encoder.

Shapes: ``E`` events, ``T`` targets.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np

from foveate.core import metrics
from foveate.core.errors import DataError
from foveate.core.messages import NO_TIME
from foveate.core.metrics import Floats
from foveate.core.progress import Progress
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.fitting import FitContext
from foveate.data.importing.stream import read_events
from foveate.data.split import Protocol, allowed_protocols, windows
from foveate.evaluation.outcomes import SLATE_SIZE, by_source
from foveate.evaluation.panel import Panel, panel_of
from foveate.recommend.recipe import Recipe
from foveate.retrieval.base import SourceConfig
from foveate.retrieval.covisitation import Covisitation
from foveate.retrieval.recent_popularity import RecentPopularity
from foveate.retrieval.transition_walk import TransitionWalk
from foveate.training import positive_kinds

ENOUGH: Final = 0.9
"""A log whose best shortcut reaches this share of a default encoder's NDCG@10 is said to need no model."""
VIEWERS: Final = 2000
"""How many viewers are asked at most."""
FOLLOWERS, POPULAR, DAYS = 10, 100, 7.0


@dataclass(frozen=True)
class Shortcuts:
    """What counting alone comes to on the validation window of one protocol.

    Parameters
    ----------
    protocol
        How the log is cut.
    viewers, targets
        How many are asked, and how many items they went on to like.
    repeated
        Share of the events of interest that repeat an earlier one of the same viewer and item.
    tied
        Share of the dated events that have the time of their viewer's previous one; None without times.
    predictable
        Share of the targets that are among the ten items that most often followed the viewer's newest one.
    popular
        Share of the targets that are among the hundred most popular items of the seven days before; None without times.
    ndcg
        NDCG@10 of each shortcut, and of the encoder under ``attention``.
    """

    protocol: Protocol
    viewers: int
    targets: int
    repeated: float
    tied: float | None
    predictable: float
    popular: float | None
    ndcg: Mapping[str, float]

    @property
    def best(self) -> str:
        """The shortcut with the highest NDCG@10."""
        return max((name for name in self.ndcg if name != "attention"), key=lambda name: self.ndcg[name])

    @property
    def reach(self) -> float:
        """The best shortcut's NDCG@10 as a share of the encoder's; infinite where the encoder's is 0."""
        encoder = self.ndcg["attention"]
        return self.ndcg[self.best] / encoder if encoder else float("inf")

    @property
    def sentence(self) -> str:
        """Whether the log needs a model, with the figure that says so."""
        needs = "this log asks little of a model" if self.reach >= ENOUGH else "this log needs a model"
        return (
            f"{self.protocol}: {self.best} reaches {self.reach:.0%} of a default encoder's NDCG@10 on validation: "
            f"{needs} (the line is at {ENOUGH:.0%})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        return {**asdict(self), "best": self.best, "reach": self.reach, "sentence": self.sentence}


def shortcuts(
    dataset: Dataset,
    protocols: Sequence[Protocol] = (),
    *,
    encoder: SourceConfig | None = None,
    viewers: int = VIEWERS,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Shortcuts]:
    """Measure what shortcuts foretell, and what a default encoder does.

    The shortcuts are a walk over transitions, the popularity of seven days, and co-visitation: see their own files in
    :mod:`foveate.retrieval` for sources.

    Parameters
    ----------
    protocols
        How to cut the log; by default every way that it allows.
    encoder
        What stands for a default encoder; None takes the ``attention`` source as it comes.
    viewers
        How many to ask at most; 0 asks all.

    Raises
    ------
    DataError
        The log is too short to be cut.
    TrainingError
        The encoder cannot be trained on it.
    """
    asked = protocols or allowed_protocols(dataset.manifest.first)
    recipe, catalog = Recipe(), dataset.catalog()
    events = read_events(dataset, catalog.items, recipe.signals, positive_kinds(dataset, recipe))
    configs = [
        TransitionWalk(),
        RecentPopularity(days=DAYS),
        Covisitation(),
        encoder or SourceConfig.variants["attention"](),
    ]
    found: list[Shortcuts] = []
    for protocol in asked:
        try:
            stage = windows(events, protocol, recipe.split).selection
        except DataError:
            # A short log may allow one way alone.
            if protocols or (protocol == asked[-1] and not found):
                raise
            continue
        histories = stage.history.histories(catalog.duration)
        context = FitContext(histories, catalog, stage.now, seed, progress=progress)
        panel = panel_of(stage, catalog, most=viewers, seed=seed)
        ranks = {type(config).name: _ranks(config, context, panel, progress) for config in configs}
        followers = _ranks(TransitionWalk(last=1, hops=1, similarity=0.0), context, panel, progress)
        found.append(
            Shortcuts(
                protocol=protocol,
                viewers=len(panel.queries),
                targets=len(panel.targets),
                repeated=_repeated(events),
                tied=_tied(events),
                predictable=float((followers < FOLLOWERS).mean()),
                popular=float((ranks[RecentPopularity.name] < POPULAR).mean()) if stage.now != NO_TIME else None,
                ndcg={
                    name: float(metrics.multi_ndcg_at(own, panel.offsets, SLATE_SIZE).mean())
                    for name, own in ranks.items()
                },
            )
        )
    return found


def _ranks(config: SourceConfig, context: FitContext, panel: Panel, progress: Progress | None) -> Floats:
    """``[T]``: ranks of the targets by one source, from 0; ``inf`` where it gives the target nothing."""
    if progress is not None:
        progress(f"measuring {type(config).name}")
    source = config.fit(context)
    return np.concatenate([by_source(source, batch)[0] for batch in panel.batches(256)])


def _repeated(events: Events) -> float:
    own = events.take(events.positive)
    pairs = own.user.astype(np.int64) * own.n_items + own.item
    return 1.0 - len(np.unique(pairs)) / max(1, len(pairs))


def _tied(events: Events) -> float | None:
    dated = events.take(events.time != NO_TIME)
    if not len(dated):
        return None
    same = (dated.user[1:] == dated.user[:-1]) & (dated.time[1:] == dated.time[:-1])
    return float(same.sum() / len(dated))
