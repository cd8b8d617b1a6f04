"""Ray Tune's searcher over a :class:`~foveate_tune.space.SearchSpace`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ray.tune.search import Searcher

from foveate_tune.space import Draw, SearchSpace

NUMBER = "trial"
"""Key of a trial's number in its config: what names its folder and its runs, the same whenever the sweep is run."""


class RandomSearch(Searcher):
    """Tries the settings that the sweep started from, then random draws.

    Parameters
    ----------
    space
        Where to draw from.
    trials
        How many to propose.
    seed
        Of the draws.
    first
        The first proposal; None draws that too.
    """

    def __init__(self, space: SearchSpace, trials: int, seed: int, first: Draw | None = None) -> None:
        super().__init__()
        self._space = space
        self._trials = trials
        self._seed = seed
        self._first = first
        self._next = 0

    def suggest(self, trial_id: str) -> dict[str, Any] | str | None:  # type: ignore[override] # FINISHED is a text
        """Return the next draw with its number, or that there is none left."""
        del trial_id
        if self._next >= self._trials:
            return str(Searcher.FINISHED)
        number = self._next
        self._next += 1
        return {NUMBER: number, **self.proposal(number)}

    def proposal(self, number: int) -> Draw:
        """Return the draw of a number."""
        if self._first is None:
            return self._space.draw(number, self._seed)
        return self._first if number == 0 else self._space.draw(number - 1, self._seed)

    def on_trial_complete(self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False) -> None:
        """Learn nothing: every draw stands by itself."""

    def save(self, checkpoint_path: str) -> None:
        """Write how many were proposed; the draws follow from it."""
        Path(checkpoint_path).write_text(json.dumps({"next": self._next}), encoding="utf-8")

    def restore(self, checkpoint_path: str) -> None:
        """Go on where :meth:`save` was."""
        self._next = int(json.loads(Path(checkpoint_path).read_text(encoding="utf-8"))["next"])


def draw_of(settings: Mapping[str, Any], space: SearchSpace) -> Draw | None:
    """Return the draw that gives the ``settings`` of an ``attention`` source; None if the space lacks its variants."""
    draw: Draw = {}
    for path, names in space.branches.items():
        variant = _at(settings, path)
        name = variant["name"] if isinstance(variant, Mapping) else variant
        if name not in names:
            return None
        draw[path] = name
        own = variant if isinstance(variant, Mapping) else {}
        draw.update({f"{path}.{key}": own[key] for key in names[name] if key in own})
    return draw | {path: _at(settings, path) for path in space.shared}


def _at(settings: Mapping[str, Any], path: str) -> Any:
    node: Any = settings
    for part in path.split("."):
        node = node.get(part) if isinstance(node, Mapping) else None
    return node
