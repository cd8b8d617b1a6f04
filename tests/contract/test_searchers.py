"""What every searcher promises, and what each is for."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.retrieval.attention import Attention
from foveate_tune.objective import Objective
from foveate_tune.search import SearchConfig, build_space, draw_of
from foveate_tune.searchers.base import NUMBER, Proposals, SearcherConfig
from foveate_tune.searchers.grid import Grid
from foveate_tune.searchers.optuna import OptunaSearcher
from foveate_tune.space import LOSS, MIXER, VARIANTS, SearchSpace, apply_draw

TRIALS = 14
LISTS: dict[str, Any] = {
    "mixers": ["gated", "filtered", "mean_pool"],
    "scorers": ["dot_product", "multilinear"],
    "losses": ["sampled_softmax", "bce"],
    "settings": {
        "encoder": {"width": [32, 64]},
        "train": {"learning_rate": [0.001, 0.01], "patience": {"int_range": [4, 6]}},
    },
}
QUALITY, COST = Objective("ndcg@10"), Objective("ms", "min")


@pytest.fixture(params=list(SearcherConfig.variants))
def config(request: pytest.FixtureRequest) -> SearcherConfig:
    return SearcherConfig.variants[request.param]()


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return build_space(from_dict(SearchConfig, LISTS))


@pytest.fixture(scope="module")
def source() -> dict[str, Any]:
    started: dict[str, Any] = to_dict(
        from_dict(Attention, {"encoder": {"mixer": "gated", "scorer": "dot_product", "width": 32}})
    )
    return started


@pytest.fixture
def made(config: SearcherConfig, space: SearchSpace, source: dict[str, Any]) -> Proposals:
    return config.build(space, TRIALS, 0, draw_of(source, space), [QUALITY])


def told(number: int) -> dict[str, float]:
    """Reports that prefer odd numbers."""
    return {"ndcg@10": 0.1 * (number % 2) + 0.001 * number, "ms": float(number)}


def proposed(searcher: Proposals, numbers: range) -> list[dict[str, Any]]:
    """Ask for these numbers, two trials at once; every fifth trial breaks."""
    found = []
    for number in numbers:
        suggestion = searcher.suggest(f"t{number}")
        assert isinstance(suggestion, dict)
        found.append(suggestion)
        if number:
            searcher.on_trial_result(f"t{number - 1}", told(number - 1))
            searcher.on_trial_complete(f"t{number - 1}", told(number - 1), error=number % 5 == 0)
    return found


def test_numbers_come_once_each_and_then_it_ends(made: Proposals) -> None:
    found = proposed(made, range(TRIALS))
    assert [one[NUMBER] for one in found] == list(range(TRIALS))
    assert made.suggest("another") == "FINISHED"


def test_the_first_is_what_the_sweep_started_from(made: Proposals, space: SearchSpace, source: dict[str, Any]) -> None:
    [first] = proposed(made, range(1))
    del first[NUMBER]
    assert first == draw_of(source, space)


def test_one_seed_proposes_the_same(config: SearcherConfig, space: SearchSpace) -> None:
    runs = [proposed(config.build(space, TRIALS, seed, None, [QUALITY]), range(TRIALS)) for seed in (1, 1, 2)]
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


def test_a_searcher_goes_on_where_it_was_saved(
    config: SearcherConfig, space: SearchSpace, source: dict[str, Any], tmp_path: Path
) -> None:
    first = draw_of(source, space)
    whole, half, rest = (config.build(space, TRIALS, 0, first, [QUALITY]) for _ in range(3))
    every = proposed(whole, range(TRIALS))
    proposed(half, range(9))
    half.save(str(tmp_path / "state"))
    json.loads((tmp_path / "state").read_text())
    rest.restore(str(tmp_path / "state"))
    assert proposed(rest, range(9, TRIALS)) == every[9:]
    assert rest.suggest("another") == "FINISHED"


def test_every_proposal_can_be_built(made: Proposals, source: dict[str, Any]) -> None:
    for draw in [*proposed(made, range(TRIALS)), *made.foreseen()]:
        own = {path: value for path, value in draw.items() if path != NUMBER}
        settings = apply_draw(own, source, VARIANTS)
        del settings["name"]
        built = from_dict(Attention, settings)
        chosen = (type(built.encoder.mixer).name, type(built.encoder.scorer).name, type(built.train.loss).name)
        assert chosen == tuple(own[path] for path in VARIANTS)


def test_a_variants_settings_are_proposed_only_where_it_was_chosen(made: Proposals, space: SearchSpace) -> None:
    for draw in proposed(made, range(TRIALS)):
        del draw[NUMBER]
        assert set(draw) == set(VARIANTS) | set(space.domains(draw))
        assert (f"{MIXER}.by_channel" in draw) == (draw[MIXER] == "gated")
        assert (f"{LOSS}.log_q" in draw) == (draw[LOSS] == "sampled_softmax")


def test_a_grid_holds_every_combination_once(space: SearchSpace) -> None:
    grid = Grid(space)
    every = [json.dumps(grid[place]) for place in range(len(grid))]
    # Pairs of heads, by_channel and rotary; window and heads; nothing. Nothing; hidden. Loss. Width, rate, patience.
    assert len(set(every)) == len(every) == space.size() == (12 + 9 + 1) * (1 + 3) * (2 * 2 + 2) * 2 * 2 * 3
    assert [grid.place(grid[place]) for place in range(len(grid))] == list(range(len(grid)))


def test_a_small_grid_is_tried_whole_and_a_large_one_in_part() -> None:
    few = build_space(
        from_dict(SearchConfig, {**LISTS, "mixers": ["mean_pool"], "losses": [], "scorers": ["dot_product"]})
    )
    for trials, tried in ((100, 12), (5, 5)):
        made = SearcherConfig.variants["grid"]().build(few, trials, 0, None, [QUALITY])
        assert made.note == f"grid: {tried} of 12 combinations are tried"
        assert len({json.dumps(draw) for draw in made.foreseen()}) == tried == made.count


def test_a_grid_over_a_range_names_the_path_and_the_remedy() -> None:
    endless = build_space(SearchConfig(mixers=("mean_pool",), scorers=("dot_product",)))
    with pytest.raises(ConfigError, match=r"'train\.learning_rate'.*write search\.settings\.train\.learning_rate=\["):
        SearcherConfig.variants["grid"]().build(endless, 4, 0, None, [QUALITY])


def test_optuna_comes_to_prefer_what_does_well(space: SearchSpace) -> None:
    searcher = OptunaSearcher().build(space, 60, 0, None, [QUALITY])
    chosen = []
    for number in range(60):
        draw = searcher.suggest(f"t{number}")
        assert isinstance(draw, dict)
        chosen.append(draw[MIXER])
        searcher.on_trial_complete(f"t{number}", {"ndcg@10": 0.1 if draw[MIXER] == "filtered" else 0.05})
    assert chosen[-30:].count("filtered") > 20


def test_optuna_with_two_objectives_leaves_what_is_worse_in_both(space: SearchSpace) -> None:
    searcher = OptunaSearcher().build(space, 60, 0, None, [QUALITY, COST])
    chosen = []
    for number in range(60):
        draw = searcher.suggest(f"t{number}")
        assert isinstance(draw, dict)
        chosen.append(draw[MIXER])
        good = draw[MIXER] != "mean_pool"
        searcher.on_trial_complete(f"t{number}", {"ndcg@10": 0.1 if good else 0.0, "ms": 1.0 if good else 9.0})
    assert chosen[-30:].count("mean_pool") < 8


def test_optuna_is_told_the_best_report_and_what_went_wrong(space: SearchSpace) -> None:
    searcher = OptunaSearcher().build(space, 4, 0, None, [COST])
    for number in range(4):
        searcher.suggest(f"t{number}")
    for value in (3.0, 2.0, 5.0):
        searcher.on_trial_result("stopped", {"ms": value})
        searcher.on_trial_result("t0", {"ms": value})
    searcher.on_trial_complete("t0", {"ms": 5.0})
    searcher.on_trial_result("t1", {"ms": 0.0, "failure": "the loss is nan"})
    searcher.on_trial_complete("t1", {"ms": 0.0, "failure": "the loss is nan"})
    searcher.on_trial_complete("t2", None, error=True)
    states = [(one["state"], one["values"]) for one in searcher.state()["told"]]
    assert states == [("COMPLETE", [2.0]), ("PRUNED", None), ("FAIL", None), ("RUNNING", None)]


def test_settings_outside_of_their_domain_do_not_trouble_optuna(space: SearchSpace, source: dict[str, Any]) -> None:
    first = {**(draw_of(source, space) or {}), "encoder.width": 48, "train.learning_rate": None}
    searcher = OptunaSearcher().build(space, TRIALS, 0, first, [QUALITY])
    found = proposed(searcher, range(TRIALS))
    assert found[0]["encoder.width"] == 48
    assert {one["encoder.width"] for one in found[1:]} <= {32, 64}
