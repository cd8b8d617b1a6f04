"""The figures that trials report, and how they are compared."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

Direction: TypeAlias = Literal["max", "min"]


@dataclass(frozen=True)
class Objective:
    """A figure that trials report.

    Parameters
    ----------
    name
        Its key in what a trial reports.
    direction
        Whether more or less of it is better.
    worst
        What a trial reports that cannot go on: no scheduler keeps it, and no leaderboard prefers it.
    digits, unit
        How it is printed.
    """

    name: str
    direction: Direction = "max"
    worst: float = 0.0
    digits: int = 4
    unit: str = ""

    def gain(self, figures: Mapping[str, float]) -> float:
        """Return the figure so that more is better; one that is absent or not a number lies below every other."""
        value = float(figures.get(self.name, math.nan))
        return -math.inf if math.isnan(value) else (value if self.direction == "max" else -value)

    def text(self, figures: Mapping[str, float]) -> str:
        """Return the figure as it is printed, ``-`` for none."""
        value = figures.get(self.name)
        return "-" if value is None else f"{value:.{self.digits}f}{self.unit and ' '}{self.unit}"


def compared(figures: Mapping[str, float], by: tuple[Objective, ...]) -> tuple[float, ...]:
    """Return a key that sorts the best first: by the first figure, ties by the next."""
    return tuple(-one.gain(figures) for one in by)


def plain(metrics: Mapping[str, Any], by: tuple[Objective, ...]) -> dict[str, float]:
    """Return the figures among what was reported."""
    return {one.name: float(metrics[one.name]) for one in by if one.name in metrics}
