"""Whatever a client sends, the server answers: with a slate, or with what is wrong, and never with a failure.

Schemathesis asks all that the OpenAPI page allows, and some that it does not; hypothesis asks what nobody would.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from schemathesis import GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from foveate.bundle import Bundle, default_state
from foveate_serve.config import ServeConfig

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
]
OPERATIONS = (
    ("POST", "/v1/recommend"),
    ("POST", "/v1/why-not"),
    ("POST", "/v1/events"),
    ("DELETE", "/v1/viewers/{user_id}"),
    ("GET", "/v1/items/{item_id}"),
    ("PUT", "/v1/items/{item_id}"),
    ("DELETE", "/v1/items/{item_id}"),
    ("POST", "/v1/items"),
    ("GET", "/v1/surfaces"),
    ("GET", "/problems/{code}"),
    ("GET", "/health/live"),
    ("GET", "/health/ready"),
)


@pytest.fixture(scope="module")
def small_api(small_bundle: Bundle, serving: Any, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    """An interface of these tests' own: they put items into its catalogue, and take some away."""
    state = shutil.copyfile(default_state(small_bundle.path), tmp_path_factory.mktemp("any") / "state.sqlite")
    with serving(small_bundle, state, ServeConfig(topology="fused", deadline_ms=60_000)) as client:
        yield client


quick = settings(
    max_examples=40,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much],
)

ODD_TEXTS = st.one_of(
    st.text(max_size=40),
    st.text(st.characters(categories=["Cc", "Cf", "Co", "Cs", "Mn", "So"]), min_size=1, max_size=20),
    st.sampled_from(
        [
            "🍿👩‍👩‍👧‍👦",
            "\u0645\u0631\u062d\u0628\u0627 \u200f\u05e9\u05dc\u05d5\u05dd",
            "\x00",
            "v00001\x00",
            "\ud800",
            "\u202egpj.exe",
            "' OR 1=1 --",
            "../../etc/passwd",
            "%00%ff",
            "é" * 128,
            "é" * 10_000,
            "x" * 256,
            "x" * 10_240,
            " ",
            "",
        ]
    ),
)
ODD_NUMBERS = st.one_of(
    st.integers(),
    st.floats(),
    st.sampled_from([float("nan"), float("inf"), -float("inf"), -1, 0, 10**6, 2**31, 2**63, 2**64, -(10**400), 1e308]),
)
ODD_TIMES = st.sampled_from(
    [
        "0001-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "1970-01-01T00:00:00+23:59",
        "2200-12-31T23:59:59.999999-23:59",
        "9999-12-31T23:59:59.999999-23:59",
        "2025-02-30T00:00:00Z",
        "2025-03-14T23:59:60Z",
        "2025-03-14T00:00:00",
        "2025-03-14",
        "yesterday",
        "",
        "١٩٧٠-01-01T00:00:00Z",
    ]
)
ODD_VALUES = st.recursive(
    st.one_of(ODD_TEXTS, ODD_NUMBERS, ODD_TIMES, st.none(), st.booleans()),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
EVENT = {"user_id": "u00017", "item_id": "v00001", "kind": "watch", "value": 3.0, "occurred_at": "2025-03-14T00:00:00Z"}
ITEM = {
    "item_id": "any",
    "title": "How kites fly",
    "categories": ["c01"],
    "duration_seconds": 61.5,
    "published_at": "2025-03-14T00:00:00Z",
    "maturity": 6,
    "safety": 0.5,
}
ASK = {
    "user_id": "u00017",
    "k": 3,
    "surface": "trending",
    "filters": {"exclude_items": ["v00002"], "exclude_channels": ["c1"], "languages": ["en"], "max_maturity": 12},
    "now": "2025-03-14T00:00:00Z",
    "seed": 1,
}
PAST = {"item_id": "v00001", "kind": "like", "value": 1.0, "occurred_at": "2025-03-14T00:00:00Z"}
SESSION = {"surface": "session", "history": [PAST, {"item_id": "v00004"}], "diversity": 0.5, "k": 2, "explain": True}
WHOLE: tuple[tuple[str, dict[str, Any]], ...] = (
    ("/v1/recommend", {**ASK, "explain": False, "cursor": None}),
    ("/v1/recommend", SESSION),
    ("/v1/recommend", {"surface": "related", "related_to": "v00003", "k": 2}),
    ("/v1/why-not", {**ASK, "item_id": "v00001"}),
    ("/v1/events", {"events": [EVENT]}),
    ("/v1/items", {"items": [ITEM]}),
)


@st.composite
def spoilt(draw: st.DrawFn, whole: Any) -> Any:
    """A good body in which one value, however deep, is another."""
    if isinstance(whole, dict) and draw(st.integers(0, 9)):
        name = draw(st.sampled_from(sorted(whole)))
        return {**whole, name: draw(spoilt(whole[name]))}
    if isinstance(whole, list) and whole and draw(st.integers(0, 4)):
        return [draw(spoilt(whole[0])), *whole[1:]]
    return draw(ODD_VALUES)


def good(answer: httpx.Response) -> bool:
    """Whether a request was answered, one way or the other, as it is documented."""
    assert answer.status_code < 500, answer.text
    kind = "application/json" if answer.is_success else "application/problem+json"
    assert answer.headers["content-type"] == kind
    told = answer.json()
    assert answer.is_success or told["status"] == answer.status_code
    return answer.is_success


def send(api: httpx.Client, path: str, body: Any, *, escaped: bool = True) -> httpx.Response:
    content = json.dumps(body, ensure_ascii=escaped).encode("utf-8", "surrogatepass")
    return api.post(path, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("mode", GenerationMode, ids=lambda mode: mode.value)
@pytest.mark.parametrize("operation", OPERATIONS, ids=" ".join)
def test_what_the_page_allows_is_answered_as_the_page_says(
    small_api: httpx.Client, operation: tuple[str, str], mode: GenerationMode
) -> None:
    schema = schemathesis.openapi.from_url(f"{small_api.base_url}/openapi.json")
    method, path = operation
    asked = schema[path][method]
    if mode is GenerationMode.NEGATIVE and method in ("GET", "DELETE"):
        pytest.skip("any text may stand in its path")

    @settings(quick, max_examples=12)
    @given(case=asked.as_strategy(generation_mode=mode))
    def answered(case: schemathesis.Case) -> None:
        case.validate_response(case.call(), checks=CHECKS)

    answered()


def test_the_page_tells_of_every_path_that_is_asked(small_api: httpx.Client) -> None:
    paths = small_api.get("/openapi.json").json()["paths"]
    told = {(method.upper(), path) for path, methods in paths.items() for method in methods if path.startswith("/v1")}
    assert told <= set(OPERATIONS), "a new path is to be asked too"


@pytest.mark.parametrize(("path", "whole"), WHOLE)
@quick
@given(data=st.data())
def test_a_good_body_with_something_odd_in_it_is_answered(
    small_api: httpx.Client, path: str, whole: dict[str, Any], data: st.DataObject
) -> None:
    assert good(send(small_api, path, whole)), "as it is, it is good"
    good(send(small_api, path, data.draw(spoilt(whole)), escaped=data.draw(st.booleans())))


@quick
@given(body=ODD_VALUES)
def test_any_json_is_answered(small_api: httpx.Client, body: Any) -> None:
    good(send(small_api, "/v1/recommend", body))


@quick
@given(content=st.binary(max_size=200), path=st.sampled_from(sorted({path for path, _ in WHOLE})))
def test_any_bytes_are_refused(small_api: httpx.Client, content: bytes, path: str) -> None:
    assert not good(small_api.post(path, content=content, headers={"content-type": "application/json"}))


@quick
@given(user=ODD_TEXTS, item=ODD_TEXTS)
def test_any_id_can_be_asked_for_and_told_of(small_api: httpx.Client, user: str, item: str) -> None:
    well = all(0 < len(one) <= 256 and not any("\ud800" <= c <= "\udfff" for c in one) for one in (user, item))
    event = {"user_id": user, "item_id": item, "kind": "like"}
    assert good(send(small_api, "/v1/events", {"events": [event]})) == well
    assert good(send(small_api, "/v1/recommend", {"user_id": user, "k": 2})) or not well
    session = {"surface": "session", "history": [{"item_id": item}], "k": 2}
    assert good(send(small_api, "/v1/recommend", session)) or not well
    filters = {"exclude_items": [item], "exclude_channels": [user], "languages": [item], "region": user}
    assert good(send(small_api, "/v1/recommend", {"user_id": "u00017", "filters": filters})) or not well
    good(send(small_api, "/v1/why-not", {"user_id": user, "item_id": item}))
    good(small_api.get(f"/v1/items/{quote(item, safe='', errors='replace')}"))


@quick
@given(cursor=st.one_of(st.text(max_size=200), st.binary(max_size=200).map(lambda raw: raw.hex())))
def test_any_cursor_but_its_own_is_refused(small_api: httpx.Client, cursor: str) -> None:
    assert not good(send(small_api, "/v1/recommend", {"user_id": "u00017", "cursor": cursor}))


@pytest.mark.parametrize("depth", [10, 1_000, 100_000])
@pytest.mark.parametrize(("opening", "closing"), [("[", "]"), ('{"a":', "}")])
def test_deep_nesting_is_refused(small_api: httpx.Client, depth: int, opening: str, closing: str) -> None:
    for content in (opening * depth + "1" + closing * depth, opening * depth):
        assert not good(small_api.post("/v1/recommend", content=content, headers={"content-type": "application/json"}))


def test_a_huge_body_is_refused_and_the_server_goes_on(small_api: httpx.Client) -> None:
    event = {"user_id": "u" * 256, "item_id": "i" * 256, "kind": "like", "text": "x" * 900}
    answer = send(small_api, "/v1/events", {"events": [event] * 2000})
    assert answer.status_code == 413
    many = send(small_api, "/v1/events", {"events": [{"user_id": 1}] * 1000})
    assert many.status_code == 422
    assert len(many.json()["errors"]) == 100, "what is told of faults is bounded"
    assert small_api.get("/health/ready").json()["ready"]
    assert good(send(small_api, "/v1/recommend", {"user_id": "u00017"}))
