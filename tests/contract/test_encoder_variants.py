"""What every mixer, scorer and head promises within an encoder: by its name alone it trains, is stored and serves."""

from __future__ import annotations

import asyncio
import dataclasses
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load, save

from foveate.attention.base import MixerConfig, ScorerConfig
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import TrainingError
from foveate.core.messages import NO_TIME, Query, RecommendRequest
from foveate.data.dataset import Dataset
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.train import TrainConfig, train_encoder
from foveate.recommend.model import Model
from foveate.recommend.pipeline import LocalStages, make_context, recommend
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import Attention
from foveate.retrieval.base import CandidateSource, SourceConfig
from foveate.state.sqlite.store import SqliteState

KINDS = {"mixer": MixerConfig, "scorer": ScorerConfig, "head": HeadConfig}
NAMED = [(kind, name) for kind, base in KINDS.items() for name in base.variants]
WINDOW = 8
SMALL = {"width": 16, "blocks": 1, "max_len": WINDOW, "dropout": 0.0}
NOW = 1_742_169_600_000_000  # the end of the small world's two weeks


@pytest.fixture(scope="module", params=NAMED, ids="-".join)
def encoder(request: pytest.FixtureRequest) -> dict[str, Any]:
    """The settings of a small encoder that names one variant and says nothing else of it."""
    kind, name = request.param
    return {**SMALL, kind: name}


@pytest.fixture(scope="module")
def world(small_world: Dataset) -> FitContext:
    """The small world, of which some items never met with interest."""
    catalog = small_world.catalog()
    log, users = small_world.log(), small_world.users()
    events = log.encode(users, catalog.items, Recipe().signals, small_world.manifest.positive_kinds)
    liked = events.take(events.positive)
    histories = Histories(liked.offsets(), liked.item, liked.time, liked.weight, liked.n_items)
    return FitContext(histories, catalog, NOW)


@pytest.fixture(scope="module")
def config(encoder: dict[str, Any]) -> Attention:
    return from_dict(Attention, {"encoder": encoder, "train": {"epochs": 1, "negatives": 64}})


@pytest.fixture(scope="module")
def source(config: Attention, world: FitContext) -> CandidateSource:
    return config.fit(world)


def untrained(world: FitContext) -> int:
    return int(np.flatnonzero(np.bincount(world.histories.items, minlength=world.histories.n_items) == 0)[0])


def asked(items: list[int], now: int = NOW) -> Query:
    """Someone who watched these items, an hour apart."""
    n = len(items)
    return Query(
        user_id="someone",
        items=np.array(items, dtype=np.int32),
        times=now - np.arange(n, 0, -1) * 3_600_000_000,
        kinds=np.zeros(n, dtype=np.int8),
        values=np.ones(n, dtype=np.float32),
        positives=np.ones(n, dtype=bool),
        exclude=np.unique(np.array(items, dtype=np.int32)),
        now=now,
    )


def test_its_name_is_all_that_a_config_says(encoder: dict[str, Any]) -> None:
    built = from_dict(EncoderConfig, encoder)
    assert from_dict(EncoderConfig, to_dict(built)) == built


def test_its_loss_falls(encoder: dict[str, Any], checkerboard: Any) -> None:
    losses = losses_of(encoder, checkerboard, epochs=6)
    assert losses[-1] < 0.9 * losses[0]


def test_low_precision_learns_alike(encoder: dict[str, Any], checkerboard: Any) -> None:
    exact, low = (losses_of(encoder, checkerboard, epochs=1, precision=p) for p in ("float32", "bfloat16"))
    assert low != exact
    assert low == pytest.approx(exact, rel=0.05)


def losses_of(encoder: dict[str, Any], checkerboard: Any, **changes: Any) -> list[float]:
    losses: list[float] = []
    train = TrainConfig(batch_size=32, learning_rate=5e-3, patience=0, **changes)
    built = from_dict(EncoderConfig, encoder)
    train_encoder(built, train, checkerboard.context(), on_epoch=lambda r: losses.append(r.loss) is None)
    return losses


def test_histories_of_every_shape_have_an_answer(source: CandidateSource, world: FitContext) -> None:
    fresh = untrained(world)
    longer = [9, 8, 7, *range(10, 10 + WINDOW)]
    queries = [asked(items) for items in ([], [3], [fresh], [3, fresh, 5], longer[-WINDOW:], longer, [4] * 40)]
    scores = source.scores(queries)
    assert scores.shape == (len(queries), world.histories.n_items)
    assert np.isfinite(scores).all()
    assert (scores[0] == 0).all()
    # What lies before the window is not read, and no answer depends on who else asks.
    np.testing.assert_allclose(scores[5], scores[4], atol=1e-4)
    np.testing.assert_allclose(scores, np.concatenate([source.scores([query]) for query in queries]), atol=1e-4)
    # An item that nobody taught it can be asked with, and can be offered.
    assert scores[2].std() > 0
    everything = source.retrieve([asked([3])], world.histories.n_items)[0]
    assert fresh in everything


def test_times_that_nobody_knows_have_an_answer(source: CandidateSource) -> None:
    query = asked([3, 4, 5])
    undated = dataclasses.replace(query, times=np.full(3, NO_TIME), now=NO_TIME)
    half = dataclasses.replace(query, times=np.array([NO_TIME, NOW - 5, NO_TIME]))
    assert np.isfinite(source.scores([undated, half])).all()


def test_it_is_the_same_after_storing(config: Attention, source: CandidateSource, world: FitContext) -> None:
    stored = load(save({name: np.ascontiguousarray(value) for name, value in source.arrays().items()}))
    again = from_dict(SourceConfig, to_dict(config)).restore(stored, world.catalog)
    queries = [asked([3, 4, 5]), asked([]), asked([1] * 12)]
    np.testing.assert_array_equal(again.scores(queries), source.scores(queries))


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_refused(
    config: Attention, source: CandidateSource, world: FitContext, value: float
) -> None:
    arrays = {name: np.array(array) for name, array in source.arrays().items()}
    arrays["items.weight"][3, 1] = value
    with pytest.raises(TrainingError, match=r"'items\.weight' is not finite"):
        config.restore(arrays, world.catalog)


def test_it_serves_from_a_bundle(
    config: Attention, source: CandidateSource, small_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = Bundle.load(
        Bundle.save(with_source(small_bundle.model, config, source), tmp_path / "b", data_hash="").path
    )
    queries = [asked([3, 4, 5]), asked([])]
    np.testing.assert_array_equal(bundle.model.sources[0].scores(queries), source.scores(queries))
    with SqliteState(default_state(small_bundle.path), create=False) as state:
        request = RecommendRequest(state.users(1)[0], k=10)
        context = make_context(request, bundle.bundle_id, clock=lambda: NOW, request_id="r")
        slate = asyncio.run(recommend(request, context, LocalStages(bundle.model, state)))
    assert len({item.item_id for item in slate.items}) == 10
    assert any("attention" in item.sources for item in slate.items)
    assert all(np.isfinite(item.score) for item in slate.items)


def with_source(model: Model, config: Attention, source: CandidateSource) -> Model:
    """The model with another encoder in the place of its own; it tells the ranker what that was trained on."""
    first, *others = model.recipe.sources
    assert isinstance(first, Attention)
    telling = dataclasses.replace(config, target_attention=first.target_attention)
    recipe = dataclasses.replace(model.recipe, sources=(telling, *others))
    encoder = telling.restore(source.arrays(), model.catalog)
    return dataclasses.replace(model, recipe=recipe, sources=(encoder, *model.sources[1:]))
