"""What viewers did after a cut: all of it that labels are made from, and not only what counts as interest.

Shapes: ``E`` events.
"""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
from numpy.typing import NDArray

from foveate.core.messages import NO_TIME
from foveate.data.events import Events
from foveate.data.schema import EVENT_KINDS
from foveate.data.split import Stage


def followed(events: Events, stage: Stage, kinds: Collection[str]) -> Events:
    """Return the events of a stage's window that are of these kinds.

    Where the clock is order only, the window is each viewer's next meeting: their neighbouring events on the one item
    that their history ends before.

    Parameters
    ----------
    events
        The whole log that the stage was cut from.
    """
    codes = [EVENT_KINDS.index(kind) for kind in kinds]
    wanted_E = np.isin(events.kind, codes)
    return events.take(wanted_E & (_next_meetings(events, stage) if stage.now == NO_TIME else _between(events, stage)))


def _between(events: Events, stage: Stage) -> NDArray[np.bool_]:
    return (events.time >= stage.now) & (events.time < stage.until)


def _next_meetings(events: Events, stage: Stage) -> NDArray[np.bool_]:
    """``[E]``: the events from the end of a viewer's history on, up to the first on another item."""
    cut_U = events.offsets()[:-1] + np.diff(stage.history.offsets())
    asked_U = np.diff(stage.targets.offsets) > 0
    after_E = asked_U[events.user] & (np.arange(len(events)) >= cut_U[events.user])
    first_U = np.full(events.n_users, -1, dtype=np.int32)
    first_U[asked_U] = events.item[cut_U[asked_U]]
    other_E = after_E & (events.item != first_U[events.user])
    # How many events on another item lie between the cut and each event, itself included.
    since = np.cumsum(other_E)
    before_U = np.concatenate([[0], since])[cut_U]
    met_E: NDArray[np.bool_] = after_E & (since == before_U[events.user])
    return met_E
