"""What a sweep came to: rows best first, as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

import yaml

from foveate.config import from_dict, to_dict
from foveate.errors import ConfigError
from foveate.recipe import Recipe
from foveate_tune.folder import Folder, Place
from foveate_tune.levels.base import Baselines, Level, Objective, compared

LEADERBOARD = "leaderboard.json"
TABLE = "leaderboard.md"
WINNER = "winner.yaml"
RECIPE = "recipe.yaml"
FACTS = ("foveate", "commit", "data", "seed")
"""What a bundle is told of the sweep that it comes from, beside the settings that won."""

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
        What was drawn, by dotted path within the ``attention`` source.
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


@dataclass(frozen=True)
class SweepResult:
    """A finished sweep.

    Parameters
    ----------
    sweep_id
        Names it in bundles and in W&B.
    level
        What was tuned, and by which figures.
    rows
        Best first.
    winner
        Name of the best trial.
    recipe
        What ``foveate train --from SWEEP`` trains: the winner's encoder for as many epochs as were best.
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
    winner: str
    recipe: Recipe
    baselines: Baselines
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def beats_popularity(self) -> bool:
        """Whether the winner foretells better than popularity does."""
        return self.first.gain(self.rows[0].metrics) > self.first.gain(self.popularity)

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
            "beats_popularity": self.beats_popularity,
            "popularity": dict(self.popularity),
            "baselines": {name: dict(figures) for name, figures in self.baselines.items()},
            "seconds": round(self.seconds, 3),
            "rows": [{"rank": rank, **asdict(row)} for rank, row in enumerate(self.rows, 1)],
        }

    def write(self, folder: Folder) -> None:
        """Write the leaderboard; its JSON comes last, for it says that the sweep is complete."""
        folder.write(TABLE, self.table())
        folder.write(WINNER, yaml.safe_dump(to_dict(self.recipe), sort_keys=False))
        folder.write(LEADERBOARD, json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n")

    def table(self) -> str:
        """Return the leaderboard in Markdown, the settings that all trials share left out."""
        by = self.level.figures
        head = ["rank", "trial", *(one.name for one in by), "best epoch", "epochs", "seconds", "ended", *self.columns()]
        lines = [head, ["---"] * len(head)]
        for rank, row in enumerate(self.rows, 1):
            lines.append([str(rank), *cells(row, by), *(setting(row, path) for path in self.columns())])
        for name, figures in self.baselines.items():
            lines.append(["", name, *(one.text(figures) for one in by), *[""] * (len(head) - 2 - len(by))])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def columns(self) -> list[str]:
        """Return the paths of the settings in which trials differ."""
        paths = dict.fromkeys(path for row in self.rows for path in row.settings)
        return [path for path in paths if len({setting(row, path) for row in self.rows}) > 1]


@dataclass(frozen=True)
class Winner:
    """What a finished sweep's folder says of its winner, and of the code, data and seed that it comes from."""

    sweep_id: str
    trial: str
    recipe: Recipe
    data_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> dict[str, Any]:
        """What a bundle says of where its settings come from."""
        return {"sweep": self.sweep_id, "trial": self.trial, **self.facts}


def ordered(rows: Sequence[Row], by: tuple[Objective, ...]) -> tuple[Row, ...]:
    """Sort best first: by the first figure, then by the next ones, then by the trial's name."""
    return tuple(sorted(rows, key=lambda row: (*compared(row.metrics, by), row.trial)))


def cells(row: Row, by: tuple[Objective, ...]) -> list[str]:
    """Return a row's name, figures, epochs, seconds and end as texts."""
    metrics = [one.text(row.metrics) for one in by]
    return [row.trial, *metrics, str(row.best_epoch), str(row.epochs), f"{row.seconds:.1f}", row.state]


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


def read_winner(sweep: Place) -> Winner:
    """Read the winner of a finished sweep from its folder or address.

    Raises
    ------
    ConfigError
        The folder is absent, is no sweep, or its sweep did not end with a winner.
    """
    folder = Folder.at(sweep)
    folder.check_there("make one with 'foveate tune'")
    if not folder.holds(LEADERBOARD):
        raise ConfigError(
            f"--from '{sweep}' has no winner: no {LEADERBOARD} in it, so no sweep has finished there; "
            "'foveate tune --resume' finishes one that was broken off"
        )
    try:
        board = json.loads(folder.read(LEADERBOARD))
        recipe = from_dict(Recipe, yaml.safe_load(folder.read(WINNER)))
        row = next(row for row in board["rows"] if row["trial"] == board["winner"])
        facts = {name: board.get(name) for name in FACTS} | {"settings": row["settings"]}
        return Winner(str(board["sweep"]), str(board["winner"]), recipe, str(board["data"]["hash"]), facts)
    except (OSError, ValueError, KeyError, TypeError, StopIteration, yaml.YAMLError) as error:
        raise ConfigError(f"--from '{sweep}' is damaged: {error}") from error
