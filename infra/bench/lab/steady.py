"""Requests at a steady rate, as long as a block lasts, with everything that came back kept by when it was asked."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import aiohttp


@dataclass(frozen=True)
class Answer:
    """One request: when it was asked, how it ended, and what the slate says of itself."""

    asked: float
    status: int
    """0 where the connection broke or nothing came in time."""
    milliseconds: float
    bundle_id: str | None = None
    degraded: tuple[str, ...] = ()
    number: int = 0
    """Of the request."""
    retry_after: bool = False
    """Whether it was refused with a time to try again."""


def slate_of(_: int, user: str) -> dict[str, Any]:
    """Ask for a slate of twenty."""
    return {"user_id": user, "k": 20}


@dataclass
class Steady:
    """Asks in a thread of its own."""

    url: str
    users: Sequence[str]
    per_second: float
    body: Callable[[int, str], Mapping[str, Any]] = slate_of
    """Of the n-th request, for a viewer."""
    answers: list[Answer] = field(default_factory=list)
    headers: Mapping[str, str] = field(default_factory=dict)
    """Of each request, such as a key."""
    _over: threading.Event = field(default_factory=threading.Event)

    def since(self, moment: float) -> list[Answer]:
        """Return what was asked after a moment of ``time.monotonic``."""
        return [answer for answer in self.answers if answer.asked >= moment]

    @contextmanager
    def running(self) -> Iterator[Steady]:
        """Ask during the block; what is under way at its end is waited for."""
        thread = threading.Thread(target=lambda: asyncio.run(self._ask_on()), name="steady")
        thread.start()
        try:
            yield self
        finally:
            self._over.set()
            thread.join()

    async def _ask_on(self) -> None:
        timeout = aiohttp.ClientTimeout(total=20)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        session = aiohttp.ClientSession(timeout=timeout, connector=connector, headers=self.headers)
        async with session, asyncio.TaskGroup() as tasks:
            began, number = time.monotonic(), 0
            while not self._over.is_set():
                tasks.create_task(self._ask(session, number))
                number += 1
                await asyncio.sleep(max(0.0, began + number / self.per_second - time.monotonic()))

    async def _ask(self, session: aiohttp.ClientSession, number: int) -> None:
        asked = time.monotonic()
        status, slate, wait = 0, {}, False
        body = self.body(number, self.users[number % len(self.users)])
        try:
            async with session.post(self.url, json=body) as answer:
                status, slate = answer.status, await _json(answer)
                wait = status == 503 and "retry-after" in answer.headers
        except (aiohttp.ClientError, TimeoutError):
            pass
        took = 1e3 * (time.monotonic() - asked)
        degraded = tuple(slate.get("degraded", ()))
        self.answers.append(Answer(asked, status, took, slate.get("bundle_id"), degraded, number, wait))


async def _json(answer: aiohttp.ClientResponse) -> dict[str, Any]:
    if answer.status != 200:
        await answer.read()
        return {}
    answer_json: dict[str, Any] = await answer.json()
    return answer_json


def summary(answers: Sequence[Answer]) -> tuple[int, str, str]:
    """Return how many failed, which statuses they had, and what was degraded how often."""
    failed = Counter(answer.status for answer in answers if answer.status != 200)
    degraded = Counter(reason for answer in answers for reason in answer.degraded)
    return sum(failed.values()), _words(failed), _words(degraded)


def _words(counts: Counter[Any]) -> str:
    return ", ".join(f"{count} x {name or 'no answer'}" for name, count in counts.most_common()) or "none"
