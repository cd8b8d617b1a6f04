"""The Protocol of a tracker."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, Final, Protocol

import yaml

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.progress import Progress
from foveate.storage.folder import Folder, Place
from foveate.storage.transfer import local_folder
from foveate_tune.config import TrackingConfig
from foveate_tune.results.leaderboard import SweepResult
from foveate_tune.resume import SWEEP

WHERE: Final = ("wandb", "tensorboard")
"""Folders of a sweep that trackers write, and read again when it goes on."""


class Tracker(Protocol):
    """One such place.

    A run's id is stable: the same trial writes to the same run. What is there already is not written again, so that a
    sweep that goes on may tell all that it remembers. Nothing of this ever fails a sweep.
    """

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Open a trial's run; one that is open already stays."""
        ...

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch's metrics at an explicit step."""
        ...

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Close a trial's run."""
        ...

    def conclude(self, result: SweepResult) -> None:
        """Write what the sweep came to, in a run of its own."""
        ...


class Trackers:
    """Several places at once; none of them where nothing is to be tracked."""

    def __init__(self, trackers: Sequence[Tracker] = ()) -> None:
        self._trackers = tuple(trackers)

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Open a trial's run everywhere."""
        for one in self._trackers:
            one.start(run, config)

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch everywhere."""
        for one in self._trackers:
            one.log(run, metrics, step)

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Close a trial's run everywhere."""
        for one in self._trackers:
            one.finish(run, summary, failed=failed)

    def conclude(self, result: SweepResult) -> None:
        """Write what the sweep came to everywhere."""
        for one in self._trackers:
            one.conclude(result)


@contextmanager
def tracker(config: TrackingConfig, folder: Path, say: Progress) -> Iterator[Tracker]:
    """Give the tracker that a config asks for; close it, and the service it started, when the block ends."""
    with ExitStack() as stack:
        trackers: list[Tracker] = []
        if config.mode != "none":
            from foveate_tune.tracking.wandb import wandb_tracker  # noqa: PLC0415 - a sweep that needs neither is spared both

            if (wandb := stack.enter_context(wandb_tracker(config, folder, say))) is not None:
                trackers.append(wandb)
        if config.tensorboard:
            from foveate_tune.tracking.tensorboard import tensorboard  # noqa: PLC0415

            trackers.append(stack.enter_context(tensorboard(folder, say)))
        yield Trackers(trackers)


def keep_bundle(sweep: Place, bundle: Bundle, say: Progress) -> None:
    """Write a bundle that was trained from a sweep to W&B, as an artifact of a run in the sweep's group.

    Nothing where the sweep itself told W&B nothing. Viewers' histories lie beside the bundle, and stay there.
    """
    folder, manifest = Folder.at(sweep), bundle.manifest
    try:
        asked = yaml.safe_load(folder.read(SWEEP))
        config = from_dict(TrackingConfig, asked["config"]["tracking"])
        if config.mode == "none":
            return
        from foveate_tune.tracking.wandb import wandb_tracker  # noqa: PLC0415 - as above

        with local_folder(folder, ()) as local, wandb_tracker(config, local, say) as tracking:
            if tracking is not None:
                data = {"title": manifest.data, "hash": manifest.data_hash, "simulated": manifest.simulated}
                facts = {"bundle": bundle.bundle_id, "data": data, "upto": manifest.upto, **dict(manifest.sweep or {})}
                tracking.keep(f"{asked['sweep']}-{bundle.bundle_id}", bundle.path, facts, _flat(manifest.metrics))
    except Exception as error:  # the bundle is there, whatever becomes of its copy
        say(f"tracking: the bundle was not written to W&B: {error}")


def _flat(metrics: Mapping[str, Mapping[str, Mapping[str, float]]]) -> dict[str, float]:
    """Return figures by a path, such as ``validation/two-stage/ndcg@10``."""
    return {
        f"{window}/{model}/{name}": value
        for window, models in metrics.items()
        for model, figures in models.items()
        for name, value in figures.items()
    }
