"""What a candidate finds in a history when it is the one that looks: from the formula to the ranker's column."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate.core.messages import NO_TIME, Query
from foveate.encoder.trained import target_attention
from foveate.recommend.recipe import Recipe
from foveate.retrieval.attention import AttentionSource

COLUMN = "target_attention"


def test_it_is_the_softmax_of_the_matches_over_the_history() -> None:
    rng = np.random.default_rng(0)
    candidates, events = rng.normal(size=(4, 9)).astype(np.float32), rng.normal(size=(6, 9)).astype(np.float32)
    expected = []
    for v in candidates:
        weights = np.exp([v @ h / 3 for h in events])
        expected.append(v @ (weights[:, None] / weights.sum() * events).sum(axis=0))
    np.testing.assert_allclose(target_attention(candidates, events), expected, rtol=1e-4)


def test_one_event_is_the_plain_match_and_none_is_nothing() -> None:
    candidates, event = np.eye(3, dtype=np.float32), np.array([[5.0, -2.0, 0.0]], dtype=np.float32)
    np.testing.assert_allclose(target_attention(candidates, event), event[0])
    np.testing.assert_array_equal(target_attention(candidates, event[:0]), np.zeros(3))


def test_vectors_of_any_length_stay_finite() -> None:
    far = np.full((2, 4), 1e4, dtype=np.float32)
    assert np.isfinite(target_attention(far, np.concatenate([far, -far]))).all()


def asked(bundle: Bundle) -> list[Query]:
    catalog = bundle.model.catalog
    rng = np.random.default_rng(3)
    n = 12
    query = Query(
        user_id="someone",
        items=rng.integers(0, len(catalog), n).astype(np.int32),
        times=np.full(n, NO_TIME),
        kinds=np.full(n, 2, dtype=np.int8),
        values=np.ones(n, dtype=np.float32),
        positives=np.arange(n) % 3 > 0,
        exclude=np.empty(0, dtype=np.int32),
        now=NO_TIME,
    )
    return [query, dataclasses.replace(query, positives=np.zeros(n, dtype=bool))]


def test_the_ranker_is_told_of_every_candidate(small_bundle: Bundle) -> None:
    model, queries = small_bundle.model, asked(small_bundle)
    source = next(s for s in model.sources if isinstance(s, AttentionSource))
    found = model.candidates(queries)
    for query, ranked in zip(queries, model.rank(queries, found), strict=True):
        vectors = source.encoder.item_vectors
        expected = target_attention(vectors[ranked.candidates.items], vectors[query.items[query.positives]])
        told = ranked.features.values[:, ranked.features.names.index(COLUMN)]
        np.testing.assert_allclose(told, expected, atol=1e-5)
    assert not told.any()  # the last viewer showed no interest in anything


def test_a_loaded_bundle_tells_the_same(small_bundle: Bundle) -> None:
    loaded, queries = Bundle.load(small_bundle.path), asked(small_bundle)
    for bundle in (small_bundle, loaded):
        assert COLUMN in bundle.manifest.columns
    ranked = [b.model.rank(queries, b.model.candidates(queries)) for b in (small_bundle, loaded)]
    for own, again in zip(*ranked, strict=True):
        np.testing.assert_array_equal(own.features.values, again.features.values)


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("popularity", ()),
        ("attention", ()),
        ({"name": "attention", "target_attention": True}, ("target_attention",)),
    ],
)
def test_without_it_there_is_no_column(source: object, names: tuple[str, ...]) -> None:
    assert from_dict(Recipe, {"sources": [source]}).source_feature_names == names
