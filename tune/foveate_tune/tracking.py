"""Weights & Biases, through its own package: nothing else of Foveate knows it.

One service in the driver serves every trial's run. Tracking never fails a sweep: what goes wrong is said once, and the
sweep goes on.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, Protocol

from foveate_cluster.edges import environment
from foveate_tune.config import TrackingConfig

_INIT_SECONDS = 20.0
"""How long an online run may take to open before the sweep goes on offline."""
_FINISH_SECONDS = 60.0

Mode = Literal["online", "offline"]
Say = Callable[[str], None]


class Tracker(Protocol):
    """Where a sweep writes what its trials report. A run's id is stable: the same trial writes to the same run."""

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Open a trial's run; one that is open already stays."""
        ...

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch's metrics at an explicit step."""
        ...

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Close a trial's run."""
        ...


class NoTracker:
    """Writes nothing."""

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Do nothing."""

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Do nothing."""

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Do nothing."""


class WandbTracker:
    """Writes each trial as a run of one group."""

    def __init__(self, config: TrackingConfig, folder: Path, group: str, mode: Mode, say: Say) -> None:
        self._config = config
        self._folder = folder
        self._group = group
        self._mode = mode
        self._say = say
        self._runs: dict[str, Any] = {}
        self._configs: dict[str, Mapping[str, Any]] = {}

    def start(self, run: str, config: Mapping[str, Any]) -> None:
        """Open a run, offline where the network does not answer."""
        if run in self._runs:
            return
        self._configs[run] = config
        with self._guarded():
            try:
                self._runs[run] = self._open(run, config)
            except Exception as error:  # whatever the network does, the sweep goes on
                if self._mode == "offline":
                    raise
                self._say(f"W&B does not answer ({_reason(error)}): tracking goes on offline in {self._folder}/wandb")
                self._go_offline([*self._runs, run])

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch."""
        with self._guarded():
            if run in self._runs:
                self._runs[run].log(dict(metrics), step=step)

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary and close the run."""
        with self._guarded():
            if run in self._runs:
                handle = self._runs.pop(run)
                handle.summary.update(dict(summary))
                handle.finish(exit_code=int(failed))

    def close(self) -> None:
        """Close what is still open: the sweep was broken off."""
        for run in list(self._runs):
            self.finish(run, {}, failed=True)

    def _go_offline(self, runs: Sequence[str]) -> None:
        import wandb  # noqa: PLC0415

        # The service holds the id of a run that it could not open, until it goes.
        wandb.teardown()
        self._mode = "offline"
        self._runs = {run: self._open(run, self._configs[run]) for run in runs}

    def _open(self, run: str, config: Mapping[str, Any]) -> Any:
        import wandb  # noqa: PLC0415 - a second of start-up that a sweep without tracking is spared

        settings = wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            init_timeout=_INIT_SECONDS,
            finish_timeout=_FINISH_SECONDS,
        )
        # Offline asks for both: the argument alone lets the service look for a key.
        with environment({"WANDB_MODE": self._mode}):
            return wandb.init(
                project=self._config.project,
                group=self._group,
                id=run,
                name=run,
                config=dict(config),
                dir=str(self._folder),
                mode=self._mode,
                resume="allow",
                reinit="create_new",
                settings=settings,
            )

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say(f"tracking: {_reason(error)}")


@contextmanager
def tracker(config: TrackingConfig, folder: Path, say: Say) -> Iterator[Tracker]:
    """Give the tracker that a config asks for; close it, and the service it started, when the block ends."""
    if config.mode == "none" or os.environ.get("WANDB_MODE") == "disabled":
        yield NoTracker()
        return
    import wandb  # noqa: PLC0415

    ours = wandb.run is None
    # Logs of the service and caches go where the runs go, not into the user's home.
    home = folder / "wandb" / "service"
    home.mkdir(parents=True, exist_ok=True)
    with environment({"WANDB_CACHE_DIR": str(home), "WANDB_DATA_DIR": str(home)}):
        mode: Mode = "online" if config.mode == "auto" and _has_key() else "offline"
        tracking = WandbTracker(config, folder, config.group or folder.name, mode, say)
        try:
            yield tracking
        finally:
            tracking.close()
            if ours:
                wandb.teardown()


def _has_key() -> bool:
    import wandb  # noqa: PLC0415

    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    wandb.setup(settings=wandb.Settings(silent=True))
    return bool(wandb.login(prompt=False, verify=False))


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
