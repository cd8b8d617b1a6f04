"""The retriever over shards in this process: same candidates, and what is said and done when a shard is lost."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.bundle import Bundle, BundleShard, default_state
from foveate.core.config import from_dict, to_dict
from foveate.core.errors import BundleError, ConfigError
from foveate.core.messages import Candidates, RecommendRequest, Slate
from foveate.data.dataset import Dataset
from foveate.recommend.pipeline import hydrate, make_context, recommend, retrieve
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface
from foveate.retrieval.shards import Found
from foveate.state.base import utc_micros
from foveate.state.sqlite.store import SqliteState
from foveate.training import fit_model
from foveate_serve.bundles.loading import load_mapped_sources, load_ranker, load_shard
from foveate_serve.bundles.slots import BundleNotHeldError, BundleSlots, Slots
from foveate_serve.config import ServeConfig
from foveate_serve.names import shard_name
from foveate_serve.operations.scaling import Size, sizes_of
from foveate_serve.stages.guarded import Guarded
from foveate_serve.stages.local import Hydrator, Ranker, Retriever
from foveate_serve.stages.remote import RankerStage, RetrieverStage
from foveate_serve.stages.scatter import Scatter
from foveate_serve.stages.searcher import Searcher
from foveate_serve.stages.served import ServedStages
from foveate_serve.stages.sharded import ShardedRetriever
from foveate_serve.telemetry import Telemetry, names
from foveate_serve.telemetry.spans import NoSpans
from foveate_serve.telemetry.telemetry import NoMeter

TOLERANCE = 1e-4
BUDGET, SHORT = 60_000_000, 4_000_000
"""Microseconds."""
SHARDS = 3


class Lost:
    """A shard that does not answer."""

    def __init__(self, work: Callable[[], Awaitable[Any]]) -> None:
        self.work = work
        self.calls = 0

    async def best(self, *_: Any) -> Found:
        self.calls += 1
        found: Found = await self.work()
        return found


async def slow() -> None:
    await asyncio.sleep(60)


async def gone() -> None:
    raise ConnectionError("no such process")


class Counts(NoMeter):
    def __init__(self) -> None:
        self.told: list[dict[str, str]] = []

    def add(self, metric: names.Metric, **tags: str) -> None:
        if metric is names.SHARD_MISSED:
            self.told.append(tags)


def held(load: Callable[[Path], Any], path: Path) -> Any:
    slots: Slots[Any] = Slots("one", load)
    asyncio.run(slots.load(path))
    assert slots.held, slots.status().problem
    return slots


@pytest.fixture(scope="module")
def searchers(small_bundle: Bundle) -> list[Searcher]:
    return [
        Searcher(shard_name(number), held(partial(load_shard, number=number, count=SHARDS), small_bundle.path), 8)
        for number in range(SHARDS)
    ]


@pytest.fixture(scope="module")
def mapped(small_bundle: Bundle) -> Any:
    return held(load_mapped_sources, small_bundle.path)


def sharded(mapped: Any, shards: list[Any], meter: Counts | None = None) -> ShardedRetriever:
    sight = Telemetry(meter or NoMeter(), NoSpans())
    peers = [Guarded(shard_name(number), one) for number, one in enumerate(shards)]
    return ShardedRetriever(mapped, 8, Scatter(peers, sight), sight)


def asked(small_bundle: Bundle, budget: int = BUDGET) -> list[tuple[Any, Any]]:
    """Queries of every surface, for viewers with a history and one without."""
    ids, state = small_bundle.model.catalog.items.ids, SqliteState(default_state(small_bundle.path))
    requests = [RecommendRequest(user, k=5, seed=1) for user in (*state.users(3), "a stranger")]
    requests += [
        RecommendRequest("", k=5, seed=1, surface=name, related_to=ids[3] if "related_to" in kind.needs else None)
        for name, kind in Surface.variants.items()
        if not {"user_id", "history"} & {*kind.needs}
    ]
    contexts = [make_context(one, small_bundle.bundle_id, clock=utc_micros, budget=budget) for one in requests]
    found = hydrate(small_bundle.model, state, requests, contexts)
    return [(query, context) for (query, _), context in zip(found, contexts, strict=True)]


def ask(retriever: Retriever, calls: list[tuple[Any, Any]]) -> list[Candidates]:
    async def all_of_them() -> list[Candidates]:
        return list(await asyncio.gather(*(retriever.retrieve(*one) for one in calls)))

    return asyncio.run(all_of_them())


def test_shards_offer_what_the_whole_offers_on_every_surface(
    small_bundle: Bundle, mapped: Any, searchers: list[Searcher]
) -> None:
    calls = asked(small_bundle)
    assert len({context.surface for _, context in calls}) >= 4
    whole = retrieve(small_bundle.model, [query for query, _ in calls], [context for _, context in calls])
    for expected, one in zip(whole, ask(sharded(mapped, searchers), calls), strict=True):
        np.testing.assert_array_equal(one.items, expected.items)
        np.testing.assert_array_equal(one.offered, expected.offered)
        np.testing.assert_allclose(one.scores, expected.scores, atol=TOLERANCE)
        np.testing.assert_allclose(one.source_features, expected.source_features, atol=TOLERANCE)
        assert (one.sources, one.coverage) == (expected.sources, 1.0)


@pytest.mark.parametrize(("work", "reason"), [(slow, "slow"), (gone, "failed")])
def test_without_a_shard_its_items_alone_are_missed_and_it_is_told(
    small_bundle: Bundle, mapped: Any, searchers: list[Searcher], work: Any, reason: str
) -> None:
    meter = Counts()
    # Only a shard that never answers is waited for.
    [call, *_] = asked(small_bundle, SHORT if work is slow else BUDGET)
    [found] = ask(sharded(mapped, [searchers[0], Lost(work), searchers[2]], meter), [call])
    n_items = len(small_bundle.model.catalog)
    lost = range(n_items // 3, 2 * n_items // 3)
    assert found.coverage == pytest.approx(2 / 3)
    assert meter.told == [{"shard": "shard-1", "reason": reason}]
    offered = found.items[found.offered[:, found.sources.index("attention")]]
    assert len(offered) == 60
    assert not set(offered.tolist()) & set(lost)
    # Another source's candidate from the lost part is scored by the encoder all the same.
    assert set(found.items.tolist()) & set(lost)
    scores = small_bundle.model.sources[0].scores([call[0]])[0]
    np.testing.assert_allclose(found.scores[:, 0], scores[found.items], atol=TOLERANCE)


def test_a_shard_that_failed_some_requests_is_not_waited_for_by_the_next(
    small_bundle: Bundle, mapped: Any, searchers: list[Searcher]
) -> None:
    lost = Lost(gone)
    retriever = sharded(mapped, [*searchers[:2], lost])
    [call, *_] = asked(small_bundle)

    async def often() -> list[float]:
        return [(await retriever.retrieve(*call)).coverage for _ in range(20)]

    assert {round(seen, 4) for seen in asyncio.run(often())} == {0.6667}
    assert 3 <= lost.calls < 20


def test_a_shard_without_the_bundle_sends_the_request_to_the_bundle_before(
    small_bundle: Bundle, mapped: Any, searchers: list[Searcher]
) -> None:
    empty = Searcher("shard-2", Slots("shard-2", lambda path: BundleShard.load(path, 2, SHARDS)), 8)
    [call, *_] = asked(small_bundle)
    with pytest.raises(BundleNotHeldError, match="shard-2"):
        ask(sharded(mapped, [*searchers[:2], empty]), [call])


def viewer(bundle: Bundle) -> str:
    with SqliteState(default_state(bundle.path)) as state:
        return state.users(1)[0]


def slate(bundle: Bundle, retriever: Retriever, request: RecommendRequest) -> tuple[Slate, list[str]]:
    async def answered() -> tuple[Slate, list[str]]:
        context = make_context(request, bundle.bundle_id, clock=utc_micros, budget=BUDGET)
        ranker: Guarded[RankerStage] = Guarded("ranker", Ranker(slots, 8))
        hydrator = Guarded("hydrator", Hydrator(SqliteState(default_state(bundle.path)), 8))
        guarded: Guarded[RetrieverStage] = Guarded("retriever", retriever)
        stages = ServedStages(bundle.model, hydrator, guarded, ranker, BUDGET / 1e6)
        return await recommend(request, context, stages), stages.degraded

    slots = BundleSlots("ranker", partial(load_ranker, mapped=True))
    asyncio.run(slots.load(bundle.path))
    return asyncio.run(answered())


def test_a_slate_says_what_part_of_the_catalogue_was_searched(
    small_bundle: Bundle, mapped: Any, searchers: list[Searcher]
) -> None:
    request = RecommendRequest(viewer(small_bundle), k=5, seed=1)
    slots = BundleSlots("retriever", lambda path: small_bundle)
    asyncio.run(slots.load(small_bundle.path))
    whole, _ = slate(small_bundle, Retriever(slots, 8), request)
    ids = [item.item_id for item in whole.items]
    every, degraded = slate(small_bundle, sharded(mapped, searchers), request)
    assert ([item.item_id for item in every.items], degraded) == (ids, [])
    np.testing.assert_allclose([one.score for one in every.items], [one.score for one in whole.items], atol=TOLERANCE)
    for lost, said in ((1, "coverage_0.67"), (3, "coverage_0.00")):
        shards = [*searchers[lost:], *(Lost(gone) for _ in range(lost))]
        found, degraded = slate(small_bundle, sharded(mapped, shards), request)
        assert degraded == [said]
        assert len(found.items) == 5
        # The ranker has taken part.
        assert found.feature_schema == whole.feature_schema


def test_with_every_shard_lost_and_no_other_source_what_everyone_watches_answers(
    small_bundle: Bundle, mapped: Any
) -> None:
    alone = replace(mapped.held[0], model=replace(mapped.held[0].model, recipe=only_attention(small_bundle)))
    slots = BundleSlots("retriever", lambda path: alone)
    asyncio.run(slots.load(small_bundle.path))
    found, degraded = slate(
        small_bundle, sharded(slots, [Lost(gone)] * 3), RecommendRequest(viewer(small_bundle), k=5, seed=1)
    )
    assert degraded == ["retriever_failed"]
    assert {item.sources for item in found.items} == {("trending",)}


def only_attention(bundle: Bundle) -> Recipe:
    return replace(bundle.model.recipe, sources=bundle.model.recipe.sources[:1])


def test_a_shard_verifies_its_file_and_refuses_what_was_altered(small_bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "altered"
    shutil.copytree(small_bundle.path, folder)
    weights = folder / "sources" / "attention.safetensors"
    content = bytearray(weights.read_bytes())
    content[-1] ^= 1
    weights.write_bytes(bytes(content))
    for load in (partial(load_shard, number=0, count=2), load_mapped_sources):
        with pytest.raises(BundleError, match=r"attention\.safetensors' was altered"):
            load(folder)


def test_a_bundle_without_an_encoder_cannot_be_split(small_world: Dataset, tmp_path: Path) -> None:
    settings = {
        "sources": ["popularity"],
        "label_windows": 1,
        "ranker": {"name": "lambdarank", "trees": 2, "threads": 1},
    }
    model = fit_model(small_world, from_dict(Recipe, settings), upto="all")
    path = Bundle.save(model, tmp_path / "bundle", data_hash="").path
    for load in (partial(load_shard, number=0, count=2), load_mapped_sources):
        with pytest.raises(BundleError, match="serve it without shards"):
            load(path)


def test_what_an_index_finds_is_found_in_shards_too(small_world: Dataset, tmp_path: Path) -> None:
    index = {"name": "inverted", "lists": 30, "probes": 2}
    settings = {
        "sources": [{"name": "attention", "train": {"epochs": 1}, "index": index}, "popularity"],
        "candidates": 30,
        "label_windows": 1,
        "ranker": {"name": "lambdarank", "trees": 2, "threads": 1},
    }
    model = fit_model(small_world, from_dict(Recipe, settings), upto="all")
    bundle = Bundle.save(model, tmp_path / "bundle", data_hash="")
    with SqliteState(default_state(bundle.path)) as state:
        state.import_events(small_world.events)
    calls = [call for call in asked(bundle) if call[1].surface == "home"]
    whole = retrieve(bundle.model, [query for query, _ in calls], [context for _, context in calls])
    mapped = held(load_mapped_sources, bundle.path)
    loads = [partial(load_shard, number=number, count=SHARDS) for number in range(SHARDS)]
    shards = [Searcher(shard_name(number), held(load, bundle.path), 8) for number, load in enumerate(loads)]
    for expected, one in zip(whole, ask(sharded(mapped, shards), calls), strict=True):
        np.testing.assert_array_equal(one.items, expected.items)
        np.testing.assert_allclose(one.scores, expected.scores, atol=TOLERANCE)
    # The index misses some of the best, which the retriever, that scores every item, is not to be refused for finding.
    missed = retrieve(mapped.held[0].model, [query for query, _ in calls], [context for _, context in calls])
    assert any(set(one.items.tolist()) != set(every.items.tolist()) for one, every in zip(whole, missed, strict=True))


def test_vectors_of_all_items_stay_in_the_file_where_few_are_needed(small_bundle: Bundle) -> None:
    bundle = load_ranker(small_bundle.path, mapped=True)
    whole = load_ranker(small_bundle.path)
    assert bundle.model.item_vectors is not None
    assert whole.model.item_vectors is not None
    np.testing.assert_array_equal(bundle.model.item_vectors, whole.model.item_vectors)


def test_shards_have_sizes_and_names_of_their_own() -> None:
    config = from_dict(ServeConfig, {"shards": {"count": 3, "replicas": 2, "cpus": 1.5}})
    assert list(config.deployments) == ["ingress", "retriever", "ranker", "shard-0", "shard-1", "shard-2"]
    assert config.deployments["shard-2"].replicas == 2
    assert from_dict(ServeConfig, to_dict(config)) == config
    assert list(ServeConfig().deployments) == ["ingress", "retriever", "ranker"]
    assert sizes_of(["shard-0=2"]) == {"shard-0": Size(2)}


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "fused": ({"topology": "fused", "shards": {"count": 2}}, "topology=split"),
    "fewer than none": ({"shards": {"count": -1}}, "count must be 0 or more, got -1"),
    "an unknown setting": ({"shards": {"size": 2}}, "unknown setting 'size'"),
    "no replica": ({"shards": {"count": 2, "replicas": 0}}, "at least 1"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_impossible_shards_are_refused(case: tuple[dict[str, Any], str]) -> None:
    settings, said = case
    with pytest.raises(ConfigError, match=said):
        from_dict(ServeConfig, settings)
