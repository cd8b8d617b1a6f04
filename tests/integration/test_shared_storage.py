"""No machine holds what serves: data, bundles and registry lie on an S3 server, viewers' state on a Redis server."""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest

from console import Run, console
from foveate.bundle import verify
from foveate.releases import Releases
from foveate.releases.watch import watched
from foveate.replay.parity import parity
from foveate.state.connect import open_viewers
from foveate.storage.transfer import cache, local_copy
from foveate_serve.app import started
from foveate_serve.config import ServeConfig
from foveate_serve.operations.follow import Follower, first_good
from lab.stores import bucket

if TYPE_CHECKING:
    from lab.stores import Redis

pytestmark = pytest.mark.cluster

QUICK = ("sources=[covisitation,popularity]", "ranker.trees=20", "label_windows=1")


@pytest.fixture
def foveate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., Run]:
    """Call the console script in an empty folder, in this process: starting one takes long."""
    monkeypatch.chdir(tmp_path)
    return console(monkeypatch, capsys)


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    """The address of a bucket on an S3 server of this machine, with a place for a folder's name."""
    with bucket("films") as address:
        yield address


def test_the_whole_way_by_addresses(
    store: str, redis_server: Redis, foveate: Callable[..., Run], tmp_path: Path
) -> None:
    """Simulate, train twice, promote, serve, ask, lose the viewers' store and have it back, promote, roll back."""
    data, registry, state = store.format("data"), store.format("registry"), redis_server.address()
    said = foveate("data", "simulate", "--out", data, "--viewers", "120", "--items", "150", "--days", "20")
    assert said.status == 0, said.err
    assert foveate("data", "describe", data).status == 0
    assert "already holds something" in foveate("data", "simulate", "--out", data).err
    bundles = []
    for seed in ("1", "2"):
        out = store.format(f"bundle-{seed}")
        said = foveate("train", "--data", data, "--out", out, "--state", state, f"seed={seed}", *QUICK)
        assert said.status == 0, said.err
        bundles.append(out)
    first, second = (verify(local_copy(out, verify)).bundle_id for out in bundles)
    assert foveate("promote", bundles[0], "--registry", registry, "--no-gate", "--because", "first").status == 0
    assert first in foveate("bundles", "--registry", registry).out
    with open_viewers(state) as viewers:
        user = viewers.users(1)[0]
    asked = foveate("recommend", "--bundle", bundles[0], "--user", user, "--state", state, "--json", "slate.json")
    assert asked.status == 0, asked.err
    assert not json.loads((tmp_path / "slate.json").read_text())["cold"]
    judged = foveate("evaluate", "--data", data, "--bundle", bundles[0], "--json", "figures.json")
    assert judged.status == 0, judged.err

    seen = watched(registry, tmp_path / "mirror")
    start = first_good(seen, lambda _: None)
    config = ServeConfig(topology="fused", port=0, deadline_ms=10_000)
    with started(start.place, state, config) as running, httpx.Client(base_url=running.url(), timeout=60) as http:
        follower = Follower(seen, running, start, lambda _: None, config.start_timeout_s)
        answer = ask(http, user)
        assert (answer["bundle_id"], answer["degraded"]) == (first, [])
        check_that_losing_the_store_costs_histories_alone(http, redis_server, user)
        for bundle_id, change in ((second, ("promote", bundles[1], "--no-gate")), (first, ("rollback",))):
            done = foveate(*change, "--registry", registry, "--because", "a test")
            assert done.status == 0, done.err
            follower.look()
            assert ask(http, user)["bundle_id"] == bundle_id
    # What was served is made again from the shared records, by bundles that were brought.
    told = parity(state, last=2)
    assert len(told.compared) == 2, told.passed
    assert not told.different
    assert [entry.action for entry in Releases(registry).changes()] == ["promote", "promote", "rollback"]
    for bundle_id in (first, second):
        for left in cache().glob(f"{bundle_id}-*"):
            shutil.rmtree(left)


def check_that_losing_the_store_costs_histories_alone(http: httpx.Client, server: Redis, user: str) -> None:
    server.kill()
    for _ in range(20):
        began = time.monotonic()
        answer = ask(http, user)
        assert time.monotonic() - began < 5
        assert answer["degraded"] == ["history_unavailable"]
        assert len(answer["items"]) == 5
    event = {"user_id": user, "item_id": answer["items"][0]["item_id"], "kind": "click"}
    assert http.post("/v1/events", json={"events": [event]}).status_code == 503
    server.start()
    give_up = time.monotonic() + 30
    while ask(http, user)["degraded"]:
        assert time.monotonic() < give_up
        time.sleep(0.2)
    assert http.post("/v1/events", json={"events": [event]}).status_code < 300
    assert event["item_id"] not in [item["item_id"] for item in ask(http, user)["items"]]


def ask(http: httpx.Client, user: str) -> dict[str, Any]:
    answer = http.post("/v1/recommend", json={"user_id": user, "k": 5})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_what_cannot_be_reached_is_told_in_a_line(store: str, foveate: Callable[..., Run]) -> None:
    nothing, nowhere = store.format("nothing"), store.format("x").replace("films", "no-such-bucket")
    away = "s3://films/x?endpoint_override=http%3A%2F%2F127.0.0.1%3A9&region=us-east-1"
    for arguments, fault in (
        (("data", "describe", nothing), "holds no manifest.json"),
        (("recommend", "--bundle", nowhere, "--user", "u"), "no-such-bucket"),
        (("data", "describe", away), "look at the address, its options and the credentials"),
        (("data", "simulate", "--out", away), "look at the address, its options and the credentials"),
        (("data", "describe", "sftp://host/data"), "sftp"),
        (("data", "describe", "none://host/data"), "no address of a store"),
        (("bundles", "--registry", nothing), "'foveate promote BUNDLE' makes a registry"),
        (("train", "--data", "data", "--out", nothing), "say with --state where viewers' histories go"),
        (("serve", "--bundle", nothing), "holds no manifest.json"),
    ):
        said = foveate(*arguments)
        assert said.status == 2, (arguments, said)
        # 'serve' says how its start goes; the fault is one line after that.
        lines = [line for line in said.err.strip().splitlines() if not re.match(r"\s*\d+\.\d s  ", line)]
        assert len(lines) == 1, said.err
        assert fault in said.err, said.err
