"""Shortcuts of a log: how far counting alone gets, beside a default encoder.

Shapes: ``E`` events, ``T`` targets.
"""

from __future__ import annotations

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Literal, TypeAlias

import numpy as np

from foveate.core import metrics
from foveate.core.errors import DataError
from foveate.core.messages import NO_TIME
from foveate.core.metrics import Floats, Interval, Sums
from foveate.core.progress import Progress
from foveate.data.dataset import Dataset
from foveate.data.events import Events
from foveate.data.fitting import FitContext
from foveate.data.importing.stream import read_events
from foveate.data.split import Protocol, allowed_protocols, windows
from foveate.evaluation.outcomes import SLATE_SIZE, by_source
from foveate.evaluation.panel import Panel, panel_of
from foveate.recommend.recipe import Recipe, default_sources
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
ENCODER: Final = "attention"

Window: TypeAlias = Literal["selection", "test"]


@dataclass(frozen=True)
class Shortcuts:
    """What counting alone comes to on one window of one protocol.

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
        NDCG@10 of each shortcut, and of the encoder under ``attention`` where one was trained.
    window
        What was predicted: ``selection``, the window on which settings are chosen, or ``test``.
    reaches
        The best shortcut's NDCG@10 as a share of the encoder's, with its 95 % bootstrap interval over viewers; None
        where no encoder was trained.
    seconds
        How long the encoder's training took; None where none was trained.
    """

    protocol: Protocol
    viewers: int
    targets: int
    repeated: float
    tied: float | None
    predictable: float
    popular: float | None
    ndcg: Mapping[str, float]
    window: Window = "selection"
    reaches: Interval | None = None
    seconds: float | None = None

    @property
    def best(self) -> str:
        """The shortcut with the highest NDCG@10."""
        return best_of(self.ndcg)

    @property
    def needs_model(self) -> bool | None:
        """Whether the best shortcut stays below :data:`ENOUGH` of the encoder; None where none was trained."""
        return None if self.reaches is None else not self.reaches.mean >= ENOUGH

    @property
    def sentence(self) -> str:
        """Whether the log needs a model, with the figure that says so."""
        figure = f"{self.ndcg[self.best]:.4f}"
        if self.reaches is None:
            return (
                f"{self.protocol}: {self.best} is the best shortcut, NDCG@10 {figure}; no encoder was trained, so"
                " whether this log needs a model is not known"
            )
        share, window = self.reaches, "validation" if self.window == "selection" else "the test window"
        if not math.isfinite(share.mean):
            return (
                f"{self.protocol}: a default encoder predicts nothing on {window}, and {self.best} has an NDCG@10 of"
                f" {figure}: this log asks little of a model"
            )
        bounds = f" ({share.low:.0%} to {share.high:.0%})" if math.isfinite(share.low) else ""
        verdict = "this log needs a model" if self.needs_model else "this log asks little of a model"
        return (
            f"{self.protocol}: {self.best} reaches {share.mean:.0%}{bounds} of a default encoder's NDCG@10 on {window}:"
            f" {verdict} (the line is at {ENOUGH:.0%})"
        )

    def to_json(self) -> dict[str, Any]:
        """Return it as plain values."""
        reaches = self.reaches and {name: _number(value) for name, value in vars(self.reaches).items()}
        found = {"best": self.best, "needs_model": self.needs_model, "sentence": self.sentence}
        return {**asdict(self), "reaches": reaches, **found}


def best_of(ndcg: Mapping[str, float]) -> str:
    """Return the shortcut with the highest NDCG@10."""
    return max((name for name in ndcg if name != ENCODER), key=lambda name: ndcg[name])


def shortcuts(
    dataset: Dataset,
    protocols: Sequence[Protocol] = (),
    *,
    encoder: SourceConfig | None = None,
    train: bool = True,
    window: Window = "selection",
    viewers: int = VIEWERS,
    seed: int = 0,
    progress: Progress | None = None,
) -> list[Shortcuts]:
    """Measure what shortcuts predict, and what a default encoder does.

    The shortcuts are a walk over transitions, the popularity of seven days, and co-visitation: see their own files in
    :mod:`foveate.retrieval` for sources.

    Parameters
    ----------
    protocols
        How to cut the log; by default every way that it allows.
    encoder
        What stands for a default encoder; None takes that of :func:`default_encoder`.
    train
        Whether the encoder is trained, which takes most of the time. Without it nothing is said of a model.
    window
        What is to be predicted, from all that lies before.
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
    counting: list[SourceConfig] = [TransitionWalk(), RecentPopularity(days=DAYS), Covisitation()]
    found: list[Shortcuts] = []
    for protocol in asked:
        try:
            cut = windows(events, protocol, recipe.split)
        except DataError:
            # A short log may allow one way alone.
            if protocols or (protocol == asked[-1] and not found):
                raise
            continue
        stage = cut.selection if window == "selection" else cut.test
        context = FitContext(stage.history.histories(catalog.duration), catalog, stage.now, seed, progress=progress)
        panel = panel_of(stage, catalog, most=viewers, seed=seed)
        learned = [encoder or default_encoder(protocol)] if train else []
        answers = {type(config).name: _asked(config, context, panel, progress) for config in (*counting, *learned)}
        followers, _ = _asked(TransitionWalk(last=1, hops=1, similarity=0.0), context, panel, progress)
        by_viewer = {
            name: metrics.multi_ndcg_at(ranks, panel.offsets, SLATE_SIZE) for name, (ranks, _) in answers.items()
        }
        ndcg = {name: float(own.mean()) for name, own in by_viewer.items()}
        recent, _ = answers[RecentPopularity.name]
        found.append(
            Shortcuts(
                protocol=protocol,
                viewers=len(panel.queries),
                targets=len(panel.targets),
                repeated=_repeated(events),
                tied=_tied(events),
                predictable=float((followers < FOLLOWERS).mean()),
                popular=float((recent < POPULAR).mean()) if stage.now != NO_TIME else None,
                ndcg=ndcg,
                window=window,
                reaches=_reaches(by_viewer[best_of(ndcg)], by_viewer[ENCODER], seed) if train else None,
                seconds=answers[ENCODER][1] if train else None,
            )
        )
    return found


def default_encoder(protocol: Protocol) -> SourceConfig:
    """Return the encoder of a recipe that names no sources."""
    [encoder] = [source for source in default_sources(protocol) if type(source).name == ENCODER]
    return encoder


def _reaches(shortcut_B: Floats, encoder_B: Floats, seed: int) -> Interval:
    """Return one NDCG@10 as a share of the other; infinite where the other is 0."""
    share = metrics.bootstrap_ratio(Sums(shortcut_B, encoder_B), seed)
    return share if encoder_B.sum() > 0 else Interval(math.inf, math.nan, math.nan)


def _asked(config: SourceConfig, context: FitContext, panel: Panel, progress: Progress | None) -> tuple[Floats, float]:
    """``[T]``: ranks of the targets by one source, from 0 (``inf`` where missed), and how many seconds its fit took."""
    if progress is not None:
        progress(f"measuring {type(config).name}")
    start = time.monotonic()
    source = config.fit(context)
    seconds = time.monotonic() - start
    return np.concatenate([by_source(source, batch)[0] for batch in panel.batches(256)]), seconds


def _number(value: float) -> float | None:
    return value if math.isfinite(value) else None


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
