"""Every combination."""

from __future__ import annotations

import bisect
import itertools
import math
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from foveate.core.errors import ConfigError
from foveate_tune.objective import Objective
from foveate_tune.searchers.base import Proposals, SearcherConfig
from foveate_tune.space import Draw, SearchSpace, listed


class Grid:
    """The combinations of a space by their number, none of which is made before it is asked for."""

    def __init__(self, space: SearchSpace) -> None:
        self._names = space.combinations()
        self._values: list[dict[str, Sequence[Any]]] = [
            {path: listed(domain) for path, domain in space.domains(names).items()} for names in self._names
        ]
        sizes = [math.prod(map(len, values.values())) for values in self._values]
        self._ends = list(itertools.accumulate(sizes))

    def __len__(self) -> int:
        return self._ends[-1]

    def __getitem__(self, place: int) -> Draw:
        """Return a combination; the last setting changes the fastest."""
        turn = bisect.bisect_right(self._ends, place)
        rest = place - (self._ends[turn - 1] if turn else 0)
        settings: Draw = {}
        for path, values in reversed(self._values[turn].items()):
            rest, index = divmod(rest, len(values))
            settings[path] = values[index]
        return {**self._names[turn], **dict(reversed(settings.items()))}

    def place(self, draw: Draw) -> int | None:
        """Return the number of a combination, None where it is none of them."""
        names = {path: draw.get(path) for path in self._names[0]}
        if names not in self._names:
            return None
        turn = self._names.index(names)
        place = 0
        for path, values in self._values[turn].items():
            if draw.get(path) not in values:
                return None
            place = place * len(values) + values.index(draw[path])
        return place + (self._ends[turn - 1] if turn else 0)


class GridProposals(Proposals):
    """A grid in order, the starting settings first if they lie on it; where fewer are tried, as many by lot."""

    def __init__(self, space: SearchSpace, trials: int, seed: int, first: Draw | None) -> None:
        self._grid = Grid(space)
        super().__init__(min(trials, len(self._grid)))
        start = self._grid.place(first) if first is not None else None
        self._order = _order(len(self._grid), self.count, seed, start)

    @property
    def note(self) -> str:
        """How many of how many are tried."""
        return f"grid: {self.count:,} of {len(self._grid):,} combinations are tried"

    def proposal(self, number: int, trial_id: str = "") -> Draw:
        """Return the combination of a number."""
        del trial_id
        return self._grid[self._order[number]]

    def foreseen(self) -> Iterator[Draw]:
        """Yield every proposal."""
        return map(self.proposal, range(self.count))


def _order(size: int, count: int, seed: int, start: int | None) -> list[int]:
    by_lot = list(range(size)) if count == size else random.Random(seed).sample(range(size), count)
    first = [] if start is None else [start]
    return [*first, *(place for place in by_lot if place != start)][:count]


@dataclass(frozen=True)
class GridSearcher(SearcherConfig):
    """Tries every combination of lists and integers, ``trials`` of them at most."""

    name = "grid"

    def build(
        self, space: SearchSpace, trials: int, seed: int, first: Draw | None, objectives: Sequence[Objective]
    ) -> Proposals:
        """Make the searcher.

        Raises
        ------
        ConfigError
            A domain is a range of floats, which has no end of values.
        """
        del objectives
        for path, domain in space.endless().items():
            raise ConfigError(
                f"search.searcher=grid takes lists, but '{path}' is {domain}: write search.settings.{path}=[...], or "
                "take search.searcher=random"
            )
        return GridProposals(space, trials, seed, first)
