"""Weights & Biases, through its own package: nothing else of Foveate knows it.

One service in the driver serves every trial's run. Tracking never fails a sweep: what goes wrong is said once, and the
sweep goes on.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal

from foveate.core.progress import Progress
from foveate_cluster.environment import environment
from foveate_tune.config import TrackingConfig
from foveate_tune.results.leaderboard import SweepResult, differing

_INIT_SECONDS = 20.0
"""How long an online run may take to open before the sweep goes on offline."""
_FINISH_SECONDS = 60.0

Mode = Literal["online", "offline"]
Kind = Literal["trial", "sweep", "bundle"]

_BLOCK: Final = 32768
_FILE_HEAD: Final = 7
_PIECE_HEAD: Final = 7
_LAST_PIECES: Final = (1, 4)


@dataclass(frozen=True)
class _About:
    """What a run is opened with."""

    kind: Kind
    config: Mapping[str, Any]


class WandbTracker:
    """Writes each trial as a run of one group, and the sweep as one more.

    A run that is opened again offline is another file of the same id: what stands in the first is not written again.
    """

    def __init__(self, config: TrackingConfig, folder: Path, group: str, mode: Mode, say: Progress) -> None:
        self._config = config
        self._folder = folder
        self._group = group
        self._mode = mode
        self._say = say
        self._runs: dict[str, Any] = {}
        self._abouts: dict[str, _About] = {}
        self._written: dict[str, set[int]] = {}

    def start(self, run: str, config: Mapping[str, Any], kind: Kind = "trial") -> None:
        """Open a run, offline where the network does not answer."""
        if run in self._runs:
            return
        self._abouts[run] = _About(kind, config)
        with self._guarded():
            self._written[run] = _steps(offline_records(self._folder, run))
            try:
                self._runs[run] = self._open(run)
            except Exception as error:  # whatever the network does, the sweep goes on
                if self._mode == "offline":
                    raise
                self._say(f"W&B does not answer ({_reason(error)}): tracking goes on offline in {self._folder}/wandb")
                self._go_offline([*self._runs, run])

    def log(self, run: str, metrics: Mapping[str, float], step: int) -> None:
        """Write one epoch."""
        self._log(run, metrics, step)

    def finish(self, run: str, summary: Mapping[str, Any], *, failed: bool = False) -> None:
        """Write the summary and close the run."""
        with self._guarded():
            if run in self._runs:
                handle = self._runs.pop(run)
                handle.summary.update(dict(summary))
                handle.finish(exit_code=int(failed))

    def conclude(self, result: SweepResult) -> None:
        """Write the leaderboard as a table, and who won."""
        run, config = result.sweep_id, {**result.facts, "level": type(result.level).name}
        self.start(run, config, "sweep")
        with self._guarded():
            best = {f"best_{name}": value for name, value in result.winning.metrics.items()}
            baselines = {f"{name}_{key}": value for name, one in result.baselines.items() for key, value in one.items()}
            totals = {"winner": result.winner, "trials": len(result.trials), "seconds": result.seconds}
            self._log(run, {"leaderboard": _table(result)}, 1)
            self.finish(run, {**best, **baselines, **totals})

    def keep(self, run: str, bundle: Path, facts: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """Write a bundle as an artifact, in a run of its own."""
        import wandb  # noqa: PLC0415

        self.start(run, facts, "bundle")
        with self._guarded():
            if run in self._runs:
                artifact = wandb.Artifact(f"bundle-{run}", type="model", metadata=dict(facts))
                # File by file: a whole folder at once is announced on the terminal.
                for file in sorted(file for file in bundle.rglob("*") if file.is_file()):
                    artifact.add_file(str(file), name=file.relative_to(bundle).as_posix())
                self._runs[run].log_artifact(artifact)
                self.finish(run, metrics)

    def close(self) -> None:
        """Close what is still open: the sweep was broken off."""
        for run in list(self._runs):
            self.finish(run, {}, failed=True)

    def _go_offline(self, runs: Sequence[str]) -> None:
        import wandb  # noqa: PLC0415

        # The service holds the id of a run that it could not open, until it goes.
        wandb.teardown()
        self._mode = "offline"
        self._runs = {run: self._open(run) for run in runs}

    def _log(self, run: str, values: Mapping[str, Any], step: int) -> None:
        with self._guarded():
            if run in self._runs and step not in self._written[run]:
                self._written[run].add(step)
                # W&B would keep back a step until the next one begins, and lose it where the process is killed.
                self._runs[run].log(dict(values), step=step, commit=True)

    def _open(self, run: str) -> Any:
        import wandb  # noqa: PLC0415 - a second of start-up that a sweep without tracking is spared

        settings = wandb.Settings(
            silent=True,
            console="off",
            x_disable_stats=True,
            x_disable_meta=True,
            disable_git=True,
            disable_code=True,
            disable_job_creation=True,
            # The list of all packages costs a run more than its epochs do; the run's config names the version.
            x_save_requirements=False,
            init_timeout=_INIT_SECONDS,
            finish_timeout=_FINISH_SECONDS,
        )
        about = self._abouts[run]
        simulated = ["simulated"] * bool(about.config.get("data", {}).get("simulated"))
        # Offline asks for both: the argument alone lets the service look for a key.
        with environment({"WANDB_MODE": self._mode}):
            handle = wandb.init(
                project=self._config.project,
                group=self._group,
                id=run,
                name=run,
                job_type=about.kind,
                tags=[*self._config.tags, *simulated, about.kind],
                config=dict(about.config),
                dir=str(self._folder),
                mode=self._mode,
                resume="allow",
                reinit="create_new",
                settings=settings,
            )
        if handle.resumed:
            self._written[run] |= set(range(handle.step))
        return handle

    @contextmanager
    def _guarded(self) -> Iterator[None]:
        try:
            yield
        except Exception as error:
            self._say(f"tracking: {_reason(error)}")


@contextmanager
def wandb_tracker(config: TrackingConfig, folder: Path, say: Progress) -> Iterator[WandbTracker | None]:
    """Give a tracker whose files lie in ``folder/wandb``; close it, and the service it started, when the block ends.

    None where the environment turns W&B off.
    """
    if os.environ.get("WANDB_MODE") == "disabled":
        yield None
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


def offline_records(folder: Path, run: str) -> Iterator[Any]:
    """Yield what W&B's files in ``folder/wandb`` hold of a run: its records, up to the first that was cut off."""
    for file in sorted(folder.glob(f"wandb/offline-run-*-{run}/run-{run}.wandb")):
        yield from _records(file.read_bytes())


def _records(content: bytes) -> Iterator[Any]:
    """Read LevelDB's log format: blocks of 32 KiB, in them pieces of a record behind a head of 7 bytes."""
    from wandb.proto import wandb_internal_pb2  # noqa: PLC0415

    record: Any = wandb_internal_pb2

    place, held = _FILE_HEAD, b""
    while place + _PIECE_HEAD <= len(content):
        left = _BLOCK - place % _BLOCK
        if left < _PIECE_HEAD:
            place += left
            continue
        _, size, kind = struct.unpack_from("<IHB", content, place)
        place += _PIECE_HEAD
        if place + size > len(content):
            return
        held, place = held + content[place : place + size], place + size
        if kind in _LAST_PIECES:
            yield record.Record.FromString(held)
            held = b""


def _table(result: SweepResult) -> Any:
    import wandb  # noqa: PLC0415

    names, paths = [one.name for one in result.level.figures], differing(result.trials)
    head: list[str | int] = ["rank", "trial", *names, "best_epoch", "epochs", "seconds", "ended", *paths]
    rows = [
        [
            rank,
            trial.name,
            *(trial.metrics.get(name) for name in names),
            *(trial.best_epoch, len(trial.epochs), trial.seconds, trial.state),
            *(trial.settings.get(path) for path in paths),
        ]
        for rank, trial in enumerate(result.trials, 1)
    ]
    return wandb.Table(columns=head, data=rows, allow_mixed_types=True)


def _steps(records: Iterable[Any]) -> set[int]:
    return {int(one.history.step.num) for one in records if one.WhichOneof("record_type") == "history"}


def _has_key() -> bool:
    import wandb  # noqa: PLC0415

    if os.environ.get("WANDB_MODE", "online") != "online":
        return False
    wandb.setup(settings=wandb.Settings(silent=True))
    return bool(wandb.login(prompt=False, verify=False))


def _reason(error: BaseException) -> str:
    return str(error).strip().partition("\n")[0] or type(error).__name__
