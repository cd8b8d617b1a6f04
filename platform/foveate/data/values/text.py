"""Ids, plain text, and lists of words."""

from __future__ import annotations

import ast
import csv
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import polars as pl

from foveate.data.values.base import Parsed, bad_rows, decoded, masked, without_blanks

FLOAT_ID: Final = r"^-?\d+\.0+$"
"""A whole number that a tool wrote as a float: where a whole column looks so, ``10.0`` means the id 10."""

CODED: Final = r"""(?s)^(?:\{\s*["'].*\}|\[\s*["'\d\[{-].*\]|\{\}|\[\])$"""
"""An object or a list as JSON or Python write it; ``{3F2504E0-4F89}`` is none."""

INTEGER_ID: Final = r"^-?\d+$"

_EXACT: Final[dict[pl.DataType, int]] = {pl.Float32(): 2**24, pl.Float64(): 2**53}
"""The integers below it are all different floats."""

LIST_SEPARATORS: Final = ("|", ";", ",")
"""Between the words of a list in one text; the first that a column holds."""

_QUOTED: Final = re.compile(r"""\"([^\"]*)\"|'([^']*)'""")
_WORDS_OF_NUMPY: Final = re.compile(r"""^\[\s*(?:\"[^\"]*\"|'[^']*')(?:\s+(?:\"[^\"]*\"|'[^']*'))+\s*\]$""")
"""Words in quotes without commas between them, which Python would read as one."""

_NO_WORDS: Final = ("(no genres listed)", "[]", "{}")


@dataclass(frozen=True)
class Id:
    """Reads ids byte for byte; numbers become text without a point.

    Parameters
    ----------
    floats
        Whether every id of the column ends in ``.0``, which then is no part of it.
    coded
        Whether a text may be JSON of a list or an object, which is no id.
    """

    floats: bool = False
    coded: bool = False
    expects: str = "an id: text, or a number that floats hold exactly; write ids as text or integers"

    @property
    def about(self) -> str:
        return "ids without their .0" if self.floats else "ids"

    def parse(self, raw: pl.Series) -> Parsed:
        text = as_text(raw)
        if text is None:
            return _no_text(raw)
        known = without_blanks(text, text=True)
        if raw.dtype.is_float():
            # Beyond that several integers are one float: ids would be merged.
            merged = (raw.abs() >= _EXACT[raw.dtype]) & raw.is_finite()
            return Parsed(masked(known, merged), merged.fill_null(value=False) if merged.any() else None)
        if self.coded and (lists := known.str.contains(CODED)).any():
            return Parsed(masked(known, lists), lists.fill_null(value=False))
        values = known.str.replace(r"\.0+$", "") if self.floats else known
        return Parsed(values, bad_rows(text, raw) if isinstance(raw.dtype, pl.Binary) else None)


@dataclass(frozen=True)
class Text:
    """Reads text, without the white space around it."""

    about: str = "text"
    expects: str = "text"

    def parse(self, raw: pl.Series) -> Parsed:
        text = as_text(raw)
        return _no_text(raw) if text is None else Parsed(without_blanks(text.str.strip_chars(), text=True))


@dataclass(frozen=True)
class OneOf:
    """Reads words that each mean one of ours.

    Parameters
    ----------
    meanings
        Their word to ours.
    """

    meanings: Mapping[str, str]
    about: str = "kinds"

    @property
    def expects(self) -> str:
        return f"one of {', '.join(self.meanings)}"

    def parse(self, raw: pl.Series) -> Parsed:
        words = Id().parse(raw).values
        values = words.replace_strict(dict(self.meanings), default=None, return_dtype=pl.String)
        return Parsed(values, bad_rows(values, words))


@dataclass(frozen=True)
class Words:
    """Reads lists: typed ones, JSON, and words with a separator between them; blank words are left out.

    Parameters
    ----------
    separator
        Between words.
    """

    separator: str = "|"
    expects: str = "a list of words"

    @property
    def about(self) -> str:
        return f"lists, separated by '{self.separator}'"

    def parse(self, raw: pl.Series) -> Parsed:
        if isinstance(raw.dtype, (pl.List, pl.Array)):
            lists = raw if isinstance(raw.dtype, pl.List) else raw.arr.to_list()
            inner = lists.dtype.inner  # type: ignore[attr-defined]
            if isinstance(inner, pl.Struct):
                texts = [None if words is None else [_word(word) for word in words] for words in lists.to_list()]
                lists = pl.Series(raw.name, texts, dtype=pl.List(pl.String))
            return Parsed(_tidy(lists.cast(pl.List(pl.String))))
        text = as_text(raw)
        if text is None:
            return _no_text(raw)
        text = without_blanks(text.str.strip_chars(), text=True)
        text = masked(text, text.is_in(_NO_WORDS))
        lists = text.str.split(self.separator)
        coded = text.str.contains(r"(?s)^\[.*\]$|^\{[^:]*\}$").fill_null(value=False)
        if coded.any():
            decoded = [_decode(one) if listed else None for one, listed in zip(text, coded, strict=True)]
            lists = pl.Series(raw.name, decoded, dtype=pl.List(pl.String)).zip_with(coded, lists)
        return Parsed(_tidy(lists))


def list_separator(columns: Sequence[pl.Series]) -> str:
    """Return what stands between the words of lists in these columns of text."""
    text = pl.concat([column for column in columns if isinstance(column.dtype, pl.String)] or [pl.Series([""])])
    plain = text.filter(~text.str.strip_chars().str.starts_with("[").fill_null(value=True))
    return next((one for one in LIST_SEPARATORS if plain.str.contains(one, literal=True).any()), "|")


def as_text(raw: pl.Series) -> pl.Series | None:
    """Return a column as text, whole floats without a point; None where it is of a type that has no plain text."""
    dtype = raw.dtype
    if isinstance(dtype, pl.String):
        return raw
    if dtype.is_float():
        known = raw.fill_nan(None)
        integral = (known == known.floor()) & (known.abs() < 2**63)
        whole = masked(known, ~integral).cast(pl.Int64)
        return whole.cast(pl.String).fill_null(known.cast(pl.String))
    if isinstance(dtype, pl.Binary):
        return decoded(raw)
    if isinstance(dtype, pl.Decimal):
        return raw.cast(pl.String).str.replace(r"\.0+$", "")
    if dtype.is_nested() or isinstance(dtype, (pl.Boolean, pl.Object, pl.Duration)):
        return None
    return raw.cast(pl.String)


def _tidy(lists: pl.Series) -> pl.Series:
    words = pl.element().str.strip_chars()
    return lists.list.eval(words.filter(words != ""))


def _decode(text: str) -> list[str | None]:
    """Return the words of a JSON list, of a list as Python or NumPy prints it, or of an array of PostgreSQL."""
    if text.startswith("{"):
        return list(next(csv.reader([text[1:-1]], skipinitialspace=True), []))
    if _WORDS_OF_NUMPY.match(text):
        return [double or single for double, single in _QUOTED.findall(text)]
    for read in (json.loads, ast.literal_eval):
        try:
            return [_word(word) for word in read(text)]
        except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
            continue
    return [word.strip().strip("'\"") for word in text[1:-1].split(",")]


def _word(word: object) -> str | None:
    # Some catalogues list objects: {"id": 28, "name": "Action"}.
    if isinstance(word, dict):
        word = next((word[key] for key in ("name", "title", "id") if key in word), None)
    return None if word is None else str(word)


def _no_text(raw: pl.Series) -> Parsed:
    return Parsed(pl.Series(raw.name, [None], dtype=pl.String).new_from_index(0, len(raw)), raw.is_not_null())
