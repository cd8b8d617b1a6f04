"""Random search."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from foveate_tune.objective import Objective
from foveate_tune.searchers.base import Proposals, SearcherConfig
from foveate_tune.space import Draw, SearchSpace


class RandomProposals(Proposals):
    """The settings that the sweep started from, then draws that depend on seed and number alone."""

    def __init__(self, space: SearchSpace, trials: int, seed: int, first: Draw | None = None) -> None:
        super().__init__(trials)
        self._space = space
        self._seed = seed
        self._first = first

    def proposal(self, number: int, trial_id: str = "") -> Draw:
        """Return the draw of a number."""
        del trial_id
        return self._space.draw_after(self._first, number, self._seed)

    def foreseen(self) -> Iterator[Draw]:
        """Yield every proposal."""
        return map(self.proposal, range(self.count))


@dataclass(frozen=True)
class RandomSearcher(SearcherConfig):
    """Draws every trial by itself, each combination of variants once before any comes again."""

    name = "random"

    def build(
        self, space: SearchSpace, trials: int, seed: int, first: Draw | None, objectives: Sequence[Objective]
    ) -> Proposals:
        """Make the searcher."""
        del objectives
        return RandomProposals(space, trials, seed, first)
