"""The encoder that a second stage is tuned on: whose ``attention`` source it is."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Final

from foveate.bundle import verify
from foveate.core.config import from_dict, load_yaml
from foveate.core.errors import ConfigError
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.storage.folder import Folder
from foveate_tune.results.leaderboard import LEADERBOARD
from foveate_tune.results.pick import read_pick

ENCODER: Final = Attention.name


def with_encoder(place: str | None, recipe: Recipe, data_hash: str, say: Callable[[str], None]) -> Recipe:
    """Return ``recipe`` with the ``attention`` source of another one.

    Parameters
    ----------
    place
        A finished sweep, a bundle or a recipe file; None leaves the recipe its own. Only settings are taken: the
        encoder is trained anew, on no more than a trial may know.
    data_hash
        Of the data that the second stage is tuned on.
    say
        Called with where the settings come from.

    Raises
    ------
    ConfigError
        There is none, or it was chosen on other windows of the log.
    """
    if place is None:
        if attention_of(recipe) is None:
            raise ConfigError(
                f"the recipe has no '{ENCODER}' source: give it one, or name one's sweep by level.encoder"
            )
        return recipe
    other, described, chosen_on = _recipe_at(place)
    source = attention_of(other)
    if source is None:
        raise ConfigError(f"level.encoder '{place}' has no '{ENCODER}' source")
    for name in ("protocol", "split", "signals"):
        if getattr(other, name) != getattr(recipe, name):
            raise ConfigError(
                f"level.encoder '{place}' was chosen with another {name}: set recipe.{name} as it stands there"
            )
    say(f"encoder of {described}{'' if chosen_on in (None, data_hash) else ', which was chosen on other data'}")
    return with_attention(recipe, source)


def attention_of(recipe: Recipe) -> Attention | None:
    """Return the recipe's ``attention`` source."""
    return next((source for source in recipe.sources if isinstance(source, Attention)), None)


def with_attention(recipe: Recipe, attention: Attention) -> Recipe:
    """Return ``recipe`` with its ``attention`` source replaced, or put first where it has none."""
    if attention_of(recipe) is None:
        return dataclasses.replace(recipe, sources=(attention, *recipe.sources))
    sources = (attention if isinstance(source, Attention) else source for source in recipe.sources)
    return dataclasses.replace(recipe, sources=tuple(sources))


def _recipe_at(place: str) -> tuple[Recipe, str, str | None]:
    """Return a recipe, in words where it comes from, and the hash of its data, None where that is not known."""
    if "://" not in place and Path(place).is_file():
        return from_dict(Recipe, load_yaml(Path(place))), f"the recipe '{place}'", None
    folder = Folder.at(place)
    folder.check_there("name a finished sweep, a bundle or a recipe file by level.encoder")
    if folder.holds(LEADERBOARD):
        picked = read_pick(place)
        return picked.recipe, f"{picked.trial} of sweep {picked.sweep_id}", picked.data_hash
    if folder.local is not None and folder.holds("manifest.json"):
        manifest = verify(folder.local)
        return from_dict(Recipe, manifest.recipe), f"bundle {manifest.bundle_id}", manifest.data_hash
    raise ConfigError(f"level.encoder '{place}' is neither a finished sweep, nor a bundle, nor a recipe file")
