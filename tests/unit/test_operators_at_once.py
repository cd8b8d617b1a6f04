"""Operators who act at the same time undo nothing of each other."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest

from foveate.releases.watch import Promoted
from foveate_serve.http.keys import Keys
from foveate_serve.names import APPLICATION, BUNDLE_KEY, INGRESS, RANKER, SHADOW
from foveate_serve.operations.follow import Follower
from foveate_serve.operations.running import RUNNING, Running
from foveate_serve.operations.scaling import Size, scale

ADD = """
import sys
from pathlib import Path
from foveate_serve.http.keys import Keys
for number in range(20):
    Keys.change(Path(sys.argv[1]), lambda keys: (keys.added(f"{sys.argv[2]}-{number}", ("read",))[0], None))
"""


def test_two_processes_that_make_keys_lose_none(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    commands = [[sys.executable, "-c", ADD, str(path), name] for name in ("one", "other")]
    processes = [subprocess.Popen(command) for command in commands]
    assert [process.wait(timeout=120) for process in processes] == [0, 0]
    names = {key.name for key in Keys.read(path).keys}
    assert names == {f"{name}-{number}" for name in ("one", "other") for number in range(20)}


def test_a_revocation_does_not_come_back(tmp_path: Path) -> None:
    path = tmp_path / "keys.json"
    keys, key, _ = Keys().added("first", ("read",))
    keys.write(path)
    begun, revoked = threading.Event(), threading.Event()

    def slow(keys: Keys) -> tuple[Keys, None]:
        begun.set()
        # Without the lock the revocation would be written now, and be undone by what was read before it.
        revoked.wait(0.5)
        return keys.added("second", ("read",))[0], None

    with ThreadPoolExecutor(2) as pool:
        adding = pool.submit(Keys.change, path, slow)
        begun.wait()
        Keys.change(path, lambda keys: (keys.revoked(key.key_id), None))
        revoked.set()
        adding.result()
    first, second = Keys.read(path).keys
    assert first.revoked_at is not None
    assert second.name == "second"


class FakeServe:
    """What Ray's dashboard keeps of the application, and nothing of how replicas take it."""

    def __init__(self) -> None:
        deployments = [
            {"name": INGRESS, "num_replicas": 1, "user_config": {BUNDLE_KEY: "/bundles/a"}},
            {"name": RANKER, "num_replicas": 1, "user_config": {BUNDLE_KEY: "/bundles/a"}},
            {"name": SHADOW, "num_replicas": 1, "user_config": {BUNDLE_KEY: "/bundles/candidate"}},
        ]
        self.config: dict[str, Any] = {"name": APPLICATION, "deployments": deployments}
        self.reading = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()

    def get_serve_details(self) -> dict[str, Any]:
        found = deepcopy(self.config)
        self.reading.set()
        self.go_on.wait(0.5)
        replicas = {one["name"]: {"replicas": [{"state": RUNNING}]} for one in found["deployments"]}
        return {"applications": {APPLICATION: {"deployed_app_config": found, "deployments": replicas}}}

    def deploy_applications(self, settings: Mapping[str, Any]) -> None:
        self.config = deepcopy(settings["applications"][0])


@pytest.fixture
def serve() -> FakeServe:
    return FakeServe()


@pytest.fixture
def running(serve: FakeServe, monkeypatch: pytest.MonkeyPatch) -> Running:
    monkeypatch.setattr("foveate_serve.operations.running.ServeSubmissionClient", lambda _: serve)
    running = Running("http://127.0.0.1:1")
    monkeypatch.setattr(running, "nodes", list)
    return running


def test_a_scale_beside_a_swap_keeps_both(serve: FakeServe, running: Running) -> None:
    serve.go_on.clear()
    serve.reading.clear()
    with ThreadPoolExecutor(2) as pool:
        scaling = pool.submit(scale, running, {RANKER: Size(2)}, timeout_s=0.0)
        serve.reading.wait()
        swapping = pool.submit(running.swap, "/bundles/b")
        serve.go_on.set()
        scaling.result()
        swapping.result()
    sizes = {one["name"]: one["num_replicas"] for one in serve.config["deployments"]}
    assert sizes == {INGRESS: 1, RANKER: 2, SHADOW: 1}
    assert running.bundles() == {"/bundles/b"}


class OnePromotion:
    """A registry in which one bundle is promoted."""

    def __init__(self, promoted: Promoted) -> None:
        self.promoted = promoted

    def current(self) -> str:
        return self.promoted.bundle_id

    def fetched(self, bundle_id: str) -> Promoted:
        assert bundle_id == self.promoted.bundle_id
        return self.promoted


def test_a_follower_mends_what_another_machine_undid(
    serve: FakeServe, running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = Path("/bundles/b")
    bundle = Promoted("b" * 16, place, place)

    def health() -> tuple[bool, Sequence[Mapping[str, Any]]]:
        held = running.bundles() == {str(place)}
        return True, [
            {
                "deployment": RANKER,
                "bundle_id": bundle.bundle_id if held else "a",
                "refused": False,
                "asked": str(place),
            }
        ]

    monkeypatch.setattr(running, "health", health)
    said: list[str] = []
    follower = Follower(OnePromotion(bundle), running, bundle, said.append, timeout_s=30)  # type: ignore[arg-type]
    assert running.bundles() == {"/bundles/a"}
    follower.look()
    assert running.bundles() == {str(place)}
    assert "put back an older bundle" in said[0]
    shadow = next(one for one in serve.config["deployments"] if one["name"] == SHADOW)
    assert shadow["user_config"] == {BUNDLE_KEY: "/bundles/candidate"}
    follower.look()
    assert len(said) == 2
