"""Keeps what happens in a sweep while it runs: in its journal, for the user, and for the tracker."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ray.train.constants import CHECKPOINT_DIR_NAME
from ray.tune import Callback
from ray.tune.experiment import Trial
from ray.tune.integration.ray_train import CHECKPOINT_PATH_KEY

from foveate.core.errors import StorageError
from foveate.core.progress import report_progress
from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.objective import compared, plain
from foveate_tune.progress import TrialUpdate
from foveate_tune.results.leaderboard import ordered
from foveate_tune.tracking.base import Tracker
from foveate_tune.trials.journal import CHECKPOINTS, TRIALS, Journal, named, stored
from foveate_tune.trials.record import (
    CHECKPOINT,
    EPOCH,
    FAILURE,
    RUNNING,
    SECONDS,
    SETTINGS,
    STORAGE,
    TELEMETRY,
    TrialRecord,
    draw_in,
    draw_label,
)


class SweepCallback(Callback):
    """Lives in the driver.

    Parameters
    ----------
    tracker
        Where metrics go.
    journal
        What the sweep remembers.
    sweep_id
        Begins the id of every run.
    facts
        What every run is given besides its settings.
    config
        The sweep's: its level says which figures count, and it holds a trial's budget.
    say
        Called with a line of progress.
    """

    def __init__(
        self,
        tracker: Tracker,
        journal: Journal,
        sweep_id: str,
        facts: Mapping[str, Any],
        *,
        config: SweepConfig,
        say: Callable[[str], None],
    ) -> None:
        self.trials: dict[str, TrialRecord] = {}
        self._tracker = tracker
        self._journal = journal
        self._checkpoints = Checkpoints(journal.trials, config.checkpoints)
        self._sweep_id = sweep_id
        self._facts = facts
        self._config = config
        self._level = config.level
        self._say = say

    def __reduce__(self) -> tuple[Any, ...]:
        # Ray Tune stores its callbacks with the sweep; this one holds open files and a terminal, and is made anew.
        return (Callback, ())

    def restore(self, trials: Sequence[TrialRecord]) -> None:
        """Take in what an earlier run of the sweep has left; what it could not write any more of an end is written."""
        for trial in trials:
            self.trials[trial.name] = trial
            if trial.over and not trial.ended:
                self._start(trial)
                self._end(trial)
            self._show(trial)
        self._thin_out()

    def results(self) -> tuple[TrialRecord, ...]:
        """Return the trials, best first."""
        for trial in self.trials.values():
            trial.checkpoint = self._checkpoints.kept(trial)
        return ordered(list(self.trials.values()), self._level.figures)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open the trial's run."""
        del iteration, trials, info
        record = self._record(trial)
        self._start(record)
        self._show(record)

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep one epoch."""
        del iteration, trials, info
        record = self._record(trial)
        if STORAGE in result:
            with self._journal.storing():
                raise StorageError(result[STORAGE])
        if self._journal.broken:
            return
        if record.epochs and result[EPOCH] <= record.epochs[-1][EPOCH]:
            # Its process was lost between this report and its checkpoint, and it has trained the epoch again.
            record.see_stop(result)
            return
        report = _report(result)
        # As the trial itself has it: by now its scheduler may have given it what its next epoch is trained with.
        config = result.get("config", trial.config)
        draw = draw_in(config)
        if draw != record.draw:
            report[SETTINGS] = draw
            self._journal.changed(config)
            self._show(record, f"{record.name} goes on from a better trial's weights  ({draw_label(draw)})")
        self._journal.reported(record.name, report)
        record.add(report)
        self._log(record, report)
        failed = f"{record.name} {record.state}: {record.reason}"
        self._show(record, failed if FAILURE in report else self._line(record, report))

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Let go of the checkpoints that the newest one has made needless; Ray would go back to it now."""
        del iteration, trials, info
        name = named(trial.config)
        if trial.checkpoint is not None and name in self.trials:
            with self._journal.storing():
                self._checkpoints.of_running(self.trials[name], Path(trial.checkpoint.path).name)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say that a trial's process was lost."""
        del iteration, trials, info
        record = self._record(trial)
        where = f"goes on from epoch {record.epochs[-1][EPOCH]}" if record.epochs else "starts again"
        self._say(f"{record.name} lost its process and {where}")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the trial's run; one that ends because nothing can be kept any more has not come to its end."""
        del iteration, trials, info
        record = self._record(trial)
        if not self._journal.broken:
            self._end(record)
            self._show(record)

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Keep why a trial broke."""
        del iteration, trials, info
        record = self._record(trial)
        if self._journal.broken:
            return
        record.state, record.reason = "failed", _last_line(trial)
        self._end(record)
        self._show(record, f"{record.name} failed: {record.reason}")

    def _start(self, record: TrialRecord) -> None:
        """Open a trial's run, and log all epochs: it knows itself which of them it has already."""
        self._tracker.start(self._run(record), {**record.draw, **self._facts, "trial": record.name})
        for epoch in record.epochs:
            self._log(record, epoch)

    def _log(self, record: TrialRecord, report: Mapping[str, Any]) -> None:
        figures = plain(report, self._level.figures) | {key: report[key] for key in TELEMETRY if key in report}
        self._tracker.log(self._run(record), figures, report[EPOCH])

    def _end(self, record: TrialRecord) -> None:
        record.end()
        self._tracker.finish(self._run(record), record.summary(), failed=record.state in ("diverged", "failed"))
        self._journal.ended(record.name, record.state, record.reason)
        self._thin_out()

    def _thin_out(self) -> None:
        with self._journal.storing():
            self._checkpoints.of_ended([trial for trial in self.trials.values() if trial.ended])

    def _show(self, record: TrialRecord, line: str = "") -> None:
        """Report where a trial stands, in figures and in words."""
        report_progress(self._say, TrialUpdate(record, line))

    def _record(self, trial: Trial) -> TrialRecord:
        """Return what is known of a trial; one that breaks before it starts is first known by its error."""
        name = named(trial.config)
        if name not in self.trials:
            self.trials[name] = TrialRecord(
                name, self._config, draw_in(trial.config), trial.trial_id, dict(trial.config)
            )
        return self.trials[name]

    def _run(self, record: TrialRecord) -> str:
        return f"{self._sweep_id}-{record.name}"

    def _line(self, record: TrialRecord, report: Mapping[str, Any]) -> str:
        end = f" [{record.state}]" if record.state != RUNNING else ""
        figures = [f"{one.name} {one.text(report)}" for one in self._level.objectives]
        loss = [f"loss {report['loss']:.3f}"] if "loss" in report else []
        measured = ", ".join(figures + loss)
        return f"{record.name} epoch {report[EPOCH]}/{record.steps}: {measured}{end}  ({record.label})"


def _report(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as the journal keeps it: Ray's own clock and counter start anew with every process."""
    plainly = {key: value for key, value in result.items() if isinstance(value, (str, int, float, bool))}
    trainable = plainly.pop(CHECKPOINT_PATH_KEY, None)
    own = plainly.pop(CHECKPOINT_DIR_NAME, None)
    path = f"{CHECKPOINTS}/{Path(str(trainable)).name}" if trainable else own
    clock = {"training_iteration": result[EPOCH], "time_total_s": result[SECONDS]}
    return {**plainly, **clock, **({CHECKPOINT: path} if path else {})}


def _last_line(trial: Trial) -> str:
    error = trial.get_error()
    lines = str(error).strip().splitlines() if error else []
    return lines[-1] if lines else "its process ended"


class Checkpoints:
    """Removes those that are not needed any more.

    A trial that runs keeps its newest and its best one; one that has ended keeps its best, if it is among the best
    trials that have ended.

    Parameters
    ----------
    trials
        Folder of the trials.
    most
        How many ended trials keep one.
    """

    def __init__(self, trials: Folder, most: int) -> None:
        self._trials = trials
        self._most = most

    def of_running(self, trial: TrialRecord, newest: str) -> None:
        """Thin out those of a trial that has just written its ``newest``."""
        self._keep(trial.name, {newest, _best(trial)})

    def of_ended(self, trials: Sequence[TrialRecord]) -> None:
        """Thin out those of trials that have ended."""
        by = {trial.name: (*compared(trial.best or {}, trial.sweep.level.objectives), trial.name) for trial in trials}
        for place, trial in enumerate(sorted(trials, key=lambda trial: by[trial.name])):
            self._keep(trial.name, {_best(trial)} if place < self._most else set())

    def kept(self, trial: TrialRecord) -> str | None:
        """Return the checkpoint of a trial's best epoch, within the sweep's folder; None where it is gone."""
        best = _best(trial)
        kept = best is not None and (self._trials / trial.name).holds(best)
        return f"{TRIALS}/{trial.name}/{best}" if kept else None

    def _keep(self, name: str, wanted: set[str | None]) -> None:
        trial = self._trials / name
        for path in stored(trial):
            # Ray Train looks after its own while it trains.
            if path not in wanted and not (path.startswith(f"{CHECKPOINTS}/") and wanted):
                (trial / path).remove()


def _best(trial: TrialRecord) -> str | None:
    return trial.best.get(CHECKPOINT) if trial.best else None
