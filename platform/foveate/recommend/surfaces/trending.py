"""Surface: trending videos."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

from foveate.core.errors import RequestError
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import FAVOURITES, Surface


@dataclass(frozen=True)
class Trending(Surface):
    """What everyone watches, lately where the recipe has a source for that, without what the viewer has seen."""

    name: ClassVar[str] = "trending"
    ranked: ClassVar[bool] = False
    diversified: ClassVar[bool] = False

    def offers(self, recipe: Recipe) -> Mapping[str, int]:
        """Return the most timely of the sources that say what everyone watches."""
        named = [type(source).name for source in recipe.sources]
        for name in FAVOURITES:
            if name in named:
                return {name: recipe.candidates}
        raise RequestError(f"this bundle does not know what is trending: train one with {' or '.join(FAVOURITES)}")
