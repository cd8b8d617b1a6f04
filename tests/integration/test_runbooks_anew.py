"""Runbooks by which a cluster starts anew, on hosts with addresses of their own: a lost head, another token."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import httpx
import pytest

from clusters.book import PER_SECOND, Book, deployed, made_ready, whole_again
from clusters.hosts import Host, NoHostsError, hosts
from clusters.on_hosts import OnHosts, guarded, started
from clusters.redis_server import running
from clusters.scenario import until
from foveate.bundle import Bundle
from foveate.core.config import from_dict
from foveate_serve.app import application_settings
from foveate_serve.config import ServeConfig
from foveate_serve.operations.running import serve_settings
from lab.steady import summary
from lab.stores import Redis

pytestmark = [pytest.mark.cluster, pytest.mark.soak]

EVENT = {"item_id": "v00001", "kind": "click", "event_id": "before"}


@pytest.fixture
def made(tmp_path: Path) -> Iterator[list[Host]]:
    """Three hosts for Ray, and one that keeps what must not go with them."""
    try:
        with hosts(4, tmp_path) as found:
            yield found
    except NoHostsError as error:
        pytest.skip(str(error))


@pytest.fixture
def redis(made: list[Host], tmp_path: Path) -> Iterator[Redis]:
    with running(tmp_path / "redis", made[3]) as server:
        yield server


def opened(ground: OnHosts, folder: Path, placed: Mapping[str, str]) -> Book:
    """Open the pages at a cluster."""
    where = {"LISTEN": ground.listen, "HOST": ground.host, "PORT": "8000", "DASHBOARD": ground.dashboard}
    return Book(ground, folder, {**placed, **where})


def test_a_head_that_is_gone_for_good_is_replaced_by_another_machine(
    made: list[Host], redis: Redis, small_bundle: Bundle, tmp_path: Path
) -> None:
    placed = made_ready(small_bundle, tmp_path) | {"STATE": redis.address()}
    first, second, third, _ = made
    old = started([first, second], guarded())
    book = opened(old, tmp_path, placed)
    server = deployed(book, small_bundle)
    assert book.sent(EVENT | {"user_id": placed["VIEWER"]}).status_code == 200
    gone = time.monotonic()
    old.lose_head()
    server.wait()
    with pytest.raises(httpx.HTTPError):
        book.slate()
    # What 'ray up' does on the machines that are left.
    old.end()
    new = started([third, second], guarded())
    again = opened(new, tmp_path, book.placed)
    server = deployed(again, small_bundle, anew=False)
    again.run("lose-the-head")
    answer = again.slate()
    (tmp_path / "seconds.txt").write_text(f"{time.monotonic() - gone:.0f}")
    assert (answer["cold"], answer["degraded"]) == (False, [])
    # What viewers did before is not lost with the head.
    assert again.sent(EVENT | {"user_id": placed["VIEWER"]}).json()["added"] == 0
    server.send_signal(signal.SIGINT)
    again.scenario.over(server, "serve")


def test_a_head_whose_tables_are_kept_elsewhere_comes_back_to_the_same_replicas(
    made: list[Host], redis: Redis, small_bundle: Bundle, tmp_path: Path
) -> None:
    placed = made_ready(small_bundle, tmp_path) | {"STATE": redis.address()}
    tables = {"RAY_REDIS_ADDRESS": f"{redis.host}:{redis.port}", "RAY_external_storage_namespace": "here"}
    # As KubeRay has it: no replica on the head, and nodes that wait for it.
    ground = started(made[:3], {**guarded(), **tables, "RAY_gcs_rpc_server_reconnect_timeout_s": "600"}, head_cpus=0)
    book = opened(ground, tmp_path, placed)
    book.scenario.run("state", "copy", "bundle.state.sqlite", placed["STATE"])
    put_as_kuberay_does(book, small_bundle, placed["STATE"])
    # The head has no replica; another node answers.
    book.placed["HOST"] = ground.joined[0].address
    book.url = f"http://{book.placed['HOST']}:8000"
    sizes = {"ingress": 2, "retriever": 2, "ranker": 2}
    until(lambda: book.scenario.sizes() == sizes, 180, lambda: str(book.scenario.replicas()))
    book.wait_for({small_bundle.bundle_id})
    before = set(book.scenario.replicas())
    with book.asked() as steady:
        until(lambda: whole_again(steady), 60, lambda: str(summary(steady.answers)))
        ground.lose_head()
        gone = time.monotonic()
        time.sleep(20.0)
        ground.start_head()
        back = time.monotonic()
        until(lambda: book.well("lose-the-head"), 180, lambda: "the page of a lost head does not end well")
        until(lambda: whole_again(steady), 120, lambda: str(summary(steady.answers)))
        assert set(book.scenario.replicas()) == before
    assert not [one for one in steady.answers if one.status != 200], summary(steady.answers)
    assert len([one for one in steady.answers if gone < one.asked < back]) > 10 * PER_SECOND
    (tmp_path / "answers.txt").write_text(str(summary(steady.answers)))


def put_as_kuberay_does(book: Book, bundle: Bundle, state: str) -> None:
    sizes = {"replicas": 2}
    settings = {"host": "0.0.0.0", "deadline_ms": 5000, "ingress": sizes, "retriever": sizes, "ranker": sizes}  # noqa: S104
    application = application_settings(bundle.path, state, from_dict(ServeConfig, settings))
    config = serve_settings([application], {"host": settings["host"], "port": 8000}, "EveryNode")
    token = {"authorization": f"Bearer {book.env['RAY_AUTH_TOKEN']}"}
    page = f"{book.placed['DASHBOARD']}/api/serve/applications/"
    assert httpx.put(page, json=config, headers=token, timeout=60).status_code == 200


def test_a_token_is_exchanged_by_a_second_cluster_that_shares_registry_and_state(
    made: list[Host], redis: Redis, small_bundle: Bundle, tmp_path: Path
) -> None:
    placed = made_ready(small_bundle, tmp_path) | {"STATE": redis.address()}
    old = opened(started(made[:1], guarded()), tmp_path, placed)
    server = deployed(old, small_bundle)
    with old.asked() as steady:
        assert old.sent(EVENT | {"user_id": placed["VIEWER"]}).status_code == 200
        second = started(made[1:2], guarded())
        new = opened(second, tmp_path, old.placed)
        later = deployed(new, small_bundle, anew=False)
        # Both serve, and both know what viewers do at either.
        assert new.sent(EVENT | {"user_id": placed["VIEWER"]}).json()["added"] == 0
        assert new.slate()["degraded"] == old.slate()["degraded"] == []
    assert not [one for one in steady.answers if one.status != 200], summary(steady.answers)
    for env, dashboard, status in (
        (old.env, new.placed["DASHBOARD"], 2),
        (new.env, old.placed["DASHBOARD"], 2),
        (new.env, new.placed["DASHBOARD"], 0),
    ):
        words = new.words(["foveate", "scale", "--address", dashboard])
        done = subprocess.run(words, env=dict(env), capture_output=True, text=True, check=False)
        assert done.returncode == status, done.stderr
        assert ("is RAY_AUTH_TOKEN that of the cluster?" in done.stderr) == (status == 2)
    server.send_signal(signal.SIGINT)
    old.scenario.over(server, "serve")
    assert new.slate()["degraded"] == []
    later.send_signal(signal.SIGINT)
    new.scenario.over(later, "serve")


def test_a_new_token_under_a_running_cluster_keeps_new_replicas_out_until_the_old_one_is_back(
    made: list[Host], small_bundle: Bundle, tmp_path: Path
) -> None:
    file = tmp_path / "home" / ".ray" / "auth_token"
    file.parent.mkdir(parents=True)
    environment = guarded()
    token = environment.pop("RAY_AUTH_TOKEN")
    file.write_text(token)
    ground = started(made[:1], {**environment, "HOME": str(tmp_path / "home")})
    # Clients say the old token all the while.
    ground.env = {**ground.env, "RAY_AUTH_TOKEN": token}
    book = opened(ground, tmp_path, made_ready(small_bundle, tmp_path))
    server = deployed(book, small_bundle)
    file.write_text("6" * 64)
    # Processes that Ray holds ready have read the old one.
    assert any(is_not_replaced(book, 20.0) for _ in range(4))
    assert book.slate()["degraded"] in (["ranker_lost"], ["ranker_slow"])
    file.write_text(token)
    until(lambda: bool(book.bundles()), 180, lambda: str(book.scenario.sizes()))
    assert book.slate()["degraded"] == []
    server.send_signal(signal.SIGINT)
    book.scenario.over(server, "serve")


def is_not_replaced(book: Book, seconds: float) -> bool:
    """Kill the ranker; whether no other one answers after some time."""
    [killed] = book.scenario.pids("ranker")
    os.kill(killed, signal.SIGKILL)
    give_up = time.monotonic() + seconds
    while time.monotonic() < give_up:
        # It takes a moment until the dead one is known to be dead.
        if set(book.scenario.pids("ranker")) - {killed}:
            return False
        time.sleep(0.2)
    return not book.scenario.pids("ranker")
