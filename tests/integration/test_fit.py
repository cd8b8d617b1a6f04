"""A two-stage model from a dataset: no part sees its own labels, and what it serves obeys the request."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from foveate.bundle import Bundle
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import NO_TIME, Filters, Query, ViewerHistory
from foveate.data.dataset import Dataset
from foveate.data.queries import queries_of
from foveate.data.split import Windows, windows
from foveate.features.core import Feature
from foveate.features.sets import FeatureSet
from foveate.ranking.base import column
from foveate.recommend.model import Model
from foveate.recommend.recipe import Recipe
from foveate.training import Fitted, Upto, final_stage, fit, fit_model, ranker_stages

SETTINGS: dict[str, Any] = {
    "sources": ["covisitation", {"name": "attention", "train": {"epochs": 1, "threads": 1}}, "popularity"],
    "candidates": 40,
    "label_windows": 2,
    "ranker": {"name": "lambdarank", "trees": 20, "members": 2, "min_rows": 20, "threads": 1},
}
PLAIN = {**SETTINGS, "sources": ["covisitation", "popularity"]}


def recipe_of(settings: dict[str, Any], **changes: Any) -> Recipe:
    return from_dict(Recipe, {**settings, **changes})


@pytest.fixture(scope="module")
def fitted(small_world: Dataset) -> Fitted:
    return fit(small_world, recipe_of(SETTINGS))


@pytest.fixture(scope="module")
def model(fitted: Fitted) -> Model:
    return fitted.model


@pytest.fixture(scope="module")
def queries(fitted: Fitted) -> list[Query]:
    users = fitted.stage.targets.users()[:12]
    return queries_of(fitted.stage.history, users, fitted.model.catalog, fitted.stage.now)


def cut_of(dataset: Dataset, recipe: Recipe) -> Windows:
    events = dataset.log().encode(
        dataset.users(), dataset.catalog().items, recipe.signals, dataset.manifest.positive_kinds
    )
    return windows(events, recipe.protocol, recipe.split)


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
@pytest.mark.parametrize("upto", ["selection", "test", "all"])
def test_no_label_is_in_what_its_sources_learn_from(small_world: Dataset, protocol: str, upto: Upto) -> None:
    recipe = recipe_of(PLAIN, protocol=protocol, label_windows=3)
    cut = cut_of(small_world, recipe)
    stages = ranker_stages(cut, recipe, upto)
    events = small_world.log().encode(
        small_world.users(), small_world.catalog().items, recipe.signals, small_world.manifest.positive_kinds
    )
    last = final_stage(cut, events, upto)
    assert len(stages) == 3 + {"selection": 0, "test": 1, "all": 2}[upto]
    for stage in stages:
        for user in stage.targets.users():
            met = stage.history.item[stage.history.user == user]
            assert not np.isin(stage.targets.of(int(user)), met).any()
    sizes = [len(stage.history) for stage in (*stages, last)]
    assert sizes == sorted(sizes)
    # What the model must not have seen is no label of the ranker either.
    hidden = {"selection": (cut.selection, cut.test), "test": (cut.test,), "all": ()}[upto]
    for later in hidden:
        for user in later.targets.users():
            labels = [stage.targets.of(int(user)) for stage in stages]
            assert not np.isin(later.targets.of(int(user)), np.concatenate(labels)).any()


def test_one_older_encoder_serves_all_label_windows(fitted: Fitted) -> None:
    labels = [w for name, w in fitted.fits.items() if name != "test"]
    encoders = [next(s for s in w.sources if s.name == "attention") for w in labels]
    others = [next(s for s in w.sources if s.name == "covisitation") for w in labels]
    assert len(labels) == 3
    assert all(encoder is encoders[0] for encoder in encoders)
    assert len({id(other) for other in others}) == 3
    assert min(labels, key=lambda w: len(w.stage.history)).sources[1] is encoders[0]
    assert all(source.name != "attention" or source is not encoders[0] for source in fitted.model.sources)


def test_the_training_set_is_labelled_in_every_query(fitted: Fitted) -> None:
    training = fitted.training
    starts = np.cumsum(training.groups) - training.groups
    assert training.groups.sum() == len(training.labels) == len(training.features.values)
    assert (np.add.reduceat(training.labels.astype(int), starts) >= 1).all()
    assert np.isfinite(training.features.values).all()
    draw = fitted.model.recipe.label_draw
    assert (training.groups - np.add.reduceat(training.labels.astype(int), starts) <= draw.negatives).all()
    assert training.features.schema_hash == fitted.model.features.schema_hash
    assert np.ptp(column(training.features, "item_positives")) > 0


@pytest.mark.parametrize("protocol", ["time", "leave-one-out"])
def test_labels_weigh_what_came_of_a_candidate(small_world: Dataset, protocol: str) -> None:
    weights = {"watch": 1.0, "like": 2.0, "hide": -4.0}
    ranker = {**SETTINGS["ranker"], "name": "multi_label"}
    fitted = fit(small_world, recipe_of(PLAIN, protocol=protocol, labels={"weights": weights}, ranker=ranker))
    training = fitted.training
    assert set(training.signals) == set(weights)
    summed = sum(weight * training.signals[name] for name, weight in weights.items())
    np.testing.assert_allclose(training.labels, summed, atol=1e-6)
    starts = np.cumsum(training.groups) - training.groups
    assert (np.maximum.reduceat(training.labels, starts) > 0).all()
    assert len(np.unique(training.labels)) > 10
    for name, window in fitted.fits.items():
        after = window.stage.after
        assert (after is None) == (name == "test")
        if after is not None and protocol == "time":
            assert ((after.time >= window.stage.now) & (after.time < window.stage.until)).all()
    assert {file.partition("-member")[0] for file in fitted.model.ranker.texts()} >= {"watch", "like"}


@pytest.mark.parametrize("order", ["click_through", "time"])
def test_a_model_lists_candidates_as_its_recipe_orders(small_world: Dataset, tmp_path: Path, order: str) -> None:
    recipe = recipe_of(PLAIN, order=order, policy="relevance", constraints={"max_per_channel": 2})
    fitted = fit(small_world, recipe)
    made = Bundle.save(fitted.model, tmp_path / "bundle", data_hash="none").path
    model, catalog, stage = Bundle.load(made).model, fitted.model.catalog, fitted.stage
    assert (model.click_through is None) == (order == "time")
    history = small_world.log().before(stage.now).frame.filter(pl.col("kind") == "click")
    shown = small_world.impressions.filter(pl.col("shown_at").dt.timestamp("us") < stage.now).collect()
    top = history["item_id"].value_counts(sort=True)["item_id"][0]
    for query in queries_of(stage.history, stage.targets.users()[:5], catalog, stage.now):
        (ranked,) = rank(model, [query])
        items = model.select(ranked, 10, 0).items
        channels = np.bincount(catalog.channel[items][catalog.channel[items] >= 0])
        assert channels.max() <= 2
        key = catalog.published_at if model.click_through is None else model.click_through
        assert (key[items][1:] <= key[items][:-1]).all()
    if model.click_through is not None:
        code = int(catalog.items.encode([top])[0])
        clicks = len(history.filter(pl.col("item_id") == top).unique(["user_id", "item_id"]))
        times = shown.filter(pl.col("item_id") == top).height
        mean = history.unique(["user_id", "item_id"]).height / shown.height
        assert model.click_through[code] == pytest.approx((clicks + 20 * mean) / (times + 20), rel=0.02)


def test_the_same_seed_makes_the_same_model(small_world: Dataset, model: Model, queries: list[Query]) -> None:
    again = fit_model(small_world, recipe_of(SETTINGS))
    assert dict(again.ranker.texts()) == dict(model.ranker.texts())
    for a, b in zip(rank(again, queries), rank(model, queries), strict=True):
        np.testing.assert_array_equal(a.candidates.items, b.candidates.items)
        np.testing.assert_array_equal(a.scores, b.scores)


def test_going_on_from_an_earlier_fit_changes_nothing(small_world: Dataset) -> None:
    recipe = recipe_of(PLAIN)
    first = fit(small_world, recipe, upto="selection")
    on = fit(small_world, recipe, upto="all", after=first)
    anew = fit(small_world, recipe, upto="all")
    np.testing.assert_array_equal(on.training.features.values, anew.training.features.values)
    assert dict(on.model.ranker.texts()) == dict(anew.model.ranker.texts())


def test_a_batch_answers_as_one_by_one(model: Model, queries: list[Query]) -> None:
    for together, query in zip(rank(model, queries), queries, strict=True):
        (alone,) = rank(model, [query])
        np.testing.assert_array_equal(together.candidates.items, alone.candidates.items)
        np.testing.assert_allclose(together.features.values, alone.features.values, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(together.scores, alone.scores, rtol=1e-4, atol=1e-4)
        assert model.select(together, 10, 0).items.tolist() == model.select(alone, 10, 0).items.tolist()


def test_the_seen_the_filtered_and_the_unreleased_are_out_before_the_top(model: Model, small_world: Dataset) -> None:
    catalog, ids = model.catalog, list(model.catalog.items.ids)
    first = int(np.sort(catalog.available_from)[len(ids) // 3])
    now = max(first, small_world.manifest.first or 0)
    channel = catalog.channels.ids[0]
    seen = tuple(ids[5:45])
    history = ViewerHistory("u", seen, ("long_view",) * 40, np.ones(40, np.float32), np.full(40, now - 1))
    filters = Filters(exclude_items=(ids[0], "unheard of"), exclude_channels=(channel,))

    query = model.query(history, filters, now)
    (found,) = model.candidates([query])

    closed = set(query.exclude.tolist())
    assert not closed & set(found.items.tolist())
    assert set(range(5, 45)) | {0} <= closed
    assert (catalog.available_from[found.items] <= now).all()
    assert (catalog.channel[found.items] != catalog.channels.code(channel)).all()
    # The top is filled from what is left: excluding does not shorten it.
    left = len(catalog) - len(closed)
    assert (found.offered.sum(axis=0) == min(model.recipe.candidates, left)).all()


def test_unknown_items_of_a_history_are_left_out(model: Model) -> None:
    known = model.catalog.items.ids[3]
    history = ViewerHistory("u", ("gone", known), ("watch", "like"), np.array([3, 1], np.float32), np.array([1, 2]))
    query = model.query(history, Filters(), NO_TIME)
    assert query.items.tolist() == [3]
    assert query.times.tolist() == [2]
    assert query.values.tolist() == [1.0]


def test_a_stranger_gets_a_slate(model: Model) -> None:
    nothing = ViewerHistory("new", (), (), np.empty(0, np.float32), np.empty(0, np.int64))
    query = model.query(nothing, Filters(), int(model.catalog.available_from.max()) + 1)
    (ranked,) = rank(model, [query])
    assert np.isfinite(ranked.scores).all()
    assert len(model.select(ranked, 5, 0).items) == 5


def test_nothing_left_to_show_is_an_empty_slate(model: Model) -> None:
    everything = Filters(exclude_items=tuple(model.catalog.items.ids))
    nothing = ViewerHistory("new", (), (), np.empty(0, np.float32), np.empty(0, np.int64))
    queries = [model.query(nothing, everything, NO_TIME), model.query(nothing, Filters(), NO_TIME)]
    empty, full = rank(model, queries)
    assert len(empty.scores) == 0 < len(full.scores)
    assert len(model.select(empty, 5, 0).items) == 0
    assert rank(model, []) == []


def test_a_clock_that_is_order_only_reads_no_time(small_world: Dataset) -> None:
    fitted = fit(small_world, recipe_of(PLAIN, protocol="leave-one-out", label_windows=1))
    timed = {c for feature in Feature.variants for c in columns(feature, needs_time=True)}
    assert fitted.model.clock == "order"
    assert fitted.stage.now == NO_TIME
    assert timed
    assert not timed & set(fitted.model.features.names)
    (query,) = queries_of(fitted.stage.history, fitted.stage.targets.users()[:1], fitted.model.catalog, NO_TIME)
    later = replace(query, now=int(small_world.manifest.last or 0), times=query.times + 1)
    np.testing.assert_array_equal(rank(fitted.model, [query])[0].scores, rank(fitted.model, [later])[0].scores)


def test_features_survive_being_stored(model: Model, queries: list[Query]) -> None:
    own = model.features
    names = [feature.name for feature in own.features]
    again = FeatureSet.restore(
        own.sources, own.source_features, names, arrays=own.arrays(), catalog=own.catalog, signals=own.signals
    )
    found = model.candidates(queries)
    assert again.schema_hash == own.schema_hash
    for a, b in zip(again.build(queries, found), own.build(queries, found), strict=True):
        np.testing.assert_array_equal(a.values, b.values)


def test_the_content_of_alike_items_is_alike(model: Model) -> None:
    items = np.arange(len(model.catalog), dtype=np.int32)
    vectors = model.content(items)
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, rtol=1e-5)
    likeness = vectors @ vectors.T
    same = model.catalog.channel[:, None] == model.catalog.channel[None, :]
    np.fill_diagonal(same, val=False)
    assert likeness[same].mean() > likeness[~same].mean() + 0.2
    few = model.content(items[[3, 9]])
    np.testing.assert_allclose(few[0] @ few[1], likeness[3, 9], atol=1e-5)


def test_a_recipe_goes_to_plain_values_and_back() -> None:
    recipe = recipe_of(SETTINGS)
    assert from_dict(Recipe, to_dict(recipe)) == recipe
    assert from_dict(Recipe, to_dict(Recipe())) == Recipe()


@pytest.mark.parametrize(
    ("settings", "error", "message"),
    [
        ({"sources": ["popularity", "popularity"]}, ConfigError, "stands twice"),
        ({"sources": []}, ConfigError, "at least one source"),
        ({"candidates": 0}, ConfigError, "1 or more"),
        ({"features": ["item_cuonts"]}, ConfigError, "item_counts"),
        ({"ranker": {"name": "lamdarank"}}, ConfigError, "lambdarank"),
    ],
)
def test_a_mistake_in_a_recipe_is_named(settings: dict[str, Any], error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        from_dict(Recipe, settings)


def columns(name: str, *, needs_time: bool) -> tuple[str, ...]:
    feature = Feature.variants[name]
    return feature.columns if feature.needs_time is needs_time else ()


def rank(model: Model, queries: list[Query]) -> list[Any]:
    return model.rank(queries, model.candidates(queries))
