"""A trial that several processes train: Ray Train starts them, and each takes a share of every batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import ray
from ray import train, tune
from ray.train.torch import TorchTrainer
from ray.tune.integration.ray_train import TuneReportCallback

from foveate.storage.folder import Folder
from foveate_cluster.resources import Resources
from foveate_cluster.worker_group import begun, report, team_of
from foveate_tune.levels.base import Problem
from foveate_tune.trials.journal import TOGETHER
from foveate_tune.trials.trial import run_draw


def train_together(
    config: Mapping[str, Any], *, problem: Problem, trials: Folder, epochs: int, workers: int, need: Resources
) -> None:
    """Train what a draw says in several processes; Ray Tune calls this in a process that only waits for them.

    Parameters
    ----------
    config, problem, epochs
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
        train_loop_config={"config": dict(config), "problem": ray.put(problem), "epochs": epochs, "cpus": need.cpus},
        scaling_config=team_of(workers, need),
        run_config=train.RunConfig(
            name=TOGETHER,
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
        run_draw(loop["config"], problem, report, epochs=loop["epochs"], cpus=loop["cpus"], resume=resume)
