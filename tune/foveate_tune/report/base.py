"""The seam of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import plotly.graph_objects as go

from foveate.core.registry import Registry
from foveate_tune.report.record import SweepRecord


@dataclass(frozen=True)
class Column:
    """A table's column; ``form`` is the format of its numbers, empty for texts."""

    title: str
    form: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of cells, None where there is nothing to say; ``marked`` is the row to look at first."""

    columns: Sequence[Column]
    rows: Sequence[Sequence[Any]]
    marked: int | None = None


@dataclass(frozen=True)
class Panel:
    """What a picture shows of one sweep.

    Parameters
    ----------
    caption
        What one sees, in words; why there is nothing to see, where there is not.
    figure
        Without colours of page and text: the page sets them, for light and for dark.
    table
        Sortable on the page.
    height
        Of the figure, pixels.
    width
        Least width of the figure, pixels: on a narrower screen it is scrolled.
    """

    caption: str
    figure: go.Figure | None = None
    table: Table | None = None
    height: int = 380
    width: int = 300


class Picture:
    """Base of the pictures; each file of ``pictures`` that defines one adds it to the report."""

    variants: ClassVar[Registry[Picture]]
    name: ClassVar[str]
    title: ClassVar[str]
    place: ClassVar[int]
    """Where it stands on the page: lower is earlier."""

    def draw(self, sweep: SweepRecord) -> Panel | None:
        """Draw a sweep; None where this picture has no business with it."""
        raise NotImplementedError


Picture.variants = Registry("picture", Picture, "foveate_tune.report.pictures")
