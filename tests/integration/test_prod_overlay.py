"""What the overlay ``prod`` tells Serve does serve, with viewers' state on a Redis server that asks for a password.

Names, ports, places and sizes are those of a test's machine; all else is as it stands in ``serve.yaml``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import redis
import yaml

from clusters.book import commands
from clusters.nodes import nodes
from clusters.scenario import until
from foveate.bundle import Bundle, default_state
from foveate.core.config import from_dict
from foveate.state.connect import StatePlace, open_impressions, open_viewers
from foveate.state.copying import copy_state
from foveate_serve.config import ServeConfig
from foveate_serve.http.keys import Keys
from foveate_serve.operations.cluster import free_ports

if TYPE_CHECKING:
    from lab.stores import Redis

PASSWORD = "hush-hush-7"  # noqa: S105 - of a server that lives as long as its test


@pytest.fixture
def guarded(redis_server: Redis, tmp_path: Path) -> Redis:
    """A Redis server with a password, which lies in a file as Kubernetes mounts a secret."""
    redis_server.kill()
    redis_server.start("--requirepass", PASSWORD, "--maxmemory-policy", "noeviction")
    (tmp_path / "password").write_text(PASSWORD)
    return redis_server


@pytest.fixture
def told(repository: Path, guarded: Redis, small_bundle: Bundle, tmp_path: Path) -> dict[str, Any]:
    """The overlay's Serve config, with what is where on this machine."""
    text = (repository / "infra" / "kuberay" / "overlays" / "prod" / "serve.yaml").read_text(encoding="utf-8")
    for there, here in (
        ("foveate-viewers:6379", f"127.0.0.1:{guarded.port}"),
        ("/etc/foveate/viewers/password", str(tmp_path / "password")),
        ("/etc/foveate/keys/keys.json", str(tmp_path / "keys.json")),
        ("/foveate/registry/current", str(small_bundle.path)),
        # No hurry: the machine may be busy.
        ("timeout_s=0.1", "timeout_s=10"),
        ("0.0.0.0", "127.0.0.1"),  # noqa: S104 - it is what is taken out
        # Nodes of one machine share its ports.
        ("EveryNode", "HeadOnly"),
    ):
        assert there in text
        text = text.replace(there, here)
    settings: dict[str, Any] = yaml.safe_load(text)
    return settings


@pytest.fixture
def key(tmp_path: Path) -> str:
    """A key that may ask and write; the file holds its digest."""
    keys, _, secret = Keys().added("storefront", ["read", "write"])
    keys.write(tmp_path / "keys.json")
    return secret


def a_viewer_acts(http: httpx.Client, state: str, bundle: Bundle) -> str:
    """Have a viewer whose history training wrote be answered, and what they do be kept; return their id."""
    copied = copy_state(default_state(bundle.path), state)
    assert copied.events == copied.new_events > 0
    with open_viewers(state) as viewers, open_impressions(state) as impressions:
        [user] = viewers.users(1)
        before = viewers.history(user)
        answer = asked(http, user)
        assert (answer["degraded"], answer["cold"]) == ([], False)
        event = {"user_id": user, "item_id": answer["items"][0]["item_id"], "kind": "click"}
        taken = http.post("/v1/events", json={"events": [event]})
        assert taken.status_code < 300, taken.text
        assert viewers.history(user).item_ids == (*before.item_ids, event["item_id"])
        assert event["item_id"] not in [item["item_id"] for item in asked(http, user)["items"]]
        until(lambda: len(impressions.request_ids()) >= 2, 30, lambda: "what was shown is not kept")
    return user


def asked(http: httpx.Client, user: str) -> dict[str, Any]:
    answer = http.post("/v1/recommend", json={"user_id": user, "k": 5})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_its_address_and_a_secret_file_let_viewers_be_read_and_events_be_kept(
    told: dict[str, Any],
    key: str,
    guarded: Redis,
    small_bundle: Bundle,
    serving: Callable[[Bundle, StatePlace, ServeConfig], AbstractContextManager[httpx.Client]],
) -> None:
    [application] = told["applications"]
    arguments = application["args"]
    assert PASSWORD not in json.dumps(told)
    # All in one process, in no hurry.
    config = replace(from_dict(ServeConfig, arguments["config"]), topology="fused", deadline_ms=60_000)
    with serving(small_bundle, arguments["state"], config) as http:
        assert http.post("/v1/recommend", json={"user_id": "u", "k": 5}).status_code == 401
        http.headers["authorization"] = f"Bearer {key}"
        user = a_viewer_acts(http, arguments["state"], small_bundle)
        a_full_server_costs_events_alone(http, guarded, user)


def a_full_server_costs_events_alone(http: httpx.Client, server: Redis, user: str) -> None:
    with redis.Redis(port=server.port, password=PASSWORD) as operator:
        event = {"user_id": user, "item_id": "v00001", "kind": "click"}
        for room, status in (("1", 503), ("0", 200)):
            operator.config_set("maxmemory", room)
            taken = http.post("/v1/events", json={"events": [event]})
            assert taken.status_code == status, taken.text
            answer = asked(http, user)
            assert (answer["degraded"], answer["cold"]) == ([], False)


@pytest.mark.cluster
@pytest.mark.soak
def test_two_ingress_replicas_on_nodes_of_their_own_share_what_viewers_did(
    told: dict[str, Any], key: str, guarded: Redis, small_bundle: Bundle, tmp_path: Path
) -> None:
    [application] = told["applications"]
    ingress, *stages = application["deployments"]
    ingress["num_replicas"] = 2
    for one in stages:
        one["autoscaling_config"]["min_replicas"] = 1
    application["args"]["config"]["deadline_ms"] = 30_000
    [port] = free_ports(1)
    told["http_options"]["port"] = port
    # The head has the resource of no ingress.
    with nodes(2, tmp_path, resources={"foveate_ingress": 1}) as ground:
        page = f"{ground.dashboard}/api/serve/applications/"
        assert httpx.put(page, json=told, timeout=60).status_code == 200
        with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as http:
            until(lambda: ready(http), 180, lambda: httpx.get(page, timeout=30).text)
            assert PASSWORD not in httpx.get(page, timeout=30).text
            [running] = httpx.get(page, timeout=30).json()["applications"].values()
            replicas = running["deployments"]["ingress"]["replicas"]
            assert len({one["node_id"] for one in replicas}) == len(replicas) == 2
            http.headers["authorization"] = f"Bearer {key}"
            user = a_viewer_acts(http, application["args"]["state"], small_bundle)
            a_new_password_is_taken_up(http, guarded, tmp_path / "password", user)


def ready(http: httpx.Client) -> bool:
    try:
        return http.get("/health/ready").status_code == 200
    except httpx.HTTPError:
        return False


def a_new_password_is_taken_up(http: httpx.Client, server: Redis, file: Path, user: str) -> None:
    """Exchange the password as the page says; then replicas are sent away and come back with the new one."""
    takes_both, takes_one = (
        [
            word.replace("NEWPASSWORD", "another").replace("OLDPASSWORD", PASSWORD)
            for word in words[words.index("ACL") :]
        ]
        for words in commands("rotate-keys", "redis")
    )
    with redis.Redis(port=server.port, password=PASSWORD) as operator:
        operator.execute_command(*takes_both)
        file.write_text("another")
        operator.execute_command(*takes_one)
        assert asked(http, user)["degraded"] == []
        operator.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")
    for _ in range(20):
        assert asked(http, user)["degraded"] == []
        time.sleep(0.05)
