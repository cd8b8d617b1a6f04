"""What every candidate source promises, asked of each one that the registry holds."""

from __future__ import annotations

import copy
import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from safetensors.numpy import load_file, save_file

from checkerboard import two_colours
from costs import LINEAR, grown, python_cost, tensor_cost
from foveate.core.config import from_dict, to_dict
from foveate.core.messages import NO_TIME, Query
from foveate.data.catalog import Catalog
from foveate.data.events import Histories
from foveate.data.fitting import FitContext
from foveate.data.overlay import CatalogOverlay, items_frame
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.encoder.model import EncoderConfig
from foveate.encoder.training.settings import TrainConfig
from foveate.retrieval.attribution import without
from foveate.retrieval.base import CandidateSource, SourceConfig
from foveate.retrieval.extended import extended
from foveate.retrieval.merge import gather, narrowed

TOLERANCE = 1e-4
"""How far a score may move with the batch that it is computed in: matrix products add in another order."""

# Small enough to train in a test; a source without an entry keeps its defaults.
SMALL: dict[str, dict[str, Any]] = {
    "attention": {
        "encoder": EncoderConfig(width=32, dropout=0.0),
        "train": TrainConfig(epochs=20, batch_size=32, learning_rate=5e-3, threads=1),
        "target_attention": True,
    }
}


def small(cls: type[SourceConfig]) -> SourceConfig:
    config = cls()
    return dataclasses.replace(config, **SMALL.get(config.name, {}))


@pytest.fixture(scope="module", params=[small(cls) for _, cls in SourceConfig.variants.items()], ids=lambda c: c.name)
def config(request: pytest.FixtureRequest) -> SourceConfig:
    return request.param


@pytest.fixture(scope="module")
def source(config: SourceConfig, checkerboard: Any) -> CandidateSource:
    return config.fit(checkerboard.context())


@pytest.fixture(scope="module")
def queries(checkerboard: Any) -> list[Query]:
    """Whole histories, shorter and repeated ones, and viewers without any."""
    nobody = np.empty(0, dtype=np.int32)
    odd = [nobody, np.array([3], dtype=np.int32), nobody, np.array([2, 2, 4, 5, 2, 0, 11] * 30, dtype=np.int32)]
    return [checkerboard.query(user) for user in range(8)] + [checkerboard.query_of(items) for items in odd]


def test_a_config_survives_the_way_through_plain_values(config: SourceConfig) -> None:
    assert from_dict(SourceConfig, to_dict(config)) == config


def test_every_item_has_a_finite_score(source: CandidateSource, queries: list[Query], checkerboard: Any) -> None:
    scores = source.scores(queries)
    assert scores.shape == (len(queries), len(checkerboard.catalog))
    assert scores.dtype == np.float32
    assert np.isfinite(scores).all()


def test_a_catalogue_that_says_nothing_leaves_scores_finite(
    config: SourceConfig, queries: list[Query], checkerboard: Any
) -> None:
    blank = Catalog(checkerboard.catalog.frame.select(ITEM_ID))
    source = quick(config).fit(dataclasses.replace(checkerboard.context(), catalog=blank))
    assert np.isfinite(source.scores(queries)).all()


def test_a_batch_scores_as_one_by_one(source: CandidateSource, queries: list[Query]) -> None:
    alone = np.concatenate([source.scores([query]) for query in queries])
    np.testing.assert_allclose(source.scores(queries), alone, atol=TOLERANCE)
    np.testing.assert_allclose(source.scores(queries[::-1])[::-1], alone, atol=TOLERANCE)


def test_no_query_gives_no_row(source: CandidateSource, checkerboard: Any) -> None:
    assert source.scores([]).shape == (0, len(checkerboard.catalog))
    assert source.retrieve([], 3) == []


def test_scores_repeat(source: CandidateSource, queries: list[Query]) -> None:
    np.testing.assert_array_equal(source.scores(queries), source.scores(queries))


def test_fitting_repeats(
    config: SourceConfig, source: CandidateSource, queries: list[Query], checkerboard: Any
) -> None:
    again = config.fit(checkerboard.context())
    np.testing.assert_array_equal(again.scores(queries), source.scores(queries))


def test_fitting_and_scoring_leave_what_they_read_as_it_was(config: SourceConfig, checkerboard: Any) -> None:
    # Histories that are not in the order of their codes: sorting them in place would show.
    histories, query = copy.deepcopy(checkerboard.histories), copy.deepcopy(checkerboard.query(3))
    context = dataclasses.replace(checkerboard.context(), histories=histories)
    config.fit(context).retrieve([query], 3)
    for name in ("offsets", "items", "times", "weights"):
        np.testing.assert_array_equal(getattr(histories, name), getattr(checkerboard.histories, name), err_msg=name)
    for name in ("items", "times", "positives", "exclude"):
        np.testing.assert_array_equal(getattr(query, name), getattr(checkerboard.query(3), name), err_msg=name)


def test_the_excluded_are_never_retrieved(source: CandidateSource, queries: list[Query], checkerboard: Any) -> None:
    n_items = len(checkerboard.catalog)
    for query, top in zip(queries, source.retrieve(queries, n_items), strict=True):
        assert sorted(top) == sorted(set(range(n_items)) - set(query.exclude.tolist()))


def test_the_best_come_first_and_ties_by_code(source: CandidateSource, queries: list[Query]) -> None:
    scores = source.scores(queries)
    for row, top in zip(scores, source.retrieve(queries, 5), strict=True):
        keys = [(-row[code], code) for code in top.tolist()]
        assert keys == sorted(keys)


def test_a_viewer_without_history_gets_what_an_empty_history_gets(source: CandidateSource, checkerboard: Any) -> None:
    stranger = checkerboard.query_of(np.empty(0, dtype=np.int32))
    # Events that show no interest are no history for a source.
    uninterested = dataclasses.replace(checkerboard.query(0), positives=np.zeros(5, dtype=bool))
    scores = source.scores([stranger, uninterested])
    np.testing.assert_array_equal(scores[0], scores[1])


def test_arrays_make_the_source_again(
    config: SourceConfig, source: CandidateSource, queries: list[Query], checkerboard: Any, tmp_path: Path
) -> None:
    arrays: dict[str, NDArray[Any]] = dict(source.arrays())
    save_file(arrays, tmp_path / "source.safetensors")
    again = config.restore(load_file(tmp_path / "source.safetensors"), checkerboard.catalog)
    assert again.name == source.name
    np.testing.assert_array_equal(again.scores(queries), source.scores(queries))
    for stored, own in zip(source_features(again, queries), source_features(source, queries), strict=True):
        np.testing.assert_array_equal(stored, own)


def source_features(source: CandidateSource, queries: list[Query]) -> list[NDArray[np.float32]]:
    """What a source says of the same few candidates to every query."""
    return source.source_features(queries, [np.arange(7, dtype=np.int32)] * len(queries))


def test_remarks_are_finite_and_named_before_anything_is_fitted(
    config: SourceConfig, source: CandidateSource, queries: list[Query]
) -> None:
    assert source.source_feature_names == config.source_feature_names
    for said in source_features(source, queries):
        assert said.shape == (7, len(config.source_feature_names))
        assert said.dtype == np.float32
        assert np.isfinite(said).all()


def test_remarks_of_a_batch_are_those_of_one_by_one(source: CandidateSource, queries: list[Query]) -> None:
    for together, query in zip(source_features(source, queries), queries, strict=True):
        np.testing.assert_allclose(together, source_features(source, [query])[0], atol=TOLERANCE)


def test_no_candidate_has_no_remark(config: SourceConfig, source: CandidateSource, queries: list[Query]) -> None:
    nothing = np.empty(0, dtype=np.int32)
    (said,) = source.source_features(queries[:1], [nothing])
    assert said.shape == (0, len(config.source_feature_names))
    assert source.source_features([], []) == []


@pytest.mark.parametrize("fact", [name for name in ITEMS if name not in (ITEM_ID, "title")])
def test_each_fact_of_the_checkerboard_tells_the_colours_apart(fact: str, checkerboard: Any) -> None:
    # So a source that reads the catalogue alone can find the item that closes a circle.
    values = checkerboard.catalog.frame[fact].to_list()
    assert values == (values[:2] * len(values))[: len(values)]
    assert values[0] != values[1]


def test_what_is_personal_closes_the_circle(source: CandidateSource, checkerboard: Any) -> None:
    users = range(checkerboard.histories.n_users)
    queries = [checkerboard.query(user) for user in users]
    if (np.ptp(source.scores(queries), axis=0) == 0).all():
        pytest.skip(f"{source.name} scores every viewer alike")
    firsts = np.array([top[0] for top in source.retrieve(queries, 1)])
    assert (firsts == checkerboard.answers).mean() > 0.9


def test_the_union_holds_every_top_and_every_score(checkerboard: Any, queries: list[Query]) -> None:
    sources = [
        small(cls).fit(checkerboard.context()) for name, cls in SourceConfig.variants.items() if name != "attention"
    ]
    merged = gather(sources, queries, [3] * len(sources))
    tops = [source.retrieve(queries, 3) for source in sources]
    scores = [source.scores(queries) for source in sources]
    for row, candidates in enumerate(merged):
        assert candidates.sources == tuple(source.name for source in sources)
        assert candidates.items.tolist() == sorted({code for top in tops for code in top[row].tolist()})
        for column, top in enumerate(tops):
            offered = candidates.items[candidates.offered[:, column]]
            assert set(offered.tolist()) == set(top[row].tolist())
            np.testing.assert_array_equal(candidates.scores[:, column], scores[column][row, candidates.items])


def test_a_union_where_everything_is_excluded_is_empty(checkerboard: Any) -> None:
    source = SourceConfig.variants["popularity"]().fit(checkerboard.context())
    everything = np.arange(len(checkerboard.catalog), dtype=np.int32)
    (candidates,) = gather([source], [dataclasses.replace(checkerboard.query(0), exclude=everything)], [3])
    assert candidates.items.shape == (0,)
    assert candidates.scores.shape == (0, 1)


def test_fewer_sources_and_smaller_tops_of_a_union_are_what_they_would_have_found(
    checkerboard: Any, queries: list[Query]
) -> None:
    attention = dataclasses.replace(small(SourceConfig.variants["attention"]), target_attention=True)
    others = [small(SourceConfig.variants[name]) for name in ("covisitation", "item_knn", "popularity")]
    sources = [config.fit(checkerboard.context()) for config in (attention, *others)]
    largest = gather(sources, queries, [4] * len(sources))
    for counts in ({"attention": 2, "popularity": 3}, {"item_knn": 1}, {"attention": 4, "covisitation": 0}):
        some = [next(source for source in sources if source.name == name) for name in counts]
        source_features = ("target_attention",) if "attention" in counts else ()
        direct = gather(some, queries, list(counts.values()))
        for whole, asked in zip(largest, direct, strict=True):
            found = narrowed(whole, counts, source_features)
            assert (found.sources, found.source_feature_names) == (asked.sources, asked.source_feature_names)
            for name in ("items", "scores", "offered", "source_features"):
                np.testing.assert_allclose(
                    getattr(found, name), getattr(asked, name), rtol=1e-5, atol=1e-7, err_msg=name
                )


def test_what_carried_a_score_is_told_by_the_history(source: CandidateSource, queries: list[Query]) -> None:
    items = np.array([1, 4, 7], dtype=np.int32)
    for query in queries:
        told = source.attribute(query, items)
        assert told.drops.shape == (len(items), len(told.items))
        assert np.isfinite(told.drops).all()
        np.testing.assert_array_equal(told.items, source.read(query))
        assert set(told.items.tolist()) <= set(query.items[query.positives].tolist())
        again = source.attribute(query, items)
        np.testing.assert_array_equal(told.drops, again.drops)


def test_some_items_score_as_they_do_among_all(source: CandidateSource, queries: list[Query]) -> None:
    items = np.array([7, 1, 4], dtype=np.int32)
    np.testing.assert_allclose(source.scores_of(queries, items), source.scores(queries)[:, items], atol=TOLERANCE)


def test_without_what_carried_it_a_score_falls(source: CandidateSource, checkerboard: Any) -> None:
    falls = []
    for user in range(12):
        # One item of the other colour: a score that is the mean over a history of one colour would not fall.
        answer = checkerboard.answers[user : user + 1]
        query = checkerboard.query_of(np.append((answer + 1) % 12, checkerboard.query(user).items))
        told = source.attribute(query, answer)
        if source.reads_history:
            first = told.items[[told.drops[0].argmax()]]
            one, other = source.scores_of([query, without(query, first)], answer)[:, 0]
            falls.append(one - other)
        else:
            assert not len(told.items)
    assert not source.reads_history or np.mean(falls) > 0


def test_a_look_is_a_share_of_each_item_that_is_read(source: CandidateSource, queries: list[Query]) -> None:
    for query in queries:
        shares = source.attention_weights(query)
        if shares is not None:
            assert shares.shape == source.read(query).shape
            assert not len(shares) or abs(shares.sum() - 1) < 1e-4


class Crowd:
    """Viewers who each watched so many items at random."""

    def __init__(self, viewers: int, items: int, length: int) -> None:
        rng = np.random.default_rng(0)
        walks = [rng.choice(items, length, replace=False).astype(np.int32) for _ in range(viewers)]
        self.context = FitContext(Histories.of(walks, items), two_colours(items), NO_TIME, seed=0)
        self.walks = walks

    def queries(self, count: int) -> list[Query]:
        return [
            Query(
                user_id="someone",
                items=walk,
                times=np.full(len(walk), NO_TIME),
                kinds=np.zeros(len(walk), dtype=np.int8),
                values=np.ones(len(walk), dtype=np.float32),
                positives=np.ones(len(walk), dtype=bool),
                exclude=np.unique(walk),
                now=NO_TIME,
            )
            for walk in self.walks[:count]
        ]


def quick(config: SourceConfig) -> SourceConfig:
    """The same, but what is trained by epochs is trained for one."""
    train = getattr(config, "train", None)
    return dataclasses.replace(config, train=dataclasses.replace(train, epochs=1)) if train else config  # type: ignore[call-arg]


def growths(small: Callable[[], object], large: Callable[[], object]) -> tuple[float, float]:
    """How many times as much memory and as many calls the larger work takes, of NumPy's and PyTorch's the worst."""
    tensors, arrays = (grown(cost(small), cost(large)) for cost in (tensor_cost, python_cost))
    memory = max(tensors.get("allocated", 0), tensors.get("flops", 0), arrays["peak"])
    return memory, max(tensors.get("operations", 0), arrays["calls"])


def test_work_of_a_request_grows_with_queries_items_and_history(config: SourceConfig) -> None:
    def asking(queries: int, items: int, length: int) -> Callable[[], object]:
        crowd = Crowd(60, items, length)
        source, asked = quick(config).fit(crowd.context), crowd.queries(queries)
        return lambda: source.retrieve(asked, 10)

    small = asking(8, 300, 20)
    for large in (asking(32, 300, 20), asking(8, 1200, 20), asking(8, 300, 80)):
        memory, calls = growths(small, large)
        assert max(memory, calls) < LINEAR


def test_work_of_fitting_grows_with_viewers(config: SourceConfig) -> None:
    def fitting(viewers: int) -> Callable[[], object]:
        context = Crowd(viewers, 100, 8).context
        return lambda: quick(config).fit(context)

    memory, calls = growths(fitting(40), fitting(160))
    assert max(memory, calls) < LINEAR


def test_items_that_came_later_leave_the_others_as_they_were(
    source: CandidateSource, queries: list[Query], checkerboard: Any
) -> None:
    """A catalogue of more items: the old ones score as before, the new ones are finite, and a history may hold them."""
    known = len(checkerboard.catalog)
    rows = [{"item_id": f"new-{number}", "title": "How kites fly", "categories": ["sky"]} for number in range(3)]
    catalog = CatalogOverlay().updated(items_frame(rows), 1).over(checkerboard.catalog)
    over = extended(source, catalog)
    scores = over.scores(queries)
    assert scores.shape == (len(queries), known + 3)
    assert np.isfinite(scores).all()
    np.testing.assert_allclose(scores[:, :known], source.scores(queries), atol=TOLERANCE)
    new = np.arange(known, known + 3, dtype=np.int32)
    shut = [dataclasses.replace(query, exclude=np.union1d(query.exclude, new).astype(np.int32)) for query in queries]
    for was, now in zip(source.retrieve(queries, 5), over.retrieve(shut, 5), strict=True):
        np.testing.assert_array_equal(now, was)
    watched = checkerboard.query_of(np.array([3, known + 1, 5, known + 2], dtype=np.int32))
    [found] = gather([over], [watched], [known])
    assert not np.isin(watched.items, found.items).any()
    assert np.isfinite(found.scores).all()
    assert np.isfinite(found.source_features).all()
    items = np.array([1, known], dtype=np.int32)
    np.testing.assert_allclose(over.scores_of([watched], items), over.scores([watched])[:, items], atol=TOLERANCE)
    assert np.isfinite(over.attribute(watched, items).drops).all()
    assert extended(source, checkerboard.catalog) is source
