"""A ranker's trees grown by several processes: Ray Train starts them, and each holds whole queries of its own."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import lightgbm as lgb
import ray
from ray import train
from ray.train.lightgbm import LightGBMTrainer, get_network_params

from foveate.core.errors import TrainingError
from foveate.ranking.growing import Parameters, Rows, grow, text_of
from foveate_cluster.connection import check_room, quiet
from foveate_cluster.ray_cluster import ray_cluster
from foveate_cluster.resources import Resources
from foveate_cluster.worker_group import scaling_config_of, why_failed

_JOINTLY: Mapping[str, Any] = {"tree_learner": "data", "pre_partition": True}
"""Every process builds the histograms of its own rows; their sums decide each split, so all grow the same trees."""


@dataclass(frozen=True)
class OverRay:
    """A :class:`foveate.ranking.growing.Grower` on the cluster that this process is connected to, or one it starts.

    LightGBM's processes talk to each other in plain TCP, each at a free port of its node: keep the cluster's network
    to itself.
    """

    def __call__(self, rows: Rows, members: Sequence[Parameters], *, trees: int, workers: int) -> list[str]:
        """Grow every member by all workers together, one member after the other.

        Raises
        ------
        ConfigError
            The cluster has no room for so many workers, or there are fewer queries than workers.
        TrainingError
            A worker failed.
        """
        parts = rows.partition(workers)
        need = Resources(cpus=max(int(one.get("num_threads", 1)) for one in members))
        with ray_cluster(None, least_cpus=workers * need.cpus), quiet(), tempfile.TemporaryDirectory() as scratch:
            check_room(need, workers, "ranker.workers")
            trainer = LightGBMTrainer(
                _member,  # type: ignore[arg-type] # Ray knows loops that return nothing, though it keeps what they do
                train_loop_config={
                    "parts": [ray.put(part) for part in parts],
                    "members": [{**one, **_JOINTLY} for one in members],
                    "trees": trees,
                },
                scaling_config=scaling_config_of(workers, need),
                run_config=train.RunConfig(storage_path=scratch),
            )
            try:
                result: Any = trainer.fit()
            except train.TrainingFailedError as error:
                raise TrainingError(
                    f"ranker.workers: growing trees over Ray failed ({why_failed(error)}); "
                    "with workers 0 one process grows them"
                ) from error
            return list(result.return_value)


def _member(loop: dict[str, Any]) -> list[str]:
    """Grow trees beside the others from this worker's queries; the first worker's texts are those that are kept."""
    rows: Rows = ray.get(loop["parts"][train.get_context().get_world_rank()])
    network = get_network_params()
    grown: list[lgb.Booster] = []
    for parameters in loop["members"]:
        # The first model brings the network up, which stays as long as that lives: a port that was closed cannot be
        # bound again at once.
        own = network if not grown else {"num_machines": network["num_machines"]}
        grown.append(grow(rows, {**parameters, **own}, loop["trees"]))
    return [text_of(booster) for booster in grown]
