"""What a model is asked by time: which targets, in how many windows, and how long after its training.

Shapes: ``B`` queries, ``T`` targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from foveate.core.errors import ConfigError
from foveate.core.messages import Filters, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Events
from foveate.data.queries import query_of
from foveate.data.split import Protocol, Stage, parts_of
from foveate.evaluation.panel import Panel, panel_of

TargetChoice: TypeAlias = Literal["all", "last", "successive"]

_DAY: Final = 24 * 3_600_000_000
FEWEST_PARTS, MOST_PARTS = 4, 10


@dataclass(frozen=True)
class Asking:
    """What is asked under the ``time`` protocol; leave-one-out has one target a viewer, and one window.

    Parameters
    ----------
    targets
        ``all``: everything new that a viewer liked in the window, asked at the cut. ``last``: only the newest of them,
        asked with all that the viewer did before it, in the window too. ``successive``: each of them in turn, with all
        that the viewer did before it. Models are as they were at the cut; only histories go on.
        Source: Gusak et al., Time to Split (RecSys 2025), arXiv 2507.16289, section 3: global temporal split with
        ``all``, ``last`` and ``successive`` targets.
    windows
        How many test windows that follow one another are asked about, each by a model trained up to it; figures are of
        all of them together, and a viewer who asks in several counts as one in the intervals.
        Source: Tashman, Out-of-sample tests of forecasting accuracy (International Journal of Forecasting 16, 2000),
        section 3: rolling origin with an update of the model.
    ageing
        Whether the window is also cut into parts that are asked one by one, with histories that go on and a model that
        does not: days, where it has :data:`FEWEST_PARTS` to :data:`MOST_PARTS` of them, else as many equal parts.
    """

    targets: TargetChoice = "all"
    windows: int = 1
    ageing: bool = False

    def __post_init__(self) -> None:
        if self.windows < 1:
            raise ConfigError(f"windows: 1 or more is expected, got {self.windows}")

    def check(self, protocol: Protocol, *, bundle: bool) -> None:
        """Refuse what a protocol, or a bundle that is trained already, cannot be asked.

        Raises
        ------
        ConfigError
            As said; the message tells the remedy.
        """
        if protocol != "time" and self != Asking():
            raise ConfigError("targets, windows and ageing are of the time protocol: leave them out, or take it alone")
        if bundle and self.windows > 1:
            raise ConfigError("a bundle is trained up to one window: leave windows out, or evaluate a recipe")


def panel_for(asking: Asking, events: Events, stage: Stage, catalog: Catalog) -> Panel:
    """Return the panel of a stage's window.

    Parameters
    ----------
    events
        The log in the stage's codes, the window included.
    """
    if asking.targets == "all":
        return panel_of(stage, catalog)
    users = stage.targets.users()
    starts, ends = stage.targets.offsets[users], stage.targets.offsets[users + 1]
    only_last = asking.targets == "last"
    rows = [
        (user, row)
        for user, start, end in zip(users.tolist(), starts.tolist(), ends.tolist(), strict=True)
        for row in range(end - 1 if only_last else start, end)
    ]
    closed = np.flatnonzero(catalog.forbidden(Filters(), stage.now)).astype(np.int32)
    known = events.take(events.item < len(catalog))
    queries = [_before(known, stage, user, row, closed) for user, row in rows]
    targets = stage.targets.items[[row for _, row in rows]]
    reachable = [
        item < len(catalog) and item not in query.exclude for item, query in zip(targets.tolist(), queries, strict=True)
    ]
    return Panel(queries, np.arange(len(rows) + 1, dtype=np.int64), targets, np.array(reachable, dtype=bool))


def _before(events: Events, stage: Stage, user: int, row: int, closed: NDArray[np.int32]) -> Query:
    """Return the viewer as they stood when they went on to one of the window's targets."""
    offsets, target, moment = events.offsets(), stage.targets.items[row], int(stage.targets.times[row])
    own = np.arange(offsets[user], offsets[user + 1])
    met = own[(events.item[own] == target) & events.positive[own] & (events.time[own] >= stage.now)]
    # An item that the model does not know has no event here: its moment says what came before.
    before = own[own < met[0]] if len(met) else own[events.time[own] < moment]
    # What came of the target before it was liked, such as a click, is the same meeting.
    return query_of(events, before[events.item[before] != target], str(user), closed, moment)


def parts(events: Events, stage: Stage, min_history: int) -> list[Stage]:
    """Cut a stage's window into parts, for a model to be asked at several ages; those without a target are left out.

    Each part's history is all that came before it, the window's earlier parts included: what a viewer met in one of
    these is no target any more.
    """
    days = round((stage.until - stage.now) / _DAY)
    count = min(max(days, FEWEST_PARTS), MOST_PARTS)
    edges = np.linspace(stage.now, stage.until, count + 1).astype(np.int64).tolist()
    return parts_of(events, edges, min_history)


def joined(panels: Sequence[Panel]) -> Panel:
    """Lay panels side by side, as one."""
    counts = np.concatenate([np.diff(panel.offsets) for panel in panels])
    return Panel(
        [query for panel in panels for query in panel.queries],
        np.concatenate([[0], np.cumsum(counts)]).astype(np.int64),
        np.concatenate([panel.targets for panel in panels]),
        np.concatenate([panel.reachable for panel in panels]),
    )


def viewers_of(panel: Panel) -> NDArray[np.int64] | None:
    """``[B]``: a number for whose each query is; None where every viewer asks once."""
    names, own_B = np.unique([query.user_id for query in panel.queries], return_inverse=True)
    return own_B.astype(np.int64) if len(names) < len(panel.queries) else None
