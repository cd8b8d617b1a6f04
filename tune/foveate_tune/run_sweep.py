"""One sweep, from a dataset to a leaderboard. Read :func:`run_sweep` first.

::

    SWEEP/sweep.yaml            what was asked, on which data, by which code
          searcher.json         what the searcher has to remember
          trials/trial-NNN/     each trial: recipe.yaml, params.json, facts.json, result.json (a line an epoch),
                                checkpoint_*/ and, when it is over, ended.json
          wandb/                W&B's files, unless tracking.mode is none
          tensorboard/          TensorBoard's files, unless tracking.tensorboard is false
          leaderboard.json      every trial, best first; there only when the sweep is complete
          leaderboard.md        the same for people
          report.html           what 'foveate report' makes of all that
          winner.yaml           the recipe that 'foveate train --from SWEEP' trains

All of it lies in one folder, or at one address of a store.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import ray
import yaml

from foveate import __version__
from foveate.core.config import to_dict
from foveate.core.errors import FoveateError, StorageError, TrainingError
from foveate.core.progress import report_progress
from foveate.data.dataset import Dataset, open_dataset
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder, Place
from foveate.storage.transfer import local_folder
from foveate_cluster.connection import check_local, cluster
from foveate_cluster.ray_cluster import check_address
from foveate_cluster.remote import run_on_cluster
from foveate_cluster.resources import Resources
from foveate_cluster.wheel import commit
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Baselines, Problem
from foveate_tune.plan import planned
from foveate_tune.progress import SweepPlan
from foveate_tune.results.leaderboard import RECIPE, SweepResult, winning
from foveate_tune.resume import SWEEP, Begun, taken_up
from foveate_tune.tracking.base import WHERE, tracker
from foveate_tune.trials.callback import SweepCallback
from foveate_tune.trials.journal import RESULT, TRIALS, Journal
from foveate_tune.trials.record import TrialRecord
from foveate_tune.trials.runner import run_trials

Say = Callable[[str], None]


def run_sweep(
    config: SweepConfig,
    dataset_path: Path,
    out: Place,
    *,
    address: str | None = None,
    progress: Say | None = None,
) -> SweepResult:
    """Try encoders and write what came of it.

    Parameters
    ----------
    config
        What to try, and how much.
    dataset_path
        Dataset folder.
    out
        Folder to make, or address of one such as ``s3://bucket/sweep``. On a cluster it must mean the same place on
        every node. Once a trial has reported, it stays whatever happens, and :func:`resume_sweep` goes on from it.
    address
        A running Ray cluster; None starts one on this machine and stops it at the end.
    progress
        Called with a line of news: once an epoch of every trial.

    Raises
    ------
    ConfigError, DataError, OutputExistsError
        The user's mistake, found before anything starts.
    StorageError
        A disk is full, or a store does not answer any more.
    TrainingError
        No trial came to an end.
    """
    say = progress or (lambda _: None)
    Folder.at(out).check_free()
    check_address(address)
    if address is not None and address.startswith("ray://"):
        # Ray's client runs a sweep's callbacks on the cluster anyway; so all of it goes there, and the news come back.
        there = (config, dataset_path.resolve(), _absolute(out))
        return run_on_cluster(run_sweep, *there, address=address, need=Resources(cpus=0), progress=say)
    begun = Begun(uuid.uuid4().hex[:8], config, dataset_path.resolve())
    with _made(Folder.at(out)) as make:
        return _run_sweep(begun, Folder.at(out), address, say, make)


def resume_sweep(
    sweep: Place, *, dataset_path: Path | None = None, address: str | None = None, progress: Say | None = None
) -> SweepResult:
    """Bring a sweep to its end that was broken off: what is over stays, what was begun goes on where it was.

    Parameters
    ----------
    sweep
        Its folder or address. Only one process may work on it.
    dataset_path
        Where the dataset lies by now; None where it has not moved.
    address, progress
        As for :func:`run_sweep`.

    Raises
    ------
    ConfigError
        There is no sweep to resume, it is finished, its data are not the same any more, or this code does not know a
        setting of it.
    StorageError, TrainingError
        As for :func:`run_sweep`.
    """
    say = progress or (lambda _: None)
    check_address(address)
    begun = taken_up(Folder.at(sweep), dataset_path)
    if address is not None and address.startswith("ray://"):
        there = partial(resume_sweep, dataset_path=begun.data)
        return run_on_cluster(there, _absolute(sweep), address=address, need=Resources(cpus=0), progress=say)
    return _run_sweep(begun, Folder.at(sweep), address, say, lambda _: None)


def _run_sweep(
    begun: Begun, folder: Folder, address: str | None, say: Say, make: Callable[[Mapping[str, Any]], None]
) -> SweepResult:
    started = time.monotonic()
    config = begun.config
    need = config.worker_resources
    if address is None and not ray.is_initialized():
        check_local(need, config.workers)
    dataset = open_dataset(begun.data)
    begun.check_data(dataset.manifest.content_hash)
    problem = config.level.prepare(dataset, config, say)
    facts = begun.facts or facts_of(config, dataset, problem)
    journal = Journal(folder, config, {"sweep": begun.sweep_id, **facts})
    recorded = journal.recover() if begun.facts else []
    begun.check_draws(recorded, problem)
    left = [one for one in recorded if not one.over]
    plan = planned(config, problem, over=len(recorded) - len(left))
    if plan.searcher.note:
        say(plan.searcher.note)
    baselines = problem.baselines()
    for line in _baseline_lines(baselines, problem):
        say(line)
    make({"sweep": begun.sweep_id, **facts, "config": to_dict(begun.asked)})
    with (
        cluster(address, need, config.workers),
        local_folder(folder, WHERE) as local,
        tracker(config.tracking, local, say) as tracking,
    ):
        callback = SweepCallback(tracking, journal, begun.sweep_id, facts, config=config, say=say)
        report_progress(say, SweepPlan.of(config, plan.searcher.count))
        callback.restore(recorded)
        if begun.facts:
            say(f"{len(recorded) - len(left)} trials are over, {len(left)} go on, of {plan.searcher.count}")
        run_trials(
            config, problem, plan=plan, callback=callback, sweep=folder, journal=journal, recorded=recorded, begun=left
        )
        trials = _came_to_an_end(callback.results())
        seconds = begun.seconds(recorded) + time.monotonic() - started
        recipe = _recipe(problem, winning(trials, config.level))
        result = SweepResult(begun.sweep_id, config.level, trials, recipe, baselines, seconds, facts)
        tracking.conclude(result)
    _write_recipes(problem, trials, folder)
    result.write(folder)
    return result


@contextmanager
def _made(folder: Folder) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield what makes the folder; it goes again where a mistake of the user's is found before a trial has reported."""
    made = False

    def make(asked: Mapping[str, Any]) -> None:
        nonlocal made
        folder.make()
        made = True
        _write_yaml(folder, SWEEP, asked)

    try:
        yield make
    except StorageError:
        raise
    except FoveateError as error:
        # Where no trial came to figures, there is nothing to keep or to go on with.
        if made and (isinstance(error, TrainingError) or not _reported(folder)):
            folder.remove()
        raise


def _reported(folder: Folder) -> bool:
    trials = folder / TRIALS
    return any((trials / name).holds(RESULT) for name in trials.folders("trial-"))


def _came_to_an_end(trials: tuple[TrialRecord, ...]) -> tuple[TrialRecord, ...]:
    if not trials or not trials[0].best_epoch:
        reason = trials[0].reason if trials else "none was started"
        raise TrainingError(f"no trial came to an end: {reason}")
    return trials


def _baseline_lines(baselines: Baselines, problem: Problem) -> Iterator[str]:
    for name, figures in baselines.items():
        baseline_lines = [f"{one.name} {one.text(figures)}" for one in problem.level.objectives if one.name in figures]
        yield f"{name} on validation: {', '.join(baseline_lines)} over {problem.viewers} viewers"


def _write_recipes(problem: Problem, trials: tuple[TrialRecord, ...], folder: Folder) -> None:
    for trial in trials:
        _write_yaml(folder / TRIALS / trial.name, RECIPE, to_dict(_recipe(problem, trial)))


def _recipe(problem: Problem, trial: TrialRecord) -> Recipe:
    return problem.recipe(dict(trial.settings), trial.best_epoch)


def _absolute(place: Place) -> Place:
    return place if "://" in str(place) else Path(place).resolve()


def _write_yaml(folder: Folder, name: str, payload: Mapping[str, Any]) -> None:
    folder.write(name, yaml.safe_dump(dict(payload), sort_keys=False, allow_unicode=True))


def facts_of(config: SweepConfig, dataset: Dataset, problem: Problem) -> dict[str, Any]:
    """Return what stands in the sweep, in each of its trials and in what is trained from it."""
    manifest = dataset.manifest
    return {
        "foveate": __version__,
        "commit": commit(),
        "data": {"title": dataset.title, "hash": manifest.content_hash, "simulated": manifest.simulated},
        "protocol": config.recipe.protocol,
        "validation_viewers": problem.viewers,
        "seed": config.seed,
    }
