"""What a sweep may draw: settings of a variant only where that variant was chosen."""

from __future__ import annotations

import pytest

from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.core.config import from_dict
from foveate.core.errors import ConfigError
from foveate.core.space import Choice, IntRange, LogUniform, Uniform
from foveate_tune.config import SweepConfig
from foveate_tune.search import SearchConfig, build_space
from foveate_tune.space import MIXER, SCORER, apply_draw, read_domain

DRAWS = len(MixerConfig.variants) * len(ScorerConfig.variants) + 10


def draws(**search: object) -> list[dict[str, object]]:
    space = build_space(from_dict(SearchConfig, search))
    return [space.draw(index, seed=0) for index in range(DRAWS)]


def test_a_variant_brings_its_own_settings_and_no_others() -> None:
    for draw in draws():
        mixer, scorer = MixerConfig.variants[str(draw[MIXER])], ScorerConfig.variants[str(draw[SCORER])]
        own = {f"{MIXER}.{key}" for key in mixer.search_space()} | {f"{SCORER}.{key}" for key in scorer.search_space()}
        nested = {path for path in draw if path not in own | {MIXER, SCORER}}
        assert own <= set(draw)
        assert not any(path.startswith((f"{MIXER}.", f"{SCORER}.")) for path in nested)
        assert nested == {"encoder.width", "train.learning_rate"}


def test_every_pair_of_variants_comes_up_before_any_comes_up_twice() -> None:
    pairs = [(draw[MIXER], draw[SCORER]) for draw in draws()]
    every = len(MixerConfig.variants) * len(ScorerConfig.variants)
    assert len(set(pairs[:every])) == every


def test_a_draw_depends_on_seed_and_number_alone() -> None:
    space = build_space(SearchConfig())
    assert space.draw(7, seed=1) == space.draw(7, seed=1)
    assert space.draw(7, seed=1) != space.draw(7, seed=2)


def test_names_narrow_the_search() -> None:
    assert {draw[MIXER] for draw in draws(mixers=["gated"])} == {"gated"}


def test_every_draw_builds(small_draw_base: dict[str, object]) -> None:
    for draw in draws():
        settings = apply_draw(draw, small_draw_base, (MIXER, SCORER))
        assert settings["encoder"]["mixer"]["name"] == draw[MIXER]


@pytest.fixture
def small_draw_base() -> dict[str, object]:
    return {"encoder": {"mixer": {"name": "gated", "dropout": 0.5}}, "train": {"epochs": 3}}


def test_a_kept_variant_keeps_what_the_base_says_of_it(small_draw_base: dict[str, object]) -> None:
    kept = apply_draw({MIXER: "gated", f"{MIXER}.heads": 4}, small_draw_base, (MIXER,))
    changed = apply_draw({MIXER: "mean_pool"}, small_draw_base, (MIXER,))
    assert kept["encoder"]["mixer"] == {"name": "gated", "dropout": 0.5, "heads": 4}
    assert changed["encoder"]["mixer"] == {"name": "mean_pool"}
    assert small_draw_base["encoder"] == {"mixer": {"name": "gated", "dropout": 0.5}}


@pytest.mark.parametrize(
    ("written", "domain"),
    [
        ([1, 2], Choice((1, 2))),
        ({"uniform": [0, 1]}, Uniform(0, 1)),
        ({"log_uniform": ["1e-3", 0.1]}, LogUniform(0.001, 0.1)),
        ({"int_range": [1, 4]}, IntRange(1, 4)),
    ],
)
def test_domains_are_read_as_written(written: object, domain: object) -> None:
    assert read_domain(written, "search.settings.x") == domain


@pytest.mark.parametrize(
    "written",
    [
        [],
        {},
        3,
        {"normal": [0, 1]},
        {"uniform": [1, 0]},
        {"log_uniform": [0, 1]},
        {"int_range": [0.5, 2]},
        {"uniform": [1]},
    ],
)
def test_a_domain_that_is_none_is_refused(written: object) -> None:
    with pytest.raises(ConfigError, match=r"search\.settings\.x"):
        read_domain(written, "search.settings.x")


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"trials": 0}, "trials must be 1 or more"),
        ({"gpus": 1.5}, "one GPU or a fraction, got gpus=1.5: set workers"),
        ({"max_seconds": 0}, "max_seconds must be above 0"),
        ({"trials": 2, "trails": 3}, "unknown setting 'trails'"),
        ({"tracking": {"mode": "loud"}}, "tracking.mode"),
        ({"search": {"mixer": ["gated"]}}, "Did you mean 'mixers'"),
    ],
)
def test_a_sweep_config_is_strict(settings: dict[str, object], says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        from_dict(SweepConfig, settings)


def test_an_unknown_mixer_names_the_nearest() -> None:
    with pytest.raises(ConfigError, match="Did you mean 'gated'"):
        build_space(from_dict(SearchConfig, {"mixers": ["gatd"]}))
