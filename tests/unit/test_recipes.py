"""Every recipe under infra/recipes is read by the schema that will read it."""

from __future__ import annotations

from pathlib import Path

import pytest

from foveate.core.config import from_dict, load_yaml, to_dict
from foveate.core.errors import ConfigError
from foveate.features.sets import choose
from foveate.recommend.recipe import Recipe

FOLDER = Path(__file__).resolve().parents[2] / "infra" / "recipes"
FILES = sorted(FOLDER.glob("*.yaml"))


def test_there_is_a_recipe_for_each_published_figure() -> None:
    assert {"ml-100k", "kuairand-pure"} <= {file.stem for file in FILES}


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_is_read_whole(file: Path) -> None:
    recipe = from_dict(Recipe, load_yaml(file))
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    assert choose(recipe.features, recipe.clock)


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_a_recipe_says_how_its_figure_is_made(file: Path) -> None:
    assert f"--config infra/recipes/{file.name}" in file.read_text(encoding="utf-8")


def test_a_source_may_offer_more_or_fewer_than_the_others() -> None:
    recipe = from_dict(Recipe, {"sources": ["popularity", "ease"], "candidates": 50, "offers": {"ease": 20}})
    assert recipe.counts == (50, 20)


@pytest.mark.parametrize(
    ("offers", "says"),
    [
        ({"eese": 20}, "'eese' is not among the sources: popularity, ease"),
        ({"ease": -1}, "0 or more"),
        ({"ease": 0, "popularity": 0}, "one of the sources has to offer something"),
    ],
)
def test_what_no_source_can_offer_is_refused(offers: dict[str, int], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_dict(Recipe, {"sources": ["popularity", "ease"], "offers": offers})
