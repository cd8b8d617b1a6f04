"""What may come over HTTP, and how times cross the border."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError
from starlette.types import Message, Receive, Scope, Send

from foveate.core.config import from_dict, to_dict
from foveate.core.errors import ConfigError
from foveate.core.messages import Filters, PastEvent, RecommendRequest
from foveate_serve.bundles.slots import Status
from foveate_serve.config import ServeConfig
from foveate_serve.http.admission import BodyReader
from foveate_serve.http.answers import ready_out
from foveate_serve.http.schemas.ask import RecommendIn
from foveate_serve.http.schemas.base import from_micros, to_micros
from foveate_serve.http.schemas.events import EventsIn
from foveate_serve.http.schemas.health import place_mark

BAD_REQUESTS: dict[str, dict[str, Any]] = {
    "an empty viewer": {"user_id": ""},
    "a long viewer": {"user_id": "u" * 257},
    "a number for a viewer": {"user_id": 17},
    "an unknown field": {"user_id": "u", "size": 3},
    "an unknown filter": {"user_id": "u", "filters": {"genre": ["x"]}},
    "no items": {"user_id": "u", "k": 0},
    "too many items": {"user_id": "u", "k": 101},
    "a text for a number": {"user_id": "u", "k": "10"},
    "half an item": {"user_id": "u", "k": 2.5},
    "a time without an offset": {"user_id": "u", "now": "2025-03-03T10:00:00"},
    "a time out of range": {"user_id": "u", "now": "9999-03-03T10:00:00Z"},
    "a negative seed": {"user_id": "u", "seed": -1},
    "too many exclusions": {"user_id": "u", "filters": {"exclude_items": ["x"] * 1001}},
    "a negative age": {"user_id": "u", "filters": {"max_maturity": -1}},
    "a number for a time": {"user_id": "u", "now": 1_742_169_600},
    "a strength above one": {"user_id": "u", "diversity": 1.1},
    "a long history": {"history": [{"item_id": "v"}] * 1001},
    "an unknown kind in a history": {"history": [{"item_id": "v", "kind": "nod"}]},
    "a long cursor": {"user_id": "u", "cursor": "x" * 8001},
}


@pytest.mark.parametrize("body", BAD_REQUESTS.values(), ids=BAD_REQUESTS)
def test_a_malformed_request_is_refused(body: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        RecommendIn.model_validate(body)


def test_a_request_becomes_the_pipelines_own() -> None:
    body = {
        "user_id": "ü 7",
        "k": 3,
        "surface": "tv",
        "filters": {
            "exclude_items": ["a"],
            "exclude_channels": ["c"],
            "languages": ["de"],
            "max_maturity": 12,
            "region": "DE",
        },
        "now": "2025-03-03T12:00:00+02:00",
        "seed": 5,
        "diversity": 0.5,
        "related_to": "v1",
        "history": [{"item_id": "v2"}, {"item_id": "v3", "kind": "like", "occurred_at": "1970-01-01T00:00:01Z"}],
    }
    now = int(datetime(2025, 3, 3, 10, tzinfo=UTC).timestamp()) * 1_000_000
    filters = Filters(("a",), ("c",), ("de",), 12, "DE")
    history = (PastEvent("v2"), PastEvent("v3", "like", 1.0, 1_000_000))
    message = RecommendRequest("ü 7", 3, "tv", filters, now, 5, history, "v1", 0.5)
    assert RecommendIn.model_validate(body).message() == message
    assert from_dict(RecommendRequest, to_dict(message)) == message, "a record holds it as it was"
    assert RecommendIn(user_id="u").message() == RecommendRequest("u")


@pytest.mark.parametrize("example", RecommendIn.model_json_schema()["examples"])
def test_the_examples_of_the_documentation_are_accepted(example: dict[str, Any]) -> None:
    RecommendIn.model_validate(example)


@pytest.mark.parametrize(
    "change", [{"kind": "nod"}, {"value": float("inf")}, {"item_id": ""}, {"occurred_at": "yesterday"}, {"who": "me"}]
)
def test_a_malformed_event_is_refused(change: dict[str, Any]) -> None:
    event = {"user_id": "u", "item_id": "i", "kind": "like"}
    EventsIn.model_validate({"events": [event]})
    with pytest.raises(ValidationError):
        EventsIn.model_validate({"events": [{**event, **change}]})


def test_an_event_without_a_time_happened_when_it_arrived() -> None:
    event = {"user_id": "u", "item_id": "i", "kind": "like"}
    dated = {**event, "occurred_at": "1970-01-01T00:00:01Z"}
    body = EventsIn.model_validate({"events": [event, dated]})
    assert [one.message(77).occurred_at for one in body.events] == [77, 1_000_000]


@given(st.integers(0, 7_000_000_000_000_000))
def test_times_cross_the_border_exactly(micros: int) -> None:
    assert to_micros(from_micros(micros)) == micros
    assert to_micros(from_micros(micros).astimezone(timezone(timedelta(hours=5, minutes=45)))) == micros


def test_ready_means_that_every_replica_holds_what_the_ingress_asks_by() -> None:
    ingress = Status("ingress", "new", "old", None)
    fresh, slow, lost = (Status("ranker", *held, None) for held in (("new", "old"), ("old", None), (None, None)))
    assert ready_out([ingress, fresh, slow]).ready
    assert not ready_out([ingress, fresh, lost]).ready
    assert not ready_out([Status("ingress", None, None, "no bundle"), lost]).ready


def test_settings_that_cannot_be_are_refused() -> None:
    assert from_dict(ServeConfig, {"ranker": {"replicas": 2}}).ranker.replicas == 2
    for settings in ({"port": 70000}, {"deadline_ms": 0}, {"host": ""}, {"ranker": {"replicas": 0}}, {"prot": 1}):
        with pytest.raises(ConfigError):
            from_dict(ServeConfig, settings)


async def through_limit(chunks: list[bytes], limit: int) -> tuple[int, bytes]:
    """Send a body in chunks; return the status, and the body as the application behind the limit read it."""
    incoming = [{"type": "http.request", "body": chunk, "more_body": True} for chunk in chunks]
    incoming.append({"type": "http.request", "body": b"", "more_body": False})
    read = b""
    statuses: list[int] = []

    async def receive() -> Message:
        return incoming.pop(0)

    async def send(message: Message) -> None:
        if message["type"] == "http.response.start":
            statuses.append(message["status"])

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        nonlocal read
        more = True
        while more:
            message = await receive()
            read += message["body"]
            more = message["more_body"]
        await send({"type": "http.response.start", "status": 200, "headers": []})

    scope = {"type": "http", "method": "POST", "path": "/v1/events", "headers": []}
    await BodyReader(application, limit)(scope, receive, send)
    return statuses[0], read


def test_a_body_is_bounded_however_it_comes() -> None:
    assert asyncio.run(through_limit([b"12345", b"67890"], 10)) == (200, b"1234567890")
    assert asyncio.run(through_limit([b"12345", b"67890", b"1"], 10)) == (413, b"")
    assert asyncio.run(through_limit([b"12345678901"], 10)) == (413, b"")
    assert asyncio.run(through_limit([], 10)) == (200, b"")


def test_what_a_replica_holds_is_told_without_paths() -> None:
    problem = "bundle '/srv/secret place/b1' is not in use: s3://bucket/deep/b1/manifest.json and /srv/x/y.json: absent"
    part = Status("ranker", "b0", None, problem, refused=True, asked="/srv/secret/b1")
    [told] = ready_out([part]).parts
    assert told.problem is not None
    assert "manifest.json and y.json: absent" in told.problem
    assert not [word for word in ("/", "srv", "bucket") if word in told.problem]
    assert told.asked == place_mark("/srv/secret/b1")
