"""Values derived from an immutable object, computed once and kept with it."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

T = TypeVar("T")


class Once:
    """Base of things that keep what others make of them: it lives as long as they do, and no longer."""

    def once(self, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` made when it was first asked for under ``key``."""
        kept: dict[Hashable, T] = self.__dict__.setdefault("_made", {})
        if key not in kept:
            kept[key] = make()
        return kept[key]

    def once_beside(self, other: object, key: Hashable, make: Callable[[], T]) -> T:
        """Return what ``make`` made of this and of ``other`` when it was first asked for; both are kept as long."""
        # That the other is kept beside what is found keeps its id its own.
        _, found = self.once((key, id(other)), lambda: (other, make()))
        return found
