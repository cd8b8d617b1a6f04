"""The trial of a finished sweep to train: the one that ``foveate train --from SWEEP --pick`` names."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import yaml

from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.recommend.recipe import Recipe
from foveate.storage.folder import Folder, Place
from foveate_tune.results.leaderboard import LEADERBOARD, RECIPE
from foveate_tune.trials.journal import TRIALS

BEST: Final = "best"
KNEE: Final = "knee"
_FACTS = ("foveate", "commit", "data", "seed")
"""What a bundle is told of the sweep that it comes from, beside the settings that were picked."""


@dataclass(frozen=True)
class Pick:
    """What a finished sweep's folder says of one trial, and of the code, data and seed that it comes from."""

    sweep_id: str
    trial: str
    recipe: Recipe
    data_hash: str
    facts: Mapping[str, Any] = field(default_factory=dict)

    @property
    def origin(self) -> dict[str, Any]:
        """What a bundle says of where its settings come from."""
        return {"sweep": self.sweep_id, "trial": self.trial, **self.facts}


def read_pick(sweep: Place, pick: str | None = None) -> Pick:
    """Read a trial of a finished sweep from its folder or address.

    Parameters
    ----------
    sweep
        Folder or address.
    pick
        ``best`` by the first objective; ``knee`` of the Pareto front, which is the best one where there is a single
        objective; or a trial by its name or number. None takes the winner: the knee of several objectives, the best of
        one.

    Raises
    ------
    ConfigError
        The folder is absent or is no finished sweep's, or there is no such trial, or it did not come to figures.
    """
    folder = Folder.at(sweep)
    folder.check_there("make one with 'foveate tune'")
    if not folder.holds(LEADERBOARD):
        raise ConfigError(
            f"'{sweep}' has no winner: no {LEADERBOARD} in it, so no sweep has finished there; "
            "'foveate tune --resume' finishes one that was broken off"
        )
    try:
        board = json.loads(folder.read(LEADERBOARD))
        row = _row(board, pick)
        recipe = from_dict(Recipe, yaml.safe_load((folder / TRIALS / row["trial"]).read(RECIPE)))
        facts = {name: board.get(name) for name in _FACTS} | {"settings": row["settings"]}
        return Pick(str(board["sweep"]), str(row["trial"]), recipe, str(board["data"]["hash"]), facts)
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        raise ConfigError(f"the sweep in '{sweep}' is damaged: {error}") from error


def _row(board: Mapping[str, Any], pick: str | None) -> Mapping[str, Any]:
    rows: Mapping[str, Mapping[str, Any]] = {row["trial"]: row for row in board["rows"]}
    best = board["rows"][0]["trial"]
    named = {BEST: best, KNEE: board.get("knee") or best, None: board["winner"]}
    name = named[pick] if pick in named else _numbered(str(pick))
    if name not in rows:
        names = ", ".join((KNEE, BEST, *sorted(rows)))
        raise ConfigError(f"--pick {pick}: sweep {board['sweep']} has no such trial. Known: {names}.")
    row = rows[name]
    if not row["best_epoch"]:
        why = f": {row['reason']}" if row.get("reason") else ""
        raise ConfigError(f"--pick {pick}: {name} {row['state']}{why}; pick another trial")
    return row


def _numbered(pick: str) -> str:
    return f"trial-{int(pick):03d}" if pick.isascii() and pick.isdigit() else pick
