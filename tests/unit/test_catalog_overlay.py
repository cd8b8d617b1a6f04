"""A bundle whose catalogue has changed since: new items are found, withdrawn ones are not, and the rest stays."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from foveate.bundle import Bundle
from foveate.core.messages import PastEvent, RecommendRequest
from foveate.data.overlay import CatalogOverlay, items_frame
from foveate.recommend.model import Model
from foveate.recommend.pipeline import hydrate, make_context, recommend_many
from foveate.recommend.surfaces.base import Surface
from foveate.retrieval.attention import AttentionSource
from foveate.retrieval.index.finder import Finder
from foveate.retrieval.index.inverted import Inverted
from foveate.state.base import utc_micros
from foveate.state.connect import open_items
from foveate.state.items import CatalogItem
from foveate.state.sqlite.store import SqliteState
from foveate_serve.bundles.catalogue import CatalogFeed
from foveate_serve.bundles.loading import load_mapped_sources, load_shard
from foveate_serve.bundles.slots import BundleSlots
from foveate_serve.names import shard_name
from foveate_serve.stages.guarded import Guarded
from foveate_serve.stages.local import Retriever
from foveate_serve.stages.scatter import Scatter
from foveate_serve.stages.searcher import Searcher
from foveate_serve.stages.sharded import ShardedRetriever

SHARDS = 3


def like(model: Model, code: int, item_id: str) -> dict[str, Any]:
    """A new item that is described as an old one is."""
    return {**model.catalog.frame.row(code, named=True), "item_id": item_id}


def changed(model: Model, withdrawn: str = "") -> CatalogOverlay:
    """Forty new items, and perhaps an old one that is withdrawn."""
    rows = [like(model, 2 * number, f"new-{number}") for number in range(40)]
    rows += [{"item_id": withdrawn, "withdrawn": True}] if withdrawn else []
    return CatalogOverlay().updated(items_frame(rows), 1)


def over(bundle: Bundle, overlay: CatalogOverlay) -> Bundle:
    return replace(bundle, model=bundle.model.extended(overlay.over(bundle.model.catalog)))


@pytest.fixture
def state(tmp_path: Path) -> SqliteState:
    return SqliteState(tmp_path / "state")


def session(bundle: Bundle, *items: str, k: int = 30) -> tuple[RecommendRequest, Any]:
    request = RecommendRequest("", k=k, surface="session", history=tuple(PastEvent(item) for item in items), seed=3)
    # The machine may be busy: nothing here is to fail for being slow.
    return request, make_context(request, bundle.bundle_id, clock=utc_micros, budget=600_000_000)


def test_a_model_over_an_unchanged_catalogue_is_the_same(small_bundle: Bundle) -> None:
    catalog = small_bundle.model.catalog
    assert CatalogOverlay().over(catalog) is catalog


def test_new_items_are_found_by_what_is_known_of_them(small_bundle: Bundle, state: SqliteState) -> None:
    model = small_bundle.model
    extended = over(small_bundle, changed(model)).model
    assert len(extended.catalog) == len(model.catalog) + 40
    asked = [session(small_bundle, *model.catalog.items.ids[start : start + 5]) for start in range(0, 60, 3)]
    queries = [query for query, _ in hydrate(extended, state, *map(list, zip(*asked, strict=True)))]
    [attention, *_] = extended.sources
    tops = attention.retrieve(queries, 60)
    new = [(top >= len(model.catalog)).sum() for top in tops]
    assert sum(new) > 0
    # What is like what a viewer liked is nearer than what is not.
    scores = attention.scores(queries)[:, len(model.catalog) :]
    vectors = extended.content(np.arange(len(extended.catalog), dtype=np.int32))
    likeness = np.array([(vectors[query.items] @ vectors[len(model.catalog) :].T).sum(axis=0) for query in queries])
    agreement = [np.corrcoef(one, other)[0, 1] for one, other in zip(scores, likeness, strict=True)]
    assert np.mean(agreement) > 0.1
    for slate in recommend_many(extended, state, *map(list, zip(*asked, strict=True))):
        assert len(slate.items) == 30
        assert all(np.isfinite(item.score) and np.isfinite(item.features).all() for item in slate.items)


def test_a_viewer_may_have_met_a_new_item(small_bundle: Bundle, state: SqliteState) -> None:
    extended = over(small_bundle, changed(small_bundle.model))
    request, context = session(extended, "new-3", small_bundle.model.catalog.items.ids[1], "new-7")
    [slate] = recommend_many(extended.model, state, [request], [context])
    assert not {"new-3", "new-7"} & {item.item_id for item in slate.items}
    assert slate.items


def test_every_surface_answers_over_a_changed_catalogue(small_bundle: Bundle, state: SqliteState) -> None:
    catalog = small_bundle.model.catalog
    extended = over(small_bundle, changed(small_bundle.model, withdrawn=catalog.items.ids[4])).model
    for name, kind in Surface.variants.items():
        for related in ("new-1", catalog.items.ids[3]):
            request = RecommendRequest(
                k=8,
                surface=name,
                related_to=related if "related_to" in kind.needs else None,
                user_id="" if "user_id" not in kind.needs else "somebody",
                history=(PastEvent("new-2"),) if "history" in kind.needs else None,
            )
            context = make_context(request, "b", clock=utc_micros)
            [slate] = recommend_many(extended, state, [request], [context])
            assert catalog.items.ids[4] not in {item.item_id for item in slate.items}, name


def test_a_withdrawn_item_is_in_no_slate_and_comes_back(small_bundle: Bundle, state: SqliteState) -> None:
    request, context = session(small_bundle, small_bundle.model.catalog.items.ids[1])
    [before] = recommend_many(small_bundle.model, state, [request], [context])
    best = before.items[0].item_id
    gone = CatalogOverlay().updated(items_frame([{"item_id": best, "withdrawn": True}]), 1)
    [after] = recommend_many(over(small_bundle, gone).model, state, [request], [context])
    assert best not in {item.item_id for item in after.items}
    row = like(small_bundle.model, small_bundle.model.catalog.items.code(best), best)
    back = gone.updated(items_frame([row]), 2)
    [again] = recommend_many(over(small_bundle, back).model, state, [request], [context])
    assert [item.item_id for item in again.items] == [item.item_id for item in before.items]


def test_a_bundle_that_holds_the_items_by_now_stays_as_it_is(small_bundle: Bundle) -> None:
    catalog = small_bundle.model.catalog
    row = like(small_bundle.model, 5, catalog.items.ids[5])
    catalog_over = CatalogOverlay().updated(items_frame([row]), 1).over(catalog)
    assert catalog_over.appended == 0
    assert catalog_over.items.ids == catalog.items.ids
    assert small_bundle.model.extended(catalog_over).sources == small_bundle.model.sources


def test_an_index_and_shards_find_new_items_as_the_whole_does(small_bundle: Bundle, state: SqliteState) -> None:
    overlay = changed(small_bundle.model)
    extended = over(small_bundle, overlay)
    known = small_bundle.model.catalog.items.ids
    asked = [session(extended, *known[start : start + 6]) for start in range(0, 40, 5)]
    hydrated = hydrate(extended.model, state, *map(list, zip(*asked, strict=True)))
    calls = [(query, context) for (query, _), (_, context) in zip(hydrated, asked, strict=True)]

    def taken(load: Any, overlaid: bool = True) -> Any:
        slots: Any = BundleSlots("one", load, over=partial(over, overlay=overlay) if overlaid else None)
        asyncio.run(slots.load(small_bundle.path))
        assert slots.held, slots.status().problem
        return slots

    def answers(retriever: Retriever) -> list[Any]:
        async def ask() -> list[Any]:
            return list(await asyncio.gather(*(retriever.retrieve(*call) for call in calls)))

        return asyncio.run(ask())

    whole = answers(Retriever(taken(Bundle.load), 8))
    shards = [
        Guarded(shard_name(n), Searcher(shard_name(n), taken(partial(load_shard, number=n, count=SHARDS), False), 8))
        for n in range(SHARDS)
    ]
    parts = answers(ShardedRetriever(taken(load_mapped_sources), 8, Scatter(shards)))
    assert any((one.items >= len(known)).any() for one in whole)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_array_equal(other.items, one.items)
        np.testing.assert_allclose(other.scores, one.scores, atol=1e-4)
        assert other.coverage == 1.0
    # A replica that knows nothing of the new items yet answers from the others.
    for one in answers(Retriever(taken(Bundle.load, False), 8)):
        assert (one.items < len(known)).all()


def test_an_index_finds_new_items_as_a_search_of_all_does(small_bundle: Bundle, state: SqliteState) -> None:
    overlay, whole = changed(small_bundle.model), small_bundle.model.sources[0]
    assert isinstance(whole, AttentionSource)
    index = Inverted(lists=4)
    finder = Finder(whole.encoder, index.build(whole.encoder.item_dots, 0), widen=1, recall=1.0)
    finder.index.probes = finder.index.most_probes
    looked_up = AttentionSource(whole.config, whole.encoder, small_bundle.model.catalog, finder, whole.content_map)
    catalog = overlay.over(small_bundle.model.catalog)
    known = small_bundle.model.catalog.items.ids
    asked = [session(small_bundle, *known[start : start + 6]) for start in range(0, 40, 5)]
    queries = [query for query, _ in hydrate(small_bundle.model, state, *map(list, zip(*asked, strict=True)))]
    expected, found = (one.extended(catalog).ask(queries, 40).tops for one in (whole, looked_up))
    assert any((top >= len(known)).any() for top in expected)
    for one, other in zip(expected, found, strict=True):
        np.testing.assert_array_equal(other, one)


def test_a_replica_follows_the_store_and_never_loses_its_bundle(small_bundle: Bundle, tmp_path: Path) -> None:
    async def story() -> None:
        with SqliteState(tmp_path / "state"), open_items(tmp_path / "state") as items:
            items.put([CatalogItem("first")])
            feed = CatalogFeed(open_items(tmp_path / "state"), every_s=0.01)
            slots: Any = BundleSlots("one", lambda path: small_bundle, over=feed.over)
            await slots.load(small_bundle.path)
            assert "first" in slots.held[0].model.catalog.items
            feed.follow(slots)
            feed.follow(slots)
            version = items.put([CatalogItem("second", title="kites")])
            while feed.version < version or "second" not in slots.held[0].model.catalog.items:
                await asyncio.sleep(0.01)
            items.withdraw(["first"])
            while slots.held[0].model.catalog.withdrawn is None:
                await asyncio.sleep(0.01)
            assert slots.bundle(small_bundle.bundle_id).model.catalog.items.ids[-2:] == ["first", "second"]

    asyncio.run(asyncio.wait_for(story(), 60))


def test_a_store_that_cannot_be_read_changes_nothing(small_bundle: Bundle, tmp_path: Path) -> None:
    feed = CatalogFeed(open_items(tmp_path / "absent", create=False, lazy=True))
    assert feed.over(small_bundle) is small_bundle
    assert feed.version == 0
