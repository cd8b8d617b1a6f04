"""What a sweep came to: rows best first, as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Literal

import yaml

from foveate.config import from_dict, load_yaml, to_dict
from foveate.errors import ConfigError
from foveate.recipe import Recipe
from foveate_tune.problem import METRIC

LEADERBOARD = "leaderboard.json"
TABLE = "leaderboard.md"
WINNER = "winner.yaml"
TRIALS = "trials"
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
    rows
        Best first.
    winner
        Name of the best trial.
    recipe
        What ``foveate train --from SWEEP`` trains: the winner's encoder for as many epochs as were best.
    popularity
        What popularity scores on the same viewers and targets.
    seconds
        Of the whole sweep, start-up included.
    facts
        Data, versions and seeds.
    """

    sweep_id: str
    rows: tuple[Row, ...]
    winner: str
    recipe: Recipe
    popularity: Mapping[str, float]
    seconds: float
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def beats_popularity(self) -> bool:
        """Whether the winner foretells better than popularity does."""
        return self.rows[0].metrics[METRIC] > self.popularity[METRIC]

    def to_json(self) -> dict[str, Any]:
        """Return what ``leaderboard.json`` holds."""
        return {
            "sweep": self.sweep_id,
            **self.facts,
            "metric": METRIC,
            "winner": self.winner,
            "beats_popularity": self.beats_popularity,
            "popularity": dict(self.popularity),
            "seconds": round(self.seconds, 3),
            "rows": [{"rank": rank, **asdict(row)} for rank, row in enumerate(self.rows, 1)],
        }

    def write(self, folder: Path) -> None:
        """Write the leaderboard; its JSON comes last, for it says that the sweep is complete."""
        (folder / TABLE).write_text(self.table(), encoding="utf-8")
        (folder / WINNER).write_text(yaml.safe_dump(to_dict(self.recipe), sort_keys=False), encoding="utf-8")
        staged = folder / f".{LEADERBOARD}"
        staged.write_text(json.dumps(self.to_json(), indent=2, allow_nan=False) + "\n", encoding="utf-8")
        staged.rename(folder / LEADERBOARD)

    def table(self) -> str:
        """Return the leaderboard in Markdown, the settings that all trials share left out."""
        head = ["rank", "trial", METRIC, "recall@10", "best epoch", "epochs", "seconds", "ended", *self.columns()]
        lines = [head, ["---"] * len(head)]
        for rank, row in enumerate(self.rows, 1):
            lines.append([str(rank), *cells(row), *(setting(row, path) for path in self.columns())])
        popular = [f"{self.popularity[name]:.4f}" for name in (METRIC, "recall@10")]
        lines.append(["", "popularity", *popular, *[""] * (len(head) - 4)])
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"

    def columns(self) -> list[str]:
        """Return the paths of the settings in which trials differ."""
        paths = dict.fromkeys(path for row in self.rows for path in row.settings)
        return [path for path in paths if len({setting(row, path) for row in self.rows}) > 1]


@dataclass(frozen=True)
class Winner:
    """What a finished sweep's folder says of its winner."""

    sweep_id: str
    trial: str
    recipe: Recipe
    data_hash: str


def ordered(rows: Sequence[Row]) -> tuple[Row, ...]:
    """Sort best first: by NDCG, then recall, then the trial's name."""
    return tuple(sorted(rows, key=lambda r: (-r.metrics.get(METRIC, -1), -r.metrics.get("recall@10", -1), r.trial)))


def cells(row: Row) -> list[str]:
    """Return a row's name, metrics, epochs, seconds and end as texts."""
    metrics = [f"{row.metrics[name]:.4f}" if name in row.metrics else "-" for name in (METRIC, "recall@10")]
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


def read_winner(sweep: Path) -> Winner:
    """Read the winner of a finished sweep.

    Raises
    ------
    ConfigError
        The folder is absent, is no sweep, or its sweep did not end with a winner.
    """
    if not sweep.is_dir():
        raise ConfigError(f"--from '{sweep}': there is no such folder; make one with 'foveate tune'")
    if not (sweep / LEADERBOARD).is_file():
        raise ConfigError(f"--from '{sweep}' has no winner: no {LEADERBOARD} in it, so no sweep has finished there")
    try:
        board = json.loads((sweep / LEADERBOARD).read_text(encoding="utf-8"))
        recipe = from_dict(Recipe, load_yaml(sweep / WINNER))
        return Winner(str(board["sweep"]), str(board["winner"]), recipe, str(board["data"]["hash"]))
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"--from '{sweep}' is damaged: {error}") from error
