"""What every surface keeps, whichever it is: a new file in the folder is tested unasked."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from foveate.bundle import Bundle, default_state
from foveate.core.errors import NotFoundError, RequestError
from foveate.core.messages import Filters, PastEvent, RecommendRequest, RequestContext, Slate
from foveate.data.catalog import Catalog
from foveate.data.schema import ITEM_ID, ITEMS
from foveate.recommend.explain import LocalExplainStages, explain, why_not
from foveate.recommend.model import Model
from foveate.recommend.pipeline import LocalStages, make_context, recommend, recommend_many
from foveate.recommend.recipe import Recipe
from foveate.recommend.surfaces.base import Surface, surface_of, why_empty
from foveate.replay.served import replay
from foveate.retrieval.base import SourceConfig
from foveate.slate.base import SlatePolicy
from foveate.state.base import ServedRequest
from foveate.state.sqlite.impressions import SqliteImpressions
from foveate.state.sqlite.store import SqliteState

NOW = 1_742_169_600_000_000 - 3 * 86_400_000_000  # three days before the end of the small world's two weeks
each = pytest.mark.parametrize("name", Surface.variants)


@pytest.fixture
def state(small_bundle: Bundle) -> Iterator[SqliteState]:
    with SqliteState(default_state(small_bundle.path), create=False) as opened:
        yield opened


def request_for(name: str, bundle: Bundle, user_id: str, **more: Any) -> RecommendRequest:
    """What this surface needs, of a viewer where it takes one."""
    kind, ids = Surface.variants[name], bundle.model.catalog.items.ids
    if "history" in kind.needs:
        more["history"] = tuple(PastEvent(item_id) for item_id in ids[3:6])
    if "related_to" in kind.needs:
        more["related_to"] = ids[7]
    asks = {*kind.needs, *kind.takes}
    return RecommendRequest(user_id if "user_id" in asks else "", surface=name, now=NOW, seed=1, **more)


def context_of(bundle: Bundle, request: RecommendRequest, name: str = "r") -> RequestContext:
    return make_context(request, bundle.bundle_id, clock=lambda: NOW, request_id=name)


def ask(bundle: Bundle, state: SqliteState, request: RecommendRequest, model: Model | None = None) -> Slate:
    stages = LocalStages(model or bundle.model, state)
    return asyncio.run(recommend(request, context_of(bundle, request), stages))


def shown(slate: Slate) -> list[str]:
    return [item.item_id for item in slate.items]


@each
def test_a_surface_says_what_it_is(name: str) -> None:
    kind = Surface.variants[name]
    assert kind.about().endswith(".")
    assert {*kind.needs, *kind.takes} <= {"user_id", "history", "related_to", "likes"}


@each
def test_its_slate_is_full_and_keeps_filters_and_caps(name: str, small_bundle: Bundle, state: SqliteState) -> None:
    catalog = small_bundle.model.catalog
    for user in state.users(8):
        slate = ask(small_bundle, state, request_for(name, small_bundle, user, k=4))
        assert len(slate.items) == len(set(shown(slate))) == 4
        assert [item.position for item in slate.items] == [0, 1, 2, 3]
        assert all(np.isfinite(item.score) and item.sources for item in slate.items)
        assert not set(shown(slate)) & set(state.history(slate.user_id).item_ids if slate.user_id else ())
        channels = catalog.channel[catalog.items.encode(shown(slate))]
        assert np.bincount(channels).max() <= (small_bundle.model.recipe.constraints.max_per_channel or 4)
        out = Filters((shown(slate)[0],), (catalog.channels.ids[channels[1]],))
        fewer = ask(small_bundle, state, request_for(name, small_bundle, user, k=4, filters=out))
        assert shown(slate)[0] not in shown(fewer)
        assert channels[1] not in catalog.channel[catalog.items.encode(shown(fewer))]


@each
def test_pages_repeat_nothing_and_end(name: str, small_bundle: Bundle, state: SqliteState) -> None:
    catalog, request, seen = small_bundle.model.catalog, request_for(name, small_bundle, state.users(3)[2], k=25), []
    for _ in range(40):
        slate = ask(small_bundle, state, request)
        if not slate.items:
            break
        seen += shown(slate)
        marks = tuple(catalog.marks[catalog.items.encode(seen)].tolist())
        request = replace(request, filters=Filters(shown_before=marks))
    assert not slate.items
    assert len(seen) == len(set(seen)) > 10


@each
def test_a_record_remakes_its_slate(name: str, small_bundle: Bundle, tmp_path: Path, state: SqliteState) -> None:
    request = request_for(name, small_bundle, state.users(5)[4], k=5)
    context = context_of(small_bundle, request, "r1")
    slate = asyncio.run(recommend(request, context, LocalStages(small_bundle.model, state)))
    with SqliteImpressions(tmp_path / "s") as sink:
        sink.write([ServedRequest(request, context, slate)])
        assert replay(sink.read("r1"), small_bundle, state).differences == ()


@each
def test_its_slate_is_explained(name: str, small_bundle: Bundle, state: SqliteState) -> None:
    request = request_for(name, small_bundle, state.users(2)[1], k=5)
    context, stages = context_of(small_bundle, request), LocalExplainStages(small_bundle.model, state)
    slate, told = asyncio.run(explain(request, context, stages, small_bundle.model.catalog))
    assert shown(slate) == shown(ask(small_bundle, state, request))
    for item, one in zip(slate.items, told.items, strict=True):
        added = one.base + one.others + sum(part.value for part in one.contributions)
        assert added == pytest.approx(item.score, abs=1e-4)
        assert one.sentence


@each
def test_it_says_why_an_item_is_not_there(name: str, small_bundle: Bundle, state: SqliteState) -> None:
    request = request_for(name, small_bundle, state.users(1)[0], k=5)
    context, stages = context_of(small_bundle, request), LocalExplainStages(small_bundle.model, state)
    slate = ask(small_bundle, state, request)
    for item in (*small_bundle.model.catalog.items.ids[:12], *shown(slate), "nothing"):
        answer = asyncio.run(why_not(request, context, stages, small_bundle.model, item))
        assert (answer.where == "shown") == (item in shown(slate))
        assert item in answer.sentence or answer.title


def test_a_batch_of_all_surfaces_agrees_with_its_members(small_bundle: Bundle, state: SqliteState) -> None:
    users = state.users(3)
    requests = [request_for(name, small_bundle, user, k=4) for user in users for name in Surface.variants]
    contexts = [context_of(small_bundle, request, str(i)) for i, request in enumerate(requests)]
    many = recommend_many(small_bundle.model, state, requests, contexts)
    assert [shown(slate) for slate in many] == [shown(ask(small_bundle, state, request)) for request in requests]


def test_a_session_of_a_viewers_events_gets_what_the_viewer_gets(small_bundle: Bundle, state: SqliteState) -> None:
    for user in state.users(6):
        history = state.history(user)
        rows = zip(history.item_ids, history.kinds, history.values.tolist(), history.times.tolist(), strict=True)
        session = RecommendRequest("", 5, "session", now=NOW, seed=1, history=tuple(PastEvent(*row) for row in rows))
        viewer = RecommendRequest(user, 5, now=NOW, seed=1)
        assert shown(ask(small_bundle, state, session)) == shown(ask(small_bundle, state, viewer))


def test_fresh_and_upcoming_go_by_the_calendar(small_bundle: Bundle, state: SqliteState) -> None:
    catalog = small_bundle.model.catalog
    out_I = np.maximum(catalog.available_from, catalog.published_at)
    for name, side, step in (("fresh", -1, -1), ("upcoming", 1, 1)):
        times = out_I[catalog.items.encode(shown(ask(small_bundle, state, RecommendRequest("", 8, name, now=NOW))))]
        assert len(times) > 3
        assert (np.sign(times - NOW) == side).all()
        assert (np.diff(times) * step >= 0).all(), "the nearest to now comes first"


def test_channels_are_new_to_the_viewer_and_stand_once(small_bundle: Bundle, state: SqliteState) -> None:
    catalog, user = small_bundle.model.catalog, state.users(1)[0]
    met = set(catalog.channel[catalog.items.encode(state.history(user).item_ids)].tolist())
    first = ask(small_bundle, state, request_for("channels", small_bundle, user, k=4))
    marks = tuple(catalog.marks[catalog.items.encode(shown(first))].tolist())
    after = request_for("channels", small_bundle, user, k=4, filters=Filters(shown_before=marks))
    both = [*shown(first), *shown(ask(small_bundle, state, after))]
    found = catalog.channel[catalog.items.encode(both)].tolist()
    assert len(found) == len(set(found)) > 4
    assert not met & set(found)


def test_related_goes_by_the_video_and_not_by_who_asks(small_bundle: Bundle, state: SqliteState) -> None:
    ids = small_bundle.model.catalog.items.ids
    slates = [ask(small_bundle, state, RecommendRequest("", 5, "related", now=NOW, related_to=one)) for one in ids[:6]]
    assert all(one not in shown(slate) for one, slate in zip(ids, slates, strict=False))
    assert len({tuple(shown(slate)) for slate in slates}) > 3
    assert all(not {"popularity"} & {name for item in slate.items for name in item.sources} for slate in slates)


def test_trending_is_the_same_for_all_strangers(small_bundle: Bundle, state: SqliteState) -> None:
    slates = [ask(small_bundle, state, RecommendRequest(user, 5, "trending", now=NOW)) for user in ("", "a stranger")]
    assert shown(slates[0]) == shown(slates[1])
    scores = [item.score for item in slates[0].items]
    assert scores == sorted(scores, reverse=True)


def test_a_diversity_of_zero_is_relevance_and_one_is_not(small_bundle: Bundle, state: SqliteState) -> None:
    user = state.users(1)[0]
    plain, alone, varied = (
        ask(small_bundle, state, RecommendRequest(user, 8, now=NOW, diversity=one)) for one in (None, 0.0, 1.0)
    )
    scores = [item.score for item in alone.items]
    assert scores == sorted(scores, reverse=True)
    assert shown(varied) != shown(alone)
    assert len({slate.policy_id for slate in (plain, alone, varied)}) == 3


BAD: dict[str, tuple[RecommendRequest, str]] = {
    "an unknown surface": (RecommendRequest("u", surface="hom"), "Did you mean 'home'"),
    "no viewer": (RecommendRequest(""), "'user_id'"),
    "no history": (RecommendRequest("", surface="session"), "'history'"),
    "no video": (RecommendRequest("u", surface="related"), "'related_to'"),
    "an unknown video": (RecommendRequest("u", surface="related", related_to="none"), "no item 'none'"),
    "viewer and history": (RecommendRequest("u", surface="trending", history=()), "not both"),
    "a video too many": (RecommendRequest("u", related_to="v1"), "takes no 'related_to'"),
    "a strength too many": (RecommendRequest("u", surface="fresh", diversity=0.5), "no diversity"),
}


@pytest.mark.parametrize("case", BAD.values(), ids=BAD)
def test_what_a_surface_cannot_answer_is_refused(
    case: tuple[RecommendRequest, str], small_bundle: Bundle, state: SqliteState
) -> None:
    with pytest.raises(RequestError, match=case[1]):
        ask(small_bundle, state, case[0])


def test_a_bundle_that_lacks_what_a_surface_needs_says_so(small_bundle: Bundle, state: SqliteState) -> None:
    model = small_bundle.model

    def asked(request: RecommendRequest, **changes: Any) -> None:
        ask(small_bundle, state, request, replace(model, recipe=replace(model.recipe, **changes)))

    only_popular = (SourceConfig.variants["popularity"](),)
    with pytest.raises(RequestError, match="no strength"):
        asked(RecommendRequest("u", diversity=0.5), policy=SlatePolicy.variants["relevance"]())
    with pytest.raises(RequestError, match="goes with a video"):
        asked(RecommendRequest("", surface="related", related_to=model.catalog.items.ids[0]), sources=only_popular)
    with pytest.raises(RequestError, match="trending"):
        asked(RecommendRequest("", surface="trending"), sources=model.recipe.sources[:1])
    assert isinstance(surface_of("home").offers(Recipe()), dict)
    assert issubclass(NotFoundError, RequestError)


@each
def test_a_slate_without_items_says_why(name: str, small_bundle: Bundle, state: SqliteState) -> None:
    blanks = {column: pl.lit(None, dtype=ITEMS[column]) for column in ITEMS if column != ITEM_ID}
    bare = replace(small_bundle.model, catalog=Catalog(small_bundle.model.catalog.frame.with_columns(**blanks)))
    request = request_for(name, small_bundle, "u3")
    lack = surface_of(name).lacks(bare, context_of(small_bundle, request))
    assert ("catalogue has no" in lack) == (name in {"channels", "fresh", "upcoming"})
    assert (lack or "Nothing is left for") in why_empty(bare, request, context_of(small_bundle, request))
    if lack:
        assert not ask(small_bundle, state, request, bare).items
    else:
        assert ask(small_bundle, state, request, bare).items


def test_a_surface_of_what_is_to_come_says_that_nothing_is(small_bundle: Bundle) -> None:
    request = request_for("upcoming", small_bundle, "u3")
    late = replace(context_of(small_bundle, request), now=NOW * 2)
    assert surface_of("upcoming").lacks(small_bundle.model, late) == "no item comes out after the time of the request"
