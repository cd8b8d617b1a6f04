"""Load on an HTTP server: closed (each client asks as soon as it is answered) and open (requests come when they come).

Closed load hides queues, for a slow server is asked less; open load shows them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

Body = bytes


@dataclass
class Answers:
    """What came back, and how long each answer took."""

    seconds: float = 0.0
    latencies_ms: list[float] = field(default_factory=list)
    """Of the answered with 200."""
    statuses: dict[int, int] = field(default_factory=dict)
    """How many of each; 0 stands for a connection that broke."""

    @property
    def per_second(self) -> float:
        """Good answers a second."""
        return len(self.latencies_ms) / self.seconds

    def percentile(self, q: float) -> float:
        """Return a percentile of the latencies in milliseconds; of an open load, from when a request was due."""
        return float(np.percentile(self.latencies_ms, q)) if self.latencies_ms else float("nan")

    def count(self, status: int, due: float, *, good: bool) -> None:
        """Note one answer to a request that was due at ``due``, in seconds of ``time.perf_counter``."""
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if good:
            self.latencies_ms.append(1e3 * (time.perf_counter() - due))


async def closed(url: str, bodies: Sequence[Body], clients: int, seconds: float) -> Answers:
    """Let ``clients`` ask one request after the other."""
    answers = Answers()
    async with _session(clients) as session:
        end = time.perf_counter() + seconds
        began = time.perf_counter()

        async def client(number: int) -> None:
            turn = number
            while time.perf_counter() < end:
                await _ask(session, url, bodies[turn % len(bodies)], answers, time.perf_counter())
                turn += clients

        await asyncio.gather(*(client(number) for number in range(clients)))
        answers.seconds = time.perf_counter() - began
    return answers


async def opened(url: str, bodies: Sequence[Body], per_second: float, seconds: float) -> Answers:
    """Ask at a constant rate, however long the answers take."""
    answers = Answers()
    async with _session(0) as session, asyncio.TaskGroup() as tasks:
        began = time.perf_counter()
        for number in range(int(per_second * seconds)):
            due = began + number / per_second
            await asyncio.sleep(max(0.0, due - time.perf_counter()))
            tasks.create_task(_ask(session, url, bodies[number % len(bodies)], answers, due))
        answers.seconds = max(seconds, time.perf_counter() - began)
    return answers


def _session(connections: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=connections),
        timeout=aiohttp.ClientTimeout(total=30),
        headers={"content-type": "application/json"},
    )


async def _ask(session: aiohttp.ClientSession, url: str, body: Body, answers: Answers, due: float) -> None:
    try:
        async with session.post(url, data=body) as answer:
            await answer.read()
            answers.count(answer.status, due, good=answer.status == 200)
    except (aiohttp.ClientError, TimeoutError):
        answers.count(0, due, good=False)
