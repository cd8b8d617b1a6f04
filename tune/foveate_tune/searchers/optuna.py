"""Optuna's tree-structured Parzen estimator."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Final, Literal

import numpy as np

from foveate.core.space import Choice, Domain, IntRange, LogUniform, Uniform
from foveate_tune.objective import Objective
from foveate_tune.searchers.base import Proposals, SearcherConfig
from foveate_tune.space import Draw, SearchSpace
from foveate_tune.trials.record import FAILURE

if TYPE_CHECKING:
    from optuna import Study, Trial
    from optuna.distributions import BaseDistribution

_DIRECTIONS: Final[Mapping[str, Literal["minimize", "maximize"]]] = {"max": "maximize", "min": "minimize"}
RUNNING, COMPLETE, PRUNED, FAILED = "RUNNING", "COMPLETE", "PRUNED", "FAIL"


@dataclass
class Proposal:
    """What is known of one proposal, in plain values; a study is made of these again when a sweep goes on.

    Parameters
    ----------
    trial_id
        Ray's name of the trial.
    state
        Optuna's: ``PRUNED`` tells it that the settings are bad (the trial diverged), ``FAIL`` that nothing is known of
        them (its process broke).
    values
        The objectives at the trial's best report so far, by the first of them; None before one.
    """

    trial_id: str
    draw: Draw
    state: str = RUNNING
    values: list[float] | None = field(default=None)


class OptunaProposals(Proposals):
    """Asks a study that is kept nowhere but here, and tells it what trials come to.

    The sampler of each number has a seed of its own, so that what is proposed depends on the seed and on what was told
    by then, and not on whether the sweep was stopped in between.
    """

    def __init__(
        self,
        space: SearchSpace,
        trials: int,
        seed: int,
        first: Draw | None,
        *,
        objectives: Sequence[Objective],
        start: int,
    ) -> None:
        super().__init__(trials)
        self._space = space
        self._seed = seed
        self._first = first
        self._objectives = objectives
        self._start = start
        self._proposals: list[Proposal] = []
        self._study = self._new_study()

    def proposal(self, number: int, trial_id: str) -> Draw:
        """Return the settings that the sweep started from, then random draws, then what the study thinks best."""
        if number <= self._start:
            draw = self._space.draw_after(self._first, number, self._seed)
            self._study.add_trial(self._frozen(Proposal(trial_id, draw)))
        else:
            draw = self._ask(number)
        self._proposals.append(Proposal(trial_id, draw))
        return draw

    def foreseen(self) -> Iterator[Draw]:
        """Yield as many random draws."""
        return (self._space.draw_after(self._first, number, self._seed) for number in range(self.count))

    def on_trial_result(self, trial_id: str, result: dict[str, Any]) -> None:
        """Keep a report that is a trial's best so far."""
        proposal = self._running(trial_id)
        if proposal is None:
            return
        if FAILURE in result:
            self._tell(proposal, PRUNED)
            return
        values = [float(result.get(objective.name, math.nan)) for objective in self._objectives]
        if all(map(math.isfinite, values)) and (proposal.values is None or self._better(values, proposal.values)):
            proposal.values = values

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Tell the study what a trial came to: its best report, also where it was stopped early."""
        if result:
            self.on_trial_result(trial_id, result)
        proposal = self._running(trial_id)
        if proposal is not None:
            self._tell(proposal, FAILED if error or proposal.values is None else COMPLETE)

    def state(self) -> dict[str, Any]:
        """Return all that was proposed and told."""
        return {**super().state(), "told": [asdict(proposal) for proposal in self._proposals]}

    def set_state(self, state: dict[str, Any]) -> None:
        """Tell a new study all of it again."""
        super().set_state(state)
        self._proposals = [Proposal(**proposal) for proposal in state["told"]]
        self._study = self._new_study()
        self._study.add_trials([self._frozen(proposal) for proposal in self._proposals])

    def _running(self, trial_id: str) -> Proposal | None:
        return next(
            (proposal for proposal in self._proposals if proposal.trial_id == trial_id and proposal.state == RUNNING),
            None,
        )

    def _better(self, values: Sequence[float], than: Sequence[float]) -> bool:
        return values[0] > than[0] if self._objectives[0].direction == "max" else values[0] < than[0]

    def _tell(self, proposal: Proposal, state: str) -> None:
        from optuna.trial import TrialState  # noqa: PLC0415 - half a second that other searchers are spared

        proposal.state = state
        values = proposal.values if state == COMPLETE else None
        self._study.tell(self._proposals.index(proposal), values, TrialState[state])

    def _new_study(self) -> Study:
        import optuna  # noqa: PLC0415 - as above

        with _quiet():
            directions = [_DIRECTIONS[objective.direction] for objective in self._objectives]
            return optuna.create_study(directions=directions)

    def _ask(self, number: int) -> Draw:
        from optuna.samplers import TPESampler  # noqa: PLC0415 - as above

        seed = int(np.random.default_rng([self._seed, number]).integers(2**31))
        with _quiet():
            # Trials that still run count as bad ones, so that their neighbourhood is left alone meanwhile.
            self._study.sampler = TPESampler(seed=seed, multivariate=False, constant_liar=True, n_startup_trials=1)
        trial = self._study.ask()
        draw: Draw = {
            path: trial.suggest_categorical(path, list(names)) for path, names in self._space.branches.items()
        }
        for path, domain in self._space.domains(draw).items():
            draw[path] = _suggest(trial, self._space.label(path, draw), domain)
        return draw

    def _frozen(self, proposal: Proposal) -> Any:
        """Return a proposal as the study keeps it; a setting outside of its domain is kept from the study."""
        from optuna.trial import TrialState, create_trial  # noqa: PLC0415 - as above

        parameters = dict(self._parameters(proposal.draw))
        return create_trial(
            state=TrialState[proposal.state],
            values=proposal.values if proposal.state == COMPLETE else None,
            params={name: value for name, (value, _) in parameters.items()},
            distributions={name: distribution for name, (_, distribution) in parameters.items()},
        )

    def _parameters(self, draw: Mapping[str, Any]) -> Iterator[tuple[str, tuple[Any, BaseDistribution]]]:
        from optuna.distributions import CategoricalDistribution  # noqa: PLC0415 - as above

        for path, names in self._space.branches.items():
            yield path, (draw[path], CategoricalDistribution(list(names)))
        for path, domain in self._space.domains(draw).items():
            if path in draw and domain.holds(draw[path]):
                value = domain.values.index(draw[path]) if isinstance(domain, Choice) else draw[path]
                yield self._space.label(path, draw), (value, _distribution(domain))


def _suggest(trial: Trial, name: str, domain: Domain) -> Any:
    match domain:
        case Choice(values):
            return values[trial.suggest_categorical(name, range(len(values)))]
        case IntRange(low, high):
            return trial.suggest_int(name, low, high)
        case Uniform(low, high):
            return trial.suggest_float(name, low, high)
        case LogUniform(low, high):
            return trial.suggest_float(name, low, high, log=True)


def _distribution(domain: Domain) -> BaseDistribution:
    """Return Optuna's domain of the same values; those of a list by their place in it, for they may be anything."""
    from optuna import distributions  # noqa: PLC0415 - as above

    match domain:
        case Choice(values):
            return distributions.CategoricalDistribution(range(len(values)))
        case Uniform(low, high):
            return distributions.FloatDistribution(low, high)
        case LogUniform(low, high):
            return distributions.FloatDistribution(low, high, log=True)
        case IntRange(low, high):
            return distributions.IntDistribution(low, high)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep Optuna's own log and its warnings of what is experimental from the user."""
    from optuna import exceptions, logging  # noqa: PLC0415 - as above

    level = logging.get_verbosity()
    logging.set_verbosity(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", exceptions.ExperimentalWarning)
            yield
    finally:
        logging.set_verbosity(level)


@dataclass(frozen=True)
class OptunaSearcher(SearcherConfig):
    """Learns from the trials that have ended which settings are worth trying next.

    One objective or several: the estimator splits trials by rank, or by the Pareto front they lie on. Settings of a
    variant are only learned from trials that chose it.

    Source: Bergstra et al., Algorithms for hyper-parameter optimization (2011), section 4; for several objectives
    Ozaki et al., Multiobjective tree-structured Parzen estimator (2022).

    Parameters
    ----------
    start
        Random draws after the first trial, before it begins to learn.
    """

    name = "optuna"
    learns = True

    start: int = 6

    def __post_init__(self) -> None:
        if self.start < 1:
            raise ValueError(f"start must be 1 or more, got {self.start}")

    def build(
        self, space: SearchSpace, trials: int, seed: int, first: Draw | None, objectives: Sequence[Objective]
    ) -> Proposals:
        """Make the searcher."""
        return OptunaProposals(space, trials, seed, first, objectives=objectives, start=self.start)
