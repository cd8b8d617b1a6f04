"""Processes of a cluster that Ray Train brings together: what they take, and what each finds and reports."""

from __future__ import annotations

import textwrap
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any, Final

from ray import train

from foveate_cluster.resources import Resources

_LONGEST_REASON: Final = 200


def scaling_config_of(workers: int, need: Resources, *, apart: bool = False) -> train.ScalingConfig:
    """Return a scaling config of so many workers that take ``need`` each.

    Parameters
    ----------
    apart
        Whether they are to lie on as many nodes as can be, and not on as few.
    """
    gpus = {"GPU": need.gpus} if need.gpus else {}
    return train.ScalingConfig(
        num_workers=workers,
        use_gpu=need.gpus > 0,
        resources_per_worker={"CPU": need.cpus, **gpus, **need.custom},
        placement_strategy="SPREAD" if apart else "PACK",
    )


def is_first() -> bool:
    """Whether this worker is the one whose figures and checkpoints count."""
    return bool(train.get_context().get_world_rank() == 0)


@contextmanager
def begun() -> Iterator[Path | None]:
    """Yield the folder of the checkpoint that this worker goes on from, None where the team only begins."""
    checkpoint = train.get_checkpoint()
    with checkpoint.as_directory() if checkpoint else nullcontext() as folder:
        yield Path(folder) if folder else None


def report(metrics: Mapping[str, Any], folder: Path | None) -> None:
    """Report a step, as every worker must; of the checkpoints in their folders the first one's is kept."""
    kept = train.Checkpoint.from_directory(folder) if folder is not None and is_first() else None
    train.report(dict(metrics), checkpoint=kept)


def why_failed(error: train.TrainingFailedError) -> str:
    """Return in a few words why a team could not do its work."""
    said = (str(error).strip().splitlines() or [type(error).__name__])[-1]
    # Of a process that died Ray tells all that may have been the cause.
    return textwrap.shorten(said, _LONGEST_REASON, placeholder=" ...")
