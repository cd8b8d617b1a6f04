"""The seam of searchers."""

from __future__ import annotations

import json
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ray.tune.search import Searcher

from foveate.core.registry import Registry, Variant
from foveate_tune.objective import Objective
from foveate_tune.space import Draw, SearchSpace

NUMBER = "trial"
"""Key of a trial's number in its config: what names its folder and its runs, the same whenever the sweep is run."""


class Proposals(Searcher):
    """Numbered draws: ``{NUMBER: n, **draw}`` for ``n`` from 0, each number once.

    What :meth:`state` returns is all that a searcher has to remember; it is kept as JSON.

    Parameters
    ----------
    count
        How many it proposes.
    """

    def __init__(self, count: int) -> None:
        super().__init__()
        self.count = count
        self.next = 0
        self.held: Callable[[], bool] | None = None
        """Says whether to wait with the next one; None leaves that to Ray Tune, which counts paused trials too."""

    @property
    def note(self) -> str | None:
        """What the user should know of the search before it starts."""
        return None

    @abstractmethod
    def proposal(self, number: int, trial_id: str) -> Draw:
        """Return the draw of the next number."""

    @abstractmethod
    def foreseen(self) -> Iterator[Draw]:
        """Yield draws that are proposed for certain, or are like those that will be: to be checked beforehand."""

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a text
        """Return the next draw with its number, or that there is none left."""
        if self.next >= self.count:
            return str(Searcher.FINISHED)
        if self.held is not None and self.held():
            return None
        number = self.next
        draw = self.proposal(number, trial_id)
        self.next += 1
        return {NUMBER: number, **draw}

    def set_max_concurrency(self, max_concurrent: int) -> bool:
        """Say whether :attr:`held` sees to it that no more run at once."""
        del max_concurrent
        return self.held is not None

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing, where every draw stands by itself."""

    def state(self) -> dict[str, Any]:
        """Return what is to be remembered, as plain values."""
        return {"next": self.next}

    def set_state(self, state: dict[str, Any]) -> None:
        """Go on where :meth:`state` was."""
        self.next = int(state["next"])

    def save(self, checkpoint_path: str) -> None:
        """Write the state."""
        Path(checkpoint_path).write_text(json.dumps(self.state()), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Go on where :meth:`save` was: no number is lost, and none comes twice."""
        self.set_state(json.loads(Path(checkpoint_path).read_text(encoding="utf-8")))


class SearcherConfig(Variant):
    """Base of the searchers' frozen configs; each file of this package that defines one adds a searcher."""

    variants: ClassVar[Registry[SearcherConfig]]
    learns: ClassVar[bool] = False
    """Whether what it proposes depends on what earlier trials came to."""

    def build(
        self, space: SearchSpace, trials: int, seed: int, first: Draw | None, objectives: Sequence[Objective]
    ) -> Proposals:
        """Make the searcher.

        Parameters
        ----------
        space
            Where to draw from.
        trials
            How many to propose, at most.
        seed
            Of the draws.
        first
            The settings that the sweep started from, to be proposed first; None where the space lacks them.
        objectives
            What trials report and the search is for; the first one counts where a searcher knows but one.

        Raises
        ------
        ConfigError
            This searcher cannot search the space.
        """
        raise NotImplementedError


SearcherConfig.variants = Registry("searcher", SearcherConfig, "foveate_tune.searchers")
