"""The trials of a sweep on Ray Tune."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import ray
from ray import train, tune
from ray.train.torch import TorchTrainer
from ray.tune.experiment import Trial
from ray.tune.integration.ray_train import TuneReportCallback

from foveate.storage.folder import Folder
from foveate_cluster.resources import Resources
from foveate_cluster.worker_group import begun, report, scaling_config_of
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Problem
from foveate_tune.plan import Plan
from foveate_tune.searchers.base import NUMBER
from foveate_tune.trials.callback import SweepCallback
from foveate_tune.trials.journal import CHECKPOINTS, TRIALS, Journal, named
from foveate_tune.trials.record import SECONDS, TrialRecord
from foveate_tune.trials.recorded_searcher import RecordedSearcher
from foveate_tune.trials.trial import Limits, run_draw, train_trial

MAX_FAILURES: Final = 3
"""How often a trial is started anew whose process or node was lost."""


def run_trials(
    config: SweepConfig,
    problem: Problem,
    *,
    plan: Plan,
    callback: SweepCallback,
    sweep: Folder,
    journal: Journal,
    recorded: Sequence[TrialRecord],
    begun: Sequence[TrialRecord],
) -> None:
    """Run what is left to run; ``callback`` knows afterwards what came of it.

    Parameters
    ----------
    recorded, begun
        Trials of an earlier run, and those of them that are not over.

    Raises
    ------
    StorageError
        A disk is full, or a store does not answer any more.
    """
    recall = partial(config.scheduler.recall, plan.scheduler)
    searcher = RecordedSearcher(plan.searcher, journal, recorded, begun, recall)
    if journal.broken is not None:
        raise journal.broken
    if not searcher.left:
        return
    first = config.level.objectives[0]
    tuner = tune.Tuner(
        _trainable(config, problem, sweep / TRIALS, begun),
        tune_config=tune.TuneConfig(
            metric=first.name,
            mode=first.direction,
            search_alg=searcher,
            scheduler=plan.scheduler,
            num_samples=config.trials,
            max_concurrent_trials=config.concurrent,
            # Processes that train together end with the actor that started them.
            reuse_actors=config.workers == 1,
            trial_name_creator=_name,
            trial_dirname_creator=partial(_folder, taken=_taken(begun, sweep / TRIALS)),
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=sweep.path,
            storage_filesystem=sweep.filesystem,
            stop=_Stop(config.max_seconds, journal),
            # Checkpoints go when the journal says that they are not needed any more.
            checkpoint_config=tune.CheckpointConfig(num_to_keep=None),
            failure_config=tune.FailureConfig(max_failures=MAX_FAILURES),
            callbacks=[callback],
            verbose=0,
        ),
    )
    _fit(tuner)
    if journal.broken is not None:
        raise journal.broken
    # Ray's own notes of the sweep, pickles among them: the journal tells all that is needed.
    (sweep / TRIALS).clear()


def _fit(tuner: tune.Tuner) -> None:
    """Run the trials; broken off, they give back what they hold of the cluster at once."""
    with suppress(KeyboardInterrupt):
        tuner.fit()
        return
    # Ray ends them itself after an error, but not after this: they live as long as the frames that the traceback keeps.
    gc.collect()
    raise KeyboardInterrupt


class _Stop(tune.Stopper):
    """Stops a trial whose time is over, and all of them when nothing can be kept any more."""

    def __init__(self, max_seconds: float, journal: Journal) -> None:
        self._max_seconds = max_seconds
        self._journal = journal

    def __call__(self, trial_id: str, result: Mapping[str, Any]) -> bool:
        del trial_id
        return bool(result[SECONDS] >= self._max_seconds)

    def stop_all(self) -> bool:
        return self._journal.broken is not None


def _trainable(config: SweepConfig, problem: Problem, trials: Folder, begun: Sequence[TrialRecord]) -> Any:
    """Return what Ray Tune calls for a trial, with the resources that it takes."""
    limits = Limits(config.level.steps(config), config.max_seconds)
    if config.workers == 1:
        checkpoints = {
            int(one.config[NUMBER]): tune.Checkpoint(one.resume_from.path, one.resume_from.filesystem)
            for one in begun
            if one.resume_from is not None
        }
        train = tune.with_parameters(train_trial, problem=problem, limits=limits, cpus=config.cpus, begun=checkpoints)
        return tune.with_resources(train, {"cpu": config.cpus, "gpu": config.gpus, **config.resources})
    trainable = tune.with_parameters(
        train_together,
        problem=problem,
        trials=trials,
        limits=limits,
        workers=config.workers,
        need=config.worker_resources,
    )
    # Its workers take their own CPUs and GPUs; it does nothing but wait, and Ray wants it to ask for something.
    return tune.with_resources(trainable, {"cpu": 0, "memory": 1})


def _name(trial: Trial) -> str:
    return named(trial.config)


def _folder(trial: Trial, taken: Mapping[str, int]) -> str:
    """Name a trial's folder, and have Ray count its checkpoints on from those that lie in it."""
    name = named(trial.config)
    assert trial.storage is not None  # noqa: S101 - Ray gives every trial one before it asks for its folder
    trial.storage.current_checkpoint_index = max(trial.storage.current_checkpoint_index, taken.get(name, -1))
    return name


def _taken(begun: Sequence[TrialRecord], trials: Folder) -> dict[str, int]:
    """Return, by trial, the last number that a checkpoint of it has."""
    names = {one.name: (trials / one.name).folders("checkpoint_") for one in begun}
    return {name: int(own[-1].rpartition("_")[2]) for name, own in names.items() if own}


def train_together(
    config: Mapping[str, Any], *, problem: Problem, trials: Folder, limits: Limits, workers: int, need: Resources
) -> None:
    """Train what a draw says in several processes; Ray Tune calls this in a process that only waits for them.

    Parameters
    ----------
    config, problem, limits
        As for :func:`foveate_tune.trials.trial.train_trial`.
    trials
        Folder of the sweep's trials; this one's keeps its checkpoint.
    workers
        How many processes.
    need
        What each takes.
    """
    first = problem.level.objectives[0]
    own = trials / str(tune.get_context().get_trial_name())
    trainer = TorchTrainer(
        _member,
        train_loop_config={"config": dict(config), "problem": ray.put(problem), "limits": limits, "cpus": need.cpus},
        scaling_config=scaling_config_of(workers, need),
        run_config=train.RunConfig(
            name=CHECKPOINTS,
            # The same name and place as before: what was begun there goes on.
            storage_path=own.path,
            storage_filesystem=own.filesystem,
            callbacks=[TuneReportCallback()],  # type: ignore[no-untyped-call,list-item] # Ray types it as a class of its own
            checkpoint_config=train.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=first.name, checkpoint_score_order=first.direction
            ),
        ),
    )
    trainer.fit()


def _member(loop: Mapping[str, Any]) -> None:
    """Train beside the others; Ray Train has brought their ``torch.distributed`` up."""
    problem: Problem = ray.get(loop["problem"])
    with begun() as resume:
        run_draw(loop["config"], problem, report, limits=loop["limits"], cpus=loop["cpus"], resume=resume)
