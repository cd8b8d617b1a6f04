"""A viewer's history out of a store's rows, and a store as it was at one version."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from foveate.core.errors import RequestError
from foveate.core.messages import NO_TIME, ViewerHistory
from foveate.state.base import ViewerEvent, ViewerState


def history_of(user_id: str, rows: Sequence[Sequence[object]]) -> ViewerHistory:
    """Put rows of version, item, kind, value and time, in the order of arrival, into a history.

    An event with a time stands at its time; one without stands where it arrived.
    """
    times = np.array([NO_TIME if row[4] is None else row[4] for row in rows], dtype=np.int64)
    place = np.where(times == NO_TIME, np.maximum.accumulate(times), times) if len(times) else times
    order = np.argsort(place, kind="stable")
    return ViewerHistory(
        user_id=user_id,
        item_ids=tuple(str(rows[i][1]) for i in order),
        kinds=tuple(str(rows[i][2]) for i in order),
        values=np.array([rows[i][3] for i in order], dtype=np.float32),
        times=times[order],
        version=int(rows[-1][0]) if rows else 0,  # type: ignore[call-overload] # a version is a whole number
    )


class PinnedState:
    """A store as it was at one version: what a replay reads. It takes no events."""

    def __init__(self, state: ViewerState, version: int) -> None:
        self._state = state
        self._version = version

    def history(self, user_id: str, version: int | None = None) -> ViewerHistory:
        """Return a viewer's events up to the pinned version."""
        return self._state.history(user_id, self._version if version is None else min(version, self._version))

    def histories(self, user_ids: Sequence[str]) -> list[ViewerHistory]:
        """Return several viewers' events up to the pinned version."""
        return [self.history(user_id) for user_id in user_ids]

    def append(self, events: Sequence[ViewerEvent]) -> int:
        """Refuse: the past does not change."""
        raise RequestError(f"a state pinned at version {self._version} takes no events ({len(events)} were given)")
