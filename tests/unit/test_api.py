"""The HTTP interface over real stages in this process: surfaces, pages, explanations and what is refused."""

from __future__ import annotations

import base64
import re
from typing import Any

import httpx
import pytest

from foveate_serve.http.paging import MOST_SHOWN
from foveate_serve.names import ATTEMPT

NOW = "2025-03-14T00:00:00Z"
JSON = {"content-type": "application/json"}


def ask(api: httpx.Client, **body: Any) -> dict[str, Any]:
    answer = api.post("/v1/recommend", json={"now": NOW, **body})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_every_answer_says_what_it_is(small_api: httpx.Client) -> None:
    slate = ask(small_api, user_id="u00017", k=4)
    assert slate["request_id"]
    assert slate["bundle_id"]
    assert slate["degraded"] == []
    assert slate["took_ms"] > 0
    assert [item["rank"] for item in slate["items"]] == [1, 2, 3, 4]
    assert all(item["source"] == item["sources"][0] for item in slate["items"])
    assert all(isinstance(item["score"], float) for item in slate["items"])


def test_the_listed_surfaces_are_those_that_answer(small_api: httpx.Client) -> None:
    listed = {one["name"]: one for one in small_api.get("/v1/surfaces").json()["surfaces"]}
    assert {"home", "session", "related", "trending", "channels", "fresh", "upcoming"} <= set(listed)
    values = {"user_id": "u00017", "history": [{"item_id": "v00001"}], "related_to": "v00002"}
    for name, one in listed.items():
        slate = ask(small_api, surface=name, k=3, **{field: values[field] for field in one["needs"]})
        assert slate["surface"] == name
        assert len(slate["items"]) == 3
        assert bool(slate["items"][0]["explanation"]) == one["explained"]
    assert ask(small_api, surface="session", history=values["history"])["user_id"] is None
    assert not ask(small_api, surface="session", history=values["history"])["cold"]
    assert ask(small_api, surface="trending")["cold"]


def test_reasons_can_be_asked_for_and_spared(small_api: httpx.Client) -> None:
    assert ask(small_api, user_id="u00017", k=2, explain=True)["items"][0]["explanation"]["sentence"]
    assert ask(small_api, surface="channels", user_id="u00017", k=2, explain=False)["items"][0]["explanation"] is None


def test_a_client_can_shorten_the_deadline_and_nothing_else(small_api: httpx.Client) -> None:
    assert ask(small_api, user_id="u00017", k=2, deadline_ms=3_600_000)["degraded"] == []
    hurried = small_api.post("/v1/recommend", json={"user_id": "u00017", "k": 2, "deadline_ms": 1})
    assert hurried.status_code == 504 or hurried.json()["degraded"]
    assert ask(small_api, user_id="u00017", k=2)["degraded"] == []
    assert small_api.post("/v1/recommend", json={"user_id": "u00017", "deadline_ms": 0}).status_code == 422


@pytest.mark.parametrize("surface", ["home", "channels", "fresh"])
def test_pages_never_repeat_an_item(small_api: httpx.Client, surface: str) -> None:
    body: dict[str, Any] = {"surface": surface, "user_id": "u00020", "k": 30, "explain": False}
    if surface == "fresh":
        body["filters"] = {"exclude_channels": ["c001"]}
    first = page = ask(small_api, **body)
    seen = [item["item_id"] for item in page["items"]]
    while page["cursor"]:
        page = ask(small_api, **{**body, "k": 50}, cursor=page["cursor"])
        assert (page["seed"], page["now"]) == (first["seed"], first["now"])
        seen += [item["item_id"] for item in page["items"]]
    assert len(seen) == len(set(seen)) > 30 or surface == "channels"
    assert len(seen) == len(set(seen))


def test_what_is_watched_between_two_pages_is_not_shown(small_api: httpx.Client) -> None:
    body = {"surface": "home", "user_id": "a late one", "k": 5}
    page = ask(small_api, **body)
    next_one = ask(small_api, **body, cursor=page["cursor"])["items"][0]["item_id"]
    event = {"user_id": "a late one", "item_id": next_one, "kind": "watch"}
    assert small_api.post("/v1/events", json={"events": [event]}).json()["added"] == 1
    assert next_one not in {item["item_id"] for item in ask(small_api, **body, cursor=page["cursor"])["items"]}


def test_a_cursor_is_bounded_and_belongs_to_one_request(small_api: httpx.Client) -> None:
    body = {"user_id": "u00021", "k": 5, "now": NOW}
    cursor = ask(small_api, **body)["cursor"]
    raw = bytearray(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    raw[-1] ^= 1
    damaged = base64.urlsafe_b64encode(bytes(raw)).decode().rstrip("=")
    wrong = [
        {**body, "cursor": damaged},
        {**body, "cursor": cursor[:-4]},
        {**body, "cursor": cursor + "AAAA"},
        {**body, "cursor": "x"},
        {**body, "cursor": "é" * 8},
        {**body, "cursor": ""},
        {**body, "user_id": "u00022", "cursor": cursor},
        {**body, "filters": {"max_maturity": 12}, "cursor": cursor},
        {**body, "surface": "trending", "cursor": cursor},
        {**body, "diversity": 0.4, "cursor": cursor},
        {**body, "seed": 5, "cursor": cursor},
    ]
    for one in wrong:
        answer = small_api.post("/v1/recommend", json=one)
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor"), one
        assert "cursor" in answer.json()["detail"]
    assert len(cursor) < 100
    assert 4 * (4 * MOST_SHOWN + 32) / 3 < 8000, "the longest cursor is shorter than the longest that is read"


REFUSED: dict[str, tuple[bytes, dict[str, str], int, str]] = {
    "no JSON": (b"{", JSON, 400, "malformed"),
    "no UTF-8": (b'{"user_id": "\xff"}', JSON, 400, "malformed"),
    "deep nesting": (b"[" * 100_000, JSON, 400, "malformed"),
    "a number of 5,000 digits": (b'{"user_id": "u", "seed": ' + b"9" * 5000 + b"}", JSON, 400, "malformed"),
    "half a character": (b'{"user_id": "\\ud800"}', JSON, 422, "invalid_request"),
    "half a character as a name": (b'{"\\ud800": 1}', JSON, 422, "invalid_request"),
    "not a number": (b'{"user_id": "u", "k": NaN}', JSON, 422, "invalid_request"),
    "infinity": (b'{"user_id": "u", "diversity": -Infinity}', JSON, 422, "invalid_request"),
    "no content type": (b'{"user_id": "u"}', {}, 422, "invalid_request"),
    "a million items": (b'{"user_id": "u", "k": 1000000}', JSON, 422, "invalid_request"),
    "an unknown surface": (b'{"user_id": "u", "surface": "hom"}', JSON, 422, "invalid_request"),
    "an unknown video": (b'{"surface": "related", "related_to": "none"}', JSON, 404, "not_found"),
    "a megabyte": (b" " * 1_000_001, JSON, 413, "body_too_large"),
}


@pytest.mark.parametrize("case", REFUSED.values(), ids=REFUSED)
def test_a_bad_request_is_refused_as_problem_details(
    small_api: httpx.Client, case: tuple[bytes, dict[str, str], int, str]
) -> None:
    content, headers, status, code = case
    answer = small_api.post("/v1/recommend", content=content, headers=headers)
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    told = answer.json()
    assert (told["status"], told["code"], told["type"]) == (status, code, f"/problems/{code}")
    assert bool(told.get("errors")) == (status == 422)
    assert small_api.get(told["type"]).json()["title"] == told["title"]
    assert "Traceback" not in answer.text


def test_what_is_not_there_is_said_as_problem_details(small_api: httpx.Client) -> None:
    for method, path, status in (("GET", "/v2", 404), ("GET", "/v1/recommend", 405), ("GET", "/v1/items/none", 404)):
        answer = small_api.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
    assert small_api.get("/v1/recommend").headers["allow"] == "POST"


def test_the_openapi_page_tells_of_every_error_and_points_nowhere_else(small_api: httpx.Client) -> None:
    page = small_api.get("/openapi.json").json()
    schemas = page["components"]["schemas"]
    assert {"Problem", "FieldFault"} <= set(schemas)
    assert not {"HTTPValidationError", "ValidationError"} & set(schemas)
    for path, operations in page["paths"].items():
        for method, operation in operations.items():
            assert operation["summary"], path
            for status, response in operation["responses"].items():
                if int(status) >= 400 and path != "/health/ready":
                    assert list(response["content"]) == ["application/problem+json"], (method, path, status)
                    assert response["content"]["application/problem+json"]["examples"]
                if int(status) in (429, 503) and path != "/health/ready":
                    assert "Retry-After" in response["headers"]
    assert {"400", "413", "422", "503", "504"} <= set(page["paths"]["/v1/recommend"]["post"]["responses"])


def test_the_pages_need_no_internet(small_api: httpx.Client) -> None:
    for page in ("/docs", "/redoc"):
        named = re.findall(r'(?:src|href)="([^"]+)"', small_api.get(page).text)
        assert [one for one in named if one.endswith(".js")]
        assert not [one for one in named if not one.startswith("/")]
        assert all(small_api.get(one).status_code == 200 for one in named)


def test_events_are_answered_with_their_ids_and_how_many_are_of_unknown_items(small_api: httpx.Client) -> None:
    known = {"user_id": "one of many", "item_id": "v00001", "kind": "like"}
    events = [known, {**known, "item_id": "never heard of"}, {**known, "event_id": "mine"}]
    first = small_api.post("/v1/events", json={"events": events}).json()
    assert (first["added"], first["unknown_items"], len({*first["event_ids"]})) == (3, 1, 3)
    assert first["event_ids"][2] == "mine"
    again = [{**one, "event_id": event_id} for one, event_id in zip(events, first["event_ids"], strict=True)]
    assert small_api.post("/v1/events", json={"events": again}).json()["added"] == 0


def test_a_proxy_that_asks_twice_adds_nothing_twice(small_api: httpx.Client) -> None:
    body = {"events": [{"user_id": "asked for twice", "item_id": "v00001", "kind": "like"}] * 2}
    marked = {ATTEMPT: "8274610c-f171-4347-beaa-8e0b54cd8e90"}
    added = [small_api.post("/v1/events", json=body, headers=marked).json()["added"] for _ in range(2)]
    assert added == [2, 0]
    odd = {ATTEMPT: "not of our making" * 30}
    assert [small_api.post("/v1/events", json=body, headers=odd).json()["added"] for _ in range(2)] == [2, 2]
