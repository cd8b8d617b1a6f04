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
from foveate_cluster.ray_cluster import check_address
from foveate_tune.cluster import Resources, check_local, cluster
from foveate_tune.config import SweepConfig
from foveate_tune.folder import sweep_folder
from foveate_tune.leaderboard import RECIPE, TRIALS, Row, SweepResult, ordered
from foveate_tune.problem import METRIC, Problem, popularity_metrics, prepare, recipe_of, source_of
from foveate_tune.remote import run_on_cluster
from foveate_tune.search import RandomSearch, draw_of
from foveate_tune.space import build_space
from foveate_tune.together import train_together
from foveate_tune.tracking import tracker
from foveate_tune.trial import EPOCH, train_trial
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
    problem = prepare(dataset, config.recipe, config.seed)
    search = _search(config, problem)
    facts = _facts(config, dataset, problem)
    sweep_id = uuid.uuid4().hex[:8]
    popularity = popularity_metrics(problem)
    say(f"popularity on validation: {METRIC} {popularity[METRIC]:.4f} over {len(problem.viewers())} viewers")
    with sweep_folder(out) as folder:
        _write_yaml(folder / "sweep.yaml", {"sweep": sweep_id, **facts, "config": to_dict(config)})
        with cluster(address, need), tracker(config.tracking, folder, say) as tracking:
            watch = Watch(tracking, sweep_id, facts, epochs=config.epochs, max_seconds=config.max_seconds, say=say)
            rows = _run(config, problem, search, watch, folder)
        winner = _write_recipes(config, problem, rows, folder)
        recipe = _recipe(config, problem, winner)
        seconds = time.monotonic() - started
        result = SweepResult(sweep_id, rows, winner.trial, recipe, popularity, seconds, facts)
        result.write(folder)
    return result


def _search(config: SweepConfig, problem: Problem) -> RandomSearch:
    """Make the searcher, and see that every draw of it can be built."""
    space = build_space(config.search)
    search = RandomSearch(space, config.trials, config.seed, draw_of(problem.source, space))
    for number in range(config.trials):
        source_of(search.proposal(number), problem)
    return search


def _run(config: SweepConfig, problem: Problem, search: RandomSearch, watch: Watch, folder: Path) -> tuple[Row, ...]:
    tuner = tune.Tuner(
        _trainable(config, problem, folder / TRIALS),
        tune_config=tune.TuneConfig(
            metric=METRIC,
            mode="max",
            search_alg=search,
            scheduler=config.scheduler.build(EPOCH, config.epochs),
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
                num_to_keep=1, checkpoint_score_attribute=METRIC, checkpoint_score_order="max"
            ),
            callbacks=[watch, JsonLoggerCallback()],  # type: ignore[no-untyped-call]
            verbose=0,
        ),
    )
    results = tuner.fit()
    kept = {Path(result.path).name: _kept(result, folder) for result in map(results.__getitem__, range(len(results)))}
    rows = ordered([watch.row(name, kept.get(name)) for name in watch.courses])
    if not rows or not rows[0].best_epoch:
        reason = rows[0].reason if rows else "none was started"
        raise TrainingError(f"no trial came to an end: {reason}")
    return rows


def _trainable(config: SweepConfig, problem: Problem, trials: Path) -> Any:
    """Return what Ray Tune calls for a trial, with the resources that it takes."""
    if config.workers == 1:
        train = tune.with_parameters(train_trial, problem=problem, epochs=config.epochs, cpus=config.cpus)
        return tune.with_resources(train, {"cpu": config.cpus, "gpu": config.gpus})
    settings = {"epochs": config.epochs, "workers": config.workers, "cpus": config.cpus, "gpus": config.gpus}
    together = tune.with_parameters(train_together, problem=problem, trials=trials, **settings)
    # Its workers take their own CPUs and GPUs; it does nothing but wait, and Ray wants it to ask for something.
    return tune.with_resources(together, {"cpu": 0, "memory": 1})


def _kept(result: tune.Result, folder: Path) -> str | None:
    """Return where the best checkpoint of a trial lies; one that several processes trained keeps it by its own path."""
    best = result.get_best_checkpoint(METRIC, "max") if result.best_checkpoints else None
    path = best.path if best else _kept_together(result)
    return str(Path(path).relative_to(folder)) if path else None


def _kept_together(result: tune.Result) -> str | None:
    epochs = result.metrics_dataframe
    if epochs is None or CHECKPOINT_PATH_KEY not in epochs:
        return None
    return str(epochs.loc[epochs[METRIC].idxmax(), CHECKPOINT_PATH_KEY])


def _write_recipes(config: SweepConfig, problem: Problem, rows: tuple[Row, ...], folder: Path) -> Row:
    for row in rows:
        _write_yaml(folder / TRIALS / row.trial / RECIPE, to_dict(_recipe(config, problem, row)))
    return rows[0]


def _recipe(config: SweepConfig, problem: Problem, row: Row) -> Any:
    return recipe_of(config.recipe, source_of(dict(row.settings), problem), max(1, row.best_epoch))


def _facts(config: SweepConfig, dataset: Dataset, problem: Problem) -> dict[str, Any]:
    manifest = dataset.manifest
    return {
        "foveate": __version__,
        "data": {"title": dataset.title, "hash": manifest.content_hash, "simulated": manifest.simulated},
        "protocol": config.recipe.protocol,
        "validation_viewers": len(problem.viewers()),
        "seed": config.seed,
    }


def _write_yaml(path: Path, payload: Mapping[str, Any]) -> None:
    path.write_text(yaml.safe_dump(dict(payload), sort_keys=False, allow_unicode=True), encoding="utf-8")
