"""The rows of the attention table: how they are kept between runs, and how they are laid out for people."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Row:
    """What a variant came to.

    ``parameters`` are those beside the item vectors, ``with_items`` all; ``rows_per_second`` of training;
    ``request_ms`` the median of encoding one viewer and scoring every item.
    """

    mixer: str
    matched: str
    metrics: dict[str, float]
    parameters: int
    with_items: int
    epochs: int
    rows_per_second: float
    request_ms: float
    measured_on: dict[str, Any]

    @property
    def key(self) -> str:
        """Two rows of one key are the same measurement."""
        return json.dumps(self.measured_on, sort_keys=True)


def stored(path: Path) -> list[Row]:
    return [Row(**row) for row in json.loads(path.read_text())["rows"]] if path.exists() else []


def write(path: Path, text: str) -> None:
    """Write whole or not at all: the command may be stopped at any time."""
    path.parent.mkdir(parents=True, exist_ok=True)
    staged = path.with_name(f".{path.name}.part")
    staged.write_text(text)
    staged.replace(path)


def table(rows: Sequence[Row], popular: dict[str, float], heading: str, command: str) -> str:
    """Return the markdown, the best rows first."""
    lines = [
        "# Every way to share out attention, at one budget",
        "",
        f"Made by `{command}`.",
        *textwrap.wrap(heading, 120),
        "",
        "| mixer | scorer or head | NDCG@10 | Recall@10 | beats popularity | parameters | all | rows/s | request ms |",
        "| --- | --- | ---: | ---: | :---: | ---: | ---: | ---: | ---: |",
    ]
    best_first = sorted(rows, key=lambda row: -row.metrics["ndcg@10"])
    return "\n".join([*lines, *(_line(row, popular) for row in best_first)]) + "\n"


def _line(row: Row, popular: dict[str, float]) -> str:
    beats = "yes" if row.metrics["ndcg@10"] > popular["ndcg@10"] else "no"
    cells = [
        row.mixer,
        row.matched,
        f"{row.metrics['ndcg@10']:.4f}",
        f"{row.metrics['recall@10']:.4f}",
        beats,
        f"{row.parameters:,}",
        f"{row.with_items:,}",
        f"{row.rows_per_second:,.0f}",
        f"{row.request_ms:.2f}",
    ]
    return f"| {' | '.join(cells)} |"
