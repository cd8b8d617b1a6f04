"""The journal of a sweep's trials, in plain JSON: enough to resume after its process was killed at any moment.

::

    trials/trial-NNN/params.json      what was drawn, and the trial's number: written before it starts
                     facts.json       seed, versions, data and the searcher's name for it
                     result.json      a line a report
                     checkpoint_*/    the level's own files, and report.json: the report that came with them
                     ended.json       how it ended; not there before
    searcher.json                     what the searcher has to remember

A report is first in its checkpoint, then in ``result.json``, and only then is an older checkpoint removed: whatever is
lost in between can be found.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from pyarrow import ArrowException

from foveate.core.errors import StorageError
from foveate.storage.folder import Folder, reason
from foveate_tune.config import SweepConfig
from foveate_tune.searchers.base import NUMBER
from foveate_tune.trials.record import CHECKPOINT, EPOCH, TrialRecord, draw_in

TRIALS: Final = "trials"
PARAMS: Final = "params.json"
FACTS: Final = "facts.json"
RESULT: Final = "result.json"
REPORT: Final = "report.json"
ENDED: Final = "ended.json"
SEARCHER: Final = "searcher.json"
CHECKPOINTS: Final = "checkpoints"
"""Folder of a trial in which Ray Train keeps what several processes have trained together."""


class Journal:
    """Reads and writes it.

    Parameters
    ----------
    sweep
        Folder of the sweep.
    config
        The sweep's.
    facts
        What is kept with every trial beside its settings.
    """

    def __init__(self, sweep: Folder, config: SweepConfig, facts: Mapping[str, Any]) -> None:
        self._sweep = sweep
        self._config = config
        self._facts = dict(facts)
        self.trials = sweep / TRIALS
        self.broken: StorageError | None = None
        """Why nothing could be written any more, where it could not: the sweep stops in order when it sees this."""

    @contextmanager
    def storing(self) -> Iterator[None]:
        """Leave the block where storage fails in it, and remember why in :attr:`broken`.

        An error that was thrown into Ray Tune would leave its processes behind.
        """
        try:
            yield
        except StorageError as error:
            self.broken = self.broken or error
        except (OSError, ArrowException) as error:
            self.broken = self.broken or StorageError(f"'{self.trials}' cannot be written: {reason(error)}")

    def proposed(self, config: Mapping[str, Any], trial_id: str, searcher: Mapping[str, Any]) -> None:
        """Keep a trial before it starts, and then what the searcher knows by now."""
        with self.storing():
            facts = {**self._facts, "trial_id": trial_id, "config": dict(config)}
            (self.trials / named(config)).write(FACTS, _text(facts))
        self.changed(config)
        self.searched(searcher)

    def changed(self, config: Mapping[str, Any]) -> None:
        """Keep a trial's settings, which a scheduler may change on its way."""
        with self.storing():
            (self.trials / named(config)).write(PARAMS, _text(config))

    def searched(self, state: Mapping[str, Any]) -> None:
        """Keep what the searcher has to remember."""
        with self.storing():
            self._sweep.write(SEARCHER, _text(state))

    def reported(self, name: str, report: Mapping[str, Any]) -> None:
        """Keep one report."""
        with self.storing():
            (self.trials / name).append(RESULT, json.dumps(report))

    def ended(self, name: str, state: str, why: str | None) -> None:
        """Keep how a trial ended."""
        with self.storing():
            (self.trials / name).write(ENDED, _text({"state": state, "reason": why}))

    def searcher(self) -> Mapping[str, Any] | None:
        """Return what the searcher has to remember, None before its first proposal."""
        return _json(self._sweep, SEARCHER)

    def recover(self) -> list[TrialRecord]:
        """Return all trials in the order of their numbers, with reports that only their checkpoints hold."""
        return [trial for name in self.trials.folders("trial-") if (trial := self._recover(name)) is not None]

    def read(self) -> list[TrialRecord]:
        """Return all trials as their files are, and change nothing: for who looks on while the sweep runs."""
        return [trial for name in self.trials.folders("trial-") if (trial := self._read(name)) is not None]

    def _read(self, name: str) -> TrialRecord | None:
        folder = self.trials / name
        config, facts, end = _json(folder, PARAMS), _json(folder, FACTS), _json(folder, ENDED)
        if config is None or facts is None:
            # It had not started: the searcher proposes it again.
            return None
        trial = TrialRecord(name, self._config, draw_in(facts["config"]), str(facts["trial_id"]), config)
        for report in _whole(folder.read(RESULT) if folder.holds(RESULT) else ""):
            trial.add(report)
        trial.draw = draw_in(config)
        if end is not None:
            trial.ended, trial.state, trial.reason = True, end["state"], end["reason"]
        return trial

    def _recover(self, name: str) -> TrialRecord | None:
        folder, trial = self.trials / name, self._read(name)
        if trial is None:
            return None
        lines = folder.read(RESULT) if folder.holds(RESULT) else ""
        if not trial.ended:
            self._look_for_checkpoint(trial, folder)
        if lines != (text := "".join(f"{json.dumps(report)}\n" for report in trial.reports)):
            folder.write(RESULT, text)
        return trial

    def _look_for_checkpoint(self, trial: TrialRecord, folder: Folder) -> None:
        found = [(*one, path) for path in stored(folder) if (one := _complete(folder / path)) is not None]
        if not found:
            return
        report, trial.resume_from, path = max(found, key=lambda one: int(one[0][EPOCH]))
        if int(report[EPOCH]) > trial.epoch:
            draw = trial.draw
            trial.add({**report, CHECKPOINT: path})
            trial.draw = draw


def stored(trial: Folder) -> list[str]:
    """Return the checkpoint folders of a trial: its own, and those that several processes have written together."""
    own = trial.folders(f"{CHECKPOINT}_")
    return own + [f"{CHECKPOINTS}/{name}" for name in (trial / CHECKPOINTS).folders(f"{CHECKPOINT}_")]


def named(config: Mapping[str, Any]) -> str:
    """Return the name of a trial: its number, the same in every run of the sweep."""
    return f"trial-{config[NUMBER]:03d}"


def complete(folder: Path, report: Mapping[str, Any]) -> None:
    """Put into a checkpoint's folder what tells later whether all of it has arrived, and the report it came with."""
    sizes = {file.name: file.stat().st_size for file in folder.iterdir()}
    (folder / REPORT).write_text(_text({"files": sizes, "report": dict(report)}), encoding="utf-8")


def report_in(folder: Path) -> Mapping[str, Any]:
    """Return the report that a checkpoint came with."""
    report: Mapping[str, Any] = json.loads((folder / REPORT).read_text(encoding="utf-8"))["report"]
    return report


def _complete(folder: Folder) -> tuple[Mapping[str, Any], Folder] | None:
    """Return a checkpoint's report if all of it is there."""
    noted = _json(folder, REPORT)
    if noted is None:
        return None
    sizes = folder.sizes()
    whole = all(sizes.get(name) == size for name, size in noted["files"].items())
    return (noted["report"], folder) if whole else None


def _whole(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the reports of a file up to the first line that was not written to its end, each step once."""
    step = 0
    for line in text.splitlines():
        try:
            report = json.loads(line)
        except ValueError:
            return
        if report[EPOCH] > step:
            step = report[EPOCH]
            yield report


def _json(folder: Folder, name: str) -> Mapping[str, Any] | None:
    if not folder.holds(name):
        return None
    try:
        content: Mapping[str, Any] = json.loads(folder.read(name))
    except ValueError:
        return None
    return content


def _text(content: Mapping[str, Any]) -> str:
    return json.dumps(content, indent=2) + "\n"
