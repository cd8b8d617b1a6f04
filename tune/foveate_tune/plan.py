"""The plan of a sweep's search, refused before anything starts where it cannot work."""

from __future__ import annotations

from dataclasses import dataclass

from ray.tune.schedulers import TrialScheduler

from foveate.core.errors import ConfigError
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Problem
from foveate_tune.schedulers.base import Paced, Trials
from foveate_tune.searchers.base import Proposals
from foveate_tune.space import SearchSpace
from foveate_tune.trials.record import EPOCH


@dataclass(frozen=True)
class Plan:
    """Where settings come from, who proposes them, and who stops trials."""

    space: SearchSpace
    searcher: Proposals
    scheduler: TrialScheduler


def planned(config: SweepConfig, problem: Problem, over: int = 0) -> Plan:
    """Make searcher and scheduler, and see that what will be proposed can be built.

    Parameters
    ----------
    over
        How many trials an earlier run of the sweep has brought to their end.

    Raises
    ------
    ConfigError
        There is nothing to search, the searcher or the scheduler cannot do it, or a draw cannot be built.
    """
    space = config.level.space(config)
    if space.size() == 1 and config.trials > 1:
        raise ConfigError(
            f"search: there is only one combination of settings, so all {config.trials} trials would be the same: name "
            "more variants, give settings more values, or set trials=1"
        )
    searcher = config.search.searcher
    proposals = searcher.build(space, config.trials, config.seed, problem.first(space), config.level.objectives)
    scheduler = config.scheduler.build(
        Trials(
            time_attr=EPOCH,
            steps=config.level.steps(config),
            count=proposals.count - over,
            concurrent=config.concurrent,
            workers=config.workers,
            space=space,
            learns=searcher.learns,
            seed=config.seed,
        )
    )
    for draw in proposals.foreseen():
        problem.check(draw)
    if isinstance(scheduler, Paced):
        proposals.held = scheduler.full
    return Plan(space, proposals, scheduler)
