"""Batches of events and items as one JSON object a line."""

from __future__ import annotations

import json

import httpx
import pytest

from foveate_serve.http.ndjson import TYPES


def post(api: httpx.Client, path: str, content: bytes, kind: str = TYPES[0]) -> httpx.Response:
    return api.post(path, content=content, headers={"content-type": kind})


@pytest.mark.parametrize("kind", [*TYPES, "Application/X-NDJSON; charset=utf-8"])
def test_lines_are_kept_as_the_list_is(small_api: httpx.Client, kind: str) -> None:
    events = [{"user_id": f"by lines {kind}", "item_id": f"v0000{n}", "kind": "watch"} for n in range(3)]
    lines = "\n".join(json.dumps(event) for event in events) + "\r\n\n"
    answer = post(small_api, "/v1/events", lines.encode(), kind)
    assert (answer.status_code, answer.json()["added"]) == (200, 3)
    assert len(answer.json()["event_ids"]) == 3


def test_items_come_by_lines_too(small_api: httpx.Client) -> None:
    answer = post(small_api, "/v1/items", b'{"item_id": "line-1", "title": "one"}\n{"item_id": "line-2"}')
    assert (answer.status_code, answer.json()["items"]) == (200, 2)


@pytest.mark.parametrize(
    ("content", "status", "detail"),
    [
        (b'{"user_id": "u"}\n[1]\n', 400, "line 2 is no JSON object"),
        (b"\n\nnonsense\n", 400, "line 3 is no JSON object"),
        (b'{"user_id": "u", "item_id": "v", "kind": }\n', 400, ""),
        (b'{"user_id": "u", "item_id": "v", "kind": "watch"}\n{"user_id": "u"}', 422, "events"),
        (b"", 422, "events"),
        (b'{"user_id": "u", "item_id": "v", "kind": "watch"}\n' * 1001, 422, "1000"),
    ],
)
def test_wrong_lines_are_refused_all_together(
    small_api: httpx.Client, content: bytes, status: int, detail: str
) -> None:
    answer = post(small_api, "/v1/events", content)
    assert answer.status_code == status, answer.text
    assert detail in answer.text


def test_other_calls_take_no_lines(small_api: httpx.Client) -> None:
    assert post(small_api, "/v1/recommend", b'{"user_id": "u00017"}').status_code == 422
    assert TYPES[0] in small_api.get("/openapi.json").text
