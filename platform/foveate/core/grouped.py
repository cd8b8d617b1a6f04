"""Work that is done for many rows at a time."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice
from typing import TypeVar

T = TypeVar("T")


def in_parts(rows: Iterable[T], most: int) -> Iterator[list[T]]:
    """Yield the rows in parts of up to ``most``, in their order."""
    left = iter(rows)
    while part := list(islice(left, most)):
        yield part
