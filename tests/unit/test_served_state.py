"""The store of viewers under a server: one that vanishes, one that is not there yet, and events that cannot be."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import httpx
import pytest

from foveate.bundle import Bundle, default_state
from foveate.state.sqlite.store import SqliteState
from foveate_serve.config import ServeConfig

Serving = Callable[[Bundle, Path, ServeConfig], AbstractContextManager[httpx.Client]]
PATIENT = ServeConfig(topology="fused", deadline_ms=60_000)
"""The machine may be busy: a test must not fail for being slow."""


@pytest.fixture
def path(small_bundle: Bundle, tmp_path: Path) -> Path:
    return Path(shutil.copyfile(default_state(small_bundle.path), tmp_path / "state.sqlite"))


@pytest.fixture
def api(small_bundle: Bundle, path: Path, serving: Serving) -> Iterator[httpx.Client]:
    with serving(small_bundle, path, PATIENT) as client:
        yield client


def sent(api: httpx.Client, **event: Any) -> httpx.Response:
    told = {"user_id": "u00017", "item_id": "v00001", "kind": "like", **event}
    return api.post("/v1/events", json={"events": [told]})


def slate(api: httpx.Client) -> dict[str, Any]:
    answer = api.post("/v1/recommend", json={"user_id": "u00017", "k": 3})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def problems(api: httpx.Client) -> list[str]:
    return [part["problem"] for part in api.get("/health/ready").json()["parts"] if part["problem"]]


def test_no_event_is_acknowledged_while_the_file_is_away(api: httpx.Client, path: Path, tmp_path: Path) -> None:
    assert sent(api, event_id="before").json()["added"] == 1
    assert problems(api) == []
    path.rename(tmp_path / "away")
    for number in range(20):
        answer = sent(api, event_id=f"e{number}")
        assert (answer.status_code, answer.json()["code"]) == (503, "state_unavailable")
    assert slate(api)["degraded"] == ["history_unavailable"]
    [problem] = problems(api)
    assert "is gone" in problem
    assert not path.exists()
    (tmp_path / "away").rename(path)
    assert sent(api, event_id="after").json()["added"] == 1
    assert slate(api)["degraded"] == []
    assert problems(api) == []
    with SqliteState(path, create=False) as state:
        ids = {one.event.event_id for part in state.kept() for one in part}
    assert ids & {"before", "after", *(f"e{number}" for number in range(20))} == {"before", "after"}


def test_a_replica_makes_no_store_and_takes_the_one_that_comes(
    small_bundle: Bundle, path: Path, tmp_path: Path, serving: Serving
) -> None:
    absent = tmp_path / "absent.sqlite"
    with serving(small_bundle, absent, PATIENT) as api:
        assert sent(api).status_code == 503
        assert slate(api)["degraded"] == ["history_unavailable"]
        assert not absent.exists()
        shutil.copyfile(path, absent)
        assert sent(api).status_code == 200
        assert not slate(api)["cold"]


def test_what_cannot_be_is_refused_or_adjusted_and_counted(api: httpx.Client) -> None:
    assert sent(api).json()["adjusted"] == 0
    assert sent(api, kind="rate", value=1e9).json()["adjusted"] == 1
    assert sent(api, occurred_at="2199-01-01T00:00:00Z").json()["adjusted"] == 1
    refused = sent(api, kind="watch", value=-3)
    assert refused.status_code == 422
    assert "not between 0" in refused.text
    body = '{"events": [{"user_id": "u", "item_id": "v", "kind": "watch", "value": NaN}]}'
    assert api.post("/v1/events", content=body, headers={"content-type": "application/json"}).status_code in (400, 422)
