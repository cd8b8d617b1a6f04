"""Tables for the terminal, for a notebook, and as a frame."""

from __future__ import annotations

from abc import ABC, abstractmethod
from html import escape
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import polars as pl

_ROWS: Final = 100
"""Rows that are shown at most; a frame holds them all."""
_TEXT: Final = 60
"""Letters of one cell that are shown at most."""


class Tabular(ABC):
    """A result: a heading and rows."""

    @property
    @abstractmethod
    def heading(self) -> str:
        """What the table is of, in one line or a few."""

    @abstractmethod
    def frame(self) -> pl.DataFrame:
        """Return the rows as a Polars frame."""

    def __str__(self) -> str:
        with _shown():
            return f"{self.heading}\n{self.frame()}"

    def __repr__(self) -> str:
        return str(self)

    def _repr_html_(self) -> str:
        """Return what a notebook shows; every text in it is escaped."""
        with _shown():
            table = self.frame()._repr_html_()  # Polars escapes what is in the cells
        return f"<p>{'<br>'.join(map(escape, self.heading.splitlines()))}</p>\n{table}"


def _shown() -> pl.Config:
    import polars as pl  # noqa: PLC0415 - errors and messages are read without it

    return pl.Config(
        tbl_formatting="NOTHING",
        tbl_hide_column_data_types=True,
        tbl_hide_dataframe_shape=True,
        tbl_rows=_ROWS,
        tbl_cols=-1,
        tbl_width_chars=160,
        fmt_str_lengths=_TEXT,
        fmt_table_cell_list_len=10,
        float_precision=4,
    )
