"""The record of a sweep read from its folder, finished or not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import yaml

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.storage.folder import Folder
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Baselines
from foveate_tune.objective import Objective
from foveate_tune.results.leaderboard import LEADERBOARD, differing, front, ordered, winning
from foveate_tune.resume import SWEEP
from foveate_tune.trials.journal import Journal
from foveate_tune.trials.record import UNFINISHED, TrialRecord

VERDICT: Final = "verdict.json"


@dataclass(frozen=True)
class SweepRecord:
    """A sweep.

    Parameters
    ----------
    name
        Of its folder.
    facts
        What ``sweep.yaml`` says besides the config: data, versions, seed.
    config
        What was asked.
    trials
        Best first; those without a figure last.
    baselines
        What simple rivals score on the same viewers, by name; empty while the sweep is unfinished.
    seconds
        Of the whole sweep; None while it is unfinished.
    verdict
        What the test against rivals came to, None where none was made.
    """

    name: str
    facts: Mapping[str, Any]
    config: SweepConfig
    trials: tuple[TrialRecord, ...]
    baselines: Baselines
    seconds: float | None
    verdict: Mapping[str, Any] | None

    @property
    def finished(self) -> bool:
        """Whether the sweep came to its end."""
        return self.seconds is not None

    @property
    def figures(self) -> tuple[Objective, ...]:
        """All that trials are compared by; the first is what they are ordered by."""
        return self.config.level.figures

    @property
    def first(self) -> Objective:
        """What trials are ordered by."""
        return self.figures[0]

    @property
    def metric(self) -> str:
        """Its name."""
        return self.first.name

    @property
    def steps(self) -> int:
        """How often a trial reports at most."""
        return self.config.level.steps(self.config)

    @property
    def measured(self) -> tuple[TrialRecord, ...]:
        """The trials that have a figure and did not diverge, best first."""
        return tuple(trial for trial in self.trials if self.metric in trial.metrics and trial.state != "diverged")

    @property
    def front(self) -> frozenset[str]:
        """Names of the trials that no other one dominates."""
        return frozenset(trial.name for trial in front(self.trials, self.config.level))

    @property
    def winner(self) -> TrialRecord:
        """The trial that is trained where none is picked: the knee of several objectives, the best of one."""
        return winning(self.trials, self.config.level)

    @property
    def title(self) -> str:
        """What the winner is called."""
        return "knee" if len(self.config.level.objectives) > 1 else "best"

    def columns(self) -> list[str]:
        """Return the paths of the settings in which trials differ."""
        return differing(self.trials)


def read_sweep(folder: Folder) -> SweepRecord:
    """Read a sweep's folder.

    Raises
    ------
    ConfigError
        It is absent, no sweep's or damaged, this code does not know what it was asked, or no trial has reported yet.
    """
    folder.check_there("make one with 'foveate tune'")
    if not folder.holds(SWEEP):
        raise ConfigError(f"'{folder}' holds no sweep: no {SWEEP} in it; begin one with 'foveate tune --out'")
    try:
        record = _read(folder)
    except ConfigError as error:
        raise ConfigError(f"the sweep in '{folder}' cannot be read: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, OSError, yaml.YAMLError) as error:
        raise ConfigError(f"the sweep in '{folder}' is damaged: {type(error).__name__}: {error}") from error
    if not any(trial.epochs or trial.reason for trial in record.trials):
        raise ConfigError(f"no trial of the sweep in '{folder}' has reported anything yet: try again after an epoch")
    return record


def _read(folder: Folder) -> SweepRecord:
    facts = dict(yaml.safe_load(folder.read(SWEEP)))
    config = from_dict(SweepConfig, facts.pop("config"))
    board = _json(folder, LEADERBOARD) or {}
    trials = Journal(folder, config, {}).read()
    for trial in trials:
        if trial.over:
            trial.end()
        else:
            trial.state = UNFINISHED
    return SweepRecord(
        name=folder.name,
        facts=facts,
        config=config,
        trials=ordered(trials, config.level.figures),
        baselines=board.get("baselines", {}),
        seconds=float(board["seconds"]) if board else None,
        verdict=_json(folder, VERDICT),
    )


def _json(folder: Folder, name: str) -> dict[str, Any] | None:
    found: dict[str, Any] | None = json.loads(folder.read(name)) if folder.holds(name) else None
    return found
