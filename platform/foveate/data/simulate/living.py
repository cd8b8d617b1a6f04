"""Lets viewers live through the days: request after request, all viewers of a crowd side by side.

Shapes: ``B`` viewers of a crowd, ``S`` slots, ``D`` days, ``T`` topics, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.simulate.audience import Audience, Visits
from foveate.data.simulate.behaviour import RECENT, Minds, Response, attraction, interest, remember, respond
from foveate.data.simulate.catalogue import NONE, Catalogue
from foveate.data.simulate.config import DAY, SECOND, SimulateConfig
from foveate.data.simulate.showing import LoggingPolicy, Slots

_CELLS = 64_000_000
"""Viewers times items that are held at once."""
_PAUSE = 600 * SECOND
"""Least time between two sessions."""


def crowds(config: SimulateConfig) -> list[slice]:
    """Cut the viewers into crowds small enough to be held in memory."""
    size = max(1, _CELLS // config.items)
    return [slice(start, min(start + size, config.viewers)) for start in range(0, config.viewers, size)]


class Crowd:
    """Some of the viewers and what happens to them.

    Parameters
    ----------
    rows
        Which of the audience's viewers.
    tastes
        ``[B, D, T]`` their tastes day by day.
    path
        ``[T]`` the topic that each topic leads on to.
    """

    def __init__(
        self,
        config: SimulateConfig,
        catalogue: Catalogue,
        audience: Audience,
        visits: Visits,
        rows: slice,
        tastes: NDArray[np.float32],
        path: NDArray[np.int64],
    ) -> None:
        self._config, self._catalogue, self._path = config, catalogue, path
        self._visits = visits
        count = np.diff(visits.offsets)[rows]
        # The busiest come first, so that those still active in a round are the first so many rows.
        order = np.argsort(-count, kind="stable")
        self._count = count[order]
        self._viewer = np.arange(rows.start, rows.stop)[order]
        self._tastes = tastes[order]
        n = len(order)
        self._minds = Minds(
            mood=np.zeros((n, tastes.shape[2]), dtype=np.float32),
            awaited=np.full((n, RECENT), NONE, dtype=np.int64),
            favourites=audience.favourites[self._viewer],
            length=audience.length[self._viewer],
            language=audience.language[self._viewer],
        )
        self._clock = np.full(n, config.first, dtype=np.int64)
        self._seen = np.zeros((n, config.items), dtype=bool)
        self._tired = np.zeros((n, config.items), dtype=np.uint8)

    def live(self, policy: LoggingPolicy, rng: np.random.Generator) -> Iterator[pl.DataFrame]:
        """Yield the shown rows of each round: the first request of every viewer, then the second, and so on."""
        for turn in range(int(self._count[0]) if len(self._count) else 0):
            active = int(np.searchsorted(-self._count, -turn, side="left"))
            rows, now, opens = self._arrive(turn, active, rng)
            if len(rows):
                yield self._request(policy, turn, rows, now, opens, rng)

    def _arrive(
        self, turn: int, active: int, rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_]]:
        """Return who asks this turn, when, and whether it opens a session; the log's end cuts the rest off."""
        visit = self._visits.offsets[self._viewer[:active]] + turn
        opens = self._visits.opens_session[visit]
        planned = self._visits.start[visit] + (rng.random(active) * SECOND).astype(np.int64)
        gap = np.where(opens, _PAUSE, (rng.uniform(2.0, 12.0, active) * SECOND).astype(np.int64))
        now = np.where(opens, np.maximum(planned, self._clock[:active] + gap), self._clock[:active] + gap)
        self._clock[:active] = now
        rows = np.flatnonzero(now < self._config.end)
        return rows, now[rows], opens[rows]

    def _request(
        self,
        policy: LoggingPolicy,
        turn: int,
        rows: NDArray[np.int64],
        now: NDArray[np.int64],
        opens: NDArray[np.bool_],
        rng: np.random.Generator,
    ) -> pl.DataFrame:
        self._minds.mood[rows[opens]] *= 0.4
        minds = self._minds.at(rows)
        taste = self._tastes[rows, (now - self._config.first) // DAY]
        pool = policy.pool(minds, taste, now, rng)
        parts = attraction(self._catalogue, minds, taste, pool[0])
        slots = policy.fill(pool, parts, self._seen[rows], self._tired[rows], now, rng)
        parts = attraction(self._catalogue, minds, taste, slots.items)
        odds = interest(self._config, self._catalogue, minds, parts, slots.items, now)
        response = respond(self._config, self._catalogue, odds, slots.items, now, rng)
        self._settle(rows, minds, slots, response, now)
        return self._rows(turn, rows, now, opens, slots, response)

    def _settle(
        self, rows: NDArray[np.int64], minds: Minds, slots: Slots, response: Response, now: NDArray[np.int64]
    ) -> None:
        mood, awaited = remember(self._catalogue, minds, slots.items, response.long_view, self._path)
        self._minds.mood[rows], self._minds.awaited[rows] = mood, awaited
        viewer, slot = np.nonzero(slots.items >= 0)
        shown = slots.items[viewer, slot]
        self._tired[rows[viewer], shown] = np.minimum(self._tired[rows[viewer], shown], 200) + 1
        viewer, slot = np.nonzero(response.clicked)
        self._seen[rows[viewer], slots.items[viewer, slot]] = True
        self._clock[rows] = np.maximum(now, response.finished_at.max(axis=1))

    def _rows(
        self,
        turn: int,
        rows: NDArray[np.int64],
        now: NDArray[np.int64],
        opens: NDArray[np.bool_],
        slots: Slots,
        response: Response,
    ) -> pl.DataFrame:
        filled = slots.items >= 0
        wide = filled.shape
        columns = {
            "viewer": np.broadcast_to(self._viewer[rows][:, None], wide),
            "turn": np.full(wide, turn),
            "position": np.cumsum(filled, axis=1) - 1,
            "item": slots.items,
            "shown_at": np.broadcast_to(now[:, None], wide),
            "opens_session": np.broadcast_to(opens[:, None], wide),
            "source": slots.source,
            "propensity": slots.propensity,
            "interest": response.interest,
            "clicked": response.clicked,
            "clicked_at": response.clicked_at,
            "finished_at": response.finished_at,
            "watched": response.watched,
            "long_view": response.long_view,
            "pleased": response.pleased,
        }
        return pl.DataFrame({name: values[filled] for name, values in columns.items()})
