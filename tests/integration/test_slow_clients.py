"""Slow clients beside a good one, at each door of a real server: HAProxy's, Serve's own proxy's, a replica's."""

from __future__ import annotations

import asyncio
import os
import shutil
import sqlite3
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from foveate.bundle import Bundle, default_state
from foveate_serve.app import start
from foveate_serve.config import DeploymentConfig, ServeConfig

pytestmark = pytest.mark.cluster

SLOW = 100
"""Of each kind."""
PATIENCE_S = 60.0
HEAD = b"POST /v1/recommend HTTP/1.1\r\nhost: x\r\ncontent-type: application/json\r\n"
PARTS = {"body": HEAD + b"content-length: 100\r\n\r\n{", "head": HEAD, "nothing": b""}
ASK = {"user_id": "u00017", "k": 3}


@dataclass(frozen=True)
class Doors:
    """Where one server is asked: the state that it keeps, and its ports by their names."""

    state: Path
    ports: dict[str, int]


@pytest.fixture(scope="module", params=["haproxy", pytest.param("python", marks=pytest.mark.soak)])
def doors(request: Any, small_bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Doors]:
    state = tmp_path_factory.mktemp("slow") / "state.sqlite"
    shutil.copyfile(default_state(small_bundle.path), state)
    # Fewer places than slow clients; the machine may be busy, so the deadline is long.
    config = ServeConfig(
        port=0,
        proxy=request.param,
        topology="fused",
        deadline_ms=30_000,
        max_ongoing_events=8,
        events_deadline_ms=3_000,
        ingress=DeploymentConfig(max_ongoing_requests=16),
    )
    with start(small_bundle.path, state, config) as url:
        ports = {"proxy": int(urlsplit(url).port or 0)}
        if request.param == "haproxy":
            ports["replica"] = int(os.environ["RAY_SERVE_DIRECT_INGRESS_MIN_HTTP_PORT"])
        yield Doors(state, ports)


async def slow(port: int, part: bytes) -> str:
    """Send a part of a request; return how the connection ended."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(part)
        answer = b""
        async with asyncio.timeout(PATIENCE_S):
            while more := await reader.read(4096):
                answer += more
    except TimeoutError:
        return "left open"
    except ConnectionError:
        return "closed"
    finally:
        writer.close()
    return answer[9:12].decode() or "closed"


def test_slow_clients_lose_their_connections_and_good_ones_are_answered(doors: Doors) -> None:
    async def attack(port: int) -> tuple[list[int], Counter[str]]:
        attackers = [asyncio.create_task(slow(port, part)) for part in PARTS.values() for _ in range(SLOW)]
        statuses = []
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:
            while not all(one.done() for one in attackers):
                statuses.append((await http.post("/v1/recommend", json=ASK)).status_code)
                await asyncio.sleep(0.1)
            statuses.append((await http.get("/health/ready")).status_code)
        return statuses, Counter(await asyncio.gather(*attackers))

    async def attack_all() -> list[tuple[list[int], Counter[str]]]:
        return await asyncio.gather(*map(attack, doors.ports.values()))

    for statuses, ends in asyncio.run(attack_all()):
        assert set(statuses) == {200}
        assert len(statuses) > 2, "asked while they were at it"
        assert set(ends) <= {"408", "closed"}


def test_a_store_that_cannot_be_written_turns_events_away_and_no_slate(doors: Doors) -> None:
    event = {"events": [{"user_id": "u00017", "item_id": "v00001", "kind": "like"}]}

    async def ask(port: int) -> tuple[list[httpx.Response], list[int]]:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=PATIENCE_S) as http:
            posts = [asyncio.create_task(http.post("/v1/events", json=event)) for _ in range(40)]
            slates = []
            while not all(one.done() for one in posts):
                slates.append((await http.post("/v1/recommend", json=ASK)).status_code)
            return await asyncio.gather(*posts), slates

    with closing(sqlite3.connect(doors.state, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        events, slates = asyncio.run(ask(doors.ports["proxy"]))
        other.execute("ROLLBACK")
    assert set(slates) == {200}
    assert {one.status_code for one in events} == {503}
    assert all(int(one.headers["retry-after"]) >= 1 for one in events)
    assert not [one.text for one in events if str(doors.state.parent) in one.text]
    answer = httpx.post(f"http://127.0.0.1:{doors.ports['proxy']}/v1/events", json=event, timeout=PATIENCE_S)
    assert answer.status_code == 200, answer.text
