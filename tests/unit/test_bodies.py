"""A body is read before anything is set aside for its request: in time, and within bounds for one and for all."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest
from starlette.types import Message, Receive, Scope, Send

from foveate_serve.http.admission import FREE, Admission, BodyBudget, BodyReader, ConcurrencyLimit

POST: dict[str, Any] = {"type": "http", "method": "POST", "path": "/v1/recommend", "headers": []}


class App:
    """Notes the bodies that come through, and answers 200."""

    def __init__(self) -> None:
        self.bodies: list[bytes] = []

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        message = await receive()
        self.bodies.append(message["body"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})


def message(content: bytes, more: bool) -> Message:
    return {"type": "http.request", "body": content, "more_body": more}


async def asked(app: Any, messages: Sequence[Message], scope: Scope = POST) -> tuple[int | None, dict[bytes, bytes]]:
    """Return status and headers of the answer; when the messages are used up nothing more comes."""
    left, started = [*messages], []

    async def receive() -> Message:
        if not left:
            await asyncio.Event().wait()
        return left.pop(0)

    async def send(one: Message) -> None:
        if one["type"] == "http.response.start":
            started.append(one)

    await app(scope, receive, send)
    return (started[0]["status"], dict(started[0]["headers"])) if started else (None, {})


def test_a_body_that_does_not_come_takes_no_place_and_loses_its_connection() -> None:
    async def run() -> None:
        app, concurrency = App(), ConcurrencyLimit(1)
        reader = BodyReader(Admission(app, concurrency), 1000, timeout_s=0.2)
        stalled = [asyncio.create_task(asked(reader, [message(b"{", True)])) for _ in range(5)]
        await asyncio.sleep(0)
        # A good one is answered beside them, though there is one place alone.
        assert (await asked(reader, [message(b"good", False)]))[0] == 200
        for status, headers in await asyncio.gather(*stalled):
            assert (status, headers[b"connection"]) == (408, b"close")
        assert app.bodies == [b"good"]

    asyncio.run(run())


def test_a_body_that_trickles_has_no_more_time_than_one_that_stalls() -> None:
    async def run() -> None:
        async def receive() -> Message:
            await asyncio.sleep(0.02)
            return message(b"x", True)

        answers: list[Message] = []

        async def send(one: Message) -> None:
            answers.append(one)

        await BodyReader(App(), 10_000, timeout_s=0.2)(POST, receive, send)
        assert answers[0]["status"] == 408

    asyncio.run(run())


def test_all_bodies_together_are_bounded_and_small_ones_never_refused_for_it() -> None:
    async def run() -> None:
        app, budget = App(), BodyBudget(10_000)
        reader = BodyReader(app, 100_000, budget, timeout_s=30)
        large = message(b"x" * (FREE + 8_000), True)
        holding = asyncio.create_task(asked(reader, [large]))
        while budget.left == 10_000:
            await asyncio.sleep(0)
        assert (await asked(reader, [large]))[0] == 503
        assert (await asked(reader, [message(b"x" * FREE, False)]))[0] == 200
        holding.cancel()
        await asyncio.gather(holding, return_exceptions=True)
        assert budget.left == 10_000, "what a request held is given back, however it ends"
        assert (await asked(reader, [large, message(b"", False)]))[0] == 200
        assert budget.left == 10_000

    asyncio.run(run())


@pytest.mark.parametrize(
    "scope",
    [{**POST, "method": "GET"}, {**POST, "path": "/health/live"}, {**POST, "path": "/docs"}],
)
def test_what_has_no_body_is_not_waited_for(scope: Scope) -> None:
    async def answers(scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 405, "headers": []})

    assert asyncio.run(asked(BodyReader(answers, 10), [], scope))[0] == 405


def test_a_length_that_is_too_large_is_refused_before_a_byte_of_it() -> None:
    scope = {**POST, "headers": [(b"content-length", b"11")]}
    status, headers = asyncio.run(asked(BodyReader(App(), 10), [], scope))
    assert (status, headers[b"connection"]) == (413, b"close")


def test_a_client_that_is_gone_is_not_answered() -> None:
    app = App()
    assert asyncio.run(asked(BodyReader(app, 10), [message(b"1", True), {"type": "http.disconnect"}]))[0] is None
    assert not app.bodies
