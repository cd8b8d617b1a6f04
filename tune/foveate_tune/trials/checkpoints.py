"""Which checkpoints a sweep keeps: few enough that its folder stays small however many trials it has."""

from __future__ import annotations

from collections.abc import Mapping

from foveate.storage.folder import Folder
from foveate_tune.levels.base import compared
from foveate_tune.trials.journal import CHECKPOINT, TOGETHER, stored
from foveate_tune.trials.progress import Course


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

    def of_running(self, name: str, course: Course, newest: str) -> None:
        """Thin out those of a trial that has just written its ``newest``."""
        self._keep(name, {newest, _best(course)})

    def of_ended(self, courses: Mapping[str, Course]) -> None:
        """Thin out those of trials that have ended."""
        order = sorted(courses, key=lambda name: (_key(courses[name]), name))
        for place, name in enumerate(order):
            self._keep(name, {_best(courses[name])} if place < self._most else set())

    def kept(self, name: str, course: Course) -> str | None:
        """Return the checkpoint of a trial's best epoch, None where it is gone."""
        best = _best(course)
        return best if best is not None and (self._trials / name).holds(best) else None

    def _keep(self, name: str, wanted: set[str | None]) -> None:
        trial = self._trials / name
        for path in stored(trial):
            # Ray Train looks after its own while it trains.
            if path not in wanted and not (path.startswith(f"{TOGETHER}/") and wanted):
                (trial / path).remove()


def _best(course: Course) -> str | None:
    best = course.best()
    return best.get(CHECKPOINT) if best else None


def _key(course: Course) -> tuple[float, ...]:
    return compared(course.best() or {}, course.config.level.objectives)
