"""Items that came, changed or went while a bundle serves: what a store of them promises.

Every change has a larger version than the one before. An item gets a number once, in the order in which items first
came; the codes of new items follow it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, Protocol, Self

from foveate.core.errors import RequestError
from foveate.data.schema import ITEM_ID

LONGEST_ID: Final = 256


@dataclass(frozen=True, slots=True)
class CatalogItem:
    """What is known of an item: the columns of :data:`foveate.data.schema.ITEMS`. Times are UTC microseconds."""

    item_id: str
    title: str | None = None
    channel_id: str | None = None
    categories: tuple[str, ...] | None = None
    tags: tuple[str, ...] | None = None
    duration_seconds: float | None = None
    published_at: int | None = None
    available_from: int | None = None
    maturity: int | None = None
    language: str | None = None
    regions: tuple[str, ...] | None = None
    safety: float | None = None

    def facts(self) -> dict[str, Any]:
        """Return what is known, without the id."""
        return {name: value for name, value in asdict(self).items() if value is not None and name != ITEM_ID}


@dataclass(frozen=True, slots=True)
class KeptItem:
    """An item as a store holds it.

    Parameters
    ----------
    item_id
        Its id.
    facts
        What :meth:`CatalogItem.facts` returned when it was put; empty where it was only withdrawn.
    number, version
        See above.
    withdrawn
        Whether it is in no slate any more.
    """

    item_id: str
    facts: dict[str, Any]
    number: int
    version: int
    withdrawn: bool


class ItemStore(Protocol):
    """A store of catalogue changes."""

    def __enter__(self) -> Self: ...

    def __exit__(self, *_: object) -> None: ...

    def close(self) -> None:
        """Let go of the store."""
        ...

    def put(self, items: Sequence[CatalogItem]) -> int:
        """Add or replace items, all or none; returns the version that holds them.

        Raises
        ------
        RequestError
            An id is empty or too long.
        StateError
            The store cannot be used.
        """
        ...

    def withdraw(self, item_ids: Sequence[str]) -> int:
        """Withdraw items, all or none; returns the version in which they are gone. Putting one brings it back."""
        ...

    def changes(self, version: int) -> list[KeptItem]:
        """Return the items that changed after a version, in the order of their numbers."""
        ...

    def version(self) -> int:
        """Return the newest version, 0 before there is one."""
        ...


def check_ids(item_ids: Sequence[str]) -> None:
    """Refuse ids that no item can have.

    Raises
    ------
    RequestError
        One is empty, or longer than :data:`LONGEST_ID` characters.
    """
    for item_id in item_ids:
        if not 0 < len(item_id) <= LONGEST_ID:
            raise RequestError(f"the id of an item has 1 to {LONGEST_ID} characters, got {len(item_id)}")
