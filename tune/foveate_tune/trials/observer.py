"""What happens in a sweep while it runs: kept in its journal, told to the user and to the tracker."""

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
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import plain
from foveate_tune.news import RUNNING, TrialNews
from foveate_tune.results.leaderboard import Row, ordered, told
from foveate_tune.tracking.base import Tracker
from foveate_tune.trials.checkpoints import Checkpoints
from foveate_tune.trials.journal import CHECKPOINT, EPOCH, SECONDS, TOGETHER, Journal, Known, named
from foveate_tune.trials.progress import SETTINGS, Course, over
from foveate_tune.trials.trial import FAILURE, STORAGE, TELEMETRY, draw_in


class Watch(Callback):
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
        What every run is told besides its settings.
    config
        The sweep's: its level says which figures count, and it holds a trial's budget.
    say
        Called with a line of news.
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
        self.courses: dict[str, Course] = {}
        self._ended: set[str] = set()
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

    def remember(self, known: Sequence[Known]) -> None:
        """Take in what an earlier run of the sweep has left; what it could not write any more of an end is written."""
        for one in known:
            self.courses[one.name] = Course.of(one, self._config)
            if over(one, self._config):
                if one.end is None:
                    self._start(one.name)
                    self._end(one.name)
                self._ended.add(one.name)
            self._tell(one.name)
        self._checkpoints.of_ended({name: self.courses[name] for name in self._ended})

    def rows(self) -> tuple[Row, ...]:
        """Return the leaderboard's rows, best first."""
        kept = {name: self._checkpoints.kept(name, course) for name, course in self.courses.items()}
        rows = [course.row(name, kept[name]) for name, course in self.courses.items()]
        return ordered(rows, self._level.figures)

    def on_trial_start(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Open the trial's run."""
        del iteration, trials, info
        self._course(trial)
        self._start(named(trial.config))
        self._tell(named(trial.config))

    def on_trial_result(
        self, iteration: int, trials: list[Trial], trial: Trial, result: dict[str, Any], **info: Any
    ) -> None:
        """Keep one epoch."""
        del iteration, trials, info
        name, course = named(trial.config), self._course(trial)
        if STORAGE in result:
            with self._journal.storing():
                raise StorageError(result[STORAGE])
        if self._journal.broken:
            return
        if course.epochs and result[EPOCH] <= course.epochs[-1][EPOCH]:
            # Its process was lost between this report and its checkpoint, and it has trained the epoch again.
            course.stop(result)
            return
        report = _report(result)
        # As the trial itself has it: by now its scheduler may have given it what its next epoch is trained with.
        config = result.get("config", trial.config)
        settings = draw_in(config)
        if settings != course.settings:
            report[SETTINGS] = settings
            self._journal.changed(config)
            self._tell(name, f"{name} goes on from a better trial's weights  ({told(settings)})")
        self._journal.reported(name, report)
        course.take(report)
        self._log(name, report)
        failed = f"{name} {course.state}: {course.reason}"
        self._tell(name, failed if FAILURE in report else self._line(name, course, report))

    def on_trial_save(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Let go of the checkpoints that the newest one has made needless; Ray would go back to it now."""
        del iteration, trials, info
        name = named(trial.config)
        if trial.checkpoint is not None and name in self.courses:
            newest = Path(trial.checkpoint.path).name
            with self._journal.storing():
                self._checkpoints.of_running(name, self.courses[name], newest)

    def on_trial_recover(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Say that a trial's process was lost."""
        del iteration, trials, info
        epochs = self._course(trial).epochs
        where = f"goes on from epoch {epochs[-1][EPOCH]}" if epochs else "starts again"
        self._say(f"{named(trial.config)} lost its process and {where}")

    def on_trial_complete(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Close the trial's run; one that ends because nothing can be kept any more has not come to its end."""
        del iteration, trials, info
        self._course(trial)
        if not self._journal.broken:
            self._end(named(trial.config))
            self._tell(named(trial.config))

    def on_trial_error(self, iteration: int, trials: list[Trial], trial: Trial, **info: Any) -> None:
        """Keep why a trial broke."""
        del iteration, trials, info
        name, course = named(trial.config), self._course(trial)
        if self._journal.broken:
            return
        course.state, course.reason = "failed", _last_line(trial)
        self._end(name)
        self._tell(name, f"{name} failed: {course.reason}")

    def _start(self, name: str) -> None:
        """Open a trial's run, and tell it all epochs: it knows itself which of them it has already."""
        course = self.courses[name]
        self._tracker.start(self._run(name), {**course.settings, **self._facts, "trial": name})
        for epoch in course.epochs:
            self._log(name, epoch)

    def _log(self, name: str, report: Mapping[str, Any]) -> None:
        figures = plain(report, self._level.figures) | {key: report[key] for key in TELEMETRY if key in report}
        self._tracker.log(self._run(name), figures, report[EPOCH])

    def _end(self, name: str) -> None:
        course = self.courses[name]
        self._tracker.finish(self._run(name), course.summary(), failed=course.state in ("diverged", "failed"))
        self._ended.add(name)
        self._journal.ended(name, course.state, course.reason)
        with self._journal.storing():
            self._checkpoints.of_ended({one: self.courses[one] for one in self._ended})

    def _tell(self, name: str, line: str = "") -> None:
        """Tell where a trial stands, in figures and in words."""
        course = self.courses[name]
        over = name in self._ended or course.state != "finished"
        latest = course.epochs[-1] if course.epochs else {}
        news = TrialNews(
            trial=name,
            state=course.state if over else RUNNING,
            epoch=len(course.epochs),
            seconds=float(latest.get(SECONDS, 0.0)),
            latest=plain(latest, self._level.figures),
            best=plain(course.best() or {}, self._level.figures),
            rows_per_second=latest.get("rows_per_second"),
            settings=told(course.settings),
            line=line,
        )
        report_progress(self._say, news)

    def _course(self, trial: Trial) -> Course:
        """Return what is known of a trial; one that breaks before it starts is first heard of by its error."""
        return self.courses.setdefault(named(trial.config), Course(self._config, draw_in(trial.config)))

    def _run(self, name: str) -> str:
        return f"{self._sweep_id}-{name}"

    def _line(self, name: str, course: Course, report: Mapping[str, Any]) -> str:
        end = f" [{course.state}]" if course.state != "finished" else ""
        figures = [f"{one.name} {one.text(report)}" for one in self._level.objectives]
        loss = [f"loss {report['loss']:.3f}"] if "loss" in report else []
        measured = ", ".join(figures + loss)
        steps = self._level.steps(self._config)
        return f"{name} epoch {report[EPOCH]}/{steps}: {measured}{end}  ({told(course.settings)})"


def _report(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return a result as the journal keeps it: Ray's own clock and counter start anew with every process."""
    plainly = {key: value for key, value in result.items() if isinstance(value, (str, int, float, bool))}
    together = plainly.pop(CHECKPOINT_PATH_KEY, None)
    own = plainly.pop(CHECKPOINT_DIR_NAME, None)
    path = f"{TOGETHER}/{Path(str(together)).name}" if together else own
    clock = {"training_iteration": result[EPOCH], "time_total_s": result[SECONDS]}
    return {**plainly, **clock, **({CHECKPOINT: path} if path else {})}


def _last_line(trial: Trial) -> str:
    error = trial.get_error()
    lines = str(error).strip().splitlines() if error else []
    return lines[-1] if lines else "its process ended"
