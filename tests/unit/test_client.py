"""The typed client against the real interface."""

from __future__ import annotations

import asyncio
import hashlib
import subprocess
import sys
from collections.abc import Iterator

import httpx
import pytest
from pydantic import ValidationError

from foveate_serve.client import (
    ApiError,
    AsyncClient,
    Client,
    EventIn,
    EventsIn,
    FiltersIn,
    InvalidRequestError,
    MissingError,
    PastEventIn,
    RecommendIn,
    UnreachableError,
    WhyNotIn,
)


@pytest.fixture
def client(small_api: httpx.Client) -> Iterator[Client]:
    with Client(str(small_api.base_url), timeout_s=60) as opened:
        yield opened


def test_importing_it_brings_neither_ray_nor_torch() -> None:
    script = "import sys, foveate_serve.client as c; print({'ray', 'torch', 'fastapi'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_it_asks_all_that_can_be_asked(client: Client) -> None:
    assert client.ready().ready
    assert "home" in {one.name for one in client.surfaces().surfaces}
    slate = client.recommend(RecommendIn(user_id="u00030", k=3, filters=FiltersIn(max_maturity=99), explain=True))
    assert [item.rank for item in slate.items] == [1, 2, 3]
    assert slate.items[0].explanation
    assert slate.now.tzinfo
    assert client.item(slate.items[0].item_id).title == slate.items[0].title
    told = client.why_not(WhyNotIn(user_id="u00030", item_id=slate.items[0].item_id, seed=slate.seed, now=slate.now))
    assert told.user_id == "u00030"
    event = EventIn(user_id="a new one", item_id=slate.items[0].item_id, kind="like", event_id="once")
    assert [client.tell(EventsIn(events=[event])).added for _ in range(2)] == [1, 0]
    session = RecommendIn(surface="session", history=[PastEventIn(item_id=slate.items[0].item_id)], k=2)
    assert not client.recommend(session).cold


def test_a_viewer_is_erased_over_http_and_what_they_told_is_gone(client: Client, small_api: httpx.Client) -> None:
    name = "she / with a slash"
    slate = client.recommend(RecommendIn(user_id=name, k=2))
    told = EventIn(user_id=name, item_id=slate.items[0].item_id, kind="like", request_id=slate.request_id)
    client.tell(EventsIn(events=[told]))
    assert not client.recommend(RecommendIn(user_id=name, k=2)).cold
    erased = client.erase(name)
    assert erased.done
    assert erased.stores[0].events == 1
    assert "/" not in erased.stores[0].place
    assert hashlib.sha256(f"{erased.nonce}:{name}".encode()).hexdigest() == erased.viewer
    assert client.recommend(RecommendIn(user_id=name, k=2)).cold

    async def again() -> int:
        async with AsyncClient(str(small_api.base_url), timeout_s=60) as server:
            return (await server.erase(name)).stores[0].events

    assert asyncio.run(again()) == 0


def test_pages_follow_one_another(client: Client) -> None:
    seen = [item.item_id for page in client.pages(RecommendIn(surface="trending", k=40)) for item in page.items]
    assert len(seen) == len(set(seen)) > 80


def test_the_async_client_says_the_same(client: Client, small_api: httpx.Client) -> None:
    ask = RecommendIn(user_id="u00031", k=30, seed=1, now="2025-03-14T00:00:00Z")

    async def pages() -> list[str]:
        async with AsyncClient(str(small_api.base_url), timeout_s=60) as server:
            assert (await server.ready()).ready
            return [item.item_id async for page in server.pages(ask) for item in page.items]

    assert asyncio.run(pages()) == [item.item_id for page in client.pages(ask) for item in page.items]


def test_problems_are_typed_errors(client: Client) -> None:
    with pytest.raises(MissingError, match="no item 'none'") as missing:
        client.item("none")
    assert missing.value.problem.code == "not_found"
    with pytest.raises(InvalidRequestError, match="Did you mean 'home'") as invalid:
        client.recommend(RecommendIn(user_id="u", surface="hom"))
    assert invalid.value.problem.errors
    with pytest.raises(ValidationError):
        RecommendIn(user_id="u", k=0)
    with Client("http://127.0.0.1:9", timeout_s=1) as nobody, pytest.raises(UnreachableError):
        nobody.ready()
    assert issubclass(UnreachableError, ApiError)
