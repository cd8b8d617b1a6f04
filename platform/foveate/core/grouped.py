"""Work that is done for many rows at a time, those of one kind together."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from itertools import islice
from typing import TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


def in_groups(keys: Sequence[K], work: Callable[[K, Sequence[int]], Sequence[T]]) -> list[T]:
    """Do the work of each key's rows together; return one answer a row, in the order of the rows.

    Parameters
    ----------
    keys
        Of each row.
    work
        Given a key and its rows, ascending, returns one answer a row. Keys come in the order of their first rows.
    """
    rows_of: dict[K, list[int]] = {}
    for row, key in enumerate(keys):
        rows_of.setdefault(key, []).append(row)
    answers: dict[int, T] = {}
    for key, rows in rows_of.items():
        answers.update(zip(rows, work(key, rows), strict=True))
    return [answers[row] for row in range(len(keys))]


def in_parts(rows: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield the rows in parts of up to ``most``, in their order."""
    left = iter(rows)
    while part := list(islice(left, most)):
        yield part
