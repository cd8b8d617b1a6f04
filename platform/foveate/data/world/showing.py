"""The logging policy: which videos the simulated app considers, and in which slots it shows them.

Shapes: ``B`` viewers, ``P`` items considered, ``S`` slots, ``D`` days, ``I`` items.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from foveate.data.world.behaviour import Attraction, Minds
from foveate.data.world.catalogue import Catalogue
from foveate.data.world.config import DAY, SimulateConfig
from foveate.data.world.draws import GroupedDraw, Memory, draw_columns, draw_unseen

SOURCES = ("sequel", "channel", "topic", "popular", "random")
"""Where an item in a slate came from; slots hold positions in this tuple."""
RANDOM = SOURCES.index("random")
RANDOM_POLICY, RANKED_POLICY = "random_slot", "popular_personal"
_DRAWN = {"channel": 12, "topic": 28, "popular": 12}


@dataclass(frozen=True)
class Slots:
    """``[B, S]`` item codes (``-1`` for an empty slot), positions in :data:`SOURCES`, and propensities (NaN)."""

    items: NDArray[np.int64]
    source: NDArray[np.int8]
    propensity: NDArray[np.float64]


class LoggingPolicy:
    """Ranks a pool by popularity, a guess at the viewer's interest, and noise; some slots are random."""

    def __init__(self, config: SimulateConfig, catalogue: Catalogue) -> None:
        self._config = config
        self._catalogue = catalogue
        weights = catalogue.popularity(config)
        self._push = np.log(weights + 1e-9).astype(np.float32)
        n_topics = catalogue.topics.shape[1]
        self._popular = GroupedDraw(weights, np.zeros(len(catalogue), dtype=np.int64), 1)
        self._topic = GroupedDraw(weights, catalogue.main_topic, n_topics)
        self._channel = GroupedDraw(weights, catalogue.channel, int(catalogue.channel.max()) + 1)
        self._by_availability = np.argsort(catalogue.available, kind="stable")
        self._available_sorted = catalogue.available[self._by_availability]

    def pool(
        self, minds: Minds, taste: NDArray[np.float32], now: NDArray[np.int64], rng: np.random.Generator
    ) -> tuple[NDArray[np.int64], NDArray[np.int8]]:
        """Return ``[B, P]`` items to weigh (``-1`` for none) and where each came from."""
        day = self._day(now)[:, None]
        favourite = minds.favourites[:, rng.integers(0, minds.favourites.shape[1], _DRAWN["channel"])]
        by_channel = self._channel(day, np.maximum(favourite, 0), rng)
        topic = draw_columns(taste**2 + minds.mood**2, _DRAWN["topic"], rng)
        parts = {
            "sequel": minds.awaited,
            "channel": np.where(favourite >= 0, by_channel, -1),
            "topic": self._topic(day, topic, rng),
            "popular": self._popular(day, np.zeros((len(now), _DRAWN["popular"]), dtype=np.int64), rng),
        }
        source = [np.full(part.shape, SOURCES.index(name), dtype=np.int8) for name, part in parts.items()]
        items = np.concatenate(list(parts.values()), axis=1)
        late = self._catalogue.available[items] > now[:, None]
        return np.where(late, -1, items), np.concatenate(source, axis=1)

    def fill(
        self,
        pool: tuple[NDArray[np.int64], NDArray[np.int8]],
        parts: Attraction,
        *,
        memory: Memory,
        rows: NDArray[np.int64],
        now: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> Slots:
        """Fill slates one slot after the other.

        Parameters
        ----------
        pool, parts
            What :meth:`pool` returned, and how it attracts.
        memory, rows
            What viewers have met, and the ``[B]`` rows of those who ask.
        now
            ``[B]`` UTC microseconds.
        """
        items, source = pool
        n, slots = len(items), self._config.slots
        each = np.arange(n)
        score = self._score(items, parts, memory.tired[rows[:, None], items], now, rng)
        score[(items < 0) | memory.seen[rows[:, None], items]] = -np.inf
        at_random = rng.random((n, slots)) < self._config.random_share
        n_available = np.searchsorted(self._available_sorted, now, side="right")
        out = Slots(np.full((n, slots), -1), np.zeros((n, slots), dtype=np.int8), np.full((n, slots), np.nan))
        for slot in range(slots):
            best = np.argmax(score, axis=1)
            fits = np.isfinite(score[each, best])
            out.items[:, slot] = np.where(fits, items[each, best], -1)
            out.source[:, slot] = source[each, best]
            chance = np.flatnonzero(at_random[:, slot])
            drawn, propensity = draw_unseen(
                memory,
                rows[chance],
                self._by_availability,
                n_available=n_available[chance],
                prefix=out.items[chance, :slot],
                rng=rng,
            )
            out.items[chance, slot], out.propensity[chance, slot] = drawn, propensity
            out.source[chance, slot] = RANDOM
            score[items == out.items[:, slot : slot + 1]] = -np.inf
        return out

    def _score(
        self,
        items: NDArray[np.int64],
        parts: Attraction,
        tired: NDArray[np.uint8],
        now: NDArray[np.int64],
        rng: np.random.Generator,
    ) -> NDArray[np.float32]:
        push = self._push[self._day(now)[:, None], items]
        guess = 2.6 * parts.taste + 2.0 * parts.mood + 2.4 * parts.sequel + 0.8 * parts.favourite
        noise = 0.6 * rng.gumbel(size=items.shape)
        return np.asarray(0.45 * push + guess - 0.5 * tired + noise, dtype=np.float32)

    def _day(self, now: NDArray[np.int64]) -> NDArray[np.int64]:
        return (now - self._config.first) // DAY
