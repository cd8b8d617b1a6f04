"""The leaderboard of a sweep: rows best first, as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.tables import Tabular
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder
from foveate_tune.levels.base import Baselines, Level
from foveate_tune.objective import Objective, compared
from foveate_tune.results.pareto import knee, non_dominated
from foveate_tune.trials.record import TrialRecord

LEADERBOARD = "leaderboard.json"
TABLE = "leaderboard.md"
WINNER = "winner.yaml"
RECIPE = "recipe.yaml"


@dataclass(frozen=True, repr=False)
class SweepResult(Tabular):
    """A finished sweep.

    Parameters
    ----------
    sweep_id
        Names it in bundles and in W&B.
    level
        What was tuned, and by which figures.
    trials
        Best first.
    recipe
        What ``foveate train --from SWEEP`` trains: the winner's.
    baselines
        What simple rivals score on the same viewers and targets.
    seconds
        Of the whole sweep, start-up included.
    facts
        Data, versions and seeds.
    """

    sweep_id: str
    level: Level
    trials: tuple[TrialRecord, ...]
    recipe: Recipe
    baselines: Baselines
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def heading(self) -> str:
        """Which sweep, on what, and who won."""
        return f"sweep {self.sweep_id} on {self.facts['data']['title']}: {self.winner} wins"

    def frame(self) -> pl.DataFrame:
        """Return one row a trial, best first: how it ended, its figures and its settings."""
        facts, paths = ("trial", "state", "best_epoch", "epochs", "seconds"), differing(self.trials)
        rows = []
        for trial in self.trials:
            row, settings = trial.to_json(), {path: setting(trial, path) for path in paths}
            rows.append({**{name: row[name] for name in facts}, **trial.metrics, **settings})
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def winner(self) -> str:
        """Name of the trial that is trained where none is picked."""
        return self.winning.name

    @property
    def winning(self) -> TrialRecord:
        """The winner."""
        return winning(self.trials, self.level)

    @property
    def beats_popularity(self) -> bool:
        """Whether the winner foretells better than popularity does."""
        return self.first.gain(self.winning.metrics) > self.first.gain(self.popularity)

    @property
    def front(self) -> tuple[str, ...]:
        """Names of the trials that no other one dominates, best first."""
        return tuple(trial.name for trial in front(self.trials, self.level))

    @property
    def knee(self) -> str | None:
        """Name of the trial at the front's knee; None where there is a single objective."""
        return None if len(self.level.objectives) == 1 else self.winner

    @property
    def first(self) -> Objective:
        """The objective that rows are ordered by."""
        return self.level.objectives[0]

    @property
    def popularity(self) -> Mapping[str, float]:
        """What popularity scores."""
        return self.baselines["popularity"]

    def to_json(self) -> dict[str, Any]:
        """Return what ``leaderboard.json`` holds."""
        return {
            "sweep": self.sweep_id,
            **self.facts,
            "level": type(self.level).name,
            "metric": self.first.name,
            "objectives": [{"name": one.name, "direction": one.direction} for one in self.level.objectives],
            "winner": self.winner,
            "best": self.trials[0].name,
            "knee": self.knee,
            "front": list(self.front),
            "beats_popularity": self.beats_popularity,
            "popularity": dict(self.popularity),
            "baselines": {name: dict(figures) for name, figures in self.baselines.items()},
            "seconds": round(self.seconds, 3),
            "rows": [
                {"rank": rank, "front": trial.name in self.front, **trial.to_json()}
                for rank, trial in enumerate(self.trials, 1)
            ],
        }

    def write(self, folder: Folder) -> None:
        """Write the leaderboard; its JSON comes last, for it says that the sweep is complete."""
        folder.write(TABLE, self.table())
        folder.write(WINNER, yaml.safe_dump(to_dict(self.recipe), sort_keys=False))
        folder.write(LEADERBOARD, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    def table(self) -> str:
        """Return the leaderboard in Markdown, the settings that all trials share left out."""
        columns = differing(self.trials)
        head = ["rank", *self.head(), *columns]
        lines = [head, ["---"] * len(head)]
        for rank, (trial, texts) in enumerate(zip(self.trials, self.lines(), strict=True), 1):
            lines.append([str(rank), *texts, *(setting(trial, path) for path in columns)])
        lines += [["", *texts, *[""] * (len(head) - 1 - len(texts))] for texts in self.rivals()]
        return "".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |\n" for line in lines)

    def head(self) -> list[str]:
        """Return the names of the columns that :meth:`lines` fills."""
        several = ["front"] if self.knee else []
        return ["trial", *(one.name for one in self.level.figures), *several, "best epoch", "seconds", "ended"]

    def lines(self) -> list[list[str]]:
        """Return a line of texts a trial, best first: what Markdown and the terminal show beside the settings."""
        return [[*self._standing(trial), *_curve(trial)] for trial in self.trials]

    def rivals(self) -> list[list[str]]:
        """Return the first few texts of a line for each baseline."""
        by = self.level.figures
        return [[name, *(one.text(figures) for one in by)] for name, figures in self.baselines.items()]

    def _standing(self, trial: TrialRecord) -> list[str]:
        figures = [one.text(trial.metrics) for one in self.level.figures]
        marks = dict.fromkeys(self.front, "front") | {self.winner: "knee"}
        return [trial.name, *figures, *([marks.get(trial.name, "")] if self.knee else [])]


def ordered(trials: Sequence[TrialRecord], by: tuple[Objective, ...]) -> tuple[TrialRecord, ...]:
    """Sort best first: by the first figure, then by the next ones, then by the trial's name."""
    return tuple(sorted(trials, key=lambda trial: (*compared(trial.metrics, by), trial.name)))


def front(trials: Sequence[TrialRecord], level: Level) -> tuple[TrialRecord, ...]:
    """Return the trials that no other one dominates, in their order."""
    return tuple(compress(trials, non_dominated(_gains(trials, level))))


def winning(trials: Sequence[TrialRecord], level: Level) -> TrialRecord:
    """Return the trial at the knee, or the best one where there is a single objective; ``trials`` come best first."""
    place = knee(_gains(trials, level)) if len(level.objectives) > 1 else None
    return trials[place or 0]


def differing(trials: Sequence[TrialRecord]) -> list[str]:
    """Return the paths of the settings in which trials differ."""
    paths = dict.fromkeys(path for trial in trials for path in trial.settings)
    return [path for path in paths if len({setting(trial, path) for trial in trials}) > 1]


def _gains(trials: Sequence[TrialRecord], level: Level) -> NDArray[np.float64]:
    """``[T, K]``: the objectives of each trial, those of one that did not come to figures below all others."""
    figures = [trial.metrics if trial.best_epoch else {} for trial in trials]
    return np.array([[one.gain(own) for one in level.objectives] for own in figures], dtype=np.float64)


def _curve(trial: TrialRecord) -> list[str]:
    """Return how a trial went, as texts."""
    ended = trial.state if trial.reason is None else f"{trial.state}: {trial.reason}"
    return [f"{trial.best_epoch} of {len(trial.epochs)}", f"{trial.seconds:.1f}", ended]


def setting(trial: TrialRecord, path: str) -> str:
    """Return one setting of a trial as a text, empty where it was not drawn."""
    value = trial.settings.get(path, "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)
