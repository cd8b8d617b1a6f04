"""Population-based training."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
from ray.tune.execution.tune_controller import TuneController
from ray.tune.experiment import Trial
from ray.tune.schedulers import PopulationBasedTraining, TrialScheduler

from foveate.core.errors import ConfigError
from foveate.core.space import Choice, Domain, IntRange, Space
from foveate_tune.schedulers.base import SchedulerConfig, Trials
from foveate_tune.searchers.base import NUMBER
from foveate_tune.space import sample, to_tune

PERTURBED = ("learning_rate", "weight_decay", "gradient_norm", "batch_size", "negatives")
"""Settings of training that may change between two epochs: no tensor of a checkpoint takes its shape from them."""
FACTORS = (0.8, 1.2)


class Population(PopulationBasedTraining):
    """Ray Tune's scheduler, with all trials at the same step when the worse take up what the better have learned.

    Parameters
    ----------
    trials
        What is scheduled.
    mutations
        Domains, by path, of what is perturbed.
    """

    def __init__(self, trials: Trials, mutations: Space, *, interval: int, share: float, resample: float) -> None:
        super().__init__(
            time_attr=trials.time_attr,
            perturbation_interval=interval,
            hyperparam_mutations={path: to_tune(domain) for path, domain in mutations.items()},
            quantile_fraction=share,
            resample_probability=resample,
            synch=True,
            log_config=False,
        )
        self._mutations = mutations
        self._steps = trials.steps
        self._count = trials.count
        self._concurrent = trials.concurrent
        self._rng = np.random.default_rng(trials.seed)
        self._borrowed: dict[Trial, Trial] = {}

    def full(self) -> bool:
        """Whether as many trials run, or are about to, as may."""
        return sum(trial.status in (Trial.PENDING, Trial.RUNNING) for trial in self._trial_state) >= self._concurrent

    def on_trial_add(self, tune_controller: TuneController, trial: Trial) -> None:
        """Take a trial into the population.

        Ray refuses searchers, for most would learn from settings that are not theirs any more; ours hand out draws.
        It also warns of checkpoints that go before others have taken them up; here their trials wait for that.
        """
        del tune_controller
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)
            super().on_trial_add(cast("TuneController", SimpleNamespace(search_alg=None)), trial)

    def on_trial_result(self, tune_controller: TuneController, trial: Trial, result: dict[str, Any]) -> str:
        """Let a trial go on, or wait for the others."""
        self._borrowed.pop(trial, None)
        step = result[self._time_attr]
        if step >= self._steps:
            # It has come to its end: there is nothing to perturb for.
            self._save_trial_state(self._trial_state[trial], step, result, trial)
            return str(TrialScheduler.CONTINUE)
        if len(self._trial_state) < self._count and step >= self._next_perturbation_sync:
            # Those that are not made yet belong to the population as well.
            self._save_trial_state(self._trial_state[trial], step, result, trial)
            return str(TrialScheduler.PAUSE)
        return str(super().on_trial_result(tune_controller, trial, result))

    def choose_trial_to_run(self, tune_controller: TuneController) -> Trial | None:
        """Return the next trial to go on, None where as many run as may."""
        del tune_controller
        if self.full():
            return None
        paused = [trial for trial in self._trial_state if trial.status == Trial.PAUSED]
        if paused and len(self._trial_state) == self._count and not self._awaited():
            # The last one that was waited for has ended without a report: this time nobody is perturbed.
            self._next_perturbation_sync += self._perturbation_interval
        lent = {lender for borrower, lender in self._borrowed.items() if not _ended(borrower)}
        ready = [
            trial
            for trial in paused
            if trial not in lent and self._trial_state[trial].last_train_time < self._next_perturbation_sync
        ]
        return min(ready, key=lambda trial: self._trial_state[trial].last_train_time, default=None)

    def _awaited(self) -> bool:
        """Whether a trial that has not ended has yet to come to the step at which all meet."""
        return any(
            not _ended(trial) and state.last_train_time < self._next_perturbation_sync
            for trial, state in self._trial_state.items()
        )

    def _exploit(self, tune_controller: TuneController, trial: Trial, trial_to_clone: Trial) -> None:
        super()._exploit(tune_controller, trial, trial_to_clone)
        # Until it has the checkpoint, the other may not write a newer one, for which this one would go.
        self._borrowed[trial] = trial_to_clone

    def _get_new_config(self, trial: Trial, trial_to_clone: Trial) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the better trial's settings, perturbed, under the own number, and what was done to each."""
        config = {**trial_to_clone.config, NUMBER: trial.config[NUMBER]}
        changes: dict[str, str] = {}
        for path, domain in self._mutations.items():
            anew = self._rng.random() < self._resample_probability
            config[path] = sample(domain, self._rng) if anew else perturbed(config[path], domain, self._rng)
            changes[path] = "resample" if anew else "perturb"
        return config, changes


def _ended(trial: Trial) -> bool:
    return trial.status in (Trial.TERMINATED, Trial.ERROR)


def perturbed(value: Any, domain: Domain, rng: np.random.Generator) -> Any:
    """Return a value near to another one within a domain: a list's neighbour, or 0.8 or 1.2 times a number."""
    match domain:
        case Choice(values):
            if value not in values:
                return sample(domain, rng)
            place = values.index(value) + int(rng.choice((-1, 1)))
            return values[min(max(place, 0), len(values) - 1)]
        case IntRange(low, high):
            step = max(1, round(abs(value) * (FACTORS[1] - 1)))
            return min(max(value + int(rng.choice((-step, step))), low), high)
        case _:
            return min(max(value * float(rng.choice(FACTORS)), domain.low), domain.high)


@dataclass(frozen=True)
class Pbt(SchedulerConfig):
    """Every few epochs the worst trials go on from the weights of the best, with settings of training near to theirs.

    Only what does not change the encoder is perturbed: the searched ones among learning rate, weight decay, gradient
    norm, batch size and negatives.

    Source: Jaderberg et al., Population based training of neural networks (2017), section 3.

    Parameters
    ----------
    interval
        Epochs between two comparisons.
    share
        Share of the trials that give up their weights, and of those that pass theirs on; half at most.
    resample
        How likely a setting is drawn anew, instead of being perturbed.
    """

    name = "pbt"

    interval: int = 2
    share: float = 0.25
    resample: float = 0.25

    def __post_init__(self) -> None:
        if self.interval < 1:
            raise ValueError(f"interval must be 1 or more, got {self.interval}")
        if not 0 < self.share <= 0.5:
            raise ValueError(f"share must be above 0 and at most 0.5, got {self.share}")
        if not 0 <= self.resample <= 1:
            raise ValueError(f"resample must lie between 0 and 1, got {self.resample}")

    def build(self, trials: Trials) -> TrialScheduler:
        """Make the scheduler.

        Raises
        ------
        ConfigError
            Nothing is searched that could be perturbed, or the trials are none that learn from each other.
        """
        mutations = {path: trials.space.shared.get(path) for path in (f"train.{name}" for name in PERTURBED)}
        found = {path: domain for path, domain in mutations.items() if domain is not None}
        if not found:
            paths = ", ".join(mutations)
            raise ConfigError(f"scheduler=pbt has nothing to perturb: give one of {paths} a domain in search.settings")
        if trials.learns:
            raise ConfigError("scheduler=pbt draws all of its trials before one ends: set search.searcher=random")
        if trials.workers > 1:
            raise ConfigError("scheduler=pbt trains each trial in one process: set workers=1")
        if trials.count < 2:
            raise ConfigError(f"scheduler=pbt needs a population: set trials to 2 or more, got {trials.count}")
        if trials.steps <= self.interval:
            raise ConfigError(
                f"scheduler=pbt would never compare trials of {trials.steps} epochs: set scheduler.interval below that"
            )
        return Population(trials, found, interval=self.interval, share=self.share, resample=self.resample)
