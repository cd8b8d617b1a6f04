"""A sweep that was begun: what it was asked, and whether it can go on."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.storage.folder import Folder, Place
from foveate_tune.config import SweepConfig
from foveate_tune.levels.base import Problem
from foveate_tune.results.leaderboard import LEADERBOARD
from foveate_tune.trials.record import SECONDS, TrialRecord, draw_in

SWEEP: Final = "sweep.yaml"


@dataclass(frozen=True)
class Begun:
    """What a sweep was asked.

    Parameters
    ----------
    sweep_id
        Names it in bundles and in W&B.
    config
        What to try.
    data
        Dataset folder.
    facts
        What stood in its folder when it is taken up again, None for a new one.
    """

    sweep_id: str
    config: SweepConfig
    data: Path
    facts: Mapping[str, Any] | None = None

    @property
    def asked(self) -> SweepConfig:
        """The config with the dataset's whole path, for whoever goes on from another folder."""
        return dataclasses.replace(self.config, data=self.data)

    def check_data(self, content_hash: str) -> None:
        """See that the data are those that the sweep was begun on.

        Raises
        ------
        ConfigError
            They are not.
        """
        before = str(self.facts["data"]["hash"]) if self.facts else content_hash
        if content_hash != before:
            found = f"content hash {content_hash[:12]}, the sweep was begun on {before[:12]}"
            raise ConfigError(
                f"the dataset '{self.data}' has changed ({found}): begin a new sweep, or name it by --data"
            )

    def check_draws(self, recorded: Sequence[TrialRecord], problem: Problem) -> None:
        """See that this code knows the settings of all trials.

        Raises
        ------
        ConfigError
            It does not.
        """
        for one in recorded:
            try:
                problem.check(draw_in(one.config))
            except ConfigError as error:
                raise ConfigError(f"the sweep cannot go on: {one.name}: {error}") from error

    def seconds(self, recorded: Sequence[TrialRecord]) -> float:
        """Return how long the sweep had worked before, as far as its trials tell."""
        trials = sum(float(one.reports[-1].get(SECONDS, 0.0)) for one in recorded if one.reports)
        return trials / self.config.concurrent


def taken_up(folder: Folder, dataset_path: Path | None) -> Begun:
    """Read what a sweep was asked.

    Raises
    ------
    ConfigError
        There is no sweep, it is finished, or this code does not know what it was asked.
    """
    folder.check_there("begin a sweep with 'foveate tune --out'")
    if (over := finished(folder)) is not None:
        raise ConfigError(over)
    if not folder.holds(SWEEP):
        raise ConfigError(f"'{folder}' holds no sweep: no {SWEEP} in it; begin one with 'foveate tune --out'")
    try:
        stored = yaml.safe_load(folder.read(SWEEP))
        sweep_id, asked = str(stored.pop("sweep")), stored.pop("config")
    except (yaml.YAMLError, KeyError, AttributeError) as error:
        raise ConfigError(f"'{folder / SWEEP}' is damaged: {error}") from error
    try:
        config = from_dict(SweepConfig, asked)
    except ConfigError as error:
        raise ConfigError(
            f"'{folder}' was begun by foveate {stored.get('foveate')}, and cannot go on: {error}"
        ) from error
    data = dataset_path or config.data
    if data is None:
        raise ConfigError(f"which data? '{folder / SWEEP}' does not say: name the dataset folder with --data")
    return Begun(sweep_id, config, data.resolve(), stored)


def finished(sweep: Place | Folder) -> str | None:
    """Return what is to be said of a sweep that is finished already, None of any other."""
    folder = sweep if isinstance(sweep, Folder) else Folder.at(sweep)
    if not folder.holds(LEADERBOARD):
        return None
    board = json.loads(folder.read(LEADERBOARD))
    winner = f"{len(board['rows'])} trials, winner {board['winner']}"
    return f"'{folder}': sweep {board['sweep']} is finished already ({winner}); there is nothing to resume"


def resumable(sweep: Place) -> bool:
    """Whether there is a sweep that was begun and is not finished."""
    folder = Folder.at(sweep)
    return folder.holds(SWEEP) and not folder.holds(LEADERBOARD)
