"""Checks that every store makes of an event."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Final

from foveate.core.errors import RequestError
from foveate.data.schema import EVENT_KINDS, RATE, WATCH
from foveate.state.base import ViewerEvent

AHEAD: Final = 86_400_000_000
"""Microseconds by which an event may lie ahead of the store's clock."""
_RANGES: Final = {WATCH: (0.0, 7 * 86_400.0), RATE: (-1_000.0, 1_000.0)}


def check_events(events: Sequence[ViewerEvent], now: int) -> None:
    """Refuse what no viewer can have done, before a store takes a part of it or drops it without a word.

    Parameters
    ----------
    now
        UTC microseconds.

    Raises
    ------
    RequestError
        A kind is unknown, a value is no number or beyond :func:`value_range`, or an event lies more than a day ahead.
    """
    check_kinds(events)
    for event in events:
        least, most = value_range(event.kind)
        # A value that is no number is in no range.
        if not least <= event.value <= most:
            what = f"value {event.value:g} of '{event.kind}' of viewer '{event.user_id}'"
            raise RequestError(f"{what} is not between {least:g} and {most:g}")
        if event.occurred_at is not None and event.occurred_at > now + AHEAD:
            what = f"'{event.kind}' of viewer '{event.user_id}' at {event.occurred_at} (UTC microseconds)"
            raise RequestError(f"{what} lies more than a day ahead: see to the clock that says so")


def clamped(events: Sequence[ViewerEvent], now: int) -> tuple[list[ViewerEvent], int]:
    """Return events as a store takes them, and how many had to be changed for it.

    A value that is too large becomes the largest, or the smallest; a moment ahead by more than a day becomes ``now``.
    A value that is no number, and a watch of less than no time, cannot be mended: the store refuses it.

    Parameters
    ----------
    now
        UTC microseconds.
    """
    taken = [_clamped(event, now) for event in events]
    return taken, sum(one is not event for one, event in zip(taken, events, strict=True))


def _clamped(event: ViewerEvent, now: int) -> ViewerEvent:
    least, most = value_range(event.kind)
    value = event.value if event.value < 0 <= least else max(least, min(event.value, most))
    ahead = event.occurred_at is not None and event.occurred_at > now + AHEAD
    if not ahead and (value == event.value or math.isnan(event.value)):
        return event
    return replace(event, value=value, occurred_at=now if ahead else event.occurred_at)


def value_range(kind: str) -> tuple[float, float]:
    """Return the least and the largest value of a kind of event: seconds, stars, or a count."""
    return _RANGES.get(kind, (-1e6, 1e6))


def check_kinds(events: Sequence[ViewerEvent]) -> None:
    """Refuse events of unknown kinds.

    Raises
    ------
    RequestError
        A kind is not one of :data:`foveate.data.schema.EVENT_KINDS`.
    """
    for event in events:
        if event.kind not in EVENT_KINDS:
            raise RequestError(f"unknown event kind '{event.kind}'. Known: {', '.join(EVENT_KINDS)}.")
