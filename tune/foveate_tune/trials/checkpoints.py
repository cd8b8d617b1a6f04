"""Retention of checkpoints: the folder of a sweep stays small however many trials it has."""

from __future__ import annotations

from collections.abc import Sequence

from foveate.storage.folder import Folder
from foveate_tune.objective import compared
from foveate_tune.trials.journal import CHECKPOINTS, TRIALS, stored
from foveate_tune.trials.record import CHECKPOINT, TrialRecord


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
