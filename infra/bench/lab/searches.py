"""Searches replayed on settings whose learning curves are recorded: nothing is trained, so hundreds take minutes.

A replay asks the very searchers and schedulers of a sweep. What a searcher proposes stands for the nearest recorded
setting that the replay has not used yet, and is answered by that setting's curve. One trial runs at a time.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from ray.tune.schedulers import TrialScheduler
from ray.tune.schedulers.trial_scheduler import TrialScheduler as Decisions

from foveate.core.config import from_dict
from foveate.core.space import Choice, Domain, IntRange, LogUniform, Uniform
from foveate_tune.objective import Objective
from foveate_tune.schedulers.base import SchedulerConfig, Trials
from foveate_tune.search import SearchConfig, build_space
from foveate_tune.searchers.base import NUMBER, SearcherConfig
from foveate_tune.space import Draw, SearchSpace
from foveate_tune.trials.record import EPOCH

METRIC = "ndcg@10"


@dataclass(frozen=True)
class Setting:
    """One recorded trial: its draw, and the metric after each epoch (shorter where it diverged)."""

    draw: Draw
    curve: tuple[float, ...]


@dataclass(frozen=True)
class Record:
    """What a sweep of random settings came to, without a scheduler.

    Parameters
    ----------
    data, content_hash, protocol
        What was trained on, and how it was cut.
    search
        The search config, as plain values.
    epochs
        Of each trial.
    settings
        All trials; the first one is what the sweep started from where ``first`` says so.
    """

    data: str
    content_hash: str
    protocol: str
    search: Mapping[str, Any]
    epochs: int
    first: bool
    settings: tuple[Setting, ...]

    @property
    def space(self) -> SearchSpace:
        """Where the settings were drawn from."""
        return build_space(from_dict(SearchConfig, self.search))

    @property
    def best(self) -> float:
        """The best value of any setting at any epoch."""
        return max(max(one.curve) for one in self.settings if one.curve)


@dataclass(frozen=True)
class Strategy:
    """A searcher with a scheduler; ``warm`` proposes first what the recorded sweep started from."""

    searcher: SearcherConfig
    scheduler: SchedulerConfig
    warm: bool

    @property
    def name(self) -> str:
        """The three in words."""
        start = ", warm" if self.warm else ""
        return f"{type(self.searcher).name}, {type(self.scheduler).name}{start}"


@dataclass(frozen=True)
class Found:
    """What a replay came to: the best value it saw, by which setting, with how many epochs of how many trials."""

    value: float
    setting: int
    epochs: int
    trials: int


def replay(record: Record, strategy: Strategy, *, trials: int, seed: int) -> Found:
    """Search a record for as many epochs as ``trials`` whole ones have.

    A scheduler that stops trials early has so much the more of them, up to all that are recorded.
    """
    space, objective, budget = record.space, Objective(METRIC), trials * record.epochs
    count = len(record.settings)
    first = record.settings[0].draw if strategy.warm and record.first else None
    searcher = strategy.searcher.build(space, count, seed, first, [objective])
    scheduler = _scheduler(strategy, record, space, count, seed)
    left, spent, ran, best = set(range(count)), 0, 0, Found(-math.inf, -1, 0, 0)
    while left and spent < budget:
        name = f"trial-{ran:05d}"
        proposed = searcher.suggest(name)
        if not isinstance(proposed, dict):
            break
        draw = {path: value for path, value in proposed.items() if path != NUMBER}
        place = nearest(space, draw, left, record.settings)
        left.discard(place)
        ran += 1
        curve = record.settings[place].curve[: budget - spent]
        reported = list(_reports(curve, name, scheduler))
        spent += max(1, len(reported))
        for report in reported:
            searcher.on_trial_result(name, report)
        searcher.on_trial_complete(name, reported[-1] if reported else None, error=not reported)
        value = max((report[METRIC] for report in reported), default=-math.inf)
        if value > best.value:
            best = Found(value, place, spent, ran)
    return Found(best.value, best.setting, spent, ran)


def nearest(space: SearchSpace, draw: Draw, among: set[int], settings: Sequence[Setting]) -> int:
    """Return the place of the setting that lies nearest to a draw, the earliest of several."""
    return min(sorted(among), key=lambda place: distance(space, draw, settings[place].draw))


def distance(space: SearchSpace, a: Draw, b: Draw) -> float:
    """Return how far two draws lie apart: 1 for each variant that differs, and a share of each domain's width.

    Settings that only one of the two has do not count: their variants differ already.
    """
    total = float(sum(a[path] != b[path] for path in space.branches))
    both = {path: one for path, one in space.domains(a).items() if path in a and path in b}
    return total + sum(_apart(domain, a[path], b[path]) for path, domain in both.items())


def _apart(domain: Domain, a: Any, b: Any) -> float:
    match domain:
        case Choice(values):
            if a not in values or b not in values:
                return float(a != b)
            return float(abs(values.index(a) - values.index(b)) / max(1, len(values) - 1))
        case LogUniform(low, high):
            return float(abs(math.log(a / b)) / math.log(high / low))
        case Uniform(low, high) | IntRange(low, high):
            return float(abs(a - b) / (high - low))


def _reports(curve: Sequence[float], name: str, scheduler: TrialScheduler) -> Iterator[dict[str, Any]]:
    """Yield a trial's reports until the scheduler stops it."""
    trial, controller = cast("Any", SimpleNamespace(trial_id=name)), cast("Any", None)
    scheduler.on_trial_add(controller, trial)
    for epoch, value in enumerate(curve, 1):
        report = {METRIC: value, EPOCH: epoch}
        yield report
        if scheduler.on_trial_result(controller, trial, dict(report)) != Decisions.CONTINUE:
            return


def _scheduler(strategy: Strategy, record: Record, space: SearchSpace, count: int, seed: int) -> TrialScheduler:
    learns = type(strategy.searcher).learns
    plan = Trials(EPOCH, record.epochs, count, 1, 1, space, learns, seed)
    scheduler = strategy.scheduler.build(plan)
    scheduler.set_search_properties(METRIC, "max")
    return scheduler


def replays(record: Record, strategy: Strategy, *, trials: int, count: int, seed: int = 0) -> list[Found]:
    """Replay a strategy ``count`` times, each with a seed of its own that all strategies share."""
    seeds = np.random.default_rng(seed).integers(0, 2**31 - 1, size=count).tolist()
    return [replay(record, strategy, trials=trials, seed=one) for one in seeds]
