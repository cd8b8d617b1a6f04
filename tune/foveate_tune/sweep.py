"""One sweep, from a dataset to a leaderboard. Read :func:`run_sweep` first.

::

    SWEEP/sweep.yaml            what was asked
          trials/trial-NNN/     each trial: recipe.yaml, params.json, result.json (a line an epoch), checkpoint_*/
          wandb/                W&B's files, unless tracking is none
          leaderboard.json      every trial, best first; there only when the sweep is complete
          leaderboard.md        the same for people
          winner.yaml           the recipe that 'foveate train --from SWEEP' trains
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import ray
import yaml
from ray import tune
from ray.tune.integration.ray_train import CHECKPOINT_PATH_KEY
from ray.tune.logger import JsonLoggerCallback

from foveate import __version__
from foveate.config import to_dict
from foveate.data.dataset import Dataset, open_dataset
from foveate.errors import TrainingError
from foveate.files import check_free
from foveate.recipe import Recipe
from foveate_cluster.ray_cluster import check_address
from foveate_tune.cluster import Resources, check_local, cluster
from foveate_tune.config import SweepConfig
from foveate_tune.folder import sweep_folder
from foveate_tune.leaderboard import RECIPE, TRIALS, Row, SweepResult, ordered
from foveate_tune.levels.base import Objective, Problem
from foveate_tune.plan import Plan, planned
from foveate_tune.remote import run_on_cluster
from foveate_tune.together import train_together
from foveate_tune.tracking import tracker
from foveate_tune.trial import train_trial
from foveate_tune.watch import Watch, trial_name

Say = Callable[[str], None]


def run_sweep(
    config: SweepConfig,
    dataset_path: Path,
    out: Path,
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
        Folder to make. On a cluster it must mean the same folder on every node.
    address
        A running Ray cluster; None starts one on this machine and stops it at the end.
    progress
        Called with a line of news: once an epoch of every trial.

    Raises
    ------
    ConfigError, DataError, OutputExistsError
        The user's mistake, found before anything starts.
    TrainingError
        No trial came to an end.
    """
    say = progress or (lambda _: None)
    check_free(out)
    check_address(address)
    if address is not None and address.startswith("ray://"):
        # Ray's client runs a sweep's callbacks on the cluster anyway; so all of it goes there, and the news come back.
        there = (config, dataset_path.resolve(), out.resolve())
        return run_on_cluster(run_sweep, *there, address=address, need=Resources(cpus=0), progress=say)
    return _run_sweep(config, dataset_path, out, address, say)


def _run_sweep(config: SweepConfig, dataset_path: Path, out: Path, address: str | None, say: Say) -> SweepResult:
    started = time.monotonic()
    need = Resources(config.cpus, config.gpus)
    if address is None and not ray.is_initialized():
        check_local(need, config.workers)
    dataset = open_dataset(dataset_path)
    problem = config.level.prepare(dataset, config, say)
    plan = planned(config, problem)
    facts = _facts(config, dataset, problem)
    sweep_id = uuid.uuid4().hex[:8]
    if plan.searcher.note:
        say(plan.searcher.note)
    baselines = problem.baselines()
    for name, figures in baselines.items():
        told = ", ".join(f"{one.name} {one.text(figures)}" for one in config.level.objectives if one.name in figures)
        say(f"{name} on validation: {told} over {problem.viewers} viewers")
    with sweep_folder(out) as folder:
        _write_yaml(folder / "sweep.yaml", {"sweep": sweep_id, **facts, "config": to_dict(config)})
        with cluster(address, need), tracker(config.tracking, folder, say) as tracking:
            watch = Watch(tracking, sweep_id, facts, config=config, say=say)
            rows = _run(config, problem, plan, watch, folder)
        winner = _write_recipes(problem, rows, folder)
        recipe = _recipe(problem, winner)
        seconds = time.monotonic() - started
        result = SweepResult(sweep_id, config.level, rows, winner.trial, recipe, baselines, seconds, facts)
        result.write(folder)
    return result


def _run(config: SweepConfig, problem: Problem, plan: Plan, watch: Watch, folder: Path) -> tuple[Row, ...]:
    first = config.level.objectives[0]
    tuner = tune.Tuner(
        _trainable(config, problem, folder / TRIALS),
        tune_config=tune.TuneConfig(
            metric=first.name,
            mode=first.direction,
            search_alg=plan.searcher,
            scheduler=plan.scheduler,
            num_samples=config.trials,
            max_concurrent_trials=config.concurrent,
            # Processes that train together end with the actor that started them.
            reuse_actors=config.workers == 1,
            trial_name_creator=trial_name,
            trial_dirname_creator=trial_name,
        ),
        run_config=tune.RunConfig(
            name=TRIALS,
            storage_path=str(folder),
            stop={"time_total_s": config.max_seconds},
            checkpoint_config=tune.CheckpointConfig(
                num_to_keep=1, checkpoint_score_attribute=first.name, checkpoint_score_order=first.direction
            ),
            callbacks=[watch, JsonLoggerCallback()],  # type: ignore[no-untyped-call]
            verbose=0,
        ),
    )
    results = tuner.fit()
    ended = map(results.__getitem__, range(len(results)))
    kept = {Path(result.path).name: _kept(result, first, folder) for result in ended}
    rows = ordered([watch.row(name, kept.get(name)) for name in watch.courses], config.level.figures)
    if not rows or not rows[0].best_epoch:
        reason = rows[0].reason if rows else "none was started"
        raise TrainingError(f"no trial came to an end: {reason}")
    return rows


def _trainable(config: SweepConfig, problem: Problem, trials: Path) -> Any:
    """Return what Ray Tune calls for a trial, with the resources that it takes."""
    steps = config.level.steps(config)
    if config.workers == 1:
        train = tune.with_parameters(train_trial, problem=problem, epochs=steps, cpus=config.cpus)
        return tune.with_resources(train, {"cpu": config.cpus, "gpu": config.gpus})
    settings = {"epochs": steps, "workers": config.workers, "cpus": config.cpus, "gpus": config.gpus}
    together = tune.with_parameters(train_together, problem=problem, trials=trials, **settings)
    # Its workers take their own CPUs and GPUs; it does nothing but wait, and Ray wants it to ask for something.
    return tune.with_resources(together, {"cpu": 0, "memory": 1})


def _kept(result: tune.Result, first: Objective, folder: Path) -> str | None:
    """Return where the best checkpoint of a trial lies; one that several processes trained keeps it by its own path."""
    best = result.get_best_checkpoint(first.name, first.direction) if result.best_checkpoints else None
    path = best.path if best else _kept_together(result, first)
    return str(Path(path).relative_to(folder)) if path else None


def _kept_together(result: tune.Result, first: Objective) -> str | None:
    epochs = result.metrics_dataframe
    if epochs is None or CHECKPOINT_PATH_KEY not in epochs:
        return None
    gains = epochs[first.name] if first.direction == "max" else -epochs[first.name]
    return str(epochs.loc[gains.idxmax(), CHECKPOINT_PATH_KEY])


def _write_recipes(problem: Problem, rows: tuple[Row, ...], folder: Path) -> Row:
    for row in rows:
        _write_yaml(folder / TRIALS / row.trial / RECIPE, to_dict(_recipe(problem, row)))
    return rows[0]


def _recipe(problem: Problem, row: Row) -> Recipe:
    return problem.recipe(dict(row.settings), row.best_epoch)


def _facts(config: SweepConfig, dataset: Dataset, problem: Problem) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "foveate": __version__,
        "data": {"title": dataset.title, "hash": manifest.content_hash, "simulated": manifest.simulated},
        "protocol": config.recipe.protocol,
        "validation_viewers": problem.viewers,
        "seed": config.seed,
    }


def _write_yaml(path: Path, payload: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(payload), sort_keys=False, allow_unicode=True), encoding="utf-8")
