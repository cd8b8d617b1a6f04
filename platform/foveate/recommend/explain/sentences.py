"""The words of explanations."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from textwrap import shorten

from foveate.data.catalog import Catalog

_FILTERS: Mapping[str, str] = {
    "seen": "the viewer has met it already",
    "not_available": "it is not yet available",
    "excluded_item": "the request excludes it",
    "excluded_channel": "the request excludes its channel",
    "language": "its language is not one that the request allows",
    "maturity": "it is not known to be fit for the age that the request sets",
    "region": "it is not known to be allowed in the region of the request",
    "shown_before": "an earlier page has shown it",
    "off_surface": "it does not belong on this surface",
}

_TITLE = 40
"""Letters of a title in a sentence."""


class Names:
    """How the items of a catalogue are called."""

    def __init__(self, catalog: Catalog) -> None:
        self._catalog = catalog
        self._titles = catalog.frame["title"]

    def code(self, item_id: str) -> int:
        """Return the item's code."""
        return self._catalog.items.code(item_id)

    def item_id(self, code: int) -> str:
        """Return the item's id."""
        return self._catalog.items.ids[code]

    def title(self, code: int) -> str | None:
        """Return the item's title, if it has one."""
        title: str | None = self._titles[code]
        return title

    def said(self, code: int) -> str:
        """Return the title, or the id without one, in quotes; a long title is cut."""
        title = self.title(code)
        return f"'{shorten(title, _TITLE, placeholder='…') if title else self.item_id(code)}'"


def why(
    named: Sequence[str],
    *,
    reads: bool,
    cold: bool,
    likes: bool = False,
    rank: int,
    moved_by: Sequence[str],
) -> str:
    """Say in one sentence why an item stands in a slate.

    Parameters
    ----------
    named
        The items of the history that it is attributed to.
    reads
        Whether a source that reads histories offered it.
    cold
        Whether the viewer has no history.
    likes
        Whether the history begins with what the viewer said that they like, which they need not have watched.
    rank, moved_by
        As in :class:`~foveate.recommend.explain.answers.ItemExplanation`.
    """
    moved = f"; moved up from place {rank} by {listed(moved_by)}" if moved_by else ""
    return f"{_because(named, reads=reads, cold=cold, likes=likes)}{moved}."


def _because(named: Sequence[str], *, reads: bool, cold: bool, likes: bool) -> str:
    if named:
        return f"Because you {'like what is like' if likes else 'watched'} {listed(named)}"
    if cold:
        return "Because many watch it, for nothing is known of you yet"
    if reads:
        return "Because it fits your history as a whole, and nothing in it by itself"
    return "Because many watch it, whatever your history"


def shut_out(said: str, by: Sequence[str]) -> str:
    """Say that filters keep an item out."""
    return f"{said} was kept out before any source was asked: {listed([_FILTERS[name] for name in by])}."


def not_retrieved(said: str, ranks: Mapping[str, int], counts: Mapping[str, int]) -> str:
    """Say that no source offered an item: its rank by each, and how many each offers."""
    ranked = [f"{name} puts it at place {rank} and offers {counts[name]}" for name, rank in ranks.items()]
    return f"{said} was not retrieved: {listed(ranked)}."


def ranked_below(said: str, rank: int, candidates: int, size: int) -> str:
    """Say that an item's score was too low."""
    return f"{said} was ranked {rank} of {candidates} candidates, and the slate has {size} places."


def displaced(said: str, rank: int, by: Sequence[str], instead: str | None) -> str:
    """Say that rules or the policy kept an item out."""
    there = f"; {instead} stands in its place" if instead else ""
    return f"{said} was ranked {rank}, but gave way to {listed(by)}{there}."


def shown(said: str, position: int) -> str:
    """Say that an item is there."""
    return f"{said} is in the slate, at place {position + 1}."


def listed(words: Sequence[str]) -> str:
    """Return words as a list in a sentence."""
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}"
