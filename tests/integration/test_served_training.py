"""A ranker learns from what was served: the features that were used then, and the labels of what followed."""

from __future__ import annotations

import shutil
from typing import Any

import numpy as np
import polars as pl
import pytest

import foveate
from foveate.core.config import from_dict
from foveate.core.errors import ConfigError, TrainingError
from foveate.core.messages import RecommendRequest, Slate, SlateItem
from foveate.data.dataset import Dataset
from foveate.recommend.model import Model
from foveate.recommend.pipeline import make_context, recommend_many
from foveate.recommend.recipe import Recipe
from foveate.state.base import ServedRequest, ViewerEvent, impression_id, utc_micros
from foveate.state.connect import open_impressions, open_viewers
from foveate.training import fit, fit_model
from foveate.training.served_rows import served_training_set
from foveate_tune.config import SweepConfig

SETTINGS: dict[str, Any] = {
    "sources": ["covisitation", "popularity"],
    "candidates": 40,
    "ranker": {"name": "lambdarank", "trees": 20, "members": 2, "min_rows": 20, "threads": 1},
}
SECOND, HOUR = 1_000_000, 3_600_000_000
WATCHED = 17.5


@pytest.fixture(scope="module")
def model(small_world: Dataset) -> Model:
    return fit_model(small_world, from_dict(Recipe, SETTINGS), upto="all")


@pytest.fixture(scope="module")
def grown(small_world: Dataset, model: Model, tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """The small world with four days that the model has served: who is shown a video of the first channels likes it."""
    folder = tmp_path_factory.mktemp("served")
    assert small_world.path is not None
    shutil.copytree(small_world.path, folder / "data")
    end = small_world.manifest.last or 0
    state = str(folder / "state.sqlite")
    with open_viewers(state) as viewers, open_impressions(state) as impressions:
        viewers.import_events(small_world.events)
        for day in range(4):
            now, users = end + (24 * day + 1) * HOUR, small_world.viewers["user_id"].head(60)
            requests = [RecommendRequest(user, k=8, now=now, seed=day) for user in users]
            contexts = [make_context(one, "b1", clock=utc_micros) for one in requests]
            slates = recommend_many(model, viewers, requests, contexts)
            impressions.write([ServedRequest(*one) for one in zip(requests, contexts, slates, strict=True)])
            told = [
                ViewerEvent(slate.user_id, item.item_id, kind, value, now + SECOND, None, named(slate, item))
                for slate in slates
                for item in slate.items
                if liked(item.item_id)
                for kind, value in (("watch", WATCHED), ("long_view", 1.0))
            ]
            viewers.append(told)
    foveate.export_log(state, folder / "log", settle_s=0)
    return foveate.append(folder / "data", folder / "log")


def named(slate: Slate, item: SlateItem) -> str:
    return impression_id(slate.request_id, item.position)


def liked(item_id: str) -> bool:
    return int(item_id[1:]) % 3 == 0


def test_rows_are_what_was_shown_and_labels_what_followed(grown: Dataset, model: Model) -> None:
    until = (grown.manifest.last or 0) + 1
    training = served_training_set(
        grown, from_dict(Recipe, SETTINGS), model.features, grown.catalog(), until=until, positive=("long_view",)
    )
    shown = grown.impressions.filter(pl.col("feature_schema") == model.features.schema_hash)
    shown = shown.sort("shown_at", "request_id", "position").collect()
    label = np.array([float(liked(item)) for item in shown["item_id"]], dtype=np.float32)
    asked = shown["request_id"].rle_id().to_numpy()
    kept = np.isin(asked, np.unique(asked[label > 0]))
    assert kept.sum() > 500
    np.testing.assert_array_equal(training.labels, label[kept])
    np.testing.assert_array_equal(
        training.features.values, np.array(shown["features"].to_list(), dtype=np.float32)[kept]
    )
    assert training.features.names == model.features.names
    assert training.groups.sum() == kept.sum()
    assert set(training.groups.tolist()) == {8}
    assert sorted(set(training.windows.tolist())) == [0, 1]


def test_labels_weigh_what_followed_as_those_of_retrieved_rows_do(grown: Dataset, model: Model) -> None:
    recipe = from_dict(Recipe, {**SETTINGS, "labels": {"weights": {"watch": 1.0, "long_view": 2.0}}})
    until = (grown.manifest.last or 0) + 1
    training = served_training_set(grown, recipe, model.features, grown.catalog(), until=until, positive=())
    # Watches of like length are equally long: each lies in the middle.
    np.testing.assert_allclose(training.labels[training.labels > 0], 2.5)
    assert set(training.signals) == {"watch", "long_view"}


def test_nothing_of_the_window_that_stays_unseen_is_learned_from(grown: Dataset) -> None:
    recipe = from_dict(Recipe, {**SETTINGS, "ranker_rows": "served"})
    fitted = fit(grown, recipe, upto="test")
    before = grown.impressions.filter(
        pl.col("feature_schema").is_not_null(), pl.col("shown_at").dt.timestamp("us") < fitted.stage.now
    )
    requests = before.select(pl.col("request_id").n_unique()).collect().item()
    assert 0 < len(fitted.training.groups) <= requests
    everything = fit(grown, recipe, upto="all")
    assert len(everything.training.groups) > requests
    assert everything.model.ranker.score(everything.training.features).std() > 0


def test_what_cannot_be_learned_from_is_said(grown: Dataset, small_world: Dataset, model: Model) -> None:
    served = {**SETTINGS, "ranker_rows": "served"}
    with pytest.raises(TrainingError, match="none with features"):
        fit(small_world, from_dict(Recipe, served), upto="all")
    with pytest.raises(TrainingError, match=r"holds 1,920 of layout [0-9a-f]{16}"):
        fit(grown, from_dict(Recipe, {**served, "sources": ["popularity"]}), upto="all")
    with pytest.raises(ConfigError, match="needs protocol=time"):
        from_dict(Recipe, {**served, "protocol": "leave-one-out"})
    sweep = from_dict(SweepConfig, {"level": "slate", "recipe": {"ranker_rows": "served"}})
    with pytest.raises(ConfigError, match="ranker_rows=retrieved"):
        sweep.level.prepare(grown, sweep, print)
    until = (grown.manifest.last or 0) + 1
    with pytest.raises(TrainingError, match="nothing that was served was liked"):
        served_training_set(
            grown, from_dict(Recipe, served), model.features, grown.catalog(), until=until, positive=("share",)
        )
