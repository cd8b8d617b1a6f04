"""Items in shards: what is merged is what one process finds, whatever the match, the ties and what is left out."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch

from foveate.attention.base import ScorerConfig
from foveate.core.config import from_dict
from foveate.encoder.embedding.mapped import MappedEncoder, of_run
from foveate.encoder.heads.base import HeadConfig
from foveate.encoder.model import EncoderConfig, SequenceEncoder
from foveate.encoder.trained import TrainedEncoder
from foveate.retrieval.attention import Attention, AttentionSource, alike
from foveate.retrieval.base import FitContext, top_k
from foveate.retrieval.merge import gather
from foveate.retrieval.shards import Found, GatheredSource, Shard, merged, runs, within

ITEMS, WIDTH, VIEWERS = 120, 8, 12
NOTHING = np.empty(0, dtype=np.int32)
TOLERANCE = 1e-5


def split(config: Attention, arrays: Any, n_items: int, count: int) -> list[Shard]:
    return [Shard.restore(config, arrays, n_items, number, count) for number in range(count)]


def untrained(config: EncoderConfig, items: int = ITEMS) -> TrainedEncoder:
    torch.manual_seed(0)
    return TrainedEncoder(config, SequenceEncoder(config, items))


def plain(vectors: np.ndarray) -> tuple[Attention, TrainedEncoder]:
    """An encoder that matches by dot products of these vectors."""
    config = Attention(encoder=from_dict(EncoderConfig, {"width": vectors.shape[1], "scorer": "dot_product"}))
    encoder = untrained(config.encoder, len(vectors))
    encoder.model.items.weight.data = torch.from_numpy(vectors)
    return config, encoder


@pytest.mark.parametrize("count", [1, 2, 3, 7, 121])
def test_runs_hold_every_item_once(count: int) -> None:
    found = runs(ITEMS, count)
    assert len(found) == count
    assert [code for run in found for code in run] == list(range(ITEMS))
    assert max(map(len, found)) - min(map(len, found)) <= 1


@pytest.mark.parametrize("count", [1, 3, 121])
@pytest.mark.parametrize("k", [1, 20, 90, 200])
def test_what_shards_find_together_is_what_one_finds_with_ties_by_code(count: int, k: int) -> None:
    rng = np.random.default_rng(k)
    # Small whole numbers: exact in float32, and many scores tie.
    vectors = rng.integers(-2, 3, (ITEMS, WIDTH)).astype(np.float32)
    users = rng.integers(-2, 3, (VIEWERS, WIDTH)).astype(np.float32)
    excludes = [np.sort(rng.choice(ITEMS, size, replace=False)).astype(np.int32) for size in range(VIEWERS)]
    excludes[1] = np.arange(70, dtype=np.int32)
    config, encoder = plain(vectors)
    shards = split(config, encoder.arrays(), ITEMS, count)
    found = [shard.best(users, excludes, [k] * VIEWERS) for shard in shards]
    for row, (user, exclude) in enumerate(zip(users, excludes, strict=True)):
        scores = vectors @ user
        expected = top_k(scores, exclude, k)
        best = merged([one[row] for one in found], k)
        np.testing.assert_array_equal(best.codes, expected)
        np.testing.assert_array_equal(best.scores, scores[expected])


def test_each_viewer_of_a_batch_is_found_as_many_as_wanted() -> None:
    rng = np.random.default_rng(0)
    vectors, users = (rng.normal(size=(n, WIDTH)).astype(np.float32) for n in (ITEMS, VIEWERS))
    config, encoder = plain(vectors)
    [shard] = split(config, encoder.arrays(), ITEMS, 1)
    wanted = list(range(1, VIEWERS + 1))
    assert [len(one.codes) for one in shard.best(users, [NOTHING] * VIEWERS, wanted)] == wanted


def test_nothing_merges_to_nothing() -> None:
    assert len(merged([], 10).codes) == 0
    empty = Found(NOTHING, NOTHING.astype(np.float32))
    assert merged([empty, empty], 10).codes.dtype == np.int32
    assert list(within(np.array([1, 5, 9], dtype=np.int32), range(2, 9))) == [5]


def test_a_viewer_without_a_history_gets_the_first_open_codes() -> None:
    exclude = np.array([0, 2, 3, 7], dtype=np.int32)
    for k in (0, 1, 4, 100):
        np.testing.assert_array_equal(alike(10, exclude, k), top_k(np.zeros(10, dtype=np.float32), exclude, k))


MATCHES: list[dict[str, Any]] = [
    *({"scorer": name} for name in ScorerConfig.variants),
    *({"head": name} for name in HeadConfig.variants),
    {"inputs": ["title", "channel"]},
    {"trend": [1, 7]},
    {"trend": [1, 7], "head": "fully_connected"},
]


@pytest.mark.parametrize("settings", MATCHES, ids=str)
def test_every_match_answers_alike_in_shards_and_mapped(settings: dict[str, Any]) -> None:
    config = from_dict(Attention, {"encoder": {"width": WIDTH, **settings}})
    encoder = untrained(config.encoder)
    arrays = {name: value.copy() for name, value in encoder.arrays().items()}
    for name in [name for name in arrays if name.endswith(".offsets")]:
        # Item i has i % 3 codes.
        arrays[name] = np.concatenate([[0], np.cumsum(np.arange(ITEMS) % 3)])
        arrays[name.replace("offsets", "codes")] = np.zeros(arrays[name][-1], dtype=np.int64)
    if "trained_I" in arrays:
        arrays["trained_I"] = np.arange(ITEMS) % 5 > 0
    if "trend.log_IH" in arrays:
        arrays["trend.log_IH"] = np.random.default_rng(1).normal(size=(ITEMS, 3)).astype(np.float32)
    encoder = TrainedEncoder.restore(config.encoder, arrays)
    mapped = MappedEncoder.restore(config.encoder, arrays)
    users = np.random.default_rng(0).normal(size=(4, WIDTH)).astype(np.float32)
    users[3] = 0.0 if "trend" in settings else users[3]
    few = np.array([3, 4, 77, 119], dtype=np.int32)
    found = [shard.best(users, [few] * 4, [30] * 4) for shard in split(config, arrays, ITEMS, 3)]
    for row, user in enumerate(torch.from_numpy(users)):
        scores = encoder.match(user)
        np.testing.assert_allclose(mapped.match(user, few), scores[few], atol=TOLERANCE)
        np.testing.assert_allclose(mapped.match(user), scores, atol=TOLERANCE)
        best = merged([one[row] for one in found], 30)
        np.testing.assert_allclose(best.scores, np.sort(np.delete(scores, few))[::-1][:30], atol=TOLERANCE)
        np.testing.assert_allclose(best.scores, scores[best.codes], atol=TOLERANCE)


def test_a_mapped_encoder_takes_its_arrays_as_they_lie() -> None:
    arrays = untrained(EncoderConfig(width=WIDTH)).arrays()
    mapped = MappedEncoder.restore(EncoderConfig(width=WIDTH), arrays)
    assert np.shares_memory(mapped.item_vectors, arrays["items.weight"])
    run = of_run(arrays, range(20, 50))
    assert np.shares_memory(run["items.weight"], arrays["items.weight"])
    assert run["items.weight"].shape == (30, WIDTH)


@pytest.fixture(scope="module", params=["exact", "inverted"])
def fitted(request: pytest.FixtureRequest, checkerboard: Any) -> tuple[Attention, AttentionSource, FitContext]:
    index = {"exact": {"name": "exact"}, "inverted": {"name": "inverted", "lists": 4, "probes": 2}}[request.param]
    settings = {"encoder": {"width": 16}, "train": {"epochs": 2}, "index": index, "target_attention": True}
    config = from_dict(Attention, settings)
    context = checkerboard.context()
    return config, config.fit(context), context


@pytest.mark.parametrize("count", [1, 3, 20])
def test_a_source_that_is_told_by_shards_offers_what_it_offers_whole(
    fitted: tuple[Attention, AttentionSource, FitContext], checkerboard: Any, count: int
) -> None:
    config, source, context = fitted
    arrays, n_items = source.arrays(), len(context.catalog)
    shards = split(config, arrays, n_items, count)
    stranger = replace(checkerboard.query_of(NOTHING), exclude=np.arange(3, dtype=np.int32))
    queries = [*(checkerboard.query(user) for user in range(6)), stranger]
    mapped = config.restore_mapped(arrays, context.catalog)
    viewers = mapped.encode(queries)
    excludes = [query.exclude for query in queries]
    found = [shard.best(viewers.user_BD.numpy(), excludes, [5] * 7) for shard in shards]
    tops = [
        merged([one[row] for one in found], 5).codes if known else alike(n_items, excludes[row], 5)
        for row, known in enumerate(viewers.known_B)
    ]
    whole = gather([source], queries, [5])
    told = gather([GatheredSource(mapped, viewers, tops)], queries, [5])
    for expected, one in zip(whole, told, strict=True):
        np.testing.assert_array_equal(one.items, expected.items)
        np.testing.assert_array_equal(one.offered, expected.offered)
        np.testing.assert_allclose(one.scores, expected.scores, atol=TOLERANCE)
        np.testing.assert_allclose(one.source_features, expected.source_features, atol=TOLERANCE)
        assert one.source_feature_names == expected.source_feature_names
