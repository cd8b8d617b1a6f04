"""Lets viewers live through the days: request after request, all viewers of a crowd side by side.

Shapes: ``B`` viewers of a crowd, ``S`` slots, ``D`` days, ``T`` topics, ``I`` items.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import polars as pl
from numpy.typing import NDArray

from foveate.data.world.audience import Audience, Visits
from foveate.data.world.behaviour import RECENT, Minds, Response, attraction, interest, remember, respond
from foveate.data.world.catalogue import NONE, Catalogue
from foveate.data.world.config import DAY, SECOND, SimulateConfig
from foveate.data.world.draws import Memory
from foveate.data.world.showing import LoggingPolicy, Slots

_CELLS = 64_000_000
"""Viewers times items that are held at once."""
_PAUSE = 600 * SECOND
"""Least time between two sessions."""


def crowds(config: SimulateConfig) -> list[slice]:
    """Cut the viewers into crowds small enough to be held in memory."""
    size = max(1, _CELLS // config.items)
    return [slice(start, min(start + size, config.viewers)) for start in range(0, config.viewers, size)]


@dataclass(frozen=True)
class World:
    """What all crowds share; ``path`` ``[T]`` is the topic that each topic leads on to."""

    config: SimulateConfig
    catalogue: Catalogue
    audience: Audience
    visits: Visits
    path: NDArray[np.int64]


@dataclass(frozen=True)
class Arrivals:
    """``[N]`` who asks for a slate in one round, when, and whether that opens a session."""

    turn: int
    rows: NDArray[np.int64]
    now: NDArray[np.int64]
    opens: NDArray[np.bool_]


class Crowd:
    """Some of the viewers and what happens to them.

    Parameters
    ----------
    world
        Where they live.
    rows
        Which of the audience's viewers.
    tastes
        ``[B, D, T]`` their tastes day by day.
    """

    def __init__(self, world: World, rows: slice, tastes: NDArray[np.float32]) -> None:
        config, visits, audience = world.config, world.visits, world.audience
        self._config, self._catalogue, self._visits, self._path = config, world.catalogue, visits, world.path
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
        self._memory = Memory.blank(n, config.items)

    def live(self, policy: LoggingPolicy, rng: np.random.Generator) -> Iterator[pl.DataFrame]:
        """Yield the shown rows of each round: the first request of every viewer, then the second, and so on."""
        for turn in range(int(self._count[0]) if len(self._count) else 0):
            active = int(np.searchsorted(-self._count, -turn, side="left"))
            arrivals = self._arrive(turn, active, rng)
            if len(arrivals.rows):
                yield self._request(policy, arrivals, rng)

    def _arrive(self, turn: int, active: int, rng: np.random.Generator) -> Arrivals:
        # The log's end cuts off who comes later.
        visit = self._visits.offsets[self._viewer[:active]] + turn
        opens = self._visits.opens_session[visit]
        planned = self._visits.start[visit] + (rng.random(active) * SECOND).astype(np.int64)
        gap = np.where(opens, _PAUSE, (rng.uniform(2.0, 12.0, active) * SECOND).astype(np.int64))
        now = np.where(opens, np.maximum(planned, self._clock[:active] + gap), self._clock[:active] + gap)
        self._clock[:active] = now
        rows = np.flatnonzero(now < self._config.end)
        return Arrivals(turn, rows, now[rows], opens[rows])

    def _request(self, policy: LoggingPolicy, arrivals: Arrivals, rng: np.random.Generator) -> pl.DataFrame:
        rows, now = arrivals.rows, arrivals.now
        self._minds.mood[rows[arrivals.opens]] *= 0.4
        minds = self._minds.at(rows)
        taste = self._tastes[rows, (now - self._config.first) // DAY]
        pool = policy.pool(minds, taste, now, rng)
        parts = attraction(self._catalogue, minds, taste, pool[0])
        slots = policy.fill(pool, parts, memory=self._memory, rows=rows, now=now, rng=rng)
        items = slots.items
        parts = attraction(self._catalogue, minds, taste, items)
        odds = interest(self._config, self._catalogue, minds, parts=parts, items=items, now=now)
        response = respond(self._config, self._catalogue, odds, items=items, now=now, rng=rng)
        self._settle(arrivals, minds, slots, response)
        return self._rows(arrivals, slots, response)

    def _settle(self, arrivals: Arrivals, minds: Minds, slots: Slots, response: Response) -> None:
        rows = arrivals.rows
        mood, awaited = remember(self._catalogue, minds, slots.items, response.long_view, self._path)
        self._minds.mood[rows], self._minds.awaited[rows] = mood, awaited
        viewer, slot = np.nonzero(slots.items >= 0)
        self._memory.show(rows[viewer], slots.items[viewer, slot])
        viewer, slot = np.nonzero(response.clicked)
        self._memory.watch(rows[viewer], slots.items[viewer, slot])
        self._clock[rows] = np.maximum(arrivals.now, response.finished_at.max(axis=1))

    def _rows(self, arrivals: Arrivals, slots: Slots, response: Response) -> pl.DataFrame:
        filled = slots.items >= 0
        wide = filled.shape
        columns = {
            "viewer": np.broadcast_to(self._viewer[arrivals.rows][:, None], wide),
            "turn": np.full(wide, arrivals.turn),
            "position": np.cumsum(filled, axis=1) - 1,
            "item": slots.items,
            "shown_at": np.broadcast_to(arrivals.now[:, None], wide),
            "opens_session": np.broadcast_to(arrivals.opens[:, None], wide),
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
