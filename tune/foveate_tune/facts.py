"""What must be known to repeat a sweep: code, data, seed."""

from __future__ import annotations

from typing import Any

from foveate import __version__
from foveate.data.dataset import Dataset
from foveate_cluster.code_version import commit
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Problem


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
