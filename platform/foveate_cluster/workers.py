"""The Ray workers that a recipe asks for: for the ranker's trees, and for an encoder."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from foveate.data.worker_group import WorkerGroup, WorkerGroupConfig
    from foveate.ranking.base import RankerConfig
    from foveate.ranking.growing import Grower


def grower_of(ranker: RankerConfig) -> Grower | None:
    """Return what grows a ranker's trees over Ray, None for one that this process grows by itself."""
    from foveate.ranking.boosted import Boosting  # noqa: PLC0415 - LightGBM starts slowly, and Ray more so
    from foveate.ranking.ensemble import Ensemble  # noqa: PLC0415

    rankers = ranker.rankers if isinstance(ranker, Ensemble) else (ranker,)
    if not any(isinstance(one, Boosting) and one.workers for one in rankers):
        return None
    from foveate_cluster.distributed_ranker import OverRay  # noqa: PLC0415

    return OverRay()


def worker_group_of(train: WorkerGroupConfig, place: Path | None) -> WorkerGroup | None:
    """Return what trains an encoder over Ray, None where one process trains it.

    Parameters
    ----------
    place
        A folder that every worker sees, for checkpoints while they train; None takes a temporary one of this machine.
    """
    if not train.workers:
        return None
    from foveate_cluster.distributed_encoder import RayWorkerGroup  # noqa: PLC0415 - Ray starts slowly

    return RayWorkerGroup(train, place)
