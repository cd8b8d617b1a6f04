"""Which showing an event answers: by the ids that it names, else by viewer, item and time.

A client knows best. What it names is taken where the store can tell that the viewer was shown the item there, or no
longer has the request to tell by. Of an event that names nothing, the latest showing of the item to the viewer before
it counts, up to a day back; where there is none, one of the minute after it, for clocks of clients run behind.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, TypeVar

from foveate.core.errors import NotFoundError
from foveate.core.messages import NO_TIME
from foveate.state.base import ImpressionStore, KeptEvent, ServedRequest, impression_id, request_of

T = TypeVar("T")

BACK_US: Final = 86_400_000_000
"""Microseconds before an event within which a showing counts."""
BEHIND_US: Final = 60_000_000
"""Microseconds by which a client's clock may run behind."""
_REQUESTS: Final = 50_000
_VIEWERS: Final = 2_000


@dataclass(frozen=True)
class Showing:
    """What is needed of a served request: whose, when (UTC microseconds), and the place of each item."""

    request_id: str
    user_id: str
    shown_at: int
    places: dict[str, int]

    @classmethod
    def of(cls, served: ServedRequest) -> Showing:
        """Take it from a served request."""
        places = {item.item_id: item.position for item in served.slate.items}
        return cls(served.slate.request_id, served.slate.user_id, served.context.now, places)


class Joiner:
    """Finds the showings that events answer, and remembers some of what it has read.

    Parameters
    ----------
    store
        Where what was shown is kept.
    """

    def __init__(self, store: ImpressionStore) -> None:
        self._store = store
        self._requests: OrderedDict[str, Showing | None] = OrderedDict()
        self._viewers: OrderedDict[str, Sequence[Showing]] = OrderedDict()

    def remember(self, served: ServedRequest) -> None:
        """Take note of a request that was read already."""
        _cached(self._requests, served.slate.request_id, lambda _: Showing.of(served), _REQUESTS)

    def join(self, kept: KeptEvent) -> tuple[str | None, str | None]:
        """Return the id of the impression that an event answers and how that is known; None and None without one."""
        event = kept.event
        if event.impression_id is not None:
            showing = self._request(request_of(event.impression_id))
            own = None if showing is None else self._place(showing, event.user_id, event.item_id)
            # What the store no longer has cannot be looked at: who trains from it joins by viewer and item as well.
            known = event.impression_id if showing is None or own == event.impression_id else None
            return known, known and "impression_id"
        if event.request_id is not None:
            showing = self._request(event.request_id)
            known = None if showing is None else self._place(showing, event.user_id, event.item_id)
            return known, known and "request_id"
        moment = kept.received_at if event.occurred_at in (None, NO_TIME) else event.occurred_at
        known = self._by_time(event.user_id, event.item_id, int(moment or 0))
        return known, known and "time"

    def _by_time(self, user_id: str, item_id: str, moment: int) -> str | None:
        shown = [one for one in self._viewer(user_id) if item_id in one.places]
        before = [one for one in shown if moment - BACK_US <= one.shown_at <= moment]
        after = [one for one in shown if moment < one.shown_at <= moment + BEHIND_US]
        found = max(before, key=_moment) if before else min(after, key=_moment) if after else None
        return None if found is None else impression_id(found.request_id, found.places[item_id])

    @staticmethod
    def _place(showing: Showing, user_id: str, item_id: str) -> str | None:
        """Return the impression of an item shown to this viewer, or to an anonymous visitor who logged in since."""
        if showing.user_id not in ("", user_id) or item_id not in showing.places:
            return None
        return impression_id(showing.request_id, showing.places[item_id])

    def _request(self, request_id: str) -> Showing | None:
        return _cached(self._requests, request_id, self._read, _REQUESTS)

    def _viewer(self, user_id: str) -> Sequence[Showing]:
        return _cached(self._viewers, user_id, self._read_viewer, _VIEWERS)

    def _read_viewer(self, user_id: str) -> Sequence[Showing]:
        return [Showing.of(one.served) for one in self._store.shown_to(user_id)]

    def _read(self, request_id: str) -> Showing | None:
        try:
            return Showing.of(self._store.read(request_id))
        except NotFoundError:
            return None


def _moment(showing: Showing) -> tuple[int, str]:
    return showing.shown_at, showing.request_id


def _cached(known: OrderedDict[str, T], name: str, read: Callable[[str], T], most: int) -> T:
    if name not in known:
        known[name] = read(name)
        if len(known) > most:
            known.popitem(last=False)
    return known[name]
