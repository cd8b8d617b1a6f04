"""What a sweep came to: rows best first, as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import numpy as np
import polars as pl
import yaml
from numpy.typing import NDArray

from foveate.core.config import to_dict
from foveate.core.tables import Tabular
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder
from foveate_tune.levels.base import Baselines, Level, Objective, compared
from foveate_tune.results.pareto import knee, non_dominated

LEADERBOARD = "leaderboard.json"
TABLE = "leaderboard.md"
WINNER = "winner.yaml"
RECIPE = "recipe.yaml"

State = Literal["finished", "stopped early", "out of time", "diverged", "failed"]


@dataclass(frozen=True)
class Row:
    """One trial.

    Parameters
    ----------
    trial
        Its name: that of its folder.
    state
        How it ended.
    metrics
        Validation metrics of its best epoch; the worst values where it diverged, none where it failed at once.
    best_epoch, epochs
        The epoch of those metrics, and how many it trained.
    seconds
        From its start to its end.
    settings
        What was drawn, by dotted path.
    checkpoint
        Folder of the kept checkpoint within the sweep's, None without one.
    reason
        Why it diverged or failed.
    """

    trial: str
    state: State
    metrics: Mapping[str, float]
    best_epoch: int
    epochs: int
    seconds: float
    settings: Mapping[str, Any]
    checkpoint: str | None = None
    reason: str | None = None


@dataclass(frozen=True, repr=False)
class SweepResult(Tabular):
    """A finished sweep.

    Parameters
    ----------
    sweep_id
        Names it in bundles and in W&B.
    level
        What was tuned, and by which figures.
    rows
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
    rows: tuple[Row, ...]
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
        facts = ("trial", "state", "best_epoch", "epochs", "seconds")
        rows = [
            {
                **{name: getattr(row, name) for name in facts},
                **row.metrics,
                **{path: setting(row, path) for path in self.columns()},
            }
            for row in self.rows
        ]
        return pl.DataFrame(rows, infer_schema_length=None)

    @property
    def winner(self) -> str:
        """Name of the trial that is trained where none is picked."""
        return self.winning.trial

    @property
    def winning(self) -> Row:
        """The winner's row."""
        return winning(self.rows, self.level)

    @property
    def beats_popularity(self) -> bool:
        """Whether the winner foretells better than popularity does."""
        return self.first.gain(self.winning.metrics) > self.first.gain(self.popularity)

    @property
    def front(self) -> tuple[str, ...]:
        """Names of the trials that no other one dominates, best first."""
        kept = non_dominated(_gains(self.rows, self.level))
        return tuple(row.trial for row, on_front in zip(self.rows, kept, strict=True) if on_front)

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
            "best": self.rows[0].trial,
            "knee": self.knee,
            "front": list(self.front),
            "beats_popularity": self.beats_popularity,
            "popularity": dict(self.popularity),
            "baselines": {name: dict(figures) for name, figures in self.baselines.items()},
            "seconds": round(self.seconds, 3),
            "rows": [
                {"rank": rank, "front": row.trial in self.front, **asdict(row)} for rank, row in enumerate(self.rows, 1)
            ],
        }

    def write(self, folder: Folder) -> None:
        """Write the leaderboard; its JSON comes last, for it says that the sweep is complete."""
        folder.write(TABLE, self.table())
        folder.write(WINNER, yaml.safe_dump(to_dict(self.recipe), sort_keys=False))
        folder.write(LEADERBOARD, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    def table(self) -> str:
        """Return the leaderboard in Markdown, the settings that all trials share left out."""
        columns = self.columns()
        head = ["rank", *self.head(), *columns]
        lines = [head, ["---"] * len(head)]
        for rank, (row, texts) in enumerate(zip(self.rows, self.lines(), strict=True), 1):
            lines.append([str(rank), *texts, *(setting(row, path) for path in columns)])
        lines += [["", *texts, *[""] * (len(head) - 1 - len(texts))] for texts in self.rivals()]
        return "".join(f"| {' | '.join(text.replace('|', '/') for text in line)} |\n" for line in lines)

    def head(self) -> list[str]:
        """Return the names of the columns that :meth:`lines` fills."""
        several = ["front"] if self.knee else []
        return ["trial", *(one.name for one in self.level.figures), *several, "best epoch", "seconds", "ended"]

    def lines(self) -> list[list[str]]:
        """Return a line of texts a trial, best first: what Markdown and the terminal show beside the settings."""
        return [[*self._standing(row), *_course(row)] for row in self.rows]

    def rivals(self) -> list[list[str]]:
        """Return the first few texts of a line for each baseline."""
        by = self.level.figures
        return [[name, *(one.text(figures) for one in by)] for name, figures in self.baselines.items()]

    def _standing(self, row: Row) -> list[str]:
        figures = [one.text(row.metrics) for one in self.level.figures]
        marks = dict.fromkeys(self.front, "front") | {self.winner: "knee"}
        return [row.trial, *figures, *([marks.get(row.trial, "")] if self.knee else [])]

    def columns(self) -> list[str]:
        """Return the paths of the settings in which trials differ."""
        paths = dict.fromkeys(path for row in self.rows for path in row.settings)
        return [path for path in paths if len({setting(row, path) for row in self.rows}) > 1]


def ordered(rows: Sequence[Row], by: tuple[Objective, ...]) -> tuple[Row, ...]:
    """Sort best first: by the first figure, then by the next ones, then by the trial's name."""
    return tuple(sorted(rows, key=lambda row: (*compared(row.metrics, by), row.trial)))


def winning(rows: Sequence[Row], level: Level) -> Row:
    """Return the row of the knee, or of the best trial where there is a single objective; ``rows`` come best first."""
    place = knee(_gains(rows, level)) if len(level.objectives) > 1 else None
    return rows[place or 0]


def _gains(rows: Sequence[Row], level: Level) -> NDArray[np.float64]:
    """``[T, K]``: the objectives of each trial, those of one that did not come to figures below all others."""
    figures = [row.metrics if row.best_epoch else {} for row in rows]
    return np.array([[one.gain(own) for one in level.objectives] for own in figures], dtype=np.float64)


def _course(row: Row) -> list[str]:
    """Return how a trial went, as texts."""
    ended = row.state if row.reason is None else f"{row.state}: {row.reason}"
    return [f"{row.best_epoch} of {row.epochs}", f"{row.seconds:.1f}", ended]


def told(settings: Mapping[str, Any]) -> str:
    """Return a draw in a few words, such as ``gated, heads 2, dot_product, width 64``."""
    return ", ".join(_told(path, value) for path, value in sorted(settings.items()))


def setting(row: Row, path: str) -> str:
    """Return one setting of a row as a text, empty where it was not drawn."""
    value = row.settings.get(path, "")
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _told(path: str, value: Any) -> str:
    shown = f"{value:.3g}" if isinstance(value, float) else str(value)
    # A variant's name speaks for itself.
    return shown if isinstance(value, str) else f"{path.rpartition('.')[2]} {shown}"
