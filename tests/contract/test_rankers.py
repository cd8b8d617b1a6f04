"""Every ranker of the registry: it learns, repeats, survives being written, and scores rows one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.core.messages import Candidates, FeatureMatrix
from foveate.features.candidate import candidate_columns, candidate_values
from foveate.ranking.base import LabelDraw, Ranker, RankerConfig, TrainingSet, best_first, column, score_each
from foveate.ranking.blend import ZScoreBlend
from foveate.ranking.boosted import BoostedRanker, Boosting
from foveate.ranking.growing import Rows, grow
from foveate.ranking.lambdarank import LambdaRank, levels_of
from foveate.ranking.trees import Trees

NAMES = list(RankerConfig.variants)
GROWN = [name for name, cls in RankerConfig.variants.items() if issubclass(cls, Boosting)]
COLUMNS = candidate_columns(("good", "noise"))


def config_of(name: str) -> RankerConfig:
    grown = issubclass(RankerConfig.variants[name], Boosting)
    small = {"trees": 20, "members": 2, "min_rows": 5, "threads": 1} if grown else {}
    return from_dict(RankerConfig, {"name": name, **small})


def matrix_of(scores_NS: np.ndarray) -> FeatureMatrix:
    n = len(scores_NS)
    offered = np.ones(scores_NS.shape, dtype=bool)
    items, nothing = np.arange(n, dtype=np.int32), np.empty((n, 0), dtype=np.float32)
    candidates = Candidates(items, ("good", "noise"), scores_NS.astype(np.float32), offered, (), nothing)
    return FeatureMatrix(COLUMNS, "schema", candidate_values(candidates))


@pytest.fixture(scope="module")
def training() -> TrainingSet:
    """200 queries of 12 candidates; the one label is the candidate that the first source puts highest."""
    rng = np.random.default_rng(0)
    matrices, labels = [], []
    for _ in range(200):
        scores = rng.normal(size=(12, 2))
        matrices.append(matrix_of(scores).values)
        labels.append((np.arange(12) == scores[:, 0].argmax()).astype(np.float32))
    return training_of(np.concatenate(matrices), {"liked": np.concatenate(labels)}, {"liked": 1.0})


def training_of(values: np.ndarray, signals: dict[str, np.ndarray], weights: dict[str, float]) -> TrainingSet:
    """Queries of 12 candidates each."""
    queries = len(values) // 12
    return TrainingSet(
        features=FeatureMatrix(COLUMNS, "schema", values),
        labels=sum(weights[name] * own for name, own in signals.items()).astype(np.float32),
        groups=np.full(queries, 12),
        windows=np.zeros(queries, dtype=np.int64),
        signals=signals,
        weights=weights,
    )


@pytest.fixture(scope="module", params=NAMES)
def fitted(request: pytest.FixtureRequest, training: TrainingSet) -> tuple[RankerConfig, Ranker]:
    config = config_of(request.param)
    return config, config.fit(training, 7)


@pytest.fixture(scope="module")
def unseen() -> FeatureMatrix:
    return matrix_of(np.random.default_rng(1).normal(size=(40, 2)))


def test_it_puts_the_likely_label_high(fitted: tuple[RankerConfig, Ranker]) -> None:
    ranks = []
    for seed in range(100, 150):
        scores = np.random.default_rng(seed).normal(size=(12, 2))
        order = best_first(fitted[1].score(matrix_of(scores)), np.arange(12, dtype=np.int32))
        ranks.append(int(np.flatnonzero(order == scores[:, 0].argmax())[0]))
    # One that knows nothing has a mean of 5.5; a blend that learns nothing gives the noise an equal say.
    assert np.mean(ranks) < (3.0 if isinstance(fitted[0], ZScoreBlend) else 1.0)


def test_a_row_scores_the_same_alone(fitted: tuple[RankerConfig, Ranker], unseen: FeatureMatrix) -> None:
    together = fitted[1].score(unseen)
    alone = [fitted[1].score(FeatureMatrix(unseen.names, "schema", unseen.values[i : i + 1]))[0] for i in range(40)]
    assert together.dtype == np.float32
    np.testing.assert_array_equal(together, np.array(alone))


def test_queries_scored_together_score_as_alone(fitted: tuple[RankerConfig, Ranker], unseen: FeatureMatrix) -> None:
    _, ranker = fitted
    parts = [replace(unseen, values=unseen.values[rows]) for rows in (slice(0, 3), slice(3, 3), slice(3, None))]
    together = score_each(ranker, parts)
    assert [len(scores) for scores in together] == [len(part.values) for part in parts]
    np.testing.assert_array_equal(np.concatenate(together), ranker.score(unseen))
    assert score_each(ranker, []) == []


def test_it_is_the_same_after_it_was_written(fitted: tuple[RankerConfig, Ranker], unseen: FeatureMatrix) -> None:
    config, ranker = fitted
    texts = {name: text.encode().decode() for name, text in ranker.texts().items()}
    again = from_dict(RankerConfig, to_dict(config)).restore(texts)
    np.testing.assert_array_equal(again.score(unseen), ranker.score(unseen))


def test_the_same_seed_gives_the_same_ranker(fitted: tuple[RankerConfig, Ranker], training: TrainingSet) -> None:
    config, ranker = fitted
    assert dict(config.fit(training, 7).texts()) == dict(ranker.texts())


def test_no_candidates_get_no_scores(fitted: tuple[RankerConfig, Ranker]) -> None:
    assert fitted[1].score(FeatureMatrix(COLUMNS, "schema", np.empty((0, len(COLUMNS)), np.float32))).shape == (0,)


def test_other_columns_are_refused(fitted: tuple[RankerConfig, Ranker]) -> None:
    with pytest.raises(ConfigError, match="column"):
        fitted[1].score(FeatureMatrix(("a", "b"), "other", np.zeros((3, 2), np.float32)))


@pytest.mark.parametrize("name", [name for name in NAMES if name != "z_score"])
def test_nothing_to_learn_from_is_said(name: str, training: TrainingSet) -> None:
    for labels in (np.zeros_like(training.labels), -training.labels):
        with pytest.raises(TrainingError, match="no candidate"):
            config_of(name).fit(replace(training, labels=labels, signals={"liked": labels}), 0)


@pytest.fixture(scope="module")
def graded() -> TrainingSet:
    """200 queries of 12: the first source's best is watched and liked, its next half watched, its last hidden."""
    rng = np.random.default_rng(2)
    matrices, rows = [], {name: [] for name in ("watch", "like", "hide")}
    for _ in range(200):
        scores = rng.normal(size=(12, 2))
        rank = (-scores[:, 0]).argsort().argsort()
        matrices.append(matrix_of(scores).values)
        rows["watch"].append(np.select([rank == 0, rank == 1], [0.9, 0.4], 0.0))
        rows["like"].append((rank == 0) * 1.0)
        rows["hide"].append((rank == 11) * 1.0)
    signals = {name: np.concatenate(own).astype(np.float32) for name, own in rows.items()}
    return training_of(np.concatenate(matrices), signals, {"watch": 1.0, "like": 2.0, "hide": -4.0})


@pytest.mark.parametrize("name", [name for name in NAMES if name != "z_score"])
def test_graded_labels_are_learned(name: str, graded: TrainingSet) -> None:
    ranker = config_of(name).fit(graded, 0)
    scores = ranker.score(graded.features).reshape(-1, 12)
    labels = graded.labels.reshape(-1, 12)
    best, watched, nothing = (scores[np.isclose(labels, value)].mean() for value in (2.9, 0.4, 0.0))
    assert best > watched > nothing
    assert scores[labels < 0].mean() < nothing
    again = config_of(name).restore(ranker.texts())
    np.testing.assert_array_equal(again.score(graded.features), ranker.score(graded.features))


def test_what_is_hidden_is_held_against_a_candidate(graded: TrainingSet) -> None:
    """Two candidates that are else alike: where hides are weighed, the one that gets them falls."""
    plain = replace(graded, signals={**graded.signals, "hide": np.zeros_like(graded.labels)})
    lowest = graded.signals["hide"] > 0
    apart = []
    for training in (graded, plain):
        scores = config_of("multi_label").fit(training, 0).score(graded.features)
        apart.append((scores[graded.labels == 0].mean() - scores[lowest].mean()) / scores.std())
    assert apart[0] > apart[1]


def test_labels_become_whole_numbers_with_their_gains() -> None:
    levels, gains = levels_of(np.array([0, 1, 0, 2.5, -4], dtype=np.float32))
    assert levels.tolist() == [1, 2, 1, 3, 0]
    assert gains.tolist() == [0.0, 4.0, 5.0, 6.5]
    fine = np.append(np.random.default_rng(0).uniform(-1, 3, 5000), 0.0).astype(np.float32)
    levels, gains = levels_of(fine)
    assert len(gains) <= 102
    np.testing.assert_allclose(gains[levels] + fine.min(), fine, atol=0.04)
    assert gains[levels[-1]] + np.rint(fine.min() / 0.04) * 0.04 == pytest.approx(0, abs=0.04)


@pytest.mark.parametrize("name", GROWN)
def test_another_seed_grows_other_trees(name: str, training: TrainingSet) -> None:
    config = config_of(name)
    assert dict(config.fit(training, 1).texts()) != dict(config.fit(training, 2).texts())


def test_trees_can_start_from_the_blend(training: TrainingSet, unseen: FeatureMatrix) -> None:
    settings = {"name": "lambdarank", "trees": 1, "learning_rate": 1e-9, "blend_weight": 2.0, "threads": 1}
    ranker = from_dict(RankerConfig, settings).fit(training, 0)
    np.testing.assert_allclose(ranker.score(unseen), 2.0 * column(unseen, "blend"), atol=1e-5)


def test_a_score_that_is_not_finite_sinks() -> None:
    scores = np.array([np.nan, -5.0, np.inf, 3.0, -np.inf, 3.0], dtype=np.float32)
    order = best_first(scores, np.array([9, 8, 7, 6, 5, 4], dtype=np.int32))
    assert order[:3].tolist() == [5, 3, 1]
    # The rest tie, and ties go by code.
    assert order[3:].tolist() == [4, 2, 0]


def test_a_source_that_fails_for_an_item_puts_it_last() -> None:
    features = matrix_of(np.array([[1.0, 0.0], [np.nan, 5.0], [3.0, 1.0], [np.inf, 2.0]]))
    assert np.isfinite(features.values).all()
    rank = column(features, "rank.good")
    assert rank.argmin() == 2
    assert rank[0] == rank[1] == rank[3] == rank.max()
    assert column(features, "z.good").argmax() == 2


def test_a_source_that_ties_all_says_nothing() -> None:
    features = matrix_of(np.array([[0.1, 1.0], [0.1, 2.0], [0.1, 3.0]]))
    assert (column(features, "z.good") == 0).all()
    np.testing.assert_allclose(column(features, "rank.good"), np.log1p(1.0), rtol=1e-6)


@pytest.mark.parametrize("settings", [{"trees": 0}, {"column_share": 0.0}, {"leaves": 1}, {"row_share": 1.5}])
def test_impossible_settings_are_refused(settings: dict[str, float]) -> None:
    with pytest.raises(ConfigError):
        from_dict(RankerConfig, {"name": "lambdarank", **settings})


def test_a_draw_of_nobody_is_refused() -> None:
    with pytest.raises(ConfigError, match="queries"):
        from_dict(LabelDraw, {"queries": 0})


def test_contributions_add_up_to_the_score(fitted: tuple[RankerConfig, Ranker], unseen: FeatureMatrix) -> None:
    _, ranker = fitted
    told = ranker.contributions(unseen)
    assert told.shape == (len(unseen.values), len(unseen.names) + 1)
    np.testing.assert_allclose(told.sum(axis=1), ranker.score(unseen), atol=1e-4)
    assert np.ptp(told[:, -1]) < 1e-9, "what every score starts from is one number"
    none = replace(unseen, values=unseen.values[:0])
    assert ranker.contributions(none).shape == (0, len(unseen.names) + 1)


def test_contributions_hold_the_blend_that_trees_start_from(training: TrainingSet, unseen: FeatureMatrix) -> None:
    config = from_dict(RankerConfig, {"name": "lambdarank", "trees": 5, "members": 2, "min_rows": 5, "blend_weight": 2})
    ranker = config.fit(training, 0)
    np.testing.assert_allclose(ranker.contributions(unseen).sum(axis=1), ranker.score(unseen), atol=1e-4)


@pytest.mark.parametrize("leaves", [2, 15, 31, 40])
def test_trees_read_by_bits_come_to_the_leaves_that_lightgbm_walks_to(leaves: int) -> None:
    """Values lie at thresholds, between them and beyond; trees of more than 32 leaves are left to LightGBM."""
    rng = np.random.default_rng(leaves)
    names = (*(f"f{column}" for column in range(5)), "blend")
    values = rng.normal(size=(600, 6)).round(1).astype(np.float32)
    values[:, 5] = 1.5
    labels = (values[:, 0] + values[:, 1] * values[:, 2] + rng.normal(size=600) > 0.5).astype(np.float32)
    training = TrainingSet(
        FeatureMatrix(names, "schema", values), labels, np.full(60, 10), np.zeros(60, dtype=np.int64)
    )
    config = LambdaRank(trees=25, leaves=leaves, members=2, min_rows=3, l2=0.1)
    ranker = config.fit(training, 0)
    assert isinstance(ranker, BoostedRanker)
    assert (Trees.of(ranker.boosters) is None) == (leaves > 32)
    asked = np.concatenate([values, rng.normal(size=(700, 6)).astype(np.float32) * 5, np.zeros((1, 6), np.float32)])
    walked = np.mean([one.predict(asked, raw_score=True) for one in ranker.boosters], axis=0)
    np.testing.assert_allclose(ranker.score(FeatureMatrix(names, "schema", asked)), walked, rtol=1e-6, atol=1e-6)
    asked[3, 2] = np.nan
    walked = np.mean([one.predict(asked, raw_score=True) for one in ranker.boosters], axis=0)
    np.testing.assert_allclose(ranker.score(FeatureMatrix(names, "schema", asked)), walked, rtol=1e-6, atol=1e-6)


def test_more_candidates_than_lambdarank_compares_are_refused_with_the_remedy(training: TrainingSet) -> None:
    n = 10_001
    values = np.zeros((n, len(COLUMNS)), dtype=np.float32)
    labels = (np.arange(n) == 0).astype(np.float32)
    crowded = replace(training, features=replace(training.features, values=values), labels=labels, groups=np.array([n]))
    with pytest.raises(
        TrainingError, match=r"10,001 candidates, and lambdarank compares 10,000 .* label_draw.negatives"
    ):
        config_of("lambdarank").fit(crowded, 0)


def test_as_many_candidates_as_lambdarank_compares_are_taken(training: TrainingSet) -> None:
    n = 10_000
    values = np.random.default_rng(0).normal(size=(n, len(COLUMNS))).astype(np.float32)
    labels = (values[:, 0] > 1).astype(np.float32)
    crowded = replace(training, features=replace(training.features, values=values), labels=labels, groups=np.array([n]))
    found = config_of("lambdarank").fit(crowded, 0).score(crowded.features)
    assert found[labels > 0].mean() > found[labels == 0].mean()


def test_lambdarank_learns_from_the_pairs_that_it_was_told_to(training: TrainingSet) -> None:
    graded = replace(training, labels=training.labels * 3 - 1)
    asked: list[tuple[Rows, Mapping[str, Any]]] = []

    def grower(rows: Rows, members: Sequence[Mapping[str, Any]], *, trees: int, workers: int) -> list[str]:
        asked.extend((rows, one) for one in members)
        return [grow(rows, one, trees).model_to_string() for one in members]

    config = replace(config_of("lambdarank"), truncation=7, workers=1)  # type: ignore[call-arg] # of LambdaRank
    assert isinstance(config, LambdaRank)
    config.fit(graded, 3, grower)
    assert len(asked) == config.members
    for rows, parameters in asked:
        assert (parameters["objective"], parameters["lambdarank_truncation_level"]) == ("lambdarank", 7)
        # Of labels -1 and 2: gains are counted from the lowest.
        assert parameters["label_gain"] == [0.0, 3.0]
        assert rows.labels.tolist() == (training.labels > 0).astype(int).tolist()
    assert len({parameters["seed"] for _, parameters in asked}) == config.members
    with pytest.raises(ConfigError, match=r"ranker\.workers"):
        config.fit(graded, 3)


@pytest.mark.parametrize("name", GROWN)
def test_the_largest_seed_is_taken(name: str, training: TrainingSet) -> None:
    config_of(name).fit(training, 2**31 - 1)
