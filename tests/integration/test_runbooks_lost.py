"""The runbook of lost stores, on a cluster whose stores lie on machines of their own and are cut off."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from clusters.book import PER_SECOND, Book, deployed, made_ready, whole_again
from clusters.hosts import Host, NoHostsError, hosts
from clusters.nodes import nodes
from clusters.redis_server import running
from clusters.scenario import until
from foveate.bundle import Bundle
from foveate_serve.operations.cluster import free_ports
from lab.steady import Steady, summary
from lab.stores import Redis, bucket

pytestmark = [pytest.mark.cluster, pytest.mark.soak]


@dataclass(frozen=True)
class Stores:
    """Two stores, each on a machine of its own."""

    of_viewers: Host
    of_bundles: Host
    redis: Redis
    bucket: str


@pytest.fixture
def stores(tmp_path: Path) -> Iterator[Stores]:
    with ExitStack() as stack:
        try:
            one, other = stack.enter_context(hosts(2, tmp_path))
        except NoHostsError as error:
            pytest.skip(str(error))
        redis = stack.enter_context(running(tmp_path / "redis", one))
        yield Stores(one, other, redis, stack.enter_context(bucket("films", other)))


def test_stores_that_cannot_be_reached_cost_what_the_page_says(
    stores: Stores, small_bundle: Bundle, tmp_path: Path
) -> None:
    placed = made_ready(small_bundle, tmp_path)
    placed |= {"REGISTRY": stores.bucket.format("registry"), "STATE": stores.redis.address(timeout_s=0.25)}
    placed |= {"HOST": "127.0.0.1", "LISTEN": "127.0.0.1", "PORT": str(free_ports(1)[0])}
    second = Bundle.save(small_bundle.model, tmp_path / "second", data_hash="", parent=small_bundle.bundle_id)
    credentials = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    with nodes(2, tmp_path, env=credentials) as ground:
        book = Book(ground, tmp_path, placed | {"DASHBOARD": ground.dashboard, "NEWBUNDLE": "second"})
        server = deployed(book, small_bundle)
        book.scenario.run("scale", "ranker=2", "--address", ground.dashboard)
        with book.asked() as steady:
            until(lambda: whole_again(steady), 60, lambda: str(summary(steady.answers)))
            viewers_state_is_away(book, stores, steady)
            bundles_are_away(book, stores, steady)
            book.run("upgrade")
            book.wait_for({second.bundle_id})
            an_empty_server_is_filled_while_it_serves(book, stores)
        failed = [one for one in steady.answers if one.status != 200]
        assert not failed, summary(steady.answers)
        (tmp_path / "answers.txt").write_text(str(summary(steady.answers)))
        server.send_signal(signal.SIGINT)
        book.scenario.over(server, "serve")


def viewers_state_is_away(book: Book, stores: Stores, steady: Steady) -> None:
    """Cut the stores off for ten seconds."""
    event = {"user_id": book.placed["VIEWER"], "item_id": "v00001", "kind": "click", "event_id": "sent-again"}
    stores.of_viewers.cut()
    gone = time.monotonic()
    until(lambda: book.sent(event).status_code == 503, 5, lambda: "events are taken still")
    refused = book.sent(event)
    assert (refused.status_code, refused.json()["code"]) == (503, "state_unavailable")
    time.sleep(10.0 - (time.monotonic() - gone))
    back = time.monotonic()
    stores.of_viewers.mend()
    until(lambda: book.sent(event).status_code == 200, 30, lambda: "events are refused still")
    assert book.sent(event).json()["added"] == 0
    until(lambda: whole_again(steady), 60, lambda: str(summary(steady.answers)))
    during = [one for one in steady.answers if gone + 1.0 < one.asked < back - 1.0]
    assert len(during) > 5 * PER_SECOND
    assert {one.degraded for one in during} == {("history_unavailable",)}
    book.run("lose-the-store")
    book.run("lose-the-store", "check")


def bundles_are_away(book: Book, stores: Stores, steady: Steady) -> None:
    """Cut the store of bundles off; a ranker dies meanwhile, and the one that starts for it finds no bundle."""
    before = set(book.scenario.replicas())
    stores.of_bundles.cut()
    until(lambda: "serves on" in book.scenario.said("serve"), 120, lambda: book.scenario.said("serve"))
    assert book.bundles(), "nothing is lost while no replica starts"
    os.kill(book.scenario.pids("ranker")[0], signal.SIGKILL)
    until(lambda: len(set(book.scenario.replicas()) - before) == 1, 120, lambda: str(book.scenario.replicas()))
    until(lambda: "ranker" in unready(book), 120, lambda: str(unready(book)))
    time.sleep(10.0)
    stores.of_bundles.mend()
    until(lambda: bool(book.bundles()), 120, lambda: str(unready(book)))
    until(lambda: whole_again(steady), 60, lambda: str(summary(steady.answers)))
    assert book.scenario.said("serve").count("serves on") == 1


def unready(book: Book) -> set[str]:
    """Return which parts hold no bundle."""
    parts = httpx.get(f"{book.url}/health/ready", timeout=30).json().get("parts", [])
    return {part["deployment"] for part in parts if part["bundle_id"] is None}


def an_empty_server_is_filled_while_it_serves(book: Book, stores: Stores) -> None:
    """Lose the disk of viewers' state; a copy puts it back under the server that asks it."""
    shutil.copyfile(book.folder / "backup" / "found.sqlite", book.folder / "backup" / "state.sqlite")
    stores.redis.kill()
    shutil.rmtree(book.folder / "redis" / "appendonlydir")
    stores.redis.start()
    until(lambda: book.slate()["cold"] and not book.slate()["degraded"], 30, lambda: str(book.slate()))
    book.run("restore", "state")
    assert not book.slate()["cold"]
