"""Who is let in: as many as can be answered, and this machine alone where that is meant."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import Message, Receive, Scope, Send

from foveate_serve.http import load_shedding
from foveate_serve.http.admission import Admission, ConcurrencyLimit, OnlyThisMachine, is_loopback
from foveate_serve.http.load_shedding import LoadShedding, Unready


class Server:
    """Answers when it is let go."""

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.entered = 0
        self.app = Starlette(routes=[Route("/work", self.work), Route("/health/live", self.live)])

    async def work(self, request: Request) -> PlainTextResponse:
        self.entered += 1
        await self.go.wait()
        return PlainTextResponse("done")

    async def live(self, request: Request) -> PlainTextResponse:
        return PlainTextResponse("alive")


def client(app: Any, address: str = "127.0.0.1") -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(app, client=(address, 1)), base_url="http://here")


def test_what_comes_when_all_places_are_taken_is_turned_away_at_once() -> None:
    async def ask() -> list[httpx.Response]:
        server = Server()
        async with client(Admission(server.app, ConcurrencyLimit(2))) as http:
            inside = [asyncio.create_task(http.get("/work")) for _ in range(2)]
            while server.entered < 2:
                await asyncio.sleep(0)
            refused, alive = await http.get("/work"), await http.get("/health/live")
            server.go.set()
            answered = await asyncio.gather(*inside)
            return [refused, alive, *answered, await http.get("/work")]

    refused, alive, *answered = asyncio.run(ask())
    assert refused.status_code == 503
    assert refused.headers["content-type"] == "application/problem+json"
    assert int(refused.headers["retry-after"]) >= 1
    assert refused.json()["code"] == "overloaded"
    assert alive.status_code == 200
    assert [one.status_code for one in answered] == [200, 200, 200]


@pytest.mark.parametrize(
    ("path", "headers", "passes"),
    [
        ("/work", {}, False),
        ("/health/live", {}, True),
        # What Ray's proxy asks: a replica that is busy is well.
        ("/-/healthz", {}, True),
        ("/work", {"origin": "https://video.example"}, True),
    ],
)
def test_before_ray_only_that_is_turned_away_which_finds_no_place(
    path: str, headers: dict[str, str], passes: bool
) -> None:
    async def beyond(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse("beyond")(scope, receive, send)

    async def ask() -> list[httpx.Response]:
        concurrency = ConcurrencyLimit(1)
        async with client(LoadShedding(beyond, lambda: concurrency)) as http:
            with concurrency.taken({"type": "http", "path": "/work"}):
                busy = await http.get(path, headers=headers)
            return [busy, await http.get(path, headers=headers)]

    busy, idle = asyncio.run(ask())
    assert busy.status_code == (200 if passes else 503)
    assert idle.text == "beyond"


def test_what_is_no_replica_of_ours_lets_everything_pass() -> None:
    async def ask() -> httpx.Response:
        async with client(LoadShedding(Server().app)) as http:
            return await http.get("/health/live")

    assert asyncio.run(ask()).status_code == 200


def test_a_replica_looks_for_its_places_once_and_with_the_first_request() -> None:
    asked: list[str] = []

    def find() -> ConcurrencyLimit | None:
        asked.append("")
        return ConcurrencyLimit(1)

    async def ask() -> None:
        app = LoadShedding(PlainTextResponse("done"), find)
        assert not asked
        async with client(app) as http:
            for _ in range(3):
                assert (await http.get("/work")).text == "done"

    asyncio.run(ask())
    assert len(asked) == 1


def test_what_is_no_request_passes_a_full_replica_and_a_proxy() -> None:
    async def ask() -> list[str]:
        seen: list[str] = []

        async def app(scope: Scope, receive: Receive, send: Send) -> None:
            seen.append(scope["type"])

        concurrency = ConcurrencyLimit(1)
        with concurrency.taken({"type": "http", "path": "/work"}):
            for find in (lambda: concurrency, lambda: None):
                await LoadShedding(app, find)({"type": "lifespan"}, None, None)  # type: ignore[arg-type] # not asked for
        return seen

    assert asyncio.run(ask()) == ["lifespan", "lifespan"]


def test_a_proxy_bounds_what_it_reads_and_a_replica_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    async def whole(scope: Scope, receive: Receive, send: Send) -> None:
        await PlainTextResponse(str(len(await Request(scope, receive).body())))(scope, receive, send)

    async def ask() -> list[httpx.Response]:
        body = b"x" * (load_shedding._LONGEST_PROXIED + 1)
        answers = []
        for replica in (False, True):
            monkeypatch.setattr(load_shedding, "_is_replica", lambda replica=replica: replica)
            async with client(LoadShedding(whole, lambda: None)) as http:
                answers.append(await http.post("/v1/events", content=body))
        return answers

    proxy, replica = asyncio.run(ask())
    assert proxy.status_code == 413
    assert replica.text == str(load_shedding._LONGEST_PROXIED + 1)


def test_ray_gets_what_sheds_load_and_its_connections_are_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    bound: list[bool] = []
    monkeypatch.setattr(load_shedding, "bound_connections", lambda: bound.append(True))
    [middleware] = load_shedding.middlewares()
    assert (middleware.cls, middleware.args, middleware.kwargs, bound) == (LoadShedding, (), {}, [True])


@pytest.mark.parametrize(("address", "status"), [("127.0.0.1", 200), ("::1", 200), ("192.0.2.7", 403)])
def test_other_machines_are_refused_where_the_server_is_for_its_own(address: str, status: int) -> None:
    async def ask() -> httpx.Response:
        async with client(OnlyThisMachine(Server().app), address) as http:
            return await http.get("/health/live")

    assert asyncio.run(ask()).status_code == status


@pytest.mark.parametrize(
    ("host", "own"),
    [("127.0.0.1", True), ("localhost", True), ("::1", True), ("[::1]", True), ("192.0.2.7", False), ("web", False)],
)
def test_which_hosts_mean_this_machine(host: str, own: bool) -> None:
    assert is_loopback(host) is own


def test_events_and_slates_have_places_of_their_own() -> None:
    slate, events = {"type": "http", "path": "/v1/recommend"}, {"type": "http", "path": "/v1/events"}
    concurrency = ConcurrencyLimit(1, events=2)
    with concurrency.taken(events), concurrency.taken(events):
        assert concurrency.refuses(events)
        assert not concurrency.refuses(slate)
        with concurrency.taken(slate):
            assert concurrency.refuses(slate)
    assert not concurrency.refuses(events)


def test_places_of_events_are_freed_however_a_request_ends() -> None:
    async def fails(scope: Scope, receive: Receive, send: Send) -> None:
        raise RuntimeError

    async def ask() -> None:
        concurrency = ConcurrencyLimit(1, events=1)
        app = Admission(fails, concurrency)
        for path in ("/v1/events", "/v1/recommend"):
            for _ in range(3):
                with pytest.raises(RuntimeError):
                    await app({"type": "http", "path": path}, None, None)  # type: ignore[arg-type] # not asked for
            assert not concurrency.refuses({"type": "http", "path": path})

    asyncio.run(ask())


def test_who_reads_an_answer_slowly_holds_no_place() -> None:
    async def ask() -> None:
        concurrency, reads = ConcurrencyLimit(1), asyncio.Event()

        async def send(message: Message) -> None:
            await reads.wait()

        app = Admission(PlainTextResponse("done"), concurrency)
        scope = {"type": "http", "method": "GET", "path": "/work"}
        slow = asyncio.create_task(app(scope, None, send))  # type: ignore[arg-type] # there is no body
        await asyncio.sleep(0)
        assert not concurrency.refuses(scope)
        reads.set()
        await slow
        assert not concurrency.refuses(scope)

    asyncio.run(ask())


@pytest.mark.parametrize(
    ("path", "status", "content_type", "seen"),
    [
        ("/v1/recommend", 404, "text/plain", 503),
        ("/v1/recommend", 500, "text/plain", 503),
        ("/v1/recommend", 400, "text/plain; charset=utf-8", 503),
        ("/v1/recommend", 400, "application/json", 400),
        ("/health/ready", 404, "text/plain", 404),
        ("/v1/recommend", 399, "text/plain", 399),
        ("/v1/recommend", 404, "application/problem+json", 404),
        ("/v1/recommend", 200, "text/plain", 200),
        ("/other", 404, "text/plain", 404),
    ],
)
def test_while_nobody_can_answer_the_proxy_says_so_as_a_problem(
    path: str, status: int, content_type: str, seen: int
) -> None:
    async def ask() -> httpx.Response:
        async with client(Unready(Response("x", status, media_type=content_type))) as http:
            return await http.post(path)

    answer = asyncio.run(ask())
    assert answer.status_code == seen
    if seen == 503:
        assert (answer.headers["content-type"], answer.headers["retry-after"]) == ("application/problem+json", "1")
        assert answer.json()["code"] == "not_ready"


def test_an_answer_of_the_proxy_that_says_no_type_is_its_own() -> None:
    async def bare(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 404})
        await send({"type": "http.response.body", "body": b"not found"})

    async def ask() -> httpx.Response:
        async with client(Unready(bare)) as http:
            return await http.post("/v1/recommend")

    assert asyncio.run(ask()).json()["code"] == "not_ready"
