"""Detection of a text table's separator, quotes and column names."""

from __future__ import annotations

import codecs
import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from foveate.core.errors import ReaderError, SchemaError

SEPARATORS: Final = ("::", "\t", ",", ";", "|", " ")
"""Told apart by the file's beginning; where two fit it equally well, the first of them is taken."""

_BY_SUFFIX: Final = {".tsv": "\t", ".tab": "\t", ".psv": "|", ".inter": "\t", ".item": "\t", ".user": "\t"}
_SAMPLE: Final = 1 << 17
_ROWS: Final = 200


@dataclass(frozen=True)
class Dialect:
    """How the rows of one text file are written.

    Parameters
    ----------
    separator
        Between fields: one character, or ``::``.
    quoted
        Whether a field may stand in double quotes.
    names
        Of the columns: stripped, and each of its own.
    header
        Whether they stand in the file.
    skip
        Lines before the first row: blank ones, and the header's.
    spaced
        Whether a space stands behind each separator, as in ``a, "b, c"``.
    old_lines
        Whether lines end with a carriage return alone.
    """

    separator: str
    quoted: bool
    names: tuple[str, ...]
    header: bool
    skip: int
    spaced: bool = False
    old_lines: bool = False

    @property
    def about(self) -> str:
        """What the file is, for the report of an import."""
        mark = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars", "::": "double colons", " ": "spaces"}
        head = "" if self.header else ", without a header"
        return f"text, fields separated by {mark.get(self.separator, repr(self.separator))}{head}"


def sniff(
    path: Path, *, separator: str = "", names: Sequence[str] = (), known: Callable[[str], bool] | None = None
) -> Dialect:
    """Tell how a file is written from its beginning.

    Parameters
    ----------
    separator
        Where it is known; empty detects it.
    names
        Of the columns of a file without a header; empty detects whether there is one.
    known
        Whether a word is a name that columns have; None for a file that surely has a header.

    Raises
    ------
    ReaderError
        The file is absent, empty or not UTF-8.
    SchemaError
        There are more or fewer names than columns.
    """
    text, whole = _beginning(path)
    comments, text = _without_comments(text)
    said = re.match(r"sep=(.)\r?\n", text)
    if said:
        # As Excel writes it before the header.
        comments, text, separator = comments + 1, text[said.end() :], separator or said[1]
    usual = _BY_SUFFIX.get(path.suffix.lower(), "")
    # A name may lie: where no row has its separator, the rows decide.
    separator = separator or (usual if usual in text else "") or _separator(text, whole=whole)
    quoted = _is_quoted(text, separator)
    spaced = quoted and (f'{separator} "' in text or _is_spaced(text, separator))
    old_lines = "\n" not in text and "\r" in text
    counted = _Counted(_whole_lines(text, whole=whole))
    rows: list[tuple[list[str], int]] = []
    for row in _records(counted, separator, quoted=quoted, spaced=spaced):
        if any(field.strip() for field in row):
            rows.append((row, counted.count))
        if len(rows) == _ROWS:
            break
    first, end = rows[0]
    blank, end = comments + end - _height(first, quoted=quoted), comments + end
    if names:
        if len(names) != len(first):
            fault = f"its rows have {len(first)} columns, and names has {len(names)}: {', '.join(names)}"
            raise SchemaError(path.name, [fault])
        if len(set(names)) < len(names):
            raise SchemaError(path.name, [f"names has one name more than once: {', '.join(names)}"])
        written = [name.strip() for name in first]
        # Names stand in the file all the same: those that were given take their place.
        header = written == list(names) or (known is not None and all(map(known, written)))
        return Dialect(separator, quoted, tuple(names), header, end if header else blank, spaced, old_lines)
    if known is not None and not _is_header(first, [row for row, _ in rows[1:]], known):
        numbered = tuple(f"column_{at}" for at in range(1, len(first) + 1))
        return Dialect(separator, quoted, numbered, False, blank, spaced, old_lines)
    return Dialect(separator, quoted, _distinct(first), True, end, spaced, old_lines)


def records(path: Path, dialect: Dialect) -> Iterator[tuple[list[str], int, bool]]:
    """Yield the rows of a file one by one, slowly and exactly: the fields, the row's first line, and if it is whole.

    A row is not whole where a quote is opened in it and never closed.

    Raises
    ------
    ReaderError
        The file is not UTF-8.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as stream:
            for _ in range(dialect.skip):
                stream.readline()
            counted = _Counted(stream)
            for row in _records(counted, dialect.separator, quoted=dialect.quoted, spaced=dialect.spaced):
                text, start = counted.taken()
                open_quote = dialect.quoted and "\n" in text.rstrip("\r\n") and text.count('"') % 2 == 1
                yield row, dialect.skip + start, not open_quote
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path.name)) from error


def not_utf8(path: Path | str) -> str:
    """Say that a file is in another encoding, and what to do."""
    return f"'{path}' is not UTF-8 text; convert it first, such as with: iconv -f LATIN1 -t UTF-8"


class _Counted(Iterator[str]):
    """Lines on their way into a CSV reader, counted."""

    def __init__(self, lines: Sequence[str] | io.TextIOBase) -> None:
        self._lines = iter(lines)
        self._taken: list[str] = []
        self.count = 0

    def __next__(self) -> str:
        line = next(self._lines)
        self.count += 1
        self._taken.append(line)
        return line

    def taken(self) -> tuple[str, int]:
        """Return the lines since the last call as one text, and the number of the first of them."""
        text, start = "".join(self._taken), self.count - len(self._taken) + 1
        self._taken.clear()
        return text, start


def _records(lines: Iterator[str], separator: str, *, quoted: bool, spaced: bool = False) -> Iterator[list[str]]:
    if not quoted or len(separator) > 1:
        for line in lines:
            text = line.rstrip("\r\n")
            yield text.split(separator) if text else []
        return
    csv.field_size_limit(1 << 30)
    yield from csv.reader(lines, delimiter=separator, skipinitialspace=spaced)


def _beginning(path: Path) -> tuple[str, bool]:
    """Return the text that a file starts with, and whether that is all of it."""
    try:
        with path.open("rb") as stream:
            start = stream.read(_SAMPLE)
            whole = not stream.read(1)
    except OSError as error:
        raise ReaderError(f"'{path}': {error.strerror}") from error
    try:
        text = codecs.getincrementaldecoder("utf-8-sig")().decode(start, final=whole)
    except UnicodeDecodeError as error:
        raise ReaderError(not_utf8(path.name)) from error
    if "\0" in text:
        raise ReaderError(not_utf8(path.name))
    if not text.strip():
        raise ReaderError(f"'{path.name}' is empty: it has no header line")
    return text, whole


def _without_comments(text: str) -> tuple[int, str]:
    """Return how many lines before the first row start with ``#``, and the text behind them."""
    lines = list(io.StringIO(text, newline=""))
    comments = 0
    # A header may start with the mark as well: it is followed by separators.
    while (
        comments < len(lines) - 1 and lines[comments].startswith("#") and not re.match(r"#\S+[,;\t|]", lines[comments])
    ):
        comments += 1
    return comments, "".join(lines[comments:])


def _is_spaced(text: str, separator: str) -> bool:
    """Whether a space stands behind every separator of the first line that has one."""
    line = next((line for line in text.splitlines() if separator in line), "")
    return separator != " " and all(field.startswith(" ") for field in line.split(separator)[1:])


def _whole_lines(text: str, *, whole: bool) -> list[str]:
    """Return the lines of a file's beginning, without the last where it is cut off."""
    lines = list(io.StringIO(text, newline=""))
    return lines if whole or len(lines) < 2 else lines[:-1]


def _separator(text: str, *, whole: bool) -> str:
    """Return the separator that cuts the most rows into as many fields as the first."""
    lines = _whole_lines(text, whole=whole)
    best, found = 0.0, ""
    for separator in SEPARATORS:
        quoted = len(separator) == 1
        rows = [row for row in _records(iter(lines[:_ROWS]), separator, quoted=quoted) if any(map(str.strip, row))]
        width = len(rows[0]) if rows else 0
        share = sum(len(row) == width for row in rows) / len(rows) if width > 1 else 0.0
        # Words have spaces between them: only a file without any exception is one of fields.
        if share > best and (separator != " " or (share == 1 and found == "")):
            best, found = share, separator
    return found or ","


def _is_quoted(text: str, separator: str) -> bool:
    """Whether quotes are marks around fields; in files that are not of commas they are often a part of the text."""
    if len(separator) > 1:
        return False
    if separator in ",;":
        return True
    fields = [field.strip() for line in text.splitlines() for field in line.split(separator)]
    enclosed = sum(len(field) > 1 and field[0] == field[-1] == '"' for field in fields)
    return enclosed > 0 and enclosed >= sum('"' in field for field in fields) / 2


def _height(row: Sequence[str], *, quoted: bool) -> int:
    """How many lines a row takes."""
    return 1 + sum(field.count("\n") for field in row) if quoted else 1


def _is_header(first: Sequence[str], others: Sequence[Sequence[str]], known: Callable[[str], bool]) -> bool:
    names = [name.strip() for name in first]
    if any(map(known, names)):
        return True
    # What pandas writes of a table without names.
    if names == [str(at) for at in range(len(names))] and len(names) > 1:
        return True
    if any(map(_is_value, names)):
        return False
    return any(_is_value(field) for row in others for field in row)


def _is_value(field: str) -> bool:
    """Whether a field is a number or a date, which names are not."""
    text = field.strip()
    return text[:1].isdigit() or (text[1:2].isdigit() and text[0] in "+-.")


def _distinct(row: Sequence[str]) -> tuple[str, ...]:
    names: list[str] = []
    for at, field in enumerate(row, start=1):
        name = " ".join(field.split()) or f"column_{at}"
        while name in names:
            name = f"{name}_{at}"
        names.append(name)
    return tuple(names)
